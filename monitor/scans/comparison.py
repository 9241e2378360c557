"""The colony maps of two scans laid one upon the other.

Which cells both cover, how far away the dish was put back, and what is kept in mind of the scan
before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from monitor.culture import ColonyMap
from monitor.culture.scans import FIRST_COLONY, NOT_IMAGED
from monitor.scans.mosaic import MOST_CELLS

# A dish that is put back by hand lies within a millimetre and a half of where it was. It was moved
# where less than the one share of the colonies is found again, and lies where over the other is.
FARTHEST_CELLS = 96
LOST_SHARE = 0.5
REGAINED_SHARE = 0.7


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two scans' colony maps, one laid upon the other.

    shared : (place in the list before, value in the map now) -> cells that both cover
    sizes : place in the list now -> cells
    shifts : frame -> (rows, columns) in cells that the dish was put back elsewhere
    """

    shared: dict[tuple[int, int], int]
    sizes: dict[int, int]
    shifts: dict[str, tuple[int, int]]


def compare(before: Sequence[ColonyMap], now: Sequence[ColonyMap]) -> Comparison:
    """Lay the colonies of one scan upon those of the next.

    A dish that was taken out and put back lies some tenths of a millimetre elsewhere. Where little
    of what was there is found in its spot, the shift that brings most of it back counts.
    """
    present = {drawn.frame: drawn for drawn in now}
    shared: Counter[tuple[int, int]] = Counter()
    shifts = {}
    for old in before:
        new = present.get(old.frame)
        if new is None:
            for value, cells in _counts(old).items():
                shared[value - FIRST_COLONY, NOT_IMAGED] += cells
            continue
        found = _shared_cells(old, new)
        if _found_again(found) < LOST_SHARE:
            shift = _best_shift(old, new)
            moved = _shared_cells(old, new, shift)
            if _found_again(moved) >= REGAINED_SHARE:
                found, shifts[old.frame] = moved, shift
        for (value, there), cells in found.items():
            shared[value - FIRST_COLONY, there] += cells
    sizes: Counter[int] = Counter()
    for drawn in now:
        sizes.update({value - FIRST_COLONY: cells for value, cells in _counts(drawn).items()})
    return Comparison(dict(shared), dict(sizes), shifts)


def carry(
    before: Sequence[ColonyMap],
    now: Sequence[ColonyMap],
    kept: Mapping[int, int],
    shifts: Mapping[str, tuple[int, int]],
) -> tuple[ColonyMap, ...]:
    """The new maps, with what is kept in mind drawn where it was last seen and nothing is now.

    kept : place in the list before -> place in the list now
    """
    present = {drawn.frame: drawn for drawn in now}
    table = np.zeros(0x10000, np.uint16)
    for old, place in kept.items():
        if place + FIRST_COLONY <= 0xFFFF:
            table[old + FIRST_COLONY] = place + FIRST_COLONY
    for drawn in before:
        values = table[drawn.values]
        if not values.any():
            continue
        left = replace(drawn, values=values)
        new = present.get(drawn.frame)
        if new is not None:
            left = _drawn_together(left, new, shifts.get(drawn.frame, (0, 0)))
        present[drawn.frame] = left
    return tuple(present.values())


def _drawn_together(old: ColonyMap, new: ColonyMap, shift: tuple[int, int]) -> ColonyMap:
    cell = max(old.cell, new.cell)
    one, first = _coarser(old, cell)
    two, second = _coarser(new, cell)
    first = first[0] + shift[0], first[1] + shift[1]
    rows, columns = np.nonzero(one)
    if not len(rows):
        return new
    top = min(second[0], first[0] + int(rows.min()))
    left = min(second[1], first[1] + int(columns.min()))
    bottom = max(second[0] + two.shape[0], first[0] + int(rows.max()) + 1)
    right = max(second[1] + two.shape[1], first[1] + int(columns.max()) + 1)
    if (bottom - top) * (right - left) > 2 * MOST_CELLS:
        return new
    values = np.zeros((bottom - top, right - left), np.uint16)
    values[
        second[0] - top : second[0] - top + two.shape[0],
        second[1] - left : second[1] - left + two.shape[1],
    ] = two
    there = rows + first[0] - top, columns + first[1] - left
    values[there] = np.where(values[there] < FIRST_COLONY, one[rows, columns], values[there])
    return ColonyMap(new.frame, cell, (top, left), values)


