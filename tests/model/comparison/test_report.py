"""What the comparison claims follows from its runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.comparison.outcomes import Condition, ahead, along, curves, gather, gathered
from model.comparison.plots import draw_ahead, draw_scores, draw_transfer
from model.comparison.report import page
from model.comparison.runs import Run, go_through, planned, read_results, unpack


def result(
    arm: str,
    seed: int,
    right: list[int],
    *,
    set_name: str = "glands",
    window_px: int = 64,
    images: int = 10,
) -> dict[str, Any]:
    """A run that has so many of each image's 100 pixels right, half of each class."""
    fields = []
    for number, hits in enumerate(right):
        half = hits // 2
        counts = [[half, 50 - half], [50 - half, half]]
        fields.append(
            {
                "name": f"{number}",
                "confusion": counts,
                "borders": [[10, 10], [5, 5], [10, 10], [5, 5]],
                "true_share": 0.5,
                "said_share": 0.4,
                "mean_share": 0.45,
                "reliability": [[100], [80.0], [hits]],
            }
        )
    run = Run(set_name, arm, images, window_px, seed, 12.0)
    return {"run": run.__dict__, "steps": 7, "fields": fields}


def test_an_arm_that_is_better_on_every_image_is_ahead_with_an_interval_clear_of_0() -> None:
    runs = [result("pmf", seed, [90, 88, 92, 94]) for seed in (0, 1)]
    runs += [result("fcn", seed, [80, 78, 84, 86]) for seed in (0, 1)]
    found = gather(runs)[Condition("glands", 10, 64, 12.0)]
    middle, low, high = ahead(found["pmf"], found["fcn"])
    assert 0 < low < middle < high


def test_an_arm_is_not_ahead_of_itself_nor_of_one_that_is_better_as_often_as_worse() -> None:
    runs = [result("pmf", 0, [90, 80, 90, 80]), result("fcn", 0, [80, 90, 80, 90])]
    found = gather(runs)[Condition("glands", 10, 64, 12.0)]
    assert ahead(found["pmf"], found["pmf"]) == (0, 0, 0)
    middle, low, high = ahead(found["pmf"], found["fcn"])
    assert middle == pytest.approx(0)
    assert low < 0 < high


def test_arms_are_compared_over_the_seeds_that_both_were_run_with() -> None:
    """A seed draws the images that are learnt from: pairing others would compare these."""
    runs = [result("pmf", 0, [90, 90]), result("pmf", 2, [60, 60])]
    runs += [result("fcn", seed, [level, level]) for seed, level in ((0, 80), (1, 90), (2, 50))]
    runs += [result("patch", 1, [90, 90])]
    found = gather(runs)[Condition("glands", 10, 64, 12.0)]
    middle, low, _ = ahead(found["pmf"], found["fcn"])
    assert middle == pytest.approx(
        np.mean(found["pmf"].of_seeds((0, 2)) - found["fcn"].of_seeds((0, 2)))
    )
    assert low > 0
    assert np.isnan(ahead(found["pmf"], found["patch"])).all()


def test_a_mean_over_fewer_seeds_says_so() -> None:
    runs = [result("pyramid", seed, [80 + seed]) for seed in (0, 1, 2)]
    runs += [result("random-forest", 0, [70], window_px=0)]
    (row,) = [line for line in page(runs).splitlines() if line.startswith("| glands | 10 | 12 |")][
        :1
    ]
    assert "0.538, 1 seed |" in row


def test_a_curve_is_drawn_over_the_same_seeds_at_every_number_of_images() -> None:
    runs = [
        result("fcn", seed, [70 + images], images=images)
        for images in (1, 2, 5)
        for seed in ((0, 1) if images == 1 else (0,))
    ]
    runs += [result("pmf-fine", 0, [80], images=5)]
    found = gather(runs)
    (conditions,) = curves(found).values()
    assert [one.images for one in conditions] == [1, 2, 5]
    assert along(found, conditions) == (["fcn"], (0,))


def test_pooled_sets_count_only_when_each_of_their_parts_was_run() -> None:
    """A mean over the easier half would be a better number, and a wrong one."""
    parts = [result("pmf", 0, [90], set_name=f"super{n}") for n in (1, 2, 3)]
    assert gather(parts) == {}
    found = gather([*parts, result("pmf", 0, [70], set_name="super4")])
    (condition,) = found
    assert condition.set_name == "superalloy"
    assert found[condition]["pmf"].counts.shape == (1, 4, 2, 2)


def test_an_arm_without_a_window_stands_beside_every_window() -> None:
    runs = [result("pmf", 0, [90], window_px=w) for w in (48, 64)]
    runs.append(result("dynunet", 0, [80], window_px=0))
    assert all(set(arms) == {"pmf", "dynunet"} for arms in gather(runs).values())


def test_the_page_and_its_plots_name_arms_sets_and_the_methods_report(tmp_path: Path) -> None:
    runs = [
        result(arm, seed, [80 + 2 * seed, 84, 88])
        for arm in ("pmf", "patch", "fcn", "pyramid")
        for seed in (0, 1)
    ]
    runs += [result("random-forest", 0, [70, 72, 74], window_px=0)]
    runs += [result(arm, 0, [60, 64], set_name="simulated") for arm in ("pmf", "fcn")]
    text = page(runs, {"Scores": "pictures/x.png"})
    for words in ("glands", "patch classification", "82.6", "random forest", "pictures/x.png"):
        assert words in text
    found = gather(runs)
    for draw, name in (
        (draw_scores, "scores.png"),
        (draw_ahead, "ahead.png"),
        (draw_transfer, "transfer.png"),
    ):
        draw(found, tmp_path / name)
        assert (tmp_path / name).stat().st_size > 5000
    gathered(runs, tmp_path / "all.json")
    assert len(read_results(tmp_path / "all.json")) == len(runs)
    unpack(tmp_path / "all.json", tmp_path / "work")
    assert len(read_results(tmp_path / "work")) == len(runs)


def test_what_was_run_is_not_run_again_and_what_is_missing_is_told(tmp_path: Path) -> None:
    runs = planned(["glands"], ["pmf", "fcn"], images=[10], windows_px=[64], seeds=1, cpu_s=12.0)
    kept = result("pmf", 0, [90])
    (tmp_path / f"{runs[0].key}.json").write_text(json.dumps(kept))
    told: list[str] = []
    missing = go_through(runs, tmp_path / "nowhere", tmp_path, workers=1, tell=told.append)
    assert told[0] == "2 runs, 1 of them done before"
    assert list(missing) == ["glands fcn"]
    assert "nowhere" in missing["glands fcn"]
    assert read_results(tmp_path) == [json.loads(json.dumps(kept))]


def test_every_combination_is_planned_once_and_seeds_come_first() -> None:
    runs = planned(
        ["glands", "textures"],
        ["pmf", "dynunet"],
        images=[1, 10],
        windows_px=[48, 64],
        seeds=2,
        cpu_s=5.0,
    )
    assert len({run.key for run in runs}) == len(runs) == 2 * 2 * 2 * 3
    assert [run.seed for run in runs] == sorted(run.seed for run in runs)
    assert {run.window_px for run in runs if run.arm == "dynunet"} == {0}
    assert np.all([run.cpu_s == 5.0 for run in runs])
