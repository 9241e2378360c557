"""By what a folder is watched: by events, where its file system tells of every new file, or by
polling.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from monitor.capture.mounts import MOUNTS, MountBelow, mount_of, mounts_below, read_mounts

Kind = Literal["events", "polling"]


def watch_kind(folder: Path, wanted: str, *, mounts: Path = MOUNTS) -> tuple[Kind, str]:
    """How to watch a folder, and a sentence that says why.

    wanted : the source's setting: "auto", "events" or "polling"
    mounts : the kernel's list of mounts
    """
    if wanted == "events":
        return "events", "the configuration says so"
    if wanted == "polling":
        return "polling", "the configuration says so"
    own = mount_of(os.path.realpath(folder), read_mounts(mounts))
    if own is None:
        return "events", "the kind of file system could not be determined"
    if own.tells_of_new_files:
        return "events", f"it is on {own.file_system}, which reports new files"
    return "polling", f"it is on {own.file_system}, which does not report every new file"


@dataclass(frozen=True)
class WatchedBelow:
    """A mount below a source, and how it is watched.

    watched_by : "events", "polling", or "not": its files are seen elsewhere in the source
    """

    path: str
    file_system: str
    watched_by: str
    why: str


def watched_below(
    folder: Path, wanted: str, kind: str, *, mounts: Path = MOUNTS
) -> tuple[WatchedBelow, ...]:
    """What is mounted below a source that is itself watched by `kind`, and how that is watched."""
    real = os.path.realpath(folder)
    return tuple(how_watched(one, wanted, kind) for one in mounts_below(real, read_mounts(mounts)))


def how_watched(below: MountBelow, wanted: str, kind: str) -> WatchedBelow:
    """How a mount below a source is watched, where the source itself is watched by `kind`."""
    name = below.mount.file_system
    if below.shows is not None:
        from monitor.capture.names.parts import shown_name

        how, why = "not", f"it repeats what is in {shown_name(below.shows)}"
    elif wanted != "auto":
        how, why = wanted, "the configuration says so"
    elif kind == "polling":
        how, why = "polling", "like the source that it is in"
    elif below.mount.tells_of_new_files:
        how, why = "events", f"it is {name}, which reports new files"
    else:
        how, why = "polling", f"it is {name}, which does not report every new file"
    return WatchedBelow(below.place, name, how, why)
