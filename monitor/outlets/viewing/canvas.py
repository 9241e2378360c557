"""Where the fields of a scan lie on one large picture. Pure.

The canvas is as the camera sees it: its columns and rows run as those of the captures, whatever
the stage does, so that a field at the canvas' own scale lies on whole pixels and is not resampled.
Where places are not known the fields stand beside each other, and the canvas has no place on the
stage.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from monitor.culture import StagePosition
from monitor.errors import CalibrationError
from monitor.stage.frames import Affine, Matrix, field_to_stage

# A wrong stage position must not make a canvas that no zoom reaches across.
MOST_SIDE_PX = 1_000_000
_GAP_SHARE = 0.04


class Laid(StrEnum):
    """How the fields came to lie where they do."""

    ONE = "one field"
    STAGE = "by their places on the stage"
    BESIDE = "side by side, since their places are not known"
    BOTH = "by their places on the stage, and below these such whose places are not known"


@dataclass(frozen=True)
class FieldExtent:
    """A field as far as its place goes. pixel_size_um, stage : None = not known"""

    shape: tuple[int, int]
    pixel_size_um: float | None = None
    stage: StagePosition | None = None


@dataclass(frozen=True)
class Placed:
    """A field on the canvas.

    scale : canvas pixels to a pixel of the field
    left, top : column and row of the canvas at which the field's first pixel begins
    on_stage : whether it lies there by its stage position
    """

    shape: tuple[int, int]
    scale: float
    left: int
    top: int
    on_stage: bool

    @property
    def width(self) -> int:
        return max(1, round(self.shape[1] * self.scale))

    @property
    def height(self) -> int:
        return max(1, round(self.shape[0] * self.scale))

    @property
    def centre(self) -> tuple[float, float]:
        """(column, row) on the canvas."""
        return self.left + (self.width - 1) / 2, self.top + (self.height - 1) / 2

    def of_canvas(self, column: float, row: float) -> tuple[float, float]:
        """A point of the canvas as (column, row) of the field, pixel centres at whole numbers."""
        return (
            (column + 0.5 - self.left) / self.scale - 0.5,
            (row + 0.5 - self.top) / self.scale - 0.5,
        )


@dataclass(frozen=True)
class Canvas:
    """width, height : in pixels at full size

    pixel_size_um : None where nothing says it
    to_stage : (column, row) -> stage (x, y) in um; None where places are not known
    camera_um : where the canvas' first pixel lies in the camera's frame, (across, down) in um:
        the same for all canvases of one stage, so that scans can be laid upon each other
    placed : in the order of the fields
    """

    width: int
    height: int
    pixel_size_um: float | None
    to_stage: Affine | None
    camera_um: tuple[float, float] | None
    laid: Laid
    placed: tuple[Placed, ...]


@dataclass(frozen=True)
class Shift:
    """How far a dish was shifted between two scans.

    across_um, down_um : as the camera sees it, from the earlier scan to the later one
    likeness : how alike the cells of both are after it, at most 1
    """

    across_um: float
    down_um: float
    likeness: float


def lay_out(fields: Sequence[FieldExtent], pixel_to_stage: Matrix | None) -> Canvas:
    """Lay the fields of a scan on a canvas.

    pixel_to_stage : as of `image_to_stage`; None = not known how the camera stands
    Raises ValueError without fields.
    """
    if not fields:
        raise ValueError("a canvas needs fields")
    sizes = Counter(one.pixel_size_um for one in fields if one.pixel_size_um)
    unit_um = sizes.most_common(1)[0][0] if sizes else None
    at = [_in_camera(one, pixel_to_stage, unit_um) for one in fields]
    known = [one for one in at if one is not None]
    if known and pixel_to_stage is not None and unit_um is not None:
        low = np.floor(np.min(known, axis=0)).astype(int)
        high = np.max(known, axis=0)
        if float(np.max(high - low)) < MOST_SIDE_PX:
            return _by_stage(fields, at, low, unit_um, pixel_to_stage)
    placed = _beside(fields, unit_um, 0)
    laid = Laid.ONE if len(fields) == 1 else Laid.BESIDE
    width, height = _extent(placed)
    return Canvas(width, height, unit_um, None, None, laid, tuple(placed))


def _in_camera(
    field: FieldExtent, pixel_to_stage: Matrix | None, unit_um: float | None
) -> tuple[float, float] | None:
    """(column, row) of the field's first edge, in canvas pixels from the stage's origin."""
    if pixel_to_stage is None or unit_um is None or not field.pixel_size_um:
        return None
    if field.stage is None:
        return None
    try:
        to_stage = field_to_stage(
            shape=field.shape,
            pixel_size_um=field.pixel_size_um,
            pixel_to_stage=pixel_to_stage,
            centre=field.stage,
        )
        back = Affine.of((np.asarray(pixel_to_stage) * unit_um).tolist(), (0.0, 0.0)).inverse()
    except CalibrationError:
        return None
    first = back.apply(to_stage.apply([[-0.5, -0.5]]))[0]
    if not np.isfinite(first).all() or float(np.abs(first).max()) > 1e9:
        return None
    return float(first[0]), float(first[1])


def _by_stage(
    fields: Sequence[FieldExtent],
    at: Sequence[tuple[float, float] | None],
    low: np.ndarray[tuple[int], np.dtype[np.int64]],
    unit_um: float,
    pixel_to_stage: Matrix,
) -> Canvas:
    placed: list[Placed | None] = []
    for field, first in zip(fields, at, strict=True):
        if first is None:
            placed.append(None)
            continue
        scale = _scale(field, unit_um)
        left, top = round(first[0] - low[0]), round(first[1] - low[1])
        placed.append(Placed(field.shape, scale, left, top, on_stage=True))
    laid = Laid.STAGE if len(fields) > 1 else Laid.ONE
    others = [field for field, one in zip(fields, placed, strict=True) if one is None]
    if others:
        laid = Laid.BOTH
        _, bottom = _extent([one for one in placed if one is not None])
        below = iter(_beside(others, unit_um, bottom + round(_GAP_SHARE * bottom) + 1))
        placed = [next(below) if one is None else one for one in placed]
    whole = tuple(one for one in placed if one is not None)
    width, height = _extent(whole)
    linear = np.asarray(pixel_to_stage, np.float64) * unit_um
    # Pixel centres at whole numbers.
    shift = linear @ (np.asarray(low, np.float64) + 0.5)
    camera_um = float(low[0] * unit_um), float(low[1] * unit_um)
    to_stage = Affine.of(linear.tolist(), shift.tolist())
    return Canvas(width, height, unit_um, to_stage, camera_um, laid, whole)


def _beside(fields: Sequence[FieldExtent], unit_um: float | None, top: int) -> list[Placed]:
    """In rows of about as many as there are rows."""
    across = math.ceil(math.sqrt(len(fields)))
    scaled = [Placed(one.shape, _scale(one, unit_um), 0, 0, on_stage=False) for one in fields]
    gap = 0 if len(fields) == 1 else round(_GAP_SHARE * max(one.width for one in scaled)) + 1
    wide = max(one.width for one in scaled) + gap
    placed = []
    for first in range(0, len(scaled), across):
        row = scaled[first : first + across]
        for number, one in enumerate(row):
            placed.append(Placed(one.shape, one.scale, number * wide, top, on_stage=False))
        top += max(one.height for one in row) + gap
    return placed


def _scale(field: FieldExtent, unit_um: float | None) -> float:
    if unit_um is None or not field.pixel_size_um:
        return 1.0
    scale = field.pixel_size_um / unit_um
    return 1.0 if abs(scale - 1) < 1e-3 else scale


def _extent(placed: Sequence[Placed]) -> tuple[int, int]:
    return (
        max(one.left + one.width for one in placed),
        max(one.top + one.height for one in placed),
    )
