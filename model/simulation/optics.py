"""What the microscope makes of a field: light, focus, grain, litter, dead cells, burnt-in text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from model.classes import UNKNOWN, CellClass
from model.simulation.burnt_in import burn_in
from model.simulation.cells import Culture
from model.simulation.debris import debris_over
from model.simulation.drawing import (
    FloatImage,
    Labels,
    Modality,
    Tissue,
    blurred,
    chance,
    log_uniform,
    root_mean_square,
    smooth_noise,
)


@dataclass(frozen=True)
class Optics:
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
    relief: float
    relief_angle: float
    defocus_um: float
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


def draw_optics(rng: np.random.Generator, modality: Modality) -> Optics:
    phase = modality == "phase"
    contrast = log_uniform(rng, 0.08, 0.42) if phase else log_uniform(rng, 0.022, 0.22)
    return Optics(
        modality=modality,
        fine_um=log_uniform(rng, 1.5, 6.0) if phase else log_uniform(rng, 0.8, 4.5),
        coarse_um=log_uniform(rng, 9, 40) if phase else log_uniform(rng, 5, 20),
        fine=1.0,
        coarse=rng.uniform(0.1, 0.8) if phase else rng.uniform(0.0, 0.35),
        absorption=rng.uniform(-0.2, 0.4) if chance(rng, 0.25) else rng.uniform(-0.06, 0.1),
        sign=-1.0 if chance(rng, 0.06 if phase else 0.15) else 1.0,
        saturation=log_uniform(rng, 1.5, 8),
        stretch=log_uniform(rng, 1.3, 4) if chance(rng, 0.12) else 1.0,
        relief=log_uniform(rng, 0.5, 3) if chance(rng, 0.08) else 0.0,
        relief_angle=rng.uniform(0, 2 * np.pi),
        defocus_um=log_uniform(rng, 1.5, 6) if chance(rng, 0.1) else 0.0,
        contrast=contrast,
        background=rng.uniform(60, 200) if phase else rng.uniform(70, 215),
        shading=rng.uniform(0, 1.0) ** 2 * min(contrast * 1.6, 0.3),
        vignetting=rng.uniform(0, min(4 * contrast, 0.35)) if chance(rng, 0.25) else 0.0,
        dark_side=rng.uniform(0.2, 0.75) if chance(rng, 0.05) else 0.0,
        banding=rng.uniform(0.02, 0.2) if chance(rng, 0.08) else 0.0,
        blur_px=rng.uniform(0.0, 0.8) if chance(rng, 0.85) else rng.uniform(0.8, 1.8),
        noise=log_uniform(rng, 0.03, 0.4),
        gamma=log_uniform(rng, 0.7, 1.4),
        dust=int(rng.integers(1, 9)) if chance(rng, 0.35) else 0,
        rings=int(rng.integers(1, 12)) if chance(rng, 0.3) else 0,
        scratches=int(rng.integers(1, 4)) if chance(rng, 0.08) else 0,
        tile_px=int(rng.integers(120, 420)) if chance(rng, 0.1) else 0,
        tile_gain=rng.uniform(0.1, 1.0) * min(contrast, 0.1),
        well=chance(rng, 0.06),
        bar=chance(rng, 0.12),
        jpeg_quality=(
            int(rng.integers(90 if contrast < 0.05 else 80 if contrast < 0.12 else 60, 97))
            if chance(rng, 0.3)
            else 0
        ),
        resample=rng.uniform(0.5, 0.95) if chance(rng, 0.15) else 1.0,
        bits=16 if chance(rng, 0.15) else 8,
    )


# From thickness to grey levels


def _litter(
    rng: np.random.Generator, shape: tuple[int, int], culture: Culture, pixel_size_um: float
) -> FloatImage:
    """Thickness of what lies about: the coating of the dish, debris, fibres."""
    layer = culture.matrix * (
        smooth_noise(rng, shape, max(1.0, 3.0 / pixel_size_um))
        + 0.6 * smooth_noise(rng, shape, max(1.5, 8.0 / pixel_size_um))
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
        layer += blurred(points, sigma) * np.float32(min(2 * np.pi * sigma**2, 12) * 0.9)
    return layer.astype(np.float32)


def _transmit(thickness: FloatImage, optics: Optics, pixel_size_um: float) -> FloatImage:
    """Relative signal (background 0) that the optics make of a thickness."""
    fine_px = max(optics.fine_um / pixel_size_um, 0.6)
    coarse_px = max(optics.coarse_um / pixel_size_um, 1.5)
    near = blurred(thickness, fine_px, optics.stretch)
    far = blurred(thickness, coarse_px)
    signal = optics.fine * (near - thickness) + optics.coarse * (far - thickness)
    signal -= optics.absorption * near
    if optics.relief:
        # Oblique light and differential interference show slopes: bright on one side, dark on
        # the other.
        down, along = np.gradient(near)
        slope = math.cos(optics.relief_angle) * along + math.sin(optics.relief_angle) * down
        signal += optics.relief * slope * np.float32(fine_px)
    return (optics.sign * signal).astype(np.float32)


def _light(rng: np.random.Generator, shape: tuple[int, int], optics: Optics) -> FloatImage:
    """(H, W) relative brightness of the empty field."""
    size = math.sqrt(shape[0] * shape[1])
    down = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    along = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :]
    angle = rng.uniform(0, 2 * np.pi)
    slope = (math.cos(angle) * along + math.sin(angle) * down).astype(np.float32)
    light = 1 + optics.shading * (
        rng.uniform(-1, 1) * slope + 0.2 * smooth_noise(rng, shape, size * 0.5)
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
    rng: np.random.Generator, shape: tuple[int, int], optics: Optics, pixel_size_um: float
) -> FloatImage:
    """Signal of dust out of focus, rings of floating cells out of focus, scratches."""
    signal = np.zeros(shape, np.float32)
    size = math.sqrt(shape[0] * shape[1])
    for _ in range(optics.dust):
        spot = np.zeros(shape, np.float32)
        radius = rng.uniform(0.008, 0.05) * size
        centre = (int(rng.uniform(0, shape[1])), int(rng.uniform(0, shape[0])))
        cv2.circle(spot, centre, max(1, int(radius)), 1.0, -1)
        signal += blurred(spot, max(1.0, radius * rng.uniform(0.3, 0.8))) * np.float32(
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
        signal += blurred(spot, max(0.6, 1.5 / pixel_size_um)) * np.float32(rng.uniform(-2, 2))
    for _ in range(optics.scratches):
        start = (int(rng.uniform(0, shape[1])), int(rng.uniform(0, shape[0])))
        angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 1.2) * size
        end = (
            int(start[0] + length * math.cos(angle)),
            int(start[1] + length * math.sin(angle)),
        )
        scratch = np.zeros(shape, np.float32)
        cv2.line(scratch, start, end, float(rng.uniform(-3, 3)), int(rng.integers(1, 3)))
        signal += blurred(scratch, rng.uniform(0.4, 1.5))
    return signal


def photograph(
    steady: np.random.Generator,
    passing: np.random.Generator,
    tissue: Tissue,
    culture: Culture,
    optics: Optics,
    pixel_size_um: float,
) -> tuple[npt.NDArray[np.uint8] | npt.NDArray[np.uint16], Labels]:
    """Grey levels and final label map.

    steady : draws what stays from scan to scan: light, debris, dust
    passing : draws what does not: floating cells, noise
    """
    # In one piece: the order in which chance is drawn makes the picture of a seed.
    labels = tissue.labels.copy()
    shape = (labels.shape[0], labels.shape[1])
    background = labels == CellClass.BACKGROUND
    litter = _litter(steady, shape, culture, pixel_size_um)
    litter *= np.where(background, np.float32(1), np.float32(0.3))
    signal = _transmit(tissue.thickness, optics, pixel_size_um)
    cells = signal[~background]
    strength = max(root_mean_square(cells), 0.05) if cells.size > 500 else 0.3
    # However flat the cells are, neither noise nor what lies between them may drown them.
    faintest = strength
    for kind in (CellClass.UNDIFFERENTIATED, CellClass.DIFFERENTIATED):
        of_kind = signal[labels == kind]
        if of_kind.size > 500:
            faintest = min(faintest, root_mean_square(of_kind - of_kind.mean()))
    faintest = max(faintest, 0.2 * strength)
    seen = _transmit(litter, optics, pixel_size_um)
    seen *= np.float32(min(1.0, 0.45 * faintest / max(root_mean_square(seen), 1e-6)))
    limit = np.float32(optics.saturation)
    signal = np.tanh((signal + seen) / np.float32(strength) / limit) * limit
    if tissue.tone is not None:
        signal += tissue.tone
    floating, said = debris_over(
        passing, tissue, culture.debris, pixel_size_um, bright=optics.modality == "phase"
    )
    signal += floating
    labels = np.where(said == UNKNOWN, labels, said)
    signal += _blemishes(steady, shape, optics, pixel_size_um)
    signal = blurred(signal, optics.blur_px + optics.defocus_um / pixel_size_um)

    light = _light(steady, shape, optics)
    grain = passing.standard_normal(shape, dtype=np.float32)
    if chance(steady, 0.3):
        grain = blurred(grain, 0.7) * np.float32(2.2)
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
        # By chance of its own: what is drawn after it is the same as without it.
        burn_in(np.random.default_rng(int(steady.integers(2**62))), image, labels, pixel_size_um)
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
