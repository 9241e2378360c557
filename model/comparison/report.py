"""The runs' report as one page of Markdown: a verdict, then a table a question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from model.comparison.outcomes import (
    ALONE,
    NAMES,
    OURS,
    Condition,
    Outcome,
    ahead,
    along,
    best_of_ours,
    by_images,
    by_time,
    by_windows,
    curves,
    gather,
    in_order,
    main_conditions,
    most_seeds,
    seeds_of_all,
)
from model.comparison.runs import AS_STARTER, Run, full_form
from model.comparison.sets import UM_PER_PIXEL

METHOD_SETS: Final = ("glands", "superalloy", "textures", "spread_cells")
WINDOWED_RIVALS: Final = ("patch", "fcn")
OUTSIDE_RIVALS: Final = ("dynunet", "random-forest")
SINGLE_GRIDS: Final = ("pmf-coarse", "pmf-half", "pmf-fine")
"""Arms that learn one grid only; they have their own table."""
THE_REPORT: Final = {"pmf": 0.826, "patch": 0.807, "fcn": 0.805}
"""Jaccard indices that the method's own report gives, each at its best parameters."""
_HEAD: Final = """# Accuracy

The pmf-CNN beside other ways to learn the same maps. Made by

    make bench-accuracy

which runs whatever is missing from the full set (@DONE@) and writes this page
from all runs so far; `docs/accuracy.json` holds every image's confusion matrix. Split by image,
never by patch. All arms are given the same grey levels and the same processor time on one thread;
our own networks (pmf, patch, FCN) share encoder, crops, augmentation, optimiser and
schedule, and each map is the mean of four passes half a stride apart. DynUNet is trained as nnU-Net
does, the random forest as ilastik does; neither has a window, so their scores stand in every row.

Jaccard is pooled over the test pixels whose class is known, then averaged over the classes. An
interval in brackets is 95 %, from a bootstrap over test images and seeds, with the same draws for
both arms of a difference. *Ahead* is in points of mean Jaccard.
"""
_THREE: Final = "background, undifferentiated, differentiated"
_SOURCES: Final = {
    "glands": (
        "H&E stained colon, GlaS 2015 (Sirinukunwattana et al. 2017), half size",
        "stroma, gland",
        "20 / 20",
    ),
    "spread_cells": (
        "single spread cells in phase contrast (oist/Usiigaci), half size",
        "background, cell",
        "10 / 7",
    ),
    "superalloy": (
        "electron micrographs of four alloys (nasa/pretrained-microscopy-models), double size, in "
        "their own splits: each alloy has its own training images, the test images are pooled. The "
        "publication's scores (npj Comput. Mater. 8:200, 2022) are not shown beside ours: only its "
        "abstract was available",
        "matrix, secondary, tertiary precipitate",
        "10, 4, 1, 4 / 4, 4, 4, 5",
    ),
    "textures": (
        "mosaics of five Brodatz pictures (abhranildas/texture-segmentation), different halves",
        "five",
        "10 / 10",
    ),
    "hipsc_phase": (
        "hiPSC colonies in phase contrast (allen-cell-animated/cell-catalog), labels by local "
        "contrast",
        "background, undifferentiated",
        "7 / 7",
    ),
    "ips_fields": (
        "iPS colonies in phase contrast (afountain/iPS-Semantic-Segmentation), labels from "
        "another network",
        _THREE,
        "2 / 1, in turn",
    ),
    "simulated": ("fields of the virtual incubator, prepared as in use", _THREE, "150 / 40"),
    "simulated_to_ips": (
        "trained on the same 150, measured on `ips_fields`: a starter model's task",
        _THREE,
        "150 / 3",
    ),
    "simulated_to_hipsc": (
        "the same, measured on all of `hipsc_phase`, which has no differentiated cells: that class "
        "scores 0 wherever any are found",
        _THREE,
        "150 / 14",
    ),
}
"""What a set is, its classes, and its number of images to learn from and to be measured on."""


def _sets_table(found: Mapping[Condition, Any]) -> list[str]:
    names = {one.set_name for one in found}
    rows = [_row(name, *told) for name, told in _SOURCES.items() if name in names]
    return _section(
        "## Sets", [], ["set", "what", "classes", "images for training / testing"], rows
    )


