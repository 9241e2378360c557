"""Captures that wait or could not be read: what is in hand, in trouble, equal to others."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import and_, exists, func, select

from monitor.culture import Capture, CaptureState, EqualImage
from monitor.record.capture_states import capture_of, is_due, unfinished
from monitor.record.database import Database
from monitor.record.leaving import EQUAL_PICTURES
from monitor.record.tables import CaptureRow, DishRow, ScanRow


class UnfinishedRecord:
    def __init__(self, database: Database) -> None:
        self._database = database

    def troubled(self, *, limit: int = 100) -> list[Capture]:
        """Captures that wait with a reason or are unreadable, newest first."""
        with self._database.reading() as session:
            rows = session.scalars(
                select(CaptureRow)
                .where(
                    unfinished(CaptureState.WAITING, CaptureState.UNREADABLE),
                    CaptureRow.reason.is_not(None),
                )
                .order_by(CaptureRow.id.desc())
                .limit(limit)
            )
            return [capture_of(row) for row in rows]

    def troubled_by_reason(self) -> dict[tuple[CaptureState, str], int]:
        """How many captures wait or are unreadable for which reason, the most first."""
        count = func.count()
        with self._database.reading() as session:
            rows = session.execute(
                select(CaptureRow.state, CaptureRow.reason, count)
                .where(
                    CaptureRow.state.in_([CaptureState.WAITING, CaptureState.UNREADABLE]),
                    CaptureRow.reason.is_not(None),
                )
                .group_by(CaptureRow.state, CaptureRow.reason)
                .order_by(count.desc(), CaptureRow.reason)
            )
            return {(CaptureState(state), str(reason)): many for state, reason, many in rows}

    def in_hand(self, now: datetime) -> frozenset[tuple[str, str | None]]:
        """Source and label of what is due, in work, or measured and not read yet.

        The label is None where the capture's name does not say it.
        """
        due = unfinished(CaptureState.WAITING) & is_due(now)
        at_work = unfinished(CaptureState.WORKING, CaptureState.MEASURED)
        label = func.coalesce(DishRow.label, CaptureRow.named_dish)
        with self._database.reading() as session:
            return frozenset(
                (source, named)
                for one in (at_work, due)
                for source, named in session.execute(
                    select(CaptureRow.source, label)
                    .outerjoin(ScanRow, ScanRow.id == CaptureRow.scan_id)
                    .outerjoin(DishRow, DishRow.id == ScanRow.dish_id)
                    .where(one)
                    .distinct()
                )
            )

    def first_waiting_for(self, reason: str) -> Capture | None:
        """The oldest capture that waits for this reason."""
        with self._database.reading() as session:
            row = session.scalar(
                select(CaptureRow)
                .where(unfinished(CaptureState.WAITING), CaptureRow.reason == reason)
                .order_by(CaptureRow.id)
                .limit(1)
            )
            return None if row is None else capture_of(row)

    def equal_pictures(self, since: datetime) -> list[EqualImage]:
        """Captures that show what captures of other dishes show, found since then, by their dishes;
        only of dishes that live and have no later reading.
        """
        later = exists().where(
            ScanRow.dish_id == DishRow.id,
            ScanRow.reading_id.is_not(None),
            ScanRow.first_at > CaptureRow.acquired_at,
        )
        with self._database.reading() as session:
            rows = session.execute(
                select(CaptureRow.source, DishRow.name, CaptureRow.acquired_at)
                .join(
                    DishRow,
                    and_(
                        DishRow.label == CaptureRow.named_dish,
                        DishRow.source == CaptureRow.source,
                        DishRow.ended_at.is_(None),
                    ),
                )
                .where(
                    unfinished(CaptureState.UNREADABLE),
                    CaptureRow.reason == EQUAL_PICTURES,
                    CaptureRow.finished_at >= since,
                    ~later,
                )
                .order_by(DishRow.name, CaptureRow.acquired_at)
            )
            return [EqualImage(source, dish, at) for source, dish, at in rows if at]
