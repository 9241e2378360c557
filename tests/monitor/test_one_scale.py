"""The line with captures that say no pixel size: whatever comes when, a source has one scale."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import permutations

import numpy as np
import pytest

from monitor.culture import CaptureState, PixelSize
from monitor.errors import CaptureError
from monitor.segmentation.assumed_scale import assume_scale
from tests.monitor.facts import measurement
from tests.monitor.line import StandInWorker, name_at
from tests.monitor.segmentation.test_assumed_scale import SureAt

IMAGE = np.zeros((300, 400), np.uint8)


@dataclass
class Reading(StandInWorker):
    """Reads each capture at the scale that the request leads to, as the real worker does.

    looks_like : name of the capture's file -> um/px at which it looks familiar
    """

    looks_like: dict[str, float] = field(default_factory=dict)
    asked_for_evidence: int = 0

    def submit(self, request):
        name = request.path.name
        if not request.path.exists():
            gone = f"{name}: is no longer there"
            self.says[name] = CaptureError(gone, reason="missing", transient=True)
        elif name in self.looks_like:
            network = SureAt(self.looks_like[name])
            found = assume_scale(network, IMAGE, None, name=name, scales=request.scales)
            assert found is not None
            self.asked_for_evidence += len(network.asked)
            self.says[name] = replace(
                measurement(),
                shape=IMAGE.shape,
                pixel_size=PixelSize(found.um, assumed=True),
                at_scale=found.at_scale,
                acquired_at=request.named.acquired_at,
                fingerprint=None,
            )
        return super().submit(request)


@pytest.fixture
def unsized(line):
    """The line, with a worker that reads at scales."""
    worker = Reading()
    line.worker = line.pipeline._measuring._worker = worker
    return line


def drop(line, *sizes: float, dishes: int = 100, begin: int = 0) -> list[int]:
    """Captures that look as if taken at these sizes, of so many dishes in turn."""
    ids = []
    for number, um in enumerate(sizes, begin):
        name = name_at(number % 24, dish=f"dish-{number % dishes}")
        line.worker.looks_like[name] = um
        ids.append(line.take_in(line.drop(name)).id)
    return ids


def sizes_on_record(line) -> set[float | None]:
    found = set()
    for dish in line.store.dishes.dishes():
        for reading in line.store.timelines.of(dish.name).readings:
            found.add(reading.assumed_pixel_size_um)
    return found


@pytest.mark.parametrize("sizes", list(permutations([1.75, 3.0, 3.3, 4.4]))[::5], ids=str)
def test_a_series_never_mixes_scales(unsized, sizes):
    drop(unsized, *sizes)
    unsized.run()
    unsized.read_all()
    (scale,) = unsized.store.scales.all()
    assert sizes_on_record(unsized) == {scale.um}
    assert scale.um == pytest.approx(2.9, rel=0.2)


def test_one_by_one_or_all_at_once_it_is_one_scale(unsized):
    for number, um in enumerate([1.2, 3.0, 3.0, 3.0, 3.0, 3.0]):
        drop(unsized, um, begin=number)
        unsized.run()
        unsized.read_all()
        (scale,) = unsized.store.scales.all()
        assert sizes_on_record(unsized) == {scale.um}
    assert scale.um == pytest.approx(2.8, rel=0.2)


def test_once_settled_no_image_is_asked(unsized):
    """Each costs three times and more what a capture with a pixel size does."""
    drop(unsized, *[3.0] * 6)
    unsized.run()
    asked = unsized.worker.asked_for_evidence
    drop(unsized, *[3.0] * 12, begin=6)
    unsized.run()
    assert unsized.worker.asked_for_evidence == asked
    (scale,) = unsized.store.scales.all()
    assert (scale.state, scale.images) == ("settled", 6)


def test_a_capture_that_is_gone_keeps_its_reading_and_is_counted(unsized):
    """Imagers' folders are cleared; what was read of such a capture stands."""
    (gone,) = drop(unsized, 1.2)
    unsized.run()
    unsized.read_all()
    for path in unsized.folder.iterdir():
        path.unlink()
    drop(unsized, *[3.0] * 4, begin=1)
    unsized.run()
    unsized.read_all()
    (scale,) = unsized.store.scales.all()
    assert unsized.capture(gone).state is CaptureState.RECORDED
    assert unsized.store.scales.not_measured_again(scale.id) == 1
    assert unsized.store.scales.outdated() == [gone]


def test_captures_with_a_pixel_size_have_nothing_to_do_with_it(unsized):
    drop(unsized, 3.0)
    unsized.take_in(unsized.drop(name_at(9, dish="known")))
    unsized.run()
    unsized.read_all()
    (reading,) = unsized.store.timelines.of("known").readings
    assert (reading.pixel_size_um, reading.assumed_pixel_size_um) == (2.0, None)
    (scale,) = unsized.store.scales.all()
    assert scale.images == 1
