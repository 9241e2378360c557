"""Bars, paper with text, strips of facts: rectangles of one grey value with sharp sides."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.burnt_in.items import Bits, Box, Kind, Pixels
from model.burnt_in.scene import Found, Ink, Scene, borders_touched, box_of, near

_MOST_BARS_LOOKED_AT: Final = 400
_OFF_PX: Final = 3
"""So far from a rectangle's side its surroundings are seen, whatever smoothed the edge."""


def find_bars(scene: Scene, ink: Ink) -> list[Found]:
    """Filled rectangles along rows or columns, much longer than thick."""
    # Odd: OpenCV shifts what it opens by an even one.
    length = 2 * int(np.clip(0.0125 * min(scene.shape), 6, 12)) + 1
    found = []
    for along in (1, 0):
        stats = _runs(ink.mask, length, along)
        if stats is None:
            continue
        _, _, width, height, area = stats.T
        longer, thick = np.maximum(width, height), np.minimum(width, height)
        fits = (longer >= 2.5 * thick) & (area >= 0.9 * width * height)
        fits &= thick <= 0.06 * min(scene.shape) + 4
        fits &= longer <= 0.8 * max(scene.shape)
        fits[0] = False
        if np.count_nonzero(fits) > _MOST_BARS_LOOKED_AT:
            continue
        for row in stats[fits]:
            bar = _bar(scene, ink.mask, box_of(row))
            if bar is not None:
                found.append(bar)
    return found


def _runs(mask: Bits, length: int, along: int) -> NDArray[np.int64] | None:
    """(N, 5) as `Ink.pieces` has them, of what is left where all that is shorter than `length` is
    taken away; beyond the picture's edge a run may go on. None where nothing is left.

    along : 1 for runs in rows, 0 for those in columns
    """
    # An ink has seldom any run of that length, which is quickly seen: halves of it, laid together.
    padding = [(0, 0), (0, 0)]
    padding[along] = (length // 2, length // 2)
    left = np.pad(mask, padding, constant_values=1)
    have = 1
    while have < length:
        step = min(have, length - have)
        left = left[:, step:] & left[:, :-step] if along else left[step:] & left[:-step]
        have += step
    if not cv2.countNonZero(left):
        return None
    columns, top, width, height = cv2.boundingRect(left)
    reach = length // 2
    down, across = (0, reach) if along else (reach, 0)
    first, start = max(0, top - down), max(0, columns - across)
    part = left[first : top + height + down, start : columns + width + across]
    kernel = np.ones((1, length) if along else (length, 1), np.uint8)
    opened = cv2.dilate(np.ascontiguousarray(part), kernel)
    _, stats = Ink(np.asarray(opened, np.uint8)).pieces
    stats[1:, :2] += (start, first)
    return stats


def _bar(scene: Scene, mask: Bits, box: Box) -> Found | None:
    top, left, bottom, right = box
    thick, long = sorted((bottom - top, right - left))
    if long < {1: 0.1, 2: 0.07, 3: 0.07}.get(thick, 0.035) * min(scene.shape):
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
    return Found(Kind.BAR, box, ink, contrast)


def find_papers(scene: Scene, ink: Ink) -> list[Found]:
    """Filled rectangles with something in them: paper with text."""
    if not ink.pixels:
        return []
    numbers, stats = ink.pieces
    _, _, width, height, area = stats.T
    fits = (width >= 16) & (height >= 9) & (area < 0.96 * width * height)
    fits &= (area >= 0.3 * width * height) & (width * height <= 0.25 * ink.mask.size)
    fits[0] = False
    found = []
    for number in np.flatnonzero(fits)[:_MOST_BARS_LOOKED_AT]:
        box = box_of(stats[number])
        top, left, bottom, right = box
        own = numbers[top:bottom, left:right] == number
        rim = np.concatenate([own[0], own[-1], own[:, 0], own[:, -1]])
        rim2 = np.concatenate([own[1], own[-2], own[:, 1], own[:, -2]])
        if min(rim.mean(), rim2.mean()) < 0.97:
            continue
        grey = float(np.median(scene.pixels[top:bottom, left:right][own]))
        contrast = _stands_out(scene, box, grey)
        if contrast is None or borders_touched(box, scene.shape) > 2:
            continue
        found.append(Found(Kind.BOX, box, grey, contrast))
    return found


def find_strips(scene: Scene) -> list[Found]:
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
        paper = near(np.ascontiguousarray(most), ink, reach)
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
        found.append(Found(Kind.STRIP, (top, 0, top + rows, width), ink, contrast))
    return found


def flat_squares(scene: Scene) -> Bits:
    """(H, W) of 0 and 1: squares of 2 x 2 in which grey hardly changes, by their first pixel."""
    reach = min(0.25 * scene.spread, 0.03 * (scene.highest - scene.lowest))
    square = np.ones((2, 2), np.uint8)
    anchor = (0, 0)
    most = cv2.dilate(scene.pixels, square, anchor=anchor)
    least = cv2.erode(scene.pixels, square, anchor=anchor)
    flat = cv2.inRange(cv2.subtract(most, least), (-1,), (max(reach, 0.5),))
    return np.asarray(flat, np.uint8) & np.uint8(1)


def without_specks(flat: Ink) -> Ink:
    """Noise makes a great many of them, and none of them is paper."""
    opened = cv2.morphologyEx(flat.mask, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    return Ink(np.asarray(opened, np.uint8))


def _stands_out(scene: Scene, box: Box, ink: float) -> float | None:
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


def _sides(pixels: Pixels, box: Box, off: int) -> list[NDArray[np.float32]]:
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
