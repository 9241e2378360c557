"""Turns of holding out: what is learnt from and what is asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.classes import NOT_DIFFERENTIATED, UNKNOWN
from model.dataset import TrainingField
from model.tuning.settings import TuningSettings


@dataclass(frozen=True, eq=False)
class Fold:
    """What one turn learns from and what it holds out.

    of_halves : halves of the images learnt from are held out, not images
    """

    learn: tuple[TrainingField, ...]
    held: tuple[TrainingField, ...]
    of_halves: bool = False


def folds_of(
    fields: Sequence[TrainingField], settings: TuningSettings, window_px: int
) -> list[Fold]:
    """Turns of holding out: whole images where there are enough of them, else halves of each.

    Between halves a band as wide as half a window is neither learnt from nor measured on, since
    windows reach over it. A turn must leave at least two classes to learn; none at all remain
    where images are too few and too small.
    """
    whole = [fold for fold in _of_images(fields, settings) if _can_be_learnt(fold)]
    return whole or [fold for fold in _of_halves(fields, window_px) if _can_be_learnt(fold)]


def _of_images(fields: Sequence[TrainingField], settings: TuningSettings) -> list[Fold]:
    if len(fields) < settings.least_images:
        return []
    count = min(len(fields), settings.most_folds)
    return [
        Fold(
            tuple(one for i, one in enumerate(fields) if i % count != turn),
            tuple(one for i, one in enumerate(fields) if i % count == turn),
        )
        for turn in range(count)
    ]


def _of_halves(fields: Sequence[TrainingField], window_px: int) -> list[Fold]:
    if not all(max(one.labels.shape) >= 3 * window_px for one in fields):
        return []
    folds = []
    for side in (0, 1):
        pairs = [_halves(one, side, window_px // 2) for one in fields]
        folds.append(Fold(tuple(a for a, _ in pairs), tuple(b for _, b in pairs), of_halves=True))
    return folds


def _can_be_learnt(fold: Fold) -> bool:
    return len(_classes(fold.learn)) > 1 and bool(_classes(fold.held))


def _classes(fields: Sequence[TrainingField]) -> set[int]:
    return {int(v) for one in fields for v in np.unique(one.labels)} - {UNKNOWN, NOT_DIFFERENTIATED}


def _halves(one: TrainingField, side: int, band_px: int) -> tuple[TrainingField, TrainingField]:
    """A field with one half unknown, and one with the other, a band apart."""
    axis = int(np.argmax(one.labels.shape))
    middle = one.labels.shape[axis] // 2
    place = np.arange(one.labels.shape[axis])
    first, last = place < middle - band_px // 2, place >= middle + band_px // 2
    kept = (first, last) if side == 0 else (last, first)
    pair = []
    for some in kept:
        mask = some[:, None] if axis == 0 else some[None, :]
        labels = np.where(mask, one.labels, np.uint8(UNKNOWN))
        pair.append(TrainingField(one.name, one.flat, labels))
    return pair[0], pair[1]
