"""The virtual incubator: pictures of iPS colonies whose truth is known to the pixel.

`simulate_field` draws one field at random from a distribution far wider than any one microscope,
for training. `VirtualDish` lets the same colonies grow over days, for the demonstration.

Every picture is made in three steps. A *layout* says where colonies and differentiated regions
lie. Cells are packed (undifferentiated) or strewn (differentiated) into it, which gives an optical
thickness and, from the very same cells, the label map. *Optics* turn thickness into grey levels:
differences of Gaussians stand for phase halos and for defocused brightfield, then dead cells,
uneven light, noise and storage follow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal, cast

import cv2
import numpy as np
import numpy.typing as npt
import tifffile

from model.classes import UNKNOWN, CellClass

Modality = Literal["phase", "brightfield"]
FloatImage = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.uint8]

PIXEL_SIZE_RANGE_UM: Final = (0.6, 4.6)
MODALITIES: Final[tuple[Modality, ...]] = ("phase", "brightfield")
_GAP_UM: Final = 20.0
"""Gaps between spread cells narrower than twice this belong to their region, as an expert
outlines them."""
_CLEARANCE_UM: Final = 3.0


@dataclass(frozen=True)
class Fractions:
    """What a label map holds, outside the vessel and unknown pixels left out.

    differentiated_fraction : of the cell area; None where there are no cells
    confluence : cell area over known area; None where nothing is known
    """

    background: float
    undifferentiated: float
    differentiated: float
    differentiated_fraction: float | None
    confluence: float | None


@dataclass(frozen=True, eq=False)
class SimulatedField:
    """One picture and its truth.

    image : (H, W) uint8 or uint16
    labels : (H, W) uint8, values of `CellClass` and `UNKNOWN`
    pixel_size_um : um a pixel, the same in both directions
    modality : "phase" or "brightfield"
    seed : what it was drawn from
    """

    image: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
    labels: Labels
    pixel_size_um: float
    modality: Modality
    seed: int

    @property
    def fractions(self) -> Fractions:
        """Fractions of the known pixels, counted from the label map."""
        return label_fractions(self.labels)


def label_fractions(labels: Labels) -> Fractions:
    """Fractions of the known pixels of a label map.

    labels : (H, W) uint8, values of `CellClass` and `UNKNOWN`
    """
    counts = np.bincount(labels.ravel(), minlength=256)
    background, undifferentiated, differentiated = (
        int(counts[c])
        for c in (CellClass.BACKGROUND, CellClass.UNDIFFERENTIATED, CellClass.DIFFERENTIATED)
    )
    cells = undifferentiated + differentiated
    known = background + cells
    return Fractions(
        background=background / known if known else 0.0,
        undifferentiated=undifferentiated / known if known else 0.0,
        differentiated=differentiated / known if known else 0.0,
        differentiated_fraction=differentiated / cells if cells else None,
        confluence=cells / known if known else None,
    )


# --------------------------------------------------------------------------------------------
# What is drawn, before any pixel


@dataclass(frozen=True)
class _Culture:
    """How the cells of one field look. Lengths in um, heights relative to a packed cell."""

    packed_um: float
    packed_warp: float
    packed_height_spread: float
    packed_dome: float
    packed_streaks: float
    packed_texture: float
    packed_weave: float
    packed_unevenness: float
    packed_rim: bool
    soft_um: float
    nucleus: float
    granularity: float
    centre_fading: float
    spread_length_um: float
    spread_width_um: float
    spread_cover: float
    spread_height: float
    spread_rim: float
    spread_nucleus: float
    swirl_um: float
    alignment: float
    cobble_um: float
    cobble_share: float
    clumps: float
    dead_per_mm2: float
    dead_on_cells: float
    dead_um: float
    debris_per_mm2: float
    matrix: float


@dataclass(frozen=True)
class _Optics:
    """How thickness becomes grey. Widths in um unless they say px."""

    modality: Modality
    fine_um: float
    coarse_um: float
    fine: float
    coarse: float
    absorption: float
    sign: float
    saturation: float
    stretch: float
    contrast: float
    background: float
    shading: float
    vignetting: float
    dark_side: float
    banding: float
    blur_px: float
    noise: float
    gamma: float
    dust: int
    rings: int
    scratches: int
    tile_px: int
    tile_gain: float
    well: bool
    bar: bool
    jpeg_quality: int
    resample: float
    bits: int


@dataclass(frozen=True, eq=False)
class _Layout:
    """Where what grows, as masks of the picture.

    colony : (H, W) bool, packed cells
    region : (H, W) float32 in 0..1, the density of spread cells
    """

    colony: Mask
    region: FloatImage


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(math.exp(rng.uniform(math.log(low), math.log(high))))


def _chance(rng: np.random.Generator, probability: float) -> bool:
    return bool(rng.random() < probability)


def _draw_culture(rng: np.random.Generator) -> _Culture:
    packed = _log_uniform(rng, 7.5, 14)
    length = max(_log_uniform(rng, 26, 100), 2.6 * packed)
    return _Culture(
        packed_um=packed,
        packed_warp=rng.uniform(0.1, 0.9),
        packed_height_spread=rng.uniform(0.05, 0.45),
        packed_dome=rng.uniform(0.3, 1.3),
        packed_streaks=float(rng.choice([0.0, 0.5, 1.0])) * rng.uniform(0.3, 1.0),
        packed_texture=_log_uniform(rng, 0.45, 2.4),
        packed_weave=rng.uniform(0.2, 0.7) if _chance(rng, 0.35) else 0.0,
        packed_unevenness=rng.uniform(0.0, 0.4),
        packed_rim=_chance(rng, 0.35),
        soft_um=_log_uniform(rng, 0.4, 2.6),
        nucleus=rng.uniform(-0.2, 0.7),
        granularity=rng.uniform(0.0, 1.2),
        centre_fading=rng.uniform(0.0, 0.55) if _chance(rng, 0.6) else 0.0,
        spread_length_um=length,
        spread_width_um=float(np.clip(length * rng.uniform(0.2, 0.7), 9.0, 42.0)),
        spread_cover=_log_uniform(rng, 0.55, 2.0),
        spread_height=_log_uniform(rng, 0.4, 1.4),
        spread_rim=rng.uniform(-0.1, 0.6),
        spread_nucleus=rng.uniform(0.0, 1.0),
        swirl_um=_log_uniform(rng, 80, 600),
        alignment=rng.uniform(0.2, 1.0),
        cobble_um=max(_log_uniform(rng, 20, 50), 2.1 * packed),
        cobble_share=float(rng.choice([0.0, 0.0, 0.0, 0.3, 0.6, 1.0])),
        clumps=rng.uniform(0.2, 0.9) if _chance(rng, 0.3) else 0.0,
        dead_per_mm2=_log_uniform(rng, 2, 260),
        dead_on_cells=_log_uniform(rng, 0.7, 4),
        dead_um=_log_uniform(rng, 3.2, 7.5),
        debris_per_mm2=_log_uniform(rng, 20, 3000),
        matrix=_log_uniform(rng, 0.01, 0.15),
    )


def _draw_optics(rng: np.random.Generator, modality: Modality) -> _Optics:
    phase = modality == "phase"
    contrast = _log_uniform(rng, 0.08, 0.42) if phase else _log_uniform(rng, 0.022, 0.22)
    return _Optics(
        modality=modality,
        fine_um=_log_uniform(rng, 1.5, 6.0) if phase else _log_uniform(rng, 0.8, 4.5),
        coarse_um=_log_uniform(rng, 9, 40) if phase else _log_uniform(rng, 5, 20),
        fine=1.0,
        coarse=rng.uniform(0.1, 0.8) if phase else rng.uniform(0.0, 0.35),
        absorption=rng.uniform(-0.2, 0.4) if _chance(rng, 0.25) else rng.uniform(-0.06, 0.1),
        sign=-1.0 if _chance(rng, 0.06 if phase else 0.15) else 1.0,
        saturation=_log_uniform(rng, 1.5, 8),
        stretch=_log_uniform(rng, 1.3, 4) if _chance(rng, 0.12) else 1.0,
        contrast=contrast,
        background=rng.uniform(60, 200) if phase else rng.uniform(70, 215),
        shading=rng.uniform(0, 1.0) ** 2 * min(contrast * 1.6, 0.3),
        vignetting=rng.uniform(0, min(4 * contrast, 0.35)) if _chance(rng, 0.25) else 0.0,
        dark_side=rng.uniform(0.2, 0.75) if _chance(rng, 0.05) else 0.0,
        banding=rng.uniform(0.02, 0.2) if _chance(rng, 0.08) else 0.0,
        blur_px=rng.uniform(0.0, 0.8) if _chance(rng, 0.85) else rng.uniform(0.8, 1.8),
        noise=_log_uniform(rng, 0.03, 0.4),
        gamma=_log_uniform(rng, 0.7, 1.4),
        dust=int(rng.integers(1, 9)) if _chance(rng, 0.35) else 0,
        rings=int(rng.integers(1, 12)) if _chance(rng, 0.3) else 0,
        scratches=int(rng.integers(1, 4)) if _chance(rng, 0.08) else 0,
        tile_px=int(rng.integers(120, 420)) if _chance(rng, 0.1) else 0,
        tile_gain=rng.uniform(0.1, 1.0) * min(contrast, 0.1),
        well=_chance(rng, 0.06),
        bar=_chance(rng, 0.05),
        jpeg_quality=(
            int(rng.integers(90 if contrast < 0.05 else 80 if contrast < 0.12 else 60, 97))
            if _chance(rng, 0.3)
            else 0
        ),
        resample=rng.uniform(0.5, 0.95) if _chance(rng, 0.15) else 1.0,
        bits=16 if _chance(rng, 0.15) else 8,
    )


# --------------------------------------------------------------------------------------------
# Fields of random numbers and shapes


def _smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], scale_px: float, stretch: float = 1.0
) -> FloatImage:
    """(H, W) float32 of about unit variance, correlated over `scale_px`: `stretch` times that
    along the columns, and as much less along the rows."""
    rows = max(3, math.ceil(shape[0] / max(scale_px / stretch, 1.0)) + 2)
    columns = max(3, math.ceil(shape[1] / max(scale_px * stretch, 1.0)) + 2)
    coarse = rng.standard_normal((rows, columns), dtype=np.float32) * np.float32(1.25)
    resized = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return cast(FloatImage, resized)


def _blurred(image: FloatImage, sigma_px: float, stretch: float = 1.0) -> FloatImage:
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


def _distance_to(mask: Mask) -> FloatImage:
    """Distance in pixels of every pixel to the nearest True one; huge where there is none."""
    if not mask.any():
        return np.full(mask.shape, 1e6, np.float32)
    return cast(FloatImage, cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5))


def _closed(mask: Mask, radius_px: float) -> Mask:
    """Morphological closing by a disc, by two distance maps: cheap at any radius."""
    if radius_px < 1 or not mask.any():
        return mask
    pad = int(radius_px) + 2
    wide = np.pad(mask, pad, mode="edge")
    grown = _distance_to(wide) <= radius_px
    result: Mask = (_distance_to(~grown) > radius_px)[pad:-pad, pad:-pad] | mask
    return result


def _opened(mask: Mask, radius_px: float) -> Mask:
    """Morphological opening by a disc."""
    if radius_px < 1 or not mask.any():
        return mask
    pad = int(radius_px) + 2
    wide = np.pad(mask, pad, mode="edge")
    core = _distance_to(~wide) > radius_px
    result: Mask = (_distance_to(core) <= radius_px)[pad:-pad, pad:-pad] & mask
    return result


def _fill(shape: tuple[int, int], outlines: Sequence[npt.NDArray[np.float64]]) -> Mask:
    """(H, W) bool, True inside any of the outlines, each (N, 2) of (row, column) in pixels."""
    canvas = np.zeros(shape, np.uint8)
    for outline in outlines:
        points = np.rint(outline[:, ::-1] * 16).astype(np.int32)
        cv2.fillPoly(canvas, [points], 1, shift=4)
    return canvas.astype(bool)


@dataclass(frozen=True)
class _ColonyShape:
    """An outline about its own centre, as radius over angle. Lengths are of the radius, so that
    it can grow; spikes are in um and do not grow.

    harmonics : (K, 3) of amplitude, phase, drift of the phase in radians an hour
    """

    harmonics: tuple[tuple[float, float, float], ...]
    elongation: float
    angle: float
    spikes_um: float
    spike_count: int
    spike_phases: tuple[float, ...]

    def outline(
        self, centre: tuple[float, float], radius_um: float, hours: float = 0.0
    ) -> npt.NDArray[np.float64]:
        """(N, 2) float64, (row, column) in um."""
        theta = np.linspace(0, 2 * np.pi, 480, endpoint=False)
        radius = np.ones_like(theta)
        for order, (amplitude, phase, drift) in enumerate(self.harmonics, start=2):
            radius += amplitude * np.cos(order * theta + phase + drift * hours)
        radius = np.maximum(radius, 0.25) * radius_um
        # Cells at a rim pull it into points with hollow arcs between them.
        first, second, *phases = self.spike_phases
        wave = self.spike_count * theta / 2 + sum(
            1.6 * np.sin((k + 1) * theta + p) for k, p in enumerate(phases)
        )
        uneven = np.clip(0.5 + 0.7 * np.cos(theta + first) + 0.6 * np.cos(3 * theta + second), 0, 1)
        radius += self.spikes_um * uneven * ((1 - np.abs(np.sin(wave))) ** 1.6 - 0.3)
        stretch = math.sqrt(self.elongation)
        along, across = radius * np.cos(theta) * stretch, radius * np.sin(theta) / stretch
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return np.stack(
            [centre[0] + along * sin + across * cos, centre[1] + along * cos - across * sin], 1
        )


def _draw_colony_shape(
    rng: np.random.Generator, *, rough: float, typical_um: float
) -> _ColonyShape:
    orders = np.arange(2, 9)
    amplitudes = rough * 0.32 * rng.standard_normal(len(orders)) / orders**0.9
    return _ColonyShape(
        harmonics=tuple(
            (float(a), float(rng.uniform(0, 2 * np.pi)), float(rng.normal(0, 0.012)))
            for a in amplitudes
        ),
        elongation=float(np.exp(abs(rng.normal(0, 0.35)) * min(1.0, rough + 0.3))),
        angle=float(rng.uniform(0, np.pi)),
        spikes_um=float(rng.uniform(0, 30)) if _chance(rng, 0.75) else 0.0,
        spike_count=max(3, round(2 * np.pi * typical_um / _log_uniform(rng, 25, 100))),
        spike_phases=tuple(float(p) for p in rng.uniform(0, 2 * np.pi, 7)),
    )


# --------------------------------------------------------------------------------------------
# Layouts of single random fields


def _noise_patch(
    rng: np.random.Generator, shape: tuple[int, int], scale_px: float, share: float
) -> Mask:
    """(H, W) bool: smooth patches that cover about `share` of the picture."""
    noise = _smooth_noise(rng, shape, scale_px) + 0.35 * _smooth_noise(rng, shape, scale_px / 3)
    sample = noise[::8, ::8]
    chosen: Mask = noise > np.quantile(sample, 1 - share)
    return chosen


def _draw_colonies(rng: np.random.Generator, shape: tuple[int, int], pixel_size_um: float) -> Mask:
    extent_um = math.sqrt(shape[0] * shape[1]) * pixel_size_um
    if _chance(rng, 0.3):
        scale = float(np.clip(_log_uniform(rng, 60, 500), extent_um * 0.05, extent_um * 0.5))
        return _noise_patch(rng, shape, scale / pixel_size_um, rng.uniform(0.08, 0.7))
    wanted = rng.uniform(0.08, 0.75)
    typical = float(np.clip(_log_uniform(rng, 35, 420), extent_um * 0.04, extent_um * 0.45))
    rough = rng.uniform(0.1, 1.1)
    outlines = []
    area = 0.0
    for _ in range(60):
        radius = typical * float(np.exp(rng.normal(0, 0.45)))
        centre = (
            rng.uniform(-0.08, 1.08) * shape[0] * pixel_size_um,
            rng.uniform(-0.08, 1.08) * shape[1] * pixel_size_um,
        )
        colony = _draw_colony_shape(rng, rough=rough, typical_um=radius)
        outlines.append(colony.outline(centre, radius) / pixel_size_um)
        area += math.pi * radius**2
        if area > wanted * extent_um**2:
            break
    return _fill(shape, outlines)


def _differentiate(
    rng: np.random.Generator, colony: Mask, pixel_size_um: float
) -> tuple[Mask, FloatImage]:
    """Turn part of the colonies into spread cells: (colony left, density of spread cells)."""
    shape = (colony.shape[0], colony.shape[1])
    density = np.zeros(shape, np.float32)
    size = math.sqrt(shape[0] * shape[1])
    kind = rng.choice(["part", "part", "whole", "rim", "rim", "loose"])
    if kind == "part":
        patch = _noise_patch(rng, shape, size * rng.uniform(0.15, 0.5), rng.uniform(0.2, 0.7))
        reach = _log_uniform(rng, 10, 200) / pixel_size_um
        density[patch & (_distance_to(colony) < reach)] = 1.0
    elif kind == "whole":
        count, components = cv2.connectedComponents(colony.astype(np.uint8))
        chosen = rng.random(count) < rng.uniform(0.3, 1.0)
        chosen[0] = False
        grown = _distance_to(cast(Mask, chosen[components])) < rng.uniform(5, 60) / pixel_size_um
        density[grown] = 1.0
    elif kind == "rim":
        reach = _log_uniform(rng, 30, 300) / pixel_size_um
        depth = reach * (1 + 0.5 * _smooth_noise(rng, shape, size * 0.12))
        ring = (_distance_to(colony) < depth) & ~(
            _distance_to(~colony) > rng.uniform(-0.2, 0.5) * depth
        )
        if _chance(rng, 0.6):
            ring &= _noise_patch(rng, shape, size * 0.35, rng.uniform(0.4, 0.9))
        density[ring] = 1.0
    if kind == "loose" or _chance(rng, 0.35):
        loose = _noise_patch(rng, shape, size * rng.uniform(0.2, 0.6), rng.uniform(0.3, 1.0))
        free = loose & (density == 0) & (_distance_to(colony) > 6 / pixel_size_um)
        density[free] = _log_uniform(rng, 0.2, 0.9)
    left = colony & ~(density >= 1.0)
    # Slivers of a colony do not survive as a colony.
    return _opened(left, rng.uniform(8, 22) / pixel_size_um), density


def _draw_layout(rng: np.random.Generator, shape: tuple[int, int], pixel_size_um: float) -> _Layout:
    kinds = {
        "empty": 0.05,
        "inside": 0.07,
        "spread": 0.16,
        "confluent": 0.12,
        "healthy": 0.24,
        "turning": 0.36,
    }
    kind = rng.choice(list(kinds), p=list(kinds.values()))
    nothing = np.zeros(shape, bool)
    no_spread = np.zeros(shape, np.float32)
    size = math.sqrt(shape[0] * shape[1])
    if kind == "empty":
        return _Layout(nothing, no_spread)
    if kind == "inside":
        return _Layout(~nothing, no_spread)
    if kind == "spread":
        share = 1.0 if _chance(rng, 0.3) else rng.uniform(0.15, 0.9)
        patch = _noise_patch(rng, shape, size * rng.uniform(0.1, 0.6), share)
        patch |= share == 1.0
        density = patch.astype(np.float32) * (1.0 if _chance(rng, 0.7) else rng.uniform(0.25, 1))
        return _Layout(nothing, density.astype(np.float32))
    if kind == "confluent":
        patch = _noise_patch(rng, shape, size * rng.uniform(0.2, 0.6), rng.uniform(0.25, 0.75))
        return _Layout(~patch, patch.astype(np.float32))
    colony = _draw_colonies(rng, shape, pixel_size_um)
    if kind == "healthy":
        return _Layout(colony, no_spread)
    left, density = _differentiate(rng, colony, pixel_size_um)
    return _Layout(left, density)


# --------------------------------------------------------------------------------------------
# Cells


@dataclass(frozen=True, eq=False)
class _Tissue:
    """Optical thickness (packed cell = 1) and the label map drawn from the same cells."""

    thickness: FloatImage
    labels: Labels


def _grid_points(
    rng: np.random.Generator, shape: tuple[int, int], spacing_px: float, jitter: float, turn: float
) -> npt.NDArray[np.float64]:
    """(N, 2) (row, column) on a jittered hexagonal grid that overhangs the picture by two
    spacings. `turn` (radians) moves every point along its own small circle, so that a living
    colony stirs without being redrawn."""
    margin = 2 * spacing_px
    row_step = spacing_px * 0.866
    rows = np.arange(-margin, shape[0] + margin, row_step)
    columns = np.arange(-margin, shape[1] + margin, spacing_px)
    grid_rows, grid_columns = np.meshgrid(rows, columns, indexing="ij")
    grid_columns[1::2] += spacing_px / 2
    angle = rng.uniform(0, 2 * np.pi, grid_rows.shape) + turn
    reach = np.sqrt(rng.random(grid_rows.shape)) * jitter * spacing_px
    return np.stack(
        [
            (grid_rows + reach * np.sin(angle)).ravel(),
            (grid_columns + reach * np.cos(angle)).ravel(),
        ],
        1,
    )


@dataclass(frozen=True, eq=False)
class _Packing:
    """A mosaic of cells over the whole picture.

    points : (N, 2) (row, column) of the cell centres
    cell : (H, W) int, the index of the cell of each pixel
    distance : (H, W) float32, to the cell's centre, of the spacing
    """

    points: npt.NDArray[np.float64]
    cell: npt.NDArray[np.int32]
    distance: FloatImage

    def inside(self, mask: Mask) -> Mask:
        """(H, W) bool: the cells whose centre lies in `mask`, whole."""
        rows = np.clip(np.rint(self.points[:, 0]).astype(int), 0, mask.shape[0] - 1)
        columns = np.clip(np.rint(self.points[:, 1]).astype(int), 0, mask.shape[1] - 1)
        return cast(Mask, mask[rows, columns][self.cell])


def _pack(
    rng: np.random.Generator, shape: tuple[int, int], spacing_px: float, warp: float, turn: float
) -> _Packing:
    spacing_px = max(spacing_px, 1.8)
    points = _grid_points(rng, shape, spacing_px, 0.42, turn)
    pad = math.ceil(2 * spacing_px) + 2
    canvas = np.ones((shape[0] + 2 * pad, shape[1] + 2 * pad), np.uint8)
    rows = np.clip(np.rint(points[:, 0]).astype(int) + pad, 0, canvas.shape[0] - 1)
    columns = np.clip(np.rint(points[:, 1]).astype(int) + pad, 0, canvas.shape[1] - 1)
    canvas[rows, columns] = 0
    _, nearest = cv2.distanceTransformWithLabels(
        canvas, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    of_label = np.zeros(len(points) + 1, np.int32)
    of_label[nearest[rows, columns]] = np.arange(len(points), dtype=np.int32)
    down = np.arange(shape[0], dtype=np.float32)[:, None]
    along = np.arange(shape[1], dtype=np.float32)[None, :]
    amplitude = np.float32(min(warp * 0.45 * spacing_px, pad - 2))
    scale = max(1.4 * spacing_px, 2.0)
    at_row = down + np.clip(_smooth_noise(rng, shape, scale), -2, 2) * amplitude / 2
    at_column = along + np.clip(_smooth_noise(rng, shape, scale), -2, 2) * amplitude / 2
    cell = of_label[
        nearest[(at_row + (pad + 0.5)).astype(np.int32), (at_column + (pad + 0.5)).astype(np.int32)]
    ]
    centre = points.astype(np.float32)
    distance = cv2.magnitude(at_row - centre[:, 0][cell], at_column - centre[:, 1][cell])
    return _Packing(points, cell, cast(FloatImage, distance / np.float32(spacing_px)))


def _packed_cells(
    rng: np.random.Generator, layout: _Layout, culture: _Culture, pixel_size_um: float, turn: float
) -> tuple[Mask, FloatImage]:
    """(where, thickness) of the undifferentiated cells."""
    shape = (layout.colony.shape[0], layout.colony.shape[1])
    packing = _pack(rng, shape, culture.packed_um / pixel_size_um, culture.packed_warp, turn)
    spread = culture.packed_height_spread
    height = np.exp(spread * rng.standard_normal(len(packing.points))).astype(np.float32)
    grain = _smooth_noise(rng, shape, max(1.0, 2.0 / pixel_size_um))
    slow = _smooth_noise(rng, shape, 120 / pixel_size_um)
    coarse_grain = _smooth_noise(rng, shape, max(1.0, 4.5 / pixel_size_um))
    nodes = max(1.0, 0.45 * culture.packed_um / pixel_size_um)
    winding = _smooth_noise(rng, shape, nodes)
    winding += 0.5 * _smooth_noise(rng, shape, max(1.5, culture.packed_um / pixel_size_um))
    where = packing.inside(layout.colony) if culture.packed_rim else layout.colony
    squared = packing.distance * packing.distance
    texture = height[packing.cell] * (
        1 - culture.packed_dome * squared + culture.nucleus * np.exp(-squared * np.float32(9))
    )
    # Between cells that lie askew the light finds winding streaks, not a honeycomb.
    broken = np.clip(0.7 + 0.9 * _smooth_noise(rng, shape, 1.4 * nodes), 0, 1)
    streaks = 1.2 - broken * np.maximum(1.2 - 1.7 * np.abs(winding), 0)
    texture += culture.packed_streaks * (streaks - texture)
    texture += culture.granularity * (0.25 * grain + 0.35 * coarse_grain)
    if culture.packed_weave > 0:
        stretch = rng.uniform(1.4, 2.6)
        fine = max(1.5, 0.5 * culture.packed_um / pixel_size_um)
        for factor in (stretch, 1 / stretch):
            texture += 0.35 * culture.packed_weave * _smooth_noise(rng, shape, fine, factor)
    patchy = _smooth_noise(rng, shape, 55 / pixel_size_um)
    texture = 0.8 + (texture - 0.8) * np.exp(culture.packed_unevenness * np.clip(patchy, -2, 2))
    thickness = 0.8 + culture.packed_texture * (texture - 0.8)
    if culture.centre_fading > 0:
        depth = _distance_to(~where) * np.float32(pixel_size_um / 60)
        fade = culture.centre_fading * (1 - np.exp(-np.minimum(depth, 8))) * (1 + 0.3 * slow)
        thickness = thickness * (1 - np.clip(fade, 0, 0.85)) + np.clip(fade, 0, 0.85) * 0.8
    return where, np.where(where, thickness, np.float32(0)).astype(np.float32)


def _spread_outlines(
    rng: np.random.Generator, count: int, length: float, width: float
) -> npt.NDArray[np.float64]:
    """(count, 20, 2) outlines of spread cells lying along the column axis, about the origin:
    spindles, three- and four-pointed and rounded flat ones."""
    theta = np.linspace(0, 2 * np.pi, 20, endpoint=False)[None, :]
    points = rng.choice([2, 2, 2, 3, 4, 1], size=(count, 1))
    sharp = rng.uniform(0.7, 4.0, (count, 1))
    hollow = rng.uniform(0.35, 0.75, (count, 1))
    turn = np.where(points == 2, 0.0, rng.uniform(0, 2 * np.pi, (count, 1)))
    tip = np.abs(np.cos(points * (theta - turn) / 2)) ** (2 * sharp)
    radius = hollow + (1 - hollow) * tip + 0.07 * rng.standard_normal((count, 20))
    size = np.exp(0.3 * rng.standard_normal((count, 1)))
    slim = np.exp(0.25 * rng.standard_normal((count, 1)))
    along = 0.5 * length * size * slim * radius * np.cos(theta)
    across = 0.5 * width * size / slim * radius * np.sin(theta) / hollow**0.5
    bend = rng.normal(0, 0.12, (count, 1))
    across += bend * (along**2) / (0.5 * length)
    return np.stack([across, along], 2)


def _spread_cells(
    rng: np.random.Generator, layout: _Layout, culture: _Culture, pixel_size_um: float, turn: float
) -> tuple[Mask, Mask, FloatImage]:
    """(region, where, thickness) of the differentiated cells: the region with the gaps an expert
    would count in, and the cells alone."""
    shape = (layout.region.shape[0], layout.region.shape[1])
    length = culture.spread_length_um / pixel_size_um
    width = culture.spread_width_um / pixel_size_um
    spacing = math.sqrt(0.62 * length * width / culture.spread_cover)
    spacing = max(spacing, 2.5, math.sqrt(shape[0] * shape[1] / 4000))
    centres = _grid_points(rng, shape, spacing, 0.75, turn)
    count = len(centres)
    lottery = rng.random(count)
    order = rng.permutation(count)
    outlines = _spread_outlines(rng, count, length, width)
    swirl = _smooth_noise(rng, shape, culture.swirl_um / pixel_size_um) * np.float32(2.2)
    wander = rng.normal(0, 1, count) * (1 - culture.alignment) * 1.6
    height = np.exp(0.3 * rng.standard_normal(count + 1)).astype(np.float32)
    grain = _smooth_noise(rng, shape, max(1.0, 2.5 / pixel_size_um))
    cobble = _pack(rng, shape, culture.cobble_um / pixel_size_um, 0.7, turn)
    cobble_height = np.exp(0.25 * rng.standard_normal(len(cobble.points))).astype(np.float32)
    share = _smooth_noise(rng, shape, 200 / pixel_size_um)
    lumps = _smooth_noise(rng, shape, 9 / pixel_size_um)
    lumps_where = _smooth_noise(rng, shape, 60 / pixel_size_um)
    if not layout.region.any():
        return np.zeros(shape, bool), np.zeros(shape, bool), np.zeros(shape, np.float32)

    rows = np.clip(np.rint(centres[:, 0]).astype(int), 0, shape[0] - 1)
    columns = np.clip(np.rint(centres[:, 1]).astype(int), 0, shape[1] - 1)
    limit = {0.0: 9.0, 1.0: -9.0}.get(culture.cobble_share, 0.9 - 1.8 * culture.cobble_share)
    cobbled = cobble.inside((share > limit) & (layout.region >= 1.0))
    kept = (lottery < layout.region[rows, columns]) & ~cobbled[rows, columns]
    angle = swirl[rows, columns] + wander
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    turned = np.stack(
        [
            outlines[:, :, 0] * cos + outlines[:, :, 1] * sin + centres[:, :1],
            outlines[:, :, 1] * cos - outlines[:, :, 0] * sin + centres[:, 1:],
        ],
        2,
    )
    fixed = np.rint(turned[:, :, ::-1] * 16).astype(np.int32)
    which = np.zeros(shape, np.float32)
    for index in order[kept[order]]:
        cv2.fillPoly(which, [fixed[index]], float(index + 1), shift=4)
    index_of = which.astype(np.int32)
    strewn: Mask = (index_of > 0) & ~cobbled

    edge = np.zeros(shape, bool)
    edge[:, 1:] |= which[:, 1:] != which[:, :-1]
    edge[1:, :] |= which[1:, :] != which[:-1, :]
    inward = _distance_to(edge | ~strewn) * np.float32(pixel_size_um)
    body = 1 - np.exp(-inward / 3.0)
    rim = np.exp(-inward / 1.6)
    thickness = (body + culture.spread_rim * rim) * height[index_of]
    nuclear = np.clip(inward / (0.5 * culture.spread_width_um) - 0.45, 0, 1)
    thickness += culture.spread_nucleus * nuclear * (1 + 0.4 * grain)
    thickness += 0.12 * grain
    thickness *= np.float32(culture.spread_height) * strewn

    squared = cobble.distance * cobble.distance
    flat = 0.75 - 0.9 * squared
    flat += (0.3 + 0.9 * culture.spread_nucleus) * np.exp(-squared * np.float32(14))
    flat = flat * cobble_height[cobble.cell] + 0.12 * grain
    thickness = np.where(cobbled, flat * np.float32(culture.spread_height), thickness)
    where = strewn | cobbled
    if culture.clumps > 0:
        pile = np.clip(lumps_where - 0.4, 0, 1) * np.clip(lumps + 0.5, 0, 3)
        thickness += np.float32(culture.clumps) * pile * where
    # An outline keeps clear of a cell by a little, and runs past gaps.
    region = _closed(where, _GAP_UM / pixel_size_um)
    region = _distance_to(region) <= _CLEARANCE_UM / pixel_size_um
    return region, where, thickness.astype(np.float32)


def _grow(
    rng: np.random.Generator, layout: _Layout, culture: _Culture, pixel_size_um: float, turn: float
) -> _Tissue:
    packed, packed_thickness = _packed_cells(rng, layout, culture, pixel_size_um, turn)
    region, spread, spread_thickness = _spread_cells(rng, layout, culture, pixel_size_um, turn)
    # A spread cell that reaches over a colony's rim hides it; gaps do not.
    region &= spread | ~packed
    labels = np.zeros(layout.colony.shape, np.uint8)
    labels[packed] = CellClass.UNDIFFERENTIATED
    labels[region] = CellClass.DIFFERENTIATED
    thickness = np.where(spread, spread_thickness, packed_thickness)
    thickness = _blurred(thickness, culture.soft_um / pixel_size_um)
    return _Tissue(thickness.astype(np.float32), labels)


# --------------------------------------------------------------------------------------------
# From thickness to grey levels


def _litter(
    rng: np.random.Generator, shape: tuple[int, int], culture: _Culture, pixel_size_um: float
) -> FloatImage:
    """Thickness of what lies about: the coating of the dish, debris, fibres."""
    layer = culture.matrix * (
        _smooth_noise(rng, shape, max(1.0, 3.0 / pixel_size_um))
        + 0.6 * _smooth_noise(rng, shape, max(1.5, 8.0 / pixel_size_um))
    )
    area_mm2 = shape[0] * shape[1] * pixel_size_um**2 * 1e-6
    count = min(int(rng.poisson(culture.debris_per_mm2 * area_mm2)), 4000)
    if count:
        points = np.zeros(shape, np.float32)
        rows, columns = rng.integers(0, shape[0], count), rng.integers(0, shape[1], count)
        points[rows, columns] = rng.exponential(1.0, count)
        for row, column in zip(rows[: count // 8], columns[: count // 8], strict=True):
            angle, length = rng.uniform(0, np.pi), rng.exponential(9) / pixel_size_um
            end = (int(column + length * math.cos(angle)), int(row + length * math.sin(angle)))
            cv2.line(points, (int(column), int(row)), end, float(rng.uniform(0.1, 0.5)))
        sigma = max(0.45, rng.uniform(0.5, 1.6) / pixel_size_um)
        layer += _blurred(points, sigma) * np.float32(min(2 * np.pi * sigma**2, 12) * 0.9)
    return layer.astype(np.float32)


def _root_mean_square(signal: FloatImage) -> float:
    sample = signal.ravel()[:: max(1, signal.size // 20000)]
    return float(np.sqrt(np.mean(sample * sample)))


def _transmit(thickness: FloatImage, optics: _Optics, pixel_size_um: float) -> FloatImage:
    """Relative signal (background 0) that the optics make of a thickness."""
    fine_px = max(optics.fine_um / pixel_size_um, 0.6)
    coarse_px = max(optics.coarse_um / pixel_size_um, 1.5)
    near = _blurred(thickness, fine_px, optics.stretch)
    far = _blurred(thickness, coarse_px)
    signal = optics.fine * (near - thickness) + optics.coarse * (far - thickness)
    signal -= optics.absorption * near
    return (optics.sign * signal).astype(np.float32)


def _dead_cells(
    rng: np.random.Generator,
    tissue: _Tissue,
    culture: _Culture,
    optics: _Optics,
    pixel_size_um: float,
) -> FloatImage:
    """Signal of rounded, floating cells, single and in clumps, over everything."""
    shape = (tissue.labels.shape[0], tissue.labels.shape[1])
    signal = np.zeros(shape, np.float32)
    area_mm2 = shape[0] * shape[1] * pixel_size_um**2 * 1e-6
    expected = culture.dead_per_mm2 * area_mm2 * max(1.0, culture.dead_on_cells)
    count = min(int(rng.poisson(expected)), 1500)
    rows, columns = rng.uniform(0, shape[0], count), rng.uniform(0, shape[1], count)
    if count > 6:
        # Debris gathers: part of the cells move close to another one.
        followers = rng.random(count) < rng.uniform(0, 0.6)
        leaders = rng.integers(0, max(1, count // 4), count)
        step = 2.2 * culture.dead_um / pixel_size_um
        rows = np.where(followers, rows[leaders] + rng.normal(0, step, count), rows)
        columns = np.where(followers, columns[leaders] + rng.normal(0, step, count), columns)
    rows, columns = np.clip(rows, 0, shape[0] - 1), np.clip(columns, 0, shape[1] - 1)
    on_cells = tissue.labels[rows.astype(int), columns.astype(int)] > 0
    weight = np.where(on_cells, culture.dead_on_cells, 1.0) / max(1.0, culture.dead_on_cells)
    kept = rng.random(count) < weight
    radius = culture.dead_um * np.exp(rng.normal(0, 0.22, count)) / pixel_size_um
    radius *= np.where(rng.random(count) < 0.01, rng.uniform(1.5, 3.5, count), 1.0)
    strength = np.exp(rng.normal(0, 0.3, count))
    phase = optics.modality == "phase"
    bright = rng.random(count) < (0.9 if phase else 0.12)
    core = rng.uniform(1.5, 5.0) if phase else rng.uniform(1.2, 4.0)
    ring, halo = rng.uniform(0.3, 2.0), rng.uniform(0.2, 1.5)
    pupil = rng.uniform(0, 1.3) * core
    for i in np.flatnonzero(kept):
        reach = int(2.6 * radius[i]) + 2
        row, column = int(rows[i]), int(columns[i])
        top, left = max(0, row - reach), max(0, column - reach)
        bottom, right = min(shape[0], row + reach + 1), min(shape[1], column + reach + 1)
        down = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(rows[i])
        along = np.arange(left, right, dtype=np.float32)[None, :] - np.float32(columns[i])
        u = np.sqrt(down * down + along * along) / np.float32(radius[i])
        profile = core * np.exp(-(u**4)) - ring * np.exp(-(((u - 1.25) / 0.25) ** 2))
        profile += halo * np.exp(-(((u - 1.75) / 0.35) ** 2))
        profile -= pupil * np.exp(-((u / 0.4) ** 2))
        signal[top:bottom, left:right] += (1 if bright[i] else -1) * strength[i] * profile
    return signal


def _light(rng: np.random.Generator, shape: tuple[int, int], optics: _Optics) -> FloatImage:
    """(H, W) relative brightness of the empty field."""
    size = math.sqrt(shape[0] * shape[1])
    down = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    along = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :]
    angle = rng.uniform(0, 2 * np.pi)
    slope = (math.cos(angle) * along + math.sin(angle) * down).astype(np.float32)
    light = 1 + optics.shading * (
        rng.uniform(-1, 1) * slope + 0.2 * _smooth_noise(rng, shape, size * 0.5)
    )
    if optics.vignetting > 0:
        row, column = rng.normal(0, 0.3, 2)
        light *= 1 - optics.vignetting * np.clip(
            ((down - row) ** 2 + (along - column) ** 2) / 2, 0, 1.6
        )
    if optics.dark_side > 0:
        edge = (slope - rng.uniform(0.4, 1.0)) / rng.uniform(0.08, 0.4)
        light *= 1 - optics.dark_side / (1 + np.exp(-np.clip(edge, -30, 30)))
    if optics.tile_px:
        row_start, column_start = rng.integers(0, optics.tile_px, 2)
        rows = (np.arange(shape[0]) + row_start) // optics.tile_px
        columns = (np.arange(shape[1]) + column_start) // optics.tile_px
        gains = 1 + optics.tile_gain * rng.standard_normal((rows[-1] + 1, columns[-1] + 1))
        light *= np.clip(gains, 0.6, 1.4)[rows][:, columns]
    if optics.banding > 0:
        lines = np.sin(np.arange(shape[0]) * rng.uniform(0.3, 2.5)) * optics.banding * 0.2
        light += (lines * optics.contrast)[:, None]
    return cast(FloatImage, np.clip(light, 0.03, None).astype(np.float32))


def _blemishes(
    rng: np.random.Generator, shape: tuple[int, int], optics: _Optics, pixel_size_um: float
) -> FloatImage:
    """Signal of dust out of focus, rings of floating cells out of focus, scratches."""
    signal = np.zeros(shape, np.float32)
    size = math.sqrt(shape[0] * shape[1])
    for _ in range(optics.dust):
        spot = np.zeros(shape, np.float32)
        radius = rng.uniform(0.008, 0.05) * size
        centre = (int(rng.uniform(0, shape[1])), int(rng.uniform(0, shape[0])))
        cv2.circle(spot, centre, max(1, int(radius)), 1.0, -1)
        signal += _blurred(spot, max(1.0, radius * rng.uniform(0.3, 0.8))) * np.float32(
            rng.uniform(-1.8, 0.5)
        )
    for _ in range(optics.rings):
        spot = np.zeros(shape, np.float32)
        centre = (int(rng.uniform(0, shape[1])), int(rng.uniform(0, shape[0])))
        outer = rng.uniform(8, 30) / pixel_size_um
        for k in range(int(rng.integers(1, 4))):
            cv2.circle(
                spot, centre, max(1, int(outer * (1 - 0.3 * k))), (-1.0) ** k, 1, cv2.LINE_AA
            )
        signal += _blurred(spot, max(0.6, 1.5 / pixel_size_um)) * np.float32(rng.uniform(-2, 2))
    for _ in range(optics.scratches):
        start = (int(rng.uniform(0, shape[1])), int(rng.uniform(0, shape[0])))
        angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 1.2) * size
        end = (
            int(start[0] + length * math.cos(angle)),
            int(start[1] + length * math.sin(angle)),
        )
        scratch = np.zeros(shape, np.float32)
        cv2.line(scratch, start, end, float(rng.uniform(-3, 3)), int(rng.integers(1, 3)))
        signal += _blurred(scratch, rng.uniform(0.4, 1.5))
    return signal


def _burn_bar(image: FloatImage, labels: Labels, pixel_size_um: float, white: float) -> None:
    """A scale bar in the bottom right corner, in place; its pixels become unknown."""
    rows, columns = labels.shape
    length = int(min(columns // 3, max(8, 200 / pixel_size_um)))
    thick = max(2, rows // 120)
    bottom, right = rows - max(4, rows // 30), columns - max(4, columns // 30)
    image[bottom - thick : bottom, right - length : right] = white
    labels[bottom - thick : bottom, right - length : right] = UNKNOWN


def _photograph(
    steady: np.random.Generator,
    passing: np.random.Generator,
    tissue: _Tissue,
    culture: _Culture,
    optics: _Optics,
    pixel_size_um: float,
) -> tuple[npt.NDArray[np.uint8] | npt.NDArray[np.uint16], Labels]:
    """Grey levels and final label map.

    steady : draws what stays from scan to scan: light, debris, dust
    passing : draws what does not: floating cells, noise
    """
    labels = tissue.labels.copy()
    shape = (labels.shape[0], labels.shape[1])
    background = labels == CellClass.BACKGROUND
    litter = _litter(steady, shape, culture, pixel_size_um)
    litter *= np.where(background, np.float32(1), np.float32(0.3))
    signal = _transmit(tissue.thickness, optics, pixel_size_um)
    cells = signal[~background]
    strength = max(_root_mean_square(cells), 0.05) if cells.size > 500 else 0.3
    # However flat the cells are, neither noise nor what lies between them may drown them.
    faintest = strength
    for kind in (CellClass.UNDIFFERENTIATED, CellClass.DIFFERENTIATED):
        of_kind = signal[labels == kind]
        if of_kind.size > 500:
            faintest = min(faintest, _root_mean_square(of_kind - of_kind.mean()))
    faintest = max(faintest, 0.2 * strength)
    seen = _transmit(litter, optics, pixel_size_um)
    seen *= np.float32(min(1.0, 0.45 * faintest / max(_root_mean_square(seen), 1e-6)))
    limit = np.float32(optics.saturation)
    signal = np.tanh((signal + seen) / np.float32(strength) / limit) * limit
    signal += _dead_cells(passing, tissue, culture, optics, pixel_size_um)
    signal += _blemishes(steady, shape, optics, pixel_size_um)
    signal = _blurred(signal, optics.blur_px)

    light = _light(steady, shape, optics)
    grain = passing.standard_normal(shape, dtype=np.float32)
    if _chance(steady, 0.3):
        grain = _blurred(grain, 0.7) * np.float32(2.2)
    contrast = np.float32(optics.contrast)
    noise = contrast * np.float32(optics.noise * faintest / strength)
    image = light * (1 + contrast * signal) + noise * grain
    image = np.clip(image, 0, None) ** np.float32(optics.gamma) * np.float32(optics.background)

    if optics.well:
        # A well is millimetres wide: a close view of one holds a piece of its edge only.
        radius = max(
            min(shape) * steady.uniform(0.42, 0.75), steady.uniform(900, 3300) / pixel_size_um
        )
        direction, inset = steady.uniform(0, 2 * np.pi), min(shape) * steady.uniform(0.0, 0.5)
        offset = max(0.0, radius - inset)
        centre = np.array(
            [
                shape[0] / 2 + offset * math.sin(direction),
                shape[1] / 2 + offset * math.cos(direction),
            ]
        )
        down = np.arange(shape[0], dtype=np.float32)[:, None] - np.float32(centre[0])
        along = np.arange(shape[1], dtype=np.float32)[None, :] - np.float32(centre[1])
        beyond = np.sqrt(down * down + along * along) - np.float32(radius)
        outside = beyond > 0
        image *= 1 - steady.uniform(0, 0.6) * np.exp(np.clip(beyond, -200, 0) / (0.02 * min(shape)))
        image[outside] = steady.uniform(0, 12) + 0.3 * np.abs(grain[outside])
        labels[outside] = UNKNOWN
    if optics.bar:
        _burn_bar(image, labels, pixel_size_um, float(steady.choice([0.0, 255.0])))
    if optics.resample < 1:
        small = cv2.resize(
            image, None, fx=optics.resample, fy=optics.resample, interpolation=cv2.INTER_AREA
        )
        image = cast(
            FloatImage, cv2.resize(small, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
        )
    if optics.bits == 16:
        top = float(steady.choice([4095, 16383, 65535]))
        return np.clip(np.rint(image * (top / 255)), 0, 65535).astype(np.uint16), labels
    grey = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    if optics.jpeg_quality:
        _, packed = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, optics.jpeg_quality])
        grey = cast(npt.NDArray[np.uint8], cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE))
    return grey, labels


# --------------------------------------------------------------------------------------------
# One field


def simulate_field(
    seed: int,
    *,
    shape: tuple[int, int] = (512, 512),
    pixel_size_um: float | None = None,
    modality: str | None = None,
) -> SimulatedField:
    """Draw one field at random: what it shows and how it was imaged.

    seed : at least 0; the same seed and arguments give the same field
    shape : (rows, columns), each at least 32
    pixel_size_um : drawn log-uniformly from `PIXEL_SIZE_RANGE_UM` where None
    modality : "phase" or "brightfield"; drawn where None

    Raises ValueError for a seed, shape, pixel size or modality out of these.
    """
    _check(seed, shape, pixel_size_um, modality)
    rng = np.random.default_rng(seed)
    drawn_size = _log_uniform(rng, *PIXEL_SIZE_RANGE_UM)
    drawn_modality = MODALITIES[int(rng.random() < 0.45)]
    size = drawn_size if pixel_size_um is None else float(pixel_size_um)
    kind = drawn_modality if modality is None else cast(Modality, modality)
    optics = _draw_optics(rng, kind)
    culture = _draw_culture(rng)
    layout = _draw_layout(rng, shape, size)
    tissue = _grow(rng, layout, culture, size, 0.0)
    image, labels = _photograph(rng, rng, tissue, culture, optics, size)
    return SimulatedField(image, labels, size, kind, seed)


def _check(
    seed: int, shape: tuple[int, int], pixel_size_um: float | None, modality: str | None
) -> None:
    if seed < 0:
        raise ValueError(f"seed {seed} is negative; give 0 or more")
    if len(shape) != 2 or min(shape) < 32:
        raise ValueError(f"shape {shape} is too small; give at least 32 rows and 32 columns")
    if pixel_size_um is not None and not (0.1 <= pixel_size_um <= 20):
        raise ValueError(f"pixel size {pixel_size_um} um is out of reach; give 0.1 to 20")
    if modality is not None and modality not in MODALITIES:
        raise ValueError(f"modality {modality!r} is unknown; give one of {', '.join(MODALITIES)}")


# --------------------------------------------------------------------------------------------
# The same colonies over days


@dataclass(frozen=True)
class _Seedling:
    """One colony of a virtual dish. Places are um from the middle of the field."""

    row_um: float
    column_um: float
    start_um: float
    doubling: float
    shape: _ColonyShape

    def radius_um(self, hours: float, doubling_h: float) -> float:
        free = self.start_um * 2 ** (hours / (2 * doubling_h * self.doubling))
        return float(free / (1 + (free / _LARGEST_RADIUS_UM) ** 4) ** 0.25)


_LARGEST_RADIUS_UM: Final = 420.0
_DISH_EXTENT_UM: Final = 4000.0
"""Side of the square about the field in which a virtual dish has colonies."""


@dataclass(frozen=True)
class VirtualDish:
    """A dish whose field of view can be visited at any hour: the same colonies, grown.

    name : one folder name, such as "dish-01"
    seed : at least 0; draws colonies, cells and optics
    onset_h : hour at which differentiation starts; None keeps the dish healthy
    modality : "phase" or "brightfield"
    doubling_h : time in which a colony doubles its area
    colony_radius_um : typical radius at hour 0
    colonies_per_mm2 : number density of colonies
    spread_um_per_h : speed at which a differentiated region widens
    stage_x_um, stage_y_um : middle of the field on the stage
    """

    name: str
    seed: int
    onset_h: float | None
    modality: Modality = "phase"
    doubling_h: float = 22.0
    colony_radius_um: float = 75.0
    colonies_per_mm2: float = 4.0
    spread_um_per_h: float = 7.0
    stage_x_um: float = 0.0
    stage_y_um: float = 0.0

    def __post_init__(self) -> None:
        _check(self.seed, (64, 64), None, self.modality)
        if not self.name or Path(self.name).name != self.name or self.name.startswith("."):
            raise ValueError(f"dish name {self.name!r} is no folder name; give one like 'dish-01'")

    def field(
        self, hours: float, *, shape: tuple[int, int] = (768, 768), pixel_size_um: float = 2.0
    ) -> SimulatedField:
        """The field of view `hours` (at least 0) after seeding; the same for the same arguments.

        Raises ValueError for hours below 0 and for what `simulate_field` refuses.
        """
        _check(self.seed, shape, pixel_size_um, self.modality)
        if hours < 0:
            raise ValueError(f"{self.name}: {hours} hours is before the dish was seeded; give >= 0")
        look = np.random.default_rng([self.seed, 1])
        optics = _calm_optics(look, self.modality)
        culture = _calm_culture(look)
        layout = self._layout(hours, shape, pixel_size_um)
        cells = np.random.default_rng([self.seed, 3])
        tissue = _grow(cells, layout, culture, pixel_size_um, 0.15 * hours)
        passing = np.random.default_rng([self.seed, 5, round(hours * 3600)])
        optics = replace(
            optics,
            background=optics.background * float(np.clip(passing.normal(1, 0.015), 0.95, 1.05)),
            blur_px=optics.blur_px + abs(float(passing.normal(0, 0.12))),
        )
        image, labels = _photograph(
            np.random.default_rng([self.seed, 4]), passing, tissue, culture, optics, pixel_size_um
        )
        return SimulatedField(image, labels, pixel_size_um, self.modality, self.seed)

    def truth(
        self, hours: float, *, shape: tuple[int, int] = (768, 768), pixel_size_um: float = 2.0
    ) -> Fractions:
        """Fractions of the very label map that `field` has with the same arguments."""
        return self.field(hours, shape=shape, pixel_size_um=pixel_size_um).fractions

    def _colonies(self) -> list[_Seedling]:
        rng = np.random.default_rng([self.seed, 2])
        wanted = round(self.colonies_per_mm2 * (_DISH_EXTENT_UM / 1000) ** 2)
        apart = 0.55 * 1000 / math.sqrt(self.colonies_per_mm2)
        colonies: list[_Seedling] = []
        for _ in range(20 * wanted):
            row, column = rng.uniform(-0.5, 0.5, 2) * _DISH_EXTENT_UM
            if all(math.hypot(c.row_um - row, c.column_um - column) > apart for c in colonies):
                colonies.append(
                    _Seedling(
                        float(row),
                        float(column),
                        self.colony_radius_um * float(np.exp(rng.normal(0, 0.25))),
                        float(np.exp(rng.normal(0, 0.08))),
                        _draw_colony_shape(
                            rng, rough=rng.uniform(0.3, 0.8), typical_um=1.6 * self.colony_radius_um
                        ),
                    )
                )
            if len(colonies) == wanted:
                break
        return colonies

    def _layout(self, hours: float, shape: tuple[int, int], pixel_size_um: float) -> _Layout:
        colonies = self._colonies()
        middle = np.array([(shape[0] - 1) / 2, (shape[1] - 1) / 2])
        outlines = [
            c.shape.outline((c.row_um, c.column_um), c.radius_um(hours, self.doubling_h), hours)
            / pixel_size_um
            + middle
            for c in colonies
        ]
        colony = _fill(shape, outlines)
        density = np.zeros(shape, np.float32)
        if self.onset_h is None or hours <= self.onset_h:
            return _Layout(colony, density)
        rng = np.random.default_rng([self.seed, 6])
        ripple = 1 + 0.22 * _smooth_noise(rng, shape, 90 / pixel_size_um)
        outside = _distance_to(colony) * np.float32(pixel_size_um)
        down = (np.arange(shape[0], dtype=np.float32) - np.float32(middle[0]))[:, None]
        along = (np.arange(shape[1], dtype=np.float32) - np.float32(middle[1]))[None, :]
        half_um = 0.42 * min(shape) * pixel_size_um
        inner = sorted(colonies, key=lambda c: math.hypot(c.row_um, c.column_um) - 0.5 * c.start_um)
        seen = [c for c in inner if max(abs(c.row_um), abs(c.column_um)) < half_um] or inner[:1]
        begins = self.onset_h
        for c in seen[:6]:
            at, angle = rng.uniform(0.1, 0.8), rng.uniform(0, 2 * np.pi)
            reach_um = self.spread_um_per_h * (hours - begins)
            begins += float(rng.exponential(5.0))
            if reach_um <= 0:
                continue
            radius = at * c.radius_um(hours, self.doubling_h)
            row = (c.row_um + radius * math.sin(angle)) / pixel_size_um
            column = (c.column_um + radius * math.cos(angle)) / pixel_size_um
            away = np.sqrt((down - row) ** 2 + (along - column) ** 2) * np.float32(pixel_size_um)
            ring = away < reach_um * ripple
            density[ring & (outside < min(0.3 * reach_um, 90.0))] = 1.0
        return _Layout(colony & (density == 0), density)


def _calm_optics(rng: np.random.Generator, modality: Modality) -> _Optics:
    """One well-kept microscope: the wide draw with its accidents taken out."""
    phase = modality == "phase"
    return replace(
        _draw_optics(rng, modality),
        fine_um=rng.uniform(2.2, 3.5) if phase else rng.uniform(1.5, 2.5),
        coarse_um=rng.uniform(14, 24) if phase else rng.uniform(6, 10),
        coarse=rng.uniform(0.5, 0.8) if phase else rng.uniform(0.1, 0.3),
        absorption=rng.uniform(0.0, 0.15) if phase else rng.uniform(0.05, 0.2),
        sign=1.0,
        saturation=rng.uniform(2.5, 5),
        stretch=1.0,
        contrast=rng.uniform(0.2, 0.3) if phase else rng.uniform(0.05, 0.09),
        background=rng.uniform(95, 135),
        shading=rng.uniform(0.02, 0.08) if phase else rng.uniform(0.01, 0.03),
        vignetting=0.0,
        dark_side=0.0,
        banding=0.0,
        blur_px=rng.uniform(0.2, 0.5),
        noise=rng.uniform(0.06, 0.14),
        gamma=1.0,
        dust=int(rng.integers(0, 3)),
        rings=int(rng.integers(0, 4)),
        scratches=0,
        tile_px=0,
        well=False,
        bar=False,
        jpeg_quality=0,
        resample=1.0,
        bits=8,
    )


def _calm_culture(rng: np.random.Generator) -> _Culture:
    return replace(
        _draw_culture(rng),
        packed_um=rng.uniform(10.5, 13.5),
        packed_warp=rng.uniform(0.4, 0.8),
        packed_height_spread=rng.uniform(0.2, 0.4),
        packed_dome=rng.uniform(0.6, 1.0),
        centre_fading=rng.uniform(0.1, 0.4),
        packed_streaks=rng.uniform(0.3, 0.8),
        packed_texture=rng.uniform(0.9, 1.4),
        granularity=rng.uniform(0.1, 0.5),
        packed_weave=rng.uniform(0.0, 0.2),
        packed_unevenness=rng.uniform(0.1, 0.25),
        packed_rim=False,
        soft_um=rng.uniform(0.6, 1.2),
        spread_length_um=rng.uniform(50, 75),
        spread_width_um=rng.uniform(15, 22),
        spread_cover=rng.uniform(0.7, 1.1),
        spread_height=rng.uniform(0.7, 1.0),
        cobble_share=0.0,
        clumps=rng.uniform(0.0, 0.5),
        dead_per_mm2=_log_uniform(rng, 15, 70),
        dead_on_cells=rng.uniform(0.8, 1.6),
        dead_um=rng.uniform(4.5, 6),
        debris_per_mm2=_log_uniform(rng, 60, 300),
        matrix=rng.uniform(0.02, 0.06),
    )


# --------------------------------------------------------------------------------------------
# Files, as an imager would leave them


def _replace_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Have `write` fill a hidden file beside `path`, then rename it: nobody sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_capture(
    field: SimulatedField,
    path: Path,
    *,
    acquired_at: datetime,
    stage_x_um: float,
    stage_y_um: float,
    name: str,
) -> None:
    """Write a field's picture as OME-TIFF with pixel size, time and stage position.

    acquired_at : aware; written as UTC to the second
    stage_x_um, stage_y_um : middle of the field
    name : the OME image's name

    Raises ValueError for a time without zone.
    """
    if acquired_at.tzinfo is None:
        raise ValueError(f"{path.name}: acquired_at {acquired_at} has no time zone; give UTC")
    metadata: dict[str, Any] = {
        "axes": "YX",
        "Name": name,
        "AcquisitionDate": acquired_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "PhysicalSizeX": field.pixel_size_um,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": field.pixel_size_um,
        "PhysicalSizeYUnit": "µm",
        "Plane": {
            "PositionX": [stage_x_um],
            "PositionXUnit": ["µm"],
            "PositionY": [stage_y_um],
            "PositionYUnit": ["µm"],
            "DeltaT": [0.0],
            "DeltaTUnit": ["s"],
        },
    }

    def write(temporary: Path) -> None:
        tifffile.imwrite(
            temporary,
            field.image,
            ome=True,
            photometric="minisblack",
            compression="zlib",
            resolution=(1e4 / field.pixel_size_um, 1e4 / field.pixel_size_um),
            resolutionunit="CENTIMETER",
            metadata=metadata,
        )

    _replace_whole(path, write)


def write_truth(field: SimulatedField, path: Path) -> None:
    """Write a field's label map as 8-bit PNG, values of `CellClass` and `UNKNOWN`."""
    _, encoded = cv2.imencode(".png", field.labels)

    def write(temporary: Path) -> None:
        temporary.write_bytes(encoded.tobytes())

    _replace_whole(path, write)


