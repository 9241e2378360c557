"""The colonies of each scan by their numbers, packed: a row a reading, whatever their number.

Where they lie is needed by the next scan only, so the maps of a dish's older scans are dropped.
"""

from __future__ import annotations

import struct
import zlib
from datetime import datetime
from typing import Any

from sqlalchemy import Table, bindparam, insert, select, update
from sqlalchemy.orm import Session

from monitor.culture import ColonyMap, ColonyPoint, ColonyScan, TrackedColony, Tracking
from monitor.record.database import Database
from monitor.record.lookup import dish_called
from monitor.record.series import THAT_COUNTS
from monitor.record.tables import DishRow, ReadingColoniesRow, ReadingRow, ScanRow

# A late field makes a new version of the newest scan, which then follows the one before it.
MAPS_KEPT = 3


class ColonyRecord:
    def __init__(self, database: Database) -> None:
        self._database = database

    def series(
        self, dish: str, *, since: datetime | None = None, until: datetime | None = None
    ) -> list[ColonyPoint]:
        """Every colony of every scan of a dish, oldest scan first; what a scan missed is left out.

        since, until : only of scans of that time, both included

        Raises UsageError for a dish that is not known.
        """
        with self._database.reading() as session:
            row = dish_called(session, dish)
            query = (
                select(ReadingRow.at, ReadingColoniesRow.packed)
                .join(ReadingColoniesRow, ReadingColoniesRow.reading_id == ReadingRow.id)
                .join(ScanRow, THAT_COUNTS)
                .where(ReadingRow.dish_id == row.id)
                .order_by(ReadingRow.at, ReadingRow.id)
            )
            if since is not None:
                query = query.where(ReadingRow.at >= since)
            if until is not None:
                query = query.where(ReadingRow.at <= until)
            return [
                ColonyPoint(at, colony)
                for at, packed in session.execute(query)
                for colony in unpack_colonies(packed)
                if not colony.missed
            ]


def colonies_before(
    session: Session, dish: DishRow, scan: ScanRow, at: datetime
) -> ColonyScan | None:
    """The colonies of the dish's last scan before that time, other than this one."""
    before = session.execute(_BEFORE, {"dish": dish.id, "scan": scan.id, "at": at}).first()
    if before is None:
        return None
    packed, maps = before
    return ColonyScan(Tracking(tuple(unpack_colonies(packed))), _unpack_maps(maps or b""))


def add_colonies(session: Session, dish: DishRow, reading: ReadingRow, found: ColonyScan) -> None:
    """Those of a new reading by their numbers."""
    dish.next_colony = max(dish.next_colony, found.following.next_number)
    session.execute(
        _INSERT,
        {
            "reading_id": reading.id,
            "packed": _document_of(found.following),
            "maps": _pack_maps(found.maps),
        },
    )
    old = session.scalars(_WITH_MAPS, {"dish": dish.id, "kept": MAPS_KEPT}).all()
    if old:
        session.execute(_DROP_MAPS, {"ids": old})


_COLONIES: Table = ReadingColoniesRow.__table__  # type: ignore[assignment]
_INSERT = insert(_COLONIES)
_BEFORE = (
    select(_COLONIES.c.packed, _COLONIES.c.maps)
    .join(ReadingRow, ReadingRow.id == _COLONIES.c.reading_id)
    .join(ScanRow, THAT_COUNTS)
    .where(
        ReadingRow.dish_id == bindparam("dish"),
        ScanRow.id != bindparam("scan"),
        ReadingRow.at <= bindparam("at"),
        _COLONIES.c.maps.is_not(None),
    )
    .order_by(ReadingRow.at.desc(), ReadingRow.id.desc())
    .limit(1)
)
_WITH_MAPS = (
    select(_COLONIES.c.reading_id)
    .join(ReadingRow, ReadingRow.id == _COLONIES.c.reading_id)
    .where(ReadingRow.dish_id == bindparam("dish"), _COLONIES.c.maps.is_not(None))
    .order_by(ReadingRow.at.desc(), ReadingRow.id.desc())
    .offset(bindparam("kept"))
)
_DROP_MAPS = (
    update(_COLONIES)
    .where(_COLONIES.c.reading_id.in_(bindparam("ids", expanding=True)))
    .values(maps=None)
)


def _document_of(following: Tracking) -> dict[str, Any]:
    colonies = following.colonies
    frames: dict[str, int] = {}
    return {
        "frames": list(dict.fromkeys(one.frame for one in colonies)),
        "number": [one.number for one in colonies],
        "area": [_short(one.area) for one in colonies],
        "fraction": [float(round(one.differentiated_fraction, 4)) for one in colonies],
        "centre": [[_near(one.centre[0]), _near(one.centre[1])] for one in colonies],
        "frame": [frames.setdefault(one.frame, len(frames)) for one in colonies],
        "cut": [int(one.is_cut) for one in colonies],
        "missed": [one.missed for one in colonies],
        "came_from": {
            str(place): list(one.came_from) for place, one in enumerate(colonies) if one.came_from
        },
        "gone": list(following.gone),
    }


def unpack_colonies(document: dict[str, Any]) -> list[TrackedColony]:
    came_from = document["came_from"]
    rows = zip(
        document["number"],
        document["area"],
        document["fraction"],
        document["centre"],
        document["frame"],
        document["cut"],
        document["missed"],
        strict=True,
    )
    return [
        TrackedColony(
            number=number,
            area=float(area),
            differentiated_fraction=float(fraction),
            centre=(float(centre[0]), float(centre[1])),
            frame=document["frames"][frame],
            is_cut=bool(cut),
            missed=missed,
            came_from=tuple(came_from.get(str(place), ())),
        )
        for place, (number, area, fraction, centre, frame, cut, missed) in enumerate(rows)
    ]


_MAP = struct.Struct("<Hdiiii")


def _pack_maps(maps: tuple[ColonyMap, ...]) -> bytes:
    import numpy as np

    parts = []
    for drawn in maps:
        frame = drawn.frame.encode()
        rows, columns = drawn.values.shape
        parts.append(
            _MAP.pack(len(frame), drawn.cell, *drawn.origin, rows, columns)
            + frame
            + np.ascontiguousarray(drawn.values, dtype="<u2").tobytes()
        )
    return zlib.compress(b"".join(parts), 6)


def _unpack_maps(packed: bytes) -> tuple[ColonyMap, ...]:
    import numpy as np

    content = zlib.decompress(packed)
    found, at = [], 0
    while at < len(content):
        length, cell, top, left, rows, columns = _MAP.unpack_from(content, at)
        at += _MAP.size
        frame = content[at : at + length].decode()
        at += length
        values = np.frombuffer(content, "<u2", rows * columns, at).reshape(rows, columns)
        at += 2 * rows * columns
        found.append(ColonyMap(frame, cell, (top, left), values.astype(np.uint16)))
    return tuple(found)


def _near(length: float) -> float:
    """To the um, or the pixel: a middle is not known better."""
    return float(round(length))


def _short(area: float) -> float:
    """Four figures are more than a segmentation knows."""
    return float(f"{area:.4g}")
