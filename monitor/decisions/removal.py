"""Which regions of a dish are worth removing, and in what order. Pure rules.

A plan names where to aim in the stage's frame. Where that cannot be said for certain, it is not
said at all.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from shapely import contains_xy, make_valid
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from monitor.calibration import why_other_pixels
from monitor.config import RemovalConfig, SourceSettings
from monitor.culture import (
    Calibration,
    FieldMeasurement,
    Hit,
    PlanStatus,
    Reading,
    Region,
    RemovalPlan,
    StagePosition,
    Target,
)
from monitor.errors import CalibrationError
from monitor.geometry import Affine, image_to_stage
from monitor.vessels import Vessel

_MAX_SWEEPS = 40
# Wells differ a little from their drawing. What lies farther outside proves a wrong coordinate.
_WALL_TOLERANCE = 0.05


@dataclass(frozen=True)
class MeasuredField:
    """One capture of the reading and what was measured in it."""

    capture_sha256: str
    measurement: FieldMeasurement


def plan_removal(
    plan_id: str,
    reading: Reading,
    fields: Sequence[MeasuredField],
    calibration: Calibration | None,
    limits: RemovalConfig,
    now: datetime,
    *,
    settings: SourceSettings | None = None,
    picker: Calibration | None = None,
) -> RemovalPlan | None:
    """A plan for every region that is large, thick and certain enough; None if there is none.

    Cells move: a plan is good for `expires_h` after its scan. A scan that is older by now, as in a
    backfill, makes none.

    fields : the captures that `reading` is made of
    calibration : how the camera of the dish's source stands on the stage
    settings : of the source: its vessel, the limits of its stage, its binning
    picker : how the picker's frame lies on the stage, where it has one of its own

    Regions that are refused, or that a neighbouring field shows again, are counted in `left_out`.

    Raises CalibrationError where regions qualify and no stage position can be given for any, and
    where one comes out so far outside its vessel that the coordinates must be wrong.
    """
    expires_at = reading.at + timedelta(hours=limits.expires_h)
    if expires_at <= now:
        return None
    place = _Place(reading.dish, settings or SourceSettings(), calibration, picker)
    refused: Counter[str] = Counter()
    homeless: Counter[str] = Counter()
    found: list[_Found] = []
    for field in fields:
        for region in field.measurement.regions:
            reason = _reason_to_refuse(region, field.measurement.pixel_size_um, limits)
            if reason is not None:
                refused[reason] += 1
                continue
            missing = place.missing(field.measurement)
            if missing is not None:
                homeless[missing] += 1
                continue
            one = place.locate(field, region)
            outside = place.outside(one.target)
            if outside is not None:
                homeless[outside] += 1
                continue
            found.append(one)
    if not found:
        if homeless:
            raise CalibrationError(_no_place(reading.dish, homeless))
        return None
    assert calibration is not None
    kept, repeated = _without_repeats(found)
    targets = _in_order([item.target for item in kept])
    by_rule = limits.approval == "rule"
    return RemovalPlan(
        id=plan_id,
        dish=reading.dish,
        reading_id=reading.id,
        status=PlanStatus.APPROVED if by_rule else PlanStatus.DRAFT,
        created_at=now,
        expires_at=expires_at,
        model_sha256=reading.model_sha256,
        settings_sha256=reading.settings_sha256,
        calibration_id=calibration.id,
        picker_calibration_id=None if picker is None else picker.id,
        targets=targets,
        left_out=_left_out(refused, homeless, repeated),
        approved_by="rule" if by_rule else None,
        approved_at=now if by_rule else None,
    )


def _in_order(targets: Sequence[Target]) -> tuple[Target, ...]:
    """The same targets, their hits numbered along a short path over all of them."""
    hits = [(number, hit) for number, target in enumerate(targets) for hit in target.hits]
    points = np.array([[hit.pick_x_um, hit.pick_y_um] for _, hit in hits])
    numbered: dict[int, list[Hit]] = {}
    for order, index in enumerate(short_tour(points), start=1):
        number, hit = hits[index]
        numbered.setdefault(number, []).append(replace(hit, order=order))
    return tuple(replace(targets[number], hits=tuple(own)) for number, own in numbered.items())


def short_tour(points: NDArray[np.float64]) -> tuple[int, ...]:
    """Order in which to visit `points` on a short open path, each once.

    points : (N, 2) in um
    Nearest neighbour from the point of smallest x + y, then exchanges of two edges (2-opt, Croes
    1958) until none helps.
    """
    count = len(points)
    if count == 0:
        return ()
    away = np.hypot(*(points[:, None, :] - points[None, :, :]).transpose(2, 0, 1))
    tour = [int(np.argmin(points.sum(axis=1)))]
    left = np.ones(count, bool)
    left[tour[0]] = False
    while left.any():
        tour.append(int(np.argmin(np.where(left, away[tour[-1]], np.inf))))
        left[tour[-1]] = False
    order = np.array(tour)
    for _ in range(_MAX_SWEEPS):
        if not _uncross(order, away):
            break
    return tuple(int(index) for index in order)


def _uncross(order: NDArray[np.intp], away: NDArray[np.float64]) -> bool:
    """One sweep of reversals of a stretch of the path, in place. True if the path got shorter."""
    count, better = len(order), False
    for start in range(count - 1):
        # Reverse order[start .. end]: its first edge and, unless it ends the path, its last change.
        ends = np.arange(start + 1, count)
        after = np.minimum(ends + 1, count - 1)
        change = np.where(
            ends + 1 < count,
            away[order[start], order[after]] - away[order[ends], order[after]],
            0.0,
        )
        if start:
            before = order[start - 1]
            change = change + away[before, order[ends]] - away[before, order[start]]
        best = int(np.argmin(change))
        if change[best] < -1e-9:
            stop = int(ends[best]) + 1
            order[start:stop] = order[start:stop][::-1].copy()
            better = True
    return better


def _reason_to_refuse(
    region: Region, pixel_size_um: float | None, limits: RemovalConfig
) -> str | None:
    if not _has_a_size(region):
        return "without a size or an outline"
    if region.mean_probability < limits.min_probability:
        return f"too uncertain (probability below {limits.min_probability:g})"
    if pixel_size_um is None or not pixel_size_um > 0:
        return None
    if region.area_px * pixel_size_um**2 < limits.min_region_um2:
        return f"too small (below {limits.min_region_um2:g} µm²)"
    if region.inscribed_radius_px * pixel_size_um < limits.min_inscribed_radius_um:
        return f"too thin (inscribed radius below {limits.min_inscribed_radius_um:g} µm)"
    return None


def _has_a_size(region: Region) -> bool:
    numbers = (region.area_px, region.inscribed_radius_px, *region.pick_point)
    return (
        all(math.isfinite(number) for number in numbers)
        and region.area_px > 0
        and region.inscribed_radius_px > 0
        and len(region.polygon) >= 3
        and bool(np.isfinite(region.polygon).all())
    )


def _no_place(dish: str, homeless: Counter[str]) -> str:
    reasons = "; ".join(
        f"{_counted(number, 'differentiated region')} with {missing}"
        for missing, number in homeless.most_common()
    )
    return f"{dish}: no removal plan, since no stage coordinates can be given: {reasons}"


def _left_out(refused: Counter[str], homeless: Counter[str], repeated: int) -> tuple[str, ...]:
    sentences = [
        f"{_counted(number, 'region')} {'is' if number == 1 else 'are'} {reason}."
        for reason, number in refused.most_common()
    ]
    sentences += [
        f"{_counted(number, 'region')} cannot be placed on the stage, {missing}."
        for missing, number in homeless.most_common()
    ]
    if repeated:
        sentences.append(
            f"{_counted(repeated, 'region')} {'is' if repeated == 1 else 'are'} aimed at already "
            "in an overlapping field."
        )
    return tuple(sentences)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


@dataclass(frozen=True)
class _Found:
    target: Target
    outline: BaseGeometry  # in the stage's frame


@dataclass(frozen=True)
class _Place:
    """Where the regions of a dish lie, and whether they may lie there."""

    dish: str
    settings: SourceSettings
    calibration: Calibration | None
    picker: Calibration | None

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

    def locate(self, field: MeasuredField, region: Region) -> _Found:
        """A region for which nothing is `missing`."""
        measurement, calibration = field.measurement, self.calibration
        pixel_size_um, stage = measurement.pixel_size_um, measurement.stage
        assert calibration is not None
        assert pixel_size_um is not None
        assert isinstance(stage, StagePosition)
        # Simplifying an outline can let it cross itself.
        outline = make_valid(
            Polygon(
                image_to_stage(
                    region.polygon,
                    shape=measurement.shape,
                    pixel_size_um=pixel_size_um,
                    pixel_to_stage=calibration.pixel_to_stage,
                    centre=stage,
                )
            )
        )
        ((x_um, y_um),) = image_to_stage(
            [region.pick_point],
            shape=measurement.shape,
            pixel_size_um=pixel_size_um,
            pixel_to_stage=calibration.pixel_to_stage,
            centre=stage,
        ).tolist()
        middle = Polygon(region.polygon).centroid
        target = Target(
            region_id=f"{field.capture_sha256[:12]}-{region.label}",
            capture_sha256=field.capture_sha256,
            acquired_at=measurement.acquired_at,
            area_um2=region.area_px * pixel_size_um**2,
            mean_probability=region.mean_probability,
            inscribed_radius_um=region.inscribed_radius_px * pixel_size_um,
            centroid_px=(float(middle.x), float(middle.y)),
            polygon_px=region.polygon,
            hits=(
                self._in_other_frames(
                    Hit(
                        order=0,
                        pick_px=region.pick_point,
                        pick_x_um=x_um,
                        pick_y_um=y_um,
                        pick_z_um=stage.z_um,
                        clearance_um=region.inscribed_radius_px * pixel_size_um,
                    )
                ),
            ),
        )
        return _Found(target, outline)

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

    def outside(self, target: Target) -> str | None:
        """Why a target must not be aimed at where it lies; None where it may.

        Raises CalibrationError where it lies so far out that the coordinates must be wrong.
        """
        hit = target.hits[0]
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
            f"{self.dish}: no removal plan: region {target.region_id} comes out "
            f"{math.hypot(*offset) / 1000:.1f} mm from the centre of a vessel of "
            f"{vessel.diameter_um / 1000:g} mm; check the calibration (swapped axes? mm for um?), "
            "the stage positions of the captures, and the source's vessel"
        )


def _without_repeats(found: Sequence[_Found]) -> tuple[list[_Found], int]:
    """Fields may overlap on the stage; the larger view of a region is the one to aim by."""
    kept: list[_Found] = []
    for item in sorted(found, key=lambda one: -one.target.area_um2):
        hit = item.target.hits[0]
        x_um, y_um = hit.pick_x_um, hit.pick_y_um
        seen = any(
            other.target.capture_sha256 != item.target.capture_sha256
            and _in_box(other.outline, x_um, y_um)
            and contains_xy(other.outline, x_um, y_um)
            for other in kept
        )
        if not seen:
            kept.append(item)
    return kept, len(found) - len(kept)


def _in_box(outline: BaseGeometry, x: float, y: float) -> bool:
    left, low, right, high = outline.bounds
    return bool(left <= x <= right and low <= y <= high)
