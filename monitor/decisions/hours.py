"""Hours of the lab's day: when it rests, when its digest is due. The clock changes twice a year.

A day is a date by the lab's clock. A time that a change of the clock skips is taken as if the clock
had not been changed yet; of a time that comes twice, the first counts.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

_DAY = timedelta(days=1)


def quiet_until(now: datetime, *, begin: time, end: time, zone: ZoneInfo) -> datetime | None:
    """When the rest ends that `now` lies in; None where it lies in none.

    begin, end : local times; over midnight where `end` is the earlier one
    """
    today = now.astimezone(zone).date()
    over_midnight = _DAY if end <= begin else timedelta()
    for day in (today - _DAY, today):
        ends = _moment(day + over_midnight, end, zone)
        if _moment(day, begin, zone) <= now < ends:
            return ends
    return None


def last_moment(now: datetime, at: time, zone: ZoneInfo) -> datetime:
    """The last time that it was `at` by the lab's clock; once for each day."""
    today = now.astimezone(zone).date()
    moment = _moment(today, at, zone)
    return moment if moment <= now else _moment(today - _DAY, at, zone)


def _moment(day: date, at: time, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, at, zone).astimezone(UTC)
