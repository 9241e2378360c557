"""What must still reach somebody. A message leaves the outbox only when it was delivered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select

from monitor.culture import Message
from monitor.record.database import Database
from monitor.record.tables import OutboxRow

FIRST_RETRY_S = 15.0
LONGEST_RETRY_S = 1800.0
HELD_S = 120.0


@dataclass(frozen=True)
class OutboxCounts:
    pending: int
    failed: int


class Outbox:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, channel: str, subject_id: str, recipient: str, now: datetime) -> int:
        with self._database.writing() as session:
            row = OutboxRow(
                channel=channel,
                subject_id=subject_id,
                recipient=recipient,
                created_at=now,
                next_try_at=now,
                attempts=0,
            )
            session.add(row)
            session.flush()
            return row.id

    def take_due(self, now: datetime) -> Message | None:
        """The oldest message whose time has come, held for two minutes against other takers.

        Should the taker die while it sends, the message is due again after that: it may go twice,
        never zero times.
        """
        with self._database.writing() as session:
            row = session.scalar(
                select(OutboxRow)
                .where(
                    OutboxRow.delivered_at.is_(None),
                    OutboxRow.failed_at.is_(None),
                    OutboxRow.next_try_at <= now,
                )
                .order_by(OutboxRow.next_try_at, OutboxRow.id)
                .limit(1)
            )
            if row is None:
                return None
            row.attempts += 1
            row.next_try_at = now + timedelta(seconds=HELD_S)
            return _message(row)

    def delivered(self, message_id: int, where: str, now: datetime) -> None:
        with self._database.writing() as session:
            row = session.get_one(OutboxRow, message_id)
            row.delivered_at, row.delivered_to, row.last_error = now, where, None

    def failed(
        self, message_id: int, error: str, now: datetime, *, permanent: bool
    ) -> datetime | None:
        """Not delivered. Returns when it is tried again, None where that cannot help."""
        with self._database.writing() as session:
            row = session.get_one(OutboxRow, message_id)
            if row.failed_at is not None:
                return None  # it was withdrawn while it was in hand
            row.last_error = error
            if permanent:
                row.failed_at = now
                return None
            row.next_try_at = now + retry_after(row.attempts)
            return row.next_try_at

    def retry(self, now: datetime) -> int:
        """Let every undelivered message be tried at once, also those that were given up."""
        with self._database.writing() as session:
            rows = session.scalars(
                select(OutboxRow).where(
                    OutboxRow.delivered_at.is_(None), OutboxRow.last_error != "withdrawn"
                )
            ).all()
            for row in rows:
                row.next_try_at, row.failed_at = now, None
            return len(rows)

    def counts(self) -> OutboxCounts:
        with self._database.reading() as session:
            undelivered = select(func.count()).where(OutboxRow.delivered_at.is_(None))
            return OutboxCounts(
                pending=session.scalar(undelivered.where(OutboxRow.failed_at.is_(None))) or 0,
                failed=session.scalar(
                    undelivered.where(
                        OutboxRow.failed_at.is_not(None), OutboxRow.last_error != "withdrawn"
                    )
                )
                or 0,
            )

    def last_delivery(self) -> str | None:
        """Where the latest message went."""
        with self._database.reading() as session:
            return session.scalar(
                select(OutboxRow.delivered_to)
                .where(OutboxRow.delivered_at.is_not(None))
                .order_by(OutboxRow.delivered_at.desc(), OutboxRow.id.desc())
                .limit(1)
            )

    def undelivered(self, *, limit: int = 50) -> list[Message]:
        with self._database.reading() as session:
            rows = session.scalars(
                select(OutboxRow)
                .where(OutboxRow.delivered_at.is_(None))
                .order_by(OutboxRow.id)
                .limit(limit)
            )
            return [_message(row) for row in rows]


def retry_after(attempts: int) -> timedelta:
    """15 s, 30 s, 60 s ... up to half an hour, for as long as it takes."""
    return timedelta(seconds=min(FIRST_RETRY_S * 2 ** max(attempts - 1, 0), LONGEST_RETRY_S))


def _message(row: OutboxRow) -> Message:
    return Message(
        id=row.id,
        channel=row.channel,
        subject_id=row.subject_id,
        recipient=row.recipient,
        attempts=row.attempts,
        created_at=row.created_at,
        next_try_at=row.next_try_at,
        last_error=row.last_error,
        delivered_at=row.delivered_at,
        failed_at=row.failed_at,
    )
