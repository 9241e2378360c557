"""`reprocess`: what is recorded measured once more, with the present model and settings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

import typer

from monitor.commands.common import account, open_store, out, print_json, say, shown
from monitor.commands.one_pass import (
    AHEAD,
    InHand,
    one_pass,
    read_scans_of,
    refuse_without_room,
    show_dishes,
)
from monitor.config import Config, SourceSettings, settings_sha256
from monitor.culture import UNLISTED, Capture
from monitor.errors import MonitorError, UsageError
from monitor.host.clock import utc_now
from monitor.jobs.late_sidecars import described_anew
from monitor.pipeline import Pipeline
from monitor.record.capture_states import AGAIN
from monitor.record.leaving import LEFT_OUT
from monitor.record.store import Store

ROUNDS = 3


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
        with one_pass(config, store, as_json, AGAIN) as (pipeline, worker, rate):
            again.model, sha256, _ = worker.start()
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
            _at_their_scale(again, pipeline, store, config, dish)
            not_measured = store.again.not_measured(again.ids, sha256, settings_of)
            held = {one.id for one in not_measured}
            anew = {file.id for file in described_anew(config, store, dish=dish)}
            anew |= set(_not_at_their_scale(store, config, dish))
            not_measured += store.captures.find((anew & again.ids) - held)
            again.left_out = [one for one in not_measured if one.reason == LEFT_OUT]
            again.missed = [one for one in not_measured if one.reason != LEFT_OUT]
            read_scans_of(pipeline, store, again.ids, rate)
        if again.ids:
            store.audit.tell(
                now=utc_now(),
                who=account(),
                what="captures measured again",
                about=dish or "all dishes",
                after={"model": again.model, "sha256": sha256, "captures": len(again.ids),
                       "not_measured": len(again.missed)},
            )  # fmt: skip
        _report_again(store, again, as_json=as_json)
    if again.missed:
        raise typer.Exit(1)


def _not_at_their_scale(store: Store, config: Config, dish: str | None) -> list[int]:
    settings_of = _settings_of(config)
    known = {one.source for one in store.dishes.dishes() if settings_of(one.source) is not None}
    return store.scales.outdated(dish=dish, sources=known)


def _at_their_scale(
    again: _Again, pipeline: Pipeline, store: Store, config: Config, dish: str | None
) -> None:
    """What was measured at what is not the scale of its source's images any more."""
    for _ in range(ROUNDS):
        ids = set(_not_at_their_scale(store, config, dish))
        if not ids:
            return
        again.ids |= ids
        _measure_again(ids, pipeline, store, again.why, lambda: None)


@dataclass
class _Again:
    """What became of captures that were to be measured once more.

    left_out : of those that are not looked at any more, by settings or sidecars
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
    in_hand = InHand()
    while True:
        refuse_without_room(pipeline.room)
        in_hand.add(pipeline.start_due(in_hand.room, only=()))
        done = in_hand.next_done()
        if not done:
            return
        pipeline.finish_all(done)
        for work in done:
            problem = work.future.exception()
            if problem is not None:
                is_said = isinstance(problem, MonitorError)
                why[work.capture.id] = str(problem) if is_said else "the segmentation process died"
            advance()


def _report_again(store: Store, again: _Again, *, as_json: bool) -> None:
    captures = store.captures.find(again.ids)
    dishes = store.scans.dish_names([c.scan_id for c in captures if c.scan_id is not None])
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
        say(f"not measured again, its previous reading stands: {one['message']} ({one['file']})")
    if not again.ids:
        out.print(
            f"nothing to measure again: all {counts['recorded']} recorded captures were measured "
            f"by {shown(again.model)} under the present settings (tool, limits of regions, pixel "
            "size, channel), with the files now beside them. Alert limits take effect "
            "at the next scan",
            markup=False,
        )
        return
    out.print(
        f"{recorded} measured again by {shown(again.model)}, {len(missed)} could not be",
        markup=False,
    )
    show_dishes(store, dishes)
    for name in again.daemons:
        say(
            f"the daemon goes on with its own model, {shown(name)}: to change that, "
            "set segmentation.model and restart it"
        )
