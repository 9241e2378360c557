"""Which images belong together: those that were taken alike, as far as it can be told."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

SAME_SIDES: Final = 0.1
"""Sides of images of one setup differ by no more than this share."""
_MAGNIFICATION: Final = re.compile(
    r"(?<![0-9A-Za-z.])0*([1-9][0-9]{0,2}(?:\.[0-9]{1,2})?)[xX](?![0-9A-Za-z])"
)


@dataclass(frozen=True)
class Setup:
    """What can be told of how an image was taken. Images of one setup have one scale.

    magnification : as in "10x", where the name says it; else empty
    shape : (rows, columns)
    """

    magnification: str
    shape: tuple[int, int]

    @classmethod
    def of(cls, name: str, shape: tuple[int, ...]) -> Setup:
        """name : of the image's file, with or without its ending"""
        return cls(magnification_in(name), (shape[0], shape[1]))

    def is_like(self, other: Setup) -> bool:
        """Whether both may well be of one setup: sides that differ by little were only cut."""
        return self.magnification == other.magnification and all(
            abs(one - another) <= SAME_SIDES * max(one, another)
            for one, another in zip(self.shape, other.shape, strict=True)
        )


def magnification_in(name: str) -> str:
    """The objective that a file's name says ("D1_10x.jpg": "10x"); empty where it says none, or
    several that differ."""
    found = {f"{float(text):g}x" for text in _MAGNIFICATION.findall(PurePath(name).name)}
    return found.pop() if len(found) == 1 else ""


def by_setup(setups: Iterable[Setup]) -> list[list[int]]:
    """Numbers of the images of each setup, by the first of them."""
    found: list[tuple[Setup, list[int]]] = []
    for number, setup in enumerate(setups):
        for first, held in found:
            if setup.is_like(first):
                held.append(number)
                break
        else:
            found.append((setup, [number]))
    return [held for _, held in found]
