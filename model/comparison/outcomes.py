"""What the runs of arms say, pooled, and how far one arm is ahead of another."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.metrics import BoundaryMatches, Confusion, Reliability

TOGETHER: Final = {
    "super1": "superalloy",
    "super2": "superalloy",
    "super3": "superalloy",
    "super4": "superalloy",
    "ips_fields-1": "ips_fields",
    "ips_fields-2": "ips_fields",
    "ips_fields-3": "ips_fields",
}
"""Sets whose test images are pooled under one name; each still learns from its own images."""
OURS: Final = ("pmf", "pyramid")
ALONE: Final = ("patch-alone", "pmf-alone")
"""Arms that learn windows one by one; they have a table of their own."""
MAIN_IMAGES: Final = 10
"""Training images of the main tables, where a set was run with so many."""
RESAMPLES: Final = 2000


@dataclass(frozen=True, order=True)
class Condition:
    """What is held equal when arms are compared."""

    set_name: str
    images: int
    window_px: int
    cpu_s: float


@dataclass(frozen=True, eq=False)
class Outcome:
    """All runs of an arm under one condition.

    seeds : of the runs, ascending
    counts : (seeds, images, C, C) int64, confusions
    """

    seeds: tuple[int, ...]
    counts: NDArray[np.int64]
    borders: Sequence[BoundaryMatches]
    sure: Sequence[Reliability]
    share_errors: NDArray[np.float64]
    steps: float

    @property
    def jaccard(self) -> NDArray[np.float64]:
        """(seeds,) pooled mean Jaccard of each seed."""
        return np.array([Confusion(one.sum(axis=0)).mean_jaccard for one in self.counts])

    def of_seeds(self, seeds: Iterable[int]) -> NDArray[np.float64]:
        """(seeds,) `jaccard` of those of the seeds that the arm was run with."""
        return self.jaccard[[self.seeds.index(one) for one in seeds if one in self.seeds]]

    @property
    def of_classes(self) -> NDArray[np.float64]:
        """(C,) Jaccard of each class, pooled over images and seeds."""
        return Confusion(self.counts.sum(axis=(0, 1))).jaccard

    @property
    def dice(self) -> float:
        """Mean over the classes, pooled."""
        return float(np.nanmean(Confusion(self.counts.sum(axis=(0, 1))).dice))

    @property
    def boundary(self) -> float:
        """Mean boundary F-score, pooled."""
        return sum(self.borders[1:], self.borders[0]).mean_f_score

    @property
    def calibration_error(self) -> float:
        """Expected calibration error, pooled."""
        return sum(self.sure[1:], self.sure[0]).expected_calibration_error


def gather(results: Iterable[Mapping[str, Any]]) -> dict[Condition, dict[str, Outcome]]:
    """Results by condition and arm; arms without a window stand under every window.

    Seeds that not every pooled set has yet are left out, so that an arm is never scored on a part.
    """
    by_place: dict[tuple[str, int, int, float, str], dict[int, dict[str, Any]]] = {}
    for result in results:
        run = result["run"]
        name = TOGETHER.get(run["set_name"], run["set_name"])
        place = (name, run["images"], run["window_px"], run["cpu_s"], run["arm"])
        by_place.setdefault(place, {}).setdefault(run["seed"], {})[run["set_name"]] = result
    found: dict[Condition, dict[str, Outcome]] = defaultdict(dict)
    for (name, images, window, cpu_s, arm), seeds in sorted(by_place.items()):
        wanted = {part for part, whole in TOGETHER.items() if whole == name} or {name}
        whole = {seed: parts for seed, parts in sorted(seeds.items()) if set(parts) == wanted}
        if whole:
            found[Condition(name, images, window, cpu_s)][arm] = _outcome(whole)
    windows = {condition.window_px for condition in found if condition.window_px}
    for condition in [one for one in found if not one.window_px]:
        for window in windows:
            with_window = Condition(condition.set_name, condition.images, window, condition.cpu_s)
            if with_window in found:
                found[with_window] |= found[condition]
    return {one: arms for one, arms in sorted(found.items()) if one.window_px}


def _outcome(seeds: Mapping[int, Mapping[str, Mapping[str, Any]]]) -> Outcome:
    fields = [
        [field for _, part in sorted(parts.items()) for field in part["fields"]]
        for parts in seeds.values()
    ]
    every = [field for some in fields for field in some]
    errors = [
        abs(field["said_share"] - field["true_share"])
        for field in every
        if field["said_share"] is not None and field["true_share"] is not None
    ]
    return Outcome(
        seeds=tuple(seeds),
        counts=np.array([[field["confusion"] for field in some] for some in fields]),
        borders=[BoundaryMatches(*(np.array(p) for p in field["borders"])) for field in every],
        sure=[Reliability(*(np.array(part) for part in field["reliability"])) for field in every],
        share_errors=np.array(errors),
        steps=float(
            np.mean([part["steps"] for parts in seeds.values() for part in parts.values()])
        ),
    )


def ahead(first: Outcome, second: Outcome, *, seed: int = 0) -> tuple[float, float, float]:
    """How far the first arm's pooled mean Jaccard is ahead, with a 95 % interval.

    Seeds are those that both were run with. Each draw takes test images, the same for both arms,
    and seeds anew with replacement: the interval holds the chance of both. NaN where there is no
    such seed.
    """
    chance = np.random.default_rng(seed)
    both = sorted(set(first.seeds) & set(second.seeds))
    images = first.counts.shape[1]
    if not both:
        return float("nan"), float("nan"), float("nan")
    counts = [arm.counts[[arm.seeds.index(one) for one in both]] for arm in (first, second)]

    def difference(which: Any, some: Any) -> float:
        scores = [
            np.mean([Confusion(one[some].sum(axis=0)).mean_jaccard for one in arm[which]])
            for arm in counts
        ]
        return float(scores[0] - scores[1])

    middle = difference(np.arange(len(both)), np.arange(images))
    if images < 2:
        return middle, float("nan"), float("nan")
    draws = [
        difference(chance.integers(0, len(both), len(both)), chance.integers(0, images, images))
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(draws, [0.025, 0.975])
    return middle, float(low), float(high)


NAMES: Final = {
    "pmf": "pmf, several grids",
    "pmf-fine": "pmf, finest grid",
    "pmf-half": "pmf, half as fine",
    "pmf-coarse": "pmf, one cell",
    "pyramid": "pmf pyramid",
    "patch": "patch classification",
    "fcn": "FCN",
    "dynunet": "DynUNet (nnU-Net)",
    "random-forest": "random forest",
    "patch-alone": "patch classification, windows one by one",
    "pmf-alone": "pmf, windows one by one",
}


def main_conditions(found: Mapping[Condition, Any]) -> dict[str, list[Condition]]:
    """For each set its conditions with `MAIN_IMAGES` images, or else with the most."""
    by_set: dict[str, list[Condition]] = defaultdict(list)
    for condition in found:
        by_set[condition.set_name].append(condition)
    chosen = {}
    for name, some in by_set.items():
        numbers = {one.images for one in some}
        most = 0 if 0 in numbers else max(numbers)
        images = MAIN_IMAGES if MAIN_IMAGES in numbers else most
        chosen[name] = sorted(one for one in some if one.images == images)
    return chosen


def by_windows(conditions: Sequence[Condition]) -> list[Condition]:
    """Those of one learning time: the time with the most windows, the longer of equals."""
    windows: dict[float, int] = defaultdict(int)
    for one in conditions:
        windows[one.cpu_s] += 1
    best = max(windows, key=lambda cpu_s: (windows[cpu_s], cpu_s))
    return [one for one in conditions if one.cpu_s == best]


def by_images(condition: Condition) -> int:
    """For sorting: fewest training images first, all of them last."""
    return condition.images or 10**6


def in_order(arms: Iterable[str]) -> list[str]:
    return sorted(set(arms), key=list(NAMES).index)


def most_seeds(some: Mapping[str, Outcome]) -> tuple[int, ...]:
    """The seeds of the arm that was run with most of them."""
    return max((outcome.seeds for outcome in some.values()), key=len)


def seeds_of_all(some: Iterable[Outcome]) -> tuple[int, ...]:
    """The seeds that all of them were run with."""
    return tuple(sorted(set.intersection(*(set(one.seeds) for one in some))))


def best_of_ours(
    found: Mapping[Condition, Mapping[str, Outcome]], conditions: Sequence[Condition]
) -> tuple[Condition, str] | None:
    """Which of our arms and windows scores best on a set: chosen on the test images, which favours
    it a little; so is the rivals' only form."""
    scored = [
        (float(found[one][arm].jaccard.mean()), one, arm)
        for one in conditions
        for arm in OURS
        if arm in found[one]
    ]
    return max(scored)[1:] if scored else None


