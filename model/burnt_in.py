"""What was burnt into a picture for people, found again: scale bars, text, strips of facts, arrows.

A program that burns something in sets pixels to one value, whatever was there. What stands out is
therefore not the value, which dead cells and reflexes reach too, but the form: rectangles along the
pixels' rows, with all four sides sharp; characters of one height that stand on one line, drawn by
strokes of one width, with nothing else of their value around them; what else has exactly the
value of these.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.strips import Rows, as_rows, in_strips

_Pixels = NDArray[Any]
_Mask = NDArray[np.bool_]
_Box = tuple[int, int, int, int]  # top, left, bottom, right; the last two are left out

MARGIN_PX: Final = 4
"""Left round each item: smoothed edges, and what JPEG smears round them."""

BAND_PIXELS: Final = 24_000_000
"""Of larger pictures a part is looked at after the other."""

_SAMPLES: Final = 400_000
_OVERLAP_ROWS: Final = 600


class Kind(StrEnum):
    BAR = "bar"
    BOX = "box"  # paper behind text
    STRIP = "strip"  # facts along a whole border
    TEXT = "text"
    MARK = "mark"  # arrows and other forms in the ink of the rest


@dataclass(frozen=True)
class Item:
    """box : (top, left, bottom, right) in pixels, the last two left out; margin and all"""

    kind: Kind
    box: _Box


@dataclass(frozen=True)
class BurntIn:
    """All that was burnt into one picture; at least one item.

    shape : (rows, columns) of the picture
    """

    shape: tuple[int, int]
    items: tuple[Item, ...]

    dtype = np.dtype(np.bool_)

    def rows(self, top: int, bottom: int) -> _Mask:
        """Rows ``top`` to ``bottom``: (bottom - top, W), True where something is burnt in."""
        found = np.zeros((bottom - top, self.shape[1]), bool)
        for item in self.items:
            first, left, last, right = item.box
            if first < bottom and last > top:
                found[max(0, first - top) : max(0, last - top), left:right] = True
        return found

    @property
    def area_px(self) -> int:
        """Pixels that it covers; items may overlap."""
        strips = in_strips(*self.shape, BAND_PIXELS)
        return sum(int(np.count_nonzero(self.rows(*strip))) for strip in strips)


class Imaged:
    """What of a picture counts: inside the vessel, and nothing burnt in.

    inside : False outside the vessel; None where all of the picture lies inside
    """

    dtype = np.dtype(np.bool_)

    def __init__(self, inside: Rows | None, burnt_in: BurntIn) -> None:
        self.shape = burnt_in.shape
        self._inside, self._burnt_in = inside, burnt_in

    def rows(self, top: int, bottom: int) -> _Mask:
        """Rows ``top`` to ``bottom``: (bottom - top, W)."""
        free = ~self._burnt_in.rows(top, bottom)
        return free if self._inside is None else free & self._inside.rows(top, bottom)


def imaged(inside: NDArray[np.bool_] | Rows | None, burnt_in: BurntIn | None) -> Rows | None:
    """The mask of what counts; as it was where nothing is burnt in."""
    mask = None if inside is None else as_rows(inside)
    return mask if burnt_in is None else Imaged(mask, burnt_in)


def find_burnt_in(
    image: _Pixels | Rows,
    inside: NDArray[np.bool_] | Rows | None = None,
    *,
    band_pixels: int = BAND_PIXELS,
) -> BurntIn | None:
    """All that was burnt into a picture; None where that is nothing.

    image : (H, W) grey, any real dtype; rows are read a few at a time
    inside : (H, W) bool, False outside the vessel: nothing is looked for there
    band_pixels : larger pictures are gone through in bands of so many pixels that overlap
    """
    picture, mask = as_rows(image), None if inside is None else as_rows(inside)
    height, width = picture.shape
    if min(height, width) < 32:
        return None
    sample = _sample(picture, mask)
    if sample.size == 0 or sample.min() == sample.max():
        return None
    found: list[Item] = []
    for top, bottom in _bands(height, width, band_pixels):
        pixels = picture.rows(top, bottom)
        within = None if mask is None else mask.rows(top, bottom)
        scene = _Scene(pixels, within, sample, is_first=top == 0, is_last=bottom == height)
        for item in _items_of(scene):
            first, left, last, right = item.box
            found.append(Item(item.kind, (first + top, left, last + top, right)))
    items = _joined(found)
    return BurntIn((height, width), items) if items else None


def _sample(picture: Rows, mask: Rows | None) -> _Pixels:
    """Pixels on a grid, those inside: (N,)."""
    height, width = picture.shape
    step = max(1, math.isqrt(height * width // _SAMPLES))
    found = []
    for top, bottom in in_strips(height, width, BAND_PIXELS, step):
        some = picture.rows(top, bottom)[::step, ::step]
        found.append(some.ravel() if mask is None else some[mask.rows(top, bottom)[::step, ::step]])
    return np.concatenate(found)


def _bands(height: int, width: int, pixels: int) -> list[tuple[int, int]]:
    """(top, bottom) of parts of a picture that overlap by more than an item is high."""
    step = max(_OVERLAP_ROWS, pixels // width)
    if height <= step + _OVERLAP_ROWS:
        return [(0, height)]
    return [(top, min(height, top + step + _OVERLAP_ROWS)) for top in range(0, height, step)]


def _joined(items: Sequence[Item]) -> tuple[Item, ...]:
    """Without those that lie in another one; from top and left."""
    kept: list[Item] = []
    for item in sorted(items, key=lambda one: -_area(one.box)):
        top, left, bottom, right = item.box
        if not any(
            other.box[0] <= top
            and other.box[1] <= left
            and other.box[2] >= bottom
            and other.box[3] >= right
            for other in kept
        ):
            kept.append(item)
    return tuple(sorted(kept, key=lambda one: one.box))


def _area(box: _Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


# What a part of a picture is like

_INK_REACH: Final = 0.3
"""An ink's pixels, from its value towards the picture's median: JPEG and smoothing move them."""
_CLOSER_REACH: Final = 0.08
_MOST_INK: Final = 0.4
_SPIKE_PIXELS: Final = 60
_MOST_SPIKES: Final = 4


class _Scene:
    """A part of a picture, and how grey is spread over all of it.

    median, spread : of the picture inside the vessel; spread is robust, as a standard deviation
    least : contrast that a person can read: what is burnt in has more
    """

    def __init__(
        self,
        pixels: _Pixels,
        within: _Mask | None,
        sample: _Pixels,
        *,
        is_first: bool,
        is_last: bool,
    ) -> None:
        if pixels.dtype not in (np.uint8, np.uint16, np.float32):
            pixels = pixels.astype(np.float32)
        self.median = float(np.median(sample))
        deviation = np.abs(sample.astype(np.float32) - np.float32(self.median))
        self.spread = 1.4826 * float(np.median(deviation))
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

    def inks(self) -> Iterator[_Ink]:
        """Where the picture is darkest, brightest, or of a value that stands out."""
        for end in (self.lowest, self.highest):
            if abs(end - self.median) >= self.least:
                # The closer one parts characters from what is nearly as dark or bright beside them.
                yield _Ink(self.near(end, _INK_REACH * abs(end - self.median)))
                yield _Ink(self.near(end, _CLOSER_REACH * abs(end - self.median)))
        for value in self._spikes():
            yield _Ink(self.near(value, 0))

    def near(self, value: float, reach: float) -> NDArray[np.uint8]:
        return _near(self.pixels, value, reach)

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


def _near(pixels: _Pixels, value: float, reach: float) -> NDArray[np.uint8]:
    """(H, W) of 0 and 1: where the pixels are that value, or so near to it."""
    low, high = value - reach, value + reach
    return np.asarray(cv2.inRange(pixels, (low,), (high,)), np.uint8) & np.uint8(1)


class _Ink:
    """Where a picture may be of one ink, and the pieces that this makes.

    mask : (H, W) of 0 and 1
    """

    def __init__(self, mask: NDArray[np.uint8]) -> None:
        self.mask = mask
        self.pixels = int(cv2.countNonZero(mask))

    @cached_property
    def pieces(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """(H, W) numbers of the pieces, 0 where there is none; of each, the rest of 0 too, (left,
        top, width, height, area): (N, 5).
        """
        _, numbers, stats, _ = cv2.connectedComponentsWithStats(self.mask, connectivity=8)
        return np.asarray(numbers, np.int32), np.asarray(stats, np.int64)


def _box_of(row: NDArray[np.int64]) -> _Box:
    left, top, width, height = (int(value) for value in row[:4])
    return top, left, top + height, left + width


def _grown(box: _Box, by: int, shape: tuple[int, int]) -> _Box:
    top, left, bottom, right = box
    return (
        max(0, top - by),
        max(0, left - by),
        min(shape[0], bottom + by),
        min(shape[1], right + by),
    )


# Rectangles

_MOST_BARS_LOOKED_AT: Final = 400
_MOST_CHARACTERS: Final = 6000
_OFF_PX: Final = 3
"""So far from a rectangle's side its surroundings are seen, whatever smoothed the edge."""


