"""Which digests of the day were written. Each once, whoever writes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import func, select

from monitor.record.alert_rows import MAIL
from monitor.record.database import Database
from monitor.record.tables import DigestRow, OutboxRow

_PREFIX = "digest:"


class DigestRecord:
    def __init__(self, database: Database) -> None:
        self._database = database

    def is_due(self, due_at: datetime, now: datetime) -> bool:
        """Was none written for that moment? A record that is new is told of from now on."""
        with self._database.reading() as session:
            last = session.scalar(select(func.max(DigestRow.due_at)).where(DigestRow.due_at <= now))
        if last is not None:
            return last < due_at
        with self._database.writing() as session:
            if session.get(DigestRow, now) is None:
                session.add(DigestRow(due_at=now, since=now, written_at=now))
        return False

    def write(
        self, due_at: datetime, readers: Callable[[datetime], Sequence[str]], now: datetime
    ) -> bool:
        """Put the digest into the outbox. False where another program has.

        readers : the time since which it tells -> the addresses that get it
        """
        with self._database.reading() as session:
            since = session.scalar(
                select(func.max(DigestRow.due_at)).where(DigestRow.due_at < due_at)
            )
        if since is None:
            return False
        # Before the lock is taken: what the readers are told is read for it.
        to = readers(since)
        with self._database.writing() as session:
            if session.get(DigestRow, due_at) is not None:
                return False
            session.add(DigestRow(due_at=due_at, since=since, written_at=now))
            session.add_all(
                OutboxRow(
                    channel=MAIL,
                    subject_id=f"{_PREFIX}{due_at.isoformat()}",
                    recipient=address,
                    created_at=now,
                    next_try_at=now,
                    attempts=0,
                )
                for address in to
            )
            return True

    def span(self, subject_id: str) -> tuple[datetime, datetime] | None:
        """From when to when a digest in the outbox tells; None where it is of an alert."""
        if not subject_id.startswith(_PREFIX):
            return None
        due_at = datetime.fromisoformat(subject_id.removeprefix(_PREFIX))
        with self._database.reading() as session:
            row = session.get_one(DigestRow, due_at)
            return row.since, row.due_at
