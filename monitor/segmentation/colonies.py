"""Label map -> areas, colonies, regions to remove. Pure: arrays in, plain values out.

A label map is (H, W) uint8: 0 background, 1 undifferentiated, 2 differentiated, 255 no class
(outside the vessel). Points are (row, column), pixel centres at whole numbers; neighbours touch at
sides or corners (8).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from model.classes import UNKNOWN, CellClass
from monitor.culture import Colony, FieldAreas, Region

# Smaller specks are debris or single dead cells: an iPS colony of ten cells covers some 1,500 um2.
MIN_COLONY_UM2 = 1_500.0
MAX_POLYGON_POINTS = 200
MOST_PIECES = 65_000
_POLYGON_ERROR_PX = 0.75
_COARSER = 1.3

Labels = NDArray[np.uint8]
_Bools = NDArray[np.bool_]


def measure_areas(labels: Labels) -> FieldAreas:
    """Count the pixels of each class; those without a class count nowhere.

    Raises ValueError where the label map holds any other value.
    """
    counts = {kind: int(np.count_nonzero(labels == kind)) for kind in CellClass}
    if sum(counts.values()) + int(np.count_nonzero(labels == UNKNOWN)) != labels.size:
        odd = sorted(set(np.unique(labels).tolist()) - {*CellClass, UNKNOWN})
        raise ValueError(f"a label map holds 0, 1, 2 and {UNKNOWN}, this one also {odd[:5]}")
    return FieldAreas(
        background_px=counts[CellClass.BACKGROUND],
        undifferentiated_px=counts[CellClass.UNDIFFERENTIATED],
        differentiated_px=counts[CellClass.DIFFERENTIATED],
    )


def find_colonies(labels: Labels, *, min_area_px: int) -> tuple[Colony, ...]:
    """Connected regions of cells, largest first, labelled 1, 2, ... in that order."""
    pieces = _Pieces(_cells(labels))
    count = pieces.count_at_least(min_area_px)
    if not count:
        return ()
    inside = pieces.map[labels == CellClass.DIFFERENTIATED]
    differentiated = np.bincount(inside, minlength=pieces.total + 1)
    return tuple(
        Colony(
            label=label,
            area_px=pieces.area(label),
            differentiated_px=int(differentiated[pieces.number(label)]),
            centroid=pieces.centroid(label),
            bounds=pieces.bounds(label),
        )
        for label in range(1, count + 1)
    )


def number_colonies(labels: Labels) -> NDArray[np.uint16]:
    """(H, W): connected regions of cells of whatever size, numbered 1, 2, ..., largest first.

    The 65,000 largest, where specks make more of them.
    """
    pieces = _Pieces(_cells(labels))
    count = min(pieces.count_at_least(1), MOST_PIECES)
    numbers = np.zeros(pieces.total + 1, np.uint16)
    for label in range(1, count + 1):
        numbers[pieces.number(label)] = label
    numbered: NDArray[np.uint16] = numbers[pieces.map]
    return numbered


def find_regions(
    labels: Labels,
    probability: NDArray[np.floating],
    *,
    min_area_px: int,
    colonies: Sequence[Colony] = (),
) -> tuple[Region, ...]:
    """Connected differentiated regions, largest first, labelled 1, 2, ... in that order.

    probability : (H, W), of the differentiated class, 0..1
    colonies : what `find_colonies` made of the same label map; regions then name theirs

    The polygon is the outer outline through the centres of the border pixels, at most 0.75 px off,
    or as much more as it takes to stay within 200 points. The pick point is the pixel farthest from
    everything that is not in the region, holes and the picture's edge included, so that it never
    falls outside as a crescent's centroid does.
    """
    if probability.shape != labels.shape:
        raise ValueError(
            f"probability {probability.shape} and label map {labels.shape} differ in shape"
        )
    pieces = _Pieces(labels == CellClass.DIFFERENTIATED)
    count = pieces.count_at_least(min_area_px)
    if not count:
        return ()
    cells = _Pieces(_cells(labels)) if colonies else None
    known = {colony.label for colony in colonies}
    return tuple(_region(pieces, label, probability, cells, known) for label in range(1, count + 1))


def _region(
    pieces: _Pieces,
    label: int,
    probability: NDArray[np.floating],
    cells: _Pieces | None,
    known: set[int],
) -> Region:
    top, left, bottom, right = pieces.bounds(label)
    inside = pieces.map[top:bottom, left:right] == pieces.number(label)
    # One row and column of nothing around it: the picture's edge counts as outside.
    framed = np.pad(inside.view(np.uint8), 1)
    distance = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    _, radius, _, (pick_column, pick_row) = cv2.minMaxLoc(distance)
    row, column = top + pick_row - 1, left + pick_column - 1
    outline = _outline(framed) + np.array([top - 1, left - 1])
    colony = None if cells is None else cells.label_at(row, column)
    return Region(
        label=label,
        area_px=pieces.area(label),
        polygon=tuple((float(point[0]), float(point[1])) for point in outline),
        pick_point=(float(row), float(column)),
        inscribed_radius_px=float(radius),
        mean_probability=float(
            probability[top:bottom, left:right].mean(where=inside, dtype=np.float64)
        ),
        colony=colony if colony in known else None,
    )


def _outline(mask: Labels) -> NDArray[np.float64]:
    """Outer outline of the only piece of `mask` as (N, 2) (row, column), at least 3 points."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    contour = contours[0]
    error = _POLYGON_ERROR_PX
    polygon = cv2.approxPolyDP(contour, error, True)
    while len(polygon) > MAX_POLYGON_POINTS:
        error *= _COARSER
        polygon = cv2.approxPolyDP(contour, error, True)
    if len(polygon) < 3 or cv2.contourArea(polygon) == 0:
        # A dot or a line, one pixel wide: its outline is the box around its pixels.
        (x, y), (width, height), angle = cv2.minAreaRect(contour)
        polygon = cv2.boxPoints(((x, y), (width + 1, height + 1), angle))
    return np.asarray(polygon, dtype=np.float64).reshape(-1, 2)[:, ::-1]


