"""What is new in a source's folder: events, polling, rescan.

Only this module uses watchdog, and that for the kernel's events alone: its polling follows links
to folders, ends when a share goes away, and loses files where names are rotated (watchdog 7.1).
Nothing here opens, moves or locks a file.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from monitor.capture.filesets import fileset_of, is_fileset_folder
from monitor.capture.mounts import (
    MOUNTS,
    MountBelow,
    is_within,
    mount_of,
    mounts_below,
    read_mounts,
)
from monitor.capture.names.patterns import shown_name
from monitor.capture.polling import Notice, Poller, Troubles
from monitor.capture.walking import (
    is_capture_folder,
    is_capture_name,
    link_leads_to_file_within,
    list_captures,
    walk,
)
from monitor.capture.watch_kinds import Kind, WatchedBelow, how_watched, watch_kind
from monitor.config import SourceConfig

__all__ = ["Watcher", "is_capture_name", "list_captures", "watch_kind"]

log = logging.getLogger(__name__)

# watchdog's own race on a folder that is made and filled at once; it watches it all the same.
warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning)


# A rescan takes no longer; the next begins anew.
LONGEST_LOOK_S = 3600.0


class Watcher:
    """Notices capture files in one source's folder.

    notice : called with each file that an event or a poll tells of (from a thread of its own) and
        with every file that a rescan lists (from the caller's). What is new is for the callee to
        decide
    replaced : the same for a file of which it is known that it was made or renamed just now: even
        if it looks like the one that lay there, it is another. None = notice
    watched_by : "events" or "polling"
    present : whether the folder was there when last looked at
    reason : why it is watched that way, or what keeps it from being watched
    below : what is mounted below it
    troubles : what cannot be seen of it
    """

    def __init__(
        self,
        source: SourceConfig,
        notice: Notice,
        *,
        replaced: Notice | None = None,
        observers: Callable[[], BaseObserver] = Observer,
        mounts: Path = MOUNTS,
    ) -> None:
        self._source = source
        self._notice, self._replaced = notice, replaced or notice
        self._observers = observers
        self._mounts = mounts
        self._observer: BaseObserver | None = None
        self._pollers: list[Poller] = []
        self._watched: _Watched | None = None
        self._lost = threading.Event()
        self._running = False
        self._was_share = False
        self._troubles = Troubles()
        # A rescan and a look at the mounts may come from two threads.
        self._attaching = threading.RLock()
        self.present = False
        kind, self.reason = watch_kind(source.path, source.watch, mounts=mounts)
        self.watched_by: str = kind
        self.below: tuple[WatchedBelow, ...] = ()

    @property
    def troubles(self) -> tuple[str, ...]:
        return tuple(
            dict.fromkeys(
                text
                for one in (self._troubles, *(poller.troubles for poller in self._pollers))
                for text in one.texts
            )
        )

    def start(self) -> None:
        """Start to watch. A folder that is not there is no error: a later rescan finds it."""
        self._running = True
        self._attach()

    def stop(self) -> None:
        """Stop to watch; returns when no further notice can come from a thread."""
        self._running = False
        with self._attaching:
            self._detach()

    def rescan(self, *, within_s: float = LONGEST_LOOK_S) -> int:
        """Notice every capture file that is there now. Returns how many.

        Watches the folder again where it had vanished or its watching had ended, or where something
        was mounted in it. Ends after `within_s`, with a word.
        """
        if self._running:
            self._attach()
        else:
            self.present = self._identity() is not None
        if not self.present:
            return 0
        until = time.monotonic() + within_s
        was_running = self._running

        def ended() -> bool:
            return time.monotonic() > until or (was_running and not self._running)

        count = 0
        self._troubles.begin()
        for found in walk(
            self._source.path,
            left_out=self._left_out(),
            complain=self._troubles,
            ended=ended,
        ):
            self._notice(found.path)
            count += 1
        if time.monotonic() > until:
            self._troubles(
                f"folder {shown_name(self._source.path)} was not searched within "
                f"{within_s:.0f} s; the next look begins anew"
            )
        self._troubles.end()
        return count

    def is_otherwise(self) -> bool:
        """Whether something was mounted or unmounted in the folder since it is watched: then a
        rescan is due.
        """
        watched = self._watched
        return watched is not None and watched.below != self._look_below()

    def _look_below(self) -> tuple[MountBelow, ...]:
        return mounts_below(os.path.realpath(self._source.path), read_mounts(self._mounts))

    def _left_out(self) -> frozenset[str]:
        return frozenset(one.place for one in self._look_below() if one.shows is not None)

    def _identity(self) -> tuple[int, int] | None:
        path = self._source.path
        try:
            about = path.stat()
            readable = os.access(path, os.R_OK | os.X_OK)
        except OSError as problem:
            self.reason = f"the folder is not there ({problem.strerror})"
            return None
        if not stat.S_ISDIR(about.st_mode):
            self.reason = "it is not a folder"
            return None
        if not readable:
            self.reason = "the folder may not be read"
            return None
        if self._was_share and self._share() is None and not _holds_anything(path):
            self.reason = "nothing is mounted there any longer"
            return None
        return about.st_dev, about.st_ino

    def _share(self) -> str | None:
        """The file system of the share that is mounted on the very folder."""
        real = os.path.realpath(self._source.path)
        own = mount_of(real, read_mounts(self._mounts))
        return None if own is None or own.place != real else own.file_system

    def _attach(self) -> None:
        with self._attaching:
            if self._running:
                self._attach_now()

    def _attach_now(self) -> None:
        identity = self._identity()
        if identity is None:
            self.present = False
            self._detach()
            return
        self.present = True
        wanted = _Watched(identity, self._look_below())
        if self._watched is not None:
            if wanted == self._watched and self._is_alive():
                return
            why = (
                "watching had ended"
                if wanted == self._watched
                else "the folder was replaced"
                if wanted.identity != self._watched.identity
                else "something was mounted or unmounted in it"
            )
            log.warning("source %s: %s; watching starts again", self._source.name, why)
            self._detach()
        self._was_share = self._share() is not None
        kind, self.reason = watch_kind(self._source.path, self._source.watch, mounts=self._mounts)
        twice = [one.place for one in wanted.below if one.shows is not None]
        if kind == "events" and twice:
            # The kernel knows such a folder once, and tells of what is new in it under either name.
            kind = "polling"
            self.reason = (
                f"{shown_name(twice[0])} is a second mount of what is in it, and events would come "
                "under either name"
            )
        if kind == "events":
            kind = self._observe()
        self._poll(kind, wanted.below)
        self.watched_by, self._watched = kind, wanted
        self.below = tuple(how_watched(one, self._source.watch, kind) for one in wanted.below)
        log.info("source %s is watched by %s: %s", self._source.name, kind, self.reason)
        for one in self.below:
            log.info(
                "source %s: %s in it (%s) is watched by %s: %s",
                self._source.name, shown_name(one.path), one.file_system, one.watched_by, one.why,
            )  # fmt: skip

    def _is_alive(self) -> bool:
        observer = self._observer
        if self._lost.is_set() or not all(one.is_alive() for one in self._pollers):
            return False
        return observer is None or (
            observer.is_alive() and all(emitter.is_alive() for emitter in observer.emitters)
        )

    def _observe(self) -> Kind:
        """Have the kernel tell. Returns "polling" where it cannot."""
        self._lost.clear()
        # watchdog does not follow a link that the folder itself may be.
        root = os.path.realpath(self._source.path)
        handler = _Handler(root, self._source.path, self._notice, self._replaced, self._lost)
        observer = None
        try:
            observer = self._observers()
            observer.schedule(handler, root, recursive=True)
            observer.start()
        except OSError as problem:
            if observer is not None:
                observer.stop()
            why = "too many" if problem.errno in (errno.ENOSPC, errno.EMFILE) else "an error"
            self.reason = (
                f"the system gives no events here ({why}: {problem.strerror}; raise "
                "fs.inotify.max_user_watches or max_user_instances)"
            )
            log.warning("source %s: %s; polling instead", self._source.name, self.reason)
            return "polling"
        except BaseException:
            if observer is not None:
                observer.stop()
            raise
        self._observer = observer
        return "events"

    def _poll(self, kind: Kind, below: Sequence[MountBelow]) -> None:
        """The source, or what of it does not tell."""
        root = os.path.realpath(self._source.path)
        left_out = [one.place for one in below if one.shows is not None]
        folders = [self._source.path]
        if kind == "events":
            polled = [
                one
                for one in below
                if how_watched(one, self._source.watch, kind).watched_by == "polling"
            ]
            # What lies in one of these is looked through with it.
            places = [
                one.place
                for one in polled
                if not any(
                    one is not other and is_within(one.place, other.place) for other in polled
                )
            ]
            folders = [self._source.path / os.path.relpath(place, root) for place in places]
        for folder in folders:
            poller = Poller(
                folder,
                self._notice,
                self._replaced,
                every_s=self._source.poll_s,
                root=root,
                left_out=left_out,
            )
            poller.start()
            self._pollers.append(poller)

    def _detach(self) -> None:
        observer, self._observer, self._watched = self._observer, None, None
        pollers, self._pollers = self._pollers, []
        for poller in pollers:
            poller.stop()
        if observer is None:
            return
        observer.stop()
        if observer.is_alive():
            observer.join()


@dataclass(frozen=True)
class _Watched:
    """identity : device and inode of the folder"""

    identity: tuple[int, int]
    below: tuple[MountBelow, ...]


def _holds_anything(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return next(entries, None) is not None


class _Handler(FileSystemEventHandler):
    def __init__(
        self,
        root: str,
        folder: Path,
        notice: Notice,
        replaced: Notice,
        lost: threading.Event,
    ) -> None:
        self._root = root
        self._folder = folder
        self._notice, self._replaced = notice, replaced
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
        if not changed or not is_within(changed, self._root):
            return
        relative = os.path.relpath(changed, self._root)
        if relative == ".":
            return
        is_new = event.event_type in ("created", "moved")
        fileset = fileset_of(PurePath(relative))
        if fileset is not None:
            is_new = is_new and os.fspath(fileset) == relative
            relative = os.fspath(fileset)
        folders = list(Path(relative).parts)
        if event.is_directory and fileset is None:
            # A folder that was moved in whole, or made and filled before it was watched.
            if event.event_type != "modified" and all(map(is_capture_folder, folders)):
                for found in walk(self._folder / relative, root=self._root):
                    self._tell_file(found.path, self._replaced)
        elif is_capture_name(folders.pop()) and all(map(is_capture_folder, folders)):
            self._tell_file(self._folder / relative, self._replaced if is_new else self._notice)

    def _tell_file(self, path: Path, tell: Notice) -> None:
        try:
            mode = path.lstat().st_mode
        except OSError:
            return  # already gone or renamed: that has an event of its own
        is_whole = stat.S_ISREG(mode) or (stat.S_ISDIR(mode) and is_fileset_folder(path.name))
        if is_whole or (
            stat.S_ISLNK(mode) and link_leads_to_file_within(os.fspath(path), self._root)
        ):
            tell(path)
