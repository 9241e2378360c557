"""Sidecars and companions that came, or changed, after the pictures that they describe.

Imagers write them when a plate is done. What was recorded before is completed then: measured once
more, with the right pixel size and time, into the scan that it belongs to.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path

from monitor.capture.formats.sidecars import beside_hash, looks_beside, read_beside
from monitor.capture.names.parts import shown_name
from monitor.capture.naming import companion_hash, name_capture
from monitor.config import Config, SourceSettings
from monitor.culture import UNLISTED
from monitor.errors import CaptureError
from monitor.record.beside import MeasuredFile
from monitor.record.store import Store

log = logging.getLogger(__name__)

# Older captures are completed by `reprocess` alone.
LOOKED_BACK = timedelta(days=30)


def described_anew(
    config: Config, store: Store, *, dish: str | None = None, folders: Iterable[Path] | None = None
) -> list[MeasuredFile]:
    """Measured captures of which the files beside them say something else now.

    A sidecar that is gone changes nothing: what it said is on record.
    dish : only of this one; folders : only in these; None = all that are on record
    """
    found: list[MeasuredFile] = []
    for folder in store.beside.folders() if folders is None else folders:
        if looks_beside(folder):
            found += _changed_in(config, store, folder, dish)
    return found


def _changed_in(config: Config, store: Store, folder: Path, dish: str | None) -> list[MeasuredFile]:
    known: dict[str, SourceSettings] = {source.name: source for source in config.sources}
    known[UNLISTED] = config.unlisted
    changed = []
    for file in store.beside.measured_in(folder, dish=dish):
        settings = known.get(file.source)
        if settings is None:
            continue  # how its names are to be read is not known
        try:
            named = name_capture(file.path, settings.names, settings.zone, settings.start)
        except CaptureError:
            continue
        said = read_beside(file.path, named.pattern, settings.zone, named.channel)
        now = beside_hash(said, companion_hash(file.path))
        if now and now != file.beside:
            changed.append(file)
    return changed


class LateSidecars:
    """For a daemon: looks at the folders in which a file beside the pictures is new or changed.

    changed : source and folder of those in which it says something else of what was measured
    """

    def __init__(self, config: Config, store: Store, *, clock: Callable[[], datetime]) -> None:
        self._config, self._store, self._clock = config, store, clock
        self.changed: deque[tuple[str, Path]] = deque()
        self._seen: dict[Path, tuple[tuple[str, int, int], ...]] = {}

    def look(self, source: str) -> int:
        """Let captures of the source be measured once more where something else stands beside them.
        Returns how many. Raises RecordError.
        """
        now = self._clock()
        count = 0
        for folder in self._store.beside.folders(since=now - LOOKED_BACK, source=source):
            beside = looks_beside(folder)
            if not beside or self._seen.get(folder) == beside:
                continue
            changed = _changed_in(self._config, self._store, folder, None)
            if changed:
                reopened = self._store.beside.reopen([file.id for file in changed], now)
                count += reopened
                self.changed.append((source, folder))
                log.info(
                    "source=%s folder=%s: %d captures are measured again with the "
                    "files now beside them",
                    source, shown_name(folder), reopened,
                )  # fmt: skip
            self._seen[folder] = beside
        return count
