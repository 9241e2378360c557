"""The runs of the comparison: which arm learns from what, and what came out, kept run by run.

Each run is one file; what is there is not run again, so a comparison can be stopped and gone on
with at any time, and extended by asking for more.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from time import process_time
from typing import Any, Final

import numpy as np
import torch

from model.comparison.arms import ARMS, Arm, Task
from model.comparison.outside import dynunet, random_forest
from model.comparison.sets import SETS, ComparisonSet, known
from model.metrics import boundary_matches, confusion, reliability

OUTSIDE: Final[dict[str, Arm]] = {"dynunet": dynunet, "random-forest": random_forest}
"""Arms that have no window."""

ALL_ARMS: Final[dict[str, Arm]] = ARMS | OUTSIDE
FORMAT: Final = 1


@dataclass(frozen=True, order=True)
class Run:
    """One arm on one set.

    images : to learn from; 0 for all
    window_px : at the set's working scale; 0 for arms without a window
    cpu_s : processor time for learning
    """

    set_name: str
    arm: str
    images: int
    window_px: int
    seed: int
    cpu_s: float

    @property
    def key(self) -> str:
        """Name of the run's file."""
        return (
            f"{self.set_name}_{self.arm}_n{self.images}_w{self.window_px}"
            f"_t{self.cpu_s:g}_s{self.seed}"
        )


def planned(
    sets: Iterable[str],
    arms: Iterable[str],
    *,
    images: Iterable[int],
    windows_px: Iterable[int],
    seeds: int,
    cpu_s: float,
) -> list[Run]:
    """Every combination; seed by seed, so that an early stop leaves whole comparisons."""
    return [
        Run(set_name, arm, count, window, seed, cpu_s)
        for seed in range(seeds)
        for set_name in sets
        for count in images
        for arm in arms
        for window in ([0] if arm in OUTSIDE else windows_px)
    ]


METHOD_PARTS: Final = ("glands", "spread_cells", "textures", "super1", "super2", "super3", "super4")
CELL_PARTS: Final = ("hipsc_phase", "ips_fields-1", "ips_fields-2", "ips_fields-3")
"""All their images are learnt from: there are two to seven."""
AS_STARTER: Final = ("simulated_to_ips", "simulated_to_hipsc", "simulated")
"""Learnt from simulation at the shipped model's window, for longer."""

LEADING: Final = ("patch", "fcn", "pyramid")
SEEDS: Final = 3
CPU_S: Final = 25.0
LONG_S: Final = 120.0


def full_form() -> list[Run]:
    """What docs/accuracy.md tells of, the most telling first.

    Not every combination: with few images, and by their number, only the arms in front and their
    rivals; single grids, and windows learnt one by one, at one window.
    """
    everyone = (*LEADING, "pmf", *OUTSIDE)
    grids = ("pmf-coarse", "pmf-half", "pmf-fine")
    by_pixels = ("glands", "spread_cells", "textures")
    windows, usual = (48, 64, 96), (64,)
    parts = (
        (METHOD_PARTS, everyone, (10,), windows, SEEDS, CPU_S),
        (AS_STARTER, (*LEADING, "pmf"), (0,), (128,), SEEDS, LONG_S),
        (METHOD_PARTS, LEADING, (1,), windows, SEEDS, CPU_S),
        (CELL_PARTS, everyone, (0,), usual, SEEDS, CPU_S),
        (by_pixels, LEADING, (2, 5, 0), usual, SEEDS, CPU_S),
        (("glands", "spread_cells"), (*LEADING, *OUTSIDE), (10,), usual, SEEDS, LONG_S),
        (METHOD_PARTS, grids, (10,), usual, 1, CPU_S),
        (("glands", "spread_cells"), ("patch-alone", "pmf-alone"), (10,), usual, 1, CPU_S),
    )
    runs = [
        run
        for sets, arms, images, windows_px, seeds, cpu_s in parts
        for run in planned(
            sets, arms, images=images, windows_px=windows_px, seeds=seeds, cpu_s=cpu_s
        )
    ]
    return list(dict.fromkeys(runs))


