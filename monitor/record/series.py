"""A dish's series from its rows: of each scan the reading that counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, and_, bindparam, func, select
from sqlalchemy.orm import Session

from monitor.culture import FieldsJoined, Reading
from monitor.record.doubt_documents import doubt_of
from monitor.record.session_cache import known_readings
from monitor.record.tables import AnalysisRow, DishRow, ReadingRow, ScanRow

# From the reading to its scan: the other way round there is no index.
THAT_COUNTS = and_(ScanRow.id == ReadingRow.scan_id, ScanRow.reading_id == ReadingRow.id)


def series_of(
    session: Session,
    dish: DishRow,
    *,
    model_sha256: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[Reading]:
    """The dish's readings, oldest first: one a scan, its latest version.

    since, until : only what was taken in that time, both included; None = no bound
    model_sha256 : where a scan has readings under this model, the latest of these counts
    """
    counts = THAT_COUNTS
    if model_sha256 is not None:
        latest = (
            select(func.max(ReadingRow.version))
            .where(ReadingRow.scan_id == ScanRow.id)
            .correlate(ScanRow)
        )
        of_model = latest.where(
            ReadingRow.analysis_id.in_(
                select(AnalysisRow.id).where(AnalysisRow.model_sha256 == model_sha256)
            )
        )
        counts = and_(
            ScanRow.id == ReadingRow.scan_id,
            ReadingRow.version
            == func.coalesce(of_model.scalar_subquery(), latest.scalar_subquery()),
        )
    columns = ReadingRow.__table__.c
    query = (
        select(*columns)
        .join(ScanRow, counts)
        .where(ReadingRow.dish_id == dish.id)
        .order_by(ReadingRow.at, ReadingRow.id)
    )
    if since is not None:
        query = query.where(ReadingRow.at >= since)
    if until is not None:
        query = query.where(ReadingRow.at <= until)
    analyses = {one.id: one for one in session.scalars(select(AnalysisRow))}
    return [reading_of(row, dish.name, analyses[row.analysis_id]) for row in session.execute(query)]


READING_COLUMNS = (
    *ReadingRow.__table__.c,
    AnalysisRow.model_sha256,
    AnalysisRow.settings_sha256,
    AnalysisRow.runner,
)
"""What `reading_of` asks for, of a reading and of the analysis that made it."""
_NUMBERED = (
    select(*READING_COLUMNS)
    .join(AnalysisRow, AnalysisRow.id == ReadingRow.analysis_id)
    .where(ReadingRow.id.in_(bindparam("ids", expanding=True)))
)


def readings_numbered(session: Session, ids: Sequence[int], dish: str) -> list[Reading]:
    """Readings of one dish by their numbers, in the order given. What is known is not read anew:
    a reading never changes.
    """
    known, own = known_readings(session)
    missing = [id_ for id_ in ids if id_ not in own and id_ not in known]
    if missing:
        for row in session.execute(_NUMBERED, {"ids": missing}):
            own[row.id] = reading_of(row, dish, row)
    found = (own.get(id_) or known[id_] for id_ in ids)
    return [one if one.dish == dish else replace(one, dish=dish) for one in found]


def newest_reading(session: Session, dish: DishRow) -> ReadingRow | None:
    """Of the dish's newest scan; one that is misdated only where there is no other."""
    query = (
        select(ReadingRow)
        .join(ScanRow, THAT_COUNTS)
        .where(ReadingRow.dish_id == dish.id)
        .order_by(ReadingRow.at.desc(), ReadingRow.id.desc())
        .limit(1)
    )
    return session.scalar(query.where(~ScanRow.is_misdated)) or session.scalar(query)


def last_taken_at() -> Select[Any]:
    """When the newest scan of a dish ended; to be used with a `DishRow` around it."""
    return (
        select(ScanRow.last_at)
        .where(ScanRow.dish_id == DishRow.id, ~ScanRow.is_misdated)
        .order_by(ScanRow.first_at.desc())
        .limit(1)
        .correlate(DishRow)
    )


def scans_read(session: Session) -> dict[int, int]:
    """How many scans of each dish have a reading. What has none is waiting to be read."""
    rows = session.execute(select(ScanRow.dish_id, func.count()).group_by(ScanRow.dish_id))
    count = {dish_id: scans for dish_id, scans in rows}  # noqa: C416 (rows are no pairs to mypy)
    # Not grouped by the database, which would go through all scans in the order of their dishes.
    unread = select(ScanRow.dish_id).where(ScanRow.reading_id.is_(None))
    for dish_id in session.scalars(unread):
        count[dish_id] -= 1
    return count


def reading_of(
    row: ReadingRow | Row[Any], dish: str, analysis: AnalysisRow | Row[Any] | None = None
) -> Reading:
    """The row as a value of the field. analysis : where it is at hand already"""
    analysis = row.analysis if analysis is None else analysis
    return Reading(
        id=row.id,
        dish=dish,
        scan_id=row.scan_id,
        version=row.version,
        at=row.at,
        captures=row.captures,
        background_um2=row.background_um2,
        undifferentiated_um2=row.undifferentiated_um2,
        differentiated_um2=row.differentiated_um2,
        differentiated_fraction=row.differentiated_fraction,
        confluence=row.confluence,
        uncertainty=row.uncertainty,
        pixel_size_um=row.pixel_size_um,
        model_sha256=analysis.model_sha256,
        settings_sha256=analysis.settings_sha256,
        runner=analysis.runner,
        colonies=row.colonies,
        doubts=tuple(row.doubts),
        joined=FieldsJoined(row.joined),
        imaged_share=row.imaged_share,
        colony_um2=row.colony_um2,
        doubt=doubt_of(row.doubt),
        assumed_pixel_size_um=row.assumed_pixel_size_um,
    )
