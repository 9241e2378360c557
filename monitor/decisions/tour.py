"""A short path over the places that a tool is sent to. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MAX_SWEEPS = 40


def short_tour(points: NDArray[np.float64]) -> tuple[int, ...]:
    """Order in which to visit `points` on a short open path, each once.

    points : (N, 2) in um
    Nearest neighbour from the point of smallest x + y, then exchanges of two edges (2-opt, Croes
    1958) until none helps.
    """
    count = len(points)
    if count == 0:
        return ()
    away = np.hypot(*(points[:, None, :] - points[None, :, :]).transpose(2, 0, 1))
    tour = [int(np.argmin(points.sum(axis=1)))]
    left = np.ones(count, bool)
    left[tour[0]] = False
    while left.any():
        tour.append(int(np.argmin(np.where(left, away[tour[-1]], np.inf))))
        left[tour[-1]] = False
    order = np.array(tour)
    for _ in range(_MAX_SWEEPS):
        if not _uncross(order, away):
            break
    return tuple(int(index) for index in order)


def _uncross(order: NDArray[np.intp], away: NDArray[np.float64]) -> bool:
    """One sweep of reversals of a stretch of the path, in place. True if the path got shorter."""
    count, better = len(order), False
    for start in range(count - 1):
        # Reverse order[start .. end]: its first edge and, unless it ends the path, its last change.
        ends = np.arange(start + 1, count)
        after = np.minimum(ends + 1, count - 1)
        change = np.where(
            ends + 1 < count,
            away[order[start], order[after]] - away[order[ends], order[after]],
            0.0,
        )
        if start:
            before = order[start - 1]
            change = change + away[before, order[ends]] - away[before, order[start]]
        best = int(np.argmin(change))
        if change[best] < -1e-9:
            stop = int(ends[best]) + 1
            order[start:stop] = order[start:stop][::-1].copy()
            better = True
    return better
