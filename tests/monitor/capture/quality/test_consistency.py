"""Captures that are unlike the source's earlier ones."""

from __future__ import annotations

import numpy as np
import pytest

from monitor.capture.quality.consistency import ENOUGH, ImageStats, unlike
from monitor.capture.quality.image_quality import judge
from tests.monitor.capture.pictures import colonies, empty_field


def look(picture: np.ndarray) -> ImageStats:
    return ImageStats((picture.shape[0], picture.shape[1]), judge(picture).measures)


def brightfield(seed: int) -> np.ndarray:
    """Cells that are darker than the medium, as in brightfield."""
    picture = empty_field(seed=seed).astype(int)
    chance = np.random.default_rng(seed)
    for _ in range(10 + seed):
        row, column = chance.integers(0, 560), chance.integers(0, 660)
        picture[row : row + 30, column : column + 30] -= chance.integers(20, 70)
    return np.clip(picture, 0, 255).astype(np.uint8)


EARLIER = [look(brightfield(seed)) for seed in range(8)]


@pytest.mark.parametrize(
    ("picture", "doubts"),
    [
        (brightfield(20), ()),
        (np.ascontiguousarray(brightfield(20)[::2, ::2]), ("other-size",)),
        (255 - brightfield(20), ("other-modality",)),
        ((brightfield(20) // 6).astype(np.uint8), ("other-modality",)),
        (255 - brightfield(20)[:500], ("other-size", "other-modality")),
    ],
    ids=["alike", "half the size", "inverted", "as dark as fluorescence", "both"],
)
def test_what_differs_from_the_earlier_ones_is_a_doubt(picture, doubts):
    assert unlike(look(picture), EARLIER) == doubts


def test_a_source_without_a_past_doubts_nothing():
    odd = look(255 - brightfield(20)[:300])
    assert unlike(odd, []) == ()
    assert unlike(odd, EARLIER[: ENOUGH - 1]) == ()


def test_a_dish_that_grows_is_not_another_modality():
    """From an empty field to many colonies the light stays what it was."""
    grown = [look(colonies(count=count, seed=count)) for count in (0, 2, 4, 8, 16, 32, 64)]
    for index, newest in enumerate(grown):
        assert unlike(newest, grown[:index]) == ()


def test_stitched_pictures_have_no_usual_size():
    varied = [
        ImageStats((1887 + step % 3, 1887), {"median": 100.0, "tilt": 0.1}) for step in range(9)
    ]
    assert unlike(ImageStats((1901, 1880), {"median": 100.0, "tilt": 0.1}), varied) == ()


def test_a_change_for_good_becomes_the_usual():
    looks = [ImageStats((100, 100), {"median": 100.0, "tilt": 0.5})] * 10
    new = ImageStats((200, 200), {"median": 100.0, "tilt": -0.5})
    assert unlike(new, looks) == ("other-size", "other-modality")
    assert unlike(new, [*looks[:9], *[new] * 11]) == ()
