"""Finds the round well in a picture that shows all of it.

Such pictures are stitched, dark outside the well, and often have lost their scale: the well's own
diameter gives it back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from model.preprocessing import shrunk
from model.strips import Disc, Rows

_REDUCED_SIDE = 480
_RAYS = 360
# The corners, of the middle's light, at most; and how far beyond that needs no closer look.
_DARK_OUTSIDE = 0.35
_PLAINLY = 1.8
# The wall and its shadow take the outermost few per cent; nothing there is culture.
_SHRUNK = 0.98


@dataclass(frozen=True)
class RoundWell:
    """A well's rim in pixels of the picture.

    centre : (row, column)
    radius_px : of the true rim, where the light ends
    """

    centre: tuple[float, float]
    radius_px: float

    def inside(self, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """(H, W) mask of the well, slightly shrunk so that the dark rim is not counted."""
        return self.inside_rows(shape).rows(0, shape[0])

    def inside_rows(self, shape: tuple[int, int]) -> Disc:
        """The same, a few rows at a time."""
        return Disc(shape, self.centre, self.radius_px * _SHRUNK)

    def pixel_size_um(self, well_diameter_mm: float) -> float:
        """What one pixel measures if the well has that diameter."""
        return well_diameter_mm * 1000.0 / (2.0 * self.radius_px)


def find_round_well(pixels: npt.NDArray[Any] | Rows) -> RoundWell | None:
    """The round well that a picture shows whole, dark outside; None where there is none.

    pixels : (H, W), any of the capture types
    """
    if min(pixels.shape) < 64 or _is_plainly_bright_outside(pixels):
        return None
    scale = max(1.0, max(pixels.shape) / _REDUCED_SIDE)
    size = (max(1, round(pixels.shape[1] / scale)), max(1, round(pixels.shape[0] / scale)))
    reduced = shrunk(pixels, (size[1], size[0]))
    limit = _dark_limit(reduced)
    if limit is None:
        return None
    bright = _largest_blob(reduced > limit)
    area = int(np.count_nonzero(bright))
    if not 0.08 * bright.size <= area <= 0.95 * bright.size:
        return None
    rim = _rim(bright)
    if rim is None:
        return None
    row, column, radius, spread, seen = rim
    # A well's rim is a circle to a per cent; the border of a shadow or of a colony is not.
    if spread > 0.015 * radius or seen < 0.8:
        return None
    if not _is_dark_outside(reduced, row, column, radius, limit):
        return None
    rows_scale = pixels.shape[0] / size[1]
    columns_scale = pixels.shape[1] / size[0]
    return RoundWell(
        centre=((row + 0.5) * rows_scale - 0.5, (column + 0.5) * columns_scale - 0.5),
        radius_px=float(radius * (rows_scale + columns_scale) / 2),
    )


def _is_plainly_bright_outside(pixels: npt.NDArray[Any] | Rows) -> bool:
    """Whether a few pixels say what `_dark_limit` would say of all of them; False if in doubt."""
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 2:
        return False
    side = min(pixels.shape) // 16
    corners = [
        pixels[rows, columns]
        for rows in (slice(0, side, 2), slice(-side, None, 2))
        for columns in (slice(0, side, 2), slice(-side, None, 2))
    ]
    middle = tuple(slice(length // 4, -length // 4, 8) for length in pixels.shape)
    return float(np.median(corners)) > _PLAINLY * _DARK_OUTSIDE * float(np.median(pixels[middle]))


def _dark_limit(reduced: npt.NDArray[np.float32]) -> float | None:
    """Grey value where the light ends; None where inside and outside do not stand apart.

    Close to the dark: the wall shades a band along the rim, wider on one side than on the other,
    and half way up its slope the well would seem up to one per cent too small.
    """
    height, width = reduced.shape
    side = max(4, min(height, width) // 16)
    corners = np.stack(
        [
            reduced[:side, :side],
            reduced[:side, -side:],
            reduced[-side:, :side],
            reduced[-side:, -side:],
        ]
    )
    outside = float(np.median(corners))
    middle = reduced[height // 4 : -height // 4, width // 4 : -width // 4]
    inside = float(np.median(middle))
    contrast = inside - outside
    # All four corners are dark and even, the middle is several times as bright.
    if contrast <= 0 or outside > _DARK_OUTSIDE * inside:
        return None
    if float(np.percentile(corners, 95)) - outside > 0.25 * contrast:
        return None
    noise = 1.4826 * float(np.median(np.abs(corners - outside)))
    return outside + min(max(0.1 * contrast, 5.0 * noise), 0.5 * contrast)


def _largest_blob(bright: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(bright.astype(np.uint8))
    if count < 2:
        return np.zeros_like(bright)
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    return np.asarray(labels == largest)


def _rim(bright: npt.NDArray[np.bool_]) -> tuple[float, float, float, float, float] | None:
    """Circle through the blob's outer border: row, column, radius, spread, seen part of 1.

    The border is taken along rays from the middle, the last bright pixel of each, so that dark
    colonies at the rim do not dent it; then fitted by least squares (Kasa 1976) without outliers.
    """
    rows, columns = np.nonzero(bright)
    row = (rows.min() + rows.max()) / 2.0
    column = (columns.min() + columns.max()) / 2.0
    reach = float(np.hypot(*bright.shape))
    angles = np.linspace(0, 2 * np.pi, _RAYS, endpoint=False)
    steps = np.arange(0.0, reach, 0.5)
    at_rows = row + np.sin(angles)[:, None] * steps
    at_columns = column + np.cos(angles)[:, None] * steps
    sampled = cv2.remap(
        bright.astype(np.float32),
        at_columns.astype(np.float32),
        at_rows.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    is_bright = sampled >= 0.5
    if not is_bright.any(axis=1).all():
        return None
    last = is_bright.shape[1] - 1 - np.argmax(is_bright[:, ::-1], axis=1)
    edge_rows = row + np.sin(angles) * steps[last]
    edge_columns = column + np.cos(angles) * steps[last]
    # Where the picture ends the rim was not seen.
    height, width = bright.shape
    seen = (
        (edge_rows > 1.5)
        & (edge_rows < height - 2.5)
        & (edge_columns > 1.5)
        & (edge_columns < width - 2.5)
    )
    use = seen.copy()
    for _ in range(5):
        if np.count_nonzero(use) < 0.6 * _RAYS:
            return None
        row, column, radius = _circle(edge_rows[use], edge_columns[use])
        off = np.hypot(edge_rows - row, edge_columns - column) - radius
        spread = 1.4826 * float(np.median(np.abs(off[use])))
        use = seen & (np.abs(off) <= max(3.0 * spread, 0.75))
    return row, column, radius, float(np.sqrt(np.mean(off[use] ** 2))), float(np.mean(use))


def _circle(
    rows: npt.NDArray[np.float64], columns: npt.NDArray[np.float64]
) -> tuple[float, float, float]:
    system = np.column_stack([rows, columns, np.ones_like(rows)])
    a, b, c = np.linalg.lstsq(system, rows**2 + columns**2, rcond=None)[0]
    row, column = float(a) / 2, float(b) / 2
    return row, column, float(np.sqrt(max(0.0, float(c) + row**2 + column**2)))


def _is_dark_outside(
    reduced: npt.NDArray[np.float32], row: float, column: float, radius: float, limit: float
) -> bool:
    rows = np.arange(reduced.shape[0])[:, None] - row
    columns = np.arange(reduced.shape[1])[None, :] - column
    outside = rows**2 + columns**2 > (1.05 * radius) ** 2
    inside = rows**2 + columns**2 < (0.95 * radius) ** 2
    return bool(
        np.count_nonzero(outside) > 0.04 * outside.size
        and np.mean(reduced[outside] > limit) < 0.03
        and np.mean(reduced[inside] > limit) > 0.7
    )
