"""The method: what a pmf is, what counts, and that the fast forms equal the slow ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.classes import NOT_DIFFERENTIATED
from model.pmf import (
    Windows,
    cell_pmfs,
    cell_pmfs_slow,
    one_hot,
    pmf_loss,
    votes,
    votes_slow,
    voting_cells,
)
from tests.model.voters import of_voters

SHAPES = [
    Windows(16, 4, (1, 2, 4)),
    Windows(16, 2, (1, 2, 8)),
    Windows(24, 4, (1, 2, 3)),
    Windows(24, 6, (2, 4)),
    Windows(12, 3, (1, 2, 4)),
    Windows(16, 8, (1, 4, 8)),
]
windows_strategy = st.sampled_from(SHAPES)
seeds = st.integers(0, 2**31)


def random_labels(seed: int, shape: tuple[int, int]) -> np.ndarray:
    chance = np.random.default_rng(seed)
    labels = chance.integers(0, 3, shape).astype(np.uint8)
    labels[chance.random(shape) < 0.3] = 255
    top, left = chance.integers(0, shape[0]), chance.integers(0, shape[1])
    labels[top : top + 14, left : left + 14] = 255
    return labels


@settings(max_examples=25, deadline=None)
@given(windows_strategy, seeds, st.integers(0, 14), st.integers(0, 14))
def test_targets_by_pooling_equal_counting_pixel_by_pixel(
    windows: Windows, seed: int, more_rows: int, more_columns: int
) -> None:
    labels = random_labels(seed, (windows.size_px + more_rows, windows.size_px + more_columns))
    for grid in windows.grids:
        pmfs, weight = cell_pmfs(torch.from_numpy(labels)[None], windows, grid)
        slow_pmfs, slow_weight = cell_pmfs_slow(labels, windows, grid)
        np.testing.assert_allclose(pmfs[0].numpy(), slow_pmfs, atol=1e-5)
        np.testing.assert_allclose(weight[0].numpy(), slow_weight, atol=1e-6)


def test_unknown_pixels_never_count() -> None:
    """A cell with one labelled pixel is wholly of that class, with that pixel's weight."""
    windows = Windows(8, 4, (1, 2))
    labels = np.full((8, 8), 255, dtype=np.uint8)
    labels[1, 1] = 2
    pmfs, weight = cell_pmfs(torch.from_numpy(labels)[None], windows, 2)
    assert pmfs[0, 0, :, 0, 0].tolist() == [0.0, 0.0, 1.0]
    assert weight[0, :, 0, 0].tolist() == [1 / 16, 0.0, 0.0, 0.0]
    assert one_hot(torch.from_numpy(labels)[None]).sum() == 1


def test_cells_without_a_label_weigh_nothing() -> None:
    """Whatever the network says where nothing is labelled, the loss stays the same."""
    windows = Windows(8, 4, (2,))
    labels = torch.zeros((1, 8, 8), dtype=torch.uint8)
    labels[:, :4, :4] = 255
    logits = torch.randn((1, 4, 3, 1, 1), generator=torch.Generator().manual_seed(0))
    changed = logits.clone()
    changed[:, 0] += torch.tensor([5.0, -3.0, 1.0])[:, None, None]
    before = pmf_loss({2: logits}, labels, windows, {2: 1.0})
    assert torch.equal(before, pmf_loss({2: changed}, labels, windows, {2: 1.0}))
    changed[:, 1] += torch.tensor([5.0, -3.0, 1.0])[:, None, None]
    assert not torch.isclose(before, pmf_loss({2: changed}, labels, windows, {2: 1.0}))


def test_loss_of_a_crop_without_any_label_is_zero() -> None:
    labels = torch.full((1, 8, 8), 255, dtype=torch.uint8)
    logits = {1: torch.ones((1, 1, 3, 1, 1), requires_grad=True)}
    loss = pmf_loss(logits, labels, Windows(8, 8, (1,)), {1: 1.0})
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0.0


def test_loss_is_least_at_the_labels_own_pmfs() -> None:
    windows = Windows(16, 8, (2,))
    labels = torch.from_numpy(random_labels(3, (32, 32)))[None]
    pmfs, _ = cell_pmfs(labels, windows, 2)
    best = pmf_loss({2: pmfs.clamp_min(1e-9).log()}, labels, windows, {2: 1.0})
    for seed in range(5):
        other = torch.randn(pmfs.shape, generator=torch.Generator().manual_seed(seed))
        assert pmf_loss({2: other}, labels, windows, {2: 1.0}) > best


