"""Where the scans of a series are expected, by how those around them scatter. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BAND_POINTS = 240  # more cannot be told apart on paper
_BAND_SCANS = 40  # in one of its windows, at most
FEWEST_FOR_BAND = 5
# Half of what lies under a normal curve is within 0.6745 standard deviations, 95 % within 1.96.
_FROM_MEDIAN = 1.96 / 0.6745


@dataclass(frozen=True, eq=False)
class UsualRange:
    """At `hours`: the level of a series and the range of its scans, NaN where too few lie around.

    All (M,).
    """

    hours: NDArray[np.float64]
    level: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def usual_range(
    hours: NDArray[np.float64], values: NDArray[np.float64], *, window_h: float
) -> UsualRange:
    """Where 95 % of scans are expected, by the scatter of the scans around.

    hours, values : (N,), oldest first, at least 5
    window_h : the scans of so many hours count, more where a picture could not show that

    At each time a line is laid through the scans around as `decisions.trend` does it, by medians,
    and the range is its level there and 2.9 times the median distance of scans from their lines,
    over three windows: five scans alone say little of how they scatter.
    """
    window = max(window_h, (hours[-1] - hours[0]) / _BAND_POINTS * 2)
    if len(hours) <= _BAND_POINTS:
        at = hours.copy()
    else:
        at = np.linspace(hours[0], hours[-1], _BAND_POINTS)
    level, reach = np.full(len(at), np.nan), np.full(len(at), np.nan)
    starts = np.searchsorted(hours, at - window / 2, side="left")
    ends = np.searchsorted(hours, at + window / 2, side="right")
    for place, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        if end - start < FEWEST_FOR_BAND:  # at an end of the series, or beside a gap
            near = np.flatnonzero(np.abs(hours - at[place]) <= window)
            near = near[np.argsort(np.abs(hours[near] - at[place]))][:FEWEST_FOR_BAND]
            near.sort()
        else:
            near = np.arange(start, end, -(-(end - start) // _BAND_SCANS))
        if len(near) < FEWEST_FOR_BAND:
            continue
        x, y = hours[near] - at[place], values[near]
        first, second = np.triu_indices(len(x), 1)
        between = x[second] - x[first]
        slopes = (y[second] - y[first])[between > 0] / between[between > 0]
        slope = float(np.median(slopes)) if len(slopes) else 0.0
        level[place] = np.median(y - slope * x)
        reach[place] = _FROM_MEDIAN * np.median(np.abs(y - slope * x - level[place]))
    smooth = np.full(len(at), np.nan)
    for place in np.flatnonzero(~np.isnan(reach)).tolist():
        smooth[place] = np.nanmedian(reach[np.abs(at - at[place]) <= 1.5 * window])
    smooth = np.fmax(smooth, reach * 0.5)
    return UsualRange(at, level, np.clip(level - smooth, 0, 1), np.clip(level + smooth, 0, 1))
