"""What people did with a dish: numbered lines across a picture, explained below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import date2num
from matplotlib.figure import Figure

from monitor.culture import DishTimeline
from monitor.outlets.figures.lettering import fitted, width_of

_EVENT = "#6d28d9"
WIDTH_PX = 960
EDGE_PX = 20
HEAD_PX, STRIP_PX, UPPER_PX, BETWEEN_PX, LOWER_PX = 74, 34, 356, 34, 158
TEXT_PT = 13
_KEY_PT = 11
KEY_LINE_PX = 25
_KEY_PX = (0, 32, 216)  # where a number, its time and its text begin
_LONGEST_NOTE = 160
_SHORT_NOTE_PX = 235  # with such ones the key has two columns
_MOST_EVENTS = 20
_MARK_PX = 26  # from one event's number to the next, at least


@dataclass(frozen=True)
class _Event:
    at: datetime
    text: str


def events_of(story: DishTimeline) -> list[_Event]:
    """What people did in the time that is drawn, oldest first."""
    line = story.line
    found = [_Event(one.at, one.text) for one in story.annotations]
    if line.began_at is not None and line.parent is not None:
        found.append(_Event(line.began_at, f"begins: passaged from {line.parent}"))
    if line.ended_at is not None:
        to = f"passaged to {', '.join(line.children)}" if line.children else "ended"
        found.append(_Event(line.ended_at, to))
    span = span_of(story)
    if span is None:
        return []
    margin = max((span[1] - span[0]) * 0.03, timedelta(hours=6))
    return sorted(
        (one for one in found if span[0] - margin <= one.at <= span[1] + margin),
        key=lambda one: one.at,
    )


@dataclass(frozen=True)
class _Key:
    """The numbered texts below the picture: rows of (number, time, text), so many below another."""

    rows: list[tuple[str, str, str]]
    lines: int


def key_to(events: Sequence[_Event], zone: ZoneInfo) -> _Key:
    shown = events[-_MOST_EVENTS:]
    room = WIDTH_PX - 2 * EDGE_PX - _KEY_PX[-1]
    texts = [fitted(one.text[:_LONGEST_NOTE], _KEY_PT, room) for one in shown]
    rows = [
        (str(number), f"{one.at.astimezone(zone):%d %b %Y %H:%M}", text)
        for number, (one, text) in enumerate(zip(shown, texts, strict=True), 1)
    ]
    if len(events) > len(shown):
        rows.append(("…", f"and {len(events) - len(shown)} before", "these: see the table"))
    is_short = len(rows) > 3 and all(width_of(row[-1], _KEY_PT) <= _SHORT_NOTE_PX for row in rows)
    return _Key(rows, -(-len(rows) // 2) if is_short else len(rows))


def write_key(figure: Figure, key: _Key, foot: float, height: float) -> None:
    for number, row in enumerate(key.rows):
        column, below = divmod(number, key.lines)
        for left_px, text in zip(_KEY_PX, row, strict=True):
            figure.text(
                (EDGE_PX + left_px + column * (WIDTH_PX - EDGE_PX) / 2) / WIDTH_PX,
                (foot - (below + 0.75) * KEY_LINE_PX) / height, text,
                size=_KEY_PT, color=_EVENT, parse_math=False,
            )  # fmt: skip


def draw_events(upper: Axes, lower: Axes, events: Sequence[_Event], width_px: float) -> None:
    """A line at each time and a number above it; numbers that would meet are moved apart."""
    shown = events[-_MOST_EVENTS:]
    if not shown:
        return
    first, last = lower.get_xlim()
    for one in shown:
        for axes in (upper, lower):
            axes.axvline(
                in_days(one.at), color=_EVENT, linewidth=1.1, linestyle=(0, (5, 3)), zorder=1
            )
    wanted = [(in_days(one.at) - first) / (last - first) * width_px for one in shown]
    places = apart(wanted, least=_MARK_PX, low=0, high=width_px)
    for number, (true, place) in enumerate(zip(wanted, places, strict=True), 1):
        height, foot = 1 + 24 / UPPER_PX, 1 + 14 / UPPER_PX
        for x, y, layer in (([true, place], [1.0, foot], 6.0), ([place], [height], 7.0)):
            upper.plot(
                [one / width_px for one in x], y, transform=upper.transAxes, clip_on=False,
                color=_EVENT, linewidth=1.1, marker="o" if len(x) == 1 else None, markersize=13.5,
                zorder=layer + number / 100,
            )  # fmt: skip
        upper.text(
            place / width_px, height - 0.002, str(number), transform=upper.transAxes,
            ha="center", va="center_baseline", size=TEXT_PT - 4, color="white", weight="bold",
            zorder=8,
        )  # fmt: skip


def apart(wanted: Sequence[float], *, least: float, low: float, high: float) -> list[float]:
    """Places as near as possible to those wanted, at least so far apart, within the bounds.

    wanted : ascending. Where there is not room enough for all, they are spread evenly.
    """
    count = len(wanted)
    if count < 2 or (count - 1) * least >= high - low:
        step = (high - low) / max(count - 1, 1)
        return [min(max(wanted[0], low), high)] if count == 1 else [
            low + step * number for number in range(count)
        ]  # fmt: skip
    # It takes a moment to load.
    from scipy.optimize import isotonic_regression

    # Least squares under an order: what stands too close is put together and shares its middle.
    steps = least * np.arange(count)
    middles = isotonic_regression(np.array(wanted) - steps).x
    placed: list[float] = (np.clip(middles, low, high - steps[-1]) + steps).tolist()
    return placed


def span_of(story: DishTimeline) -> tuple[datetime, datetime] | None:
    """First and last time of what was seen."""
    times = [one.at for one in story.readings] + [one.at for one in story.unreadable]
    return (min(times), max(times)) if times else None


def in_days(moment: datetime) -> float:
    return float(date2num(moment))  # type: ignore[no-untyped-call]
