"""One scale for images that were taken alike and do not say theirs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from model.scale import (
    CANDIDATE_SIZES_UM,
    ENOUGH,
    LARGEST_UM,
    LEAST_UM,
    USUAL_GRAIN_UM,
    ScaleEstimate,
    ScaleEvidence,
    estimate_scale,
    grain_px,
    kept_or_new,
)
from model.setups import Setup, by_setup, magnification_in

SIDE_PX = 900.0


def surest_at(um: float, depth: float = 0.3, *, grain_px: float | None = None) -> ScaleEvidence:
    """An image at which the network is surest where it is taken for `um`."""
    doubts = (min(1.0, depth * math.log(size / um) ** 2) for size in CANDIDATE_SIZES_UM)
    return ScaleEvidence(tuple(doubts), SIDE_PX, grain_px)


def saying_nothing(grain_px: float | None = None) -> ScaleEvidence:
    """An image that looks the same to the network at any scale, such as an empty one."""
    return ScaleEvidence((0.1,) * len(CANDIDATE_SIZES_UM), SIDE_PX, grain_px)


@pytest.mark.parametrize("um", [0.65, 1.0, 1.6, 2.9, 4.2])
def test_the_size_at_which_images_look_familiar_is_found(um: float) -> None:
    found = estimate_scale([surest_at(um, 2.0)] * 5)
    assert found.um == pytest.approx(um, rel=0.12)


def test_several_images_outvote_one_that_misleads() -> None:
    """Of seven fields of one microscope each for itself was taken for 1.75 to 4.4 um/px."""
    found = estimate_scale([*[surest_at(2.9)] * 6, surest_at(0.6)])
    assert found.um == pytest.approx(2.9, rel=0.3)


def test_an_image_that_shows_nothing_changes_nothing() -> None:
    alone = estimate_scale([surest_at(3.0, 1.0)] * 2)
    joined = estimate_scale([*[surest_at(3.0, 1.0)] * 2, saying_nothing()])
    assert joined.um == pytest.approx(alone.um, rel=0.1)


def test_where_the_network_cannot_tell_the_grain_of_cells_does() -> None:
    fine = estimate_scale([saying_nothing(grain_px=4.0)] * 3)
    coarse = estimate_scale([saying_nothing(grain_px=12.0)] * 3)
    assert coarse.um < fine.um
    assert fine.um == pytest.approx(USUAL_GRAIN_UM / 4, rel=0.4)


@given(st.lists(st.floats(0.05, 50.0), min_size=1, max_size=8), st.floats(1.0, 1e5))
def test_whatever_images_say_the_size_is_one_that_an_image_was_read_at(
    sizes: list[float], side_px: float
) -> None:
    evidence = [
        ScaleEvidence(surest_at(size, grain_px=None).doubts, side_px, None) for size in sizes
    ]
    found = estimate_scale(evidence)
    assert LEAST_UM <= found.low_um <= found.um <= found.high_um <= LARGEST_UM + 0.01
    assert found.images == len(sizes)


@given(st.permutations([surest_at(um) for um in (0.7, 1.5, 2.2, 2.8, 4.0)]))
def test_the_order_of_images_does_not_matter(evidence: list[ScaleEvidence]) -> None:
    assert estimate_scale(evidence) == estimate_scale(sorted(evidence, key=lambda e: e.doubts))


def test_without_images_there_is_no_estimate() -> None:
    with pytest.raises(ValueError, match="without an image"):
        estimate_scale([])


@pytest.mark.parametrize(
    ("estimate", "steady"),
    [
        (ScaleEstimate(2.0, 1.9, 2.1, ENOUGH), True),
        (ScaleEstimate(2.0, 1.9, 2.1, ENOUGH - 1), False),
        (ScaleEstimate(2.0, 1.5, 2.1, ENOUGH), False),
        (ScaleEstimate(2.0, 2.0, 2.4, 12), False),
        (ScaleEstimate(2.0, 2.0, 2.0, 1), False),
    ],
)
def test_an_estimate_is_steady_where_no_image_moves_it(
    estimate: ScaleEstimate, steady: bool
) -> None:
    assert estimate.is_steady is steady


@pytest.mark.parametrize(
    ("before", "um", "after"),
    [(None, 2.0, 2.0), (1.9, 2.0, 1.9), (2.2, 2.0, 2.2), (1.6, 2.0, 2.0), (4.0, 2.0, 2.0)],
)
def test_an_estimate_that_moves_little_is_kept(
    before: float | None, um: float, after: float
) -> None:
    """Each change has earlier captures measured once more."""
    assert kept_or_new(before, ScaleEstimate(um, um, um, 6)) == after


@pytest.mark.parametrize("wavelength", [4.0, 8.0, 16.0])
def test_the_grain_of_a_grating_is_its_wavelength(wavelength: float) -> None:
    columns = np.arange(600)
    grating = np.tile(128 + 50 * np.sin(2 * np.pi * columns / wavelength), (400, 1))
    assert grain_px(grating.astype(np.uint8)) == pytest.approx(wavelength, rel=0.1)


def test_the_grain_grows_with_the_picture() -> None:
    random = np.random.default_rng(3).normal(size=(600, 600))
    found = [grain_px(gaussian_filter(random, sigma)) for sigma in (1.5, 3.0)]
    assert found[0] is not None and found[1] is not None
    assert found[1] / found[0] == pytest.approx(2.0, rel=0.2)


@pytest.mark.parametrize(
    "image",
    [np.zeros((64, 64), np.uint8), np.full((3, 900), 7, np.uint16), np.full((50, 50), np.nan)],
)
def test_a_flat_image_has_no_grain(image: np.ndarray) -> None:
    assert grain_px(image) is None


@pytest.mark.parametrize(
    ("name", "magnification"),
    [
        ("aics-34-62_D1_10x.jpg", "10x"),
        ("aics-34-62_D1_4x", "4x"),
        ("well B2 20X.tif", "20x"),
        ("P1-1.25x-3.tif", "1.25x"),
        ("010x_3.png", "10x"),
        ("4x_4X.png", "4x"),
        ("bin2x2_3.png", ""),
        ("x10.png", ""),
        ("4x_10x.png", ""),
        ("0x.png", ""),
        ("field_0412.tif", ""),
        ("hex10xyz.tif", ""),
        ("/plates/4x/field_1.tif", ""),
    ],
)
def test_a_name_says_its_objective(name: str, magnification: str) -> None:
    assert magnification_in(name) == magnification


def test_images_of_one_camera_and_objective_belong_together() -> None:
    """Two objectives of one imager differ by their names, or by nothing that can be told."""
    names = {
        "a_4x": (900, 900),
        "b_10x": (900, 900),
        "c_4x": (896, 898),
        "d": (900, 900),
        "e": (2048, 2048),
        "f": (1800, 1800),
        "g": (470, 2048),
    }
    setups = [Setup.of(name, shape) for name, shape in names.items()]
    assert by_setup(setups) == [[0, 2], [1], [3], [4], [5], [6]]


def test_no_images_make_no_setups() -> None:
    assert by_setup([]) == []
