import cv2
import numpy as np
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from monitor.segmentation.distances import are_far, deepest


def blobs(seed, kind):
    """Masks of all kinds: webs, discs, full rectangles with a few holes."""
    chance = np.random.default_rng(seed)
    shape = tuple(chance.integers(1, 160, 2))
    if kind == "web":
        smooth = cv2.GaussianBlur(
            chance.normal(size=shape).astype(np.float32), (0, 0), float(chance.uniform(0.5, 15))
        )
        return smooth >= np.quantile(smooth, chance.uniform(0, 0.8))
    if kind == "holes":
        return chance.random(shape) < chance.uniform(0.9, 1)
    drawn = np.zeros(shape, np.uint8)
    for _ in range(4):
        row, column, radius = (int(chance.integers(1, 100)) for _ in range(3))
        cv2.circle(drawn, (column, row), radius, 1, -1)
    return drawn > 0


def squared(inside):
    """To the nearest pixel that is not set, by another library: (H, W) whole numbers."""
    return (ndimage.distance_transform_edt(inside) ** 2).round()


kinds = st.sampled_from(["web", "holes", "discs"])


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**32 - 1), kinds)
def test_the_deepest_point_is_the_first_maximum_of_an_exact_map(seed, kind):
    """Measurements name it: a way around the map must not change them."""
    inside = blobs(seed, kind)
    assume(inside.any())
    exact = squared(np.pad(inside, 1))[1:-1, 1:-1]
    radius, row, column = deepest(inside)
    assert round(radius**2) == exact.max()
    assert (row, column) == np.unravel_index(exact.argmax(), exact.shape)


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**32 - 1), kinds, st.floats(0.1, 60.0))
@example(0, "discs", 5.0)
@example(1, "web", float(np.sqrt(50)))
def test_what_is_far_is_what_an_exact_map_says(seed, kind, least):
    """Where the tool may go hangs on it, also where it is close."""
    inside = blobs(seed, kind)
    wanted = np.random.default_rng(seed).random(inside.shape) < 0.7
    if inside.all():
        assert (are_far(inside, wanted, least) == wanted).all()
        return
    sure = ndimage.distance_transform_edt(inside)
    close = np.abs(sure - least) < 1e-4
    assert ((are_far(inside, wanted, least) == (wanted & (sure >= least))) | close).all()
