"""How fast a series rises, how sure that is, and when it will pass a limit.

The slope is the median of the slopes of all pairs of points (Theil 1950), its interval comes from
Kendall's rank statistic (Sen 1968): one odd scan moves neither much. Least squares would be moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import sqrt
from statistics import NormalDist, median

# Even the widest interval of four points holds the truth in 92 % of cases only.
FEWEST_POINTS = 5
SURE = 0.95
# What lies further ahead is not a forecast but a guess.
FARTHEST_H = 72.0


@dataclass(frozen=True)
class Trend:
    """Slope of a series and its interval, per hour, and its level at the newest point.

    hours : from the first point to the last
    """

    slope_per_h: float
    low_per_h: float
    high_per_h: float
    level: float
    points: int
    hours: float

    @property
    def rises(self) -> bool:
        """The whole interval lies above 0."""
        return self.low_per_h > 0


@dataclass(frozen=True)
class Forecast:
    """A limit will be passed between so many hours from the newest scan; latest_h None = later."""

    limit: float
    earliest_h: float
    latest_h: float | None


def trend(
    times: Sequence[datetime], values: Sequence[float], *, window_h: float, sure: float = SURE
) -> Trend | None:
    """Slope of the last `window_h` hours; None with fewer than 5 points or no time between them.

    times, values : of one length, oldest first
    sure : coverage of the interval, 0..1
    """
    if not times:
        return None
    points = [
        ((at - times[-1]).total_seconds() / 3600, value)
        for at, value in zip(times, values, strict=True)
    ]
    points = [(hours, value) for hours, value in points if hours >= -window_h]
    slopes = sorted(
        (second - first) / (later - earlier)
        for index, (earlier, first) in enumerate(points)
        for later, second in points[index + 1 :]
        if later > earlier
    )
    count = len(points)
    if count < FEWEST_POINTS or not slopes:
        return None
    # Sen's interval: so many slopes lie outside it at each end.
    spread = NormalDist().inv_cdf(0.5 + sure / 2) * sqrt(count * (count - 1) * (2 * count + 5) / 18)
    outside = max(0, int((len(slopes) - spread) / 2) - 1)
    slope = median(slopes)
    return Trend(
        slope_per_h=slope,
        low_per_h=slopes[outside],
        high_per_h=slopes[len(slopes) - 1 - outside],
        level=median(value - slope * hours for hours, value in points),
        points=count,
        hours=points[-1][0] - points[0][0],
    )


def forecast(found: Trend, limit: float) -> Forecast | None:
    """When a rising series will pass `limit`; None if it does not surely rise or has passed it."""
    if not found.rises or found.level >= limit:
        return None
    earliest = (limit - found.level) / found.high_per_h
    latest = (limit - found.level) / found.low_per_h
    if earliest > FARTHEST_H:
        return None
    return Forecast(limit, earliest, latest if latest <= FARTHEST_H else None)
