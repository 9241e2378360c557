"""From a capture to what the network sees: working scale, flat background, even contrast.

The network may look only at texture. So before it an image is brought to the model's um/px,
its background is made flat (uneven light, vignetting, stitched tiles) and its contrast is scaled by
that of its most textured parts: brightfield of plate imagers spans a few grey levels, phase
contrast two hundred. Both steps are deterministic; the background is local and the contrast is one
number an image, so an image can be prepared in tiles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, TypeAlias, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from model.strips import Rows, WholeImage, as_rows, in_strips

FloatImage: TypeAlias = NDArray[np.float32]

NORMALISATION: Final = "flat-background-1"
"""Name and version of what `normalise` does; stored with a model. A change of the rule is a new
name, since weights only fit the rule that they were trained with."""

STRIP_PIXELS: Final = 6_000_000
"""Images larger than that at the working scale are prepared in strips of so many pixels."""

KEPT_PIXELS: Final = 32_000_000
"""Images larger than that at the working scale are prepared twice, and not kept in between."""


@dataclass(frozen=True)
class Normalisation:
    """Sizes of the normalisation; stored with a model.

    background_um : width of the neighbourhood whose mean counts as background
    texture_px : side of the box whose mean is taken off before contrast is measured
    block_px : side of the blocks whose spread is measured, at the working scale
    quantile : the block of this rank sets the contrast; high, so that a few colonies on a wide
        empty background are seen as on a full one
    """

    name: str = NORMALISATION
    background_um: float = 200.0
    texture_px: int = 11
    block_px: int = 16
    quantile: float = 0.9

    def to_json(self) -> dict[str, Any]:
        """The settings as plain values."""
        return asdict(self)


def to_grey(image: NDArray[Any]) -> NDArray[Any]:
    """A grey image (H, W) of a grey or colour one.

    image : (H, W), (H, W, 1), (H, W, 2) grey and alpha, (H, W, 3) RGB or (H, W, 4) RGB and alpha
    Returns (H, W): the same dtype for grey, float32 for colour (Rec. 601 weights).
    Raises ValueError for any other shape.
    """
    if image.ndim == 2:
        return image
    if image.ndim == 3 and image.shape[2] in (1, 2):
        return image[:, :, 0]
    if image.ndim == 3 and image.shape[2] in (3, 4):
        weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
        return cast(NDArray[Any], image[:, :, :3].astype(np.float32) @ weights)
    raise ValueError(
        f"an image of shape {image.shape} is neither grey (H, W) nor colour (H, W, 3 or 4); "
        "pass one plane at a time"
    )


def working_shape(
    shape: tuple[int, int], pixel_size_um: float, um_per_pixel: float, multiple: int
) -> tuple[int, int]:
    """Rows and columns at the working scale, each a multiple of the network's stride."""
    rows, columns = (
        max(1, round(length * pixel_size_um / um_per_pixel / multiple)) * multiple
        for length in shape
    )
    return rows, columns


def resample(image: FloatImage, shape: tuple[int, int]) -> FloatImage:
    """The image at another size: means over areas where it shrinks, linear where it grows.

    image : (H, W) float32
    shape : (rows, columns) wanted
    """
    return resample_rows(WholeImage(image), shape, 0, shape[0])


