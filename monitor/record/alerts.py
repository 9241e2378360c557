"""Alerts: listed, answered by people, and written where something does not come."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from monitor.culture import Alert, AlertKind, AlertTopic, DishStatus, NewAlert
from monitor.record.alert_rows import (
    LOOKED_BACK,
    add_alert,
    alert_of,
    alert_row,
    alert_told,
    rest_until,
)
from monitor.record.audit import append
from monitor.record.database import Database
from monitor.record.lookup import dish_called
from monitor.record.tables import AlertRow, DishRow

US = "colonywatch"
Way = Callable[[Sequence[Alert]], NewAlert | None]


@dataclass(frozen=True)
class Answered:
    """The alert as it stands now. is_new : False where nothing was written, since somebody had
    answered, or the alert had ended, after the page was shown
    """

    alert: Alert
    is_new: bool


class AlertRecord:
    def __init__(self, database: Database) -> None:
        self._database = database

    def alerts(self, *, open_only: bool = False, dish: str | None = None) -> list[Alert]:
        """Newest first. dish : only what is about it"""
        with self._database.reading() as session:
            query = (
                select(AlertRow, DishRow.name)
                .outerjoin(DishRow, DishRow.id == AlertRow.dish_id)
                .order_by(AlertRow.id.desc())
            )
            if open_only:
                query = query.where(AlertRow.closed_at.is_(None))
            if dish is not None:
                query = query.where(AlertRow.dish_id == dish_called(session, dish).id)
            return [alert_of(row, name) for row, name in session.execute(query)]

    def alert(self, alert_id: int) -> Alert:
        with self._database.reading() as session:
            return alert_told(session, alert_row(session, alert_id))

    def acknowledge(self, alert_id: int, *, who: str, note: str | None, now: datetime) -> Alert:
        with self._database.writing() as session:
            row = alert_row(session, alert_id)
            _acknowledge(session, row, who, note, now)
            return alert_told(session, row)

    def snooze(self, alert_id: int, *, until: datetime, who: str, now: datetime) -> Alert:
        """No mails about what the alert is about until then, unless critical.

        The last word counts: it takes the place of what was said with other alerts on the same.
        """
        with self._database.writing() as session:
            row = alert_row(session, alert_id)
            _rest(session, row, until, who, now)
            return alert_told(session, row)

    def answer(
        self,
        alert_id: int,
        *,
        who: str,
        note: str | None,
        snooze_until: datetime | None,
        keep_snooze: bool = False,
        as_of: str,
        now: datetime,
    ) -> Answered:
        """Somebody knows of the alert; until `snooze_until`, no mails on what it is about, unless
        critical; None = from now on they go again.

        keep_snooze : that stays as it is
        as_of : `standing` of the alert as the person saw it
        Raises UsageError where there is no alert of this number.
        """
        with self._database.writing() as session:
            row = alert_row(session, alert_id)
            alert = alert_told(session, row)
            if standing(alert) != as_of or alert.closed_at is not None:
                return Answered(alert, is_new=False)
            _acknowledge(session, row, who, note, now)
            if not keep_snooze and row.snoozed_until != snooze_until:
                _rest(session, row, snooze_until, who, now)
            return Answered(alert_told(session, row), is_new=True)

    def open(self, topics: Collection[AlertTopic]) -> list[Alert]:
        with self._database.reading() as session:
            rows = session.execute(
                select(AlertRow, DishRow.name)
                .outerjoin(DishRow, DishRow.id == AlertRow.dish_id)
                .where(AlertRow.closed_at.is_(None), AlertRow.topic.in_(topics))
                .order_by(AlertRow.id)
            )
            return [alert_of(row, name) for row, name in rows]

    def reword(self, topic: AlertTopic, source: str, text: str) -> None:
        """What an open alert on a source says by now, also in a mail that was not sent yet."""
        with self._database.writing(durable=False) as session:
            session.execute(
                update(AlertRow)
                .where(
                    AlertRow.topic == topic,
                    AlertRow.source == source,
                    AlertRow.dish_id.is_(None),
                    AlertRow.kind != AlertKind.CLEARED,
                    AlertRow.closed_at.is_(None),
                )
                .values(text=text)
            )

    def write(
        self,
        kind: AlertKind,
        topic: AlertTopic,
        way: Way,
        *,
        dish: str | None,
        source: str | None,
        now: datetime,
        again: bool = False,
    ) -> Alert | None:
        """Raise or clear a silence alert, with its mails and an audit line, in one transaction.

        way : the alerts on the same dish, source or machine, oldest first -> how it is told; None =
            not now
        again : raise it once more while it is open
        None where nothing was written, or another program has done it already.
        """
        with self._database.writing() as session:
            row = (
                None
                if dish is None
                else session.scalar(select(DishRow).where(DishRow.name == dish))
            )
            dish_id = None if row is None else row.id
            about = (
                AlertRow.dish_id.is_not_distinct_from(dish_id),
                AlertRow.source.is_not_distinct_from(source),
            )
            if _is_open(session, topic, about) != (again or kind is AlertKind.CLEARED):
                return None
            # A snooze of a dish holds for whatever is told of it.
            same = about if dish_id is None else (AlertRow.dish_id == dish_id,)
            history = session.scalars(
                select(AlertRow).where(*same).order_by(AlertRow.id.desc()).limit(LOOKED_BACK)
            ).all()
            new = way([alert_of(one, dish) for one in reversed(history)])
            if new is None:
                return None
            alert = AlertRow(
                dish_id=dish_id,
                source=source,
                status=DishStatus.UNKNOWN if row is None else row.status,
                at=now,
            )
            add_alert(session, new, alert, now)
            subject = dish or (f"source {source}" if source else "machine")
            append(session, now=now, who=US, what=f"{topic} {kind}", about=subject, why=new.text)
            return alert_of(alert, dish)


def _acknowledge(
    session: Session, row: AlertRow, who: str, note: str | None, now: datetime
) -> None:
    before = row.acknowledged_by
    row.acknowledged_at, row.acknowledged_by, row.note = now, who, note
    append(
        session, now=now, who=who, what="alert acknowledged", about=str(row.id), why=note,
        before=before, after=who,
    )  # fmt: skip


def _rest(session: Session, row: AlertRow, until: datetime | None, who: str, now: datetime) -> None:
    before = row.snoozed_until
    rest_until(session, row, until, now)
    append(
        session,
        now=now,
        who=who,
        what="alert's snooze ended" if until is None else "alert snoozed",
        about=str(row.id),
        before=None if before is None else before.isoformat(),
        after=None if until is None else until.isoformat(),
    )


def standing(alert: Alert) -> str:
    """Changes with each answer and with the alert's end."""
    moments = (alert.acknowledged_at, alert.snoozed_until, alert.closed_at)
    return "/".join("" if one is None else one.isoformat() for one in moments)


def _is_open(session: Session, topic: AlertTopic, about: Sequence[object]) -> bool:
    found = session.scalar(
        select(AlertRow.id)
        .where(AlertRow.topic == topic, AlertRow.closed_at.is_(None), *about)  # type: ignore[arg-type]
        .limit(1)
    )
    return found is not None
