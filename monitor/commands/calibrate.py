"""`calibrate`: teach how the camera stands on the stage, and the stage before the picker."""

from __future__ import annotations

import csv
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from monitor.commands.common import (
    FAILED,
    ConfigOption,
    JsonOption,
    StateOption,
    begin_logging,
    open_config,
    open_store,
    out,
    person,
    print_json,
    say,
)
from monitor.commands.plate import report_plate
from monitor.config import Config, SourceSettings
from monitor.culture import UNLISTED, Calibration, CalibrationKind
from monitor.errors import CalibrationError, MonitorError, UsageError
from monitor.host.atomic_files import write_whole
from monitor.host.clock import utc_now
from monitor.record.store import Store
from monitor.stage.calibration import calibration_to_use, configured_calibration
from monitor.stage.fitting import RESIDUAL_LIMIT_UM, Fit, Points, fit_points, make_calibration
from monitor.stage.vessels import Vessel

COLUMNS = {
    CalibrationKind.CAMERA: ("row_px", "column_px", "x_um", "y_um"),
    CalibrationKind.PICKER: ("x_um", "y_um", "picker_x_um", "picker_y_um"),
}
_MANY_BYTES = 1_000_000


def calibrate(
    source: Annotated[
        str | None,
        typer.Option(
            "--source", metavar="NAME", help="Its source; may be left out if there is only one."
        ),
    ] = None,
    kind: Annotated[
        CalibrationKind,
        typer.Option("--kind", help="camera: pixels to stage."),
    ] = CalibrationKind.CAMERA,
    points: Annotated[
        Path | None,
        typer.Option(
            "--points",
            metavar="FILE.csv",
            help="Taught points, columns row_px, column_px, x_um, y_um (camera) or x_um, y_um, "
            "picker_x_um, picker_y_um (picker); _mm for lengths in mm. Without it you are asked.",
        ),
    ] = None,
    one_feature: Annotated[
        bool,
        typer.Option(
            "--one-feature",
            help="Camera: x, y is the stage position at which the same feature was seen "
            "at row, column. Else: the position that puts the point in the centre of the image.",
        ),
    ] = False,
    objective: Annotated[
        str | None, typer.Option("--objective", help="Default: the source's.")
    ] = None,
    pixel_size_um: Annotated[
        float | None,
        typer.Option("--pixel-size-um", min=0.01, max=100, help="Default: the source's."),
    ] = None,
    binning: Annotated[
        int | None, typer.Option("--binning", min=1, max=16, help="Default: the source's.")
    ] = None,
    shape: Annotated[
        tuple[int, int] | None,
        typer.Option("--shape", metavar="ROWS COLUMNS", help="Size of the captures."),
    ] = None,
    mirrored: Annotated[
        bool | None,
        typer.Option("--mirrored/--not-mirrored", help="Default: as in the previous calibration."),
    ] = None,
    residual_limit_um: Annotated[
        float, typer.Option("--residual-limit-um", min=0.001)
    ] = RESIDUAL_LIMIT_UM,
    max_age_days: Annotated[float, typer.Option("--max-age-days", min=0.01)] = 90.0,
    wells: Annotated[
        Path | None,
        typer.Option(
            "--wells",
            metavar="FILE.csv",
            help="Instead: how a plate sits on the stage, from two or three taught wells; columns "
            "well, x_um, y_um (of its centre on the stage).",
        ),
    ] = None,
    plate: Annotated[
        str | None,
        typer.Option("--plate", metavar="KIND", help="With --wells. Default: the source's vessel."),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.png", help="Draw the residuals.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Fit and report only.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="Show recorded calibrations.")] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Show what each source uses now; exits 1 if one cannot be used."
        ),
    ] = False,
    who: Annotated[str | None, typer.Option("--who", help="Default: the user's name.")] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Fit a calibration from taught points, check it, and record it.

    Example: colonywatch calibrate --source incubator --points taught.csv --out residuals.png
    """
    # Long by its options: Typer takes them from the signature.
    begin_logging()
    settings = open_config(config, state)
    if list_ or check:
        with open_store(settings) as store:
            (_list if list_ else _check)(store, settings, as_json=as_json)
        return
    name = _source_name(settings, source)
    of_source = _settings_of(settings, name)
    if wells is not None:
        report_plate(name, of_source.vessel, plate, read_wells(wells), as_json=as_json)
        return
    camera = kind is CalibrationKind.CAMERA
    taught = _ask(kind) if points is None else read_points(points, kind)
    expected = (pixel_size_um or of_source.pixel_size_um) if camera else None
    now = utc_now()
    with open_store(settings) as store:
        if mirrored is None:
            mirrored = _former_mirror(store, name, of_source, kind)
        fit = fit_points(
            kind,
            taught,
            residual_limit_um=residual_limit_um,
            expected_um_a_pixel=expected,
            mirrored=mirrored,
            one_feature=one_feature and camera,
            shape=shape,
            limits=of_source.stage_limits_um,
            vessel=None if of_source.vessel is None else Vessel(of_source.vessel),
        )
        made = make_calibration(
            fit,
            taught,
            id_=_id(kind, name, taught, now),
            source=name,
            made_at=now,
            made_by=person(who),
            objective=objective or of_source.objective,
            binning=binning or of_source.binning,
            max_age_days=max_age_days,
            expected_um_a_pixel=expected,
        )
        wins = kind is CalibrationKind.CAMERA and of_source.calibration is not None
        ended = [] if dry_run else store.calibrations.add(made, supersedes=not wins)
    if picture is not None:
        _draw(picture, fit, taught, made)
    if as_json:
        print_json(_document(made, fit) | {"on_record": not dry_run, "superseded_plans": ended})
        return
    _report(made, fit, taught, expected)
    _say_outcome(made, ended, first=mirrored is None, dry_run=dry_run, wins=wins)


def _say_outcome(
    made: Calibration, ended: Sequence[str], *, first: bool, dry_run: bool, wins: bool
) -> None:
    """first : no former one tells whether axes are swapped; wins : the configuration's is used"""
    if first:
        say(
            f"the first {made.kind} calibration of {made.source}: the points alone cannot show "
            "that no axes are swapped; drive to a known place by it before you trust it"
        )
    if dry_run:
        say("not recorded (--dry-run)")
        return
    say(f"on record as {made.id}")
    for plan in ended:
        say(f"plan {plan} uses an earlier calibration and is superseded")
    if wins:
        say(
            f"but the configuration gives source {made.source} its own calibration, "
            "which wins: set it to null to use this one"
        )


