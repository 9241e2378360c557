"""The fields of one scan laid side by side: overlaps counted once, colonies that span fields whole.

Where every field's place on the stage is known, a spot that several fields show belongs to the
one whose centre is nearest (lenses are best there), and components of cells that two fields show
in one spot are one colony. Where a place is not known the fields are added up as they are.

At most `CACHE_BYTES` of label maps are held at a time, whatever the number of fields. For following
colonies from scan to scan the result is drawn as a coarse `ColonyMap`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from model.classes import UNKNOWN, CellClass
from monitor.culture import ColonyMap, FieldAreas, FieldMeasurement, FieldsJoined, ScanColony
from monitor.culture.scans import BACKGROUND, FIRST_COLONY, NOT_IMAGED
from monitor.errors import CaptureError
from monitor.segmentation.colonies import Labels
from monitor.segmentation.components import are_cells, are_differentiated, number_cells, runs_of
from monitor.stage.frames import Affine

# Larger label maps are not held in memory for this: their fields are added up as they are.
LARGEST_FIELD_PX = 100_000_000
CACHE_BYTES = 384 * 2**20
DRAWN_BYTES_A_PX = 3  # a label map and its components
# A colony of 1,500 um2 covers six cells of the coarse map.
CELL_UM = 16.0
MOST_CELLS = 4_000_000
# Components of two fields are one colony where they share so many pixels; one can be an error.
SHARED_PX = 10
# Fields that lie edge to edge touch; stages are not exact to the pixel.
TOUCHING_PX = 2.0
ReadLabels = Callable[[FieldMeasurement], Labels | None]


@dataclass(frozen=True, eq=False)
class FieldPlace:
    """One field of a scan.

    name : as the file's name says; tells the fields of a scan apart
    to_stage : (column, row) -> stage (x, y) in um; None where that is not known
    """

    name: str
    measurement: FieldMeasurement
    to_stage: Affine | None = None


@dataclass(frozen=True, eq=False)
class Mosaic:
    """joined : how the fields were put together

    areas : of each field, in its pixels, without what another field counts
    colonies : of the whole scan, largest first; None where the label maps cannot be read
    maps : where they lie, by frame; numbers in them are places in `colonies`, from `FIRST_COLONY`
    """

    joined: FieldsJoined
    areas: tuple[FieldAreas, ...]
    colonies: tuple[ScanColony, ...] | None = None
    maps: tuple[ColonyMap, ...] = ()


def lay_out(fields: Sequence[FieldPlace], read: ReadLabels, *, min_area_um2: float) -> Mosaic:
    """Put the fields of one scan together.

    read : a measurement -> its label map, (H, W) uint8; None where that is not there
    min_area_um2 : of a colony; where no pixel size is known a pixel counts as 4 um2
    """
    is_placed = all(field.to_stage is not None for field in fields)
    added_up = tuple(field.measurement.areas for field in fields)
    joined = FieldsJoined.ONE if len(fields) == 1 else FieldsJoined.ADDED
    if any(math.prod(field.measurement.shape) > LARGEST_FIELD_PX for field in fields):
        return Mosaic(joined, added_up)
    table = _Table(fields, read, is_placed)
    try:
        areas = [table.own(index) for index in range(len(fields))]
        colonies, maps = table.colonies(min_area_um2)
    except CaptureError:
        return Mosaic(joined, added_up)
    if len(fields) > 1 and is_placed:
        joined = FieldsJoined.PLACED
    return Mosaic(joined, tuple(areas), colonies, maps)


@dataclass(frozen=True, eq=False)
class _Drawn:
    """A field's label map and its components of cells. Both (H, W).

    by_size : their number by size, from 1, the largest first, by that in `components`; 0 first
    """

    labels: Labels
    components: NDArray[np.uint16]
    by_size: NDArray[np.uint16]


def _drawing(fields: Sequence[FieldPlace], read: ReadLabels) -> Callable[[int], _Drawn]:
    """A field's number -> its label map and components; as many are kept as there is room for.

    What is returned raises CaptureError where a field has no label map.
    """
    largest_px = max([1, *(math.prod(field.measurement.shape) for field in fields)])

    @lru_cache(maxsize=max(2, CACHE_BYTES // (DRAWN_BYTES_A_PX * largest_px)))
    def drawn(index: int) -> _Drawn:
        labels = read(fields[index].measurement)
        if labels is None:
            raise CaptureError("a field has no label map", reason="no-label-map")
        return _Drawn(labels, *number_cells(labels))

    return drawn


class _Table:
    def __init__(self, fields: Sequence[FieldPlace], read: ReadLabels, is_placed: bool) -> None:
        self._fields = fields
        self._is_placed = is_placed
        self._drawn = _drawing(fields, read)
        shapes = [field.measurement.shape for field in fields]
        self._to_um = [_lengths(field, is_placed) for field in fields]
        self._to_pixels = [to_um.inverse() for to_um in self._to_um]
        self._boxes = [_corners(*one) for one in zip(self._to_um, shapes, strict=True)]
        self._centres = np.array([_centre(*one) for one in zip(self._to_um, shapes, strict=True)])
        self._reach = np.array([_reach(*one) for one in zip(self._to_um, shapes, strict=True)])
        self._coarse = [_Coarse(frame, self._boxes, of) for frame, of in self._frames().items()]
        # Of each component, by (field, number): pixels, differentiated pixels, first moments.
        self._components: dict[tuple[int, int], NDArray[np.float64]] = {}
        self._cut: set[tuple[int, int]] = set()
        self._known: dict[tuple[int, int], None] = {}  # in the order in which they were found
        self._joined: list[tuple[tuple[int, int], tuple[int, int]]] = []

    # --- areas -----------------------------------------------------------------------------------

    def own(self, index: int) -> FieldAreas:
        """What a field counts, and its components; its label map is then no longer needed."""
        drawn = self._drawn(index)
        neighbours = self._neighbours(index)
        mine = np.ones(drawn.labels.shape, bool) if neighbours else None
        for other, box in neighbours:
            if mine is not None:
                self._share(index, other, box, mine)
        self._count_components(index, drawn, mine)
        self._find_cut(index, drawn, [other for other, _ in neighbours])
        for coarse in self._coarse:
            if index in coarse.fields:
                coarse.sample(index, drawn, self._to_pixels[index])

        def count(cell_class: CellClass) -> int:
            found = drawn.labels == cell_class
            return int(np.count_nonzero(found if mine is None else found & mine))

        return FieldAreas(
            background_px=count(CellClass.BACKGROUND),
            undifferentiated_px=count(CellClass.UNDIFFERENTIATED),
            differentiated_px=count(CellClass.DIFFERENTIATED),
        )

    def _share(
        self, index: int, other: int, box: tuple[int, int, int, int], mine: NDArray[np.bool_]
    ) -> None:
        """Give the other field what lies nearer to its centre, and join what is one colony.

        box : rows and columns of the field that the other one may show
        """
        # (column, row) here -> (column, row) there
        top, left, bottom, right = box
        there = self._to_um[index].then(self._to_pixels[other])
        from_box = Affine.of(np.eye(2).tolist(), (left, top)).then(there)
        shape = (bottom - top, right - left)
        theirs = self._drawn(other)
        if index < other:
            drawn = self._drawn(index)
            components = _fetch(theirs.components, from_box, shape, border=None)
            here = drawn.components[top:bottom, left:right]
            both = (here > 0) & (components > 0)
            pairs, counts = np.unique(
                here[both].astype(np.uint32) << 16 | components[both], return_counts=True
            )
            ends = [drawn.by_size[pairs >> 16], theirs.by_size[pairs & 0xFFFF]]
            shared = [one[counts >= SHARED_PX].tolist() for one in ends]
            for one, two in sorted(zip(*shared, strict=True)):
                if one and two:
                    self._known |= {(index, one): None, (other, two): None}
                    self._joined.append(((index, one), (other, two)))
        covered = _fetch(theirs.labels, from_box, shape, border=UNKNOWN) != UNKNOWN
        mine[top:bottom, left:right] &= ~(covered & self._nearer(other, index, box))

    def _nearer(self, other: int, index: int, box: tuple[int, int, int, int]) -> NDArray[np.bool_]:
        """Pixels of the box in field `index` that lie nearer to the centre of field `other`."""
        top, left, bottom, right = box
        to_um = self._to_um[index]
        own, theirs = self._centres[index], self._centres[other]
        # Which of two points is nearer changes along a line: linear in column and row.
        towards = theirs - own
        middle = (theirs + own) / 2
        along_column, along_row = to_um.linear.T @ towards
        constant = (to_um.shift - middle) @ towards
        ahead = (
            along_column * np.arange(left, right)[np.newaxis, :]
            + along_row * np.arange(top, bottom)[:, np.newaxis]
            + constant
        )
        # In the middle the first field counts, so that no spot is lost or counted twice.
        edge = 1e-9 * max(1.0, float(towards @ towards))
        nearer: NDArray[np.bool_] = ahead > edge if index < other else ahead >= -edge
        return nearer

    def _count_components(self, index: int, drawn: _Drawn, mine: NDArray[np.bool_] | None) -> None:
        length = int(drawn.by_size.max(initial=0)) + 1
        counted = []
        for mask in (are_cells(drawn.labels), are_differentiated(drawn.labels)):
            rows, starts, ends = runs_of(mask if mine is None else mask & mine)
            numbers = drawn.by_size[drawn.components[rows, starts]]
            pixels = (ends - starts).astype(float)
            # Sums along a run: of its columns, and of its rows.
            sums = pixels, pixels * (starts + ends - 1) / 2, pixels * rows
            counted.append([np.bincount(numbers, weights=one, minlength=length) for one in sums])
        (area, columns, rows), (differentiated, *_) = counted
        moments = np.stack([area, differentiated, columns, rows], axis=1)
        for number in range(1, length):
            self._known[index, number] = None
            self._components[index, number] = moments[number]

    def _find_cut(self, index: int, drawn: _Drawn, neighbours: Sequence[int]) -> None:
        """Components at the field's border, where no other field goes on."""
        height, width = drawn.components.shape
        rows, columns = _border(height, width)
        found = drawn.components[rows, columns] > 0
        rows, columns = rows[found], columns[found]
        if not len(rows):
            return
        points = np.column_stack([columns, rows]).astype(float)
        # A step outwards: what lies beyond the border?
        points += np.column_stack(
            [
                np.where(columns == 0, -1.0, np.where(columns == width - 1, 1.0, 0.0)),
                np.where(rows == 0, -1.0, np.where(rows == height - 1, 1.0, 0.0)),
            ]
        )
        goes_on = np.zeros(len(points), bool)
        for other in neighbours:
            there = self._to_um[index].then(self._to_pixels[other]).apply(points)
            rows_there, columns_there = self._fields[other].measurement.shape
            goes_on |= (
                (there[:, 0] > -0.5 - TOUCHING_PX)
                & (there[:, 0] < columns_there - 0.5 + TOUCHING_PX)
                & (there[:, 1] > -0.5 - TOUCHING_PX)
                & (there[:, 1] < rows_there - 0.5 + TOUCHING_PX)
            )
        cut = np.unique(drawn.components[rows[~goes_on], columns[~goes_on]])
        self._cut |= {(index, int(number)) for number in drawn.by_size[cut] if number}

    # --- colonies --------------------------------------------------------------------------------

    def colonies(self, min_area_um2: float) -> tuple[tuple[ScanColony, ...], tuple[ColonyMap, ...]]:
        found = []
        for members in _whole(self._known, self._joined):
            area = differentiated = 0.0
            centre = np.zeros(2)
            for index, number in members:
                pixels, of_them, columns, rows = self._components[index, number]
                if not pixels:
                    continue
                to_um = self._to_um[index]
                scale = abs(float(np.linalg.det(to_um.linear)))
                area += pixels * scale
                differentiated += of_them * scale
                mean = np.array([[columns / pixels, rows / pixels]])
                centre += to_um.apply(mean)[0] * pixels * scale
            if area >= self._limit(min_area_um2, members[0][0]):
                found.append((area, differentiated, centre / area, members))
        found.sort(key=lambda one: (-one[0], one[3]))
        colonies = tuple(
            ScanColony(
                area=area,
                differentiated_fraction=min(1.0, differentiated / area),
                centre=(float(centre[0]), float(centre[1])),
                frame=self._frame(members[0][0]),
                is_cut=not self._cut.isdisjoint(members),
            )
            for area, differentiated, centre, members in found[: 0xFFFF - FIRST_COLONY]
        )
        places = {
            member: place + FIRST_COLONY
            for place, (*_, members) in enumerate(found[: len(colonies)])
            for member in members
        }
        return colonies, tuple(coarse.numbered(places) for coarse in self._coarse)

    def _limit(self, min_area_um2: float, index: int) -> float:
        known = self._is_placed or self._fields[index].measurement.pixel_size_um is not None
        return min_area_um2 if known else min_area_um2 / 4

    def _frame(self, index: int) -> str:
        if self._is_placed:
            return "stage"
        field = self._fields[index]
        rows, columns = field.measurement.shape
        size = field.measurement.pixel_size_um
        unit = "px" if size is None else f"{size:.4g} um"
        return f"field {field.name} {rows}x{columns} {unit}"

    def _frames(self) -> dict[str, list[int]]:
        """The fields that lie in one frame, by its name."""
        found: dict[str, list[int]] = {}
        for index in range(len(self._fields)):
            found.setdefault(self._frame(index), []).append(index)
        return found

    # --- where fields lie ------------------------------------------------------------------------

    def _neighbours(self, index: int) -> list[tuple[int, tuple[int, int, int, int]]]:
        """Fields that may show a part of this one, and which rows and columns of it."""
        if not self._is_placed:
            return []
        away = np.hypot(*(self._centres - self._centres[index]).T)
        found = []
        for other in np.flatnonzero(away <= self._reach + self._reach[index]).tolist():
            box = None if other == index else self._box_of(other, index, margin=TOUCHING_PX)
            if box is not None:
                found.append((other, box))
        return found

    def _box_of(self, other: int, index: int, *, margin: float) -> tuple[int, int, int, int] | None:
        """Rows and columns of field `index` that field `other` may show; None where there are none.

        Of fields that are turned against each other it is the box around them.
        """
        back = self._to_um[other].then(self._to_pixels[index])
        left, top, right, bottom = _corners(back, self._fields[other].measurement.shape)
        rows, columns = self._fields[index].measurement.shape
        box = (
            max(0, math.ceil(top - margin)),
            max(0, math.ceil(left - margin)),
            min(rows, math.floor(bottom + margin) + 1),
            min(columns, math.floor(right + margin) + 1),
        )
        return box if box[0] < box[2] and box[1] < box[3] else None


