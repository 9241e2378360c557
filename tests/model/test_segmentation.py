"""Which class a block has: one rule for label maps, uncertainty and what is said of doubt."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.classes import CellClass
from model.doubt.reading import reading_of
from model.segmentation import classes_of, label_map


def distributions(seed: int, shape: tuple[int, int] = (7, 9)) -> np.ndarray:
    chance = np.random.default_rng(seed)
    return chance.dirichlet((0.6, 0.6, 0.6), shape).transpose(2, 0, 1).astype(np.float32)


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ((0.6, 0.2, 0.2), CellClass.BACKGROUND),
        ((0.5, 0.3, 0.2), CellClass.BACKGROUND),
        ((0.4, 0.35, 0.25), CellClass.UNDIFFERENTIATED),
        ((0.4, 0.25, 0.35), CellClass.DIFFERENTIATED),
        ((0.2, 0.4, 0.4), CellClass.UNDIFFERENTIATED),
    ],
)
def test_cells_of_whose_kind_one_is_unsure_are_cells(
    probabilities: tuple[float, float, float], expected: CellClass
) -> None:
    planes = np.array(probabilities, np.float32)[:, None, None]
    assert classes_of(planes)[0, 0] == expected


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31))
def test_the_label_map_and_what_is_said_of_it_call_the_same_blocks_cells(seed: int) -> None:
    planes = distributions(seed)
    labels = label_map(planes, (7, 9))
    np.testing.assert_array_equal(labels, classes_of(planes))
    said = reading_of(planes, None)
    cells = labels != CellClass.BACKGROUND
    assert said.cells == pytest.approx(cells.mean())
    if cells.any():
        found = (labels == CellClass.DIFFERENTIATED).sum() / cells.sum()
        assert said.fraction == pytest.approx(found)
    else:
        assert said.fraction is None


def test_where_there_are_two_classes_the_likelier_one_is_taken() -> None:
    """As in tasks with one kind of region."""
    planes = distributions(3)[:2]
    planes = planes / planes.sum(axis=0)
    np.testing.assert_array_equal(classes_of(planes), planes.argmax(axis=0))
