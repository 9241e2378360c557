"""How deep a component is, and which of its points are deep enough. Pure.

An exact map of distances is slow, and of most of a component nobody asks. Distances by steps from
pixel to pixel settle most of it, and only about what they leave open the exact map is made.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]

# Of smaller components the exact map costs less than the way around it.
_SMALL_PX = 1024
# OpenCV's steps of 1, 1.4 and 2.1969 make a way that is at most so much shorter or longer than the
# straight one: by the knight's move, and a fifth of the way from the axis to it.
_SHORTEST, _LONGEST = 2.1969 / math.sqrt(5), math.hypot(1, 0.1969)


def distances(inside: Bools) -> Floats:
    """Of each set pixel to the nearest one that is not; beyond the array nothing is known."""
    found = cv2.distanceTransform(inside.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(found, np.float32)


def deepest(inside: Bools) -> tuple[float, int, int]:
    """Radius, row and column of the largest disc in a mask, beyond whose edge nothing is set.

    Of several the first from the top, then from the left. Where nothing is set the radius is 0.
    """
    # One row and column of nothing around it: the edge counts as outside.
    framed = np.asarray(
        cv2.copyMakeBorder(inside.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0),
        np.uint8,
    )
    (top, bottom), (left, right), reach = _where_deepest(framed)
    first_row, first_column = max(0, top - reach), max(0, left - reach)
    near = framed[first_row : bottom + reach, first_column : right + reach]
    far = cv2.distanceTransform(near, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    row, column = top - first_row, left - first_column
    # Squares of distances are whole numbers; their roots may differ in the last digit.
    squared = np.square(far[row : row + bottom - top, column : column + right - left]).round()
    place = int(squared.argmax())
    row, column = divmod(place, squared.shape[1])
    return math.sqrt(float(squared[row, column])), top + row - 1, left + column - 1


def are_far(inside: Bools, wanted: Bools, least: float) -> Bools:
    """Which of the wanted pixels are set, and so far or farther from every one that is not.

    least : between pixel centres, more than 0
    Beyond the array nothing is known, and nothing counts as near.
    """
    if inside.all():
        return wanted.copy()
    steps = cv2.distanceTransform(inside.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    far: Bools = wanted & (steps >= 1.001 * least * _LONGEST)
    is_open: Bools = wanted & ~far & (steps > 0.999 * least * _SHORTEST)
    left, top, columns, rows = cv2.boundingRect(is_open.view(np.uint8))
    if not rows:
        return far
    reach = math.ceil(least) + 2
    first_row, first_column = max(0, top - reach), max(0, left - reach)
    near = inside[first_row : top + rows + reach, first_column : left + columns + reach]
    box = slice(top, top + rows), slice(left, left + columns)
    if near.all():
        far[box] |= is_open[box]
        return far
    exact = distances(near)[top - first_row :, left - first_column :][:rows, :columns]
    far[box] |= is_open[box] & (exact >= least)
    return far


def _where_deepest(framed: NDArray[np.uint8]) -> tuple[tuple[int, int], tuple[int, int], int]:
    """Rows and columns between which the deepest pixels lie, and no less than their depth."""
    height, width = framed.shape
    if framed.size <= _SMALL_PX:
        return (0, height), (0, width), 0
    steps = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_5)
    most = float(cv2.minMaxLoc(steps)[1])
    # A thousandth of room: the steps are added up in fixed point.
    least = 0.999 * most * _SHORTEST / _LONGEST
    left, top, columns, rows = cv2.boundingRect((steps >= least).view(np.uint8))
    return (top, top + rows), (left, left + columns), math.ceil(most / _SHORTEST) + 2
