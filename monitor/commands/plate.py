"""`calibrate --wells`: how a plate lies on the stage, by two or three taught wells."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rich.table import Table

from monitor.commands.common import out, print_json, say
from monitor.config import VesselConfig
from monitor.culture.plates import KINDS, PlateFit, fit_wells
from monitor.errors import CalibrationError, UsageError


def report_plate(
    source: str,
    vessel: VesselConfig | None,
    kind: str | None,
    taught: Mapping[str, tuple[float, float]],
    *,
    as_json: bool,
) -> None:
    """Fit, report, and say what goes into config.yaml.

    kind : of the plate; None = as `vessel` says
    Raises CalibrationError where the wells cannot be right, UsageError where the plate is unknown.
    """
    named = kind or (None if vessel is None else vessel.kind)
    plates = ", ".join(one for one in KINDS if one != "dish")
    if named is None or named == "dish" or named not in KINDS:
        raise UsageError(
            f"{source}: say which plate it is with --plate, or with `vessel` in config.yaml: "
            f"{plates}" + ("" if named is None else f" (is {named})")
        )
    columns_run, rows_run = ("+x", "+y")
    pitch_mm = KINDS[named].pitch_mm
    if vessel is not None:
        columns_run, rows_run = vessel.columns_run, vessel.rows_run
        if vessel.kind == named and vessel.well_pitch_mm is not None:
            pitch_mm = vessel.well_pitch_mm
    try:
        fit = fit_wells(named, pitch_mm, columns_run, rows_run, taught)
    except ValueError as problem:
        raise CalibrationError(f"{source}: {problem}") from problem
    if as_json:
        print_json(
            {
                "source": source,
                "kind": named,
                "well_pitch_mm": pitch_mm,
                "skew_deg": fit.skew_deg,
                "a1_um": fit.a1_um,
                "residuals_um": fit.residuals_um,
                "taught_wells": {well: list(place) for well, place in taught.items()},
            }
        )
        return
    _show(named, pitch_mm, taught, fit)
    places = ", ".join(f"{well}: [{x:.1f}, {y:.1f}]" for well, (x, y) in taught.items())
    say(
        "nothing was changed; put this under the source's `vessel` in config.yaml, instead of "
        "centre_um:"
    )
    # Not wrapped, to be copied.
    print(f"taught_wells: {{{places}}}")


def _show(
    kind: str, pitch_mm: float, taught: Mapping[str, tuple[float, float]], fit: PlateFit
) -> None:
    assert fit.residuals_um is not None
    table = Table("well", "x_um", "y_um", "residual um")
    for well, (x_um, y_um) in taught.items():
        table.add_row(well, f"{x_um:.1f}", f"{y_um:.1f}", f"{fit.residuals_um[well]:.1f}")
    out.print(table)
    rows, columns = KINDS[kind].rows, KINDS[kind].columns
    across_mm = pitch_mm * math.hypot(rows - 1, columns - 1)
    off_um = 1000 * across_mm * 2 * math.sin(math.radians(abs(fit.skew_deg)) / 2)
    for line in (
        f"turned    {fit.skew_deg:.3f} degrees relative to the stage",
        f"A1 at     x {fit.a1_um[0]:.1f}, y {fit.a1_um[1]:.1f} um",
        f"residual  {max(fit.residuals_um.values()):.1f} um at most",
        f"without rotation its farthest well would be {off_um:.0f} um off",
    ):
        out.print(line, markup=False)
    if len(taught) == 2:
        say("two wells show a wrong distance, not a wrong angle: teach a third to check that")
