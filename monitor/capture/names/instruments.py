"""How each kind of imager names its files: one function a kind, path -> what the name says.

Each returns None for a name that is not its own, and raises CaptureError (reason ``bad-name``)
for one that is and says something impossible. Planes are counted from 1.

Where a name does not say the plate, its folder does (`plate_folders`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import PurePath

from monitor.capture.names.light import Light, light_of
from monitor.capture.names.parts import (
    WallClock,
    after_start,
    as_utc,
    bad_name,
    folders_of,
    hour_of_24,
    plain_well,
    stem_of,
    well_at,
    zone_of,
)
from monitor.capture.names.plate_folders import dish_of, folder_number, plate_folder, visit_folder
from monitor.culture import NamedParts, StagePosition

Read = Callable[[PurePath, WallClock], NamedParts | None]

PROJECTION = "projection"  # of a kind that the name does not say


# --- plate imager with dates in American order (Celigo and its kin) -----------------------------

_CELIGO = re.compile(
    r"(?P<barcode>.+?)_Scan_(?P<month>\d{1,2})-(?P<day>\d{1,2})-(?P<year>\d{4})"
    r"-(?P<hour>\d{1,2})-(?P<minute>\d{2})-(?P<second>\d{2})-(?P<half>AM|PM)"
    r"_Well_(?P<well>[A-Za-z]{1,2}\d{1,2})"
    r"(?:_Xmm(?P<x_mm>-?\d+(?:\.\d+)?)_Ymm(?P<y_mm>-?\d+(?:\.\d+)?))?"
    r"_(?P<channel>Ch\d+)(?:_(?P<pixel_size>-?\d+(?:\.\d+)?)um)?(?P<resized>_resized)?",
    re.IGNORECASE | re.ASCII,
)


def _celigo(path: PurePath, clock: WallClock, *, name: str) -> NamedParts | None:
    found = _CELIGO.fullmatch(stem_of(path.name))
    is_field = name == "celigo-field"
    if found is None or (found["x_mm"] is not None) != is_field:
        return None
    year, month, day, hour, minute, second = (
        int(found[part]) for part in ("year", "month", "day", "hour", "minute", "second")
    )
    hour = hour_of_24(path, hour, found["half"])
    acquired_at = as_utc(path, clock.zone, year, month, day, hour, minute, second)
    # "-1um" means that the imager did not say, and a resized picture has lost its own scale.
    pixel_size_um = float(found["pixel_size"] or 0.0) if found["resized"] is None else 0.0
    stage = None
    if is_field:
        stage = StagePosition(_um(found["x_mm"]), _um(found["y_mm"]))
    return NamedParts(
        dish=f"{found['barcode']}/{plain_well(found['well'])}",
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


def celigo_field(path: PurePath, clock: WallClock) -> NamedParts | None:
    return _celigo(path, clock, name="celigo-field")


def celigo_well(path: PurePath, clock: WallClock) -> NamedParts | None:
    return _celigo(path, clock, name="celigo-well")


# --- ImageXpress --------------------------------------------------------------------------------

_IMAGEXPRESS = re.compile(
    r"(?P<experiment>.+?)_(?P<well>[A-Za-z]{1,2}\d{2})(?:_s(?P<site>\d+))?(?:_w(?P<wave>\d{1,2}))?"
    r"(?P<guid>_?\[?[0-9A-F]{8}-(?:[0-9A-F]{4}-){3}[0-9A-F]{12}\]?)?",
    re.IGNORECASE | re.ASCII,
)
_IMAGEXPRESS_AI = re.compile(
    r"(?P<protocol>.+)_t(?P<time>\d+)_(?P<well>[A-Za-z]{1,2}\d{2})_s(?P<site>\d+)_w(?P<wave>\d+)"
    r"_z(?P<plane>\d+)",
    re.ASCII,
)


def imagexpress(path: PurePath, clock: WallClock) -> NamedParts | None:
    """``TimePoint_1/ZStep_2/hips7_B02_s3_w1.TIF``; of one site or one wavelength neither is said.

    ``ZStep_0`` holds the projections of a stack; they may also lie beside the ``ZStep`` folders.
    """
    del clock
    found = _IMAGEXPRESS.fullmatch(stem_of(path.name))
    if found is None:
        return None
    step, time = folder_number(path, "ZStep"), folder_number(path, "TimePoint")
    if not (found["site"] or found["wave"] or found["guid"]):
        # Any name that ends like a well would fit; then the folders must be MetaXpress's own.
        is_known = step is not None or time is not None or _is_metaxpress(path, found["experiment"])
        if not is_known:
            return None
    well = plain_well(found["well"])
    return NamedParts(
        dish=dish_of(found["experiment"], well),
        pattern="imagexpress",
        field=found["site"],
        scan=None if time is None else f"{visit_folder(path, well)}/t{time}",
        channel=f"w{int(found['wave'])}" if found["wave"] else None,
        plane=step or None,
        projection=PROJECTION if step == 0 else None,
    )


def _is_metaxpress(path: PurePath, experiment: str) -> bool:
    """``9987_Plate_3420``, or ``hips7/2026-11-29/1697``: name, day and number of an acquisition."""
    folders = [name.lower() for name in folders_of(path)[-3:]]
    name = experiment.lower()
    if folders and re.fullmatch(re.escape(name) + r"_plate_\d+", folders[-1], re.ASCII):
        return True
    return len(folders) == 3 and folders[0] == name and folders[-1].isdecimal()


def imagexpress_ai(path: PurePath, clock: WallClock) -> NamedParts | None:
    del clock
    found = _IMAGEXPRESS_AI.fullmatch(stem_of(path.name))
    if found is None:
        return None
    return NamedParts(
        dish=dish_of(found["protocol"], plain_well(found["well"])),
        pattern="imagexpress-hcs",
        field=found["site"],
        scan=f"{visit_folder(path)}/t{int(found['time'])}",
        channel=f"w{int(found['wave'])}",
        plane=_plane(path, found["plane"], first=0),
    )


def _plane(path: PurePath, text: str, *, first: int) -> int:
    number = int(text) - first + 1
    if not 1 <= number <= 100_000:
        raise bad_name(path, f"it has no plane {text}")
    return number


# --- Operetta, Opera Phenix ---------------------------------------------------------------------

_OPERETTA = re.compile(
    r"r(?P<row>\d{2})c(?P<column>\d{2})f(?P<field>\d{2,4})p(?P<plane>\d{2,4})-ch(?P<channel>\d+)"
    r"sk(?P<time>\d+)fk\d+fl\d+",
    re.ASCII,
)
_HARMONY = re.compile(
    r"(?P<plate>.+)__(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})T"
    r"(?P<hour>\d{2})_(?P<minute>\d{2})_(?P<second>\d{2})-Measurement.*",
    re.ASCII,
)


def operetta(path: PurePath, clock: WallClock) -> NamedParts | None:
    found = _OPERETTA.fullmatch(stem_of(path.name))
    if found is None:
        return None
    well = well_at(int(found["row"]), int(found["column"]))
    if well is None:
        raise bad_name(path, f"no plate has row {found['row']} and column {found['column']}")
    plate, acquired_at = plate_folder(path, well), None
    # The pictures lie in it, in its folder Images, or in a folder a well.
    found_above = map(_HARMONY.fullmatch, reversed(folders_of(path)))
    measurement = next((one for one in found_above if one is not None), None)
    if measurement is not None:
        plate = measurement["plate"]
        if int(found["time"]) == 1:
            # The folder has the start of the measurement; later time points only stand in its XML.
            acquired_at = as_utc(
                path,
                clock.zone,
                *(
                    int(measurement[part])
                    for part in ("year", "month", "day", "hour", "minute", "second")
                ),
            )
    return NamedParts(
        dish=dish_of(plate, well),
        pattern="operetta",
        field=str(int(found["field"])),
        scan=f"{visit_folder(path, well)}/t{int(found['time'])}",
        channel=f"ch{found['channel']}",
        plane=_plane(path, found["plane"], first=1),
        acquired_at=acquired_at,
    )


# --- Cytation, Lionheart (Gen5) -----------------------------------------------------------------

_LABEL = r"(?P<channel>[A-Za-z][A-Za-z0-9 ,\[\]]*)"
_GEN5 = tuple(
    re.compile(pattern, re.ASCII)
    for pattern in (
        r"(?P<well>[A-Z]{1,2}\d{1,2})_(?P<step>-?\d+)_(?P<index>\d+)_(?P<field>\d+)"
        r"(?:Z(?P<plane_from_0>\d+))?_" + _LABEL + r"_(?P<time>\d+)",
        r"(?P<well>[A-Z]{1,2}\d{1,2})_(?P<step>-?\d+)(?:Z(?P<plane>\d+))?_"
        + _LABEL
        + r"_(?P<field>\d+)_(?P<index>\d+)_(?P<time>\d+)?",
        r"(?P<well>[A-Z]{1,2}\d{1,2})_(?P<step>-?\d+)_.{1,80}\[(?P<mode>.{1,80})_"
        + _LABEL
        + r"\]_(?P<field>\d+)_(?P<index>\d+)_(?P<time>-?\d+)?",
        r"(?P<well>[A-Z]{1,2}\d{1,2})ROI(?P<roi>\d+)_(?P<step>\d+)_(?P<index>\d+)_(?P<field>\d+)"
        r"(?:Z(?P<plane>\d+))?_" + _LABEL + r"_(?P<time>-?\d+)",
    )
)


_GEN5_PROJECTION = re.compile(r"Z ?Proj(?:ection)?\[(?P<channel>.+)\]", re.IGNORECASE)


def gen5(path: PurePath, clock: WallClock) -> NamedParts | None:
    del clock
    found = next((one for p in _GEN5 if (one := p.fullmatch(stem_of(path.name)))), None)
    if found is None:
        return None
    said = found.groupdict()
    field = said["field"] if not said.get("roi") else f"roi{said['roi']}-{said['field']}"
    time = said.get("time")
    plane = None
    for group, first in (("plane", 1), ("plane_from_0", 0)):
        if said.get(group) is not None:
            plane = _plane(path, said[group] or "", first=first)
    well = plain_well(said["well"] or "")
    projected = _GEN5_PROJECTION.fullmatch(said["channel"] or "")
    return NamedParts(
        dish=dish_of(plate_folder(path, well), well),
        pattern="gen5",
        field=field,
        scan=None if time is None else f"{visit_folder(path, well)}/t{int(time)}",
        channel=said["channel"] if projected is None else projected["channel"],
        projection=None if projected is None else PROJECTION,
        plane=plane,
    )


# --- IN Cell Analyzer ---------------------------------------------------------------------------

_INCELL = (
    re.compile(
        r"(?P<row>[A-Z]{1,2}) - (?P<column>\d{1,2})\(fld (?P<field>\d+)(?: wv (?P<channel>.+?))?"
        r"(?: z (?P<plane>\d+))?(?: time (?P<time>\d+) - (?P<ms>\d+)ms)?\)",
        re.ASCII,
    ),
    re.compile(
        r"(?P<row>[A-Z]{1,2})_(?P<column>\d{1,2})_f(?P<field>\d+)(?:_c(?P<number>\d+))?"
        r"(?:_x(?P<excitation>[^_]+))?(?:_m(?P<channel>[^_]+))?(?:_z(?P<plane>\d+))?"
        r"(?:_t(?P<time>\d+))?",
        re.ASCII,
    ),
)


def _incell_channel(said: Mapping[str, str | None]) -> str | None:
    """The emission's filter names it, unless there is none of the light that is emitted."""
    lit_by, seen_by = said.get("excitation"), said["channel"]
    if lit_by is not None and light_of(lit_by) is Light.TRANSMITTED:
        return f"{lit_by} - {seen_by}" if seen_by else lit_by
    return seen_by or lit_by


