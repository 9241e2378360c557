"""What lies in a source's folder, and what is new there: events, polling, rescan.

Only this module uses watchdog. Nothing here opens, moves or locks a file.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import Literal

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver
from watchdog.observers.polling import PollingObserver

from monitor.capture.bundles import bundle_of, is_bundle_folder, is_part_folder
from monitor.capture.names import shown_name
from monitor.config import IMAGE_EXTENSIONS, SourceConfig

log = logging.getLogger(__name__)

# watchdog's own race on a folder that is made and filled at once; it watches it all the same.
warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning)

Kind = Literal["events", "polling"]

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
# File systems that other machines, or a program behind them, change without the kernel's knowledge.
_WITHOUT_EVENTS = re.compile(
    r"nfs|nfs4|cifs|smb\d?|smbfs|fuse.*|9p|virtiofs|vboxsf|prl_fs|vmhgfs|afs|ncpfs|davfs|drvfs|"
    r"ceph|lustre|gluster.*|beegfs|gpfs|ocfs2|gfs2|coda|sshfs"
)


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


def _is_capture_folder(name: str) -> bool:
    return (
        not name.startswith((".", "~"))
        and name.lower() not in _SERVICE_FOLDERS
        and not is_part_folder(name)
    )


def list_captures(folder: Path, *, complain: Callable[[str], None] = log.warning) -> Iterator[Path]:
    """Every capture file below `folder`, folder by folder, each sorted by name.

    Regular files only. Links to files within the folder count, links that lead out of it do not,
    and links to folders are not followed (what is in the folder is found without them). A folder
    that cannot be read is left out with a word to `complain`; nothing is raised.
    """
    return _list(folder, os.path.realpath(folder), complain)


def _list(folder: Path, root: str, complain: Callable[[str], None]) -> Iterator[Path]:
    """The captures below `folder`, which lies in the source whose real path is `root`."""
    waiting = [os.fspath(folder)]
    while waiting:
        here = waiting.pop()
        try:
            with os.scandir(here) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as problem:
            complain(
                f"folder {shown_name(here)} cannot be listed ({problem.strerror}); "
                "its captures are not seen"
            )
            continue
        folders = []
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    if is_bundle_folder(entry.name) and is_capture_name(entry.name):
                        yield Path(entry.path)
                    elif _is_capture_folder(entry.name):
                        folders.append(entry.path)
                elif is_capture_name(entry.name) and _is_file_within(entry, root):
                    yield Path(entry.path)
            except OSError as problem:
                complain(f"{shown_name(entry.path)} cannot be looked at ({problem.strerror})")
        waiting.extend(reversed(folders))


def _is_file_within(entry: os.DirEntry[str], root: str) -> bool:
    if not entry.is_symlink():
        return entry.is_file(follow_symlinks=False)
    return _link_leads_to_file_within(entry.path, root)


def _link_leads_to_file_within(link: str, root: str) -> bool:
    target = os.path.realpath(link)  # a circle of links ends in the link itself
    if os.path.commonpath([target, root]) != root:
        return False
    try:
        return stat.S_ISREG(os.lstat(target).st_mode)
    except OSError:
        return False


def watch_kind(
    folder: Path, wanted: str, *, mounts: Path = Path("/proc/self/mountinfo")
) -> tuple[Kind, str]:
    """How to watch a folder, and a sentence that says why.

    wanted : the source's setting: "auto", "events" or "polling"
    mounts : the kernel's list of mounts
    """
    if wanted == "events":
        return "events", "the configuration says so"
    if wanted == "polling":
        return "polling", "the configuration says so"
    try:
        text = mounts.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return "events", "the file system's kind could not be told"
    file_system = _file_system_of(os.path.realpath(folder), text)
    if file_system is None:
        return "events", "the file system's kind could not be told"
    if _WITHOUT_EVENTS.fullmatch(file_system):
        return "polling", f"it lies on {file_system}, which does not tell of every new file"
    return "events", f"it lies on {file_system}, which tells of new files"


def _file_system_of(folder: str, mounts: str) -> str | None:
    best, kind = -1, None
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields, rest = before.split(" "), after.split(" ")
        if len(fields) < 5 or not rest[0]:
            continue
        place = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[4])
        inside = place == "/" or folder == place or folder.startswith(place + "/")
        if inside and len(place) >= best:  # a later mount on the same place covers the earlier
            best, kind = len(place), rest[0]
    return kind


ObserverFactory = Callable[[Kind, float], BaseObserver]


def make_observer(kind: Kind, poll_s: float) -> BaseObserver:
    """watchdog's observer of a kind, not started."""
    return Observer() if kind == "events" else PollingObserver(timeout=poll_s)


