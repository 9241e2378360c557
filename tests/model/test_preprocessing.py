"""Before the network: working scale, flat background, even contrast, masks without influence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.preprocessing import at_working_scale, bend, normalise, resample, to_grey, working_shape


def texture(seed: int = 0, shape: tuple[int, int] = (160, 192)) -> np.ndarray:
    chance = np.random.default_rng(seed)
    return chance.normal(0, 1, shape).astype(np.float32)


@pytest.mark.parametrize("gain", [3.0, 50.0, 9000.0], ids=["3 grey levels", "8 bit", "16 bit"])
def test_contrast_and_offset_of_the_camera_do_not_matter(gain: float) -> None:
    plain = normalise(texture() + 20, None, 2.5)
    amplified = ((texture() + 20) * gain).astype(np.float32)
    np.testing.assert_allclose(normalise(amplified, None, 2.5), plain, atol=2e-3)
    np.testing.assert_allclose(normalise(texture() + 50, None, 2.5), plain, atol=2e-3)


def test_slow_shading_goes_and_texture_stays() -> None:
    row, column = np.mgrid[0:160, 0:192]
    shade = (0.04 * row + 0.03 * column).astype(np.float32)
    flat = normalise(texture() + shade + 100, None, 2.5)
    clear = normalise(texture() + 100, None, 2.5)
    middle = (slice(40, 120), slice(48, 144))
    assert np.corrcoef(flat[middle].ravel(), clear[middle].ravel())[0, 1] > 0.99
    assert abs(flat[middle].mean()) < 0.1


def test_a_blank_image_stays_blank() -> None:
    assert np.abs(bend(normalise(np.full((64, 64), 130, np.float32), None, 2.5))).max() == 0


@settings(max_examples=10, deadline=None)
@given(st.floats(-1e4, 1e5), st.integers(0, 2**31))
def test_what_lies_outside_the_vessel_has_no_influence(outside: float, seed: int) -> None:
    image = texture(seed) * 4 + 130
    inside = np.zeros(image.shape, dtype=bool)
    inside[30:120, 40:150] = True
    other = np.where(inside, image, np.float32(outside))
    first, second = (
        normalise(*at_working_scale(picture, (80, 96), inside), 2.5) for picture in (image, other)
    )
    np.testing.assert_allclose(first, second, atol=1e-3)
    assert np.all(first[:10] == 0)


def test_values_that_are_no_numbers_count_as_outside() -> None:
    image = texture() + 5
    image[20:40, 20:40] = np.nan
    flat = normalise(*at_working_scale(image, image.shape), 2.5)
    assert np.isfinite(flat).all()
    assert np.all(flat[22:38, 22:38] == 0)


def test_shrinking_keeps_the_mean_of_each_area() -> None:
    image = texture()
    small = resample(image, (40, 48))
    np.testing.assert_allclose(small, image.reshape(40, 4, 48, 4).mean(axis=(1, 3)), atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "size", "wanted"),
    [
        ((1958, 1958), 1.0, (784, 784)),
        ((470, 472), 2.5, (472, 472)),
        ((3, 2000), 1.0, (8, 800)),
    ],
)
def test_sides_at_the_working_scale_are_multiples_of_the_stride(
    shape: tuple[int, int], size: float, wanted: tuple[int, int]
) -> None:
    assert working_shape(shape, size, 2.5, 8) == wanted


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_colour_becomes_grey(channels: int) -> None:
    image = np.repeat(np.arange(12, dtype=np.uint8).reshape(3, 4, 1), channels, axis=2)
    if channels == 4:
        image[..., 3] = 255
    np.testing.assert_allclose(to_grey(image), np.arange(12).reshape(3, 4), atol=1e-4)


def test_a_stack_of_planes_is_refused() -> None:
    with pytest.raises(ValueError, match="one plane at a time"):
        to_grey(np.zeros((5, 40, 40, 3)))
