"""How time and memory grow with a picture: mosaics of 1 to 400 megapixels, through the commands.

    python -m tools.bench.mosaics
    python -m tools.bench.mosaics --megapixels 1,4,16 --pixel-size-um 2.5

Prints a table for docs/performance.md. Each picture is a tiled TIFF of simulated fields. Processor
time is of the program and all its processes; the peak is of the largest of them.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile

from model.simulation.fields import simulate_field

TILE = 512
FIELDS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megapixels", default="1,4,16,64,400")
    parser.add_argument("--pixel-size-um", type=float, default=1.75, help="35 mm in 20,000 pixels")
    parser.add_argument("--commands", default="segment,process")
    options = parser.parse_args()
    print("| megapixels | command | seconds | processor s | processor s a megapixel | peak, MB |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="colonywatch-mosaics-") as name:
        for megapixels in (float(part) for part in options.megapixels.split(",")):
            side = round(math.sqrt(megapixels * 1e6))
            folder = Path(name) / f"{side}"
            folder.mkdir()
            image = folder / "dish-01_20260105T060000Z.tif"
            write_mosaic(image, side, options.pixel_size_um)
            for command in options.commands.split(","):
                took_s, used_s, peak_mb = run(command, image, options.pixel_size_um)
                print(
                    f"| {megapixels:g} | `{command}` | {took_s:.1f} | {used_s:.1f} | "
                    f"{used_s / megapixels:.3f} | {peak_mb:.0f} |",
                    flush=True,
                )
            image.unlink()


def write_mosaic(path: Path, side: int, pixel_size_um: float) -> None:
    """Simulated fields laid beside each other, turned at random; never whole in memory."""
    cut = 4 * TILE
    fields = [
        simulate_field(seed, shape=(cut, cut), pixel_size_um=pixel_size_um).image.astype(np.uint8)
        for seed in range(1, FIELDS + 1)
    ]
    chance = np.random.default_rng(0)
    tiles_a_side = -(-side // TILE)
    places = -(-tiles_a_side // 4)
    which = chance.integers(FIELDS, size=(places, places))
    turns = chance.integers(4, size=(places, places))

    def tiles() -> Iterator[np.ndarray]:
        for row in range(tiles_a_side):
            for column in range(tiles_a_side):
                place = row // 4, column // 4
                field = np.rot90(fields[which[place]], turns[place])
                top, left = row % 4 * TILE, column % 4 * TILE
                yield np.ascontiguousarray(field[top : top + TILE, left : left + TILE])

    with tifffile.TiffWriter(path) as writer:
        writer.write(
            tiles(),
            shape=(side, side),
            dtype=np.uint8,
            tile=(TILE, TILE),
            photometric="minisblack",
        )


def run(command: str, image: Path, pixel_size_um: float) -> tuple[float, float, float]:
    """Seconds, processor seconds and peak MB of a command on one picture."""
    folder = image.parent
    config = folder / "config.yaml"
    config.write_text(f"unlisted:\n  pixel_size_um: {pixel_size_um}\n", encoding="utf-8")
    given = [str(image), "--config", str(config), "--state", str(folder / f"state-{command}")]
    if command == "segment":
        given += ["--out", str(folder / "out")]
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "monitor", command, *given, "--json"], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    took_s = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{command} ended with {process.returncode}")
    return took_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
