"""Which pixels lie in an outline: those whose centres do, each on exactly one side of an edge.

Outlines that touch share edges, and an edge may run through pixel centres. A centre on an edge then
belongs to what lies right of it, or below where the edge is level. So parts that make up a whole
share out its pixels: none is left between them and none is in two.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

_NEAR: Final = 1e-6
"""Crossings nearer than that to a pixel's centre, in pixels, are worked out exactly."""


def pixels_within(
    where: BaseGeometry, shape: tuple[int, int]
) -> tuple[slice, slice, NDArray[np.bool_]]:
    """The pixels of an area, holes left out (even-odd rule).

    where : polygons in pixels, (x, y), from the top left corner of the top left pixel
    shape : (H, W) of the image
    Returns rows, columns and a mask of that part of the image; all empty where no pixel is in it.
    """
    height, width = shape
    nothing = slice(0, 0), slice(0, 0), np.zeros((0, 0), bool)
    if where.is_empty:
        return nothing
    left, top, right, bottom = where.bounds
    first_row, last_row = max(0, math.floor(top)), min(height, math.ceil(bottom))
    first_column, last_column = max(0, math.floor(left)), min(width, math.ceil(right))
    if first_row >= last_row or first_column >= last_column:
        return nothing
    rows, columns = last_row - first_row, last_column - first_column
    # At each place an odd number of edges has been crossed since the left: then it is inside.
    crossed = np.zeros((rows, columns + 1), np.uint8)
    for ring in _rings(where):
        row, column = _crossings(ring, first_row, last_row)
        place = np.clip(column - first_column, 0, columns)
        np.add.at(crossed, (row - first_row, place), 1)
    inside = (np.cumsum(crossed[:, :columns], axis=1, dtype=np.uint32) % 2).astype(bool)
    return slice(first_row, last_row), slice(first_column, last_column), inside


def work_of(where: BaseGeometry, shape: tuple[int, int]) -> tuple[int, int]:
    """What `pixels_within` would have to do: crossings of edges with rows of pixels, and pixels of
    the part of the image that is looked at.
    """
    if where.is_empty:
        return 0, 0
    height, width = shape
    left, top, right, bottom = where.bounds
    rows = min(height, math.ceil(bottom)) - max(0, math.floor(top))
    columns = min(width, math.ceil(right)) - max(0, math.floor(left))
    crossings = 0
    for ring in _rings(where):
        y = np.clip(ring[:, 1], 0, height)
        crossings += len(y) + int(np.abs(np.diff(y)).sum())
    return crossings, max(0, rows) * max(0, columns)


def _rings(where: BaseGeometry) -> list[NDArray[np.float64]]:
    found = []
    for part in shapely.get_parts(where):
        if part.geom_type in ("GeometryCollection", "MultiPolygon"):
            found += _rings(part)
        elif part.geom_type == "Polygon" and not part.is_empty:
            rings = (part.exterior, *part.interiors)
            found += [np.asarray(ring.coords, np.float64)[:, :2] for ring in rings]
    return found


def _crossings(
    ring: NDArray[np.float64], first_row: int, last_row: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """For each edge and each row of centres that it crosses: the row, and the first column whose
    centre does not lie left of it.
    """
    start, end = ring[:-1], ring[1:]
    # The same edge of two outlines is run through in opposite directions: always from the top.
    down = start[:, 1] <= end[:, 1]
    high = np.where(down[:, None], start, end)
    low = np.where(down[:, None], end, start)
    # Centres at row + 0.5; an edge has those from its upper end on, without its lower end.
    first = np.clip(np.ceil(high[:, 1] - 0.5), first_row, last_row).astype(np.intp)
    last = np.clip(np.ceil(low[:, 1] - 0.5), first_row, last_row).astype(np.intp)
    count = np.maximum(last - first, 0)
    edge = np.repeat(np.arange(len(count)), count)
    if not len(edge):
        return edge, edge
    row = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    (x0, y0), (x1, y1) = high[edge].T, low[edge].T
    at = x0 + (row + 0.5 - y0) * (x1 - x0) / (y1 - y0) - 0.5
    column = np.ceil(at)
    near = np.abs(at - np.round(at)) < _NEAR * np.maximum(1.0, np.abs(at))
    for i in np.flatnonzero(near & (x0 != x1)):
        column[i] = _first_column(high[edge[i]].tolist(), low[edge[i]].tolist(), int(row[i]))
    limit = float(np.iinfo(np.int32).max)
    return row.astype(np.intp), np.clip(column, -limit, limit).astype(np.intp)


def _first_column(high: list[float], low: list[float], row: int) -> int:
    """As `_crossings`, without rounding. high, low : ends of the edge, (x, y)"""
    (x0, y0), (x1, y1) = map(Fraction, high), map(Fraction, low)
    half = Fraction(1, 2)
    return math.ceil(x0 + (row + half - y0) * (x1 - x0) / (y1 - y0) - half)
