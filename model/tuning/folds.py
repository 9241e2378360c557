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
    where images are too few and too small. Images of which no pixel has a class, but something is
    said as a whole, take turns beside the outlined ones.
    """
    whole = [fold for fold in _of_images(fields, settings) if _can_be_learnt(fold)]
    return whole or [fold for fold in _of_halves(fields, window_px) if _can_be_learnt(fold)]


def _of_images(fields: Sequence[TrainingField], settings: TuningSettings) -> list[Fold]:
    drawn, said = outlined(fields), _not_outlined(fields)
    if len(drawn) < settings.least_images:
        return []
    count = min(len(drawn), settings.most_folds)
    turns = [(i % count, one) for some in (drawn, said) for i, one in enumerate(some)]
    return [
        Fold(
            tuple(one for turn, one in turns if turn != number),
            tuple(one for turn, one in turns if turn == number),
        )
        for number in range(count)
    ]


def _of_halves(fields: Sequence[TrainingField], window_px: int) -> list[Fold]:
    drawn, said = outlined(fields), _not_outlined(fields)
    if not all(max(one.labels.shape) >= 3 * window_px for one in drawn):
        return []
    folds = []
    for side in (0, 1):
        pairs = [_halves(one, side, window_px // 2) for one in drawn]
        learn = (*(a for a, _ in pairs), *said[1 - side :: 2])
        held = (*(b for _, b in pairs), *said[side::2])
        folds.append(Fold(learn, held, of_halves=True))
    return folds


def outlined(fields: Sequence[TrainingField]) -> list[TrainingField]:
    """Those of which some pixels have a class."""
    return [one for one in fields if _classes([one])]


def _not_outlined(fields: Sequence[TrainingField]) -> list[TrainingField]:
    return [one for one in fields if not _classes([one])]


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
