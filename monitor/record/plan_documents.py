"""Removal plans as they stand in their rows: one JSON document beside the columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from monitor.culture import (
    Grounds,
    Handover,
    Hit,
    PlanStatus,
    RefusedRegion,
    RegionFate,
    RemovalPlan,
    Target,
)
from monitor.record.measurements import points_of, rings_of, targeting_of
from monitor.record.tables import DishRow, RemovalPlanRow

_OF_A_HIT = (
    "order",
    "pick_px",
    "pick_x_um",
    "pick_y_um",
    "pick_z_um",
    "picker_x_um",
    "picker_y_um",
    "well_x_um",
    "well_y_um",
    "snap_um",
)


def detail_of(plan: RemovalPlan) -> dict[str, Any]:
    """What a plan says beyond the columns of its row."""
    return {
        "model_sha256": plan.model_sha256,
        "settings_sha256": plan.settings_sha256,
        "calibration_id": plan.calibration_id,
        "picker_calibration_id": plan.picker_calibration_id,
        "left_out": list(plan.left_out),
        "covered_um2": plan.covered_um2,
        "aiming": None if plan.targeting is None else asdict(plan.targeting),
        "grounds": None if plan.grounds is None else asdict(plan.grounds),
        "targets": [
            {**asdict(target), "acquired_at": target.acquired_at.isoformat()}
            for target in plan.targets
        ],
        "refused": [asdict(region) for region in plan.refused],
    }


def plan_of(row: RemovalPlanRow, dish: DishRow, fates: tuple[RegionFate, ...] = ()) -> RemovalPlan:
    """The row as a value of the field."""
    detail = row.detail
    return RemovalPlan(
        id=row.id,
        dish=dish.name,
        source=dish.source,
        label=dish.label,
        reading_id=row.reading_id,
        status=PlanStatus(row.status),
        created_at=row.created_at,
        expires_at=row.expires_at,
        model_sha256=detail["model_sha256"],
        settings_sha256=detail["settings_sha256"],
        calibration_id=detail["calibration_id"],
        picker_calibration_id=detail.get("picker_calibration_id"),
        targets=tuple(_target(one) for one in detail["targets"]),
        left_out=tuple(detail["left_out"]),
        approved_by=row.approved_by,
        approved_at=row.approved_at,
        targeting=targeting_of(detail.get("aiming")),
        grounds=None if detail.get("grounds") is None else Grounds(**detail["grounds"]),
        covered_um2=detail.get("covered_um2"),
        handover=None if row.handover is None else _handover(row.handover),
        picked_at=row.picked_at,
        fates=fates,
        refused=tuple(_refused(one) for one in detail.get("refused", ())),
    )


def _target(detail: dict[str, Any]) -> Target:
    if "hits" not in detail:
        # Plans of earlier versions aimed once at each region, at the middle of its largest circle.
        hit = {name: detail[name] for name in _OF_A_HIT if name in detail}
        rest = {name: value for name, value in detail.items() if name not in _OF_A_HIT}
        detail = {**rest, "hits": [{**hit, "clearance_um": detail["inscribed_radius_um"]}]}
    return Target(
        **{
            **detail,
            "acquired_at": datetime.fromisoformat(detail["acquired_at"]),
            "centroid_px": tuple(detail["centroid_px"]),
            "polygon_px": points_of(detail["polygon_px"]),
            "holes_px": rings_of(detail.get("holes_px", ())),
            "hits": tuple(
                Hit(**{**one, "pick_px": tuple(one["pick_px"])}) for one in detail["hits"]
            ),
        }
    )


def _refused(detail: dict[str, Any]) -> RefusedRegion:
    outlines = {
        "polygon_px": points_of(detail["polygon_px"]),
        "holes_px": rings_of(detail.get("holes_px", ())),
    }
    return RefusedRegion(**{**detail, **outlines})


def _handover(detail: Mapping[str, Any]) -> Handover:
    return Handover(
        detail["to"],
        detail["token"],
        datetime.fromisoformat(detail["at"]),
        tuple(detail.get("unwritten", {}).items()),
    )
