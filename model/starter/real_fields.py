"""The few real images that the starter model may learn from, and which of them are held out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from model.classes import UNKNOWN, CellClass
from model.dataset import LabelledImage, TrainingField, prepare, read_folder, read_pixel_sizes
from model.labelled_files import read_image, read_labels
from model.preprocessing import Normalisation, at_working_scale, normalise
from model.starter.local_contrast import local_contrast_labels, well_of
from model.starter.progress import say
from model.starter.settings import (
    HELD_EVERY,
    SPREAD_CELLS_PIXEL_SIZE_UM,
    UM_PER_PIXEL,
    WELL_DIAMETER_UM,
)
from model.train import FieldGroup

WALL_UM: Final = 150.0


def real_groups(data: Path) -> tuple[list[FieldGroup], dict[str, list[TrainingField]]]:
    """Real fields to train on by kind, and those held back. Kinds that are missing are left out."""
    groups: list[FieldGroup] = []
    held: dict[str, list[TrainingField]] = {}

    def take(name: str, fields: Sequence[TrainingField], share: float, spread: float) -> None:
        kept = [one for i, one in enumerate(fields) if i % HELD_EVERY != 1]
        held[name] = [one for i, one in enumerate(fields) if i % HELD_EVERY == 1]
        if kept:
            groups.append(FieldGroup(name, kept, share, spread))
        say(f"{name}: {len(kept)} fields to train on, {len(held[name])} held back")

    take("hipsc_phase", _hipsc(data / "hipsc_phase"), 0.1, 0.3)
    take("incubator_6well", _plate_imager(data / "incubator_6well"), 0.08, 0.25)
    take("incubator_96well", _whole_wells(data / "incubator_96well"), 0.05, 0.2)
    take("spread_cells_phase", _spread_cells(data / "spread_cells_phase"), 0.07, 0.35)
    return groups, held


def pictures_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        say(f"{folder}: not there; done without it")
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in (".jpg", ".png", ".tiff"))


def _hipsc(folder: Path) -> list[TrainingField]:
    sizes = read_pixel_sizes(folder / "pixel_size_um.csv")
    found = []
    for path in pictures_in(folder / "images"):
        labels = read_labels(folder / "labels" / f"{path.stem}.png")
        one = LabelledImage(path.name, read_image(path), labels, sizes[path.name])
        found.append(prepare(one, UM_PER_PIXEL, Normalisation()))
    return found


def _plate_imager(folder: Path) -> list[TrainingField]:
    found = []
    for path in pictures_in(folder):
        nothing = np.zeros(read_image(path).shape, dtype=np.uint8)
        one = prepare(
            LabelledImage(path.name, read_image(path), nothing, 1.0), UM_PER_PIXEL, Normalisation()
        )
        flat = cast(NDArray[np.float32], one.flat)
        found.append(TrainingField(path.name, flat, local_contrast_labels(flat, UM_PER_PIXEL)))
    return found


def _whole_wells(folder: Path) -> list[TrainingField]:
    found = []
    for path in pictures_in(folder):
        image = read_image(path)
        inside, diameter = well_of(image)
        size = WELL_DIAMETER_UM / diameter
        height, width = (round(n * size / UM_PER_PIXEL / 8) * 8 for n in image.shape)
        levels, share = at_working_scale(image, (height, width), inside)
        flat = normalise(levels, share, UM_PER_PIXEL, Normalisation())
        # The wall's shadow looks as rough as cells do: a strip along it is nobody's.
        strip = round(WALL_UM / UM_PER_PIXEL)
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * strip + 1, 2 * strip + 1))
        wide = (np.asarray(share, dtype=np.float32) > 0.5).astype(np.uint8)
        well = np.asarray(cv2.erode(wide, disc, borderValue=0) > 0)
        labels = local_contrast_labels(flat, UM_PER_PIXEL, inside=well)
        found.append(TrainingField(path.name, flat, labels))
    return found


def _spread_cells(folder: Path) -> list[TrainingField]:
    found = []
    for path in pictures_in(folder / "images"):
        cells = read_labels(folder / "labels" / f"{path.stem}.png") > 0
        # Single cells are outlined here; in a culture the gaps between neighbours belong to
        # their region, and what lies near a lone cell is nobody's.
        near = cv2.GaussianBlur(cells.astype(np.float32), (0, 0), 18) > 0.3
        far = ~(cv2.dilate(cells.astype(np.uint8), np.ones((41, 41), np.uint8)) > 0)
        labels = np.full(cells.shape, UNKNOWN, dtype=np.uint8)
        labels[far] = CellClass.BACKGROUND
        labels[near | cells] = CellClass.DIFFERENTIATED
        one = LabelledImage(path.name, read_image(path), labels, SPREAD_CELLS_PIXEL_SIZE_UM)
        found.append(prepare(one, UM_PER_PIXEL, Normalisation()))
    return found


def labelled_pictures(folder: Path) -> list[LabelledImage]:
    return read_folder(folder) if folder.is_dir() else []


def held_names(real: Path) -> dict[str, set[str]]:
    kinds = ("hipsc_phase", "incubator_6well", "incubator_96well", "spread_cells_phase")
    held = {}
    for kind in kinds:
        folder = real / kind / "images" if (real / kind / "images").is_dir() else real / kind
        held[kind] = {p.name for i, p in enumerate(pictures_in(folder)) if i % HELD_EVERY == 1}
    return held