def loss_pixel_by_pixel(
    logits: torch.Tensor, labels: np.ndarray, windows: Windows, grid: int
) -> float:
    """The loss as it is told: each known pixel of each cell asks for the class, or classes, that it
    may be of."""
    chances = torch.softmax(logits[0].double(), dim=1).numpy()
    cell, surprise, weight = windows.cell_px(grid), 0.0, 0
    for y in range(windows.positions(labels.shape[0])):
        for x in range(windows.positions(labels.shape[1])):
            for i in range(grid):
                for j in range(grid):
                    top, left = y * windows.stride_px + i * cell, x * windows.stride_px + j * cell
                    said = chances[i * grid + j, :, y, x]
                    for value in labels[top : top + cell, left : left + cell].flat:
                        if value == 255:
                            continue
                        weight += 1
                        surprise -= np.log(said[:2].sum() if value == 254 else said[value])
    return surprise / max(weight, 1)


@settings(max_examples=15, deadline=None)
@given(windows_strategy, seeds, st.booleans())
def test_the_loss_is_the_mean_over_known_pixels_of_what_each_may_be(
    windows: Windows, seed: int, partly: bool
) -> None:
    """With and without pixels that are only known not to be differentiated."""
    chance = np.random.default_rng(seed)
    shape = (windows.size_px + windows.stride_px, windows.size_px)
    choices = np.array([0, 1, 2, 255, 254] if partly else [0, 1, 2, 255], np.uint8)
    labels = choices[chance.integers(0, len(choices), shape)]
    grid = windows.grids[-1]
    rows, columns = (windows.positions(length) for length in shape)
    logits = torch.from_numpy(chance.normal(0, 3, (1, grid * grid, 3, rows, columns)))
    fast = pmf_loss({grid: logits}, torch.from_numpy(labels)[None], windows, {grid: 1.0})
    slow = loss_pixel_by_pixel(logits, labels, windows, grid)
    np.testing.assert_allclose(fast.item(), slow, rtol=1e-5)


@settings(max_examples=15, deadline=None)
@given(windows_strategy, seeds)
def test_the_loss_of_some_cells_is_that_of_targets_worked_out_for_them_alone(
    windows: Windows, seed: int
) -> None:
    chance = np.random.default_rng(seed)
    side = windows.size_px + windows.stride_px
    labels = torch.from_numpy(random_labels(seed, (side, side)))[None]
    grid = windows.grids[-1]
    cells = range(1, grid - 1) if grid > 2 else range(1, 2)
    pmfs, weight = cell_pmfs(labels, windows, grid)
    rows, columns = pmfs.shape[-2:]
    inner = slice(cells.start, cells.stop)
    targets = pmfs.view(1, grid, grid, 3, rows, columns)[:, inner, inner].flatten(1, 2)
    known = weight.view(1, grid, grid, rows, columns)[:, inner, inner].flatten(1, 2)
    logits = torch.from_numpy(chance.normal(0, 3, targets.shape)).float()
    surprise = -(targets * logits.log_softmax(dim=2)).sum(dim=2)
    expected = (surprise * known).sum() / known.sum().clamp_min(1e-6)
    found = pmf_loss({grid: logits}, labels, windows, {grid: 1.0}, {grid: cells})
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("odds", [0.01, 0.5, 1.0, 30.0])
def test_not_differentiated_says_nothing_of_background_against_undifferentiated(
    odds: float,
) -> None:
    """Once the differentiated class is ruled out, there is nothing left to learn from it."""
    windows = Windows(8, 8, (1,))
    labels = torch.full((1, 8, 8), NOT_DIFFERENTIATED, dtype=torch.uint8)

    def slope_at(differentiated: float) -> torch.Tensor:
        logits = torch.tensor([1.0, odds, differentiated]).log().reshape(1, 1, 3, 1, 1)
        logits.requires_grad_()
        loss = pmf_loss({1: logits}, labels, windows, {1: 1.0})
        return torch.autograd.grad(loss, logits)[0].flatten()

    assert slope_at(1e-9).abs().max() < 1e-6
    pull = slope_at(2.0)
    assert pull[2] > 0.05
    assert pull[:2].max() < 0


def test_the_loss_of_partly_known_cells_is_least_at_their_shares() -> None:
    """A quarter differentiated, a quarter background, half not differentiated: of the half nothing
    is learnt but that it is background (the only other class that is seen)."""
    windows = Windows(8, 8, (1,))
    labels = torch.full((1, 8, 8), NOT_DIFFERENTIATED, dtype=torch.uint8)
    labels[:, :4, :4], labels[:, :4, 4:] = 2, 0
    best = torch.tensor([0.75, 1e-9, 0.25]).log().reshape(1, 1, 3, 1, 1)
    least = pmf_loss({1: best}, labels, windows, {1: 1.0})
    for seed in range(20):
        other = torch.randn(best.shape, generator=torch.Generator().manual_seed(seed))
        assert pmf_loss({1: other}, labels, windows, {1: 1.0}) > least


