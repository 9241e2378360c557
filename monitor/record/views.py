"""What a viewer asks of the record: which scans there are, and what each was made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session, joinedload

from monitor.culture import CaptureState, Doubt, Reading, StagePosition, TrackedColony
from monitor.errors import UsageError
from monitor.record.capture_states import unfinished
from monitor.record.colonies import unpack_colonies
from monitor.record.database import Database
from monitor.record.doubt_documents import doubt_of
from monitor.record.lookup import dish_called
from monitor.record.scan_fields import RESTED_ON
from monitor.record.series import THAT_COUNTS, reading_of
from monitor.record.tables import (
    AnalysisRow,
    CaptureRow,
    DishRow,
    MeasurementRow,
    ReadingColoniesRow,
    ReadingRow,
    ScanRow,
)

_UNREADABLE_SHOWN = 500
_SCANS_OF_COLONIES = 2000


@dataclass(frozen=True)
class ScanStop:
    """One scan, as little of it as a slider over time needs."""

    reading: int
    at: datetime
    differentiated_fraction: float | None
    in_doubt: bool


@dataclass(frozen=True)
class ViewedField:
    """A capture that a reading rests on.

    name : of the field; where the file's name tells no fields apart that of the file
    has_field_name : whether the same field of other scans has the same `name`
    path : where the capture was seen last
    pixel_size_um : None where nothing says it
    is_replaced : another model, or other settings, measured the capture since then, and its label
        map and overlay are of that
    """

    number: int
    name: str
    has_field_name: bool
    path: Path
    source: str
    sha256: str
    shape: tuple[int, int]
    acquired_at: datetime
    stage: StagePosition | None
    pixel_size_um: float | None
    overlay: str | None
    label_map: str | None
    is_replaced: bool
    differentiated_fraction: float | None
    doubt: Doubt
    doubts: tuple[str, ...]


@dataclass(frozen=True)
class UnreadField:
    """A capture of a dish that no reading could be made of, and why.

    at : when it was taken; where that is not known, when it was seen first
    in_scan : it is known to be of the scan
    """

    path: Path
    field: str | None
    reason: str
    message: str
    at: datetime
    in_scan: bool


@dataclass(frozen=True)
class ReadingVersion:
    """One of the readings of a scan. counts : it is the one that counts now"""

    reading: Reading
    model_name: str
    made_at: datetime
    counts: bool


@dataclass(frozen=True)
class ViewedScan:
    """A reading with all that it was made of, and what came before and after it.

    key, first_at, last_at : of the scan
    fields : by their names
    unread : captures of the dish that could not be read, of whatever scan, the newest first
    versions : all readings of the same scan, oldest first
    before, after : readings of the scans beside it
    """

    dish: str
    source: str
    reading: Reading
    key: str | None
    first_at: datetime
    last_at: datetime
    fields: tuple[ViewedField, ...]
    unread: tuple[UnreadField, ...]
    versions: tuple[ReadingVersion, ...]
    before: int | None
    after: int | None


@dataclass(frozen=True)
class ColonyAt:
    """A colony as one scan shows it."""

    reading: int
    at: datetime
    colony: TrackedColony


@dataclass(frozen=True)
class ColonyLife:
    """seen : oldest first

    scans : how many scans it was looked for in; every : each so manieth of them was looked at
    """

    seen: tuple[ColonyAt, ...]
    scans: int
    every: int


class ViewRecord:
    def __init__(self, database: Database) -> None:
        self._database = database

    def stops(
        self, dish: str, *, limit: int, since: datetime | None = None, until: datetime | None = None
    ) -> list[ScanStop]:
        """The newest scans of a dish, oldest first. Raises UsageError for an unknown dish."""
        with self._database.reading() as session:
            row = dish_called(session, dish)
            query = (
                select(
                    ReadingRow.id,
                    ReadingRow.at,
                    ReadingRow.differentiated_fraction,
                    ReadingRow.doubts,
                    ReadingRow.doubt,
                )
                .join(ScanRow, THAT_COUNTS)
                .where(ReadingRow.dish_id == row.id)
                .order_by(ReadingRow.at.desc(), ReadingRow.id.desc())
                .limit(limit)
            )
            if since is not None:
                query = query.where(ReadingRow.at >= since)
            if until is not None:
                query = query.where(ReadingRow.at <= until)
            return [
                ScanStop(id_, at, fraction, bool(doubts) or doubt_of(doubt).in_doubt)
                for id_, at, fraction, doubts, doubt in reversed(session.execute(query).all())
            ]

    def names(self, *, limit: int) -> list[str]:
        """Of dishes, those that live first, then by name."""
        with self._database.reading() as session:
            query = (
                select(DishRow.name)
                .order_by(DishRow.ended_at.is_not(None), DishRow.name)
                .limit(limit)
            )
            return list(session.scalars(query))

    def former(
        self, dish: str, *, since: datetime | None, limit: int = 20_000
    ) -> dict[tuple[str, str], list[tuple[datetime, float | None]]]:
        """What models read that do not count any more: (name, SHA-256) -> (time, differentiated
        fraction), oldest first. Raises UsageError for an unknown dish.
        """
        with self._database.reading() as session:
            row = dish_called(session, dish)
            query = (
                select(
                    AnalysisRow.model_name,
                    AnalysisRow.model_sha256,
                    ReadingRow.at,
                    ReadingRow.differentiated_fraction,
                )
                .join(AnalysisRow, AnalysisRow.id == ReadingRow.analysis_id)
                .join(ScanRow, ScanRow.id == ReadingRow.scan_id)
                .where(ReadingRow.dish_id == row.id, ScanRow.reading_id != ReadingRow.id)
                .order_by(ReadingRow.at.desc(), ReadingRow.version.desc())
                .limit(limit)
            )
            if since is not None:
                query = query.where(ReadingRow.at >= since)
            found: dict[tuple[str, str], dict[datetime, float | None]] = {}
            for name, sha256, at, fraction in session.execute(query):
                # Of a scan that one model has read several times the last counts.
                found.setdefault((name, sha256), {}).setdefault(at, fraction)
            counting = session.scalar(
                select(AnalysisRow.model_sha256)
                .join(ReadingRow, ReadingRow.analysis_id == AnalysisRow.id)
                .join(ScanRow, ScanRow.reading_id == ReadingRow.id)
                .where(ReadingRow.dish_id == row.id)
                .order_by(ReadingRow.at.desc())
                .limit(1)
            )
            return {
                key: sorted(points.items(), key=lambda point: point[0])
                for key, points in found.items()
                if key[1] != counting
            }

    def count(self, dish: str) -> int:
        """How many scans of a dish were read."""
        with self._database.reading() as session:
            row = dish_called(session, dish)
            query = select(func.count()).where(
                ScanRow.dish_id == row.id, ScanRow.reading_id.is_not(None)
            )
            return session.scalar(query) or 0

    def scan(self, reading_id: int) -> ViewedScan:
        """A reading, of whatever version, with what it was made of. Raises UsageError."""
        with self._database.reading() as session:
            row = session.get(ReadingRow, reading_id)
            if row is None:
                raise UsageError(f"{reading_id}: there is no reading of this number on record")
            dish = session.get_one(DishRow, row.dish_id)
            scan = session.get_one(ScanRow, row.scan_id)
            return ViewedScan(
                dish=dish.name,
                source=dish.source,
                reading=reading_of(row, dish.name),
                key=scan.key,
                first_at=scan.first_at,
                last_at=scan.last_at,
                fields=_fields(session, reading_id),
                unread=_unread(session, dish, scan),
                versions=_versions(session, scan, dish.name),
                before=_beside(session, row, earlier=True),
                after=_beside(session, row, earlier=False),
            )

    def life(self, dish: str, number: int, *, scans: int) -> ColonyLife:
        """A colony by its number through the scans of a dish, in `scans` of them at most.

        Raises UsageError for an unknown dish.
        """
        with self._database.reading() as session:
            row = dish_called(session, dish)
            query = (
                select(ReadingRow.id)
                .join(ReadingColoniesRow, ReadingColoniesRow.reading_id == ReadingRow.id)
                .join(ScanRow, THAT_COUNTS)
                .where(ReadingRow.dish_id == row.id)
                .order_by(ReadingRow.at.desc(), ReadingRow.id.desc())
                .limit(_SCANS_OF_COLONIES)
            )
            ids = list(reversed(session.scalars(query).all()))
            every = -(-len(ids) // scans) or 1
            seen = _colony_in(session, number, ids[::every])
            if every > 1 and seen:
                # It may have lived for a part of the time only.
                first, last = (ids.index(one.reading) for one in (seen[0], seen[-1]))
                ids = ids[max(0, first - every) : last + every]
                every = -(-len(ids) // scans)
                seen = _colony_in(session, number, ids[::every])
            return ColonyLife(tuple(seen), len(ids), every)

    def nearest(self, dish: str, at: datetime) -> int | None:
        """The reading that counts of the scan nearest to a time; None where there is none.

        Raises UsageError.
        """
        with self._database.reading() as session:
            row = dish_called(session, dish)
            of_dish = (
                select(ReadingRow.id, ReadingRow.at)
                .join(ScanRow, THAT_COUNTS)
                .where(ReadingRow.dish_id == row.id)
                .limit(1)
            )
            sides = (
                of_dish.where(ReadingRow.at <= at).order_by(ReadingRow.at.desc()),
                of_dish.where(ReadingRow.at > at).order_by(ReadingRow.at),
            )
            found = [one for side in sides if (one := session.execute(side).first()) is not None]
            return min(found, key=lambda one: abs(one.at - at)).id if found else None


def _fields(session: Session, reading_id: int) -> tuple[ViewedField, ...]:
    rows = session.execute(RESTED_ON, {"reading": reading_id}).all()
    last = _measured_last(session, [capture.id for _, capture in rows])
    found = []
    for measurement, capture in rows:
        detail = measurement.detail
        cells = measurement.undifferentiated_px + measurement.differentiated_px
        found.append(
            ViewedField(
                number=0,
                name=capture.field or capture.name.name,
                has_field_name=bool(capture.field),
                path=capture.path,
                source=capture.source,
                sha256=capture.sha256 or "",
                shape=(detail["shape"][0], detail["shape"][1]),
                acquired_at=capture.acquired_at or measurement.created_at,
                stage=_stage(measurement),
                pixel_size_um=measurement.pixel_size_um,
                overlay=detail.get("overlay"),
                label_map=detail.get("label_map"),
                is_replaced=last.get(capture.id, measurement.id) != measurement.id,
                differentiated_fraction=measurement.differentiated_px / cells if cells else None,
                doubt=doubt_of(detail.get("doubt")),
                doubts=tuple(detail["doubts"]),
            )
        )
    found.sort(key=lambda one: (one.name, one.acquired_at, one.sha256))
    return tuple(_numbered(found))


def _colony_in(session: Session, number: int, readings: Sequence[int]) -> list[ColonyAt]:
    rows = session.execute(
        select(ReadingRow.id, ReadingRow.at, ReadingColoniesRow.packed)
        .join(ReadingColoniesRow, ReadingColoniesRow.reading_id == ReadingRow.id)
        .where(ReadingRow.id.in_(readings))
        .order_by(ReadingRow.at, ReadingRow.id)
    )
    return [
        ColonyAt(id_, at, colony)
        for id_, at, packed in rows
        for colony in unpack_colonies(packed)
        if colony.number == number and not colony.missed
    ]


def _numbered(fields: Sequence[ViewedField]) -> list[ViewedField]:
    return [ViewedField(**{**vars(field), "number": number}) for number, field in enumerate(fields)]


def _stage(row: MeasurementRow) -> StagePosition | None:
    if row.stage_x_um is None:
        return None
    return StagePosition(row.stage_x_um, row.stage_y_um or 0.0, row.stage_z_um)


def _measured_last(session: Session, captures: Sequence[int]) -> dict[int, int]:
    """Capture -> its measurement that was made or confirmed last."""
    rows = session.execute(
        select(MeasurementRow.capture_id, MeasurementRow.id)
        .where(MeasurementRow.capture_id.in_(captures))
        .order_by(MeasurementRow.created_at, MeasurementRow.id)
    )
    return {capture: id_ for capture, id_ in rows}  # noqa: C416 (rows are no pairs to mypy)


def _unread(session: Session, dish: DishRow, scan: ScanRow) -> tuple[UnreadField, ...]:
    rows = session.scalars(
        select(CaptureRow)
        .where(
            unfinished(CaptureState.UNREADABLE),
            CaptureRow.source == dish.source,
            or_(CaptureRow.scan_id == scan.id, CaptureRow.named_dish == dish.label),
        )
        .order_by(CaptureRow.id.desc())
        .limit(_UNREADABLE_SHOWN)
        .options(joinedload(CaptureRow.folder))
    )
    return tuple(
        UnreadField(
            path=one.path,
            field=one.field,
            reason=one.reason or "",
            message=one.message or "",
            at=one.acquired_at or one.first_seen_at,
            in_scan=one.scan_id == scan.id,
        )
        for one in rows
    )


def _versions(session: Session, scan: ScanRow, dish: str) -> tuple[ReadingVersion, ...]:
    rows = session.execute(
        select(ReadingRow, AnalysisRow)
        .join(AnalysisRow, AnalysisRow.id == ReadingRow.analysis_id)
        .where(ReadingRow.scan_id == scan.id)
        .order_by(ReadingRow.version)
    )
    return tuple(
        ReadingVersion(
            reading_of(row, dish, analysis),
            analysis.model_name,
            row.created_at,
            row.id == scan.reading_id,
        )
        for row, analysis in rows
    )


def _beside(session: Session, row: ReadingRow, *, earlier: bool) -> int | None:
    """The reading that counts of the scan before, or after, that of a reading."""
    if earlier:
        side = or_(ReadingRow.at < row.at, and_(ReadingRow.at == row.at, ReadingRow.id < row.id))
        order = ReadingRow.at.desc(), ReadingRow.id.desc()
    else:
        side = or_(ReadingRow.at > row.at, and_(ReadingRow.at == row.at, ReadingRow.id > row.id))
        order = ReadingRow.at.asc(), ReadingRow.id.asc()
    return session.scalar(
        select(ReadingRow.id)
        .join(ScanRow, THAT_COUNTS)
        .where(ReadingRow.dish_id == row.dish_id, ReadingRow.scan_id != row.scan_id, side)
        .order_by(*order)
        .limit(1)
    )
