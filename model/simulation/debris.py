"""What lies over a culture and is no part of it: dead and floating cells, pieces of tissue.

Dishes hold far more of these than one would think: thousands to a square millimetre before a change
of medium, singly, in heaps, as a carpet, over colonies and between them, in focus and above it. A
model that has not seen them takes them for what it knows least.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, cast

import numpy as np
import numpy.typing as npt

from model.classes import NOT_DIFFERENTIATED, UNKNOWN, CellClass
from model.simulation.drawing import (
    FloatImage,
    Labels,
    Mask,
    Tissue,
    blurred,
    chance,
    distance_to,
    filled,
    log_uniform,
    noise_patch,
    smooth_noise,
)
from model.simulation.layout import draw_colony_shape

MOST_CELLS: Final = 4000


@dataclass(frozen=True)
class Debris:
    """What floats. Lengths in um.

    dead_per_mm2 : dead cells that lie where chance puts them
    on_cells : how many more lie over cells than beside them
    heaped : share of the dead cells that lie in heaps of about `heap_cells`
    carpet_share : share of the image that a carpet of dead cells covers, `carpet_per_mm2` of them
    above : share of the cells that float above the focus
    pigmented : share of the cells that are dark, in phase contrast too
    pieces_per_mm2 : pieces of tissue with a bright border: they float, and are not of the culture
    """

    dead_per_mm2: float
    on_cells: float
    dead_um: float
    strength: float
    heaped: float
    heap_cells: float
    carpet_share: float
    carpet_per_mm2: float
    above: float
    pigmented: float
    pieces_per_mm2: float
    piece_um: float


def draw_debris(rng: np.random.Generator) -> Debris:
    many = chance(rng, 0.4)
    return Debris(
        dead_per_mm2=log_uniform(rng, 150, 2500) if many else log_uniform(rng, 2, 260),
        on_cells=log_uniform(rng, 0.4, 4),
        dead_um=log_uniform(rng, 3.2, 8.5),
        strength=log_uniform(rng, 1.3, 7.0),
        heaped=rng.uniform(0.0, 0.9),
        heap_cells=log_uniform(rng, 2, 25),
        carpet_share=rng.uniform(0.05, 0.5) if chance(rng, 0.12) else 0.0,
        carpet_per_mm2=log_uniform(rng, 800, 5000),
        above=rng.uniform(0.0, 0.7) if chance(rng, 0.5) else 0.0,
        pigmented=rng.uniform(0.1, 1.0) if chance(rng, 0.08) else 0.05,
        pieces_per_mm2=log_uniform(rng, 1, 14) if chance(rng, 0.22) else 0.0,
        piece_um=log_uniform(rng, 13, 80),
    )


def after_passage(debris: Debris) -> Debris:
    """What floats once the medium is new: more would hide the few cells there are."""
    return replace(debris, dead_per_mm2=min(debris.dead_per_mm2, 300.0), carpet_share=0.0)


def calm_debris(rng: np.random.Generator) -> Debris:
    """As in a dish that is looked after: for the demonstration."""
    return Debris(
        dead_per_mm2=log_uniform(rng, 15, 70),
        on_cells=rng.uniform(0.8, 1.6),
        dead_um=rng.uniform(4.5, 6),
        strength=rng.uniform(1.5, 4.0),
        heaped=rng.uniform(0.0, 0.4),
        heap_cells=3.0,
        carpet_share=0.0,
        carpet_per_mm2=0.0,
        above=0.0,
        pigmented=0.02,
        pieces_per_mm2=0.0,
        piece_um=20.0,
    )


def debris_over(
    rng: np.random.Generator, tissue: Tissue, debris: Debris, pixel_size_um: float, *, bright: bool
) -> tuple[FloatImage, Labels]:
    """Signal of all that lies over a tissue, and what it makes of the labels.

    bright : dead cells shine, as in phase contrast
    Returns (H, W) float32 in units of the cells' contrast, and (H, W) uint8: `NOT_DIFFERENTIATED`
    at the round cells of a fresh passage and along the borders of pieces, `CellClass.BACKGROUND`
    on pieces, `UNKNOWN` where the tissue's own labels hold.
    """
    shape = (tissue.labels.shape[0], tissue.labels.shape[1])
    signal = np.zeros(shape, np.float32)
    said = np.full(shape, UNKNOWN, np.uint8)
    rows, columns = _places(rng, tissue, debris, pixel_size_um)
    round_ones = 0
    if tissue.seeding is not None:
        area_mm2 = shape[0] * shape[1] * (pixel_size_um * 1e-3) ** 2
        round_ones = min(int(rng.poisson(tissue.seeding.rounded_per_mm2 * area_mm2)), 800)
        rows = np.append(rows, rng.uniform(0, shape[0], round_ones))
        columns = np.append(columns, rng.uniform(0, shape[1], round_ones))
    count = len(rows)
    radius_um = debris.dead_um * np.exp(rng.normal(0, 0.22, count))
    radius_um *= np.where(rng.random(count) < 0.02, rng.uniform(1.5, 3.5, count), 1.0)
    living = np.arange(count) >= count - round_ones
    radius_um = np.where(living, rng.uniform(5, 8, count), radius_um)
    dark = rng.random(count) < (debris.pigmented if bright else 0.88)
    strength = np.exp(rng.normal(0, 0.3, count)) * np.where(dark, -1, 1)
    above = (rng.random(count) < debris.above) & ~living
    over = np.zeros(shape, np.float32)
    shape_of = _Shape(
        core=debris.strength,
        ring=rng.uniform(0.15, 0.5) * debris.strength,
        halo=rng.uniform(0.1, 0.4) * debris.strength,
        pupil=rng.uniform(0, 1.3) * debris.strength,
    )
    for i in range(count):
        target = over if above[i] else signal
        place = (float(rows[i]), float(columns[i]))
        _stamp(target, place, float(radius_um[i]) / pixel_size_um, float(strength[i]), shape_of)
    if above.any():
        signal += blurred(over, debris.dead_um * rng.uniform(0.4, 1.6) / pixel_size_um)
    if round_ones:
        spots = np.zeros(shape, bool)
        spots[rows[living].astype(int), columns[living].astype(int)] = True
        free = tissue.labels == 0
        said[(distance_to(spots) <= 11 / pixel_size_um) & free] = NOT_DIFFERENTIATED
    if debris.pieces_per_mm2 > 0:
        pieces = _pieces(rng, shape, debris, pixel_size_um)
        if pieces.any():
            signal = _with_pieces(rng, signal, pieces, pixel_size_um, bright=bright)
            said[distance_to(pieces) <= 8 / pixel_size_um] = NOT_DIFFERENTIATED
            said[distance_to(~pieces) > 4 / pixel_size_um] = CellClass.BACKGROUND
    return signal, said


def _places(
    rng: np.random.Generator, tissue: Tissue, debris: Debris, pixel_size_um: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(rows, columns) of the dead cells."""
    shape = (tissue.labels.shape[0], tissue.labels.shape[1])
    area_mm2 = shape[0] * shape[1] * (pixel_size_um * 1e-3) ** 2
    expected = debris.dead_per_mm2 * area_mm2 * max(1.0, debris.on_cells)
    count = min(int(rng.poisson(expected)), MOST_CELLS)
    places = rng.uniform(0, 1, (count, 2)) * np.array(shape)
    if count > 6:
        followers = rng.random(count) < debris.heaped
        leaders = rng.integers(0, max(1, round(count / debris.heap_cells)), count)
        step = debris.dead_um * rng.uniform(0.7, 1.6) * math.sqrt(debris.heap_cells) / pixel_size_um
        near = places[leaders] + rng.normal(0, step, (count, 2))
        places = np.where(followers[:, None], near, places)
    if debris.carpet_share > 0:
        size = math.sqrt(shape[0] * shape[1])
        patch = noise_patch(rng, shape, size * rng.uniform(0.1, 0.4), debris.carpet_share)
        if chance(rng, 0.5):
            # What differentiates sheds cells, and they stay where they came off.
            turned = tissue.labels == CellClass.DIFFERENTIATED
            patch = patch | turned if chance(rng, 0.5) else turned
        more = min(int(rng.poisson(debris.carpet_per_mm2 * area_mm2)), MOST_CELLS)
        carpet = rng.uniform(0, 1, (more, 2)) * np.array(shape)
        inside = patch[carpet[:, 0].astype(int), carpet[:, 1].astype(int)]
        carpet = carpet[inside]
    else:
        carpet = np.zeros((0, 2))
    places = np.clip(places, 0, np.array(shape) - 1)
    on_cells = tissue.labels[places[:, 0].astype(int), places[:, 1].astype(int)] > 0
    weight = np.where(on_cells, debris.on_cells, 1.0) / max(1.0, debris.on_cells)
    kept = np.concatenate([places[rng.random(count) < weight], carpet])
    return kept[:, 0], kept[:, 1]


