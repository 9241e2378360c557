"""The sets of images on which the arms are compared, split by image.

The sets are read where they lie and never shipped: `docs/accuracy.md` names their sources. A set
whose folder is missing is left out with a message.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from model.classes import UNKNOWN
from model.dataset import LabelledImage, TrainingField, prepare, read_labelled, read_pixel_sizes
from model.labelled_files import read_image, read_labels
from model.preprocessing import Normalisation

MOSAIC_CLASSES: Final = 5
MOSAIC_PX: Final = 320
MOSAICS: Final = 10
PHASE_UM: Final = 2.5
SIMULATED: Final = 150
SIMULATED_TESTS: Final = 40
UM_PER_PIXEL: Final[dict[str, float]] = {
    "glands": 0.62 / 0.5,
    "hipsc_phase": PHASE_UM,
    "simulated": PHASE_UM,
    "simulated_to_ips": PHASE_UM,
    "simulated_to_hipsc": PHASE_UM,
}
"""At the working scale, for the sets whose source gives it."""


@dataclass(frozen=True, eq=False)
class ComparisonSet:
    """Images to learn from and images to be measured on, at the set's working scale.

    classes : names in the order of the label values
    scale : working pixels a pixel of the file, equal for all arms
    um_per_pixel : at the working scale; None where nobody knows
    stride_px : of the networks: 4 where what must be found is only a few pixels wide
    fraction_of : the class whose share of the known (or of the cells') area is measured
    among : the classes that the share is taken of
    """

    name: str
    classes: tuple[str, ...]
    train: Sequence[TrainingField]
    test: Sequence[TrainingField]
    scale: float
    um_per_pixel: float | None
    stride_px: int
    fraction_of: int
    among: tuple[int, ...]

    def first(self, images: int | None, seed: int) -> list[TrainingField]:
        """So many of the training images, drawn by the seed; all of them for None."""
        order = np.random.default_rng([seed, 71]).permutation(len(self.train))
        return [self.train[int(i)] for i in order[: images or len(self.train)]]


def standardised(image: NDArray[Any]) -> NDArray[np.float32]:
    """Grey levels with mean 0 and deviation 1 over the image: what every arm is given."""
    levels = np.asarray(image, dtype=np.float32)
    flat = (levels - levels.mean()) / (levels.std() + np.float32(1e-6))
    return np.asarray(flat, dtype=np.float32)


def _field(
    name: str, image: NDArray[Any], labels: NDArray[np.uint8], scale: float
) -> TrainingField:
    height, width = labels.shape
    size = (round(width * scale), round(height * scale))
    if size != (width, height):
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        image = cv2.resize(np.asarray(image, dtype=np.float32), size, interpolation=how)
        labels = cast(
            NDArray[np.uint8], cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)
        )
    return TrainingField(name, standardised(image), labels)


def _folder(folder: Path, scale: float) -> list[TrainingField]:
    fields = []
    for path in sorted((folder / "labels").glob("*.png")):
        image = next((folder / "images").glob(f"{path.stem}.*"))
        fields.append(_field(path.stem, read_image(image), read_labels(path), scale))
    if not fields:
        raise FileNotFoundError(f"{folder}: no labelled images")
    return fields


def _glands(data: Path) -> ComparisonSet:
    scale = 0.5
    return ComparisonSet(
        name="glands",
        classes=("stroma", "gland"),
        train=_folder(data / "glands" / "train", scale),
        test=_folder(data / "glands" / "test", scale),
        scale=scale,
        um_per_pixel=UM_PER_PIXEL["glands"],
        stride_px=8,
        fraction_of=1,
        among=(0, 1),
    )


def _superalloy(number: int) -> Callable[[Path], ComparisonSet]:
    def read(data: Path) -> ComparisonSet:
        # Tertiary precipitates are 5 to 10 pixels wide.
        scale = 2.0
        folder = data / "superalloy" / f"super{number}"
        return ComparisonSet(
            name=f"super{number}",
            classes=("matrix", "secondary", "tertiary"),
            train=_folder(folder / "train", scale),
            test=_folder(folder / "test", scale),
            scale=scale,
            um_per_pixel=None,
            stride_px=4,
            fraction_of=2,
            among=(0, 1, 2),
        )

    return read


def _spread_cells(data: Path) -> ComparisonSet:
    scale = 0.5
    fields = _folder(data / "spread_cells_phase", scale)
    # Neighbouring numbers may come from one film: they stay on one side.
    ordered = sorted(fields, key=lambda field: int(field.name.rpartition("set")[2]))
    return ComparisonSet(
        name="spread_cells",
        classes=("background", "cell"),
        train=ordered[:10],
        test=ordered[10:],
        scale=scale,
        um_per_pixel=None,
        stride_px=8,
        fraction_of=1,
        among=(0, 1),
    )


def _textures(data: Path) -> ComparisonSet:
    files = sorted((data / "textures").glob("*.png"), key=lambda path: int(path.stem[1:]))
    if not files:
        raise FileNotFoundError(f"{data / 'textures'}: no pictures")
    # Every sixth, so that neighbours in the album, often of one kind, do not meet.
    chosen = files[:: len(files) // MOSAIC_CLASSES][:MOSAIC_CLASSES]
    pictures = [standardised(read_image(path)) for path in chosen]
    halves = {
        "train": [picture[:, : picture.shape[1] // 2] for picture in pictures],
        "test": [picture[:, picture.shape[1] // 2 :] for picture in pictures],
    }
    parts = {
        name: [mosaic(f"{name}-{i}", half, [i, len(name)]) for i in range(MOSAICS)]
        for name, half in halves.items()
    }
    return ComparisonSet(
        name="textures",
        classes=tuple(path.stem for path in chosen),
        train=parts["train"],
        test=parts["test"],
        scale=1.0,
        um_per_pixel=None,
        stride_px=8,
        fraction_of=1,
        among=tuple(range(MOSAIC_CLASSES)),
    )


def mosaic(
    name: str, textures: Sequence[NDArray[np.float32]], seed: Sequence[int]
) -> TrainingField:
    """A picture of textures with winding borders, and which texture is where.

    textures : (H, W) each, mean 0 and deviation 1
    """
    chance = np.random.default_rng(list(seed))
    side = MOSAIC_PX
    hills = np.stack(
        [
            cv2.resize(
                chance.normal(0, 1, (7, 7)).astype(np.float32),
                (side, side),
                interpolation=cv2.INTER_CUBIC,
            )
            for _ in textures
        ]
    )
    labels = hills.argmax(axis=0).astype(np.uint8)
    image = np.empty((side, side), dtype=np.float32)
    for value, texture in enumerate(textures):
        top = int(chance.integers(texture.shape[0] - side + 1))
        left = int(chance.integers(texture.shape[1] - side + 1))
        there = labels == value
        image[there] = texture[top : top + side, left : left + side][there]
    return TrainingField(name, standardised(image), labels)


def _hipsc(data: Path) -> ComparisonSet:
    folder = data / "hipsc_phase"
    sizes = read_pixel_sizes(folder / "pixel_size_um.csv")
    fields = []
    for path in sorted((folder / "labels").glob("*.png")):
        image = next((folder / "images").glob(f"{path.stem}.*"))
        scale = sizes[image.name] / PHASE_UM
        fields.append(_field(path.stem, read_image(image), read_labels(path), scale))
    return ComparisonSet(
        name="hipsc_phase",
        classes=("background", "undifferentiated"),
        train=fields[0::2],
        test=fields[1::2],
        scale=1.0,
        um_per_pixel=UM_PER_PIXEL["hipsc_phase"],
        stride_px=8,
        fraction_of=1,
        among=(0, 1),
    )


def _ips(left_out: int) -> Callable[[Path], ComparisonSet]:
    def read(data: Path) -> ComparisonSet:
        fields = _folder(data / "ips_fields", 1.0)
        return ComparisonSet(
            name=f"ips_fields-{left_out + 1}",
            classes=("background", "undifferentiated", "differentiated"),
            train=[field for i, field in enumerate(fields) if i != left_out],
            test=[fields[left_out]],
            scale=1.0,
            um_per_pixel=None,
            stride_px=8,
            fraction_of=2,
            among=(1, 2),
        )

    return read


def _simulated(name: str, real: str | None = None) -> Callable[[Path], ComparisonSet]:
    """Learning as the starter model does, from simulated fields, prepared as in use.

    real : folder of the real fields to be measured on; else simulated fields of other seeds
    """

    def read(data: Path) -> ComparisonSet:
        from model.simulation.labelled import FIRST_TEST_SEED, FIRST_TRAINING_SEED, simulated
        from model.starter.settings import IPS_FIELDS_PIXEL_SIZE_UM

        def prepared(one: LabelledImage) -> TrainingField:
            return prepare(one, PHASE_UM, Normalisation(), 8, IPS_FIELDS_PIXEL_SIZE_UM)

        if real:
            tests = list(read_labelled(data / real, least_classes=1).images)
        else:
            tests = [simulated(FIRST_TEST_SEED + i) for i in range(SIMULATED_TESTS)]
        return ComparisonSet(
            name=name,
            classes=("background", "undifferentiated", "differentiated"),
            train=[prepared(simulated(FIRST_TRAINING_SEED + i)) for i in range(SIMULATED)],
            test=[prepared(one) for one in tests],
            scale=1.0,
            um_per_pixel=PHASE_UM,
            stride_px=8,
            fraction_of=2,
            among=(1, 2),
        )

    return read


SETS: Final[dict[str, Callable[[Path], ComparisonSet]]] = {
    "glands": _glands,
    "super1": _superalloy(1),
    "super2": _superalloy(2),
    "super3": _superalloy(3),
    "super4": _superalloy(4),
    "textures": _textures,
    "spread_cells": _spread_cells,
    "hipsc_phase": _hipsc,
    "ips_fields-1": _ips(0),
    "ips_fields-2": _ips(1),
    "ips_fields-3": _ips(2),
    "simulated": _simulated("simulated"),
    "simulated_to_ips": _simulated("simulated_to_ips", "ips_fields"),
    "simulated_to_hipsc": _simulated("simulated_to_hipsc", "hipsc_phase"),
}
"""How each set is read. The three of `ips_fields` leave one field out in turn and count as one."""


def known(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where the class is known."""
    return np.asarray(labels != UNKNOWN)
