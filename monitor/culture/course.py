"""Values of a dish's course: where it stands after each scan. Rules: decisions/course.py."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from monitor.culture.alerts import Alert, AlertFamily, AlertTopic, Severity
from monitor.culture.dishes import DishStatus
from monitor.culture.scans import Reading

# No rule looks further back.
LOOK_BACK: Final = 400
COURSE_TOPICS: Final = frozenset(
    topic for topic in AlertTopic if topic.family is AlertFamily.COURSE
)
"""What follows from a dish's series alone."""


@dataclass(frozen=True)
class Standing:
    """Where a dish stands on differentiation before its newest reading.

    severity : of a dish that is differentiating; None for any other
    reported, reported_at : differentiated fraction and time of the reading that was last alerted
        for, while that alert is open
    """

    status: DishStatus = DishStatus.UNKNOWN
    severity: Severity | None = None
    reported: float | None = None
    reported_at: datetime | None = None


@dataclass(frozen=True)
class Stand(Standing):
    """Where a dish stands after a scan.

    is_open : topics that are raised and not cleared
    at_word : where it would stand were every scan taken at its word, while people are asked to look
    looks_since : since when they are asked
    passaged_at : of the last passage that the series shows
    """

    is_open: frozenset[AlertTopic] = frozenset()
    at_word: Standing | None = None
    looks_since: datetime | None = None
    passaged_at: datetime | None = None


@dataclass(frozen=True)
class Course:
    """The part of a dish's series that is to be decided.

    settled : readings before it, oldest first, as far as rules look back
    before : the stand after the last of these
    undecided : the readings to decide, oldest first; the last one is the dish's newest
    known : the stand on record after each of `undecided`; None where it was never decided
    alerts : those that the course has put on record since the first of `undecided`, oldest first
    passaged_at : of the passage that it came from, where a person has told of it
    """

    settled: tuple[Reading, ...]
    before: Stand
    undecided: tuple[Reading, ...]
    known: tuple[Stand | None, ...]
    alerts: tuple[Alert, ...] = ()
    passaged_at: datetime | None = None
