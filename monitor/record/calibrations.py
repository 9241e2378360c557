"""Calibrations that were taught: added, never changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from monitor.culture import LIVE_PLANS, Calibration, CalibrationKind, PlanStatus
from monitor.errors import UsageError
from monitor.record.audit import append
from monitor.record.database import Database
from monitor.record.plan_moves import TakeBack, end_plan
from monitor.record.tables import CalibrationRow, DishRow, RemovalPlanRow


class CalibrationRecord:
    """take_back : called with each plan that a new calibration ends, before it is ended"""

    def __init__(self, database: Database, *, take_back: TakeBack | None = None) -> None:
        self._database = database
        self._take_back = take_back

    def add(self, made: Calibration, *, supersedes: bool = True) -> list[str]:
        """Put a calibration on record, with a line in the audit trail, in one transaction.

        supersedes : live plans of the source that rest on another calibration of its kind end,
            since they aim by a frame that does not hold any more
        Returns the ids of these plans. Raises UsageError where the id is taken.
        """
        if made.made_at is None or made.made_by is None:
            raise ValueError("a calibration goes on record with its time and its maker")
        with self._database.writing() as session:
            if session.get(CalibrationRow, made.id) is not None:
                raise UsageError(f"{made.id}: a calibration with this id is already on record")
            former = session.scalar(
                select(CalibrationRow.id)
                .where(
                    CalibrationRow.source == made.source,
                    CalibrationRow.kind == made.kind,
                    CalibrationRow.objective.is_not_distinct_from(made.objective),
                )
                .order_by(CalibrationRow.made_at.desc(), CalibrationRow.id)
                .limit(1)
            )
            session.add(_row(made))
            append(
                session,
                now=made.made_at,
                who=made.made_by,
                what=f"{made.kind} calibration made",
                about=made.id,
                why=f"source {made.source}, {len(made.points)} points, "
                f"rms {made.rms_um or 0.0:.2f} um",
                before=former,
                after={"id": made.id, "matrix": made.matrix, "objective": made.objective},
            )
            return self._supersede(session, made, made.made_at) if supersedes else []

    def _supersede(self, session: Session, made: Calibration, now: datetime) -> list[str]:
        key = "calibration_id" if made.kind is CalibrationKind.CAMERA else "picker_calibration_id"
        rows = session.scalars(
            select(RemovalPlanRow)
            .join(DishRow, DishRow.id == RemovalPlanRow.dish_id)
            .where(DishRow.source == made.source, RemovalPlanRow.status.in_(LIVE_PLANS))
        ).all()
        ended = [row for row in rows if row.detail.get(key) != made.id]
        for row in ended:
            why = f"calibration {made.id}"
            end_plan(session, row, PlanStatus.SUPERSEDED, now, self._take_back, why=why)
        return [row.id for row in ended]

    def all(self) -> list[Calibration]:
        """Newest first."""
        with self._database.reading() as session:
            rows = session.scalars(_ALL)
            return [_calibration(row) for row in rows]

    def of(self, source: str, kind: CalibrationKind | None = None) -> Sequence[Calibration]:
        """Those of one source, newest first. kind : only such"""
        return [one for one in self.all() if one.source == source and kind in (None, one.kind)]


_ALL = select(CalibrationRow).order_by(CalibrationRow.made_at.desc(), CalibrationRow.id)


def _row(made: Calibration) -> CalibrationRow:
    return CalibrationRow(
        id=made.id,
        kind=made.kind,
        source=made.source,
        objective=made.objective,
        made_at=made.made_at,
        made_by=made.made_by,
        max_age_days=made.max_age_days,
        rms_um=made.rms_um,
        detail={
            "matrix": [list(line) for line in made.matrix],
            "pixel_size_um": made.pixel_size_um,
            "binning": made.binning,
            "residuals_um": list(made.residuals_um),
            "points": [list(point) for point in made.points],
        },
    )


def _calibration(row: CalibrationRow) -> Calibration:
    detail: dict[str, Any] = row.detail
    first, second = (tuple(line) for line in detail["matrix"])
    return Calibration(
        id=row.id,
        kind=CalibrationKind(row.kind),
        source=row.source,
        matrix=(first, second),
        made_at=row.made_at,
        made_by=row.made_by,
        objective=row.objective,
        pixel_size_um=detail["pixel_size_um"],
        binning=detail["binning"],
        max_age_days=row.max_age_days,
        rms_um=row.rms_um,
        residuals_um=tuple(detail["residuals_um"]),
        points=tuple((a, b, c, d) for a, b, c, d in detail["points"]),
    )
