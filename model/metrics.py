"""How good a segmentation is: measures over pixels whose class is known.

Areas come from one confusion matrix, counted over all test pixels together. The intersection and
the union of a class are taken from the same matrix, so that a map of nothing but background cannot
score well by its background. Outlines are measured apart (`boundary_matches`), since a class border
is a small part of the area; so is whether a probability means what it says (`reliability`).

Counts of images can be added up, so a score of many images pools their pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import hypot
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from model.classes import NOT_DIFFERENTIATED, UNKNOWN, CellClass, has_class
from model.pmf import CLASSES

BINS: Final = 15
"""Of a reliability diagram."""

Difference: TypeAlias = tuple[float, float, float]
"""Of two methods on the same images, with its interval: difference, low, high."""

TOLERANCE_SHARE: Final = 0.02
"""Of the image's diagonal: how far an outline may be off and still count as found."""


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

    @property
    def kappa(self) -> float:
        """Cohen's kappa: how much of the agreement that chance would not give is there.

        1 where the two maps are the same, 0 where they agree as often as maps of the same areas
        laid at random; NaN where no other agreement was possible (one class in both, or nothing).
        Source: Cohen, Educational and Psychological Measurement 20 (1960) 37-46.
        """
        return _kappa(self.counts)

    @property
    def kappa_by_class(self) -> NDArray[np.float64]:
        """(C,) Cohen's kappa of each class against all others; NaN as in `kappa`."""
        hit, true, said = self._parts()
        total = self.counts.sum()
        return np.array(
            [
                _kappa(np.array([[h, t - h], [s - h, total - t - s + h]]))
                for h, t, s in zip(hit, true, said, strict=True)
            ]
        )

    def _parts(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        return np.diag(self.counts), self.counts.sum(axis=1), self.counts.sum(axis=0)


def confusion(
    truth: NDArray[np.uint8], labels: NDArray[np.uint8], classes: int = CLASSES
) -> Confusion:
    """Counts of pixels whose true class is known.

    truth, labels : same shape, classes or 255; where the truth is known but the prediction is 255
        (outside the vessel) nothing was said, and the pixel is not counted. Truth of 254, not
        differentiated, is no class either
    Raises ValueError for shapes that differ and for values that are no class.
    """
    known = _known(truth, labels, classes)
    index = truth[known].astype(np.int64) * classes + labels[known]
    return Confusion(np.bincount(index, minlength=classes**2).reshape(classes, classes))


def _known(truth: NDArray[np.uint8], labels: NDArray[np.uint8], classes: int) -> NDArray[np.bool_]:
    if truth.shape != labels.shape:
        raise ValueError(f"truth is {truth.shape}, prediction {labels.shape}: they must be equal")
    known = np.asarray(has_class(truth) & (labels != UNKNOWN))
    largest = int(max(truth[known].max(initial=0), labels[known].max(initial=0)))
    if largest >= classes:
        raise ValueError(f"a pixel has the value {largest}; the {classes} classes begin at 0")
    return known


# --------------------------------------------------------------------------------- outlines


@dataclass(frozen=True, eq=False)
class BoundaryMatches:
    """Pixels of class borders that lie near a border of the other map.

    said, said_right : (C,) int64, predicted border pixels of a class; those near a true one
    true, found : (C,) int64, true border pixels of a class; those near a predicted one
    """

    said: NDArray[np.int64]
    said_right: NDArray[np.int64]
    true: NDArray[np.int64]
    found: NDArray[np.int64]

    def __add__(self, other: BoundaryMatches) -> BoundaryMatches:
        return BoundaryMatches(
            self.said + other.said,
            self.said_right + other.said_right,
            self.true + other.true,
            self.found + other.found,
        )

    @property
    def f_score(self) -> NDArray[np.float64]:
        """(C,) harmonic mean of precision and recall.

        NaN for a class without any border, and where all of its true border runs through the
        unknown, so that how much of it was found cannot be said.
        """
        precision, recall = _ratio(self.said_right, self.said), _ratio(self.found, self.true)
        # Where only one of the maps has a border of the class, none of it was right.
        precision[(self.said == 0) & (self.true > 0)] = 0.0
        recall[(self.true == 0) & (self.said > 0) & (self.said_right == 0)] = 0.0
        total = precision + recall
        return np.where(total > 0, 2 * precision * recall / np.where(total > 0, total, 1), total)

    @property
    def mean_f_score(self) -> float:
        """Mean over the classes that have a border in truth or prediction."""
        return _mean(self.f_score)


def boundary_matches(
    truth: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    *,
    tolerance_px: float | None = None,
    classes: int = CLASSES,
) -> BoundaryMatches:
    """Class borders of one map held against those of the other.

    A border pixel of a class has a neighbour (above, below, left, right) of another class; both
    must be known. The picture's edge is no border, and neither is the edge of what is unknown; but
    a border may well run through the unknown, so a predicted border pixel near such an edge counts
    as right.

    truth, labels : (H, W) uint8, classes or 255
    tolerance_px : how far apart borders may lie; by default 2 % of the image's diagonal
    Raises ValueError for shapes that differ and for values that are no class.
    Source: boundary F1 (Csurka et al., BMVC 2013), here with unknown pixels.
    """
    known = _known(truth, labels, classes)
    if tolerance_px is None:
        tolerance_px = boundary_tolerance_px(truth.shape)
    unsure = _touches(known, ~known)
    counts = np.zeros((4, classes), dtype=np.int64)
    for value in range(classes):
        true = _border(truth == value, known)
        said = _border(labels == value, known)
        counts[0, value], counts[2, value] = np.count_nonzero(said), np.count_nonzero(true)
        counts[1, value] = np.count_nonzero(said & _within(true | unsure, tolerance_px))
        counts[3, value] = np.count_nonzero(true & _within(said, tolerance_px))
    return BoundaryMatches(*counts)


def boundary_tolerance_px(shape: tuple[int, ...]) -> float:
    """The usual tolerance of outlines: 2 % of the diagonal of an image (H, W), at least a pixel."""
    return max(1.0, TOLERANCE_SHARE * hypot(shape[0], shape[1]))


def _border(inside: NDArray[np.bool_], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return _touches(inside & known, ~inside & known)


def _touches(of: NDArray[np.bool_], other: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of the first that have a neighbour in the second."""
    near = np.zeros(of.shape, dtype=bool)
    near[1:] |= other[:-1]
    near[:-1] |= other[1:]
    near[:, 1:] |= other[:, :-1]
    near[:, :-1] |= other[:, 1:]
    return near & of


def _within(border: NDArray[np.bool_], distance_px: float) -> NDArray[np.bool_]:
    if not border.any():
        return np.zeros(border.shape, dtype=bool)
    away = cv2.distanceTransform((~border).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(away <= distance_px)


# -------------------------------------------------------------------------------- fractions


def differentiated_fraction(labels: NDArray[np.uint8]) -> float | None:
    """Differentiated over all cell area; None where there are no cells."""
    differentiated = int(np.count_nonzero(labels == CellClass.DIFFERENTIATED))
    cells = differentiated + int(np.count_nonzero(labels == CellClass.UNDIFFERENTIATED))
    return differentiated / cells if cells else None


def fraction_error(truth: NDArray[np.uint8], labels: NDArray[np.uint8]) -> float | None:
    """Absolute error of the differentiated fraction over the known pixels.

    None where the truth holds no cells; a fraction that is undefined counts as 0 there. Where all
    that is known rules out differentiated cells, the true fraction is 0 without any outline, over
    all pixels of which that is said.
    """
    true = true_fraction(truth)
    if true is None:
        return None
    known = has_fraction(truth)
    return abs((differentiated_fraction(labels[known]) or 0.0) - true)


def true_fraction(truth: NDArray[np.uint8]) -> float | None:
    """The differentiated fraction by labels to learn from or to measure by; None if unknown."""
    counted = differentiated_fraction(truth)
    if counted is None and np.any(truth == NOT_DIFFERENTIATED):
        return 0.0
    return counted


def has_fraction(truth: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Over which pixels a found fraction is to be held against the true one.

    Where differentiated cells occur, the area of the others must be known too: only pixels with a
    class count. Elsewhere it is enough that no cell is differentiated.
    """
    if np.any(truth == CellClass.DIFFERENTIATED):
        return has_class(truth)
    return np.asarray(truth != UNKNOWN)


# ------------------------------------------------------------------------------ calibration


@dataclass(frozen=True, eq=False)
class Reliability:
    """How often a probability is right, by size of the probability.

    counts : (bins,) int64, pixels whose probability falls in the bin
    confidence_sum : (bins,) float64, sum of those probabilities
    right : (bins,) int64, pixels of the bin where what was said is so
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
    def confidence(self) -> NDArray[np.float64]:
        """(bins,) mean probability; NaN for an empty bin."""
        return _ratio(self.confidence_sum, self.counts)

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """(bins,) share that is right; NaN for an empty bin."""
        return _ratio(self.right, self.counts)

    @property
    def expected_calibration_error(self) -> float:
        """Mean difference of confidence and accuracy, bins weighted by pixels; NaN for none."""
        total = int(self.counts.sum())
        if not total:
            return float("nan")
        return float(np.abs(self.confidence_sum - self.right).sum() / total)


def reliability(
    truth: NDArray[np.uint8], probabilities: NDArray[np.float32], bins: int = BINS
) -> Reliability:
    """Confidence of the winning class against how often it is right.

    truth : (H, W) uint8, classes or 255
    probabilities : (C, H, W) float32
    """
    known = has_class(truth)
    values = probabilities[:, known]
    return _binned(values.max(axis=0), values.argmax(axis=0) == truth[known], bins)


def class_reliability(
    truth: NDArray[np.uint8], probabilities: NDArray[np.float32], bins: int = BINS
) -> tuple[Reliability, ...]:
    """For each class: its probability, won or not, against how often a pixel is of that class.

    A pmf is meant as a share, so every probability must hold and not only the winner's.

    truth : (H, W) uint8, classes or 255
    probabilities : (C, H, W) float32
    """
    known = has_class(truth)
    true = truth[known]
    return tuple(
        _binned(plane[known], true == value, bins) for value, plane in enumerate(probabilities)
    )


def _binned(confidence: NDArray[np.float32], right: NDArray[np.bool_], bins: int) -> Reliability:
    place = np.clip((confidence * bins).astype(np.int64), 0, bins - 1)
    return Reliability(
        np.bincount(place, minlength=bins),
        np.bincount(place, weights=confidence, minlength=bins).astype(np.float64),
        np.bincount(place, weights=right, minlength=bins).astype(np.int64),
    )


# ------------------------------------------------------------------------------------ chance


def bootstrap_interval(
    confusions: Sequence[Confusion],
    *,
    measure: Callable[[Confusion], float] = lambda pooled: pooled.mean_jaccard,
    seed: int = 0,
    rounds: int = 1000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Interval of a measure of the pooled pixels when images are drawn anew with replacement.

    measure : of the counts of all images together; their mean Jaccard by default
    """
    if not any(one.counts.any() for one in confusions):
        return float("nan"), float("nan")
    chance = np.random.default_rng(seed)
    stack = np.stack([one.counts for one in confusions])
    scores = [
        measure(Confusion(stack[chance.integers(0, len(stack), len(stack))].sum(axis=0)))
        for _ in range(rounds)
    ]
    if np.isnan(scores).all():
        return float("nan"), float("nan")
    low, high = np.nanquantile(scores, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_bootstrap(
    differences: Sequence[float] | NDArray[np.float64],
    *,
    resamples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Difference:
    """Mean difference of two methods on the same images, and its interval.

    differences : one number an image; NaN (undefined there) is left out
    Returns mean, low, high: percentiles when the images are drawn anew with replacement. NaN for
        no image; one image alone says nothing of chance, so low and high are NaN then.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    values = np.asarray(differences, dtype=np.float64)
    values = values[~np.isnan(values)]
    if values.size < 2:
        return _mean(values), float("nan"), float("nan")
    means = values[_draws(values.size, resamples, seed)].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(values.mean()), float(low), float(high)


def paired_bootstrap_of_jaccard(
    first: Sequence[Confusion],
    second: Sequence[Confusion],
    *,
    resamples: int = 2_000,
    seed: int = 0,
    level: float = 0.95,
) -> Difference:
    """How far the first method's pooled mean Jaccard is ahead, and its interval.

    As `paired_bootstrap_of`.
    """
    return paired_bootstrap_of(
        lambda pooled: pooled.mean_jaccard,
        first,
        second,
        resamples=resamples,
        seed=seed,
        level=level,
    )


def paired_bootstrap_of(
    measure: Callable[[Confusion], float],
    first: Sequence[Confusion],
    second: Sequence[Confusion],
    *,
    resamples: int = 2_000,
    seed: int = 0,
    level: float = 0.95,
) -> Difference:
    """How far the first method is ahead by a measure of the pooled pixels, and its interval.

    first, second : confusions of the same images in the same order
    Returns difference, low, high, as `paired_bootstrap`; each draw pools the same images for both.
    Raises ValueError where the two do not have equally many images.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} images against {len(second)}: they must be the same")
    if not first:
        return float("nan"), float("nan"), float("nan")
    ours, theirs = (np.stack([one.counts for one in some]) for some in (first, second))
    whole = measure(Confusion(ours.sum(axis=0))) - measure(Confusion(theirs.sum(axis=0)))
    if len(first) < 2:
        return whole, float("nan"), float("nan")
    ahead = [
        measure(Confusion(ours[some].sum(axis=0))) - measure(Confusion(theirs[some].sum(axis=0)))
        for some in _draws(len(ours), resamples, seed)
    ]
    if np.isnan(ahead).all():
        return whole, float("nan"), float("nan")
    low, high = np.nanquantile(ahead, [(1 - level) / 2, (1 + level) / 2])
    return whole, float(low), float(high)


def _draws(images: int, resamples: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, images, (resamples, images))


def rank_correlation(
    first: Sequence[float] | NDArray[np.float64], second: Sequence[float] | NDArray[np.float64]
) -> float:
    """Spearman's rank correlation, ties at their mean rank; NaN where either does not vary."""
    if len(first) != len(second):
        raise ValueError(f"{len(first)} values against {len(second)}: they must be pairs")
    if any(len(one) == 0 or np.ptp(one) == 0 for one in (first, second)):
        return float("nan")
    # It takes a second to load.
    from scipy.stats import spearmanr

    return float(spearmanr(first, second).statistic)


def _ratio(above: NDArray[Any], below: NDArray[Any]) -> NDArray[np.float64]:
    result = np.full(above.shape, np.nan)
    np.divide(above, below, out=result, where=below > 0)
    return result


def _mean(values: NDArray[np.float64]) -> float:
    there = values[~np.isnan(values)]
    return float(there.mean()) if there.size else float("nan")


def _kappa(counts: NDArray[np.int64]) -> float:
    # Products of pixel numbers pass 2^63.
    shares = counts.astype(np.float64)
    total = float(shares.sum())
    if not total:
        return float("nan")
    shares /= total
    by_chance = float(shares.sum(axis=1) @ shares.sum(axis=0))
    if by_chance >= 1 - 1e-12:
        return float("nan")
    return float((np.trace(shares) - by_chance) / (1 - by_chance))
