"""What a capture is called: by its name, and by the well that its OME-XML puts it into.

Some programs write the fields of a plate as ``run_p000.ome.tiff``, and so on: the well stands
only in the OME-XML (Plate, Well, WellSample, ImageRef). The plate is then what name or folder say.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path, PurePath
from zoneinfo import ZoneInfo

import tifffile

from monitor.capture.formats.image import UnreadableError
from monitor.capture.formats.ome_xml import Ome, OmeWell, ome_of
from monitor.capture.names.parts import bad_name, folders_of, shown_name, stem_of
from monitor.capture.names.patterns import AUTO, check_dish, parse_name
from monitor.culture import NamedParts
from monitor.errors import CaptureError

BY_OME_XML = "ome-xml"
_TIFF_EXTENSIONS = (".tif", ".tiff", ".btf", ".tf8")
_LONGEST_DESCRIPTION = 64 * 2**20
_WELL = re.compile(r"[A-Za-z]{1,2}0*[1-9]\d?")
# The number of the field that writers put behind a run's name.
_POSITION = re.compile(r"[_-](?:p|pos|position|s|site)0*\d+$", re.IGNORECASE)


def name_capture(
    path: PurePath, spec: str, zone: ZoneInfo, start: datetime | None = None
) -> NamedParts:
    """As `parse_name`, with the well of the OME-XML where the name says none.

    path : a file that is not there, or cannot be read, is named by its name alone
    Raises CaptureError as `parse_name` does; with reason ``bad-name`` where name and OME-XML say
    two wells, and ``no-companion`` where the description that would say the well is missing.
    """
    try:
        named = parse_name(path, spec, zone, start)
    except CaptureError as problem:
        if problem.reason != "no-name-match" or spec != AUTO:
            raise
        well = _well_of(path, problem)
        if well is None:
            raise
        named = _by_run(path, zone, start)
        return _put_into(path, named, well)
    if _says_a_well(named.dish) and ".ome." not in path.name.lower():
        return named
    well = _well_of(path, None)
    return named if well is None else _put_into(path, named, well)


def _by_run(path: PurePath, zone: ZoneInfo, start: datetime | None) -> NamedParts:
    """What the name says without the number of the field; else it names the plate."""
    stem = stem_of(path.name)
    run = _POSITION.sub("", stem)
    try:
        if run and run != stem:
            return parse_name(path.with_name(run + path.name[len(stem) :]), AUTO, zone, start)
    except CaptureError as problem:
        if problem.reason != "no-name-match":
            raise
    if not run or re.fullmatch(r"p?\d+", run):
        run = next(reversed(folders_of(path)), "") or stem
    return NamedParts(dish=run, pattern=BY_OME_XML)


def _put_into(path: PurePath, named: NamedParts, well: OmeWell) -> NamedParts:
    field = named.field if named.field is not None else str(well.field)
    if _says_a_well(named.dish):
        said = named.dish.rpartition("/")[2]
        if _plain(said) != _plain(well.name):
            raise bad_name(
                path,
                f"it gives the well {shown_name(said)}, and its OME-XML {shown_name(well.name)}",
            )
        return replace(named, field=field)
    placed = replace(named, dish=f"{named.dish}/{well.name}", field=field)
    check_dish(path, placed.dish)
    return placed


def _says_a_well(dish: str) -> bool:
    return _WELL.fullmatch(dish.rpartition("/")[2]) is not None


def _plain(well: str) -> str:
    found = re.fullmatch(r"(\D*)0*(\d*)", well.upper())
    return well.upper() if found is None else found[1] + found[2]


# --- the file -----------------------------------------------------------------------------------


def _well_of(path: PurePath, nameless: CaptureError | None) -> OmeWell | None:
    """nameless : the file has no other name; a companion that is missing is then said"""
    if not isinstance(path, Path) or path.suffix.lower() not in _TIFF_EXTENSIONS:
        return None
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            return None
        return _read_well(path, about.st_size, about.st_mtime_ns)
    except UnreadableError as problem:
        if nameless is not None and problem.reason == "no-companion":
            raise CaptureError(
                f"{shown_name(path)}: {problem}, and its name gives no dish; copy it into the "
                "same folder; it is retried automatically",
                reason="no-companion",
                transient=True,
            ) from nameless
        return None
    except Exception:  # a damaged file raises whatever it likes, and its reader says what is wrong
        return None


@lru_cache(maxsize=4096)
def _read_well(path: Path, size: int, mtime_ns: int) -> OmeWell | None:
    """Once a version of the file: it is named at each look."""
    del size, mtime_ns
    ome = _ome_of(path)
    return None if ome is None else ome.well()


def companion_hash(path: Path) -> str:
    """What `Image.beside` would be of the file now; empty where no other file describes it."""
    if path.suffix.lower() not in _TIFF_EXTENSIONS:
        return ""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return ""
        ome = _ome_of(path)
        return "" if ome is None else ome.beside()
    except Exception:  # a damaged file raises whatever it likes
        return ""


def _ome_of(path: Path) -> Ome | None:
    with (
        open(path, "rb", opener=_without_waiting) as file,
        tifffile.TiffFile(file, _multifile=False) as tiff,
    ):
        tag = tiff.pages.first.tags.get(270)
        if tag is None or tag.count > _LONGEST_DESCRIPTION:
            return None
        description = str(tag.value or "")
    return ome_of(description, ZoneInfo("UTC"), path)


def _without_waiting(name: str, flags: int) -> int:
    # Without O_NONBLOCK a FIFO that took the file's place would hold us for ever.
    return os.open(name, flags | os.O_NONBLOCK | os.O_CLOEXEC)
