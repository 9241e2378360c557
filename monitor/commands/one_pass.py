"""The daemon's line run once, beside a daemon too: what `process` and `reprocess` share."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import wait
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from monitor.commands.common import err, out, percent, say, settle_sources, shown
from monitor.commands.rate import Rate, show_rate
from monitor.config import Config
from monitor.culture import Doubt
from monitor.culture.doubt_words import calibration_words, named_interval
from monitor.errors import MonitorError, RecordError
from monitor.host.clock import utc_now
from monitor.jobs.deliver import deliver_due, release_cured
from monitor.jobs.free_space import RoomGuard
from monitor.jobs.measure import InWork
from monitor.jobs.picker_folder import deliver_late
from monitor.jobs.plan_grounds import end_groundless
from monitor.outlets.wording import STATUS_WORDS
from monitor.pipeline import TOGETHER, Pipeline
from monitor.record.store import Store
from monitor.segmentation.workers import AnyWorker, worker_for

IN_WORK = 2
# Captures that are claimed at once.
AHEAD = 32
BEAT_EVERY_S = 10.0
# Answers that come within that time are written together.
GATHER_S = 0.5


@contextmanager
def one_pass(
    config: Config,
    store: Store,
    quiet: bool,
    kind: str = "process",
    roots: Sequence[Path] = (),
) -> Iterator[tuple[Pipeline, AnyWorker, Rate]]:
    """The pipeline with its worker, signed in at the record for as long as it is used.

    roots : as of `Pipeline`
    """
    now = utc_now()
    for text in settle_sources(store, config, now):
        say(text)
    store.processes.bury_dead(now)
    owner = store.processes.begin(kind, now)
    worker = worker_for(config)
    stopped = threading.Event()
    beating = threading.Thread(target=_beat, args=(store, owner, stopped), daemon=True)
    beating.start()
    try:
        with show_rate(err, quiet=quiet) as rate:
            pipeline = Pipeline(config, store, worker, owner=owner, patient=False, roots=roots)
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


def refuse_without_room(room: RoomGuard) -> None:
    """Whoever called this waits for its end, and for nobody to make room.

    Raises MonitorError where there is too little; what was not measured is for the next call.
    """
    if not room.has_room():
        why = room.why.partition(", and work goes on")[0]
        raise MonitorError(f"{why}, and call this again")


def _beat(store: Store, owner: str, stopped: threading.Event) -> None:
    while not stopped.wait(BEAT_EVERY_S):
        with suppress(RecordError):  # the next beat may do
            store.processes.beat(owner, utc_now(), {})


class InHand:
    """What the worker has in hand, the oldest first.

    The faster it is, the more is handed to it, so that many answers are written in one transaction.
    Images that are asked for their scale go one by one: each may move it for the next.

    workers : how many there are
    """

    def __init__(self, workers: int = 1) -> None:
        self._workers = workers
        self._works: deque[InWork] = deque()
        self._limit = IN_WORK
        self._since = time.monotonic()

    @property
    def room(self) -> int:
        """How many more to hand to it."""
        return self._limit * self._workers - len(self._works)

    def add(self, works: Sequence[InWork]) -> None:
        if not self._works:
            self._since = time.monotonic()
        self._works += works

    def next_done(self) -> list[InWork]:
        """The oldest, waited for, and what is done soon after it; none where there is none."""
        if not self._works:
            return []
        done = [self._works.popleft()]
        wait([done[0].future])
        until = time.monotonic() + (GATHER_S if self._limit > IN_WORK else 0)
        while self._works and len(done) < TOGETHER:
            wait([self._works[0].future], timeout=max(0.0, until - time.monotonic()))
            if not self._works[0].future.done():
                break
            done.append(self._works.popleft())
        each_s = (time.monotonic() - self._since) / len(done)
        self._since = time.monotonic()
        self._limit = min(max(IN_WORK, round(2 * GATHER_S / max(each_s, 1e-3))), 2 * TOGETHER)
        if any(_was_asked(work) for work in done):
            self._limit = IN_WORK
        return done


def _was_asked(work: InWork) -> bool:
    """Whether an image counts for the scale of its source."""
    future = work.future
    if future.cancelled() or future.exception() is not None:
        return False
    at_scale = future.result().at_scale
    return at_scale is not None and at_scale.evidence is not None


def read_scans_of(pipeline: Pipeline, store: Store, captures: Collection[int], rate: Rate) -> None:
    """In the order of time, whatever the files are called: a dish is judged by its newest scan.

    captures : their scans are read, also where an earlier call was cut off before it read them
    """
    scans = store.scans.unread_scans(captures)
    counted = rate.count(len(scans), "reading scans")
    for first in range(0, len(scans), TOGETHER):
        portion = scans[first : first + TOGETHER]
        pipeline.read_scans(portion)
        for _ in portion:
            counted.advance()
    pipeline.tell_of_equal_pictures()


def show_dishes(store: Store, dishes: Collection[str]) -> None:
    for dish in store.dishes.dishes():
        if dish.name in dishes and dish.last is not None:
            last = dish.last
            out.print(
                f"{shown(dish.name)}: {dish.scans} scan{'s' * (dish.scans != 1)}, last "
                f"{last.at:%Y-%m-%d %H:%M} UTC: {percent(last.differentiated_fraction)} "
                f"differentiated{_interval(last.doubt)}, confluence {percent(last.confluence)}, "
                f"{STATUS_WORDS[dish.status]}"
                + (f"; in doubt: {', '.join(last.why_in_doubt)}" if last.in_doubt else ""),
                markup=False,
            )


def _interval(doubt: Doubt) -> str:
    named = [text for text in (named_interval(doubt), calibration_words(doubt)) if text]
    return f" ({', '.join(named)})" if named else ""
