"""What must still reach somebody. A message leaves the outbox only when it was delivered."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.orm import Session

from monitor.culture import AlertKind, Message
from monitor.record.alert_rows import MAIL, WITHDRAWN
from monitor.record.database import Database
from monitor.record.tables import AlertRow, OutboxRow, new_mail_id

FIRST_RETRY_S = 15.0
LONGEST_RETRY_S = 1800.0
HELD = timedelta(minutes=2)
# Clocks of two machines differ by less; what was made later than that was made before the clock
# was set back.
CLOCK_SLACK = timedelta(minutes=5)
# What is due so soon after a message on the same source goes with it.
JOIN = timedelta(minutes=2)
MOST_IN_ONE = 400
# What was given up longer ago is of no use any more, though a changed setting might cure it.
REVIVED_FOR = timedelta(days=14)
_MOST_IN_THREAD = 20
_PICKER = ("withdrawal", "removal")


@dataclass(frozen=True)
class OutboxCounts:
    pending: int
    failed: int


class Outbox:
    def __init__(self, database: Database) -> None:
        self._database = database

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
            others = _in_one_mail(session, row, waiting, free, now + max(ahead, JOIN))
            for one in (row, *others):
                one.attempts += 1
                one.held_until = now + held
                if others and one.together is None:
                    one.together = row.id
            # The mail of several is that of the one that gathered them, whichever comes first now.
            first = row if row.together is None else session.get(OutboxRow, row.together)
            return replace(
                _message(row),
                mail_id=(first or row).mail_id,
                shares=tuple(_message(one) for one in others),
            )

    def delivered(self, message_id: int, where: str, now: datetime) -> None:
        """A message, and what shared its mail, has reached its recipient."""
        with self._database.writing() as session:
            for row in _sharing(session, message_id):
                row.delivered_at, row.delivered_to = now, where
                row.last_error, row.held_until, row.refused_with = None, None, None

    def failed(
        self,
        message_id: int,
        error: str,
        now: datetime,
        *,
        permanent: bool,
        unreachable: bool = False,
        refused_with: str | None = None,
        waits: bool = False,
    ) -> datetime | None:
        """Not delivered. Returns when it is tried again, None where that cannot help.

        refused_with : fingerprint of the settings that may have to do with it (`release`)
        waits : for a setting; in between it is tried now and then, for the cure may lie elsewhere
        """
        with self._database.writing() as session:
            again = None
            for row in _sharing(session, message_id):
                row.last_error, row.held_until, row.unreachable = error, None, unreachable
                row.refused_with = refused_with
                if permanent:
                    row.failed_at = now
                elif waits:
                    again = row.next_try_at = now + timedelta(seconds=LONGEST_RETRY_S)
                else:
                    again = row.next_try_at = now + retry_after(row.attempts)
            return again

    def part(self, message_id: int, now: datetime) -> None:
        """What shared a mail goes in mails of its own, at once."""
        with self._database.writing() as session:
            for row in _sharing(session, message_id):
                row.together, row.held_until, row.next_try_at = None, None, now
                row.mail_id = new_mail_id()

    def hold(
        self, channel: str, error: str, refused_with: str | None, until: datetime, now: datetime
    ) -> None:
        """Nothing is taken from us as things are: what else is due there waits, too."""
        with self._database.writing() as session:
            session.execute(
                update(OutboxRow)
                .where(
                    OutboxRow.channel == channel,
                    OutboxRow.delivered_at.is_(None),
                    OutboxRow.failed_at.is_(None),
                    OutboxRow.next_try_at <= now,
                    or_(OutboxRow.held_until.is_(None), OutboxRow.held_until <= now),
                )
                .values(
                    next_try_at=until, last_error=error, refused_with=refused_with, unreachable=True
                )
            )

    def release(
        self, channel: str, fingerprint: str | None, now: datetime
    ) -> list[tuple[Message, str | None]]:
        """Let be tried at once what was refused with other settings than these.

        fingerprint : of the settings now; None: whatever the settings were
        Returns the messages, each with the source that it is about (empty: the machine).
        """
        changed: ColumnElement[bool] = OutboxRow.refused_with.is_not(None)
        if fingerprint is not None:
            changed = and_(changed, OutboxRow.refused_with != fingerprint)
        with self._database.reading() as session:
            if session.scalar(select(OutboxRow.id).where(changed).limit(1)) is None:
                return []
        with self._database.writing() as session:
            rows = session.scalars(
                select(OutboxRow)
                .where(
                    changed,
                    OutboxRow.channel == channel,
                    OutboxRow.delivered_at.is_(None),
                    or_(OutboxRow.failed_at.is_(None), OutboxRow.failed_at >= now - REVIVED_FOR),
                )
                .order_by(OutboxRow.id)
            ).all()
            for row in rows:
                row.next_try_at, row.failed_at, row.refused_with = now, None, None
                row.unreachable = False
            return [(_message(row), row.about) for row in rows]

    def readdress(self, message_id: int, recipients: Collection[str], now: datetime) -> list[str]:
        """Its recipient is none any more: it goes to those who have no message on the same yet, and
        to nobody where all have. Returns who gets it.
        """
        with self._database.writing() as session:
            row = session.get_one(OutboxRow, message_id)
            told = set(
                session.scalars(
                    select(OutboxRow.recipient).where(
                        OutboxRow.channel == row.channel, OutboxRow.subject_id == row.subject_id
                    )
                )
            )
            new = [one for one in dict.fromkeys(recipients) if one not in told]
            row.together = None
            if not new:
                row.failed_at, row.last_error, row.refused_with = now, WITHDRAWN, None
                return []
            row.recipient, row.mail_id = new[0], new_mail_id()
            row.attempts, row.last_error = 0, None
            session.add_all(
                OutboxRow(
                    channel=row.channel,
                    subject_id=row.subject_id,
                    recipient=one,
                    created_at=row.created_at,
                    next_try_at=now,
                    attempts=0,
                    about=row.about,
                )
                for one in new[1:]
            )
            return new

    def thread(self, message: Message) -> tuple[str, ...]:
        """Ids of the mails that its recipient had on the same before, oldest first: since the alert
        was raised.
        """
        if message.channel != MAIL or not message.subject_id.isdecimal():
            return ()
        with self._database.reading() as session:
            alert = session.get(AlertRow, int(message.subject_id))
            if alert is None or alert.kind == AlertKind.RAISED:
                return ()
            earlier = session.execute(
                select(AlertRow.id, AlertRow.kind)
                .where(
                    AlertRow.id < alert.id,
                    AlertRow.topic == alert.topic,
                    AlertRow.dish_id.is_(alert.dish_id)
                    if alert.dish_id is None
                    else AlertRow.dish_id == alert.dish_id,
                    AlertRow.source.is_(None)
                    if alert.source is None
                    else AlertRow.source == alert.source,
                )
                .order_by(AlertRow.id.desc())
                .limit(_MOST_IN_THREAD)
            ).all()
            ids: list[str] = []
            for alert_id, kind in earlier:
                ids.append(str(alert_id))
                if kind == AlertKind.RAISED:
                    break
            rows = session.scalars(
                select(OutboxRow)
                .where(
                    OutboxRow.channel == MAIL,
                    OutboxRow.recipient == message.recipient,
                    OutboxRow.subject_id.in_(ids),
                    OutboxRow.delivered_at.is_not(None),
                )
                .order_by(OutboxRow.delivered_at, OutboxRow.id)
            ).all()
            firsts = [
                row if row.together is None else session.get(OutboxRow, row.together)
                for row in rows
            ]
            return tuple(dict.fromkeys(one.mail_id for one in firsts if one is not None))

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


def _in_one_mail(
    session: Session,
    row: OutboxRow,
    waiting: Sequence[ColumnElement[bool]],
    free: ColumnElement[bool],
    until: datetime,
) -> Sequence[OutboxRow]:
    """What goes in the same mail: what did so before; of a fresh message what is due until then."""
    if row.together is not None:
        return session.scalars(
            select(OutboxRow)
            .where(*waiting, OutboxRow.together == row.together, OutboxRow.id != row.id)
            .order_by(OutboxRow.id)
        ).all()
    if row.attempts == 0 and row.about is not None:
        return session.scalars(
            select(OutboxRow)
            .where(
                *waiting,
                free,
                OutboxRow.attempts == 0,
                OutboxRow.next_try_at <= until,
                OutboxRow.channel == row.channel,
                OutboxRow.recipient == row.recipient,
                OutboxRow.about == row.about,
                OutboxRow.id != row.id,
            )
            .order_by(OutboxRow.id)
            .limit(MOST_IN_ONE - 1)
            .with_for_update(skip_locked=True)
        ).all()
    return ()


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
        mail_id=row.mail_id,
        waits_for_setting=row.refused_with is not None,
    )
