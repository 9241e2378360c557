"""Alerts into the outbox. What waits and is overtaken is not sent; an all-clear goes to those who
believe that something is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from monitor.culture import AlertKind
from monitor.record.tables import AlertRow, DishRow, OutboxRow

MAIL, CHANNEL = "email", "channel"
WITHDRAWN = "withdrawn"
OVERTAKEN = "overtaken"
SNOOZED = "snoozed"
NOBODY_TOLD = "nobody was told"
_CHANNELS = (MAIL, CHANNEL)


def send_out(
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
            alert.held_back = OVERTAKEN if overtaken else NOBODY_TOLD
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


def hold_waiting(session: Session, alerts: Sequence[AlertRow], reason: str, now: datetime) -> None:
    """What is not due yet is not sent; why stands beside the alert."""
    for alert in alerts:
        if _withdraw(session, alert, now):
            alert.held_back = reason


def _withdraw_waiting(session: Session, earlier: Sequence[AlertRow], now: datetime) -> bool:
    """What is not due yet is not sent any more. True where that was so for any."""
    found = False
    for alert in earlier:
        if _withdraw(session, alert, now):
            alert.held_back = "cooldown" if alert.kind == AlertKind.CLEARED else OVERTAKEN
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
