"""What a file name says: presets per imager, and a lab's own pattern with named groups.

Times in names are the imager's wall clock unless they carry ``Z`` or an offset; the zone comes
from the source. A time that the clock shows twice (end of daylight saving) is taken as the first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import PurePath
from pkgutil import resolve_name
from zoneinfo import ZoneInfo

from monitor.capture.names.instruments import Read
from monitor.capture.names.light import NO_CHANNEL, Channel, Light, light_of
from monitor.capture.names.parts import (
    WallClock,
    after_start,
    as_utc,
    bad_name,
    hour_of_24,
    plain_well,
    shown_name,
    stem_of,
    zone_of,
)
from monitor.config import NAME_PRESETS, SourceSettings
from monitor.culture import NamedParts, StagePosition
from monitor.errors import CaptureError, ConfigError

__all__ = [
    "PRESETS",
    "NamePattern",
    "best_preset",
    "channel_text",
    "find_pattern",
    "left_out",
    "left_out_channel",
    "left_out_plane",
    "light_in",
    "parse_name",
    "shown_name",
]

OWN_PATTERN = "own"
AUTO = "auto"
_LONGEST_DISH = 200

_DATE = re.compile(
    r"(?P<year>\d{4})(?:(?P<s>[-_. /]?)(?P<month>\d{2})(?P=s)|y(?P<month_y>\d{1,2})m)"
    r"(?P<day>\d{2}|\d(?=d))d?"
)
_TIME = re.compile(
    r"(?P<hour>\d{1,2})[-_:.h]?(?P<minute>\d{2})m?(?:[-_:.]?(?P<second>\d{2})s?(?P<part>\.\d+)?)?"
    r"\s*(?P<ampm>[AaPp][Mm])?\s*(?P<zone>Z|[+-]\d{2}:?\d{2})?"
)
_ELAPSED = re.compile(
    r"(?:(\d{1,4})d)?(?:(\d{1,5})h)?(?:(\d{1,6})m(?:in)?)?(?:(\d{1,7})s)?", re.ASCII
)
_BETWEEN_DATE_AND_TIME = "T_ -"


@dataclass(frozen=True)
class NamePattern:
    """How one kind of imager names its files.

    whole_well : one picture shows the whole round well
    automatic : may be chosen without being asked for
    """

    name: str
    description: str
    example: str
    read: Read
    whole_well: bool = False
    automatic: bool = True

    def parse(
        self, path: PurePath, zone: ZoneInfo, start: datetime | None = None
    ) -> NamedParts | None:
        """What the name of `path` says; None where it does not fit the pattern.

        path : relative to the source's folder, or absolute
        start : aware UTC; when the experiment began, for names that give the time since then
        Raises CaptureError (reason ``bad-name``) for a name that fits but says something
        impossible, such as the 31st of February.
        """
        parts = self.read(path, WallClock(zone, start))
        if parts is not None:
            check_dish(path, parts.dish)
        return parts


def find_pattern(spec: str) -> NamePattern | None:
    """The pattern that a source's setting `names` means; None for "auto".

    spec : "auto", the name of a preset, or a regular expression with named groups
    Raises ConfigError for anything else.
    """
    if spec == AUTO:
        return None
    if "(?P<" in spec:
        return _own_pattern(spec)
    if spec in PRESETS:
        return PRESETS[spec]
    raise ConfigError(
        f"there is no name pattern {spec!r}; use auto, {', '.join(PRESETS)}, or a regular "
        "expression with named groups such as (?P<dish>...)"
    )


def parse_name(
    path: PurePath, spec: str, zone: ZoneInfo, start: datetime | None = None
) -> NamedParts:
    """What the name of `path` says by the source's setting `names`.

    spec : as in `find_pattern`; "auto" takes the first preset that fits
    start : as in `NamePattern.parse`
    Raises CaptureError, reason ``no-name-match`` or ``bad-name``; ConfigError as `find_pattern`.
    """
    pattern = find_pattern(spec)
    tried = [pattern] if pattern else [one for one in PRESETS.values() if one.automatic]
    for one in tried:
        parts = one.parse(path, zone, start)
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


def check_dish(path: PurePath, dish: str) -> None:
    """Raises CaptureError (reason ``bad-name``) for an id that no dish can have."""
    # The id ends up in a database, in mails and in file names of the picker.
    if not dish.strip() or not dish.isprintable() or len(dish) > _LONGEST_DISH:
        raise CaptureError(
            f"{shown_name(path)}: the dish id {shown_name(dish)!r} is empty, too long or not "
            "printable text; rename the file or correct the source's `names`",
            reason="bad-name",
        )


def left_out(named: NamedParts, settings: SourceSettings, said: Channel = NO_CHANNEL) -> str | None:
    """Why a file is none of ours whatever lies beside it, such as "channel C1"; None otherwise.

    Imagers write each channel and each height of a field into files of their own. One of them
    says what the dish is like; a second would count the same cells again, and fluorescence shows
    other things than the model knows. Without a `channel` setting everything is taken that neither
    instrument nor name calls fluorescence.

    said : what the file's own metadata or its sidecar say of its channel
    """
    return left_out_channel(named, settings, said) or left_out_plane(named, settings)


def left_out_channel(named: NamedParts, settings: SourceSettings, said: Channel) -> str | None:
    """By its channel or its light alone."""
    if settings.channel is None:
        is_ours = light_in(named, said) is not Light.FLUORESCENCE
    else:
        names = [name for name in (named.channel, said.name) if name]
        if said.light is Light.TRANSMITTED:
            # The lamp's setting may stand behind it: "TL 50".
            names.append(re.sub(r"\s+\d{1,3}\s?%?$", "", said.name))
        keys = set[str]().union(*map(_channel_keys, names))
        is_ours = not keys or bool(keys & _channel_keys(settings.channel))
    return None if is_ours else channel_text(named, said)


def left_out_plane(named: NamedParts, settings: SourceSettings) -> str | None:
    """By its height alone; whether a projection is taken depends on what lies beside it."""
    if named.plane is None or named.plane == settings.plane:
        return None
    return f"plane {named.plane}"


def light_in(named: NamedParts, said: Channel) -> Light | None:
    """With which light a file was taken: by its instrument, else by its name."""
    if said.light is not None:
        return said.light
    number = {"incucyte-raw": r"[Cc]\d"}.get(named.pattern, r"(?i:colou?r)[ _]?\d")
    if named.pattern.startswith("incucyte") and re.fullmatch(number, named.channel or ""):
        return Light.FLUORESCENCE
    return light_of(named.channel)


def channel_text(named: NamedParts, said: Channel, note: str = "") -> str:
    """How a file's channel is called where it is counted: ``channel w2 (DAPI)``."""
    names = [shown_name(text) for text in (named.channel, said.name) if text]
    if len(names) == 2 and _channel_keys(names[0]) & _channel_keys(names[1]):
        del names[1]
    if note:
        names.append(note)
    first = names[0] if names else "without a name"
    return f"channel {first} ({', '.join(names[1:])})" if names[1:] else f"channel {first}"


