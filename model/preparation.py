"""From a capture to what the network sees: working scale, flat background, even contrast.

The network may look only at texture. So before it an image is brought to the model's um a pixel,
its background is made flat (uneven light, vignetting, stitched tiles) and its contrast is scaled by
that of its most textured parts: brightfield of plate imagers spans a few grey levels, phase
contrast two hundred. Both steps are deterministic; the background is local and the contrast is one
number an image, so an image can be prepared in tiles.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Final, TypeAlias, cast

import cv2
import numpy as np
from numpy.typing import NDArray

FloatImage: TypeAlias = NDArray[np.float32]
Mask: TypeAlias = NDArray[np.bool_]

NORMALISATION: Final = "flat-background-1"
"""Name and version of what `normalise` does; stored with a model. A change of the rule is a new
name, since weights only fit the rule that they were trained with."""


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
    shrinks = shape[0] <= image.shape[0] and shape[1] <= image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cast(FloatImage, cv2.resize(image, (shape[1], shape[0]), interpolation=method))


def at_working_scale(
    image: NDArray[Any], shape: tuple[int, int], inside: Mask | None = None
) -> tuple[FloatImage, FloatImage | None]:
    """Grey levels at the working scale and, where there is a mask, its share of each pixel.

    image : (H, W), any real dtype
    inside : (H, W) bool; pixels outside it do not enter
    Returns (rows, columns) float32 and None or (rows, columns) float32, 0..1.
    """
    values = np.ascontiguousarray(image, dtype=np.float32)
    if not np.isfinite(values).all():
        finite = np.isfinite(values)
        inside = finite if inside is None else inside & finite
        values = np.where(finite, values, np.float32(0))
    if inside is None:
        return resample(values, shape), None
    share = resample(inside.astype(np.float32), shape)
    inner = resample(values * inside, shape)
    return (inner / np.maximum(share, np.float32(1e-6))).astype(np.float32), share


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
    known = None if share is None else (share > 0.5).astype(np.float32)
    side = 2 * max(1, round(settings.background_um / um_per_pixel / 2)) + 1
    level = float(grey[known > 0].mean() if known is not None and known.any() else grey.mean())
    flat = grey - np.float32(level)
    if known is not None:
        flat *= known
    # Two boxes, one after the other: smooth enough, and its cost does not grow with its width.
    if known is None:
        flat = flat - _box(_box(flat, side), side)
    else:
        around = np.maximum(_box(known, side), np.float32(1e-3))
        mean = (_box(flat, side) / around * known).astype(np.float32)
        flat = (flat - _box(mean, side) / around) * known
    spread = _contrast(flat.astype(np.float32), known, settings)
    floor = 1e-4 * max(1.0, float(np.abs(grey).max()))
    return cast(FloatImage, (flat / np.float32(max(spread, floor))).astype(np.float32))


def bend(flat: FloatImage) -> FloatImage:
    """Extremes bent in (asinh), so that dead cells and scratches do not outshout colonies."""
    return cast(FloatImage, np.arcsinh(flat))


def _box(values: FloatImage, side: int) -> FloatImage:
    # Reflection needs a border no wider than the image itself.
    limit = min(values.shape)
    side = min(side, limit if limit % 2 else max(1, limit - 1))
    return cast(FloatImage, cv2.blur(values, (side, side), borderType=cv2.BORDER_REFLECT_101))


def _contrast(flat: FloatImage, known: FloatImage | None, settings: Normalisation) -> float:
    """Spread (standard deviation) of grey within the more textured blocks of the image."""
    # Finer than cells' own size only: seams and steep shading must not count as texture.
    fine = flat - _box(flat, settings.texture_px)
    block = min(settings.block_px, *flat.shape)
    rows, columns = (length // block for length in flat.shape)
    cut = fine[: rows * block, : columns * block].reshape(rows, block, columns, block)
    spreads = cut.std(axis=(1, 3))
    if known is not None:
        parts = known[: rows * block, : columns * block].reshape(rows, block, columns, block)
        whole = parts.min(axis=(1, 3)) > 0
        if whole.any():
            spreads = spreads[whole]
    spread = float(np.quantile(spreads, settings.quantile))
    return spread if math.isfinite(spread) else 0.0