class _Coarse:
    """The colonies of fields that lie in one frame, drawn coarsely, field by field.

    boxes : of all fields, as `_corners` has them; fields : those that lie in the frame
    """

    def __init__(
        self, frame: str, boxes: Sequence[NDArray[np.float64]], fields: Sequence[int]
    ) -> None:
        self.fields, self._frame, self._boxes = tuple(fields), frame, boxes
        all_boxes = np.array([boxes[index] for index in fields])
        low, high = all_boxes[:, :2].min(axis=0), all_boxes[:, 2:].max(axis=0)
        cell = CELL_UM if "px" not in frame.split()[-1] else CELL_UM / 2
        while np.prod(np.ceil(high / cell) - np.floor(low / cell)) > MOST_CELLS:
            cell *= 2
        self._cell = cell
        self._first = np.floor(low / cell).astype(int)
        columns, rows = (np.ceil(high / cell).astype(int) - self._first).tolist()
        self._shape = (rows, columns)
        self._parts: dict[int, tuple[slice, slice, NDArray[np.uint16], NDArray[np.bool_]]] = {}

    def sample(self, index: int, drawn: _Drawn, to_pixels: Affine) -> None:
        """Keep what a field shows in the middle of each cell."""
        box, cell = self._boxes[index], self._cell
        left, top = (np.floor(box[:2] / cell).astype(int) - self._first).tolist()
        right, bottom = (np.ceil(box[2:] / cell).astype(int) - self._first).tolist()
        origin = (self._first + np.array([left, top]) + 0.5) * cell
        to_pixel = Affine.of((np.eye(2) * cell).tolist(), origin.tolist()).then(to_pixels)
        shape = (bottom - top, right - left)
        numbers = drawn.by_size[_fetch(drawn.components, to_pixel, shape, border=0)]
        imaged = _fetch(drawn.labels, to_pixel, shape, border=UNKNOWN) != UNKNOWN
        self._parts[index] = slice(top, bottom), slice(left, right), numbers, imaged

    def numbered(self, places: dict[tuple[int, int], int]) -> ColonyMap:
        """places : (field, number of a component) -> number of its colony"""
        drawn_map = np.zeros(self._shape, np.uint16)
        for index, (rows, columns, components, imaged) in self._parts.items():
            length = int(components.max(initial=0)) + 1
            numbers = np.full(length, BACKGROUND, np.uint16)
            for number in range(1, length):
                numbers[number] = places.get((index, number), BACKGROUND)
            there = drawn_map[rows, columns]
            np.copyto(there, numbers[components], where=imaged & (there == NOT_IMAGED))
        first = int(self._first[1]), int(self._first[0])
        return ColonyMap(self._frame, self._cell, first, drawn_map)


