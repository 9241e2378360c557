"""How often somebody may try to sign in: who guesses has to wait. Time is passed in."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address

WITHIN = timedelta(minutes=5)
OF_ONE, OF_A_NAME, OF_AN_ADDRESS = 5, 30, 30
_MOST_KEPT = 10_000


class Attempts:
    """Counts by name and address together, few; by name alone and by address alone, more: so that
    nobody keeps another out from elsewhere by a handful of wrong passwords.
    """

    def __init__(self) -> None:
        self._tried: OrderedDict[tuple[str, str], deque[datetime]] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, name: str, address: str, now: datetime) -> timedelta | None:
        """Counts it as an attempt; or, where there were too many, how long to wait.

        It counts before it is known how it ends, so that many at once are no way around.
        """
        with self._lock:
            kept = [(self._of(key, now), most) for key, most in _keys(name, address)]
            waits = [times[-most] + WITHIN - now for times, most in kept if len(times) >= most]
            if waits:
                return max(waits)
            for times, _ in kept:
                times.append(now)
        return None

    def succeeded(self, name: str, address: str) -> None:
        """It was no guess."""
        with self._lock:
            for key, _ in _keys(name, address):
                times = self._tried.get(key)
                if times:
                    times.pop()

    def _of(self, key: tuple[str, str], now: datetime) -> deque[datetime]:
        times = self._tried.setdefault(key, deque())
        self._tried.move_to_end(key)
        while times and times[0] <= now - WITHIN:
            times.popleft()
        while len(self._tried) > _MOST_KEPT:
            self._tried.popitem(last=False)
        return times


def _keys(name: str, address: str) -> list[tuple[tuple[str, str], int]]:
    name, address = name.strip().casefold()[:100], _network_of(address)
    return [
        ((name, address), OF_ONE),
        ((name, ""), OF_A_NAME),
        (("", address), OF_AN_ADDRESS),
    ]


def _network_of(address: str) -> str:
    """One machine has as many IPv6 addresses as it likes, all in one network of 64 bits."""
    try:
        there = ip_address(address)
    except ValueError:
        return address[:60]
    if isinstance(there, IPv6Address):
        return str(there.ipv4_mapped or IPv6Address(int(there) >> 64 << 64))
    return str(there)
