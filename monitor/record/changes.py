"""Has the record changed? One short word for all that pages show, cheap to ask for often."""

from __future__ import annotations

import hashlib
import threading
from contextlib import suppress

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from monitor.culture import CaptureState
from monitor.record.capture_states import unfinished
from monitor.record.database import Database
from monitor.record.tables import (
    AlertRow,
    AnnotationRow,
    AuditRow,
    CaptureRow,
    DishRow,
    ReadingRow,
    RemovalPlanRow,
)


class Changes:
    """The word is another once a scan was read, or an alert, plan, note or dish has changed.

    On SQLite the database's own counter of transactions says whether to look at all: a daemon's
    signs of life come often and change no page.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._counter: Connection | None = None
        self._seen: tuple[object, int] | None = None
        self._mark = ""

    def mark(self) -> str:
        """Raises RecordError where the record cannot be read."""
        with self._lock:
            before = self._count()
            if before is None or before != self._seen:
                with self._database.reading() as session:
                    self._mark = _mark_of(session, self._database.key)
                self._seen = before
            return self._mark

    def _count(self) -> tuple[object, int] | None:
        """None where the database has no such counter, or it cannot be read now."""
        if self._database.file is None:
            return None
        # Where a backup took the file's place, this goes on with that.
        self._database.refuse_gone()
        pool = self._database.engine.pool
        with suppress(SQLAlchemyError):
            if self._counter is None or self._seen is None or self._seen[0] is not pool:
                self._let_go()
                self._counter = self._database.engine.connect()
            driver = self._counter.connection.cursor()
            try:
                (number,) = driver.execute("PRAGMA data_version").fetchone()
            finally:
                driver.close()
            return pool, int(number)
        self._let_go()
        return None

    def _let_go(self) -> None:
        if self._counter is not None:
            with suppress(SQLAlchemyError):
                self._counter.close()
            self._counter = None

    def close(self) -> None:
        with self._lock:
            self._let_go()
            self._seen = None


def _mark_of(session: Session, key: str) -> str:
    """Numbers only grow, so the largest ones say what is new; of the rest, what can change."""
    is_open = AlertRow.closed_at.is_(None)
    told = [
        key,
        *(session.scalar(select(func.max(number)))
          for number in (ReadingRow.id, AlertRow.id, AnnotationRow.id, AuditRow.number)),
        session.execute(
            select(AlertRow.id, AlertRow.acknowledged_at, AlertRow.snoozed_until).where(is_open)
        ).all(),
        session.execute(
            select(DishRow.id, DishRow.name, DishRow.status, DishRow.severity, DishRow.ended_at,
                   DishRow.judged_from)
        ).all(),
        session.execute(
            select(RemovalPlanRow.status, func.count()).group_by(RemovalPlanRow.status)
        ).all(),
        session.scalar(select(func.count()).where(unfinished(CaptureState.UNREADABLE))),
        session.scalar(
            select(func.count()).where(
                unfinished(CaptureState.WAITING), CaptureRow.reason.is_not(None)
            )
        ),
    ]  # fmt: skip
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]
