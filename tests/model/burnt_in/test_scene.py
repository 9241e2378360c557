"""The short ways through a picture's inks give what the long ones give."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from model.burnt_in.rectangles import _runs
from model.burnt_in.scene import Ink, median_and_deviation

CHANCE = np.random.default_rng(5)
MASKS = [
    (CHANCE.random(tuple(CHANCE.integers(1, 40, 2))) < share).astype(np.uint8)
    for share in (0, 0.01, 0.1, 0.3, 0.6, 0.9, 0.98, 1)
    for _ in range(12)
]


def test_pieces_are_those_of_opencv_with_its_statistics() -> None:
    """Rows without ink are left out, and counts are taken where runs begin and end."""
    for mask in MASKS:
        numbers, stats = Ink(mask).pieces
        _, expected, known, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        assert len(stats) == len(known)
        assert np.array_equal(numbers > 0, mask > 0)
        assert stats[0, 4] == known[0, 4]
        for number in range(1, len(stats)):
            (same,) = np.unique(expected[numbers == number])
            assert stats[number].tolist() == known[same].tolist()


@pytest.mark.parametrize("along", [0, 1])
@pytest.mark.parametrize("length", [3, 13])
def test_runs_are_what_opening_leaves(along: int, length: int) -> None:
    kernel = np.ones((1, length) if along else (length, 1), np.uint8)
    for mask in MASKS:
        opened = np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel), np.uint8)
        found, expected = _runs(mask, length, along), Ink(opened).pieces[1]
        if found is None:
            assert not opened.any()
        else:
            assert sorted(found[1:].tolist()) == sorted(expected[1:].tolist())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_median_and_deviation_are_counted_as_if_sorted(dtype: type, size: int) -> None:
    sample = CHANCE.integers(0, 200, size).astype(dtype)
    median, deviation = median_and_deviation(sample)
    assert median == np.median(sample)
    assert deviation == np.median(np.abs(sample - np.median(sample)))
