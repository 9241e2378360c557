"""What a picture or a page tells of a dish, read in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from monitor.culture import Annotation, CaptureState, DishTimeline, UnreadableCapture
from monitor.record.alert_rows import alert_of
from monitor.record.capture_states import unfinished
from monitor.record.database import Database
from monitor.record.lineage import line_of
from monitor.record.lookup import dish_called
from monitor.record.series import series_of
from monitor.record.tables import AlertRow, AnnotationRow, CaptureRow, DishRow


class TimelineRecord:
    def __init__(self, database: Database) -> None:
        self._database = database

    def of(
        self, dish: str, *, since: datetime | None = None, until: datetime | None = None
    ) -> DishTimeline:
        """A dish's readings, annotations, alerts and unreadable captures of a time, both ends in.

        Raises UsageError for a dish that is not known.
        """
        with self._database.reading() as session:
            row = dish_called(session, dish)
            notes = session.scalars(
                select(AnnotationRow)
                .where(AnnotationRow.dish_id == row.id, *_within(AnnotationRow.at, since, until))
                .order_by(AnnotationRow.at, AnnotationRow.id)
            )
            alerts = session.scalars(
                select(AlertRow)
                .where(AlertRow.dish_id == row.id, *_within(AlertRow.at, since, until))
                .order_by(AlertRow.at, AlertRow.id)
            )
            return DishTimeline(
                line=line_of(session, row),
                readings=tuple(series_of(session, row, since=since, until=until)),
                annotations=tuple(
                    Annotation(one.id, row.name, one.at, one.text, one.who) for one in notes
                ),
                alerts=tuple(alert_of(one, row.name) for one in alerts),
                unreadable=tuple(_unreadable(session, row, since, until)),
                since=since,
                until=until,
            )


def _unreadable(
    session: Session, dish: DishRow, since: datetime | None, until: datetime | None
) -> Sequence[UnreadableCapture]:
    """By the name that they carry; when they were taken is often not known, when they came is."""
    at: Any = func.coalesce(CaptureRow.acquired_at, CaptureRow.first_seen_at)
    life: list[ColumnElement[bool]] = []
    if dish.began_at is not None:
        life.append(at >= dish.began_at)
    if dish.ended_at is not None:
        life.append(at < dish.ended_at)
    rows = session.execute(
        select(CaptureRow.acquired_at, CaptureRow.first_seen_at, CaptureRow.reason)
        .where(
            unfinished(CaptureState.UNREADABLE),
            CaptureRow.source == dish.source,
            CaptureRow.named_dish == dish.label,
            *life,
            *_within(at, since, until),
        )
        .order_by(at, CaptureRow.id)
    )
    return [
        UnreadableCapture(acquired_at or first_seen_at, reason or "")
        for acquired_at, first_seen_at, reason in rows
    ]


def _within(
    column: Any, since: datetime | None, until: datetime | None
) -> list[ColumnElement[bool]]:
    bounds: list[ColumnElement[bool]] = []
    if since is not None:
        bounds.append(column >= since)
    if until is not None:
        bounds.append(column <= until)
    return bounds
