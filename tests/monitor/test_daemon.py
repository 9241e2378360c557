"""The daemon's own parts, without a daemon."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import BrokenExecutor, Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from apscheduler.schedulers.background import BackgroundScheduler

from monitor.capture.settling import Settling
from monitor.capture.watching import Watcher
from monitor.config import Config, RecordConfig, SourceConfig
from monitor.daemon import (
    DELIVERY_STUCK_S,
    IN_WORK,
    MOST_IN_WORK,
    TOGETHER,
    Daemon,
    _is_answer,
    _Pace,
    _Source,
    _Started,
    run_jobs_now,
)
from monitor.errors import CaptureError, ModelRefusedError
from monitor.jobs.free_space import RoomGuard
from monitor.jobs.measure import InWork
from monitor.pipeline import Pipeline
from monitor.segmentation.worker import SegmentationWorker
from tests.monitor.facts import named, take


def test_after_the_clock_was_set_back_the_jobs_go_on():
    """Their next time lies a year ahead: no mail and no rescan would come until then."""
    ran = threading.Event()
    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.add_job(
        ran.set,
        "interval",
        seconds=3600,
        misfire_grace_time=None,
        next_run_time=datetime.now(UTC) + timedelta(days=365),
    )
    scheduler.start()
    try:
        run_jobs_now(scheduler)
        assert ran.wait(30)
        (job,) = scheduler.get_jobs()
        assert job.next_run_time < datetime.now(UTC) + timedelta(hours=2)
    finally:
        scheduler.shutdown(wait=True)


def test_a_worker_that_gives_no_answer_is_ended_and_told_of(store, tmp_path):
    config = Config(record=RecordConfig(folder=tmp_path))
    daemon = Daemon(config, store)
    worker = SegmentationWorker("starter", threads=1)
    capture = take(store, "a.tif")
    limit = IN_WORK * config.compute.capture_timeout_s
    daemon._pace.answered_at -= 2 * limit

    def waits(for_s: float) -> None:
        work = InWork(capture, named(), Future())
        daemon._in_work = {capture.id: _Started(work, time.monotonic() - for_s)}
        daemon._end_stuck(worker)
        daemon._watch_for_silence()

    waits(limit - 5)
    assert store.alerts.alerts() == []
    waits(limit + 5)
    (alert,) = store.alerts.alerts()
    assert (alert.topic, alert.about) == ("worker-stuck", "this machine")
    assert "a.tif for 1800 s" in (alert.text or "")


PACES = {
    # name: (seconds that captures took, how many the worker gets then)
    "nothing is known yet": ([], IN_WORK),
    "a well plate's thumbnails": ([0.02] * 20, 50),
    "nearly nothing": ([0.0] * 20, MOST_IN_WORK),
    "fields of a megapixel": ([0.3] * 20, 3),
    "mosaics": ([60.0] * 20, IN_WORK),
    "mosaics after thumbnails": ([0.02] * 20 + [60.0], IN_WORK),
}


@pytest.mark.parametrize("case", PACES)
def test_the_worker_gets_as_much_ahead_as_keeps_it_busy_for_a_second(case):
    """More would only be kept from other programs on the same record."""
    took_s, expected = PACES[case]
    pace = _Pace()
    for seconds in took_s:
        pace.answers(1, seconds)
    assert pace.in_work == expected


def test_a_portion_in_which_nothing_was_measured_says_nothing_of_the_pace():
    pace = _Pace()
    pace.answers(10, 0.1)
    before = pace.in_work
    pace.answers(0, 0.0)
    assert pace.in_work == before


LAY_THERE = {
    # name: (age of the file when the daemon begins, is one more look enough?)
    "from last night": (timedelta(hours=9), True),
    "perhaps still in the making": (timedelta(seconds=1), False),
    "of an imager whose clock runs ahead": (-timedelta(hours=1), False),
}


@pytest.mark.parametrize("case", LAY_THERE)
def test_what_lay_there_when_the_daemon_begins_was_looked_at_once_already(store, tmp_path, case):
    """It is taken in while the model is being loaded, and not another quiet time later."""
    age, expected = LAY_THERE[case]
    path = tmp_path / "dish-1_20261103T030000Z.png"
    path.write_bytes(b"a capture")
    written = (datetime.now(UTC) - age).timestamp()
    os.utime(path, (written, written))
    source = SourceConfig(name="incubator", path=tmp_path, names="dish-time")
    daemon = Daemon(Config(sources=(source,), record=RecordConfig(folder=tmp_path)), store)
    daemon._begin_watching()
    try:
        daemon._sort_notices()
        (watched,) = daemon._sources
        look = path.stat().st_size, path.stat().st_mtime_ns
        assert not watched.pending.due(time.monotonic())
        later = time.monotonic() + source.settle_s
        assert watched.pending.looked(path, *look, later) is expected
    finally:
        watched.watcher.stop()


@pytest.mark.parametrize("replaced", [True, False])
def test_a_known_path_that_holds_another_file_of_the_same_size_and_time_is_looked_at(
    store, tmp_path, replaced
):
    """Where names are rotated, size and time alone would call the new file the old one."""
    path = tmp_path / "dish-1_20261103T030000Z.png"
    path.write_bytes(b"a capture")
    source = SourceConfig(name="incubator", path=tmp_path, names="dish-time")
    daemon = Daemon(Config(sources=(source,), record=RecordConfig(folder=tmp_path)), store)
    watched = _Source(source, Watcher(source, lambda path: None), Settling(source.settle_s))
    daemon._known.note(path, (path.stat().st_size, path.stat().st_mtime_ns))
    daemon._notice_for(watched, replaced=replaced)(path)
    daemon._notice_for(watched)(path)  # the poll, right after it
    daemon._sort_notices()
    assert (path in watched.pending) is replaced


ANSWERS = {
    # name: (what the future holds, is it an answer of the worker?)
    "measured": (None, True),
    "a capture that cannot be read": (CaptureError("a.tif: half a file", reason="broken"), True),
    "the process died": (BrokenExecutor(), False),
    "the model is refused": (ModelRefusedError("weights changed"), False),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_only_what_the_model_looked_at_shows_that_the_worker_works(case):
    problem, expected = ANSWERS[case]
    future: Future[object] = Future()
    if problem is None:
        future.set_result(object())
    else:
        future.set_exception(problem)
    assert _is_answer(future) is expected


def test_a_capture_that_was_never_begun_is_no_answer():
    future: Future[object] = Future()
    future.cancel()
    assert not _is_answer(future)


def test_an_outbox_without_a_sign_of_life_is_noticed_and_one_that_moves_is_not(store, tmp_path):
    """Then the watchdog is not fed, so that the daemon is started anew."""
    daemon = Daemon(Config(record=RecordConfig(folder=tmp_path)), store)

    def after(seconds: float) -> bool:
        daemon._delivery_at = time.monotonic() - seconds
        return daemon._delivery_hangs()

    assert not daemon._delivery_hangs()
    assert not after(DELIVERY_STUCK_S - 5)
    assert after(DELIVERY_STUCK_S + 5)
    daemon._next_message()
    assert not daemon._delivery_hangs()
    assert after(DELIVERY_STUCK_S + 5)
    daemon._deliver()
    assert not daemon._delivery_hangs()


@dataclass
class ManyScans:
    """Stands for a pipeline that a cut-off backfill left thousands of scans to."""

    left: list[int]
    read: list[int] = field(default_factory=list)

    def complete_scans(self) -> list[int]:
        return list(self.left)

    def read_scans(self, scans: list[int]) -> list[object]:
        for scan in scans:
            self.left.remove(scan)
        self.read += scans
        return list(scans)


def test_thousands_of_unread_scans_do_not_keep_the_loop_from_its_other_work(
    store, tmp_path, monkeypatch
):
    """systemd would end a daemon whose loop does not come round for three minutes."""
    monkeypatch.setattr("monitor.daemon.PART_S", -1.0)
    daemon = Daemon(Config(record=RecordConfig(folder=tmp_path)), store)
    scans = ManyScans(list(range(5000)))
    for turn in range(1, 4):
        daemon._wake.clear()
        daemon._read_scans(scans)
        assert scans.read == list(range(turn * TOGETHER))
        assert daemon._wake.is_set()  # it goes on at once


def test_a_full_disk_stops_the_loop_before_anything_is_taken_in_and_it_goes_on_by_itself(
    store, tmp_path
):
    """Nothing is lost: what was noticed meanwhile is taken in then."""
    path = tmp_path / "in" / "dish-1_20261103T030000Z.png"
    path.parent.mkdir()
    path.write_bytes(b"no picture, but a file")
    os.utime(path, (1e9, 1e9))
    source = SourceConfig(name="incubator", path=path.parent, names="dish-time", settle_s=0)
    config = Config(sources=(source,), record=RecordConfig(folder=tmp_path / "state"))
    daemon = Daemon(config, store)
    worker = SegmentationWorker("starter", threads=1)
    pipeline = Pipeline(config, store, worker, owner="me")
    free = {"bytes": 0}
    pipeline.room = RoomGuard(config, None, room=lambda folder: free["bytes"])
    daemon._start = lambda pipeline: None  # no model is needed to see what is taken in
    daemon._stopping.set()  # so that no round waits
    daemon._begin_watching()
    try:
        (watched,) = daemon._sources
        daemon._sort_notices()
        daemon._go_round(pipeline, worker)
        assert "GiB free" in daemon._describe()["stopped"]
        assert path in watched.pending and store.captures.counts()["waiting"] == 0
        free["bytes"] = 2**40
        daemon._go_round(pipeline, worker)
        assert daemon._describe()["stopped"] == ""
        assert store.captures.counts()["waiting"] == 1
    finally:
        watched.watcher.stop()
