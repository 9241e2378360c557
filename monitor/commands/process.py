"""`process`: the same line as the daemon's, once, over files and folders."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from monitor.capture.filesets import is_fileset, look_at_file
from monitor.capture.names.patterns import best_preset
from monitor.capture.watching import list_captures
from monitor.commands.common import (
    ConfigOption,
    JsonOption,
    RunnerOption,
    StateOption,
    begin_logging,
    open_config,
    open_store,
    out,
    print_json,
    say,
    say_error,
    shown,
    with_runner,
)
from monitor.commands.one_pass import (
    AHEAD,
    InHand,
    one_pass,
    read_scans_of,
    refuse_without_room,
    show_dishes,
)
from monitor.config import Config
from monitor.culture import UNLISTED, Capture, CaptureState
from monitor.culture.scales import OF_A_SCALE
from monitor.host.clock import utc_now
from monitor.jobs.late_sidecars import described_anew
from monitor.pipeline import Pipeline
from monitor.record.capture_states import FIRST_RETRY_S
from monitor.record.intake import TakenIn
from monitor.record.leaving import SET_ASIDE
from monitor.record.processes import PROGRAM_DIED
from monitor.record.store import Store
from monitor.segmentation.workers import AnyWorker

# Files that are taken in at once.
PORTION = 200
# Why a capture waits that is about to be measurable: what had it in hand died, not through it.
_BLAMELESS = ("worker-died", PROGRAM_DIED)
WAITED_FOR_S = 120.0
_LEFT_OUT = "left out"


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
    runner: RunnerOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Run the whole pipeline once over files or folders (backfill). Safe to repeat: what
    is known is not analysed again.

    Example: colonywatch process /data/plate_3500003816 --state trial
    """
    begin_logging(logging.ERROR)
    settings = with_runner(open_config(config, state), runner)
    tally = Tally()
    with open_store(settings) as store:
        files = list(_expand(paths, settings, tally))
        if not as_json:
            _say_presets(files, settings)
        roots = [path.absolute() for path in paths if path.is_dir()]
        with one_pass(settings, store, as_json, roots=roots) as (pipeline, worker, rate):
            counted = rate.count(len(files), "segmenting")
            unknown = list(_look_over(files, store, tally))
            counted.skip(tally.known)
            anew = _described_anew(files, settings, store, tally)
            _measure(anew, pipeline, worker, store, lambda: None)
            # By the portion, so that a daemon on the same record finds no long queue before what
            # comes in now.
            for portion in _in_portions(iter(unknown)):
                wanted = _take_in(portion, pipeline, tally)
                counted.skip(len(portion) - len(wanted))
                _measure(wanted, pipeline, worker, store, counted.advance)
                tally.left_out.update(why for _, _, why in pipeline.left_out_late)
                pipeline.left_out_late.clear()
            measured_again = _at_their_scale(pipeline, worker, store)
            read_scans_of(pipeline, store, tally.all | measured_again, rate)
        _report(store, settings, tally, as_json=as_json)
        nothing = _why_nothing(store, tally)
    if nothing is not None:
        say_error(nothing)
    if nothing is not None or tally.missing_paths:
        raise typer.Exit(1)


def _described_anew(
    files: list[tuple[Path, str]], config: Config, store: Store, tally: Tally
) -> set[int]:
    """Known ones of these captures that a sidecar now describes otherwise: due once more."""
    given = {path for path, _ in files}
    folders = sorted({path.parent for path in given})
    changed = {
        one.id for one in described_anew(config, store, folders=folders) if one.path in given
    }
    if changed:
        store.beside.reopen(changed, utc_now())
        tally.known -= len(changed)
        tally.mine |= changed
        tally.all |= changed
    return changed


def _expand(paths: list[Path], config: Config, tally: Tally) -> Iterator[tuple[Path, str]]:
    """(file, source) for each capture below the paths; problems are said, the rest goes on."""
    seen: set[Path] = set()
    # Called over the folder that the record lies in, it would read its own pictures.
    ours = (config.overlay_folder, config.label_folder)

    def complain(text: str) -> None:
        say_error(f"{text}; going on with the rest")
        tally.missing_paths += 1

    for given in paths:
        path = given.absolute()
        try:
            path.stat()
            if path.is_dir() and not is_fileset(path):
                next(path.iterdir(), None)
                found = sorted(list_captures(path, complain=complain))
            else:
                found = [path]
        except OSError as problem:
            complain(f"{shown(given)}: cannot be read ({problem.strerror})")
            continue
        if not found:
            say(f"{shown(given)}: holds no images")
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


def _look_over(
    files: list[tuple[Path, str]], store: Store, tally: Tally
) -> Iterator[tuple[Path, str]]:
    """The files that are not known as they are: the others need not be read again."""
    for portion in _in_portions(iter(files)):
        known = store.captures.known_among([path for path, _ in portion])
        for path, source in portion:
            before = known.get(path)
            if (
                before is None
                or before.state is CaptureState.WAITING
                or before.source != source
                or _size_and_time(path) != (before.size, before.mtime_ns)
            ):
                yield path, source
                continue
            tally.known += 1
            tally.all.add(before.capture_id)


def _size_and_time(path: Path) -> tuple[int, int] | None:
    try:
        about = look_at_file(path)
    except OSError:
        return None
    return about.size, about.mtime_ns


