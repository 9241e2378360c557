"""What the simulation burns into pictures: labels are unknown where it lies, and only there."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from model.classes import UNKNOWN
from model.simulation.burnt_in import MARGIN_PX, burn_in
from model.simulation.cells import draw_culture, grown
from model.simulation.fields import simulate_field
from model.simulation.layout import draw_layout
from model.simulation.optics import Optics, draw_optics, photograph

SHAPE = (192, 224)
GREY = 128.5


def blank(shape: tuple[int, int] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    return np.full(shape, GREY, np.float32), np.zeros(shape, np.uint8)


def taken(seed: int, optics: Optics) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    culture = draw_culture(rng)
    tissue = grown(rng, draw_layout(rng, SHAPE, 2.0), culture, 2.0, 0.0)
    return photograph(rng, rng, tissue, culture, optics, 2.0)


@pytest.mark.parametrize("seed", range(40))
def test_labels_are_unknown_exactly_where_it_was_drawn_and_a_margin_around(seed: int) -> None:
    image, labels = blank()
    drawn = burn_in(np.random.default_rng(seed), image, labels, 2.0)
    assert np.array_equal(drawn, image != np.float32(GREY))
    around = np.ones((2 * MARGIN_PX + 1, 2 * MARGIN_PX + 1), np.uint8)
    expected = cv2.dilate(drawn.astype(np.uint8), around) > 0
    assert np.array_equal(labels == UNKNOWN, expected)
    assert 0.0005 < drawn.mean() < 0.35


def test_the_same_chance_draws_the_same() -> None:
    (first, _), (second, _), (other, _) = pictures = blank(), blank(), blank()
    for seed, (image, labels) in zip((4, 4, 5), pictures, strict=True):
        burn_in(np.random.default_rng(seed), image, labels, 1.0)
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("shape", [(32, 32), (32, 400), (400, 32), (61, 57), (700, 900)])
def test_any_shape_and_pixel_size_can_be_drawn_on(shape: tuple[int, int]) -> None:
    """Text that is wider than the picture is cut off, as programs do."""
    for seed in range(25):
        image, labels = blank(shape)
        drawn = burn_in(np.random.default_rng(seed), image, labels, 0.3 + seed)
        assert np.isfinite(image).all()
        assert image.min() >= 0
        assert image.max() <= 255
        assert drawn.any()
        assert not drawn.all()


def test_bars_text_and_arrows_lie_in_every_corner_in_dark_bright_and_grey() -> None:
    places, shades = np.zeros(SHAPE), set()
    for seed in range(80):
        image, labels = blank()
        places += burn_in(np.random.default_rng(seed), image, labels, 2.0)
        values, counts = np.unique(image[image != np.float32(GREY)], return_counts=True)
        most = float(values[counts.argmax()])
        shades.add("dark" if most < 30 else "bright" if most > 225 else "grey")
    height, width = SHAPE[0] // 4, SHAPE[1] // 4
    corners = [
        places[rows, columns].sum()
        for rows in (slice(height), slice(-height, None))
        for columns in (slice(width), slice(-width, None))
    ]
    assert min(corners) > 0
    assert max(corners) == corners[3]
    assert shades == {"dark", "bright", "grey"}


@pytest.mark.parametrize("seed", range(6))
def test_a_picture_with_a_bar_is_the_picture_without_it_elsewhere(seed: int) -> None:
    """Seeds stand for pictures: what is burnt in may move nothing else."""
    optics = replace(
        draw_optics(np.random.default_rng(seed), "phase"),
        bar=False,
        well=False,
        jpeg_quality=0,
        resample=1.0,
        bits=8,
    )
    bare, truth = taken(seed, optics)
    image, labels = taken(seed, replace(optics, bar=True))
    burnt = (labels == UNKNOWN) & (truth != UNKNOWN)
    assert burnt.any()
    assert np.array_equal(image[~burnt], bare[~burnt])
    assert np.array_equal(labels[~burnt], truth[~burnt])


def test_about_an_eighth_of_the_fields_has_something_burnt_in() -> None:
    optics = [draw_optics(np.random.default_rng(seed), "phase") for seed in range(4000)]
    assert 0.08 < np.mean([o.bar for o in optics]) < 0.16


def test_a_field_of_a_seed_with_a_bar_is_the_same_each_time() -> None:
    seed = next(
        seed
        for seed in range(100)
        if (simulate_field(seed, shape=(64, 64)).labels == UNKNOWN).any()
    )
    first, second = (simulate_field(seed, shape=(160, 160)) for _ in range(2))
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.labels, second.labels)
