"""`process`: the same line as the daemon's, once, over files and folders."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from monitor.capture.names import best_preset
from monitor.capture.watching import list_captures
from monitor.commands.common import (
    ConfigOption,
    JsonOption,
    StateOption,
    begin_logging,
    err,
    open_config,
    open_store,
    out,
    percent,
    print_json,
    say,
    say_error,
    shown,
)
from monitor.config import Config
from monitor.culture import CaptureState
from monitor.delivery import deliver_due
from monitor.errors import RecordError
from monitor.pipeline import UNLISTED, InWork, Pipeline, utc_now
from monitor.record.captures import TakenIn
from monitor.record.store import Store
from monitor.segmentation.worker import SegmentationWorker

IN_WORK = 2
BEAT_EVERY_S = 10.0


@dataclass
class Tally:
    """What became of the captures that were given."""

    known: int = 0
    mine: set[int] = field(default_factory=set)
    all: set[int] = field(default_factory=set)
    missing_paths: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def process(
    paths: Annotated[
        list[Path],
        # Typer would refuse the whole call for one path that cannot be read.
        typer.Argument(metavar="PATH", readable=False, help="Captures, or folders of captures."),
    ],
    as_json: JsonOption = False,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Run the whole line once over files or folders (backfill). May be repeated at will: what is
    known is not analysed again.

    Example: colonywatch process /data/plate_3500003816 --state trial
    """
    begin_logging(logging.ERROR)
    settings = open_config(config, state)
    tally = Tally()
    with open_store(settings) as store:
        files = list(_expand(paths, settings, tally))
        if not as_json:
            _say_presets(files, settings)
        with _line(settings, store, as_json) as (pipeline, worker, progress):
            _take_in(files, pipeline, tally, progress)
            _analyse(pipeline, worker, store, tally, progress)
        _report(store, settings, tally, as_json=as_json)
    if tally.missing_paths:
        raise typer.Exit(1)


def analyse_again(config: Config, dish: str | None, *, as_json: bool) -> None:
    """Measure recorded captures anew with the present model; their scans get a new version."""
    tally = Tally()
    with open_store(config) as store:
        if dish is not None:
            store.dishes.history(dish)  # an unknown dish is an error, not nothing to do
        with _line(config, store, as_json) as (pipeline, worker, progress):
            _, model_sha256 = worker.start()
            tally.mine = set(store.captures.reopen(utc_now(), model_sha256=model_sha256, dish=dish))
            tally.all = set(tally.mine)
            _analyse(pipeline, worker, store, tally, progress)
        _report(store, config, tally, as_json=as_json)


@contextmanager
def _line(
    config: Config, store: Store, quiet: bool
) -> Iterator[tuple[Pipeline, SegmentationWorker, Progress]]:
    """The pipeline with its worker, signed in at the record for as long as it is used."""
    now = utc_now()
    store.processes.bury_dead(now)
    owner = store.processes.begin("process", now)
    worker = SegmentationWorker(config.segmentation.model, config.compute.threads)
    stopped = threading.Event()
    beating = threading.Thread(target=_beat, args=(store, owner, stopped), daemon=True)
    beating.start()
    try:
        with _progress(quiet) as progress:
            yield Pipeline(config, store, worker, owner=owner, patient=False), worker, progress
        ahead = timedelta(seconds=config.outlets.email.gather_s)
        deliver_due(store, config, utc_now, stopping=lambda: False, ahead=ahead)
    finally:
        stopped.set()
        beating.join()
        worker.stop(force=True)
        store.processes.end(owner)


def _beat(store: Store, owner: str, stopped: threading.Event) -> None:
    while not stopped.wait(BEAT_EVERY_S):
        with suppress(RecordError):  # the next beat may do
            store.processes.beat(owner, utc_now(), {})


def _expand(paths: list[Path], config: Config, tally: Tally) -> Iterator[tuple[Path, str]]:
    """(file, source) for each capture below the paths; problems are said, the rest goes on."""
    seen: set[Path] = set()
    # Called over the folder that the record lies in, it would read its own pictures.
    ours = (config.overlay_folder, config.label_folder)

    def complain(text: str) -> None:
        say_error(f"{text}; the rest goes on")
        tally.missing_paths += 1

    for given in paths:
        path = given.absolute()
        try:
            path.stat()
            if path.is_dir():
                next(path.iterdir(), None)
                found = sorted(list_captures(path, complain=complain))
            else:
                found = [path]
        except OSError as problem:
            complain(f"{shown(given)}: cannot be read ({problem.strerror})")
            continue
        if not found:
            say(f"{shown(given)}: holds no pictures")
        for file in found:
            if file not in seen and not any(file.is_relative_to(folder) for folder in ours):
                seen.add(file)
                source = config.source_of(file)
                yield file, source.name if source else UNLISTED


