"""How far long work has come, how fast it goes, and how long it will take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

# The rate is that of the last minutes: the first captures wait for the model to be loaded.
RECENT_S = 120.0
LINE_EVERY_S = 30.0


@dataclass
class Pace:
    """Counts done work. Pure: the time is a monotonic clock's, passed in.

    total : how much there is to do
    done, skipped : worked on; found to need no work, which says nothing of the rate
    """

    total: int
    begun: float
    done: int = 0
    skipped: int = 0
    _recent: deque[tuple[float, int]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._recent.append((self.begun, 0))

    def advance(self, now: float) -> None:
        self.done += 1
        self._recent.append((now, self.done))
        while len(self._recent) > 2 and self._recent[1][0] < now - RECENT_S:
            self._recent.popleft()

    def skip(self, count: int) -> None:
        self.skipped += count

    def per_s(self, now: float) -> float | None:
        """Lately; None before the first is done."""
        since, done_before = self._recent[0]
        if self.done == done_before or now <= since:
            return None
        return (self.done - done_before) / (now - since)

    def left_s(self, now: float) -> float | None:
        rate = self.per_s(now)
        left = max(self.total - self.done - self.skipped, 0)
        return None if rate is None else left / rate

    def text(self, now: float) -> str:
        """``2.4 a second, 12 min left``; empty before the first is done."""
        rate, left = self.per_s(now), self.left_s(now)
        if rate is None or left is None:
            return ""
        speed = f"{rate:.1f} a second" if rate >= 1 else f"{rate * 60:.1f} a minute"
        return f"{speed}, {_duration(left)} left"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


class Count:
    """One kind of work, shown as it goes."""

    def __init__(self, pace: Pace, show: Callable[[Pace, float], None]) -> None:
        self._pace = pace
        self._show = show

    def advance(self) -> None:
        now = time.monotonic()
        self._pace.advance(now)
        self._show(self._pace, now)

    def skip(self, count: int) -> None:
        self._pace.skip(count)
        self._show(self._pace, time.monotonic())


class Rate:
    """Makes counts; shows a bar on a terminal and a line now and then elsewhere."""

    def __init__(self, console: Console, progress: Progress, *, quiet: bool) -> None:
        self._console = console
        self._progress = progress
        self._quiet = quiet

    def count(self, total: int, what: str) -> Count:
        """what : as in ``segmenting``"""
        pace = Pace(total, time.monotonic())
        if self._quiet:
            return Count(pace, lambda pace, now: None)
        if not self._console.is_terminal:
            return Count(pace, self._lines(what))
        task = self._progress.add_task(what, total=total, pace="")

        def show(pace: Pace, now: float) -> None:
            self._progress.update(task, completed=pace.done + pace.skipped, pace=pace.text(now))

        return Count(pace, show)

    def _lines(self, what: str) -> Callable[[Pace, float], None]:
        last = time.monotonic()

        def show(pace: Pace, now: float) -> None:
            nonlocal last
            if now - last < LINE_EVERY_S:
                return
            last = now
            text = pace.text(now)
            self._console.print(
                f"{what}: {pace.done + pace.skipped} of {pace.total}{', ' * bool(text)}{text}",
                markup=False,
                soft_wrap=True,
            )

        return show


@contextmanager
def show_rate(console: Console, *, quiet: bool) -> Iterator[Rate]:
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}"),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    ) as progress:
        yield Rate(console, progress, quiet=quiet)
