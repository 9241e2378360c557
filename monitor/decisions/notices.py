"""What else a dish's series says: it rises fast, is ready to be passaged, stops growing, or cannot
be judged. A function a rule, each with its row in alert_rules.

A rule is asked with

is_open : whether its alert is raised now
readings : one a scan, oldest first, the newest last
limit : its own, by the row; never asked where that is not set
limits : all of the dish's limits

and says what begins or ends with the newest reading: None = it stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

from monitor.config import DifferentiationConfig
from monitor.culture import AlertKind, Reading
from monitor.decisions.looks import why
from monitor.decisions.status import (
    can_be_judged,
    is_in_doubt,
    latest,
    least_fraction,
    shown_fraction,
)
from monitor.decisions.trend import Forecast, Trend, forecast, trend

# A passage takes most cells away; noise does not take a quarter.
CLEARED_BELOW = 0.75


def fraction_trend(readings: Sequence[Reading], limits: DifferentiationConfig) -> Trend | None:
    """How the differentiated fraction runs; readings that cannot be judged are left out."""
    return _trend(readings, limits, lambda reading: reading.differentiated_fraction)


def next_limit(readings: Sequence[Reading], limits: DifferentiationConfig) -> Forecast | None:
    """When the dish will pass the next limit above it; None where that cannot be said.

    The newest reading may have passed a limit that the level of the series lies below.
    """
    found = fraction_trend(readings, limits)
    if found is None:
        return None
    above = sorted({limits.raise_above, limits.critical_above or limits.raise_above})
    reached = max(found.level, readings[-1].differentiated_fraction or 0.0)
    ahead = [limit for limit in above if limit > reached]
    return forecast(found, ahead[0]) if ahead else None


def forecast_text(found: Forecast) -> str:
    """``will pass 30 % in 9 to 14 h``"""
    earliest = max(1, round(found.earliest_h))
    if found.latest_h is None:
        return f"will pass {found.limit:.0%} in {earliest} h at the earliest".replace("%", " %")
    latest = max(1, round(found.latest_h))
    span = f"{earliest} h" if earliest == latest else f"{earliest} to {latest} h"
    return f"will pass {found.limit:.0%} in {span}".replace("%", " %")


Change = tuple[AlertKind, str] | None
NOT_WATCHED = "Rises are no longer watched."
JUDGED_AGAIN = "The dish can be judged again."


def rising(
    is_open: bool, readings: Sequence[Reading], limit: float, limits: DifferentiationConfig
) -> Change:
    found = fraction_trend(readings, limits)
    if found is None:
        return (AlertKind.CLEARED, NOT_WATCHED) if is_open else None
    low, high = found.low_per_h * 24 * 100, found.high_per_h * 24 * 100
    rate = f"{low:.0f} to {high:.0f} points a day, seen over {found.hours:.0f} h"
    if not is_open and low > limit * 100:
        ahead = next_limit(readings, limits)
        then = f"; it {forecast_text(ahead)}" if ahead is not None else ""
        return AlertKind.RAISED, f"The differentiated share rises by {rate}{then}."
    if is_open and found.slope_per_h * 24 < limit / 2:
        return AlertKind.CLEARED, f"The differentiated share no longer rises fast ({rate})."
    return None


def confluent(
    is_open: bool, readings: Sequence[Reading], limit: float, limits: DifferentiationConfig
) -> Change:
    known = [one for one in readings if one.confluence is not None and not is_in_doubt(one)]
    if not known or known[-1] is not readings[-1]:
        return None
    votes, needed = latest(known, limits)
    values = [one.confluence or 0.0 for one in votes]
    newest = f"{100 * values[-1]:.0f} %"
    if not is_open and _agreed([value > limit for value in values], needed):
        return AlertKind.RAISED, f"The cells cover {newest}: time to passage the dish."
    if is_open and _agreed([value < CLEARED_BELOW * limit for value in values], needed):
        return AlertKind.CLEARED, f"The cells now cover {newest}."
    return None


def past_saving(
    is_open: bool, readings: Sequence[Reading], limit: float, limits: DifferentiationConfig
) -> Change:
    known = [one for one in readings if can_be_judged(one, limits)]
    if not known or known[-1] is not readings[-1]:
        return None
    votes, needed = latest(known, limits)
    values = [shown_fraction(one) for one in votes]
    newest = f"{100 * values[-1]:.0f} %"
    if not is_open and _agreed([least_fraction(one) > limit for one in votes], needed):
        return (
            AlertKind.RAISED,
            f"{newest} of the cells are differentiated: past saving. Discard the dish; no removal "
            "plan is made.",
        )
    if is_open and _agreed([value < CLEARED_BELOW * limit for value in values], needed):
        return AlertKind.CLEARED, f"{newest} of the cells are differentiated now."
    return None


def growth_stopped(
    is_open: bool, readings: Sequence[Reading], limit: float, limits: DifferentiationConfig
) -> Change:
    found = _trend(readings, limits, lambda reading: reading.confluence)
    if found is None or found.level <= 0 or limits.trend_h is None:
        return None
    # As a share of what is there, so that one limit holds for small and large colonies.
    low, high = found.low_per_h * 24 / found.level, found.high_per_h * 24 / found.level
    rate = f"{100 * low:.0f} to {100 * high:.0f} % a day, seen over {found.hours:.0f} h"
    is_long = found.hours >= limits.trend_h / 2
    if not is_open and is_long and high < limit:
        return AlertKind.RAISED, f"The cells hardly grow: {rate}."
    if is_open and low > limit:
        return AlertKind.CLEARED, f"The cells grow again: {rate}."
    return None


def doubtful(
    is_open: bool, readings: Sequence[Reading], limit: float, limits: DifferentiationConfig
) -> Change:
    newest = readings[-1]
    if is_open and not is_in_doubt(newest):
        return AlertKind.CLEARED, JUDGED_AGAIN
    if is_open or not is_in_doubt(newest):
        return None
    first = newest
    for reading in reversed(readings):
        if not is_in_doubt(reading):
            break
        first = reading
    lasting = newest.at - first.at
    if lasting < timedelta(hours=limit):
        return None
    hours = lasting.total_seconds() / 3600
    return (
        AlertKind.RAISED,
        f"No scan could be judged for {hours:.0f} h ({why(newest)}). While that lasts, nothing is "
        "said about differentiation.",
    )


def _agreed(votes: Sequence[bool], needed: int) -> bool:
    return votes[-1] and sum(votes) >= needed


def _trend(
    readings: Sequence[Reading],
    limits: DifferentiationConfig,
    value: Callable[[Reading], float | None],
) -> Trend | None:
    if limits.trend_h is None:
        return None
    fit = [one for one in readings if can_be_judged(one, limits)]
    if not fit or fit[-1] is not readings[-1]:
        return None
    return trend(
        [one.at for one in fit], [value(one) or 0.0 for one in fit], window_h=limits.trend_h
    )