def page(results: Sequence[Mapping[str, Any]], pictures: Mapping[str, str] | None = None) -> str:
    """The report as Markdown. pictures : title -> path beside the page."""
    found = gather(results)
    wanted = {run.key for run in full_form()}
    done = len(wanted & {Run(**one["run"]).key for one in results})
    lines = [_HEAD.replace("@DONE@", f"{done} of {len(wanted)} runs are done")]
    lines += _sets_table(found)
    lines += _verdict(found)
    lines += _all_table(found)
    lines += _ahead_table(found, "pyramid", "## The pyramid against patch and FCN")
    lines += _ahead_table(found, "pmf", "## Several grids against patch and FCN")
    lines += _best_table(found)
    lines += _grids_table(found)
    lines += _alone_table(found)
    lines += _curve_table(found)
    lines += _measures_table(found)
    lines += _report_table(found)
    for title, path in (pictures or {}).items():
        lines += ["", f"![{title}]({path})"]
    return "\n".join(lines) + "\n"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _name(arm: str) -> str:
    return NAMES.get(arm, arm)


def _window(condition: Condition) -> str:
    """The window's side, in um too where the set's scale is known."""
    scale = UM_PER_PIXEL.get(condition.set_name)
    um = f" ({condition.window_px * scale:.0f} um)" if scale else ""
    return f"{condition.window_px}{um}"


def _place(condition: Condition) -> list[str]:
    return [
        condition.set_name,
        str(condition.images or "all"),
        f"{condition.cpu_s:g}",
        _window(condition),
    ]


PLACE: Final = ("set", "n", "s", "window px")


def _verdict(found: Mapping[Condition, Mapping[str, Outcome]]) -> list[str]:
    """In how many comparisons several grids, and our best form, are ahead, level or behind."""
    ordered = sorted(found, key=lambda one: (one.cpu_s, by_images(one)))
    times = {one.cpu_s for one in ordered if one.set_name in METHOD_SETS}
    columns: dict[str, list[Condition]] = {}
    for one in ordered:
        if one.set_name in METHOD_SETS:
            head = f"{one.images or 'all'}" + (f", {one.cpu_s:g} s" if len(times) > 1 else "")
            columns.setdefault(head, []).append(one)
    from_simulation = [one for one in ordered if one.set_name in AS_STARTER]
    if from_simulation:
        columns["from simulation"] = from_simulation
    rows = []
    for arm in reversed(OURS):
        for rival in (*WINDOWED_RIVALS, *OUTSIDE_RIVALS):
            cells = [_won(found, conditions, arm, rival) for conditions in columns.values()]
            if any(cells):
                rows.append(_row(f"{_name(arm)} against {_name(rival)}", *cells))
    words = (
        "Comparisons on the method's four sets (set, window) in which the first is ahead with an "
        "interval clear of 0, neither, or behind, by the number of training images; and for arms "
        "trained on simulated fields."
    )
    return _section("## In short", [words], ["ahead / neither / behind", *columns], rows)


def _won(
    found: Mapping[Condition, Mapping[str, Outcome]],
    conditions: Sequence[Condition],
    arm: str,
    rival: str,
) -> str:
    """In how many of the conditions the arm is ahead, neither, or behind; empty without any."""
    intervals = [
        ahead(found[one][arm], found[one][rival])
        for one in conditions
        if {arm, rival} <= set(found[one])
    ]
    intervals = [one for one in intervals if not np.isnan(one[0])]
    clear = sum(low > 0 for _, low, _ in intervals)
    behind = sum(high < 0 for _, _, high in intervals)
    rest = len(intervals) - clear - behind
    return f"{clear} / {rest} / {behind}" if intervals else ""


def _all_table(found: Mapping[Condition, Mapping[str, Outcome]]) -> list[str]:
    chosen = [one for some in main_conditions(found).values() for one in some]
    arms = in_order(
        arm for one in chosen for arm in found[one] if arm not in {*ALONE, *SINGLE_GRIDS}
    )
    lines = [
        "## Mean Jaccard",
        "",
        "Mean over the seeds, lowest and highest seed in brackets; *n* training images, "
        "*s* seconds of processor time. Where an arm was run with fewer seeds than the others in "
        "its row, their number is given: a seed draws the training images.",
        "",
        _row(*PLACE, "seeds", *(_name(arm) for arm in arms)),
        "|" + "---|" * (len(PLACE) + 1 + len(arms)),
    ]
    for condition in chosen:
        some = {arm: found[condition][arm] for arm in arms if arm in found[condition]}
        seeds = most_seeds(some)
        cells = [_scores(some[arm], seeds) if arm in some else "" for arm in arms]
        lines.append(_row(*_place(condition), str(len(seeds)), *cells))
    return [*lines, ""]


