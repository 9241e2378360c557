"""The series of one or several dishes as a picture to print or to put into a paper: PNG or SVG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Literal
from zoneinfo import ZoneInfo

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from monitor.culture import MISDATED, AlertTopic, DishTimeline, Reading
from monitor.outlets.figures.events import in_days

# Okabe and Ito's colours, told apart by people who see few.
COLOURS = (
    "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#e69f00",
    "#7a5195", "#6b4c2a", "#444444", "#b22222", "#1b7837", "#2c3e91",
)  # fmt: skip
_INK, _PALE, _GRID = "#1f2937", "#6b7280", "#e5e7eb"
_BREAK_AFTER = 4.0
_DPI = 100


def plot_several(
    stories: Sequence[tuple[str, DishTimeline]],
    *,
    raise_above: float | None,
    zone: ZoneInfo,
    form: Literal["png", "svg"],
) -> bytes:
    """Differentiated fraction and confluence of dishes over local time.

    stories : what each is called, and its timeline; as many as there are `COLOURS`
    raise_above : the alert limit, where all of them have the same

    Intervals are bands; what is in doubt is hollow; alerts on differentiation and what people wrote
    stand at their times, along the top and the bottom. Returns a picture 1080 by 720 px.
    """
    figure = Figure(figsize=(10.8, 7.2), dpi=_DPI, facecolor="white", layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.2, 1))
    for (name, story), colour in zip(stories, COLOURS, strict=False):
        readings = [one for one in story.readings if not MISDATED & set(one.doubts)]
        _draw(upper, readings, colour, name)
        _draw_confluence(lower, readings, colour)
        _draw_events(upper, story, colour)
    if raise_above is not None:
        upper.axhline(100 * raise_above, color=_INK, linestyle="--", linewidth=1.2)
        upper.annotate(
            f"alert {100 * raise_above:g} %", (1.0, 100 * raise_above), (-4, 4),
            xycoords=("axes fraction", "data"), textcoords="offset points",
            ha="right", size=11, color=_INK,
        )  # fmt: skip
    upper.set_ylabel("differentiated, % of cells", size=13, color=_INK)
    lower.set_ylabel("confluence, %", size=13, color=_INK)
    for axes in (upper, lower):
        axes.set_ylim(bottom=0)
        axes.grid(True, color=_GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=12, colors=_INK)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    locator = AutoDateLocator(tz=zone, minticks=3, maxticks=8)  # type: ignore[no-untyped-call]
    lower.xaxis.set_major_locator(locator)
    lower.xaxis.set_major_formatter(
        ConciseDateFormatter(locator, tz=zone)  # type: ignore[no-untyped-call]
    )
    lower.set_xlabel(f"time in {zone.key}", size=11, color=_PALE)
    if upper.get_legend_handles_labels()[0]:
        figure.legend(
            loc="outside upper left", ncols=min(4, len(stories)), frameon=False, fontsize=12
        )
    return _written(figure, form)


def _written(figure: Figure, form: Literal["png", "svg"]) -> bytes:
    content = io.BytesIO()
    if form == "png":
        FigureCanvasAgg(figure).print_png(content)  # type: ignore[no-untyped-call]
    else:
        # Text stays text; the same series gives the same file.
        with rc_context({"svg.fonttype": "none", "svg.hashsalt": "colonywatch"}):
            FigureCanvasSVG(figure).print_svg(  # type: ignore[no-untyped-call]
                content, metadata={"Date": None}
            )
    return content.getvalue()


def _draw(axes: Axes, readings: Sequence[Reading], colour: str, name: str) -> None:
    x, y = _line(readings, [one.differentiated_fraction for one in readings])
    axes.plot(
        x, y, color=colour, linewidth=1.8, marker="o" if len(readings) <= 60 else None,
        markersize=4, label=name.replace("$", r"\$"),
    )  # fmt: skip
    for run in _runs(readings):
        axes.fill_between(
            [in_days(one.at) for one in run],
            [100 * one.doubt.interval[0] for one in run if one.doubt.interval],
            [100 * one.doubt.interval[1] for one in run if one.doubt.interval],
            color=colour, alpha=0.15, linewidth=0,
        )  # fmt: skip
    doubtful = [one for one in readings if one.in_doubt and one.differentiated_fraction is not None]
    axes.plot(
        [in_days(one.at) for one in doubtful],
        [100 * (one.differentiated_fraction or 0.0) for one in doubtful],
        linestyle="none", marker="o", markersize=6, markerfacecolor="white",
        markeredgecolor=colour,
    )  # fmt: skip


def _draw_confluence(axes: Axes, readings: Sequence[Reading], colour: str) -> None:
    x, y = _line(readings, [one.confluence for one in readings])
    axes.plot(x, y, color=colour, linewidth=1.8)


def _draw_events(axes: Axes, story: DishTimeline, colour: str) -> None:
    raised = [one.at for one in story.alerts if one.topic is AlertTopic.DIFFERENTIATION]
    for times, height, marker in (
        (raised, 0.975, "v"),
        ([one.at for one in story.annotations], 0.02, "^"),
    ):
        axes.plot(
            [in_days(at) for at in times], [height] * len(times),
            transform=axes.get_xaxis_transform(), linestyle="none", marker=marker, markersize=8,
            color=colour, clip_on=False,
        )  # fmt: skip


def _line(
    readings: Sequence[Reading], values: Sequence[float | None]
) -> tuple[list[float], list[float]]:
    """Broken where a value is undefined or scans are missing."""
    steps = sorted(later.at - earlier.at for earlier, later in pairwise(readings))
    longest = steps[len(steps) // 2] * _BREAK_AFTER if steps else timedelta()
    x: list[float] = []
    y: list[float] = []
    for number, (reading, value) in enumerate(zip(readings, values, strict=True)):
        if number and reading.at - readings[number - 1].at > longest:
            x.append(in_days(reading.at))
            y.append(float("nan"))
        x.append(in_days(reading.at))
        y.append(float("nan") if value is None else 100 * value)
    return x, y


def _runs(readings: Sequence[Reading]) -> list[list[Reading]]:
    """Readings in a row that have an interval."""
    runs: list[list[Reading]] = [[]]
    for one in readings:
        if one.doubt.interval is not None:
            runs[-1].append(one)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if len(run) > 1]
