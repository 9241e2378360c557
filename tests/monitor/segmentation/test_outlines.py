"""Outlines with their holes, against the pixels that they are drawn around."""

import cv2
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from shapely.geometry import Polygon

from monitor.segmentation.outlines import MAX_HOLES, MAX_POLYGON_POINTS, outline_of

masks = arrays.arrays(bool, st.tuples(st.integers(1, 20), st.integers(1, 20)))


def as_polygon(outline):
    return Polygon(outline.shell, outline.holes)


def largest_component(mask):
    count, components, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), 8)
    return components == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])) if count > 1 else None


def count_holes(mask):
    """Components of what is not set, joined over sides only, but for the one around it all."""
    around = np.pad(~mask, 1, constant_values=True)
    return cv2.connectedComponents(around.astype(np.uint8), connectivity=4)[0] - 2


def centres_in(polygon, shape):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return shapely.contains_xy(polygon, rows, columns)


@settings(deadline=None, max_examples=200)
@given(masks)
def test_any_shape_has_a_valid_outline_with_all_its_holes_near_its_pixels(mask):
    """Also where pixels touch at a corner, and where a hole does with what is outside."""
    component = largest_component(mask)
    if component is None:
        return
    polygon = as_polygon(outline_of(component))
    assert polygon.is_valid, shapely.is_valid_reason(polygon)
    assert len(polygon.interiors) == count_holes(component)
    wrong = centres_in(polygon, component.shape) != component
    rows, columns = np.nonzero(wrong)
    away = shapely.distance(shapely.points(rows.astype(float), columns), polygon.boundary)
    assert (away <= 0.75).all()


SMALL = {
    "a dot": ["#"],
    "a dot with a hole": ["###", "#.#", "###"],
    "a hole that touches the outside at a corner": ["###.", "#.#.", "###.", "...#"],
    "pixels around a hole that touch at corners only": [".#.", "#.#", ".#."],
    "two holes that touch at a corner": ["####", "#.##", "##.#", "####"],
    "a diagonal": ["#..", ".#.", "..#"],
    "a wall of one pixel": ["#######", "#.....#", "#.....#", "#######"],
    "in a bay": ["###", "#.#", "#.#"],
}


@pytest.mark.parametrize("name", SMALL)
def test_the_outline_of_what_is_small_is_exact(name):
    mask = np.array([[letter == "#" for letter in row] for row in SMALL[name]])
    polygon = as_polygon(outline_of(mask))
    assert polygon.is_valid, shapely.is_valid_reason(polygon)
    assert (centres_in(polygon, mask.shape) == mask).all()
    assert polygon.area == pytest.approx(mask.sum(), abs=0.04 * mask.sum())
    assert len(polygon.interiors) == count_holes(mask)


def ring(outer, inner, size=800):
    rows, columns = np.ogrid[:size, :size]
    away = np.hypot(rows - size / 2, columns - size / 2)
    return (away <= outer) & (away >= inner)


def test_a_ring_keeps_its_hole_and_its_area():
    mask = ring(300, 150)
    outline = outline_of(mask)
    (hole,) = outline.holes
    assert Polygon(hole).area == pytest.approx(np.pi * 150**2, rel=0.01)
    assert as_polygon(outline).area == pytest.approx(mask.sum(), rel=0.002)
    assert len(outline.shell) < 200


def test_holes_come_largest_first_and_an_island_in_one_is_not_of_the_outline():
    mask = ring(300, 150)
    mask[100:300, 395:400] = True
    mask[150:160, 390:410] = False
    mask |= ring(60, 0)
    outline = outline_of(mask)
    areas = [Polygon(hole).area for hole in outline.holes]
    assert areas == sorted(areas, reverse=True)
    assert not as_polygon(outline).contains(shapely.Point(400, 400))


def test_the_place_of_the_box_and_the_size_of_its_squares_are_counted_in():
    mask = np.array([[True, True], [True, True]])
    polygon = as_polygon(outline_of(mask, (10, 20), factor=3))
    assert polygon.bounds == (9.5, 19.5, 15.5, 25.5)


@pytest.mark.parametrize("size", [300, 1500])
def test_of_a_sponge_the_largest_holes_are_kept(size):
    """Thousands of pinholes would make a record of nothing else."""
    mask = np.random.default_rng(1).random((size, size)) < 0.9
    mask[40:80, 50:90] = False
    outline = outline_of(mask)
    polygon = as_polygon(outline)
    assert polygon.is_valid
    assert len(outline.holes) <= MAX_HOLES
    assert not polygon.contains(shapely.Point(60, 70))
    assert max(map(len, (outline.shell, *outline.holes))) <= MAX_POLYGON_POINTS


@pytest.mark.parametrize("seed", range(3))
def test_a_ragged_region_covers_the_same_area(seed):
    coarse = np.random.default_rng(seed).normal(size=(15, 15)).astype(np.float32)
    smooth = cv2.resize(coarse, (300, 300), interpolation=cv2.INTER_CUBIC)
    component = largest_component(smooth > -0.3)
    polygon = as_polygon(outline_of(component))
    assert polygon.is_valid
    assert polygon.area == pytest.approx(component.sum(), rel=0.005)
    assert (centres_in(polygon, component.shape) != component).mean() < 0.01
