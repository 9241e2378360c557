"""Parts that make up a whole share out its pixels, wherever the edges between them run."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial import Delaunay
from shapely.geometry import MultiPolygon, Polygon, box

from model.filling import pixels_within

SHAPE = (30, 40)


def mask(where: shapely.Geometry, shape: tuple[int, int] = SHAPE) -> NDArray[np.bool_]:
    found = np.zeros(shape, bool)
    rows, columns, inside = pixels_within(where, shape)
    found[rows, columns] = inside
    return found


def times_taken(parts: list[Polygon], shape: tuple[int, int] = SHAPE) -> NDArray[np.int64]:
    return np.sum([mask(one, shape) for one in parts], axis=0)


def test_a_square_cut_along_its_diagonal_has_no_seam() -> None:
    """The diagonal runs through fifty pixel centres."""
    below = Polygon([(0, 0), (50, 50), (0, 50)])
    above = Polygon([(0, 0), (50, 0), (50, 50)])
    assert (times_taken([below, above], (50, 50)) == 1).all()


def test_a_centre_on_an_edge_belongs_to_what_lies_right_or_below() -> None:
    left, right = box(0, 0, 10.5, 30), box(10.5, 0, 40, 30)
    assert not mask(left)[:, 10].any()
    assert mask(right)[:, 10].all()
    above, below = box(0, 0, 40, 7.5), box(0, 7.5, 40, 30)
    assert not mask(above)[7].any()
    assert mask(below)[7].all()


def test_holes_and_what_fills_them_share_an_edge_through_centres() -> None:
    hole = Polygon([(10.5, 5.5), (25.5, 5.5), (18.5, 20.5)])
    ring = Polygon(box(0, 0, 40, 30).exterior.coords, [hole.exterior.coords])
    assert (times_taken([ring, hole]) == 1).all()


def test_an_edge_that_one_side_divides_and_the_other_does_not_has_no_seam() -> None:
    """Tools drop points that lie on a line; the points of both sides then differ."""
    whole = Polygon([(0, 0), (40, 0), (40, 30)])
    halves = [
        Polygon([(0, 0), (20, 15), (0, 30)]),
        Polygon([(20, 15), (40, 30), (0, 30)]),
    ]
    assert (times_taken([whole, *halves]) == 1).all()


def doubled_area(triangle: list[list[float]]) -> Fraction:
    (ax, ay), (bx, by), (cx, cy) = (map(Fraction, point) for point in triangle)
    return abs((bx - ax) * (cy - ay) - (cx - ax) * (by - ay))


_WHOLE = st.integers(0, 30)
_HALVES = st.integers(0, 60).map(lambda value: value / 2)
_ANY = st.floats(0, 30, allow_nan=False, width=32).map(float)


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(*(st.lists(st.tuples(one, one), max_size=9) for one in (_WHOLE, _HALVES, _ANY))),
)
def test_triangles_that_make_up_a_rectangle_share_out_its_pixels(
    points: list[tuple[float, float]],
) -> None:
    corners = [(0.0, 0.0), (30.0, 0.0), (0.0, 30.0), (30.0, 30.0)]
    all_points = np.array(sorted({*corners, *((float(x), float(y)) for x, y in points)}))
    found = Delaunay(all_points)
    # Qhull leaves needles out where points nearly lie on a line; then it is no partition.
    if sum(map(doubled_area, all_points[found.simplices].tolist())) != 1800:
        return
    parts = [Polygon(all_points[one]) for one in found.simplices]
    assert (times_taken(parts, (30, 30)) == 1).all()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_strips_cut_across_at_halves_share_out_the_pixels(data: st.DataObject) -> None:
    """Each strip has slanted cuts of its own, so that points of one lie on edges of others."""
    levels = sorted({0.0, 30.0, *data.draw(st.lists(_HALVES, max_size=4))})
    parts = []
    for top, bottom in itertools.pairwise(levels):
        cuts = sorted(data.draw(st.lists(st.tuples(_HALVES, _HALVES), max_size=3)))
        uppers = [0.0, *sorted(one for one, _ in cuts), 40.0]
        lowers = [0.0, *sorted(one for _, one in cuts), 40.0]
        for (a, b), (c, d) in zip(
            itertools.pairwise(uppers), itertools.pairwise(lowers), strict=True
        ):
            ring = Polygon([(a, top), (b, top), (d, bottom), (c, bottom)])
            if ring.area > 0:
                parts.append(ring)
    assert (times_taken(parts) == 1).all()


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(_ANY, _ANY), min_size=3, max_size=9, unique=True))
def test_any_outline_holds_what_shapely_says_away_from_its_edge(
    points: list[tuple[float, float]],
) -> None:
    drawn = shapely.make_valid(Polygon(points))
    y, x = np.mgrid[:30, :40] + 0.5
    sure = shapely.distance(Polygon(points).exterior, shapely.points(x, y)) > 1e-6
    assert (mask(drawn) == shapely.contains_xy(drawn, x, y))[sure].all()


def test_nothing_and_what_lies_outside_have_no_pixels() -> None:
    for where in (Polygon(), box(50, 50, 60, 60), box(-9, -9, 0, 0), MultiPolygon()):
        assert not mask(where).any()
    assert mask(box(-5, -5, 3, 2)).sum() == 6
    assert mask(MultiPolygon([box(0, 0, 1, 1), box(3, 3, 5, 5)])).sum() == 5
