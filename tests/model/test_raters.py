"""Two raters and a model: all three comparisons over the same pixels, with the right numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.metrics import Confusion
from model.raters import RatedField, RaterAgreement, fraction_difference, rated


def halves(first: int, second: int, side: int = 10) -> NDArray[np.uint8]:
    labels = np.full((side, side), first, np.uint8)
    labels[:, side // 2 :] = second
    return labels


def drawn(seed: int, wrong: float, side: int = 40) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A map, and one that differs from it in a share of the pixels."""
    chance = np.random.default_rng(seed)
    one = chance.integers(0, 3, (side, side)).astype(np.uint8)
    other = np.where(chance.random(one.shape) < wrong, (one + 1) % 3, one).astype(np.uint8)
    return one, other


def test_the_three_comparisons_are_over_the_very_same_pixels() -> None:
    """Else the model would be compared with one rater where that one was alone, which is easier or
    harder than where both looked.
    """
    first, second, found = halves(0, 2), halves(0, 1), halves(0, 1)
    first[0], second[1], found[2] = 255, 255, 255
    one = rated("a", first, second, found)
    for maps in (one.between_raters, one.model_and_first, one.model_and_second):
        assert maps.counts.sum() == 70
    assert one.between_raters.counts[2, 1] == 35
    assert one.model_and_second.counts.tolist() == [[35, 0, 0], [0, 35, 0], [0, 0, 0]]
    assert one.compared_share == pytest.approx(0.8)
    assert one.fractions == (1.0, 0.0, 0.0)


def test_what_both_raters_did_not_tell_is_no_agreement() -> None:
    nothing = np.full((10, 10), 255, np.uint8)
    document = RaterAgreement((rated("a", nothing, nothing, halves(0, 1)),)).to_json()
    assert document["pixels"] == 0
    assert document["between_raters"]["mean_jaccard"] is None
    assert document["between_raters"]["kappa"] is None
    assert document["fields"][0]["between_raters"]["fraction_difference"] is None
    json.dumps(document, allow_nan=False)


def test_maps_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="a: label maps of"):
        rated("a", halves(0, 1), halves(0, 1, 12), halves(0, 1))


@pytest.mark.parametrize(
    ("counts", "difference"),
    [
        ([[9, 0, 0], [0, 0, 0], [0, 0, 0]], None),  # neither sees cells
        ([[0, 0, 9], [0, 0, 0], [0, 0, 0]], 1.0),  # cells, all differentiated, by one of them only
        ([[0, 9, 0], [0, 0, 0], [0, 0, 0]], 0.0),  # healthy cells by one of them only
        ([[0, 0, 0], [0, 5, 5], [0, 0, 10]], 0.25),
        ([[7, 0, 0], [0, 5, 0], [0, 0, 5]], 0.0),
    ],
)
def test_the_difference_of_two_fractions(counts: list[list[int]], difference: float | None) -> None:
    found = fraction_difference(Confusion(np.array(counts)))
    assert (None if np.isnan(found) else found) == difference


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=9, max_size=9))
def test_raters_can_be_exchanged(counts: list[int]) -> None:
    """Neither is the truth: agreement is the same whoever is called the first."""
    one = Confusion(np.array(counts).reshape(3, 3))
    other = Confusion(one.counts.T)
    for measure in ("mean_jaccard", "kappa"):
        assert getattr(one, measure) == pytest.approx(getattr(other, measure), nan_ok=True)
    assert fraction_difference(one) == pytest.approx(fraction_difference(other), nan_ok=True)


def agreement(model_wrong: float, images: int = 12) -> RaterAgreement:
    """Two raters who differ in a fifth of the pixels, and a model that differs from the first."""
    fields: list[RatedField] = []
    for seed in range(images):
        first, second = drawn(seed, 0.2)
        _, found = drawn(seed, model_wrong)
        fields.append(rated(str(seed), first, second, found))
    return RaterAgreement(tuple(fields), ("left out",))


def test_a_model_that_differs_less_than_the_raters_is_ahead_of_them() -> None:
    document = agreement(0.05).to_json()
    assert document["images"] == 12
    assert document["labelled_by_one_only"] == ["left out"]
    low, high = document["model_and_first"]["ahead_of_raters_interval"]
    assert 0 < low < document["model_and_first"]["ahead_of_raters"] < high
    between = document["between_raters"]
    low, high = between["mean_jaccard_interval"]
    assert low < between["mean_jaccard"] < high
    assert between["mean_jaccard"] == pytest.approx(0.8 / 1.2, abs=0.02)
    assert between["kappa"] == pytest.approx(0.7, abs=0.02)
    assert between["kappa_by_class"]["differentiated"] == pytest.approx(0.7, abs=0.03)
    for name, (least, most) in between["jaccard_interval"].items():
        assert least < between["jaccard"][name] < most


def test_a_model_that_differs_more_is_behind_them() -> None:
    low, high = agreement(0.5).to_json()["model_and_first"]["ahead_of_raters_interval"]
    assert low < high < 0


def test_one_image_says_nothing_of_chance() -> None:
    document = agreement(0.1, images=1).to_json()
    for pair in ("between_raters", "model_and_first", "model_and_second"):
        assert document[pair]["mean_jaccard_interval"] == [None, None]
        assert document[pair]["kappa_interval"] == [None, None]
    assert document["model_and_first"]["ahead_of_raters_interval"] == [None, None]
    json.dumps(document, allow_nan=False)
