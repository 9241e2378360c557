"""A part of an image in which one looks for something burnt in, and where it may be of one ink."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.burnt_in.items import Bits, Box, Kind, Mask, Pixels

_INK_REACH: Final = 0.3
"""An ink's pixels, from its value towards the picture's median: JPEG and smoothing move them."""
_CLOSER_REACH: Final = 0.08
_SPIKE_PIXELS: Final = 60
_MOST_SPIKES: Final = 4


class Scene:
    """A part of a picture, and how grey is spread over all of it.

    median, spread : of the picture inside the vessel; spread is robust, as a standard deviation
    least : contrast that a person can read: what is burnt in has more
    """

    def __init__(
        self,
        pixels: Pixels,
        within: Mask | None,
        sample: Pixels,
        *,
        is_first: bool,
        is_last: bool,
    ) -> None:
        if pixels.dtype not in (np.uint8, np.uint16, np.float32):
            pixels = pixels.astype(np.float32)
        self.median, deviation = median_and_deviation(sample)
        self.spread = 1.4826 * deviation
        self.lowest, self.highest = float(sample.min()), float(sample.max())
        self.least = max(0.06 * (self.highest - self.lowest), 2.5 * self.spread)
        if within is not None and not within.all():
            pixels = pixels.copy()
            pixels[~within] = pixels.dtype.type(self.median)
        self.pixels = np.ascontiguousarray(pixels)
        self.lowest = min(self.lowest, float(pixels.min()))
        self.highest = max(self.highest, float(pixels.max()))
        self.within = within
        self.is_first, self.is_last = is_first, is_last
        self.shape = (pixels.shape[0], pixels.shape[1])

    def inks(self) -> Iterator[Ink]:
        """Where the picture is darkest, brightest, or of a value that stands out."""
        for end in (self.lowest, self.highest):
            if abs(end - self.median) >= self.least:
                # The closer one parts characters from what is nearly as dark or bright beside them.
                far, closer = (
                    Ink(self.near(end, reach * abs(end - self.median)))
                    for reach in (_INK_REACH, _CLOSER_REACH)
                )
                yield far
                if closer.pixels < 0.98 * far.pixels:
                    yield closer
        for value in self._spikes():
            yield Ink(self.near(value, 0))

    def near(self, value: float, reach: float) -> Bits:
        return near(self.pixels, value, reach)

    def _spikes(self) -> list[float]:
        """Values that far more pixels have than their neighbours in grey."""
        if self.pixels.dtype.kind != "u":
            return []
        values = 256**self.pixels.dtype.itemsize
        counts = cv2.calcHist([self.pixels], [0], None, [values], [0, values]).ravel()
        around = np.ones((9, 1), np.uint8)
        around[4] = 0
        beside = cv2.dilate(counts[:, None], around, borderValue=0).ravel()
        found = np.flatnonzero((counts >= _SPIKE_PIXELS) & (counts > 3 * beside))
        inner = [
            int(v)
            for v in found
            if abs(v - self.lowest) > _INK_REACH * abs(self.median - self.lowest)
            and abs(v - self.highest) > _INK_REACH * abs(self.median - self.highest)
        ]
        return [float(v) for v in sorted(inner, key=lambda v: -float(counts[v]))[:_MOST_SPIKES]]


def median_and_deviation(sample: Pixels) -> tuple[float, float]:
    """The median of some pixels, and the median of how far they are from it.

    Whole numbers are counted, not sorted.
    sample : (N,)
    """
    if sample.dtype not in (np.uint8, np.uint16):
        median = float(np.median(sample))
        deviation = np.abs(sample.astype(np.float32) - np.float32(median))
        return median, float(np.median(deviation))
    values = 256**sample.dtype.itemsize
    plane = np.ascontiguousarray(sample).reshape(1, -1)
    counts = cv2.calcHist([plane], [0], None, [values], [0, values]).ravel()
    greys = np.flatnonzero(counts)
    numbers = counts[greys].astype(np.int64)
    median = _middle(greys.astype(np.float64), numbers)
    apart = np.abs(greys - median)
    order = np.argsort(apart)
    return median, _middle(apart[order], numbers[order])


def _middle(values: NDArray[np.float64], numbers: NDArray[np.int64]) -> float:
    """The median of ascending values that are there so many times each."""
    up_to = np.cumsum(numbers)
    last = int(up_to[-1]) - 1
    around = np.searchsorted(up_to, [last // 2, (last + 1) // 2], side="right")
    return float(values[around].mean())


def near(pixels: Pixels, value: float, reach: float) -> Bits:
    """(H, W) of 0 and 1: where the pixels are that value, or so near to it."""
    low, high = value - reach, value + reach
    return np.asarray(cv2.inRange(pixels, (low,), (high,)), np.uint8) & np.uint8(1)


class Ink:
    """Where a picture may be of one ink, and the pieces that this makes.

    mask : (H, W) of 0 and 1
    """

    def __init__(self, mask: Bits) -> None:
        self.mask = mask
        self.pixels = int(cv2.countNonZero(mask))

    @cached_property
    def pieces(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """(H, W) numbers of the pieces, 0 where there is none; of each, the rest of 0 too, (left,
        top, width, height, area): (N, 5).
        """
        # Rows without ink are left out, but for one that parts those above from those below.
        has_ink = np.asarray(self.mask.view(np.bool_).any(axis=1))
        kept = np.flatnonzero(has_ink | np.append(False, has_ink[:-1]))
        numbers = np.zeros(self.mask.shape, np.int32)
        count = 1
        if kept.size:  # OpenCV crashes on an image without rows.
            count, numbers[kept] = cv2.connectedComponents(self.mask[kept], connectivity=8)
        return numbers, _stats_of(self.mask, numbers, count)


def _stats_of(mask: Bits, numbers: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """(count, 5) as `Ink.pieces`, from where runs of ink begin and end. OpenCV's own go through all
    pixels one by one, which takes five times as long as numbering the pieces.
    """
    height, width = mask.shape
    edges = np.empty((height, width + 1), np.bool_)
    edges[:, 0], edges[:, width] = mask[:, 0], mask[:, -1]
    np.not_equal(mask[:, 1:], mask[:, :-1], out=edges[:, 1:width])
    places = np.flatnonzero(edges)
    (rows, begin), end = np.divmod(places[::2], width + 1), places[1::2] % (width + 1)
    which = numbers[rows, begin]
    stats = np.zeros((count, 5), np.int64)
    stats[:, 4] = np.bincount(which, end - begin, count)
    for along, first, last in ((0, begin, end), (1, rows, rows + 1)):
        lowest, highest = np.full(count, max(mask.shape)), np.zeros(count, np.int64)
        np.minimum.at(lowest, which, first)
        np.maximum.at(highest, which, last)
        stats[:, along], stats[:, along + 2] = lowest, highest - lowest
    stats[0] = (0, 0, width, height, mask.size - int(stats[1:, 4].sum()))
    return stats


@dataclass(frozen=True)
class Found:
    """Something burnt in, without its margin.

    ink : its grey value; contrast : how far its surroundings are from that
    """

    kind: Kind
    box: Box
    ink: float
    contrast: float


def box_of(row: NDArray[np.int64]) -> Box:
    left, top, width, height = (int(value) for value in row[:4])
    return top, left, top + height, left + width


def grown(box: Box, by: int, shape: tuple[int, int]) -> Box:
    top, left, bottom, right = box
    return (
        max(0, top - by),
        max(0, left - by),
        min(shape[0], bottom + by),
        min(shape[1], right + by),
    )


def borders_touched(box: Box, shape: tuple[int, int]) -> int:
    return sum((box[0] == 0, box[1] == 0, box[2] == shape[0], box[3] == shape[1]))


def outline_of(own: Bits) -> NDArray[np.int32]:
    """The outer outline of a piece, (N, 1, 2) of (column, row)."""
    outlines, _ = cv2.findContours(own, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(max(outlines, key=len), np.int32)
