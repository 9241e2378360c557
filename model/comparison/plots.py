"""Plots of the comparison: scores with the spread of the seeds, and how far ahead pmfs are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from model.comparison.outcomes import (
    ALONE,
    NAMES,
    Condition,
    Outcome,
    ahead,
    along,
    by_windows,
    curves,
    main_conditions,
)
from model.comparison.report import METHOD_SETS, SINGLE_GRIDS

COLOURS: Final = {
    "pmf": "#0b6e4f",
    "pmf-fine": "#6fbf9b",
    "pmf-half": "#94cdb4",
    "pmf-coarse": "#b9ddcc",
    "pyramid": "#3f8efc",
    "patch": "#d1495b",
    "fcn": "#edae49",
    "dynunet": "#66618f",
    "random-forest": "#8a817c",
}


TRANSFER: Final = {
    "simulated": "on other simulated fields",
    "simulated_to_ips": "on real iPS fields",
    "simulated_to_hipsc": "on real hiPSC fields",
}


def draw_scores(found: Mapping[Condition, Mapping[str, Outcome]], path: Path) -> None:
    """Mean Jaccard by window for each method set; a dot a seed, the line through their means."""
    chosen = {
        name: by_windows(some)
        for name, some in main_conditions(found).items()
        if name in METHOD_SETS
    }
    if not chosen:
        return
    figure = Figure(figsize=(3.2 * len(chosen), 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(chosen), squeeze=False)[0]
    for panel, (name, conditions) in zip(panels, chosen.items(), strict=True):
        arms = [
            arm
            for arm in NAMES
            if arm not in {*ALONE, *SINGLE_GRIDS} and any(arm in found[one] for one in conditions)
        ]
        for arm in arms:
            some = [one for one in conditions if arm in found[one]]
            _dots(panel, arm, [one.window_px for one in some], [found[one][arm] for one in some])
        panel.set_title(f"{name.replace('_', ' ')}, {conditions[0].cpu_s:g} s", fontsize=10)
        panel.set_xlabel("window, px")
        panel.set_xticks(sorted({one.window_px for one in conditions}))
        panel.grid(alpha=0.25, linewidth=0.6)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("mean Jaccard")
    handles = {
        label: line
        for panel in panels
        for line, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside lower center",
        ncols=4,
        fontsize=8,
        frameon=False,
    )
    figure.savefig(path, dpi=110)


def _dots(panel: Axes, arm: str, windows: Sequence[int], outcomes: Sequence[Outcome]) -> None:
    means = [float(one.jaccard.mean()) for one in outcomes]
    panel.plot(windows, means, color=COLOURS[arm], label=NAMES[arm], linewidth=1.6)
    for window, outcome in zip(windows, outcomes, strict=True):
        panel.plot(
            np.full(len(outcome.jaccard), window),
            outcome.jaccard,
            ".",
            color=COLOURS[arm],
            alpha=0.7,
            markersize=5,
        )


def draw_ahead(found: Mapping[Condition, Mapping[str, Outcome]], path: Path) -> None:
    """How many points of mean Jaccard the pyramid is ahead of each rival, with intervals."""
    rows: list[tuple[str, str, tuple[float, float, float]]] = []
    for name, conditions in main_conditions(found).items():
        for condition in conditions:
            some = found[condition]
            for rival in ("patch", "fcn", "random-forest"):
                if "pyramid" in some and rival in some and name in METHOD_SETS:
                    label = f"{name.replace('_', ' ')}, {condition.window_px} px"
                    label += f", {condition.cpu_s:g} s"
                    rows.append((label, rival, ahead(some["pyramid"], some[rival])))
    if not rows:
        return
    labels = list(dict.fromkeys(label for label, _, _ in rows))
    figure = Figure(figsize=(7.5, 1.2 + 0.42 * len(labels)), layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    rivals = list(dict.fromkeys(rival for _, rival, _ in rows))
    for label, rival, (middle, low, high) in rows:
        place = labels.index(label) + 0.16 * (rivals.index(rival) - (len(rivals) - 1) / 2)
        panel.plot([100 * low, 100 * high], [place, place], color=COLOURS[rival], linewidth=1.6)
        panel.plot(100 * middle, place, "o", color=COLOURS[rival], markersize=4)
    for rival in rivals:
        panel.plot([], [], "o-", color=COLOURS[rival], label=f"ahead of {NAMES[rival]}")
    panel.axvline(0, color="black", linewidth=0.8)
    panel.set_yticks(range(len(labels)), labels, fontsize=8)
    panel.invert_yaxis()
    panel.set_xlabel("points of mean Jaccard that the pmf pyramid is ahead; bar: 95 %")
    panel.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    figure.savefig(path, dpi=110)


def draw_transfer(found: Mapping[Condition, Mapping[str, Outcome]], path: Path) -> None:
    """Mean Jaccard of what was learnt from simulation, on other simulated and on real fields; a dot
    a seed, a bar their mean."""
    chosen = [one for one in found if one.set_name in TRANSFER]
    if not chosen:
        return
    chosen.sort(key=lambda one: list(TRANSFER).index(one.set_name))
    figure = Figure(figsize=(3.4 * len(chosen), 2.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(chosen), squeeze=False)[0]
    for panel, condition in zip(panels, chosen, strict=True):
        arms = [arm for arm in NAMES if arm in found[condition]]
        for place, arm in enumerate(arms):
            scores = found[condition][arm].jaccard
            panel.barh(place, scores.mean(), color=COLOURS[arm], alpha=0.45, height=0.62)
            panel.plot(scores, np.full(len(scores), place), ".", color=COLOURS[arm], markersize=6)
        panel.set_yticks(range(len(arms)), [NAMES[arm] for arm in arms], fontsize=8)
        panel.invert_yaxis()
        panel.set_xlim(left=0)
        panel.set_title(TRANSFER[condition.set_name], fontsize=10)
        panel.set_xlabel(f"mean Jaccard, {condition.cpu_s:g} s")
        panel.grid(axis="x", alpha=0.25, linewidth=0.6)
        panel.spines[["top", "right"]].set_visible(False)
    for panel in panels[1:]:
        panel.set_yticklabels([])
    figure.savefig(path, dpi=110)


def draw_images(found: Mapping[Condition, Mapping[str, Outcome]], path: Path) -> None:
    """Mean Jaccard by the number of training images, where at least three numbers were run."""
    drawn = {place: some for place, some in curves(found).items() if along(found, some)[0]}
    if not drawn:
        return
    figure = Figure(figsize=(3.6 * len(drawn), 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(drawn), squeeze=False)[0]
    for panel, ((name, window, cpu_s), ordered) in zip(panels, drawn.items(), strict=True):
        ticks = [str(one.images or "all") for one in ordered]
        arms, seeds = along(found, ordered)
        for arm in arms:
            places = [i for i, one in enumerate(ordered) if arm in found[one]]
            means = [float(found[ordered[i]][arm].of_seeds(seeds).mean()) for i in places]
            panel.plot(places, means, ".-", color=COLOURS[arm], label=NAMES[arm])
        panel.set_xticks(range(len(ticks)), ticks)
        panel.set_title(f"{name.replace('_', ' ')}, {window} px, {cpu_s:g} s", fontsize=10)
        panel.set_xlabel("training images")
        panel.grid(alpha=0.25, linewidth=0.6)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("mean Jaccard")
    panels[0].legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=110)
