"""Cells: packed in colonies, spread where they have differentiated."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from model.classes import CellClass
from model.simulation.debris import Debris, draw_debris
from model.simulation.drawing import (
    CLEARANCE_UM,
    GAP_UM,
    FloatImage,
    Layout,
    Mask,
    Seeding,
    Tissue,
    blurred,
    chance,
    closed,
    distance_to,
    log_uniform,
    smooth_noise,
)

# What is drawn, before any pixel


@dataclass(frozen=True)
class Culture:
    """How the cells of one field look. Lengths in um, heights relative to a packed cell."""

    packed_um: float
    packed_warp: float
    packed_height_spread: float
    packed_dome: float
    packed_streaks: float
    packed_texture: float
    packed_weave: float
    packed_unevenness: float
    packed_quiet: float
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
    centre_blur_um: float
    centre_tone: float
    plateau: float
    debris_per_mm2: float
    matrix: float
    debris: Debris


def draw_culture(rng: np.random.Generator) -> Culture:
    packed = log_uniform(rng, 7.5, 14)
    length = max(log_uniform(rng, 26, 100), 2.6 * packed)
    return Culture(
        packed_um=packed,
        packed_warp=rng.uniform(0.1, 0.9),
        packed_height_spread=rng.uniform(0.05, 0.45),
        packed_dome=rng.uniform(0.3, 1.3),
        packed_streaks=float(rng.choice([0.0, 0.5, 1.0])) * rng.uniform(0.3, 1.0),
        packed_texture=log_uniform(rng, 0.45, 2.4),
        packed_weave=rng.uniform(0.2, 0.7) if chance(rng, 0.35) else 0.0,
        packed_unevenness=rng.uniform(0.0, 0.4) if chance(rng, 0.8) else rng.uniform(0.4, 0.8),
        packed_quiet=rng.uniform(0.2, 0.75) if chance(rng, 0.35) else 0.0,
        packed_rim=chance(rng, 0.35),
        soft_um=log_uniform(rng, 0.4, 2.6),
        nucleus=rng.uniform(-0.2, 0.7),
        granularity=rng.uniform(0.0, 1.2),
        centre_fading=rng.uniform(0.0, 0.8) if chance(rng, 0.6) else 0.0,
        spread_length_um=length,
        spread_width_um=float(np.clip(length * rng.uniform(0.2, 0.7), 9.0, 42.0)),
        spread_cover=log_uniform(rng, 0.55, 2.0),
        spread_height=log_uniform(rng, 0.4, 1.4),
        spread_rim=rng.uniform(-0.1, 0.6),
        spread_nucleus=rng.uniform(0.0, 1.0),
        swirl_um=log_uniform(rng, 80, 600),
        alignment=rng.uniform(0.2, 1.0),
        cobble_um=max(log_uniform(rng, 20, 50), 2.1 * packed),
        cobble_share=float(rng.choice([0.0, 0.0, 0.0, 0.3, 0.6, 1.0])),
        clumps=rng.uniform(0.2, 0.9) if chance(rng, 0.3) else 0.0,
        centre_blur_um=log_uniform(rng, 1.5, 8) if chance(rng, 0.3) else 0.0,
        centre_tone=rng.normal(0, 0.9) if chance(rng, 0.35) else 0.0,
        plateau=log_uniform(rng, 0.5, 4) if chance(rng, 0.35) else 0.0,
        debris_per_mm2=log_uniform(rng, 20, 3000),
        matrix=log_uniform(rng, 0.01, 0.15),
        debris=draw_debris(rng),
    )


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
    at_row = down + np.clip(smooth_noise(rng, shape, scale), -2, 2) * amplitude / 2
    at_column = along + np.clip(smooth_noise(rng, shape, scale), -2, 2) * amplitude / 2
    cell = of_label[
        nearest[(at_row + (pad + 0.5)).astype(np.int32), (at_column + (pad + 0.5)).astype(np.int32)]
    ]
    centre = points.astype(np.float32)
    distance = cv2.magnitude(at_row - centre[:, 0][cell], at_column - centre[:, 1][cell])
    return _Packing(points, cell, cast(FloatImage, distance / np.float32(spacing_px)))


def _packed_cells(
    rng: np.random.Generator, layout: Layout, culture: Culture, pixel_size_um: float, turn: float
) -> tuple[Mask, FloatImage, FloatImage]:
    """(where, thickness, tone) of the packed undifferentiated cells."""
    shape = (layout.colony.shape[0], layout.colony.shape[1])
    packing = _pack(rng, shape, culture.packed_um / pixel_size_um, culture.packed_warp, turn)
    spread = culture.packed_height_spread
    height = np.exp(spread * rng.standard_normal(len(packing.points))).astype(np.float32)
    grain = smooth_noise(rng, shape, max(1.0, 2.0 / pixel_size_um))
    slow = smooth_noise(rng, shape, 120 / pixel_size_um)
    coarse_grain = smooth_noise(rng, shape, max(1.0, 4.5 / pixel_size_um))
    nodes = max(1.0, 0.45 * culture.packed_um / pixel_size_um)
    winding = smooth_noise(rng, shape, nodes)
    winding += 0.5 * smooth_noise(rng, shape, max(1.5, culture.packed_um / pixel_size_um))
    where = packing.inside(layout.colony) if culture.packed_rim else layout.colony
    squared = packing.distance * packing.distance
    texture = height[packing.cell] * (
        1 - culture.packed_dome * squared + culture.nucleus * np.exp(-squared * np.float32(9))
    )
    # Between cells that lie askew the light finds winding streaks, not a honeycomb.
    broken = np.clip(0.7 + 0.9 * smooth_noise(rng, shape, 1.4 * nodes), 0, 1)
    streaks = 1.2 - broken * np.maximum(1.2 - 1.7 * np.abs(winding), 0)
    texture += culture.packed_streaks * (streaks - texture)
    texture += culture.granularity * (0.25 * grain + 0.35 * coarse_grain)
    if culture.packed_weave > 0:
        stretch = rng.uniform(1.4, 2.6)
        fine = max(1.5, 0.5 * culture.packed_um / pixel_size_um)
        for factor in (stretch, 1 / stretch):
            texture += 0.35 * culture.packed_weave * smooth_noise(rng, shape, fine, factor)
    patchy = smooth_noise(rng, shape, 55 / pixel_size_um)
    texture = 0.8 + (texture - 0.8) * np.exp(culture.packed_unevenness * np.clip(patchy, -2, 2))
    if culture.packed_quiet > 0:
        # Where cells are densest there is least to see of them.
        dense = np.clip(2 * smooth_noise(rng, shape, 170 / pixel_size_um) + 0.4, 0, 1)
        texture = 0.8 + (texture - 0.8) * (1 - culture.packed_quiet * dense)
    thickness = 0.8 + culture.packed_texture * (texture - 0.8)
    depth = distance_to(~where) * np.float32(pixel_size_um / 60)
    if culture.centre_blur_um > 0:
        # A thick middle lies out of focus.
        soft = blurred(thickness, culture.centre_blur_um / pixel_size_um)
        thickness += (soft - thickness) * (1 - np.exp(-np.minimum(depth, 8)))
    if culture.centre_fading > 0:
        fade = culture.centre_fading * (1 - np.exp(-np.minimum(depth, 8))) * (1 + 0.3 * slow)
        thickness = thickness * (1 - np.clip(fade, 0, 0.85)) + np.clip(fade, 0, 0.85) * 0.8
    # A colony that stands up from the dish has a bright border, whatever its cells look like.
    thickness += np.float32(culture.plateau) * (1 - np.exp(-np.minimum(depth * 6, 8)))
    tone = np.float32(culture.centre_tone) * (1 - np.exp(-np.minimum(depth, 8))) * (1 + 0.3 * slow)
    none = np.float32(0)
    return (
        where,
        np.where(where, thickness, none).astype(np.float32),
        np.where(where, tone, none).astype(np.float32),
    )


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
    rng: np.random.Generator, layout: Layout, culture: Culture, pixel_size_um: float, turn: float
) -> tuple[Mask, Mask, FloatImage]:
    """(region, where, thickness) of the differentiated cells: the region with the gaps an expert
    would count in, and the cells alone."""
    # In one piece: the order in which chance is drawn makes the picture of a seed.
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
    swirl = smooth_noise(rng, shape, culture.swirl_um / pixel_size_um) * np.float32(2.2)
    wander = rng.normal(0, 1, count) * (1 - culture.alignment) * 1.6
    height = np.exp(0.3 * rng.standard_normal(count + 1)).astype(np.float32)
    grain = smooth_noise(rng, shape, max(1.0, 2.5 / pixel_size_um))
    cobble = _pack(rng, shape, culture.cobble_um / pixel_size_um, 0.7, turn)
    cobble_height = np.exp(0.25 * rng.standard_normal(len(cobble.points))).astype(np.float32)
    share = smooth_noise(rng, shape, 200 / pixel_size_um)
    lumps = smooth_noise(rng, shape, 9 / pixel_size_um)
    lumps_where = smooth_noise(rng, shape, 60 / pixel_size_um)
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
    inward = distance_to(edge | ~strewn) * np.float32(pixel_size_um)
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
    region = closed(where, GAP_UM / pixel_size_um)
    region = distance_to(region) <= CLEARANCE_UM / pixel_size_um
    return region, where, thickness.astype(np.float32)


def _seeded_cells(
    rng: np.random.Generator, seeding: Seeding, shape: tuple[int, int], pixel_size_um: float
) -> tuple[Mask, FloatImage]:
    """(where, thickness) of healthy cells that a passage left singly and in loose clumps."""
    area_mm2 = shape[0] * shape[1] * (pixel_size_um * 1e-3) ** 2
    count = min(int(rng.poisson(seeding.attached_per_mm2 * area_mm2)), 1200)
    which = np.zeros(shape, np.float32)
    if count == 0:
        return which > 0, which
    places = rng.uniform(0, 1, (count, 2)) * np.array(shape)
    leaders = rng.integers(0, max(1, round(count / seeding.clump_cells)), count)
    spread_px = 0.42 * seeding.length_um * math.sqrt(seeding.clump_cells) / pixel_size_um
    gathered = rng.random(count) < seeding.gathered
    near = places[leaders] + rng.normal(0, 0.7 * spread_px, (count, 2))
    places = np.where(gathered[:, None], near, places)
    width_um = seeding.length_um * rng.uniform(0.35, 0.8)
    outlines = _spread_outlines(
        rng, count, seeding.length_um / pixel_size_um, width_um / pixel_size_um
    )
    angle = rng.uniform(0, np.pi, (count, 1))
    turned = np.stack(
        [
            outlines[:, :, 0] * np.cos(angle) + outlines[:, :, 1] * np.sin(angle) + places[:, :1],
            outlines[:, :, 1] * np.cos(angle) - outlines[:, :, 0] * np.sin(angle) + places[:, 1:],
        ],
        2,
    )
    for index, points in enumerate(np.rint(turned[:, :, ::-1] * 16).astype(np.int32)):
        cv2.fillPoly(which, [points], float(index + 1), shift=4)
    where: Mask = which > 0
    edge = np.zeros(shape, bool)
    edge[:, 1:] |= which[:, 1:] != which[:, :-1]
    edge[1:, :] |= which[1:, :] != which[:-1, :]
    inward = distance_to(edge | ~where) * np.float32(pixel_size_um)
    height = np.exp(0.35 * rng.standard_normal(count + 1)).astype(np.float32)
    grain = smooth_noise(rng, shape, max(1.0, 2.5 / pixel_size_um))
    body = 1 - np.exp(-inward / np.float32(rng.uniform(1.2, 3.5)))
    rim = np.exp(-inward / 1.5) * np.float32(rng.uniform(-0.3, 0.5))
    thickness = (body + rim) * height[which.astype(np.int32)] * (1 + 0.35 * grain)
    thickness *= np.float32(log_uniform(rng, 0.7, 2.2)) * where
    return where, thickness.astype(np.float32)


def grown(
    rng: np.random.Generator, layout: Layout, culture: Culture, pixel_size_um: float, turn: float
) -> Tissue:
    shape = (layout.colony.shape[0], layout.colony.shape[1])
    if layout.seeding is not None:
        # Young clumps are of large cells that stand out one by one.
        larger = culture.packed_um * rng.uniform(1.0, 1.6)
        culture = replace(culture, packed_um=larger, packed_rim=True, centre_fading=0.0)
    packed, thickness, tone = _packed_cells(rng, layout, culture, pixel_size_um, turn)
    labels = np.zeros(shape, np.uint8)
    labels[packed] = CellClass.UNDIFFERENTIATED
    if layout.seeding is not None:
        single, single_thickness = _seeded_cells(rng, layout.seeding, shape, pixel_size_um)
        thickness = np.where(single, single_thickness, thickness)
        clump = closed(single | packed, 6 / pixel_size_um)
        labels[distance_to(clump) <= CLEARANCE_UM / pixel_size_um] = CellClass.UNDIFFERENTIATED
    if layout.region.any() and layout.region.max() < 1:
        # What lies singly and is small is a fresh cell; the spread one that lies singly is large.
        length = max(culture.spread_length_um, float(rng.uniform(50, 100)))
        culture = replace(culture, spread_length_um=length)
    region, spread, spread_thickness = _spread_cells(rng, layout, culture, pixel_size_um, turn)
    # A spread cell that reaches over a colony's rim hides it; gaps do not.
    region &= spread | ~packed
    labels[region] = CellClass.DIFFERENTIATED
    thickness = np.where(spread, spread_thickness, thickness)
    thickness = blurred(thickness.astype(np.float32), culture.soft_um / pixel_size_um)
    tone = blurred(np.where(spread, np.float32(0), tone).astype(np.float32), 6 / pixel_size_um)
    return Tissue(thickness, labels, tone, layout.seeding)
