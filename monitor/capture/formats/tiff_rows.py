"""Large TIFF pictures, read a few rows at a time: tile by tile, strip by strip."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import lru_cache, partial
from io import BufferedReader
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

LARGE_PIXELS = 32_000_000
"""Larger pictures are not held in memory whole, where their format allows that."""

_UNCOMPRESSED = 1
# Rows of a picture that were unpacked last; the next question mostly begins with them.
_KEPT_PIXELS = 48_000_000


class FileBytes:
    """The bytes of an open file, read where they are asked for. What is past its end is missing.

    Not mapped into memory: a file that is cut off meanwhile would then end the process.
    """

    def __init__(self, file: BufferedReader) -> None:
        self.file = file
        self._length = os.fstat(file.fileno()).st_size

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, place: slice) -> bytes:
        first, last, _ = place.indices(self._length)
        parts = []
        while first < last:
            part = os.pread(self.file.fileno(), min(last - first, 1 << 24), first)
            if not part:
                break
            parts.append(part)
            first += len(part)
        return b"".join(parts)


class TiffRows:
    """One page as rows of grey.

    finish : from samples (h, W, S) as they are stored to grey (h, W); row by row the same
    Raises what tifffile's decoders raise, and EOFError for a file that has become shorter.
    """

    def __init__(
        self,
        page: tifffile.TiffPage,
        data: FileBytes | bytes,
        finish: Callable[[NDArray[Any]], NDArray[Any]],
    ) -> None:
        assert page.dtype is not None  # pages of unknown types are refused before
        self._page, self._data, self._finish = page, data, finish
        self._stored = page.dtype
        self._height, self._width = int(page.imagelength), int(page.imagewidth)
        self._segment_rows = int(page.tilelength if page.is_tiled else page.rowsperstrip)
        self._segment_rows = min(self._segment_rows, self._height)
        self._samples = int(page.samplesperpixel)
        self._plain = _is_plain(page)
        most = max(2, _KEPT_PIXELS // max(1, self._segment_rows * self._width))
        unpacked = partial(_unpacked, page, data, finish, self._segment_rows)
        self._band = lru_cache(maxsize=most)(unpacked)
        self.shape = (self._height, self._width)
        self.dtype: np.dtype[Any] = self.rows(0, 1).dtype

    def rows(self, top: int, bottom: int) -> NDArray[Any]:
        if self._plain:
            return self._finish(self._read_plain(top, bottom))
        first, last = top // self._segment_rows, (bottom - 1) // self._segment_rows
        bands = [self._band(number) for number in range(first, last + 1)]
        joined = bands[0] if len(bands) == 1 else np.concatenate(bands)
        begin = first * self._segment_rows
        return joined[top - begin : bottom - begin]

    def close(self) -> None:
        """Let go of the file. Nothing can be read after that."""
        self._band.cache_clear()
        if isinstance(self._data, FileBytes):
            self._data.file.close()

    def _read_plain(self, top: int, bottom: int) -> NDArray[Any]:
        page = self._page
        bytes_a_row = self._width * self._samples * self._stored.itemsize
        pieces = []
        row = top
        while row < bottom:
            strip, within = divmod(row, self._segment_rows)
            count = min(bottom - row, self._segment_rows - within)
            start = page.dataoffsets[strip] + within * bytes_a_row
            piece = self._data[start : start + count * bytes_a_row]
            if len(piece) < count * bytes_a_row:
                raise EOFError("the file has become shorter")
            pieces.append(piece)
            row += count
        values = np.frombuffer(b"".join(pieces), self._stored.newbyteorder(page.parent.byteorder))
        native = values.astype(self._stored.newbyteorder("="), copy=False)
        return native.reshape(bottom - top, self._width, self._samples)


def _unpacked(
    page: tifffile.TiffPage,
    data: FileBytes | bytes,
    finish: Callable[[NDArray[Any]], NDArray[Any]],
    segment_rows: int,
    number: int,
) -> NDArray[Any]:
    """All tiles beside each other, or one strip, as rows of grey."""
    full, width = int(page.imagelength), int(page.imagewidth)
    across = -(-width // int(page.tilewidth)) if page.is_tiled else 1
    height = min(segment_rows, full - number * segment_rows)
    samples = np.zeros((height, width, int(page.samplesperpixel)), page.dtype)
    for index in range(number * across, (number + 1) * across):
        start = page.dataoffsets[index]
        packed = data[start : start + page.databytecounts[index]]
        if len(packed) < page.databytecounts[index]:
            raise EOFError("the file has become shorter")
        decoded, place, _ = page.decode(
            packed, index, jpegtables=page.jpegtables, jpegheader=page.jpegheader
        )
        if decoded is None:
            raise EOFError("a strip or tile is missing")
        left = int(place[3])
        tile = decoded[0, :height, : width - left]
        samples[: tile.shape[0], left : left + tile.shape[1]] = tile
    return finish(samples)


def is_readable_by_rows(page: tifffile.TiffPage) -> bool:
    """Whether no strip or tile of the page is so large that nothing would be won."""
    if int(page.planarconfig) != 1 and int(page.samplesperpixel) > 1:
        return False
    if page.dtype is None or page.dtype.kind not in "uf":
        return False  # how signed numbers are taken depends on all of them
    return _is_plain(page) or math.prod(page.chunks) <= LARGE_PIXELS


def _is_plain(page: tifffile.TiffPage) -> bool:
    """Whether rows lie in the file as they are in memory."""
    return (
        page.dtype is not None
        and int(page.compression) == _UNCOMPRESSED
        and not page.is_tiled
        and int(page.predictor) == 1
        and int(page.fillorder) == 1
        and int(page.bitspersample) == page.dtype.itemsize * 8
    )
