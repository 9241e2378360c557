"""What a mail on alerts is made of: facts only, nothing is drawn or written yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from zoneinfo import ZoneInfo

from monitor.config import DifferentiationConfig
from monitor.culture import Alert, DishTimeline, Reading, RemovalPlan


class MailSize(IntEnum):
    """How much a mail may weigh: servers and mailboxes have limits. In the order to try them."""

    FULL = 0
    ONE_PICTURE = 1
    NO_PICTURES = 2
    SHORT = 3

    @property
    def next_is(self) -> str:
        """What comes after it, in words."""
        return ("with one small image", "without pictures", "in a few lines", "not at all")[self]


def size_note(size: MailSize) -> str | None:
    """What a mail says of itself where it had to be smaller."""
    left_out = {
        MailSize.ONE_PICTURE: "one small image in place of all",
        MailSize.NO_PICTURES: "no pictures",
        MailSize.SHORT: "only what matters most",
    }
    if size is MailSize.FULL:
        return None
    return (
        f"The mail server accepts no larger mails, so this one has {left_out[size]}. The rest is "
        "on the pages (colonywatch serve) and in colonywatch history."
    )


@dataclass(frozen=True)
class Links:
    """Addresses of the dashboard.

    act : page of this alert alone, good for a while: acknowledge, snooze
    look : page of the dish, or the overview
    every : page of all open alerts
    """

    act: str
    look: str
    every: str


@dataclass(frozen=True)
class AlertStory:
    """Everything that a mail on one alert tells.

    readings : the dish's series, oldest first; the last is the one that the alert rests on
    zone : of the lab; times are told in it
    overlay : picture of the field to show; None or a missing file: the mail goes without it
    plan : removal plan of the same scan
    source : name of the source that the dish belongs to
    links : None = no dashboard is to be reached; commands are given instead
    test : marked in the subject and at the top, so that nobody runs
    plan_picture : the plan drawn, as PNG
    judged_from : of a dish that was freshly passaged then
    told : what else the plot shows of that time: annotations, unreadable captures, the line
    """

    alert: Alert
    readings: tuple[Reading, ...]
    limits: DifferentiationConfig
    zone: ZoneInfo
    overlay: Path | None
    plan: RemovalPlan | None
    source: str
    links: Links | None = None
    test: bool = False
    plan_picture: bytes | None = None
    told: DishTimeline | None = None
    judged_from: datetime | None = None


@dataclass(frozen=True)
class SilenceStory:
    """Everything that a mail about a silence tells.

    zone : of the lab
    links, test : as in an alert's story
    """

    alert: Alert
    zone: ZoneInfo
    links: Links | None = None
    test: bool = False


Story = AlertStory | SilenceStory
