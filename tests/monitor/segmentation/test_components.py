import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.segmentation.colonies import find_colonies, find_regions
from monitor.segmentation.components import Components, filling, number_cells, runs_of


def ragged(seed, shape=(60, 70)):
    """Components of all kinds: webs, specks, rings, some cut by the edge."""
    chance = np.random.default_rng(seed)
    smooth = chance.normal(size=shape).astype(np.float32)
    smooth = cv2.GaussianBlur(smooth, (0, 0), float(chance.uniform(0.3, 4)))
    limits = np.quantile(smooth, sorted(chance.uniform(0, 1, 3)))
    return np.choose(np.digitize(smooth, limits), [0, 1, 2, 255 * chance.integers(2)]).astype(
        np.uint8
    )


def spot(rows, columns):
    return (rows[:, None] * 7 + columns[None, :] * 3) % 11 / 11


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 1500))
def test_components_are_the_same_however_a_map_is_cut_into_strips(seed, strip_pixels):
    labels = ragged(seed)
    whole, cut = Components(labels), Components(labels, strip_pixels=strip_pixels)
    colonies = find_colonies(whole, min_area_px=3)
    assert find_colonies(cut, min_area_px=3) == colonies
    regions = find_regions(whole, spot, min_area_px=1, colonies=colonies)
    assert find_regions(cut, spot, min_area_px=1, colonies=colonies) == regions
    (many, of_many), (one, of_one) = (
        number_cells(labels, most=50, strip_pixels=pixels) for pixels in (strip_pixels, labels.size)
    )
    assert (of_many[many] == of_one[one]).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_components_are_those_that_opencv_measures(seed):
    labels = ragged(seed)
    cells = ((labels == 1) | (labels == 2)).astype(np.uint8)
    total, components, stats, centroids = cv2.connectedComponentsWithStats(cells, connectivity=8)
    colonies = find_colonies(labels, min_area_px=1)
    found, by_size = number_cells(labels)
    numbers = by_size[found]
    assert len(colonies) == total - 1
    for colony in colonies:
        (other,) = np.unique(components[numbers == colony.label])
        left, top, width, height, area = stats[other]
        assert (colony.area_px, colony.bounds) == (area, (top, left, top + height, left + width))
        assert colony.centroid == pytest.approx(tuple(centroids[other][::-1]))
        assert colony.differentiated_px == (labels[components == other] == 2).sum()


def test_the_component_of_a_box_is_told_from_a_larger_one_in_its_bay():
    mask = np.zeros((40, 40), bool)
    mask[0], mask[-1], mask[:, 0] = True, True, True
    mask[0, -1] = mask[-1, -1] = True
    mask[5:35, 5:40] = True
    assert filling(mask).sum() == 40 + 40 + 38


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 2000))
def test_a_region_drawn_coarsely_keeps_its_pick_point_inside_and_its_outline_close(seed, box_px):
    labels = ragged(seed)
    coarse = find_regions(labels, spot, min_area_px=1, largest_box_px=box_px)
    for region, fine in zip(coarse, find_regions(labels, spot, min_area_px=1), strict=True):
        row, column = (int(value) for value in region.pick_point)
        assert labels[row, column] == 2
        assert region.area_px == fine.area_px
        assert region.inscribed_radius_px <= fine.inscribed_radius_px + 1e-3
        assert len(region.polygon) >= 3


def test_an_empty_map_has_no_components():
    components = Components(np.zeros((50, 40), np.uint8), strip_pixels=400)
    assert (components.cells.total, components.differentiated.total) == (0, 0)
    assert find_colonies(components, min_area_px=1) == ()
    assert find_regions(components, spot, min_area_px=1) == ()


def test_runs_are_the_stretches_of_each_row():
    mask = np.array([[1, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0]], bool)
    rows, starts, ends = runs_of(mask)
    assert list(zip(rows.tolist(), starts.tolist(), ends.tolist(), strict=True)) == [
        (0, 0, 2), (0, 3, 4), (2, 0, 4), (3, 1, 2),
    ]  # fmt: skip
    assert all(len(one) == 0 for one in runs_of(np.zeros((3, 4), bool)))
