"""Captures that leave their scan, and scans that nothing is left of."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import exists, select, update
from sqlalchemy.orm import Session

from monitor.culture import CaptureState, DishStatus
from monitor.record.plan_moves import TakeBack
from monitor.record.plans import supersede_plans
from monitor.record.tables import AlertRow, CaptureRow, DishRow, ReadingRow, ScanRow

# Why a capture is not part of its scan's reading, though it could be.
OTHER_COUNTS, FILLED_TWICE = "other-file-counts", "field-twice"
SET_ASIDE = (OTHER_COUNTS, FILLED_TWICE)
EQUAL_PICTURES = "equal-pictures"
# Another picture of its field is looked at: one in other light, of another height.
LEFT_OUT = "left-out"


def leave_scan(
    session: Session, row: CaptureRow, now: datetime, take_back: TakeBack | None
) -> None:
    """The capture is not of its scan: what that says is said anew without it, or not at all."""
    scan = session.get(ScanRow, row.scan_id)
    row.scan_id = None
    session.flush()
    if scan is None:
        return
    rest = session.scalars(
        select(CaptureRow).where(CaptureRow.scan_id == scan.id, CaptureRow.acquired_at.is_not(None))
    ).all()
    if not rest:
        withdraw(session, scan, now, take_back)
        return
    for one in rest:
        if one.state == CaptureState.UNREADABLE and one.reason in SET_ASIDE:
            one.state, one.reason, one.message = CaptureState.MEASURED, None, None
    times = [one.acquired_at for one in rest if one.acquired_at is not None]
    scan.first_at, scan.last_at = min(times), max(times)
    scan.dirty, scan.last_taken_at = True, now


def decide_again(dish: DishRow, since: datetime) -> None:
    """What is decided on the dish next goes back to the scans of this time."""
    dish.undecided_since = min(dish.undecided_since or since, since)


def withdraw(session: Session, scan: ScanRow, now: datetime, take_back: TakeBack | None) -> None:
    """No capture of a scan is left: it says nothing any more, and its dish is judged without it.

    Its readings stay on record, as versions that do not count.
    """
    dish = session.get_one(DishRow, scan.dish_id)
    if not session.scalar(select(exists().where(ReadingRow.scan_id == scan.id))):
        session.delete(scan)
        session.flush()
        return
    decide_again(dish, scan.first_at)
    scan.reading_id, scan.dirty, scan.stand = None, False, None
    session.flush()
    # They aim at what another picture showed.
    supersede_plans(session, dish, now, take_back)
    newest = session.scalar(
        select(ScanRow)
        .where(ScanRow.dish_id == dish.id, ScanRow.reading_id.is_not(None), ~ScanRow.is_misdated)
        .order_by(ScanRow.first_at.desc(), ScanRow.id.desc())
        .limit(1)
    )
    if newest is not None:
        newest.dirty, newest.last_taken_at = True, now
        return
    dish.status, dish.status_since, dish.severity = DishStatus.UNKNOWN, now, None
    dish.judged_from = None
    dish.last_new_at, dish.repeats = None, 0
    session.execute(
        update(AlertRow)
        .where(AlertRow.dish_id == dish.id, AlertRow.closed_at.is_(None))
        .values(closed_at=now)
    )
