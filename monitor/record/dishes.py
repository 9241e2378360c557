"""Dishes, their scans, readings and alerts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from monitor.culture import (
    DishStatus,
    Reading,
)
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
    DishRow,
    ReadingRow,
    ScanRow,
)


@dataclass(frozen=True)
class DishSummary:
    """A dish at a glance.

    label, passage, ended_at : as of `DishLine`
    judged_from : of a dish that is freshly passaged
    """

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
    judged_from: datetime | None = None


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


class DishRecord:
    def __init__(self, database: Database) -> None:
        self._database = database

    def newest_at(self, dish: str) -> datetime | None:
        """When its last reading was taken. Raises UsageError for a dish that is not known."""
        with self._database.reading() as session:
            row = dish_called(session, dish)
            newest = newest_reading(session, row)
            return None if newest is None else newest.at

    def judged_from(self, dish: str) -> datetime | None:
        """Till when it counts as freshly passaged; None = it does not. Raises UsageError."""
        with self._database.reading() as session:
            return dish_called(session, dish).judged_from

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
                        judged_from=dish.judged_from,
                        parent=None
                        if dish.parent_id is None
                        else session.get_one(DishRow, dish.parent_id).name,
                    )
                )
            return found

    def source_of(self, dish: str) -> str:
        """The source that the dish was first seen in. Raises UsageError."""
        with self._database.reading() as session:
            return dish_called(session, dish).source

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
