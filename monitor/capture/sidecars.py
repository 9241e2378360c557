"""Files that some imagers write beside their pictures: pixel size and time stand only there.

Nothing here raises for a side-car that is missing, damaged or hostile: the picture is then read
with what else is known. Places in a well, as they stand in these files, are no stage positions.
"""

from __future__ import annotations

import hashlib
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

from monitor.capture.metadata import (
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
from monitor.capture.name_parts import shown_name
from monitor.errors import CaptureError

log = logging.getLogger(__name__)

MAX_SIDECAR_BYTES = 512 * 2**20
_MOST_PICTURES = 1_000_000

# By the picture's name; "" holds for every picture.
_Found = dict[str, Said]
_Read = Callable[[Path, tzinfo], _Found]


def read_beside(path: Path, pattern: str, zone: tzinfo) -> Said | None:
    """What the side-car of a picture says of it; None where there is none.

    pattern : name of the preset that the picture's name fits: it tells which side-car to look for
    zone : of times that carry none
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
        if own is None:
            return common
        common = common or Said()
        return Said(
            pixel_size_um=own.pixel_size_um or common.pixel_size_um,
            acquired_at=own.acquired_at,
            not_square=own.not_square or common.not_square,
        )
    return None


def beside_hash(said: Said | None, of_companion: str = "") -> str:
    """Hash of what stands beside a picture, so that a change is noticed; empty where nothing does.

    said : what `read_beside` says
    of_companion : what `Picture.beside` says
    """
    said = None if said == Said() else said
    if said is None:
        return of_companion
    return hashlib.sha256(f"{said!r} {of_companion}".encode()).hexdigest()[:16]


def looks_beside(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """(path, size, mtime_ns) of side-cars and companions in the folder and in the one above."""
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
    """Raises CaptureError where the side-car alone says how large pixels are, and they differ.

    pixel_size_um : what the picture itself says
    shown : the picture's name, for the message
    """
    if pixel_size_um is None and said.not_square is not None:
        raise CaptureError(
            f"{shown}: by its side-car it {said.not_square}; correct the imager's calibration, or "
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
                size = _harmony_size(element)
                if size != Said():
                    by_channel[element.attributes["ChannelID"]] = size
            elif element.name == "Image" and len(pictures) < _MOST_PICTURES:
                url = child_text(element, "URL")
                if url is not None:
                    pictures[url] = (
                        child_text(element, "ChannelID"),
                        _harmony_size(element),
                        _iso_time(child_text(element, "AbsTime"), zone),
                    )
    return {
        url: replace(
            by_channel.get(channel or "", size) if size == Said() else size, acquired_at=at
        )
        for url, (channel, size, at) in pictures.items()
    }


def _harmony_size(element: Element) -> Said:
    sizes = []
    for axis in "XY":
        child = element.children.get(f"ImageResolution{axis}")
        unit = "m" if child is None else child.attributes.get("Unit", "m")
        sizes.append(None if child is None else length_um(child.text.strip(), unit))
    return _pixels(sizes[0], sizes[1])


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
    "incell": (("*.xdce", _incell),),
}

_NAMES_BESIDE = {
    *(name for readers in _SIDECARS.values() for name, _ in readers),
    "*.companion.ome",
}
