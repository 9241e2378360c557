"""Pick lists for importers with columns of their own, and the preset that dispensers know.

UTF-8, lines end with CR LF; separator and decimal mark as configured. `pick_x_um`
and `pick_y_um` stand in the plan's frame: the picker's where its calibration is known, else the
stage's. `well_x_um` runs right and `well_y_um` up
from the centre of the well, on the plate seen with A1 at the top left.
"""

from __future__ import annotations

import math

from monitor.config import ColumnConfig
from monitor.config.outlets import EchoConfig
from monitor.culture import Hit, RemovalPlan, Target
from monitor.errors import OutletError
from monitor.outlets.picking.handout import Contents, Handout, refuse_other_vessel, utc_text
from monitor.outlets.spreadsheets import as_csv, number_cell, share_cell, text_cell
from monitor.stage.vessels import well_of

_UM_A_UNIT = {"um": 1.0, "mm": 1e3, "m": 1e6}


def echo_columns(echo: EchoConfig) -> tuple[ColumnConfig, ...]:
    """Names as acoustic dispensers have them; offsets are whole um from the centre of the well."""
    fixed = {
        "Source Plate Name": echo.source_plate,
        "Source Plate Barcode": echo.source_barcode or "",
        "Source Plate Type": echo.source_type or "",
        "Source Well": echo.source_well,
    }
    return (
        *(ColumnConfig(header=header, text=text) for header, text in fixed.items()),
        ColumnConfig(header="Destination Plate Name", value="plate"),
        ColumnConfig(header="Destination Plate Barcode", text=echo.destination_barcode or ""),
        ColumnConfig(header="Destination Well", value="well"),
        ColumnConfig(
            header="Transfer Volume", text="" if echo.volume_nl is None else f"{echo.volume_nl:g}"
        ),
        ColumnConfig(header="Destination Well X Offset", value="well_x_um", decimals=0),
        ColumnConfig(header="Destination Well Y Offset", value="well_y_um", decimals=0),
        ColumnConfig(header="Region", value="region_id"),
    )


def values_of(
    plan: RemovalPlan, target: Target, hit: Hit, handout: Handout | None = None
) -> dict[str, str | float | int | None]:
    """Everything that a column can hold; None where it is not known.

    handout : of the plan, where it is one of several in a list
    """
    handout = handout or Handout(plan)
    x_um, y_um, z_um = pick_um(plan, target, hit)
    plate, _, _ = plan.place.rpartition("/")
    return {
        "export_id": plan.id,
        "dish_id": plan.dish,
        "plate": plate or plan.place,
        "well": well_of(plan.place),
        "region_id": target.region_id,
        "label": handout.label(target, hit),
        "visit": handout.visit(hit),
        "order": hit.order,
        "hit": target.hits.index(hit) + 1,
        "hits": len(target.hits),
        "pick_x_um": x_um,
        "pick_y_um": y_um,
        "pick_z_um": z_um,
        "frame": plan.frame,
        "stage_x_um": hit.pick_x_um,
        "stage_y_um": hit.pick_y_um,
        "well_x_um": hit.well_x_um,
        "well_y_um": hit.well_y_um,
        "area_um2": target.area_um2,
        "equiv_diameter_um": 2 * math.sqrt(target.area_um2 / math.pi),
        "inscribed_radius_um": target.inscribed_radius_um,
        "clearance_um": hit.clearance_um,
        "snap_um": hit.snap_um,
        "mean_probability": target.mean_probability,
        "tool": None if plan.targeting is None else plan.targeting.tool,
        "calibration_id": plan.calibration_id,
        "approved_by": plan.approved_by,
        "expires_at_utc": utc_text(plan.expires_at),
    }


def pick_um(plan: RemovalPlan, target: Target, hit: Hit) -> tuple[float, float, float | None]:
    """Where to aim, in the plan's frame. The picker's height is its own and not known."""
    if plan.frame == "stage":
        return hit.pick_x_um, hit.pick_y_um, hit.pick_z_um
    if hit.picker_x_um is None or hit.picker_y_um is None:
        raise OutletError(
            f"removal plan {plan.id}: region {target.region_id} has no position in the picker's "
            f"frame",
            permanent=True,
        )
    return hit.picker_x_um, hit.picker_y_um, None


def mapped_csv(handout: Handout) -> Contents:
    """The columns that the configuration names."""
    rows = [mapped_heading(handout), *mapped_rows(handout)]
    return {"": as_csv(rows, separator=handout.csv.delimiter).encode()}


def mapped_heading(handout: Handout) -> list[str]:
    if not handout.columns:
        raise OutletError("no columns are given: set outlets.removal.columns", permanent=True)
    return [text_cell(column.header) for column in handout.columns]


def mapped_rows(handout: Handout) -> list[list[str]]:
    """A row of cells a hit."""
    return _rows(handout, handout.columns, handout.csv.decimal_mark)


def echo_csv(handout: Handout) -> Contents:
    """Wells with offsets from their centres, in whole um; what is dispensed is a setting.

    Raises OutletError where wells or their centres are not known.
    """
    return {"": as_csv([echo_heading(handout), *echo_rows(handout)]).encode()}


def echo_heading(handout: Handout) -> list[str]:
    return [column.header for column in echo_columns(handout.echo)]


def echo_rows(handout: Handout) -> list[list[str]]:
    """A row of cells a hit. The instrument reads commas and points, whatever others read."""
    refuse_other_vessel(handout)
    return _rows(handout, echo_columns(handout.echo), None)


def _rows(handout: Handout, columns: tuple[ColumnConfig, ...], mark: str | None) -> list[list[str]]:
    return [
        [
            _cell(column, values, handout.plan, mark)
            for values in (values_of(handout.plan, target, hit, handout),)
            for column in columns
        ]
        for target, hit in handout.visits
    ]


def _cell(
    column: ColumnConfig,
    values: dict[str, str | float | int | None],
    plan: RemovalPlan,
    mark: str | None,
) -> str:
    if column.value is None:
        return text_cell(column.text or "")
    value = values[column.value]
    if value is None:
        if column.value in ("well", "well_x_um", "well_y_um"):
            raise OutletError(
                f"removal plan {plan.id} of {plan.dish}: column {column.header!r} needs "
                f"{column.value}, which is not known; set the source's vessel, or leave the column "
                "out",
                permanent=True,
            )
        return ""
    if isinstance(value, str):
        return text_cell(value)
    if isinstance(value, int):
        return str(value)
    if column.value == "mean_probability" and column.decimals is None:
        return share_cell(value, mark=mark)
    return number_cell(
        value / _UM_A_UNIT[column.unit], decimals=column.usual_decimals(mark), mark=mark
    )
