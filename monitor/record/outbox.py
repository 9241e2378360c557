"""What must still reach somebody. A message leaves the outbox only when it was delivered."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.orm import Session

from monitor.culture import Message
from monitor.record.database import Database
from monitor.record.tables import OutboxRow
from monitor.record.telling import WITHDRAWN

FIRST_RETRY_S = 15.0
LONGEST_RETRY_S = 1800.0
HELD = timedelta(minutes=2)
# Clocks of two machines differ by less; what was made later than that was made before the clock
# was set back.
CLOCK_SLACK = timedelta(minutes=5)
# What is due so soon after a message on the same source goes with it.
JOIN = timedelta(minutes=2)
MOST_IN_ONE = 400
_PICKER = ("withdrawal", "removal")


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

    def take_due(
        self,
        now: datetime,
        *,
        held: timedelta = HELD,
        ahead: timedelta = timedelta(),
        without: Collection[str] = (),
    ) -> Message | None:
        """The next message whose time has come, with those that share its mail, held against
        other takers.

        ahead : what was never tried and is due within that time joins, and is due itself
        without : channels to leave alone

        Should the taker die while it sends, the message is due again when `held` is over: it may
        go twice, never zero times. Messages that once shared a mail always do, so that one which
        went twice can be told.
        """
        waiting = (OutboxRow.delivered_at.is_(None), OutboxRow.failed_at.is_(None))
        free = or_(
            OutboxRow.held_until.is_(None),
            OutboxRow.held_until <= now,
            OutboxRow.held_until > now + held + CLOCK_SLACK,
        )
        due = or_(OutboxRow.next_try_at <= now, _is_of_a_time_to_come(now))
        fresh = and_(OutboxRow.attempts == 0, OutboxRow.next_try_at <= now + ahead)
        with self._database.reading() as session:
            if session.scalar(_WAITING) is None:
                return None  # most of the time, and nobody is kept from writing for that
        with self._database.writing() as session:
            row = session.scalar(
                select(OutboxRow)
                .where(*waiting, free, or_(due, fresh))
                .where(OutboxRow.channel.not_in(without))
                # What the picker may not see any more, or waits for, is never behind a slow server.
                .order_by(
                    OutboxRow.channel.in_(_PICKER).desc(), OutboxRow.next_try_at, OutboxRow.id
                )
                .limit(1)
                .with_for_update(skip_locked=True)
            )
            if row is None:
                return None
            others: Sequence[OutboxRow] = ()
            if row.together is not None:
                others = session.scalars(
                    select(OutboxRow)
                    .where(*waiting, OutboxRow.together == row.together, OutboxRow.id != row.id)
                    .order_by(OutboxRow.id)
                ).all()
            elif row.attempts == 0 and row.about is not None:
                others = session.scalars(
                    select(OutboxRow)
                    .where(
                        *waiting,
                        free,
                        OutboxRow.attempts == 0,
                        OutboxRow.next_try_at <= now + max(ahead, JOIN),
                        OutboxRow.channel == row.channel,
                        OutboxRow.recipient == row.recipient,
                        OutboxRow.about == row.about,
                        OutboxRow.id != row.id,
                    )
                    .order_by(OutboxRow.id)
                    .limit(MOST_IN_ONE - 1)
                    .with_for_update(skip_locked=True)
                ).all()
            for one in (row, *others):
                one.attempts += 1
                one.held_until = now + held
                if others and one.together is None:
                    one.together = row.id
            return replace(_message(row), shares=tuple(_message(one) for one in others))

    def delivered(self, message_id: int, where: str, now: datetime) -> None:
        """A message, and what shared its mail, has reached its recipient."""
        with self._database.writing() as session:
            for row in _sharing(session, message_id):
                row.delivered_at, row.delivered_to = now, where
                row.last_error, row.held_until = None, None

    def failed(
        self,
        message_id: int,
        error: str,
        now: datetime,
        *,
        permanent: bool,
        unreachable: bool = False,
    ) -> datetime | None:
        """Not delivered. Returns when it is tried again, None where that cannot help."""
        with self._database.writing() as session:
            again = None
            for row in _sharing(session, message_id):
                row.last_error, row.held_until, row.unreachable = error, None, unreachable
                if permanent:
                    row.failed_at = now
                else:
                    again = row.next_try_at = now + retry_after(row.attempts)
            return again

    def part(self, message_id: int, now: datetime) -> None:
        """What shared a mail goes in mails of its own, at once."""
        with self._database.writing() as session:
            for row in _sharing(session, message_id):
                row.together, row.held_until, row.next_try_at = None, None, now

    def hurry(self, channels: Collection[str], now: datetime) -> None:
        """Somebody answers again: what found nobody there is tried at once."""
        with self._database.writing() as session:
            session.execute(
                update(OutboxRow)
                .where(
                    OutboxRow.channel.in_(channels),
                    OutboxRow.delivered_at.is_(None),
                    OutboxRow.failed_at.is_(None),
                    OutboxRow.unreachable,
                    OutboxRow.next_try_at > now,
                )
                .values(next_try_at=now)
            )

    def retry(self, now: datetime) -> int:
        """Let every undelivered message be tried at once, also those that were given up."""
        with self._database.writing() as session:
            rows = session.scalars(
                select(OutboxRow).where(
                    OutboxRow.delivered_at.is_(None),
                    or_(OutboxRow.attempts > 0, OutboxRow.failed_at.is_not(None)),
                    func.coalesce(OutboxRow.last_error, "") != WITHDRAWN,
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
                        OutboxRow.failed_at.is_not(None), OutboxRow.last_error != WITHDRAWN
                    )
                )
                or 0,
            )

    def late(self, since: datetime) -> int:
        """How many messages were due then already, and neither went nor were given up."""
        with self._database.reading() as session:
            return (
                session.scalar(
                    select(func.count()).where(
                        OutboxRow.delivered_at.is_(None),
                        OutboxRow.failed_at.is_(None),
                        OutboxRow.attempts > 0,
                        OutboxRow.created_at <= since,
                    )
                )
                or 0
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

    def log(self, *, limit: int = 50) -> list[Message]:
        """What went out, waits or was given up, newest first."""
        with self._database.reading() as session:
            rows = session.scalars(select(OutboxRow).order_by(OutboxRow.id.desc()).limit(limit))
            return [_message(row) for row in rows]

    def undelivered(self, *, limit: int = 50) -> list[Message]:
        with self._database.reading() as session:
            rows = session.scalars(
                select(OutboxRow)
                .where(OutboxRow.delivered_at.is_(None))
                .order_by(OutboxRow.id)
                .limit(limit)
            )
            return [_message(row) for row in rows]


_WAITING = (
    select(OutboxRow.id)
    .where(OutboxRow.delivered_at.is_(None), OutboxRow.failed_at.is_(None))
    .limit(1)
)


def _is_of_a_time_to_come(now: datetime) -> ColumnElement[bool]:
    """Made, or put off, before the clock was set back: its time would come too late or never."""
    tried = OutboxRow.attempts > 0
    return or_(
        and_(~tried, OutboxRow.created_at > now + CLOCK_SLACK),
        and_(
            tried,
            OutboxRow.next_try_at > now + timedelta(seconds=LONGEST_RETRY_S) + CLOCK_SLACK,
        ),
    )


def _sharing(session: Session, message_id: int) -> list[OutboxRow]:
    """The row and those that share its mail, without what was withdrawn meanwhile."""
    row = session.get_one(OutboxRow, message_id)
    rows = [row]
    if row.together is not None:
        rows = list(
            session.scalars(select(OutboxRow).where(OutboxRow.together == row.together)).all()
        )
    return [one for one in rows if one.delivered_at is None and one.failed_at is None]


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
        delivered_to=row.delivered_to,
    )
