"""Alerts and the messages that tell them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from monitor.culture.dishes import DishStatus
from monitor.culture.scans import Reading


class AlertKind(StrEnum):
    RAISED = "raised"
    WORSENED = "worsened"
    CLEARED = "cleared"


class Severity(StrEnum):
    """How bad. What is critical goes out at any time, whatever holds other mails back."""

    WARNING = "warning"
    CRITICAL = "critical"


class AlertTopic(StrEnum):
    """What an alert is about. Open at most once for each dish, source or machine."""

    # of a dish, by its readings
    DIFFERENTIATION = "differentiation"
    RISING = "rising-fast"
    CONFLUENT = "confluence-reached"
    GROWTH_STOPPED = "growth-stopped"
    DOUBTFUL = "doubtful"
    PAST_SAVING = "past-saving"
    OLD_SERIES = "old-series"  # the first scan for long: is it the same dish?
    NOT_REMOVED = "not-removed"  # a region that was picked is there all the same
    NOT_CHECKED = "not-checked"  # no scan in time could tell whether what was picked is gone
    # by what does not come
    NO_CAPTURE = "no-new-capture"
    SAME_PICTURE = "same-picture"
    EQUAL_PICTURES = "equal-pictures"  # one picture came for several dishes
    SOURCE_SILENT = "source-silent"
    SOURCE_GONE = "source-gone"
    DISK_FULL = "disk-nearly-full"
    MODEL_REFUSED = "model-refused"
    WORKER_STUCK = "worker-stuck"
    CLOCK_JUMPED = "clock-jumped"
    IMAGER_CLOCK = "imager-clock"  # dates of captures against when they arrive


@dataclass(frozen=True)
class Alert:
    """A change of a dish's status, or of what is known of it: a row before it is a message.

    dish : empty where the alert is about a source or the machine
    source : name of the source that a silence is about
    text : the alert as a sentence, where its numbers do not say it
    held_back : why it was not mailed; None = it was, or was never to be
    role : "change" of the dish's course, or an alarm; "again": told once more; "replaced": scans
        that came late have shown that it was not so
    """

    id: int
    dish: str
    kind: AlertKind
    status: DishStatus
    reading_id: int | None
    at: datetime
    fraction: float | None
    created_at: datetime
    closed_at: datetime | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    note: str | None = None
    snoozed_until: datetime | None = None
    topic: AlertTopic = AlertTopic.DIFFERENTIATION
    severity: Severity = Severity.WARNING
    source: str | None = None
    text: str | None = None
    held_back: str | None = None
    role: str = "change"

    @property
    def about(self) -> str:
        """The dish, the source or the machine, to be shown."""
        if self.dish:
            return self.dish
        return f"source {self.source}" if self.source else "this machine"


@dataclass(frozen=True)
class NewAlert:
    """An alert without what only the database can give.

    mail_to : who gets its mail; a row of the outbox each, so that one bad address holds up nobody
    channels : names of other channels that tell it, in the same way
    held_back : why it is not mailed
    wait : the mail goes after that, unless the topic is raised again meanwhile
    reading : that it is about; None = the one that the decision is on
    role : "change", or "again" where the course of the dish does not call for it
    """

    kind: AlertKind
    topic: AlertTopic = AlertTopic.DIFFERENTIATION
    severity: Severity = Severity.WARNING
    text: str | None = None
    mail_to: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    held_back: str | None = None
    wait: timedelta = timedelta()
    reading: Reading | None = None
    role: str = "change"


@dataclass(frozen=True)
class Message:
    """One row of the outbox: something that must reach somebody.

    channel : "email", "channel" (one of Apprise), "removal" or "withdrawal" (the picker's folder)
    subject_id : id of the alert or the plan that it speaks of
    shares : others that go in the same mail
    mail_id : of its mail, for as long as it is tried
    waits_for_setting : it was refused for what a changed setting may cure
    """

    id: int
    channel: str
    subject_id: str
    recipient: str
    attempts: int
    created_at: datetime
    next_try_at: datetime
    last_error: str | None = None
    delivered_at: datetime | None = None
    failed_at: datetime | None = None
    delivered_to: str | None = None
    shares: tuple[Message, ...] = ()
    mail_id: str = ""
    waits_for_setting: bool = False
