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

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import cv2
import numpy as np

from model.classes import CellClass
from monitor.culture import Aim, AimPoint, Colony, Region, Targeting
from monitor.segmentation.components import LARGEST_BOX_PIXELS, Components
from monitor.segmentation.covering import cover
from monitor.segmentation.distances import Bools, Floats, are_far, deepest
from monitor.segmentation.grid import (
    HALF_DIAGONAL,
    Grid,
    Labels,
    Window,
    box_around,
    distance_to,
    grown_by,
)
from monitor.segmentation.outlines import Outline, outline_of

_STEPS_A_RADIUS = 12


def aim_at(
    labels: Labels | Components,
    probabilities: Floats,
    regions: Sequence[Region],
    colonies: Sequence[Colony],
    *,
    pixel_size_um: float,
    targeting: Targeting,
    min_probability: float,
    min_region_um2: float,
    max_undifferentiated: float = 1.0,
    whole_colony_above: float | None = None,
    before: Sequence[Labels] = (),
) -> tuple[Aim, ...]:
    """How to remove the regions of a capture with a tool, or why that cannot be.

    labels : (H, W), 255 outside the vessel; or its components, where they were found already
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
    components = labels if isinstance(labels, Components) else Components(labels)
    labels = components.labels
    condemned = {}
    if whole_colony_above is not None:
        condemned = {
            colony.label: colony
            for colony in colonies
            if colony.differentiated_fraction > whole_colony_above
            and colony.area_px * pixel_size_um**2 >= min_region_um2
            and not _is_cut(colony, labels)
        }
    wanted = [
        region
        for region in regions
        if region.colony not in condemned
        and region.mean_probability >= min_probability
        and region.area_px * pixel_size_um**2 >= min_region_um2
    ]
    component = partial(_Component, labels, probabilities, pixel_size_um, targeting)
    cells = _in_all(before, CellClass.UNDIFFERENTIATED, CellClass.DIFFERENTIATED)
    aims = [_aim_at_colony(component, components, colony, cells) for colony in condemned.values()]
    differentiated = _in_all(before, CellClass.DIFFERENTIATED)
    return (
        *aims,
        *(
            _aim_at_region(component, components, region, differentiated, max_undifferentiated)
            for region in wanted
        ),
    )


def _aim_at_colony(
    component: Callable[..., _Component],
    components: Components,
    colony: Colony,
    settled: Bools | None,
) -> Aim:
    if _is_too_large(colony.bounds):
        return _refused_whole(colony)
    inside = components.mask(components.cells, colony.label)
    return component(inside, colony.bounds[:2], 1.0, settled, None).aim(colony)


def _aim_at_region(
    component: Callable[..., _Component],
    components: Components,
    region: Region,
    settled: Bools | None,
    max_undifferentiated: float,
) -> Aim:
    if _is_too_large(_box(region)):
        return _refused_whole(region)
    inside, place = _region_mask(components, region)
    whole = np.count_nonzero(inside) == region.area_px
    radius = region.inscribed_radius_px if whole else None
    return component(inside, place, max_undifferentiated, settled, radius).aim(region)


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


def _in_all(maps: Sequence[Labels], *classes: CellClass) -> Bools | None:
    """Where each of the label maps shows one of the classes; None where there are no maps."""
    found: Bools | None = None
    for labels in maps:
        shown = np.isin(labels, classes)
        found = shown if found is None else found & shown
    return found


def _is_cut(colony: Colony, labels: Labels) -> bool:
    top, left, bottom, right = colony.bounds
    return top == 0 or left == 0 or bottom == labels.shape[0] or right == labels.shape[1]


def _region_mask(components: Components, region: Region) -> tuple[Bools, tuple[int, int]]:
    """(mask, (first row, first column)) of the differentiated component under the pick point."""
    top, left, bottom, right = _box(region)
    kind = components.differentiated
    box = kind.bounds(region.label)
    if box[0] >= top and box[1] >= left and box[2] <= bottom and box[3] <= right:
        mask = np.zeros(
            (
                min(bottom, components.labels.shape[0]) - top,
                min(right, components.labels.shape[1]) - left,
            ),
            bool,
        )
        place = slice(box[0] - top, box[2] - top), slice(box[1] - left, box[3] - left)
        mask[place] = components.mask(kind, region.label)
        return mask, (top, left)
    # An outline of few points may cut a corner off; what lies outside is then left alone.
    crop = components.labels[top:bottom, left:right] == CellClass.DIFFERENTIATED
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
class _Component:
    """One region or colony: its mask, and where that lies in the label map.

    settled : (H, W), what a hit may touch by the scans before; None = nothing is asked of them
    radius_px : inscribed radius of the mask, where it is known
    """

    labels: Labels
    probabilities: Floats
    pixel_size_um: float
    targeting: Targeting
    inside: Bools
    place: tuple[int, int]
    max_undifferentiated: float
    settled: Bools | None
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
        radius = self.targeting.removes_um / 2 / maps.step_um
        removable = grown_by(allowed, radius)
        depth = maps.to_border(allowed)
        points, covered = cover(allowed, removable, radius, depth)
        scale = maps.step_um**2 / self.pixel_size_um**2
        return replace(
            found,
            removable_px=float(np.count_nonzero(removable) * scale),
            covered_px=float(np.count_nonzero(covered) * scale),
            points=tuple(self._point(maps, depth, row, column) for row, column in points),
        )

    def _point(self, maps: _Maps, depth: Floats, row: int, column: int) -> AimPoint:
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
        targeting = self.targeting
        step_um = max(self.pixel_size_um, targeting.removes_um / 2 / _STEPS_A_RADIUS)
        factor = max(1, int(step_um / self.pixel_size_um))
        step_um = factor * self.pixel_size_um
        # As much around it as a good cell may matter from, and one ring that is surely outside.
        margin = 2 + math.ceil(targeting.clearance_of_good_um / step_um)
        rows, columns = (-(-length // factor) for length in self.inside.shape)
        grid = Grid(self.place, factor, margin, (rows + 2 * margin, columns + 2 * margin))
        return _Maps(self, grid, step_um)

    def may_be_undifferentiated(self, grid: Grid, window: Window) -> Bools:
        """Where in a window of the grid the cells may be undifferentiated after all."""
        plane = self.probabilities[int(CellClass.UNDIFFERENTIATED)]
        rows, columns = (
            (
                (first + (np.arange(part.start, part.stop) - grid.margin + 0.5) * grid.factor)
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
    """What is how far from one component's points, in steps of the grid, each at least that.

    Most are too thin for the tool anywhere, and their own depth says so: the surroundings are
    looked at only where it does not, and no farther about the places that are deep enough than
    anything there can matter. What lies beyond counts as infinitely far.
    """

    def __init__(self, component: _Component, grid: Grid, step_um: float) -> None:
        self._component, self._grid = component, grid
        self.step_um, self.factor, self.margin = step_um, grid.factor, grid.margin
        if component.radius_px is not None and grid.factor == 1:
            radius = component.radius_px
        else:
            radius = deepest(self._region)[0]
        self._depth = max(radius - HALF_DIAGONAL, 0.0)

    @property
    def widest_um(self) -> float:
        return self._depth * self.step_um

    @cached_property
    def _region(self) -> Bools:
        return self._grid.all_of(self._component.inside)

    def to_border(self, points: Bools) -> Floats:
        """Of these points of the region to what is not region; 0 or more elsewhere."""
        box = box_around(points, math.ceil(self._depth) + 3)
        found = np.zeros(self._grid.shape, np.float32)
        found[box] = distance_to(~self._region[box])
        return found

    @cached_property
    def _wide(self) -> Bools:
        """Points that are deep enough for the tool."""
        targeting = self._component.targeting
        if self.widest_um < targeting.clearance_um:
            return np.zeros(self._grid.shape, bool)
        return self._far_from(~self._region, targeting.clearance_um, self._region)

    def _far_from(self, what: Bools, least_um: float, wanted: Bools) -> Bools:
        """Which of the wanted squares are so far from any point of those that are set."""
        least = least_um / self.step_um + HALF_DIAGONAL
        return are_far(~what, wanted, least) if least_um > 0 else wanted.copy()

    @cached_property
    def _window(self) -> Window:
        """The part of the grid in which something may be too near to a wide point."""
        targeting = self._component.targeting
        reach = 2 + math.ceil(
            max(targeting.clearance_of_good_um, _touched_um(targeting)) / self.step_um
        )
        return box_around(self._wide, reach)

    @cached_property
    def _around(self) -> tuple[Bools, Bools]:
        """(good cells, what the picture shows), in pixels of the window."""
        labels, seen = self._grid.cut(self._component.labels, self._window)
        # A colony that goes may hold undifferentiated cells; others may not be near.
        inside = self._grid.fine(self._component.inside, self._window)
        return (labels == CellClass.UNDIFFERENTIATED) & ~inside, seen

    @cached_property
    def _free(self) -> Bools:
        """Wide points far from good cells and from what the picture does not show, in the window"""
        good, seen = self._around
        return self._far_from(
            self._grid.any_of(good | ~seen),
            self._component.targeting.clearance_of_good_um,
            self._wide[self._window],
        )

    def allowed(self) -> Bools | None:
        """Where the tool may be set down; None: nowhere."""
        if not self._wide.any():
            return None
        found = self._free
        touched_um = _touched_um(self._component.targeting)
        if found.any() and self._component.max_undifferentiated < 1:
            doubtful = self._component.may_be_undifferentiated(self._grid, self._window)
            found = self._far_from(doubtful, touched_um, found)
        if found.any() and self._component.settled is not None:
            found = self._settled(self._component.settled, found)
        if not found.any():
            return None
        allowed = np.zeros(self._grid.shape, bool)
        allowed[self._window] = found
        return allowed

    def _settled(self, settled: Bools, wanted: Bools) -> Bools:
        """Which points of the window are far from what the scans before leave open."""
        place, seen = self._grid.cut(settled.view(np.uint8), self._window)
        unsettled = self._grid.any_of((place != 1) | ~seen)
        return self._far_from(unsettled, _touched_um(self._component.targeting), wanted)

    def why_not(self) -> tuple[str, str]:
        targeting = self._component.targeting
        if self._wide.any():
            good, _ = self._around
            wide = self._wide[self._window]
            away = self._far_from(self._grid.any_of(good), targeting.clearance_of_good_um, wide)
            if not away.any():
                return (
                    "too close to good cells",
                    f"too close to undifferentiated cells ({targeting.tool} keeps "
                    f"{targeting.clearance_of_good_um:.0f} µm from them)",
                )
            if self._free.any():
                settled = self._component.settled
                if settled is not None and not self._settled(settled, self._free).any():
                    return "not seen before", "not clearly differentiated in the scans before"
                return "too uncertain", "nowhere reliably free of undifferentiated cells"
            return "at the edge", "at the edge of the image, beyond which there may be good cells"
        if self._component.is_cut:
            return "at the edge", "cut by the edge of the image, and too thin without the rest"
        needed = 2 * targeting.clearance_um
        return (
            "too thin",
            f"too thin for {targeting.tool} (needs {needed:.0f} µm across)",
        )


def _touched_um(targeting: Targeting) -> float:
    """From the point aimed at to what a hit may harm, at most."""
    return targeting.touches_um / 2 + targeting.set_down_um
