"""Virtual dishes that grow over days, and the captures that an imager writes of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast

import cv2
import numpy as np
import tifffile

from model.simulation.cells import Culture, draw_culture, grown
from model.simulation.debris import calm_debris
from model.simulation.drawing import (
    Layout,
    Modality,
    distance_to,
    filled,
    log_uniform,
    smooth_noise,
)
from model.simulation.fields import Fractions, SimulatedField, check
from model.simulation.layout import ColonyShape, draw_colony_shape
from model.simulation.optics import Optics, draw_optics, photograph

# The same colonies over days


@dataclass(frozen=True)
class _Seedling:
    """One colony of a virtual dish. Places are um from the middle of the field."""

    row_um: float
    column_um: float
    start_um: float
    doubling: float
    shape: ColonyShape

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
        check(self.seed, (64, 64), None, self.modality)
        if not self.name or Path(self.name).name != self.name or self.name.startswith("."):
            raise ValueError(
                f"dish name {self.name!r} is not a valid folder name; give one like 'dish-01'"
            )

    def field(
        self, hours: float, *, shape: tuple[int, int] = (768, 768), pixel_size_um: float = 2.0
    ) -> SimulatedField:
        """The field of view `hours` (at least 0) after seeding; the same for the same arguments.

        Raises ValueError for hours below 0 and for what `simulate_field` refuses.
        """
        check(self.seed, shape, pixel_size_um, self.modality)
        if hours < 0:
            raise ValueError(f"{self.name}: {hours} hours is before the dish was seeded; give >= 0")
        look = np.random.default_rng([self.seed, 1])
        optics = _calm_optics(look, self.modality)
        culture = _calm_culture(look)
        layout = self._layout(hours, shape, pixel_size_um)
        cells = np.random.default_rng([self.seed, 3])
        tissue = grown(cells, layout, culture, pixel_size_um, 0.15 * hours)
        passing = np.random.default_rng([self.seed, 5, round(hours * 3600)])
        optics = replace(
            optics,
            background=optics.background * float(np.clip(passing.normal(1, 0.015), 0.95, 1.05)),
            blur_px=optics.blur_px + abs(float(passing.normal(0, 0.12))),
        )
        image, labels = photograph(
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
                        draw_colony_shape(
                            rng, rough=rng.uniform(0.3, 0.8), typical_um=1.6 * self.colony_radius_um
                        ),
                    )
                )
            if len(colonies) == wanted:
                break
        return colonies

    def _layout(self, hours: float, shape: tuple[int, int], pixel_size_um: float) -> Layout:
        colonies = self._colonies()
        middle = np.array([(shape[0] - 1) / 2, (shape[1] - 1) / 2])
        outlines = [
            c.shape.outline((c.row_um, c.column_um), c.radius_um(hours, self.doubling_h), hours)
            / pixel_size_um
            + middle
            for c in colonies
        ]
        colony = filled(shape, outlines)
        density = np.zeros(shape, np.float32)
        if self.onset_h is None or hours <= self.onset_h:
            return Layout(colony, density)
        rng = np.random.default_rng([self.seed, 6])
        ripple = 1 + 0.22 * smooth_noise(rng, shape, 90 / pixel_size_um)
        outside = distance_to(colony) * np.float32(pixel_size_um)
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
        return Layout(colony & (density == 0), density)


def _calm_optics(rng: np.random.Generator, modality: Modality) -> Optics:
    """One well-kept microscope: the wide draw with its accidents taken out."""
    phase = modality == "phase"
    return replace(
        draw_optics(rng, modality),
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


def _calm_culture(rng: np.random.Generator) -> Culture:
    return replace(
        draw_culture(rng),
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
        packed_quiet=0.0,
        packed_rim=False,
        soft_um=rng.uniform(0.6, 1.2),
        spread_length_um=rng.uniform(50, 75),
        spread_width_um=rng.uniform(15, 22),
        spread_cover=rng.uniform(0.7, 1.1),
        spread_height=rng.uniform(0.7, 1.0),
        cobble_share=0.0,
        clumps=rng.uniform(0.0, 0.5),
        centre_blur_um=0.0,
        centre_tone=0.0,
        plateau=0.0,
        debris_per_mm2=log_uniform(rng, 60, 300),
        matrix=rng.uniform(0.02, 0.06),
        debris=calm_debris(rng),
    )


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
    check(seed, (64, 64), None, modality)
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
