"""Alerts as rows: written with their messages in the outbox, snoozed, read again.

What waits and is overtaken is not sent; an all-clear goes to those who believe that something is
wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from monitor.culture import Alert, AlertKind, AlertTopic, DishStatus, HeldBack, NewAlert, Severity
from monitor.errors import UsageError
from monitor.record.tables import AlertRow, DishRow, OutboxRow

MAIL, CHANNEL = "email", "channel"
WITHDRAWN = "withdrawn"
_CHANNELS = (MAIL, CHANNEL)
CHANGE, REPLACED = "change", "replaced"
LOOKED_BACK = 100
"""So many alerts of one dish, source or machine are looked at, the newest ones."""


def add_alert(session: Session, new: NewAlert, about: AlertRow, now: datetime) -> int:
    """Write an alert and its messages. A topic that is cleared closes its open alerts; what still
    waits to be sent on the topic is overtaken.

    about : the alert's subject and reading; the rest is filled in
    Returns the alert's number.
    """
    same = (
        AlertRow.topic == new.topic,
        AlertRow.dish_id.is_not_distinct_from(about.dish_id),
        AlertRow.source.is_not_distinct_from(about.source),
    )
    # What comes late overtakes nothing that is newer.
    earlier = session.scalars(
        select(AlertRow)
        .where(*same, AlertRow.at <= about.at)
        .order_by(AlertRow.id.desc())
        .limit(LOOKED_BACK)
    ).all()
    if new.kind is AlertKind.CLEARED:
        session.execute(
            update(AlertRow).where(*same, AlertRow.closed_at.is_(None)).values(closed_at=now)
        )
        about.closed_at = now
    about.kind, about.topic, about.severity = new.kind, new.topic, new.severity
    about.text, about.held_back, about.created_at = new.text, new.held_back, now
    about.role = new.role
    session.add(about)
    session.flush()
    to = [(MAIL, address) for address in new.mail_to]
    to += [(CHANNEL, name) for name in new.channels]
    _send_out(session, about, earlier, to=to, wait=new.wait, now=now)
    return about.id


def _send_out(
    session: Session,
    alert: AlertRow,
    earlier: Sequence[AlertRow],
    *,
    to: Sequence[tuple[str, str]],
    wait: timedelta,
    now: datetime,
) -> None:
    """Put an alert into the outbox, and take out what it overtakes.

    alert : on record already, with `held_back` as the rules say it
    earlier : alerts on the same topic of the same thing, newest first
    to : (channel, recipient)
    """
    overtaken = _withdraw_waiting(session, earlier, now)
    if alert.held_back is not None:
        return
    if alert.kind == AlertKind.CLEARED:
        believers = _believers(session, earlier)
        to = [one for one in to if one in believers]
        if not to:
            alert.held_back = HeldBack.OVERTAKEN if overtaken else HeldBack.NOBODY_TOLD
            return
    source = alert.source
    if source is None and alert.dish_id is not None:
        source = session.get_one(DishRow, alert.dish_id).source
    session.add_all(
        OutboxRow(
            channel=channel,
            subject_id=str(alert.id),
            recipient=recipient,
            created_at=now,
            next_try_at=now + wait,
            attempts=0,
            about=source or "",
        )
        for channel, recipient in to
    )


def hold_waiting(
    session: Session, alerts: Sequence[AlertRow], reason: HeldBack, now: datetime
) -> None:
    """What is not due yet is not sent; why stands beside the alert."""
    for alert in alerts:
        if _withdraw(session, alert, now):
            alert.held_back = reason


def _withdraw_waiting(session: Session, earlier: Sequence[AlertRow], now: datetime) -> bool:
    """What is not due yet is not sent any more. True where that was so for any."""
    found = False
    for alert in earlier:
        if _withdraw(session, alert, now):
            alert.held_back = (
                HeldBack.COOLING if alert.kind == AlertKind.CLEARED else HeldBack.OVERTAKEN
            )
            found = True
    return found


def _withdraw(session: Session, alert: AlertRow, now: datetime) -> bool:
    changed = session.execute(
        update(OutboxRow)
        .where(
            OutboxRow.channel.in_(_CHANNELS),
            OutboxRow.subject_id == str(alert.id),
            OutboxRow.delivered_at.is_(None),
            OutboxRow.failed_at.is_(None),
            OutboxRow.attempts == 0,
            OutboxRow.next_try_at > now,
        )
        .values(failed_at=now, last_error=WITHDRAWN)
    )
    return bool(changed.rowcount)  # type: ignore[attr-defined]


def _believers(session: Session, earlier: Sequence[AlertRow]) -> set[tuple[str, str]]:
    """Those whose last message on the topic, sent or on its way, said that it is raised."""
    kinds = {str(alert.id): alert.kind for alert in earlier}
    rows = session.scalars(
        select(OutboxRow)
        .where(
            OutboxRow.channel.in_(_CHANNELS),
            OutboxRow.subject_id.in_(kinds),
            OutboxRow.failed_at.is_(None),
        )
        .order_by(OutboxRow.id)
    )
    last = {(row.channel, row.recipient): kinds[row.subject_id] for row in rows}
    return {who for who, kind in last.items() if kind != AlertKind.CLEARED}


def alert_row(session: Session, alert_id: int) -> AlertRow:
    """Raises UsageError where there is none of this number."""
    row = session.get(AlertRow, alert_id)
    if row is None:
        raise UsageError(f"{alert_id}: there is no alert with this number; see alerts list --all")
    return row


def rest_until(session: Session, row: AlertRow, until: datetime | None, now: datetime) -> None:
    """Snooze what an alert is about, whatever other alerts on it said; None = not any more.

    Mails that wait for others, or for the morning, are held back too.
    """
    same = (
        AlertRow.dish_id == row.dish_id
        if row.dish_id is not None
        else AlertRow.dish_id.is_(None) & AlertRow.source.is_not_distinct_from(row.source)
    )
    session.execute(
        update(AlertRow)
        .where(same, AlertRow.id != row.id, AlertRow.snoozed_until.is_not(None))
        .values(snoozed_until=None)
    )
    row.snoozed_until = until
    if until is not None and until > now:
        told = select(AlertRow).where(same, AlertRow.severity != Severity.CRITICAL)
        newest = told.order_by(AlertRow.id.desc()).limit(LOOKED_BACK)
        hold_waiting(session, session.scalars(newest).all(), HeldBack.SNOOZED, now)


def alert_told(session: Session, row: AlertRow) -> Alert:
    """The row as a value, with the name of its dish."""
    dish = None if row.dish_id is None else session.get_one(DishRow, row.dish_id).name
    return alert_of(row, dish)


def alert_of(row: AlertRow, dish: str | None) -> Alert:
    """The row as a value of the field."""
    return Alert(
        id=row.id,
        dish=dish or "",
        kind=AlertKind(row.kind),
        status=DishStatus(row.status),
        reading_id=row.reading_id,
        at=row.at,
        fraction=row.fraction,
        created_at=row.created_at,
        closed_at=row.closed_at,
        acknowledged_at=row.acknowledged_at,
        acknowledged_by=row.acknowledged_by,
        note=row.note,
        snoozed_until=row.snoozed_until,
        topic=AlertTopic(row.topic),
        severity=Severity(row.severity),
        source=row.source,
        text=row.text,
        held_back=None if row.held_back is None else HeldBack(row.held_back),
        role=row.role,
    )