def _scores(outcome: Outcome, seeds: Sequence[int]) -> str:
    scores = outcome.of_seeds(seeds)
    if not len(scores):
        return ""
    spread = f" ({scores.min():.3f}-{scores.max():.3f})" if len(scores) > 1 else ""
    few = f", {len(scores)} seed{'s' * (len(scores) > 1)}" if len(scores) < len(seeds) else ""
    return f"{scores.mean():.3f}{spread}{few}"


def _interval(values: tuple[float, float, float]) -> str:
    middle, low, high = (100 * value for value in values)
    if np.isnan(middle):
        return ""
    return f"{middle:+.1f}" + ("" if np.isnan(low) else f" ({low:+.1f} to {high:+.1f})")


def _ahead_table(
    found: Mapping[Condition, Mapping[str, Outcome]], arm: str, title: str
) -> list[str]:
    rivals = WINDOWED_RIVALS
    rows = []
    for condition in sorted(found, key=lambda one: (one.set_name, by_images(one), one.window_px)):
        some = found[condition]
        if arm not in some or not set(rivals) & set(some):
            continue
        cells = [_interval(ahead(some[arm], some[one])) if one in some else "" for one in rivals]
        rows.append(_row(*_place(condition), *cells))
    heads = [*PLACE, *(f"ahead of {_name(one)}" for one in rivals)]
    return _section(title, [], heads, rows)


def _section(
    title: str, words: Sequence[str], heads: Sequence[str], rows: Sequence[str]
) -> list[str]:
    """A heading, some words and a table; nothing where the table has no row."""
    if not rows:
        return []
    told = [*words, ""] if words else []
    return [title, "", *told, _row(*heads), "|" + "---|" * len(heads), *rows, ""]


def _grids_table(found: Mapping[Condition, Mapping[str, Outcome]]) -> list[str]:
    """One grid alone beside all of them together."""
    arms = [*SINGLE_GRIDS, "pmf"]
    rows = []
    for condition, some in found.items():
        if not set(arms) <= set(some):
            continue
        seeds = seeds_of_all(some[arm] for arm in arms)
        if not seeds:
            continue
        gain = _interval(ahead(some["pmf"], some["pmf-fine"]))
        cells = [_scores(some[arm], seeds) for arm in arms]
        rows.append(_row(*_place(condition), str(len(seeds)), *cells, gain))
    words = (
        "Windows that learn one grid only: one cell, cells twice the finest, the finest (a stride "
        "wide); and all of them at once."
    )
    heads = [*PLACE, "seeds", *(_name(arm) for arm in arms), "several grids ahead of the finest"]
    return _section("## Grids alone and together", [words], heads, rows)


def _alone_table(found: Mapping[Condition, Mapping[str, Outcome]]) -> list[str]:
    """What several grids gain where windows are learnt one by one, as in the method's report."""
    rows = []
    for condition, some in found.items():
        if not set(ALONE) <= set(some):
            continue
        seeds = seeds_of_all(some[arm] for arm in some if arm in {*ALONE, "patch", "pmf"})
        patch, pmf = (some[arm] for arm in ALONE)
        dense = [_scores(some[arm], seeds) if arm in some else "" for arm in ("patch", "pmf")]
        rows.append(
            _row(
                *_place(condition),
                _scores(patch, seeds),
                _scores(pmf, seeds),
                _interval(ahead(pmf, patch)),
                *dense,
            )
        )
    words = (
        "As in the method's report: a step learns from single windows, with as many pixels in all "
        "as otherwise. A patch then teaches one class, a window of cells all that it holds; where "
        "all overlapping windows of a crop are learnt from at once, as in the other tables, patch "
        "classification has as many labels as the pmfs have."
    )
    heads = [
        *PLACE,
        "patch, one by one",
        "pmf, one by one",
        "pmf ahead",
        "patch, all at once",
        "pmf, all at once",
    ]
    return _section("## Windows learnt one by one", [words], heads, rows)


