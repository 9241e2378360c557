"""What came lately and what it cost: for whoever asks whether this machine keeps up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import joinedload

from monitor.culture import CaptureState
from monitor.record.database import Database
from monitor.record.tables import CaptureRow, MeasurementRow


@dataclass(frozen=True)
class WorkedCapture:
    """A measured capture. taken_at, seen_at : aware; took_s : seconds to measure it

    knows_time : its date comes from the capture, not from the file's time
    """

    source: str
    scan_id: int | None
    taken_at: datetime
    seen_at: datetime
    took_s: float
    path: Path
    knows_time: bool


class WorkloadRecord:
    def __init__(self, database: Database) -> None:
        self._database = database

    def recent(self, source: str, *, limit: int = 400) -> list[WorkedCapture]:
        """Those of a source that came last, in the order of arrival."""
        with self._database.reading() as session:
            captures = session.scalars(
                select(CaptureRow)
                .where(
                    CaptureRow.source == source,
                    CaptureRow.state == CaptureState.RECORDED,
                    CaptureRow.acquired_at.is_not(None),
                    CaptureRow.is_misdated.is_(False),
                )
                .order_by(CaptureRow.id.desc())
                .limit(limit)
                .options(joinedload(CaptureRow.folder))
            ).all()
            by_id = {one.id: one for one in captures}
            rows = session.execute(
                select(MeasurementRow.capture_id, MeasurementRow.detail)
                .where(MeasurementRow.capture_id.in_(by_id))
                .order_by(MeasurementRow.id)
            ).all()
            details = {capture_id: detail for capture_id, detail in rows}  # noqa: C416
            return [
                WorkedCapture(
                    source,
                    one.scan_id,
                    one.acquired_at,
                    one.first_seen_at,
                    float(details[number].get("took_s", 0.0)),
                    one.path,
                    details[number].get("acquired_at_from") != "mtime",
                )
                for number, one in sorted(by_id.items())
                if number in details and one.acquired_at is not None
            ]
