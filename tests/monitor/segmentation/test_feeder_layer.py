"""On a feeder layer, only spread cells inside a colony count as differentiated."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.classes import UNKNOWN, CellClass
from monitor.culture import PixelSize
from monitor.segmentation.feeder_layer import NOTCH_UM, without_feeder_layer

PX = PixelSize(2.0)


def dish() -> np.ndarray:
    """A lawn of spread cells with one packed colony of 600 um in it, 2 um/px."""
    labels = np.full((500, 500), CellClass.DIFFERENTIATED, np.uint8)
    labels[100:400, 100:400] = CellClass.UNDIFFERENTIATED
    return labels


def test_a_lawn_of_feeder_cells_is_background() -> None:
    found = without_feeder_layer(dish(), PX)
    assert not (found == CellClass.DIFFERENTIATED).any()
    assert (found == CellClass.UNDIFFERENTIATED).sum() == 300 * 300
    assert (found == CellClass.BACKGROUND).sum() == 500 * 500 - 300 * 300


def test_an_island_inside_a_colony_is_differentiated() -> None:
    labels = dish()
    labels[200:300, 200:300] = CellClass.DIFFERENTIATED
    found = without_feeder_layer(labels, PX)
    counted = found == CellClass.DIFFERENTIATED
    assert not counted[labels != CellClass.DIFFERENTIATED].any()
    assert counted.sum() == pytest.approx(100 * 100, rel=0.05)


def test_a_narrow_notch_belongs_to_the_colony_and_a_wide_bay_does_not() -> None:
    narrow, wide = dish(), dish()
    narrow[100:200, 230 : 230 + int(0.5 * NOTCH_UM / 2)] = CellClass.DIFFERENTIATED
    wide[100:300, 150 : 150 + int(3 * NOTCH_UM / 2)] = CellClass.DIFFERENTIATED
    kept = without_feeder_layer(narrow, PX)[100:400, 100:400] == CellClass.DIFFERENTIATED
    assert kept.sum() > 0.9 * 100 * int(0.5 * NOTCH_UM / 2)
    lost = without_feeder_layer(wide, PX)[100:400, 100:400] == CellClass.DIFFERENTIATED
    assert lost.sum() < 0.25 * 200 * int(3 * NOTCH_UM / 2)


def test_the_same_dish_at_another_pixel_size_reads_the_same() -> None:
    labels = dish()
    labels[200:300, 200:300] = CellClass.DIFFERENTIATED
    fine = np.kron(labels, np.ones((2, 2), np.uint8))
    shares = [
        (found == CellClass.DIFFERENTIATED).mean()
        for found in (
            without_feeder_layer(labels, PX),
            without_feeder_layer(fine, PixelSize(1.0)),
        )
    ]
    assert shares[0] == pytest.approx(shares[1], abs=0.005)


def test_without_colonies_all_spread_cells_are_the_layer() -> None:
    labels = np.full((60, 80), CellClass.DIFFERENTIATED, np.uint8)
    labels[:10] = UNKNOWN
    found = without_feeder_layer(labels, PixelSize())
    assert set(np.unique(found)) == {CellClass.BACKGROUND, UNKNOWN}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(8, 90), st.integers(8, 90))
def test_nothing_but_spread_cells_ever_changes(seed: int, height: int, width: int) -> None:
    chance = np.random.default_rng(seed)
    values = np.array([0, 1, 2, UNKNOWN], np.uint8)
    coarse = chance.choice(values, (height // 8 + 1, width // 8 + 1))
    labels = np.kron(coarse, np.ones((8, 8), np.uint8))[:height, :width]
    found = without_feeder_layer(labels, PX)
    changed = found != labels
    assert (labels[changed] == CellClass.DIFFERENTIATED).all()
    assert (found[changed] == CellClass.BACKGROUND).all()
