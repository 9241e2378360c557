"""Fields of several kinds that a fine-tuned model is held against: simulated ones, drawn on the
spot, and those that somebody has."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.classes import NOT_DIFFERENTIATED, UNKNOWN, CellClass
from model.dataset import LabelledImage, read_labelled
from model.labelled_files import DataError, ReadGrey
from model.simulation.fields import simulate_field

FIRST_GUARD_SEED: Final = 8000
"""Of the seeds for measuring; those of the starter's scores and of its temperature are others."""
GUARD_FIELDS: Final = 128
GUARD_FIELD_UM: Final = 640.0
"""Side of a field: two windows."""
LEAST_FIELDS: Final = 4
"""A kind with fewer says too little."""
FEW_CELLS: Final = 0.005
SMALL_CLUMP_UM: Final = 120.0
MOSTLY: Final = 0.6

NO_CELLS: Final = "simulated, no cells"
FRESH: Final = "simulated, healthy, single cells and small clumps"
HEALTHY: Final = "simulated, healthy colonies"
ALL_DIFFERENTIATED: Final = "simulated, differentiated only"
PARTLY: Final = "simulated, partly differentiated"


def simulated_kinds(
    fields: int = GUARD_FIELDS, first_seed: int = FIRST_GUARD_SEED
) -> dict[str, list[LabelledImage]]:
    """Simulated fields by what their truth holds, and once more by how they were imaged.

    The same fields each time; kinds of which chance drew too few are left out.
    """
    found: dict[str, list[LabelledImage]] = {}
    for seed in range(first_seed, first_seed + fields):
        chance = np.random.default_rng([seed, 1])
        size = float(math.exp(chance.uniform(math.log(0.8), math.log(4.4))))
        side = round(GUARD_FIELD_UM / size)
        drawn = simulate_field(seed, shape=(side, side), pixel_size_um=size)
        one = LabelledImage(f"simulated {seed}", drawn.image, drawn.labels, size)
        for kind in (kind_of(drawn.labels, size), f"simulated, {drawn.modality}"):
            found.setdefault(kind, []).append(one)
    return {kind: some for kind, some in sorted(found.items()) if len(some) >= LEAST_FIELDS}


def kind_of(labels: NDArray[np.uint8], pixel_size_um: float) -> str:
    """What kind of dish a label map (H, W) is of."""
    known = np.count_nonzero(labels < len(CellClass)) or 1
    differentiated = np.count_nonzero(labels == CellClass.DIFFERENTIATED) / known
    undifferentiated = np.count_nonzero(labels == CellClass.UNDIFFERENTIATED) / known
    if differentiated + undifferentiated < FEW_CELLS:
        return NO_CELLS
    if differentiated >= FEW_CELLS:
        return PARTLY if undifferentiated >= FEW_CELLS else ALL_DIFFERENTIATED
    cells = (labels == CellClass.UNDIFFERENTIATED).astype(np.uint8)
    areas = cv2.connectedComponentsWithStats(cells)[2][1:, cv2.CC_STAT_AREA]
    small = areas[2 * np.sqrt(areas / math.pi) * pixel_size_um < SMALL_CLUMP_UM]
    return FRESH if small.sum() > MOSTLY * areas.sum() else HEALTHY


def given_kinds(
    folder: Path, read_picture: ReadGrey | None = None
) -> dict[str, list[LabelledImage]]:
    """Labelled fields of other kinds that somebody has: one kind, or a folder of kinds.

    folder : with images/ and labels/, or with folders that have them. Kinds of which the starter's
        card names held-out fields (`model.starter.held_out`) give those alone
    read_picture : reader of the images
    Raises DataError where there is nothing of that form, or it cannot be read.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give one with images/ and labels/")
    if (folder / "images").is_dir():
        return {folder.resolve().name: list(_labelled(folder, read_picture))}
    from model.starter.held_out import KINDS

    found: dict[str, list[LabelledImage]] = {}
    for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
        if inner.name in KINDS:
            found[inner.name] = list(_of_the_card(folder, inner.name))
        elif (inner / "images").is_dir() and (inner / "labels").is_dir():
            found[inner.name] = list(_labelled(inner, read_picture))
    if not any(found.values()):
        raise DataError(
            f"{folder}: no labelled fields there; give a folder with images/ and labels/ in it, or "
            "one with such folders"
        )
    return found


def _labelled(folder: Path, read_picture: ReadGrey | None) -> Sequence[LabelledImage]:
    return read_labelled(folder, read_picture=read_picture, least_classes=1).images


def _of_the_card(data: Path, kind: str) -> Iterator[LabelledImage]:
    """Real fields that the starter was measured on. In what is healthy nothing is differentiated,
    also where nobody drew an outline."""
    from model.starter.measuring import real_fields

    for one in real_fields(data, kind, every=False):
        labels = one.labels
        if one.healthy:
            unsure = (labels == UNKNOWN) & one.imaged
            labels = np.where(unsure, np.uint8(NOT_DIFFERENTIATED), labels)
        yield LabelledImage(one.name, one.image, labels, one.pixel_size_um, one.inside)


def without(
    kinds: Mapping[str, Sequence[LabelledImage]], learnt: Sequence[LabelledImage]
) -> dict[str, list[LabelledImage]]:
    """Without the fields that are learnt from, known by their pixels, and kinds that are empty."""

    def pixels(one: LabelledImage) -> tuple[tuple[int, ...], int]:
        image = np.ascontiguousarray(one.image)
        return image.shape, hash(image.tobytes())

    known = {pixels(one) for one in learnt}
    kept = {kind: [one for one in some if pixels(one) not in known] for kind, some in kinds.items()}
    return {kind: some for kind, some in kept.items() if some}