def _best_table(found: Mapping[Condition, Mapping[str, Outcome]]) -> list[str]:
    rows = []
    for conditions in by_time(main_conditions(found).values()):
        best = best_of_ours(found, conditions)
        if best is None:
            continue
        condition, arm = best
        some = found[condition]
        cells = [
            _interval(ahead(some[arm], some[one])) if one in some else "" for one in OUTSIDE_RIVALS
        ]
        if any(cells):
            rows.append(_row(_name(arm), *_place(condition), *cells))
    heads = ["our best", *PLACE, *(f"ahead of {_name(one)}" for one in OUTSIDE_RIVALS)]
    words = (
        "At equal processor time, each time limit taken separately. A network as large as DynUNet "
        "takes few steps in that time (*Other measures* has the number): this says which has "
        "learnt more by then, not which is better in the end. The random forest takes as long as "
        "its trees need, even where more is allowed."
    )
    return _section("## Our best against the rivals from outside", [words], heads, rows)


def _curve_table(found: Mapping[Condition, Mapping[str, Outcome]]) -> list[str]:
    drawn = [(some, *along(found, some)) for some in curves(found).values()]
    arms = in_order(arm for _, shown, _ in drawn for arm in shown)
    rows = []
    for conditions, shown, seeds in drawn:
        for condition in conditions if shown else ():
            some = found[condition]
            cells = [
                _scores(some[arm], seeds) if arm in shown and arm in some else "" for arm in arms
            ]
            rows.append(_row(*_place(condition), str(len(seeds)), *cells))
    words = (
        "Means over the seeds that every number of images was run with; a seed draws the training "
        "images."
    )
    heads = [*PLACE, "seeds", *(_name(arm) for arm in arms)]
    return _section("## Training images", [words], heads, rows)


def _measures_table(found: Mapping[Condition, Mapping[str, Outcome]]) -> list[str]:
    lines = [
        "## Other measures",
        "",
        "Pooled over test images and seeds. *Share error*: mean absolute error per field of the "
        "share of one class (glands, tertiary precipitates, the second texture, cells, "
        "differentiated). "
        "*ECE*: expected calibration error of the winning class, 15 bins, no temperature fitted. "
        "*Border F*: tolerance 2 % of the diagonal; empty where no border is known.",
        "",
        _row(
            *PLACE,
            "arm",
            "Jaccard per class",
            "Dice",
            "border F",
            "share error",
            "ECE",
            "steps",
        ),
        "|" + "---|" * 11,
    ]
    for conditions in main_conditions(found).values():
        for condition in conditions:
            for arm, outcome in sorted(
                found[condition].items(), key=lambda pair: list(NAMES).index(pair[0])
            ):
                lines.append(
                    _row(
                        *_place(condition),
                        _name(arm),
                        " ".join(f"{value:.2f}" for value in outcome.of_classes),
                        f"{outcome.dice:.3f}",
                        "" if np.isnan(outcome.boundary) else f"{outcome.boundary:.3f}",
                        f"{outcome.share_errors.mean():.3f}",
                        f"{outcome.calibration_error:.3f}",
                        f"{outcome.steps:.0f}",
                    )
                )
    return [*lines, ""]


def _report_table(found: Mapping[Condition, Mapping[str, Outcome]]) -> list[str]:
    arms = [*THE_REPORT, "pyramid"]
    lines = [
        "## The method's report beside ours",
        "",
        "The report names its Jaccard index for iPS colonies, each arm at its best parameters, on "
        "images and labels that are not public. Ours are each arm at its best window, after the "
        "same learning time.",
        "",
        _row("", *(_name(arm) for arm in arms)),
        "|" + "---|" * (1 + len(arms)),
        _row(
            "the report",
            *(f"{100 * THE_REPORT[arm]:.1f}" if arm in THE_REPORT else "" for arm in arms),
        ),
    ]
    for name, conditions in main_conditions(found).items():
        cells = []
        alike = by_windows(conditions)
        for arm in arms:
            scores = [found[one][arm].jaccard.mean() for one in alike if arm in found[one]]
            cells.append(f"{100 * max(scores):.1f}" if scores else "")
        lines.append(_row(f"ours, {name}", *cells))
    return [*lines, ""]
