"""Which overlays and label maps the record points to, and what they were made from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import joinedload

from monitor.record.database import Database
from monitor.record.tables import CaptureRow, MeasurementRow

_PORTION = 500


@dataclass(frozen=True)
class PicturedCapture:
    """A measured capture with the files that were made of it, relative to the record's folder.

    path, sha256 : of the capture; shape : (rows, columns)
    taken_at : aware
    pixel_size_um, assumed_um : what it was drawn at; None = not known, nothing was assumed
    model_sha256, settings_sha256 : what it was measured with
    """

    capture_id: int
    path: Path
    sha256: str
    source: str
    taken_at: datetime
    shape: tuple[int, int]
    overlay: str | None
    label_map: str | None
    pixel_size_um: float | None
    assumed_um: float | None
    model_sha256: str
    settings_sha256: str
    doubts: tuple[str, ...] = ()


class PictureFileRecord:
    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> Iterator[PicturedCapture]:
        """What was measured last of each capture, in portions: nothing waits for the whole."""
        after = 0
        while True:
            portion = self._portion(after)
            if not portion:
                return
            after = portion[-1][0]
            for _, found in portion:
                if found is not None:
                    yield found

    def of(self, capture_id: int) -> PicturedCapture | None:
        """None where it was not measured."""
        found = dict(self._portion(capture_id - 1, limit=1))
        return found.get(capture_id)

    def _portion(
        self, after: int, *, limit: int = _PORTION
    ) -> list[tuple[int, PicturedCapture | None]]:
        with self._database.reading() as session:
            ids = session.scalars(
                select(CaptureRow.id).where(CaptureRow.id > after).order_by(CaptureRow.id)
                .limit(limit)
            ).all()  # fmt: skip
            rows = session.execute(
                select(MeasurementRow, CaptureRow)
                .join(CaptureRow, CaptureRow.id == MeasurementRow.capture_id)
                .where(CaptureRow.id.in_(ids))
                .order_by(MeasurementRow.created_at, MeasurementRow.id)
                .options(joinedload(MeasurementRow.analysis), joinedload(CaptureRow.folder))
            ).all()
            last = {capture.id: pictured(measured, capture) for measured, capture in rows}
            return [(one, last.get(one)) for one in ids]


def pictured(measured: MeasurementRow, capture: CaptureRow) -> PicturedCapture:
    detail = measured.detail
    return PicturedCapture(
        capture_id=capture.id,
        path=capture.path,
        sha256=capture.sha256 or "",
        source=capture.source,
        taken_at=capture.acquired_at or measured.created_at,
        shape=(detail["shape"][0], detail["shape"][1]),
        overlay=detail.get("overlay"),
        label_map=detail.get("label_map"),
        pixel_size_um=measured.pixel_size_um,
        assumed_um=measured.assumed_um or None,
        model_sha256=measured.analysis.model_sha256,
        settings_sha256=measured.analysis.settings_sha256,
        doubts=tuple(detail.get("doubts", ())),
    )
