import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from monitor.culture import Targeting, ToolKind
from monitor.segmentation.colonies import find_colonies, find_regions
from monitor.segmentation.covering import LEAST_NEW
from monitor.segmentation.targeting import aim_at

TARGETING = Targeting("tip-100", ToolKind.TIP, 100.0, 120.0, 10.0, 20.0, 30.0)
NEEDED_UM = 90.0  # half of 120, and 10, and 20
NEEDED_OF_GOOD_UM = 100.0  # half of 120, and 10, and 30


def aims(labels, *, pixel_size_um=2.0, undifferentiated=None, targeting=TARGETING, **changes):
    """Of a label map that the network is sure of."""
    probabilities = np.stack([(labels == value).astype(np.float32) for value in range(3)])
    if undifferentiated is not None:
        probabilities[1] = undifferentiated
    colonies = find_colonies(labels, min_area_px=1)
    regions = regions_of(labels)
    values = {"min_probability": 0.0, "min_region_um2": 1.0, "whole_colony_above": None} | changes
    return aim_at(
        labels,
        probabilities,
        regions,
        colonies,
        pixel_size_um=pixel_size_um,
        targeting=targeting,
        **values,
    )


def regions_of(labels):
    return find_regions(
        labels,
        (labels == 2).astype(np.float32),
        min_area_px=1,
        colonies=find_colonies(labels, min_area_px=1),
    )


def blank(rows=400, columns=400):
    return np.zeros((rows, columns), np.uint8)


def disc_at(shape, row, column, radius):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def test_a_round_region_is_hit_once_in_its_middle():
    labels = blank()
    cv2.circle(labels, (210, 190), 48, 2, -1)
    (aim,) = aims(labels)
    (point,) = aim.points
    assert (point.row, point.column) == pytest.approx((190, 210), abs=2.1)
    # A bound: what it says is there, and little more is lost than a step of the grid.
    assert NEEDED_UM <= point.clearance_px * 2.0 <= 97.0
    assert aim.covered_px * 4 == pytest.approx(aim.removable_px * 4, rel=0.2)


def test_a_crescent_is_never_hit_at_its_centroid():
    labels = blank()
    cv2.circle(labels, (200, 200), 150, 2, -1)
    cv2.circle(labels, (260, 200), 100, 0, -1)
    (aim,) = aims(labels)
    assert aim.points
    for point in aim.points:
        assert labels[disc_at(labels.shape, point.row, point.column, 45.0)].min() == 2


def test_a_region_too_thin_for_the_tool_is_refused_and_says_what_it_needs():
    labels = blank()
    labels[100:300, 100:180] = 2  # 160 um across
    (aim,) = aims(labels)
    assert (aim.points, aim.refused) == ((), "too thin")
    assert aim.refused_text == "too thin for tip-100 (needs 180 µm across)"


def test_good_cells_are_kept_away_from_and_the_reason_names_them():
    labels = blank()
    labels[100:300, 100:194] = 2  # wide enough for 90 um, not for 100 um on both sides
    labels[100:300, 194:400] = 1
    labels[100:300, 0:100] = 1
    (aim,) = aims(labels)
    assert aim.refused == "too close to good cells"
    assert "undifferentiated cells" in aim.refused_text


def test_what_the_picture_does_not_show_may_hold_good_cells():
    labels = blank()
    labels[100:300, 0:90] = 2
    (aim,) = aims(labels)
    assert aim.refused == "at the edge"
    labels[100:300, 0:130] = 2
    (aim,) = aims(labels)
    assert min(point.column for point in aim.points) * 2.0 >= NEEDED_OF_GOOD_UM - 2.0


def test_a_place_that_may_be_undifferentiated_is_not_touched():
    labels = blank()
    labels[100:300, 50:350] = 2
    doubt = np.zeros(labels.shape, np.float32)
    doubt[180:220, 180:220] = 0.3
    (free,) = aims(labels, undifferentiated=doubt)
    (careful,) = aims(labels, undifferentiated=doubt, max_undifferentiated=0.1)

    def touched(aim):
        return any(
            disc_at(labels.shape, point.row, point.column, 30.0)[180:220, 180:220].any()
            for point in aim.points
        )

    assert touched(free)
    assert not touched(careful)
    (nowhere,) = aims(
        labels, undifferentiated=np.full(labels.shape, 0.3, np.float32), max_undifferentiated=0.1
    )
    assert nowhere.refused == "too uncertain"


