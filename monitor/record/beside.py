"""What stood in files beside captures when they were measured: sidecars, companions."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import joinedload

from monitor.culture import CaptureState
from monitor.record.capture_states import wait_again
from monitor.record.database import Database
from monitor.record.tables import CaptureRow, DishRow, FolderRow, MeasurementRow, ScanRow

_MEASURED = (CaptureState.RECORDED, CaptureState.MEASURED)
_MANY = 10_000


@dataclass(frozen=True)
class MeasuredFile:
    """A measured capture, and the hash of what stood beside it then."""

    id: int
    scan_id: int
    path: Path
    source: str
    beside: str


class BesideRecord:
    def __init__(self, database: Database) -> None:
        self._database = database

    def folders(self, *, since: datetime | None = None, source: str | None = None) -> list[Path]:
        """Folders of captures: of those seen first since then, of one source."""
        query = select(FolderRow.path).join(CaptureRow, CaptureRow.folder_id == FolderRow.id)
        if since is not None:
            query = query.where(CaptureRow.first_seen_at >= since)
        if source is not None:
            query = query.where(CaptureRow.source == source)
        with self._database.reading() as session:
            return sorted(session.scalars(query.distinct()))

    def measured_in(self, folder: Path, *, dish: str | None = None) -> list[MeasuredFile]:
        """Measured captures in a folder, with what stood beside them the last time."""
        query = (
            select(CaptureRow, MeasurementRow.beside)
            .join(FolderRow, FolderRow.id == CaptureRow.folder_id)
            .join(MeasurementRow, MeasurementRow.capture_id == CaptureRow.id)
            .where(FolderRow.path == folder, CaptureRow.state.in_(_MEASURED))
            .where(CaptureRow.scan_id.is_not(None))
            .order_by(MeasurementRow.created_at, MeasurementRow.id)
            .options(joinedload(CaptureRow.folder))
        )
        if dish is not None:
            query = (
                query.join(ScanRow, ScanRow.id == CaptureRow.scan_id)
                .join(DishRow, DishRow.id == ScanRow.dish_id)
                .where(DishRow.name == dish)
            )
        with self._database.reading() as session:
            found = {
                row.id: MeasuredFile(row.id, row.scan_id or 0, row.path, row.source, beside)
                for row, beside in session.execute(query)
            }
        return list(found.values())

    def reopen(self, ids: Collection[int], now: datetime) -> int:
        """Let measured captures be measured once more: something else stands beside them now.

        Their readings stay; the new measurement makes a new version. Returns how many.
        """
        count = 0
        wanted = sorted(ids)
        with self._database.writing() as session:
            for first in range(0, len(wanted), _MANY):
                rows = session.scalars(
                    select(CaptureRow).where(
                        CaptureRow.id.in_(wanted[first : first + _MANY]),
                        CaptureRow.state.in_(_MEASURED),
                    )
                )
                for row in rows:
                    wait_again(session, row, now)
                    row.crashes = 0
                    count += 1
        return count
