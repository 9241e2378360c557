"""At which scale an image is read that does not say its pixel size."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest

from model.scale import CANDIDATE_SIZES_UM, ScaleEvidence
from monitor.culture import ScaleEvidence as Said
from monitor.culture import ScaleInUse
from monitor.segmentation.assumed_scale import assume_scale

IMAGE = np.zeros((300, 400), np.uint8)


def doubts(um: float) -> tuple[float, ...]:
    return tuple(min(1.0, 2.0 * math.log(size / um) ** 2) for size in CANDIDATE_SIZES_UM)


@dataclass
class SureAt:
    """A network that is surest where an image is taken for `um`; it notes what it is asked."""

    um: float
    assumed_pixel_size_um: float | None = None
    asked: list[bool] = field(default_factory=list)

    def scale_evidence(self, image, inside=None, *, quick=False):
        self.asked.append(quick)
        return ScaleEvidence(doubts(self.um), 346.0, None)

    def segment(self, *_, **__):
        raise AssertionError


class WithoutScale:
    """A kind of network that cannot tell one scale from another."""


def known(um: float, evidence=None, **changes) -> ScaleInUse:
    return ScaleInUse(**({"magnification": "", "shape": (300, 400), "um": um} | changes),
                      evidence=evidence)  # fmt: skip


def said(um: float) -> Said:
    return Said(doubts(um), 346.0, None)


def test_the_first_image_of_a_source_speaks_for_itself():
    found = assume_scale(SureAt(3.0), IMAGE, None, name="a.png", scales=())
    assert found.um == pytest.approx(3.0, rel=0.15)
    assert found.at_scale.evidence == Said(doubts(3.0), 346.0, None)


def test_of_an_open_scale_the_image_is_one_voice_among_those_before():
    scale = known(1.2, evidence=(said(1.2),) * 5)
    found = assume_scale(SureAt(3.0), IMAGE, None, name="a.png", scales=(scale,))
    assert found.um == 1.2
    assert found.at_scale.evidence is not None


def test_a_settled_scale_costs_nothing():
    network = SureAt(3.0)
    found = assume_scale(network, IMAGE, None, name="a.png", scales=(known(1.2),))
    assert (found.um, found.at_scale.evidence, network.asked) == (1.2, None, [])


def test_one_that_is_asked_whether_it_agrees_is_asked_roughly_and_read_as_the_others():
    network = SureAt(3.0)
    scale = known(1.2, is_checked=True)
    found = assume_scale(network, IMAGE, None, name="a.png", scales=(scale,))
    assert (found.um, found.at_scale.is_check, network.asked) == (1.2, True, [True])


OTHERS = {
    # name: (name of the image's file, the only scale that is known)
    "another objective": ("a_10x.png", known(1.2, magnification="4x")),
    "an objective where the others name none": ("a_10x.png", known(1.2)),
    "another camera": ("a.png", known(1.2, shape=(1040, 1392))),
}


@pytest.mark.parametrize("case", OTHERS)
def test_the_scale_of_another_setup_does_not_hold(case):
    name, scale = OTHERS[case]
    found = assume_scale(SureAt(3.0), IMAGE, None, name=name, scales=(scale,))
    assert found.um == pytest.approx(3.0, rel=0.15)


WHOSE = {
    # name: (network, the scale that is known, um/px; None: what the network assumes by itself)
    "a model that learnt with one": (SureAt(3.0, assumed_pixel_size_um=2.2), known(1.2), None),
    "a person before that model": (SureAt(3.0, 2.2), known(1.2, is_set=True), 1.2),
    "a person before an estimate": (SureAt(3.0), known(1.2, is_set=True), 1.2),
    "a network without a scale": (WithoutScale(), known(1.2), None),
    "a person before such a network": (WithoutScale(), known(1.2, is_set=True), 1.2),
}


@pytest.mark.parametrize("case", WHOSE)
def test_a_person_comes_first_and_the_model_before_an_estimate(case):
    network, scale, um = WHOSE[case]
    found = assume_scale(network, IMAGE, None, name="a.png", scales=(scale,))
    assert (None if found is None else found.um) == um
