"""A capture: one image file of one field of view, what tells it from another, where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

UNLISTED: Final = "unlisted"
"""The source of what was given to a command and lies in no source's folder."""

IMAGE_EXTENSIONS = (
    ".tif",
    ".tiff",
    ".btf",
    ".tf8",
    ".png",
    ".jpg",
    ".jpeg",
    # Read where the extra of that name is installed.
    ".nd2",
    ".lif",
    ".czi",
    ".oib",
    ".ozx",
    ".zarr",
    ".oif",
    # Noticed so that somebody is told that they cannot be read.
    ".oir",
    ".vsi",
)


class CaptureState(StrEnum):
    """Where a capture stands. Every capture is in exactly one of these."""

    WAITING = "waiting"  # not analysed yet, or to be tried again at `next_try_at`
    WORKING = "working"  # claimed by one process
    MEASURED = "measured"  # its field is measured; its scan is not complete yet
    RECORDED = "recorded"  # part of a reading
    UNREADABLE = "unreadable"  # with its reason


@dataclass(frozen=True)
class StagePosition:
    """Centre of a field of view in the stage's frame, um."""

    x_um: float
    y_um: float
    z_um: float | None = None


@dataclass(frozen=True)
class FieldIdentity:
    """What makes two files pictures of the same field: all of it is equal.

    source : its name; two imagers may call two dishes the same
    dish : what the source's names call it
    scan : the key in the name, else the time in the name as text; None = the name says neither
    field : None where the name does not tell fields apart
    channel, plane, projection : of what is written into a file each
    """

    source: str
    dish: str
    scan: str | None = None
    field: str | None = None
    channel: str | None = None
    plane: int | None = None
    projection: str | None = None


@dataclass(frozen=True)
class NamedParts:
    """What a file name says. Everything that the name leaves out is None.

    dish : full id of the dish, for example ``3500003816/A1``
    scan : key that captures of one visit share; None = group by time
    plane : height of a Z-stack that has a file a plane, from 1; None = a single plane, or not known
    projection : what kind of projection of a Z-stack the file is, such as "max", or "projection"
        where the kind is not said; None = a single plane, or not known. A file is a plane of a
        stack or a projection of it, never both
    acquired_at : aware UTC
    elapsed_s : since the start of the experiment, where the name says that
    """

    dish: str
    pattern: str
    field: str | None = None
    scan: str | None = None
    channel: str | None = None
    plane: int | None = None
    elapsed_s: float | None = None
    acquired_at: datetime | None = None
    pixel_size_um: float | None = None
    stage: StagePosition | None = None
    projection: str | None = None

    def identity(self, source: str) -> FieldIdentity:
        """Of a file of that source with this name."""
        scan = self.scan
        if scan is None and self.acquired_at is not None:
            scan = self.acquired_at.isoformat()
        return FieldIdentity(
            source, self.dish, scan, self.field, self.channel, self.plane, self.projection
        )


@dataclass(frozen=True)
class Capture:
    """One image file of one field of view, as the record knows it."""

    id: int
    path: Path
    source: str
    sha256: str | None
    state: CaptureState
    attempts: int = 0
    crashes: int = 0
    reason: str | None = None
    message: str | None = None
    next_try_at: datetime | None = None
    first_seen_at: datetime | None = None
    field: str | None = None
    scan_id: int | None = None


@dataclass(frozen=True)
class EqualImage:
    """A capture that shows the very same image as one of another dish."""

    source: str
    dish: str
    at: datetime