@dataclass(frozen=True)
class _Found:
    """Something burnt in, without its margin.

    ink : its grey value; contrast : how far its surroundings are from that
    """

    kind: Kind
    box: _Box
    ink: float
    contrast: float


def _sides(pixels: _Pixels, box: _Box, off: int) -> list[NDArray[np.float32]]:
    """Grey along the four sides of a box, `off` pixels away; those in the picture only."""
    top, left, bottom, right = box
    height, width = pixels.shape
    found = []
    if top >= off:
        found.append(pixels[top - off, left:right])
    if bottom + off <= height:
        found.append(pixels[bottom + off - 1, left:right])
    if left >= off:
        found.append(pixels[top:bottom, left - off])
    if right + off <= width:
        found.append(pixels[top:bottom, right + off - 1])
    return [side.astype(np.float32) for side in found]


def _stands_out(scene: _Scene, box: _Box, ink: float) -> float | None:
    """The contrast of a box of ink to all its sides; None where one of them is not sharp."""
    sides = _sides(scene.pixels, box, _OFF_PX)
    if not sides:
        return None
    apart = [np.abs(side - np.float32(ink)) for side in sides]
    contrast = float(np.median(np.concatenate(apart)))
    if contrast < scene.least:
        return None
    for side in apart:
        if float(np.mean(side > 0.45 * contrast)) < 0.8:
            return None
    return contrast


