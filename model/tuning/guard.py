"""Does a fine-tuned model harm what the old one could do? Asked of fields of several kinds.

A lab's few fields are of one microscope and a few days. What is learnt from them must not be paid
for with other kinds of dish, which the lab may meet tomorrow: without cells, healthy, freshly
passaged, differentiated. Fields of each kind are therefore asked of the old model and of the new
one, and a kind is harmed where the difference is more than chance or more than a little.

Each kind has two measures: the mean Jaccard index of the classes that its truth holds, and the
error of the differentiated fraction, which alerts rest on. Differences are taken field by field.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.checkpoint import Manifest, Model
from model.dataset import TrainingField
from model.metrics import Confusion, Difference, paired_bootstrap, paired_bootstrap_of
from model.network import PmfCNN
from model.tuning.held import Held, measure_each

CERTAIN_LOSS: Final = 0.002
"""Smallest loss that counts, where drawing other fields of the kind would still show one."""
LARGEST_LOSS: Final = 0.01
"""Of either measure, whatever chance says."""
LEAST_SHARE: Final = 0.005
"""Of a kind's labelled pixels: a class with less is none of its classes."""


@dataclass(frozen=True, eq=False)
class Kind:
    """Fields of one kind of picture, none of which is learnt from."""

    name: str
    fields: tuple[TrainingField, ...]


@dataclass(frozen=True)
class KindChange:
    """What a kind's measures became.

    jaccard : of the classes that the kind has; before, after and their difference, above 0 where
        the new model is better
    error : of the differentiated fraction; above 0 where the new model is nearer
    largest_loss : of either measure that is borne
    """

    name: str
    fields: int
    jaccard_before: float
    jaccard_after: float
    jaccard: Difference
    error_before: float
    error_after: float
    error: Difference
    largest_loss: float = LARGEST_LOSS

    @property
    def is_harmed(self) -> bool:
        """Is the new model worse than the old one, by more than chance or more than a little?"""
        return self._lost(self.jaccard) or self._lost(self.error)

    def _lost(self, difference: Difference) -> bool:
        ahead, _, high = difference
        if math.isnan(ahead):
            return False
        # Whoever bears a larger loss does not mind how sure a small one is.
        sure = self.largest_loss <= LARGEST_LOSS and ahead < -CERTAIN_LOSS and high < 0
        return ahead < -self.largest_loss or sure

    def __str__(self) -> str:
        told = []
        if self._lost(self.jaccard):
            told.append(f"mean Jaccard {self.jaccard_before:.3f} to {self.jaccard_after:.3f}")
        if self._lost(self.error):
            told.append(f"fraction error {self.error_before:.3f} to {self.error_after:.3f}")
        return f"{self.name} ({', '.join(told) or 'not worse'})"

    def to_json(self) -> dict[str, Any]:
        """Plain values; what is undefined is null."""
        return {
            "fields": self.fields,
            "mean_jaccard_before": _plain(self.jaccard_before),
            "mean_jaccard": _plain(self.jaccard_after),
            "mean_jaccard_ahead_interval": [_plain(value) for value in self.jaccard[1:]],
            "mean_fraction_error_before": _plain(self.error_before),
            "mean_fraction_error": _plain(self.error_after),
            "fraction_error_ahead_interval": [_plain(value) for value in self.error[1:]],
            "harmed": self.is_harmed,
        }


class Guard:
    """Holds fields of several kinds against a model before and after it was fine-tuned.

    largest_loss : of either measure of a kind, whatever chance says
    """

    def __init__(
        self, start: Model, kinds: Sequence[Kind], largest_loss: float = LARGEST_LOSS
    ) -> None:
        self._largest_loss = largest_loss
        self._kinds = [kind for kind in kinds if kind.fields]
        # A field that is of two kinds is segmented once.
        self._fields = {id(one): one for kind in self._kinds for one in kind.fields}
        self._before = self._measured(start.network, start.manifest)

    def changes(self, network: PmfCNN, manifest: Manifest) -> list[KindChange]:
        """What became of each kind with another network."""
        after = self._measured(network, manifest)
        return [self._change(kind, after) for kind in self._kinds]

    def _measured(self, network: PmfCNN, manifest: Manifest) -> dict[int, Held]:
        fields = list(self._fields.values())
        return dict(zip(self._fields, measure_each(network, manifest, fields), strict=True))

    def _change(self, kind: Kind, measured: Mapping[int, Held]) -> KindChange:
        before = [self._before[id(one)] for one in kind.fields]
        after = [measured[id(one)] for one in kind.fields]
        maps = [one.confusion for one in before]
        true = np.sum([one.counts for one in maps], axis=0).sum(axis=1)
        mean_jaccard = partial(_mean_jaccard, there=true >= LEAST_SHARE * max(1, true.sum()))
        errors, new_errors = ([one.mean_fraction_error for one in some] for some in (before, after))
        return KindChange(
            kind.name,
            len(kind.fields),
            mean_jaccard(_together(maps)),
            mean_jaccard(_together([one.confusion for one in after])),
            paired_bootstrap_of(mean_jaccard, [one.confusion for one in after], maps),
            _mean(errors),
            _mean(new_errors),
            paired_bootstrap(np.subtract(errors, new_errors)),
            self._largest_loss,
        )


def _together(maps: Sequence[Confusion]) -> Confusion:
    return Confusion(np.sum([one.counts for one in maps], axis=0))


def _mean_jaccard(maps: Confusion, there: NDArray[np.bool_]) -> float:
    """Of the classes that a kind has; those that a draw of its fields happens to lack left out."""
    counted = there & (maps.counts.sum(axis=1) > 0)
    return float(maps.jaccard[counted].mean()) if counted.any() else math.nan


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)
