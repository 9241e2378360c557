"""All dishes at once, as pages and screens show them: few queries however many dishes there are.

A page is asked for again and again while little changes. So what a dish's scans say is kept, and
read anew where the index of its readings says that they are others.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, time
from functools import lru_cache
from typing import Any

from sqlalchemy import Select, Text, bindparam, cast, func, select
from sqlalchemy.orm import Session

from monitor.culture import DishStatus, Doubt, Reading, Severity
from monitor.record.database import Database
from monitor.record.doubt_documents import doubt_of
from monitor.record.overviews import MOST_DIFFERENTIATED, DishOverview, SeriesPoint
from monitor.record.series import READING_COLUMNS, THAT_COUNTS, reading_of
from monitor.record.tables import (
    AnalysisRow,
    CaptureRow,
    DishRow,
    MeasurementRow,
    ReadingMeasurementRow,
    ReadingRow,
    ScanRow,
)

_AT_ONCE = 400  # numbers in a query
_MOST_KEPT = 4_096
_Check = tuple[Any, ...]


class Glances:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._readings: dict[int, Reading] = {}
        self._overlays: dict[int, str | None] = {}
        self._series: dict[int, tuple[_Check, tuple[SeriesPoint, ...]]] = {}

    def dishes(self, *, ended: bool = False) -> list[DishOverview]:
        """Every dish that lives, or that has ended, by its number; without series and picture."""
        with self._database.reading() as session:
            alive = DishRow.ended_at.is_not(None) if ended else DishRow.ended_at.is_(None)
            rows = session.execute(_DISHES.where(alive)).all()
            wanted = {row.last: row.name for row in rows if row.last is not None}
            last = self._last_readings(session, wanted)
        return [
            DishOverview(
                id=row.id,
                name=row.name,
                label=row.label,
                source=row.source,
                passage=row.passage,
                status=DishStatus(row.status),
                severity=None if row.severity is None else Severity(row.severity),
                ended_at=row.ended_at,
                judged_from=row.judged_from,
                last=last.get(row.last),
                series=(),
                overlay=None,
            )
            for row in rows
        ]

    def drawn(
        self, dishes: Sequence[DishOverview], *, since: datetime, points: int
    ) -> list[DishOverview]:
        """The same dishes with their series and the picture of their worst field.

        since, points : how far back, and how many scans at most, `series` reaches
        """
        if not dishes:
            return []
        # By whole days, so that what is kept does not change with every second.
        begin = datetime.combine(since.astimezone(UTC).date(), time(), UTC)
        with self._database.reading() as session:
            series = self._series_of(session, [one.id for one in dishes], begin, points)
            pictures = self._overlays_of(
                session, [one.last.id for one in dishes if one.last is not None]
            )
        return [
            replace(
                one,
                series=tuple(point for point in series[one.id] if point.at >= since),
                overlay=None if one.last is None else pictures.get(one.last.id),
            )
            for one in dishes
        ]

    # --- what is kept --------------------------------------------------------------------------

    def _last_readings(self, session: Session, wanted: dict[int, str]) -> dict[int, Reading]:
        """wanted : numbers of readings and the dishes' names; times may have been put right"""
        with self._lock:
            known = dict(self._readings)
        found: dict[int, Reading] = {}
        for part in _parts(list(wanted)):
            for id_, at in session.execute(_TIMES, {"ids": part}):
                kept = known.get(id_)
                if kept is not None and kept.at == at and kept.dish == wanted[id_]:
                    found[id_] = kept
        missing = [id_ for id_ in wanted if id_ not in found]
        for part in _parts(missing):
            for row in session.execute(_READINGS, {"ids": part}):
                found[row.id] = reading_of(row, wanted[row.id], row)
        with self._lock:
            if len(self._readings) > _MOST_KEPT:
                self._readings.clear()
            self._readings.update({id_: found[id_] for id_ in missing if id_ in found})
        return found

    def _series_of(
        self, session: Session, ids: Sequence[int], begin: datetime, points: int
    ) -> dict[int, tuple[SeriesPoint, ...]]:
        checks: dict[int, _Check] = dict.fromkeys(ids, ())
        for part in _parts(ids):
            for row in session.execute(_CHECKS, {"ids": part, "begin": begin}):
                checks[row[0]] = (begin, points, *(int(value) for value in row[1:]))
        with self._lock:
            kept = {id_: self._series.get(id_) for id_ in ids}
        found: dict[int, tuple[SeriesPoint, ...]] = {}
        for id_ in ids:
            have = kept[id_]
            if not checks[id_]:
                found[id_] = ()
            elif have is not None and have[0] == checks[id_]:
                found[id_] = have[1]
            else:
                rows = session.execute(_POINTS, {"dish": id_, "begin": begin, "points": points})
                found[id_] = tuple(
                    SeriesPoint(at, fraction, _doubts(doubts), _doubt(doubt))
                    for at, fraction, doubts, doubt in reversed(rows.all())
                )
        with self._lock:
            if len(self._series) > _MOST_KEPT:
                self._series.clear()
            self._series.update({id_: (checks[id_], found[id_]) for id_ in ids})
        return found

    def _overlays_of(self, session: Session, readings: Sequence[int]) -> dict[int, str | None]:
        """Of each reading, the overlay of the field with the most differentiated cells."""
        with self._lock:
            found = {id_: self._overlays[id_] for id_ in readings if id_ in self._overlays}
        missing = [id_ for id_ in readings if id_ not in found]
        for id_ in missing:
            detail = session.scalar(_WORST_FIELD, {"reading": id_})
            found[id_] = None if detail is None else detail.get("overlay")
        with self._lock:
            if len(self._overlays) > _MOST_KEPT:
                self._overlays.clear()
            self._overlays.update({id_: found[id_] for id_ in missing})
        return found


