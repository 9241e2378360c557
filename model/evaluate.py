"""Measure a model: on a folder of labelled images, or on simulated fields never trained on.

python -m model.evaluate folder DATA [--model FOLDER]
python -m model.evaluate simulated --fields 40 --seed 1000 [--model FOLDER]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.classes import CellClass, has_class
from model.dataset import LabelledImage, read_labelled
from model.labelled_files import DataError
from model.metrics import (
    BoundaryMatches,
    Confusion,
    Reliability,
    bootstrap_interval,
    boundary_matches,
    boundary_tolerance_px,
    class_reliability,
    confusion,
    differentiated_fraction,
    fraction_error,
    has_fraction,
    paired_bootstrap,
    paired_bootstrap_of_jaccard,
    rank_correlation,
    reliability,
    true_fraction,
)
from model.predict import ModelError, Segmentation, Segmenter, load_segmenter
from model.preprocessing import spread_evenly, to_grey
from model.raters import RatedField, RaterAgreement, rated
from model.scale import FindsScale, estimate_scale, segment_as
from model.setups import Setup, by_setup


@dataclass(frozen=True, eq=False)
class FieldScore:
    """One image: its confusion, its differentiated fraction and how unsure the model was.

    tolerance_px : how far an outline may be off and still count as found
    known_share : share of the pixels whose class is known
    """

    name: str
    confusion: Confusion
    boundary: BoundaryMatches
    tolerance_px: float
    true_fraction: float | None
    found_fraction: float | None
    fraction_error: float | None
    uncertainty: float
    known_share: float
    pixel_size_um: float | None
    assumed_pixel_size_um: float | None

    @property
    def pixel_error(self) -> float:
        """Share of the known pixels that are called something else; NaN where none is known."""
        counts = self.confusion.counts
        total = int(counts.sum())
        return 1 - int(np.trace(counts)) / total if total else math.nan

    def to_json(self) -> dict[str, Any]:
        """Plain values; what is undefined is null."""
        return {
            "name": self.name,
            "mean_jaccard": _number(self.confusion.mean_jaccard),
            "jaccard": _by_class(self.confusion.jaccard),
            "boundary_f_score": _number(self.boundary.mean_f_score),
            "pixel_error": _number(self.pixel_error),
            "true_differentiated_fraction": self.true_fraction,
            "differentiated_fraction": self.found_fraction,
            "fraction_error": self.fraction_error,
            "uncertainty": self.uncertainty,
            "known_share": round(self.known_share, 4),
            "pixel_size_um": self.pixel_size_um,
            "assumed_pixel_size_um": self.assumed_pixel_size_um,
        }


Show = Callable[[LabelledImage, Segmentation, FieldScore], None]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A model measured on images.

    Pixels are pooled over the images; the interval is that of the mean Jaccard when images are
    drawn anew (95 %).

    raters : where a second rater labelled some of the images: how far the two agree
    """

    model: str
    model_sha256: str
    fields: tuple[FieldScore, ...]
    reliability: Reliability
    class_reliability: tuple[Reliability, ...]
    raters: RaterAgreement | None = None

    @property
    def boundary(self) -> BoundaryMatches:
        """Border pixels of all images together."""
        first, *more = (one.boundary for one in self.fields)
        return sum(more, first)

    @property
    def uncertainty_tells_error(self) -> float:
        """Rank correlation of uncertainty and share of wrong pixels over the images; NaN for
        fewer than three or where either does not vary."""
        pairs = [
            (one.uncertainty, one.pixel_error)
            for one in self.fields
            if not math.isnan(one.pixel_error)
        ]
        if len(pairs) < 3:
            return math.nan
        unsure, wrong = zip(*pairs, strict=True)
        return rank_correlation(unsure, wrong)

    @property
    def confusion(self) -> Confusion:
        """Counts of all images together."""
        return Confusion(np.sum([one.confusion.counts for one in self.fields], axis=0))

    @property
    def mean_fraction_error(self) -> float | None:
        """Mean absolute error of the differentiated fraction over images with cells."""
        errors = [one.fraction_error for one in self.fields if one.fraction_error is not None]
        return float(np.mean(errors)) if errors else None

    def to_json(self, beside: Evaluation | None = None) -> dict[str, Any]:
        """Everything as plain values; what is undefined is null.

        beside : another model on the same images, to compare with
        """
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
            "expected_calibration_error_by_class": _by_class(
                np.array([one.expected_calibration_error for one in self.class_reliability])
            ),
            "boundary_f_score": _by_class(self.boundary.f_score),
            "mean_boundary_f_score": _number(self.boundary.mean_f_score),
            "uncertainty_tells_error": _number(self.uncertainty_tells_error),
            "confusion": pooled.counts.tolist(),
            "reliability": {
                "confidence": [_number(v) for v in self.reliability.confidence.tolist()],
                "accuracy": [_number(v) for v in self.reliability.accuracy.tolist()],
                "pixels": self.reliability.counts.tolist(),
            },
            "compared": None if beside is None else self.ahead_of(beside),
            "raters": None if self.raters is None else self.raters.to_json(),
            "fields": [one.to_json() for one in self.fields],
        }

    def ahead_of(self, other: Evaluation) -> dict[str, Any]:
        """How far this model is ahead of another on the same images, as plain values.

        Differences are paired by image, with 95 % intervals from drawing the images anew; the
        fraction's is of its errors, so that ahead means nearer.
        Raises ValueError where the two were measured on different images.
        """
        if [one.name for one in self.fields] != [one.name for one in other.fields]:
            raise ValueError("two models can be compared on the same images only")
        ours, theirs = ([one.confusion for one in some.fields] for some in (self, other))
        jaccard, *of_jaccard = paired_bootstrap_of_jaccard(ours, theirs)
        nearer, *of_nearer = paired_bootstrap(
            [
                math.nan
                if ours.fraction_error is None or theirs.fraction_error is None
                else theirs.fraction_error - ours.fraction_error
                for ours, theirs in zip(self.fields, other.fields, strict=True)
            ]
        )
        return {
            "model": {"name": other.model, "sha256": other.model_sha256},
            "mean_jaccard": _number(other.confusion.mean_jaccard),
            "jaccard": _by_class(other.confusion.jaccard),
            "mean_fraction_error": other.mean_fraction_error,
            "mean_jaccard_ahead": _number(jaccard),
            "mean_jaccard_ahead_interval": [_number(value) for value in of_jaccard],
            "fraction_error_ahead": _number(nearer),
            "fraction_error_ahead_interval": [_number(value) for value in of_nearer],
            "fields": [
                {
                    "name": one.name,
                    "pixel_error": _number(one.pixel_error),
                    "differentiated_fraction": one.found_fraction,
                }
                for one in other.fields
            ],
        }


