"""What is mounted where, and how such a place can be watched. Pure: the list is passed in.

The list is that of ``/proc/self/mountinfo`` (proc_pid_mountinfo(5)): a line a mount, with its
number and that of the mount that it lies on, the device, the part of the device that it shows, and
where.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")

# File systems that other machines, or a program behind them, change without the kernel's knowledge.
_WITHOUT_EVENTS = re.compile(
    r"nfs|nfs4|cifs|smb\d?|smbfs|fuse.*|9p|virtiofs|vboxsf|prl_fs|vmhgfs|afs|ncpfs|davfs|drvfs|"
    r"ceph|lustre|gluster.*|beegfs|gpfs|ocfs2|gfs2|coda|sshfs"
)


@dataclass(frozen=True)
class Mount:
    """number, parent : of this mount, of the one that it lies on

    device : "major:minor"; root : which part of it is shown; place : where
    """

    number: str
    parent: str
    device: str
    root: str
    place: str
    file_system: str

    @property
    def tells_of_new_files(self) -> bool:
        return _WITHOUT_EVENTS.fullmatch(self.file_system) is None


@dataclass(frozen=True)
class MountBelow:
    """A mount below a folder.

    shows : the place that the same files are seen at without it; None where they are seen only here
    """

    mount: Mount
    shows: str | None = None

    @property
    def place(self) -> str:
        return self.mount.place


def read_mounts(file: Path = MOUNTS) -> tuple[Mount, ...]:
    """The kernel's list; empty where there is none."""
    try:
        return parse_mounts(file.read_text(encoding="utf-8", errors="surrogateescape"))
    except OSError:
        return ()


def parse_mounts(text: str) -> tuple[Mount, ...]:
    """Lines that are none of the list's are passed over."""
    found = []
    # splitlines() would also end a line within a name, at letters that count as line ends.
    for line in text.split("\n"):
        before, _, after = line.partition(" - ")
        fields, rest = before.split(" "), after.split(" ")
        if len(fields) < 5 or not rest[0]:
            continue
        root, place = _plain(fields[3]), _plain(fields[4])
        found.append(Mount(fields[0], fields[1], fields[2], root, place, rest[0]))
    return tuple(found)


def _plain(text: str) -> str:
    """Space, tab, line end and backslash stand there in octal."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def mount_of(folder: str, mounts: Sequence[Mount]) -> Mount | None:
    """The mount that a real path lies on; None where the list does not tell.

    Goes down from the root as the kernel does, so that what a later mount has covered is not found.
    """
    numbers = {one.number for one in mounts}
    here = next(
        (
            one
            for one in reversed(mounts)
            if one.place == "/" and (one.parent not in numbers or one.parent == one.number)
        ),
        None,
    )
    if here is None:
        return None
    passed = {here.number}
    while True:
        # Of two that lie on the same place of the same mount, the later covers the earlier.
        lying_on = [
            one
            for one in mounts
            if one.parent == here.number
            and one.number not in passed
            and is_within(folder, one.place)
            and is_within(one.place, here.place)
        ]
        if not lying_on:
            return here
        shortest = min(len(one.place) for one in lying_on)
        here = [one for one in lying_on if len(one.place) == shortest][-1]
        passed.add(here.number)


def mounts_below(folder: str, mounts: Sequence[Mount]) -> tuple[MountBelow, ...]:
    """What is mounted below a real path and can be seen there, by place.

    A mount may show again what is seen at another place below the folder, or the folder itself:
    then its files would be there twice, or without end.
    """
    own = mount_of(folder, mounts)
    below = [
        one
        for one in mounts
        if one.place != folder
        and is_within(one.place, folder)
        and mount_of(one.place, mounts) is one
    ]
    if own is None:
        return tuple(MountBelow(one) for one in sorted(below, key=lambda one: one.place))
    # As though the folder were a mount: what it shows of its device.
    shown = [replace(own, place=folder, root=_moved(folder, own.place, own.root))]
    found = []
    for one in sorted(below, key=lambda one: (len(one.root), one.place)):
        again = next(
            (there for other in shown if (there := _seen_at(one, other, mounts)) is not None), None
        )
        found.append(MountBelow(one, again))
        if again is None:
            shown.append(one)
    return tuple(sorted(found, key=lambda one: one.place))


def _seen_at(one: Mount, other: Mount, mounts: Sequence[Mount]) -> str | None:
    """Where the files of a mount are seen in another place; None where they are not."""
    if one.device != other.device or one.file_system != other.file_system:
        return None
    if is_within(other.root, one.root):
        return other.place  # all of it, and what lies around
    if not is_within(one.root, other.root):
        return None
    there = _moved(one.root, other.root, other.place)
    # Not where something else, perhaps this very mount, has covered it.
    top = mount_of(there, mounts)
    return there if top is not None and top.number == other.number else None


def _moved(path: str, start: str, target: str) -> str:
    # normpath() keeps two slashes at the start, which POSIX leaves to the system.
    return os.path.normpath(f"{target.rstrip('/')}/{os.path.relpath(path, start)}")


def is_within(path: str, folder: str) -> bool:
    """Whether a path is the folder or lies below it."""
    return path == folder or folder == "/" or path.startswith(folder + "/")
