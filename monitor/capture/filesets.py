"""Captures that are many files: a folder ``*.zarr``, and an ``.oif`` with its ``.oif.files``.

One is settled when none of its files changes, and known by the hash of all of them together: packed
into a ZIP that is the same for the same content, which is then also what is read, so that what is
measured is what was claimed.

Of a Zarr only the picture itself counts: what other programs write into the folder later, labels,
tables, small previews and a second copy of the metadata, makes no other picture of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import zipfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

MAX_FILES = 200_000
MAX_BYTES = 2 * 2**30
_ZARR, _OIF, _OIF_FILES = ".zarr", ".oif", ".oif.files"
_NEVER = (1980, 1, 1, 0, 0, 0)
# In a Zarr: what is written about a picture by others. No chunk of an array is called so.
_ABOUT_FOLDERS = ("labels", "tables")
_ABOUT_SUFFIXES = (
    ".bak", ".csv", ".db", ".gif", ".html", ".ini", ".jpeg", ".jpg", ".json", ".lnk", ".log", ".md",
    ".png", ".tmp", ".txt",
)  # fmt: skip
_ZARR_JSON, _ALL_METADATA = "zarr.json", "consolidated_metadata"
_METADATA = (_ZARR_JSON, ".zattrs", ".zgroup", ".zarray")


class FilesetTooLargeError(OSError):
    """More files or bytes than one field of view can have."""


@dataclass(frozen=True)
class FileStat:
    """size : of all files; mtime_ns : of the last change; is_regular : nothing but plain files"""

    size: int
    mtime_ns: int
    is_regular: bool


def is_fileset_folder(name: str) -> bool:
    """Whether a folder of that name is a capture itself."""
    return name.lower().endswith(_ZARR)


def is_part_folder(name: str) -> bool:
    """Whether a folder of that name only holds the parts of a capture that lies beside it."""
    return name.lower().endswith(_OIF_FILES)


def fileset_of(relative: PurePath) -> PurePath | None:
    """The capture that a changed file or folder is a part of, or is itself; None for others."""
    for at, name in enumerate(relative.parts):
        if is_fileset_folder(name):
            return PurePath(*relative.parts[: at + 1])
        if is_part_folder(name):
            return PurePath(*relative.parts[:at], name[: -len(".files")])
    return None


def is_fileset(path: Path) -> bool:
    return path.suffix.lower() == _OIF or (is_fileset_folder(path.name) and path.is_dir())


def look_at_file(path: Path) -> FileStat:
    """Size and last change of a capture, whatever it consists of. Raises OSError."""
    about = path.stat()
    if not is_fileset(path):
        return FileStat(about.st_size, about.st_mtime_ns, stat.S_ISREG(about.st_mode))
    size, mtime_ns, is_regular = 0, 0, True
    for count, (_, file) in enumerate(_parts(path)):
        if count >= MAX_FILES:
            raise FilesetTooLargeError(f"has more than {MAX_FILES} files")
        part = file.lstat()
        is_regular = is_regular and stat.S_ISREG(part.st_mode)
        size += part.st_size
        mtime_ns = max(mtime_ns, part.st_mtime_ns)
    return FileStat(size, mtime_ns or about.st_mtime_ns, is_regular)


def look_at_open_file(
    path: Path,
    *,
    stat_of: Callable[[Path], os.stat_result] = os.stat,
    fstat_of: Callable[[int], os.stat_result] = os.fstat,
) -> FileStat:
    """As `look_at_file`, from the opened files: what their folder says of them may be old, and on
    sshfs stands still for up to 20 s while they grow.

    One that cannot be opened is as its folder says. Raises OSError.
    """
    about = stat_of(path)
    if not is_fileset(path):
        if stat.S_ISREG(about.st_mode):
            about = _opened(path, about, fstat_of)
        return FileStat(about.st_size, about.st_mtime_ns, stat.S_ISREG(about.st_mode))
    size, mtime_ns, is_regular = 0, 0, True
    for count, (_, file) in enumerate(_parts(path)):
        if count >= MAX_FILES:
            raise FilesetTooLargeError(f"has more than {MAX_FILES} files")
        part = file.lstat()
        if stat.S_ISREG(part.st_mode):
            part = _opened(file, part, fstat_of)
        is_regular = is_regular and stat.S_ISREG(part.st_mode)
        size += part.st_size
        mtime_ns = max(mtime_ns, part.st_mtime_ns)
    return FileStat(size, mtime_ns or about.st_mtime_ns, is_regular)


def written_ns(path: Path, look: FileStat) -> int:
    """When the picture was written: of a Zarr its pixels, whose metadata may be touched later.

    Raises OSError.
    """
    if not is_fileset(path) or path.suffix.lower() == _OIF:
        return look.mtime_ns
    pixels = [file.lstat().st_mtime_ns for _, file in _parts(path) if file.name not in _METADATA]
    return max(pixels, default=look.mtime_ns)


def _opened(
    path: Path, about: os.stat_result, fstat_of: Callable[[int], os.stat_result]
) -> os.stat_result:
    try:
        # What has become a FIFO by now must not hold us.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError:
        return about
    try:
        return fstat_of(handle)
    finally:
        os.close(handle)


def hash_file(path: Path) -> str:
    """SHA-256 of a capture, read in pieces. Raises OSError."""
    if not is_fileset(path):
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    found = hashlib.sha256()
    _pack(path, found.update)
    return found.hexdigest()


def read_file(path: Path) -> bytes:
    """All bytes of a capture, of a fileset its ZIP. Raises OSError."""
    if not is_fileset(path):
        return path.read_bytes()
    content = bytearray()
    _pack(path, content.extend)
    return bytes(content)


class _Sink:
    """Where a ZIP is written that nobody goes back in."""

    def __init__(self, take: Callable[[bytes], object]) -> None:
        self._take = take

    def write(self, data: bytes) -> int:
        self._take(data)
        return len(data)

    def flush(self) -> None:
        pass


def _pack(path: Path, take: Callable[[bytes], object]) -> None:
    total = 0
    with zipfile.ZipFile(_Sink(take), "w") as archive:  # type: ignore[call-overload]
        for name, file in _parts(path):
            # No link, and nothing that could hold us for ever.
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(file, flags), "rb") as part:
                about = os.fstat(part.fileno())
                if not stat.S_ISREG(about.st_mode):
                    raise OSError(f"holds {name}, which is not a regular file")
                total += about.st_size
                if total > MAX_BYTES:
                    raise FilesetTooLargeError(f"has more than {MAX_BYTES / 2**30:.0f} GiB")
                content = part.read()
            if file.name == _ZARR_JSON:
                content = _own_metadata(content)
            archive.writestr(zipfile.ZipInfo(name, _NEVER), content)


def _parts(path: Path) -> Iterator[tuple[str, Path]]:
    """(name within, file) of all parts, always in the same order."""
    if path.suffix.lower() == _OIF:
        yield path.name, path
        for beside in sorted(path.parent.glob(f"{_escaped(path.name)}.[fF][iI][lL][eE][sS]")):
            yield from _below(beside, path.parent)
        return
    for name, file in _below(path, path, without=_ABOUT_FOLDERS):
        if not _is_about(file.name):
            yield name, file


def _is_about(name: str) -> bool:
    if name in _METADATA:
        return False
    return name.startswith(".") or name.lower().endswith(_ABOUT_SUFFIXES)


def _own_metadata(content: bytes) -> bytes:
    """A group's metadata without the copies of what lies below it, labels among it."""
    try:
        document = json.loads(content)
    except ValueError:
        return content
    if not isinstance(document, dict):
        return content
    document.pop(_ALL_METADATA, None)
    return json.dumps(document, indent=2, sort_keys=True).encode()


def _below(folder: Path, root: Path, without: Collection[str] = ()) -> Iterator[tuple[str, Path]]:
    for here, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if name not in without)
        for name in sorted(files):
            file = Path(here) / name
            within = file.relative_to(root).as_posix()
            yield within.encode("utf-8", "backslashreplace").decode(), file


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _raise(problem: OSError) -> None:
    raise problem
