"""Files that some imagers write beside their pictures: pixel size and time stand only there.

Nothing here raises for a sidecar that is missing, damaged or hostile: the picture is then read
with what else is known. Places in a well, as they stand in these files, are no stage positions.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, tzinfo
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import IO

from monitor.capture.formats.metadata import (
    Element,
    NotSquareError,
    Said,
    XmlRefusedError,
    child_text,
    elements,
    in_utc,
    length_um,
    real,
    square_pixel_um,
)
from monitor.capture.names.light import NO_CHANNEL, Light, channel_called
from monitor.capture.names.parts import shown_name
from monitor.errors import CaptureError

log = logging.getLogger(__name__)

MAX_SIDECAR_BYTES = 512 * 2**20
_MOST_PICTURES = 1_000_000

# By the picture's name; "" holds for every picture, and a channel has this before its name.
_OF_CHANNEL = "/"
_Found = dict[str, Said]
_Read = Callable[[Path, tzinfo], _Found]


def read_beside(path: Path, pattern: str, zone: tzinfo, channel: str | None = None) -> Said | None:
    """What the sidecar of a picture says of it; None where there is none.

    pattern : name of the preset that the picture's name fits: it tells which sidecar to look for
    zone : of times that carry none
    channel : as the name calls it
    """
    sidecars = _SIDECARS.get(pattern, ())
    for folder in (path.parent, path.parent.parent):
        found: _Found = {}
        for name, read in sidecars:
            for file in _files(folder, name):
                found |= _cached(file, read, zone)
        if not found:
            continue
        common, own = found.get(""), found.get(path.name)
        own = own or found.get(f"{_OF_CHANNEL}{channel}")
        if own is None:
            return common
        return replace(_either(own, common or Said()), acquired_at=own.acquired_at)
    return None


def beside_hash(said: Said | None, of_companion: str = "") -> str:
    """Hash of what stands beside a picture, so that a change is noticed; empty where nothing does.

    said : what `read_beside` says
    of_companion : what `Image.beside` says
    """
    said = None if said == Said() else said
    if said is None:
        return of_companion
    return hashlib.sha256(f"{said!r} {of_companion}".encode()).hexdigest()[:16]


def looks_beside(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """(path, size, mtime_ns) of sidecars and companions in the folder and in the one above."""
    found = []
    for place in (folder, folder.parent):
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    if any(fnmatchcase(entry.name, name) for name in _NAMES_BESIDE):
                        about = entry.stat()
                        found.append((entry.path, about.st_size, about.st_mtime_ns))
        except OSError:
            continue
    return tuple(sorted(found))


def check_square(said: Said, pixel_size_um: float | None, shown: str) -> None:
    """Raises CaptureError where the sidecar alone says how large pixels are, and they differ.

    pixel_size_um : what the picture itself says
    shown : the picture's name, for the message
    """
    if pixel_size_um is None and said.not_square is not None:
        raise CaptureError(
            f"{shown}: by its sidecar it {said.not_square}; correct the imager's calibration, or "
            "export it with square pixels",
            reason="unsupported",
        )


def _files(folder: Path, name: str) -> list[Path]:
    try:
        return sorted(folder.glob(name))[:2] if "*" in name else [folder / name]
    except OSError:
        return []


def _cached(file: Path, read: _Read, zone: tzinfo) -> Mapping[str, Said]:
    try:
        status = file.stat()
    except (OSError, ValueError):
        return {}
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_SIDECAR_BYTES:
        return {}
    return _read(file, read, zone, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=8)
def _read(file: Path, read: _Read, zone: tzinfo, size: int, mtime_ns: int) -> Mapping[str, Said]:
    """Once a version of the file: a plate's index names every picture of the plate."""
    try:
        return read(file, zone)
    except (XmlRefusedError, OSError) as problem:
        log.warning("%s: is not used (%s)", shown_name(file), shown_name(str(problem)))
        return {}


def _harmony(file: Path, zone: tzinfo) -> _Found:
    """Index.idx.xml of Operetta and Opera Phenix: lengths in metres, by picture or by channel."""
    by_channel: dict[str, Said] = {}
    pictures: dict[str, tuple[str | None, Said, datetime | None]] = {}
    with _open(file) as stream:
        for element in elements(stream):
            if element.name == "Entry" and "ChannelID" in element.attributes:
                # Sizes, names and other things of a channel stand in an entry each.
                number = element.attributes["ChannelID"]
                by_channel[number] = _either(by_channel.get(number, Said()), _harmony_said(element))
            elif element.name == "Image" and len(pictures) < _MOST_PICTURES:
                url = child_text(element, "URL")
                if url is not None:
                    pictures[_name_in(url)] = (
                        child_text(element, "ChannelID"),
                        _harmony_said(element),
                        _iso_time(child_text(element, "AbsTime"), zone),
                    )
    return {
        name: replace(_either(said, by_channel.get(channel or "", Said())), acquired_at=at)
        for name, (channel, said, at) in pictures.items()
    }


def _name_in(url: str) -> str:
    """Harmony 7 has the well's folder before the name."""
    return url.replace("\\", "/").rpartition("/")[2]


