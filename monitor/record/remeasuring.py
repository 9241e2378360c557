"""Captures that are measured once more, by another model or under other settings.

Who measures them again takes them from *recorded* to *working* in one step, so that no other
program, whose model may be a former one, can have them in between. Whatever ends that early, they
are recorded as before: what was read of them stands.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import groupby

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from monitor.culture import Capture, CaptureState
from monitor.record.capture_states import capture_of
from monitor.record.database import Database
from monitor.record.tables import AnalysisRow, CaptureRow, DishRow, MeasurementRow, ScanRow

_HELD = (CaptureState.RECORDED, CaptureState.MEASURED)
_MANY = 10_000
SettingsOf = Callable[[str], str | None]


class AgainRecord:
    def __init__(self, database: Database) -> None:
        self._database = database

    def outdated(
        self,
        model_sha256: str,
        settings_of: SettingsOf,
        *,
        dish: str | None = None,
        also: Collection[int] = (),
    ) -> list[list[int]]:
        """Measured captures that this model has not measured under the present settings, and those
        of `also`: a list a scan, oldest first.

        settings_of : name of a source -> hash of the settings that hold for it now; None where
            they are not known, and then its captures stay as they are
        """
        with self._database.reading() as session:
            query = (
                select(ScanRow.first_at, ScanRow.id, CaptureRow.id)
                .join(ScanRow, ScanRow.id == CaptureRow.scan_id)
                .where(CaptureRow.state.in_(_HELD))
            )
            if dish is not None:
                query = query.join(DishRow, DishRow.id == ScanRow.dish_id).where(
                    DishRow.name == dish
                )
            rows = [
                (first_at, scan, capture)
                for source, settings in _sources(session, settings_of)
                for first_at, scan, capture in session.execute(
                    query.where(CaptureRow.source == source, ~_measured_by(model_sha256, settings))
                )
            ]
            for some in _portions(sorted(also)):
                within = query.where(CaptureRow.id.in_(some))
                rows += [(at, scan, capture) for at, scan, capture in session.execute(within)]
        scans = groupby(sorted(set(rows)), key=lambda row: row[1])
        return [[capture for _, _, capture in held] for _, held in scans]

    def claim(self, ids: Collection[int], owner: str) -> list[Capture]:
        """Take measured captures in hand; those that somebody else has by now are left."""
        found: list[Capture] = []
        with self._database.writing(durable=False) as session:
            for some in _portions(sorted(ids)):
                claimed = session.scalars(
                    update(CaptureRow)
                    .where(CaptureRow.id.in_(some), CaptureRow.state.in_(_HELD))
                    .values(
                        state=CaptureState.WORKING,
                        claimed_by=owner,
                        attempts=1,
                        crashes=0,
                        reason=None,
                        message=None,
                    )
                    .returning(CaptureRow)
                )
                found += [capture_of(row) for row in claimed]
        return sorted(found, key=lambda capture: capture.id)

    def not_measured(
        self, ids: Collection[int], model_sha256: str, settings_of: SettingsOf
    ) -> list[Capture]:
        """Of these the captures that this model has not measured under the present settings."""
        found: list[Capture] = []
        with self._database.reading() as session:
            for source, settings in _sources(session, settings_of):
                for some in _portions(sorted(ids)):
                    rows = session.scalars(
                        select(CaptureRow).where(
                            CaptureRow.id.in_(some),
                            CaptureRow.source == source,
                            ~_measured_by(model_sha256, settings),
                        )
                    )
                    found += [capture_of(row) for row in rows]
        return sorted(found, key=lambda capture: capture.id)


def _sources(session: Session, settings_of: SettingsOf) -> list[tuple[str, str]]:
    """Sources of captures whose settings are known, with these."""
    names = session.scalars(select(CaptureRow.source).distinct()).all()
    found = [(name, settings_of(name)) for name in names]
    return [(name, settings) for name, settings in found if settings is not None]


def _measured_by(model_sha256: str, settings_sha256: str) -> ColumnElement[bool]:
    return (
        select(MeasurementRow.id)
        .join(AnalysisRow, AnalysisRow.id == MeasurementRow.analysis_id)
        .where(
            MeasurementRow.capture_id == CaptureRow.id,
            AnalysisRow.model_sha256 == model_sha256,
            AnalysisRow.settings_sha256 == settings_sha256,
        )
        .exists()
    )


def _portions(ids: Sequence[int]) -> Iterable[Sequence[int]]:
    return (ids[first : first + _MANY] for first in range(0, len(ids), _MANY))