def _bars(scene: _Scene, ink: _Ink) -> list[_Found]:
    """Filled rectangles along rows or columns, much longer than thick."""
    # Odd: OpenCV shifts what it opens by an even one.
    length = 2 * int(np.clip(0.0125 * min(scene.shape), 6, 12)) + 1
    found = []
    for kernel in ((1, length), (length, 1)):
        runs = cv2.morphologyEx(ink.mask, cv2.MORPH_OPEN, np.ones(kernel, np.uint8))
        opened = _Ink(np.asarray(runs, np.uint8))
        if not opened.pixels:
            continue
        _, stats = opened.pieces
        _, _, width, height, area = stats.T
        longer, thick = np.maximum(width, height), np.minimum(width, height)
        fits = (longer >= 2.5 * thick) & (area >= 0.9 * width * height)
        fits &= thick <= 0.06 * min(scene.shape) + 4
        fits &= longer <= 0.8 * max(scene.shape)
        fits[0] = False
        if np.count_nonzero(fits) > _MOST_BARS_LOOKED_AT:
            continue
        for row in stats[fits]:
            bar = _bar(scene, ink.mask, _box_of(row))
            if bar is not None:
                found.append(bar)
    return found


def _bar(scene: _Scene, mask: NDArray[np.uint8], box: _Box) -> _Found | None:
    top, left, bottom, right = box
    thick, long = sorted((bottom - top, right - left))
    if long < {1: 0.1, 2: 0.06}.get(thick, 0) * min(scene.shape):
        return None
    if top < 1 or left < 1 or bottom > scene.shape[0] - 1 or right > scene.shape[1] - 1:
        return None
    inner = scene.pixels[top:bottom, left:right].astype(np.float32)
    trim = [1 if length >= 4 else 0 for length in inner.shape]
    inner = inner[trim[0] : inner.shape[0] - trim[0], trim[1] : inner.shape[1] - trim[1]]
    ink = float(np.median(inner))
    contrast = _stands_out(scene, box, ink)
    if contrast is None or float(np.quantile(np.abs(inner - ink), 0.95)) > 0.15 * contrast:
        return None
    # Ragged borders: a piece of something that is no rectangle.
    for off in (2, 3):
        if any(float(side.mean()) > 0.15 for side in _sides(mask, box, off)):
            return None
    return _Found(Kind.BAR, box, ink, contrast)


