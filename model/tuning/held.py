"""What a network says of fields that it did not learn from, at the working scale."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from model.checkpoint import Manifest, Model
from model.classes import CellClass, has_class
from model.dataset import TrainingField
from model.metrics import Confusion, Reliability, confusion, fraction_error, reliability
from model.network import PmfCNN
from model.pmf_segmenter import PmfSegmenter
from model.preprocessing import bend, spread_evenly
from model.segmentation import label_map


@dataclass(frozen=True, eq=False)
class Held:
    """What networks said of the fields held out from each of them, pooled.

    fraction_errors : of the fields with cells
    """

    confusion: Confusion
    reliability: Reliability
    surprise: float
    fraction_errors: tuple[float, ...]

    @property
    def mean_fraction_error(self) -> float:
        """NaN where no field has cells."""
        return statistics.fmean(self.fraction_errors) if self.fraction_errors else math.nan

    def to_json(self) -> dict[str, Any]:
        """Plain values; what is undefined is null."""
        return {
            "mean_jaccard": _plain(self.confusion.mean_jaccard),
            "jaccard": {
                c.name.lower(): _plain(float(self.confusion.jaccard[int(c)])) for c in CellClass
            },
            "mean_fraction_error": _plain(self.mean_fraction_error),
            "expected_calibration_error": _plain(self.reliability.expected_calibration_error),
        }


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def measure_each(network: PmfCNN, manifest: Manifest, held: Sequence[TrainingField]) -> list[Held]:
    """Field by field."""
    segmenter = PmfSegmenter(Model(network, manifest))
    parts = []
    for one in held:
        found = segmenter.probabilities(bend(np.asarray(one.flat, dtype=np.float32)))
        shape = cast(tuple[int, int], one.labels.shape)
        labels = label_map(found, shape)
        planes = spread_evenly(found, shape, 0, shape[0])
        error = fraction_error(one.labels, labels)
        parts.append(
            Held(
                confusion(one.labels, labels),
                reliability(one.labels, planes),
                _surprise(one.labels, planes),
                () if error is None else (error,),
            )
        )
    return parts


def measure(network: PmfCNN, manifest: Manifest, held: Sequence[TrainingField]) -> Held:
    """All fields together. held : at least one"""
    return pooled(measure_each(network, manifest, held))


def pooled(parts: Sequence[Held]) -> Held:
    """Counts of several together."""
    return Held(
        sum((one.confusion for one in parts[1:]), parts[0].confusion),
        sum((one.reliability for one in parts[1:]), parts[0].reliability),
        sum(one.surprise for one in parts),
        tuple(error for one in parts for error in one.fraction_errors),
    )


def _surprise(truth: NDArray[np.uint8], planes: NDArray[np.float32]) -> float:
    """Sum of -log of the probability given to the true class, over the known pixels."""
    known = has_class(truth)
    said = np.take_along_axis(planes[:, known], truth[known][None].astype(np.intp), axis=0)
    return float(-np.log(np.maximum(said, 1e-4)).sum())


def score_of(network: PmfCNN, manifest: Manifest, held: Sequence[TrainingField]) -> float | None:
    """Mean Jaccard of the fields together; None where there are none."""
    if not held:
        return None
    return measure(network, manifest, held).confusion.mean_jaccard
