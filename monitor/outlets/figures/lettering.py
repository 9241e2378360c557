"""Text that fits where it is written, in letters that the font has."""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache

from matplotlib.font_manager import FontProperties, findfont
from matplotlib.ft2font import FT2Font

DPI = 120


@lru_cache(maxsize=1)
def _known_letters() -> frozenset[int]:
    return frozenset(FT2Font(findfont("DejaVu Sans")).get_charmap())


def _printable(text: str) -> str:
    """Letters that the font lacks would be drawn as boxes, with a warning each time."""
    return "".join(
        letter if ord(letter) in _known_letters() else "□" for letter in " ".join(text.split())
    )


def fitted(text: str, size_pt: float, room_px: float, *, weight: str = "normal") -> str:
    """As much of a text as there is room for."""
    text = _printable(text)
    if width_of(text, size_pt, weight) <= room_px:
        return text
    fits = bisect_right(
        range(len(text)), room_px, key=lambda end: width_of(text[:end] + "…", size_pt, weight)
    )
    return text[: max(fits - 1, 0)].rstrip() + "…"


def width_of(text: str, size_pt: float, weight: str = "normal") -> float:
    font = FT2Font(findfont(FontProperties(family="DejaVu Sans", weight=weight)))
    font.set_size(size_pt, DPI)
    font.set_text(text, 0.0)
    return float(font.get_width_height()[0] / 64)
