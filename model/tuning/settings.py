"""How a model is fine-tuned, how it comes along, and that it did not help."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from model.checkpoint import Manifest
from model.train import TrainingSettings


@dataclass(frozen=True)
class TuningSettings:
    """How a model is fine-tuned. What was tried, and how it did: docs/fine-tuning.md.

    training : of one network; the crop follows from the model's window
    margin_px : how far a crop is wider than the window
    most_steps : more were not better
    rehearsal_share, rehearsal_fields : share of the crops from simulated fields; number of those
    least_images : from so many on whole images are held out, else halves of images
    least_proving_images : from so many on held-out images may speak for all of the new weights
    most_folds : turns of holding out
    most_unproved_share : most of the new weights that are kept of fewer images: one or two speak
        for little, and halves of an image that was learnt from flatter
    fraction_error_may_rise : so much on what was held out; alerts rest on the fraction, and a few
        fields tell it no better
    """

    training: TrainingSettings = field(
        default_factory=lambda: TrainingSettings(
            batch=8,
            learning_rate=1e-3,
            warmup_share=0.05,
            average_over_steps=40,
            frozen=("local",),
            keep_statistics=True,
        )
    )
    margin_px: int = 64
    most_steps: int = 300
    rehearsal_share: float = 0.5
    rehearsal_fields: int = 32
    least_images: int = 2
    least_proving_images: int = 3
    most_folds: int = 4
    most_unproved_share: float = 0.5
    fraction_error_may_rise: float = 0.005

    def to_json(self) -> dict[str, Any]:
        """The settings as plain values."""
        return {**vars(self), "training": self.training.to_json()}


USUAL_SETTINGS: Final = TuningSettings()


class NoGainError(Exception):
    """Fine-tuning did not help on what was held out, or harmed another kind of picture. Nothing was
    written: the model begun with is the better one, as it is, its temperature included.

    start : manifest of that model
    training : from what, with what, for how long
    scores : on what was held out, by the share of the new weights; empty where nothing could be
    harmed : by share, the kinds for whose sake it was not taken, in words; empty where none helped
    """

    def __init__(
        self, start: Manifest, training: Mapping[str, Any], scores: Mapping[str, Any]
    ) -> None:
        self.harmed: Mapping[str, Sequence[str]] = training["kinds_harmed_by_share_of_new_weights"]
        why = _harm(self.harmed) if self.harmed else _no_gain(scores)
        super().__init__(
            f"{why}. Nothing was written; the model {start.name} {start.sha256[:12]} stays as it "
            "is. More fields, or more varied ones, may help"
        )
        self.start = start
        self.training = training
        self.scores = scores


def _no_gain(scores: Mapping[str, Any]) -> str:
    by_share = scores["mean_jaccard_by_share_of_new_weights"]
    errors = scores["fraction_error_by_share_of_new_weights"]
    best = max((share for share in by_share if share != "0"), key=lambda share: by_share[share])
    told = (
        "fine-tuning did not help on what was held out: mean Jaccard "
        f"{by_share['0']:.3f} before, {by_share[best]:.3f} at best after"
    )
    if by_share[best] >= by_share["0"] and errors["0"] is not None and errors[best] is not None:
        told += (
            f", but the error of the differentiated fraction {errors['0']:.3f} before, "
            f"{errors[best]:.3f} after"
        )
    return told


def _harm(harmed: Mapping[str, Sequence[str]]) -> str:
    least = min(harmed, key=float)
    return (
        "fine-tuning harms other kinds of images than those learnt from. Even with "
        f"{float(least):.0%} of the new weights it is worse on {'; '.join(harmed[least])}"
    )


@dataclass(frozen=True)
class TuningProgress:
    """Where fine-tuning stands.

    doing : "preparing", "turn 1 of 3", "all fields", "choosing"
    steps_done, steps_in_all : over all turns; 0 while that is not known
    loss : mean since the last report; NaN where there is none
    score, score_before : mean Jaccard on what is held out in this turn, now and of the model begun
        with; None where not measured
    """

    doing: str
    steps_done: int = 0
    steps_in_all: int = 0
    loss: float = math.nan
    score: float | None = None
    score_before: float | None = None
    elapsed_s: float = 0.0
