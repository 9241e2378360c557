"""Files that are either whole or not there, whatever happens in between."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path

HIDDEN_SUFFIX = ".tmp"
# Whatever the mask of the account says.
MODE = 0o640
_LONGEST = 40


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` so that a reader who polls the folder never sees half of it.

    Goes to a hidden temporary name in the same folder, to the disk, and is renamed; an existing
    file is replaced. Nothing is left behind when it fails. Works on shares too, which may know no
    modes, and in drop folders that can be written but not listed.

    Raises OSError.
    """
    temporary = stage_whole(path, content)
    try:
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def stage_whole(path: Path, content: bytes) -> Path:
    """The first half of `write_whole`: the content is on the disk under a hidden temporary name,
    which is returned and only needs to be renamed to `path`.

    Raises OSError, and leaves nothing behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(
        prefix=hidden_prefix(path), suffix=HIDDEN_SUFFIX, dir=path.parent
    )
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only their owner may read; the picker reads these by the group
        # of their folder, and nobody else does.
        with suppress(PermissionError):
            Path(temporary).chmod(MODE)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return Path(temporary)


def hidden_prefix(path: Path) -> str:
    """How temporary names for `path` begin. Short: a long name must leave room for the rest."""
    name = path.name
    if len(name) > _LONGEST:
        # Names that differ in their end only keep temporary names of their own.
        name = f"{name[: _LONGEST - 9]}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"
    return f".{name}."


def hide_whole(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whose name is hidden, and have it on the disk.

    Raises OSError, and leaves nothing behind.
    """
    try:
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with suppress(PermissionError):
            path.chmod(MODE)
    except BaseException:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Have the folder's names on the disk, where its file system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(handle)
    except OSError as problem:
        if problem.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)
