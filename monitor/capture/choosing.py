"""Of the pictures that an imager writes of a field, each into a file, the one to look at.

One says what the dish is like. A second would weigh the same cells twice, and fluorescence shows
what the model was never taught. The choice is by rule and never by which file came first:

- Channels: the source's `channel`, by any name that the file, its sidecar or its name has for it.
  Without that setting, never fluorescence; of the other channels in a folder those in transmitted
  light before those of which nothing is known, and of several the lowest in number, else by name.
- Planes: the source's `plane`. A projection is taken where that plane of its field is not there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

from monitor.capture.formats.first_look import channel_shown
from monitor.capture.names.instruments import PROJECTION
from monitor.capture.names.light import NO_CHANNEL, Channel, Light
from monitor.capture.names.patterns import channel_text, left_out, light_in, parse_name, shown_name
from monitor.capture.names.plate_folders import folder_number
from monitor.capture.naming import name_capture
from monitor.capture.walking import is_capture_name
from monitor.config import SourceSettings
from monitor.culture import NamedParts
from monitor.errors import CaptureError

_FOLDERS_KEPT = 256
# Preset and plate: two plates in one folder may have other channels.
_Group = tuple[str, str]
_Plane = tuple[str, str | None, str | None, int]


@dataclass(eq=False)
class _Folder:
    """What is known of a folder. channels : of each group, with a file that has it"""

    names: set[str] = field(default_factory=set)
    mtime_ns: int = -1
    channels: dict[_Group, dict[str, Path]] = field(default_factory=dict)
    planes: set[_Plane] = field(default_factory=set)


def _folder_of(_path: Path, _names: str) -> _Folder:
    """Nothing is known yet of a folder, read by a preset or pattern."""
    return _Folder()


@dataclass(frozen=True)
class Choice:
    """named : with what the folders say of projections. channel : what file and sidecar say

    left_out : why another picture of its field is looked at, such as ``channel w2 (DAPI)``; None =
        it is the one
    """

    named: NamedParts
    channel: Channel = NO_CHANNEL
    left_out: str | None = None


class FieldChooser:
    """Remembers what lies in a folder, so that each is listed once."""

    def __init__(self) -> None:
        self._folder = lru_cache(maxsize=_FOLDERS_KEPT)(_folder_of)
        self._lights: dict[Path, Channel] = {}

    def choose(self, path: Path, settings: SourceSettings) -> Choice:
        """Whether a file is the one to look at. Raises CaptureError as `name_capture` does."""
        zone = settings.zone
        named = self._named(path, settings, zone)
        channel, is_chosen = channel_shown(
            path, named.pattern, named.channel, zone, settings.channel
        )
        why = left_out(named, settings, channel)
        if why is None and not is_chosen:
            why = channel_text(named, channel)
        if why is None and settings.channel is None and named.channel is not None:
            why = self._by_other_channels(path, named, channel, settings)
        if why is None and named.projection is not None and settings.plane != PROJECTION:
            folder = path.parent if folder_number(path, "ZStep") is None else path.parent.parent
            if self._has_plane_below(folder, path, named, settings) or self._holds(
                path.parent, named, settings.plane, settings
            ):
                kind = named.projection
                why = PROJECTION if kind == PROJECTION else f"{PROJECTION} {shown_name(kind)}"
        return Choice(named, channel, why)

    def name(self, path: Path, settings: SourceSettings) -> NamedParts:
        """As `name_capture`; beside the planes of its stack a picture is its projection."""
        return self._named(path, settings, settings.zone)

    def _named(self, path: Path, settings: SourceSettings, zone: ZoneInfo) -> NamedParts:
        named = name_capture(path, settings.names, zone, settings.start)
        is_plain = named.plane is None and named.projection is None
        if (
            named.pattern == "imagexpress"
            and is_plain
            and self._has_plane_below(path.parent, path, named, settings)
        ):
            named = replace(named, projection=PROJECTION)
        return named

    # --- planes --------------------------------------------------------------------------------

    def _has_plane_below(
        self, folder: Path, path: Path, named: NamedParts, settings: SourceSettings
    ) -> bool:
        """Does a folder of the plane that the settings want hold this field?"""
        wanted = 1 if settings.plane == PROJECTION else settings.plane
        for within in (folder / f"ZStep_{wanted}", folder / f"ZStep{wanted}"):
            if (within / path.name).exists():
                return True
            if within.is_dir() and self._holds(within, named, wanted, settings):
                return True
        return False

    def _holds(
        self, folder: Path, named: NamedParts, plane: int | str, settings: SourceSettings
    ) -> bool:
        key = (named.dish, named.field, named.channel, plane)
        known = self._folder(folder, settings.names)
        return key in known.planes or (self._list(folder, known, settings) and key in known.planes)

    # --- channels ------------------------------------------------------------------------------

    def _by_other_channels(
        self, path: Path, named: NamedParts, channel: Channel, settings: SourceSettings
    ) -> str | None:
        """Why it is another channel of its folder that is looked at."""
        name = named.channel or ""
        group = _group(named)
        known = self._folder(path.parent, settings.names)
        if known.mtime_ns < 0:
            self._list(path.parent, known, settings)
        there = known.channels.setdefault(group, {})
        there.setdefault(name, path)
        mine = _rank(name, light_in(named, channel))
        for other, example in sorted(there.items()):
            if other == name:
                continue
            light = self._light_of(example, settings)
            if light is not Light.FLUORESCENCE and _rank(other, light) < mine:
                if example.exists():
                    unknown = light_in(named, channel) is None
                    return channel_text(named, channel, "light not known" if unknown else "")
                del there[other]  # it went away; should there be more, they are found with it
                known.mtime_ns = -1
                known.names.clear()
        return None

    def _light_of(self, example: Path, settings: SourceSettings) -> Light | None:
        """Of a channel, by one of its files; asked again as long as nothing is known."""
        found = self._lights.get(example)
        if found is None:
            try:
                named = parse_name(example, settings.names, settings.zone, settings.start)
            except CaptureError:
                return None
            said, _ = channel_shown(
                example, named.pattern, named.channel, settings.zone, settings.channel
            )
            found = replace(said, light=light_in(named, said))
            if found.light is not None:
                if len(self._lights) >= 8 * _FOLDERS_KEPT:
                    self._lights.clear()
                self._lights[example] = found
        return found.light

    # --- folders -------------------------------------------------------------------------------

    def _list(self, folder: Path, known: _Folder, settings: SourceSettings) -> bool:
        """Note what is new in a folder. False where it has not changed since."""
        try:
            mtime_ns = folder.stat().st_mtime_ns
            if mtime_ns == known.mtime_ns:
                return False
            names = sorted(one.name for one in folder.iterdir() if is_capture_name(one.name))
        except OSError:
            return False
        known.mtime_ns = mtime_ns
        for name in names:
            if name in known.names:
                continue
            known.names.add(name)
            try:
                parts = parse_name(folder / name, settings.names, settings.zone, settings.start)
            except CaptureError:
                continue
            if parts.plane is not None:
                known.planes.add((parts.dish, parts.field, parts.channel, parts.plane))
            if parts.channel is not None:
                of_group = known.channels.setdefault(_group(parts), {})
                of_group.setdefault(parts.channel, folder / name)
        return True


def _group(named: NamedParts) -> _Group:
    return named.pattern, named.dish.rpartition("/")[0]


def _rank(channel: str, light: Light | None) -> tuple[bool, int, str]:
    """Less is better: transmitted light, a low number, an early name."""
    number = re.search(r"\d+", channel)
    return light is not Light.TRANSMITTED, int(number[0]) if number else 0, channel
