"""Alerts and the messages that tell them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, StrEnum

from monitor.culture.dishes import DishStatus
from monitor.culture.scans import Reading


class AlertKind(StrEnum):
    RAISED = "raised"
    WORSENED = "worsened"
    CLEARED = "cleared"


class Severity(StrEnum):
    """How bad. What is critical goes out at any time, whatever holds other mails back; what is only
    a notice asks for a look and alerts nobody.
    """

    NOTICE = "notice"
    WARNING = "warning"
    CRITICAL = "critical"


class HeldBack(StrEnum):
    """Why an alert is not mailed."""

    SNOOZED = "snoozed"
    COOLING = "cooldown"
    OLD = "old scan"
    # Waited for others or for the morning, and was overtaken by what came after.
    OVERTAKEN = "overtaken"
    # That it was cleared is told to those who were told that it was raised.
    NOBODY_TOLD = "nobody was told"


class AlertFamily(Enum):
    """What alerts follow from."""

    COURSE = "a dish's series alone"
    PICKING = "what scans show of what was picked"
    SILENCE = "what does not come, or would keep it from coming"


class AlertTopic(StrEnum):
    """What an alert is about. Open at most once for each dish, source or machine.

    Each has a row in decisions/alert_rules.py, with its rule, its limit and its words.
    """

    family: AlertFamily

    def __new__(cls, value: str, family: AlertFamily | None = None) -> AlertTopic:
        # Looked up by its value alone, it is found and not made.
        assert family is not None, f"{value}: an alert needs its family"
        topic = str.__new__(cls, value)
        topic._value_ = value
        topic.family = family
        return topic

    DIFFERENTIATION = "differentiation", AlertFamily.COURSE
    RISING = "rising-fast", AlertFamily.COURSE
    CONFLUENT = "confluence-reached", AlertFamily.COURSE
    GROWTH_STOPPED = "growth-stopped", AlertFamily.COURSE
    # Scans would have called for an alert, were they sure.
    PLEASE_LOOK = "please-look", AlertFamily.COURSE
    DOUBTFUL = "doubtful", AlertFamily.COURSE
    PAST_SAVING = "past-saving", AlertFamily.COURSE
    # Its cells have become few and small, as after a passage that nobody has told of.
    PASSAGE_SEEN = "passage-seen", AlertFamily.COURSE
    # The first scan for long: is it the same dish?
    OLD_SERIES = "old-series", AlertFamily.COURSE
    # A region that was picked is there all the same.
    NOT_REMOVED = "not-removed", AlertFamily.PICKING
    # No scan in time could tell whether what was picked is gone.
    NOT_CHECKED = "not-checked", AlertFamily.PICKING
    NO_CAPTURE = "no-new-capture", AlertFamily.SILENCE
    SAME_PICTURE = "same-picture", AlertFamily.SILENCE
    # One picture came for several dishes.
    EQUAL_PICTURES = "equal-pictures", AlertFamily.SILENCE
    SOURCE_SILENT = "source-silent", AlertFamily.SILENCE
    SOURCE_GONE = "source-gone", AlertFamily.SILENCE
    DISK_FULL = "disk-nearly-full", AlertFamily.SILENCE
    MODEL_REFUSED = "model-refused", AlertFamily.SILENCE
    WORKER_STUCK = "worker-stuck", AlertFamily.SILENCE
    CLOCK_JUMPED = "clock-jumped", AlertFamily.SILENCE
    # Captures without a pixel size look as if they were of another scale by now.
    SCALE_OFF = "scale-off", AlertFamily.SILENCE
    # Dates of captures against when they arrive.
    IMAGER_CLOCK = "imager-clock", AlertFamily.SILENCE


@dataclass(frozen=True)
class Alert:
    """A change of a dish's status, or of what is known of it: a row before it is a message.

    dish : empty where the alert is about a source or the machine
    source : name of the source that a silence is about
    text : the alert as a sentence, where its numbers do not say it
    held_back : why it was not mailed; None = it was, or was never to be
    role : "change" of the dish's course, or a silence; "again": told once more; "replaced": scans
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
    held_back: HeldBack | None = None
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
    held_back: HeldBack | None = None
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
