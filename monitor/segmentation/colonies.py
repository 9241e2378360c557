"""Label map -> areas, colonies, regions to remove. Pure: arrays in, plain values out.

A label map is (H, W) uint8: 0 background, 1 undifferentiated, 2 differentiated, 255 no class
(outside the vessel). Points are (row, column), pixel centres at whole numbers; neighbours touch at
sides or corners (8).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from model.classes import UNKNOWN, CellClass
from model.strips import in_strips
from monitor.culture import Colony, FieldAreas, Region
from monitor.segmentation.components import LARGEST_BOX_PIXELS, Components
from monitor.segmentation.distances import deepest
from monitor.segmentation.outlines import outline_of

# Smaller specks are debris or single dead cells: an iPS colony of ten cells covers some 1,500 um2.
MIN_COLONY_UM2 = 1_500.0

# So much at a time stays in the processor's cache.
_COUNTED_PIXELS = 262_144

Labels = NDArray[np.uint8]
_Bools = NDArray[np.bool_]


def measure_areas(labels: Labels) -> FieldAreas:
    """Count the pixels of each class; those without a class count nowhere.

    Raises ValueError where the label map holds any other value.
    """
    counts = dict.fromkeys((*CellClass, UNKNOWN), 0)
    for top, bottom in in_strips(labels.shape[0], labels.shape[1], _COUNTED_PIXELS):
        # One value after the other: a histogram waits for its last count where values repeat.
        for value in counts:
            counts[value] += int(np.count_nonzero(labels[top:bottom] == value))
    if sum(counts.values()) != labels.size:
        odd = sorted(set(np.unique(labels).tolist()) - set(counts))
        raise ValueError(f"a label map holds 0, 1, 2 and {UNKNOWN}, this one also {odd[:5]}")
    return FieldAreas(
        background_px=counts[CellClass.BACKGROUND],
        undifferentiated_px=counts[CellClass.UNDIFFERENTIATED],
        differentiated_px=counts[CellClass.DIFFERENTIATED],
    )


def find_colonies(labels: Labels | Components, *, min_area_px: int) -> tuple[Colony, ...]:
    """Connected regions of cells, largest first, labelled 1, 2, ... in that order."""
    components = _components_of(labels)
    differentiated = components.differentiated_px()
    return tuple(
        Colony(
            label=label,
            area_px=components.cells.area(label),
            differentiated_px=int(differentiated[label]),
            centroid=components.cells.centroid(label),
            bounds=components.cells.bounds(label),
        )
        for label in range(1, components.cells.count_at_least(min_area_px) + 1)
    )


Sampler = Callable[[NDArray[np.intp], NDArray[np.intp]], NDArray[np.floating]]


def find_regions(
    labels: Labels | Components,
    probability: NDArray[np.floating] | Sampler,
    *,
    min_area_px: int,
    colonies: Sequence[Colony] = (),
    largest_box_px: int = LARGEST_BOX_PIXELS,
) -> tuple[Region, ...]:
    """Connected differentiated regions, largest first, labelled 1, 2, ... in that order.

    probability : (H, W), of the differentiated class, 0..1; or what gives it for some rows and
        columns: (h,), (w,) -> (h, w)
    colonies : what `find_colonies` made of the same label map; regions then name theirs

    The outlines are those of `outlines.outline_of`. The pick point is the pixel farthest from
    everything that is not in the region, holes and the picture's edge included, so that it never
    falls outside as a crescent's centroid does. In boxes of more than `largest_box_px` both are
    found on squares of several pixels: the outline of those that the region touches, the pick point
    among those that it fills.
    """
    components = _components_of(labels)
    if not callable(probability):
        if probability.shape != components.labels.shape:
            raise ValueError(
                f"probability {probability.shape} and label map {components.labels.shape} differ "
                "in shape"
            )
        whole = probability

        def probability(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.floating]:
            place = tuple(slice(some[0], some[-1] + 1) for some in (rows, columns))
            crop = whole[place]
            if crop.shape == (len(rows), len(columns)):
                return crop
            return crop[np.ix_(rows - rows[0], columns - columns[0])]

    known = {colony.label for colony in colonies}
    count = components.differentiated.count_at_least(min_area_px)
    return tuple(
        _region(components, label, probability, known, largest_box_px)
        for label in range(1, count + 1)
    )


def _components_of(labels: Labels | Components) -> Components:
    return labels if isinstance(labels, Components) else Components(labels)


def _region(
    components: Components, label: int, probability: Sampler, known: set[int], largest_box_px: int
) -> Region:
    kind = components.differentiated
    top, left, bottom, right = kind.bounds(label)
    factor = 1
    while (bottom - top) * (right - left) > largest_box_px * factor**2:
        factor += 1
    if factor == 1:
        touched = inside = components.mask(kind, label)
    else:
        held = components.squares(kind, label, factor)
        # A web so thin that it fills no square has its pick point where most of it is.
        touched, inside = held > 0, held == min(factor**2, int(held.max()))
    radius, pick_row, pick_column = deepest(inside)
    middle = (factor - 1) // 2
    outline = outline_of(touched, (top, left), factor=factor)
    rows, columns = (
        np.arange(first, first + length * factor, factor) + middle
        for first, length in zip((top, left), inside.shape, strict=True)
    )
    if factor > 1:
        rows, columns = (
            np.minimum(along, full - 1)
            for along, full in zip((rows, columns), components.labels.shape, strict=True)
        )
    row, column = int(rows[pick_row]), int(columns[pick_column])
    if components.labels[row, column] != CellClass.DIFFERENTIATED:
        square = components.labels[rows[pick_row] - middle :, columns[pick_column] - middle :]
        within = np.argwhere(square[:factor, :factor] == CellClass.DIFFERENTIATED)[0]
        row, column = row - middle + int(within[0]), column - middle + int(within[1])
    colony = int(components.colony_of[label])
    return Region(
        label=label,
        area_px=kind.area(label),
        polygon=outline.shell,
        pick_point=(float(row), float(column)),
        inscribed_radius_px=radius if factor == 1 else _at_least(radius, held, factor),
        mean_probability=cv2.mean(probability(rows, columns), inside.view(np.uint8))[0],
        colony=colony if colony in known else None,
        holes=outline.holes,
    )


def _at_least(radius: float, held: NDArray[np.int32], factor: int) -> float:
    """A radius in squares as pixels: to the nearest corner of one that is not filled."""
    filled = int(held.max()) == factor**2
    return max(1.0, (radius - math.sqrt(0.5)) * factor - 0.5) if filled else 1.0