def incell(path: PurePath, clock: WallClock) -> NamedParts | None:
    found = next((one for p in _INCELL if (one := p.fullmatch(stem_of(path.name)))), None)
    if found is None:
        return None
    said = found.groupdict()
    plane, time, ms = said["plane"], said["time"], said.get("ms")
    well = plain_well(f"{said['row']}{said['column']}")
    acquired_at, elapsed_s = None, None
    if ms is not None:
        if len(ms) > 12:
            raise bad_name(path, f"{ms} ms is not a time since the start")
        elapsed_s = int(ms) / 1000
        acquired_at = after_start(path, clock, timedelta(milliseconds=int(ms)))
    number = f"c{said['number']}" if said.get("number") else None
    return NamedParts(
        dish=dish_of(plate_folder(path, well), well),
        pattern="incell",
        field=said["field"],
        scan=None if time is None else f"{visit_folder(path, well)}/t{int(time)}",
        channel=_incell_channel(said) or number,
        plane=None if plane is None else _plane(path, plane, first=1),
        acquired_at=acquired_at,
        elapsed_s=elapsed_s,
    )


# --- Yokogawa CQ1, CV7000 and their kin ---------------------------------------------------------

_YOKOGAWA = re.compile(
    r"(?P<plate>.+)_(?P<well>[A-Z]{1,2}\d{2})_T(?P<time>\d{4})F(?P<field>\d{3})L\d{2}A\d{2}"
    r"Z(?P<plane>\d{2,3})C(?P<channel>\d{2})",
    re.ASCII,
)


