"""Pictures of a dish's series. Matplotlib's objects only, no pyplot: safe in any thread."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from matplotlib.ft2font import FT2Font
from matplotlib.ticker import FuncFormatter, MaxNLocator

from monitor.config import DifferentiationConfig
from monitor.culture import Alert, AlertKind, Annotation, DishLine, Reading

_DIFFERENTIATED = "#d55e00"
_CELLS = "#0072b2"
_INK = "#1f2937"
_PALE = "#6b7280"
_GRID = "#e5e7eb"
_EVENT = "#6d28d9"
_ALERTS = {
    AlertKind.RAISED: ("v", "#b91c1c", "alert"),
    AlertKind.WORSENED: ("v", "#7f1d1d", "worse"),
    AlertKind.CLEARED: ("^", "#15803d", "cleared"),
}
_TEXT_PT = 13
_MANY = 60
_LONGEST_NAME = 32
_MOST_EVENTS = 20
_BREAK_AFTER = 4.0  # intervals between scans


def plot_series(
    readings: Sequence[Reading],
    limits: DifferentiationConfig,
    *,
    dish: str,
    zone: ZoneInfo,
    alerts: Sequence[Alert] = (),
    annotations: Sequence[Annotation] = (),
    line: DishLine | None = None,
) -> bytes:
    """Differentiated fraction and confluence of a dish over local time.

    readings : oldest first; where a fraction is undefined, or scans are missing, the line is broken
    alerts : marked at the time of their reading
    annotations : written along a line at their time
    line : its beginning by a passage and its end are written in the same way
    Returns a PNG, 960 x 720.
    """
    figure = Figure(figsize=(8, 6), dpi=120, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    upper, lower = figure.subplots(
        2, 1, sharex=True, gridspec_kw={"height_ratios": (2.3, 1), "hspace": 0.12}
    )
    figure.subplots_adjust(left=0.105, right=0.965, top=0.915, bottom=0.095)
    figure.text(
        0.02, 0.955, _printable(dish), size=_TEXT_PT + 4, weight="bold", color=_INK,
        parse_math=False,
    )  # fmt: skip
    figure.text(
        0.105, 0.014, f"time in {zone.key}", size=_TEXT_PT - 2, color=_PALE,
    )  # fmt: skip
    _draw_fraction(upper, readings, limits, alerts)
    _draw_confluence(lower, readings)
    for axes in (upper, lower):
        _tidy(axes)
    _draw_events(upper, lower, readings, annotations, line)
    _lay_time(lower, readings, zone)
    if not readings:
        upper.text(
            0.5, 0.5, "no readings yet", size=_TEXT_PT + 3, color=_PALE, ha="center",
            transform=upper.transAxes,
        )  # fmt: skip
    content = io.BytesIO()
    canvas.print_png(content)  # type: ignore[no-untyped-call]
    return content.getvalue()


def _draw_fraction(
    axes: Axes,
    readings: Sequence[Reading],
    limits: DifferentiationConfig,
    alerts: Sequence[Alert],
) -> None:
    known = [one for one in readings if one.differentiated_fraction is not None]
    highest = max(
        (one.differentiated_fraction * 100 for one in known if one.differentiated_fraction),
        default=0.0,
    )
    raise_above, clear_below = limits.raise_above * 100, limits.clear_below * 100
    top = min(104.0, max(1.5 * raise_above, 1.25 * highest))
    axes.set_ylim(-0.015 * top, top)
    axes.axhspan(raise_above, top, color="#fdecea", zorder=0)
    lines = [
        (raise_above, "--", f"alert above {raise_above:g} %"),
        (clear_below, ":", f"clear below {clear_below:g} %"),
    ]
    critical = (limits.critical_above or 0.0) * 100
    if raise_above < critical < 0.93 * top:
        lines.append((critical, "-.", f"critical above {critical:g} %"))
    for level, style, text in lines:
        axes.axhline(level, color=_INK, linestyle=style, linewidth=1.4, zorder=2)
        axes.annotate(
            text, (0, level), (6, 3), xycoords=("axes fraction", "data"),
            textcoords="offset points", size=_TEXT_PT - 2, color=_INK, zorder=5,
        )  # fmt: skip
    _draw_line(axes, readings, [one.differentiated_fraction for one in readings], _DIFFERENTIATED)
    doubtful = [one for one in known if one.doubts]
    if doubtful:
        axes.plot(
            [_number(one.at) for one in doubtful],
            [_percent(one.differentiated_fraction) for one in doubtful],
            linestyle="none", marker="o", markersize=9, markerfacecolor="white",
            markeredgecolor=_DIFFERENTIATED, markeredgewidth=1.8, zorder=4, label="doubtful",
        )  # fmt: skip
    undefined = [one for one in readings if one.differentiated_fraction is None]
    if undefined:
        axes.plot(
            [_number(one.at) for one in undefined], [0.0] * len(undefined),
            linestyle="none", marker="|", markersize=9, color=_PALE, zorder=3, label="no cells",
        )  # fmt: skip
    if known:
        last = known[-1]
        value = _percent(last.differentiated_fraction)
        # To the left of the point, where there is room whatever the dish has done.
        axes.annotate(
            f"{value:.1f} %" if value < 10 else f"{value:.0f} %",
            (_number(last.at), value), (-10, 9), textcoords="offset points",
            size=_TEXT_PT + 3, weight="bold", color=_DIFFERENTIATED, ha="right", zorder=6,
            bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "alpha": 0.75,
                  "edgecolor": "none"},
        )  # fmt: skip
    named = set()
    for alert in alerts:
        marker, colour, text = _ALERTS[alert.kind]
        axes.axvline(_number(alert.at), color=colour, linewidth=1.2, alpha=0.5, zorder=1)
        axes.plot(
            [_number(alert.at)], [0.965], transform=axes.get_xaxis_transform(),
            linestyle="none", marker=marker, markersize=11, color=colour, zorder=6,
            label=None if text in named else text, clip_on=False,
        )  # fmt: skip
        named.add(text)
    handles, texts = axes.get_legend_handles_labels()
    if texts:
        axes.legend(
            handles, texts, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(texts),
            fontsize=_TEXT_PT - 2, frameon=False, borderaxespad=0.1, handletextpad=0.2,
        )  # fmt: skip
    axes.set_ylabel("differentiated, % of cells", size=_TEXT_PT, color=_INK)


def _draw_confluence(axes: Axes, readings: Sequence[Reading]) -> None:
    values = [one.confluence for one in readings]
    _draw_line(axes, readings, values, _CELLS)
    highest = max((value for value in values if value is not None), default=0.0)
    axes.set_ylim(0, min(104.0, max(10.0, 125 * highest)))
    axes.set_ylabel("confluence, %", size=_TEXT_PT, color=_INK)


def _draw_events(
    upper: Axes,
    lower: Axes,
    readings: Sequence[Reading],
    annotations: Sequence[Annotation],
    line: DishLine | None,
) -> None:
    """What people did, at its time; nothing outside of what is drawn."""
    events = [(one.at, one.text) for one in annotations]
    if line is not None and line.began_at is not None and line.parent is not None:
        events.append((line.began_at, f"from {line.parent}"))
    if line is not None and line.ended_at is not None:
        events.append((line.ended_at, "passaged" if line.children else "ended"))
    if not readings:
        return
    margin = timedelta(hours=6)
    first, last = readings[0].at - margin, readings[-1].at + margin
    for at, text in sorted(events)[-_MOST_EVENTS:]:
        if not first <= at <= last:
            continue
        for axes in (upper, lower):
            axes.axvline(_number(at), color=_EVENT, linewidth=1.2, linestyle=(0, (5, 3)), zorder=1)
        upper.annotate(
            _printable(text), (_number(at), 0.9), (3, 0),
            xycoords=("data", "axes fraction"), textcoords="offset points",
            size=_TEXT_PT - 3, color=_EVENT, rotation=90, va="top", ha="left", zorder=5,
            parse_math=False,
        )  # fmt: skip


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
        x, y, color=colour, linewidth=2.4 if few else 1.6, solid_joinstyle="round",
        marker="o" if few else None, markersize=6 if len(readings) <= _MANY // 2 else 4, zorder=3,
    )  # fmt: skip
    known = [(at, value) for at, value in zip(x, y, strict=True) if value == value]
    if known:
        axes.plot(*known[-1], marker="o", markersize=9, color=colour, zorder=4)


def _lay_time(axes: Axes, readings: Sequence[Reading], zone: ZoneInfo) -> None:
    if not readings:
        axes.set_xticks([])
        return
    first, last = readings[0].at, readings[-1].at
    margin = max((last - first) * 0.03, timedelta(minutes=20) if first != last else
                 timedelta(hours=6))  # fmt: skip
    axes.set_xlim(_number(first - margin), _number(last + margin))
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
    text = " ".join(text.split())
    text = text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"
    return "".join(letter if ord(letter) in _known_letters() else "□" for letter in text)
