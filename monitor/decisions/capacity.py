"""Does a machine keep up with what comes? A pure rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

# So much of the time at work leaves room for a backlog, and for other programs.
BUSY, TOO_MUCH = 0.7, 1.0
FEWEST_SCANS = 3


@dataclass(frozen=True)
class Load:
    """scan_s : seconds that a scan takes to measure; every_s : seconds from one scan of any dish to
    the next
    """

    source: str
    scan_s: float
    every_s: float

    @property
    def share(self) -> float:
        """Of the time that measuring takes."""
        return self.scan_s / self.every_s if self.every_s > 0 else float("inf")


def load_of(
    source: str, scans: Sequence[tuple[datetime, float]], *, expected_every_s: float | None = None
) -> Load | None:
    """From when scans were taken and how long each took to measure; None where they are too few.

    scans : (taken at, seconds), a pair a scan, in any order
    expected_every_s : as the configuration says it, where it does; what is shorter counts
    """
    if len(scans) < FEWEST_SCANS:
        return None
    times = sorted(at for at, _ in scans)
    every_s = (times[-1] - times[0]).total_seconds() / (len(times) - 1)
    if expected_every_s is not None:
        every_s = min(every_s, expected_every_s) if every_s > 0 else expected_every_s
    scan_s = sum(took for _, took in scans) / len(scans)
    return Load(source, scan_s, every_s)


def verdict(loads: Sequence[Load]) -> tuple[bool | None, str]:
    """(is it well, what to say). None: hardly."""
    share = sum(one.share for one in loads)
    listed = "; ".join(
        f"{one.source}: a scan takes this machine {_span(one.scan_s)}, one comes every "
        f"{_span(one.every_s)}"
        for one in loads
    )
    if share > TOO_MUCH:
        return False, f"{listed}: too much, {share:.0%} of the time; what waits grows without end"
    if share > BUSY:
        return None, f"{listed}: just enough, {share:.0%} of the time; a backlog takes long"
    return True, f"{listed}: fine, {share:.1%} of the time"


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