def _say_presets(files: list[tuple[Path, str]], config: Config) -> None:
    """Which name preset fits which folder, where no source says so."""
    if config.unlisted.names != "auto":
        return
    folders: dict[Path, list[Path]] = {}
    for file, source in files:
        if source == UNLISTED:
            folders.setdefault(file.parent, []).append(file)
    fits: Counter[tuple[str, str]] = Counter()
    for held in folders.values():
        best = best_preset(held, config.unlisted.zone)
        if best is not None:
            fits[best[0].name, best[0].description] += best[1]
        else:
            fits["", ""] += len(held)
    for (name, description), count in fits.items():
        if name:
            say(f"names: preset {name} fits {count} of {len(files)} ({description})")


def _progress(quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=quiet or not err.is_terminal,
    )


def _take_in(
    files: list[tuple[Path, str]], pipeline: Pipeline, tally: Tally, progress: Progress
) -> None:
    for path, source in progress.track(files, description="taking in"):
        why = pipeline.left_out(path, source)
        if why is not None:
            tally.left_out[why] += 1
            continue
        taken = pipeline.take_in(path, source)
        if taken is None:
            say_error(f"{shown(path)}: went away before it could be read")
            tally.missing_paths += 1
            continue
        outcome, capture = taken
        if capture.id in tally.mine:
            tally.known += 1  # the same bytes under a second name
            continue
        tally.all.add(capture.id)
        if outcome is TakenIn.NEW or capture.state is CaptureState.WAITING:
            # A second name may say what the first one did not.
            tally.mine.add(capture.id)
        else:
            tally.known += 1


def _analyse(
    pipeline: Pipeline,
    worker: SegmentationWorker,
    store: Store,
    tally: Tally,
    progress: Progress,
) -> None:
    """Measure all that is ours, then read the scans that got new fields."""
    if tally.mine:
        _measure(pipeline, worker, store, tally, progress)
    # In the order of time, whatever the files are called: a dish is judged by its newest scan. Also
    # those that were measured and not read, where an earlier call was cut off.
    for scan in store.dishes.unread_scans(tally.all):
        pipeline.read_scan(scan)


def _measure(
    pipeline: Pipeline,
    worker: SegmentationWorker,
    store: Store,
    tally: Tally,
    progress: Progress,
) -> None:
    worker.start()
    store.captures.retry(utc_now(), ids=tally.mine, unreadable=False)
    in_work: list[InWork] = []
    task = progress.add_task("segmenting", total=len(tally.mine))
    while True:
        in_work += pipeline.start_due(IN_WORK - len(in_work), only=tally.mine)
        if in_work:
            pipeline.finish(in_work.pop(0))
            progress.advance(task)
        elif not store.captures.any_due(utc_now(), ids=tally.mine):
            break


def _report(store: Store, config: Config, tally: Tally, *, as_json: bool) -> None:
    captures = store.captures.find(tally.all)
    mine = [capture for capture in captures if capture.id in tally.mine]
    counts = Counter(str(capture.state) for capture in mine)
    dishes = store.dishes.dish_names([c.scan_id for c in captures if c.scan_id is not None])
    if as_json:
        print_json(
            {
                "recorded": counts["recorded"],
                "unreadable": counts["unreadable"],
                "known": tally.known,
                "waiting": len(mine) - counts["recorded"] - counts["unreadable"],
                "left_out": tally.left_out.total(),
                "dishes": dishes,
            }
        )
        return
    for why, count in sorted(tally.left_out.items()):
        say(f"left out: {count} of {shown(why)} (settings `channel` and `plane`)")
    for capture in captures:
        if capture.state in (CaptureState.UNREADABLE, CaptureState.WAITING) and capture.message:
            say(f"{capture.state}: {capture.message}")
    out.print(
        f"{counts['recorded']} recorded, {counts['unreadable']} unreadable, {tally.known} known, "
        f"{len(mine) - counts['recorded'] - counts['unreadable']} waiting"
    )
    for dish in store.dishes.dishes():
        if dish.name in dishes and dish.last is not None:
            last = dish.last
            out.print(
                f"{shown(dish.name)}: {dish.scans} scan{'s' * (dish.scans != 1)}, last "
                f"{last.at:%Y-%m-%d %H:%M} UTC: {percent(last.differentiated_fraction)} "
                f"differentiated, confluence {percent(last.confluence)}, {dish.status}",
                markup=False,
            )
    if counts["recorded"]:
        out.print(f"overlays: {shown(config.overlay_folder)}", markup=False)
