"""What can be burnt into an image, and which pixels count beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from model.strips import Rows, as_rows, in_strips

Pixels: TypeAlias = NDArray[Any]
Mask: TypeAlias = NDArray[np.bool_]
Bits: TypeAlias = NDArray[np.uint8]
Box: TypeAlias = tuple[int, int, int, int]
"""top, left, bottom, right; the last two are left out"""

MARGIN_PX: Final = 4
"""Left round each item: smoothed edges, and what JPEG smears round them."""

BAND_PIXELS: Final = 24_000_000
"""Of larger pictures a part is looked at after the other."""


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
    box: Box


@dataclass(frozen=True)
class BurntIn:
    """All that was burnt into one picture; at least one item.

    shape : (rows, columns) of the picture
    """

    shape: tuple[int, int]
    items: tuple[Item, ...]

    dtype = np.dtype(np.bool_)

    def rows(self, top: int, bottom: int) -> Mask:
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

    def rows(self, top: int, bottom: int) -> Mask:
        """Rows ``top`` to ``bottom``: (bottom - top, W)."""
        free = ~self._burnt_in.rows(top, bottom)
        return free if self._inside is None else free & self._inside.rows(top, bottom)


def imaged(inside: NDArray[np.bool_] | Rows | None, burnt_in: BurntIn | None) -> Rows | None:
    """The mask of what counts; as it was where nothing is burnt in."""
    mask = None if inside is None else as_rows(inside)
    return mask if burnt_in is None else Imaged(mask, burnt_in)


def joined(items: Sequence[Item]) -> tuple[Item, ...]:
    """Without those that lie in another one; from top and left."""
    kept: list[Item] = []
    for item in sorted(items, key=lambda one: -area_of(one.box)):
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


def area_of(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
