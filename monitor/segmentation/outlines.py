"""Mask -> outline with its holes, as polygons. Pure: an array in, plain values out.

Outlines run along the edges of pixels, so that they hold exactly the area of the mask, and every
pixel's centre lies clearly on one side. The component is connected over corners (8), its holes are
not (4): where two of its pixels touch at a corner only, the outline passes beside that corner, on
either side. Rings therefore never touch themselves or one another.

Points are (row, column), pixel centres at whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import LinearRing, Polygon

from monitor.culture import Ring

_Bools = NDArray[np.bool_]
Points = NDArray[np.float64]

MAX_POLYGON_POINTS = 4000
"""Of one ring."""

MAX_HOLES = 500
"""Of a component with more holes, the largest are kept."""

_ERROR_PX = 0.75
_COARSER = 1.5
_MOST_ERROR_PX = 1e4
# Of a ring around less, a few points are a poor likeness.
_SMALL_PX = 40.0
# In smaller boxes any number of holes is soon counted.
_SOON_COUNTED_PX = 1_000_000
# How far beside a corner, along the pixels' edges, an outline passes it.
_BESIDE = 0.2

# Neighbours in the order of turning, from the right one, over the lower one (rows run down).
_AROUND = np.array([(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)])
_CODE = np.zeros((3, 3), np.intp)
_CODE[_AROUND[:, 0] + 1, _AROUND[:, 1] + 1] = np.arange(8)


@dataclass(frozen=True)
class Outline:
    """shell : outer ring; holes : inner ones, largest first; none of them closed"""

    shell: Ring
    holes: tuple[Ring, ...] = ()


def outline_of(mask: _Bools, place: tuple[int, int] = (0, 0), *, factor: int = 1) -> Outline:
    """The outline of a mask's largest component, at most 0.75 px off, or as much more as it takes
    to stay within `MAX_POLYGON_POINTS` a ring.

    mask : (h, w), at least one pixel set; of a whole picture, or of a box in it
    place : row and column of the box's first pixel
    factor : each element of the mask stands for a square of so many pixels
    """
    rings = _simplified(_borders(mask))
    offset = np.array(place) + (factor - 1) / 2

    def placed(ring: Points) -> Ring:
        moved = (ring * factor + offset).round(2)
        return tuple(map(tuple, moved.tolist()))

    return Outline(placed(rings[0]), tuple(placed(ring) for ring in rings[1:]))


@dataclass(frozen=True, eq=False)
class _Border:
    """One ring, (N, 2) each, not closed.

    corners : of the pixels' edges, where the outline turns: its area is that of the pixels
    middles : of all edges: of the same area but for half a pixel, and without their steps
    """

    corners: Points
    middles: Points

    @cached_property
    def area(self) -> float:
        return float(Polygon(self.corners).area)

    @property
    def is_small(self) -> bool:
        return self.area < _SMALL_PX


def _borders(mask: _Bools) -> list[_Border]:
    """The outer border of the mask's largest component, then those of its holes, largest first."""
    pixels = np.asarray(mask, np.uint8)
    if mask.size > 4 * MAX_HOLES:
        pixels = _with_few_holes(pixels)
    contours, hierarchy = cv2.findContours(pixels, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    framed = np.pad(pixels, 1)
    of_whom: dict[int, list[_Border]] = {}
    for number, (contour, parent) in enumerate(
        zip(contours, hierarchy[0][:, 3].tolist(), strict=True)
    ):
        border = _along_edges(contour.reshape(-1, 2)[:, ::-1].astype(np.intp), framed)
        of_whom.setdefault(number if parent < 0 else parent, []).append(border)
    return max(
        (sorted(borders, key=lambda one: -one.area) for borders in of_whom.values()),
        key=lambda borders: borders[0].area,
    )


def _with_few_holes(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Without its smallest holes, where it has more than may be kept."""
    side = 3
    while pixels.size > _SOON_COUNTED_PX and _count_holes(pixels) > 20 * MAX_HOLES:
        kernel = np.ones((side, side), np.uint8)
        pixels = np.asarray(cv2.morphologyEx(pixels, cv2.MORPH_CLOSE, kernel), np.uint8)
        side = 2 * side - 1
    empty = (pixels == 0).astype(np.uint8)
    # The statistics take five times as long as the components alone.
    if cv2.connectedComponents(empty, connectivity=4)[0] - 1 <= MAX_HOLES:
        return pixels
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(empty, connectivity=4)
    left, top, width, height, areas = stats.T
    inner = (left > 0) & (top > 0) & (left + width < pixels.shape[1])
    inner &= top + height < pixels.shape[0]
    inner[0] = False
    holes = np.flatnonzero(inner)
    small = np.zeros(count, bool)
    small[holes[np.argsort(-areas[holes], kind="stable")[MAX_HOLES:]]] = True
    return pixels | small[numbers].astype(np.uint8)


def _count_holes(pixels: NDArray[np.uint8]) -> int:
    """Of one component: by the 2 x 2 squares that have one, three, or two opposite pixels of it
    (Gray, Local properties of binary images in two dimensions, 1971).
    """
    framed = cv2.copyMakeBorder(pixels, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    codes = cv2.filter2D(framed, -1, np.array([[1, 2], [4, 8]], np.float32), anchor=(1, 1))
    counts = cv2.calcHist([np.asarray(codes, np.uint8)[1:, 1:]], [0], None, [16], [0, 16]).ravel()
    ones, threes, opposite = counts[[1, 2, 4, 8]], counts[[7, 11, 13, 14]], counts[[6, 9]]
    return 1 - round(float(ones.sum() - threes.sum() - 2 * opposite.sum()) / 4)


def _along_edges(chain: NDArray[np.intp], framed: NDArray[np.uint8]) -> _Border:
    """A border of pixels, as OpenCV follows it, along its pixels' edges.

    chain : (N, 2), with what is not of the component on its right hand
    framed : the mask with one row and column of nothing around it

    From pixel to pixel, OpenCV looks around from where it came from until it meets one of the
    component; each side that it passes is an edge of the outline.
    """
    if len(chain) == 1:
        came_from = turns = np.array([7])  # over all four sides
    else:
        steps = np.roll(chain, -1, axis=0) - chain
        went_to = _CODE[steps[:, 0] + 1, steps[:, 1] + 1]
        came_from = (np.roll(went_to, 1) + 4) % 8
        turns = (came_from - went_to - 1) % 8
    looks = came_from[:, None] - 1 - np.arange(7)
    passed = (np.arange(7) < turns[:, None]) & (looks % 2 == 0)
    pixels = np.broadcast_to(chain[:, None, :], (*looks.shape, 2))[passed]
    sides = looks[passed] % 8
    outward, along = _AROUND[sides], _AROUND[(sides - 2) % 8]
    corners = pixels + (outward + along) / 2
    ahead, turned = np.roll(pixels, -1, axis=0), np.roll(sides, -1) != sides
    # Two pixels that touch at this corner only: the one between them, ahead of the first, is not
    # of the component.
    beyond = pixels + along + 1
    diagonal = (np.abs(ahead - pixels).min(axis=1) == 1) & (framed[beyond[:, 0], beyond[:, 1]] == 0)
    onward = np.roll(along, -1, axis=0)
    twice = np.stack([corners - _BESIDE * along, corners + _BESIDE * onward], axis=1)
    points = np.where(diagonal[:, None, None], twice, corners[:, None, :])
    kept = np.stack([turned, turned & diagonal], axis=1)
    return _Border(points[kept], pixels + outward / 2)


def _simplified(borders: list[_Border]) -> list[Points]:
    """Fewer points. A few are a poor likeness of what is small: that stays as it is."""
    small = [one.is_small for one in borders]
    rings = [one.corners if one.is_small else one.middles for one in borders]
    if not _are_valid(rings):
        rings = [one.corners for one in borders]
    error = _ERROR_PX
    while True:
        fewer = _with_fewer_points(rings, small, error)
        if fewer is None:
            return rings
        rings = fewer
        if max(map(len, rings)) <= MAX_POLYGON_POINTS or error > _MOST_ERROR_PX:
            return rings
        error *= _COARSER


def _with_fewer_points(rings: list[Points], small: list[bool], error: float) -> list[Points] | None:
    """Ring by ring, which is quick; where rings then meet, all of them together."""
    quick = [
        ring if keep else _points(shapely.simplify(LinearRing(ring), error))
        for ring, keep in zip(rings, small, strict=True)
    ]
    if _are_valid(quick):
        return quick
    whole = shapely.simplify(Polygon(rings[0], rings[1:]), error, preserve_topology=True)
    together = [_points(ring) for ring in (whole.exterior, *whole.interiors)]
    if len(together) != len(rings):
        return None
    kept = [
        before if keep else after
        for before, after, keep in zip(rings, together, small, strict=True)
    ]
    return next((one for one in (kept, together) if _are_valid(one)), None)


def _are_valid(rings: list[Points]) -> bool:
    if min(map(len, rings)) < 3:
        return False
    return bool(Polygon(rings[0], rings[1:]).is_valid)


def _points(ring: LinearRing) -> Points:
    return np.asarray(shapely.get_coordinates(ring)[:-1], np.float64)
