"""The facts that a decision on a scan rests on, and the part of its dish's series to be decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from monitor.culture import (
    COURSE_TOPICS,
    LOOK_BACK,
    Course,
    DishStatus,
    LatestScan,
    Reading,
    ScanFacts,
    ScanField,
    Severity,
    Stand,
)
from monitor.record.alert_rows import CHANGE, LOOKED_BACK, alert_of
from monitor.record.plans import plans_to_check
from monitor.record.scan_fields import measured_of, scan_fields
from monitor.record.series import THAT_COUNTS, readings_numbered
from monitor.record.stands import stand_of
from monitor.record.tables import AlertRow, DishRow, ReadingRow, ScanRow

# Readings that count, of scans whose time is known.
_TIMED = (
    select(
        ReadingRow.id,
        ReadingRow.at,
        ReadingRow.differentiated_fraction,
        ScanRow.id.label("scan_id"),
        ScanRow.key,
        ScanRow.stand,
    )
    .join(ScanRow, THAT_COUNTS)
    .where(ReadingRow.dish_id == bindparam("dish"), ~ScanRow.is_misdated)
)
_LAST = (
    _TIMED.where(ScanRow.id != bindparam("scan"))
    .order_by(ReadingRow.at.desc(), ReadingRow.id.desc())
    .limit(LOOK_BACK)
)
_SINCE = _TIMED.where(
    ScanRow.id != bindparam("scan"), ReadingRow.at >= bindparam("since")
).order_by(ReadingRow.at, ReadingRow.id)
_UNTIL = (
    _TIMED.where(ScanRow.id != bindparam("scan"), ReadingRow.at < bindparam("since"))
    .order_by(ReadingRow.at.desc(), ReadingRow.id.desc())
    .limit(LOOK_BACK)
)
_LAST_ALERTS = (
    select(AlertRow)
    .where(AlertRow.dish_id == bindparam("dish"))
    .order_by(AlertRow.id.desc())
    .limit(LOOKED_BACK)
)
_COURSE_ALERTS = (
    select(AlertRow)
    .where(
        AlertRow.dish_id == bindparam("dish"),
        AlertRow.at >= bindparam("since"),
        AlertRow.role == CHANGE,
        AlertRow.topic.in_(COURSE_TOPICS),
    )
    .order_by(AlertRow.at, AlertRow.id)
)


@dataclass(frozen=True)
class Timed:
    """A scan in its place in the series. Scans of one time stand in an order that does not depend
    on which of them came first.
    """

    reading_id: int
    scan_id: int
    order: tuple[datetime, str, float, int]
    stand: str | None

    @property
    def at(self) -> datetime:
        return self.order[0]


def _timed(row: Any) -> Timed:
    share = -1.0 if row.differentiated_fraction is None else row.differentiated_fraction
    return Timed(row.id, row.scan_id, (row.at, row.key or "", share, row.id), row.stand)


def facts_of(
    session: Session,
    scan: ScanRow,
    dish: DishRow,
    fields: Sequence[ScanField],
) -> tuple[ScanFacts, list[Timed]]:
    """The facts on a scan, and the dish's other scans of known time, oldest first."""
    meant = {"dish": dish.id, "scan": scan.id}
    others = sorted((_timed(row) for row in session.execute(_LAST, meant)), key=_place)
    alerts = session.scalars(_LAST_ALERTS, {"dish": dish.id}).all()
    # Also of a scan whose reading was taken back: its versions stay on record.
    version = session.scalar(
        select(func.max(ReadingRow.version)).where(ReadingRow.scan_id == scan.id)
    )
    facts = ScanFacts(
        scan_id=scan.id,
        dish=dish.name,
        status=DishStatus(dish.status),
        fields=tuple(fields),
        history=_readings(session, others, dish),
        next_version=(version or 0) + 1,
        is_newest=True,
        severity=None if dish.severity is None else Severity(dish.severity),
        alerts=tuple(alert_of(row, dish.name) for row in reversed(alerts)),
        has_ended=dish.ended_at is not None,
        label=dish.label,
        picked=plans_to_check(session, dish),
    )
    return facts, others


def _place(one: Timed) -> tuple[datetime, str, float, int]:
    return one.order


def _readings(session: Session, scans: Sequence[Timed], dish: DishRow) -> tuple[Reading, ...]:
    return tuple(readings_numbered(session, [one.reading_id for one in scans], dish.name))


def with_course(
    session: Session,
    scan: ScanRow,
    dish: DishRow,
    facts: ScanFacts,
    others: list[Timed],
    reading: Reading,
    former: datetime | None,
) -> ScanFacts:
    """The facts with what is to be decided: the scan in its place, and all that comes after it.

    former : where the scan stood before it was read anew
    """
    times = [dish.undecided_since, former, None if scan.is_misdated else reading.at]
    known = [at for at in times if at is not None]
    if not known:
        return replace(facts, is_newest=False)
    since = dish.undecided_since = min(known)
    if len(others) == LOOK_BACK and others[LOOK_BACK // 2].at >= since:
        meant = {"dish": dish.id, "scan": scan.id, "since": since}
        found = [*session.execute(_UNTIL, meant), *session.execute(_SINCE, meant)]
        others = sorted((_timed(row) for row in found), key=_place)
    series = others
    if not scan.is_misdated:
        share = -1.0 if reading.differentiated_fraction is None else reading.differentiated_fraction
        own = Timed(reading.id, scan.id, (reading.at, scan.key or "", share, reading.id), None)
        series = sorted([*others, own], key=_place)
    if not series:
        return replace(facts, is_newest=False)
    first = next((place for place, one in enumerate(series) if one.at >= since), len(series) - 1)
    while first and series[first - 1].stand is None:
        first -= 1
    readings = _readings(session, series, dish)
    before = stand_of(series[first - 1].stand) if first else None
    alerts = session.scalars(_COURSE_ALERTS, {"dish": dish.id, "since": series[first].at})
    course = Course(
        settled=readings[max(0, first - LOOK_BACK) : first],
        before=before or Stand(),
        undecided=readings[first:],
        known=tuple(stand_of(one.stand) for one in series[first:]),
        alerts=tuple(alert_of(row, dish.name) for row in alerts),
        passaged_at=dish.began_at if dish.passage else None,
    )
    if series[-1].scan_id == scan.id:
        return replace(facts, course=course, history=readings[:-1][-LOOK_BACK:])
    newest = series[-1].scan_id
    latest = replace(
        facts,
        scan_id=newest,
        fields=scan_fields(session, measured_of(session, newest)),
        history=readings[:-1][-LOOK_BACK:],
        course=course,
    )
    return replace(facts, is_newest=False, latest=LatestScan(latest, readings[-1]))