# --- taught points ------------------------------------------------------------------------------


def read_points(path: Path, kind: CalibrationKind) -> Points:
    """Taught points from a CSV with a heading; separated by comma, semicolon or tab.

    Lengths may stand in mm where the heading says so. Raises UsageError with file, line and column.
    """
    heading, lines, separator = read_table(path)
    columns = [_column(path, heading, wanted) for wanted in COLUMNS[kind]]
    _refuse_twice(path, heading, [column for column, _ in columns])
    found = []
    for number, line in enumerate(lines, start=1):
        values = [
            as_number(path, number, column, line[column], separator) * factor
            for column, factor in columns
        ]
        found.append((values[0], values[1], values[2], values[3]))
    return found


def read_wells(path: Path) -> dict[str, tuple[float, float]]:
    """Taught wells from a CSV with the columns well, x_um, y_um: stage (x, y) of each centre in um.

    Raises UsageError.
    """
    heading, lines, separator = read_table(path)
    columns = [_column(path, heading, wanted) for wanted in ("well", "x_um", "y_um")]
    _refuse_twice(path, heading, [column for column, _ in columns])
    (well_column, _), *places = columns
    found: dict[str, tuple[float, float]] = {}
    for number, line in enumerate(lines, start=1):
        well = line[well_column].strip().upper()
        if well in found:
            raise UsageError(f"{path}: has well {well} twice; leave one of them out")
        x_um, y_um = (
            as_number(path, number, column, line[column], separator) * factor
            for column, factor in places
        )
        found[well] = (x_um, y_um)
    return found


