"""The 90 % interval of a series as a band behind its line."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba

from monitor.culture import Reading
from monitor.culture.doubt_words import NOT_CALIBRATED, calibration_words
from monitor.outlets.figures.events import in_days

# Grey, and with lines along its edges: the usual scatter is a pale orange without any.
_FILL, _EDGE = "#94a3b8", "#64748b"
_MANY = 60  # scans: from here on the edges would be a thicket


def draw_intervals(axes: Axes, readings: Sequence[Reading], *, longest: timedelta) -> None:
    """Draw each reading's interval, where it has one, and say in the legend what it is.

    longest : between two scans of one piece; where more time lies between them, or an interval is
        missing, the band is broken. A piece of one scan is drawn as an upright line.
    """
    pieces: list[list[Reading]] = []
    before: Reading | None = None
    for one in readings:
        if one.doubt.interval is None:
            before = None
            continue
        if before is None or (longest and one.at - before.at > longest):
            pieces.append([])
        pieces[-1].append(one)
        before = one
    if not pieces:
        return
    label = "90 % interval" + (" *" if calibration_note(readings) else "")
    for piece in pieces:
        at = [in_days(one.at) for one in piece]
        low, high = 100 * np.array([one.doubt.interval for one in piece], np.float64).T
        if len(piece) == 1:
            axes.vlines(at, low, high, color=_EDGE, linewidth=2.0, alpha=0.7, zorder=1.8)
            continue
        axes.fill_between(at, low, high, color=_FILL, alpha=0.35, linewidth=0, zorder=1.4)
        for end in (low, high) if len(readings) <= _MANY else ():
            axes.plot(at, end, color=_EDGE, linewidth=0.9, alpha=0.8, zorder=1.8)
    axes.fill_between([], [], [], facecolor=to_rgba(_FILL, 0.35), edgecolor=_EDGE, label=label)


def calibration_note(readings: Sequence[Reading]) -> str:
    """What the star in the legend means, to be written below; empty where there is none."""
    told = [calibration_words(one.doubt) for one in readings if one.doubt.interval]
    if not any(told):
        return ""
    return f"     * {'' if all(told) else 'partly '}{NOT_CALIBRATED}"


def highest(readings: Sequence[Reading]) -> float:
    """The upper end of the highest interval, in percent; 0 where there is none."""
    return max((100 * one.doubt.interval[1] for one in readings if one.doubt.interval), default=0.0)
