"""When people are asked to look: scans call for an alert, and are not sure enough to raise one.

It is asked for calmly, at most once a dish; what doubt hides must be no worse hidden than before.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from monitor.config import DifferentiationConfig
from monitor.culture import AlertKind, DishStatus, Reading, Severity
from monitor.culture.doubt_words import named_interval
from monitor.decisions.status import (
    Judgement,
    can_be_read,
    is_in_doubt,
    latest,
    least_fraction,
    shown_fraction,
)

Change = tuple[AlertKind, str] | None
_UPWARDS = (AlertKind.RAISED, AlertKind.WORSENED)
SURE_AGAIN = "The scans can be relied on again."
SURE_AND_RAISED = "The scans can be relied on again: see the alert on differentiation."


def please_look(
    since: datetime | None,
    readings: Sequence[Reading],
    limits: DifferentiationConfig,
    found: Judgement,
    at_word: Judgement,
) -> Change:
    """What the newest reading begins, makes worse or ends.

    since : when people were asked; None = they are not
    readings : one a scan, oldest first, the newest last
    found : what the readings that count make of the dish
    at_word : what all would, were each taken at its word

    Asked for where scans taken at their word raise or worsen what those that count do not, and
    where as many as must agree on an alert are in doubt, whatever they read: what a model reads
    from an image that it does not know is no sign of health either. Over once as many in a
    row are sure.
    """
    newest, is_open = readings[-1], since is not None
    is_known = found.status is DishStatus.DIFFERENTIATING
    # Whoever has been told that a dish differentiates need not be asked because of an interval.
    if at_word.alert in _UPWARDS and (not is_known or is_in_doubt(newest)) and (
        found.alert not in _UPWARDS
    ):  # fmt: skip
        kind = AlertKind.WORSENED if is_open else AlertKind.RAISED
        return kind, _not_sure(newest, limits, at_word)
    known = [one for one in readings if one.doubt.in_doubt or can_be_read(one, limits)]
    if not known or known[-1] is not newest:
        return None
    votes, needed = latest(known, limits)
    doubted = [one.doubt.in_doubt for one in votes]
    if not is_open and doubted[-1] and sum(doubted) >= needed:
        several = f"{sum(doubted)} of the last {len(votes)} scans are", "them"
        which, them = ("The last scan is", "it") if len(votes) == 1 else several
        return AlertKind.RAISED, (
            f"{which} in doubt ({why(newest)}). No alert and no removal plan rests on {them}."
        )
    if since is None:
        return None
    sure = [not leaves_open(one, limits, found) for one in known[-needed:] if one.at > since]
    if len(sure) < needed or not all(sure):
        return None
    return AlertKind.CLEARED, SURE_AND_RAISED if is_known else SURE_AGAIN


def leaves_open(reading: Reading, limits: DifferentiationConfig, found: Judgement) -> bool:
    """Is it in doubt, or does its interval hold the limit that the dish would pass by it?"""
    if is_in_doubt(reading):
        return True
    if found.status is DishStatus.DIFFERENTIATING:
        return False
    return least_fraction(reading) <= limits.raise_above < shown_fraction(reading)


def lasts(
    since: datetime | None, readings: Sequence[Reading], limits: DifferentiationConfig
) -> str | None:
    """The sentence where people have been asked to look for long, and the scans are no surer."""
    newest = readings[-1]
    if since is None or limits.doubtful_for_h is None:
        return None
    lasting = newest.at - since
    if lasting < timedelta(hours=limits.doubtful_for_h):
        return None
    hours = lasting / timedelta(hours=1)
    share = newest.differentiated_fraction
    read = "" if share is None else f" Taken at its word, the last scan shows {_percent(share)}."
    return (
        f"For {hours:.0f} h the scans have not been sure enough to judge the dish by "
        f"({why(newest)}).{read} While that lasts, nothing else is said about differentiation: "
        "somebody has to look."
    )


def why(reading: Reading) -> str:
    """Why no alert rests on a reading, in words."""
    if is_in_doubt(reading):
        return ", ".join(reading.why_in_doubt)
    return named_interval(reading.doubt) or "other scans are in doubt"


def _not_sure(reading: Reading, limits: DifferentiationConfig, at_word: Judgement) -> str:
    limit = limits.raise_above
    if at_word.severity is Severity.CRITICAL and limits.critical_above is not None:
        limit = max(limit, limits.critical_above)
    because = why(reading)
    if not is_in_doubt(reading) and least_fraction(reading) > limit:
        because = "scans before this one are in doubt"
    return (
        f"Scans show {_percent(shown_fraction(reading))} differentiated, above the limit of "
        f"{_percent(limit)}, but are not sure enough for an alert or a removal plan ({because})."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
