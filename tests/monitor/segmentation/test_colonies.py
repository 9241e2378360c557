import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from monitor.culture import FieldAreas
from monitor.segmentation.colonies import find_colonies, find_regions, measure_areas
from monitor.segmentation.outlines import MAX_POLYGON_POINTS

label_maps = arrays.arrays(
    np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24)), elements=st.sampled_from([0, 1, 2])
)


def empty(rows=100, columns=120):
    return np.zeros((rows, columns), np.uint8)


def sure(labels):
    return np.where(labels == 2, 0.9, 0.05).astype(np.float32)


def disc(labels, row, column, radius, value):
    cv2.circle(labels, (column, row), radius, value, -1)


def test_areas_count_each_class_and_leave_out_what_has_none():
    labels = np.array([[0, 0, 1], [2, 2, 255]], np.uint8)
    assert measure_areas(labels) == FieldAreas(2, 1, 2)


def test_a_label_map_with_foreign_values_is_refused():
    with pytest.raises(ValueError, match=r"also \[3\]"):
        measure_areas(np.full((4, 4), 3, np.uint8))


def test_a_field_without_cells_has_areas_but_no_colony_and_no_region():
    labels = empty()
    areas = measure_areas(labels)
    assert (areas.cells_px, areas.differentiated_fraction, areas.confluence) == (0, None, 0.0)
    assert find_colonies(labels, min_area_px=1) == ()
    assert find_regions(labels, sure(labels), min_area_px=1) == ()


def test_colonies_come_largest_first_with_area_share_and_place():
    labels = empty()
    labels[10:20, 10:20] = 1
    labels[40:80, 30:50] = 1
    labels[40:80, 30:35] = 2
    large, small = find_colonies(labels, min_area_px=50)
    assert (large.label, large.area_px, large.differentiated_px) == (1, 800, 200)
    assert large.differentiated_fraction == 0.25
    assert large.bounds == (40, 30, 80, 50)
    assert large.centroid == (59.5, 39.5)
    assert (small.label, small.area_px, small.differentiated_px) == (2, 100, 0)


def test_a_hole_does_not_split_a_colony_nor_count_for_it():
    labels = empty()
    labels[10:30, 10:30] = 1
    labels[15:25, 15:25] = 0
    (ring,) = find_colonies(labels, min_area_px=1)
    assert ring.area_px == 300


def test_components_that_touch_at_a_corner_are_one():
    labels = empty()
    labels[10:20, 10:20] = 1
    labels[20:30, 20:30] = 2
    assert len(find_colonies(labels, min_area_px=1)) == 1


def test_specks_are_no_colonies_and_no_regions():
    labels = empty()
    labels[5, 5] = labels[50, 50] = 2
    labels[10:20, 10:20] = 2
    assert [colony.area_px for colony in find_colonies(labels, min_area_px=2)] == [100]
    assert [region.area_px for region in find_regions(labels, sure(labels), min_area_px=2)] == [100]


def test_the_pick_point_of_a_disc_is_its_middle():
    labels = empty()
    disc(labels, 50, 60, 20, 2)
    (region,) = find_regions(labels, sure(labels), min_area_px=100)
    assert math.dist(region.pick_point, (50, 60)) <= 1.0
    assert region.inscribed_radius_px == pytest.approx(21, abs=1)


@pytest.mark.parametrize("shape", ["crescent", "ring", "horseshoe"])
def test_the_pick_point_lies_inside_where_the_centroid_does_not(shape):
    labels = empty(200, 200)
    disc(labels, 100, 100, 60, 2)
    if shape == "crescent":
        disc(labels, 100, 115, 52, 1)
    elif shape == "ring":
        disc(labels, 100, 100, 45, 1)
    else:
        labels[40:130, 65:135] = 0
    (region,) = find_regions(labels, sure(labels), min_area_px=100)
    rows, columns = np.nonzero(labels == 2)
    assert labels[round(rows.mean()), round(columns.mean())] != 2
    row, column = (int(value) for value in region.pick_point)
    assert labels[row, column] == 2
    assert region.inscribed_radius_px > 5


def test_the_pick_point_keeps_away_from_the_edge_of_the_picture():
    labels = np.full((40, 100), 2, np.uint8)
    (region,) = find_regions(labels, sure(labels), min_area_px=1)
    assert region.inscribed_radius_px == pytest.approx(20)
    assert 19 <= region.pick_point[0] <= 20


