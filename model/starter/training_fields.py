"""Simulated fields as training data: which seeds, at which scale, kept on disk as they are made."""

from __future__ import annotations

import concurrent.futures
import hashlib
import math
import multiprocessing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model import preprocessing, simulation
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
DISHES: Final = "incubator.py"
"""In the simulation's folder, but of no influence on single fields."""


@dataclass(frozen=True)
class _Store:
    """Simulated fields on disk, field after field, and a mark of each that is drawn.

    version : of what draws them, in the files' names: fields of another simulation are never taken
        for those of this one
    """

    folder: Path
    count: int
    version: str

    def _files(self) -> list[tuple[Path, type[np.generic], tuple[int, ...]]]:
        name = f"simulated-{self.count}-{self.version}"
        picture = (self.count, FIELD_PX, FIELD_PX)
        return [
            (self.folder / f"{name}.f16", np.float16, picture),
            (self.folder / f"{name}.u8", np.uint8, picture),
            (self.folder / f"{name}.drawn", np.uint8, (self.count,)),
        ]

    def begin(self) -> None:
        """Make the files, empty, unless all of them are there and whole."""
        lengths = {
            path: math.prod(shape) * np.dtype(kind).itemsize for path, kind, shape in self._files()
        }
        if all(path.exists() and path.stat().st_size == n for path, n in lengths.items()):
            return
        for path, length in lengths.items():
            with path.open("wb") as file:
                # Zeros, which take no room: nothing is marked as drawn.
                file.truncate(length)

    def open(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Normalised grey levels (n, H, W) float16, labels (n, H, W) uint8, marks (n,) uint8."""
        flats, labels, drawn = (
            np.memmap(path, kind, "r+", shape=shape) for path, kind, shape in self._files()
        )
        return flats, labels, drawn


def simulation_version() -> str:
    """Short hash over the sources that decide how a simulated field looks."""
    digest = hashlib.sha256()
    room = Path(simulation.__file__).parent
    for path in (*sorted(room.glob("*.py")), Path(preprocessing.__file__)):
        if path.name != DISHES:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:10]


def _simulate_into(job: tuple[_Store, int, int]) -> int:
    store, place, seed = job
    cv2.setNumThreads(1)
    one = prepare(simulated(seed), UM_PER_PIXEL, Normalisation())
    if one.labels.shape != (FIELD_PX, FIELD_PX):
        raise AssertionError(one.labels.shape)
    flats, labels, drawn = store.open()
    flats[place] = np.clip(one.flat, -1000, 1000)
    labels[place] = one.labels
    drawn[place] = 1
    return place


def simulated_fields(count: int, work: Path, jobs: int = 1) -> list[TrainingField]:
    """Simulated fields for training, drawn once and then kept in the work folder.

    Drawing that was cut off goes on where it stood.
    """
    work.mkdir(parents=True, exist_ok=True)
    store = _Store(work, count, simulation_version())
    store.begin()
    flats, labels, drawn = store.open()
    missing = np.flatnonzero(drawn == 0).tolist()
    if missing:
        say(f"{len(missing)} of {count} fields to simulate, version {store.version}")
        tasks = [(store, place, FIRST_TRAINING_SEED + place) for place in missing]
        # Forking a process whose libraries hold threads is how programs come to hang.
        fresh = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=fresh) as workers:
            for number, _ in enumerate(workers.map(_simulate_into, tasks, chunksize=8)):
                if number % 200 == 199:
                    say(f"simulated {number + 1} of {len(missing)} fields")
    return [
        TrainingField(f"simulated {FIRST_TRAINING_SEED + i}", flats[i], labels[i])
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
