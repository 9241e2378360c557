"""The arms learn, and their maps lie where the picture's things lie."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as functional

from model.comparison.arms import ARMS, Task, centre_loss, config_of, grids, shifted
from model.comparison.networks import FullyConvolutional, pyramid_loss
from model.comparison.sets import mosaic, standardised
from model.dataset import TrainingField
from model.metrics import confusion

SMALL = {"widths": (8, 12, 16), "context_channels": 16}


def disc(row: float, column: float, side: int = 160) -> TrainingField:
    """A bright disc on grain."""
    rows, columns = np.mgrid[:side, :side]
    inside = (rows - row) ** 2 + (columns - column) ** 2 < 45**2
    grain = np.random.default_rng(3).normal(0, 0.3, (side, side))
    return TrainingField("disc", standardised(inside * 2.0 + grain), inside.astype(np.uint8))


@pytest.mark.parametrize("stride_px", [4, 8])
@pytest.mark.parametrize("arm", ["patch", "fcn", "pmf", "pyramid", "pmf-alone"])
def test_each_arm_finds_a_disc_where_it_is(arm: str, stride_px: int) -> None:
    """An offset of a few pixels anywhere in an arm would decide the comparison."""
    torch.set_num_threads(1)
    task = Task(classes=2, window_px=48, stride_px=stride_px, cpu_s=1.5, seed=0, **SMALL)
    label, steps = ARMS[arm]([disc(80, 80), disc(60, 100)], task)
    there = disc(95, 70)
    found = label(np.asarray(there.flat, dtype=np.float32))
    assert steps > 5
    assert found.sum(axis=0) == pytest.approx(1, abs=1e-3)
    said = found.argmax(axis=0).astype(np.uint8)
    moments, true = cv2.moments(said, binaryImage=True), cv2.moments(there.labels, binaryImage=True)
    assert moments["m01"] / moments["m00"] == pytest.approx(true["m01"] / true["m00"], abs=2.5)
    assert moments["m10"] / moments["m00"] == pytest.approx(true["m10"] / true["m00"], abs=2.5)
    assert confusion(there.labels, said, 2).mean_jaccard > 0.75


@pytest.mark.parametrize(
    ("window_px", "finest_px", "expected"),
    [(64, 8, (1, 2, 4, 8)), (96, 8, (1, 3, 6, 12)), (48, 8, (1, 3, 6)), (64, 4, (1, 2, 4, 8, 16))],
)
def test_grids_halve_from_the_finest(
    window_px: int, finest_px: int, expected: tuple[int, ...]
) -> None:
    assert grids(window_px, finest_px) == expected


@pytest.mark.parametrize("shape", [(101, 77), (64, 64), (130, 55)])
def test_four_shifted_passes_keep_a_picture_in_its_place(shape: tuple[int, int]) -> None:
    """Each pass is cut and padded differently; together they must not move anything."""
    config = config_of(Task(2, 48, 8, 1.0, 0, **SMALL), (1,), (1,))
    ramp = np.add.outer(np.arange(shape[0]) * 1.0, np.arange(shape[1]) * 3.0).astype(np.float32)
    border = 16

    def means(image: torch.Tensor) -> torch.Tensor:
        windows = config.windows
        rows, columns = (windows.covered_px(windows.positions(n)) for n in image.shape[-2:])
        cut = image[..., border : rows - border, border : columns - border]
        return functional.avg_pool2d(cut, 8).repeat(1, 2, 1, 1)

    found = shifted(means, border, config)(ramp)
    inner = (slice(8, -8), slice(8, -8))
    assert found[0][inner] == pytest.approx(ramp[inner], abs=0.3)  # 0.1 px


def test_patch_classification_looks_at_the_centre_pixel_only() -> None:
    config = config_of(Task(2, 48, 8, 1.0, 0, **SMALL), (1,), (1,))
    labels = torch.full((1, 64, 64), 255, dtype=torch.uint8)
    labels[0, 24, 32] = 1
    logits = torch.zeros((1, 1, 2, 3, 3))
    logits[0, 0, 1, 0, 1] = 3.0
    expected = functional.cross_entropy(torch.tensor([[0.0, 3.0]]), torch.tensor([1]))
    assert centre_loss(logits, labels, config) == pytest.approx(float(expected))


def test_the_pyramid_is_best_at_the_true_pmfs_and_never_counts_the_unknown() -> None:
    labels = torch.randint(0, 3, (2, 16, 16), dtype=torch.uint8)
    labels[0, :4] = 255
    whole = functional.one_hot(labels.long().clamp(max=3), 4)[..., :3].permute(0, 3, 1, 2).float()
    levels = []
    for side in (8, 8, 4, 2, 1):
        shares = functional.avg_pool2d(whole, side)
        levels.append(torch.log(shares / shares.sum(dim=1, keepdim=True).clamp_min(1e-6) + 1e-9))
    best = pyramid_loss(levels, labels)
    worse = pyramid_loss([scores + torch.randn_like(scores) for scores in levels], labels)
    assert best < worse
    moved = [scores.clone() for scores in levels]
    moved[-1][0, :, 0] += torch.tensor([9.0, -9.0, 0.0])[:, None]
    assert pyramid_loss(moved, labels) == pytest.approx(float(best))


def test_scores_of_the_fully_convolutional_arm_cover_the_windows_middles() -> None:
    config = config_of(Task(3, 64, 8, 1.0, 0, **SMALL), (1,), (1,))
    network = FullyConvolutional(config).eval()
    scores = network(torch.zeros(1, 1, 128, 96))
    positions = (config.windows.positions(128), config.windows.positions(96))
    assert scores.shape == (1, 3, positions[0] * 8, positions[1] * 8)
    assert network.border_px == (64 - 8) // 2


def test_a_mosaic_is_the_same_for_a_seed_and_says_which_texture_is_where() -> None:
    textures = [np.full((400, 330), value, dtype=np.float32) for value in (-1.0, 0.0, 2.0)]
    one, same = (mosaic("m", textures, [4]) for _ in range(2))
    assert (one.labels == same.labels).all()
    means = [float(one.flat[one.labels == value].mean()) for value in range(3)]
    assert means == sorted(means)
    assert float(one.flat[one.labels == 1].std()) == pytest.approx(0, abs=1e-5)
