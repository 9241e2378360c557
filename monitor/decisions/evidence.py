"""What was seen for a decision: pictures of this scan and of earlier ones, put in relation.

It is gathered before a scan is decided on (`monitor.scans.earlier_scans`); the rules take it as it
is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from monitor.culture import Calibration, FieldMeasurement, RemovalPlan, ScanField
from monitor.decisions.removal import Scan
from monitor.stage.labelled_field import LabelledField


@dataclass(frozen=True)
class Calibrations:
    """Those that a source uses now.

    camera_problem, problem : why the camera's, or any of them, may not be used
    """

    camera: Calibration | None = None
    picker: Calibration | None = None
    camera_problem: str | None = None
    problem: str | None = None


_NONE = Calibrations()


@dataclass(frozen=True, eq=False)
class PlanEvidence:
    """What a plan is made from.

    fields : the captures, their hits laid by what earlier scans show
    earlier : the scans before, newest first
    moved_um : the dish was put back elsewhere since one of them, so far off; None = it was not
    """

    fields: Sequence[ScanField]
    earlier: Sequence[Scan]
    moved_um: float | None = None


@dataclass(frozen=True, eq=False)
class CheckEvidence:
    """What a scan shows of a plan that was carried out.

    made_from : the captures that the plan was made from, by SHA-256
    fields : those of this scan
    shift_um : how far the dish lies from where it lay; None = it does not lie as it did
    """

    plan: RemovalPlan
    made_from: Mapping[str, FieldMeasurement]
    fields: Sequence[LabelledField]
    shift_um: tuple[float, float] | None


@dataclass(frozen=True, eq=False)
class Evidence:
    """All that was seen.

    plan : None = nothing to plan by
    on_record : the plan of that scan that is on record
    """

    calibrations: Calibrations = _NONE
    plan: PlanEvidence | None = None
    checks: tuple[CheckEvidence, ...] = ()
    on_record: RemovalPlan | None = None