@dataclass(frozen=True)
class SimulatedScan:
    """One visit to one virtual dish, as it was written.

    dish : the dish's name
    hours : since seeding
    acquired_at : aware UTC
    capture, truth : OME-TIFF and label PNG
    fractions : of the truth
    """

    dish: str
    hours: float
    acquired_at: datetime
    capture: Path
    truth: Path
    fractions: Fractions


def virtual_dishes(
    count: int, *, seed: int, hours: float, modality: str = "phase"
) -> list[VirtualDish]:
    """`count` dishes "dish-01" ..., one of which starts to differentiate in the first half.

    hours : how long they will be watched; sets the onset and how fast differentiation spreads

    Raises ValueError for a count below 1, a seed below 0 or an unknown modality.
    """
    if count < 1:
        raise ValueError(f"{count} dishes cannot be simulated; give at least 1")
    _check(seed, (64, 64), None, modality)
    rng = np.random.default_rng([seed, 7])
    turning = int(rng.integers(count))
    spread_um_per_h = float(np.clip(400 / max(0.65 * hours, 1.0), 4.0, 25.0))
    return [
        VirtualDish(
            name=f"dish-{i + 1:02d}",
            seed=int(rng.integers(2**31)),
            onset_h=0.35 * hours if i == turning else None,
            modality=cast(Modality, modality),
            doubling_h=float(np.clip(hours / 3, 18.0, 30.0)),
            spread_um_per_h=spread_um_per_h,
            stage_x_um=_WELL_PITCH_UM * (i % 3) + 1000.0,
            stage_y_um=_WELL_PITCH_UM * (i // 3) + 1500.0,
        )
        for i in range(count)
    ]


_WELL_PITCH_UM: Final = 39120.0
"""Distance of the wells of a six-well plate."""


def simulate_incubator(
    out_dir: Path,
    *,
    dishes: int | Sequence[VirtualDish],
    hours: float,
    interval_h: float,
    seed: int,
    start: datetime,
    truth_dir: Path | None = None,
    shape: tuple[int, int] = (768, 768),
    pixel_size_um: float = 2.0,
) -> Iterator[SimulatedScan]:
    """Let an imager visit every dish again and again; yields each scan once it is written.

    out_dir : gets <dish>/<dish>_<YYYYMMDD>T<HHMMSS>Z_f1.ome.tif
    dishes : the dishes, or how many `virtual_dishes` to make of `seed`
    hours, interval_h : first scan at hour 0, the last not after `hours`
    start : aware; the time of hour 0
    truth_dir : gets <dish>/<same stem>.png; default is out_dir's name with "-truth"

    Raises ValueError for an interval that is not positive or a start without zone.
    """
    if interval_h <= 0:
        raise ValueError(f"interval of {interval_h} h is not positive; give hours between scans")
    if start.tzinfo is None:
        raise ValueError(f"start {start} has no time zone; give UTC")
    started = start.astimezone(UTC).replace(microsecond=0)
    truths = out_dir.with_name(f"{out_dir.name}-truth") if truth_dir is None else truth_dir
    visited = virtual_dishes(dishes, seed=seed, hours=hours) if isinstance(dishes, int) else dishes
    for visit in range(math.floor(hours / interval_h + 1e-9) + 1):
        for order, dish in enumerate(visited):
            at_h = visit * interval_h
            # The stage needs half a minute from dish to dish.
            acquired_at = started + timedelta(hours=at_h, seconds=30 * order)
            stem = f"{dish.name}_{acquired_at:%Y%m%dT%H%M%S}Z_f1"
            capture = out_dir / dish.name / f"{stem}.ome.tif"
            truth = truths / dish.name / f"{stem}.png"
            seen = dish.field(at_h, shape=shape, pixel_size_um=pixel_size_um)
            write_truth(seen, truth)
            write_capture(
                seen,
                capture,
                acquired_at=acquired_at,
                stage_x_um=dish.stage_x_um,
                stage_y_um=dish.stage_y_um,
                name=stem,
            )
            yield SimulatedScan(dish.name, at_h, acquired_at, capture, truth, seen.fractions)
