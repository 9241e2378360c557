"""Measure a model: on a folder of labelled images, or on simulated fields never trained on.

python -m model.evaluate folder DATA [--model FOLDER]
python -m model.evaluate simulated --fields 40 --seed 1000 [--model FOLDER]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.checkpoint import ModelError
from model.classes import CellClass
from model.dataset import DataError, LabelledImage, read_folder
from model.metrics import (
    Confusion,
    Reliability,
    bootstrap_interval,
    confusion,
    differentiated_fraction,
    fraction_error,
    reliability,
)
from model.predict import Segmenter, spread_evenly

Show = Callable[[LabelledImage, NDArray[np.uint8]], None]


@dataclass(frozen=True, eq=False)
class FieldScore:
    """One image: its confusion, its differentiated fraction and how unsure the model was."""

    name: str
    confusion: Confusion
    true_fraction: float | None
    found_fraction: float | None
    fraction_error: float | None
    uncertainty: float


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A model measured on images.

    Pixels are pooled over the images; the interval is that of the mean Jaccard when images are
    drawn anew (95 %).
    """

    model: str
    model_sha256: str
    fields: tuple[FieldScore, ...]
    reliability: Reliability

    @property
    def confusion(self) -> Confusion:
        """Counts of all images together."""
        return Confusion(np.sum([one.confusion.counts for one in self.fields], axis=0))

    @property
    def mean_fraction_error(self) -> float | None:
        """Mean absolute error of the differentiated fraction over images with cells."""
        errors = [one.fraction_error for one in self.fields if one.fraction_error is not None]
        return float(np.mean(errors)) if errors else None

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values; what is undefined is null."""
        pooled = self.confusion
        low, high = bootstrap_interval([one.confusion for one in self.fields])
        return {
            "model": {"name": self.model, "sha256": self.model_sha256},
            "images": len(self.fields),
            "mean_jaccard": _number(pooled.mean_jaccard),
            "mean_jaccard_interval": [_number(low), _number(high)],
            "jaccard": _by_class(pooled.jaccard),
            "dice": _by_class(pooled.dice),
            "precision": _by_class(pooled.precision),
            "recall": _by_class(pooled.recall),
            "mean_fraction_error": self.mean_fraction_error,
            "expected_calibration_error": _number(self.reliability.expected_calibration_error),
            "confusion": pooled.counts.tolist(),
            "fields": [
                {
                    "name": one.name,
                    "mean_jaccard": _number(one.confusion.mean_jaccard),
                    "true_differentiated_fraction": one.true_fraction,
                    "differentiated_fraction": one.found_fraction,
                    "fraction_error": one.fraction_error,
                    "uncertainty": one.uncertainty,
                }
                for one in self.fields
            ],
        }


def evaluate(
    segmenter: Segmenter, images: Iterable[LabelledImage], show: Show | None = None
) -> Evaluation:
    """Segment labelled images and compare.

    show : is given each image with the labels found for it
    Raises DataError where there is no image.
    """
    fields: list[FieldScore] = []
    reliable: Reliability | None = None
    for one in images:
        found = segmenter.segment(one.image, one.pixel_size_um, inside=one.inside)
        shape = one.labels.shape
        planes = spread_evenly(found.probabilities, shape, 0, shape[0])
        part = reliability(one.labels, planes)
        reliable = part if reliable is None else reliable + part
        known = one.labels != 255
        fields.append(
            FieldScore(
                one.name,
                confusion(one.labels, found.labels),
                differentiated_fraction(one.labels[known]),
                differentiated_fraction(found.labels[known]),
                fraction_error(one.labels, found.labels),
                found.uncertainty,
            )
        )
        if show is not None:
            show(one, found.labels)
    if reliable is None:
        raise DataError("no image to measure on; give a folder with images/ and labels/")
    return Evaluation(segmenter.name, segmenter.sha256, tuple(fields), reliable)


def evaluate_folder(segmenter: Segmenter, data: Path, show: Show | None = None) -> Evaluation:
    """`evaluate` over a folder of images/ and labels/. Raises DataError."""
    return evaluate(segmenter, read_folder(data), show)


def evaluate_simulated(segmenter: Segmenter, fields: int, seed: int) -> Evaluation:
    """`evaluate` over simulated fields of the seeds from ``seed`` on."""
    from model.starter import simulated

    return evaluate(segmenter, (simulated(seed + i) for i in range(fields)))


def _by_class(values: NDArray[np.float64]) -> dict[str, float | None]:
    return {c.name.lower(): _number(float(values[int(c)])) for c in CellClass}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def main() -> None:
    """Command line of `python -m model.evaluate`."""
    parser = argparse.ArgumentParser(prog="python -m model.evaluate", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    folder = commands.add_parser("folder", help="a folder of images/ and labels/")
    folder.add_argument("data", type=Path)
    drawn = commands.add_parser("simulated", help="simulated fields never trained on")
    drawn.add_argument("--fields", type=int, default=40)
    drawn.add_argument("--seed", type=int, default=1000)
    for one in (folder, drawn):
        one.add_argument("--model", type=Path, help="folder of the model; the starter by default")
        one.add_argument("--threads", type=int)
    wanted = parser.parse_args()
    try:
        segmenter = Segmenter.load(wanted.model, threads=wanted.threads)
        if wanted.what == "folder":
            result = evaluate_folder(segmenter, wanted.data)
        else:
            result = evaluate_simulated(segmenter, wanted.fields, wanted.seed)
    except (DataError, ModelError) as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(1) from None
    sys.stdout.write(json.dumps(result.to_json(), indent=2) + "\n")


if __name__ == "__main__":
    main()
