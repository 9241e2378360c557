"""`removals`: what to remove, and who said yes."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from monitor.commands.common import (
    ConfigOption,
    JsonOption,
    StateOption,
    begin_logging,
    cell,
    open_config,
    open_store,
    out,
    percent,
    person,
    print_json,
    say,
    show_table,
    shown,
)
from monitor.config import Config, ExportFormat
from monitor.culture import PickOutcome, PlanStatus, RegionFate, RemovalPlan
from monitor.decisions.switching_off import without_regions
from monitor.errors import MonitorError, UsageError
from monitor.host.atomic_files import write_whole
from monitor.host.clock import utc_now
from monitor.jobs.deliver import deliver_due
from monitor.jobs.plan_grounds import end_groundless, foreign
from monitor.jobs.plan_views import handout_of, picture_of
from monitor.outlets.picking import FORMATS
from monitor.outlets.picking.handout import Contents, utc_text
from monitor.outlets.picking.json_plan import plan_document, schema_as_json
from monitor.outlets.picking.whole_plate import plans_of_plate, plate_of, whole_plate
from monitor.outlets.wording import counted, removal_area
from monitor.record.plan_reports import PickReport, counts_of_fates
from monitor.record.store import Store

app = typer.Typer(no_args_is_help=True, help="Removal plans: list, show, decide, export.")

PlanArgument = Annotated[str, typer.Argument(metavar="PLAN", help="Id, as `list` shows it.")]
WhoOption = Annotated[str | None, typer.Option("--who", help="Default: the user's name.")]


@app.command("list")
def list_(
    as_json: JsonOption = False, config: ConfigOption = None, state: StateOption = None
) -> None:
    """Every plan, newest first.

    Example: colonywatch removals list
    """
    begin_logging()
    with open_store(open_config(config, state)) as store:
        store.plans.expire(utc_now())
        plans = store.plans.all()
    if as_json:
        print_json(
            [
                {
                    "id": plan.id,
                    "dish": plan.dish,
                    "status": str(plan.status),
                    "created_at": plan.created_at.isoformat(),
                    "expires_at": plan.expires_at.isoformat(),
                    "targets": len(plan.targets),
                    "area_um2": plan.area_um2,
                    "covered_um2": plan.covered_um2,
                    "approved_by": plan.approved_by,
                }
                for plan in plans
            ]
        )
        return
    if not plans:
        say(
            "no removal plans; they are made when a dish differentiates and its source has a "
            "calibration"
        )
        return
    table = Table(
        "plan", "dish", "status", "regions", "hits remove", "of", "made (UTC)", "expires (UTC)"
    )
    for plan in plans:
        table.add_row(
            plan.id,
            cell(plan.dish),
            str(plan.status),
            str(len(plan.targets)),
            "" if plan.covered_um2 is None else f"{plan.covered_um2 / 1e6:.3f} mm2",
            f"{plan.area_um2 / 1e6:.3f} mm2",
            f"{plan.created_at:%Y-%m-%d %H:%M}",
            f"{plan.expires_at:%Y-%m-%d %H:%M}",
        )
    show_table(table)


@app.command()
def show(
    plan: PlanArgument,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE", help="Draw it to a PNG file.")
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """One plan with its regions, its hits, and what it refuses.

    Example: colonywatch removals show 20261102-1f3a9c02 --picture plan.png
    """
    begin_logging()
    settings = open_config(config, state)
    with open_store(settings) as store:
        found = store.plans.plan(plan)
        events = store.plans.events(plan)
        drawn = None if picture is None else picture_of(found, store, settings)
    if picture is not None and drawn is not None:
        try:
            write_whole(picture, drawn)
        except OSError as problem:
            raise MonitorError(f"{picture}: cannot be written ({problem.strerror})") from problem
    if as_json:
        told = [
            {"at": utc_text(one.at), "who": one.who, "what": one.what, "note": one.note}
            for one in events
        ]
        print_json({**plan_document(found), "events": told})
        return
    out.print(
        f"plan {found.id} of {shown(found.dish)}: {found.status}, made "
        f"{found.created_at:%Y-%m-%d %H:%M} UTC, expires {found.expires_at:%Y-%m-%d %H:%M} UTC, "
        f"calibration {found.calibration_id}",
        markup=False,
    )
    if found.targeting is not None:
        targeting = found.targeting
        say(
            f"with {targeting.tool}: removes {targeting.removes_um:g} um, "
            f"touches {targeting.touches_um:g} um, "
            f"set down within {targeting.positional_error_um:g} um"
            + (f", in steps of {targeting.step_um:g} um" if targeting.step_um else "")
        )
    say(f"{counted(len(found.targets), 'region')}, {removal_area(found)}")
    show_table(_hits_table(found))
    for sentence in found.left_out:
        say(f"left out: {sentence}")
    _say_unwritten(found)
    for event in events:
        note = f": {event.note}" if event.note else ""
        say(f"{event.at:%Y-%m-%d %H:%M} UTC  {event.what}, by {event.who}{note}")
    if picture is not None:
        say(f"drawn to {picture}")


def _hits_table(found: RemovalPlan) -> Table:
    """A row a hit, in the order of the visits; columns that no hit fills are left out."""
    wells = any(hit.well_x_um is not None for _, hit in found.visits)
    table = Table("order", "region", "stage x, y um")
    if wells:
        table.add_column("well x, y um")
    if found.frame == "picker":
        table.add_column("picker x, y um")
    for name in ("region um2", "removed um2", "probability", "clear radius um"):
        table.add_column(name)
    snapped = any(hit.snap_um is not None for _, hit in found.visits)
    if snapped:
        table.add_column("moved to step by, um")
    fates = {fate.region_id: fate for fate in found.fates}
    if fates:
        table.add_column("picker")
        table.add_column("scan after")
    for target, hit in found.visits:
        places = [_xy(hit.pick_x_um, hit.pick_y_um)]
        if wells:
            places.append(_xy(hit.well_x_um, hit.well_y_um))
        if found.frame == "picker":
            places.append(_xy(hit.picker_x_um, hit.picker_y_um))
        table.add_row(
            str(hit.order),
            target.region_id,
            *places,
            f"{target.area_um2:,.0f}",
            "" if target.covered_um2 is None else f"{target.covered_um2:,.0f}",
            percent(target.mean_probability),
            f"{hit.clearance_um:.0f}",
            *(("" if hit.snap_um is None else f"{hit.snap_um:.1f}",) if snapped else ()),
            *(_told(fates.get(target.region_id)) if fates else ()),
        )
    return table


def _told(fate: RegionFate | None) -> tuple[str, str]:
    """What the picker said of a region, and what the scan after it did."""
    if fate is None:
        return "", ""
    outcome = str(fate.outcome or "")
    if fate.reason:
        outcome += f" ({fate.reason})"
    check = str(fate.check or "")
    if fate.gone_share is not None:
        check += f" ({percent(fate.gone_share)})"
    return cell(outcome), check


def _xy(x_um: float | None, y_um: float | None) -> str:
    return "" if x_um is None or y_um is None else f"{x_um:.1f}, {y_um:.1f}"


@app.command()
def schema() -> None:
    """The JSON Schema of a plan, as in `show --json`, the picker's .json file and SiLA 2.

    Example: colonywatch removals schema > removal-plan.schema.json
    """
    typer.echo(schema_as_json(), nl=False)


@app.command()
def approve(
    plan: PlanArgument,
    without: Annotated[
        list[str] | None,
        typer.Option("--without", metavar="REGION", help="Leave it where it is, by id or number."),
    ] = None,
    note: Annotated[str | None, typer.Option("--note", help="Kept with it.")] = None,
    who: WhoOption = None,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Approve a plan, or what is left of it without some regions: it goes into the picker's folder.

    Example: colonywatch removals approve 20261102-1f3a9c02 --without 3
    """
    begin_logging()
    settings = open_config(config, state)
    with open_store(settings) as store:
        _refuse_foreign(store.plans.plan(plan), store, settings)
        _end_groundless(store, settings)
        instead = _reduced(store.plans.plan(plan), without or [], person(who))
        done = store.plans.approve(plan, who=person(who), now=utc_now(), note=note, instead=instead)
        deliver_due(store, settings, utc_now, stopping=lambda: False)
        now = store.plans.plan(plan)
    say(f"plan {done.id} of {done.dish} approved by {done.approved_by}")
    if now.status is PlanStatus.EXPORTED:
        say(f"handed to the picker in {settings.removal_folder}")
        _say_unwritten(now)
    elif settings.outlets.removal.handover == "sila":
        say("waits for a SiLA 2 client to take it (colonywatch sila)")


