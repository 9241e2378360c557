"""Labels for pictures that nobody has labelled: where texture says that cells are."""

from __future__ import annotations

import math
from typing import Any, Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from model.classes import UNKNOWN, CellClass
from model.preprocessing import Normalisation, at_working_scale, normalise, working_shape
from model.starter.settings import UM_PER_PIXEL

REACH_UM: Final = 12.0
"""About a cell: the neighbourhood whose roughness tells cells from the empty dish."""


def local_contrast_labels(
    flat: NDArray[np.float32],
    um_per_pixel: float,
    *,
    inside: NDArray[np.bool_] | None = None,
    band_um: float = 4.0,
) -> NDArray[np.uint8]:
    """Background and cells of a healthy field, by its local contrast; 255 along their borders.

    Cells are rough and the empty dish is smooth. The threshold is set between the two by Otsu's
    rule on the logarithm of the local spread; small islands (debris) and small holes are dropped.

    flat : (H, W) float32, normalised, at the working scale
    inside : (H, W) bool, False outside the vessel
    """
    spread = local_spread(flat, um_per_pixel)
    known = np.ones(flat.shape, dtype=bool) if inside is None else inside
    rough = np.asarray(spread > otsu(spread[known])) & known
    # The spread is felt about one reach outside of a colony: the outline lies that far inside.
    rough = opened_and_closed(rough, um_per_pixel)
    reach = max(1, round(REACH_UM / um_per_pixel))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    rough = np.asarray(cv2.erode(rough.astype(np.uint8), disc) > 0)
    rough = opened_and_closed(rough, um_per_pixel, island_um2=3000.0)
    labels = np.where(rough, CellClass.UNDIFFERENTIATED, CellClass.BACKGROUND).astype(np.uint8)
    width = round(band_um / um_per_pixel)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
    border = cv2.dilate(rough.astype(np.uint8), kernel) - cv2.erode(rough.astype(np.uint8), kernel)
    labels[border > 0] = UNKNOWN
    labels[~known] = UNKNOWN
    return labels


def local_spread(flat: NDArray[np.float32], um_per_pixel: float) -> NDArray[np.float32]:
    """(H, W) logarithm of the spread of grey within about a cell's reach of each pixel."""
    bent = np.clip(flat, -3, 3)
    fine = bent - cv2.GaussianBlur(bent, (0, 0), REACH_UM / um_per_pixel)
    power = cv2.GaussianBlur(fine * fine, (0, 0), REACH_UM / um_per_pixel)
    return np.asarray(0.5 * np.log(np.maximum(power, 1e-6)), dtype=np.float32)


def otsu(values: NDArray[np.float32]) -> float:
    """Threshold that separates two heaps of numbers best (Otsu 1979), to a 256th of their span."""
    low, high = float(values.min()), float(values.max())
    step = (high - low) / 256
    if step == 0:
        return low
    bins = np.minimum((values - low) / step, 255).astype(np.uint8)
    last, _ = cv2.threshold(bins, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return float(low + (last + 0.5) * step)


def opened_and_closed(
    mask: NDArray[np.bool_],
    um_per_pixel: float,
    *,
    island_um2: float = 6000.0,
    hole_um2: float = 8000.0,
) -> NDArray[np.bool_]:
    """The mask with its small holes filled and its small islands gone."""
    result = mask.astype(np.uint8)
    for value, least_um2 in ((1, island_um2), (0, hole_um2)):
        number, parts, numbers, _ = cv2.connectedComponentsWithStats(
            (result == value).astype(np.uint8), connectivity=4
        )
        small = numbers[:, cv2.CC_STAT_AREA] * um_per_pixel**2 < least_um2
        small[0] = False
        if number > 1:
            result[small[parts]] = 1 - value
    return np.asarray(result.astype(bool))


def well_of(image: NDArray[Any]) -> tuple[NDArray[np.bool_], float]:
    """Where the round well is and its diameter in pixels, from an image dark outside of it."""
    bright = cv2.GaussianBlur((image > 20).astype(np.float32), (0, 0), 3) > 0.5
    _, parts, numbers, _ = cv2.connectedComponentsWithStats(bright.astype(np.uint8))
    largest = 1 + int(np.argmax(numbers[1:, cv2.CC_STAT_AREA]))
    area = float(numbers[largest, cv2.CC_STAT_AREA])
    return np.asarray(parts == largest), 2 * math.sqrt(area / math.pi)


def reference_labels(
    image: NDArray[Any], pixel_size_um: float, inside: NDArray[np.bool_] | None
) -> NDArray[np.uint8]:
    """Cells and background by local contrast at the image's own size, without a band."""
    height, width = image.shape
    shape = working_shape((height, width), pixel_size_um, UM_PER_PIXEL, 8)
    levels, share = at_working_scale(image, shape, inside)
    flat = normalise(levels, share, UM_PER_PIXEL, Normalisation())
    vessel = None if share is None else share > 0.5
    labels = local_contrast_labels(flat, UM_PER_PIXEL, inside=vessel, band_um=0.0)
    return cast(
        NDArray[np.uint8], cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
    )