def _in_portions(files: Iterator[tuple[Path, str]]) -> Iterator[list[tuple[Path, str]]]:
    while portion := list(islice(files, PORTION)):
        yield portion


def _take_in(files: list[tuple[Path, str]], pipeline: Pipeline, tally: Tally) -> set[int]:
    """Make the files known. Returns the captures that are to be measured."""
    ours = []
    for path, source in files:
        why = pipeline.left_out(path, source)
        if why is None:
            ours.append((path, source))
        else:
            tally.left_out[why] += 1
    wanted: set[int] = set()
    for (path, _), taken in zip(ours, pipeline.take_in_all(ours), strict=True):
        if taken is None:
            say_error(f"{shown(path)}: disappeared before it could be read")
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
            wanted.add(capture.id)
        else:
            tally.known += 1
    return wanted


def _measure(
    wanted: set[int],
    pipeline: Pipeline,
    worker: AnyWorker,
    store: Store,
    advance: Callable[[], None],
) -> None:
    """Until each of these is measured, has its reason, or waits for something to pass."""
    if not wanted:
        return
    worker.start()
    store.captures.retry(utc_now(), ids=wanted, unreadable=False)
    in_hand = InHand(worker.size)
    idle_since = None
    while True:
        refuse_without_room(pipeline.room)
        in_hand.add(pipeline.start_due(in_hand.room, only=wanted, ahead=AHEAD))
        done = in_hand.next_done()
        if done:
            pipeline.finish_all(done)
            for _ in done:
                advance()
            idle_since = None
            continue
        idle_since = idle_since or time.monotonic()
        again = store.captures.next_try_of(wanted, blameless=_BLAMELESS)
        if again is None or time.monotonic() - idle_since > WAITED_FOR_S:
            return
        time.sleep(min(max((again - utc_now()).total_seconds(), 0.05), FIRST_RETRY_S))


def _at_their_scale(pipeline: Pipeline, worker: AnyWorker, store: Store) -> set[int]:
    """Measure again what was measured before more images said more of their scale. Returns it."""
    done: set[int] = set()
    # Each image moves the scale at most once, so that this ends by itself.
    for _ in range(OF_A_SCALE):
        again = set(pipeline.reopened)
        if not again:
            break
        pipeline.reopened.clear()
        _measure(again, pipeline, worker, store, lambda: None)
        done |= again
    return done


_TAKEN = (CaptureState.RECORDED, CaptureState.MEASURED, CaptureState.WAITING, CaptureState.WORKING)


def _why_nothing(store: Store, tally: Tally) -> str | None:
    """Why of all that was given there is no reading, nor will be; None where there is or will."""
    captures = store.captures.find(tally.all)
    unreadable = sum(capture.state is CaptureState.UNREADABLE for capture in captures)
    if any(capture.state in _TAKEN for capture in captures) or not (unreadable or tally.left_out):
        return None
    what = [f"{unreadable} unreadable"] if unreadable else []
    what += [f"{count} of {shown(why)} left out" for why, count in sorted(tally.left_out.items())]
    cure = (
        "; colonywatch name-test FOLDER shows which are analysed; the source's "
        "`channel` and `plane` change it"
    )
    return f"there is no reading: {', '.join(what)}{cure if tally.left_out else ''}"


def _outcome(capture: Capture) -> str:
    """Another file of the same field counts; this one is not faulty."""
    unreadable = capture.state is CaptureState.UNREADABLE
    return _LEFT_OUT if unreadable and capture.reason in SET_ASIDE else str(capture.state)


def _report(store: Store, config: Config, tally: Tally, *, as_json: bool) -> None:
    captures = store.captures.find(tally.all)
    mine = [capture for capture in captures if capture.id in tally.mine]
    counts = Counter(_outcome(capture) for capture in mine)
    waiting = len(mine) - counts["recorded"] - counts["unreadable"] - counts[_LEFT_OUT]
    dishes = store.scans.dish_names([c.scan_id for c in captures if c.scan_id is not None])
    if as_json:
        print_json(
            {
                "recorded": counts["recorded"],
                "unreadable": counts["unreadable"],
                "known": tally.known,
                "waiting": waiting,
                "left_out": tally.left_out.total() + counts[_LEFT_OUT],
                "left_out_of": dict(sorted(tally.left_out.items())),
                "dishes": dishes,
                "not_recorded": [
                    {
                        "file": shown(capture.path),
                        "state": str(capture.state),
                        "reason": capture.reason,
                        "message": capture.message,
                    }
                    for capture in captures
                    if capture.message
                    and capture.state in (CaptureState.UNREADABLE, CaptureState.WAITING)
                ],
            }
        )
        return
    for why, count in sorted(tally.left_out.items()):
        say(f"left out: {count} of {shown(why)} (settings `channel` and `plane`)")
    for capture in captures:
        if capture.state in (CaptureState.UNREADABLE, CaptureState.WAITING) and capture.message:
            say(f"{_outcome(capture)}: {capture.message}")
    left_out = f", {counts[_LEFT_OUT]} left out" if counts[_LEFT_OUT] else ""
    out.print(
        f"{counts['recorded']} recorded, {counts['unreadable']} unreadable, {tally.known} known, "
        f"{waiting} waiting{left_out}"
    )
    show_dishes(store, dishes)
    if counts["recorded"]:
        out.print(f"overlays: {shown(config.overlay_folder)}", markup=False)