def _papers(scene: _Scene, ink: _Ink) -> list[_Found]:
    """Filled rectangles with something in them: paper with text."""
    numbers, stats = ink.pieces
    _, _, width, height, area = stats.T
    fits = (width >= 16) & (height >= 9) & (area < 0.96 * width * height)
    fits &= (area >= 0.3 * width * height) & (width * height <= 0.25 * ink.mask.size)
    fits[0] = False
    found = []
    for number in np.flatnonzero(fits)[:_MOST_BARS_LOOKED_AT]:
        box = _box_of(stats[number])
        top, left, bottom, right = box
        own = numbers[top:bottom, left:right] == number
        rim = np.concatenate([own[0], own[-1], own[:, 0], own[:, -1]])
        rim2 = np.concatenate([own[1], own[-2], own[:, 1], own[:, -2]])
        if min(rim.mean(), rim2.mean()) < 0.97:
            continue
        grey = float(np.median(scene.pixels[top:bottom, left:right][own]))
        contrast = _stands_out(scene, box, grey)
        if contrast is None or _is_at_border(box, scene.shape) > 2:
            continue
        found.append(_Found(Kind.BOX, box, grey, contrast))
    return found


def _is_at_border(box: _Box, shape: tuple[int, int]) -> int:
    return sum((box[0] == 0, box[1] == 0, box[2] == shape[0], box[3] == shape[1]))


def _strips(scene: _Scene) -> list[_Found]:
    """Paper along the whole upper or lower border, with something on it."""
    found = []
    height, width = scene.shape
    for at_end, is_there in ((False, scene.is_first), (True, scene.is_last)):
        pixels = scene.pixels[::-1] if at_end else scene.pixels
        most = pixels[: max(8, int(0.3 * height))]
        if not is_there:
            continue
        ink = float(np.median(most[0]))
        reach = 0.06 * (scene.highest - scene.lowest)
        paper = _near(np.ascontiguousarray(most), ink, reach)
        share = paper.mean(axis=1)
        rows = int(np.argmin(np.append(share, 0) >= 0.3))
        # The last rows before the picture are paper alone.
        while rows > 0 and share[rows - 1] < 0.97:
            rows -= 1
        if not 7 <= rows < len(most) - _OFF_PX or share[:2].min() < 0.97:
            continue
        beyond = np.abs(most[rows + _OFF_PX - 1].astype(np.float32) - np.float32(ink))
        contrast = float(np.median(beyond))
        marked = 1 - float(share[:rows].mean())
        if contrast < scene.least or (beyond > 0.45 * contrast).mean() < 0.8 or marked < 0.003:
            continue
        top = height - rows if at_end else 0
        found.append(_Found(Kind.STRIP, (top, 0, top + rows, width), ink, contrast))
    return found


