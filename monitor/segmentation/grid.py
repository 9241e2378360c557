"""A grid coarser than the pixels, laid over a part of a label map. Pure.

Distances on it are bounds: from the middle of one square to the farthest corner of another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from model.classes import UNKNOWN
from monitor.segmentation.distances import Bools, Floats, distances

Labels = NDArray[np.uint8]
# Rows and columns of a grid, none below 0.
Window = tuple[slice, slice]
# From the middle of one square of the grid to the farthest corner of another.
HALF_DIAGONAL = math.sqrt(0.5)


@dataclass(frozen=True)
class Grid:
    """A grid whose squares are `factor` pixels wide, `margin` squares around a crop."""

    place: tuple[int, int]
    factor: int
    margin: int
    shape: tuple[int, int]

    def fine(self, mask: Bools, window: Window) -> Bools:
        """A mask of the crop in the window's pixels; what lies outside of the crop is False."""
        return self._laid(mask, (0, 0), window, np.bool_(False))[0]

    def cut(self, labels: Labels, window: Window) -> tuple[Labels, Bools]:
        """The window's part of a label map, and which of it lies in the picture at all."""
        return self._laid(labels, self.place, window, np.uint8(UNKNOWN))

    def _laid(
        self, whole: NDArray[Any], place: tuple[int, int], window: Window, empty: np.generic
    ) -> tuple[NDArray[Any], Bools]:
        """`whole`, in which the crop begins at `place`, as far as it lies in the window."""
        shape = tuple((part.stop - part.start) * self.factor for part in window)
        laid, covered = np.full(shape, empty), np.zeros(shape, bool)
        source, target = [], []
        for part, at, length, full in zip(window, place, shape, whole.shape, strict=True):
            first = at + (part.start - self.margin) * self.factor
            begin, end = max(0, first), max(0, first, min(first + length, full))
            source.append(slice(begin, end))
            target.append(slice(begin - first, end - first))
        laid[tuple(target)], covered[tuple(target)] = whole[tuple(source)], True
        return laid, covered

    def all_of(self, mask: Bools) -> Bools:
        """Squares all of whose pixels are set; `mask` is of the crop."""
        inner = tuple(slice(self.margin, length - self.margin) for length in self.shape)
        full = np.zeros(self.shape, bool)
        full[inner] = self._squares(self.fine(mask, (inner[0], inner[1]))).all(axis=(1, 3))
        return full

    def any_of(self, mask: Bools) -> Bools:
        """Squares any of whose pixels is set; `mask` is of a window."""
        return np.asarray(self._squares(mask).any(axis=(1, 3)))

    def _squares(self, fine: Bools) -> Bools:
        rows, columns = (length // self.factor for length in fine.shape)
        return fine.reshape(rows, self.factor, columns, self.factor)


def distance_to(mask: Bools) -> Floats:
    """Steps from the middle of each square to the nearest point of a set one, at least."""
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    return np.asarray(np.maximum(distances(~mask) - np.float32(HALF_DIAGONAL), 0), np.float32)


def grown_by(mask: Bools, radius: float) -> Bools:
    grown = np.zeros_like(mask)
    box = box_around(mask, math.ceil(radius) + 1)
    grown[box] = distances(~mask[box]) <= radius
    return grown


def box_around(mask: Bools, reach: int) -> Window:
    """The part of a grid that has all points of a mask, and `reach` more on each side."""
    left, top, columns, rows = cv2.boundingRect(mask.view(np.uint8))
    return (
        slice(max(0, top - reach), min(mask.shape[0], top + rows + reach)),
        slice(max(0, left - reach), min(mask.shape[1], left + columns + reach)),
    )
