"""Work stops before the disk is full, and goes on by itself once there is room.

A full disk loses nothing, but it cannot be told of either: alerts are rows of the record. So room
is left for them, and for people to make some.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from monitor.config import Config

log = logging.getLogger(__name__)

GIB = 2**30
# As much more than the limit must be free again.
FREED = 1.25


def free_bytes(folder: Path) -> int | None:
    """None where it cannot be said."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


class RoomGuard:
    """database : the record's file; None where it is no file of this machine

    room : folder -> bytes free
    """

    def __init__(
        self,
        config: Config,
        database: Path | None,
        *,
        room: Callable[[Path], int | None] = free_bytes,
    ) -> None:
        self._limit = config.record.stop_below_gib
        self._folders = {config.record.folder}
        if database is not None:
            self._folders.add(database.parent)
        self._room = room
        self.why = ""
        """Why nothing is measured at the moment; empty where there is room."""

    def has_room(self) -> bool:
        """Whether captures may be measured."""
        if self._limit is None:
            return True
        needed = self._limit * (FREED if self.why else 1.0)
        for folder in sorted(self._folders):
            free = self._room(folder)
            if free is None or free >= needed * GIB:
                continue
            if not self.why:
                self.why = (
                    f"{folder}: under {self._limit:g} GiB free, so no capture is measured "
                    "(record.stop_below_gib); make room, for example with record.keep, and work "
                    f"goes on by itself from {self._limit * FREED:g} GiB on"
                )
                log.error("%s", self.why)
            return False
        if self.why:
            log.warning("there is room again: work goes on")
        self.why = ""
        return True