def carry_out(run: Run, data: Path) -> dict[str, Any]:
    """Learn, label the test images and score them.

    Raises FileNotFoundError where the set is missing, ImportError where an outside arm is.
    """
    torch.set_num_threads(1)
    chosen = SETS[run.set_name](data)
    task = Task(
        classes=len(chosen.classes),
        window_px=run.window_px,
        stride_px=chosen.stride_px,
        cpu_s=run.cpu_s,
        seed=run.seed,
    )
    began = process_time()
    label, steps = ALL_ARMS[run.arm](chosen.first(run.images or None, run.seed), task)
    learnt = process_time()
    scored = [_score(chosen, label, number) for number in range(len(chosen.test))]
    return {
        "format": FORMAT,
        "run": asdict(run),
        "classes": list(chosen.classes),
        "steps": steps,
        "learning_cpu_s": round(learnt - began, 2),
        "fields": [one for one, _ in scored],
        "labelling_s_per_megapixel": round(
            sum(spent for _, spent in scored)
            / sum(field.labels.size / 1e6 for field in chosen.test),
            3,
        ),
    }


def _score(chosen: ComparisonSet, label: Any, number: int) -> tuple[dict[str, Any], float]:
    field = chosen.test[number]
    began = process_time()
    probabilities = label(np.asarray(field.flat, dtype=np.float32))
    spent = process_time() - began
    said = probabilities.argmax(axis=0).astype(np.uint8)
    classes = len(chosen.classes)
    counts = confusion(field.labels, said, classes).counts
    borders = boundary_matches(field.labels, said, classes=classes)
    sure = reliability(field.labels, probabilities)
    there = known(field.labels)
    among = list(chosen.among)
    total = probabilities[:, there].sum(axis=1, dtype=np.float64)
    return {
        "name": field.name,
        "confusion": counts.tolist(),
        "borders": [
            part.tolist()
            for part in (borders.said, borders.said_right, borders.true, borders.found)
        ],
        "true_share": _share(counts.sum(axis=1)[among], chosen),
        "said_share": _share(counts.sum(axis=0)[among], chosen),
        "mean_share": _share(total[among], chosen),
        "reliability": [
            sure.counts.tolist(),
            [round(float(value), 3) for value in sure.confidence_sum],
            sure.right.tolist(),
        ],
    }, spent


def _share(areas: Any, chosen: ComparisonSet) -> float | None:
    total = float(sum(areas))
    if not total:
        return None
    return round(float(areas[chosen.among.index(chosen.fraction_of)]) / total, 6)


def go_through(
    runs: Sequence[Run],
    data: Path,
    folder: Path,
    *,
    workers: int,
    tell: Callable[[str], None],
) -> dict[str, str]:
    """Carry out what is not yet in the folder. Returns what could not be run, and why."""
    folder.mkdir(parents=True, exist_ok=True)
    missing: dict[str, str] = {}
    waiting = []
    for run in runs:
        if not (folder / f"{run.key}.json").exists():
            waiting.append(run)
    tell(f"{len(runs)} runs, {len(runs) - len(waiting)} of them done before")
    os.environ["OMP_NUM_THREADS"] = "1"  # a worker is one thread: processor time is what counts
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        under_way = {pool.submit(carry_out, run, data): run for run in waiting}
        for number, future in enumerate(as_completed(under_way), start=1):
            run = under_way[future]
            try:
                result = future.result()
            except (FileNotFoundError, ImportError) as problem:
                missing[f"{run.set_name} {run.arm}"] = str(problem)
                continue
            _keep(result, folder, run.key)
            tell(f"{number}/{len(waiting)} {run.key} steps={result['steps']}")
    return missing


def _keep(result: dict[str, Any], folder: Path, key: str) -> None:
    part = folder / f".{key}.part"
    part.write_text(json.dumps(result), encoding="utf-8")
    part.replace(folder / f"{key}.json")


def unpack(gathered: Path, folder: Path) -> None:
    """Lay the runs of a file that gathers them into a folder, where they are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for result in read_results(gathered):
        key = Run(**result["run"]).key
        if not (folder / f"{key}.json").exists():
            _keep(result, folder, key)


def read_results(folder: Path) -> list[dict[str, Any]]:
    """All results of a folder, or of one file that gathers them."""
    if folder.is_file():
        return list(json.loads(folder.read_text(encoding="utf-8")))
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
