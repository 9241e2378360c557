"""What programs burn into a picture for people: scale bars, text, times, arrows, a strip of facts.

None of it is culture. Pixels under it are unknown in the label map, with those that storing the
picture will smear it over.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, cast

import cv2
import numpy as np

from model.classes import UNKNOWN
from model.simulation.drawing import FloatImage, Labels, Mask, chance, log_uniform

MARGIN_PX: Final = 2
"""Pixels round a drawn one that are unknown too: a shrunk or compressed edge reaches so far."""

_FONTS: Final = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_PLAIN,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_COMPLEX_SMALL,
)
# Red, green, blue, yellow, cyan, magenta and orange, as grey by the weights of ITU-R BT.601.
_COLOURS_AS_GREY: Final = (76.0, 150.0, 29.0, 226.0, 179.0, 105.0, 173.0)
_LENGTHS_UM: Final = (5, 10, 20, 25, 50, 100, 200, 250, 300, 400, 500, 1000, 2000)
# The fonts of OpenCV before 5 hold nothing beyond ASCII.
_MICRO: Final = "µm" if int(cv2.__version__.split(".")[0]) >= 5 else "um"
_SMALLEST_TEXT_PX: Final = 7


@dataclass(frozen=True)
class _Pen:
    """How everything of one picture is drawn.

    margin : (rows, columns) kept clear along the picture's border
    text_px : height of its capitals
    """

    font: int
    text_px: int
    bold: int
    ink: float
    box: float | None
    outline: float | None
    smooth: bool
    margin: tuple[int, int]


class _Sheet:
    """A transparent sheet over the picture: drawn on first, laid over it at the end."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self.grey = np.zeros(shape, np.float32)
        self.cover = np.zeros(shape, np.float32)

    def lay(self, stencil: Mask | FloatImage, grey: float) -> None:
        """Ink of one grey where the stencil (0..1) lets it through."""
        share = np.asarray(stencil, np.float32)
        self.grey += share * (np.float32(grey) - self.grey)
        self.cover = np.maximum(self.cover, share)

    def box(self, top: int, left: int, bottom: int, right: int, grey: float) -> None:
        stencil = np.zeros(self.shape, np.float32)
        stencil[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = 1
        self.lay(stencil, grey)


def burn_in(
    rng: np.random.Generator, image: FloatImage, labels: Labels, pixel_size_um: float
) -> Mask:
    """Burn what one program might write into a picture, in place; its pixels become unknown.

    image : (H, W), grey levels, 255 is white
    Returns (H, W), where it was drawn; the labels are unknown there and `MARGIN_PX` around.
    """
    shape = (image.shape[0], image.shape[1])
    sheet = _Sheet(shape)
    pen = _draw_pen(rng, shape)
    kind = rng.random()
    if kind < 0.12:
        _strip(rng, sheet, pen, pixel_size_um)
    elif kind < 0.84:
        corner = _draw_corner(rng)
        _bar(rng, sheet, pen, pixel_size_um, corner)
        if chance(rng, 0.25):
            # In another corner, so that the two do not lie on each other.
            _stamp(rng, sheet, pen, (not corner[0], corner[1]))
    else:
        _stamp(rng, sheet, pen, _draw_corner(rng))
    if chance(rng, 0.12):
        _arrows(rng, sheet, pen)
    return _laid_over(image, labels, sheet)


def _laid_over(image: FloatImage, labels: Labels, sheet: _Sheet) -> Mask:
    image += sheet.cover * (sheet.grey - image)
    drawn: Mask = sheet.cover > 0
    around = np.ones((2 * MARGIN_PX + 1, 2 * MARGIN_PX + 1), np.uint8)
    labels[cv2.dilate(drawn.astype(np.uint8), around) > 0] = UNKNOWN
    return drawn


def _draw_pen(rng: np.random.Generator, shape: tuple[int, int]) -> _Pen:
    shade = rng.random()
    if shade < 0.4:
        ink = 255.0
    elif shade < 0.7:
        ink = 0.0
    elif shade < 0.85:
        ink = float(rng.choice(_COLOURS_AS_GREY))
    else:
        ink = float(rng.choice((rng.uniform(0, 60), rng.uniform(190, 255))))
    paper = float(rng.choice((0.0, 0.0, 255.0, rng.uniform(20, 120))))
    boxed = chance(rng, 0.15)
    text_px = min(log_uniform(rng, 8, 42), min(shape) / 7)
    return _Pen(
        font=int(rng.choice(_FONTS)),
        text_px=max(_SMALLEST_TEXT_PX, int(text_px)),
        bold=int(rng.integers(1, 4)),
        ink=ink,
        box=_apart(paper, ink) if boxed else None,
        outline=_apart(255.0 - ink, ink) if not boxed and chance(rng, 0.15) else None,
        smooth=chance(rng, 0.7),
        margin=(
            max(2, int(shape[0] * rng.uniform(0.01, 0.06))),
            max(2, int(shape[1] * rng.uniform(0.01, 0.06))),
        ),
    )


def _apart(paper: float, ink: float) -> float:
    """Paper that the ink can be read on."""
    if abs(paper - ink) > 90:
        return paper
    return 0.0 if ink > 127 else 255.0


def _draw_corner(rng: np.random.Generator) -> tuple[bool, bool]:
    """(at the bottom, at the right); most programs take the bottom right."""
    return chance(rng, 0.8), chance(rng, 0.75)


# Text


def _stencil(text: str, pen: _Pen) -> FloatImage:
    """Ink (0..1) of a line of text, cut to its size."""
    line = cv2.LINE_AA if pen.smooth else cv2.LINE_8
    (_, tall), _ = cv2.getTextSize("H", pen.font, 1.0, pen.bold)
    scale = pen.text_px / max(tall, 1)
    weight = max(1, round(pen.bold * scale))
    (width, height), below = cv2.getTextSize(text, pen.font, scale, weight)
    pad = height + below + weight + 2
    canvas = np.zeros((height + below + 2 * pad, width + 2 * pad), np.uint8)
    cv2.putText(canvas, text, (pad, pad + height), pen.font, scale, 255, weight, line)
    ink = canvas.astype(np.float32) / np.float32(255)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not rows.size:
        return ink[:0, :0]
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _write(sheet: _Sheet, pen: _Pen, ink: FloatImage, top: int, left: int) -> None:
    """A line of text with its upper left corner there; what does not fit is cut off."""
    rows, columns = sheet.shape
    first_row, first_column = max(0, -top), max(0, -left)
    part = ink[first_row : rows - top, first_column : columns - left]
    if not part.size:
        return
    whole = np.zeros(sheet.shape, np.float32)
    place = (top + first_row, left + first_column)
    whole[place[0] : place[0] + part.shape[0], place[1] : place[1] + part.shape[1]] = part
    if pen.outline is not None:
        around = cv2.dilate(whole, np.ones((3, 3), np.uint8))
        sheet.lay(cast(FloatImage, around), pen.outline)
    sheet.lay(whole, pen.ink)


def _draw_words(rng: np.random.Generator) -> str:
    hour, minute, second = (int(rng.integers(0, n)) for n in (24, 60, 60))
    year, month, day = (
        int(rng.integers(2015, 2036)),
        int(rng.integers(1, 13)),
        int(rng.integers(29)),
    )
    of_time = (
        f"{hour:02}:{minute:02}",
        f"{hour:02}:{minute:02}:{second:02}",
        f"{hour + 24 * (day % 4)}h{minute:02}m",
        f"t = {hour} h",
        f"{year}-{month:02}-{day + 1:02}",
        f"{day + 1:02}/{month:02}/{year}",
        f"{day + 1}.{month}.{year} {hour:02}:{minute:02}",
        f"Day {day % 15}",
        f"D{day % 15}",
    )
    of_place = (
        f"{'ABCDEFGH'[hour % 8]}{1 + minute % 12}",
        f"{rng.choice((4, 5, 10, 20))}x",
        f"{rng.choice((4, 10, 20))}X PH",
        f"p{minute}",
        "ctrl",
        "iPSC",
    )
    words = str(rng.choice(of_time if chance(rng, 0.65) else of_place))
    if chance(rng, 0.15):
        words += f"  {rng.choice(of_place)}"
    return words


def _stamp(rng: np.random.Generator, sheet: _Sheet, pen: _Pen, corner: tuple[bool, bool]) -> None:
    """One or two lines of text in a corner."""
    lines = [_stencil(_draw_words(rng), pen) for _ in range(1 + chance(rng, 0.2))]
    rows, columns = sheet.shape
    gap = max(1, pen.text_px // 3)
    height = sum(line.shape[0] for line in lines) + gap * (len(lines) - 1)
    width = max(line.shape[1] for line in lines)
    top = rows - pen.margin[0] - height if corner[0] else pen.margin[0]
    left = columns - pen.margin[1] - width if corner[1] else pen.margin[1]
    _paper(sheet, pen, (top, left, top + height, left + width))
    for line in lines:
        _write(sheet, pen, line, top, left)
        top += line.shape[0] + gap


def _paper(sheet: _Sheet, pen: _Pen, around: tuple[int, int, int, int]) -> None:
    """The box behind what lies in (top, left, bottom, right), where there is one."""
    if pen.box is not None:
        rim = max(2, pen.text_px // 4)
        top, left, bottom, right = around
        sheet.box(top - rim, left - rim, bottom + rim, right + rim, pen.box)


# Bars, strips, arrows


def _bar_length(
    rng: np.random.Generator, room_px: int, pixel_size_um: float
) -> tuple[int, str] | None:
    """Pixels and words of a bar of a round length that fits; None where none does."""
    fitting = [um for um in _LENGTHS_UM if 0.05 * room_px <= um / pixel_size_um <= 0.45 * room_px]
    if not fitting:
        return None
    um = int(rng.choice(fitting))
    return max(4, round(um / pixel_size_um)), f"{um}{rng.choice(('', ' '))}{_MICRO}"


def _bar(
    rng: np.random.Generator,
    sheet: _Sheet,
    pen: _Pen,
    pixel_size_um: float,
    corner: tuple[bool, bool],
) -> None:
    """A scale bar in a corner, mostly with its length above or below."""
    rows, columns = sheet.shape
    upright = chance(rng, 0.15)
    drawn = _bar_length(rng, rows if upright else columns, pixel_size_um)
    thick = max(1, int(min(log_uniform(rng, 1.5, 16), min(sheet.shape) / 20)))
    words = np.zeros((0, 0), np.float32)
    if drawn is not None and chance(rng, 0.75):
        words = _stencil(drawn[1], pen)
    length = drawn[0] if drawn else max(4, columns // 5)
    gap = max(2, int(pen.text_px * rng.uniform(0.2, 0.7)))
    tall, wide = (length, thick) if upright else (thick, length)
    height = tall + (gap + words.shape[0] if words.size else 0)
    width = max(wide, words.shape[1])
    top = rows - pen.margin[0] - height if corner[0] else pen.margin[0]
    left = columns - pen.margin[1] - width if corner[1] else pen.margin[1]
    _paper(sheet, pen, (top, left, top + height, left + width))
    above = words.size > 0 and chance(rng, 0.7)
    bar_top = top + (gap + words.shape[0] if above else 0)
    bar_left = left + (width - wide) // 2
    if pen.outline is not None:
        sheet.box(bar_top - 1, bar_left - 1, bar_top + tall + 1, bar_left + wide + 1, pen.outline)
    sheet.box(bar_top, bar_left, bar_top + tall, bar_left + wide, pen.ink)
    if not upright and chance(rng, 0.1):
        # Serifs: |---|
        for end in (bar_left, bar_left + wide - thick):
            sheet.box(bar_top - 2 * thick, end, bar_top + 3 * thick, end + thick, pen.ink)
    if words.size:
        words_top = top if above else top + tall + gap
        _write(sheet, pen, words, words_top, left + (width - words.shape[1]) // 2)


def _strip(rng: np.random.Generator, sheet: _Sheet, pen: _Pen, pixel_size_um: float) -> None:
    """A strip of facts along the lower or upper border, over its whole width."""
    rows, columns = sheet.shape
    height = min(int(pen.text_px * rng.uniform(1.6, 2.4)), rows // 4)
    top = rows - height if chance(rng, 0.85) else 0
    sheet.box(top, 0, top + height, columns, _apart(255.0 - pen.ink, pen.ink))
    left = int(columns * rng.uniform(0.01, 0.06))
    for _ in range(int(rng.integers(1, 4))):
        ink = _stencil(_draw_words(rng), pen)[: height - 2]
        if left + ink.shape[1] > 0.7 * columns:
            break
        _write(sheet, pen, ink, top + (height - ink.shape[0]) // 2, left)
        left += ink.shape[1] + int(columns * rng.uniform(0.03, 0.1))
    drawn = _bar_length(rng, int(0.6 * columns), pixel_size_um)
    if drawn is not None:
        thick = max(1, height // 8)
        right = columns - max(2, columns // 40)
        middle = top + height // 2
        sheet.box(middle, right - drawn[0], middle + thick, right, pen.ink)


def _arrows(rng: np.random.Generator, sheet: _Sheet, pen: _Pen) -> None:
    """Arrows that point at something, anywhere."""
    rows, columns = sheet.shape
    thick = max(1, int(min(log_uniform(rng, 1.5, 6), min(sheet.shape) / 40)))
    for _ in range(int(rng.integers(1, 4))):
        reach = min(sheet.shape) * rng.uniform(0.05, 0.15) + 4 * thick
        angle = rng.uniform(0, 2 * math.pi)
        tip = (int(rng.uniform(0.1, 0.9) * columns), int(rng.uniform(0.1, 0.9) * rows))
        start = (int(tip[0] + reach * math.cos(angle)), int(tip[1] + reach * math.sin(angle)))
        canvas = np.zeros(sheet.shape, np.uint8)
        line = cv2.LINE_AA if pen.smooth else cv2.LINE_8
        cv2.arrowedLine(canvas, start, tip, 255, thick, line, 0, rng.uniform(0.2, 0.5))
        sheet.lay(canvas.astype(np.float32) / np.float32(255), pen.ink)
