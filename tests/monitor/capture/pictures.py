"""Pictures drawn for the tests, with what they show known."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

DATA = Path(
    os.environ.get("COLONYWATCH_DATA", Path(__file__).parents[3] / ".." / "shared" / "data")
)


def real_files(*folders: str) -> list[Path]:
    """Real captures of some folders; the test is skipped where they are not to be had."""
    found = [
        path
        for folder in folders
        for path in sorted((DATA / folder).rglob("*"))
        if path.suffix in (".tif", ".tiff", ".png", ".jpg") and "labels" not in path.parts
    ]
    if not found:
        pytest.skip(f"no real captures in {DATA}; set COLONYWATCH_DATA to their folder")
    return found


def empty_field(shape=(600, 700), *, level=130.0, noise=1.5, seed=0) -> np.ndarray:
    """A dish without cells: uneven light and a camera's noise, uint8."""
    rows, columns = np.indices(shape, dtype=np.float32)
    light = level * (1 - 0.1 * ((rows / shape[0] - 0.4) ** 2 + (columns / shape[1] - 0.6) ** 2))
    light += np.random.default_rng(seed).normal(0, noise, shape)
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)


def colonies(shape=(600, 700), *, count=12, seed=0, noise=1.5, **light) -> np.ndarray:
    """Dark discs with a bright halo and a grain inside, on an empty field, uint8."""
    chance = np.random.default_rng(seed)
    picture = empty_field(shape, noise=0.0, seed=seed, **light).astype(np.float32)
    for _ in range(count):
        middle = int(chance.integers(0, shape[1])), int(chance.integers(0, shape[0]))
        radius = int(chance.integers(15, 50))
        disc = np.zeros(shape, np.uint8)
        cv2.circle(disc, middle, radius, 1, -1)
        picture[disc == 1] += -8 + chance.normal(0, 6, int(disc.sum()))
        cv2.circle(picture, middle, radius + 1, float(picture.mean() + 25), 2)
    picture += chance.normal(0, noise, shape)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def round_well(side=900, *, centre=(455.0, 430.0), radius=340.0, seed=0, outside=0.0) -> np.ndarray:
    """A stitched whole well: cells inside, dark outside, a shaded rim on one side, uint8."""
    shape = (side, side)
    picture = colonies(shape, count=40, seed=seed).astype(np.float32)
    rows, columns = np.indices(shape, dtype=np.float32)
    row, column = rows - centre[0], columns - centre[1]
    distance = np.hypot(row, column)
    band = 4.0 + 12.0 * (1 + column / np.maximum(distance, 1)) / 2
    shade = np.clip((radius - distance) / band, 0, 1) ** 0.5
    picture *= shade
    picture[distance >= radius] = 0
    picture[: side // 2, side // 2 :] *= 0.94
    picture += outside * np.abs(np.random.default_rng(seed).normal(0, 1, shape))
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)