def _border(height: int, width: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of a field's outermost pixels; its corners stand there twice."""
    down, across = np.arange(height), np.arange(width)
    rows = np.concatenate([0 * across, 0 * across + height - 1, down, down])
    return rows, np.concatenate([across, across, 0 * down, 0 * down + width - 1])


def _whole(
    components: Iterable[tuple[int, int]],
    joined: Sequence[tuple[tuple[int, int], tuple[int, int]]],
) -> list[list[tuple[int, int]]]:
    """Components that belong together, by the pairs that do: least first, each in its order."""
    parents = {component: component for component in components}

    def first_of(component: tuple[int, int]) -> tuple[int, int]:
        while parents[component] != component:
            # On the way each is hung one higher, which keeps later ways short.
            parents[component] = parents[parents[component]]
            component = parents[component]
        return component

    for one, other in joined:
        parents[first_of(one)] = first_of(other)
    found: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for component in parents:
        found.setdefault(first_of(component), []).append(component)
    return sorted(found.values(), key=min)


def _lengths(field: FieldPlace, is_placed: bool) -> Affine:
    """(column, row) -> lengths in um: of the stage, else of the field alone; else in pixels."""
    if is_placed and field.to_stage is not None:
        return field.to_stage
    size = field.measurement.pixel_size_um or 1.0
    return Affine.of(((size, 0.0), (0.0, size)), (0.0, 0.0))


def _corners(transform: Affine, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Least and greatest (x, y) of a field's outer edge: four numbers."""
    rows, columns = shape
    edge = [(x, y) for x in (-0.5, columns - 0.5) for y in (-0.5, rows - 0.5)]
    points = transform.apply(edge)
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def _reach(to_um: Affine, shape: tuple[int, int]) -> float:
    """Fields whose centres are farther apart than both of these have nothing in common, in um."""
    longest, shortest = np.linalg.svd(to_um.linear, compute_uv=False)
    # Boxes round fields that are turned or skewed against each other are wider than the fields.
    half_px = math.hypot(*shape) / 2 + 2 * TOUCHING_PX
    return float(math.sqrt(2) * half_px * longest * (longest / shortest))


def _centre(to_um: Affine, shape: tuple[int, int]) -> NDArray[np.float64]:
    rows, columns = shape
    centre: NDArray[np.float64] = to_um.apply([((columns - 1) / 2, (rows - 1) / 2)])[0]
    return centre


def _fetch(
    source: NDArray[np.uint8] | NDArray[np.uint16],
    to_source: Affine,
    shape: tuple[int, int],
    *,
    border: int | None,
) -> NDArray[np.uint16]:
    """The nearest pixel of `source` for each pixel of a (rows, columns) box.

    to_source : (column, row) in the box -> (column, row) in `source`
    border : what lies outside; None = the nearest pixel of the border
    """
    rows, columns = shape
    matrix = np.array(to_source.matrix)
    column, row = np.arange(columns), np.arange(rows)
    height, width = source.shape
    if abs(matrix[0, 1]) < 1e-12 and abs(matrix[1, 0]) < 1e-12:
        # Not turned: two look-ups in place of one a pixel.
        across = np.floor(matrix[0, 0] * column + matrix[0, 2] + 0.5).astype(np.int64)
        down = np.floor(matrix[1, 1] * row + matrix[1, 2] + 0.5).astype(np.int64)
        lines = source[_span(down.clip(0, height - 1))]
        found = lines[:, _span(across.clip(0, width - 1))].astype(np.uint16)
        if border is not None:
            found[(down < 0) | (down >= height), :] = border
            found[:, (across < 0) | (across >= width)] = border
        return found
    found = np.empty(shape, np.uint16)
    # In strips, so that the coordinates of a large box need little room.
    for top in range(0, rows, 256):
        some = row[top : top + 256, np.newaxis]
        across = matrix[0, 0] * column + matrix[0, 1] * some + matrix[0, 2]
        down = matrix[1, 0] * column + matrix[1, 1] * some + matrix[1, 2]
        x = np.floor(across + 0.5).astype(np.int64)
        y = np.floor(down + 0.5).astype(np.int64)
        part = source[y.clip(0, height - 1), x.clip(0, width - 1)].astype(np.uint16)
        if border is not None:
            part[(x < 0) | (x >= width) | (y < 0) | (y >= height)] = border
        found[top : top + 256] = part
    return found


def _span(places: NDArray[np.int64]) -> slice | NDArray[np.int64]:
    """Places that follow each other are cut out; others are looked up, one by one."""
    if places.size and (np.diff(places) == 1).all():
        return slice(int(places[0]), int(places[-1]) + 1)
    return places
