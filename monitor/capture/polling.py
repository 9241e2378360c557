"""Looks through a folder again and again, for places that tell nobody of new files.

The same walk as the rescan's, and a look at each capture that it finds. A folder that goes away is
looked for until it is back, and what was known of it is kept meanwhile.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path

from monitor.capture.names.patterns import shown_name
from monitor.capture.walking import WalkLimits, walk

log = logging.getLogger(__name__)

Notice = Callable[[Path], None]

STOPPED_WITHIN_S = 5.0


class Troubles:
    """What cannot be seen, said once for as long as it lasts."""

    def __init__(self, say: Callable[[str], None] = log.warning) -> None:
        self._say = say
        self._before: dict[str, None] = {}
        self._now: dict[str, None] = {}

    def begin(self) -> None:
        """Of a look at everything."""
        self._now = {}

    def __call__(self, text: str) -> None:
        if text not in self._before and text not in self._now:
            self._say(text)
        self._now[text] = None

    def end(self) -> bool:
        """Of the look. Returns whether there were any."""
        self._before = self._now
        return bool(self._now)

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(self._before)


class Poller:
    """notice : called with each capture that is new or changed since the last look, the first time
        with all of them
    replaced : the same for a path that holds what lay at another path before: files were renamed
    root, left_out, limits : as of `walk`
    """

    def __init__(
        self,
        folder: Path,
        notice: Notice,
        replaced: Notice,
        *,
        every_s: float,
        root: str,
        left_out: Collection[str] = (),
        limits: WalkLimits | None = None,
    ) -> None:
        self._folder = folder
        self._notice, self._replaced = notice, replaced
        self._every_s = every_s
        self._root, self._left_out, self._limits = root, left_out, limits
        # Hashes, not paths: of a folder with a million files that is a fifth of the memory.
        self._signs: set[int] = set()
        self._places: dict[int, int] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"poll-{folder}", daemon=True)
        self.troubles = Troubles()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """No further notice comes. A thread that hangs on a dead share is left to itself."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOPPED_WITHIN_S)

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def look(self) -> None:
        """Look through the folder once."""
        signs: set[int] = set()
        places: dict[int, int] = {}
        self.troubles.begin()
        for found in walk(
            self._folder,
            root=self._root,
            left_out=self._left_out,
            complain=self.troubles,
            ended=self._stopping.is_set,
            limits=self._limits,
        ):
            sign = found.sign()
            if self._stopping.is_set():
                return
            if sign is None:
                continue  # gone between two looks: what it is called now is found, or will be
            place, identity = hash(found.path), hash(sign.identity)
            here = hash((place, sign))
            signs.add(here)
            places[identity] = place
            if here in self._signs:
                continue
            was = self._places.get(identity, place)
            (self._notice if was == place else self._replaced)(found.path)
        if self._stopping.is_set():
            return
        if self.troubles.end():
            # What could not be seen now is not new when it can be seen again.
            self._signs |= signs
            self._places |= places
        else:
            self._signs, self._places = signs, places

    def _run(self) -> None:
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self.look()
            except Exception:  # it would end the watching; the next look finds the files again
                log.exception("checking %s failed; it is tried again", shown_name(self._folder))
            # A share that takes longer than that is not asked without a pause.
            self._stopping.wait(max(self._every_s, time.monotonic() - began))
