"""Was a dish passaged, and till when does it count as freshly passaged? Pure rules.

After a passage the cells lie singly and in small clumps, which look differentiated to a network as
to a beginner. A person tells of a passage, or the series shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import median

from monitor.config import DifferentiationConfig
from monitor.culture import DishStatus, Reading, Stand
from monitor.decisions.status import least_fraction

# A dish that is thinner than that before is not passaged, and small changes look large in it.
LEAST_COVER = 0.10
# Pieces smaller by that: a dish that lost half its cells in whole colonies was picked or knocked.
SMALLER = 0.5
# Scans before the fall that say how the dish stood, and how many there must be.
_BEFORE, _FEWEST = 4, 2
# So much of what there was, so soon: the cells were never gone.
_BACK, _BACK_WITHIN = 0.75, timedelta(hours=12)
# Cells that were passaged have grown so much before they are passaged again.
_GROWN = 2.0


def fresh_until(passaged_at: datetime | None, limits: DifferentiationConfig) -> datetime | None:
    """From when on a dish is judged by the usual rules; None = at any time."""
    if passaged_at is None or limits.fresh_for_h is None:
        return None
    return passaged_at + timedelta(hours=limits.fresh_for_h)


def passage_shown(
    before: Stand,
    readings: Sequence[Reading],
    limits: DifferentiationConfig,
    last: datetime | None = None,
) -> datetime | None:
    """When the series shows a passage that its newest reading makes sure; None = it shows none.

    readings : one a scan, oldest first, the newest last
    last : the passage before, of which the dish is fresh no more

    The confluence has fallen below `passage_below` of what it was, in pieces of less than half the
    size, in two scans (in one, where that is enough to the lab for an alert). A dish that was above
    its limit before is none: its cells may well have come off because they differentiate, so its
    alert stands and goes on. What has not grown since the last passage was not passaged again: it
    dies.
    """
    if limits.passage_below is None or limits.fresh_for_h is None:
        return None
    at_word = before.at_word or before
    if DishStatus.DIFFERENTIATING in (before.status, at_word.status):
        return None
    known = [one for one in readings if one.confluence is not None and not one.doubts]
    sure_of = min(2, limits.scans_needed)
    if not known or known[-1] is not readings[-1] or len(known) <= sure_of:
        return None
    fallen, earlier = known[-sure_of:], known[:-sure_of]
    oldest = fallen[0].at - timedelta(hours=limits.votes_within_h)
    usual_from = fresh_until(last, limits)
    if usual_from is not None:
        oldest = max(oldest, usual_from)
    earlier = [one for one in earlier[-_BEFORE:] if one.at >= oldest]
    if len(earlier) < min(_FEWEST, limits.scans_needed):
        return None
    cover, piece = _cover(earlier), median(_piece(one) for one in earlier)
    if cover < LEAST_COVER or _were_above(earlier, limits):
        return None
    if not all(
        0 < (one.confluence or 0.0) < limits.passage_below * cover and _piece(one) < SMALLER * piece
        for one in fallen
    ):
        return None
    if last is not None and usual_from is not None:
        fresh = [one.confluence or 0.0 for one in known if last <= one.at < usual_from]
        if fresh and cover < _GROWN * min(fresh):
            return None
    return fallen[0].at


def passage_text(readings: Sequence[Reading], seen: datetime, judged_from: datetime) -> str:
    """What people are told of a passage that nobody told of."""
    earlier = [one for one in readings if one.at < seen and one.confluence is not None]
    newest = readings[-1]
    share = ""
    if newest.differentiated_fraction is not None:
        share = (
            f" {100 * newest.differentiated_fraction:.0f} % of them look differentiated, as single "
            "cells and small clumps do."
        )
    return (
        f"The cells cover {100 * (newest.confluence or 0.0):.0f} % after "
        f"{100 * _cover(earlier[-_BEFORE:]):.0f} %, in smaller pieces: taken for a passage.{share} "
        f"Until {judged_from:%Y-%m-%d %H:%M} UTC no alert is raised on their share and no removal "
        "plan is made."
    )


def was_none(
    passaged_at: datetime, readings: Sequence[Reading], limits: DifferentiationConfig
) -> bool:
    """Are the cells back so soon that they cannot have been gone? The imager looked elsewhere."""
    known = [one for one in readings if one.confluence is not None and not one.doubts]
    earlier = [one for one in known if one.at < passaged_at][-_BEFORE:]
    since = [one for one in known if one.at >= passaged_at]
    sure_of = min(2, limits.scans_needed)
    if not earlier or len(since) <= sure_of or since[-1] is not readings[-1]:
        return False
    back = _BACK * _cover(earlier)
    return since[-sure_of].at <= passaged_at + _BACK_WITHIN and all(
        (one.confluence or 0.0) >= back for one in since[-sure_of:]
    )


def _cover(readings: Sequence[Reading]) -> float:
    return median(one.confluence or 0.0 for one in readings)


def _piece(reading: Reading) -> float:
    """Size of a piece of cells, as a share of a field; 0 where all are too small to be counted."""
    if not reading.colonies:
        return 0.0
    return (reading.confluence or 0.0) * reading.captures / reading.colonies


def _were_above(readings: Sequence[Reading], limits: DifferentiationConfig) -> bool:
    """Did the scans before the fall surely show more than the limit, or most of them seem to?"""
    above = [one.differentiated_fraction or 0.0 for one in readings]
    seemed = sum(one > limits.raise_above for one in above)
    sure = [one for one in readings if not one.doubt.in_doubt]
    return 2 * seemed > len(above) or bool(sure and least_fraction(sure[-1]) > limits.raise_above)
