"""The small things that every pattern of names needs: wells, times, refusals."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import PurePath
from zoneinfo import ZoneInfo

from monitor.culture.captures import IMAGE_EXTENSIONS
from monitor.culture.local_times import by_zone
from monitor.errors import CaptureError


@dataclass(frozen=True)
class WallClock:
    """What turns an imager's times into UTC.

    zone : of times without one
    start : aware UTC; when the experiment began, for names that give the time since then
    """

    zone: ZoneInfo
    start: datetime | None = None


def shown_name(path: PurePath | str) -> str:
    """A file name fit for a message: on one line, printable, whatever its bytes."""
    name = path if isinstance(path, str) else (path.name or str(path))
    return "".join(_shown_character(character) for character in name)


def _shown_character(character: str) -> str:
    if 0xDC80 <= ord(character) <= 0xDCFF:  # a byte that is not UTF-8, as Python keeps it in paths
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character if character.isprintable() else ascii(character)[1:-1]


def bad_name(path: PurePath, why: str) -> CaptureError:
    return CaptureError(
        f"{shown_name(path)}: the name fits the pattern, but {why}; correct the name, or the "
        "source's `names`",
        reason="bad-name",
    )


def stem_of(name: str) -> str:
    """Name without image extension, and without the ``.ome`` before it."""
    for extension in IMAGE_EXTENSIONS:
        if name.lower().endswith(extension):
            name = name[: -len(extension)]
            break
    return name[:-4] if name.lower().endswith(".ome") else name


def folders_of(path: PurePath) -> tuple[str, ...]:
    """The folders that hold a file, outermost first, without the root."""
    return tuple(part for part in path.parts[:-1] if part != path.anchor)


def plain_well(text: str) -> str:
    """``a01`` -> ``A1``: imagers of one lab write the same well in either way."""
    letters = text.rstrip("0123456789")
    digits = text[len(letters) :]
    return letters.upper() + (str(int(digits)) if digits else "")


def well_at(row: int, column: int) -> str | None:
    """(1, 1) -> ``A1``, (27, 2) -> ``AA2``; None for what no plate has."""
    if not (1 <= row <= 52 and 1 <= column <= 99):
        return None
    letters = chr(ord("A") + (row - 1) % 26)
    return f"{'A' if row > 26 else ''}{letters}{column}"


def as_utc(path: PurePath, zone: tzinfo, *parts: int) -> datetime:
    try:
        return by_zone(datetime(*parts), zone)  # type: ignore[arg-type]  # noqa: DTZ001
    except (ValueError, OverflowError) as problem:
        raise bad_name(path, f"its date or time does not exist ({problem})") from problem


def after_start(path: PurePath, clock: WallClock, elapsed: timedelta) -> datetime | None:
    """When something happened that long after the start; None where no start is known."""
    if clock.start is None:
        return None
    try:
        return clock.start + elapsed
    except OverflowError as problem:
        raise bad_name(path, f"its date or time does not exist ({problem})") from problem


def hour_of_24(path: PurePath, hour: int, half: str | None) -> int:
    if half is None:
        return hour
    if not 1 <= hour <= 12:
        raise bad_name(path, f"{hour} {half} is not a time of day")
    return hour % 12 + (12 if half.upper() == "PM" else 0)


def zone_of(path: PurePath, text: str | None, otherwise: tzinfo) -> tzinfo:
    if not text:
        return otherwise
    if text in "Zz":
        return UTC
    hours, minutes = int(text[1:3]), int(text[-2:])
    if hours > 14 or minutes > 59:
        raise bad_name(path, f"{text} is not a time zone")
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if text[0] == "-" else offset)
