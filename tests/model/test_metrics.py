"""The measures, on maps for which the right answer is known, traps among them."""

from __future__ import annotations

import numpy as np
import pytest

from model.metrics import (
    Confusion,
    bootstrap_interval,
    confusion,
    differentiated_fraction,
    fraction_error,
    reliability,
)


def halves(left: int, right: int, shape: tuple[int, int] = (4, 6)) -> np.ndarray:
    labels = np.full(shape, left, dtype=np.uint8)
    labels[:, shape[1] // 2 :] = right
    return labels


def test_a_map_of_nothing_but_background_does_not_score() -> None:
    """The trap: an intersection that counts background while the union does not gives 1."""
    truth = halves(0, 2)
    measured = confusion(truth, np.zeros_like(truth))
    assert measured.jaccard[0] == 0.5
    assert measured.jaccard[2] == 0.0
    assert measured.mean_jaccard == 0.25


def test_a_class_that_is_neither_there_nor_said_is_no_score() -> None:
    truth = halves(0, 1)
    measured = confusion(truth, truth)
    assert np.isnan(measured.jaccard[2])
    assert measured.mean_jaccard == 1.0


def test_saying_a_class_that_is_not_there_costs() -> None:
    truth = halves(0, 0)
    assert confusion(truth, halves(0, 2)).mean_jaccard == 0.25


def test_unknown_pixels_are_not_scored() -> None:
    truth = halves(1, 255)
    measured = confusion(truth, halves(1, 2))
    assert measured.counts.sum() == 12
    assert measured.mean_jaccard == 1.0


def test_pixels_outside_the_vessel_are_not_scored() -> None:
    assert confusion(halves(1, 2), halves(1, 255)).counts.sum() == 12


def test_known_areas_give_known_measures() -> None:
    """4 x 6: truth half 0, half 1; one row of the 1s is called 2."""
    truth, said = halves(0, 1), halves(0, 1)
    said[0, 3:] = 2
    measured = confusion(truth, said)
    assert measured.jaccard.tolist() == [1.0, 0.75, 0.0]
    assert measured.dice.tolist() == [1.0, pytest.approx(18 / 21), 0.0]
    assert measured.recall[1] == 0.75
    assert measured.precision[1] == 1.0
    assert measured.precision[2] == 0.0
    assert np.isnan(measured.recall[2])


def test_pixels_are_pooled_over_images_and_not_scores() -> None:
    large, small = halves(0, 1, (10, 10)), halves(0, 1, (2, 2))
    pooled = confusion(large, large) + confusion(small, 1 - small)
    assert pooled.jaccard[0] == pytest.approx(50 / 54)


def test_the_differentiated_fraction_of_an_empty_field_is_undefined() -> None:
    assert differentiated_fraction(np.zeros((3, 3), np.uint8)) is None
    assert fraction_error(np.zeros((3, 3), np.uint8), np.ones((3, 3), np.uint8)) is None


def test_fraction_error_ignores_unknown_pixels() -> None:
    truth, said = halves(1, 2), halves(1, 1)
    assert fraction_error(truth, said) == 0.5
    truth[:, 3:] = 255
    assert fraction_error(truth, said) == 0.0


def test_probabilities_that_are_right_as_often_as_they_say_are_calibrated() -> None:
    chance = np.random.default_rng(0)
    wins = chance.uniform(0.4, 1.0, (200, 200)).astype(np.float32)
    probabilities = np.stack([wins, (1 - wins) * 0.5, (1 - wins) * 0.5])
    truth = np.where(chance.random((200, 200)) < wins, 0, 1).astype(np.uint8)
    assert reliability(truth, probabilities).expected_calibration_error < 0.02
    boast = np.stack([np.ones_like(wins), np.zeros_like(wins), np.zeros_like(wins)])
    assert reliability(truth, boast).expected_calibration_error == pytest.approx(
        (truth == 1).mean(), abs=1e-6
    )


def test_the_interval_holds_the_score_and_shrinks_with_more_images() -> None:
    chance = np.random.default_rng(1)

    def some(number: int) -> list[Confusion]:
        truths = [chance.integers(0, 3, (20, 20)).astype(np.uint8) for _ in range(number)]
        said = [
            np.where(chance.random(t.shape) < chance.uniform(0.5, 1), t, 0).astype(np.uint8)
            for t in truths
        ]
        return [confusion(t, s) for t, s in zip(truths, said, strict=True)]

    few, many = some(8), some(80)
    low, high = bootstrap_interval(few)
    assert low < sum(few[1:], few[0]).mean_jaccard < high
    low_many, high_many = bootstrap_interval(many)
    assert high_many - low_many < high - low


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="must be equal"):
        confusion(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8))
