"""Alarms: alerts about what does not come. Of a dish, a source or the machine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from monitor.culture import Alert, AlertKind, AlertTopic, DishStatus, NewAlert
from monitor.record.alerts import add_alert, alert_of
from monitor.record.database import Database
from monitor.record.series import last_taken_at
from monitor.record.tables import AlertRow, AuditRow, DishRow


@dataclass(frozen=True)
class DishSign:
    """The last sign of life of a dish.

    last_new_at : when the last scan was taken that showed something else than the one before
    repeats : scans since that showed the very same picture
    """

    dish: str
    label: str
    source: str
    last_new_at: datetime
    repeats: int


Way = Callable[[Sequence[Alert]], NewAlert | None]


class AlarmRecord:
    def __init__(self, database: Database) -> None:
        self._database = database

    def signs(self) -> list[DishSign]:
        """The last sign of life of each dish that lives and has a scan, or was told of."""
        with self._database.reading() as session:
            last = last_taken_at().scalar_subquery()
            rows = session.execute(
                select(DishRow, last).where(DishRow.ended_at.is_(None)).order_by(DishRow.name)
            )
            signs = ((dish, dish.last_new_at or last_at or dish.began_at) for dish, last_at in rows)
            return [
                DishSign(dish.name, dish.label, dish.source, at, dish.repeats)
                for dish, at in signs
                if at is not None
            ]

    def sources(self) -> frozenset[str]:
        """Sources that ever gave a capture of a dish."""
        with self._database.reading() as session:
            return frozenset(session.scalars(select(DishRow.source).distinct()))

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
        """What an open alarm of a source says by now; a mail that was not sent yet says it too."""
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
        """Raise or clear an alarm, with its mails and an audit line, in one transaction.

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
                select(AlertRow).where(*same).order_by(AlertRow.id.desc()).limit(100)
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
            session.add(
                AuditRow(
                    at=now,
                    who="colonywatch",
                    what=f"{topic} {kind}",
                    subject=subject,
                    note=new.text,
                )
            )
            return alert_of(alert, dish)


def _is_open(session: Session, topic: AlertTopic, about: Sequence[object]) -> bool:
    found = session.scalar(
        select(AlertRow.id)
        .where(AlertRow.topic == topic, AlertRow.closed_at.is_(None), *about)  # type: ignore[arg-type]
        .limit(1)
    )
    return found is not None