def yokogawa(path: PurePath, clock: WallClock) -> NamedParts | None:
    del clock
    found = _YOKOGAWA.fullmatch(stem_of(path.name))
    if found is None:
        return None
    return NamedParts(
        dish=dish_of(found["plate"], plain_well(found["well"])),
        pattern="yokogawa",
        field=str(int(found["field"])),
        scan=f"{visit_folder(path)}/t{int(found['time'])}",
        channel=f"C{found['channel']}",
        plane=_plane(path, found["plane"], first=1),
    )


# --- Micro-Manager ------------------------------------------------------------------------------

_MICRO_MANAGER = re.compile(r"(?P<prefix>.+?)_MMStack(?:_(?P<position>.+))?", re.ASCII)
_MM_WELL = re.compile(r"(?P<well>[A-Z]{1,2}\d{1,2})-Site_(?P<site>\d+)", re.ASCII)
_MM_RUN = re.compile(r"(?P<dish>.+)_\d+", re.ASCII)
# A file of over 4 GB is split, and the first part holds the description of all.
_MM_SPLIT = re.compile(r"(?:(?:Default|Pos\d+|.*Pos_\d{3}_\d{3}|.*-Site_\d+)_)?\d{1,2}", re.ASCII)


def micro_manager(path: PurePath, clock: WallClock) -> NamedParts | None:
    """``dish-07_3_MMStack_Pos0.ome.tif``: prefix, run (Micro-Manager counts them), position.

    The time is in the OME-XML. Runs of one prefix in two folders have the same number, so that
    scans are told apart by time.
    """
    del clock
    found = _MICRO_MANAGER.fullmatch(stem_of(path.name))
    if found is None:
        return None
    position = found["position"]
    if position is not None and _MM_SPLIT.fullmatch(position):
        raise bad_name(path, "it is a later part of a file that was split at 4 GB")
    run = _MM_RUN.fullmatch(found["prefix"])
    plate = run["dish"] if run else found["prefix"]
    in_well = _MM_WELL.fullmatch(position or "")
    return NamedParts(
        dish=dish_of(plate, plain_well(in_well["well"])) if in_well else plate,
        pattern="micro-manager",
        field=in_well["site"] if in_well else position,
    )