def _counts(drawn: ColonyMap) -> dict[int, int]:
    values, counts = np.unique(drawn.values, return_counts=True)
    return {
        value: count
        for value, count in zip(values.tolist(), counts.tolist(), strict=True)
        if value >= FIRST_COLONY
    }


def _shared_cells(
    before: ColonyMap, now: ColonyMap, shift: tuple[int, int] = (0, 0)
) -> dict[tuple[int, int], int]:
    """(value before, value now) -> cells. Outside of `now` its value is `NOT_IMAGED`."""
    cell = max(before.cell, now.cell)
    one, first = _coarser(before, cell)
    two, second = _coarser(now, cell)
    placed = np.zeros(one.shape, np.uint16)
    top, left = second[0] - first[0] - shift[0], second[1] - first[1] - shift[1]
    rows = slice(max(0, top), max(0, min(one.shape[0], top + two.shape[0])))
    columns = slice(max(0, left), max(0, min(one.shape[1], left + two.shape[1])))
    if rows.start < rows.stop and columns.start < columns.stop:
        placed[rows, columns] = two[
            rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
        ]
    known = one >= FIRST_COLONY
    pairs, counts = np.unique(
        one[known].astype(np.uint32) << 16 | placed[known], return_counts=True
    )
    # Counted in cells of the new map, as the sizes are.
    scale = round((cell / now.cell) ** 2)
    return {
        (pair >> 16, pair & 0xFFFF): count * scale
        for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True)
    }


def _found_again(shared: Mapping[tuple[int, int], int]) -> float:
    """Share of what was there, where it was imaged, that is covered by a colony again."""
    imaged = sum(cells for (_, value), cells in shared.items() if value != NOT_IMAGED)
    again = sum(cells for (_, value), cells in shared.items() if value >= FIRST_COLONY)
    return again / imaged if imaged else 1.0


def _best_shift(before: ColonyMap, now: ColonyMap) -> tuple[int, int]:
    """Rows and columns by which the old map fits best upon the new one, up to `FARTHEST_CELLS`."""
    cell = max(before.cell, now.cell)
    one, first = _coarser(before, cell)
    two, second = _coarser(now, cell)
    shape = tuple(
        one.shape[axis] + two.shape[axis] + abs(first[axis] - second[axis]) for axis in (0, 1)
    )
    size = tuple(cv2.getOptimalDFTSize(side) for side in shape)
    canvases = []
    for values, origin in ((one, first), (two, second)):
        canvas = np.zeros(size, np.float32)
        top = origin[0] - min(first[0], second[0])
        left = origin[1] - min(first[1], second[1])
        canvas[top : top + values.shape[0], left : left + values.shape[1]] = values >= FIRST_COLONY
        canvases.append(cv2.dft(canvas))
    match = cv2.idft(cv2.mulSpectrums(canvases[1], canvases[0], 0, conjB=True))
    reach = min(FARTHEST_CELLS, (min(size) - 1) // 2)
    steps = np.arange(-reach, reach + 1)
    near = match[np.ix_(steps % size[0], steps % size[1])]
    row, column = np.unravel_index(int(near.argmax()), near.shape)
    return int(steps[row]), int(steps[column])


def _coarser(drawn: ColonyMap, cell: float) -> tuple[NDArray[np.uint16], tuple[int, int]]:
    step = round(cell / drawn.cell)
    if step == 1:
        return drawn.values, drawn.origin
    top, left = (-drawn.origin[0]) % step, (-drawn.origin[1]) % step
    middle = step // 2
    values = drawn.values[top + middle :: step, left + middle :: step]
    origin = ((drawn.origin[0] + top) // step, (drawn.origin[1] + left) // step)
    return values, origin
