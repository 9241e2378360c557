"""Draws docs/pictures/doubt.png: what is gained by leaving out what is in doubt.

python docs/pictures/draw_doubt.py [MODEL]
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from model.checkpoint import read_manifest
from model.predict import STARTER

HERE = Path(__file__).parent
NAMES = {"real": "real fields", "simulated": "simulated fields"}


def draw(curves: Mapping[str, Sequence[Sequence[float]]], path: Path) -> None:
    """curves : by family, (share of the images kept, mean error of their fractions)"""
    figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
    for family, points in curves.items():
        if points:
            shares, risks = zip(*points, strict=True)
            label = f"{NAMES.get(family, family)} ({len(points)})"
            axes.plot(shares, risks, drawstyle="steps-post", label=label)
    axes.set(xlim=(0, 1), ylim=(0, None))
    axes.set_xlabel("share of the images kept, the surest first")
    axes.set_ylabel("mean error of the\ndifferentiated fraction")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=130)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else STARTER
    curves = read_manifest(folder).scores.get("doubt_curves")
    if not curves:
        raise SystemExit(f"{folder}: has no curves; see python -m model.starter --calibrate")
    draw(curves, HERE / "doubt.png")


if __name__ == "__main__":
    main()