def read_table(path: Path) -> tuple[list[str], list[dict[str, str]], str]:
    """(heading, a dict of cells a line, separator). Raises UsageError."""
    try:
        if path.stat().st_size > _MANY_BYTES:
            raise UsageError(f"{path}: is too large for a list of taught points")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as problem:
        raise UsageError(f"{path}: cannot be read ({problem.strerror})") from problem
    except UnicodeDecodeError as problem:
        raise UsageError(f"{path}: is not UTF-8 text; save it as CSV UTF-8") from problem
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    separator = max(",;\t", key=(lines or [""])[0].count)
    table = csv.DictReader(lines, delimiter=separator, skipinitialspace=True)
    heading = [name.strip().lower() for name in table.fieldnames or []]
    table.fieldnames = heading
    found = []
    for number, line in enumerate(table, start=1):
        if None in line:
            raise UsageError(
                f"{path}: point {number} has more cells than the heading; if it has decimal "
                "commas, separate the cells by semicolons"
            )
        found.append({name: line.get(name) or "" for name in heading})
    return heading, found, separator


def as_number(path: Path, number: int, column: str, cell: str, separator: str) -> float:
    """Raises UsageError with the point's number and its column."""
    cell = cell.strip()
    if separator != ",":
        cell = cell.replace(",", ".")
    try:
        return float(cell)
    except ValueError:
        raise UsageError(f"{path}: point {number}: {column} is {cell!r}, not a number") from None


def _refuse_twice(path: Path, heading: list[str], columns: list[str]) -> None:
    twice = [column for column in columns if heading.count(column) > 1]
    if twice:
        raise UsageError(f"{path}: has the column {twice[0]} twice; leave one of them out")


def _column(path: Path, heading: list[str], wanted: str) -> tuple[str, float]:
    if wanted in heading:
        return wanted, 1.0
    in_mm = wanted.removesuffix("_um") + "_mm"
    if wanted.endswith("_um") and in_mm in heading:
        return in_mm, 1000.0
    raise UsageError(
        f"{path}: has no column {wanted}; its heading is {', '.join(heading) or 'empty'}"
    )


def _ask(kind: CalibrationKind) -> Points:
    columns = COLUMNS[kind]
    say(f"Teach at least 3 points, not on a line: {', '.join(columns)}. An empty line ends.")
    found: list[tuple[float, float, float, float]] = []
    while True:
        # Not typer.prompt: it writes to standard output, which belongs to --json.
        typer.echo(f"point {len(found) + 1}: ", err=True, nl=False)
        given = sys.stdin.readline().replace(",", " ")
        if not given.strip():
            return found
        try:
            first, second, third, fourth = (float(word) for word in given.split())
            if not all(map(isfinite, (first, second, third, fourth))):
                raise ValueError
        except ValueError:
            say(f"give four numbers: {' '.join(columns)}")
            continue
        found.append((first, second, third, fourth))


# --- what is known of the source ----------------------------------------------------------------


def _source_name(config: Config, given: str | None) -> str:
    names = [source.name for source in config.sources]
    if given is None:
        if len(names) == 1:
            return names[0]
        raise UsageError(f"say which source with --source: {', '.join([*names, UNLISTED])}")
    if given not in (*names, UNLISTED):
        raise UsageError(
            f"{given}: there is no such source; known: {', '.join([*names, UNLISTED])}"
        )
    return given


def _settings_of(config: Config, name: str) -> SourceSettings:
    return next((one for one in config.sources if one.name == name), config.unlisted)


def _former_mirror(
    store: Store, name: str, settings: SourceSettings, kind: CalibrationKind
) -> bool | None:
    if kind is CalibrationKind.CAMERA:
        configured = configured_calibration(name, settings)
        if configured is not None:
            return configured.mirrored
    former = store.calibrations.of(name, kind)
    return former[0].mirrored if former else None


def _id(kind: CalibrationKind, source: str, points: Points, now: datetime) -> str:
    text = f"{kind}/{source}/{points}/{now.isoformat()}"
    return f"{kind}-{now:%Y%m%d}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


# --- showing ------------------------------------------------------------------------------------


