"""Outlines for programs that know holes, and for those that do not."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from shapely.geometry import LinearRing, Polygon

from monitor.outlets.rings import parts_without_holes, turned
from monitor.segmentation.outlines import outline_of
from tests.monitor.segmentation.test_outlines import largest_component

masks = arrays.arrays(bool, st.tuples(st.integers(3, 16), st.integers(3, 16)))


@settings(deadline=None, max_examples=200)
@given(masks)
def test_parts_without_holes_are_side_by_side_and_the_same_area(mask):
    piece = largest_component(mask)
    if piece is None:
        return
    outline = outline_of(piece)
    whole = Polygon(outline.shell, outline.holes)
    parts = [Polygon(part) for part in parts_without_holes(outline.shell, outline.holes)]
    assert all(part.is_valid for part in parts)
    assert sum(part.area for part in parts) == pytest.approx(whole.area, abs=0.2)
    rows, columns = np.mgrid[: piece.shape[0], : piece.shape[1]]
    clear = shapely.distance(shapely.points(rows.astype(float), columns), whole.boundary) > 0.05
    within = sum(shapely.contains_xy(part, rows, columns).astype(int) for part in parts)
    expected = shapely.contains_xy(whole, rows, columns)
    assert (within[clear] == expected[clear]).all()


def test_an_outline_without_holes_is_left_as_it_is():
    square = ((0.0, 0.0), (0.0, 1.0), (1.0, 1.0))
    assert parts_without_holes(square, ()) == (square,)
    assert turned(square, ()) == (square,)


@pytest.mark.parametrize("reverse", [False, True])
def test_holes_run_against_the_outer_outline(reverse):
    outer, inner = ((0.0, 0.0), (0.0, 9.0), (9.0, 9.0)), ((1.0, 2.0), (1.0, 4.0), (2.0, 4.0))
    shell, hole = turned(outer, [inner[::-1] if reverse else inner])
    assert shell == outer
    assert LinearRing(shell).is_ccw is not LinearRing(hole).is_ccw
    assert set(hole) == set(inner)
