"""How a model is fine-tuned, how it comes along, and that it did not help."""

from __future__ import annotations

import math
from collections.abc import Mapping
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
    most_folds : turns of holding out
    most_unproved_share : most of the new weights that are kept where no whole image could be held
        out: halves of the images that were learnt from flatter
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
    least_images: int = 3
    most_folds: int = 4
    most_unproved_share: float = 0.5

    def to_json(self) -> dict[str, Any]:
        """The settings as plain values."""
        return {**vars(self), "training": self.training.to_json()}


USUAL_SETTINGS: Final = TuningSettings()


class NoGainError(Exception):
    """Fine-tuning did not help on what was held out. Nothing was written: the model begun with is
    the better one, as it is, its temperature included.

    start : manifest of that model
    training : from what, with what, for how long
    scores : on what was held out, by the share of the new weights
    """

    def __init__(
        self, start: Manifest, training: Mapping[str, Any], scores: Mapping[str, Any]
    ) -> None:
        by_share = scores["mean_jaccard_by_share_of_new_weights"]
        best = max(score for share, score in by_share.items() if share != "0")
        super().__init__(
            f"fine-tuning did not help on what was held out: mean Jaccard {by_share['0']:.3f} "
            f"before, {best:.3f} at best after. Nothing was written; the model {start.name} "
            f"{start.sha256[:12]} stays as it is. More fields, or more varied ones, may help"
        )
        self.start = start
        self.training = training
        self.scores = scores


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
