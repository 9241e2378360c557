"""What stands above and below an overlay's field of view: title, doubt, legend; and its letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from monitor.culture import FieldAreas
from monitor.culture.doubt_words import IN_DOUBT

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]  # blue, green, red

# Sky blue, vermillion and yellow of Okabe and Ito's palette: told apart with every kind of colour
# vision, and in grey too. What is uncertain is striped besides, so that no colour need be known.
UNDIFFERENTIATED_BGR: Final[Colour] = (0xE9, 0xB4, 0x56)
DIFFERENTIATED_BGR: Final[Colour] = (0x00, 0x5E, 0xD5)
UNCERTAIN_BGR: Final[Colour] = (0x42, 0xE4, 0xF0)
_PAPER: Final[Colour] = (0x24, 0x1C, 0x16)
_INK: Final[Colour] = (0xF4, 0xF0, 0xEC)
_DOUBT_PAPER: Final[Colour] = (0x9B, 0xD9, 0xF8)
_DOUBT_INK: Final[Colour] = (0x14, 0x1C, 0x2C)


def letter_size(width: int) -> int:
    """Height of the letters in pixels, for a picture so wide."""
    return max(13, round(width / 42))


def title_height(width: int) -> int:
    return round(letter_size(width) * 1.9)


def is_striped(rows: int, columns: int, *, top: int, size: int) -> NDArray[np.bool_]:
    """(rows, columns): where stripes run that mark uncertain area.

    top : the first row's place in the picture, so that parts of it fit together
    size : of the picture's letters: stripes are as wide and far apart as can be seen beside these
    """
    apart, wide = max(6, round(size * 0.6)), max(2, round(size * 0.15))
    # One line, in each row a step farther on.
    line = np.arange(columns + apart) % apart < wide
    shifted = np.lib.stride_tricks.sliding_window_view(line, columns)
    return np.asarray(shifted[np.arange(top, top + rows) % apart])


def title_strip(text: str, width: int) -> Pixels:
    size = letter_size(width)
    font = letters(size)
    strip = _strip(width, title_height(width))
    fitted = _fitted(" ".join(text.split()), font, width - size)
    write(strip, fitted, (size / 2, strip.shape[0] / 2), font, anchor="lm")
    return strip


def doubt_strip(reasons: Sequence[str], width: int) -> Pixels:
    """Why the image is in doubt, dark on light, so that nobody takes it for the legend."""
    size = letter_size(width)
    font = letters(size)
    lines = [""]
    for word in f"{IN_DOUBT}: {', '.join(reasons)}".split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width - size:
            lines.append(word)
        else:
            lines[-1] = longer
    pitch = round(size * 1.5)
    strip = _strip(width, pitch * len(lines) + round(size * 0.5), _DOUBT_PAPER)
    for number, line in enumerate(lines):
        text = _fitted(line, font, width - size)
        at = (size / 2, pitch * (number + 0.5) + size * 0.25)
        write(strip, text, at, font, anchor="lm", ink=_DOUBT_INK)
    return strip


@dataclass(frozen=True)
class _Entry:
    """A word of the legend with the colour that it explains."""

    text: str
    colour: Colour | None = None
    striped: bool = False


def legend_strip(areas: FieldAreas, width: int, *, uncertain: float = 0.0) -> Pixels:
    """uncertain : share of the imaged area that is marked so; 0 = none is"""
    size = letter_size(width)
    font = letters(size)
    lines: list[list[tuple[float, _Entry]]] = [[]]
    x = size / 2
    for entry in _entries(areas, uncertain):
        room = font.getlength(entry.text) + (size * 1.4 if entry.colour else 0)
        if lines[-1] and x + room > width - size / 2:
            lines.append([])
            x = size / 2
        lines[-1].append((x, entry))
        x += room + size * 1.0
    pitch = round(size * 1.7)
    strip = _strip(width, pitch * len(lines) + round(size * 0.3))
    for number, line in enumerate(lines):
        middle = round(pitch * (number + 0.5) + size * 0.15)
        for x, entry in line:
            if entry.colour is not None:
                half, at = round(size * 0.42), round(x)
                swatch = strip[middle - half : middle + half, at : at + 2 * half]
                # In a picture of a few pixels not even these have room.
                rows, columns = swatch.shape[:2]
                swatch[:] = _swatch(entry.colour, (rows, columns), size, striped=entry.striped)
                x += size * 1.4
            write(strip, entry.text, (x, middle), font, anchor="lm")
    return strip


def _entries(areas: FieldAreas, uncertain: float) -> list[_Entry]:
    fraction = areas.differentiated_fraction
    entries = [_Entry("no cells found")]
    if fraction is not None:
        entries = [
            _Entry("of cells:"),
            _Entry(f"undifferentiated {_percent(1 - fraction)}", UNDIFFERENTIATED_BGR),
            _Entry(f"differentiated {_percent(fraction)}", DIFFERENTIATED_BGR),
        ]
    if areas.confluence is not None:
        entries.append(_Entry(f"confluence {_percent(areas.confluence)}"))
    if uncertain > 0:
        text = f"uncertain {_percent(uncertain)} of the area"
        entries.append(_Entry(text, UNCERTAIN_BGR, striped=True))
    return entries


def _swatch(colour: Colour, shape: tuple[int, int], size: int, *, striped: bool) -> Pixels:
    swatch = np.full((*shape, 3), (0x60, 0x60, 0x60) if striped else colour, np.uint8)
    if striped:
        swatch[is_striped(*shape, top=0, size=size)] = colour
    return swatch


def _percent(fraction: float) -> str:
    percent = fraction * 100
    if 0 < percent < 0.1:
        return "< 0.1 %"
    if 99.9 < percent < 100:
        return "> 99.9 %"
    return f"{percent:.1f} %" if percent < 10 else f"{percent:.0f} %"


def _fitted(text: str, font: ImageFont.FreeTypeFont, room: float) -> str:
    while len(text) > 1 and font.getlength(text) > room:
        text = text[:-2].rstrip() + "…"
    return text


def _strip(width: int, height: int, paper: Colour = _PAPER) -> Pixels:
    return np.full((height, width, 3), paper, np.uint8)


def write(
    target: Pixels,
    text: str,
    at: tuple[float, float],
    font: ImageFont.FreeTypeFont,
    *,
    anchor: str,
    ink: Colour = _INK,
) -> None:
    """Write into a small part of a picture. `at` is (x, y). OpenCV's own text knows no µ."""
    image = Image.fromarray(target)
    ImageDraw.Draw(image).text(at, text, fill=ink, font=font, anchor=anchor)
    target[:] = np.asarray(image)


@lru_cache(maxsize=16)
def letters(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans as it ships with matplotlib, which need not be imported for that."""
    place = find_spec("matplotlib")
    if place is None or place.origin is None:
        raise RuntimeError("matplotlib is not installed; reinstall the package")
    fonts = Path(place.origin).parent / "mpl-data" / "fonts" / "ttf"
    return ImageFont.truetype(str(fonts / "DejaVuSans.ttf"), size)
