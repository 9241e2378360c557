"""What pages and digests show of the record. Bounded: nothing here grows with its age."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from monitor.culture import (
    NOTHING_SAID,
    Alert,
    CaptureState,
    DishStatus,
    Doubt,
    PlanStatus,
    Reading,
    Severity,
)
from monitor.record.alert_rows import alert_of
from monitor.record.capture_states import unfinished
from monitor.record.database import Database
from monitor.record.doubt_documents import doubt_of
from monitor.record.lookup import dish_called
from monitor.record.series import THAT_COUNTS, newest_reading, reading_of
from monitor.record.tables import (
    AlertRow,
    CaptureRow,
    DishRow,
    MeasurementRow,
    ReadingMeasurementRow,
    ReadingRow,
    RemovalPlanRow,
    ScanRow,
)


@dataclass(frozen=True)
class SeriesPoint:
    """One scan of a dish, as little of it as a line needs.

    doubts, doubt : as of `Reading`
    """

    at: datetime
    differentiated_fraction: float | None
    doubts: tuple[str, ...] = ()
    doubt: Doubt = NOTHING_SAID

    @property
    def is_doubtful(self) -> bool:
        return bool(self.doubts) or self.doubt.in_doubt


@dataclass(frozen=True)
class FieldImage:
    """A field of a reading and the picture of it, which lies in the record's folder.

    number : its place among the fields of its reading, the most differentiated first, from 0
    shape : (rows, columns) of the capture
    doubt : how far the network's reading of it may be trusted
    capture_id : of the capture on record; None = not known
    """

    number: int
    name: str
    overlay: str | None
    shape: tuple[int, int]
    differentiated_fraction: float | None
    doubt: Doubt = NOTHING_SAID
    capture_id: int | None = None


@dataclass(frozen=True)
class DishOverview:
    """A dish as an overview shows it.

    severity : of a dish that is differentiating
    series : the last scans, oldest first
    overlay : of the field with the most differentiated cells
    label, passage, ended_at : as of `DishLine`
    judged_from : of a dish that is freshly passaged
    """

    name: str
    label: str
    source: str
    passage: int
    status: DishStatus
    severity: Severity | None
    ended_at: datetime | None
    last: Reading | None
    series: tuple[SeriesPoint, ...]
    overlay: str | None
    judged_from: datetime | None = None
    id: int = 0


@dataclass(frozen=True)
class DishCounts:
    """How many dishes that live stand where."""

    all: int
    critical: int
    differentiating: int
    above_limit: int
    undifferentiated: int
    freshly_passaged: int = 0


class Overviews:
    def __init__(self, database: Database) -> None:
        self._database = database

    def counts(self) -> DishCounts:
        with self._database.reading() as session:
            rows = session.execute(
                select(DishRow.status, DishRow.severity, func.count())
                .where(DishRow.ended_at.is_(None))
                .group_by(DishRow.status, DishRow.severity)
            ).all()
        worse = [row for row in rows if row[0] == DishStatus.DIFFERENTIATING]
        return DishCounts(
            all=sum(row[2] for row in rows),
            critical=sum(row[2] for row in worse if row[1] == Severity.CRITICAL),
            differentiating=sum(row[2] for row in worse if row[1] != Severity.CRITICAL),
            above_limit=sum(row[2] for row in rows if row[0] == DishStatus.ABOVE_LIMIT),
            undifferentiated=sum(row[2] for row in rows if row[0] == DishStatus.UNDIFFERENTIATED),
            freshly_passaged=sum(row[2] for row in rows if row[0] == DishStatus.FRESHLY_PASSAGED),
        )

    def dishes(
        self, *, first: int = 0, limit: int, since: datetime, points: int, ended: bool = False
    ) -> list[DishOverview]:
        """Dishes that live, the worst first, then by name; those that have ended where `ended`.

        Worst: critical, then those that differentiate or are above the limit, by their last share.

        first, limit : so many after the first
        since, points : how far back, and how many scans at most, `series` reaches
        """
        with self._database.reading() as session:
            alive = DishRow.ended_at.is_not(None) if ended else DishRow.ended_at.is_(None)
            rows = session.execute(
                select(DishRow.id, DishRow.name, DishRow.status, DishRow.severity).where(alive)
            ).all()
            shares = {} if ended else _last_shares(session)
            ordered = sorted(
                rows,
                key=lambda row: (
                    badness(row.status, row.severity, ended=ended),
                    -shares.get(row.id, 0.0),
                    in_order(row.name),
                    row.id,
                ),
            )
            return [
                _glance(session, session.get_one(DishRow, row.id), since, points)
                for row in ordered[first : first + limit]
            ]

    def dish(self, name: str, *, since: datetime, points: int) -> DishOverview:
        """Raises UsageError for a name that is not known."""
        with self._database.reading() as session:
            return _glance(session, dish_called(session, name), since, points)

    def readings(self, name: str, *, limit: int) -> list[Reading]:
        """The last readings of a dish, oldest first. Raises UsageError."""
        with self._database.reading() as session:
            dish = dish_called(session, name)
            query = _latest(dish, limit, ReadingRow)
            return [reading_of(row, dish.name) for row in reversed(session.scalars(query).all())]

    def pictures(self, reading_id: int, *, limit: int) -> list[FieldImage]:
        """The fields that a reading rests on, with the most differentiated first."""
        with self._database.reading() as session:
            rows = session.execute(
                select(
                    MeasurementRow.detail,
                    MeasurementRow.undifferentiated_px,
                    MeasurementRow.differentiated_px,
                    CaptureRow.field,
                    CaptureRow.name,
                    CaptureRow.id,
                )
                .join(
                    ReadingMeasurementRow,
                    ReadingMeasurementRow.measurement_id == MeasurementRow.id,
                )
                .join(CaptureRow, CaptureRow.id == MeasurementRow.capture_id)
                .where(ReadingMeasurementRow.reading_id == reading_id)
                .order_by(*MOST_DIFFERENTIATED)
                .limit(limit)
            ).all()
            return [
                FieldImage(
                    number=number,
                    name=field or name.name,
                    overlay=detail.get("overlay"),
                    shape=(detail["shape"][0], detail["shape"][1]),
                    differentiated_fraction=differentiated / cells
                    if (cells := undifferentiated + differentiated)
                    else None,
                    doubt=doubt_of(detail.get("doubt")),
                    capture_id=capture_id,
                )
                for number, (detail, undifferentiated, differentiated, field, name, capture_id)
                in enumerate(rows)
            ]  # fmt: skip

    def alerts(
        self, *, limit: int, dish: str | None = None, is_open: bool | None = None,
        since: datetime | None = None, until: datetime | None = None,
    ) -> list[Alert]:  # fmt: skip
        """Newest first.

        dish : empty = those that are about no dish; is_open : None = both; since, until : written
            after that, until then
        """
        with self._database.reading() as session:
            query = (
                select(AlertRow, DishRow.name)
                .outerjoin(DishRow, DishRow.id == AlertRow.dish_id)
                .order_by(AlertRow.id.desc())
                .limit(limit)
            )
            if dish == "":
                query = query.where(AlertRow.dish_id.is_(None))
            elif dish is not None:
                query = query.where(AlertRow.dish_id == dish_called(session, dish).id)
            if is_open is not None:
                closed = AlertRow.closed_at
                query = query.where(closed.is_(None) if is_open else closed.is_not(None))
            if since is not None:
                query = query.where(AlertRow.created_at > since)
            if until is not None:
                query = query.where(AlertRow.created_at <= until)
            return [alert_of(row, name) for row, name in session.execute(query)]

    def open_alerts(self) -> int:
        with self._database.reading() as session:
            return session.scalar(select(func.count()).where(AlertRow.closed_at.is_(None))) or 0

    def plans_waiting(self) -> int:
        """How many plans wait for a person's approval."""
        with self._database.reading() as session:
            waits = RemovalPlanRow.status == PlanStatus.DRAFT
            return session.scalar(select(func.count()).where(waits)) or 0

    def unreadable(self, since: datetime, until: datetime) -> list[tuple[str, str, int]]:
        """(source, reason, how many) of what could not be read in a time, the most first."""
        with self._database.reading() as session:
            count = func.count()
            rows = session.execute(
                select(CaptureRow.source, CaptureRow.reason, count)
                .where(
                    unfinished(CaptureState.UNREADABLE),
                    CaptureRow.finished_at > since,
                    CaptureRow.finished_at <= until,
                )
                .group_by(CaptureRow.source, CaptureRow.reason)
                .order_by(count.desc())
            )
            return [(source, reason or "unknown", number) for source, reason, number in rows]

    def captures_in_trouble(self) -> tuple[int, int]:
        """How many are unreadable, and how many wait and say why."""
        with self._database.reading() as session:
            unreadable = session.scalar(
                select(func.count()).where(unfinished(CaptureState.UNREADABLE))
            )
            waiting = session.scalar(
                select(func.count()).where(
                    unfinished(CaptureState.WAITING), CaptureRow.reason.is_not(None)
                )
            )
            return unreadable or 0, waiting or 0


