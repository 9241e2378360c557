"""Images that are read a few rows at a time, so that memory does not grow with their size."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Rows(Protocol):
    """An image whose rows are read when they are wanted. An array of any kind or a file."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def rows(self, top: int, bottom: int) -> NDArray[Any]:
        """Rows ``top`` to ``bottom`` (that one left out): (bottom - top, W). Not to be changed."""


class WholeImage:
    """An image (H, W) that is in memory already."""

    def __init__(self, values: NDArray[Any]) -> None:
        self._values = values
        self.shape: tuple[int, int] = (values.shape[0], values.shape[1])
        self.dtype = values.dtype

    def rows(self, top: int, bottom: int) -> NDArray[Any]:
        return self._values[top:bottom]


def as_rows(image: NDArray[Any] | Rows) -> Rows:
    """An array as rows; rows as they are."""
    return WholeImage(image) if isinstance(image, np.ndarray) else image


class Disc:
    """Which pixels of an image lie in a circle.

    centre : (row, column)
    """

    dtype = np.dtype(np.bool_)

    def __init__(self, shape: tuple[int, int], centre: tuple[float, float], radius_px: float):
        self.shape, self._centre, self._radius_px = shape, centre, radius_px

    def rows(self, top: int, bottom: int) -> NDArray[np.bool_]:
        rows = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(self._centre[0])
        columns = np.arange(self.shape[1], dtype=np.float32) - np.float32(self._centre[1])
        return np.asarray(rows**2 + columns[None, :] ** 2 <= np.float32(self._radius_px**2))


def in_strips(height: int, width: int, pixels: int, multiple: int = 1) -> list[tuple[int, int]]:
    """(top, bottom) of strips of about so many pixels, each ``multiple`` rows or some of them."""
    step = max(1, pixels // max(1, width) // multiple) * multiple
    return [(top, min(height, top + step)) for top in range(0, height, step)]
