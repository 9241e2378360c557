"""A dish's status from its latest readings: N of M scans, and two limits so that it cannot flap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from monitor.config import DifferentiationConfig
from monitor.culture import Alert, AlertKind, AlertTopic, DishStatus, Reading, Severity
from monitor.decisions.trend import trend

# Of a limit. Measured with the defaults on simulated series (docs/alerts.md): lower is earlier and
# more often wrong.
NEAR = 0.7


@dataclass(frozen=True)
class Standing:
    """Where a dish stood before its newest reading.

    severity : of a dish that is differentiating; None for any other
    reported, reported_at : differentiated fraction and time of the reading that was last alerted
        for, while that alert is open
    """

    status: DishStatus = DishStatus.UNKNOWN
    severity: Severity | None = None
    reported: float | None = None
    reported_at: datetime | None = None


def standing(status: DishStatus, severity: Severity | None, alerts: Sequence[Alert]) -> Standing:
    """alerts : of the dish, oldest first"""
    reported = [
        alert
        for alert in alerts
        if alert.topic is AlertTopic.DIFFERENTIATION and alert.closed_at is None
    ]
    if not reported:
        return Standing(status, severity)
    return Standing(status, severity, reported[-1].fraction, reported[-1].at)


@dataclass(frozen=True)
class Judgement:
    """What the newest reading makes of a dish, and the alert that this change calls for."""

    status: DishStatus
    severity: Severity | None
    alert: AlertKind | None


def judge(
    before: Standing, readings: Sequence[Reading], limits: DifferentiationConfig
) -> Judgement:
    """Status after the newest reading; between two limits it stays as it was.

    readings : one a scan, oldest first, the newest last

    Each step is taken where the newest reading and at least `scans_needed` of the last
    `scans_considered` that can be judged call for it. Readings without a fraction, with too few
    cells or in doubt do not count, neither for nor against. A step upwards is taken at the newest
    reading's word where the series of the last `trend_h` surely rises and its level is near the
    limit too: what debris or condensation does to two or three scans of a flat series is no rise.

    raised : above `raise_above`; worsened : above `critical_above` for the first time, or by
    `worse_by` above what was last reported; cleared : below `clear_below`. A dish that falls below
    `critical_clear_below` is a warning again, without an alert.
    """
    stays = Judgement(before.status, before.severity, None)
    if not readings or not can_be_judged(readings[-1], limits):
        return stays
    considered = [reading for reading in readings if can_be_judged(reading, limits)]
    considered = considered[-limits.scans_considered :]

    def agreed(holds: Callable[[float], bool], since: datetime | None = None) -> bool:
        votes = [
            holds(reading.differentiated_fraction or 0.0)
            for reading in considered
            if since is None or reading.at > since
        ]
        return bool(votes) and votes[-1] and sum(votes) >= limits.scans_needed

    def passed(limit: float) -> bool:
        if agreed(lambda fraction: fraction > limit):
            return True
        newest = readings[-1].differentiated_fraction or 0.0
        return newest > limit and _rises_to(limit, readings, limits)

    is_differentiating = before.status is DishStatus.DIFFERENTIATING
    if is_differentiating and agreed(lambda fraction: fraction < limits.clear_below):
        return Judgement(DishStatus.UNDIFFERENTIATED, None, AlertKind.CLEARED)
    is_above = passed(limits.raise_above)
    if not is_differentiating and not is_above:
        first = before.status is DishStatus.UNKNOWN
        return Judgement(DishStatus.UNDIFFERENTIATED, None, None) if first else stays

    critical = limits.critical_above
    severity = before.severity if is_differentiating else None
    if critical is not None and passed(critical):
        severity = Severity.CRITICAL
    elif severity is None or agreed(lambda fraction: fraction < limits.critical_clear_below):
        severity = Severity.WARNING
    if not is_differentiating:
        return Judgement(DishStatus.DIFFERENTIATING, severity, AlertKind.RAISED)
    newly_critical = severity is Severity.CRITICAL and before.severity is not Severity.CRITICAL
    reported, step = before.reported, limits.worse_by
    risen = (
        reported is not None
        and step is not None
        and agreed(lambda fraction: fraction >= reported + step, since=before.reported_at)
    )
    worsened = newly_critical or risen
    return Judgement(DishStatus.DIFFERENTIATING, severity, AlertKind.WORSENED if worsened else None)


def _rises_to(limit: float, readings: Sequence[Reading], limits: DifferentiationConfig) -> bool:
    """Does the series surely rise, and is its robust level near `limit` already?"""
    if limits.trend_h is None:
        return False
    fit = [reading for reading in readings if can_be_judged(reading, limits)]
    found = trend(
        [reading.at for reading in fit],
        [reading.differentiated_fraction or 0.0 for reading in fit],
        window_h=limits.trend_h,
    )
    return found is not None and found.rises and found.level > NEAR * limit


def can_be_judged(reading: Reading, limits: DifferentiationConfig) -> bool:
    """Is there enough to go by? A fraction of a handful of cells says nothing."""
    return (
        reading.differentiated_fraction is not None
        and reading.confluence is not None
        and reading.confluence >= limits.min_confluence
        and not reading.doubts
    )
