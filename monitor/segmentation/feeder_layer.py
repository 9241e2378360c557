"""Dishes whose cells grow on a layer of feeder cells: what of it is the culture's.

Feeder cells are spread fibroblasts. An image shows nothing that tells them from differentiated
cells, so a network that has learnt to see the one sees the other: lawns from edge to edge. Which
class they are is for the lab to say, once for a source. Where it says that there is such a layer,
spread cells are taken for differentiated only inside a colony: enclosed by undifferentiated cells,
or in a notch of their outline that is narrower than `NOTCH_UM`. All others are background.

The price is told with the setting: a colony that has differentiated as a whole cannot be seen then.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from model.classes import CellClass
from monitor.culture import PixelSize

NOTCH_UM: Final = 120.0
COARSE_UM: Final = 6.0
"""Outlines are closed on a map as coarse as this: the same to a cell's width, and much faster."""
UNKNOWN_SIZE_UM: Final = 2.0


def without_feeder_layer(labels: NDArray[np.uint8], size: PixelSize) -> NDArray[np.uint8]:
    """The label map with spread cells outside colonies as background.

    labels : (H, W) uint8, values of CellClass and 255
    size : where none is known, 2 um/px
    """
    spread = labels == CellClass.DIFFERENTIATED
    if not spread.any():
        return labels
    inside = _gaps_of_colonies(labels == CellClass.UNDIFFERENTIATED, size.um or UNKNOWN_SIZE_UM)
    return np.where(spread & ~inside, np.uint8(CellClass.BACKGROUND), labels)


def _gaps_of_colonies(packed: NDArray[np.bool_], pixel_size_um: float) -> NDArray[np.bool_]:
    """(H, W) bool: holes and narrow notches of colonies."""
    height, width = packed.shape
    step = max(1.0, COARSE_UM / pixel_size_um)
    small = (max(1, round(width / step)), max(1, round(height / step)))
    share = cv2.resize(packed.astype(np.float32), small, interpolation=cv2.INTER_AREA)
    radius = max(1, round(NOTCH_UM / 2 / (pixel_size_um * step)))
    # Beyond the image's edge nothing is known: no colony is closed against it.
    padded = np.pad(share > 0.5, radius + 1)
    grown = _distance_to(padded) <= radius
    closed = (_distance_to(~grown) > radius) | padded
    filled = ndimage.binary_fill_holes(closed)[radius + 1 : -radius - 1, radius + 1 : -radius - 1]
    # A block on a border is half a colony's: what else is in it is no gap.
    gaps = (filled & (share <= 0.5)).astype(np.uint8)
    return np.asarray(cv2.resize(gaps, (width, height), interpolation=cv2.INTER_NEAREST) > 0)


def _distance_to(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    return np.asarray(cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5))
