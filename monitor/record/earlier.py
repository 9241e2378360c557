"""What is on record of a dish before a scan."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import bindparam, select

from monitor.culture import Reading
from monitor.record.database import Database
from monitor.record.series import THAT_COUNTS, readings_numbered
from monitor.record.tables import DishRow, ReadingRow, ScanRow


class EarlierRecord:
    def __init__(self, database: Database) -> None:
        self._database = database

    def newest_readings(
        self, dish: str, *, limit: int, before: datetime | None = None
    ) -> list[Reading]:
        """The last readings of a dish, newest first; before : only of what was taken before"""
        chosen = {"dish": dish, "limit": limit, "before": before or _NEVER}
        with self._database.reading() as session:
            rows = session.scalars(_NEWEST, chosen).all()
            return readings_numbered(session, rows, dish)


_NEVER = datetime(9999, 1, 1, tzinfo=UTC)
_NEWEST = (
    select(ReadingRow.id)
    .join(ScanRow, THAT_COUNTS)
    .join(DishRow, DishRow.id == ReadingRow.dish_id)
    .where(
        DishRow.name == bindparam("dish"),
        ReadingRow.at < bindparam("before"),
        ~ScanRow.is_misdated,
    )
    .order_by(ReadingRow.at.desc(), ReadingRow.id.desc())
    .limit(bindparam("limit"))
)
