"""States of captures, as rows hold them: what changes together, and when a waiting one is due."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, literal_column, select
from sqlalchemy.orm import Session

from monitor.culture import Capture, CaptureState
from monitor.record.tables import (
    CaptureRow,
    DishRow,
    MeasurementRow,
    ReadingMeasurementRow,
    ReadingRow,
    ScanRow,
)

FIRST_RETRY_S = 5.0
LONGEST_RETRY_S = 600.0
# The kind of program that measures recorded captures once more.
AGAIN = "reprocess"


def wait_again(session: Session, row: CaptureRow, now: datetime) -> None:
    """Let what was measured be measured once more; its dish's scans are not read meanwhile."""
    scan = session.get_one(ScanRow, row.scan_id)
    row.named_dish = session.get_one(DishRow, scan.dish_id).label
    row.state, row.next_try_at, row.attempts = CaptureState.WAITING, now, 0


def retry_after(attempts: int) -> timedelta:
    """Growing waits: 5 s, 10 s, 20 s ... up to 10 minutes, for as long as it takes."""
    return timedelta(seconds=min(FIRST_RETRY_S * 2 ** max(attempts - 1, 0), LONGEST_RETRY_S))


def unfinished(*states: CaptureState) -> ColumnElement[bool]:
    """Captures in one of these states, none of them *recorded*; without any: in all such states.

    It says that twice: recorded captures are by far the most, and the index of the others is only
    used where a question has its condition word for word.
    """
    not_recorded = CaptureRow.state != literal_column("'recorded'")
    if not states:
        return not_recorded
    if len(states) == 1:
        return and_(not_recorded, CaptureRow.state == states[0])
    return and_(not_recorded, CaptureRow.state.in_(states))


def is_due(now: datetime) -> ColumnElement[bool]:
    """Whether a waiting capture's time has come.

    No wait is longer than the longest: one that is was begun before the clock was set back.
    """
    return (CaptureRow.next_try_at <= now) | (
        CaptureRow.next_try_at > now + timedelta(seconds=2 * LONGEST_RETRY_S)
    )


def claimed_row(session: Session, capture_id: int, owner: str) -> CaptureRow | None:
    row = session.get(CaptureRow, capture_id)
    if row is None or row.state != CaptureState.WORKING or row.claimed_by != owner:
        return None
    return row


def is_in_a_reading(session: Session, row: CaptureRow) -> bool:
    """Most often in one of the scan that it was last measured for; else it is looked for in all."""
    if row.scan_id is None:
        return False
    held = exists().where(
        ReadingMeasurementRow.reading_id == ReadingRow.id,
        ReadingMeasurementRow.measurement_id == MeasurementRow.id,
        MeasurementRow.capture_id == row.id,
    )
    return bool(session.scalar(select(held.where(ReadingRow.scan_id == row.scan_id)))) or bool(
        session.scalar(select(held))
    )


def is_again(owner: str) -> bool:
    """Whether that program measures once more what was measured before."""
    return owner.startswith(f"{AGAIN}@")


def keep_reading(row: CaptureRow) -> None:
    """Analysing it again failed; what was recorded of it before stands."""
    row.state, row.claimed_by, row.next_try_at = CaptureState.RECORDED, None, None


def make_unreadable(row: CaptureRow, reason: str, message: str, now: datetime) -> None:
    row.state, row.reason, row.message = CaptureState.UNREADABLE, reason, message
    row.claimed_by, row.next_try_at, row.finished_at = None, None, now


def capture_of(row: CaptureRow) -> Capture:
    return Capture(
        id=row.id,
        path=row.path,
        source=row.source,
        sha256=row.sha256,
        state=CaptureState(row.state),
        attempts=row.attempts,
        crashes=row.crashes,
        reason=row.reason,
        message=row.message,
        next_try_at=row.next_try_at,
        first_seen_at=row.first_seen_at,
        field=row.field,
        scan_id=row.scan_id,
    )
