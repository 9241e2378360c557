"""Intervals that hold what they promise: of new dishes, not of more fields of the same dishes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.doubt.interval import conformal_factor, interval_about


def alone(scores: list[float]) -> dict[str, list[float]]:
    return {f"dish {i}": [score] for i, score in enumerate(scores)}


@pytest.mark.parametrize(("dishes", "finite"), [(0, False), (8, False), (9, True), (30, True)])
def test_fewer_than_nine_dishes_give_no_finite_interval(dishes: int, finite: bool) -> None:
    """With eight the next error is the largest of nine with a chance above one in ten."""
    assert (conformal_factor(alone([1.0] * dishes)) is not None) is finite


@pytest.mark.parametrize(("dishes", "expected"), [(9, 9.0), (19, 18.0), (99, 90.0)])
def test_the_factor_is_the_score_at_its_place(dishes: int, expected: float) -> None:
    """The (n + 1) * 0.9 th of n scores, counted from the smallest (split conformal prediction)."""
    assert conformal_factor(alone([float(i + 1) for i in range(dishes)])) == expected


def test_many_fields_of_few_dishes_are_still_few_dishes() -> None:
    fields = {f"dish {i}": [0.1] * 100 for i in range(8)}
    assert conformal_factor(fields) is None


def test_a_dish_counts_once_however_many_fields_it_has() -> None:
    """Else the one dish that was photographed most often would set the interval of all."""
    dishes = alone([1.0] * 19)
    assert conformal_factor({**dishes, "often": [9.0] * 500}) == 1.0


def test_an_error_without_bound_is_no_factor() -> None:
    assert conformal_factor(alone([1.0] * 7 + [float("inf")] * 3)) is None


@given(st.permutations(range(12)))
def test_the_order_of_dishes_does_not_matter(order: list[int]) -> None:
    scores = {f"dish {i}": [0.1 * i, 0.3 * (11 - i)] for i in range(12)}
    mixed = {name: scores[name] for name in (f"dish {i}" for i in order)}
    assert conformal_factor(mixed) == conformal_factor(scores)


def test_nine_in_ten_fields_of_new_dishes_are_covered() -> None:
    """Fields of a dish err alike, dishes differ: drawn anew 2,000 times, on average 90 %."""
    chance = np.random.default_rng(1)
    covered = []
    for _ in range(2000):
        dishes = {}
        for i in range(12):
            bias = abs(chance.normal(0, 1))
            dishes[f"dish {i}"] = list(bias + abs(chance.normal(0, 0.1, chance.integers(1, 6))))
        factor = conformal_factor(dishes)
        assert factor is not None
        covered.append(abs(chance.normal(0, 1)) + abs(chance.normal(0, 0.1)) <= factor)
    assert 0.88 <= np.mean(covered) <= 0.96


@given(st.floats(0, 1), st.floats(0, 5))
def test_an_interval_holds_its_fraction_and_stays_within_nothing_and_all(
    fraction: float, half: float
) -> None:
    low, high = interval_about(fraction, half)
    assert 0 <= low <= fraction <= high <= 1
