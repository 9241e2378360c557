"""What all of the simulation draws with: noise, blur, distances, and what a field is made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast

import cv2
import numpy as np
import numpy.typing as npt

Modality = Literal["phase", "brightfield"]
FloatImage = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.uint8]
PIXEL_SIZE_RANGE_UM: Final = (0.6, 4.6)
MODALITIES: Final[tuple[Modality, ...]] = ("phase", "brightfield")
GAP_UM: Final = 20.0
"""Gaps between spread cells narrower than twice this belong to their region, as an expert
outlines them."""
CLEARANCE_UM: Final = 3.0


@dataclass(frozen=True)
class Seeding:
    """A day after a passage: healthy cells that lie singly and in small clumps. Lengths in um.

    attached_per_mm2 : cells that have spread out a little
    gathered : share of these that lie against others
    rounded_per_mm2 : cells that are still round, or round again to divide
    """

    attached_per_mm2: float
    gathered: float
    clump_cells: float
    length_um: float
    rounded_per_mm2: float


@dataclass(frozen=True, eq=False)
class Layout:
    """Where what grows, as masks of the picture.

    colony : (H, W) bool, packed cells
    region : (H, W) float32 in 0..1, the density of spread cells
    seeding : what a passage left; None where the culture is older than that
    """

    colony: Mask
    region: FloatImage
    seeding: Seeding | None = None


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(math.exp(rng.uniform(math.log(low), math.log(high))))


def chance(rng: np.random.Generator, probability: float) -> bool:
    return bool(rng.random() < probability)


# Fields of random numbers and shapes


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], scale_px: float, stretch: float = 1.0
) -> FloatImage:
    """(H, W) float32 of about unit variance, correlated over `scale_px`: `stretch` times that
    along the columns, and as much less along the rows."""
    rows = max(3, math.ceil(shape[0] / max(scale_px / stretch, 1.0)) + 2)
    columns = max(3, math.ceil(shape[1] / max(scale_px * stretch, 1.0)) + 2)
    coarse = rng.standard_normal((rows, columns), dtype=np.float32) * np.float32(1.25)
    resized = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return cast(FloatImage, resized)


def blurred(image: FloatImage, sigma_px: float, stretch: float = 1.0) -> FloatImage:
    """Gaussian blur; wide ones are taken on a smaller picture, which looks the same."""
    if sigma_px < 0.25:
        return image
    step = int(min(sigma_px / 2.5, 16, min(image.shape) / 8))
    if step > 1:
        small = cv2.resize(image, None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA)
        small = cv2.GaussianBlur(
            small, (0, 0), sigmaX=sigma_px * stretch / step, sigmaY=sigma_px / step
        )
        size = (image.shape[1], image.shape[0])
        return cast(FloatImage, cv2.resize(small, size, interpolation=cv2.INTER_LINEAR))
    return cast(
        FloatImage, cv2.GaussianBlur(image, (0, 0), sigmaX=sigma_px * stretch, sigmaY=sigma_px)
    )


def distance_to(mask: Mask) -> FloatImage:
    """Distance in pixels of every pixel to the nearest True one; huge where there is none."""
    if not mask.any():
        return np.full(mask.shape, 1e6, np.float32)
    return cast(FloatImage, cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5))


def closed(mask: Mask, radius_px: float) -> Mask:
    """Morphological closing by a disc, by two distance maps: cheap at any radius."""
    if radius_px < 1 or not mask.any():
        return mask
    pad = int(radius_px) + 2
    wide = np.pad(mask, pad, mode="edge")
    grown = distance_to(wide) <= radius_px
    result: Mask = (distance_to(~grown) > radius_px)[pad:-pad, pad:-pad] | mask
    return result


def opened(mask: Mask, radius_px: float) -> Mask:
    """Morphological opening by a disc."""
    if radius_px < 1 or not mask.any():
        return mask
    pad = int(radius_px) + 2
    wide = np.pad(mask, pad, mode="edge")
    core = distance_to(~wide) > radius_px
    result: Mask = (distance_to(core) <= radius_px)[pad:-pad, pad:-pad] & mask
    return result


def filled(shape: tuple[int, int], outlines: Sequence[npt.NDArray[np.float64]]) -> Mask:
    """(H, W) bool, True inside any of the outlines, each (N, 2) of (row, column) in pixels."""
    canvas = np.zeros(shape, np.uint8)
    for outline in outlines:
        points = np.rint(outline[:, ::-1] * 16).astype(np.int32)
        cv2.fillPoly(canvas, [points], 1, shift=4)
    return canvas.astype(bool)


# Layouts of single random fields


def noise_patch(
    rng: np.random.Generator, shape: tuple[int, int], scale_px: float, share: float
) -> Mask:
    """(H, W) bool: smooth patches that cover about `share` of the picture."""
    noise = smooth_noise(rng, shape, scale_px) + 0.35 * smooth_noise(rng, shape, scale_px / 3)
    sample = noise[::8, ::8]
    chosen: Mask = noise > np.quantile(sample, 1 - share)
    return chosen


# Cells


@dataclass(frozen=True, eq=False)
class Tissue:
    """Optical thickness (packed cell = 1) and the label map drawn from the same cells.

    tone : (H, W) float32, how much brighter or darker it looks, in units of the cells' contrast;
        None where nothing does
    seeding : as in the layout
    """

    thickness: FloatImage
    labels: Labels
    tone: FloatImage | None = None
    seeding: Seeding | None = None


def root_mean_square(signal: FloatImage) -> float:
    sample = signal.ravel()[:: max(1, signal.size // 20000)]
    return float(np.sqrt(np.mean(sample * sample)))