def evaluate(
    segmenter: Segmenter,
    images: Iterable[LabelledImage],
    show: Show | None = None,
    *,
    second_rater: Mapping[str, NDArray[np.uint8]] | None = None,
) -> Evaluation:
    """Segment labelled images and compare.

    images : of a sequence, those without a pixel size that were taken alike get one scale; of
        what comes one by one each is taken for itself
    show : is given each image with what was found in it and its score
    second_rater : image's name -> label map (H, W) of a second rater, of some of the images
    Raises DataError where there is no image.
    """
    fields: list[FieldScore] = []
    both: list[RatedField] = []
    reliable: Reliability | None = None
    by_class: tuple[Reliability, ...] = ()
    assumed = assumed_sizes(segmenter, images) if isinstance(images, Sequence) else {}
    for number, one in enumerate(images):
        if number in assumed:
            found = segment_as(segmenter, one.image, assumed[number], one.inside)
        else:
            found = segmenter.segment(one.image, one.pixel_size_um, inside=one.inside)
        labels, truth = found.labels, one.labels
        planes = spread_evenly(found.probabilities, truth.shape, 0, truth.shape[0])
        part, parts = reliability(truth, planes), class_reliability(truth, planes)
        reliable = part if reliable is None else reliable + part
        by_class = tuple(a + b for a, b in zip(by_class, parts, strict=True)) if by_class else parts
        score = FieldScore(
            one.name,
            confusion(truth, labels),
            boundary_matches(truth, labels),
            boundary_tolerance_px(truth.shape),
            true_fraction(truth),
            differentiated_fraction(labels[has_fraction(truth)]),
            fraction_error(truth, labels),
            found.uncertainty,
            float(has_class(truth).mean()),
            found.pixel_size_um,
            found.assumed_pixel_size_um,
        )
        fields.append(score)
        if second_rater and one.name in second_rater:
            both.append(rated(one.name, truth, second_rater[one.name], labels))
        if show is not None:
            show(one, found, score)
    if reliable is None:
        raise DataError("no image to measure on; give a folder with images/ and labels/")
    raters = None
    if both:
        rated_by_both = {one.name for one in both}
        alone = tuple(one.name for one in fields if one.name not in rated_by_both)
        raters = RaterAgreement(tuple(both), alone)
    return Evaluation(segmenter.name, segmenter.sha256, tuple(fields), reliable, by_class, raters)


def assumed_sizes(segmenter: Segmenter, images: Sequence[LabelledImage]) -> dict[int, float]:
    """um/px to assume, by the number of the image, for those without a pixel size: one for all
    that were taken alike. Of none where the model goes by a size of its own, or cannot tell."""
    if not isinstance(segmenter, FindsScale) or segmenter.assumed_pixel_size_um is not None:
        return {}
    without = [number for number, one in enumerate(images) if one.pixel_size_um is None]
    setups = [Setup.of(images[number].name, images[number].labels.shape) for number in without]
    found: dict[int, float] = {}
    for held in by_setup(setups):
        numbers = [without[place] for place in held]
        evidence = [
            segmenter.scale_evidence(to_grey(images[number].image), images[number].inside)
            for number in numbers
        ]
        found |= dict.fromkeys(numbers, estimate_scale(evidence).um)
    return found


def evaluate_folder(segmenter: Segmenter, data: Path, show: Show | None = None) -> Evaluation:
    """`evaluate` over a folder of images/ and labels/. Raises DataError."""
    return evaluate(segmenter, read_labelled(data, least_classes=1).images, show)


def evaluate_simulated(segmenter: Segmenter, fields: int, seed: int) -> Evaluation:
    """`evaluate` over simulated fields of the seeds from ``seed`` on."""
    from model.simulation.labelled import simulated

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
        segmenter = load_segmenter(wanted.model, threads=wanted.threads)
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
