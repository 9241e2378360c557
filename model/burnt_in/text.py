"""Lines of text: characters of one height, on one line, drawn by strokes."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.burnt_in.items import Bits, Box, Kind, area_of
from model.burnt_in.scene import Found, Ink, Scene, box_of, grown, near, outline_of

_MOST_CHARACTERS: Final = 6000


def text_at(scene: Scene, bar: Found) -> list[Found]:
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
    mask = near(pixels, bar.ink, 0.35 * bar.contrast)
    inner = grown(bar.box, 1, scene.shape)
    mask[
        inner[0] - window[0] : inner[2] - window[0], inner[1] - window[1] : inner[3] - window[1]
    ] = 0
    found = []
    for box in find_lines(scene, Ink(mask), (window[0], window[1]), at_a_bar=True):
        tall = box[2] - box[0]
        down = max(box[0] - bottom, top - box[2], 0)
        across = max(box[1] - right, left - box[3], 0)
        if down <= 1.6 * tall + 4 and across <= 1.6 * tall + 4:
            found.append(Found(Kind.TEXT, box, bar.ink, bar.contrast))
    return found


def find_lines(scene: Scene, ink: Ink, origin: tuple[int, int], *, at_a_bar: bool) -> list[Box]:
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


def _line_box(stats: NDArray[np.int64], members: NDArray[np.intp], tall: float) -> Box:
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
        top, left, bottom, right = box_of(stats[number])
        own = np.pad((numbers[top:bottom, left:right] == number).astype(np.uint8), 1)
        depth = float(cv2.distanceTransform(own, cv2.DIST_L2, 3).max())
        if 2 * depth > 0.5 * tall:
            return False
        outline = outline_of(own)
        hull = cv2.convexHull(outline)
        around = cv2.contourArea(hull)
        solid += float(stats[number, 4]) > 0.85 * (around + len(hull))
        even = 0.85 < (bottom - top) / (right - left) < 1.18
        # A circle's hull fills pi / 4 of its box, less half a pixel along its outline.
        fills = around / max(1, (bottom - top - 1) * (right - left - 1))
        round_ones += even and 0.68 < fills < 0.9
    return solid <= 0.5 * len(members) and round_ones <= 0.5 * len(members)


def _stands_alone(mask: Bits, box: Box, tall: float) -> bool:
    """Whether hardly any ink lies round a line of text."""
    wide = grown(box, max(3, round(0.6 * tall)), (mask.shape[0], mask.shape[1]))
    inner = _ink_in(mask, box)
    around = _ink_in(mask, wide) - inner
    return around / max(1, area_of(wide) - area_of(box)) <= 0.1 * inner / area_of(box)


def _is_sharp(scene: Scene, mask: Bits, box: Box) -> bool:
    """Whether a few pixels beside the ink the picture is as if there were none."""
    top, left, bottom, right = grown(box, 4, scene.shape)
    own = mask[top:bottom, left:right]
    near, far = (
        cv2.dilate(own, np.ones((side, side), np.uint8)).astype(np.int8) for side in (3, 7)
    )
    pixels = scene.pixels[top:bottom, left:right].astype(np.float32)
    ink = float(np.median(pixels[own > 0]))
    beside = np.abs(pixels[(far - near) > 0] - np.float32(ink))
    contrast = abs(ink - scene.median)
    return beside.size > 0 and float(np.mean(beside > 0.6 * contrast)) > 0.75


def _is_all_there_is(mask: Bits, box: Box) -> bool:
    """Whether a short line, near the border, is most of what has its ink in all of the picture."""
    height, width = mask.shape
    near = min(box[0], box[1], height - box[2], width - box[3])
    return near <= 0.1 * min(height, width) and _ink_in(mask, box) >= 0.5 * int(mask.sum())


def _ink_in(mask: Bits, box: Box) -> int:
    return int(mask[box[0] : box[2], box[1] : box[3]].sum())
