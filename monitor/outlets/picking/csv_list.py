"""Pick list as CSV: one line a target, columns that importers with a column map can choose from.

UTF-8, comma, lines end with CR LF (RFC 4180). x_px is the column and y_px the row of the capture;
x_um and y_um are stage coordinates; times are UTC.
"""

from __future__ import annotations

import csv
import io
import math
import re
from datetime import UTC, datetime

from model.classes import CellClass
from monitor.culture import RemovalPlan

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
)
_WELL = re.compile(r"[A-Z]{1,2}[0-9]{1,2}")


def plan_as_csv(plan: RemovalPlan, *, calibration_rms_um: float | None = None) -> str:
    """The whole list as text, targets in the order in which to visit them."""
    well = well_of(plan.dish)
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS)
    table.writeheader()
    for target in sorted(plan.targets, key=lambda one: one.order):
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
                "pick_x_px": f"{target.pick_px[1]:.2f}",
                "pick_y_px": f"{target.pick_px[0]:.2f}",
                "pick_x_um": f"{target.pick_x_um:.3f}",
                "pick_y_um": f"{target.pick_y_um:.3f}",
                "pick_z_um": "" if target.pick_z_um is None else f"{target.pick_z_um:.3f}",
                "frame": "stage",
                "calibration_id": plan.calibration_id,
                "calibration_rms_um": ""
                if calibration_rms_um is None
                else f"{calibration_rms_um:.3f}",
                "order": target.order,
                "approved_by": plan.approved_by or "",
                "approved_at_utc": "" if plan.approved_at is None else utc_text(plan.approved_at),
                "expires_at_utc": utc_text(plan.expires_at),
            }
        )
    return text.getvalue()


def well_of(dish: str) -> str | None:
    """``A1`` of ``3500003816/A1``; None where the dish is no well of a plate."""
    _, slash, last = dish.rpartition("/")
    return last if slash and _WELL.fullmatch(last) else None


def utc_text(moment: datetime) -> str:
    """ISO 8601 with a Z, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
