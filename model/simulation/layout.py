"""Where colonies lie in a field, which shapes they have, and where they differentiate."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from model.simulation.drawing import (
    FloatImage,
    Layout,
    Mask,
    Seeding,
    chance,
    distance_to,
    filled,
    log_uniform,
    noise_patch,
    opened,
    smooth_noise,
)


@dataclass(frozen=True)
class ColonyShape:
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


def draw_colony_shape(rng: np.random.Generator, *, rough: float, typical_um: float) -> ColonyShape:
    orders = np.arange(2, 9)
    amplitudes = rough * 0.32 * rng.standard_normal(len(orders)) / orders**0.9
    return ColonyShape(
        harmonics=tuple(
            (float(a), float(rng.uniform(0, 2 * np.pi)), float(rng.normal(0, 0.012)))
            for a in amplitudes
        ),
        elongation=float(np.exp(abs(rng.normal(0, 0.35)) * min(1.0, rough + 0.3))),
        angle=float(rng.uniform(0, np.pi)),
        spikes_um=float(rng.uniform(0, 30)) if chance(rng, 0.75) else 0.0,
        spike_count=max(3, round(2 * np.pi * typical_um / log_uniform(rng, 25, 100))),
        spike_phases=tuple(float(p) for p in rng.uniform(0, 2 * np.pi, 7)),
    )


def _draw_colonies(rng: np.random.Generator, shape: tuple[int, int], pixel_size_um: float) -> Mask:
    extent_um = math.sqrt(shape[0] * shape[1]) * pixel_size_um
    if chance(rng, 0.3):
        scale = float(np.clip(log_uniform(rng, 60, 500), extent_um * 0.05, extent_um * 0.5))
        return noise_patch(rng, shape, scale / pixel_size_um, rng.uniform(0.08, 0.7))
    wanted = rng.uniform(0.08, 0.75)
    typical = float(np.clip(log_uniform(rng, 35, 420), extent_um * 0.04, extent_um * 0.45))
    rough = rng.uniform(0.1, 1.1)
    outlines = []
    area = 0.0
    for _ in range(60):
        radius = typical * float(np.exp(rng.normal(0, 0.45)))
        centre = (
            rng.uniform(-0.08, 1.08) * shape[0] * pixel_size_um,
            rng.uniform(-0.08, 1.08) * shape[1] * pixel_size_um,
        )
        colony = draw_colony_shape(rng, rough=rough, typical_um=radius)
        outlines.append(colony.outline(centre, radius) / pixel_size_um)
        area += math.pi * radius**2
        if area > wanted * extent_um**2:
            break
    return filled(shape, outlines)


def _differentiate(
    rng: np.random.Generator, colony: Mask, pixel_size_um: float
) -> tuple[Mask, FloatImage]:
    """Turn part of the colonies into spread cells: (colony left, density of spread cells)."""
    shape = (colony.shape[0], colony.shape[1])
    density = np.zeros(shape, np.float32)
    size = math.sqrt(shape[0] * shape[1])
    kind = rng.choice(["part", "part", "whole", "rim", "rim", "loose", "within", "within"])
    if kind == "within":
        # It begins inside a compact colony: small islands whose cells loosen and flatten.
        scale = log_uniform(rng, 40, 220) / pixel_size_um
        islands = noise_patch(rng, shape, scale, rng.uniform(0.08, 0.45))
        inside = distance_to(~colony) > rng.uniform(5, 40) / pixel_size_um
        density[opened(islands & inside, 12 / pixel_size_um)] = 1.0
    elif kind == "part":
        patch = noise_patch(rng, shape, size * rng.uniform(0.15, 0.5), rng.uniform(0.2, 0.7))
        reach = log_uniform(rng, 10, 200) / pixel_size_um
        density[patch & (distance_to(colony) < reach)] = 1.0
    elif kind == "whole":
        count, components = cv2.connectedComponents(colony.astype(np.uint8))
        chosen = rng.random(count) < rng.uniform(0.3, 1.0)
        chosen[0] = False
        grown = distance_to(cast(Mask, chosen[components])) < rng.uniform(5, 60) / pixel_size_um
        density[grown] = 1.0
    elif kind == "rim":
        reach = log_uniform(rng, 30, 300) / pixel_size_um
        depth = reach * (1 + 0.5 * smooth_noise(rng, shape, size * 0.12))
        ring = (distance_to(colony) < depth) & ~(
            distance_to(~colony) > rng.uniform(-0.2, 0.5) * depth
        )
        if chance(rng, 0.6):
            ring &= noise_patch(rng, shape, size * 0.35, rng.uniform(0.4, 0.9))
        density[ring] = 1.0
    if kind == "loose" or chance(rng, 0.35):
        loose = noise_patch(rng, shape, size * rng.uniform(0.2, 0.6), rng.uniform(0.3, 1.0))
        free = loose & (density == 0) & (distance_to(colony) > 6 / pixel_size_um)
        density[free] = log_uniform(rng, 0.2, 0.9)
    left = colony & ~(density >= 1.0)
    # Slivers of a colony do not survive as a colony.
    return opened(left, rng.uniform(8, 22) / pixel_size_um), density


def _passaged(rng: np.random.Generator, shape: tuple[int, int], pixel_size_um: float) -> Layout:
    """Small clumps and single cells, evenly strewn: what every dish looks like after a passage."""
    area_mm2 = shape[0] * shape[1] * (pixel_size_um * 1e-3) ** 2
    typical = log_uniform(rng, 12, 75)
    outlines = []
    if chance(rng, 0.7):
        cover = log_uniform(rng, 0.01, 0.3)
        count = int(np.clip(cover * area_mm2 / (math.pi * (typical * 1.2e-3) ** 2), 1, 700))
        spikes = rng.uniform(2, 16)
        for _ in range(count):
            radius = typical * float(np.exp(rng.normal(0, 0.45)))
            one = draw_colony_shape(rng, rough=rng.uniform(0.4, 1.2), typical_um=radius)
            one = replace(one, spikes_um=min(spikes, 0.6 * radius) * float(rng.uniform(0.3, 1.3)))
            centre = (
                rng.uniform(-0.03, 1.03) * shape[0] * pixel_size_um,
                rng.uniform(-0.03, 1.03) * shape[1] * pixel_size_um,
            )
            outlines.append(one.outline(centre, radius) / pixel_size_um)
    rounded_only = chance(rng, 0.12)
    seeding = Seeding(
        attached_per_mm2=0.0 if rounded_only else log_uniform(rng, 8, 220),
        gathered=rng.uniform(0.0, 0.85),
        clump_cells=log_uniform(rng, 2, 14),
        length_um=log_uniform(rng, 18, 85),
        rounded_per_mm2=log_uniform(rng, 40 if rounded_only else 4, 400),
    )
    colony = filled(shape, outlines) if outlines and not rounded_only else np.zeros(shape, bool)
    return Layout(colony, np.zeros(shape, np.float32), seeding)


def draw_layout(rng: np.random.Generator, shape: tuple[int, int], pixel_size_um: float) -> Layout:
    kinds = {
        "empty": 0.05,
        "inside": 0.07,
        "spread": 0.13,
        "confluent": 0.1,
        "healthy": 0.21,
        "passaged": 0.12,
        "turning": 0.32,
    }
    kind = rng.choice(list(kinds), p=list(kinds.values()))
    nothing = np.zeros(shape, bool)
    no_spread = np.zeros(shape, np.float32)
    size = math.sqrt(shape[0] * shape[1])
    if kind == "empty":
        return Layout(nothing, no_spread)
    if kind == "inside":
        return Layout(~nothing, no_spread)
    if kind == "spread":
        share = 1.0 if chance(rng, 0.3) else rng.uniform(0.15, 0.9)
        patch = noise_patch(rng, shape, size * rng.uniform(0.1, 0.6), share)
        patch |= share == 1.0
        density = patch.astype(np.float32) * (1.0 if chance(rng, 0.7) else rng.uniform(0.25, 1))
        return Layout(nothing, density.astype(np.float32))
    if kind == "passaged":
        return _passaged(rng, shape, pixel_size_um)
    if kind == "confluent":
        patch = noise_patch(rng, shape, size * rng.uniform(0.2, 0.6), rng.uniform(0.25, 0.75))
        return Layout(~patch, patch.astype(np.float32))
    colony = _draw_colonies(rng, shape, pixel_size_um)
    if kind == "healthy":
        return Layout(colony, no_spread)
    left, density = _differentiate(rng, colony, pixel_size_um)
    return Layout(left, density)
