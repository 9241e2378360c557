"""Dishes, their scans, readings and alerts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from monitor.culture import (
    Alert,
    DishStatus,
    Reading,
)
from monitor.record.alerts import alert_of, alert_row, alert_told, rest_until
from monitor.record.database import Database
from monitor.record.lookup import dish_called
from monitor.record.series import (
    THAT_COUNTS,
    last_taken_at,
    newest_reading,
    reading_of,
    scans_read,
    series_of,
)
from monitor.record.tables import (
    AlertRow,
    AuditRow,
    DishRow,
    ReadingRow,
    ScanRow,
)


@dataclass(frozen=True)
class DishSummary:
    """A dish at a glance. label, passage, ended_at : as of `DishLine`"""

    name: str
    source: str
    status: DishStatus
    scans: int
    first: Reading | None
    last: Reading | None
    last_capture_at: datetime | None
    label: str = ""
    passage: int = 0
    ended_at: datetime | None = None
    parent: str | None = None


class DishRecord:
    def __init__(self, database: Database) -> None:
        self._database = database

    def newest_at(self, dish: str) -> datetime | None:
        """When its last reading was taken. Raises UsageError for a dish that is not known."""
        with self._database.reading() as session:
            row = dish_called(session, dish)
            newest = newest_reading(session, row)
            return None if newest is None else newest.at

    def history(
        self,
        dish: str,
        *,
        model_sha256: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[Reading]:
        """The dish's series, oldest first: one reading a scan, its latest version.

        since, until : only what was taken in that time, both included; None = no bound
        model_sha256 : where a scan has readings under this model, the latest of these counts
        Raises UsageError for a dish that is not known.
        """
        with self._database.reading() as session:
            row = dish_called(session, dish)
            return series_of(session, row, model_sha256=model_sha256, since=since, until=until)

    def dishes(self) -> list[DishSummary]:
        """Every dish with its first and last reading, by name."""
        with self._database.reading() as session:
            found = []
            scans = scans_read(session)
            rows = session.execute(
                select(DishRow, last_taken_at().scalar_subquery()).order_by(DishRow.name)
            )
            for dish, last_capture_at in rows.all():
                series = (
                    select(ReadingRow)
                    .join(ScanRow, THAT_COUNTS)
                    .where(ReadingRow.dish_id == dish.id)
                )
                first = session.scalar(series.order_by(ReadingRow.at).limit(1))
                last = newest_reading(session, dish)
                found.append(
                    DishSummary(
                        name=dish.name,
                        source=dish.source,
                        status=DishStatus(dish.status),
                        scans=scans.get(dish.id, 0),
                        first=reading_of(first, dish.name) if first else None,
                        last=reading_of(last, dish.name) if last else None,
                        last_capture_at=last_capture_at,
                        label=dish.label,
                        passage=dish.passage,
                        ended_at=dish.ended_at,
                        parent=None
                        if dish.parent_id is None
                        else session.get_one(DishRow, dish.parent_id).name,
                    )
                )
            return found

    # --- alerts --------------------------------------------------------------------------------

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
            row.acknowledged_at, row.acknowledged_by, row.note = now, who, note
            session.add(
                AuditRow(
                    at=now, who=who, what="alert acknowledged", subject=str(alert_id), note=note
                )
            )
            return alert_told(session, row)

    def snooze(self, alert_id: int, *, until: datetime, who: str, now: datetime) -> Alert:
        """No mails about what the alert is about until then, unless critical.

        The last word counts: it takes the place of what was said with other alerts on the same.
        """
        with self._database.writing() as session:
            row = alert_row(session, alert_id)
            rest_until(session, row, until, now)
            session.add(
                AuditRow(
                    at=now,
                    who=who,
                    what="alert snoozed",
                    subject=str(alert_id),
                    note=until.isoformat(),
                )
            )
            return alert_told(session, row)

    def source_of(self, dish: str) -> str:
        """The source that the dish was first seen in. Raises UsageError."""
        with self._database.reading() as session:
            return dish_called(session, dish).source