def test_a_large_region_is_covered_with_little_overlap():
    labels = blank(700, 700)
    labels[60:640, 60:640] = 2
    (aim,) = aims(labels)
    assert aim.covered_px / aim.removable_px > 0.93
    removed = len(aim.points) * np.pi * 25.0**2
    # Hexagons of discs overlap by a fifth; borders cost some more.
    assert removed / aim.covered_px < 1.45


def test_a_long_thin_band_is_followed_along_its_middle():
    """Its allowed points are a line: no lattice fits there."""
    labels = blank(200, 900)
    labels[50:146, 20:880] = 2
    (aim,) = aims(labels)
    assert len(aim.points) > 8
    assert aim.covered_px / aim.removable_px > 0.8


def test_a_region_beside_the_edge_and_not_cut_by_it_is_too_thin():
    """What the edge hides cannot make it wider."""
    labels = blank()
    labels[3:20, 100:300] = 2
    (beside,) = aims(labels)
    labels[:3, 100:300] = 2
    (cut,) = aims(labels)
    assert (beside.refused, cut.refused) == ("too thin", "at the edge")


def test_a_colony_past_saving_goes_whole_and_one_that_the_edge_cuts_does_not():
    labels = blank()
    cv2.circle(labels, (200, 200), 120, 1, -1)
    cv2.circle(labels, (200, 200), 110, 2, -1)
    (aim,) = aims(labels, whole_colony_above=0.7)
    assert (aim.whole_colony, aim.area_px) == (True, int((labels > 0).sum()))
    assert aim.points
    (aim,) = aims(labels[:, 100:], whole_colony_above=0.7)
    assert not aim.whole_colony


def test_regions_below_the_limits_are_not_aimed_at():
    labels = blank()
    cv2.circle(labels, (200, 200), 60, 2, -1)
    assert aims(labels, min_probability=1.1) == ()
    assert aims(labels, min_region_um2=1e6) == ()
    assert aims(blank()) == ()


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.7, 1.3, 2.0, 4.1]))
def test_no_hit_comes_nearer_to_anything_than_it_says(seed, pixel_size_um):
    """On any shape and at any pixel size; measured on the label map's own pixels."""
    chance = np.random.default_rng(seed)
    small = chance.normal(size=(9, 9)).astype(np.float32)
    smooth = cv2.resize(small, (180, 150), interpolation=cv2.INTER_CUBIC)
    labels = np.where(smooth > 0.1, 2, np.where(smooth < -0.9, 1, 0)).astype(np.uint8)
    tool = Targeting("spot", ToolKind.LASER, 30.0, 36.0, 4.0, 6.0, 12.0)
    for aim in aims(labels, pixel_size_um=pixel_size_um, targeting=tool):
        inside = np.zeros(labels.shape, np.uint8)
        outline = np.array(aim.polygon)[:, ::-1].round().astype(np.int32)
        cv2.fillPoly(inside, [outline], 1)
        for point in aim.points:
            assert point.clearance_px * pixel_size_um >= tool.clearance_um - 1e-3
            rows, columns = np.nonzero(labels != 2)
            # To the nearest corner of a pixel that is none.
            away = np.hypot(
                np.maximum(np.abs(rows - point.row) - 0.5, 0),
                np.maximum(np.abs(columns - point.column) - 0.5, 0),
            )
            assert away.min() >= point.clearance_px - 1e-3
            rows, columns = np.nonzero(labels == 1)
            if len(rows):
                away = np.hypot(
                    np.maximum(np.abs(rows - point.row) - 0.5, 0),
                    np.maximum(np.abs(columns - point.column) - 0.5, 0),
                )
                assert away.min() * pixel_size_um >= tool.clearance_of_good_um - 1e-3
        assert aim.covered_px <= aim.removable_px
        assert (aim.refused is None) == bool(aim.points)
        assert LEAST_NEW > 0


