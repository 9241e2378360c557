"""Few discs that cover most of a region: hexagonal lattices, then the greedy choice. Pure.

Points and lengths are in steps of the grid."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from monitor.segmentation.distances import Bools, Floats

_CANDIDATES_A_RADIUS = 4
_MOST_CANDIDATES = 20_000
_LATTICES = 9
# So many discs' area is small enough to try every lattice to the end.
_SMALL = 6
# A hit that removes less that is new, as a share of all that it removes, is not worth its risk.
LEAST_NEW = 0.2


def cover(
    allowed: Bools, wanted: Bools, radius: float, depth: Floats
) -> tuple[list[tuple[int, int]], Bools]:
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
    best: tuple[list[tuple[int, int]], Bools] | None = None
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


def _lattices(allowed: Bools, radius: float, depth: Floats) -> Iterator[NDArray[np.intp]]:
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


def _covered(points: NDArray[np.intp], wanted: Bools, disc: Bools) -> int:
    canvas = _Canvas(wanted, disc)
    for row, column in points.tolist():
        canvas.add((row, column))
    return int(np.count_nonzero(canvas.count))


def _deepest(allowed: Bools, depth: Floats) -> NDArray[np.intp]:
    """The pole of inaccessibility among the allowed points, (1, 2)."""
    place = int(np.argmax(np.where(allowed, depth, -1)))
    return np.array([divmod(place, allowed.shape[1])], np.intp)


def _candidates(allowed: Bools, radius: float) -> NDArray[np.intp]:
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


def _disc(radius: float) -> Bools:
    reach = int(radius)
    rows, columns = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    disc: Bools = rows**2 + columns**2 <= radius**2
    return disc


class _Canvas:
    """What is covered how often. count : (H, W) int16, 0 outside of what is wanted"""

    def __init__(self, wanted: Bools, disc: Bools) -> None:
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

    def add_all(self, points: NDArray[np.intp], depth: Floats) -> list[tuple[int, int]]:
        """Those of the points that are worth it, deepest first."""
        added = []
        deepest_first = np.argsort(-depth[points[:, 0], points[:, 1]], kind="stable")
        for row, column in points[deepest_first].tolist():
            if self.gain((row, column)) >= LEAST_NEW * self._size:
                self.add((row, column))
                added.append((row, column))
        return added

    def add_greedily(self, candidates: NDArray[np.intp], depth: Floats) -> list[tuple[int, int]]:
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