# --- plain names --------------------------------------------------------------------------------

_DISH_TIME = re.compile(
    r"(?P<dish>.+?)[_ ](?P<year>\d{4})(?P<s>-?)(?P<month>\d{2})(?P=s)(?P<day>\d{2})"
    r"(?:(?P<t>T)|[_ -])(?P<hour>\d{2})(?P<u>[-:.h]?)(?P<minute>\d{2})m?"
    r"(?:[-:.]?(?P<second>\d{2})s?(?:\.\d+)?)?"
    r"(?P<zone>Z|\+\d{2}:?\d{2}|(?(t)-\d{2}:?\d{2}))?"
    r"(?:[_ ](?:f|field|s|site|p|pos)?(?P<field>\d+))?",
    re.IGNORECASE | re.ASCII,
)


def dish_time(path: PurePath, clock: WallClock) -> NamedParts | None:
    found = _DISH_TIME.fullmatch(stem_of(path.name))
    if found is None:
        return None
    when = [int(found[part] or 0) for part in ("year", "month", "day", "hour", "minute", "second")]
    return NamedParts(
        dish=found["dish"],
        pattern="dish-time",
        field=found["field"],
        acquired_at=as_utc(path, zone_of(path, found["zone"], clock.zone), *when),
    )


def dish_folder(path: PurePath, clock: WallClock) -> NamedParts | None:
    del clock
    folders = path.parts[:-1]
    if path.is_absolute():
        folders = folders[1:][-1:]
    return NamedParts(dish="/".join(folders), pattern="dish-folder") if folders else None
