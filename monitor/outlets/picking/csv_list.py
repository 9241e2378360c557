"""Pick list as CSV: one line a hit, columns that importers with a column map can choose from.

UTF-8, comma, lines end with CR LF (RFC 4180). x_px is the column and y_px the row of the capture,
pixel centres at whole numbers. pick_x_um and pick_y_um are where to aim, in the frame that `frame`
names: the stage's, or the picker's where its calibration is known. stage_x_um and stage_y_um are
the same point on the stage, well_x_um and well_y_um from the centre of its well, x right and y up
on the plate with A1 at the top left. Times are UTC.
"""

from __future__ import annotations

import csv
import io
import math

from model.classes import CellClass
from monitor.culture import RemovalPlan
from monitor.outlets.picking.handout import utc_text
from monitor.outlets.picking.mapped_csv import pick_um
from monitor.vessels import well_of

SCHEMA_VERSION = 1
COLUMNS = (
    "schema_version",
    "export_id",
    "dish_id",
    "vessel_type",
    "well",
    "capture_sha256",
    "acquired_at_utc",
    "region_id",
    "action",
    "class",
    "mean_probability",
    "area_um2",
    "equiv_diameter_um",
    "centroid_x_px",
    "centroid_y_px",
    "pick_x_px",
    "pick_y_px",
    "pick_x_um",
    "pick_y_um",
    "pick_z_um",
    "frame",
    "calibration_id",
    "calibration_rms_um",
    "order",
    "approved_by",
    "approved_at_utc",
    "expires_at_utc",
    "stage_x_um",
    "stage_y_um",
    "well_x_um",
    "well_y_um",
    "picker_calibration_id",
    "hit",
    "hits",
    "clearance_um",
    "tool",
    "whole_colony",
)


def plan_as_csv(plan: RemovalPlan, *, calibration_rms_um: float | None = None) -> str:
    """The whole list as text, hits in the order in which to set them."""
    well = well_of(plan.dish)
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS)
    table.writeheader()
    for target, hit in plan.visits:
        x_um, y_um, z_um = pick_um(plan, target, hit)
        table.writerow(
            {
                "schema_version": SCHEMA_VERSION,
                "export_id": plan.id,
                "dish_id": plan.dish,
                "vessel_type": "plate" if well else "dish",
                "well": well or "",
                "capture_sha256": target.capture_sha256,
                "acquired_at_utc": utc_text(target.acquired_at),
                "region_id": target.region_id,
                "action": "remove",
                "class": CellClass.DIFFERENTIATED.name.lower(),
                "mean_probability": f"{target.mean_probability:.4f}",
                "area_um2": f"{target.area_um2:.1f}",
                "equiv_diameter_um": f"{2 * math.sqrt(target.area_um2 / math.pi):.2f}",
                "centroid_x_px": f"{target.centroid_px[1]:.2f}",
                "centroid_y_px": f"{target.centroid_px[0]:.2f}",
                "pick_x_px": f"{hit.pick_px[1]:.2f}",
                "pick_y_px": f"{hit.pick_px[0]:.2f}",
                "pick_x_um": _um(x_um),
                "pick_y_um": _um(y_um),
                "pick_z_um": _um(z_um),
                "frame": plan.frame,
                "calibration_id": plan.calibration_id,
                "calibration_rms_um": _um(calibration_rms_um),
                "order": hit.order,
                "approved_by": plan.approved_by or "",
                "approved_at_utc": "" if plan.approved_at is None else utc_text(plan.approved_at),
                "expires_at_utc": utc_text(plan.expires_at),
                "stage_x_um": _um(hit.pick_x_um),
                "stage_y_um": _um(hit.pick_y_um),
                "well_x_um": _um(hit.well_x_um),
                "well_y_um": _um(hit.well_y_um),
                "picker_calibration_id": plan.picker_calibration_id or "",
                "hit": target.hits.index(hit) + 1,
                "hits": len(target.hits),
                "clearance_um": _um(hit.clearance_um),
                "tool": "" if plan.aiming is None else plan.aiming.tool,
                "whole_colony": str(target.whole_colony).lower(),
            }
        )
    return text.getvalue()


def _um(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
