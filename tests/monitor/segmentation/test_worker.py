"""The real process with the real model; SIGSTOP holds it in the middle of a capture."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from monitor.capture.filesets import hash_file
from monitor.config import UnlistedSettings
from monitor.culture import PixelSize, PixelSizeSource
from monitor.errors import CaptureError
from monitor.segmentation.request import FieldRequest
from monitor.segmentation.worker import SegmentationWorker
from tests.monitor.facts import SETTINGS, named

LIMIT_S = 60.0

STARTER = Path(__file__).parents[3] / "model" / "weights" / "starter"
needs_model = pytest.mark.skipif(
    not (STARTER / "manifest.json").is_file(), reason="no starter model is trained yet"
)


@pytest.fixture(scope="module")
def running() -> Iterator[SegmentationWorker]:
    worker = SegmentationWorker("starter", threads=1)
    worker.start()
    yield worker
    worker.stop(force=True)


@pytest.fixture
def capture(tmp_path) -> Path:
    """Round textured colonies on a bright, grainy dish, 480 x 480 at 2 um/px."""
    chance = np.random.default_rng(7)
    picture = np.full((480, 480), 150.0, np.float32)
    texture = cv2.GaussianBlur(chance.normal(0, 60, picture.shape).astype(np.float32), (0, 0), 2)
    for centre in ((130, 140), (330, 320)):
        inside = np.zeros(picture.shape, np.uint8)
        cv2.circle(inside, centre, 80, 1, -1)
        picture = np.where(inside > 0, picture - 20 + texture, picture)
    picture += chance.normal(0, 2, picture.shape)
    path = tmp_path / "dish-07_20261103T030000Z.png"
    cv2.imwrite(str(path), np.clip(picture, 0, 255).astype(np.uint8))
    return path


def request_for(path: Path, state: Path, sha256: str | None = None) -> FieldRequest:
    return FieldRequest(
        path=path,
        sha256=sha256 or hash_file(path),
        named=named("dish-07"),
        settings=UnlistedSettings(pixel_size_um=2.0),
        settings_sha256=SETTINGS,
        state_folder=state,
    )


def process_of(worker: SegmentationWorker) -> int:
    """The worker's own process, among the children of this one."""
    pool = worker._pool
    assert pool is not None
    (pid,) = pool._processes
    return pid


@needs_model
def test_a_capture_is_measured_in_the_other_process(running, capture, tmp_path):
    name, sha256, _ = running.start()
    assert len(sha256) == 64
    measured = running.submit(request_for(capture, tmp_path / "state")).result(LIMIT_S)
    assert (measured.model_name, measured.model_sha256) == (name, sha256)
    assert measured.settings_sha256 == SETTINGS
    assert measured.shape == (480, 480)
    assert measured.areas.imaged_px == 480 * 480
    assert measured.pixel_size == PixelSize(2.0, PixelSizeSource.SOURCE)
    for file in (measured.overlay, measured.label_map):
        assert cv2.imread(str(tmp_path / "state" / file)) is not None
    assert process_of(running) != os.getpid()


@needs_model
def test_a_bad_capture_is_its_own_trouble_and_the_next_is_measured(running, capture, tmp_path):
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"II*\0 and nothing more")
    bad = running.submit(request_for(broken, tmp_path / "state"))
    changed = running.submit(request_for(capture, tmp_path / "state", "0" * 64))
    gone = running.submit(request_for(tmp_path / "gone.tif", tmp_path / "state", "1" * 64))
    fine = running.submit(request_for(capture, tmp_path / "state"))
    with pytest.raises(CaptureError, match=r"broken\.tif: ") as caught:
        bad.result(LIMIT_S)
    assert not caught.value.transient
    for future, reason in ((changed, "changed"), (gone, "missing")):
        with pytest.raises(CaptureError) as caught:
            future.result(LIMIT_S)
        assert (caught.value.reason, caught.value.transient) == (reason, True)
    assert fine.result(LIMIT_S).shape == (480, 480)


