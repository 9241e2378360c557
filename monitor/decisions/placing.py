"""Where the regions of a dish lie on the stage, and whether they may lie there. Pure rules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from shapely import make_valid
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from monitor.config import SourceSettings
from monitor.culture import (
    Aim,
    Calibration,
    Colony,
    FieldMeasurement,
    Hit,
    Region,
    ScanField,
    StagePosition,
    Target,
    Targeting,
)
from monitor.errors import CalibrationError
from monitor.stage.calibration import why_other_pixels
from monitor.stage.frames import Affine, image_to_stage, stage_to_image
from monitor.stage.vessels import Vessel

# Wells differ a little from their drawing. What lies farther outside proves a wrong coordinate.
_WALL_TOLERANCE = 0.05


def id_of(field: ScanField, what: Region | Colony) -> str:
    kind = "c" if isinstance(what, Colony) else ""
    return f"{field.capture_sha256[:12]}-{kind}{what.label}"


@dataclass(frozen=True)
class Found:
    target: Target
    outline: BaseGeometry  # in the stage's frame


@dataclass(frozen=True)
class Place:
    """Where the regions of a dish lie, and whether they may lie there."""

    dish: str
    settings: SourceSettings
    calibration: Calibration | None
    picker: Calibration | None
    targeting: Targeting

    def missing(self, measurement: FieldMeasurement) -> str | None:
        """What keeps the regions of a capture from having a place; None where they have one."""
        pixel_size_um = measurement.pixel_size_um
        if pixel_size_um is None:
            return "no pixel size: set the source's pixel_size_um or well_diameter_mm"
        if not (math.isfinite(pixel_size_um) and pixel_size_um > 0):
            return f"a pixel size of {pixel_size_um:g} µm: set the source's pixel_size_um"
        if self.calibration is None:
            return "no calibration: set the source's calibration, or make one (calibrate)"
        if measurement.stage is None:
            return (
                "no stage position in the capture or its name: have the imager write it, or name "
                "it in the source's name pattern"
            )
        return why_other_pixels(self.calibration, self.settings, pixel_size_um)

    def locate(self, field: ScanField, what: Region | Colony, aim: Aim) -> Found | str:
        """A region for which nothing is `missing`, with its hits; or why none may be aimed at.

        Raises CalibrationError where a hit lies so far out that the coordinates must be wrong.
        """
        measurement, calibration = field.measurement, self.calibration
        pixel_size_um, stage = measurement.pixel_size_um, measurement.stage
        assert calibration is not None
        assert pixel_size_um is not None
        assert isinstance(stage, StagePosition)

        on_stage = partial(
            image_to_stage,
            shape=measurement.shape,
            pixel_size_um=pixel_size_um,
            pixel_to_stage=calibration.pixel_to_stage,
            centre=stage,
        )

        # Simplifying an outline can let it cross itself.
        holes = [on_stage(hole) for hole in aim.holes]
        outline = make_valid(Polygon(on_stage(aim.polygon), holes))
        region_id = id_of(field, what)
        points = [(point.row, point.column) for point in aim.points]
        laid = [
            Hit(
                order=0,
                pick_px=(point.row, point.column),
                pick_x_um=x_um,
                pick_y_um=y_um,
                pick_z_um=stage.z_um,
                clearance_um=point.clearance_px * pixel_size_um,
            )
            for point, (x_um, y_um) in zip(aim.points, on_stage(points).tolist(), strict=True)
        ]
        hits, outside = self._allowed(self._on_whole_steps(laid, measurement), region_id)
        if not hits:
            return outside or "nowhere to aim at"
        middle = Polygon(aim.polygon, aim.holes).centroid
        target = Target(
            region_id=region_id,
            capture_sha256=field.capture_sha256,
            acquired_at=measurement.acquired_at,
            area_um2=what.area_px * pixel_size_um**2,
            mean_probability=aim.mean_probability,
            inscribed_radius_um=aim.inscribed_radius_px * pixel_size_um,
            centroid_px=(float(middle.x), float(middle.y)),
            polygon_px=aim.polygon,
            hits=tuple(hits),
            uncertainty=aim.uncertainty,
            removable_um2=aim.removable_px * pixel_size_um**2,
            whole_colony=aim.whole_colony,
            holes_px=aim.holes,
        )
        return Found(target, outline)

    def _allowed(self, hits: Sequence[Hit], region_id: str) -> tuple[list[Hit], str]:
        """The hits that may be aimed at, in all frames, and why the last of the others may not."""
        allowed, outside = [], ""
        for hit in hits:
            placed = self._in_other_frames(hit)
            why = self.outside(placed, region_id)
            if why is None:
                allowed.append(placed)
            else:
                outside = why
        return allowed, outside

    def _on_whole_steps(self, hits: Sequence[Hit], measurement: FieldMeasurement) -> list[Hit]:
        """The hits moved to the nearest place that the picker can go to, in its own frame where it
        has one, else on the stage; all steps count from 0.

        The hits were laid with room for that (`Targeting.clearance_um`). One that would have to be
        moved farther is left out, and so is one that falls on another.
        """
        step_um = self.targeting.step_um
        if not step_um or not hits:
            return list(hits)
        assert self.calibration is not None
        assert measurement.pixel_size_um is not None
        assert measurement.stage is not None
        to_picker = None if self.picker is None else Affine(self.picker.matrix)
        places = np.array([(hit.pick_x_um, hit.pick_y_um) for hit in hits])
        theirs = places if to_picker is None else to_picker.apply(places)
        snapped = np.round(theirs / step_um) * step_um
        on_stage = snapped if to_picker is None else to_picker.inverse().apply(snapped)
        pixels = stage_to_image(
            on_stage,
            shape=measurement.shape,
            pixel_size_um=measurement.pixel_size_um,
            pixel_to_stage=self.calibration.pixel_to_stage,
            centre=measurement.stage,
        )
        moved: dict[tuple[float, float], Hit] = {}
        for hit, place, (x_um, y_um), (row, column), key in zip(
            hits, places, on_stage.tolist(), pixels.tolist(), snapped.tolist(), strict=True
        ):
            snap_um = float(math.hypot(x_um - place[0], y_um - place[1]))
            if snap_um > self.targeting.snap_um + 1e-6:
                continue
            one = replace(
                hit,
                pick_px=(row, column),
                pick_x_um=x_um,
                pick_y_um=y_um,
                clearance_um=max(0.0, hit.clearance_um - snap_um),
                snap_um=snap_um,
            )
            moved.setdefault((key[0], key[1]), one)
        return list(moved.values())

    def _in_other_frames(self, hit: Hit) -> Hit:
        x_um, y_um = hit.pick_x_um, hit.pick_y_um
        if self.picker is not None:
            ((picker_x, picker_y),) = Affine(self.picker.matrix).apply([(x_um, y_um)]).tolist()
            hit = replace(hit, picker_x_um=picker_x, picker_y_um=picker_y)
        if self.settings.vessel is not None:
            try:
                well_x, well_y = Vessel(self.settings.vessel).offset_um(self.dish, x_um, y_um)
            except ValueError as problem:
                raise CalibrationError(f"{self.dish}: no removal plan: {problem}") from problem
            hit = replace(hit, well_x_um=well_x, well_y_um=well_y)
        return hit

    def outside(self, hit: Hit, region_id: str) -> str | None:
        """Why a hit must not be aimed at where it lies; None where it may.

        Raises CalibrationError where it lies so far out that the coordinates must be wrong.
        """
        x_um, y_um = hit.pick_x_um, hit.pick_y_um
        limits = self.settings.stage_limits_um
        if limits is not None and not limits.hold(x_um, y_um):
            return (
                f"a place (x {x_um:.0f}, y {y_um:.0f} µm) outside the stage limits: check the "
                "calibration, the stage positions of the captures, and stage_limits_um"
            )
        if self.settings.vessel is None:
            return None
        vessel = Vessel(self.settings.vessel)
        assert hit.well_x_um is not None
        assert hit.well_y_um is not None
        offset = hit.well_x_um, hit.well_y_um
        if vessel.holds(offset):
            return None
        if vessel.holds(offset, -_WALL_TOLERANCE * vessel.diameter_um / 2):
            return "a place on the wall of the vessel"
        raise CalibrationError(
            f"{self.dish}: no removal plan: region {region_id} comes out "
            f"{math.hypot(*offset) / 1000:.1f} mm from the centre of a vessel of "
            f"{vessel.diameter_um / 1000:g} mm; check the calibration (swapped axes? mm instead "
            f"of um?), "
            "the stage positions of the captures, and the source's vessel"
        )
