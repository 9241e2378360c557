"""The daemon's look at files beside pictures that are on record."""

from __future__ import annotations

from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path

from monitor.capture.formats.sidecars import beside_hash, read_beside
from monitor.config import Config, SourceConfig
from monitor.culture import CaptureState, FieldMeasurement
from monitor.jobs.late_sidecars import LOOKED_BACK, LateSidecars, described_anew
from monitor.pipeline import Pipeline
from monitor.segmentation.request import FieldRequest
from tests.monitor.capture.corpus import tiff
from tests.monitor.facts import NOW, measurement

PICTURE = "r01c01f01p01-ch1sk1fk1fl1.tiff"


class Worker:
    """Measures everything at once, and notes what stands beside it."""

    def submit(self, request: FieldRequest) -> Future[FieldMeasurement]:
        said = read_beside(request.path, request.named.pattern, request.settings.zone)
        future: Future[FieldMeasurement] = Future()
        future.set_result(measurement(beside=beside_hash(said)))
        return future

    def died_with(self, future: Future[FieldMeasurement], request_sha256: str) -> bool:
        return False


def plate(folder: Path, number: int) -> Path:
    images = folder / f"dish{number}__2026-11-02T03_00_00-Measurement 1" / "Images"
    images.mkdir(parents=True)
    (images / PICTURE).write_bytes(tiff() + bytes([number]))
    return images


def index(images: Path, size: str) -> None:
    (images / "Index.idx.xml").write_text(
        f"<Data><Images><Image><URL>{PICTURE}</URL><ImageResolutionX>{size}</ImageResolutionX>"
        f"</Image></Images></Data>"
    )


def measure_due(pipeline: Pipeline) -> int:
    return sum(pipeline.finish(work) is not None for work in pipeline.start_due(9))


def test_only_what_is_described_anew_is_measured_once_more(store, tmp_path):
    config = Config(sources=(SourceConfig(name="incubator", path=tmp_path),))
    pipeline = Pipeline(config, store, Worker(), owner="me", clock=lambda: NOW)
    first, second = plate(tmp_path, 1), plate(tmp_path, 2)
    ids = []
    for images in (first, second):
        taken = pipeline.take_in(images / PICTURE, "incubator")
        assert taken is not None
        ids.append(taken[1].id)
    assert measure_due(pipeline) == 2
    late = LateSidecars(config, store, clock=lambda: NOW)
    assert (late.look("incubator"), late.look("another")) == (0, 0)
    index(first, "6.5E-07")
    assert [one.id for one in described_anew(config, store)] == [ids[0]]
    assert (late.look("another"), late.look("incubator")) == (0, 1)
    one, other = store.captures.find(ids)
    assert (one.state, other.state) == (CaptureState.WAITING, CaptureState.MEASURED)
    assert late.look("incubator") == 0, "it is due once"
    assert measure_due(pipeline) == 1
    assert (late.look("incubator"), described_anew(config, store)) == (0, [])
    (first / "Index.idx.xml").unlink()
    assert (late.look("incubator"), described_anew(config, store)) == (0, [])


def test_an_index_in_the_making_says_nothing_until_it_is_whole(store, tmp_path):
    config = Config(sources=(SourceConfig(name="incubator", path=tmp_path),))
    pipeline = Pipeline(config, store, Worker(), owner="me", clock=lambda: NOW)
    images = plate(tmp_path, 1)
    pipeline.take_in(images / PICTURE, "incubator")
    measure_due(pipeline)
    late = LateSidecars(config, store, clock=lambda: NOW)
    index(images, "6.5E-07")
    whole = (images / "Index.idx.xml").read_text()
    (images / "Index.idx.xml").write_text(whole[:60])
    assert late.look("incubator") == 0
    (images / "Index.idx.xml").write_text(whole)
    assert late.look("incubator") == 1


def test_what_is_long_past_is_left_to_reprocess(store, tmp_path):
    config = Config(sources=(SourceConfig(name="incubator", path=tmp_path),))
    pipeline = Pipeline(config, store, Worker(), owner="me", clock=lambda: NOW)
    images = plate(tmp_path, 1)
    pipeline.take_in(images / PICTURE, "incubator")
    measure_due(pipeline)
    index(images, "6.5E-07")
    later = NOW + LOOKED_BACK + timedelta(days=1)
    assert LateSidecars(config, store, clock=lambda: later).look("incubator") == 0
    assert len(described_anew(config, store)) == 1