@pytest.mark.parametrize("certain", [0, 1, 2])
def test_a_network_that_is_certain_gives_a_finite_loss(certain: int) -> None:
    windows = Windows(8, 8, (1,))
    labels = torch.full((1, 8, 8), NOT_DIFFERENTIATED, dtype=torch.uint8)
    logits = torch.zeros((1, 1, 3, 1, 1))
    logits[:, :, certain] = 200.0
    logits.requires_grad_()
    loss = pmf_loss({1: logits}, labels, windows, {1: 1.0})
    loss.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    np.testing.assert_allclose(loss.item(), 200 - np.log(2) if certain == 2 else 0.0, atol=1e-3)


def test_not_differentiated_is_no_class_of_a_pmf() -> None:
    labels = torch.full((1, 8, 8), NOT_DIFFERENTIATED, dtype=torch.uint8)
    pmfs, weight = cell_pmfs(labels, Windows(8, 8, (1,)), 1)
    assert not pmfs.any()
    assert not weight.any()
    assert not one_hot(labels).any()


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_one_cell_of_one_class_is_patch_classification(seed: int) -> None:
    """r = 1 on windows of a single class: the loss is the usual cross-entropy of a patch."""
    windows = Windows(8, 8, (1,))
    chance = np.random.default_rng(seed)
    classes = torch.from_numpy(chance.integers(0, 3, (2, 3, 4)))
    labels = classes.repeat_interleave(8, 1).repeat_interleave(8, 2).to(torch.uint8)
    logits = torch.from_numpy(chance.normal(size=(2, 1, 3, 3, 4)).astype(np.float32))
    ours = pmf_loss({1: logits}, labels, windows, {1: 1.0})
    usual = torch.nn.functional.cross_entropy(logits[:, 0], classes)
    torch.testing.assert_close(ours, usual)


@settings(max_examples=20, deadline=None)
@given(windows_strategy, seeds, st.integers(1, 5), st.integers(1, 5), st.booleans())
def test_votes_by_shifts_equal_votes_window_by_window(
    windows: Windows, seed: int, rows: int, columns: int, with_margin: bool
) -> None:
    chance = torch.Generator().manual_seed(seed)
    pmfs = {
        grid: torch.softmax(torch.randn((1, grid**2, 3, rows, columns), generator=chance), dim=2)
        for grid in windows.grids[1:]
    }
    margin = windows.cell_px(windows.grids[-1]) if with_margin else 0
    chosen = {grid: of_voters(values, windows, grid, margin) for grid, values in pmfs.items()}
    total, count = votes(chosen, windows, margin)
    slow_total, slow_count = votes_slow(pmfs, windows, margin)
    block = windows.block_px(list(pmfs))
    grown = np.ones((block, block))
    np.testing.assert_array_equal(np.kron(count.numpy(), grown), slow_count)
    voted = slow_count > 0
    mean = np.stack([np.kron(c, grown) for c in total[0].numpy()])[:, voted] / slow_count[voted]
    np.testing.assert_allclose(mean, slow_total[:, voted] / slow_count[voted], atol=1e-5)
    np.testing.assert_allclose(mean.sum(axis=0), 1.0, atol=1e-5)


def test_each_pixel_deep_inside_gets_a_vote_from_every_window_that_holds_it() -> None:
    windows = Windows(16, 4, (4,))
    _, count = votes({4: torch.full((1, 16, 3, 9, 9), 1 / 3)}, windows)
    assert count[6, 6] == 16
    assert count[0, 0] == 1


def test_votes_of_cells_that_have_none_are_refused() -> None:
    with pytest.raises(ValueError, match="2\\^2 voting cells, not 16"):
        votes({4: torch.zeros((1, 16, 3, 2, 2))}, Windows(16, 4, (4,)), 4)


def test_a_margin_keeps_the_outer_cells_from_voting() -> None:
    windows = Windows(16, 4, (1, 2, 4))
    assert voting_cells(windows, 4, 4) == [1, 2]
    assert voting_cells(windows, 4, 0) == [0, 1, 2, 3]
    assert voting_cells(windows, 1, 4) == []


@pytest.mark.parametrize(
    ("size", "stride", "grids"),
    [(16, 4, (3,)), (24, 8, (4,)), (8, 16, (1,)), (0, 1, (1,)), (16, 4, ())],
    ids=[
        "grid does not divide",
        "gaps between cells",
        "gaps between windows",
        "no window",
        "no grid",
    ],
)
def test_windows_that_cannot_be_cut_are_refused(
    size: int, stride: int, grids: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="Windows"):
        Windows(size, stride, grids)