def _channel_keys(text: str) -> set[str]:
    """Forms under which a channel may be meant: ``Tsf[Phase Contrast]`` -> phasecontrast, ..."""
    plain = re.sub(r"[\s_-]", "", text).lower()
    keys = {plain}
    bracketed = re.fullmatch(r"[^\[]*\[(.+)\]", plain)
    if bracketed:
        keys.add(bracketed[1])
    number = re.fullmatch(r"(?:ch|c|w)?(\d{1,4})", plain)
    if number:
        keys.add(str(int(number[1])))
    return keys


# --- presets ------------------------------------------------------------------------------------

PRESETS: Mapping[str, NamePattern] = {
    name: NamePattern(
        name,
        preset.description,
        preset.example,
        resolve_name(f"{__package__}.{preset.read}"),
        whole_well=preset.whole_well,
        automatic=preset.automatic,
    )
    for name, preset in NAME_PRESETS.items()
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
            f"names: {spec!r} does not give the dish; add a group (?P<dish>...) or (?P<well>...)"
        )

    def read(path: PurePath, clock: WallClock) -> NamedParts | None:
        for text in _tails(path):
            found = pattern.fullmatch(text)
            if found is not None:
                return _from_groups(path, found.groupdict(), clock)
        found = pattern.search(path.name)
        return None if found is None else _from_groups(path, found.groupdict(), clock)

    return NamePattern(OWN_PATTERN, "the lab's own pattern", spec, read, automatic=False)