def _flat(scene: _Scene) -> NDArray[np.uint8]:
    """(H, W) of 0 and 1: squares of 2 x 2 in which grey hardly changes, by their first pixel."""
    reach = min(0.25 * scene.spread, 0.03 * (scene.highest - scene.lowest))
    square = np.ones((2, 2), np.uint8)
    anchor = (0, 0)
    most = cv2.dilate(scene.pixels, square, anchor=anchor)
    least = cv2.erode(scene.pixels, square, anchor=anchor)
    flat = cv2.inRange(cv2.subtract(most, least), (-1,), (max(reach, 0.5),))
    return np.asarray(flat, np.uint8) & np.uint8(1)


# Text


def _lines(scene: _Scene, ink: _Ink, origin: tuple[int, int], *, at_a_bar: bool) -> list[_Box]:
    """Boxes of lines of text in ink of a part of the picture whose upper left pixel is `origin`."""
    mask, (numbers, stats) = ink.mask, ink.pieces
    left, top, width, height, area = stats.T
    lowest, highest = 5 if at_a_bar else 7, min(120, max(16, 0.12 * min(scene.shape)))
    fits = (height >= lowest) & (height <= highest) & (area >= 6) & (width <= 3.2 * height)
    # A bar or a blob fills its box; only what is as slim as 1 or l may.
    fits &= (area <= 0.97 * width * height + 2) | (1.9 * width <= height)
    fits &= (left > 0) & (top > 0) & (left + width < mask.shape[1]) & (top + height < mask.shape[0])
    fits[0] = False
    which = np.flatnonzero(fits)
    if which.size > _MOST_CHARACTERS:
        return []
    found = []
    for chain in _chains(stats[which]):
        members = which[chain]
        tall = float(np.median(stats[members, 3]))
        box = _line_box(stats, members, tall)
        if not at_a_bar and not (
            _is_drawn(numbers, stats, members, tall)
            and _stands_alone(mask, box, tall)
            and _is_sharp(scene, mask, box)
            and (len(members) > 2 or _is_all_there_is(mask, box))
        ):
            continue
        found.append(
            (box[0] + origin[0], box[1] + origin[1], box[2] + origin[0], box[3] + origin[1])
        )
    return found


