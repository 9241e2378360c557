"""The time zone of a source was put right: so is all that is on record of it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from monitor.culture import MISDATED
from monitor.culture.local_times import moved
from monitor.record.audit import append
from monitor.record.database import Database
from monitor.record.leaving import decide_again
from monitor.record.measurements import doubts_on_date, is_misdated
from monitor.record.plan_moves import TakeBack
from monitor.record.plans import supersede_plans
from monitor.record.session_cache import forget_readings
from monitor.record.tables import AlertRow, CaptureRow, DishRow, ReadingRow, ScanRow


class ZoneRecord:
    """take_back : called with each plan that ends, before that is on record"""

    def __init__(self, database: Database, *, take_back: TakeBack | None = None) -> None:
        self._database = database
        self._take_back = take_back

    def put_right(self, source: str, zone: str, *, ahead_s: float, now: datetime) -> list[int]:
        """Read the times of the source's captures that name no zone by this one.

        Scans, readings and alerts move with them; what they call for is decided anew with the next
        reading. Returns the scans to read for that: the newest of each dish that was put right.
        """
        wrong = (DishRow.source == source, DishRow.zone.is_not(None), DishRow.zone != zone)
        with self._database.reading() as session:
            if session.scalar(select(DishRow.id).where(*wrong).limit(1)) is None:
                return []
        to_read = []
        with self._database.writing() as session:
            for dish in session.scalars(select(DishRow).where(*wrong)).all():
                before, dish.zone = dish.zone, zone
                scans = _move(session, dish, before or zone, ahead_s)
                if not scans:
                    continue
                session.flush()
                supersede_plans(session, dish, now, self._take_back)
                newest = _newest(session, dish)
                if newest is not None:
                    newest.dirty, newest.last_taken_at = True, now
                    dish.last_new_at = min(newest.first_at, now)
                    to_read.append(newest.id)
                append(
                    session, now=now, who="colonywatch", what="dish time zone put right",
                    about=dish.name, why=f"{len(scans)} scans", before=before, after=zone,
                )  # fmt: skip
            forget_readings(session)
        return to_read


def _newest(session: Session, dish: DishRow) -> ScanRow | None:
    query = (
        select(ScanRow)
        .where(ScanRow.dish_id == dish.id, ScanRow.reading_id.is_not(None))
        .order_by(ScanRow.first_at.desc(), ScanRow.id.desc())
        .limit(1)
    )
    return session.scalar(query.where(~ScanRow.is_misdated)) or session.scalar(query)


def _move(session: Session, dish: DishRow, before: str, ahead_s: float) -> list[ScanRow]:
    """The scans of a dish that hold captures whose times are local, at their right times."""
    rows = session.execute(
        select(ScanRow, CaptureRow)
        .join(CaptureRow, CaptureRow.scan_id == ScanRow.id)
        .where(ScanRow.dish_id == dish.id, CaptureRow.acquired_at.is_not(None))
        .order_by(ScanRow.id)
    ).all()
    held: dict[int, tuple[ScanRow, list[CaptureRow]]] = {}
    for scan, capture in rows:
        held.setdefault(scan.id, (scan, []))[1].append(capture)
    found = []
    for scan, captures in held.values():
        if not any(capture.is_local for capture in captures):
            continue
        found.append(scan)
        decide_again(dish, scan.first_at)
        for capture in captures:
            assert capture.acquired_at is not None
            if capture.is_local:
                capture.acquired_at = moved(capture.acquired_at, before, dish.zone or before)
            capture.is_misdated = is_misdated(capture.acquired_at, capture.first_seen_at, ahead_s)
        times = [one.acquired_at for one in captures if one.acquired_at is not None]
        scan.first_at, scan.last_at, scan.stand = min(times), max(times), None
        scan.is_misdated = any(capture.is_misdated for capture in captures)
        decide_again(dish, scan.first_at)
        _move_reading(session, scan, captures)
    return found


def _move_reading(session: Session, scan: ScanRow, captures: list[CaptureRow]) -> None:
    """The reading that counts and its alerts. What else it says stays as it is."""
    if scan.reading_id is None:
        return
    row = session.get_one(ReadingRow, scan.reading_id)
    on_dates = {doubt for capture in captures for doubt in doubts_on_date(capture)}
    row.at = scan.first_at
    row.doubts = sorted({*(set(row.doubts) - MISDATED), *on_dates})
    session.flush()
    session.execute(update(AlertRow).where(AlertRow.reading_id == row.id).values(at=row.at))
