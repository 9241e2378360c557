"""Pictures of a dish's series. Matplotlib's objects only, no pyplot: safe in any thread."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from monitor.config import DifferentiationConfig
from monitor.culture import MISDATED, AlertKind, AlertTopic, DishTimeline, Reading
from monitor.outlets.figures.events import (
    BETWEEN_PX,
    EDGE_PX,
    HEAD_PX,
    KEY_LINE_PX,
    LOWER_PX,
    STRIP_PX,
    TEXT_PT,
    UPPER_PX,
    WIDTH_PX,
    apart,
    draw_events,
    events_of,
    in_days,
    key_to,
    span_of,
    write_key,
)
from monitor.outlets.figures.intervals import calibration_note, draw_intervals
from monitor.outlets.figures.intervals import highest as highest_end
from monitor.outlets.figures.lettering import DPI, fitted
from monitor.outlets.figures.usual_range import FEWEST_FOR_BAND, usual_range

_DIFFERENTIATED = "#d55e00"
_CELLS = "#0072b2"
_INK = "#1f2937"
_PALE = "#6b7280"
_GRID = "#e5e7eb"
_BAND = "#f5c6a5"
_ALERTS = {
    AlertKind.RAISED: ("v", "#b91c1c", "alert"),
    AlertKind.WORSENED: ("v", "#7f1d1d", "worse"),
    AlertKind.CLEARED: ("^", "#15803d", "cleared"),
}
# Of the axes, from the picture's left, right and bottom edges.
_LEFT_PX, _RIGHT_PX, _BOTTOM_PX = 92, 140, 64
_LEGEND_PT = (TEXT_PT - 2, TEXT_PT - 3, TEXT_PT - 4, TEXT_PT - 5)
_MANY = 60
_VERY_MANY = 1500  # scans: their line is a mass, and a running middle is drawn over it
_BREAK_AFTER = 4.0  # intervals between scans


def plot_story(story: DishTimeline, limits: DifferentiationConfig, *, zone: ZoneInfo) -> bytes:
    """Differentiated fraction and confluence of a dish over local time.

    Readings without a value and missing scans break the line. One band is where 95 % of the scans
    are expected, by how the scans of the `trend_h` around scatter about their own trend; the other
    is the interval that the model gives. Readings in doubt are hollow. Alerts on differentiation,
    unreadable captures and what people did stand at their times; the last with numbers that are
    explained below.

    Returns a PNG, 960 px wide and 720 px high, higher where there is something to explain.
    """
    # One of 2099 would leave no room for the others.
    dated = tuple(one for one in story.readings if not MISDATED & set(one.doubts))
    story = replace(story, readings=dated)
    readings = story.readings
    events = events_of(story)
    key = key_to(events, zone)
    foot = key.lines * KEY_LINE_PX + (14 if key.rows else 0)
    height = HEAD_PX + STRIP_PX + UPPER_PX + BETWEEN_PX + LOWER_PX + _BOTTOM_PX + foot
    axes_px = UPPER_PX if events else UPPER_PX + STRIP_PX
    figure = Figure(figsize=(WIDTH_PX / DPI, height / DPI), dpi=DPI, facecolor="white")
    canvas = FigureCanvasAgg(figure)

    def place(bottom_px: float, height_px: float, share: Axes | None = None) -> Axes:
        width = WIDTH_PX - _LEFT_PX - _RIGHT_PX
        return figure.add_axes(
            (_LEFT_PX / WIDTH_PX, bottom_px / height, width / WIDTH_PX, height_px / height),
            sharex=share,
        )

    lower = place(foot + _BOTTOM_PX, LOWER_PX)
    upper = place(foot + _BOTTOM_PX + LOWER_PX + BETWEEN_PX, axes_px, lower)
    upper.tick_params(labelbottom=False)
    figure.text(
        EDGE_PX / WIDTH_PX, 1 - 33 / height,
        fitted(story.line.name, TEXT_PT + 4, WIDTH_PX - 2 * EDGE_PX, weight="bold"),
        size=TEXT_PT + 4, weight="bold", color=_INK, parse_math=False,
    )  # fmt: skip
    figure.text(
        _LEFT_PX / WIDTH_PX, (foot + 10) / height,
        f"time in {zone.key}{calibration_note(readings)}", size=TEXT_PT - 2, color=_PALE,
    )  # fmt: skip
    _draw_fraction(upper, story, limits)
    _explain(figure, upper, height)
    _draw_confluence(lower, readings)
    for axes in (upper, lower):
        _tidy(axes)
    _lay_time(lower, story, zone)
    draw_events(upper, lower, events, WIDTH_PX - _LEFT_PX - _RIGHT_PX)
    write_key(figure, key, foot, height)
    if not readings:
        upper.text(
            0.5, 0.5, "no readings", size=TEXT_PT + 3, color=_PALE, ha="center",
            transform=upper.transAxes,
        )  # fmt: skip
    content = io.BytesIO()
    canvas.print_png(content)  # type: ignore[no-untyped-call]
    return content.getvalue()


def _explain(figure: Figure, axes: Axes, height: float) -> None:
    """What the marks in the axes mean, at the head of the picture, in one line."""
    handles, texts = axes.get_legend_handles_labels()
    for size in _LEGEND_PT if texts else ():
        legend = figure.legend(
            handles, [str(text) for text in texts], loc="upper left",
            bbox_to_anchor=(12 / WIDTH_PX, 1 - 40 / height), ncols=len(texts),
            fontsize=size, frameon=False, borderaxespad=0.0, handletextpad=0.3,
            columnspacing=1.0, handlelength=1.4, borderpad=0.2,
        )  # fmt: skip
        if size == _LEGEND_PT[-1] or legend.get_window_extent().width <= WIDTH_PX - 24:
            return
        legend.remove()


# --- the upper panel ---------------------------------------------------------------------------


def _draw_fraction(axes: Axes, story: DishTimeline, limits: DifferentiationConfig) -> None:
    readings = story.readings
    known = [one for one in readings if one.differentiated_fraction is not None]
    highest = max((_percent(one.differentiated_fraction) for one in known), default=0.0)
    raise_above, clear_below = limits.raise_above * 100, limits.clear_below * 100
    top = min(104.0, max(1.5 * raise_above, 1.25 * highest, 1.04 * highest_end(readings)))
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
    draw_intervals(axes, readings, longest=_longest_step(readings))
    _draw_line(axes, readings, [one.differentiated_fraction for one in readings], _DIFFERENTIATED)
    doubtful = [one for one in known if one.in_doubt]
    if doubtful:
        axes.plot(
            [in_days(one.at) for one in doubtful],
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
    axes.set_ylabel("differentiated, % of cells", size=TEXT_PT, color=_INK)


def _draw_band(axes: Axes, readings: Sequence[Reading], limits: DifferentiationConfig) -> None:
    sure = [
        (in_days(one.at) * 24, one.differentiated_fraction)
        for one in readings
        if one.differentiated_fraction is not None and not one.in_doubt
    ]
    if len(sure) < FEWEST_FOR_BAND:
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


def _draw_missing(axes: Axes, story: DishTimeline) -> None:
    """Scans without cells and captures without a reading, along the bottom."""
    undefined = [one.at for one in story.readings if one.differentiated_fraction is None]
    refused = [one.at for one in story.unreadable]
    for times, marker, size, colour, text in (
        (undefined, "|", 9, _PALE, "no cells"),
        (refused, "x", 7, _INK, "unreadable"),
    ):
        if times:
            axes.plot(
                [in_days(at) for at in times], [0.018] * len(times),
                transform=axes.get_xaxis_transform(), linestyle="none", marker=marker,
                markersize=size, markeredgewidth=1.6, color=colour, zorder=5, label=text,
                clip_on=False,
            )  # fmt: skip


def _draw_alerts(axes: Axes, story: DishTimeline) -> None:
    named = set()
    for alert in story.alerts:
        if alert.topic is not AlertTopic.DIFFERENTIATION:
            continue
        marker, colour, text = _ALERTS[alert.kind]
        axes.axvline(in_days(alert.at), color=colour, linewidth=1.2, alpha=0.5, zorder=1)
        axes.plot(
            [in_days(alert.at)], [0.965], transform=axes.get_xaxis_transform(),
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
            size=TEXT_PT + (4 if one.is_value else -2),
            weight="bold" if one.is_value else "normal", annotation_clip=False,
        )  # fmt: skip


# --- the lower panel ---------------------------------------------------------------------------


def _draw_confluence(axes: Axes, readings: Sequence[Reading]) -> None:
    values = [one.confluence for one in readings]
    _draw_line(axes, readings, values, _CELLS)
    known = [value for value in values if value is not None]
    highest = max(known, default=0.0)
    axes.set_ylim(0, min(104.0, max(10.0, 125 * highest)))
    axes.set_ylabel("confluence, %", size=TEXT_PT, color=_INK)
    if known:
        _write_beside(axes, [_Beside(100 * known[-1], f"{100 * known[-1]:.0f} %", _CELLS, True)])


# --- lines, axes, words ------------------------------------------------------------------------


def _draw_line(
    axes: Axes, readings: Sequence[Reading], values: Sequence[float | None], colour: str
) -> None:
    """A line that is broken where a value is undefined or scans are missing."""
    longest = _longest_step(readings)
    x: list[float] = []
    y: list[float] = []
    for index, (reading, value) in enumerate(zip(readings, values, strict=True)):
        if index and longest and reading.at - readings[index - 1].at > longest:
            x.append(in_days(reading.at))
            y.append(float("nan"))
        x.append(in_days(reading.at))
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


def _longest_step(readings: Sequence[Reading]) -> timedelta:
    """What lies between two scans at most before a line is broken."""
    steps = sorted(later.at - earlier.at for earlier, later in pairwise(readings))
    return steps[len(steps) // 2] * _BREAK_AFTER if steps else timedelta()


def _size(count: int, largest: float, smallest: float) -> float:
    """Of a mark or a line: smaller where there are many."""
    return largest if count <= _MANY else max(smallest, largest * (_MANY / count) ** 0.3)


def _lay_time(axes: Axes, story: DishTimeline, zone: ZoneInfo) -> None:
    span = span_of(story)
    if span is None:
        axes.set_xticks([])
        return
    first, last = span
    margin = max((last - first) * 0.03, timedelta(minutes=20) if first != last else
                 timedelta(hours=6))  # fmt: skip
    events = [one.at for one in events_of(story)]
    axes.set_xlim(in_days(min([first - margin, *events])), in_days(max([last + margin, *events])))
    locator = AutoDateLocator(tz=zone, minticks=2, maxticks=7)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    formatter = ConciseDateFormatter(locator, tz=zone)  # type: ignore[no-untyped-call]
    formatter.formats = ["%Y", "%b", "%d %b", "%H:%M", "%H:%M", "%H:%M:%S"]
    formatter.zero_formats = ["", "%Y", "%d %b", "%d %b", "%H:%M", "%H:%M"]
    formatter.offset_formats = ["", "%Y", "%Y", "%d %b %Y", "%d %b %Y", "%d %b %Y"]
    axes.xaxis.set_major_formatter(formatter)
    axes.xaxis.get_offset_text().set(size=TEXT_PT - 1, color=_INK)


def _tidy(axes: Axes) -> None:
    axes.tick_params(labelsize=TEXT_PT - 1, colors=_INK, length=4)
    axes.grid(True, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, min_n_ticks=3, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_PALE)


def _percent(fraction: float | None) -> float:
    return float("nan") if fraction is None else fraction * 100