def _chains(stats: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    """Pieces of one height that stand on one line, side by side: indices, left to right."""
    left, top, width, height, _ = stats.T
    bottom, right = top + height, left + width
    used = np.zeros(len(stats), bool)
    by_left = np.argsort(left, kind="stable")
    found = []
    for start in by_left:
        if used[start]:
            continue
        chain = [start]
        while True:
            last = chain[-1]
            tall = height[last]
            off = max(1.0, 0.08 * tall)
            near = (
                (np.abs(top - top[last]) <= off)
                & (np.abs(bottom - bottom[last]) <= off)
                & (left >= right[last] - 1)
                & (left - right[last] <= 2.2 * tall)
                & ~used
            )
            near[chain] = False
            if not near.any():
                break
            candidates = np.flatnonzero(near)
            chain.append(int(candidates[np.argmin(left[candidates])]))
        if len(chain) > 1:
            used[chain] = True
            found.append(np.array(chain))
    return found


def _line_box(stats: NDArray[np.int64], members: NDArray[np.intp], tall: float) -> _Box:
    """The box of a line: its characters of full height, and what stands between and beside them."""
    left, top, width, height, area = stats.T
    bottom, right = top + height, left + width
    box = [
        int(top[members].min()),
        int(left[members].min()),
        int(bottom[members].max()),
        int(right[members].max()),
    ]
    upper, lower = box[0] - 0.3 * tall, box[2] + 0.4 * tall
    in_line = (top >= upper) & (bottom <= lower) & (height <= 1.5 * tall) & (area >= 2)
    in_line[0] = False
    while True:
        near = in_line & (right >= box[1] - 0.8 * tall) & (left <= box[3] + 0.8 * tall)
        grown = [
            min(box[0], int(top[near].min(initial=box[0]))),
            min(box[1], int(left[near].min(initial=box[1]))),
            max(box[2], int(bottom[near].max(initial=box[2]))),
            max(box[3], int(right[near].max(initial=box[3]))),
        ]
        if grown == box:
            return box[0], box[1], box[2], box[3]
        box = grown


def _is_drawn(
    numbers: NDArray[np.int32], stats: NDArray[np.int64], members: NDArray[np.intp], tall: float
) -> bool:
    """Whether pieces are drawn by strokes: none is a blob, few are solid, and few are round, as
    cells are that float.
    """
    solid = round_ones = 0
    for number in members:
        top, left, bottom, right = _box_of(stats[number])
        own = np.pad((numbers[top:bottom, left:right] == number).astype(np.uint8), 1)
        depth = float(cv2.distanceTransform(own, cv2.DIST_L2, 3).max())
        if 2 * depth > 0.5 * tall:
            return False
        outline = _outline(own)
        hull = cv2.convexHull(outline)
        around = cv2.contourArea(hull)
        solid += float(stats[number, 4]) > 0.85 * (around + len(hull))
        even = 0.85 < (bottom - top) / (right - left) < 1.18
        # A circle's hull fills pi / 4 of its box, less half a pixel along its outline.
        fills = around / max(1, (bottom - top - 1) * (right - left - 1))
        round_ones += even and 0.68 < fills < 0.9
    return solid <= 0.5 * len(members) and round_ones <= 0.5 * len(members)


def _outline(own: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The outer outline of a piece, (N, 1, 2) of (column, row)."""
    outlines, _ = cv2.findContours(own, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(max(outlines, key=len), np.int32)


def _stands_alone(mask: NDArray[np.uint8], box: _Box, tall: float) -> bool:
    """Whether hardly any ink lies round a line of text."""
    wide = _grown(box, max(3, round(0.6 * tall)), (mask.shape[0], mask.shape[1]))
    inner = _ink_in(mask, box)
    around = _ink_in(mask, wide) - inner
    return around / max(1, _area(wide) - _area(box)) <= 0.1 * inner / _area(box)


def _is_sharp(scene: _Scene, mask: NDArray[np.uint8], box: _Box) -> bool:
    """Whether a few pixels beside the ink the picture is as if there were none."""
    top, left, bottom, right = _grown(box, 4, scene.shape)
    own = mask[top:bottom, left:right]
    near, far = (
        cv2.dilate(own, np.ones((side, side), np.uint8)).astype(np.int8) for side in (3, 7)
    )
    pixels = scene.pixels[top:bottom, left:right].astype(np.float32)
    ink = float(np.median(pixels[own > 0]))
    beside = np.abs(pixels[(far - near) > 0] - np.float32(ink))
    contrast = abs(ink - scene.median)
    return beside.size > 0 and float(np.mean(beside > 0.6 * contrast)) > 0.75


def _is_all_there_is(mask: NDArray[np.uint8], box: _Box) -> bool:
    """Whether a short line, near the border, is most of what has its ink in all of the picture."""
    height, width = mask.shape
    near = min(box[0], box[1], height - box[2], width - box[3])
    return near <= 0.1 * min(height, width) and _ink_in(mask, box) >= 0.5 * int(mask.sum())


def _ink_in(mask: NDArray[np.uint8], box: _Box) -> int:
    return int(mask[box[0] : box[2], box[1] : box[3]].sum())


def _text_at(scene: _Scene, bar: _Found) -> list[_Found]:
    """Text in a bar's ink, above, below or beside it."""
    top, left, bottom, right = bar.box
    reach_down = int(min(0.16 * scene.shape[0] + 12, 140))
    reach_across = int(min(0.2 * scene.shape[1] + 12, 200))
    window = (
        max(0, top - reach_down),
        max(0, left - reach_across),
        min(scene.shape[0], bottom + reach_down),
        min(scene.shape[1], right + reach_across),
    )
    pixels = np.ascontiguousarray(scene.pixels[window[0] : window[2], window[1] : window[3]])
    mask = _near(pixels, bar.ink, 0.35 * bar.contrast)
    inner = _grown(bar.box, 1, scene.shape)
    mask[
        inner[0] - window[0] : inner[2] - window[0], inner[1] - window[1] : inner[3] - window[1]
    ] = 0
    found = []
    for box in _lines(scene, _Ink(mask), (window[0], window[1]), at_a_bar=True):
        tall = box[2] - box[0]
        down = max(box[0] - bottom, top - box[2], 0)
        across = max(box[1] - right, left - box[3], 0)
        if down <= 1.6 * tall + 4 and across <= 1.6 * tall + 4:
            found.append(_Found(Kind.TEXT, box, bar.ink, bar.contrast))
    return found


# All together


def _items_of(scene: _Scene) -> list[Item]:
    inks = [ink for ink in scene.inks() if 0 < ink.pixels <= _MOST_INK * ink.mask.size]
    flat = _Ink(_flat(scene))
    found = _strips(scene)
    for ink in (*inks, flat):
        found += _papers(scene, ink)
    papers = list(found)
    for ink in (*inks, flat):
        found += [bar for bar in _bars(scene, ink) if not _lies_in(bar.box, papers)]
    for bar in [one for one in found if one.kind is Kind.BAR]:
        found += [text for text in _text_at(scene, bar) if not _lies_in(text.box, papers)]
    for ink in inks:
        for box in _lines(scene, ink, (0, 0), at_a_bar=False):
            if not _lies_in(box, papers):
                found.append(_text(scene, ink.mask, box))
    found += _marks(scene, found)
    return [Item(one.kind, _grown(one.box, MARGIN_PX, scene.shape)) for one in found]


def _text(scene: _Scene, mask: NDArray[np.uint8], box: _Box) -> _Found:
    place = (slice(box[0], box[2]), slice(box[1], box[3]))
    ink = float(np.median(scene.pixels[place][mask[place] > 0]))
    return _Found(Kind.TEXT, box, ink, abs(ink - scene.median))


def _lies_in(box: _Box, others: Sequence[_Found]) -> bool:
    """Whether the middle of a box lies in another one."""
    row, column = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return any(
        other.box[0] <= row <= other.box[2] and other.box[1] <= column <= other.box[3]
        for other in others
    )


def _marks(scene: _Scene, found: Sequence[_Found]) -> list[_Found]:
    """What else has exactly the ink of what was found, such as arrows and single characters."""
    marks: list[_Found] = []
    inks: list[float] = []
    for one in found:
        if one.kind not in (Kind.BAR, Kind.TEXT) or any(
            abs(one.ink - ink) <= 0.05 * one.contrast for ink in inks
        ):
            continue
        inks.append(one.ink)
        mask = scene.near(one.ink, 0.25 * one.contrast)
        for other in found:
            top, left, bottom, right = _grown(other.box, MARGIN_PX, scene.shape)
            mask[top:bottom, left:right] = 0
        numbers, stats = _Ink(mask).pieces
        which = np.flatnonzero(stats[:, 4] >= _LEAST_MARK_PX)[1:]
        if which.size > _MOST_MARKS:
            continue
        for number in which:
            box = _box_of(stats[number])
            if _is_drawn_in(scene, numbers == number, box, one):
                marks.append(_Found(Kind.MARK, box, one.ink, one.contrast))
    return marks


_LEAST_MARK_PX: Final = 12
_MOST_MARKS: Final = 30


def _is_drawn_in(scene: _Scene, piece: _Mask, box: _Box, ink: _Found) -> bool:
    """Whether a piece is all of one ink, and no blob."""
    if _is_at_border(box, scene.shape) or max(box[2] - box[0], box[3] - box[1]) < 6:
        return False
    place = (slice(box[0], box[2]), slice(box[1], box[3]))
    own = np.pad(piece[place].astype(np.uint8), 1)
    exact = np.abs(scene.pixels[place].astype(np.float32) - np.float32(ink.ink))
    if float(np.mean(exact[piece[place]] <= 0.08 * ink.contrast)) < 0.6:
        return False
    outline = _outline(own)
    hull = cv2.convexHull(outline)
    return cv2.contourArea(outline) < 0.75 * cv2.contourArea(hull)
