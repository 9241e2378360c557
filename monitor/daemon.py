"""The daemon: builds the real parts and keeps the line moving until it is told to stop.

Threads: watchdog's own put paths into a queue; APScheduler's run the rescans, the outbox, the
digest, the check-in and the sign of life; the main loop does everything else, one step after the
other.

In one file, longer than the others: the loop and what it starts are read together.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from monitor.capture.filesets import FilesetTooLargeError, FileStat, look_at_file, look_at_open_file
from monitor.capture.known_files import KnownFiles, SizeAndTime
from monitor.capture.names.patterns import shown_name
from monitor.capture.settling import Settling
from monitor.capture.walking import lies_within
from monitor.capture.watching import LONGEST_LOOK_S, Watcher
from monitor.config import Config, SourceConfig
from monitor.decisions.clock import Arrival
from monitor.errors import (
    CaptureError,
    ModelRefusedError,
    OutletError,
    RecordError,
    RecordGoneError,
)
from monitor.host import systemd
from monitor.host.clock import utc_now
from monitor.host.memory import resident_bytes
from monitor.host.stages import Stages
from monitor.jobs.audit_heads import follow_trail
from monitor.jobs.daily_digest import write_due_digest
from monitor.jobs.deliver import deliver_due, release_cured
from monitor.jobs.in_use import tell_in_use
from monitor.jobs.late_sidecars import LateSidecars
from monitor.jobs.measure import InWork
from monitor.jobs.picker_folder import deliver_late
from monitor.jobs.picker_logs import PickLogFolder
from monitor.jobs.plan_grounds import end_groundless
from monitor.jobs.record_watch import RecordWatch, say_back, say_to_all
from monitor.jobs.retention import thin_pictures
from monitor.jobs.stray_plans import withdraw_strays
from monitor.jobs.watch_silence import SilenceWatch
from monitor.outlets.heartbeat import CheckIn
from monitor.pipeline import TOGETHER, Pipeline
from monitor.record.sources import ConfiguredSource
from monitor.record.store import Store
from monitor.segmentation.worker import LoadedModel
from monitor.segmentation.workers import AnyWorker, worker_for

log = logging.getLogger(__name__)

# One capture in work and one behind it, so that the worker never waits for the record; of captures
# that take no time, so many as keep it busy for a while.
IN_WORK = 2
MOST_IN_WORK = 64
BUSY_S = 1.0
# While more is in work, answers are waited for so long: many in one transaction cost less.
GATHER_S = 0.25
TICK_S = 1.0
FIRST_LOOK_S = 60.0
# A share that was mounted below a source is noticed within that time.
MOUNTS_S = 10.0
BEAT_S = 5.0
LEFT_OUT_SHOWN = 20
SORTED_AT_ONCE = 2_000
# Files that are taken in together; others who want to write wait for so long.
FILES_TOGETHER = 100
TOGETHER_BYTES = 64 * 2**20
DRAWING = "drawing"
OUTBOX_S = 2.0
UPKEEP_S = 20.0
VIGIL_S = 30.0
RECORD_S = 5.0
TRAIL_S = 3600.0
# Old pictures go this often.
RETENTION_S = 6 * 3600.0
DIGEST_S = 20.0
PICK_LOGS_S = 2.0
# Sidecars that come after their pictures are looked for so often.
LATE_S = 120.0
AFTER_FAULT_S = 5.0
# No part of the loop keeps the others waiting for longer, save for one capture or scan.
PART_S = 2.0
CLOCK_STEP_S = 2.0
# A loop that has not come round for this long is stuck and may not call itself alive.
STUCK_S = 120.0
# A message takes longer only where its server or the picker's folder hangs beyond all limits.
DELIVERY_STUCK_S = 600.0


@dataclass(eq=False)
class _Source:
    """A source with what watches it. `pending` belongs to the main loop alone."""

    config: SourceConfig
    watcher: Watcher
    pending: Settling
    found_by_rescan: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    was_present: bool = True


@dataclass(eq=False)
class _Notice:
    """by_rescan : not by an event; lay_there : when the daemon began

    replaced : the file was made or renamed just now, so it is not the one that was known there
    """

    path: Path
    source: _Source
    by_rescan: bool = False
    lay_there: bool = False
    replaced: bool = False


@dataclass(eq=False)
class _Started:
    work: InWork
    at: float = field(default_factory=time.monotonic)


class _Pace:
    """Of the worker: when it last gave an answer, and how long it takes for one."""

    def __init__(self) -> None:
        self.answered_at = time.monotonic()
        self._each_s = BUSY_S
        self.workers = 1

    def answers(self, count: int, took_s: float) -> None:
        """So many captures together took so long to measure."""
        self.answered_at = time.monotonic()
        if count:
            self._each_s += (took_s / count - self._each_s) / 2

    @property
    def in_work(self) -> int:
        """How many captures the worker is to have at a time."""
        each = min(max(IN_WORK, round(BUSY_S / max(self._each_s, 1e-3))), MOST_IN_WORK)
        return each * self.workers


class Daemon:
    """Watches every source of `config` until `stop` is called or a signal comes.

    gone_since : since when the record was gone, which is back; None = it was not
    """

    def __init__(self, config: Config, store: Store, *, gone_since: datetime | None = None) -> None:
        self._config = config
        self._store = store
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._notices: queue.SimpleQueue[_Notice] = queue.SimpleQueue()
        self._known = KnownFiles(store.captures.looks)
        self._in_work: dict[int, _Started] = {}
        self._pace = _Pace()
        self._loop_at = time.monotonic()
        self._delivery_at = time.monotonic()
        self._said_delivery_hangs = False
        self._outlet_settings: dict[str, str] | None = None
        self._progress: dict[str, Any] = {"captures": 0, "readings": 0, "last_capture_at": None}
        self._model = LoadedModel("", "", "")
        self._owner = ""
        self._sources: list[_Source] = []
        self._silence_watch = SilenceWatch(config, store, clock=utc_now)
        self._record = RecordWatch(config, store, utc_now)
        self._no_room = ""
        self._stages = Stages()
        self._worker_pid: Callable[[], int | None] = lambda: None
        self._was_gone_since = gone_since
        self._record_is_back = self._told_to_end = False
        self._late_sidecars = LateSidecars(config, store, clock=utc_now)
        self._strays_are_withdrawn = False
        self._strays_problem = ""
        self._pick_logs = PickLogFolder(config.outlets.removal.pick_logs, store)
        settings = config.outlets.check_in
        self._check_in = (
            CheckIn(settings.url_file, timeout_s=settings.timeout_s) if settings.url_file else None
        )
        self._has_checked_in = False

    def stop(self, number: int = 0, frame: FrameType | None = None) -> None:
        """Ask the daemon to end. May be called from any thread or as a signal handler."""
        self._told_to_end = True
        self._end()

    def _end(self) -> None:
        self._stopping.set()
        self._wake.set()

    def run(self) -> datetime | None:
        """Work until stopped. Raises ModelRefusedError or RecordError where it cannot begin.

        Returns since when the record was gone, where it is back and all is to be begun anew on it:
        nothing that is held here of the former one may be believed.
        """
        worker = worker_for(self._config)
        configured = [
            ConfiguredSource(one.name, one.path, one.formerly) for one in self._config.sources
        ]
        # matplotlib keeps fonts open for each thread that has drawn: plots get one thread.
        scheduler = BackgroundScheduler(
            timezone="UTC",
            executors={"default": ThreadPoolExecutor(10), DRAWING: ThreadPoolExecutor(1)},
        )
        try:
            # First of all: a picker may be reading them now. Before that, sources get their new
            # names: their plans go on.
            for change in self._store.sources.settle(configured, utc_now()):
                log.warning("%s", change.text)
            end_groundless(self._store, self._config, utc_now(), of_gone_sources=True)
            worker.begin()
            self._worker_pid = lambda: worker.pid
            self._begin_watching()
            # What lay there already is old enough to be taken in when the model is loaded.
            self._sort_notices()
            self._model = worker.start()
            self._pace.workers = worker.size
            self._log_model()
            tell_in_use(self._store, self._config, self._model, utc_now())
            self._store.processes.bury_dead(utc_now())
            self._owner = self._store.processes.begin("daemon", utc_now())
            pipeline = Pipeline(self._config, self._store, worker, owner=self._owner)
            pipeline.put_zones_right()
            self._schedule(scheduler)
            scheduler.start()
            systemd.notify("READY=1", f"STATUS=watching {len(self._sources)} sources")
            log.info("ready: watching %d sources", len(self._sources))
            self._work(pipeline, worker, scheduler)
            goes_on = self._record_is_back and not self._told_to_end
            return self._record.gone_since if goes_on else None
        except BaseException as problem:
            if self._check_in is not None:
                self._check_in.fail(f"the daemon ends: {problem or type(problem).__name__}")
            raise
        finally:
            systemd.notify("STOPPING=1")
            log.info("stopping")
            if scheduler.running:
                scheduler.shutdown(wait=True)
            for source in self._sources:
                source.watcher.stop()
            worker.stop(force=True)
            if self._owner:
                self._sign_out(self._owner)
            log.info("stopped")

    def _sign_out(self, owner: str) -> None:
        """What was in work waits again; nothing of it was written."""
        try:
            self._store.processes.end(owner)
        except RecordError as problem:
            log.error("could not sign out: %s", problem)

    # --- watching ------------------------------------------------------------------------------

    def _begin_watching(self) -> None:
        for config in self._config.sources:
            source = _Source(config, Watcher(config, lambda path: None), Settling(config.settle_s))
            source.watcher = Watcher(
                config, self._notice_for(source), replaced=self._notice_for(source, replaced=True)
            )
            self._sources.append(source)
            source.watcher.start()
            self._rescan(source, first=True)
            log.info(
                "source=%s path=%s watched_by=%s: %s",
                config.name,
                config.path,
                source.watcher.watched_by,
                source.watcher.reason,
            )

    def _notice_for(self, source: _Source, *, replaced: bool = False) -> Any:
        def notice(path: Path) -> None:
            innermost = self._config.source_of(path)
            if innermost is not None and innermost.name != source.config.name:
                return  # a source within this one has it
            rescan = _rescanning.which
            self._notices.put(_Notice(path, source, rescan == "later", rescan == "first", replaced))
            self._wake.set()

        return notice

    def _rescan(self, source: _Source, *, first: bool = False) -> None:
        """Look at the whole folder. Events can be lost; what lies in the folder cannot."""
        _rescanning.which = "first" if first else "later"
        try:
            # A share that answers slowly does not keep the daemon from starting.
            source.watcher.rescan(within_s=FIRST_LOOK_S if first else LONGEST_LOOK_S)
        finally:
            _rescanning.which = "none"
        present = source.watcher.present
        if source.was_present and not present:
            log.error(
                "source=%s: its folder %s is gone; nothing is treated as deleted, "
                "watching resumes when it is back",
                source.config.name,
                source.config.path,
            )
        elif present and not source.was_present:
            log.warning("source=%s: its folder is back", source.config.name)
        source.was_present = present

    def _look_at_mounts(self, source: _Source) -> None:
        if source.watcher.is_otherwise():
            self._rescan(source)

    def _look_beside(self, source: _Source) -> None:
        """Sidecars and companions that came after their pictures."""
        if self._late_sidecars.look(source.config.name):
            self._wake.set()

    def _schedule(self, scheduler: BackgroundScheduler) -> None:
        def every(seconds: float, job: Any, *arguments: Any, executor: str = "default") -> None:
            scheduler.add_job(
                self._guarded,
                "interval",
                args=[job, *arguments],
                seconds=seconds,
                executor=executor,
                max_instances=1,
                coalesce=True,
                misfire_grace_time=None,
            )

        for source in self._sources:
            every(source.config.rescan_s, self._rescan, source)
            every(MOUNTS_S, self._look_at_mounts, source)
            every(LATE_S, self._look_beside, source)
        self._delivery_at = time.monotonic()
        every(OUTBOX_S, self._deliver, executor=DRAWING)
        every(BEAT_S, self._beat)
        every(UPKEEP_S, self._upkeep)
        every(VIGIL_S, self._watch_for_silence)
        every(RECORD_S, self._look_at_record)
        scheduler.add_job(self._guarded, args=[self._follow_trail])
        every(TRAIL_S, self._follow_trail)
        every(RETENTION_S, self._thin_pictures)
        scheduler.add_job(self._guarded, args=[self._thin_pictures])
        scheduler.add_job(self._guarded, args=[self._withdraw_strays])
        every(UPKEEP_S, self._withdraw_strays)
        if self._was_gone_since is not None:
            scheduler.add_job(self._guarded, args=[self._say_back, self._was_gone_since])
        every(DIGEST_S, self._write_digest, executor=DRAWING)
        if self._check_in is not None:
            every(self._config.outlets.check_in.every_s, self._check_in_now)
            scheduler.add_job(self._guarded, args=[self._check_in_now])
        if self._config.outlets.removal.pick_logs.folder is not None:
            every(PICK_LOGS_S, self._read_pick_logs)

    def _guarded(self, job: Any, *arguments: Any) -> None:
        if self._record.is_gone and job not in (self._look_at_record, self._check_in_now):
            return
        try:
            job(*arguments)
        except RecordGoneError as problem:
            self._record.gone(problem)
        except RecordError as problem:
            log.error("%s", problem)
        except Exception:
            log.exception("unexpected error in %s; it is tried again", job.__name__)

    def _look_at_record(self) -> None:
        if self._record.look():
            log.warning("the record is back; starting afresh with it")
            self._record_is_back = True
            self._end()

    def _follow_trail(self) -> None:
        try:
            follow_trail(self._store, self._config.record.folder, utc_now())
        except OutletError as problem:
            log.error("%s", problem)

    def _say_back(self, gone_since: datetime) -> None:
        say_back(self._config, gone_since, utc_now())

    def _withdraw_strays(self) -> None:
        """Once: what another record, or this one before it was restored, left to the picker."""
        if self._strays_are_withdrawn:
            return
        try:
            strays = withdraw_strays(self._store, self._config, utc_now())
        except OutletError as problem:
            if str(problem) != self._strays_problem:
                log.error("%s", problem)
            self._strays_problem = str(problem)
            return
        self._strays_are_withdrawn = True
        if strays:
            text = "\n".join(map(str, strays))
            say_to_all(
                self._config,
                "removal plans that no record knows were withdrawn",
                f"{text}\n\nSee whether the picker has carried out any of them.\n",
                utc_now(),
            )

    def _deliver(self) -> None:
        # Before anything is handed out, so that no expired plan stays longer than one round.
        self._delivery_at = time.monotonic()
        try:
            self._store.plans.expire(utc_now())
            self._outlet_settings = release_cured(
                self._store, self._config, utc_now(), known=self._outlet_settings
            )
            began = time.monotonic()
            delivered = deliver_due(self._store, self._config, utc_now, stopping=self._next_message)
            self._stages.add("deliver", time.monotonic() - began, delivered)
        finally:
            self._delivery_at = time.monotonic()

    def _next_message(self) -> bool:
        """Asked before each message. True where the daemon ends."""
        self._delivery_at = time.monotonic()
        return self._stopping.is_set()

    def _delivery_hangs(self) -> bool:
        """Is one message in hand for so long that it will never end, or are all threads held up?
        Then nobody hears of anything, and only a new start helps: systemd's watchdog is not fed any
        more.
        """
        limit = max(DELIVERY_STUCK_S, 20 * self._config.outlets.email.timeout_s)
        hangs = time.monotonic() - self._delivery_at > limit
        if hangs and not self._said_delivery_hangs:
            log.critical("no message has moved for over %.0f s: a restart is needed", limit)
        self._said_delivery_hangs = hangs
        return hangs

    def _upkeep(self) -> None:
        self._store.plans.expire(utc_now())
        end_groundless(self._store, self._config, utc_now(), of_gone_sources=True)
        deliver_late(self._store, self._config, utc_now())
        given_back = self._store.processes.bury_dead(utc_now())
        if given_back:
            log.warning("took over %d captures of a program that died", given_back)

    def _thin_pictures(self) -> None:
        thin_pictures(self._config, utc_now())

    def _watch_for_silence(self) -> None:
        self._silence_watch.look({one.config.name: one.watcher.present for one in self._sources})

    def _write_digest(self) -> None:
        if write_due_digest(self._config, self._store, utc_now()):
            log.info("the daily digest is on its way")

    def _check_in_now(self) -> None:
        """In a thread of its own: a server that does not answer holds up nothing."""
        if self._check_in is None:
            return
        if not self._has_checked_in:
            self._has_checked_in = self._check_in.start()
        wrong = self._what_is_wrong()
        if wrong:
            self._check_in.fail(wrong)
        else:
            self._check_in.success()

    def _what_is_wrong(self) -> str:
        """Of what no mail can tell. Empty where all is well."""
        if self._record.is_gone:
            return self._record.why
        if self._no_room:
            return self._no_room
        still_s = time.monotonic() - self._loop_at
        if still_s >= STUCK_S:
            return f"the daemon's main loop has not come round for {still_s:.0f} s"
        if self._delivery_hangs():
            return "the outbox gives no sign of life"
        hours = self._config.outlets.check_in.late_mail_h
        late = self._store.outbox.late(utc_now() - timedelta(hours=hours))
        waiting = "1 message waits" if late == 1 else f"{late} messages wait"
        return f"{waiting} for more than {hours:g} h: see alerts log" if late else ""

    def _read_pick_logs(self) -> None:
        self._pick_logs.look(utc_now)

    def _log_model(self) -> None:
        log.info(
            "model=%s sha256=%s threads=%s runner=%s",
            self._model.name,
            self._model.sha256[:12],
            self._config.compute.threads or os.cpu_count(),
            self._model.runner,
        )

    def _beat(self) -> None:
        if time.monotonic() - self._loop_at < STUCK_S:
            self._store.processes.beat(self._owner, utc_now(), self._describe())

    def _say_alive(self) -> None:
        try:
            self._beat()
        except RecordGoneError as problem:
            self._record.gone(problem)
        except RecordError as problem:
            log.error("%s", problem)

    def _describe(self) -> dict[str, Any]:
        return {
            "model": {"name": self._model.name, "sha256": self._model.sha256},
            "runner": self._model.runner,
            "in_work": len(self._in_work),
            "stopped": self._no_room,
            "progress": self._progress,
            "stages": self._stages.totals(),
            "memory": {
                "daemon": resident_bytes(),
                "worker": None if (pid := self._worker_pid()) is None else resident_bytes(pid),
            },
            "pick_logs_out_of_reach": self._pick_logs.out_of_reach,
            "sources": [
                {
                    "name": source.config.name,
                    "path": str(source.config.path),
                    "watched_by": source.watcher.watched_by,
                    "why": source.watcher.reason,
                    "present": source.watcher.present,
                    "below": [asdict(one) for one in source.watcher.below],
                    "troubles": list(source.watcher.troubles),
                    "settling": len(source.pending),
                    "found_by_rescan": source.found_by_rescan,
                    "left_out": dict(source.left_out.most_common(LEFT_OUT_SHOWN)),
                }
                for source in self._sources
            ],
        }

    # --- the loop ------------------------------------------------------------------------------

    def _work(self, pipeline: Pipeline, worker: AnyWorker, scheduler: BackgroundScheduler) -> None:
        self._beat()
        ahead_s = time.time() - time.monotonic()
        while not self._stopping.is_set():
            self._loop_at = time.monotonic()
            jump_s = time.time() - self._loop_at - ahead_s
            if abs(jump_s) > CLOCK_STEP_S:
                ahead_s += jump_s
                log.warning("the clock was set by %+.0f s; nothing waits for its old time", jump_s)
                # First, or this program would itself look dead after a leap ahead.
                self._say_alive()
                run_jobs_now(scheduler)
            if not self._delivery_hangs():
                systemd.notify("WATCHDOG=1")
            if self._record.is_gone:
                self._wait_for_record()
                continue
            try:
                self._go_round(pipeline, worker)
            except RecordGoneError as problem:
                self._record.gone(problem)
                continue
            except RecordError as problem:
                # A full disk or a locked database passes; what was in work is done again.
                log.error("%s", problem)
                self._stopping.wait(AFTER_FAULT_S)
                self._give_back()
            self._wake.wait(self._rest_s())
            self._wake.clear()

    def _wait_for_record(self) -> None:
        """Nothing is claimed, nothing recorded. What was in work is done again when it is back."""
        self._in_work.clear()
        self._delivery_at = time.monotonic()  # nothing to deliver is no message that hangs
        self._wake.clear()
        self._stopping.wait(TICK_S)

    def _go_round(self, pipeline: Pipeline, worker: AnyWorker) -> None:
        """Each part of the loop once."""
        self._sort_notices()
        self._finish(pipeline)
        self._end_stuck(worker)
        has_room = pipeline.room.has_room()
        self._no_room = pipeline.room.why
        if not has_room:
            # What is noticed stays where it is, in its folder and in our list.
            self._wake.clear()
            self._stopping.wait(TICK_S)
            return
        self._take_in_settled(pipeline)
        self._start(pipeline)
        self._forget(pipeline)
        self._read_scans(pipeline)

    def _rest_s(self) -> float:
        longest_s = TICK_S if len(self._in_work) <= IN_WORK else GATHER_S
        due = [when for source in self._sources if (when := source.pending.next_due()) is not None]
        if not due:
            return longest_s
        return min(max(min(due) - time.monotonic(), 0.02), longest_s)

    def _sort_notices(self) -> None:
        now = time.monotonic()
        while not self._is_long_since(now):
            notices: dict[Path, _Notice] = {}
            while len(notices) < SORTED_AT_ONCE:
                try:
                    notice = self._notices.get_nowait()
                except queue.Empty:
                    break
                before = notices.get(notice.path)
                if before is not None:
                    notice.lay_there = notice.lay_there or before.lay_there
                    notice.replaced = notice.replaced or before.replaced
                notices[notice.path] = notice
            if not notices:
                return
            looks = {path: _size_and_time(path) for path in notices}
            there = [path for path, look in looks.items() if look is not None]
            try:
                known = self._known.among(there)
            except RecordError:
                for notice in notices.values():
                    self._notices.put(notice)
                raise
            for path, look in looks.items():
                if look is not None and (notices[path].replaced or known.get(path) != look):
                    self._note(notices[path], look, now)

    def _note(self, notice: _Notice, look: SizeAndTime, now: float) -> None:
        if notice.by_rescan and notice.path not in notice.source.pending:
            notice.source.found_by_rescan += 1
            log.info(
                "source=%s: found by rescan, not by event: %s",
                notice.source.config.name,
                shown_name(notice.path),
            )
        notice.source.pending.noticed(notice.path, now, replaced=notice.replaced)
        quiet_s = time.time() - look[1] / 1e9
        if notice.lay_there and quiet_s > 2 * notice.source.config.settle_s:
            # Nobody writes to it: this is the first of the two looks that it takes.
            notice.source.pending.looked(notice.path, *look, now)

    def _take_in_settled(self, pipeline: Pipeline) -> None:
        for source in self._sources:
            began = time.monotonic()
            whole: dict[Path, SizeAndTime] = {}
            for path in source.pending.due(began):
                if self._is_long_since(began):
                    break
                look = _size_and_time(path, look_at_open_file)
                # By way of a link that came in between, it may be a file of somebody else.
                if look is None or not lies_within(path, source.config.path):
                    source.pending.gone(path)
                    continue
                if not source.pending.looked(path, *look, time.monotonic()):
                    continue
                why = pipeline.left_out(path, source.config.name)
                if why is not None:
                    self._leave_out(source, path, look, why)
                    continue
                whole[path] = look
                size = sum(size for size, _ in whole.values())
                if len(whole) >= FILES_TOGETHER or size >= TOGETHER_BYTES:
                    self._take_in(pipeline, source, whole)
                    whole = {}
            self._take_in(pipeline, source, whole)

    def _leave_out(self, source: _Source, path: Path, look: SizeAndTime, why: str) -> None:
        if not source.left_out[why]:
            log.info("source=%s: %s is left out", source.config.name, shown_name(why))
        source.left_out[why] += 1
        self._known.leave_out(path, look, why)

    def _take_in(self, pipeline: Pipeline, source: _Source, whole: dict[Path, SizeAndTime]) -> None:
        if not whole:
            return
        try:
            with self._stages.timed("take in", len(whole)):
                taken = pipeline.take_in_all([(path, source.config.name) for path in whole])
        except RecordError:
            for path in whole:
                source.pending.noticed(path, time.monotonic())
            raise
        for (path, look), one in zip(whole.items(), taken, strict=True):
            if one is not None:
                self._known.note(path, look)

    def _start(self, pipeline: Pipeline) -> None:
        wanted = self._pace.in_work
        # Not one by one where many are in work: each time is a transaction.
        if len(self._in_work) > (wanted // 2 if wanted > IN_WORK else IN_WORK - 1):
            return
        if not self._store.captures.any_due(utc_now()):
            return
        for work in pipeline.start_due(wanted - len(self._in_work)):
            self._in_work[work.capture.id] = _Started(work)
            work.future.add_done_callback(self._answered)

    def _answered(self, _: Future[Any]) -> None:
        if len(self._in_work) <= IN_WORK:
            self._wake.set()

    def _forget(self, pipeline: Pipeline) -> None:
        while pipeline.forgotten:
            self._known.forget(pipeline.forgotten.popleft())
        by_name = {source.config.name: source for source in self._sources}
        while self._late_sidecars.changed:
            # They may say that it is another channel that is to be looked at.
            name, folder = self._late_sidecars.changed.popleft()
            if name in by_name:
                by_name[name].left_out -= self._known.look_again_in(folder)
        while pipeline.left_out_late:
            path, name, why = pipeline.left_out_late.popleft()
            self._known.forget(path)
            look = _size_and_time(path)
            if look is not None and name in by_name:
                self._leave_out(by_name[name], path, look, why)

    def _finish(self, pipeline: Pipeline) -> None:
        done = [one.work for one in self._in_work.values() if one.work.future.done()]
        for first in range(0, len(done), TOGETHER):
            works = done[first : first + TOGETHER]
            # Removed first: should writing fail, the claims are given back and done again.
            for work in works:
                del self._in_work[work.capture.id]
            count, took_s = _time_taken(works)
            self._pace.answers(count, took_s)
            self._stages.add("measure", took_s, count)
            if any(_is_answer(work.future) for work in works):
                self._silence_watch.worker_answered()
            for work in works:
                self._note_arrival(work)
            with self._stages.timed("record", len(works)):
                pipeline.finish_all(works)
            self._progress["captures"] += len(works)
            self._progress["last_capture_at"] = _iso(utc_now())

    def _note_arrival(self, work: InWork) -> None:
        """For the watch on the imager's clock: only what is measured for the first time."""
        capture, future = work.capture, work.future
        if future.cancelled() or future.exception() is not None:
            return
        measured = future.result()
        if capture.scan_id is not None or capture.first_seen_at is None:
            return
        if measured.acquired_at_from == "mtime":
            return  # that is the clock of the disk
        look, written = _size_and_time(capture.path), None
        if look is not None:
            with suppress(OverflowError, OSError, ValueError):  # no year that there is
                written = datetime.fromtimestamp(look[1] / 1e9, UTC)
        arrival = Arrival(measured.acquired_at, capture.first_seen_at, written)
        self._silence_watch.arrived(capture.source, arrival)

    def _read_scans(self, pipeline: Pipeline) -> None:
        began = time.monotonic()
        scans = pipeline.complete_scans()
        for first in range(0, len(scans), TOGETHER):
            portion = scans[first : first + TOGETHER]
            with self._stages.timed("read scans", len(portion)):
                outcomes = pipeline.read_scans(portion)
            self._progress["readings"] += len(outcomes)
            if self._is_long_since(began):
                return

    def _is_long_since(self, began: float) -> bool:
        """Whether a part of the loop has to let the others come round; it then goes on at once.

        A cut-off backfill leaves thousands of scans, a plate comes with thousands of files, a share
        answers slowly: captures, the sign of life and systemd's watchdog come in between.
        """
        is_long = time.monotonic() - began > PART_S
        if is_long:
            self._wake.set()
        return is_long

    def _end_stuck(self, worker: AnyWorker) -> None:
        limit = self._config.compute.capture_timeout_s
        for started in self._in_work.values():
            # Those behind it wait in the worker's queue; their time begins with its answer. Of
            # several workers one may be stuck while the others answer.
            since = max(started.at, self._pace.answered_at if worker.size == 1 else 0.0)
            if time.monotonic() - since > limit * IN_WORK:
                log.error(
                    "capture=%s: no answer for %.0f s; ending the worker",
                    shown_name(started.work.capture.path),
                    limit * IN_WORK,
                )
                self._silence_watch.worker_stuck(
                    f"no answer on {shown_name(started.work.capture.path)} for "
                    f"{limit * IN_WORK:.0f} s."
                )
                worker.restart()
                return

    def _give_back(self) -> None:
        try:
            self._store.captures.release(self._owner, utc_now(), keep=self._in_work.keys())
        except RecordError as problem:
            log.error("%s", problem)


