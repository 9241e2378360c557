"""The measures, on maps for which the right answer is known, traps among them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from model.metrics import (
    BoundaryMatches,
    Confusion,
    bootstrap_interval,
    boundary_matches,
    boundary_tolerance_px,
    class_reliability,
    confusion,
    differentiated_fraction,
    fraction_error,
    paired_bootstrap,
    paired_bootstrap_of_jaccard,
    rank_correlation,
    reliability,
)


def boundary_f_score(truth, labels, tolerance_px=None, **options) -> float:
    return boundary_matches(truth, labels, tolerance_px=tolerance_px, **options).mean_f_score


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


def test_a_value_that_is_no_class_is_refused() -> None:
    with pytest.raises(ValueError, match="a pixel has the value 7"):
        confusion(np.full((2, 2), 7, np.uint8), np.zeros((2, 2), np.uint8))
    assert confusion(np.full((2, 2), 3, np.uint8), halves(3, 3, (2, 2)), 4).counts[3, 3] == 4


# --------------------------------------------------------------------------------- outlines


def edge_at(column: int, side: int = 40) -> np.ndarray:
    labels = np.zeros((side, side), np.uint8)
    labels[:, column:] = 1
    return labels


@pytest.mark.parametrize(
    ("truth", "said", "score"),
    [
        (edge_at(20), edge_at(20), 1.0),
        (edge_at(20), edge_at(23), 1.0),
        (edge_at(20), edge_at(25), 0.0),
        (edge_at(20), np.zeros((40, 40), np.uint8), 0.0),
        (np.zeros((40, 40), np.uint8), edge_at(20), 0.0),
        (np.zeros((40, 40), np.uint8), np.ones((40, 40), np.uint8), None),
    ],
    ids=["equal", "near enough", "too far", "none said", "none there", "no border at all"],
)
def test_an_outline_is_found_where_it_lies_within_the_tolerance(
    truth: np.ndarray, said: np.ndarray, score: float | None
) -> None:
    found = boundary_f_score(truth, said, 3.0)
    assert np.isnan(found) if score is None else found == score


def test_half_an_outline_too_much_costs_precision_alone() -> None:
    """A second edge far from the true one, as long as it: precision 1/2, recall 1, F 2/3."""
    said = edge_at(10)
    said[:, 30:] = 0
    matches = boundary_matches(edge_at(10), said, tolerance_px=2)
    assert matches.said_right.tolist() == [40, 40, 0]
    assert matches.said.tolist() == [80, 80, 0]
    assert matches.f_score[:2].tolist() == [pytest.approx(2 / 3)] * 2
    assert np.isnan(matches.f_score[2])


def test_a_border_may_run_anywhere_through_the_unknown() -> None:
    """Experts leave the strip along a border open: none is missed there and none is wrong."""
    truth = edge_at(20)
    truth[:, 18:22] = 255
    for column in (18, 20, 22):
        matches = boundary_matches(truth, edge_at(column), tolerance_px=2)
        assert matches.true.sum() == 0
        assert (matches.said == matches.said_right).all()
    assert boundary_matches(truth, edge_at(30), tolerance_px=2).said_right.sum() == 0


def test_an_outline_of_which_nothing_is_known_has_no_score() -> None:
    """A band of unknown all around is how a careful person labels: neither found nor missed."""
    truth = np.zeros((60, 60), dtype=np.uint8)
    truth[20:40, 20:40] = 255
    truth[24:36, 24:36] = 1
    said = np.zeros_like(truth)
    said[22:38, 22:38] = 1
    said[truth == 1] = 1
    shifted = np.roll(said, 3, axis=1)
    assert np.isnan(boundary_f_score(truth, shifted, 4.0, classes=2))
    far = np.zeros_like(truth)
    far[2:8, 2:8] = 1
    assert boundary_f_score(truth, far, 4.0, classes=2) == 0


def test_outlines_are_pooled_over_images() -> None:
    first = boundary_matches(edge_at(20), edge_at(20), tolerance_px=1)
    second = boundary_matches(edge_at(20), edge_at(30), tolerance_px=1)
    assert isinstance(first + second, BoundaryMatches)
    assert (first + second).mean_f_score == 0.5


def test_the_usual_tolerance_is_two_per_cent_of_the_diagonal() -> None:
    assert boundary_tolerance_px((300, 400)) == 10
    assert boundary_tolerance_px((8, 8)) == 1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(1, 6))
def test_the_boundary_score_is_one_for_the_truth_and_symmetric(
    seed: int, tolerance_px: float
) -> None:
    chance = np.random.default_rng(seed)
    first, second = (chance.integers(0, 3, (5, 6)).astype(np.uint8).repeat(6, 0) for _ in "ab")
    one = boundary_f_score(first, second, tolerance_px)
    assert one == pytest.approx(boundary_f_score(second, first, tolerance_px))
    assert 0 <= one <= 1
    assert boundary_f_score(first, first, tolerance_px) == 1


# ------------------------------------------------------------------------------ calibration


def test_every_class_has_its_own_reliability() -> None:
    """Two classes share a region evenly and say so; the third is never there, yet gets 0.2."""
    chance = np.random.default_rng(0)
    truth = chance.integers(0, 2, (300, 300)).astype(np.uint8)
    said = np.empty((3, 300, 300), np.float32)
    said[:] = np.array([0.5, 0.3, 0.2], np.float32)[:, None, None]
    first, second, third = (
        one.expected_calibration_error for one in class_reliability(truth, said)
    )
    assert first == pytest.approx(0.0, abs=0.01)
    assert second == pytest.approx(0.2, abs=0.01)
    assert third == pytest.approx(0.2, abs=1e-6)


def test_a_reliability_diagram_has_confidence_and_accuracy_by_bin() -> None:
    said = np.array([[[0.9, 0.9, 0.6]], [[0.1, 0.1, 0.4]], [[0, 0, 0]]], np.float32)
    found = reliability(np.array([[0, 1, 0]], np.uint8), said, bins=10)
    assert found.confidence[[6, 9]].tolist() == pytest.approx([0.6, 0.9])
    assert found.accuracy[[6, 9]].tolist() == pytest.approx([1.0, 0.5])
    assert np.isnan(found.accuracy[0])


# ------------------------------------------------------------------- agreement beyond chance


@pytest.mark.parametrize(
    ("counts", "kappa"),
    [
        ([[20, 5, 0], [10, 15, 0], [0, 0, 0]], 0.4),  # 70 % agree, chance gives 50 %
        ([[5, 0, 0], [0, 7, 0], [0, 0, 9]], 1.0),
        ([[25, 25, 0], [25, 25, 0], [0, 0, 0]], 0.0),
        ([[0, 9, 0], [9, 0, 0], [0, 0, 0]], -1.0),
        ([[9, 0, 0], [0, 0, 0], [0, 0, 0]], None),  # nothing else was possible
        ([[0, 0, 0], [0, 0, 0], [0, 0, 0]], None),
    ],
)
def test_kappa_is_agreement_beyond_what_chance_gives(
    counts: list[list[int]], kappa: float | None
) -> None:
    found = Confusion(np.array(counts)).kappa
    assert np.isnan(found) if kappa is None else found == pytest.approx(kappa)


def test_kappa_of_a_class_is_that_of_it_against_all_others() -> None:
    found = Confusion(np.array([[20, 5, 0], [10, 15, 0], [0, 0, 50]])).kappa_by_class
    assert found[2] == pytest.approx(1.0)
    both = Confusion(np.array([[20, 5], [10, 65]])).kappa
    assert found[0] == pytest.approx(both)


def test_kappa_of_many_pixels_does_not_overflow() -> None:
    large = np.array([[20, 5, 0], [10, 15, 0], [0, 0, 0]], np.int64) * 10**9
    assert Confusion(large).kappa == pytest.approx(0.4)


def test_the_interval_may_be_of_another_measure() -> None:
    some = [Confusion(np.array([[20, n, 0], [n, 15, 0], [0, 0, 0]])) for n in range(8)]
    low, high = bootstrap_interval(some, measure=lambda one: one.kappa)
    assert low < Confusion(np.sum([one.counts for one in some], axis=0)).kappa < high


# ------------------------------------------------------------------------------------ chance


def test_a_difference_that_is_always_there_is_clear_of_nought() -> None:
    chance = np.random.default_rng(0)
    mean, low, high = paired_bootstrap(chance.normal(0.1, 0.05, 20), resamples=2000)
    assert 0 < low < mean < high
    mean, low, high = paired_bootstrap(chance.normal(0.0, 0.5, 20), resamples=2000)
    assert low < 0 < high


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    """Of 300 samples of 20 images with a true difference of 0, near 95 % (percentiles: 92 %)."""
    chance = np.random.default_rng(7)
    inside = 0
    for seed in range(300):
        _, low, high = paired_bootstrap(chance.normal(0, 1, 20), resamples=400, seed=seed)
        inside += low <= 0 <= high
    assert 0.88 < inside / 300 < 0.98


def test_one_image_says_nothing_of_chance_and_an_undefined_one_nothing_at_all() -> None:
    assert paired_bootstrap([0.2])[0] == 0.2
    assert np.isnan(paired_bootstrap([0.2])[1])
    assert np.isnan(paired_bootstrap([])[0])
    assert paired_bootstrap([0.1, float("nan"), 0.1]) == pytest.approx((0.1, 0.1, 0.1))


def test_the_pooled_difference_is_paired() -> None:
    """Images differ far more than the methods do: only pairing shows that one is always ahead."""
    chance = np.random.default_rng(3)
    better, worse = [], []
    for _ in range(12):
        truth = chance.integers(0, 3, (60, 60)).astype(np.uint8)
        wrong = chance.random(truth.shape)
        hard = chance.uniform(0.1, 0.9)
        for some, more in ((better, 0.0), (worse, 0.03)):
            some.append(confusion(truth, np.where(wrong < hard + more, (truth + 1) % 3, truth)))
    ahead, low, high = paired_bootstrap_of_jaccard(better, worse, resamples=500)
    assert 0 < low < ahead < high
    with pytest.raises(ValueError, match="12 images against 11"):
        paired_bootstrap_of_jaccard(better, worse[1:])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=30))
def test_rank_correlation_equals_scipys(pairs: list[tuple[int, int]]) -> None:
    first, second = zip(*pairs, strict=True)
    found = rank_correlation(first, second)
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(spearmanr(first, second).statistic, abs=1e-9)


# ----------------------------------------------------------------- only partly known


def partly_known() -> tuple[np.ndarray, np.ndarray]:
    """A quarter of the pixels background, a quarter undifferentiated, half not differentiated; of
    each quarter half is called differentiated."""
    truth = np.repeat(np.array([0, 1, 254, 254], np.uint8), 8).reshape(4, 8)
    found = np.tile(np.array([1, 2], np.uint8), 16).reshape(4, 8)
    return truth, found


def test_pixels_that_are_only_not_differentiated_are_never_scored_as_a_class() -> None:
    truth, found = partly_known()
    assert confusion(truth, found).counts.tolist() == [[0, 4, 4], [0, 4, 4], [0, 0, 0]]
    planes = np.stack([(found == value).astype(np.float32) for value in range(3)])
    assert reliability(truth, planes).counts.sum() == 16
    assert all(one.counts.sum() == 16 for one in class_reliability(truth, planes))
    without = np.where(truth == 254, np.uint8(255), truth)
    for ours, theirs in zip(
        vars(boundary_matches(truth, found)).values(),
        vars(boundary_matches(without, found)).values(),
        strict=True,
    ):
        assert ours.tolist() == theirs.tolist()


def test_a_fraction_is_known_where_nothing_can_be_differentiated() -> None:
    """All of the pixels count then, whoever drew the outlines of a few."""
    truth, found = partly_known()
    assert fraction_error(truth, found) == 0.5
    whole = np.full((4, 8), 254, np.uint8)
    assert fraction_error(whole, found) == 0.5
    assert fraction_error(whole, np.ones((4, 8), np.uint8)) == 0.0
    assert fraction_error(whole, np.zeros((4, 8), np.uint8)) == 0.0
    whole[:2] = 255
    found[:2] = 2
    assert fraction_error(whole, found) == 0.5


def test_a_fraction_with_differentiated_cells_is_of_fully_known_pixels_only() -> None:
    """Else cells that nobody outlined would count on one side alone."""
    truth = np.array([[2, 1, 254, 254]], np.uint8)
    assert fraction_error(truth, np.array([[2, 1, 2, 2]], np.uint8)) == 0.0
    assert fraction_error(truth, np.array([[2, 2, 1, 1]], np.uint8)) == 0.5
