"""Whether the record is there: noticed when it goes, told at once, and noticed when it is back.

A record that is gone can hold no alert, so people are told straight. Nothing is begun anew in its
place: an empty record would mail old alerts again and know nothing of what was decided.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from monitor.config import Config
from monitor.errors import RecordError, RecordGoneError
from monitor.jobs.emergency import tell_everybody
from monitor.record.store import Store

log = logging.getLogger(__name__)

# Where nobody could be told, it is tried again so often.
TELL_AGAIN = timedelta(minutes=1)


class RecordWatch:
    """clock : the wall clock"""

    def __init__(self, config: Config, store: Store, clock: Callable[[], datetime]) -> None:
        self._config = config
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._why = ""
        self._said = ""
        self._told = False
        self._tell_at: datetime | None = None
        self.gone_since: datetime | None = None

    @property
    def is_gone(self) -> bool:
        return self.gone_since is not None

    @property
    def why(self) -> str:
        return self._why

    def gone(self, problem: RecordGoneError) -> None:
        """A transaction has found it gone. From any thread."""
        with self._lock:
            if self.gone_since is None:
                self.gone_since = self._clock()
                self._why = str(problem)
                log.critical("%s", problem)
                self._store.database.note_gone(self._why)

    def look(self) -> bool:
        """Look whether it is in its place. True: it was gone and is back."""
        if not self.is_gone:
            try:
                self._store.database.refuse_gone()
            except RecordGoneError as problem:
                self.gone(problem)
            else:
                return False
        self._tell()
        why = self._why_not_back()
        if why is None:
            return True
        if why != self._said:
            log.error("the record is not back: %s", why)
            self._said = why
        return False

    def _why_not_back(self) -> str | None:
        try:
            return self._store.database.why_not_back()
        except RecordError as problem:
            return str(problem)

    def _tell(self) -> None:
        now = self._clock()
        if self._told or (self._tell_at is not None and now < self._tell_at):
            return
        self._tell_at = now + TELL_AGAIN
        assert self.gone_since is not None
        self._told = say_to_all(
            self._config,
            f"the record is GONE on {socket.gethostname()}",
            f"{self._why}\n\nSince {self.gone_since:%Y-%m-%d %H:%M} UTC no culture is watched and "
            "no alert is sent. The daemon waits and goes on by itself when the record is back. "
            "To begin a new, empty record instead, start the daemon again.\n",
            now,
        )


def say_back(config: Config, gone_since: datetime, now: datetime) -> bool:
    """The record is there again, and the daemon has started anew on it."""
    text = (
        f"The record is back, and the daemon goes on with it. It had been gone since "
        f"{gone_since:%Y-%m-%d %H:%M} UTC; captures that came meanwhile are being read now.\n"
    )
    log.warning("%s", text.strip())
    return say_to_all(config, f"the record is back on {socket.gethostname()}", text, now)


def say_to_all(config: Config, subject: str, text: str, now: datetime) -> bool:
    """Whether there was nobody to tell, or somebody was told."""
    told, problems = tell_everybody(config.outlets, config.mailbox, subject, text, now)
    for problem in problems:
        log.error("%s", problem)
    if told:
        log.info("told: %s", ", ".join(told))
    return bool(told) or not problems
