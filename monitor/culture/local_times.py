"""Times that name no zone: read by the zone of their source, and known as such, so that they can be
put right when that zone is.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

_BY_SETTING = timezone(timedelta(0), "UTC, by the zone of the source")


def by_zone(moment: datetime, zone: tzinfo) -> datetime:
    """A naive time of the instrument as aware UTC that can be told from one with a zone of its own.

    zone : of the source; a fixed offset is one that the time itself names
    Raises OverflowError at the ends of time.
    """
    if isinstance(zone, timezone):
        return moment.replace(tzinfo=zone).astimezone(UTC)
    return moment.replace(tzinfo=zone).astimezone(_BY_SETTING)


def is_by_zone(moment: datetime) -> bool:
    """Does a time rest on the zone of its source?"""
    return moment.tzname() == _BY_SETTING.tzname(None)


def moved(moment: datetime, before: str, after: str) -> datetime:
    """A time that was read by one zone, as the other one reads it. Aware UTC."""
    local = moment.astimezone(ZoneInfo(before)).replace(tzinfo=None)
    return local.replace(tzinfo=ZoneInfo(after)).astimezone(UTC)
