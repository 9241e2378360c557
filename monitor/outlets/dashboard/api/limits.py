"""How often one address may ask, so that a program gone wild leaves the others their turn."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

_MOST_KNOWN = 10_000


class Allowance:
    """So many requests at once, and so many a second after that, for each who asks."""

    def __init__(
        self, per_s: float, at_once: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_s, self._at_once, self._clock = per_s, at_once, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, who: str) -> float:
        """0 where a request is granted, which it then is; else how long to wait for one."""
        now = self._clock()
        with self._lock:
            left, at = self._left.pop(who, (float(self._at_once), now))
            left = min(self._at_once, left + (now - at) * self._per_s)
            granted = left >= 1
            self._left[who] = (left - 1 if granted else left), now
            while len(self._left) > _MOST_KNOWN:
                self._left.popitem(last=False)
            return 0.0 if granted else (1 - left) / self._per_s
