"""Where a tool can be set down in the regions of a capture. Pure: arrays in, plain values out.

A hit is a disc. What it touches must stay inside its region, and away from good cells, by the
picker's positional error and by what the borders of a label map may be off. The points that allow
this are found by distance maps; of them as few are chosen as cover what can be covered.

The maps are drawn on a grid of about a twelfth of the tool, never finer than the capture, and a
point of the grid counts as region only if all of its pixels do. What comes out is therefore a
bound: no hit has less clearance than it says.

Points are (row, column) in pixels of the capture, pixel centres at whole numbers.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from model.classes import UNKNOWN, CellClass
from monitor.culture import Aim, Aiming, AimPoint, Colony, Region
from monitor.segmentation.components import LARGEST_BOX_PIXELS, Pieces
from monitor.segmentation.distances import are_far, deepest, distances
from monitor.segmentation.outlines import Outline, outline_of

Labels = NDArray[np.uint8]
_Bools = NDArray[np.bool_]
_Floats = NDArray[np.float32]
# Rows and columns of a grid, none below 0.
_Window = tuple[slice, slice]

_STEPS_A_RADIUS = 12
_CANDIDATES_A_RADIUS = 4
_MOST_CANDIDATES = 20_000
_LATTICES = 9
# So many discs' area is small enough to try every lattice to the end.
_SMALL = 6
# From the middle of one square of the grid to the farthest corner of another.
_HALF_DIAGONAL = math.sqrt(0.5)
# A hit that removes less that is new, as a share of all that it removes, is not worth its risk.
LEAST_NEW = 0.2


def aim_at(
    labels: Labels | Pieces,
    probabilities: _Floats,
    regions: Sequence[Region],
    colonies: Sequence[Colony],
    *,
    pixel_size_um: float,
    aiming: Aiming,
    min_probability: float,
    min_region_um2: float,
    max_undifferentiated: float = 1.0,
    whole_colony_above: float | None = None,
    before: Sequence[Labels] = (),
) -> tuple[Aim, ...]:
    """How to remove the regions of a capture with a tool, or why that cannot be.

    labels : (H, W), 255 outside the vessel; or its pieces, where they were found already
    probabilities : (3, h, w), spread evenly over the picture
    regions, colonies : what `colonies.find_regions` and `find_colonies` made of the label map
    max_undifferentiated : no hit touches a place where that class is more probable
    whole_colony_above : colonies of a higher differentiated share are removed whole; None = none.
        One that the edge of the picture cuts is not, since its share is not known
    before : (H, W) each, label maps of earlier scans laid on this capture, 255 where they show
        nothing: a hit touches only what each of them shows as differentiated, too; in a colony
        that is removed whole, as cells

    Regions that are smaller or less certain than the limits have no aim; nor has one whose colony
    is removed.
    """
    pieces = labels if isinstance(labels, Pieces) else Pieces(labels)
    labels = pieces.labels
    condemned = {}
    if whole_colony_above is not None:
        condemned = {
            colony.label: colony
            for colony in colonies
            if colony.differentiated_fraction > whole_colony_above
            and colony.area_px * pixel_size_um**2 >= min_region_um2
            and not _is_cut(colony, labels)
        }
    cells = _in_all(before, CellClass.UNDIFFERENTIATED, CellClass.DIFFERENTIATED)
    differentiated = _in_all(before, CellClass.DIFFERENTIATED)
    aims = []
    for colony in condemned.values():
        if _is_too_large(colony.bounds):
            aims.append(_refused_whole(colony))
            continue
        inside, place = pieces.mask(pieces.cells, colony.label), colony.bounds[:2]
        piece = _Piece(
            labels, probabilities, inside, place, pixel_size_um, aiming, 1.0, cells, None
        )
        aims.append(piece.aim(colony))
    for region in regions:
        if region.colony in condemned or region.mean_probability < min_probability:
            continue
        if region.area_px * pixel_size_um**2 < min_region_um2:
            continue
        if _is_too_large(_box(region)):
            aims.append(_refused_whole(region))
            continue
        inside, place = _region_mask(pieces, region)
        whole = np.count_nonzero(inside) == region.area_px
        piece = _Piece(
            labels,
            probabilities,
            inside,
            place,
            pixel_size_um,
            aiming,
            max_undifferentiated,
            differentiated,
            region.inscribed_radius_px if whole else None,
        )
        aims.append(piece.aim(region))
    return tuple(aims)


def _is_too_large(box: tuple[int, int, int, int]) -> bool:
    top, left, bottom, right = box
    return (bottom - top) * (right - left) > LARGEST_BOX_PIXELS


def _refused_whole(what: Region | Colony) -> Aim:
    """Nobody removes with a small tool what spans a whole well; its maps would fill the memory."""
    if isinstance(what, Region):
        polygon, chance, radius = what.polygon, what.mean_probability, what.inscribed_radius_px
        holes = what.holes
    else:
        top, left, bottom, right = (float(side) for side in what.bounds)
        polygon = ((top, left), (top, right - 1), (bottom - 1, right - 1), (bottom - 1, left))
        chance, radius, holes = what.differentiated_fraction, 0.0, ()
    return Aim(
        label=what.label,
        whole_colony=isinstance(what, Colony),
        area_px=what.area_px,
        polygon=polygon,
        mean_probability=chance,
        uncertainty=0.0,
        inscribed_radius_px=radius,
        refused="too large",
        refused_text="too large to be removed hit by hit; consider discarding the dish",
        holes=holes,
    )


def _in_all(maps: Sequence[Labels], *classes: CellClass) -> _Bools | None:
    """Where each of the label maps shows one of the classes; None where there are no maps."""
    found: _Bools | None = None
    for labels in maps:
        shown = np.isin(labels, classes)
        found = shown if found is None else found & shown
    return found


def _is_cut(colony: Colony, labels: Labels) -> bool:
    top, left, bottom, right = colony.bounds
    return top == 0 or left == 0 or bottom == labels.shape[0] or right == labels.shape[1]


def _region_mask(pieces: Pieces, region: Region) -> tuple[_Bools, tuple[int, int]]:
    """(mask, (first row, first column)) of the differentiated piece that the pick point is in."""
    top, left, bottom, right = _box(region)
    kind = pieces.differentiated
    box = kind.bounds(region.label)
    if box[0] >= top and box[1] >= left and box[2] <= bottom and box[3] <= right:
        mask = np.zeros(
            (min(bottom, pieces.labels.shape[0]) - top, min(right, pieces.labels.shape[1]) - left),
            bool,
        )
        place = slice(box[0] - top, box[2] - top), slice(box[1] - left, box[3] - left)
        mask[place] = pieces.mask(kind, region.label)
        return mask, (top, left)
    # An outline of few points may cut a corner off; what lies outside is then left alone.
    crop = pieces.labels[top:bottom, left:right] == CellClass.DIFFERENTIATED
    _, parts = cv2.connectedComponents(crop.view(np.uint8), connectivity=8, ltype=cv2.CV_32S)
    row, column = (int(value) for value in region.pick_point)
    return np.asarray(parts == parts[row - top, column - left]), (top, left)


def _box(region: Region) -> tuple[int, int, int, int]:
    """First row and column, and the last ones + 1; the latter may lie beyond the picture."""
    outline = np.array(region.polygon)
    top, left = (max(0, int(low) - 2) for low in np.floor(outline.min(axis=0) + 0.5))
    bottom, right = (int(high) + 3 for high in np.ceil(outline.max(axis=0) - 0.5))
    return top, left, bottom, right


@dataclass(frozen=True, eq=False)
class _Piece:
    """One region or colony: its mask, and where that lies in the label map.

    settled : (H, W), what a hit may touch by the scans before; None = nothing is asked of them
    radius_px : inscribed radius of the mask, where it is known
    """

    labels: Labels
    probabilities: _Floats
    inside: _Bools
    place: tuple[int, int]
    pixel_size_um: float
    aiming: Aiming
    max_undifferentiated: float
    settled: _Bools | None
    radius_px: float | None

    @property
    def is_cut(self) -> bool:
        """Whether it touches the picture's edge, and may go on beyond it."""
        sides = (self.inside[0], self.inside[:, 0]), (self.inside[-1], self.inside[:, -1])
        return any(
            (at == 0 and bool(first.any())) or (at + length == full and bool(last.any()))
            for at, length, full, first, last in zip(
                self.place, self.inside.shape, self.labels.shape, *sides, strict=True
            )
        )

    def aim(self, what: Region | Colony) -> Aim:
        chance, doubt = self._sampled()
        if isinstance(what, Region):
            outline = Outline(what.polygon, what.holes)
        else:
            outline = outline_of(self.inside, self.place)
        maps = self._maps()
        found = Aim(
            label=what.label,
            whole_colony=isinstance(what, Colony),
            area_px=int(np.count_nonzero(self.inside)),
            polygon=outline.shell,
            mean_probability=chance,
            uncertainty=doubt,
            inscribed_radius_px=maps.widest_um / self.pixel_size_um,
            holes=outline.holes,
        )
        allowed = maps.allowed()
        if allowed is None:
            reason, text = maps.why_not()
            return replace(found, refused=reason, refused_text=text)
        radius = self.aiming.removes_um / 2 / maps.step_um
        removable = _grown(allowed, radius)
        depth = maps.to_border(allowed)
        points, covered = cover(allowed, removable, radius, depth)
        scale = maps.step_um**2 / self.pixel_size_um**2
        return replace(
            found,
            removable_px=float(np.count_nonzero(removable) * scale),
            covered_px=float(np.count_nonzero(covered) * scale),
            points=tuple(self._point(maps, depth, row, column) for row, column in points),
        )

    def _point(self, maps: _Maps, depth: _Floats, row: int, column: int) -> AimPoint:
        return AimPoint(
            row=self.place[0] + (row - maps.margin + 0.5) * maps.factor - 0.5,
            column=self.place[1] + (column - maps.margin + 0.5) * maps.factor - 0.5,
            clearance_px=float(depth[row, column]) * maps.step_um / self.pixel_size_um,
        )

    def _sampled(self) -> tuple[float, float]:
        """Mean probability of the differentiated class inside, and mean entropy, 0..1."""
        rows, columns = (
            ((np.arange(first, first + length) + 0.5) * coarse / full).astype(np.intp)
            for first, length, coarse, full in zip(
                self.place, self.inside.shape, self.probabilities.shape[1:], self.labels.shape,
                strict=True,
            )
        )  # fmt: skip
        # Pixels are counted for each block of the coarse map.
        top, left = int(rows[0]), int(columns[0])
        shape = int(rows[-1]) - top + 1, int(columns[-1]) - left + 1
        edges = [
            np.searchsorted(along, np.arange(first, first + length + 1))
            for along, first, length in zip((rows, columns), (top, left), shape, strict=True)
        ]
        summed = cv2.integral(self.inside.view(np.uint8))[np.ix_(*edges)]
        counted = np.diff(np.diff(summed, axis=0), axis=1)
        blocks = self.probabilities[:, top : top + shape[0], left : left + shape[1]]
        share = counted / counted.sum()
        chance = float((blocks[int(CellClass.DIFFERENTIATED)] * share).sum())
        entropy = -float((blocks * np.log(np.maximum(blocks, 1e-9)) * share).sum())
        return chance, min(max(entropy / math.log(len(blocks)), 0.0), 1.0)

    def _maps(self) -> _Maps:
        aiming = self.aiming
        step_um = max(self.pixel_size_um, aiming.removes_um / 2 / _STEPS_A_RADIUS)
        factor = max(1, int(step_um / self.pixel_size_um))
        step_um = factor * self.pixel_size_um
        # As much around it as a good cell may matter from, and one ring that is surely outside.
        margin = 2 + math.ceil(aiming.clearance_of_good_um / step_um)
        rows, columns = (-(-length // factor) for length in self.inside.shape)
        frame = _Frame(self.place, factor, margin, (rows + 2 * margin, columns + 2 * margin))
        return _Maps(self, frame, step_um)

    def may_be_undifferentiated(self, frame: _Frame, window: _Window) -> _Bools:
        """Where in a window of the frame the cells may be undifferentiated after all."""
        plane = self.probabilities[int(CellClass.UNDIFFERENTIATED)]
        rows, columns = (
            (
                (first + (np.arange(part.start, part.stop) - frame.margin + 0.5) * frame.factor)
                * coarse
                / full
                - 0.5
            )
            for first, part, coarse, full in zip(
                self.place, window, plane.shape, self.labels.shape, strict=True
            )
        )
        shape = len(rows), len(columns)
        sampled = cv2.remap(
            plane,
            np.broadcast_to(columns.astype(np.float32), shape).copy(),
            np.broadcast_to(rows.astype(np.float32)[:, None], shape).copy(),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return np.asarray(sampled >= self.max_undifferentiated)


class _Maps:
    """What is how far from one piece's points, in steps of the grid, each at least that.

    Most pieces are too thin for the tool anywhere, and their own depth says so: the surroundings
    are looked at only where it does not, and no farther about the places that are deep enough than
    anything there can matter. What lies beyond counts as infinitely far.
    """

    def __init__(self, piece: _Piece, frame: _Frame, step_um: float) -> None:
        self._piece, self._frame = piece, frame
        self.step_um, self.factor, self.margin = step_um, frame.factor, frame.margin
        if piece.radius_px is not None and frame.factor == 1:
            radius = piece.radius_px
        else:
            radius = deepest(self._region)[0]
        self._depth = max(radius - _HALF_DIAGONAL, 0.0)

    @property
    def widest_um(self) -> float:
        return self._depth * self.step_um

    @cached_property
    def _region(self) -> _Bools:
        return self._frame.all_of(self._piece.inside)

    def to_border(self, points: _Bools) -> _Floats:
        """Of these points of the region to what is not region; 0 or more elsewhere."""
        box = _box_around(points, math.ceil(self._depth) + 3)
        found = np.zeros(self._frame.shape, np.float32)
        found[box] = _distance_to(~self._region[box])
        return found

    @cached_property
    def _wide(self) -> _Bools:
        """Points that are deep enough for the tool."""
        aiming = self._piece.aiming
        if self.widest_um < aiming.clearance_um:
            return np.zeros(self._frame.shape, bool)
        return self._far_from(~self._region, aiming.clearance_um, self._region)

    def _far_from(self, what: _Bools, least_um: float, wanted: _Bools) -> _Bools:
        """Which of the wanted squares are so far from any point of those that are set."""
        least = least_um / self.step_um + _HALF_DIAGONAL
        return are_far(~what, wanted, least) if least_um > 0 else wanted.copy()

    @cached_property
    def _window(self) -> _Window:
        """The part of the frame in which something may be too near to a wide point."""
        aiming = self._piece.aiming
        reach = 2 + math.ceil(max(aiming.clearance_of_good_um, _touched_um(aiming)) / self.step_um)
        return _box_around(self._wide, reach)

    @cached_property
    def _around(self) -> tuple[_Bools, _Bools]:
        """(good cells, what the picture shows), in pixels of the window."""
        labels, seen = self._frame.cut(self._piece.labels, self._window)
        # A colony that goes may hold undifferentiated cells; others may not be near.
        inside = self._frame.fine(self._piece.inside, self._window)
        return (labels == CellClass.UNDIFFERENTIATED) & ~inside, seen

    @cached_property
    def _free(self) -> _Bools:
        """Wide points far from good cells and from what the picture does not show, in the window"""
        good, seen = self._around
        return self._far_from(
            self._frame.any_of(good | ~seen),
            self._piece.aiming.clearance_of_good_um,
            self._wide[self._window],
        )

    def allowed(self) -> _Bools | None:
        """Where the tool may be set down; None: nowhere."""
        if not self._wide.any():
            return None
        found = self._free
        touched_um = _touched_um(self._piece.aiming)
        if found.any() and self._piece.max_undifferentiated < 1:
            doubtful = self._piece.may_be_undifferentiated(self._frame, self._window)
            found = self._far_from(doubtful, touched_um, found)
        if found.any() and self._piece.settled is not None:
            found = self._settled(self._piece.settled, found)
        if not found.any():
            return None
        allowed = np.zeros(self._frame.shape, bool)
        allowed[self._window] = found
        return allowed

    def _settled(self, settled: _Bools, wanted: _Bools) -> _Bools:
        """Which points of the window are far from what the scans before leave open."""
        place, seen = self._frame.cut(settled.view(np.uint8), self._window)
        unsettled = self._frame.any_of((place != 1) | ~seen)
        return self._far_from(unsettled, _touched_um(self._piece.aiming), wanted)

    def why_not(self) -> tuple[str, str]:
        aiming = self._piece.aiming
        if self._wide.any():
            good, _ = self._around
            wide = self._wide[self._window]
            away = self._far_from(self._frame.any_of(good), aiming.clearance_of_good_um, wide)
            if not away.any():
                return (
                    "too near good cells",
                    f"too near undifferentiated cells ({aiming.tool} keeps "
                    f"{aiming.clearance_of_good_um:.0f} µm from them)",
                )
            if self._free.any():
                settled = self._piece.settled
                if settled is not None and not self._settled(settled, self._free).any():
                    return "not seen before", "not surely differentiated in the scans before"
                return "too uncertain", "nowhere surely free of undifferentiated cells"
            return "at the edge", "at the edge of the picture, which may hide good cells"
        if self._piece.is_cut:
            return "at the edge", "cut by the edge of the picture, and too thin without the rest"
        needed = 2 * aiming.clearance_um
        return (
            "too thin",
            f"too thin for {aiming.tool} (needs {needed:.0f} µm across)",
        )


def _touched_um(aiming: Aiming) -> float:
    """From the point aimed at to what a hit may harm, at most."""
    return aiming.touches_um / 2 + aiming.set_down_um


@dataclass(frozen=True)
class _Frame:
    """A grid whose squares are `factor` pixels wide, `margin` squares around a crop."""

    place: tuple[int, int]
    factor: int
    margin: int
    shape: tuple[int, int]

    def fine(self, mask: _Bools, window: _Window) -> _Bools:
        """A mask of the crop in the window's pixels; what lies outside of the crop is False."""
        return self._laid(mask, (0, 0), window, np.bool_(False))[0]

    def cut(self, labels: Labels, window: _Window) -> tuple[Labels, _Bools]:
        """The window's part of a label map, and which of it lies in the picture at all."""
        return self._laid(labels, self.place, window, np.uint8(UNKNOWN))

    def _laid(
        self, whole: NDArray[Any], place: tuple[int, int], window: _Window, empty: np.generic
    ) -> tuple[NDArray[Any], _Bools]:
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

    def all_of(self, mask: _Bools) -> _Bools:
        """Squares all of whose pixels are set; `mask` is of the crop."""
        inner = tuple(slice(self.margin, length - self.margin) for length in self.shape)
        full = np.zeros(self.shape, bool)
        full[inner] = self._squares(self.fine(mask, (inner[0], inner[1]))).all(axis=(1, 3))
        return full

    def any_of(self, mask: _Bools) -> _Bools:
        """Squares any of whose pixels is set; `mask` is of a window."""
        return np.asarray(self._squares(mask).any(axis=(1, 3)))

    def _squares(self, fine: _Bools) -> _Bools:
        rows, columns = (length // self.factor for length in fine.shape)
        return fine.reshape(rows, self.factor, columns, self.factor)


def _distance_to(mask: _Bools) -> _Floats:
    """Steps from the middle of each square to the nearest point of a set one, at least."""
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    return np.asarray(np.maximum(distances(~mask) - np.float32(_HALF_DIAGONAL), 0), np.float32)


def _grown(mask: _Bools, radius: float) -> _Bools:
    grown = np.zeros_like(mask)
    box = _box_around(mask, math.ceil(radius) + 1)
    grown[box] = distances(~mask[box]) <= radius
    return grown


def _box_around(mask: _Bools, reach: int) -> _Window:
    """The part of a grid that has all points of a mask, and `reach` more on each side."""
    left, top, columns, rows = cv2.boundingRect(mask.view(np.uint8))
    return (
        slice(max(0, top - reach), min(mask.shape[0], top + rows + reach)),
        slice(max(0, left - reach), min(mask.shape[1], left + columns + reach)),
    )


def cover(
    allowed: _Bools, wanted: _Bools, radius: float, depth: _Floats
) -> tuple[list[tuple[int, int]], _Bools]:
    """Few discs with their middles in `allowed` that cover most of `wanted`.

    allowed, wanted : (H, W); every disc about an allowed point lies in `wanted`
    radius : of a disc, in steps of the grid
    depth : (H, W), how far a point is from the border: of equal points the deeper one is taken
    Returns (points, what they cover). Each disc covers at least `LEAST_NEW` of its own area anew;
    the deepest allowed point is taken first where all of it is small.

    A hexagonal lattice covers the plane with the fewest discs, but its points need not lie where a
    region allows them: what is left is taken greedily, each time the point that covers most. Tried
    with the lattice laid in several ways, and with none.
    """
    disc = _disc(radius)
    total = int(np.count_nonzero(wanted))
    # A disc about an allowed point lies in what is wanted: nothing is asked for beyond its box.
    left, top, columns, rows = cv2.boundingRect(wanted.view(np.uint8))
    box = slice(top, top + rows), slice(left, left + columns)
    corner = np.array([top, left])
    wanted_there, depth_there = wanted[box], depth[box]
    starts = [start - corner for start in _lattices(allowed, radius, depth)]
    candidates = _candidates(allowed, radius) - corner
    if total > _SMALL * np.count_nonzero(disc):
        starts = [max(starts, key=lambda start: _covered(start, wanted_there, disc))]
    best: tuple[list[tuple[int, int]], _Bools] | None = None
    fewest = (1.0, math.inf)
    for start in starts:
        canvas = _Canvas(wanted_there, disc)
        points = canvas.add_all(start, depth_there)
        points += canvas.add_greedily(candidates, depth_there)
        points = canvas.without_idle(points)
        left_over = 1 - int(np.count_nonzero(canvas.count > 0)) / total
        # Nearly the same cover with fewer hits is better: each one is a risk.
        score = round(max(left_over, 0.02), 2), len(points)
        if score < fewest:
            fewest, best = score, (points, canvas.count > 0)
    assert best is not None
    covered = np.zeros_like(wanted)
    covered[box] = best[1]
    return [(row + top, column + left) for row, column in best[0]], covered


def _lattices(allowed: _Bools, radius: float, depth: _Floats) -> Iterator[NDArray[np.intp]]:
    """Points to begin with, (N, 2): the deepest one; hexagonal lattices laid in several ways."""
    yield _deepest(allowed, depth)
    if np.count_nonzero(allowed) < math.pi * radius**2:
        return
    left, top, width, height = cv2.boundingRect(allowed.view(np.uint8))
    pitch = radius * math.sqrt(3) * 0.98
    lines = pitch * math.sqrt(0.75)
    rows = np.arange(-lines, height + lines, lines)
    columns = np.arange(-pitch, width + pitch, pitch)
    shifts = pitch / 2 * (np.arange(len(rows)) % 2)
    for number in range(_LATTICES):
        down, along = divmod(number, 3)
        at_rows = np.rint(top + rows + down * lines / 3)
        at_columns = np.rint(left + columns + shifts[:, None] + along * pitch / 3)
        points = np.stack(np.broadcast_arrays(at_rows[:, None], at_columns), axis=-1)
        points = points.reshape(-1, 2).astype(np.intp)
        points = points[((points >= 0) & (points < allowed.shape)).all(axis=1)]
        yield points[allowed[points[:, 0], points[:, 1]]]


def _covered(points: NDArray[np.intp], wanted: _Bools, disc: _Bools) -> int:
    canvas = _Canvas(wanted, disc)
    for row, column in points.tolist():
        canvas.add((row, column))
    return int(np.count_nonzero(canvas.count))


def _deepest(allowed: _Bools, depth: _Floats) -> NDArray[np.intp]:
    """The pole of inaccessibility among the allowed points, (1, 2)."""
    place = int(np.argmax(np.where(allowed, depth, -1)))
    return np.array([divmod(place, allowed.shape[1])], np.intp)


def _candidates(allowed: _Bools, radius: float) -> NDArray[np.intp]:
    """Allowed points that a finer choice would not better by much, (N, 2)."""
    count = int(np.count_nonzero(allowed))
    step = max(
        1, int(radius / _CANDIDATES_A_RADIUS), math.ceil(math.sqrt(count / _MOST_CANDIDATES))
    )
    chosen = np.zeros_like(allowed)
    chosen[::step, ::step] = True
    chosen &= allowed
    # Thin parts fall through a coarse grid: their border is looked at closely.
    inner = cv2.erode(allowed.view(np.uint8), np.ones((3, 3), np.uint8), borderValue=0) > 0
    border = allowed & ~inner
    border_step = max(1, step // 2)
    some = np.zeros_like(allowed)
    some[::border_step, ::border_step] = True
    some[border_step // 2 :: border_step, border_step // 2 :: border_step] = True
    chosen |= border & some
    if not chosen.any():
        chosen = allowed
    return np.argwhere(chosen)


def _disc(radius: float) -> _Bools:
    reach = int(radius)
    rows, columns = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    disc: _Bools = rows**2 + columns**2 <= radius**2
    return disc


class _Canvas:
    """What is covered how often. count : (H, W) int16, 0 outside of what is wanted"""

    def __init__(self, wanted: _Bools, disc: _Bools) -> None:
        self._reach = disc.shape[0] // 2
        self._disc = disc
        self._size = int(np.count_nonzero(disc))
        # A frame, so that discs need not be clipped.
        self._wanted = np.pad(wanted, self._reach)
        self._count = np.zeros(self._wanted.shape, np.int16)

    @property
    def count(self) -> NDArray[np.int16]:
        inner = slice(self._reach, -self._reach or None)
        return self._count[inner, inner] * self._wanted[inner, inner]

    def _window(self, point: tuple[int, int]) -> tuple[slice, slice]:
        side = 2 * self._reach + 1
        return slice(point[0], point[0] + side), slice(point[1], point[1] + side)

    def gain(self, point: tuple[int, int]) -> int:
        """Steps of the grid that a disc about `point` would cover anew."""
        place = self._window(point)
        new = self._disc & self._wanted[place] & (self._count[place] == 0)
        return int(np.count_nonzero(new))

    def add(self, point: tuple[int, int]) -> None:
        self._count[self._window(point)] += self._disc

    def gains(self, points: NDArray[np.intp]) -> NDArray[np.intp]:
        """`gain` of many points, (N,): a disc is a stretch of each row, and stretches are added up
        along rows beforehand.
        """
        new = self._wanted & (self._count == 0)
        summed = np.zeros((new.shape[0], new.shape[1] + 1), np.int32)
        np.cumsum(new, axis=1, out=summed[:, 1:])
        total = np.zeros(len(points), np.intp)
        rows, middles = points[:, 0], points[:, 1] + self._reach
        for down, line in enumerate(self._disc):
            half = int(np.count_nonzero(line)) // 2
            total += summed[rows + down, middles + half + 1] - summed[rows + down, middles - half]
        return total

    def add_all(self, points: NDArray[np.intp], depth: _Floats) -> list[tuple[int, int]]:
        """Those of the points that are worth it, deepest first."""
        added = []
        deepest_first = np.argsort(-depth[points[:, 0], points[:, 1]], kind="stable")
        for row, column in points[deepest_first].tolist():
            if self.gain((row, column)) >= LEAST_NEW * self._size:
                self.add((row, column))
                added.append((row, column))
        return added

    def add_greedily(self, candidates: NDArray[np.intp], depth: _Floats) -> list[tuple[int, int]]:
        """Each time the candidate that covers most anew, until none is worth it.

        What a disc covers anew only shrinks, so that an old figure is a bound: most candidates
        need not be looked at again (Minoux 1978).
        """
        least = max(1.0, LEAST_NEW * self._size)
        gains = self.gains(candidates)
        candidates, gains = candidates[gains >= least], gains[gains >= least]
        depths = depth[candidates[:, 0], candidates[:, 1]]
        heap = [
            (-gain, -deep, (row, column))
            for gain, deep, (row, column) in zip(
                gains.tolist(), depths.tolist(), candidates.tolist(), strict=True
            )
        ]
        heapq.heapify(heap)
        added = []
        while heap and -heap[0][0] >= least:
            _, deep, point = heapq.heappop(heap)
            gain = self.gain(point)
            if gain < least:
                continue
            if heap and (-gain, deep, point) > heap[0]:
                heapq.heappush(heap, (-gain, deep, point))
                continue
            self.add(point)
            added.append(point)
        return added

    def without_idle(self, points: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """The points less those that later ones have made all but needless."""
        kept = list(points)
        for point in points:
            place = self._window(point)
            alone = self._disc & self._wanted[place] & (self._count[place] == 1)
            if len(kept) > 1 and np.count_nonzero(alone) < LEAST_NEW / 2 * self._size:
                self._count[place] -= self._disc
                kept.remove(point)
        return kept
