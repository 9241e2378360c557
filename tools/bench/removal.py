"""How safely and how fully plans remove, on simulated dishes: writes docs/removal.md.

The shipped model segments three scans of each virtual dish, six hours apart; the real code aims
and plans; each hit is then laid on the exact truth of the last scan.

    python -m tools.bench.removal --dishes 120
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.progress import track

from model.classes import CellClass
from model.pmf_segmenter import PmfSegmenter
from model.simulation.drawing import MODALITIES
from model.simulation.incubator import VirtualDish
from monitor.config import CalibrationConfig, PinConfig, RemovalConfig, SourceSettings
from monitor.culture import (
    FieldMeasurement,
    PixelSize,
    PixelSizeSource,
    Reading,
    RemovalPlan,
    ScanField,
    StagePosition,
)
from monitor.decisions.removal import plan_removal
from monitor.decisions.tour import short_tour
from monitor.segmentation.colonies import find_colonies, find_regions, measure_areas
from monitor.segmentation.measure_image import colony_limit_px, region_limit_px
from monitor.segmentation.targeting import aim_at
from monitor.segmentation.uncertainty_maps import doubts_of, with_doubts
from monitor.stage.calibration import configured_calibration
from monitor.stage.labelled_field import LabelledField

ROOT = Path(__file__).parents[2]
START = datetime(2026, 1, 5, tzinfo=UTC)
FIRST_SEED = 1_000  # the defaults were chosen on dishes below
BETWEEN_H = 6.0
GROUP_UM2 = 1_500.0  # some ten cells: what the program calls a colony at least
DEFAULTS = RemovalConfig()
PIN = {"pin-40": PinConfig(kind="pin", diameter_um=40.0)}
WITH_A_PIN = DEFAULTS.model_copy(update={"tools": PIN})
SETTINGS = {
    "tip-100, two earlier scans (default)": DEFAULTS,
    "tip-100, one earlier scan": DEFAULTS.model_copy(update={"earlier_scans": 1}),
    "tip-100, none": DEFAULTS.model_copy(update={"earlier_scans": 0}),
    "pin-40, two earlier scans": WITH_A_PIN,
    "pin-40, one earlier scan": WITH_A_PIN.model_copy(update={"earlier_scans": 1}),
    "pin-40, none": WITH_A_PIN.model_copy(update={"earlier_scans": 0}),
}
CAMERA = configured_calibration("virtual", SourceSettings(calibration=CalibrationConfig(id="v")))


@dataclass
class Tally:
    """Of one dish. groups : um2 of undifferentiated groups under each hit; areas in um2

    whole : hits on colonies that go whole, which are counted apart
    """

    hits: int = 0
    clean: int = 0
    cells: int = 0
    groups: list[float] = field(default_factory=list)
    whole: int = 0
    covered_um2: float = 0.0
    removable_um2: float = 0.0
    removed_um2: float = 0.0
    differentiated_um2: float = 0.0


@dataclass(frozen=True, eq=False)
class Scan:
    """One field of a dish, as it is and as the model sees it."""

    truth: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    differentiated: np.ndarray
    pixel_size_um: float
    at: datetime


def visit(dish: VirtualDish, hours: float, segmenter: PmfSegmenter) -> Scan:
    seen = dish.field(hours)
    said = segmenter.segment(seen.image, seen.pixel_size_um)
    return Scan(
        seen.labels,
        said.labels,
        said.probabilities,
        said.probability(CellClass.DIFFERENTIATED),
        seen.pixel_size_um,
        START + timedelta(hours=hours),
    )


def measured(
    scan: Scan, limits: RemovalConfig, before: Sequence[np.ndarray] = ()
) -> FieldMeasurement:
    size = scan.pixel_size_um
    colonies = find_colonies(scan.labels, min_area_px=colony_limit_px(size))
    regions = find_regions(
        scan.labels, scan.differentiated, min_area_px=region_limit_px(size), colonies=colonies
    )
    return FieldMeasurement(
        shape=(scan.labels.shape[0], scan.labels.shape[1]),
        areas=measure_areas(scan.labels),
        colonies=colonies,
        regions=regions,
        uncertainty=0.0,
        model_name="",
        model_sha256="",
        settings_sha256="",
        acquired_at=scan.at,
        acquired_at_from="metadata",
        pixel_size=PixelSize(size, PixelSizeSource.METADATA),
        stage=StagePosition(0.0, 0.0),
        aims=aim_at(
            scan.labels,
            scan.probabilities,
            regions,
            colonies,
            pixel_size_um=size,
            targeting=limits.targeting,
            min_probability=limits.min_probability,
            min_region_um2=limits.min_region_um2,
            max_undifferentiated=limits.max_undifferentiated,
            whole_colony_above=limits.whole_colony_above,
            before=before,
        ),
        targeting=limits.targeting,
    )


def planned(before: Sequence[Scan], now: Scan, limits: RemovalConfig) -> RemovalPlan | None:
    """before : newest first"""
    asked = before[: limits.earlier_scans]
    sure = [
        with_doubts(one.labels, doubts_of(one.probabilities), limits.max_undifferentiated)
        for one in asked
    ]
    reading = Reading(
        1, "dish", 1, 1, now.at, 1, None, None, None, None, None, 0.0, now.pixel_size_um, "", "", 0
    )
    return plan_removal(
        "plan",
        reading,
        [ScanField("a" * 64, "a.tif", "bench", measured(now, limits, sure))],
        CAMERA,
        limits,
        now.at,
        earlier=[
            [LabelledField(measured(one, limits), labels)]
            for one, labels in zip(asked, sure, strict=True)
        ],
    )


def judge(plan: RemovalPlan | None, scan: Scan, limits: RemovalConfig) -> Tally:
    """Each hit where it is aimed, on the truth."""
    truth, size, tool = scan.truth, scan.pixel_size_um, limits.targeting
    tally = Tally(differentiated_um2=float((truth == CellClass.DIFFERENTIATED).sum() * size**2))
    if plan is None:
        return tally
    good = truth == CellClass.UNDIFFERENTIATED
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(good.astype(np.uint8), connectivity=8)
    groups = good & (stats[:, cv2.CC_STAT_AREA][pieces] * size**2 >= GROUP_UM2)
    rows, columns = np.ogrid[: truth.shape[0], : truth.shape[1]]
    removed = np.zeros(truth.shape, bool)
    for target in plan.targets:
        tally.covered_um2 += target.covered_um2 or 0.0
        tally.removable_um2 += target.removable_um2 or 0.0
        for hit in target.hits:
            row, column = hit.pick_px
            away = ((rows - row) ** 2 + (columns - column) ** 2) * size**2
            removed |= away <= (tool.removes_um / 2) ** 2
            if target.whole_colony:
                tally.whole += 1
                continue
            under = away <= (tool.touches_um / 2) ** 2
            tally.hits += 1
            tally.clean += bool((truth[under] == CellClass.DIFFERENTIATED).all())
            tally.cells += bool(good[under].any())
            tally.groups.append(float(groups[under].sum() * size**2))
    tally.removed_um2 = float((removed & (truth == CellClass.DIFFERENTIATED)).sum() * size**2)
    return tally


def share(tallies: list[Tally], part: str, whole: str) -> float:
    def total(name: str) -> float:
        if name == "group":
            return sum(sum(one > 0 for one in tally.groups) for tally in tallies)
        return sum(getattr(tally, name) for tally in tallies)

    return total(part) / max(total(whole), 1e-9)


def with_interval(tallies: list[Tally], part: str, whole: str = "hits") -> str:
    """Percent, with the 95 % interval of 1000 draws of whole dishes."""
    chance = np.random.default_rng(0)
    drawn = [
        share([tallies[i] for i in chance.integers(len(tallies), size=len(tallies))], part, whole)
        for _ in range(1000)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return f"{100 * share(tallies, part, whole):.1f} ({100 * low:.1f} to {100 * high:.1f})"


def border_errors(scan: Scan) -> np.ndarray:
    """How far the border of each differentiated region lies outside the true one, um; below 0:
    inside. At each pixel of the border.
    """
    said, true = scan.labels == CellClass.DIFFERENTIATED, scan.truth == CellClass.DIFFERENTIATED
    border = said & (cv2.erode(said.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0)
    outside = cv2.distanceTransform((~true).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    inside = cv2.distanceTransform(true.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return (outside - inside)[border] * scan.pixel_size_um


def border_text(errors: np.ndarray) -> str:
    most, nearly_all = np.percentile(errors, [90, 95])
    inside, within = (100 * float((errors <= limit).mean()) for limit in (0.0, DEFAULTS.border_um))
    return (
        f"{inside:.0f} % lies inside the true one, 90 % less than {most:.0f} µm outside it, 95 % "
        f"less than {nearly_all:.0f}; the {DEFAULTS.border_um:.0f} µm of `border_um` hold for "
        f"{within:.0f} %"
    )


def table(results: dict[str, list[Tally]]) -> str:
    lines = [
        "| settings | dishes with a plan | hits | entirely on differentiated, % | on any "
        "undifferentiated cell, % | on a group of some ten or more, % | worst, µm² | covered of "
        "what the tool can reach, % | removed of all differentiated, % | hits on whole colonies |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, tallies in results.items():
        worst = max((one for tally in tallies for one in tally.groups), default=0.0)
        lines.append(
            f"| {name} | {sum(bool(one.hits or one.whole) for one in tallies)} of {len(tallies)} "
            f"| {sum(one.hits for one in tallies)} | {with_interval(tallies, 'clean')} "
            f"| {with_interval(tallies, 'cells')} | {with_interval(tallies, 'group')} "
            f"| {worst:.0f} | {with_interval(tallies, 'covered_um2', 'removable_um2')} "
            f"| {with_interval(tallies, 'removed_um2', 'differentiated_um2')} "
            f"| {sum(one.whole for one in tallies)} |"
        )
    return "\n".join(lines)


def plot(results: dict[str, list[Tally]], path: Path) -> None:
    figure = Figure(figsize=(8, 4.5), dpi=110, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.1, 0.13, 0.86, 0.8))
    lines = ("-", "--", ":")
    styles = [(colour, line) for colour in ("#d55e00", "#0072b2") for line in lines]
    limits = np.geomspace(10, 10_000, 200)
    for (name, tallies), (colour, line) in zip(results.items(), styles, strict=True):
        areas = np.array([one for tally in tallies for one in tally.groups])
        if len(areas):
            shares = [100 * float((areas > limit).mean()) for limit in limits]
            axes.plot(limits, shares, line, color=colour, label=name, linewidth=2)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("undifferentiated cells under a hit, µm² (groups of some ten or more)")
    axes.set_ylabel("hits with more than that, %")
    axes.grid(color="#e5e7eb")
    axes.legend(frameon=False)
    with path.open("wb") as file:
        canvas.print_png(file)


def tours(instances: int = 20, points: int = 200) -> tuple[float, float] | None:
    """(mean, worst) length of our tours over those of a strong solver; None where it is missing.

    An open path is a round trip through one point more that is as near to all as can be.
    """
    try:
        from fast_tsp import find_tour
    except ImportError:
        return None
    ratios = []
    for seed in range(instances):
        places = np.random.default_rng(seed).uniform(0, 6_400, (points, 2))
        away = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
        whole = np.zeros((points + 1, points + 1), int)
        whole[:points, :points] = np.rint(away)
        found = find_tour(whole.tolist(), duration_seconds=1.0)
        turn = found.index(points)
        best = found[turn + 1 :] + found[:turn]
        ours = short_tour(places)
        ratios.append(_length(away, ours) / _length(away, best))
    return float(np.mean(ratios)), float(np.max(ratios))


def _length(away: np.ndarray, order: tuple[int, ...] | list[int]) -> float:
    return float(away[list(order[:-1]), list(order[1:])].sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dishes", type=int, default=120)
    wanted = parser.parse_args()
    segmenter = PmfSegmenter.load()
    results: dict[str, list[Tally]] = {name: [] for name in SETTINGS}
    passed_over, overreach = 0, []
    for number in track(range(wanted.dishes), "dishes"):
        seed = FIRST_SEED + number
        chance = np.random.default_rng(seed)
        onset_h = chance.uniform(10, 40)
        hours = onset_h + chance.uniform(12, 48)
        dish = VirtualDish(
            "dish",
            seed=seed,
            onset_h=onset_h,
            modality=MODALITIES[number % 2],
            doubling_h=chance.uniform(18, 30),
            spread_um_per_h=chance.uniform(4, 12),
        )
        now = visit(dish, hours, segmenter)
        fraction = measure_areas(now.labels).differentiated_fraction or 0.0
        if not 0.05 < fraction <= 0.60:
            passed_over += 1  # healthy, or past saving: no plan is made
            continue
        before = [visit(dish, hours - BETWEEN_H * number, segmenter) for number in (1, 2)]
        overreach.append(border_errors(now))
        for name, limits in SETTINGS.items():
            results[name].append(judge(planned(before, now, limits), now, limits))
    plot(results, ROOT / "docs/pictures/removal.png")
    ratio = tours()
    tour = (
        "not measured, since `fast-tsp` is not installed"
        if ratio is None
        else f"{100 * (ratio[0] - 1):.1f} % longer on average, {100 * (ratio[1] - 1):.1f} % at "
        "worst"
    )
    text = (ROOT / "tools/bench/removal.md.in").read_text(encoding="utf-8")
    for key, value in {
        "@TABLE@": table(results),
        "@DISHES@": str(len(next(iter(results.values())))),
        "@PASSED@": str(passed_over),
        "@ALL@": str(wanted.dishes),
        "@TOUR@": tour,
        "@BORDER@": border_text(np.concatenate(overreach)),
    }.items():
        text = text.replace(key, value)
    (ROOT / "docs/removal.md").write_text(text, encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