def test_the_pick_point_keeps_away_from_pixels_without_a_class():
    labels = np.full((41, 121), 2, np.uint8)
    labels[:, 60:] = 255
    (region,) = find_regions(labels, sure(labels), min_area_px=1)
    assert region.pick_point[1] < 45
    assert region.inscribed_radius_px == pytest.approx(21)


@settings(deadline=None)
@given(labels=label_maps)
def test_the_radius_is_the_distance_to_the_nearest_pixel_outside(labels):
    framed = np.pad(labels, 1)
    for region in find_regions(labels, sure(labels), min_area_px=1):
        row, column = region.pick_point
        assert labels[int(row), int(column)] == 2
        rows, columns = np.nonzero(framed != 2)
        nearest = np.hypot(rows - 1 - row, columns - 1 - column).min()
        assert region.inscribed_radius_px == pytest.approx(nearest, abs=1e-3)


@settings(deadline=None)
@given(labels=label_maps)
def test_colonies_and_regions_add_up_to_the_areas(labels):
    areas = measure_areas(labels)
    colonies = find_colonies(labels, min_area_px=1)
    regions = find_regions(labels, sure(labels), min_area_px=1, colonies=colonies)
    assert sum(colony.area_px for colony in colonies) == areas.cells_px
    assert sum(colony.differentiated_px for colony in colonies) == areas.differentiated_px
    assert sum(region.area_px for region in regions) == areas.differentiated_px
    for colony in colonies:
        own = [region.area_px for region in regions if region.colony == colony.label]
        assert sum(own) == colony.differentiated_px
    assert all(len(region.polygon) >= 3 for region in regions)


def test_a_region_names_its_colony_or_none_where_the_colony_is_a_speck():
    labels = empty()
    labels[10:50, 10:50] = 1
    labels[20:30, 20:30] = 2
    labels[80:85, 80:85] = 2
    colonies = find_colonies(labels, min_area_px=100)
    inner, alone = find_regions(labels, sure(labels), min_area_px=10, colonies=colonies)
    assert (inner.colony, alone.colony) == (1, None)


def test_the_mean_probability_is_taken_inside_the_region_alone():
    labels = empty()
    labels[10:20, 10:20] = 2
    labels[10, 10:15] = 1  # inside the box, outside the region
    probability = np.where(labels == 2, 0.75, 0.1).astype(np.float32)
    (region,) = find_regions(labels, probability, min_area_px=1)
    assert region.mean_probability == pytest.approx(0.75)


def test_the_polygon_follows_the_outline_and_holes_are_filled():
    labels = empty(300, 300)
    disc(labels, 150, 150, 100, 2)
    disc(labels, 150, 150, 30, 1)
    (region,) = find_regions(labels, sure(labels), min_area_px=1)
    radii = [math.dist(point, (150, 150)) for point in region.polygon]
    assert min(radii) > 98.5
    assert max(radii) < 101
    assert 8 <= len(region.polygon) <= 100


def test_the_polygon_stays_short_however_ragged_the_region_is():
    angles = np.linspace(0, 2 * np.pi, 4000, endpoint=False)
    radii = 400 + 40 * np.sin(90 * angles) + 30 * np.sin(211 * angles)
    points = np.stack([500 + radii * np.cos(angles), 500 + radii * np.sin(angles)], axis=1)
    labels = empty(1000, 1000)
    cv2.fillPoly(labels, [points.round().astype(np.int32)], 2)
    region = find_regions(labels, sure(labels), min_area_px=1000)[0]
    assert 3 <= len(region.polygon) <= MAX_POLYGON_POINTS


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("a dot", [(5, 5)]),
        ("a row", [(5, 5), (5, 6), (5, 7)]),
        ("a diagonal", [(5, 5), (6, 6), (7, 7)]),
    ],
)
def test_even_the_thinnest_region_has_an_outline_with_area(name, pixels):
    labels = empty()
    for row, column in pixels:
        labels[row, column] = 2
    (region,) = find_regions(labels, sure(labels), min_area_px=1)
    outline = np.array(region.polygon, np.float32)
    assert len(outline) >= 3
    assert cv2.contourArea(outline) >= len(pixels) * 0.9
    for row, column in pixels:
        assert cv2.pointPolygonTest(outline, (row, column), False) >= 0


def test_probability_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        find_regions(empty(), np.zeros((3, 3), np.float32), min_area_px=1)