@needs_model
def test_a_state_folder_that_cannot_be_written_lets_the_capture_wait(running, capture, tmp_path):
    (tmp_path / "state").write_text("a file in the way")
    with pytest.raises(CaptureError, match="cannot be written") as caught:
        running.submit(request_for(capture, tmp_path / "state")).result(LIMIT_S)
    assert (caught.value.reason, caught.value.transient) == ("state-folder", True)


def stop_in_the_middle(worker: SegmentationWorker, pid: int, sha256: str) -> None:
    """Freeze the worker as soon as it declares this capture in hand."""
    until = time.monotonic() + LIMIT_S
    while worker._in_hand.value != sha256.encode():
        assert time.monotonic() < until
        time.sleep(0.001)
    os.kill(pid, signal.SIGSTOP)


@needs_model
@pytest.mark.parametrize("end", ["killed", "restarted because it was stuck"])
def test_a_death_in_the_middle_blames_the_capture_in_hand_alone(running, capture, tmp_path, end):
    running.start()
    large = tmp_path / "large_20261103T030000Z.png"  # takes seconds
    cv2.imwrite(str(large), np.tile(cv2.imread(str(capture), cv2.IMREAD_GRAYSCALE), (5, 5)))
    sha256 = hash_file(large)
    pid = process_of(running)
    in_hand = running.submit(request_for(large, tmp_path / "state"))
    stop_in_the_middle(running, pid, sha256)
    behind = running.submit(request_for(capture, tmp_path / "state"))
    if end == "killed":
        os.kill(pid, signal.SIGKILL)
    else:
        running.restart()
    until = time.monotonic() + LIMIT_S
    while not (in_hand.done() and behind.done()):  # as the daemon asks
        assert time.monotonic() < until
        time.sleep(0.01)
    assert in_hand.cancelled() or isinstance(in_hand.exception(), BrokenExecutor)
    assert behind.cancelled() or isinstance(behind.exception(), BrokenExecutor)
    assert running.died_with(in_hand, sha256)
    assert not running.died_with(behind, hash_file(capture))
    again = running.submit(request_for(capture, tmp_path / "state"))
    assert again.result(LIMIT_S).shape == (480, 480)
    assert process_of(running) != pid
    assert not psutil.pid_exists(pid)
    assert running.died_with(in_hand, sha256)  # also when the next one is at work


@needs_model
def test_a_worker_killed_between_two_captures_is_replaced(running, capture, tmp_path):
    running.start()
    pool = running._pool
    os.kill(process_of(running), signal.SIGKILL)
    until = time.monotonic() + LIMIT_S
    while not pool._broken and time.monotonic() < until:
        time.sleep(0.01)  # the death is noticed by a thread of the pool's own
    future = running.submit(request_for(capture, tmp_path / "state"))
    assert future.result(LIMIT_S).shape == (480, 480)
    assert not running.died_with(future, hash_file(capture))


def test_stopping_a_worker_that_never_began_is_nothing():
    worker = SegmentationWorker("starter", threads=1)
    worker.stop()
    worker.stop(force=True)


PROGRAM = """
import sys, time
from monitor.errors import ModelRefusedError
from monitor.segmentation.worker import SegmentationWorker

if __name__ == "__main__":
    worker = SegmentationWorker(sys.argv[1], threads=1)
    try:
        worker.start()
    except ModelRefusedError as problem:
        print("refused", *worker._pool._processes, problem, flush=True)
    time.sleep(600)
"""


def test_a_refused_model_is_said_and_the_worker_ends_with_its_parent(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    parent = subprocess.Popen(
        [sys.executable, str(program), str(tmp_path / "no-model")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    try:
        assert parent.stdout is not None
        said, pid, problem = parent.stdout.readline().split(maxsplit=2)
        assert said == "refused"
        assert "no-model" in problem
        child = psutil.Process(int(pid))
        assert child.ppid() == parent.pid
        parent.kill()
        gone, alive = psutil.wait_procs([child], timeout=20)
        assert (gone, alive) == ([child], [])
    finally:
        parent.kill()
        parent.communicate()