def shrunk(image: NDArray[Any] | Rows, shape: tuple[int, int]) -> NDArray[np.float32]:
    """An image at a smaller size, as means over areas; of rows that are read as few at a time."""
    if isinstance(image, np.ndarray):
        size = shape[1], shape[0]
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.float32)
    of_each = math.ceil(math.prod(image.shape) / math.prod(shape))
    parts = [
        resample_rows(image, shape, top, bottom)
        for top, bottom in in_strips(*shape, STRIP_PIXELS // of_each)
    ]
    return np.concatenate(parts)


def resample_rows(image: Rows, shape: tuple[int, int], top: int, bottom: int) -> FloatImage:
    """Rows ``top`` to ``bottom`` of `resample`, from no more of the image than they need.

    Returns (bottom - top, shape[1]) float32, the same however the rows are asked for.
    """
    height, width = image.shape
    shrinks = shape[0] <= height and shape[1] <= width
    if shrinks and height % shape[0] == 0:
        step = height // shape[0]
        values = _floats(image, top * step, bottom * step)
        if values.shape == (bottom - top, shape[1]):
            return values
        return _resized(values, (bottom - top, shape[1]), cv2.INTER_AREA)
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    first, weights = (_shares if shrinks else _neighbours)(height, shape[0], top, bottom)
    start, end = int(first.min()), int(min(height, first.max() + weights.shape[1]))
    narrow = _floats(image, start, end)
    if width != shape[1]:
        narrow = _resized(narrow, (end - start, shape[1]), how)
    result = np.zeros((bottom - top, shape[1]), dtype=np.float32)
    for tap in range(weights.shape[1]):
        # Past the last row the weight is 0.
        rows = np.minimum(first + tap, end - 1) - start
        result += narrow[rows] * weights[:, tap : tap + 1]
    return result


def _floats(image: Rows, top: int, bottom: int) -> FloatImage:
    return np.ascontiguousarray(image.rows(top, bottom), dtype=np.float32)


def _resized(values: FloatImage, shape: tuple[int, int], how: int) -> FloatImage:
    return cast(FloatImage, cv2.resize(values, (shape[1], shape[0]), interpolation=how))


def _shares(
    length: int, wanted: int, top: int, bottom: int
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """First row that each wanted row covers, and the shares of it and of those that follow."""
    step = length / wanted
    starts = np.arange(top, bottom) * step
    first = np.floor(starts).astype(np.intp)
    lines = first[:, None] + np.arange(math.ceil(step) + 1)
    overlap = np.minimum(lines + 1, (starts + step)[:, None]) - np.maximum(lines, starts[:, None])
    overlap = np.where(lines < length, np.clip(overlap, 0, None), 0)
    return first, (overlap / overlap.sum(axis=1, keepdims=True)).astype(np.float32)


def _neighbours(
    length: int, wanted: int, top: int, bottom: int
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The row above each wanted row's centre, and the weights of it and of the next."""
    place = np.clip((np.arange(top, bottom) + 0.5) * (length / wanted) - 0.5, 0, length - 1)
    first = np.floor(place).astype(np.intp)
    part = (place - first).astype(np.float32)
    return first, np.stack([1 - part, part], axis=1)


def spread_evenly(
    planes: NDArray[np.float32], shape: tuple[int, ...], top: int, bottom: int
) -> NDArray[np.float32]:
    """Rows ``top`` to ``bottom`` of coarse maps brought to an image's size, bilinearly.

    planes : (C, h, w) float32, spread evenly over the image
    shape : (H, W) of the whole image
    Returns (C, bottom - top, W) float32. Strips put together equal the whole.
    """
    first, second, part = between(np.arange(top, bottom), shape[0], planes.shape[1])
    spread = np.empty((len(planes), bottom - top, shape[1]), np.float32)
    for plane, strip in zip(planes, spread, strict=True):
        lines = plane[first] * (1 - part[:, None]) + plane[second] * part[:, None]
        cv2.resize(lines, strip.shape[::-1], dst=strip, interpolation=cv2.INTER_LINEAR)
    return spread


def between(
    place: NDArray[np.intp], full: int, length: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """The two lines of a coarse map that pixels lie between, and how far from the first."""
    middle = np.clip((place + 0.5) * (length / full) - 0.5, 0, length - 1)
    first = np.floor(middle).astype(np.intp)
    return first, np.minimum(first + 1, length - 1), (middle - first).astype(np.float32)


def at_working_scale(
    image: NDArray[Any] | Rows,
    shape: tuple[int, int],
    inside: NDArray[np.bool_] | Rows | None = None,
    rows: tuple[int, int] | None = None,
) -> tuple[FloatImage, FloatImage | None]:
    """Grey levels at the working scale and, where there is a mask, its share of each pixel.

    image : (H, W), any real dtype
    inside : (H, W) bool; pixels outside it do not enter
    rows : of the result, from and to; all by default
    Returns (rows, columns) float32 and None or (rows, columns) float32, 0..1.
    """
    top, bottom = rows or (0, shape[0])
    source = as_rows(image)
    mask = None if inside is None else as_rows(inside)
    if source.dtype.kind not in "bui" or mask is not None:
        source, mask = _masked(source, mask, shape, top, bottom)
    values = resample_rows(source, shape, top, bottom)
    if mask is None:
        return values, None
    share = resample_rows(mask, shape, top, bottom)
    values /= np.maximum(share, np.float32(1e-6))
    return values, share


def _masked(
    image: Rows, inside: Rows | None, shape: tuple[int, int], top: int, bottom: int
) -> tuple[Rows, Rows | None]:
    """What `at_working_scale` needs of an image, 0 where it does not count; its mask, if any."""
    step = image.shape[0] / shape[0]
    first = max(0, math.floor(top * step) - 1)
    last = min(image.shape[0], math.ceil(bottom * step) + 2)
    values = np.ascontiguousarray(image.rows(first, last), dtype=np.float32)
    counted = None if inside is None else np.asarray(inside.rows(first, last))
    if not math.isfinite(float(values.sum(dtype=np.float64))):
        finite = np.isfinite(values)
        counted = finite if counted is None else counted & finite
        values = np.where(finite, values, np.float32(0))
    if counted is None or bool(counted.all()):
        return _Part(image.shape, first, values), None
    known = counted.astype(np.float32)
    return _Part(image.shape, first, values * known), _Part(image.shape, first, known)


class _Part:
    """Some rows of an image, known by their numbers in the whole."""

    dtype = np.dtype(np.float32)

    def __init__(self, shape: tuple[int, int], first: int, values: FloatImage) -> None:
        self.shape, self._first, self._values = shape, first, values

    def rows(self, top: int, bottom: int) -> FloatImage:
        return self._values[top - self._first : bottom - self._first]


def normalise(
    grey: FloatImage,
    share: FloatImage | None,
    um_per_pixel: float,
    settings: Normalisation = Normalisation(),
) -> FloatImage:
    """Flat background and even contrast, before `bend`.

    grey : (H, W) float32 at the working scale
    share : (H, W) float32, share of each pixel inside the vessel, or None for all
    Returns (H, W) float32, 0 where outside; about -3..3.
    """
    known = _known(share)
    flat = _flattened(grey, known, _level(grey, known), _side(grey.shape, um_per_pixel, settings))
    spreads = _block_spreads(flat, known, _limited(settings.texture_px, grey.shape), settings)
    flat *= np.float32(1 / _contrast([spreads], float(np.abs(grey).max()), settings))
    return flat


class PreparedImage:
    """An image at the working scale, normalised and bent, a few rows at a time.

    The same as `at_working_scale`, `normalise` and `bend` one after the other, to rounding, but
    in memory that does not grow with the image: only its contrast is measured ahead, and small
    images are kept.

    image : (H, W), any real dtype
    shape : (rows, columns) at the working scale
    inside : (H, W) bool; pixels outside it do not count
    """

    dtype = np.dtype(np.float32)

    def __init__(
        self,
        image: NDArray[Any] | Rows,
        shape: tuple[int, int],
        um_per_pixel: float,
        settings: Normalisation,
        inside: NDArray[np.bool_] | Rows | None = None,
    ) -> None:
        self.shape = shape
        self._image, self._inside = as_rows(image), None if inside is None else as_rows(inside)
        self._side = _side(shape, um_per_pixel, settings)
        self._texture = _limited(settings.texture_px, shape)
        # Two boxes and the small one reach so far; what lies farther has no influence.
        self._reach = self._side + self._texture
        middle = max(0, shape[0] // 2 - 32), min(shape[0], shape[0] // 2 + 32)
        grey, share = at_working_scale(self._image, shape, self._inside, middle)
        self._level = _level(grey, _known(share))
        spreads, highest = [], 0.0
        kept: list[FloatImage] = []
        block = min(settings.block_px, *shape)
        for top, bottom in in_strips(*shape, STRIP_PIXELS, block):
            grey, flat, known, first = self._flat_around(top, bottom)
            inner = slice(top - first, bottom - first)
            highest = max(highest, float(np.abs(grey[inner]).max()))
            spreads.append(
                _block_spreads(flat, known, self._texture, settings, (top - first, bottom - first))
            )
            if math.prod(shape) <= KEPT_PIXELS:
                kept.append(flat[inner])
        self._factor = np.float32(1 / _contrast(spreads, highest, settings))
        self._flat = None if not kept else kept[0] if len(kept) == 1 else np.concatenate(kept)

    def rows(self, top: int, bottom: int) -> FloatImage:
        """Rows ``top`` to ``bottom``: (bottom - top, columns) float32."""
        if self._flat is not None:
            return bend(self._flat[top:bottom] * self._factor)
        result = np.empty((bottom - top, self.shape[1]), dtype=np.float32)
        for start, end in in_strips(bottom - top, self.shape[1], STRIP_PIXELS):
            _, flat, _, first = self._flat_around(top + start, top + end)
            flat = flat[top + start - first : top + end - first]
            np.arcsinh(flat * self._factor, out=result[start:end])
        return result

    def _flat_around(
        self, top: int, bottom: int
    ) -> tuple[FloatImage, FloatImage, FloatImage | None, int]:
        """Grey levels, flattened, mask and number of the first row, with all that has influence."""
        first, last = max(0, top - self._reach), min(self.shape[0], bottom + self._reach)
        grey, share = at_working_scale(self._image, self.shape, self._inside, (first, last))
        known = _known(share)
        return grey, _flattened(grey, known, self._level, self._side), known, first


def bend(flat: FloatImage) -> FloatImage:
    """Extremes bent in (asinh), so that dead cells and scratches do not outshout colonies."""
    return cast(FloatImage, np.arcsinh(flat))


def _known(share: FloatImage | None) -> FloatImage | None:
    return None if share is None else (share > 0.5).astype(np.float32)


def _level(grey: FloatImage, known: FloatImage | None) -> float:
    """A grey level of the image's middle. Any would do, since it goes with the background; one
    near the image's own keeps what rounding takes small."""
    middle = slice(max(0, grey.shape[0] // 2 - 32), grey.shape[0] // 2 + 32)
    values = grey[middle] if known is None else grey[middle][known[middle] > 0]
    return float(values.mean()) if values.size else 0.0


def _side(shape: tuple[int, ...], um_per_pixel: float, settings: Normalisation) -> int:
    return _limited(2 * max(1, round(settings.background_um / um_per_pixel / 2)) + 1, shape)


def _limited(side: int, shape: tuple[int, ...]) -> int:
    # Reflection needs a border no wider than the image itself.
    limit = min(shape)
    return min(side, limit if limit % 2 else max(1, limit - 1))


def _flattened(grey: FloatImage, known: FloatImage | None, level: float, side: int) -> FloatImage:
    """The image less its background: two boxes, one after the other, smooth enough, and at a cost
    that does not grow with their width."""
    flat = grey - np.float32(level)
    if known is None:
        flat -= _box(_box(flat, side), side)
        return flat
    flat *= known
    around = np.maximum(_box(known, side), np.float32(1e-3))
    mean = _box(flat, side)
    mean /= around
    mean *= known
    mean = _box(mean, side)
    mean /= around
    flat -= mean
    flat *= known
    return flat


def _box(values: FloatImage, side: int) -> FloatImage:
    return cast(FloatImage, cv2.blur(values, (side, side), borderType=cv2.BORDER_REFLECT_101))


def _block_spreads(
    flat: FloatImage,
    known: FloatImage | None,
    texture_px: int,
    settings: Normalisation,
    rows: tuple[int, int] | None = None,
) -> NDArray[np.float32]:
    """Spread (standard deviation) of grey in each block, and how much of it lies inside: (2, N).

    rows : those that are cut into blocks; all by default
    """
    # Finer than cells' own size only: seams and steep shading must not count as texture.
    fine = flat - _box(flat, texture_px)
    top, bottom = rows or (0, flat.shape[0])
    block = min(settings.block_px, *flat.shape)
    down, across = (bottom - top) // block, flat.shape[1] // block
    place = (slice(top, top + down * block), slice(0, across * block))
    if not down or not across:
        return np.zeros((2, 0), dtype=np.float32)

    def means(values: FloatImage) -> FloatImage:
        return cast(FloatImage, cv2.resize(values, (across, down), interpolation=cv2.INTER_AREA))

    cut = np.ascontiguousarray(fine[place])
    centre = means(cut)
    cut *= cut
    spreads = np.sqrt(np.maximum(means(cut) - centre * centre, 0))
    whole = np.ones_like(spreads) if known is None else means(np.ascontiguousarray(known[place]))
    return np.stack([spreads.ravel(), whole.ravel()])


def _contrast(
    spreads: Sequence[NDArray[np.float32]], highest: float, settings: Normalisation
) -> float:
    """What the flat image is divided by: the spread of its more textured blocks."""
    joined, whole = np.concatenate(spreads, axis=1)
    if (whole > 1 - 1e-6).any():
        joined = joined[whole > 1 - 1e-6]
    spread = float(np.quantile(joined, settings.quantile)) if joined.size else 0.0
    return max(spread if math.isfinite(spread) else 0.0, 1e-4 * max(1.0, highest))