def _report(made: Calibration, fit: Fit, points: Points, expected: float | None) -> None:
    table = Table("point", *COLUMNS[fit.kind], "residual um")
    for number, (point, miss) in enumerate(zip(points, fit.residuals_um, strict=True), 1):
        table.add_row(str(number), *(f"{value:.2f}" for value in point), f"{miss:.2f}")
    out.print(table)
    camera = fit.kind is CalibrationKind.CAMERA
    unit = "um/px" if camera else "um/um"
    beside = f" (pixel size {expected:g})" if camera and expected is not None else ""
    (a, b, x), (c, d, y) = fit.affine.matrix
    frames = ("column", "row") if camera else ("x", "y")
    lines = [
        f"scale     {fit.scales[0]:.5g} and {fit.scales[1]:.5g} {unit}{beside}",
        f"rotation  {fit.rotation_deg:.2f} degrees, axes {90 + fit.skew_deg:.2f} degrees apart",
        f"mirrored  {'yes' if fit.mirrored else 'no'} "
        f"(determinant {'negative' if fit.mirrored else 'positive'})",
        f"RMS       {fit.rms_um:.2f} um, largest {max(fit.residuals_um):.2f} um",
        f"x = {a:+.6g} {frames[0]} {b:+.6g} {frames[1]} {x:+.6g}",
        f"y = {c:+.6g} {frames[0]} {d:+.6g} {frames[1]} {y:+.6g}",
    ]
    for line in lines:
        out.print(line, markup=False)
    if not fit.is_checked:
        say("three points fit any transform: teach a fourth, so that the residuals mean something")
    if made.objective is None:
        say("no objective is named: it will be used with any objective on the microscope")


def _draw(path: Path, fit: Fit, points: Points, made: Calibration) -> None:
    from monitor.outlets.figures.calibration import plot_residuals

    title = f"{made.kind} calibration of {made.source}, {made.made_at:%Y-%m-%d}"
    try:
        write_whole(path, plot_residuals(fit, points, title=title))
    except OSError as problem:
        raise MonitorError(f"{path}: cannot be written ({problem.strerror})") from problem
    say(f"residuals drawn in {path}")


def _document(made: Calibration, fit: Fit | None = None) -> dict[str, Any]:
    document = asdict(made)
    document["made_at"] = None if made.made_at is None else made.made_at.isoformat()
    document["mirrored"] = made.mirrored
    if fit is not None:
        document |= {
            "scales": fit.scales,
            "rotation_deg": fit.rotation_deg,
            "skew_deg": fit.skew_deg,
            "is_checked": fit.is_checked,
        }
    return document


def _list(store: Store, config: Config, *, as_json: bool) -> None:
    found = store.calibrations.all()
    if as_json:
        print_json([_document(one) for one in found])
        return
    if not found:
        say("no calibrations on record; make one with: colonywatch calibrate --points FILE.csv")
        return
    table = Table("calibration", "source", "objective", "made (UTC)", "by", "age limit", "RMS um")
    for one in found:
        table.add_row(
            one.id,
            one.source,
            one.objective or "–",
            f"{one.made_at:%Y-%m-%d %H:%M}" if one.made_at else "–",
            one.made_by or "–",
            "–" if one.max_age_days is None else f"{one.max_age_days:g} d",
            "–" if one.rms_um is None else f"{one.rms_um:.2f}",
        )
    out.print(table)


def _check(store: Store, config: Config, *, as_json: bool) -> None:
    found = [
        _standing(store, config, name, kind)
        for name in (*(source.name for source in config.sources), UNLISTED)
        for kind in CalibrationKind
    ]
    if as_json:
        print_json(found)
    else:
        table = Table("source", "kind", "used now", "from", "why not")
        for one in found:
            table.add_row(
                *(one[key] or "–" for key in ("source", "kind", "id", "where", "problem"))
            )
        out.print(table)
    if any(one["problem"] for one in found):
        raise typer.Exit(FAILED)


def _standing(
    store: Store, config: Config, name: str, kind: CalibrationKind
) -> dict[str, str | None]:
    standing: dict[str, str | None] = {
        "source": name,
        "kind": str(kind),
        "id": None,
        "where": None,
        "problem": None,
    }
    on_record = store.calibrations.of(name, kind)
    try:
        used = calibration_to_use(kind, name, _settings_of(config, name), on_record, utc_now())
    except CalibrationError as problem:
        return standing | {"problem": str(problem)}
    if used is None:
        return standing
    return standing | {"id": used.id, "where": "record" if used in on_record else "config.yaml"}
