"""A removal plan as versioned JSON: everything that the plan says, points and units by name. Its
schema lies beside this file, ``removal-plan.schema.json``.

Pixels are those of the capture, (row, column), pixel centres at whole numbers, row 0 at the top;
stage coordinates are um in the stage's frame, picker coordinates um in the picker's, where its
calibration is known, and then these are to be used (`frame`). Coordinates in the well are um from
its centre, x right and y up on the plate with A1 at the top left. Times are UTC.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from monitor.culture import Hit, RefusedRegion, RegionFate, RemovalPlan, Target, Targeting
from monitor.outlets.picking.handout import Contents, Handout, utc_text
from monitor.stage.vessels import well_of

SCHEMA = "colonywatch/removal-plan/1"


def schema_as_json() -> str:
    """The JSON Schema (2020-12) of the document."""
    return (files("monitor.outlets.picking") / "removal-plan.schema.json").read_text("utf-8")


def json_plan(handout: Handout) -> Contents:
    """The whole plan as one document."""
    text = plan_as_json(handout.plan, calibration_rms_um=handout.calibration_rms_um)
    return {"": text.encode()}


def plan_as_json(plan: RemovalPlan, *, calibration_rms_um: float | None = None) -> str:
    """The whole plan as text, targets in the order in which to visit them."""
    document = plan_document(plan, calibration_rms_um=calibration_rms_um)
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def plan_document(plan: RemovalPlan, *, calibration_rms_um: float | None = None) -> dict[str, Any]:
    """The same as a value."""
    fates = {fate.region_id: fate for fate in plan.fates}
    return {
        "schema": SCHEMA,
        "id": plan.id,
        "dish": plan.dish,
        "well": well_of(plan.place),
        "status": plan.status.value,
        "action": "remove",
        "class": "differentiated",
        "frame": plan.frame,
        "reading_id": plan.reading_id,
        "created_at": utc_text(plan.created_at),
        "expires_at": utc_text(plan.expires_at),
        "approved_by": plan.approved_by,
        "approved_at": None if plan.approved_at is None else utc_text(plan.approved_at),
        # Without its token: who has that can speak for the picker.
        "handover": None
        if plan.handover is None
        else {
            "to": plan.handover.to,
            "at": utc_text(plan.handover.at),
            "not_written": [
                {"format": name, "reason": why} for name, why in plan.handover.unwritten
            ],
        },
        "picked_at": None if plan.picked_at is None else utc_text(plan.picked_at),
        "model_sha256": plan.model_sha256,
        "settings_sha256": plan.settings_sha256,
        "calibration": {"id": plan.calibration_id, "rms_um": calibration_rms_um},
        "picker_calibration": None
        if plan.picker_calibration_id is None
        else {"id": plan.picker_calibration_id},
        "area_um2": round(plan.area_um2, 1),
        "covered_um2": _rounded(plan.covered_um2, 1),
        "left_out": list(plan.left_out),
        "tool": None if plan.targeting is None else _tool(plan.targeting),
        "targets": [
            _target(target, fates.get(target.region_id))
            for target in sorted(plan.targets, key=lambda one: one.order)
        ],
        "refused": [_refused(region) for region in plan.refused],
    }


def _target(target: Target, fate: RegionFate | None) -> dict[str, Any]:
    return {
        "order": target.order,
        "region_id": target.region_id,
        "whole_colony": target.whole_colony,
        "capture_sha256": target.capture_sha256,
        "acquired_at": utc_text(target.acquired_at),
        "area_um2": round(target.area_um2, 1),
        "mean_probability": round(target.mean_probability, 4),
        "uncertainty": _rounded(target.uncertainty, 4),
        "inscribed_radius_um": round(target.inscribed_radius_um, 2),
        "removable_um2": _rounded(target.removable_um2, 1),
        "covered_um2": _rounded(target.covered_um2, 1),
        "hits": [_hit(hit) for hit in target.hits],
        "centroid_px": _pixel(target.centroid_px),
        "polygon_row_column_px": _polygon(target.polygon_px),
        "holes_row_column_px": [_polygon(hole) for hole in target.holes_px],
        "fate": None if fate is None else _fate(fate),
    }


def _fate(fate: RegionFate) -> dict[str, Any]:
    return {
        "outcome": fate.outcome,
        "reason": fate.reason,
        "hits": None if fate.hits is None else list(fate.hits),
        "check": fate.check,
        "gone_share": _rounded(fate.gone_share, 3),
        "checked_by_reading": fate.checked_by,
    }


def _hit(hit: Hit) -> dict[str, Any]:
    return {
        "order": hit.order,
        "pick_stage_um": {
            "x": round(hit.pick_x_um, 3),
            "y": round(hit.pick_y_um, 3),
            "z": _rounded(hit.pick_z_um, 3),
        },
        "pick_picker_um": _xy(hit.picker_x_um, hit.picker_y_um),
        "pick_well_um": _xy(hit.well_x_um, hit.well_y_um),
        "pick_px": _pixel(hit.pick_px),
        "clearance_um": round(hit.clearance_um, 2),
        "snap_um": _rounded(hit.snap_um, 3),
    }


def _tool(targeting: Targeting) -> dict[str, Any]:
    return {
        "name": targeting.tool,
        "kind": targeting.kind.value,
        "removes_um": targeting.removes_um,
        "touches_um": targeting.touches_um,
        "positional_error_um": targeting.positional_error_um,
        "step_um": targeting.step_um,
        "border_um": targeting.border_um,
        "safe_distance_um": targeting.safe_distance_um,
    }


def _refused(region: RefusedRegion) -> dict[str, Any]:
    return {
        "region_id": region.region_id,
        "capture_sha256": region.capture_sha256,
        "reason": region.reason,
        "text": region.text,
        "area_um2": _rounded(region.area_um2, 1),
        "polygon_row_column_px": _polygon(region.polygon_px),
        "holes_row_column_px": [_polygon(hole) for hole in region.holes_px],
    }


def _polygon(points: Sequence[tuple[float, float]]) -> list[list[float]]:
    return [[round(row, 2), round(column, 2)] for row, column in points]


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _xy(x_um: float | None, y_um: float | None) -> dict[str, float] | None:
    return None if x_um is None or y_um is None else {"x": round(x_um, 3), "y": round(y_um, 3)}


def _pixel(point: tuple[float, float]) -> dict[str, float]:
    return {"row": round(point[0], 2), "column": round(point[1], 2)}