MOST_DIFFERENTIATED = (
    MeasurementRow.differentiated_px.desc(), CaptureRow.name, CaptureRow.id,
)  # fmt: skip


def _last_shares(session: Session) -> dict[int, float]:
    """Of the dishes that need a look: the differentiated fraction of their last reading."""
    last = (
        select(ReadingRow.differentiated_fraction)
        .join(ScanRow, THAT_COUNTS)
        .where(ReadingRow.dish_id == DishRow.id)
        .order_by(ReadingRow.at.desc(), ReadingRow.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    rows = session.execute(
        select(DishRow.id, last).where(DishRow.ended_at.is_(None), DishRow.status.in_(_NEED_A_LOOK))
    )
    return {dish: share for dish, share in rows if share is not None}


_NEED_A_LOOK = [status for status in DishStatus if status.needs_a_look]


def badness(status: str, severity: str | None, *, ended: bool) -> int:
    """Smaller is worse."""
    if ended or status not in _NEED_A_LOOK:
        return 2
    return 0 if severity == Severity.CRITICAL else 1


def in_order(name: str) -> list[tuple[int, str]]:
    """A2 before A10."""
    parts = re.split(r"(\d{1,18})", name)
    return [(int(part), "") if part.isdecimal() else (0, part.casefold()) for part in parts]


def _latest(dish: DishRow, limit: int, *columns: Any) -> Select[Any]:
    return (
        select(*columns)
        .join(ScanRow, THAT_COUNTS)
        .where(ReadingRow.dish_id == dish.id)
        .order_by(ReadingRow.at.desc(), ReadingRow.id.desc())
        .limit(limit)
    )


def _glance(session: Session, dish: DishRow, since: datetime, points: int) -> DishOverview:
    last = newest_reading(session, dish)
    rows: Sequence[Any] = ()
    overlay = None
    if last is not None:
        wanted = (
            ReadingRow.at,
            ReadingRow.differentiated_fraction,
            ReadingRow.doubts,
            ReadingRow.doubt,
        )
        query = _latest(dish, points, *wanted).where(ReadingRow.at >= since)
        rows = session.execute(query).all()
        detail = session.scalar(
            select(MeasurementRow.detail)
            .join(ReadingMeasurementRow, ReadingMeasurementRow.measurement_id == MeasurementRow.id)
            .join(CaptureRow, CaptureRow.id == MeasurementRow.capture_id)
            .where(ReadingMeasurementRow.reading_id == last.id)
            .order_by(*MOST_DIFFERENTIATED)
            .limit(1)
        )
        overlay = None if detail is None else detail.get("overlay")
    return DishOverview(
        name=dish.name,
        label=dish.label,
        source=dish.source,
        passage=dish.passage,
        status=DishStatus(dish.status),
        severity=None if dish.severity is None else Severity(dish.severity),
        ended_at=dish.ended_at,
        last=None if last is None else reading_of(last, dish.name),
        series=tuple(
            SeriesPoint(at, fraction, tuple(doubts), doubt_of(doubt))
            for at, fraction, doubts, doubt in reversed(rows)
        ),
        overlay=overlay,
        judged_from=dish.judged_from,
        id=dish.id,
    )
