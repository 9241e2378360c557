"""A settled file becomes a known capture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from monitor.capture.choosing import FieldChooser
from monitor.capture.filesets import (
    FilesetTooLargeError,
    hash_file,
    look_at_file,
    look_at_open_file,
)
from monitor.capture.names.patterns import shown_name
from monitor.config import Config
from monitor.culture import Capture, FieldIdentity
from monitor.errors import CaptureError
from monitor.host.clock import Clock
from monitor.record.intake import TakenIn
from monitor.record.sightings import SeenFile
from monitor.record.store import Store


class Intake:
    """patient : a file that cannot be read and is still young may be half written, and waits"""

    def __init__(self, config: Config, store: Store, clock: Clock, *, patient: bool) -> None:
        self._config = config
        self._store = store
        self._clock = clock
        self._patient = patient
        self.chooser = FieldChooser()

    def take_in(self, path: Path, source: str) -> tuple[TakenIn, Capture] | None:
        """Make a settled file known to the record; None where it went away."""
        return self.take_in_all([(path, source)])[0]

    def take_in_all(
        self, files: Sequence[tuple[Path, str]]
    ) -> list[tuple[TakenIn, Capture] | None]:
        """As `take_in`, for (file, source) pairs at once, in their order."""
        looks = [self.look(path, source) for path, source in files]
        taken = iter(self._store.captures.take_in_all([one for one in looks if one], self._clock()))
        return [None if seen is None else next(taken) for seen in looks]

    def left_out(self, path: Path, source: str) -> str | None:
        """Why a file of the source is none of ours, such as "channel C1"; None where it is ours.

        It then gets no row: it is no capture, and a change of the settings takes effect at once.
        """
        try:
            return self.chooser.choose(path, self._config.settings_of(source)).left_out
        except CaptureError:
            return None  # said when its turn comes

    def look(self, path: Path, source: str) -> SeenFile | None:
        """What a file is, and of which field by its name; None where it is not there."""
        seen = look_at(path, source)
        if seen is None:
            return None
        empty = seen.problem is not None and seen.problem[0] == "empty"
        if empty and self.is_young(path, source, None):
            seen = replace(seen, transient=True)
        return replace(seen, identity=self._identity(path, source))

    def _identity(self, path: Path, source: str) -> FieldIdentity | None:
        try:
            return self.chooser.name(path, self._config.settings_of(source)).identity(source)
        except CaptureError:
            return None  # said when its turn comes

    def is_young(self, path: Path, source: str, first_seen_at: datetime | None) -> bool:
        """May the file still be in the making? By its age on the disk.

        A time of the future comes from an imager whose clock runs ahead; the file is then as old
        as our first look at it.
        """
        settings = self._config.source_called(source)
        if not self._patient or settings is None:
            return False
        now = self._clock()
        try:
            written = datetime.fromtimestamp(look_at_file(path).mtime_ns / 1e9, UTC)
        except OSError:
            return False
        if written > now:
            written = first_seen_at or now
        # Seen in a time to come, before our own clock was set back: then how old it is cannot be
        # told, and it is not to wait until that time comes again.
        return 0 <= (now - written).total_seconds() < settings.young_s


def look_at(path: Path, source: str) -> SeenFile | None:
    """Size, time and hash of a file; None where it is not there. Only regular files are opened."""
    try:
        before = look_at_open_file(path)
    except FileNotFoundError:
        return None
    except FilesetTooLargeError as problem:
        return SeenFile(path, source, 0, 0, None, ("too-large", f"{shown_name(path)}: {problem}"))
    except OSError as problem:
        return SeenFile(path, source, 0, 0, None, _unreachable(path, problem), transient=True)
    size, mtime_ns = before.size, before.mtime_ns
    if not before.is_regular:
        # Opening a FIFO or a device could block for ever.
        problem_text = f"{shown_name(path)}: is not a regular file"
        return SeenFile(path, source, size, mtime_ns, None, ("not-a-file", problem_text))
    if size == 0:
        text = (
            f"{shown_name(path)}: is empty; if the imager is still writing, it is read "
            "when finished"
        )
        return SeenFile(path, source, 0, mtime_ns, None, ("empty", text))
    try:
        sha256 = hash_file(path)
    except FileNotFoundError:
        return None
    except OSError as problem:
        return SeenFile(
            path, source, size, mtime_ns, None, _unreachable(path, problem), transient=True
        )
    return SeenFile(path, source, size, mtime_ns, sha256)


def _unreachable(path: Path, problem: OSError) -> tuple[str, str]:
    reason = "no-permission" if isinstance(problem, PermissionError) else "io-error"
    return reason, f"{shown_name(path)}: cannot be read ({os.strerror(problem.errno or 0)})"
