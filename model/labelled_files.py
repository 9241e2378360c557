"""Single files of labelled data: an image, a label map."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from model.classes import UNKNOWN, CellClass
from model.label_meaning import what_colours, what_values
from model.preprocessing import to_grey

MAP_SUFFIXES: Final = (".png", ".tif", ".tiff")
OUTLINE_SUFFIXES: Final = (".geojson", ".json")
PICTURES: Final = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
"""Whatever a file is called. Pillow reads others, too, some of them by starting programs."""

MOST_PAGES: Final = 64
"""Of a TIFF file. To look at all of a chain of thousands takes minutes."""

LARGEST_MAP_PX: Final = 2_000_000_000
"""A label map that claims more pixels is refused before it is read."""


class DataError(Exception):
    """Labelled data that cannot be used: the text says what, which file, what now.

    problems : each on its own, where several were found at once
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class DoubtfulLabelsError(DataError):
    """Labels that can be read, but hardly mean what they say. Whoever knows better may say so."""


@dataclass(frozen=True, eq=False)
class GreyImage:
    """What an image file holds.

    grey : (H, W), any real dtype
    pixel_size_um : as the file or its name states it; None if neither does
    inside : (H, W) bool, False outside the vessel; None where all is inside
    """

    grey: NDArray[Any]
    pixel_size_um: float | None = None
    inside: NDArray[np.bool_] | None = None


ReadGrey: TypeAlias = Callable[[Path], GreyImage]
"""Reads an image file. Raises DataError."""


def read_image(path: Path) -> NDArray[Any]:
    """Grey levels (H, W) of an image file. Raises DataError if it is none."""
    try:
        if path.suffix.lower() in (".tif", ".tiff"):
            with tifffile.TiffFile(path) as tiff:
                _check_chain(path, tiff)
                _check_count(path, math.prod(tiff.series[0].shape))
                values = tiff.series[0].asarray()
        else:
            with Image.open(path, formats=PICTURES) as picture:
                wide = picture.mode.startswith(("I", "F", "L"))
                values = np.asarray(picture if wide else picture.convert("RGB"))
        return to_grey(np.asarray(values))
    except (
        OSError,
        ValueError,
        Image.DecompressionBombError,
        UnidentifiedImageError,
        tifffile.TiffFileError,
    ) as error:
        raise DataError(f"{path}: cannot be read as an image ({error}); replace it") from error


def read_labels(path: Path, image_shape: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Class indices (H, W) of a label file.

    image_shape : of its image; a file that says another size is not read any further
    Raises DataError if it holds anything else.
    """
    try:
        values = _label_values(path, image_shape)
    except (
        OSError,
        SyntaxError,
        ValueError,
        KeyError,
        IndexError,
        MemoryError,
        Image.DecompressionBombError,
        tifffile.TiffFileError,
    ) as error:
        raise DataError(f"{path}: cannot be read as a label map ({error}); replace it") from error
    while values.ndim > 2 and values.shape[0] == 1:
        values = values[0]
    if values.ndim == 3 and values.shape[2] in (2, 3, 4):
        raise DataError(
            f"{path}: a label map of shape {values.shape} is a colour image, "
            f"{what_colours(values)}; save class indices as one grey plane"
        )
    if values.ndim != 2:
        raise DataError(
            f"{path}: a label map of shape {values.shape} is not a single plane; save class "
            f"indices "
            "as one grey plane"
        )
    if values.dtype.kind not in "buif":
        raise DataError(f"{path}: holds no numbers ({values.dtype}); save class indices")
    every = np.unique(values).tolist()
    allowed = {int(cell_class) for cell_class in CellClass} | {UNKNOWN}
    strange = [value for value in every if value not in allowed]
    if strange:
        shown = ", ".join(f"{value:g}" for value in strange[:5])
        more = f" and {len(strange) - 5} more" if len(strange) > 5 else ""
        raise DataError(
            f"{path}: holds the value(s) {shown}{more}; label maps hold 0 background, "
            "1 undifferentiated, 2 differentiated, 255 unknown and nothing else. "
            f"{what_values(strange, every)}"
        )
    return values.astype(np.uint8)


def _label_values(path: Path, image_shape: tuple[int, int] | None) -> NDArray[Any]:
    if path.suffix.lower() in (".tif", ".tiff"):
        with tifffile.TiffFile(path) as tiff:
            _check_chain(path, tiff)
            series = tiff.series[0]
            shape = tuple(int(side) for side in series.shape)
            plane = shape if len(shape) == 2 else shape[:2] if "S" in series.axes else shape[-2:]
            _check_size(path, plane, math.prod(shape), image_shape)
            return np.asarray(series.asarray())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path, formats=PICTURES) as picture:
            size = picture.height, picture.width
            _check_size(path, size, math.prod(size), image_shape)
            return np.asarray(picture)


def _check_size(
    path: Path, size: tuple[int, ...], pixels: int, image_shape: tuple[int, int] | None
) -> None:
    """By the file's head, before its pixels are read: a head may claim anything."""
    _check_count(path, pixels)
    if image_shape is not None and size != tuple(image_shape):
        raise DataError(
            f"{path}: {size[0]} x {size[1]} pixels, its image has "
            f"{image_shape[0]} x {image_shape[1]}; export the label map at the image's own size"
        )


def _check_chain(path: Path, tiff: tifffile.TiffFile) -> None:
    """Before tifffile works out what its pages are, which it does by looking at each."""
    try:
        _ = tiff.pages[MOST_PAGES]
    except IndexError:
        return
    raise DataError(
        f"{path}: has more than {MOST_PAGES} pages; images and label maps have one. Save one plane"
    )


def _check_count(path: Path, pixels: int) -> None:
    if pixels > LARGEST_MAP_PX:
        raise DataError(
            f"{path}: declares {pixels:,} pixels; images and label maps have up to "
            f"{LARGEST_MAP_PX:,}. Replace it, or cut the field smaller"
        )
