"""A dish's status from its latest readings: N of M scans, and two limits so that it cannot flap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from monitor.config import DifferentiationConfig
from monitor.culture import AlertKind, DishStatus, Reading


@dataclass(frozen=True)
class Judgement:
    """What the newest reading makes of a dish, and the alert that this change calls for."""

    status: DishStatus
    alert: AlertKind | None


def judge(now: DishStatus, readings: Sequence[Reading], limits: DifferentiationConfig) -> Judgement:
    """Status after the newest reading; between the two limits it stays as it was.

    readings : one a scan, oldest first, the newest last

    A dish is differentiating when the newest reading and at least `scans_needed` of the last
    `scans_considered` that can be judged lie above `raise_above`; it is clear again when as many
    lie below `clear_below`. Readings without a fraction, with too few cells or in doubt do not
    count, neither for nor against.
    """
    if not readings or not can_be_judged(readings[-1], limits):
        return Judgement(now, None)
    considered = [reading for reading in readings if can_be_judged(reading, limits)]
    fractions = [
        reading.differentiated_fraction or 0.0 for reading in considered[-limits.scans_considered :]
    ]
    above = [fraction > limits.raise_above for fraction in fractions]
    below = [fraction < limits.clear_below for fraction in fractions]
    if above[-1] and sum(above) >= limits.scans_needed:
        raised = now is not DishStatus.DIFFERENTIATING
        return Judgement(DishStatus.DIFFERENTIATING, AlertKind.RAISED if raised else None)
    if now is DishStatus.UNKNOWN:
        return Judgement(DishStatus.UNDIFFERENTIATED, None)
    if now is DishStatus.DIFFERENTIATING and below[-1] and sum(below) >= limits.scans_needed:
        return Judgement(DishStatus.UNDIFFERENTIATED, AlertKind.CLEARED)
    return Judgement(now, None)


def can_be_judged(reading: Reading, limits: DifferentiationConfig) -> bool:
    """Is there enough to go by? A fraction of a handful of cells says nothing."""
    return (
        reading.differentiated_fraction is not None
        and reading.confluence is not None
        and reading.confluence >= limits.min_confluence
        and not reading.doubts
    )
