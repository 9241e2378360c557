"""Copies of captures for looking: eight bits a pixel, at every size, each level half of the last.

Captures lie on shares, packed, and in formats that give no part of a picture by itself. A copy is
made when a capture is first looked at and read in part from then on. All copies together take no
more of the disk than they are allowed; those that nobody has looked at for longest go first.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from monitor.errors import CaptureError

log = logging.getLogger(__name__)

Grey = NDArray[np.uint8]
# (first row, rows): a picture from its top to its bottom, some rows at a time.
Strips = Iterable[tuple[int, Grey]]
Halve = Callable[[Grey], Grey]

SMALLEST_SIDE = 128
_STRIP_ROWS = 512
_OPEN = 400
_IN_MEMORY = 4
_READ_AT_ONCE = 2
_WAIT_S = 25.0
_TOUCH_S = 60.0
# The daemon's records come before pictures that can be made again.
_LEFT_FREE = 2**30


def level_shapes(shape: tuple[int, int]) -> list[tuple[int, int]]:
    """(rows, columns) of a copy's levels, the full one first."""
    shapes = [shape]
    while max(shapes[-1]) > SMALLEST_SIDE:
        rows, columns = shapes[-1]
        shapes.append(((rows + 1) // 2, (columns + 1) // 2))
    return shapes


def averaged(values: Grey) -> Grey:
    """(h, w) -> half of it, each pixel the mean of four; at an odd end of those that are there."""
    rows, columns = values.shape
    if rows % 2 or columns % 2:
        values = np.pad(values, ((0, rows % 2), (0, columns % 2)), mode="edge")
    size = values.shape[1] // 2, values.shape[0] // 2
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.uint8)


def every_second(values: Grey) -> Grey:
    """(h, w) -> half of it, for values that have no mean, such as classes."""
    return values[::2, ::2]


@dataclass(frozen=True, eq=False)
class Copy:
    """A picture at every size. levels : (rows, columns) uint8 each, the full one first"""

    levels: tuple[Grey, ...]

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = self.levels[0].shape
        return rows, columns


class BusyError(Exception):
    """Others are being read; try again in a moment."""


class Copies:
    """The copies in a folder, at most `most_bytes` of them.

    For several threads. Where the disk has no room for a copy it is kept in memory, few of them.
    """

    def __init__(self, folder: Path, most_bytes: int, *, left_free: int = _LEFT_FREE) -> None:
        self._folder, self._most, self._left_free = folder, most_bytes, left_free
        self._open: OrderedDict[str, tuple[Copy, float]] = OrderedDict()
        self._in_memory: OrderedDict[str, Copy] = OrderedDict()
        self._lock = threading.Lock()
        self._in_hand: dict[str, threading.Lock] = {}
        self._reading = threading.BoundedSemaphore(_READ_AT_ONCE)

    def copy(
        self,
        key: str,
        shape: tuple[int, int],
        make: Callable[[], Strips],
        *,
        halve: Halve = averaged,
    ) -> Copy:
        """The copy called `key`, made where there is none.

        key : letters and digits, names what is shown and how
        make : gives the picture's rows; what it raises goes through, and nothing is kept
        Raises BusyError where too many others are being made.
        """
        found = self._known(key, shape)
        if found is not None:
            return found
        with self._lock:
            in_hand = self._in_hand.setdefault(key, threading.Lock())
        if not in_hand.acquire(timeout=_WAIT_S):
            raise BusyError
        try:
            found = self._known(key, shape)
            if found is None:
                if not self._reading.acquire(timeout=_WAIT_S):
                    raise BusyError
                try:
                    found = self._made(key, shape, make, halve)
                finally:
                    self._reading.release()
            return found
        finally:
            in_hand.release()
            with self._lock:
                self._in_hand.pop(key, None)

    # --- what is there -------------------------------------------------------------------------

    def _known(self, key: str, shape: tuple[int, int]) -> Copy | None:
        now = time.monotonic()
        with self._lock:
            if key in self._in_memory:
                self._in_memory.move_to_end(key)
                return self._in_memory[key]
            held = self._open.get(key)
            if held is not None:
                self._open.move_to_end(key)
                if now - held[1] < _TOUCH_S:
                    return held[0]
        path = self._path(key)
        shapes = level_shapes(shape)
        try:
            if path.stat().st_size != _bytes_of(shapes):
                return None
            os.utime(path)
            found = held[0] if held is not None else _mapped(path, shapes)
        except OSError:
            return held[0] if held is not None else None
        with self._lock:
            self._open[key] = found, now
            self._open.move_to_end(key)
            while len(self._open) > _OPEN:
                self._open.popitem(last=False)
        return found

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.view"

    # --- making --------------------------------------------------------------------------------

    def _made(
        self, key: str, shape: tuple[int, int], make: Callable[[], Strips], halve: Halve
    ) -> Copy:
        shapes = level_shapes(shape)
        size = _bytes_of(shapes)
        part = self._room_for(key, size)
        if part is None:
            buffer = np.zeros(size, np.uint8)
            copy = Copy(_levels_in(buffer, shapes))
            _fill(copy, make(), halve)
            with self._lock:
                self._in_memory[key] = copy
                while len(self._in_memory) > _IN_MEMORY:
                    self._in_memory.popitem(last=False)
            return copy
        try:
            buffer = np.memmap(part, np.uint8, "r+", shape=(size,))
            _fill(Copy(_levels_in(buffer, shapes)), make(), halve)
            buffer.flush()
            part.replace(self._path(key))
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        found = self._known(key, shape)
        return found or Copy(_levels_in(buffer, shapes))

    def _room_for(self, key: str, size: int) -> Path | None:
        """A file of that size, after old copies have made room; None where the disk has none."""
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._drop_oldest(size)
            if size > self._most or shutil.disk_usage(path.parent).free < size + self._left_free:
                return None
            handle, name = tempfile.mkstemp(".part", f"{key[:20]}-", path.parent)
            try:
                # Allocated, not only promised: a full disk would end the process that maps it.
                os.posix_fallocate(handle, 0, size)
            except OSError:
                Path(name).unlink(missing_ok=True)
                raise
            finally:
                os.close(handle)
        except OSError as problem:
            log.warning("%s: no copy for looking is kept (%s)", path, problem.strerror)
            return None
        return Path(name)

    def _drop_oldest(self, size: int) -> None:
        """Make room for so many bytes."""
        kept = []
        for path in self._folder.glob("*/*"):
            with suppress(OSError):
                about = path.stat()
                if path.suffix == ".part" and time.time() - about.st_mtime > 3600:
                    path.unlink()  # of a program that died
                else:
                    kept.append((about.st_mtime, about.st_size, path))
        total = sum(one[1] for one in kept)
        for _, bytes_, path in sorted(kept):
            if total + size <= self._most:
                break
            with suppress(OSError):
                path.unlink()
                total -= bytes_
                with self._lock:
                    self._open.pop(path.stem, None)


def _bytes_of(shapes: Iterable[tuple[int, int]]) -> int:
    return sum(rows * columns for rows, columns in shapes)


def _levels_in(buffer: Grey, shapes: Iterable[tuple[int, int]]) -> tuple[Grey, ...]:
    levels, at = [], 0
    for rows, columns in shapes:
        levels.append(buffer[at : at + rows * columns].reshape(rows, columns))
        at += rows * columns
    return tuple(levels)


def _mapped(path: Path, shapes: list[tuple[int, int]]) -> Copy:
    buffer = np.memmap(path, np.uint8, "r", shape=(_bytes_of(shapes),))
    return Copy(_levels_in(buffer, shapes))


def _fill(copy: Copy, strips: Strips, halve: Halve) -> None:
    """Raises CaptureError where the picture is of another size."""
    full = copy.levels[0]
    bottom = 0
    for top, rows in strips:
        bottom = top + rows.shape[0]
        if bottom > full.shape[0] or rows.shape[1] != full.shape[1]:
            break
        full[top:bottom] = rows
    if bottom != full.shape[0]:
        raise CaptureError("is of another size than when it was measured", reason="changed")
    for above, level in zip(copy.levels, copy.levels[1:], strict=False):
        for top in range(0, level.shape[0], _STRIP_ROWS):
            part = above[2 * top : 2 * (top + _STRIP_ROWS)]
            level[top : top + _STRIP_ROWS] = halve(np.asarray(part))
