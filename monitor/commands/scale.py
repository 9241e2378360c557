"""`scale`: what is taken for the pixel size of captures that do not say it, and a person's word."""

from __future__ import annotations

from typing import Annotated, Any

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
    person,
    print_json,
    say,
    show_table,
    shown,
)
from monitor.culture import AssumedScale
from monitor.errors import UsageError
from monitor.host.clock import utc_now
from monitor.record.store import Store


def scale(
    source: Annotated[
        str | None, typer.Argument(metavar="[SOURCE]", help="Only this source.")
    ] = None,
    um: Annotated[
        float | None,
        typer.Option("--um", metavar="X", min=0.1, max=20, help="Set the scale, in um/px."),
    ] = None,
    anew: Annotated[
        bool, typer.Option("--estimate", help="Forget what was set; the next images say it.")
    ] = False,
    number: Annotated[
        int | None,
        typer.Option("--number", metavar="N", help="Which, where the source has several."),
    ] = None,
    who: Annotated[str | None, typer.Option("--who", help="Default: the user's name.")] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """The scale at which captures without a pixel size are read: list, set, estimate anew.

    It stays assumed: no areas and no removal plans rest on it. Where the pixel size is known, set
    pixel_size_um of the source instead. What was measured at another scale is measured again, by
    the daemon or the next process.

    Example: colonywatch scale incubator --um 2.9
    """
    begin_logging()
    if um is not None and anew:
        raise UsageError("--um sets the scale and --estimate forgets it; give one of them")
    if (um is not None or anew) and source is None and number is None:
        raise UsageError("give the source whose scale it is, or its --number")
    settings = open_config(config, state)
    with open_store(settings) as store:
        waiting = 0
        if um is not None:
            change = store.scales.set(_chosen(store, source, number), um, person(who), utc_now())
            waiting = len(change.reopened)
        elif anew:
            store.scales.estimate_anew(_chosen(store, source, number), person(who), utc_now())
        found = _found(store, source, number)
        late = {one.id: store.scales.not_measured_again(one.id) for one in found}
    if as_json:
        print_json({"scales": [_document(one, late[one.id]) for one in found]})
        return
    if not found:
        out.print("no capture without a pixel size is on record")
        return
    _show(found)
    for one in found:
        if late[one.id]:
            say(
                f"scale {one.id}: {late[one.id]} captures rest on a former scale; colonywatch "
                "reprocess measures them again, where their files are still there"
            )
    if waiting:
        say(f"{waiting} captures wait to be measured again, by the daemon or the next process")


def _found(store: Store, source: str | None, number: int | None) -> list[AssumedScale]:
    """Raises UsageError where there is none of this number."""
    found = [one for one in store.scales.all(source) if number in (None, one.id)]
    if number is not None and not found:
        of = f" of source {shown(source)}" if source is not None else ""
        raise UsageError(f"there is no scale {number}{of}; colonywatch scale lists them")
    return found


def _chosen(store: Store, source: str | None, number: int | None) -> int:
    """The one scale that is meant. Raises UsageError."""
    found = _found(store, source, number)
    if not found:
        known = ", ".join(sorted({one.source for one in store.scales.all()})) or "none"
        raise UsageError(
            f"{shown(source or '')}: no capture of this source came without a pixel size (sources "
            f"with such captures: {known})"
        )
    if len(found) > 1:
        listed = ", ".join(f"{one.id} ({one.setup})" for one in found)
        raise UsageError(
            f"source {shown(source or '')} has several scales: {listed}; choose one with --number"
        )
    return found[0].id


def _document(one: AssumedScale, late: int) -> dict[str, Any]:
    return {
        "number": one.id,
        "source": one.source,
        "folder": None if one.place is None else shown(one.place),
        "magnification": one.magnification or None,
        "shape": list(one.shape),
        "um_per_pixel": one.um,
        "between_um": [one.low_um, one.high_um],
        "state": str(one.state),
        "images": one.images,
        "dishes": one.dishes,
        "since": one.since.isoformat(),
        "set_by": one.set_by,
        "looks_like_um": one.looks_like_um,
        "not_measured_again": late,
    }


def _show(found: list[AssumedScale]) -> None:
    table = Table("number", "source", "images", "um/px, assumed", "since (UTC)", "by")
    for one in found:
        where = one.source if one.place is None else f"{one.source}: {one.place}"
        table.add_row(
            str(one.id),
            cell(where),
            one.setup,
            f"{one.um:.3g}",
            f"{one.since:%Y-%m-%d %H:%M}",
            cell(one.grounds),
        )
    show_table(table)
    for one in found:
        if one.looks_like_um is not None:
            say(
                f"scale {one.id}: later images look like {one.looks_like_um:.3g} um/px; was the "
                "objective or the camera changed?"
            )