def _tails(path: PurePath) -> Iterator[str]:
    """The name, then the name with ever more of its folders; each without and with extension."""
    parts = [part for part in path.parts if part != path.anchor]
    for count in range(1, len(parts) + 1):
        folders = "".join(f"{part}/" for part in parts[-count:-1])
        yield folders + stem_of(parts[-1])
        yield folders + parts[-1]


def _from_groups(path: PurePath, groups: dict[str, str | None], clock: WallClock) -> NamedParts:
    said = {name: text for name, text in groups.items() if text}
    well = plain_well(said["well"]) if "well" in said else None
    plate = said.get("dish") or said.get("plate") or said.get("barcode")
    dish = "/".join(part for part in (plate, well) if part)
    pixel_size_um = None
    if "pixel_size_um" in said:
        pixel_size_um = _number(path, said["pixel_size_um"], "pixel size")
        if not 0.01 <= pixel_size_um <= 100:
            raise bad_name(path, f"{pixel_size_um} um cannot be the size of a pixel")
    acquired_at = _time_of(path, said, clock.zone)
    elapsed = _elapsed_of(path, said)
    if acquired_at is None and elapsed is not None:
        acquired_at = after_start(path, clock, elapsed)
    return NamedParts(
        dish=dish,
        pattern=OWN_PATTERN,
        field=said.get("field"),
        scan=said.get("scan") or said.get("elapsed"),
        channel=said.get("channel"),
        plane=None if "plane" not in said else int(_number(path, said["plane"], "plane")),
        projection=said.get("projection"),
        acquired_at=acquired_at,
        elapsed_s=None if elapsed is None else elapsed.total_seconds(),
        pixel_size_um=pixel_size_um,
        stage=_stage_of(path, said),
    )


def _elapsed_of(path: PurePath, said: Mapping[str, str]) -> timedelta | None:
    if "elapsed" not in said:
        return None
    found = _ELAPSED.fullmatch(said["elapsed"].strip())
    if found is None or not any(found.groups()):
        raise bad_name(
            path,
            f"{shown_name(said['elapsed'])!r} is not a time since the start (00d04h00m, 4h, 240m)",
        )
    days, hours, minutes, seconds = (int(text or 0) for text in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


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
        raise bad_name(
            path,
            f"{shown_name(f'{date_text} {time_text}'.strip())!r} is not understood as date and "
            "time (known: 20261102, 2026-11-02, 2026y11m02d with 0300, 03-00-59, 03h00m, "
            "030059Z)",
        )
    if time is None:
        # A day without a time of day would put all scans of a day on midnight.
        return None
    hour = hour_of_24(path, int(time["hour"]), time["ampm"])
    return as_utc(
        path,
        zone_of(path, time["zone"], zone),
        int(date["year"]),
        int(date["month"] or date["month_y"]),
        int(date["day"]),
        hour,
        int(time["minute"]),
        int(time["second"] or 0),
    )


def _number(path: PurePath, text: str, what: str) -> float:
    try:
        number = float(text.replace(",", "."))
    except ValueError as problem:
        raise bad_name(path, f"{shown_name(text)!r} is not a {what}") from problem
    if not math.isfinite(number):
        raise bad_name(path, f"{shown_name(text)!r} is not a {what}")
    return number
