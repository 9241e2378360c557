"""Does an imager's clock run right? Dates of captures against when they arrive. Pure rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from monitor.config.confirmation import ClockConfig

# Captures that a judgement may rest on.
KEPT = 12
# A clock that is behind shows in so many captures of different times over so long ...
_BEHIND = 4
_BEHIND_FOR = timedelta(hours=1)
# ... that are late by the same, give or take so much.
_SAME = timedelta(minutes=10)


@dataclass(frozen=True)
class Arrival:
    """A capture of a source, in the order of arrival.

    dated : when it was taken, as it says itself
    seen : when it was first seen; written : when its file was last written to, None = not known
    """

    dated: datetime
    seen: datetime
    written: datetime | None = None


def clock_off(arrivals: Sequence[Arrival], limits: ClockConfig) -> timedelta | None:
    """How far the source's clock is ahead (above 0) or behind (below 0); None = not known to be.

    Ahead: the newest arrival is dated after it came. Behind: the last ones came one by one, each
    late by the same, and their files were written when they came. A backlog, a copy with old dates,
    and a transfer that takes its time are no evidence of it: they come late by different times, or
    hold files that were written when they are dated.
    """
    if not arrivals:
        return None
    newest = arrivals[-1]
    ahead = newest.dated - newest.seen
    if ahead > timedelta(minutes=limits.ahead_min):
        return ahead
    if limits.behind_min is None or len(arrivals) < _BEHIND:
        return None
    last = arrivals[-_BEHIND:]
    late = [one.seen - one.dated for one in last]
    is_live = all(a.seen < b.seen and a.dated < b.dated for a, b in pairwise(last))
    if (
        is_live
        and last[-1].seen - last[0].seen >= _BEHIND_FOR
        and min(late) > timedelta(minutes=limits.behind_min)
        and max(late) - min(late) <= _SAME
        and all(one.written is not None and one.seen - one.written <= _SAME for one in last)
    ):
        return -min(late)
    return None


def off_text(source: str, off: timedelta) -> str:
    """A sentence on a clock, with what to do."""
    seconds = abs(off) / timedelta(seconds=1)
    minutes = seconds / 60
    if minutes < 90:
        far = f"{minutes:.0f} min"
    elif minutes < 72 * 60:
        far = f"{minutes / 60:.1f} h"
    else:
        far = f"{minutes / 1440:.0f} days"
    cure = (
        f"Set the imager's clock or this machine's, or the timezone of source {source} in "
        "config.yaml, which also corrects what is on record."
    )
    if off > timedelta():
        return (
            f"Captures of source {source} are dated {far} after they arrive. Captures dated like "
            f"this are in doubt, and nothing is decided by them. {cure}"
        )
    return (
        f"Captures of source {source} keep arriving {far} after their dates, "
        f"always by the same amount. {cure}"
    )
