"""What is on record of a place before a capture of it is measured."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import exists, select

from monitor.culture import Reading
from monitor.record.captures import has_sha256
from monitor.record.database import Database
from monitor.record.series import THAT_COUNTS, reading_of
from monitor.record.tables import CaptureRow, DishRow, ReadingRow, ScanRow


class EarlierRecord:
    def __init__(self, database: Database) -> None:
        self._database = database

    def newest_readings(
        self,
        *,
        limit: int,
        dish: str | None = None,
        label: str | None = None,
        before: datetime | None = None,
        without: str | None = None,
    ) -> list[Reading]:
        """The last readings of a dish, newest first.

        label : instead of the dish, what captures call it: the line that lives there now is meant
        before : only what was taken before
        without : SHA-256 of a capture whose own scan does not count
        """
        meant = (
            DishRow.name == dish
            if dish is not None
            else (DishRow.label == label) & DishRow.ended_at.is_(None)
        )
        query = (
            select(ReadingRow, DishRow.name)
            .join(ScanRow, THAT_COUNTS)
            .join(DishRow, DishRow.id == ReadingRow.dish_id)
            .where(meant)
            .order_by(ReadingRow.at.desc(), ReadingRow.id.desc())
            .limit(limit)
        )
        if before is not None:
            query = query.where(ReadingRow.at < before)
        if without is not None:
            own = exists().where(CaptureRow.scan_id == ScanRow.id, has_sha256(without))
            query = query.where(~own)
        with self._database.reading() as session:
            return [reading_of(row, name) for row, name in session.execute(query)]