@dataclass(frozen=True)
class _Shape:
    """How bright the parts of a round cell are: disc, dark ring, outer halo, dark middle."""

    core: float
    ring: float
    halo: float
    pupil: float


def _stamp(
    signal: FloatImage, place: tuple[float, float], radius: float, strength: float, shape: _Shape
) -> None:
    """Add a round cell of that radius in pixels, in place."""
    reach = int(2.4 * radius) + 2
    row, column = int(place[0]), int(place[1])
    top, left = max(0, row - reach), max(0, column - reach)
    bottom, right = min(signal.shape[0], row + reach + 1), min(signal.shape[1], column + reach + 1)
    down = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(place[0])
    along = np.arange(left, right, dtype=np.float32)[None, :] - np.float32(place[1])
    squared = (down * down + along * along) / np.float32(radius * radius)
    u = np.sqrt(squared)
    profile = shape.core * np.exp(-(squared * squared))
    profile -= shape.ring * np.exp(-(((u - 1.25) / 0.25) ** 2))
    profile += shape.halo * np.exp(-(((u - 1.75) / 0.35) ** 2))
    profile -= shape.pupil * np.exp(-squared / 0.16)
    signal[top:bottom, left:right] += np.float32(strength) * profile


def _pieces(
    rng: np.random.Generator, shape: tuple[int, int], debris: Debris, pixel_size_um: float
) -> Mask:
    area_mm2 = shape[0] * shape[1] * (pixel_size_um * 1e-3) ** 2
    outlines = []
    for _ in range(min(int(rng.poisson(debris.pieces_per_mm2 * area_mm2)), 60)):
        radius = debris.piece_um * float(np.exp(rng.normal(0, 0.4)))
        one = draw_colony_shape(rng, rough=rng.uniform(0.5, 1.3), typical_um=radius)
        centre = rng.uniform(0, 1, 2) * np.array(shape) * pixel_size_um
        outlines.append(one.outline((float(centre[0]), float(centre[1])), radius) / pixel_size_um)
    return filled(shape, outlines) if outlines else np.zeros(shape, bool)


def _with_pieces(
    rng: np.random.Generator,
    signal: FloatImage,
    pieces: Mask,
    pixel_size_um: float,
    *,
    bright: bool,
) -> FloatImage:
    """The signal with pieces of tissue over it: a shining border, a speckled middle."""
    shape = (pieces.shape[0], pieces.shape[1])
    outward = distance_to(pieces) * np.float32(pixel_size_um)
    inward = distance_to(~pieces) * np.float32(pixel_size_um)
    sign = 1.0 if bright else float(rng.choice([-1.0, 1.0]))
    border = sign * log_uniform(rng, 1.5, 6)
    speckle = smooth_noise(rng, shape, max(1.0, rng.uniform(2, 5) / pixel_size_um))
    middle = rng.normal(0, 0.8) + rng.uniform(0.6, 2.0) * speckle
    inside = border * np.exp(-inward / np.float32(rng.uniform(3, 9))) + middle
    outside = border * np.exp(-outward / np.float32(rng.uniform(3, 9)))
    return cast(FloatImage, np.where(pieces, inside, signal + outside).astype(np.float32))
