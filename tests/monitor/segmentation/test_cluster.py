"""Segmentation on a Dask cluster: a real scheduler, and one worker process that can be killed."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import cv2
import numpy as np
import pytest

from model.predict import STARTER
from monitor.config import Config, SourceSettings
from monitor.culture import NamedParts
from monitor.errors import CaptureError, WorkerError
from monitor.segmentation import cluster as of_cluster
from monitor.segmentation.cluster import ClusterWorker
from monitor.segmentation.cluster_task import About, send
from monitor.segmentation.request import FieldRequest
from monitor.segmentation.workers import _sha256_of, worker_for
from tests.monitor.facts import sha256_of

LIMIT_S = 200
distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def scheduler():
    import dask

    settings = {
        "distributed.worker.daemon": False,
        "distributed.comm.timeouts.connect": "60s",
        "distributed.nanny.pre-spawn-environ": {"OMP_NUM_THREADS": "1"},
    }
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
        ) as made,
    ):
        yield made.scheduler_address


@pytest.fixture(scope="module")
def worker(scheduler):
    made = ClusterWorker(scheduler, "starter", _sha256_of("starter"), "bytes")
    made.start()
    yield made
    made.stop(force=True)


@pytest.fixture
def request_of(tmp_path):
    """request_of(name): one small field of a disc, and the question for it."""
    (tmp_path / "in").mkdir()

    def make(name="dish-07.png", seed=1):
        image = np.random.default_rng(seed).integers(90, 110, (96, 96)).astype(np.uint8)
        cv2.circle(image, (48, 48), 30, 160, -1)
        path = tmp_path / "in" / name
        assert cv2.imwrite(str(path), image)
        return FieldRequest(
            path=path,
            sha256=sha256_of(path.read_bytes()),
            named=NamedParts(dish="dish-07", pattern="test"),
            settings=SourceSettings(pixel_size_um=3.0),
            settings_sha256="5" * 64,
            state_folder=tmp_path / "state",
        )

    return make


def test_a_capture_is_measured_there_and_its_pictures_come_back(worker, request_of):
    request = request_of()
    measured = worker.submit(request).result(LIMIT_S)
    assert measured.shape == (96, 96)
    assert measured.model_sha256 == _sha256_of("starter")
    for name in (measured.overlay, measured.label_map):
        assert (request.state_folder / name).stat().st_size


def test_a_shared_path_gives_the_same_measurement(scheduler, worker, request_of):
    shared = ClusterWorker(scheduler, "starter", _sha256_of("starter"), "shared")
    request = request_of()
    by_path = shared.submit(request).result(LIMIT_S)
    shared.stop()
    by_bytes = worker.submit(request).result(LIMIT_S)
    assert replace(by_path, took_s=0) == replace(by_bytes, took_s=0)


def test_what_is_wrong_with_a_capture_is_said_of_it_and_not_of_the_cluster(worker, request_of):
    request = request_of()
    request.path.write_bytes(b"other bytes by now")
    with pytest.raises(CaptureError) as caught:
        worker.submit(request).result(LIMIT_S)
    assert caught.value.reason == "changed"
    request.path.unlink()
    with pytest.raises(CaptureError) as caught:
        worker.submit(request).result(LIMIT_S)
    assert (caught.value.reason, caught.value.transient) == ("missing", True)


def test_a_worker_that_is_killed_costs_a_retry_and_no_capture(worker, request_of):
    client = worker._connected()
    (before,) = client.run(os.getpid).values()
    answers = [worker.submit(request_of(f"dish-{n}.png", n)) for n in range(3)]
    os.kill(before, signal.SIGKILL)
    for answer in answers:
        assert answer.result(LIMIT_S).shape == (96, 96)
    (after,) = client.run(os.getpid).values()
    assert after != before


def test_a_worker_with_another_model_is_refused_in_words(scheduler):
    other = ClusterWorker(scheduler, "starter", "b" * 64, "bytes")
    with pytest.raises(WorkerError, match=r"is the model .* there and bbbbbbbbbbbb on this"):
        other.start()
    other.stop()
    gone = ClusterWorker(scheduler, "/models/none", "b" * 64, "bytes")
    with pytest.raises(WorkerError, match=r"/models/none.*cannot be read"):
        gone.start()
    gone.stop()


def test_another_colonywatch_on_a_worker_is_refused_in_words(worker, monkeypatch):
    fit = next(iter(worker._fit.values()))
    assert worker._why_unfit("tcp://w:1", fit) is None
    for other in (replace(fit, version="0.0.9"), replace(fit, code="12345678")):
        why = worker._why_unfit("tcp://w:1", other)
        assert f"has colonywatch {other.version} ({other.code})" in why
        assert "install the same one on both" in why
    assert "not installed there" in worker._why_unfit("tcp://w:1", ModuleNotFoundError("monitor"))
    assert "same Python" in worker._why_unfit("tcp://w:1", OSError("unpickling"))
    assert "no such" in worker._why_unfit("tcp://w:1", replace(fit, refused="no such model"))


def test_a_scheduler_that_is_not_there_is_one_clear_error(monkeypatch):
    monkeypatch.setattr(of_cluster, "CONNECT_S", 0.5)
    nowhere = ClusterWorker("tcp://127.0.0.1:1", "starter", "a" * 64, "bytes")
    with pytest.raises(WorkerError, match=r"no Dask scheduler answers.*compute\.scheduler right"):
        nowhere.begin()


# --- without a cluster ----------------------------------------------------------------------------


def test_what_stands_beside_a_capture_travels_with_it(request_of):
    request = request_of("Index.png")
    beside = request.path.parent / "Index.idx.xml"
    beside.write_text("<a/>")
    sent = send(request, "bytes")
    assert sent.data == request.path.read_bytes()
    assert sent.beside == (("in/Index.idx.xml", b"<a/>"),)
    assert send(request, "shared").data is None


def test_the_configuration_says_where_captures_are_measured():
    text = {"engine": "dask", "scheduler": "tcp://10.0.0.5:8786"}
    made = worker_for(Config.model_validate({"compute": text}))
    assert isinstance(made, ClusterWorker)
    assert made._sha256 == _sha256_of("starter")
    assert isinstance(About("1", "2"), About) and STARTER.is_dir()


@pytest.mark.parametrize(
    ("compute", "says"),
    [
        ({"engine": "dask"}, "go together"),
        ({"scheduler": "tcp://h:1"}, "go together"),
        ({"engine": "dask", "scheduler": "10.0.0.5:8786"}, "give tcp://HOST:PORT"),
    ],
)
def test_half_a_cluster_is_refused(compute, says):
    with pytest.raises(ValueError, match=says):
        Config.model_validate({"compute": compute})
