"""A scene, or a part of it, as one picture: for pages without JavaScript, and for strips."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from monitor.outlets.viewing.captures import Tone
from monitor.outlets.viewing.layers import Layer, over
from monitor.outlets.viewing.scenes import Scene
from monitor.outlets.viewing.tiles import Part, Tiles, box_in, size_at
from monitor.segmentation.overlay import draw_scale_bar, encode_jpeg
from monitor.segmentation.overlay_strips import letter_size, letters, write

PAPER_BGR = (232, 229, 226)
_INK = (60, 40, 90)
_LARGEST_SIDE = 2400


@dataclass(frozen=True)
class Look:
    """How a picture is drawn. layer : over the captures; CAPTURE = nothing is"""

    layer: Layer = Layer.OUTLINES
    opacity: float = 1.0
    tone: Tone = Tone.EVEN


@dataclass(frozen=True)
class Still:
    """is_whole : as of `Composed`"""

    content: bytes
    is_whole: bool


def draw_scene(tiles: Tiles, scene: Scene, look: Look, *, width: int) -> Still:
    """All of a scene, at most `width` pixels wide, with a scale bar; what is missing says why.

    Raises BusyError as `Copies.copy`.
    """
    width = min(width, _LARGEST_SIDE)
    halvings = 0
    while max(size_at(scene, halvings)) > 2 * width:
        halvings += 1
    part = Part(halvings, 0, 0, *size_at(scene, halvings))
    picture, is_whole, words = _drawn(tiles, scene, look, part)
    zoom = min(1.0, width / max(part.width, part.height))
    if zoom < 1:
        size = max(1, round(part.width * zoom)), max(1, round(part.height * zoom))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    _say_words(picture, scene, part, words, picture.shape[1] / part.width)
    shrunk = picture.shape[1] / scene.canvas.width
    pixel_um = scene.canvas.pixel_size_um
    draw_scale_bar(
        picture, None if pixel_um is None else pixel_um / shrunk, shrunk,
        assumed=False, size=letter_size(picture.shape[1]),
    )  # fmt: skip
    return Still(encode_jpeg(picture), is_whole)


def draw_square(
    tiles: Tiles, scene: Scene, look: Look, *, centre: tuple[float, float], side: float, size: int
) -> Still:
    """A square of a scene as a picture of `size` pixels.

    centre : (column, row) on the canvas; side : in its pixels
    Raises BusyError as `Copies.copy`.
    """
    halvings = 0
    while side / (1 << halvings) > 2 * size:
        halvings += 1
    step = 1 << halvings
    pixels = max(1, round(side / step))
    left, top = (round(value / step - pixels / 2) for value in centre)
    part = Part(halvings, left, top, pixels, pixels)
    picture, is_whole, _ = _drawn(tiles, scene, look, part)
    how = cv2.INTER_AREA if pixels > size else cv2.INTER_NEAREST
    picture = np.asarray(cv2.resize(picture, (size, size), interpolation=how), np.uint8)
    return Still(encode_jpeg(picture), is_whole)


def _drawn(
    tiles: Tiles, scene: Scene, look: Look, part: Part
) -> tuple[NDArray[np.uint8], bool, dict[str, str]]:
    found = tiles.compose(scene, Layer.CAPTURE, look.tone, part)
    paper = np.empty((part.height, part.width, 3), np.uint8)
    paper[:] = PAPER_BGR
    picture = over(paper, found.colours, 1.0)
    is_whole = found.is_whole
    if look.layer is not Layer.CAPTURE and look.opacity > 0:
        above = tiles.compose(scene, look.layer, look.tone, part)
        picture = over(picture, above.colours, look.opacity)
        is_whole = is_whole and above.is_whole
    return picture, is_whole, found.words


def _say_words(
    picture: NDArray[np.uint8], scene: Scene, part: Part, words: dict[str, str], zoom: float
) -> None:
    """In the place of each field that is not shown, why, as far as there is room."""
    for field in scene.fields:
        said = words.get(field.name)
        if said is None:
            continue
        top, bottom, left, right = (round(value * zoom) for value in box_in(field.placed, part))
        box = picture[top:bottom, left:right]
        if min(box.shape[:2]) < 40:
            continue
        font = letters(max(11, min(letter_size(picture.shape[1]), box.shape[1] // 14)))
        lines = _wrapped(said, max(8, round(box.shape[1] / font.size * 1.7)))[:4]
        height = round(font.size * 1.35)
        start = max(0, (box.shape[0] - height * len(lines)) // 2)
        sheet = box[start : start + height * len(lines)]
        sheet[:] = (sheet * 0.15 + np.array([250, 246, 250]) * 0.85).astype(np.uint8)
        for number, line in enumerate(lines):
            at = box.shape[1] / 2, start + number * height + height / 2
            write(box, line, at, font, ink=_INK, anchor="mm")


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
