"""What counts as familiar: near what was learnt from, whatever the order and number of rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.doubt.bank import Bank, Family, Span, nearest, upper


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def alike(seed: int, count: int, towards: int) -> np.ndarray:
    """Rows of length 1 that differ a little, in three directions of their own."""
    chance = np.random.default_rng(seed)
    rows = np.zeros((count, 24))
    rows[:, towards] = 1
    rows[:, 3:6] += 0.1 * chance.normal(size=(count, 3))
    return unit(rows + 0.002 * chance.normal(size=rows.shape)).astype(np.float16)


def bank(order: np.ndarray | None = None) -> Bank:
    rows, kinds = alike(0, 40, 0), np.repeat([0, 1], 20).astype(np.int16)
    if order is not None:
        rows, kinds = rows[order], kinds[order]
    other = Family(alike(1, 30, 1), np.full(30, 2, dtype=np.int16), 0.3, 0.03, 0.1, 0.5)
    return Bank([Family(rows, kinds, 0.3, 0.03, 0.1, 0.5), other])


def test_what_was_learnt_from_is_familiar_and_what_is_like_it() -> None:
    held = alike(7, 20, 0).astype(np.float32)
    assert all(bank().place(one).strangeness <= 1 for one in held)
    assert {bank().place(one).kind for one in held} <= {0, 1}


def test_what_points_elsewhere_is_not() -> None:
    for place in (2, 8, 23):
        foreign = alike(7, 1, place)[0].astype(np.float32)
        assert bank().place(foreign).strangeness > 1


def test_a_little_of_something_new_is_seen_beside_much_that_varies() -> None:
    """Within the usual distance, but in a direction in which nothing learnt ever differed."""
    odd = alike(7, 1, 0)[0].astype(np.float32)
    odd[15] += 0.1
    found = unit(odd)
    family = bank().families[0]
    assert nearest(found, family.vectors, family.kinds)[0] < family.near
    assert bank().place(found).strangeness > 1


def test_each_family_has_its_own_kinds() -> None:
    assert bank().place(alike(9, 1, 1)[0].astype(np.float32)).kind == 2


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(40)))
def test_the_order_of_the_rows_does_not_matter(order: list[int]) -> None:
    image = alike(3, 1, 0)[0].astype(np.float32)
    mixed, plain = bank(np.array(order)).place(image), bank().place(image)
    assert mixed.kind == plain.kind
    assert mixed.strangeness == pytest.approx(plain.strangeness, rel=1e-6)


def test_with_fewer_rows_than_neighbours_the_farthest_counts() -> None:
    rows = np.eye(4, dtype=np.float16)[:2]
    far, kind = nearest(np.eye(4, dtype=np.float32)[0], rows, np.array([0, 1]), 3)
    assert far == pytest.approx(np.sqrt(2), rel=1e-3)
    assert kind == 0


def test_nothing_is_left_of_what_lies_in_the_directions() -> None:
    rows = alike(0, 40, 0)
    inside = rows.astype(np.float64).mean(axis=0)
    assert Span(rows).left_of(inside) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.9, 0.0), ([3.0], 0.9, 3.0), ([1.0, 2.0, 3.0], 0.5, 2.0), ([1.0, float("inf")], 0.9, 1)],
)
def test_limits_are_counted_from_what_is_finite(
    values: list[float], share: float, expected: float
) -> None:
    assert upper(values, share) == expected