class _Rescanning(threading.local):
    """Which thread is in a rescan: watchdog's events come from threads of their own."""

    which = "none"


_rescanning = _Rescanning()


def run_daemon(
    config: Config, store: Store, *, gone_since: datetime | None = None
) -> datetime | None:
    """Run until SIGTERM or SIGINT. Raises ModelRefusedError, RecordError.

    Returns since when the record was gone, where it is back: to be opened and run on anew, with
    that as `gone_since`. None: it was told to end.
    """
    daemon = Daemon(config, store, gone_since=gone_since)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, daemon.stop)
    return daemon.run()


def run_jobs_now(scheduler: BackgroundScheduler) -> None:
    """After the clock was set: APScheduler would wait until the old time comes again, and no mail,
    rescan or sign of life would come before.
    """
    for job in scheduler.get_jobs():
        job.modify(next_run_time=utc_now())


def _is_answer(future: Future[Any]) -> bool:
    """Did the segmentation process say something on the capture, if only that it cannot be read?"""
    if future.cancelled():
        return False
    problem = future.exception()
    return problem is None or isinstance(problem, CaptureError)


def _time_taken(works: Sequence[InWork]) -> tuple[int, float]:
    """How many of these were measured, and how long that took in all, s."""
    took_s = [
        work.future.result().took_s
        for work in works
        if not work.future.cancelled() and work.future.exception() is None
    ]
    return len(took_s), sum(took_s)


def _size_and_time(
    path: Path, look_at: Callable[[Path], FileStat] = look_at_file
) -> SizeAndTime | None:
    try:
        look = look_at(path)
    except FilesetTooLargeError:
        return 0, 0  # said when it is taken in
    except OSError:
        return None
    return look.size, look.mtime_ns


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


__all__ = ["Daemon", "ModelRefusedError", "run_daemon"]
