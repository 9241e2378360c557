"""A removal plan as versioned JSON: everything that the plan says, points and units by name.

Pixels are those of the capture, (row, column), pixel centres at whole numbers, row 0 at the top;
stage coordinates are um in the stage's frame, picker coordinates um in the picker's, where its
calibration is known, and then these are to be used (`frame`). Coordinates in the well are um from
its centre, x right and y up on the plate with A1 at the top left. Times are UTC.
"""

from __future__ import annotations

import json
from typing import Any

from monitor.culture import RemovalPlan, Target
from monitor.outlets.picking.handout import utc_text
from monitor.vessels import well_of

SCHEMA = "colonywatch/removal-plan/1"


def plan_as_json(plan: RemovalPlan, *, calibration_rms_um: float | None = None) -> str:
    """The whole plan as text, targets in the order in which to visit them."""
    document = {
        "schema": SCHEMA,
        "id": plan.id,
        "dish": plan.dish,
        "well": well_of(plan.dish),
        "status": plan.status.value,
        "action": "remove",
        "class": "differentiated",
        "frame": plan.frame,
        "reading_id": plan.reading_id,
        "created_at": utc_text(plan.created_at),
        "expires_at": utc_text(plan.expires_at),
        "approved_by": plan.approved_by,
        "approved_at": None if plan.approved_at is None else utc_text(plan.approved_at),
        "model_sha256": plan.model_sha256,
        "settings_sha256": plan.settings_sha256,
        "calibration": {"id": plan.calibration_id, "rms_um": calibration_rms_um},
        "picker_calibration": None
        if plan.picker_calibration_id is None
        else {"id": plan.picker_calibration_id},
        "area_um2": round(plan.area_um2, 1),
        "left_out": list(plan.left_out),
        "targets": [_target(target) for target in sorted(plan.targets, key=lambda one: one.order)],
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _target(target: Target) -> dict[str, Any]:
    return {
        "order": target.order,
        "region_id": target.region_id,
        "capture_sha256": target.capture_sha256,
        "acquired_at": utc_text(target.acquired_at),
        "area_um2": round(target.area_um2, 1),
        "mean_probability": round(target.mean_probability, 4),
        "inscribed_radius_um": round(target.inscribed_radius_um, 2),
        "pick_stage_um": {
            "x": round(target.pick_x_um, 3),
            "y": round(target.pick_y_um, 3),
            "z": None if target.pick_z_um is None else round(target.pick_z_um, 3),
        },
        "pick_picker_um": _xy(target.picker_x_um, target.picker_y_um),
        "pick_well_um": _xy(target.well_x_um, target.well_y_um),
        "pick_px": _pixel(target.pick_px),
        "centroid_px": _pixel(target.centroid_px),
        "polygon_row_column_px": [
            [round(row, 2), round(column, 2)] for row, column in target.polygon_px
        ],
    }


def _xy(x_um: float | None, y_um: float | None) -> dict[str, float] | None:
    return None if x_um is None or y_um is None else {"x": round(x_um, 3), "y": round(y_um, 3)}


def _pixel(point: tuple[float, float]) -> dict[str, float]:
    return {"row": round(point[0], 2), "column": round(point[1], 2)}
