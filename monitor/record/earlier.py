"""What is on record of a place before a capture of it is measured."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import bindparam, exists, select

from monitor.culture import Reading
from monitor.record.database import Database
from monitor.record.series import THAT_COUNTS, readings_numbered
from monitor.record.tables import CaptureRow, DishRow, ReadingRow, ScanRow, halves_of


class EarlierRecord:
    def __init__(self, database: Database) -> None:
        self._database = database

    def newest_readings(
        self,
        *,
        limit: int,
        dish: str | None = None,
        label: str | None = None,
        source: str | None = None,
        before: datetime | None = None,
        without: str | None = None,
    ) -> list[Reading]:
        """The last readings of a dish, newest first.

        label, source : instead of the dish, what captures of a source call it: the line that lives
            there now is meant
        before : only what was taken before
        without : SHA-256 of a capture whose own scan does not count
        """
        chosen = {
            "named": dish if dish is not None else label,
            **({} if dish is not None else {"source": source}),
            "limit": limit,
            "before": before or _NEVER,
            "head": None if without is None else halves_of(without)[0],
            "tail": None if without is None else halves_of(without)[1],
        }
        query = _OF_DISH if dish is not None else _OF_LABEL
        with self._database.reading() as session:
            rows = session.execute(query, chosen).all()
            return readings_numbered(
                session, [row.id for row in rows], rows[0].name if rows else ""
            )


_NEVER = datetime(9999, 1, 1, tzinfo=UTC)
_NEWEST = (
    select(ReadingRow.id, DishRow.name)
    .join(ScanRow, THAT_COUNTS)
    .join(DishRow, DishRow.id == ReadingRow.dish_id)
    .where(
        ReadingRow.at < bindparam("before"),
        # None of a hash is equal to nothing.
        ~exists().where(
            CaptureRow.scan_id == ScanRow.id,
            CaptureRow.sha256_head == bindparam("head"),
            CaptureRow.sha256_tail == bindparam("tail"),
        ),
    )
    .order_by(ReadingRow.at.desc(), ReadingRow.id.desc())
    .limit(bindparam("limit"))
)
_OF_DISH = _NEWEST.where(DishRow.name == bindparam("named"))
_OF_LABEL = _NEWEST.where(
    DishRow.label == bindparam("named"),
    DishRow.source == bindparam("source"),
    DishRow.ended_at.is_(None),
)
