"""All that a picture or a page of a dish tells."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from monitor.culture.alerts import Alert
from monitor.culture.dishes import Annotation, DishLine
from monitor.culture.scans import Reading


@dataclass(frozen=True)
class UnreadableCapture:
    """A capture of a dish that says nothing: when it was taken (else first seen), and why."""

    at: datetime
    reason: str


@dataclass(frozen=True)
class DishTimeline:
    """What a picture or a page tells of a dish over a time; each part oldest first.

    since, until : the time that it tells of, both included; None = no bound
    """

    line: DishLine
    readings: tuple[Reading, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    alerts: tuple[Alert, ...] = ()
    unreadable: tuple[UnreadableCapture, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
