"""How far a dish was shifted, by pictures that were."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from monitor.culture import StagePosition
from monitor.scans.registration import STEP_UM, register
from monitor.stage.labelled_field import LabelledField
from tests.monitor.facts import measurement

PLAIN = ((1.0, 0.0), (0.0, 1.0))
FLIPPED = ((0.0, -1.0), (1.0, 0.0))
PIXEL_SIZE_UM = 2.0


def culture(seed=0, shape=(600, 700), grown_px=0):
    """Round colonies here and there."""
    chance = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint8)
    for _ in range(14):
        row, column = chance.uniform(0, shape[0]), chance.uniform(0, shape[1])
        radius = int(chance.uniform(20, 60)) + grown_px
        cv2.circle(labels, (int(column), int(row)), radius, int(chance.integers(1, 3)), -1)
    return labels


def moved(labels, down, right):
    """What the same camera sees of it after the dish was moved; 255 where there was nothing."""
    seen = np.full_like(labels, 255)
    height, width = labels.shape
    seen[max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)] = labels[
        max(0, -down) : height + min(0, -down), max(0, -right) : width + min(0, -right)
    ]
    return seen


def seen(labels, x_um=0.0, y_um=0.0):
    stage = StagePosition(x_um, y_um)
    measured = measurement(shape=labels.shape, stage=stage, pixel_size_um=PIXEL_SIZE_UM)
    return LabelledField(measured, labels)


def shift(before, after, *, camera=PLAIN, hidden=(), reach_um=300.0):
    return register([(seen(before), hidden)], [seen(after)], camera, reach_um=reach_um)


@pytest.mark.parametrize("camera", [PLAIN, FLIPPED], ids=["plain", "turned and flipped"])
@pytest.mark.parametrize("pixels", [(0, 0), (30, -20), (-45, 10), (4, 60)])
def test_a_shift_is_found_on_the_stage(pixels, camera):
    down, right = pixels
    found = shift(culture(), moved(culture(), down, right), camera=camera)
    expected = np.array(camera) @ (right, down) * PIXEL_SIZE_UM
    assert found.shift_um == pytest.approx(tuple(expected), abs=STEP_UM)
    assert found.likeness > 0.9


def test_cells_that_grew_lie_where_they_lay():
    found = shift(culture(), culture(grown_px=12))
    assert found.shift_um == (0.0, 0.0)
    assert found.likeness > 0.4


def test_what_was_removed_says_nothing_of_where_the_dish_lies():
    """Half of the cells are gone; the others tell."""
    before = culture()
    after = moved(before, 20, 0)
    after[:, :350] = np.where(after[:, :350] == 255, 255, 0)
    left_half = ((-1.0, -1.0), (-1.0, 350.0), (600.0, 350.0), (600.0, -1.0))
    found = shift(before, after, hidden=[(left_half,)])
    assert found.shift_um == pytest.approx((0.0, 40.0), abs=STEP_UM)
    assert found.likeness > 0.9


def test_another_dish_is_not_alike():
    for seed in range(1, 6):
        found = shift(culture(), culture(seed))
        assert found.likeness < 0.4


@pytest.mark.parametrize("value", [0, 2, 255], ids=["empty", "full", "not seen"])
def test_a_dish_without_borders_of_cells_says_nothing(value):
    same = np.full((300, 300), value, np.uint8)
    assert shift(same, same) is None
    assert shift(culture(shape=(300, 300)), same) is None


def test_the_fields_of_a_scan_tell_together():
    """Neither of two small fields alone has to suffice; the stage says where each of them is."""
    whole = culture(shape=(600, 1200))
    after = moved(whole, 0, 25)
    halves = [whole[:, :600], whole[:, 600:]]
    later = [after[:, :600], after[:, 600:]]
    places = [-600.0, 600.0]
    found = register(
        [(seen(labels, x_um), ()) for x_um, labels in zip(places, halves, strict=True)],
        [seen(labels, x_um) for x_um, labels in zip(places, later, strict=True)],
        PLAIN,
        reach_um=200.0,
    )
    assert found.shift_um == pytest.approx((50.0, 0.0), abs=STEP_UM)


def test_no_field_says_nothing():
    assert register([], [seen(culture())], PLAIN, reach_um=100.0) is None
    assert register([(seen(culture()), ())], [], PLAIN, reach_um=100.0) is None


def test_cells_in_a_hole_of_what_was_removed_tell_where_the_dish_lies():
    """A ring about good cells goes; these stay, and are all that is left to go by."""
    before = culture()
    outer = ((-1.0, -1.0), (-1.0, 701.0), (601.0, 701.0), (601.0, -1.0))
    inner = ((100.0, 100.0), (100.0, 600.0), (500.0, 600.0), (500.0, 100.0))
    found = shift(before, moved(before, 20, 0), hidden=[(outer, inner)])
    assert found.shift_um == pytest.approx((0.0, 40.0), abs=STEP_UM)
    assert shift(before, moved(before, 20, 0), hidden=[(outer,)]) is None