@lru_cache(maxsize=1_000)
def _doubts(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


@lru_cache(maxsize=10_000)
def _doubt(text: str | None) -> Doubt:
    return doubt_of(None if text is None else json.loads(text))


def _parts(ids: Sequence[int]) -> list[Sequence[int]]:
    return [ids[first : first + _AT_ONCE] for first in range(0, len(ids), _AT_ONCE)]


_ANY = (
    select(ReadingRow.id)
    .join(ScanRow, THAT_COUNTS)
    .where(ReadingRow.dish_id == DishRow.id)
    .order_by(ReadingRow.at.desc(), ReadingRow.id.desc())
    .limit(1)
    .correlate(DishRow)
)
# Of the newest scan; one that is misdated only where there is no other.
_LAST = func.coalesce(
    _ANY.where(~ScanRow.is_misdated).scalar_subquery(), _ANY.scalar_subquery()
).label("last")
_DISHES = select(
    DishRow.id, DishRow.name, DishRow.label, DishRow.source, DishRow.passage, DishRow.status,
    DishRow.severity, DishRow.ended_at, DishRow.judged_from, _LAST,
).order_by(DishRow.id)  # fmt: skip
_IDS = ReadingRow.id.in_(bindparam("ids", expanding=True))
_TIMES = select(ReadingRow.id, ReadingRow.at).where(_IDS)
_READINGS: Select[Any] = (
    select(*READING_COLUMNS).join(AnalysisRow, AnalysisRow.id == ReadingRow.analysis_id).where(_IDS)
)
# From the index alone: another reading, or another time, is another sum.
_CHECKS: Any = (
    select(
        ReadingRow.dish_id, func.count(), func.sum(ReadingRow.id),
        func.sum(ReadingRow.at, type_=ReadingRow.id.type),
    )
    .where(
        ReadingRow.dish_id.in_(bindparam("ids", expanding=True)),
        ReadingRow.at >= bindparam("begin"),
    )
    .group_by(ReadingRow.dish_id)
)  # fmt: skip
_POINTS = (
    select(
        ReadingRow.at,
        ReadingRow.differentiated_fraction,
        # As text, since most say the same.
        cast(ReadingRow.doubts, Text),
        cast(ReadingRow.doubt, Text),
    )
    .join(ScanRow, THAT_COUNTS)
    .where(ReadingRow.dish_id == bindparam("dish"), ReadingRow.at >= bindparam("begin"))
    .order_by(ReadingRow.at.desc(), ReadingRow.id.desc())
    .limit(bindparam("points"))
)
_WORST_FIELD = (
    select(MeasurementRow.detail)
    .join(ReadingMeasurementRow, ReadingMeasurementRow.measurement_id == MeasurementRow.id)
    .join(CaptureRow, CaptureRow.id == MeasurementRow.capture_id)
    .where(ReadingMeasurementRow.reading_id == bindparam("reading"))
    .order_by(*MOST_DIFFERENTIATED)
    .limit(1)
)
