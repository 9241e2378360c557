"""Pick list as CSV: one line a hit, columns that importers with a column map can choose from.

UTF-8, comma, lines end with CR LF (RFC 4180). As long as no decimal mark is set, numbers are whole:
a spreadsheet of a country with decimal commas would read 23326.543 as 23326543.

x_px is the column and y_px the row of the capture, pixel centres at whole numbers. pick_x_um and
pick_y_um are where to aim, in the frame that `frame` names: the stage's, or the picker's where its
calibration is known. stage_x_um and stage_y_um are the same point on the stage, well_x_um and
well_y_um from the centre of its well, x right and y up on the plate with A1 at the top left.
snap_um says how far a hit was moved to lie on whole steps of the picker; the places are where it
lies now. Times are UTC.
"""

from __future__ import annotations

import math

from model.classes import CellClass
from monitor.config.outlets import CsvConfig
from monitor.culture import Hit, RemovalPlan, Target
from monitor.outlets.picking.handout import Contents, Handout, utc_text
from monitor.outlets.picking.mapped_csv import pick_um
from monitor.outlets.spreadsheets import (
    as_csv,
    number_cell,
    rounded_down,
    rounded_up,
    share_cell,
    text_cell,
)
from monitor.stage.vessels import well_of

SCHEMA_VERSION = 1
PLAIN = CsvConfig()
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
    "snap_um",
    "visit",
)


def csv_list(handout: Handout) -> Contents:
    """The plain list, as the site's spreadsheets read numbers."""
    text = plan_as_csv(handout.plan, calibration_rms_um=handout.calibration_rms_um, csv=handout.csv)
    return {"": text.encode()}


def plan_as_csv(
    plan: RemovalPlan, *, calibration_rms_um: float | None = None, csv: CsvConfig = PLAIN
) -> str:
    """The whole list as text, hits in the order in which to set them."""
    handout = Handout(plan, calibration_rms_um=calibration_rms_um, csv=csv)
    return as_csv([COLUMNS, *csv_rows(handout)], separator=csv.delimiter)


def csv_rows(handout: Handout) -> list[list[str]]:
    """A row of cells a hit, without the heading."""
    return [
        [cells[name] for name in COLUMNS]
        for cells in (_cells(handout, target, hit) for target, hit in handout.visits)
    ]


def _cells(handout: Handout, target: Target, hit: Hit) -> dict[str, str]:
    plan, mark = handout.plan, handout.csv.decimal_mark
    well = well_of(plan.place)
    x_um, y_um, z_um = pick_um(plan, target, hit)
    # Hundredths are far below what any stage can do. Of whole numbers no country reads another one.
    fine = 0 if mark is None else 2

    def number(value: float | None, decimals: int = fine) -> str:
        return number_cell(value, decimals=min(decimals, fine), mark=mark)

    return {
        "schema_version": str(SCHEMA_VERSION),
        "export_id": text_cell(plan.id),
        "dish_id": text_cell(plan.dish),
        "vessel_type": "plate" if well else "dish",
        "well": well or "",
        "capture_sha256": target.capture_sha256,
        "acquired_at_utc": utc_text(target.acquired_at),
        "region_id": text_cell(target.region_id),
        "action": "remove",
        "class": CellClass.DIFFERENTIATED.name.lower(),
        "mean_probability": share_cell(target.mean_probability, mark=mark),
        "area_um2": number(target.area_um2, 1),
        "equiv_diameter_um": number(2 * math.sqrt(target.area_um2 / math.pi)),
        "centroid_x_px": number(target.centroid_px[1]),
        "centroid_y_px": number(target.centroid_px[0]),
        "pick_x_px": number(hit.pick_px[1]),
        "pick_y_px": number(hit.pick_px[0]),
        "pick_x_um": number(x_um),
        "pick_y_um": number(y_um),
        "pick_z_um": number(z_um),
        "frame": plan.frame,
        "calibration_id": text_cell(plan.calibration_id),
        "calibration_rms_um": number(rounded_up(handout.calibration_rms_um, fine)),
        "order": str(hit.order),
        "approved_by": text_cell(plan.approved_by or ""),
        "approved_at_utc": "" if plan.approved_at is None else utc_text(plan.approved_at),
        "expires_at_utc": utc_text(plan.expires_at),
        "stage_x_um": number(hit.pick_x_um),
        "stage_y_um": number(hit.pick_y_um),
        "well_x_um": number(hit.well_x_um),
        "well_y_um": number(hit.well_y_um),
        "picker_calibration_id": text_cell(plan.picker_calibration_id or ""),
        "hit": str(target.hits.index(hit) + 1),
        "hits": str(len(target.hits)),
        "clearance_um": number(rounded_down(hit.clearance_um, fine)),
        "tool": "" if plan.targeting is None else text_cell(plan.targeting.tool),
        "whole_colony": str(target.whole_colony).lower(),
        "snap_um": number(rounded_up(hit.snap_um, fine)),
        "visit": str(handout.visit(hit)),
    }
