"""How long it takes to learn from five labelled fields of a megapixel, ours beside DynUNet.

    python -m tools.bench.training
    python -m tools.bench.training --budgets 4,8,16 --seeds 1

Each arm is trained from scratch for each budget of processor time, on one thread, with the
schedule that fits the budget, and scored on fields that it has not seen. Prints a table for
docs/performance.md.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping

import numpy as np
import torch

from model.classes import CellClass
from model.comparison.arms import Arm, Labeller, Task, pmf_arm
from model.comparison.outside import dynunet
from model.comparison.sets import standardised
from model.dataset import TrainingField
from model.metrics import Confusion, confusion
from model.simulation.fields import simulate_field

SIDE_PX, PIXEL_SIZE_UM = 1024, 2.5
WINDOW_PX, STRIDE_PX = 96, 8
NEAR = 0.95


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budgets", default="4,8,16,32,64,128", help="processor seconds")
    parser.add_argument("--fields", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    fields = [field(seed) for seed in range(1, options.fields + 1)]
    unseen = [field(seed) for seed in (101, 102, 103)]
    budgets = [float(part) for part in options.budgets.split(",")]
    heads = " | ".join(f"{budget:g} s" for budget in budgets)
    print(f"| mean Jaccard after | {heads} | {NEAR:.0%} of the last after |")
    print("|---|" + "---|" * (len(budgets) + 1))
    arms: Mapping[str, Arm] = {"pmf-CNN": pmf_arm(), "DynUNet": dynunet}
    for name, arm in arms.items():
        scores = []
        for budget in budgets:
            found = []
            for seed in range(options.seeds):
                task = Task(len(CellClass), WINDOW_PX, STRIDE_PX, budget, seed)
                found.append(score(arm(fields, task)[0], unseen))
            scores.append(statistics.median(found))
        near = next(
            budget for budget, one in zip(budgets, scores, strict=True) if one >= NEAR * scores[-1]
        )
        shown = " | ".join(f"{one:.3f}" for one in scores)
        print(f"| {name} | {shown} | {near:g} s |", flush=True)


def field(seed: int) -> TrainingField:
    made = simulate_field(seed, shape=(SIDE_PX, SIDE_PX), pixel_size_um=PIXEL_SIZE_UM)
    return TrainingField(f"{seed}", standardised(made.image), made.labels)


def score(label: Labeller, unseen: list[TrainingField]) -> float:
    """Mean Jaccard index of the classes, pooled over the fields."""
    counts = []
    for one in unseen:
        said = label(np.asarray(one.flat, np.float32)).argmax(axis=0).astype(np.uint8)
        counts.append(confusion(one.labels, said, len(CellClass)).counts)
    return Confusion(np.sum(counts, axis=0)).mean_jaccard


if __name__ == "__main__":
    main()
