"""Looks through an image for all that is burnt in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.burnt_in.items import (
    BAND_PIXELS,
    MARGIN_PX,
    Bits,
    Box,
    BurntIn,
    Item,
    Kind,
    Mask,
    Pixels,
    joined,
)
from model.burnt_in.rectangles import (
    find_bars,
    find_papers,
    find_strips,
    flat_squares,
    without_specks,
)
from model.burnt_in.scene import Found, Ink, Scene, borders_touched, box_of, grown, outline_of
from model.burnt_in.text import find_lines, text_at
from model.strips import Rows, as_rows, in_strips

_SAMPLES: Final = 120_000
_OVERLAP_ROWS: Final = 600
_LEAST_INK_PX: Final = 24
_MOST_INK: Final = 0.4
_LEAST_MARK_PX: Final = 30
_MOST_MARKS: Final = 8


def find_burnt_in(
    image: Pixels | Rows,
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
        scene = Scene(pixels, within, sample, is_first=top == 0, is_last=bottom == height)
        for item in items_of(scene):
            first, left, last, right = item.box
            found.append(Item(item.kind, (first + top, left, last + top, right)))
    items = joined(found)
    return BurntIn((height, width), items) if items else None


def _sample(picture: Rows, mask: Rows | None) -> Pixels:
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


def items_of(scene: Scene) -> list[Item]:
    inks = [ink for ink in scene.inks() if _LEAST_INK_PX <= ink.pixels <= _MOST_INK * ink.mask.size]
    flat = Ink(flat_squares(scene))
    found = find_strips(scene)
    for ink in (*inks, without_specks(flat)):
        found += find_papers(scene, ink)
    papers = list(found)
    for ink in (*inks, flat):
        found += [bar for bar in find_bars(scene, ink) if not lies_in(bar.box, papers)]
    for bar in [one for one in found if one.kind is Kind.BAR]:
        found += [text for text in text_at(scene, bar) if not lies_in(text.box, papers)]
    for ink in inks:
        for box in find_lines(scene, ink, (0, 0), at_a_bar=False):
            if not lies_in(box, papers):
                found.append(_text(scene, ink.mask, box))
    found += _marks(scene, found)
    return [Item(one.kind, grown(one.box, MARGIN_PX, scene.shape)) for one in found]


def _text(scene: Scene, mask: Bits, box: Box) -> Found:
    place = (slice(box[0], box[2]), slice(box[1], box[3]))
    ink = float(np.median(scene.pixels[place][mask[place] > 0]))
    return Found(Kind.TEXT, box, ink, abs(ink - scene.median))


def lies_in(box: Box, others: Sequence[Found]) -> bool:
    """Whether the middle of a box lies in another one."""
    row, column = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return any(
        other.box[0] <= row <= other.box[2] and other.box[1] <= column <= other.box[3]
        for other in others
    )


def _marks(scene: Scene, found: Sequence[Found]) -> list[Found]:
    """What else has exactly the ink of what was found, such as arrows and single characters."""
    marks: list[Found] = []
    inks: list[float] = []
    for one in found:
        if one.kind not in (Kind.BAR, Kind.TEXT) or any(
            abs(one.ink - ink) <= 0.05 * one.contrast for ink in inks
        ):
            continue
        inks.append(one.ink)
        mask = scene.near(one.ink, 0.25 * one.contrast)
        for other in found:
            top, left, bottom, right = grown(other.box, MARGIN_PX, scene.shape)
            mask[top:bottom, left:right] = 0
        numbers, stats = Ink(mask).pieces
        which = np.flatnonzero(stats[:, 4] >= _LEAST_MARK_PX)[1:]
        if which.size > _MOST_MARKS:
            continue
        for number in which:
            box = box_of(stats[number])
            if _is_drawn_in(scene, numbers == number, box, one):
                marks.append(Found(Kind.MARK, box, one.ink, one.contrast))
    return marks


def _is_drawn_in(scene: Scene, piece: Mask, box: Box, ink: Found) -> bool:
    """Whether a piece is all of one ink, and no blob."""
    if borders_touched(box, scene.shape) or max(box[2] - box[0], box[3] - box[1]) < 12:
        return False
    place = (slice(box[0], box[2]), slice(box[1], box[3]))
    own = np.pad(piece[place].astype(np.uint8), 1)
    exact = np.abs(scene.pixels[place].astype(np.float32) - np.float32(ink.ink))
    if float(np.mean(exact[piece[place]] <= 0.08 * ink.contrast)) < 0.6:
        return False
    outline = outline_of(own)
    hull = cv2.convexHull(outline)
    return cv2.contourArea(outline) < 0.75 * cv2.contourArea(hull)
