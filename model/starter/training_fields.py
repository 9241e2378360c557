"""Simulated fields as training data: which seeds, at which scale, kept on disk as they are made."""

from __future__ import annotations

import concurrent.futures
import math
import multiprocessing
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.dataset import LabelledImage, TrainingField, prepare
from model.preprocessing import Normalisation
from model.simulation.labelled import FIELD_UM, FIRST_TRAINING_SEED, simulated
from model.starter.progress import say
from model.starter.settings import UM_PER_PIXEL

FIELD_PX: Final = round(FIELD_UM / UM_PER_PIXEL)
"""Side of a simulated field at the working scale: 384."""
TESTED_SEEDS: Final = (1000, 3000)
"""Where the two hundreds of simulated fields begin that the card's scores are of."""
EMPTY_DISHES: Final = 64
EMPTY_SHARE: Final = 0.05


def _simulate_into(job: tuple[int, Path, Path, int, int]) -> int:
    place, flats, labels, seed, count = job
    cv2.setNumThreads(1)
    one = prepare(simulated(seed), UM_PER_PIXEL, Normalisation())
    shape = (count, FIELD_PX, FIELD_PX)
    size = (FIELD_PX, FIELD_PX)
    if one.labels.shape != size:
        raise AssertionError(one.labels.shape)
    flat_map = np.memmap(flats, np.float16, "r+", shape=shape)
    label_map = np.memmap(labels, np.uint8, "r+", shape=shape)
    flat_map[place] = np.clip(one.flat, -1000, 1000)
    label_map[place] = one.labels
    return place


def simulated_fields(count: int, work: Path, jobs: int = 1) -> list[TrainingField]:
    """Simulated fields for training, drawn once and then kept in the work folder."""
    work.mkdir(parents=True, exist_ok=True)
    flats, labels = work / f"simulated-{count}.f16", work / f"simulated-{count}.u8"
    done = work / f"simulated-{count}.done"
    shape = (count, FIELD_PX, FIELD_PX)
    if not done.exists():
        np.memmap(flats, np.float16, "w+", shape=shape).flush()
        np.memmap(labels, np.uint8, "w+", shape=shape).flush()
        tasks = [(i, flats, labels, FIRST_TRAINING_SEED + i, count) for i in range(count)]
        # Forking a process whose libraries hold threads is how programs come to hang.
        fresh = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=fresh) as workers:
            for number in workers.map(_simulate_into, tasks, chunksize=8):
                if number % 200 == 199:
                    say(f"simulated {number + 1} of {count} fields")
        done.touch()
    flat_map = np.memmap(flats, np.float16, "r", shape=shape)
    label_map = np.memmap(labels, np.uint8, "r", shape=shape)
    return [
        TrainingField(f"simulated {FIRST_TRAINING_SEED + i}", flat_map[i], label_map[i])
        for i in range(count)
    ]


def empty_dishes(count: int = EMPTY_DISHES) -> list[TrainingField]:
    """Pictures of nothing but the camera's grain and uneven light: all background.

    Contrast is scaled by that of the picture itself, so that grain is all there is to see in them.
    """
    found = []
    for number in range(count):
        chance = np.random.default_rng([number, 9])
        size = math.exp(chance.uniform(math.log(0.6), math.log(4.6)))
        side = round(FIELD_PX * UM_PER_PIXEL / size)
        grain: NDArray[Any] = chance.normal(0, 1, (side, side)).astype(np.float32)
        if chance.random() < 0.3:
            grain = cv2.GaussianBlur(grain, (0, 0), float(chance.uniform(0.3, 0.6)))
        light = cv2.resize(
            chance.normal(0, 1, (3, 3)).astype(np.float32),
            (side, side),
            interpolation=cv2.INTER_CUBIC,
        )
        picture = 120 + chance.uniform(1, 8) * grain / grain.std() + chance.uniform(0, 12) * light
        nothing = np.zeros((side, side), dtype=np.uint8)
        image = np.clip(picture, 0, 255).astype(np.uint8)
        one = LabelledImage(f"empty {number}", image, nothing, size)
        found.append(prepare(one, UM_PER_PIXEL, Normalisation()))
    return found