def away_from(mask):
    """Steps from each pixel's middle to the nearest corner of a set one, over the whole picture."""
    if not mask.any():
        return np.full(mask.shape, np.inf)
    return np.maximum(ndimage.distance_transform_edt(~mask) - np.sqrt(0.5), 0)


@settings(deadline=None, max_examples=40)
@example(seed=295643, tool_um=10.0, at_most=1.0)
@given(st.integers(0, 2**32 - 1), st.sampled_from([10.0, 24.0, 60.0]), st.sampled_from([1.0, 0.35]))
def test_a_component_is_aimed_at_just_where_maps_of_the_whole_picture_allow_it(
    seed, tool_um, at_most
):
    """Surroundings are looked at only as far as they can matter; nothing must be lost by that."""
    chance = np.random.default_rng(seed)
    shape = (110, 130)
    smooth = [
        cv2.resize(chance.normal(size=(7, 8)).astype(np.float32), shape[::-1], interpolation=2)
        for _ in range(2)
    ]
    labels = np.where(smooth[0] > 0.1, 2, np.where(smooth[0] < -0.9, 1, 0)).astype(np.uint8)
    doubt = ((smooth[1] + 1) / 4).clip(0, 0.9)
    tool = Targeting("tool", ToolKind.LASER, tool_um, tool_um * 1.2, 3.0, 4.0, 20.0)
    px = 2.0 if tool_um < 60 else 2.5  # so coarse that each pixel is a square of the grid
    edge = 60
    _, components = cv2.connectedComponents((labels == 2).view(np.uint8), connectivity=8)
    inside = {region.label: region.pick_point for region in regions_of(labels)}
    for aim in aims(
        labels,
        pixel_size_um=px,
        targeting=tool,
        undifferentiated=doubt,
        max_undifferentiated=at_most,
    ):
        row, column = (int(value) for value in inside[aim.label])
        component = components == components[row, column]
        good = np.pad((labels == 1) & ~component, edge)
        unseen = np.pad(np.zeros(shape, bool), edge, constant_values=True)
        allowed = (
            (away_from(np.pad(~component, edge, constant_values=True)) * px >= tool.clearance_um)
            & (away_from(good | unseen) * px >= tool.clearance_of_good_um)
            & (away_from(np.pad(doubt >= at_most, edge)) * px >= tool_um * 0.6 + 3.0)
        )[edge:-edge, edge:-edge]
        assert allowed.any() == (aim.refused is None)
        assert all(allowed[int(point.row), int(point.column)] for point in aim.points)


def test_hits_are_laid_within_what_the_scan_before_showed_too():
    """Leaving out afterwards the hits that reach onto the fresh rim would leave gaps behind it."""
    labels, before = blank(), blank()
    labels[40:360, 40:360] = 2
    before[40:360, 40:230] = 2
    (aim,) = aims(labels, before=[before])
    assert aim.points
    for point in aim.points:
        reach = disc_at(labels.shape, point.row, point.column, 70 / 2.0)
        assert before[reach].min() == 2
    allowed = ndimage.distance_transform_edt(np.pad(labels, 60))[60:-60, 60:-60] >= 45
    allowed &= ndimage.distance_transform_edt(np.pad(before, 60))[60:-60, 60:-60] >= 35
    removable = ndimage.distance_transform_edt(~allowed) <= 25
    covered = np.zeros(labels.shape, bool)
    for point in aim.points:
        covered |= disc_at(labels.shape, point.row, point.column, 25)
    assert (covered & removable).sum() >= 0.85 * removable.sum()


def test_what_no_earlier_scan_showed_is_refused_and_says_so():
    labels = blank()
    labels[40:360, 40:360] = 2
    (aim,) = aims(labels, before=[labels, np.full_like(labels, 255)])
    assert (aim.points, aim.refused) == ((), "not seen before")


def test_a_colony_that_goes_whole_must_have_been_cells_before():
    labels, before = blank(), blank()
    labels[40:360, 40:360] = 2
    before[40:360, 40:230] = 1
    (aim,) = aims(labels, before=[before], whole_colony_above=0.5)
    assert aim.whole_colony
    assert aim.points
    for point in aim.points:
        assert before[disc_at(labels.shape, point.row, point.column, 35)].min() == 1
