"""A dish's status from its latest readings: N of M scans, and two limits so that it cannot flap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.config import DifferentiationConfig
from monitor.culture import AlertKind, DishStatus, Reading, Severity
from monitor.culture.course import Standing
from monitor.decisions.trend import trend

# A rise brings a series to a limit if its level is above so much of it, and its line, continued for
# so many hours, passes it. Measured with the defaults on simulated series (docs/alerts.md).
NEAR = 0.7
AHEAD_H = 6.0
# A rise is seen over at least so many scans, however far apart they are.
RISE_SCANS = 6


@dataclass(frozen=True)
class Judgement:
    """What the newest reading makes of a dish, and the alert that this change calls for."""

    status: DishStatus
    severity: Severity | None
    alert: AlertKind | None


def judge(
    before: Standing,
    readings: Sequence[Reading],
    limits: DifferentiationConfig,
    *,
    at_word: bool = False,
) -> Judgement:
    """Status after the newest reading; between two limits it stays as it was.

    readings : one a scan, oldest first, the newest last
    at_word : what it would be if no reading were in doubt and each showed just its fraction

    Each step is taken where the newest reading and enough of those that are `considered` call for
    it. A step upwards is taken at the newest reading's word where the series surely rises to the
    limit: what debris or condensation does to two or three scans of a flat series is no rise.

    A step upwards is taken at a reading that surely shows it, by the low end of its interval, where
    others agree by their fractions. One downwards rests on fractions alone: an interval that
    reaches above a limit is the usual thing in a healthy dish, and an alert that could not end
    would be read by nobody.

    raised : above `raise_above`; worsened : above `critical_above` for the first time, or by
    `worse_by` above what was last reported; cleared : below `clear_below`. A dish that falls below
    `critical_clear_below` is a warning again, without an alert. Where the newest reading is above
    `raise_above` and too few agree yet, the dish is said to be above the limit, without an alert.
    """
    # In one piece: the order of the steps is the rule.
    stays = Judgement(before.status, before.severity, None)
    fit = [one for one in readings if counts(one, limits, at_word=at_word)]
    if not fit or fit[-1] is not readings[-1]:
        return stays
    votes_of, needed = latest(fit, limits)
    shown = shown_fraction if at_word else least_fraction

    def agreed(holds: Callable[[Reading], bool], since: datetime | None = None) -> bool:
        votes = [holds(one) for one in votes_of if since is None or one.at > since]
        return bool(votes) and votes[-1] and sum(votes) >= needed

    def passed(limit: float) -> bool:
        return shown(readings[-1]) > limit and (
            agreed(lambda one: shown_fraction(one) > limit) or _rises_to(limit, fit, limits)
        )

    is_differentiating = before.status is DishStatus.DIFFERENTIATING
    if is_differentiating and agreed(lambda one: shown_fraction(one) < limits.clear_below):
        return Judgement(DishStatus.UNDIFFERENTIATED, None, AlertKind.CLEARED)
    is_above = passed(limits.raise_above)
    if not is_differentiating and not is_above:
        is_waited_for = shown_fraction(readings[-1]) > limits.raise_above
        status = DishStatus.ABOVE_LIMIT if is_waited_for else DishStatus.UNDIFFERENTIATED
        return Judgement(status, None, None)

    critical = limits.critical_above
    severity = before.severity if is_differentiating else None
    if critical is not None and passed(critical):
        severity = Severity.CRITICAL
    elif severity is None or agreed(lambda one: shown_fraction(one) < limits.critical_clear_below):
        severity = Severity.WARNING
    if not is_differentiating:
        return Judgement(DishStatus.DIFFERENTIATING, severity, AlertKind.RAISED)
    newly_critical = severity is Severity.CRITICAL and before.severity is not Severity.CRITICAL
    reported, step = before.reported, limits.worse_by
    risen = (
        reported is not None
        and step is not None
        and shown(readings[-1]) >= reported
        and agreed(lambda one: shown_fraction(one) >= reported + step, since=before.reported_at)
    )
    worsened = newly_critical or risen
    return Judgement(DishStatus.DIFFERENTIATING, severity, AlertKind.WORSENED if worsened else None)


def considered(
    readings: Sequence[Reading], limits: DifferentiationConfig
) -> tuple[list[Reading], int]:
    """The readings whose votes count, and how many of them must agree.

    `scans_needed` of the last `scans_considered` within `votes_within_h`; where more scans than
    these were taken within the last `agree_h`, the same share of all of them. An hour of
    condensation is one scan of a dish that is scanned every 6 h and four of one that is scanned
    every 15 minutes. Readings without a fraction, with too few cells or in doubt do not count,
    neither for nor against.
    """
    return latest([one for one in readings if can_be_judged(one, limits)], limits)


def latest(readings: Sequence[Reading], limits: DifferentiationConfig) -> tuple[list[Reading], int]:
    """As `considered`, of readings that all count."""
    if not readings:
        return [], limits.scans_needed
    newest = readings[-1].at
    since = newest - timedelta(hours=min(limits.agree_h, limits.votes_within_h))
    recent = sum(reading.at >= since for reading in readings)
    # Where one scan is enough to the lab, it is enough however often there is one.
    if recent <= limits.scans_considered or limits.scans_considered == 1:
        # What grew in the same place last year says nothing of what grows there now.
        oldest = newest - timedelta(hours=limits.votes_within_h)
        votes = [one for one in readings[-limits.scans_considered :] if one.at >= oldest]
        return votes, limits.scans_needed
    return list(readings[-recent:]), -(-limits.scans_needed * recent // limits.scans_considered)


def _rises_to(limit: float, fit: Sequence[Reading], limits: DifferentiationConfig) -> bool:
    """Does the series surely rise, is its robust level near `limit`, and will it soon pass it?

    fit : the readings that count
    """
    if limits.trend_h is None:
        return False
    spanned = (fit[-1].at - fit[-RISE_SCANS:][0].at) / timedelta(hours=1)
    found = trend(
        [reading.at for reading in fit],
        [shown_fraction(reading) for reading in fit],
        window_h=min(limits.trend_h, max(limits.rise_h, spanned)),
    )
    return (
        found is not None
        and found.rises
        and found.level > NEAR * limit
        and found.level + AHEAD_H * found.slope_per_h > limit
    )


# --- what a reading is worth ----------------------------------------------------------------------


def counts(reading: Reading, limits: DifferentiationConfig, *, at_word: bool) -> bool:
    return can_be_read(reading, limits) if at_word else can_be_judged(reading, limits)


def can_be_judged(reading: Reading, limits: DifferentiationConfig) -> bool:
    """Is there enough to go by? A fraction of a handful of cells says nothing, nor does one that
    the model or the check of the image doubts.
    """
    return can_be_read(reading, limits) and not is_in_doubt(reading)


def can_be_read(reading: Reading, limits: DifferentiationConfig) -> bool:
    """Is there a fraction, of enough cells?"""
    return (
        reading.differentiated_fraction is not None
        and reading.confluence is not None
        and reading.confluence >= limits.min_confluence
    )


def is_in_doubt(reading: Reading) -> bool:
    """By its images, their dates, or the model's own word."""
    return bool(reading.doubts or reading.doubt.reasons)


def shown_fraction(reading: Reading) -> float:
    return reading.differentiated_fraction or 0.0


def least_fraction(reading: Reading) -> float:
    """What a reading surely shows: the low end of its interval. One that is not calibrated holds
    for nothing, so that there the fraction itself counts: a lab whose images are new to the model
    gets its alerts all the same.
    """
    fraction, doubt = shown_fraction(reading), reading.doubt
    if doubt.interval is None or not doubt.calibrated:
        return fraction
    return min(fraction, doubt.interval[0])
