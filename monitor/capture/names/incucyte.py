"""How an Incucyte names its files: exports by date or by the time since a start; its archive."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import PurePath

from monitor.capture.names.parts import (
    WallClock,
    after_start,
    as_utc,
    bad_name,
    folders_of,
    plain_well,
    stem_of,
)
from monitor.capture.names.plate_folders import dish_of, plate_folder, visit_folder
from monitor.culture import NamedParts

_INCUCYTE_FIELD = r"(?:(?P<prefix>.+?)_)?(?P<well>[A-Za-z]{1,2}\d{1,2})_(?P<field>\d+)"
_INCUCYTE = re.compile(
    _INCUCYTE_FIELD
    + r"_(?P<year>\d{4})y(?P<month>\d{2})m(?P<day>\d{2})d_(?P<hour>\d{2})h(?P<minute>\d{2})m",
    re.ASCII,
)
_INCUCYTE_ELAPSED = re.compile(
    _INCUCYTE_FIELD
    + r"_(?P<elapsed>(?P<days>\d{2,3})d(?P<hours>\d{2})h(?P<minutes>\d{2})m)(?:_(?P<part>\d+))?",
    re.ASCII,
)
# What an Incucyte calls its channels, where the export's prefix or folder holds them: the light,
# what is made of it, and a number where there are several of one colour.
_INCUCYTE_CHANNEL = (
    r"(?:phase|ph|bright[ _]?field|bf|green|(?:far[ _]?)?red|nir|near[ _]?ir|orange|blue|yellow"
    r"|cyan)(?:[ _]?(?:contrast|image|channel|object|calibrated|confluence|mask))*(?:[ _][1-4])?"
    r"|colou?r[ _]?[1-4]"
)
_INCUCYTE_PREFIX = re.compile(
    rf"(?:(?P<vessel>.+?)[_ ])?(?P<channel>{_INCUCYTE_CHANNEL})", re.IGNORECASE | re.ASCII
)
_INCUCYTE_RAW = re.compile(
    r"(?P<well>[A-Za-z]{1,2}\d{1,2})-(?P<field>\d+)-(?P<channel>[A-Za-z][A-Za-z0-9]{0,7})",
    re.ASCII,
)


def _vessel_and_channel(
    path: PurePath, prefix: str | None, well: str
) -> tuple[str | None, str | None]:
    """What an export's prefix and folders say of these.

    A prefix may be left out, may be that of the vessel, of the channel or of both; and exports of
    several channels with one prefix lie in a folder a channel. A vessel that is called just like a
    channel cannot be told from it: it is taken for the channel, since fluorescence that is taken
    for a vessel would be a number.
    """
    vessel, channel = prefix, None
    found = _INCUCYTE_PREFIX.fullmatch(prefix or "")
    if found is not None:
        vessel, channel = found["vessel"], found["channel"]
    nearest = plate_folder(path, well)
    of_channels = set()
    if nearest is not None and re.fullmatch(_INCUCYTE_CHANNEL, nearest, re.IGNORECASE):
        of_channels = {nearest}
        channel = channel or nearest
    return vessel or plate_folder(path, well, beside=of_channels), channel


def incucyte(path: PurePath, clock: WallClock) -> NamedParts | None:
    found = _INCUCYTE.fullmatch(stem_of(path.name))
    if found is None:
        return None
    year, month, day, hour, minute = (
        int(found[part]) for part in ("year", "month", "day", "hour", "minute")
    )
    well = plain_well(found["well"])
    vessel, channel = _vessel_and_channel(path, found["prefix"], well)
    return NamedParts(
        dish=dish_of(vessel, well),
        pattern="incucyte",
        field=found["field"],
        scan=f"{year:04}-{month:02}-{day:02}T{hour:02}-{minute:02}",
        channel=channel,
        acquired_at=as_utc(path, clock.zone, year, month, day, hour, minute),
    )


def incucyte_elapsed(path: PurePath, clock: WallClock) -> NamedParts | None:
    found = _INCUCYTE_ELAPSED.fullmatch(stem_of(path.name))
    if found is None:
        return None
    hours, minutes = int(found["hours"]), int(found["minutes"])
    if hours > 23 or minutes > 59:
        raise bad_name(path, f"{found['elapsed']} is not a time since the start")
    elapsed = timedelta(days=int(found["days"]), hours=hours, minutes=minutes)
    acquired_at = after_start(path, clock, elapsed)
    well = plain_well(found["well"])
    vessel, channel = _vessel_and_channel(path, found["prefix"], well)
    return NamedParts(
        dish=dish_of(vessel, well),
        pattern="incucyte-elapsed",
        field=found["field"] + (f"-{found['part']}" if found["part"] else ""),
        # Two experiments of one prefix must not share a scan because both have a fourth hour.
        scan=(
            f"{visit_folder(path, well)}/{found['elapsed']}"
            if acquired_at is None
            else acquired_at.isoformat()
        ),
        channel=channel,
        acquired_at=acquired_at,
        elapsed_s=elapsed.total_seconds(),
    )


def incucyte_raw(path: PurePath, clock: WallClock) -> NamedParts | None:
    """``.../2611/02/0300/<plate>/A1-1-Ph.tif``: year and month, day, hour and minute, plate."""
    found = _INCUCYTE_RAW.fullmatch(stem_of(path.name))
    folders = folders_of(path)[-4:]
    if found is None or len(folders) < 4:
        return None
    month_folder, day, minute_folder, plate = folders
    if not all(
        re.fullmatch(pattern, text, re.ASCII)
        for pattern, text in ((r"\d{4}", month_folder), (r"\d{2}", day), (r"\d{4}", minute_folder))
    ):
        return None
    parts = 2000 + int(month_folder[:2]), int(month_folder[2:]), int(day)
    hour, minute = int(minute_folder[:2]), int(minute_folder[2:])
    return NamedParts(
        dish=f"{plate}/{plain_well(found['well'])}",
        pattern="incucyte-raw",
        field=found["field"],
        scan=f"{parts[0]}-{month_folder[2:]}-{day}T{minute_folder[:2]}-{minute_folder[2:]}",
        channel=found["channel"],
        acquired_at=as_utc(path, clock.zone, *parts, hour, minute),
    )
