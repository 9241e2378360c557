"""Layers of a scene: its captures, and what the model says of them in colours to lay over. Pure.

What is not imaged is transparent. Where there should be a picture and is none there are stripes in
colours that no capture and no layer has, so that it cannot be taken for something dark.
"""

from __future__ import annotations

from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from model.classes import UNKNOWN, CellClass
from monitor.segmentation.overlay import DIFFERENTIATED_BGR, UNDIFFERENTIATED_BGR

Colours = NDArray[np.uint8]
"""(h, w, 4) BGRA"""

NOT_COVERED = 254
"""In composed labels: no field lies there."""


class Layer(StrEnum):
    """What a tile shows."""

    CAPTURE = "capture"
    OUTLINES = "outlines"
    CLASSES = "classes"
    DIFFERENTIATED = "differentiated"
    UNDIFFERENTIATED = "undifferentiated"
    UNCERTAIN = "uncertain"

    @property
    def is_probability(self) -> bool:
        return self in _PROBABILITIES


_PROBABILITIES = (Layer.DIFFERENTIATED, Layer.UNDIFFERENTIATED, Layer.UNCERTAIN)

RIM_PX = 2
_UNCERTAIN_BGR = (66, 228, 240)
_STRIPE_PX = 12
_STRIPES_BGR = ((196, 120, 196), (236, 226, 236))
_NOT_READ_BGR = ((128, 128, 222), (226, 226, 244))


def _table(colours: dict[int, tuple[tuple[int, int, int], int]]) -> NDArray[np.uint8]:
    """256 BGRA values; value -> (colour, alpha), all others transparent."""
    table = np.zeros((256, 4), np.uint8)
    for value, (colour, alpha) in colours.items():
        table[value] = (*colour, alpha)
    return table


_CLASSES = _table(
    {
        int(CellClass.UNDIFFERENTIATED): (UNDIFFERENTIATED_BGR, 255),
        int(CellClass.DIFFERENTIATED): (DIFFERENTIATED_BGR, 255),
        UNKNOWN: ((0, 0, 0), 150),
    }
)


def coloured_classes(labels: NDArray[np.uint8]) -> Colours:
    """(h, w) labels -> colours. Outside the vessel it is dark."""
    return np.asarray(_CLASSES[labels], np.uint8)


def outlines(labels: NDArray[np.uint8]) -> Colours:
    """(h, w) labels -> the rims of cells and of what is differentiated, `RIM_PX` wide.

    The outermost `RIM_PX` pixels may lack rims: compose with so much more around.
    """
    drawn = np.zeros((*labels.shape, 4), np.uint8)
    brush = np.ones((2 * RIM_PX + 1, 2 * RIM_PX + 1), np.uint8)
    differentiated = (labels == CellClass.DIFFERENTIATED).astype(np.uint8)
    cells = ((labels == CellClass.UNDIFFERENTIATED) | (differentiated > 0)).astype(np.uint8)
    # What is not imaged is not known to have no cells: a cut colony has no rim there.
    cells[labels == NOT_COVERED] = 1
    for solid, colour in ((cells, UNDIFFERENTIATED_BGR), (differentiated, DIFFERENTIATED_BGR)):
        inner = cv2.erode(solid, brush, borderType=cv2.BORDER_REPLICATE)
        drawn[(solid > inner) & (labels != NOT_COVERED)] = (*colour, 255)
    return drawn


def coloured_probability(planes: NDArray[np.uint8], layer: Layer) -> Colours:
    """(h, w, 3) of 255 -> the colour of a class, the denser the more probable it is; or where no
    class is probable.
    """
    if layer is Layer.UNCERTAIN:
        # From sure (one class has all) to no idea (a third each).
        strength = np.clip((255 - planes.max(axis=2).astype(np.float32)) * 1.5, 0, 255)
        colour = _UNCERTAIN_BGR
    else:
        is_good = layer is Layer.UNDIFFERENTIATED
        which = CellClass.UNDIFFERENTIATED if is_good else CellClass.DIFFERENTIATED
        colour = UNDIFFERENTIATED_BGR if is_good else DIFFERENTIATED_BGR
        strength = planes[..., int(which)]
    drawn = np.empty((*planes.shape[:2], 4), np.uint8)
    drawn[..., :3] = colour
    drawn[..., 3] = strength
    return drawn


def striped(rows: int, columns: int, *, top: int, left: int, unread: bool) -> Colours:
    """Stripes for what cannot be shown; the same ones whatever tile they lie in.

    unread : the scan has a file that cannot be read, or once had; else nothing ever came
    """
    down = np.arange(top, top + rows)[:, None]
    across = np.arange(left, left + columns)[None, :]
    slant = down + across if unread else down - across
    is_first = (slant // _STRIPE_PX) % 2 == 0
    one, other = _NOT_READ_BGR if unread else _STRIPES_BGR
    drawn = np.empty((rows, columns, 4), np.uint8)
    drawn[..., :3] = np.where(
        is_first[..., None], np.array(one, np.uint8), np.array(other, np.uint8)
    )
    drawn[..., 3] = 255
    return drawn


def over(below: NDArray[np.uint8], above: Colours, opacity: float) -> NDArray[np.uint8]:
    """(h, w, 3) with colours laid over it."""
    alpha = above[..., 3:].astype(np.float32) * np.float32(opacity / 255)
    mixed = below.astype(np.float32) * (1 - alpha) + above[..., :3].astype(np.float32) * alpha
    return np.asarray(np.rint(mixed), np.uint8)
