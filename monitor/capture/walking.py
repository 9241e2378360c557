"""One walk through a source's folder, shared by polling and rescan, which so see the same files.

It ends whatever lies there: links to folders are not followed, a folder that holds itself (by a
mount, or by a file system that says so) is entered once, and there are limits on depth, entries and
time. Nothing here opens, moves or locks a file.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from monitor.capture.filesets import (
    FilesetTooLargeError,
    is_fileset,
    is_fileset_folder,
    is_part_folder,
    look_at_file,
)
from monitor.capture.mounts import is_within, mounts_below, read_mounts
from monitor.capture.names.patterns import shown_name
from monitor.culture.captures import IMAGE_EXTENSIONS

log = logging.getLogger(__name__)

Complain = Callable[[str], None]

_HALF_WRITTEN = (".tmp", ".part", ".partial", ".crdownload", ".filepart", ".download")
_SERVICE_FOLDERS = {
    "@eadir",
    "$recycle.bin",
    "#recycle",
    "#snapshot",
    "lost+found",
    "system volume information",
    "__macosx",
}
_THUMBNAIL = re.compile(r"_thumb|(?:^|[-_. ])thumb(?:nail|s|nails)?(?:[-_. ]|$)", re.IGNORECASE)
# A walk asks so often whether it is to go on.
_ASKED_EVERY = 1000


@dataclass(frozen=True)
class WalkLimits:
    """depth : of folders below the source; entries : files and folders of any kind that are met"""

    depth: int = 64
    entries: int = 5_000_000


@dataclass(frozen=True)
class Sign:
    """By what a poll tells a file from the one that lay at its path before.

    identity : (device, inode)
    """

    identity: tuple[int, int]
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Found:
    """A capture, and what the folder says of it."""

    path: Path
    entry: os.DirEntry[str]

    def sign(self) -> Sign | None:
        """None where it is gone by now, or cannot be looked at."""
        try:
            about = self.entry.stat()
            if not is_fileset(self.path):
                return Sign((about.st_dev, about.st_ino), about.st_size, about.st_mtime_ns)
            look = look_at_file(self.path)
            return Sign((about.st_dev, about.st_ino), look.size, look.mtime_ns)
        except FilesetTooLargeError:
            return Sign((about.st_dev, about.st_ino), 0, 0)
        except OSError:
            return None


def is_capture_name(name: str) -> bool:
    """Whether a file of that name may be a capture: an image, whole, and no thumbnail.

    Left out: hidden files and ``._*`` of Macs, ``~*`` and ``.syncthing.*`` of synchronisers,
    ``*.tmp`` and ``*.part`` of writers, Thumbs.db and ``*_thumb*``.
    """
    if name.startswith((".", "~")):
        return False
    stem, dot, extension = name.rpartition(".")
    if dot + extension.lower() not in IMAGE_EXTENSIONS:
        return False
    return not stem.lower().endswith(_HALF_WRITTEN) and _THUMBNAIL.search(stem) is None


def is_capture_folder(name: str) -> bool:
    """Whether captures may lie in a folder of that name."""
    return (
        not name.startswith((".", "~"))
        and name.lower() not in _SERVICE_FOLDERS
        and not is_part_folder(name)
    )


def list_captures(folder: Path, *, complain: Complain = log.warning) -> Iterator[Path]:
    """Every capture file below `folder`, folder by folder, each sorted by name.

    Regular files only. Links to files within the folder count, links that lead out of it do not,
    and links to folders are not followed (what is in the folder is found without them). What a
    mount shows once more is left out. A folder that cannot be read is left out with a word to
    `complain`; nothing is raised.
    """
    below = mounts_below(os.path.realpath(folder), read_mounts())
    again = [one.place for one in below if one.shows is not None]
    return (found.path for found in walk(folder, left_out=again, complain=complain))


def walk(
    folder: Path,
    *,
    root: str | None = None,
    left_out: Collection[str] = (),
    complain: Complain = log.warning,
    ended: Callable[[], bool] = lambda: False,
    limits: WalkLimits | None = None,
) -> Iterator[Found]:
    """Every capture below `folder`, as `list_captures` tells them.

    root : real path of the source that the folder lies in, which no link may lead out of; None =
        the folder's own
    left_out : real paths of folders that are not entered
    ended : asked now and then; where it says so, the walk ends without a word
    """
    bounds = limits or WalkLimits()
    real = os.path.realpath(folder)
    skipped = frozenset(left_out)
    waiting = [_Folder(os.fspath(folder), real, None, 0)]
    count = 0
    while waiting:
        here = waiting.pop()
        if ended():
            return
        entries = _entries(here, bounds.entries - count, complain)
        if entries is None:
            continue
        count += len(entries)
        folders = []
        for number, entry in enumerate(sorted(entries, key=lambda entry: entry.name)):
            if number % _ASKED_EVERY == _ASKED_EVERY - 1 and ended():
                return
            try:
                if entry.is_dir(follow_symlinks=False):
                    if is_fileset_folder(entry.name) and is_capture_name(entry.name):
                        yield Found(Path(entry.path), entry)
                    elif is_capture_folder(entry.name):
                        real_below = f"{here.real.rstrip('/')}/{entry.name}"
                        below = _Folder(entry.path, real_below, here, here.depth + 1)
                        if below.real not in skipped:
                            folders.append(below)
                elif is_capture_name(entry.name) and _is_file_within(entry, root or real):
                    yield Found(Path(entry.path), entry)
            except OSError as problem:
                complain(f"{shown_name(entry.path)} cannot be examined ({problem.strerror})")
        if count > bounds.entries:
            complain(
                f"folder {shown_name(folder)} holds more than {bounds.entries:,} files and "
                f"folders; what comes after {shown_name(here.path)} is not seen. Move old "
                f"files out of it, or split it into several sources"
            )
            return
        if folders and here.depth >= bounds.depth:
            complain(
                f"folder {shown_name(folders[0].path)} is more than {bounds.depth} folders "
                f"deep; it and those beside it are not searched. Make it a source of its own"
            )
            continue
        waiting.extend(reversed(folders))


@dataclass(eq=False)
class _Folder:
    path: str
    real: str
    above: _Folder | None
    depth: int
    identity: tuple[int, int] = (0, 0)


def _entries(here: _Folder, most: int, complain: Complain) -> list[os.DirEntry[str]] | None:
    """What a folder holds, of a folder without end one more than `most`; None where it cannot be
    said, or was said on the way here already.
    """
    found: list[os.DirEntry[str]] = []
    try:
        if _holds_itself(here):
            complain(f"folder {shown_name(here.path)} contains itself; it is not searched again")
            return None
        with os.scandir(here.path) as entries:
            for entry in entries:
                found.append(entry)
                if len(found) > most:
                    break
    except OSError as problem:
        complain(
            f"folder {shown_name(here.path)} cannot be listed ({problem.strerror}); "
            "its captures are not seen"
        )
        return None
    return found


def _holds_itself(here: _Folder) -> bool:
    about = Path(here.path).stat()
    here.identity = about.st_dev, about.st_ino
    above = here.above
    # Only folders on the way here: some shares give numbers that are not theirs alone, or none.
    while above is not None and about.st_ino:
        if above.identity == here.identity:
            return True
        above = above.above
    return False


def _is_file_within(entry: os.DirEntry[str], root: str) -> bool:
    if not entry.is_symlink():
        return entry.is_file(follow_symlinks=False)
    return link_leads_to_file_within(entry.path, root)


def link_leads_to_file_within(link: str, root: str) -> bool:
    """Whether a link ends in a regular file in the folder of that real path."""
    target = os.path.realpath(link)  # a circle of links ends in the link itself
    if not is_within(target, root):
        return False
    try:
        return stat.S_ISREG(os.lstat(target).st_mode)
    except OSError:
        return False


def lies_within(path: Path, folder: Path) -> bool:
    """Whether a path leads to what is in the folder, whatever links are on the way."""
    return is_within(os.path.realpath(path), os.path.realpath(folder))
