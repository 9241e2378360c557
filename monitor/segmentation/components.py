"""Connected components of a label map: of cells, and of differentiated ones. Pure.

Found a strip of rows at a time, so that memory does not grow with the image: components that touch
across the border of two strips are the same component. However the map is cut into strips, the
components and their order are the same.

A label map is (H, W) uint8; neighbours touch at sides or corners (8).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from model.classes import CellClass
from model.strips import in_strips

Labels = NDArray[np.uint8]
_Bools = NDArray[np.bool_]
_Ints = NDArray[np.intp]

STRIP_PIXELS = 4_000_000
"""Larger label maps are gone through in strips of so many pixels."""

LARGEST_BOX_PIXELS = 16_000_000
"""Components in a larger box are drawn coarser: only their outline and pick point depend on it."""


def are_cells(labels: Labels) -> _Bools:
    """Where a label map shows cells of either class."""
    found: _Bools = (labels == CellClass.UNDIFFERENTIATED) | (labels == CellClass.DIFFERENTIATED)
    return found


def are_differentiated(labels: Labels) -> _Bools:
    """Where a label map shows differentiated cells."""
    return np.asarray(labels == CellClass.DIFFERENTIATED)


MOST_NUMBERED = 65_000


class Components:
    """The connected components of a label map. Each kind is labelled 1, 2, ... by size.

    The order depends on the map alone, so that two calls give the same label to the same component:
    largest first, then from top and left.
    """

    def __init__(self, labels: Labels, *, strip_pixels: int = STRIP_PIXELS) -> None:
        self.labels = labels
        height, width = labels.shape
        self._strips = in_strips(height, width, strip_pixels)
        of_cells, of_differentiated = _Collected(), _Collected()
        parents: list[_Ints] = []
        for top, bottom in self._strips:
            strip = labels[top:bottom]
            all_cells, some = are_cells(strip), are_differentiated(strip)
            cell_map, cell_runs = _connected(all_cells)
            map_, runs = _connected(some)
            # A differentiated component lies within one of cells: any of its pixels says which.
            parent = np.zeros(runs.count, np.intp)
            parent[runs.numbers] = cell_map[runs.rows, runs.starts] - 1 + of_cells.count
            parents.append(parent)
            of_cells.add(cell_map, cell_runs, top)
            of_differentiated.add(map_, runs, top)
        whole = len(self._strips) == 1
        self.cells = of_cells.joined(cell_map if whole else None)
        self.differentiated = of_differentiated.joined(map_ if whole else None)
        # Label of the colony that each differentiated component lies in, by its label; 0 first.
        self.colony_of = np.zeros(self.differentiated.total + 1, np.intp)
        parent = np.concatenate(parents)
        self.colony_of[self.differentiated.label_of] = self.cells.label_of[parent]

    def differentiated_px(self) -> _Ints:
        """Differentiated pixels of each colony, by its label; 0 first."""
        areas = self.differentiated.areas.astype(np.float64)
        found = np.bincount(self.colony_of, weights=areas, minlength=self.cells.total + 1)
        return found.astype(np.intp)

    def mask(self, kind: Kind, label: int) -> _Bools:
        """Which pixels of a component's box (see `Kind.bounds`) belong to it."""
        top, left, bottom, right = kind.bounds(label)
        if kind.map is not None:
            return np.asarray(kind.map[top:bottom, left:right] == kind.numbers[label])
        crop = self.labels[top:bottom, left:right]
        return filling(are_cells(crop) if kind is self.cells else are_differentiated(crop))

    def squares(self, kind: Kind, label: int, factor: int) -> NDArray[np.int32]:
        """Pixels of a component in each square of its box, `factor` pixels wide."""
        top, left, bottom, right = kind.bounds(label)
        rows, columns = -(-(bottom - top) // factor), -(-(right - left) // factor)
        held = np.zeros((rows, columns), np.int32)
        first_number = 0
        for above, below in self._strips:
            strip = self.labels[above:below]
            mask = are_cells(strip) if kind is self.cells else are_differentiated(strip)
            count, map_ = _numbered(mask)
            labels = np.concatenate([[0], kind.label_of[first_number : first_number + count - 1]])
            first_number += count - 1
            begin, end = max(top, above), min(bottom, below)
            if begin >= end:
                continue
            inside = labels[map_[begin - above : end - above, left:right]] == label
            inside = np.pad(inside, ((0, 0), (0, columns * factor - inside.shape[1])))
            across = inside.reshape(len(inside), columns, factor).sum(axis=2, dtype=np.int32)
            np.add.at(held, (np.arange(begin, end) - top) // factor, across)
        return held


def number_cells(
    labels: Labels, *, most: int = MOST_NUMBERED, strip_pixels: int = STRIP_PIXELS
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """(H, W): components of cells, numbered anyhow, 0 where none is; and by that number their label
    by size, 0 first and for those that are not among the `most` largest.
    """
    found = _Collected()
    strips = in_strips(labels.shape[0], labels.shape[1], strip_pixels)
    for top, bottom in strips:
        map_, runs = _connected(are_cells(labels[top:bottom]))
        found.add(map_, runs, top)
    label_of = found.joined(None).label_of
    label_of = np.where(label_of > most, 0, label_of)
    if len(strips) == 1 and len(label_of) < 2**16:
        return map_.astype(np.uint16), np.append(0, label_of).astype(np.uint16)
    numbers = np.empty(labels.shape, np.uint16)
    first = 0
    for top, bottom in strips:
        count, map_ = _numbered(are_cells(labels[top:bottom]))
        own = np.append(0, label_of[first : first + count - 1]).astype(np.uint16)
        numbers[top:bottom] = own[map_]
        first += count - 1
    return numbers, np.arange(int(label_of.max(initial=0)) + 1, dtype=np.uint16)


@dataclass(frozen=True, eq=False)
class Kind:
    """All components of one kind. Arrays are by label, with a 0 first.

    sums : (2, N + 1) of the pixels' rows and columns
    boxes : (4, N + 1), first row, first column, last row + 1, last column + 1
    label_of : of each number that a component had within its strip, counted through
    map, numbers : (H, W) numbers, and the number of each label, where the map was one strip
    """

    areas: _Ints
    sums: NDArray[np.float64]
    boxes: _Ints
    label_of: _Ints
    map: NDArray[np.int32] | None
    numbers: _Ints

    @property
    def total(self) -> int:
        return len(self.areas) - 1

    def count_at_least(self, min_area_px: int) -> int:
        return int(np.count_nonzero(self.areas[1:] >= max(min_area_px, 1)))

    def area(self, label: int) -> int:
        return int(self.areas[label])

    def centroid(self, label: int) -> tuple[float, float]:
        row, column = self.sums[:, label] / self.areas[label]
        return float(row), float(column)

    def bounds(self, label: int) -> tuple[int, int, int, int]:
        top, left, bottom, right = (int(value) for value in self.boxes[:, label])
        return top, left, bottom, right


def filling(mask: _Bools) -> _Bools:
    """Of the components in a box the one that touches all four of its sides.

    There is only one: a way from left to right crosses any way from top to bottom, and where they
    cross they touch. The largest need not be it: it may lie in another's bay.
    """
    _, components = _numbered(mask)
    sides = [components[0], components[-1], components[:, 0], components[:, -1]]
    common = set(sides[0].tolist()).intersection(*(side.tolist() for side in sides[1:])) - {0}
    (number,) = common
    return np.asarray(components == number)


@dataclass(frozen=True, eq=False)
class _Runs:
    """Stretches of set pixels in the rows of a strip. numbers : from 0, of each one's component"""

    rows: _Ints
    starts: _Ints
    ends: _Ints
    numbers: _Ints
    count: int


def _connected(mask: _Bools) -> tuple[NDArray[np.int32], _Runs]:
    count, map_ = _numbered(mask)
    rows, starts, ends = runs_of(mask)
    return map_, _Runs(rows, starts, ends, map_[rows, starts].astype(np.intp) - 1, count - 1)


def runs_of(mask: _Bools) -> tuple[_Ints, _Ints, _Ints]:
    """Row, first column and last column + 1 of each stretch of set pixels, row by row."""
    height, width = mask.shape
    # Each row begins and ends outside.
    edges = np.empty((height, width + 1), bool)
    edges[:, :1], edges[:, width:] = mask[:, :1], mask[:, -1:]
    np.not_equal(mask[:, 1:], mask[:, :-1], out=edges[:, 1:width])
    changes = np.flatnonzero(edges)
    rows, starts = np.divmod(changes[0::2], width + 1)
    return rows, starts, changes[1::2] - rows * (width + 1)


def _numbered(mask: _Bools) -> tuple[int, NDArray[np.int32]]:
    count, map_ = cv2.connectedComponents(mask.view(np.uint8), connectivity=8, ltype=cv2.CV_32S)
    return count, np.asarray(map_, np.int32)


class _Collected:
    """Components of one kind as they are found, strip by strip."""

    def __init__(self) -> None:
        self.count = 0
        self._areas: list[NDArray[np.float64]] = []
        self._sums: list[NDArray[np.float64]] = []
        self._boxes: list[_Ints] = []
        self._links: list[_Ints] = []
        self._last_row: _Ints | None = None

    def add(self, map_: NDArray[np.int32], runs: _Runs, top: int) -> None:
        lengths = (runs.ends - runs.starts).astype(np.float64)
        rows = runs.rows + top
        middles = (runs.starts + runs.ends - 1) / 2

        def total(weights: NDArray[np.float64]) -> NDArray[np.float64]:
            counted = np.bincount(runs.numbers, weights=weights, minlength=runs.count)
            return np.asarray(counted, np.float64)

        boxes = np.zeros((4, runs.count), np.intp)
        # Runs come row by row: the last write stays.
        boxes[0, runs.numbers[::-1]] = rows[::-1]
        boxes[2, runs.numbers] = rows + 1
        boxes[1] = np.iinfo(np.intp).max
        np.minimum.at(boxes[1], runs.numbers, runs.starts)
        np.maximum.at(boxes[3], runs.numbers, runs.ends)
        self._areas.append(total(lengths))
        self._sums.append(np.stack([total(lengths * rows), total(lengths * middles)]))
        self._boxes.append(boxes)
        self._link(map_[0])
        last = map_[-1].astype(np.intp)
        self._last_row = np.where(last > 0, last + self.count, 0)
        self.count += runs.count

    def _link(self, first: NDArray[np.int32]) -> None:
        """Note which components of the strip before go on in this one."""
        if self._last_row is None:
            return
        above, below = self._last_row, np.where(first > 0, first.astype(np.intp) + self.count, 0)
        for shift in (-1, 0, 1):
            begin, end = max(0, shift), len(above) + min(0, shift)
            pairs = np.stack([above[begin - shift : end - shift], below[begin:end]])
            self._links.append(np.unique(pairs[:, (pairs > 0).all(axis=0)], axis=1) - 1)

    def joined(self, map_: NDArray[np.int32] | None) -> Kind:
        areas, sums = np.concatenate(self._areas), np.concatenate(self._sums, axis=1)
        boxes = np.concatenate(self._boxes, axis=1)
        piece_of = np.arange(self.count)
        if self._links and self.count:
            # Loaded for maps of several strips alone: it takes longer than most maps.
            from scipy.sparse import coo_array
            from scipy.sparse.csgraph import connected_components

            above, below = np.concatenate(self._links, axis=1)
            shape = (self.count, self.count)
            links = coo_array((np.ones(len(above), np.int8), (above, below)), shape=shape)
            total, piece_of = connected_components(links, directed=False)
            areas, *both = (
                np.bincount(piece_of, weights=one, minlength=total).astype(np.float64)
                for one in (areas, *sums)
            )
            sums = np.stack(both)
            first, last = boxes[:2], boxes[2:]
            boxes = np.zeros((4, total), np.intp)
            boxes[:2] = np.iinfo(np.intp).max
            for side in range(2):
                np.minimum.at(boxes[side], piece_of, first[side])
                np.maximum.at(boxes[2 + side], piece_of, last[side])
        order = np.lexsort((sums[1], sums[0], boxes[1], boxes[0], -areas))
        label_of_component = np.empty(len(order), np.intp)
        label_of_component[order] = np.arange(1, len(order) + 1)

        def by_label(values: NDArray[np.generic]) -> NDArray[np.generic]:
            none = np.zeros((*values.shape[:-1], 1), values.dtype)
            return np.concatenate([none, values[..., order]], axis=-1)

        return Kind(
            areas=by_label(areas).astype(np.intp),
            sums=by_label(sums).astype(np.float64),
            boxes=by_label(boxes).astype(np.intp),
            label_of=label_of_component[piece_of],
            map=map_,
            numbers=np.concatenate([[0], order + 1]),
        )
