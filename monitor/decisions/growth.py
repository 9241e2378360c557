"""Each colony's own story: how fast it grows, and what it came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import log

from monitor.culture import ColonyPoint, TrackedColony
from monitor.decisions.trend import Trend, trend


@dataclass(frozen=True)
class ColonyHistory:
    """came_from : numbers of all that merged into it, or that it split off from

    growth : slope of the logarithm of its area, per hour; None where too few scans show it whole
    """

    last: TrackedColony
    first_at: datetime
    last_at: datetime
    scans: int
    came_from: tuple[int, ...]
    growth: Trend | None


def stories(points: Sequence[ColonyPoint], *, window_h: float) -> list[ColonyHistory]:
    """A dish's colonies by number.

    points : oldest scan first

    Growth rests on the last `window_h` hours, and only on scans since the colony last merged or
    split: a merger is no growth. Scans that do not show it whole do not count.
    """
    series: dict[int, list[ColonyPoint]] = {}
    for point in points:
        series.setdefault(point.colony.number, []).append(point)
    found = []
    for number in sorted(series):
        own = series[number]
        since = max((place for place, one in enumerate(own) if one.colony.came_from), default=0)
        whole = [one for one in own[since:] if not one.colony.is_cut and one.colony.area > 0]
        found.append(
            ColonyHistory(
                last=own[-1].colony,
                first_at=own[0].at,
                last_at=own[-1].at,
                scans=len(own),
                came_from=tuple(sorted({old for one in own for old in one.colony.came_from})),
                growth=trend(
                    [one.at for one in whole],
                    [log(one.colony.area) for one in whole],
                    window_h=window_h,
                ),
            )
        )
    return found
