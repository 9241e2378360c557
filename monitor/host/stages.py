"""How long each stage of a program's work took in all, and how often it had something to do."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stages:
    """Told from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals: dict[str, tuple[float, int]] = {}

    def add(self, stage: str, took_s: float, count: int = 1) -> None:
        """Nothing is added where there was nothing to do."""
        if count <= 0:
            return
        with self._lock:
            seconds, runs = self._totals.get(stage, (0.0, 0))
            self._totals[stage] = seconds + took_s, runs + count

    @contextmanager
    def timed(self, stage: str, count: int = 1) -> Iterator[None]:
        """Adds the time inside, also where it fails."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.add(stage, time.monotonic() - began, count)

    def totals(self) -> dict[str, list[float]]:
        """By stage: [seconds, how often], fit for JSON."""
        with self._lock:
            return {stage: [round(took, 3), runs] for stage, (took, runs) in self._totals.items()}