class Watcher:
    """Notices capture files in one source's folder.

    notice : called with each file that an event tells of (from a thread of its own) and with every
        file that a rescan lists (from the caller's). What is new is for the callee to decide.
    watched_by : "events" or "polling"
    present : whether the folder was there when last looked at
    reason : why it is watched that way, or what keeps it from being watched
    """

    def __init__(
        self,
        source: SourceConfig,
        notice: Callable[[Path], None],
        *,
        observers: ObserverFactory = make_observer,
    ) -> None:
        self._source = source
        self._notice = notice
        self._observers = observers
        self._observer: BaseObserver | None = None
        self._watched: tuple[int, int] | None = None  # device and inode
        self._lost = threading.Event()
        self._running = False
        self.present = False
        kind, self.reason = watch_kind(source.path, source.watch)
        self.watched_by: str = kind

    def start(self) -> None:
        """Start to watch. A folder that is not there is no error: a later rescan finds it."""
        self._running = True
        self._attach()

    def stop(self) -> None:
        """Stop to watch; returns when no further notice can come from a thread."""
        self._running = False
        self._detach()

    def rescan(self) -> int:
        """Notice every capture file that is there now. Returns how many.

        Watches the folder again where it had vanished or its watching had ended.
        """
        if self._running:
            self._attach()
        else:
            self.present = self._identity() is not None
        if not self.present:
            return 0
        count = 0
        for path in list_captures(self._source.path):
            self._notice(path)
            count += 1
        return count

    def _identity(self) -> tuple[int, int] | None:
        try:
            about = self._source.path.stat()
            readable = os.access(self._source.path, os.R_OK | os.X_OK)
        except OSError as problem:
            self.reason = f"the folder is not there ({problem.strerror})"
            return None
        if not stat.S_ISDIR(about.st_mode):
            self.reason = "it is no folder"
            return None
        if not readable:
            self.reason = "the folder may not be read"
            return None
        return about.st_dev, about.st_ino

    def _attach(self) -> None:
        identity = self._identity()
        if identity is None:
            self.present = False
            self._detach()
            return
        self.present = True
        if self._observer is not None:
            alive = self._observer.is_alive() and all(
                emitter.is_alive() for emitter in self._observer.emitters
            )
            if alive and identity == self._watched and not self._lost.is_set():
                return
            log.warning("source %s: watching had ended; it starts again", self._source.name)
            self._detach()
        kind, self.reason = watch_kind(self._source.path, self._source.watch)
        try:
            self._observe(kind)
        except OSError as problem:
            if kind == "polling":
                self._cannot(problem)
                return
            why = "too many" if problem.errno in (errno.ENOSPC, errno.EMFILE) else "an error"
            self.reason = (
                f"the system gives no events here ({why}: {problem.strerror}; raise "
                "fs.inotify.max_user_watches or max_user_instances)"
            )
            log.warning("source %s: %s; polling instead", self._source.name, self.reason)
            kind = "polling"
            try:
                self._observe(kind)
            except OSError as second:
                self._cannot(second)
                return
        self.watched_by, self._watched = kind, identity
        log.info("source %s is watched by %s: %s", self._source.name, kind, self.reason)

    def _cannot(self, problem: OSError) -> None:
        self.reason = f"it can only be rescanned ({problem.strerror})"
        log.warning("source %s: %s", self._source.name, self.reason)

    def _observe(self, kind: Kind) -> None:
        self._lost.clear()
        observer = self._observers(kind, self._source.poll_s)
        # watchdog does not follow a link that the folder itself may be.
        root = os.path.realpath(self._source.path)
        handler = _Handler(root, self._source.path, self._notice, self._lost)
        try:
            observer.schedule(handler, root, recursive=True)
            observer.start()
        except BaseException:
            observer.stop()
            raise
        self._observer = observer

    def _detach(self) -> None:
        observer, self._observer, self._watched = self._observer, None, None
        if observer is None:
            return
        observer.stop()
        if observer.is_alive():
            observer.join()


class _Handler(FileSystemEventHandler):
    def __init__(
        self, root: str, folder: Path, notice: Callable[[Path], None], lost: threading.Event
    ) -> None:
        self._root = root
        self._folder = folder
        self._notice = notice
        self._lost = lost

    def on_any_event(self, event: FileSystemEvent) -> None:
        try:
            self._tell(event)
        except Exception:  # it would end the watching thread; the rescan finds the file again
            log.exception("an event of %s could not be handled", shown_name(self._root))

    def _tell(self, event: FileSystemEvent) -> None:
        if event.event_type == "deleted" and os.fsdecode(event.src_path) == self._root:
            self._lost.set()
        if event.event_type not in ("created", "modified", "moved", "closed"):
            return
        changed = os.fsdecode(event.dest_path if event.event_type == "moved" else event.src_path)
        if not changed or os.path.commonpath([changed, self._root]) != self._root:
            return
        relative = os.path.relpath(changed, self._root)
        if relative == ".":
            return
        bundle = bundle_of(PurePath(relative))
        if bundle is not None:
            relative = os.fspath(bundle)
        folders = list(Path(relative).parts)
        if event.is_directory and bundle is None:
            # A folder that was moved in whole, or made and filled before it was watched.
            if event.event_type != "modified" and all(map(_is_capture_folder, folders)):
                for path in _list(self._folder / relative, self._root, log.warning):
                    self._tell_file(path)
        elif is_capture_name(folders.pop()) and all(map(_is_capture_folder, folders)):
            self._tell_file(self._folder / relative)

    def _tell_file(self, path: Path) -> None:
        try:
            mode = path.lstat().st_mode
        except OSError:
            return  # already gone or renamed: that has an event of its own
        is_whole = stat.S_ISREG(mode) or (stat.S_ISDIR(mode) and is_bundle_folder(path.name))
        if is_whole or (
            stat.S_ISLNK(mode) and _link_leads_to_file_within(os.fspath(path), self._root)
        ):
            self._notice(path)