def _cells(labels: Labels) -> _Bools:
    cells: _Bools = (labels == CellClass.UNDIFFERENTIATED) | (labels == CellClass.DIFFERENTIATED)
    return cells


class _Pieces:
    """Connected pieces of a mask. Labels 1, 2, ... go by size; `number` is the value in `map`.

    The order depends on the mask alone, so that two calls give the same label to the same piece.
    """

    def __init__(self, mask: _Bools) -> None:
        found, self.map, self._stats, self._centroids = cv2.connectedComponentsWithStats(
            mask.view(np.uint8), connectivity=8, ltype=cv2.CV_32S
        )
        self.total = int(found) - 1
        self._areas = self._stats[:, cv2.CC_STAT_AREA]
        self._numbers = np.argsort(-self._areas[1:], kind="stable") + 1

    def count_at_least(self, min_area_px: int) -> int:
        return int(np.count_nonzero(self._areas[1:] >= max(min_area_px, 1)))

    def number(self, label: int) -> int:
        return int(self._numbers[label - 1])

    def label_at(self, row: int, column: int) -> int | None:
        number = self.map[row, column]
        return int(np.flatnonzero(self._numbers == number)[0]) + 1 if number else None

    def area(self, label: int) -> int:
        return int(self._areas[self.number(label)])

    def centroid(self, label: int) -> tuple[float, float]:
        column, row = self._centroids[self.number(label)]
        return float(row), float(column)

    def bounds(self, label: int) -> tuple[int, int, int, int]:
        left, top, width, height = (int(value) for value in self._stats[self.number(label), :4])
        return top, left, top + height, left + width
