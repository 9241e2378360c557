"""Whole tables by the portion: in the order of their numbers, each portion a transaction of its
own, so that a long export neither fills the memory nor holds up the daemon.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Select, select

from monitor.culture import Alert, ColonyPoint, Reading
from monitor.record.alert_rows import alert_of
from monitor.record.colonies import unpack_colonies
from monitor.record.database import Database
from monitor.record.lookup import dish_called
from monitor.record.series import READING_COLUMNS, THAT_COUNTS, reading_of
from monitor.record.tables import (
    AlertRow,
    AnalysisRow,
    DishRow,
    ReadingColoniesRow,
    ReadingRow,
    RemovalPlanRow,
    ScanRow,
)

_READINGS: Select[Any] = (
    select(
        *READING_COLUMNS, DishRow.name, DishRow.source,
    )
    .join(ScanRow, THAT_COUNTS)
    .join(AnalysisRow, AnalysisRow.id == ReadingRow.analysis_id)
    .join(DishRow, DishRow.id == ReadingRow.dish_id)
)  # fmt: skip


class Listings:
    def __init__(self, database: Database) -> None:
        self._database = database

    def readings(
        self, *, after: int, limit: int, dish: str | None = None,
        since: datetime | None = None, until: datetime | None = None,
    ) -> list[tuple[Reading, str]]:  # fmt: skip
        """Of each scan the reading that counts, with its source, by numbers above `after`.

        Raises UsageError for a dish that is not known.
        """
        with self._database.reading() as session:
            query = _READINGS.where(ReadingRow.id > after).order_by(ReadingRow.id).limit(limit)
            if dish is not None:
                query = query.where(ReadingRow.dish_id == dish_called(session, dish).id)
            if since is not None:
                query = query.where(ReadingRow.at >= since)
            if until is not None:
                query = query.where(ReadingRow.at <= until)
            return [(reading_of(row, row.name, row), row.source) for row in session.execute(query)]

    def colonies(
        self, *, after: int, limit: int, dish: str | None = None
    ) -> list[tuple[int, str, str, ColonyPoint]]:
        """(reading, dish, source, colony) of so many readings with numbers above `after`."""
        with self._database.reading() as session:
            query: Select[Any] = (
                select(
                    ReadingRow.id, ReadingRow.at, DishRow.name, DishRow.source,
                    ReadingColoniesRow.packed,
                )
                .join(ReadingColoniesRow, ReadingColoniesRow.reading_id == ReadingRow.id)
                .join(ScanRow, THAT_COUNTS)
                .join(DishRow, DishRow.id == ReadingRow.dish_id)
                .where(ReadingRow.id > after)
                .order_by(ReadingRow.id)
                .limit(limit)
            )  # fmt: skip
            if dish is not None:
                query = query.where(ReadingRow.dish_id == dish_called(session, dish).id)
            return [
                (row.id, row.name, row.source, ColonyPoint(row.at, colony))
                for row in session.execute(query)
                for colony in unpack_colonies(row.packed)
                if not colony.missed
            ]

    def alerts(
        self, *, after: int, limit: int, dish: str | None = None, is_open: bool | None = None
    ) -> list[Alert]:
        with self._database.reading() as session:
            query = (
                select(AlertRow, DishRow.name)
                .outerjoin(DishRow, DishRow.id == AlertRow.dish_id)
                .where(AlertRow.id > after)
                .order_by(AlertRow.id)
                .limit(limit)
            )
            if dish is not None:
                query = query.where(AlertRow.dish_id == dish_called(session, dish).id)
            if is_open is not None:
                closed = AlertRow.closed_at
                query = query.where(closed.is_(None) if is_open else closed.is_not(None))
            return [alert_of(row, name) for row, name in session.execute(query)]

    def plan_ids(self, *, status: str | None = None, dish: str | None = None) -> list[str]:
        """Newest first."""
        with self._database.reading() as session:
            query = select(RemovalPlanRow.id).order_by(
                RemovalPlanRow.created_at.desc(), RemovalPlanRow.id
            )
            if status is not None:
                query = query.where(RemovalPlanRow.status == status)
            if dish is not None:
                query = query.where(RemovalPlanRow.dish_id == dish_called(session, dish).id)
            return list(session.scalars(query))
