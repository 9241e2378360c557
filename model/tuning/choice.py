"""Which share of new weights, and which temperature, what was held out speaks for."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.checkpoint import Manifest, Model
from model.classes import CellClass, has_class
from model.dataset import TrainingField
from model.metrics import Confusion, Reliability, confusion, fraction_error, reliability
from model.network import PmfCNN
from model.pmf_segmenter import PmfSegmenter
from model.preprocessing import bend, spread_evenly
from model.segmentation import label_map
from model.tuning.folds import Fold

SHARES: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the new weights that are tried."""
TEMPERATURE_FACTORS: Final = (0.6, 0.75, 0.9, 1.0, 1.15, 1.35, 1.6, 2.0, 2.5)
ALIKE: Final = 0.01
"""Of mean Jaccard: of shares that score alike, and no worse than the old weights, the largest is
taken, since the model learns from more fields than the networks that were asked."""


@dataclass(frozen=True, eq=False)
class Choice:
    """What held-out fields speak for."""

    share: float
    temperature: float
    scores: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class _Held:
    """What networks said of the fields held out from each of them, pooled."""

    confusion: Confusion
    reliability: Reliability
    surprise: float
    fraction_errors: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        errors = self.fraction_errors
        return {
            "mean_jaccard": round(self.confusion.mean_jaccard, 4),
            "jaccard": {
                c.name.lower(): _plain(float(self.confusion.jaccard[int(c)])) for c in CellClass
            },
            "mean_fraction_error": round(statistics.fmean(errors), 4) if errors else None,
            "expected_calibration_error": _plain(self.reliability.expected_calibration_error),
        }


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def mixed(old: Mapping[str, Tensor], new: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Weights between two networks of one shape: old for share 0, new for 1."""
    if share in (0.0, 1.0):
        # A network that training has wrecked may hold what is not a number: 0 times that is none.
        return dict(new if share else old)
    return {
        name: torch.lerp(value, new[name], share) if value.is_floating_point() else new[name]
        for name, value in old.items()
    }


def choose(
    start: Model, folds: Sequence[Fold], turns: Sequence[PmfCNN], most_share: float
) -> Choice:
    base = start.manifest
    if not folds:
        return Choice(most_share, base.temperature, {})

    def measured(share: float, temperature: float) -> _Held:
        manifest = replace(base, temperature=temperature)
        parts = []
        for fold, tuned in zip(folds, turns, strict=True):
            network = PmfCNN(base.network)
            network.load_state_dict(mixed(start.network.state_dict(), tuned.state_dict(), share))
            parts.append(_measure(network.eval(), manifest, fold.held))
        return _pooled(parts)

    by_share = {share: measured(share, base.temperature) for share in SHARES if share <= most_share}
    scores = {share: one.confusion.mean_jaccard for share, one in by_share.items()}
    enough = max(scores[0.0], max(scores.values()) - ALIKE)
    share = max(share for share, score in scores.items() if score >= enough)
    told = {
        "before": by_share[0.0].to_json(),
        "mean_jaccard_by_share_of_new_weights": {
            f"{share:g}": round(one.confusion.mean_jaccard, 4) for share, one in by_share.items()
        },
    }
    if share == 0:
        return Choice(0.0, base.temperature, by_share[0.0].to_json() | told)
    by_temperature = {
        base.temperature * factor: measured(share, base.temperature * factor)
        for factor in TEMPERATURE_FACTORS
    }
    temperature = min(by_temperature, key=lambda one: by_temperature[one].surprise)
    return Choice(share, round(temperature, 4), by_temperature[temperature].to_json() | told)


def _measure(network: PmfCNN, manifest: Manifest, held: Sequence[TrainingField]) -> _Held:
    segmenter = PmfSegmenter(Model(network, manifest))
    parts = []
    for one in held:
        found = segmenter.probabilities(bend(np.asarray(one.flat, dtype=np.float32)))
        shape = cast(tuple[int, int], one.labels.shape)
        labels = label_map(found, shape)
        planes = spread_evenly(found, shape, 0, shape[0])
        error = fraction_error(one.labels, labels)
        parts.append(
            _Held(
                confusion(one.labels, labels),
                reliability(one.labels, planes),
                _surprise(one.labels, planes),
                () if error is None else (error,),
            )
        )
    return _pooled(parts)


def _pooled(parts: Sequence[_Held]) -> _Held:
    return _Held(
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
    if not held:
        return None
    return _measure(network, manifest, held).confusion.mean_jaccard
