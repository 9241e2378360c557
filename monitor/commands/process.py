"""`process`: the same line as the daemon's, once, over files and folders."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from monitor.capture.filesets import is_bundle, look_at_file
from monitor.capture.names.patterns import best_preset
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
    settle_sources,
    shown,
)
from monitor.commands.rate import Rate, show_rate
from monitor.config import Config, SourceSettings, settings_sha256
from monitor.culture import UNLISTED, Capture, CaptureState
from monitor.errors import MonitorError, RecordError, UsageError
from monitor.host.clock import utc_now
from monitor.jobs.deliver import deliver_due, release_cured
from monitor.jobs.late_sidecars import described_anew
from monitor.jobs.picker_folder import deliver_late
from monitor.jobs.plan_grounds import end_groundless
from monitor.outlets.wording import STATUS_WORDS
from monitor.pipeline import TOGETHER, InWork, Pipeline
from monitor.record.captures import AGAIN, FIRST_RETRY_S, TakenIn
from monitor.record.processes import PROGRAM_DIED
from monitor.record.scans import LEFT_OUT, SET_ASIDE
from monitor.record.store import Store
from monitor.segmentation.worker import SegmentationWorker

IN_WORK = 2
# Files that are taken in at once, and captures that are claimed at once.
PORTION = 200
AHEAD = 32
ROUNDS = 3
BEAT_EVERY_S = 10.0
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
        with _line(settings, store, as_json) as (pipeline, worker, rate):
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
            _read_scans(pipeline, store, tally, rate)
        _report(store, settings, tally, as_json=as_json)
        nothing = _why_nothing(store, tally)
    if nothing is not None:
        say_error(nothing)
    if nothing is not None or tally.missing_paths:
        raise typer.Exit(1)


def analyse_again(config: Config, dish: str | None, *, as_json: bool) -> None:
    """Measure recorded captures anew with the present model and settings, where another model or
    other settings measured them; their scans get a new version.

    Beside a daemon too: what is in hand here nobody else takes. Raises typer.Exit where a capture
    could not be measured.
    """
    again = _Again()
    settings_of = _settings_of(config)
    with open_store(config) as store:
        if dish is not None:
            store.dishes.history(dish)  # an unknown dish is an error, not nothing to do
        _leave_unknown_sources(store, config, dish)
        with _line(config, store, as_json, AGAIN) as (pipeline, worker, rate):
            again.model, sha256 = worker.start()
            again.daemons = _other_models(store, sha256)
            # What a daemon measured meanwhile, by its own model, comes in the next round.
            for _ in range(ROUNDS):
                anew = {file.id for file in described_anew(config, store, dish=dish)}
                found = store.again.outdated(sha256, settings_of, dish=dish, also=anew)
                scans = [scan for scan in found if not again.ids.issuperset(scan)]
                counted = rate.count(sum(map(len, scans)), "segmenting")
                for ids in _in_lots(scans):
                    again.ids |= ids
                    _measure_again(ids, pipeline, store, again.why, counted.advance)
                    # Once more, alone: what the crash of another took along.
                    for one in store.again.not_measured(ids, sha256, settings_of):
                        _measure_again({one.id}, pipeline, store, again.why, lambda: None)
                if not scans:
                    break
            not_measured = store.again.not_measured(again.ids, sha256, settings_of)
            held = {one.id for one in not_measured}
            anew = {file.id for file in described_anew(config, store, dish=dish)}
            not_measured += store.captures.find((anew & again.ids) - held)
            again.left_out = [one for one in not_measured if one.reason == LEFT_OUT]
            again.missed = [one for one in not_measured if one.reason != LEFT_OUT]
            _read_scans(pipeline, store, Tally(all=set(again.ids)), rate)
        _report_again(store, again, as_json=as_json)
    if again.missed:
        raise typer.Exit(1)


def _described_anew(
    files: list[tuple[Path, str]], config: Config, store: Store, tally: Tally
) -> set[int]:
    """Known ones of these captures that a side-car now describes otherwise: due once more."""
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


@dataclass
class _Again:
    """What became of captures that were to be measured once more.

    left_out : of those that are not looked at any more, by settings or side-cars
    why : of those that could not be
    daemons : models of daemons that go on with another one
    """

    ids: set[int] = field(default_factory=set)
    missed: list[Capture] = field(default_factory=list)
    left_out: list[Capture] = field(default_factory=list)
    why: dict[int, str] = field(default_factory=dict)
    model: str = ""
    daemons: list[str] = field(default_factory=list)


def _other_models(store: Store, sha256: str) -> list[str]:
    models = [
        life.detail["model"]
        for life in store.processes.living("daemon", utc_now())
        if life.alive and life.detail.get("model")
    ]
    return [str(one["name"]) for one in models if one["sha256"] != sha256]


def _settings_of(config: Config) -> Callable[[str], str | None]:
    """Of a source that the configuration does not name nothing is known."""
    known: dict[str, SourceSettings] = {source.name: source for source in config.sources}
    known[UNLISTED] = config.unlisted
    return lambda name: settings_sha256(config, known[name]) if name in known else None


def _leave_unknown_sources(store: Store, config: Config, dish: str | None) -> None:
    """By the settings of another source, sizes and places would be wrong.

    Raises UsageError where nothing else was asked for.
    """
    settings_of = _settings_of(config)
    asked = [one for one in store.dishes.dishes() if dish in (None, one.name)]
    unknown = sorted({one.source for one in asked if settings_of(one.source) is None})
    if not unknown:
        return
    names = ", ".join(map(shown, unknown))
    what = f"not in this configuration: {names}; give the daemon's with --config FILE"
    if all(one.source in unknown for one in asked):
        raise UsageError(f"the source of what is to be measured again is {what}")
    say(f"dishes of some sources stay as they are, since these are {what}")


def _in_lots(scans: list[list[int]]) -> Iterator[set[int]]:
    """Whole scans: a reading rests on one model, and none is made while a field is in work."""
    lot: set[int] = set()
    for scan in scans:
        lot |= set(scan)
        if len(lot) >= AHEAD:
            yield lot
            lot = set()
    if lot:
        yield lot


def _measure_again(
    ids: Collection[int],
    pipeline: Pipeline,
    store: Store,
    why: dict[int, str],
    advance: Callable[[], None],
) -> None:
    pipeline.take_over(store.again.claim(ids, pipeline.owner))
    in_work: list[InWork] = []
    while True:
        in_work += pipeline.start_due(IN_WORK - len(in_work), only=())
        if not in_work:
            return
        work = in_work.pop(0)
        pipeline.finish(work)
        problem = work.future.exception()
        if problem is not None:
            is_said = isinstance(problem, MonitorError)
            why[work.capture.id] = str(problem) if is_said else "the segmentation process died"
        advance()


@contextmanager
def _line(
    config: Config, store: Store, quiet: bool, kind: str = "process"
) -> Iterator[tuple[Pipeline, SegmentationWorker, Rate]]:
    """The pipeline with its worker, signed in at the record for as long as it is used."""
    now = utc_now()
    for text in settle_sources(store, config, now):
        say(text)
    store.processes.bury_dead(now)
    owner = store.processes.begin(kind, now)
    worker = SegmentationWorker(config.segmentation.model, config.compute.threads)
    stopped = threading.Event()
    beating = threading.Thread(target=_beat, args=(store, owner, stopped), daemon=True)
    beating.start()
    try:
        with show_rate(err, quiet=quiet) as rate:
            pipeline = Pipeline(config, store, worker, owner=owner, patient=False)
            for sentence in pipeline.put_zones_right():
                say(sentence)
            yield pipeline, worker, rate
        worker.stop()  # nothing is in work; by itself it leaves nothing behind
        ahead = timedelta(seconds=config.outlets.email.gather_s)
        release_cured(store, config, utc_now())
        end_groundless(store, config, utc_now())
        deliver_late(store, config, utc_now())
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
            if path.is_dir() and not is_bundle(path):
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
            wanted.add(capture.id)
        else:
            tally.known += 1
    return wanted


def _read_scans(pipeline: Pipeline, store: Store, tally: Tally, rate: Rate) -> None:
    """In the order of time, whatever the files are called: a dish is judged by its newest scan.

    Also those that were measured and not read, where an earlier call was cut off.
    """
    scans = store.dishes.unread_scans(tally.all)
    counted = rate.count(len(scans), "reading scans")
    for first in range(0, len(scans), TOGETHER):
        portion = scans[first : first + TOGETHER]
        pipeline.read_scans(portion)
        for _ in portion:
            counted.advance()
    pipeline.tell_of_equal_pictures()


def _measure(
    wanted: set[int],
    pipeline: Pipeline,
    worker: SegmentationWorker,
    store: Store,
    advance: Callable[[], None],
) -> None:
    """Until each of these is measured, has its reason, or waits for something to pass."""
    if not wanted:
        return
    worker.start()
    store.captures.retry(utc_now(), ids=wanted, unreadable=False)
    in_work: list[InWork] = []
    idle_since = None
    while True:
        in_work += pipeline.start_due(IN_WORK - len(in_work), only=wanted, ahead=AHEAD)
        if in_work:
            pipeline.finish(in_work.pop(0))
            advance()
            idle_since = None
            continue
        idle_since = idle_since or time.monotonic()
        again = store.captures.next_try_of(wanted, blameless=_BLAMELESS)
        if again is None or time.monotonic() - idle_since > WAITED_FOR_S:
            return
        time.sleep(min(max((again - utc_now()).total_seconds(), 0.05), FIRST_RETRY_S))


def _report_again(store: Store, again: _Again, *, as_json: bool) -> None:
    captures = store.captures.find(again.ids)
    dishes = store.dishes.dish_names([c.scan_id for c in captures if c.scan_id is not None])
    counts = store.captures.counts()
    missed = [
        {
            "file": shown(one.path),
            "state": str(one.state),
            "reason": "not-measured-again",
            "message": again.why.get(one.id, "see the log"),
        }
        for one in again.missed
    ]
    recorded = len(again.ids) - len(missed) - len(again.left_out)
    if as_json:
        print_json(
            {
                "recorded": recorded,
                "unreadable": 0,
                "known": 0 if again.ids else counts["recorded"],
                "waiting": 0,
                "left_out": len(again.left_out),
                "model": again.model,
                "dishes": dishes,
                "not_recorded": missed,
            }
        )
        return
    for left in again.left_out:
        say(f"left out, its scan is read without it: {shown(left.message or '')}")
    for one in missed:
        say(f"not measured again, its former reading stands: {one['message']} ({one['file']})")
    if not again.ids:
        out.print(
            f"nothing to measure again: all {counts['recorded']} recorded captures were measured "
            f"by {shown(again.model)} under the present settings (tool, limits of regions, pixel "
            "size, channel), with what stands beside them now. Limits of alerts act on the next "
            "scan",
            markup=False,
        )
        return
    out.print(
        f"{recorded} measured again by {shown(again.model)}, {len(missed)} could not be",
        markup=False,
    )
    _show_dishes(store, dishes)
    for name in again.daemons:
        say(
            f"the daemon goes on with its own model, {shown(name)}: to change that, set "
            "segmentation.model and start it again"
        )


def _show_dishes(store: Store, dishes: Collection[str]) -> None:
    for dish in store.dishes.dishes():
        if dish.name in dishes and dish.last is not None:
            last = dish.last
            out.print(
                f"{shown(dish.name)}: {dish.scans} scan{'s' * (dish.scans != 1)}, last "
                f"{last.at:%Y-%m-%d %H:%M} UTC: {percent(last.differentiated_fraction)} "
                f"differentiated, confluence {percent(last.confluence)}, "
                f"{STATUS_WORDS[dish.status]}"
                + (f"; in doubt: {', '.join(last.doubts)}" if last.doubts else ""),
                markup=False,
            )


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
        "; which are looked at is said by colonywatch name-test FOLDER, and set by `channel` and "
        "`plane` of the source"
    )
    return f"no reading comes of it: {', '.join(what)}{cure if tally.left_out else ''}"


def _outcome(capture: Capture) -> str:
    """Another file of the same field counts: nothing is the matter with this one."""
    unreadable = capture.state is CaptureState.UNREADABLE
    return _LEFT_OUT if unreadable and capture.reason in SET_ASIDE else str(capture.state)


def _report(store: Store, config: Config, tally: Tally, *, as_json: bool) -> None:
    captures = store.captures.find(tally.all)
    mine = [capture for capture in captures if capture.id in tally.mine]
    counts = Counter(_outcome(capture) for capture in mine)
    waiting = len(mine) - counts["recorded"] - counts["unreadable"] - counts[_LEFT_OUT]
    dishes = store.dishes.dish_names([c.scan_id for c in captures if c.scan_id is not None])
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
    _show_dishes(store, dishes)
    if counts["recorded"]:
        out.print(f"overlays: {shown(config.overlay_folder)}", markup=False)
