"""Parts of a scene at any size, put together from copies of its captures: tiles for a viewer.

A tile is `TILE_PX` wide and high at `halvings` 0, where a pixel of it is one of the capture; each
further halving shows twice as much in each direction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from monitor.errors import UsageError
from monitor.outlets.viewing.canvas import Placed
from monitor.outlets.viewing.captures import Captures, NotShownError, Tone
from monitor.outlets.viewing.copies import Copy
from monitor.outlets.viewing.layers import (
    NOT_COVERED,
    RIM_PX,
    Colours,
    Layer,
    coloured_classes,
    coloured_probability,
    outlines,
    striped,
)
from monitor.outlets.viewing.scenes import Scene, SceneField
from monitor.record.views import ViewedField

TILE_PX = 512
_QUALITY = 90
_MOST_HALVINGS = 24


@dataclass(frozen=True)
class Part:
    """A rectangle of a scene made smaller, in pixels of that size.

    halvings : how often it was made half as large
    """

    halvings: int
    left: int
    top: int
    width: int
    height: int

    def wider(self, by: int) -> Part:
        return Part(
            self.halvings, self.left - by, self.top - by, self.width + 2 * by, self.height + 2 * by
        )


@dataclass(frozen=True, eq=False)
class Composed:
    """colours : (h, w, 4) BGRA, transparent where nothing was imaged

    is_whole : False where a field is not shown that may be there again later; such a picture must
        not be kept
    words : field -> why it is not shown
    """

    colours: Colours
    is_whole: bool
    words: dict[str, str]


@dataclass(frozen=True)
class Tile:
    """An encoded tile."""

    content: bytes
    media_type: str
    is_whole: bool


class Tiles:
    """Tiles of scenes. For several threads."""

    def __init__(self, captures: Captures) -> None:
        self._captures = captures

    def tile(
        self, scene: Scene, layer: Layer, tone: Tone, halvings: int, column: int, row: int
    ) -> Tile:
        """Raises UsageError outside of the scene, and BusyError as `Copies.copy`."""
        part = tile_part(scene, halvings, column, row)
        return encoded(self.compose(scene, layer, tone, part))

    def compose(self, scene: Scene, layer: Layer, tone: Tone, part: Part) -> Composed:
        """Raises BusyError as `Copies.copy`."""
        if layer is Layer.CAPTURE:
            return self._capture(scene, tone, part)
        if layer.is_probability:
            return self._probability(scene, layer, part)
        around = part.wider(RIM_PX) if layer is Layer.OUTLINES else part
        labels = np.full((around.height, around.width), np.uint8(NOT_COVERED))
        laid = _Laid(labels, around)
        for field in _within(scene, around):
            if field.viewed is not None:
                laid.lay(field, partial(self._labels_at, field.viewed, field.placed, around))
        if layer is Layer.OUTLINES:
            drawn = outlines(labels)[RIM_PX:-RIM_PX, RIM_PX:-RIM_PX]
        else:
            drawn = coloured_classes(labels)
        return Composed(drawn, laid.is_whole, laid.words)

    def _capture(self, scene: Scene, tone: Tone, part: Part) -> Composed:
        drawn = np.zeros((part.height, part.width, 4), np.uint8)
        laid = _Laid(drawn, part)
        for field in _within(scene, part):
            if field.viewed is None or not laid.lay(
                field, partial(self._grey_at, field.viewed, field.placed, part, tone)
            ):
                laid.lay_stripes(field)
        return Composed(drawn, laid.is_whole, laid.words)

    def _probability(self, scene: Scene, layer: Layer, part: Part) -> Composed:
        drawn = np.zeros((part.height, part.width, 4), np.uint8)
        laid = _Laid(drawn, part)
        for field in _within(scene, part):
            if field.viewed is not None:
                laid.lay(field, partial(self._probable_at, field.viewed, field.placed, part, layer))
        return Composed(drawn, laid.is_whole, laid.words)

    def _labels_at(self, field: ViewedField, placed: Placed, part: Part) -> NDArray[np.uint8]:
        return _sampled(self._captures.labels(field), placed, part, cv2.INTER_NEAREST)

    def _grey_at(
        self, field: ViewedField, placed: Placed, part: Part, tone: Tone
    ) -> NDArray[np.uint8]:
        return _opaque(_sampled(self._captures.grey(field, tone), placed, part, cv2.INTER_LINEAR))

    def _probable_at(
        self, field: ViewedField, placed: Placed, part: Part, layer: Layer
    ) -> NDArray[np.uint8]:
        spread = _spread(self._captures.probabilities(field), placed, part)
        return coloured_probability(spread, layer)


def tile_part(scene: Scene, halvings: int, column: int, row: int) -> Part:
    """Raises UsageError for a tile that lies outside."""
    if not 0 <= halvings <= _MOST_HALVINGS:
        raise UsageError("there is no such size of this picture")
    width, height = size_at(scene, halvings)
    left, top = column * TILE_PX, row * TILE_PX
    if not (0 <= left < width and 0 <= top < height):
        raise UsageError("the tile lies outside of the picture")
    return Part(halvings, left, top, min(TILE_PX, width - left), min(TILE_PX, height - top))


def size_at(scene: Scene, halvings: int) -> tuple[int, int]:
    """(width, height) of the whole scene at a size."""
    step = 1 << halvings
    return -(-scene.canvas.width // step), -(-scene.canvas.height // step)


def encoded(found: Composed) -> Tile:
    """As JPEG where all of it was imaged, else as PNG with what was not left transparent."""
    colours = found.colours
    blue, green, red, alpha = (colours[..., number] for number in range(4))
    if alpha.all() and (blue == green).all() and (green == red).all():
        done, content = cv2.imencode(
            ".jpg", np.ascontiguousarray(blue), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
        )
        media_type = "image/jpeg"
    else:
        done, content = cv2.imencode(".png", colours, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        media_type = "image/png"
    if not done:
        raise ValueError(f"a tile of {colours.shape} cannot be written")
    return Tile(content.tobytes(), media_type, found.is_whole)


# --- laying fields on a part --------------------------------------------------------------------


class _Laid:
    """Fields laid on a picture; where several lie, the one counts whose middle is nearest.

    canvas : (h, w) or (h, w, C), changed
    """

    def __init__(self, canvas: NDArray[np.uint8], part: Part) -> None:
        self._canvas, self._part = canvas, part
        self._nearest = np.full(canvas.shape[:2], np.inf, np.float32)
        self.is_whole = True
        self.words: dict[str, str] = {}

    def lay(self, field: SceneField, get: Callable[[], NDArray[np.uint8]]) -> bool:
        """get : what the field shows in its place of the part. False where it cannot be shown."""
        try:
            values = get()
        except NotShownError as problem:
            self.words[field.name] = problem.words
            self.is_whole = self.is_whole and not problem.is_passing
            return False
        self._put(field.placed, values)
        return True

    def lay_stripes(self, field: SceneField) -> None:
        """In the place of a field that cannot be shown, or that is not there."""
        is_missing = field.viewed is None and not field.is_unread
        if field.words is not None:
            self.words[field.name] = field.words
        top, bottom, left, right = box_in(field.placed, self._part)
        self._put(
            field.placed,
            striped(bottom - top, right - left, top=top + self._part.top,
                    left=left + self._part.left, unread=not is_missing),
        )  # fmt: skip

    def _put(self, placed: Placed, values: NDArray[np.uint8]) -> None:
        top, bottom, left, right = box_in(placed, self._part)
        step = float(1 << self._part.halvings)
        column, row = (value / step for value in placed.centre)
        across = np.arange(left, right, dtype=np.float32) + np.float32(self._part.left - column)
        down = np.arange(top, bottom, dtype=np.float32) + np.float32(self._part.top - row)
        distance = across[None, :] ** 2 + down[:, None] ** 2
        nearest = self._nearest[top:bottom, left:right]
        nearer = distance < nearest
        if nearer.all():
            self._canvas[top:bottom, left:right] = values
            nearest[:] = distance
            return
        self._canvas[top:bottom, left:right][nearer] = values[nearer]
        nearest[nearer] = distance[nearer]


def _within(scene: Scene, part: Part) -> list[SceneField]:
    """The fields that lie in a part, at least with a pixel."""
    found = []
    for field in scene.fields:
        top, bottom, left, right = box_in(field.placed, part)
        if top < bottom and left < right:
            found.append(field)
    return found


def box_in(placed: Placed, part: Part) -> tuple[int, int, int, int]:
    """Rows from, to, columns from, to that a field has in a part."""
    first_row, last_row, first_column, last_column = _box(placed, part.halvings)
    return (
        min(max(first_row - part.top, 0), part.height),
        min(max(last_row - part.top, 0), part.height),
        min(max(first_column - part.left, 0), part.width),
        min(max(last_column - part.left, 0), part.width),
    )


def _box(placed: Placed, halvings: int) -> tuple[int, int, int, int]:
    """The same on the whole scene at a size."""
    step = 1 << halvings
    top, left = round(placed.top / step), round(placed.left / step)
    bottom = max(top + 1, round((placed.top + placed.height) / step))
    right = max(left + 1, round((placed.left + placed.width) / step))
    return top, bottom, left, right


def _sampled(copy: Copy, placed: Placed, part: Part, how: int) -> NDArray[np.uint8]:
    """What a field shows in its place of a part, (h, w) as `box_in` says."""
    top, bottom, left, right = box_in(placed, part)
    first_row, last_row, first_column, last_column = _box(placed, part.halvings)
    zoom = (1 << part.halvings) / placed.scale
    number = min(max(int(np.floor(np.log2(zoom) + 1e-6)), 0), len(copy.levels) - 1)
    level = copy.levels[number]
    rows = slice(part.top + top - first_row, part.top + bottom - first_row)
    columns = slice(part.left + left - first_column, part.left + right - first_column)
    height, width = last_row - first_row, last_column - first_column
    if (
        placed.scale == 1.0
        and abs(level.shape[0] - height) <= 1
        and abs(level.shape[1] - width) <= 1
    ):
        # Pixel by pixel; a half one at an odd end is left out, or shown twice.
        across = np.minimum(np.arange(columns.start, columns.stop), level.shape[1] - 1)
        down = np.minimum(np.arange(rows.start, rows.stop), level.shape[0] - 1)
        if across[-1] - across[0] + 1 == across.size and down[-1] - down[0] + 1 == down.size:
            return np.asarray(level[down[0] : down[-1] + 1, across[0] : across[-1] + 1])
        return np.asarray(level[down[:, None], across[None, :]])
    return _resampled(level, (height, width), rows, columns, how)


def _resampled(
    level: NDArray[np.uint8], size: tuple[int, int], rows: slice, columns: slice, how: int
) -> NDArray[np.uint8]:
    """Rows and columns of a picture that was made `size` (rows, columns)."""
    height, width = size
    step_down, step_across = level.shape[0] / height, level.shape[1] / width
    # The first pixel's middle, in pixels of the level.
    first = (columns.start + 0.5) * step_across - 0.5, (rows.start + 0.5) * step_down - 0.5
    from_ = max(0, int(first[0]) - 2), max(0, int(first[1]) - 2)
    to = int(columns.stop * step_across) + 3, int(rows.stop * step_down) + 3
    piece = np.ascontiguousarray(level[from_[1] : to[1], from_[0] : to[0]])
    matrix = np.array(
        [[step_across, 0, first[0] - from_[0]], [0, step_down, first[1] - from_[1]]], np.float64
    )
    return np.asarray(
        cv2.warpAffine(
            piece, matrix, (columns.stop - columns.start, rows.stop - rows.start),
            flags=how | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
        ),
        np.uint8,
    )  # fmt: skip


def _spread(planes: NDArray[np.uint8], placed: Placed, part: Part) -> NDArray[np.uint8]:
    """Coarse planes (h, w, 3) in the field's place of a part."""
    top, bottom, left, right = box_in(placed, part)
    first_row, last_row, first_column, last_column = _box(placed, part.halvings)
    size = last_row - first_row, last_column - first_column
    rows = slice(part.top + top - first_row, part.top + bottom - first_row)
    columns = slice(part.left + left - first_column, part.left + right - first_column)
    return _resampled(planes, size, rows, columns, cv2.INTER_LINEAR)


def _opaque(grey: NDArray[np.uint8]) -> Colours:
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(grey), cv2.COLOR_GRAY2BGRA), np.uint8)
