"""Labelled images: a folder of ``images/`` and ``labels/``, and fields ready for training.

images/<stem>.png|tif|tiff|jpg|jpeg    grey or colour, 8 or 16 bit
labels/<stem>.png|tif|tiff             class indices: 0, 1, 2, and 255 for unknown
pixel_size_um.csv                      optional: file,pixel_size_um
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from model.classes import UNKNOWN, CellClass
from model.preparation import Normalisation, at_working_scale, normalise, to_grey, working_shape

IMAGE_SUFFIXES: Final = (".png", ".tif", ".tiff", ".jpg", ".jpeg")
LABEL_SUFFIXES: Final = (".png", ".tif", ".tiff")
PIXEL_SIZES: Final = "pixel_size_um.csv"


class DataError(Exception):
    """Labelled data that cannot be used: the text says what, which file, what now."""


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """An image and its label map.

    image : (H, W), any real dtype
    labels : (H, W) uint8, classes or 255
    pixel_size_um : None where unknown
    """

    name: str
    image: NDArray[Any]
    labels: NDArray[np.uint8]
    pixel_size_um: float | None


@dataclass(frozen=True, eq=False)
class TrainingField:
    """A labelled image at the working scale, as training wants it.

    flat : (H, W) float16 or float32, normalised, not yet bent
    labels : (H, W) uint8
    """

    name: str
    flat: NDArray[np.floating[Any]]
    labels: NDArray[np.uint8]


def read_image(path: Path) -> NDArray[Any]:
    """Grey levels (H, W) of an image file. Raises DataError if it is none."""
    try:
        if path.suffix.lower() in (".tif", ".tiff"):
            values = tifffile.imread(path)
        else:
            with Image.open(path) as picture:
                wide = picture.mode.startswith(("I", "F", "L"))
                values = np.asarray(picture if wide else picture.convert("RGB"))
        return to_grey(np.asarray(values))
    except (OSError, ValueError, UnidentifiedImageError, tifffile.TiffFileError) as error:
        raise DataError(f"{path}: cannot be read as an image ({error}); replace it") from error


def read_labels(path: Path) -> NDArray[np.uint8]:
    """Class indices (H, W) of a label file. Raises DataError if it holds anything else."""
    try:
        if path.suffix.lower() in (".tif", ".tiff"):
            values = np.asarray(tifffile.imread(path))
        else:
            with Image.open(path) as picture:
                values = np.asarray(picture)
    except (OSError, UnidentifiedImageError, tifffile.TiffFileError) as error:
        raise DataError(f"{path}: cannot be read as a label map ({error}); replace it") from error
    if values.ndim != 2:
        raise DataError(
            f"{path}: a label map of shape {values.shape} is a colour picture; "
            "save class indices as one grey plane"
        )
    allowed = {int(cell_class) for cell_class in CellClass} | {UNKNOWN}
    strange = sorted(set(np.unique(values).tolist()) - allowed)
    if strange:
        shown = ", ".join(str(value) for value in strange[:5])
        raise DataError(
            f"{path}: holds the value(s) {shown}; label maps hold 0 background, "
            "1 undifferentiated, 2 differentiated, 255 unknown and nothing else"
        )
    return values.astype(np.uint8)


def read_folder(folder: Path) -> list[LabelledImage]:
    """All labelled images of a folder, by name.

    Images without a label map are left out.
    Raises DataError: folders missing, nothing labelled, sizes that do not fit, unknown values, only
    one class in all.
    """
    images, labels = folder / "images", folder / "labels"
    for part in (images, labels):
        if not part.is_dir():
            raise DataError(
                f"{part}: no such folder; labelled data are a folder with images/ and labels/ in it"
            )
    maps = {p.stem: p for p in sorted(labels.iterdir()) if p.suffix.lower() in LABEL_SUFFIXES}
    pictures = {p.stem: p for p in sorted(images.iterdir()) if p.suffix.lower() in IMAGE_SUFFIXES}
    for stem, path in maps.items():
        if stem not in pictures:
            raise DataError(f"{path}: no image {stem}.* in {images}; the stems must be equal")
    sizes = read_pixel_sizes(folder / PIXEL_SIZES)
    found: list[LabelledImage] = []
    for stem, path in maps.items():
        image, label = read_image(pictures[stem]), read_labels(path)
        if image.shape != label.shape:
            raise DataError(
                f"{path}: {label.shape[0]} x {label.shape[1]} pixels, its image "
                f"{pictures[stem].name} has {image.shape[0]} x {image.shape[1]}; "
                "export the label map at the image's own size"
            )
        size = sizes.get(pictures[stem].name)
        found.append(LabelledImage(pictures[stem].name, image, label, size))
    check_labels(found, folder)
    return found


def check_labels(images: Sequence[LabelledImage], folder: Path) -> None:
    """Raises DataError where there is nothing that a network could learn from."""
    if not images:
        raise DataError(f"{folder}: no label map in labels/; add <stem>.png for some of the images")
    values = set[int]()
    for image in images:
        values |= set(np.unique(image.labels).tolist())
    values.discard(UNKNOWN)
    if not values:
        raise DataError(
            f"{folder}: every pixel of every label map is 255 (unknown); label some regions"
        )
    if len(values) == 1:
        only = CellClass(values.pop()).name.lower()
        raise DataError(
            f"{folder}: all labelled pixels are {only}; "
            "label at least two classes, else there is nothing to tell apart"
        )


def read_pixel_sizes(path: Path) -> dict[str, float]:
    """File name -> um a pixel; empty where the file is missing. Raises DataError if malformed."""
    if not path.exists():
        return {}
    sizes: dict[str, float] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            for number, row in enumerate(csv.DictReader(lines), start=2):
                size = float(row["pixel_size_um"])
                if not 0 < size < 1e4:
                    raise DataError(f"{path}: line {number}: {size} um is no pixel size")
                sizes[Path(row["file"].replace("\\", "/")).name] = size
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: not a table with the columns file,pixel_size_um ({error!r}); correct it"
        ) from error
    return sizes


def prepare(
    labelled: LabelledImage,
    um_per_pixel: float,
    normalisation: Normalisation,
    multiple: int = 8,
    assumed_pixel_size_um: float | None = None,
) -> TrainingField:
    """The labelled image at the working scale, normalised as a whole."""
    size = labelled.pixel_size_um or assumed_pixel_size_um or um_per_pixel
    height, width = labelled.image.shape
    shape = working_shape((height, width), size, um_per_pixel, multiple)
    levels, _ = at_working_scale(labelled.image, shape)
    flat = normalise(levels, None, um_per_pixel, normalisation)
    labels = cv2.resize(labelled.labels, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST)
    return TrainingField(labelled.name, flat, cast(NDArray[np.uint8], labels))
