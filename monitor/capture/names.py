"""What a file name says: presets per imager, and a lab's own pattern with named groups.

Times in names are the imager's wall clock unless they carry ``Z`` or an offset; the zone comes
from the source. A time that the clock shows twice (end of daylight saving) is taken as the first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import PurePath
from zoneinfo import ZoneInfo

from monitor.config import IMAGE_EXTENSIONS
from monitor.culture import NamedParts, StagePosition
from monitor.errors import CaptureError, ConfigError

OWN_PATTERN = "own"
_AUTO = "auto"
_LONGEST_DISH = 200

_DATE = re.compile(
    r"(?P<year>\d{4})(?:(?P<s>[-_. /]?)(?P<month>\d{2})(?P=s)|y(?P<month_y>\d{1,2})m)"
    r"(?P<day>\d{2}|\d(?=d))d?"
)
_TIME = re.compile(
    r"(?P<hour>\d{1,2})[-_:.h]?(?P<minute>\d{2})m?(?:[-_:.]?(?P<second>\d{2})s?(?P<part>\.\d+)?)?"
    r"\s*(?P<ampm>[AaPp][Mm])?\s*(?P<zone>Z|[+-]\d{2}:?\d{2})?"
)
_BETWEEN_DATE_AND_TIME = "T_ -"


def shown_name(path: PurePath | str) -> str:
    """A file name fit for a message: on one line, printable, whatever its bytes."""
    name = path if isinstance(path, str) else (path.name or str(path))
    return "".join(_shown_character(character) for character in name)


def _shown_character(character: str) -> str:
    if 0xDC80 <= ord(character) <= 0xDCFF:  # a byte that is not UTF-8, as Python keeps it in paths
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character if character.isprintable() else ascii(character)[1:-1]


@dataclass(frozen=True)
class NamePattern:
    """How one kind of imager names its files.

    whole_well : one picture shows the whole round well
    automatic : may be chosen without being asked for
    """

    name: str
    description: str
    example: str
    read: Callable[[PurePath, ZoneInfo], NamedParts | None]
    whole_well: bool = False
    automatic: bool = True

    def parse(self, path: PurePath, zone: ZoneInfo) -> NamedParts | None:
        """What the name of `path` says; None where it does not fit the pattern.

        path : relative to the source's folder, or absolute
        Raises CaptureError (reason ``bad-name``) for a name that fits but says something
        impossible, such as the 31st of February.
        """
        parts = self.read(path, zone)
        if parts is not None:
            _check_dish(path, parts.dish)
        return parts


def find_pattern(spec: str) -> NamePattern | None:
    """The pattern that a source's setting `names` means; None for "auto".

    spec : "auto", the name of a preset, or a regular expression with named groups
    Raises ConfigError for anything else.
    """
    if spec == _AUTO:
        return None
    if "(?P<" in spec:
        return _own_pattern(spec)
    if spec in PRESETS:
        return PRESETS[spec]
    raise ConfigError(
        f"no name pattern is called {spec!r}; use auto, {', '.join(PRESETS)}, or a regular "
        "expression with named groups such as (?P<dish>...)"
    )


def parse_name(path: PurePath, spec: str, zone: ZoneInfo) -> NamedParts:
    """What the name of `path` says by the source's setting `names`.

    spec : as in `find_pattern`; "auto" takes the first preset that fits
    Raises CaptureError, reason ``no-name-match`` or ``bad-name``; ConfigError as `find_pattern`.
    """
    pattern = find_pattern(spec)
    tried = [pattern] if pattern else [one for one in PRESETS.values() if one.automatic]
    for one in tried:
        parts = one.parse(path, zone)
        if parts is not None:
            return parts
    names = f"the pattern {spec!r}" if pattern else ", ".join(one.name for one in tried)
    raise CaptureError(
        f"{shown_name(path)}: the name fits no known pattern (tried {names}), so the dish is not "
        "known; set the source's `names` to a preset or to a regular expression with "
        "(?P<dish>...), and try it with colonywatch name-test",
        reason="no-name-match",
    )


def best_preset(paths: Iterable[PurePath], zone: ZoneInfo) -> tuple[NamePattern, int] | None:
    """The preset that fits most of `paths` and how many it fits; None where none fits any.

    Where two fit as many, the more specific wins.
    """
    counts = {name: 0 for name, pattern in PRESETS.items() if pattern.automatic}
    for path in paths:
        for name in counts:
            try:
                counts[name] += PRESETS[name].parse(path, zone) is not None
            except CaptureError:
                continue
    best = max(counts, key=lambda name: counts[name])
    return (PRESETS[best], counts[best]) if counts[best] else None


def _check_dish(path: PurePath, dish: str) -> None:
    # The id ends up in a database, in mails and in file names of the picker.
    if not dish.strip() or not dish.isprintable() or len(dish) > _LONGEST_DISH:
        raise CaptureError(
            f"{shown_name(path)}: the dish id {shown_name(dish)!r} is empty, too long or not "
            "printable text; rename the file or correct the source's `names`",
            reason="bad-name",
        )


def _stem(name: str) -> str:
    """Name without image extension, and without the ``.ome`` before it."""
    for extension in IMAGE_EXTENSIONS:
        if name.lower().endswith(extension):
            name = name[: -len(extension)]
            break
    return name[:-4] if name.lower().endswith(".ome") else name


def _well(text: str) -> str:
    """``a01`` -> ``A1``: imagers of one lab write the same well in either way."""
    letters = text.rstrip("0123456789")
    digits = text[len(letters) :]
    return letters.upper() + (str(int(digits)) if digits else "")


def _number(path: PurePath, text: str, what: str) -> float:
    try:
        return float(text.replace(",", "."))
    except ValueError as problem:
        raise _bad(path, f"{shown_name(text)!r} is not a {what}") from problem


def _bad(path: PurePath, why: str) -> CaptureError:
    return CaptureError(
        f"{shown_name(path)}: the name fits the pattern, but {why}; correct the name, or the "
        "source's `names`",
        reason="bad-name",
    )


def _as_utc(path: PurePath, zone: tzinfo, *parts: int) -> datetime:
    try:
        return datetime(*parts, tzinfo=zone).astimezone(UTC)  # type: ignore[arg-type, misc]
    except (ValueError, OverflowError) as problem:
        raise _bad(path, f"its date or time does not exist ({problem})") from problem


def _hour_of_24(path: PurePath, hour: int, half: str | None) -> int:
    if half is None:
        return hour
    if not 1 <= hour <= 12:
        raise _bad(path, f"{hour} {half} is no time of day")
    return hour % 12 + (12 if half.upper() == "PM" else 0)


# --- presets ------------------------------------------------------------------------------------

_CELIGO = re.compile(
    r"(?P<barcode>.+?)_Scan_(?P<month>\d{1,2})-(?P<day>\d{1,2})-(?P<year>\d{4})"
    r"-(?P<hour>\d{1,2})-(?P<minute>\d{2})-(?P<second>\d{2})-(?P<half>AM|PM)"
    r"_Well_(?P<well>[A-Za-z]{1,2}\d{1,2})"
    r"(?:_Xmm(?P<x_mm>-?\d+(?:\.\d+)?)_Ymm(?P<y_mm>-?\d+(?:\.\d+)?))?"
    r"_(?P<channel>Ch\d+)(?:_(?P<pixel_size>-?\d+(?:\.\d+)?)um)?(?P<resized>_resized)?",
    re.IGNORECASE | re.ASCII,
)


def _read_celigo(path: PurePath, zone: ZoneInfo, *, name: str) -> NamedParts | None:
    found = _CELIGO.fullmatch(_stem(path.name))
    is_field = name == "celigo-field"
    if found is None or (found["x_mm"] is not None) != is_field:
        return None
    year, month, day, hour, minute, second = (
        int(found[part]) for part in ("year", "month", "day", "hour", "minute", "second")
    )
    hour = _hour_of_24(path, hour, found["half"])
    acquired_at = _as_utc(path, zone, year, month, day, hour, minute, second)
    # "-1um" means that the imager did not say, and a resized picture has lost its own scale.
    pixel_size_um = float(found["pixel_size"] or 0.0) if found["resized"] is None else 0.0
    stage = None
    if is_field:
        stage = StagePosition(_um(found["x_mm"]), _um(found["y_mm"]))
    return NamedParts(
        dish=f"{found['barcode']}/{_well(found['well'])}",
        pattern=name,
        field=f"x{found['x_mm']}y{found['y_mm']}" if is_field else None,
        scan=f"{year:04}-{month:02}-{day:02}T{hour:02}-{minute:02}-{second:02}",
        channel=found["channel"],
        acquired_at=acquired_at,
        pixel_size_um=pixel_size_um if pixel_size_um > 0 else None,
        stage=stage,
    )


def _um(mm: str) -> float:
    return round(float(mm) * 1000.0, 6)


_INCUCYTE = re.compile(
    r"(?:(?P<prefix>.+?)_)?(?P<well>[A-Za-z]{1,2}\d{1,2})_(?P<field>\d+)"
    r"_(?P<year>\d{4})y(?P<month>\d{2})m(?P<day>\d{2})d_(?P<hour>\d{2})h(?P<minute>\d{2})m",
    re.ASCII,
)


def _read_incucyte(path: PurePath, zone: ZoneInfo) -> NamedParts | None:
    found = _INCUCYTE.fullmatch(_stem(path.name))
    if found is None:
        return None
    year, month, day, hour, minute = (
        int(found[part]) for part in ("year", "month", "day", "hour", "minute")
    )
    well = _well(found["well"])
    return NamedParts(
        dish=f"{found['prefix']}/{well}" if found["prefix"] else well,
        pattern="incucyte",
        field=found["field"],
        scan=f"{year:04}-{month:02}-{day:02}T{hour:02}-{minute:02}",
        acquired_at=_as_utc(path, zone, year, month, day, hour, minute),
    )


_DISH_TIME = re.compile(
    r"(?P<dish>.+?)[_ ](?P<year>\d{4})(?P<s>-?)(?P<month>\d{2})(?P=s)(?P<day>\d{2})"
    r"(?:(?P<t>T)|[_ -])(?P<hour>\d{2})(?P<u>[-:.h]?)(?P<minute>\d{2})m?"
    r"(?:[-:.]?(?P<second>\d{2})s?(?:\.\d+)?)?"
    r"(?P<zone>Z|\+\d{2}:?\d{2}|(?(t)-\d{2}:?\d{2}))?"
    r"(?:[_ ](?:f|field|s|site|p|pos)?(?P<field>\d+))?",
    re.IGNORECASE | re.ASCII,
)


def _read_dish_time(path: PurePath, zone: ZoneInfo) -> NamedParts | None:
    found = _DISH_TIME.fullmatch(_stem(path.name))
    if found is None:
        return None
    when = [int(found[part] or 0) for part in ("year", "month", "day", "hour", "minute", "second")]
    return NamedParts(
        dish=found["dish"],
        pattern="dish-time",
        field=found["field"],
        acquired_at=_as_utc(path, _zone(path, found["zone"], zone), *when),
    )


def _read_dish_folder(path: PurePath, zone: ZoneInfo) -> NamedParts | None:
    folders = path.parts[:-1]
    if path.is_absolute():
        folders = folders[1:][-1:]
    return NamedParts(dish="/".join(folders), pattern="dish-folder") if folders else None


def _zone(path: PurePath, text: str | None, otherwise: tzinfo) -> tzinfo:
    if not text:
        return otherwise
    if text in "Zz":
        return UTC
    hours, minutes = int(text[1:3]), int(text[-2:])
    if hours > 14 or minutes > 59:
        raise _bad(path, f"{text} is no time zone")
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if text[0] == "-" else offset)


def _celigo(name: str) -> Callable[[PurePath, ZoneInfo], NamedParts | None]:
    def read(path: PurePath, zone: ZoneInfo) -> NamedParts | None:
        return _read_celigo(path, zone, name=name)

    return read


PRESETS: Mapping[str, NamePattern] = {
    pattern.name: pattern
    for pattern in (
        NamePattern(
            "celigo-field",
            "plate imager, one file a field: barcode, scan time, well, stage position in mm, "
            "channel, pixel size",
            "3500003816_Scan_2-11-2020-11-59-54-AM_Well_A1_Xmm-0.990_Ymm-2.975_Ch1_1um.tiff",
            _celigo("celigo-field"),
        ),
        NamePattern(
            "celigo-well",
            "plate imager, one stitched file a round well: barcode, scan time, well, channel",
            "3500002779_Scan_2-25-2019-8-08-35-AM_Well_B2_Ch1_-1um_resized.tiff",
            _celigo("celigo-well"),
            whole_well=True,
        ),
        NamePattern(
            "incucyte",
            "Incucyte export with dates: prefix, well, field, local date and time",
            "VID123_B2_1_2026y11m02d_03h00m.tif",
            _read_incucyte,
        ),
        NamePattern(
            "dish-time",
            "dish, date and time, and a field number where there are several",
            "dish-07_20261102T030000Z_f1.ome.tif",
            _read_dish_time,
        ),
        NamePattern(
            "dish-folder",
            "a folder a dish; the time comes from the picture or from the file's date. Never "
            "chosen by itself, since every picture in any folder fits",
            "dish-07/IMG_0042.png",
            _read_dish_folder,
            automatic=False,
        ),
    )
}


# --- a lab's own pattern ------------------------------------------------------------------------


def _own_pattern(spec: str) -> NamePattern:
    try:
        pattern = re.compile(spec)
    except re.error as problem:
        raise ConfigError(
            f"names: {spec!r} is not a regular expression ({problem}); correct it, or use auto, "
            f"{', '.join(PRESETS)}"
        ) from problem
    if not {"dish", "well", "plate", "barcode"} & set(pattern.groupindex):
        raise ConfigError(
            f"names: {spec!r} says nothing of the dish; add a group (?P<dish>...) or (?P<well>...)"
        )

    def read(path: PurePath, zone: ZoneInfo) -> NamedParts | None:
        for text in _tails(path):
            found = pattern.fullmatch(text)
            if found is not None:
                return _from_groups(path, found.groupdict(), zone)
        found = pattern.search(path.name)
        return None if found is None else _from_groups(path, found.groupdict(), zone)

    return NamePattern(OWN_PATTERN, "the lab's own pattern", spec, read, automatic=False)


def _tails(path: PurePath) -> Iterator[str]:
    """The name, then the name with ever more of its folders; each without and with extension."""
    parts = [part for part in path.parts if part != path.anchor]
    for count in range(1, len(parts) + 1):
        folders = "".join(f"{part}/" for part in parts[-count:-1])
        yield folders + _stem(parts[-1])
        yield folders + parts[-1]


def _from_groups(path: PurePath, groups: dict[str, str | None], zone: ZoneInfo) -> NamedParts:
    said = {name: text for name, text in groups.items() if text}
    well = _well(said["well"]) if "well" in said else None
    plate = said.get("dish") or said.get("plate") or said.get("barcode")
    dish = "/".join(part for part in (plate, well) if part)
    pixel_size_um = None
    if "pixel_size_um" in said:
        pixel_size_um = _number(path, said["pixel_size_um"], "pixel size")
        if not 0.01 <= pixel_size_um <= 100:
            raise _bad(path, f"{pixel_size_um} um cannot be the size of a pixel")
    return NamedParts(
        dish=dish,
        pattern=OWN_PATTERN,
        field=said.get("field"),
        scan=said.get("scan") or said.get("elapsed"),
        channel=said.get("channel"),
        acquired_at=_time_of(path, said, zone),
        pixel_size_um=pixel_size_um,
        stage=_stage_of(path, said),
    )


def _stage_of(path: PurePath, said: Mapping[str, str]) -> StagePosition | None:
    for unit, factor in (("um", 1.0), ("mm", 1000.0)):
        if f"x_{unit}" in said and f"y_{unit}" in said:
            x = _number(path, said[f"x_{unit}"], "stage position")
            y = _number(path, said[f"y_{unit}"], "stage position")
            return StagePosition(round(x * factor, 6), round(y * factor, 6))
    return None


def _time_of(path: PurePath, said: Mapping[str, str], zone: ZoneInfo) -> datetime | None:
    if "date" not in said:
        return None
    date_text, time_text = said["date"].strip(), said.get("time", "").strip()
    date = _DATE.match(date_text)
    rest = date_text[date.end() :].lstrip(_BETWEEN_DATE_AND_TIME) if date else ""
    time = _TIME.fullmatch(rest + time_text)
    if date is None or (time is None and rest + time_text) or (rest and time_text):
        raise _bad(
            path,
            f"{shown_name(f'{date_text} {time_text}'.strip())!r} is not understood as date and "
            "time (known: 20261102, 2026-11-02, 2026y11m02d with 0300, 03-00-59, 03h00m, "
            "030059Z)",
        )
    if time is None:
        # A day without a time of day would put all scans of a day on midnight.
        return None
    hour = _hour_of_24(path, int(time["hour"]), time["ampm"])
    return _as_utc(
        path,
        _zone(path, time["zone"], zone),
        int(date["year"]),
        int(date["month"] or date["month_y"]),
        int(date["day"]),
        hour,
        int(time["minute"]),
        int(time["second"] or 0),
    )