def by_time(sets: Iterable[Sequence[Condition]]) -> list[list[Condition]]:
    return [
        [one for one in conditions if one.cpu_s == cpu_s]
        for conditions in sets
        for cpu_s in sorted({one.cpu_s for one in conditions})
    ]


def curves(found: Mapping[Condition, Any]) -> dict[tuple[str, int, float], list[Condition]]:
    """(set, window, learning time) with at least three numbers of training images, fewest first."""
    by_place: dict[tuple[str, int, float], list[Condition]] = defaultdict(list)
    for condition in found:
        by_place[condition.set_name, condition.window_px, condition.cpu_s].append(condition)
    return {
        place: sorted(some, key=by_images)
        for place, some in sorted(by_place.items())
        if len(some) > 2
    }


def along(
    found: Mapping[Condition, Mapping[str, Outcome]], conditions: Sequence[Condition]
) -> tuple[list[str], tuple[int, ...]]:
    """Arms that were run with at least three of the numbers of images, and the seeds that these
    have in common: what is drawn along a curve are means over the same seeds."""
    arms = in_order(
        arm
        for arm in NAMES
        if arm not in ALONE and sum(arm in found[one] for one in conditions) > 2
    )
    outcomes = [found[one][arm] for one in conditions for arm in arms if arm in found[one]]
    seeds = seeds_of_all(outcomes) if outcomes else ()
    return (arms, seeds) if seeds else ([], ())


def gathered(results: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write all results into one file, a line a run."""
    ordered = sorted(results, key=lambda one: json.dumps(one["run"], sort_keys=True))
    lines = ",\n".join(json.dumps(one, separators=(",", ":")) for one in ordered)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
