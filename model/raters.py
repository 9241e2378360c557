"""Two raters of the same images: how far they agree, and how far a model agrees with each of them.

What a model is measured by was drawn by somebody, and somebody else would have drawn it otherwise.
How far two people agree is therefore as far as a model's agreement with either can be told: what is
above that was learnt from the habits of one of them, or is chance. All three comparisons (rater and
rater, model and each rater) are counted over the very same pixels: those to which both raters gave
a class and of which the model said something.

Neither rater is the truth, so the measures are symmetric where that is possible: Jaccard index and
Cohen's kappa are; the difference of the differentiated fraction is between two maps, not an error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.classes import CellClass
from model.metrics import (
    Confusion,
    bootstrap_interval,
    confusion,
    paired_bootstrap,
    paired_bootstrap_of_jaccard,
)
from model.pmf import CLASSES

PAIRS: Final = ("between_raters", "model_and_first", "model_and_second")


@dataclass(frozen=True, eq=False)
class RatedField:
    """One image that both raters labelled: the three comparisons, over the same pixels.

    between_raters : first rater by second
    model_and_first, model_and_second : that rater by the model
    compared_share : share of the image's pixels to which both gave a class
    """

    name: str
    between_raters: Confusion
    model_and_first: Confusion
    model_and_second: Confusion
    compared_share: float

    @property
    def fractions(self) -> tuple[float | None, float | None, float | None]:
        """Differentiated fraction by the first rater, the second and the model; None: no cells."""
        return (
            _fraction(self.between_raters.counts.sum(axis=1)),
            _fraction(self.between_raters.counts.sum(axis=0)),
            _fraction(self.model_and_first.counts.sum(axis=0)),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values; what is undefined is null."""
        first, second, model = self.fractions
        return {
            "name": self.name,
            "compared_share": round(self.compared_share, 4),
            "first_differentiated_fraction": first,
            "second_differentiated_fraction": second,
            "differentiated_fraction": model,
            **{
                pair: {
                    "mean_jaccard": _number(getattr(self, pair).mean_jaccard),
                    "jaccard": _by_class(getattr(self, pair).jaccard),
                    "kappa": _number(getattr(self, pair).kappa),
                    "fraction_difference": _number(fraction_difference(getattr(self, pair))),
                }
                for pair in PAIRS
            },
        }


def rated(
    name: str,
    first: NDArray[np.uint8],
    second: NDArray[np.uint8],
    found: NDArray[np.uint8],
) -> RatedField:
    """Compare two raters' label maps and a model's, all (H, W) of one shape.

    Raises ValueError for shapes that differ and for values that are no class.
    """
    if not first.shape == second.shape == found.shape:
        raise ValueError(
            f"{name}: label maps of {first.shape}, {second.shape} and {found.shape}: they must be "
            "equal"
        )
    both = (first < CLASSES) & (second < CLASSES) & (found < CLASSES)
    one, other, said = first[both][None], second[both][None], found[both][None]
    return RatedField(
        name,
        confusion(one, other),
        confusion(one, said),
        confusion(other, said),
        float(((first < CLASSES) & (second < CLASSES)).mean()),
    )


@dataclass(frozen=True, eq=False)
class RaterAgreement:
    """Two raters and a model, over the images that both raters labelled.

    by_one_only : images that the second rater left out
    """

    fields: tuple[RatedField, ...]
    by_one_only: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values; what is undefined is null. Intervals are 95 %, from drawing
        the images anew; one image gives none."""
        between = [one.between_raters for one in self.fields]
        pairs = {pair: _agreement([getattr(f, pair) for f in self.fields]) for pair in PAIRS}
        for pair in PAIRS[1:]:
            ahead, low, high = paired_bootstrap_of_jaccard(
                [getattr(one, pair) for one in self.fields], between
            )
            pairs[pair]["ahead_of_raters"] = _number(ahead)
            pairs[pair]["ahead_of_raters_interval"] = _interval((low, high))
        return {
            "images": len(self.fields),
            "labelled_by_one_only": list(self.by_one_only),
            "pixels": int(sum(int(one.counts.sum()) for one in between)),
            **pairs,
            "fields": [one.to_json() for one in self.fields],
        }


def _agreement(maps: Sequence[Confusion]) -> dict[str, Any]:
    """Two maps of the same images compared, pooled over these."""
    pooled = Confusion(np.sum([one.counts for one in maps], axis=0))
    difference, low, high = paired_bootstrap([fraction_difference(one) for one in maps])
    return {
        "mean_jaccard": _number(pooled.mean_jaccard),
        "mean_jaccard_interval": _interval_of(maps, lambda one: one.mean_jaccard),
        "jaccard": _by_class(pooled.jaccard),
        "jaccard_interval": {
            c.name.lower(): _interval_of(maps, partial(_jaccard_of, c)) for c in CellClass
        },
        "kappa": _number(pooled.kappa),
        "kappa_interval": _interval_of(maps, lambda one: one.kappa),
        "kappa_by_class": _by_class(pooled.kappa_by_class),
        "mean_fraction_difference": _number(difference),
        "mean_fraction_difference_interval": _interval((low, high)),
        "confusion": pooled.counts.tolist(),
    }


def _jaccard_of(cell_class: CellClass, maps: Confusion) -> float:
    return float(maps.jaccard[int(cell_class)])


def _interval_of(
    maps: Sequence[Confusion], measure: Callable[[Confusion], float]
) -> list[float | None]:
    if len(maps) < 2:
        return [None, None]
    return _interval(bootstrap_interval(maps, measure=measure))


def fraction_difference(maps: Confusion) -> float:
    """Absolute difference of the differentiated fraction by two maps of the same pixels.

    Where only one of them has cells, the other's fraction counts as 0; NaN where neither has.
    """
    first, second = (_fraction(maps.counts.sum(axis=axis)) for axis in (1, 0))
    if first is None and second is None:
        return math.nan
    return abs((first or 0.0) - (second or 0.0))


def _fraction(areas: NDArray[np.int64]) -> float | None:
    cells = int(areas[CellClass.UNDIFFERENTIATED] + areas[CellClass.DIFFERENTIATED])
    return int(areas[CellClass.DIFFERENTIATED]) / cells if cells else None


def _interval(values: tuple[float, float]) -> list[float | None]:
    return [_number(value) for value in values]


def _by_class(values: NDArray[np.float64]) -> Mapping[str, float | None]:
    return {c.name.lower(): _number(float(values[int(c)])) for c in CellClass}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)
