"""Pictures of a dish's series. Matplotlib's objects only, no pyplot: safe in any thread."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.ft2font import FT2Font
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from monitor.config import DifferentiationConfig
from monitor.culture import MISDATED, AlertKind, AlertTopic, DishStory, Reading

_DIFFERENTIATED = "#d55e00"
_CELLS = "#0072b2"
_INK = "#1f2937"
_PALE = "#6b7280"
_GRID = "#e5e7eb"
_EVENT = "#6d28d9"
_BAND = "#f5c6a5"
_ALERTS = {
    AlertKind.RAISED: ("v", "#b91c1c", "alert"),
    AlertKind.WORSENED: ("v", "#7f1d1d", "worse"),
    AlertKind.CLEARED: ("^", "#15803d", "cleared"),
}
_DPI = 120
_WIDTH_PX = 960
# Of the axes, from the picture's left, right and bottom edges.
_LEFT_PX, _RIGHT_PX, _BOTTOM_PX = 92, 140, 64
_EDGE_PX = 20
_HEAD_PX, _STRIP_PX, _UPPER_PX, _BETWEEN_PX, _LOWER_PX = 74, 34, 356, 34, 158
_TEXT_PT = 13
_KEY_PT = 11
_KEY_LINE_PX = 25
_KEY_PX = (0, 32, 216)  # where a number, its time and its text begin
_MANY = 60
_LONGEST_NOTE = 160
_SHORT_NOTE_PX = 235  # with such ones the key has two columns
_MOST_EVENTS = 20
_VERY_MANY = 1500  # scans: their line is a mass, and a running middle is drawn over it
_MARK_PX = 26  # from one event's number to the next, at least
_BREAK_AFTER = 4.0  # intervals between scans
_BAND_POINTS = 240  # more cannot be told apart on paper
_BAND_SCANS = 40  # in one of its windows, at most
_FEWEST_FOR_BAND = 5
# Half of what lies under a normal curve is within 0.6745 standard deviations, 95 % within 1.96.
_FROM_MEDIAN = 1.96 / 0.6745


def plot_story(story: DishStory, limits: DifferentiationConfig, *, zone: ZoneInfo) -> bytes:
    """Differentiated fraction and confluence of a dish over local time.

    Readings without a value and missing scans break the line. The band is where 95 % of the scans
    are expected, by how the scans of the `trend_h` around scatter about their own trend. Alerts on
    differentiation, unreadable captures and what people did stand at their times; the last with
    numbers that are explained below.

    Returns a PNG, 960 px wide and 720 px high, higher where there is something to explain.
    """
    # One of 2099 would leave no room for the others.
    dated = tuple(one for one in story.readings if not MISDATED & set(one.doubts))
    story = replace(story, readings=dated)
    readings = story.readings
    events = _events(story)
    key = _key(events, zone)
    foot = key.lines * _KEY_LINE_PX + (14 if key.rows else 0)
    height = _HEAD_PX + _STRIP_PX + _UPPER_PX + _BETWEEN_PX + _LOWER_PX + _BOTTOM_PX + foot
    axes_px = _UPPER_PX if events else _UPPER_PX + _STRIP_PX
    figure = Figure(figsize=(_WIDTH_PX / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    canvas = FigureCanvasAgg(figure)

    def place(bottom_px: float, height_px: float, share: Axes | None = None) -> Axes:
        width = _WIDTH_PX - _LEFT_PX - _RIGHT_PX
        return figure.add_axes(
            (_LEFT_PX / _WIDTH_PX, bottom_px / height, width / _WIDTH_PX, height_px / height),
            sharex=share,
        )

    lower = place(foot + _BOTTOM_PX, _LOWER_PX)
    upper = place(foot + _BOTTOM_PX + _LOWER_PX + _BETWEEN_PX, axes_px, lower)
    upper.tick_params(labelbottom=False)
    figure.text(
        _EDGE_PX / _WIDTH_PX, 1 - 33 / height,
        _fitted(story.line.name, _TEXT_PT + 4, _WIDTH_PX - 2 * _EDGE_PX, weight="bold"),
        size=_TEXT_PT + 4, weight="bold", color=_INK, parse_math=False,
    )  # fmt: skip
    figure.text(
        _LEFT_PX / _WIDTH_PX, (foot + 10) / height, f"time in {zone.key}",
        size=_TEXT_PT - 2, color=_PALE,
    )  # fmt: skip
    _draw_fraction(upper, story, limits)
    handles, texts = upper.get_legend_handles_labels()
    if texts:
        figure.legend(
            handles, [str(text) for text in texts], loc="upper left",
            bbox_to_anchor=(12 / _WIDTH_PX, 1 - 40 / height), ncols=len(texts),
            fontsize=_TEXT_PT - 2, frameon=False, borderaxespad=0.0, handletextpad=0.3,
            columnspacing=1.1, borderpad=0.2,
        )  # fmt: skip
    _draw_confluence(lower, readings)
    for axes in (upper, lower):
        _tidy(axes)
    _lay_time(lower, story, zone)
    _draw_events(upper, lower, events, _WIDTH_PX - _LEFT_PX - _RIGHT_PX)
    for number, row in enumerate(key.rows):
        column, below = divmod(number, key.lines)
        for left_px, text in zip(_KEY_PX, row, strict=True):
            figure.text(
                (_EDGE_PX + left_px + column * (_WIDTH_PX - _EDGE_PX) / 2) / _WIDTH_PX,
                (foot - (below + 0.75) * _KEY_LINE_PX) / height, text,
                size=_KEY_PT, color=_EVENT, parse_math=False,
            )  # fmt: skip
    if not readings:
        upper.text(
            0.5, 0.5, "no readings", size=_TEXT_PT + 3, color=_PALE, ha="center",
            transform=upper.transAxes,
        )  # fmt: skip
    content = io.BytesIO()
    canvas.print_png(content)  # type: ignore[no-untyped-call]
    return content.getvalue()


# --- the upper panel ---------------------------------------------------------------------------


def _draw_fraction(axes: Axes, story: DishStory, limits: DifferentiationConfig) -> None:
    readings = story.readings
    known = [one for one in readings if one.differentiated_fraction is not None]
    highest = max((_percent(one.differentiated_fraction) for one in known), default=0.0)
    raise_above, clear_below = limits.raise_above * 100, limits.clear_below * 100
    top = min(104.0, max(1.5 * raise_above, 1.25 * highest))
    axes.set_ylim(-0.03 * top, top)
    axes.axhspan(raise_above, top, color="#fdecea", zorder=0)
    beside = [_Beside(raise_above, f"alert {raise_above:g} %", _INK)]
    beside.append(_Beside(clear_below, f"clear {clear_below:g} %", _INK))
    lines = [(raise_above, "--"), (clear_below, ":")]
    critical = (limits.critical_above or 0.0) * 100
    if raise_above < critical < top:
        lines.append((critical, "-."))
        beside.append(_Beside(critical, f"critical {critical:g} %", _INK))
    for level, style in lines:
        axes.axhline(level, color=_INK, linestyle=style, linewidth=1.4, zorder=2)
    _draw_band(axes, readings, limits)
    _draw_line(axes, readings, [one.differentiated_fraction for one in readings], _DIFFERENTIATED)
    doubtful = [one for one in known if one.doubts]
    if doubtful:
        axes.plot(
            [_number(one.at) for one in doubtful],
            [_percent(one.differentiated_fraction) for one in doubtful],
            linestyle="none", marker="o", markersize=_size(len(readings), 9, 4),
            markerfacecolor="white", markeredgecolor=_DIFFERENTIATED, markeredgewidth=1.6,
            zorder=4, label="in doubt",
        )  # fmt: skip
    _draw_missing(axes, story)
    if known:
        value = _percent(known[-1].differentiated_fraction)
        text = f"{value:.1f} %" if value < 10 else f"{value:.0f} %"
        beside.append(_Beside(value, text, _DIFFERENTIATED, is_value=True))
    _write_beside(axes, beside)
    _draw_alerts(axes, story)
    axes.set_ylabel("differentiated, % of cells", size=_TEXT_PT, color=_INK)


def _draw_band(axes: Axes, readings: Sequence[Reading], limits: DifferentiationConfig) -> None:
    sure = [
        (_number(one.at) * 24, one.differentiated_fraction)
        for one in readings
        if one.differentiated_fraction is not None and not one.doubts
    ]
    if len(sure) < _FEWEST_FOR_BAND:
        return
    hours, values = np.array(sure, dtype=np.float64).T
    around = usual_range(hours, values, window_h=limits.trend_h or 24.0)
    steps = np.diff(around.hours)
    after_gap = np.flatnonzero(steps > _BREAK_AFTER * np.median(steps)) + 1
    at, low, high = (
        np.insert(one, after_gap, np.nan) for one in (around.hours, around.low, around.high)
    )
    axes.fill_between(
        at / 24, 100 * low, 100 * high, color=_BAND, alpha=0.6,
        linewidth=0, zorder=1.5, label="usual scatter",
    )  # fmt: skip
    if len(sure) > _VERY_MANY:
        axes.plot(
            around.hours / 24, 100 * around.level, color=_DIFFERENTIATED, linewidth=2.2, zorder=3.5,
            label="running middle",
        )  # fmt: skip


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
        if end - start < _FEWEST_FOR_BAND:  # at an end of the series, or beside a gap
            near = np.flatnonzero(np.abs(hours - at[place]) <= window)
            near = near[np.argsort(np.abs(hours[near] - at[place]))][:_FEWEST_FOR_BAND]
            near.sort()
        else:
            near = np.arange(start, end, -(-(end - start) // _BAND_SCANS))
        if len(near) < _FEWEST_FOR_BAND:
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


def _draw_missing(axes: Axes, story: DishStory) -> None:
    """Scans without cells and captures without a reading, along the bottom."""
    undefined = [one.at for one in story.readings if one.differentiated_fraction is None]
    refused = [one.at for one in story.unreadable]
    for times, marker, size, colour, text in (
        (undefined, "|", 9, _PALE, "no cells"),
        (refused, "x", 7, _INK, "unreadable"),
    ):
        if times:
            axes.plot(
                [_number(at) for at in times], [0.018] * len(times),
                transform=axes.get_xaxis_transform(), linestyle="none", marker=marker,
                markersize=size, markeredgewidth=1.6, color=colour, zorder=5, label=text,
                clip_on=False,
            )  # fmt: skip


def _draw_alerts(axes: Axes, story: DishStory) -> None:
    named = set()
    for alert in story.alerts:
        if alert.topic is not AlertTopic.DIFFERENTIATION:
            continue
        marker, colour, text = _ALERTS[alert.kind]
        axes.axvline(_number(alert.at), color=colour, linewidth=1.2, alpha=0.5, zorder=1)
        axes.plot(
            [_number(alert.at)], [0.965], transform=axes.get_xaxis_transform(),
            linestyle="none", marker=marker, markersize=11, color=colour, zorder=6,
            label=None if text in named else text, clip_on=False,
        )  # fmt: skip
        named.add(text)


@dataclass(frozen=True)
class _Beside:
    """What stands to the right of the axes at a height."""

    level: float
    text: str
    colour: str
    is_value: bool = False


def _write_beside(axes: Axes, texts: Sequence[_Beside]) -> None:
    """Each at its height, or as near to it as the others leave room."""
    low, high = axes.get_ylim()
    height_px = axes.bbox.height
    ordered = sorted(texts, key=lambda one: (one.level, one.is_value))
    wanted = [(one.level - low) / (high - low) * height_px for one in ordered]
    heights = apart(wanted, least=27, low=8, high=height_px - 8)
    for one, place in zip(ordered, heights, strict=True):
        axes.annotate(
            one.text, (1.0, place / height_px), (9, 0), xycoords="axes fraction",
            textcoords="offset points", va="center", color=one.colour,
            size=_TEXT_PT + (4 if one.is_value else -2),
            weight="bold" if one.is_value else "normal", annotation_clip=False,
        )  # fmt: skip


# --- the lower panel ---------------------------------------------------------------------------


def _draw_confluence(axes: Axes, readings: Sequence[Reading]) -> None:
    values = [one.confluence for one in readings]
    _draw_line(axes, readings, values, _CELLS)
    known = [value for value in values if value is not None]
    highest = max(known, default=0.0)
    axes.set_ylim(0, min(104.0, max(10.0, 125 * highest)))
    axes.set_ylabel("confluence, %", size=_TEXT_PT, color=_INK)
    if known:
        _write_beside(axes, [_Beside(100 * known[-1], f"{100 * known[-1]:.0f} %", _CELLS, True)])


# --- what people did ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _Event:
    at: datetime
    text: str


def _events(story: DishStory) -> list[_Event]:
    """What people did in the time that is drawn, oldest first."""
    line = story.line
    found = [_Event(one.at, one.text) for one in story.annotations]
    if line.began_at is not None and line.parent is not None:
        found.append(_Event(line.began_at, f"begins: passaged from {line.parent}"))
    if line.ended_at is not None:
        to = f"passaged to {', '.join(line.children)}" if line.children else "ended"
        found.append(_Event(line.ended_at, to))
    span = _span(story)
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


def _key(events: Sequence[_Event], zone: ZoneInfo) -> _Key:
    shown = events[-_MOST_EVENTS:]
    room = _WIDTH_PX - 2 * _EDGE_PX - _KEY_PX[-1]
    texts = [_fitted(one.text[:_LONGEST_NOTE], _KEY_PT, room) for one in shown]
    rows = [
        (str(number), f"{one.at.astimezone(zone):%d %b %Y %H:%M}", text)
        for number, (one, text) in enumerate(zip(shown, texts, strict=True), 1)
    ]
    if len(events) > len(shown):
        rows.append(("…", f"and {len(events) - len(shown)} before", "these: see the table"))
    is_short = len(rows) > 3 and all(_width_px(row[-1], _KEY_PT) <= _SHORT_NOTE_PX for row in rows)
    return _Key(rows, -(-len(rows) // 2) if is_short else len(rows))


def _draw_events(upper: Axes, lower: Axes, events: Sequence[_Event], width_px: float) -> None:
    """A line at each time and a number above it; numbers that would meet are moved apart."""
    shown = events[-_MOST_EVENTS:]
    if not shown:
        return
    first, last = lower.get_xlim()
    for one in shown:
        for axes in (upper, lower):
            axes.axvline(
                _number(one.at), color=_EVENT, linewidth=1.1, linestyle=(0, (5, 3)), zorder=1
            )
    wanted = [(_number(one.at) - first) / (last - first) * width_px for one in shown]
    places = apart(wanted, least=_MARK_PX, low=0, high=width_px)
    for number, (true, place) in enumerate(zip(wanted, places, strict=True), 1):
        height, foot = 1 + 24 / _UPPER_PX, 1 + 14 / _UPPER_PX
        for x, y, layer in (([true, place], [1.0, foot], 6.0), ([place], [height], 7.0)):
            upper.plot(
                [one / width_px for one in x], y, transform=upper.transAxes, clip_on=False,
                color=_EVENT, linewidth=1.1, marker="o" if len(x) == 1 else None, markersize=13.5,
                zorder=layer + number / 100,
            )  # fmt: skip
        upper.text(
            place / width_px, height - 0.002, str(number), transform=upper.transAxes,
            ha="center", va="center_baseline", size=_TEXT_PT - 4, color="white", weight="bold",
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
    # Least squares under an order: what stands too close is put together and shares its middle.
    groups: list[list[float]] = []  # (sum of wanted places less their offsets, how many)
    for number, place in enumerate(wanted):
        groups.append([place - number * least, 1])
        while len(groups) > 1 and groups[-2][0] / groups[-2][1] >= groups[-1][0] / groups[-1][1]:
            total, many = groups.pop()
            groups[-1][0] += total
            groups[-1][1] += many
    ceiling = high - (count - 1) * least
    middles = [
        min(max(total / many, low), ceiling) for total, many in groups for _ in range(int(many))
    ]
    return [middle + number * least for number, middle in enumerate(middles)]


# --- lines, axes, words ------------------------------------------------------------------------


def _draw_line(
    axes: Axes, readings: Sequence[Reading], values: Sequence[float | None], colour: str
) -> None:
    """A line that is broken where a value is undefined or scans are missing."""
    steps = sorted(later.at - earlier.at for earlier, later in pairwise(readings))
    longest = steps[len(steps) // 2] * _BREAK_AFTER if steps else timedelta()
    x: list[float] = []
    y: list[float] = []
    for index, (reading, value) in enumerate(zip(readings, values, strict=True)):
        if index and longest and reading.at - readings[index - 1].at > longest:
            x.append(_number(reading.at))
            y.append(float("nan"))
        x.append(_number(reading.at))
        y.append(_percent(value))
    few = len(readings) <= _MANY
    axes.plot(
        x, y, color=colour, linewidth=2.4 if few else _size(len(readings), 1.6, 0.7),
        solid_joinstyle="round", marker="o" if few else None,
        markersize=6 if len(readings) <= _MANY // 2 else 4, zorder=3,
        alpha=1.0 if len(readings) <= _VERY_MANY else 0.3,
    )  # fmt: skip
    known = [(at, value) for at, value in zip(x, y, strict=True) if value == value]
    if known:
        axes.plot(*known[-1], marker="o", markersize=9, color=colour, zorder=4)


def _size(count: int, largest: float, smallest: float) -> float:
    """Of a mark or a line: smaller where there are many."""
    return largest if count <= _MANY else max(smallest, largest * (_MANY / count) ** 0.3)


def _span(story: DishStory) -> tuple[datetime, datetime] | None:
    """First and last time of what was seen."""
    times = [one.at for one in story.readings] + [one.at for one in story.unreadable]
    return (min(times), max(times)) if times else None


def _lay_time(axes: Axes, story: DishStory, zone: ZoneInfo) -> None:
    span = _span(story)
    if span is None:
        axes.set_xticks([])
        return
    first, last = span
    margin = max((last - first) * 0.03, timedelta(minutes=20) if first != last else
                 timedelta(hours=6))  # fmt: skip
    events = [one.at for one in _events(story)]
    axes.set_xlim(_number(min([first - margin, *events])), _number(max([last + margin, *events])))
    locator = AutoDateLocator(tz=zone, minticks=2, maxticks=7)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    formatter = ConciseDateFormatter(locator, tz=zone)  # type: ignore[no-untyped-call]
    formatter.formats = ["%Y", "%b", "%d %b", "%H:%M", "%H:%M", "%H:%M:%S"]
    formatter.zero_formats = ["", "%Y", "%d %b", "%d %b", "%H:%M", "%H:%M"]
    formatter.offset_formats = ["", "%Y", "%Y", "%d %b %Y", "%d %b %Y", "%d %b %Y"]
    axes.xaxis.set_major_formatter(formatter)
    axes.xaxis.get_offset_text().set(size=_TEXT_PT - 1, color=_INK)


def _tidy(axes: Axes) -> None:
    axes.tick_params(labelsize=_TEXT_PT - 1, colors=_INK, length=4)
    axes.grid(True, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, min_n_ticks=3, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_PALE)


def _number(moment: datetime) -> float:
    return float(date2num(moment))  # type: ignore[no-untyped-call]


def _percent(fraction: float | None) -> float:
    return float("nan") if fraction is None else fraction * 100


@lru_cache(maxsize=1)
def _known_letters() -> frozenset[int]:
    return frozenset(FT2Font(findfont("DejaVu Sans")).get_charmap())


def _printable(text: str) -> str:
    """Letters that the font lacks would be drawn as boxes, with a warning each time."""
    return "".join(
        letter if ord(letter) in _known_letters() else "□" for letter in " ".join(text.split())
    )


def _fitted(text: str, size_pt: float, room_px: float, *, weight: str = "normal") -> str:
    """As much of a text as there is room for."""
    text = _printable(text)
    if _width_px(text, size_pt, weight) <= room_px:
        return text
    fits = bisect_right(
        range(len(text)), room_px, key=lambda end: _width_px(text[:end] + "…", size_pt, weight)
    )
    return text[: max(fits - 1, 0)].rstrip() + "…"


def _width_px(text: str, size_pt: float, weight: str = "normal") -> float:
    font = FT2Font(findfont(FontProperties(family="DejaVu Sans", weight=weight)))
    font.set_size(size_pt, _DPI)
    font.set_text(text, 0.0)
    return float(font.get_width_height()[0] / 64)