def _either(first: Said, second: Said) -> Said:
    """What the first says of pixels and channel, else the second."""
    is_sized = first.pixel_size_um is not None or first.not_square is not None
    sized = first if is_sized else second
    named = first if first.channel != NO_CHANNEL else second
    return Said(
        pixel_size_um=sized.pixel_size_um, not_square=sized.not_square, channel=named.channel
    )


_HARMONY_LIGHT = {
    "brightfield": Light.TRANSMITTED,
    "transmission": Light.TRANSMITTED,
    "transmitted": Light.TRANSMITTED,
    "fluorescence": Light.FLUORESCENCE,
    "epifluorescence": Light.FLUORESCENCE,
}


def _harmony_said(element: Element) -> Said:
    """Pixel size and channel of a picture or of a channel's entry."""
    sizes = []
    for axis in "XY":
        child = element.children.get(f"ImageResolution{axis}")
        unit = "m" if child is None else child.attributes.get("Unit", "m")
        sizes.append(None if child is None else length_um(child.text.strip(), unit))
    channel = channel_called(child_text(element, "ChannelName"))
    for kind in ("ChannelType", "IlluminationType"):
        light = _HARMONY_LIGHT.get((child_text(element, kind) or "").lower().replace(" ", ""))
        channel = channel if channel.light is not None else replace(channel, light=light)
    return replace(_pixels(sizes[0], sizes[1]), channel=channel)


def _pixels(x: float | None, y: float | None) -> Said:
    try:
        return Said(pixel_size_um=square_pixel_um(x, y))
    except NotSquareError as problem:
        return Said(not_square=str(problem))


def _yokogawa_records(file: Path, zone: tzinfo) -> _Found:
    """MeasurementData.mlf: a record a picture."""
    found: _Found = {}
    with _open(file) as stream:
        for element in elements(stream):
            if element.name == "MeasurementRecord" and len(found) < _MOST_PICTURES:
                at = _iso_time(element.attributes.get("Time"), zone)
                found[element.text.strip()] = Said(acquired_at=at)
    return found


def _yokogawa_detail(file: Path, zone: tzinfo) -> _Found:
    """MeasurementDetail.mrf: pixel sizes in um, one a channel; used where all agree."""
    sizes = set()
    with _open(file) as stream:
        for element in elements(stream):
            if element.name == "MeasurementChannel":
                x, y = (
                    real(element.attributes.get(f"{axis}PixelDimension"))
                    for axis in ("Horizontal", "Vertical")
                )
                sizes.add(_pixels(x, y))
    return {"": sizes.pop()} if len(sizes) == 1 else {}


def _incell(file: Path, zone: tzinfo) -> _Found:
    """The .xdce of an IN Cell Analyzer: pixel size of the objective, um."""
    sizes = set()
    with _open(file) as stream:
        for element in elements(stream):
            if element.name == "ObjectiveCalibration":
                x, y = (real(element.attributes.get(f"pixel_{side}")) for side in _SIDES)
                sizes.add(_pixels(x, y))
    return {"": sizes.pop()} if len(sizes) == 1 else {}


_SIDES = ("width", "height")


def _imagexpress_ai(file: Path, zone: tzinfo) -> _Found:
    """The .jdce of an ImageXpress (HCS.ai): pixel size of all, the light of each wavelength."""
    del zone
    try:
        with _open(file) as stream:
            protocol = json.load(stream)["ImageStack"]["AutoLeadAcquisitionProtocol"]
        objective = protocol.get("ObjectiveCalibration", {})
        unit = str(objective.get("Unit") or "um")
        x, y = (length_um(str(objective.get(f"Pixel{side}")), unit) for side in ("Width", "Height"))
        found = {"": _pixels(x, y)}
        for number, wavelength in enumerate(protocol.get("Wavelengths", [])):
            filters = [wavelength.get(f"{kind}Filter") or {} for kind in ("Emission", "Excitation")]
            name = next((str(one["Name"]) for one in filters if one.get("Name")), None)
            number = int(wavelength.get("Index", number))
            found[_OF_CHANNEL + f"w{number}"] = Said(channel=channel_called(name))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as problem:
        raise XmlRefusedError(f"it is not a protocol: {problem!r}") from problem
    return found


def _open(file: Path) -> IO[bytes]:
    # Without O_NONBLOCK a FIFO that took the file's place would hold us for ever.
    return os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")


def _iso_time(text: str | None, zone: tzinfo) -> datetime | None:
    try:
        return in_utc(datetime.fromisoformat(text.strip()), zone) if text else None
    except ValueError:
        return None


_SIDECARS: Mapping[str, tuple[tuple[str, _Read], ...]] = {
    "operetta": (("Index.idx.xml", _harmony), ("Index.xml", _harmony)),
    "yokogawa": (
        ("MeasurementData.mlf", _yokogawa_records),
        ("MeasurementDetail.mrf", _yokogawa_detail),
    ),
    "imagexpress-hcs": (("*.jdce", _imagexpress_ai),),
    "incell": (("*.xdce", _incell),),
}

_NAMES_BESIDE = {
    *(name for readers in _SIDECARS.values() for name, _ in readers),
    "*.companion.ome",
}
