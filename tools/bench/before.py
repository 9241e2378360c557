"""The build of a former commit and this one, side by side: ratios of what each costs.

    make bench-before
    make bench-before FORMER=7586752 BENCH="--rounds 5 --only network,field"
    python -m tools.bench.before FOLDER_OF_THE_FORMER_BUILD --python ITS_PYTHON

Both are installed from their own constraints, get the same inputs and take turns. All figures but
those of memory are processor time (user's and system's, of a call and all that it started), on one
thread: what else runs on the machine matters less. Rows are in FIGURES: a name, the bar, and a
function from a build and the inputs to a number.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Final

HERE = Path(__file__).resolve().parents[2]
PARTS = Path(__file__).with_name("before_parts.py")
SIDE_PX = 1024
UM_PER_PIXEL = 2.5
SMALL, SMALL_PX = 800, 96
FEW = 5
BEGAN = datetime(2026, 1, 5, 6, tzinfo=UTC)


@dataclass(frozen=True)
class Build:
    """A checkout with the interpreter that has what it needs."""

    folder: Path
    python: Path

    def call(self, *words: str | Path) -> tuple[str, float, float]:
        """Standard output, processor time in s, and peak memory in MB of one call.

        Ends the program where the call fails.
        """
        with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as told:
            call = subprocess.Popen(
                [self.python, *map(str, words)],
                cwd=tempfile.gettempdir(),
                env=os.environ | {"PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1"},
                stdout=said,
                stderr=told,
                text=True,
            )
            _, status, used = os.wait4(call.pid, 0)
            call.returncode = os.waitstatus_to_exitcode(status)
            said.seek(0)
            told.seek(0)
            if call.returncode:
                sys.exit(
                    f"{self.folder}: {' '.join(map(str, words))} ended with {call.returncode}:\n"
                    + told.read()[-2000:]
                )
            return said.read(), used.ru_utime + used.ru_stime, used.ru_maxrss / 1024

    def part(self, name: str, *files: Path) -> dict[str, Any]:
        """What a part of `before_parts.py` found."""
        found: dict[str, Any] = json.loads(self.call(PARTS, name, *files)[0].splitlines()[-1])
        return found

    def process_s(self, captures: Path, config: Path | None = None) -> float:
        """Processor time of `process` over a folder, on a record of its own."""
        with tempfile.TemporaryDirectory(prefix="colonywatch-before-") as state:
            settings: list[str | Path] = ["--config", config] if config else []
            if self.folder == HERE:
                settings += ["--runner", os.environ.get("BENCH_RUNNER", "auto")]
            words = ["-m", "monitor", "process", captures, "--state", state, "--json", *settings]
            return self.call(*words)[1]


class Inputs:
    """What both builds are given. Made by this build, once, where a figure asks for it."""

    def __init__(self, folder: Path, data: Path) -> None:
        self._folder, self._data = folder, data

    @cached_property
    def picture(self) -> Path:
        """A field of a megapixel as the network sees it."""
        import numpy as np

        field = _field(SIDE_PX, seed=1).astype(np.float32)
        path = self._folder / "picture.npy"
        np.save(path, (field - field.mean()) / field.std())
        return path

    @cached_property
    def capture(self) -> Path:
        return self._captures("one", 1, SIDE_PX) / _name(0)

    @cached_property
    def few(self) -> Path:
        """Captures of a megapixel, each of a dish of its own."""
        return self._captures("few", FEW, SIDE_PX)

    @cached_property
    def few_without_size(self) -> Path:
        return self._captures("few-without-size", FEW, SIDE_PX, sized=False)

    @cached_property
    def small(self) -> Path:
        return self._captures("small", SMALL, SMALL_PX)

    @cached_property
    def nothing(self) -> Path:
        """One small capture: what a call costs before it does anything."""
        return self._captures("nothing", 1, SMALL_PX)

    @cached_property
    def six_wells(self) -> Path | None:
        """The real fields of a plate imager, where they are at hand."""
        folder = self._data / "incubator_6well"
        return folder if folder.is_dir() else None

    def _captures(self, name: str, number: int, side: int, *, sized: bool = True) -> Path:
        import tifffile

        folder = self._folder / name
        folder.mkdir()
        drawn = _field(side, seed=1)
        for place in range(number):
            image = drawn.copy()
            image[0, :4] = [place >> shift & 15 for shift in (0, 4, 8, 12)]  # no two are the same
            known = {"axes": "YX"} | (
                {
                    "PhysicalSizeX": UM_PER_PIXEL,
                    "PhysicalSizeXUnit": "µm",
                    "PhysicalSizeY": UM_PER_PIXEL,
                    "PhysicalSizeYUnit": "µm",
                }
                if sized
                else {}
            )
            tifffile.imwrite(folder / _name(place), image, ome=True, metadata=known)
        return folder


def _field(side: int, seed: int) -> Any:
    from model.simulation.fields import simulate_field

    return simulate_field(seed, shape=(side, side), pixel_size_um=UM_PER_PIXEL).image


def _name(place: int) -> str:
    return f"dish-{place:04}_{BEGAN + timedelta(seconds=place):%Y%m%dT%H%M%SZ}.ome.tif"


@dataclass(frozen=True)
class Figure:
    """A row of the table.

    measure : what a build costs with these inputs; None where an input is not at hand
    bar, goal : of the ratio to the former build
    unit : of what `measure` gives
    """

    name: str
    measure: Callable[[Build, Inputs], float | None]
    bar: str
    goal: str
    unit: str = "s"


def _small(build: Build, inputs: Inputs) -> float:
    return (build.process_s(inputs.small) - build.process_s(inputs.nothing)) / (SMALL - 1) * 1000


def _few(build: Build, inputs: Inputs) -> float:
    return (build.process_s(inputs.few) - build.process_s(inputs.nothing)) / FEW * 1000


def _without_size(build: Build, inputs: Inputs) -> float:
    start = build.process_s(inputs.nothing)
    with_it, without = (
        build.process_s(folder) - start for folder in (inputs.few, inputs.few_without_size)
    )
    return without / with_it


def _six_wells(build: Build, inputs: Inputs) -> float | None:
    return None if inputs.six_wells is None else build.process_s(inputs.six_wells)


FIGURES: Final[dict[str, Figure]] = {
    "field": Figure(
        "one field of a megapixel, file to areas, label map, overlay",
        lambda build, inputs: float(build.part("field", inputs.capture)["seconds"]),
        "0.45; 0.65 without AMX and AVX512-BF16",
        "0.3",
    ),
    "network": Figure(
        "the network alone",
        lambda build, inputs: float(build.part("network", inputs.picture)["seconds"]),
        "0.25 with AMX, 0.6 with AVX512-BF16, 0.85 else",
        "0.15",
    ),
    "capture": Figure(
        "a capture of a megapixel, `process`, file to reading",
        _few,
        "0.5",
        "0.35",
        "ms",
    ),
    "small": Figure(
        f"a small capture ({SMALL_PX} pixels) of {SMALL}, each of a dish of its own, `process`",
        _small,
        "0.4",
        "0.15",
        "ms",
    ),
    "without-size": Figure(
        "a capture without a known pixel size, times one with it",
        _without_size,
        "1.1 times",
        "1",
        "times",
    ),
    "six-wells": Figure("`process` over the fields of incubator_6well", _six_wells, "0.5", "0.35"),
    "memory": Figure(
        "peak memory: field",
        lambda build, inputs: float(build.part("field", inputs.capture)["peak_mb"]),
        "400 MB",
        "",
        "MB",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("former", type=Path, help="folder of the former build's checkout")
    parser.add_argument("--python", type=Path, help="its interpreter; default: .venv in it")
    parser.add_argument("--runner", default="auto", help="of this build, as compute.runner")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(FIGURES), help="with commas between them")
    default = os.environ.get("COLONYWATCH_DATA", str(HERE.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default), help="folder with real fields")
    options = parser.parse_args()
    os.environ["BENCH_RUNNER"] = options.runner
    wanted = options.only.split(",")
    unknown = [name for name in wanted if name not in FIGURES]
    if unknown:
        parser.error(f"{', '.join(unknown)}: no such figure; known: {', '.join(FIGURES)}")
    former = Build(
        options.former.resolve(),
        (options.python or options.former / ".venv" / "bin" / "python").absolute(),
    )
    if not (former.folder / "monitor" / "__main__.py").is_file():
        parser.error(f"{options.former}: holds no monitor/__main__.py; give a checkout's folder")
    if not former.python.is_file():
        parser.error(f"{former.python}: is no interpreter; run make bench-before, or give --python")
    builds = (former, Build(HERE, Path(sys.executable)))
    folder = Path(tempfile.mkdtemp(prefix="colonywatch-before-"))
    inputs = Inputs(folder, options.data)
    try:
        print("| figure | former build | this build | ratio | bar | goal |")
        print("|---|---|---|---|---|---|")
        for name in wanted:
            row = _row(FIGURES[name], builds, inputs, options.rounds)
            print(row, flush=True)
    finally:
        shutil.rmtree(folder)
    print(f"\nThe network's arithmetic here: {_runner(builds[1])}.")


def _row(figure: Figure, builds: tuple[Build, Build], inputs: Inputs, rounds: int) -> str:
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for build, values in zip(builds, found, strict=True):
            one = figure.measure(build, inputs)
            if one is None:
                return f"| {figure.name} | not at hand | | | {figure.bar} | {figure.goal} |"
            values.append(one)
    before, now = (statistics.median(values) for values in found)
    ratio = statistics.median(new / old for old, new in zip(*found, strict=True))
    told = [f"{value:.3g} {figure.unit}" for value in (before, now)]
    return f"| {figure.name} | {told[0]} | {told[1]} | {ratio:.2f} | {figure.bar} | {figure.goal} |"


def _runner(build: Build) -> str:
    words = (
        "from monitor.segmentation.measuring import load_segmenter; "
        f"print(load_segmenter('starter', 1, {os.environ['BENCH_RUNNER']!r}).runner)"
    )
    return build.call("-c", words)[0].strip()


if __name__ == "__main__":
    main()