def _reduced(plan: RemovalPlan, without: list[str], who: str) -> RemovalPlan | None:
    if not without:
        return None
    names = plan.region_names
    return without_regions(plan, {names.get(one, one) for one in without}, who=who)


def _say_unwritten(plan: RemovalPlan) -> None:
    for name, why in plan.handover.unwritten if plan.handover is not None else ():
        say(f"{name} is not written: {shown(why)}")


def _refuse_foreign(plan: RemovalPlan, store: Store, config: Config) -> None:
    """Nothing is decided of a plan by a configuration that does not mean its source."""
    why = foreign(plan, store, config)
    if why is not None:
        raise UsageError(f"{plan.id}: {why}")


def _end_groundless(store: Store, config: Config) -> None:
    """Nothing is approved or written that aims by what does not hold any more."""
    for plan, why in end_groundless(store, config, utc_now()):
        say(f"plan {plan.id} of {shown(plan.dish)} is superseded: {why}")


@app.command()
def reject(
    plan: PlanArgument,
    note: Annotated[str | None, typer.Option("--note")] = None,
    who: WhoOption = None,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Reject a plan; its files in the picker's folder are withdrawn.

    Example: colonywatch removals reject 20261102-1f3a9c02 --note "dead cells"
    """
    begin_logging()
    settings = open_config(config, state)
    with open_store(settings) as store:
        done = store.plans.reject(plan, who=person(who), now=utc_now(), note=note)
        deliver_due(store, settings, utc_now, stopping=lambda: False)
    say(f"plan {done.id} of {done.dish} rejected")


@app.command()
def done(
    plan: PlanArgument,
    targets: Annotated[
        list[str] | None,
        typer.Option(
            "--targets", metavar="REGION", help="Removed, by id or number; the others were not."
        ),
    ] = None,
    failed: Annotated[
        list[str] | None,
        typer.Option("--failed", metavar="REGION", help="Not removed; the others were."),
    ] = None,
    note: Annotated[str | None, typer.Option("--note")] = None,
    who: WhoOption = None,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Report what was removed: all regions of a plan, or some. The next scan checks it.

    Example: colonywatch removals done 20261102-1f3a9c02 --failed 3 --note "clogged"
    """
    begin_logging()
    with open_store(open_config(config, state)) as store:
        found = store.plans.plan(plan)
        told = store.plans.acknowledge(
            plan,
            _reports(found, targets or [], failed or [], note),
            who=person(who),
            now=utc_now(),
            note=note,
        )
    say(f"plan {told.id} of {told.dish} is {told.status}; {counts_of_fates(told)}")


def _reports(
    plan: RemovalPlan, removed: list[str], failed: list[str], note: str | None
) -> list[PickReport]:
    """What a person says of each region, named by its id or by its place in the order."""
    names = plan.region_names
    unknown = [name for name in (*removed, *failed) if name not in names]
    if unknown:
        raise UsageError(
            f"{plan.id}: has no region {', '.join(unknown)}; give numbers or ids as "
            f"`removals show {plan.id}` lists them"
        )
    gone, left = {names[name] for name in removed}, {names[name] for name in failed}
    if gone & left:
        raise UsageError(f"{', '.join(sorted(gone & left))}: is both removed and failed")
    before = {fate.region_id for fate in plan.fates if fate.outcome is not PickOutcome.FAILED}
    reports = []
    for one in sorted(plan.targets, key=lambda target: target.order):
        if one.region_id in left:
            reports.append(PickReport(one.region_id, PickOutcome.FAILED, note))
        elif not removed or one.region_id in gone:
            reports.append(PickReport(one.region_id, PickOutcome.PICKED))
        elif one.region_id not in before:
            # Regions that were named in an earlier call stay what they are.
            reports.append(PickReport(one.region_id, PickOutcome.FAILED, note))
    return reports


@app.command()
def export(
    target: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write it.")],
    plan: Annotated[
        str | None, typer.Argument(metavar="PLAN", help="Id, as `list` shows it; or --plate.")
    ] = None,
    form: Annotated[ExportFormat, typer.Option("--format")] = "csv",
    plate: Annotated[
        str | None,
        typer.Option("--plate", metavar="PLATE", help="All approved plans of its wells, at once."),
    ] = None,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Write an approved plan, or all of a plate's wells, to a file of your choice.

    A plate's wells are visited row by row, back and forth; each line names its plan. Wells whose
    plan is not approved are left out and listed.

    Formats in pixels (geojson, imagej-roi) are one file per capture; with more than one capture
    the start of the capture's hash goes before the extension.

    Example: colonywatch removals export 20261102-1f3a9c02 --format csv --out picks.csv
    """
    begin_logging()
    if (plan is None) == (plate is None):
        raise UsageError("give either a plan or --plate PLATE; see colonywatch removals list")
    settings: Config = open_config(config, state)
    with open_store(settings) as store:
        now = utc_now()
        store.plans.expire(now)
        _end_groundless(store, settings)
        if plate is not None:
            contents = _of_plate(plate, form, store, settings, now)
        else:
            assert plan is not None
            contents = _of_plan(plan, form, store, settings)
    for part, content in contents.items():
        path = target
        if len(contents) > 1:
            ending = "".join(target.suffixes) or FORMATS[form].suffix
            path = target.with_name(f"{target.name.removesuffix(ending)}.{part}{ending}")
        try:
            write_whole(path, content)
        except OSError as problem:
            raise MonitorError(f"{path}: cannot be written ({problem.strerror})") from problem
        say(f"written to {path}")


def _of_plan(plan: str, form: ExportFormat, store: Store, settings: Config) -> Contents:
    found = store.plans.plan(plan)
    _refuse_foreign(found, store, settings)
    if found.status not in (PlanStatus.APPROVED, PlanStatus.EXPORTED):
        what_now = (
            f"colonywatch removals approve {plan}"
            if found.status is PlanStatus.DRAFT
            else "the dish's next scan makes a new one"
        )
        raise UsageError(
            f"{plan}: is {found.status}; only an approved plan is exported ({what_now})"
        )
    return FORMATS[form].write(handout_of(found, store, settings))


def _of_plate(
    plate: str, form: ExportFormat, store: Store, settings: Config, now: datetime
) -> Contents:
    plans = store.plans.all()
    found = plans_of_plate(plans, plate, now)
    for sentence in found.left_out:
        say(f"left out: {sentence}")
    if not found.plans:
        if found.left_out:
            raise UsageError(f"{plate}: no well of it has an approved plan; approve one first")
        known = sorted({name for one in plans if (name := plate_of(one.dish)) is not None})
        raise UsageError(
            f"{plate}: no well of such a plate has a plan; "
            f"plates that have: {', '.join(known) or 'none'}"
        )
    for one in found.plans:
        _refuse_foreign(one, store, settings)
    contents = whole_plate([handout_of(one, store, settings) for one in found.plans], form)
    hits = sum(len(one.visits) for one in found.plans)
    say(f"plate {plate}: {hits} hits in {len(found.plans)} wells")
    return contents
