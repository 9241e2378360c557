"""`pictures`: overlays and label maps that lie in the record's folder, and those that do not."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated, Any

import typer

from monitor.commands.common import (
    ConfigOption,
    JsonOption,
    StateOption,
    begin_logging,
    err,
    open_config,
    open_store,
    out,
    print_json,
    say,
)
from monitor.commands.rate import show_rate
from monitor.config import Config
from monitor.host.clock import utc_now
from monitor.jobs.picture_files import MakeAgain, Missing, make_all, missing_pictures
from monitor.jobs.retention import pictures_in
from monitor.record.store import Store
from monitor.segmentation.worker import SegmentationWorker


def pictures(
    make: Annotated[
        bool, typer.Option("--make", help="Make what is gone again, from the captures.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Overlays and label maps: how many there are, which are gone; make these again.

    An overlay is drawn from its capture and label map; a label map takes the model that it was
    made by. Readings do not change. May run beside the daemon. Exits 1 where something could
    not be made.

    Example: colonywatch pictures --make
    """
    begin_logging()
    settings = open_config(config, state)
    document: dict[str, Any] = {"there": {}}
    for one in pictures_in(settings.record.folder):
        held = document["there"].setdefault(str(one.kind), {"files": 0, "bytes": 0})
        held["files"] += 1
        held["bytes"] += one.size
    with open_store(settings) as store:
        missing = list(missing_pictures(store, settings))
        document["overlays_gone"] = sum(one.overlay for one in missing)
        document["label_maps_gone"] = sum(one.label_map for one in missing)
        why = _made(missing, store, settings, quiet=as_json) if make and missing else {}
    document["made_again_of"] = len(missing) - sum(why.values()) if make else 0
    document["not_made"] = why
    if as_json:
        print_json(document)
    else:
        _show(document, made=make)
    if why:
        raise typer.Exit(1)


def _made(missing: list[Missing], store: Store, config: Config, *, quiet: bool) -> dict[str, int]:
    """Returns how many captures could not be done, by why."""
    with ExitStack() as stack:
        worker = None
        sha256 = ""
        if any(one.label_map for one in missing):
            worker = SegmentationWorker(config.segmentation.model, config.compute.threads)
            stack.callback(worker.stop, force=True)
            sha256 = worker.start()[1]
        maker = MakeAgain(config, store, utc_now, worker=worker, model_sha256=sha256)
        rate = stack.enter_context(show_rate(err, quiet=quiet))
        counted = rate.count(len(missing), "drawing")
        return make_all(missing, maker, lambda _: counted.advance())


def _show(document: dict[str, Any], *, made: bool) -> None:
    for kind, held in document["there"].items():
        out.print(f"{kind}: {held['files']} files, {held['bytes'] / 2**30:.2f} GiB")
    if not document["there"]:
        out.print("no pictures yet")
    gone = document["overlays_gone"], document["label_maps_gone"]
    if not any(gone):
        out.print("none of those that the record points to is gone")
        return
    out.print(f"gone: {gone[0]} overlays, {gone[1]} label maps")
    if not made:
        say("make them again with: colonywatch pictures --make")
        return
    out.print(f"made again: those of {document['made_again_of']} captures")
    for why, count in document["not_made"].items():
        say(f"not those of {count}: {why}")
