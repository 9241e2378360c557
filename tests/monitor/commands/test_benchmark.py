"""`benchmark accuracy`: what is chosen is run once, reported, and gone on with."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.comparison.runs import ALL_ARMS, SEEDS, full_form
from model.comparison.sets import SETS
from tests.monitor.commands.calls import DONE, FAILED, MISUSED, call

SIDE_PX = 200


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """Two fields to learn from and two to be measured on: rough discs on an even ground."""
    chance = np.random.default_rng(5)
    for part in ("train", "test"):
        for kind in ("images", "labels"):
            (tmp_path / "data" / "glands" / part / kind).mkdir(parents=True)
        for number in range(2):
            labels = np.zeros((SIDE_PX, SIDE_PX), dtype=np.uint8)
            cv2.circle(labels, (90 + 10 * number, 110), 60, 1, -1)
            rough = chance.normal(0, 6 + 30 * labels.astype(float))
            image = np.clip(rough + 120, 0, 255).astype(np.uint8)
            for kind, picture in (("images", image), ("labels", labels)):
                folder = tmp_path / "data" / "glands" / part / kind
                assert cv2.imwrite(str(folder / f"{part}{number}.png"), picture)
    return tmp_path / "data"


def test_a_comparison_is_run_reported_and_gone_on_with(sets: Path, tmp_path: Path) -> None:
    words: list[str | Path] = [
        *("benchmark", "accuracy", "--data", sets, "--work", tmp_path / "runs"),
        *("--report", tmp_path / "docs", "--sets", "glands", "--windows-px", "48"),
        *("--images", "2", "--seeds", "1", "--cpu-s", "1", "--arms"),
    ]
    first = call(*words, "pyramid")
    assert first.code == DONE, first.err
    again = call(*words, "pyramid,fcn")
    assert again.code == DONE, again.err
    assert "2 runs, 1 of them done before" in again.err
    page = (tmp_path / "docs" / "accuracy.md").read_text(encoding="utf-8")
    assert "| glands | 2 | 1 | 48 (60 um) | 1 |" in page
    kept = json.loads((tmp_path / "docs" / "accuracy.json").read_text(encoding="utf-8"))
    assert {one["run"]["arm"] for one in kept} == {"pyramid", "fcn"}
    counts = np.array([field["confusion"] for one in kept for field in one["fields"]])
    assert counts.sum() == 2 * 2 * (SIDE_PX // 2) ** 2


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--sets", "gland", "there are glands, super1"),
        ("--arms", "unet", "there are patch, fcn"),
        ("--images", "ten", "give whole numbers"),
        ("--windows-px", "32", "at least 40"),
    ],
)
def test_what_cannot_be_chosen_is_told_with_what_can(option: str, value: str, told: str) -> None:
    answer = call("benchmark", "accuracy", option, value)
    assert answer.code == MISUSED
    assert told in " ".join(answer.err.replace("│", " ").split())


def test_a_folder_without_the_sets_is_no_result(tmp_path: Path) -> None:
    answer = call(
        *("benchmark", "accuracy", "--data", tmp_path, "--work", tmp_path / "runs"),
        *("--sets", "glands", "--arms", "fcn", "--windows-px", "64", "--seeds", "1"),
    )
    assert answer.code == FAILED
    assert str(tmp_path) in answer.err


def test_the_full_form_has_every_set_and_arm_and_three_seeds_where_arms_are_compared() -> None:
    runs = full_form()
    assert len(set(runs)) == len(runs)
    assert {run.set_name for run in runs} == set(SETS)
    assert {run.arm for run in runs} == set(ALL_ARMS)
    for arm in ("patch", "fcn", "pmf", "pyramid"):
        for name in ("glands", "super1", "textures", "spread_cells"):
            seeds = {
                (run.window_px, run.seed)
                for run in runs
                if (run.set_name, run.arm, run.images) == (name, arm, 10)
            }
            assert seeds == {(w, seed) for w in (48, 64, 96) for seed in range(SEEDS)}
