"""How good a segmentation is: measures over pixels whose class is known.

Everything comes from one confusion matrix, counted over all test pixels together. The intersection
and the union of a class are taken from the same matrix, so that a map of nothing but background
cannot score well by its background.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.classes import UNKNOWN, CellClass
from model.pmf import CLASSES


@dataclass(frozen=True, eq=False)
class Confusion:
    """counts : (C, C) int64, true class by predicted class."""

    counts: NDArray[np.int64]

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(self.counts + other.counts)

    @property
    def jaccard(self) -> NDArray[np.float64]:
        """(C,) intersection over union; NaN for a class that is neither there nor predicted."""
        hit, true, said = self._parts()
        return _ratio(hit, true + said - hit)

    @property
    def mean_jaccard(self) -> float:
        """Mean over the classes that occur in truth or prediction."""
        return _mean(self.jaccard)

    @property
    def dice(self) -> NDArray[np.float64]:
        """(C,) twice the intersection over the sum of the areas."""
        hit, true, said = self._parts()
        return _ratio(2 * hit, true + said)

    @property
    def precision(self) -> NDArray[np.float64]:
        """(C,) share of the predicted area that is right; NaN where nothing was predicted."""
        hit, _, said = self._parts()
        return _ratio(hit, said)

    @property
    def recall(self) -> NDArray[np.float64]:
        """(C,) share of the true area that was found; NaN where there is none."""
        hit, true, _ = self._parts()
        return _ratio(hit, true)

    def _parts(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        return np.diag(self.counts), self.counts.sum(axis=1), self.counts.sum(axis=0)


def confusion(truth: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Confusion:
    """Counts of pixels whose true class is known.

    truth, labels : same shape, classes or 255; where the truth is known but the prediction is 255
        (outside the vessel) nothing was said, and the pixel is not counted
    Raises ValueError for shapes that differ.
    """
    if truth.shape != labels.shape:
        raise ValueError(f"truth is {truth.shape}, prediction {labels.shape}: they must be equal")
    known = (truth != UNKNOWN) & (labels != UNKNOWN)
    index = truth[known].astype(np.int64) * CLASSES + labels[known]
    return Confusion(np.bincount(index, minlength=CLASSES**2).reshape(CLASSES, CLASSES))


def differentiated_fraction(labels: NDArray[np.uint8]) -> float | None:
    """Differentiated over all cell area; None where there are no cells."""
    differentiated = int(np.count_nonzero(labels == CellClass.DIFFERENTIATED))
    cells = differentiated + int(np.count_nonzero(labels == CellClass.UNDIFFERENTIATED))
    return differentiated / cells if cells else None


def fraction_error(truth: NDArray[np.uint8], labels: NDArray[np.uint8]) -> float | None:
    """Absolute error of the differentiated fraction over the known pixels.

    None where the truth holds no cells; a fraction that is undefined counts as 0 there.
    """
    known = truth != UNKNOWN
    true = differentiated_fraction(truth[known])
    if true is None:
        return None
    return abs((differentiated_fraction(labels[known]) or 0.0) - true)


@dataclass(frozen=True, eq=False)
class Reliability:
    """How often a probability is right, by size of the probability.

    counts, confidence, accuracy : (bins,) of pixels whose winning probability falls in the bin
    """

    counts: NDArray[np.int64]
    confidence_sum: NDArray[np.float64]
    right: NDArray[np.int64]

    def __add__(self, other: Reliability) -> Reliability:
        return Reliability(
            self.counts + other.counts,
            self.confidence_sum + other.confidence_sum,
            self.right + other.right,
        )

    @property
    def expected_calibration_error(self) -> float:
        """Mean difference of confidence and accuracy, bins weighted by pixels; NaN for none."""
        total = int(self.counts.sum())
        if not total:
            return float("nan")
        return float(np.abs(self.confidence_sum - self.right).sum() / total)


def reliability(
    truth: NDArray[np.uint8], probabilities: NDArray[np.float32], bins: int = 15
) -> Reliability:
    """Confidence against accuracy.

    truth : (H, W) uint8, classes or 255
    probabilities : (C, H, W) float32
    """
    known = truth != UNKNOWN
    values = probabilities[:, known]
    confidence = values.max(axis=0).astype(np.float64)
    right = values.argmax(axis=0) == truth[known]
    place = np.clip((confidence * bins).astype(np.int64), 0, bins - 1)
    return Reliability(
        np.bincount(place, minlength=bins),
        np.bincount(place, weights=confidence, minlength=bins).astype(np.float64),
        np.bincount(place, weights=right, minlength=bins).astype(np.int64),
    )


def bootstrap_interval(
    confusions: Sequence[Confusion], *, seed: int = 0, rounds: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """Interval of the pooled mean Jaccard when images are drawn anew with replacement."""
    if not confusions:
        return float("nan"), float("nan")
    chance = np.random.default_rng(seed)
    stack = np.stack([one.counts for one in confusions])
    scores = [
        Confusion(stack[chance.integers(0, len(stack), len(stack))].sum(axis=0)).mean_jaccard
        for _ in range(rounds)
    ]
    low, high = np.nanquantile(scores, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _ratio(above: NDArray[Any], below: NDArray[Any]) -> NDArray[np.float64]:
    result = np.full(above.shape, np.nan)
    np.divide(above, below, out=result, where=below > 0)
    return result


def _mean(values: NDArray[np.float64]) -> float:
    there = values[~np.isnan(values)]
    return float(there.mean()) if there.size else float("nan")
