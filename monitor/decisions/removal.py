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
from shapely import make_valid
from shapely.geometry import Point, Polygon
from shapely.geometry.base import BaseGeometry
from shapely.ops import unary_union

from model.classes import CellClass
from monitor.config import RemovalConfig, SourceSettings
from monitor.culture import (
    Aim,
    Aiming,
    Calibration,
    Colony,
    FieldMeasurement,
    Hit,
    PlanStatus,
    Reading,
    RefusedRegion,
    Region,
    RemovalPlan,
    StagePosition,
    Target,
)
from monitor.errors import CalibrationError
from monitor.stage.calibration import grounds_of, why_other_pixels
from monitor.stage.frames import Affine, image_to_stage, stage_to_image
from monitor.stage.vessels import Vessel

_MAX_SWEEPS = 40
# Wells differ a little from their drawing. What lies farther outside proves a wrong coordinate.
_WALL_TOLERANCE = 0.05


@dataclass(frozen=True)
class MeasuredField:
    """One capture of the reading and what was measured in it."""

    capture_sha256: str
    measurement: FieldMeasurement


@dataclass(frozen=True, eq=False)
class EarlierField:
    """One capture of an earlier scan of the dish, to be looked at again.

    labels : (H, W) uint8, values of CellClass, 255 outside the vessel
    """

    measurement: FieldMeasurement
    labels: NDArray[np.uint8]


Scan = Sequence[EarlierField]


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
    earlier: Sequence[Scan] = (),
) -> RemovalPlan | None:
    """A plan for every region that is large, sure and old enough and that the tool fits into; None
    if there is none.

    Cells move: a plan is good for `expires_h` after its scan. A scan that is older by now, as in a
    backfill, makes none.

    fields : the captures that `reading` is made of
    calibration : how the camera of the dish's source stands on the stage
    settings : of the source: its vessel, the limits of its stage, its binning
    picker : how the picker's frame lies on the stage, where it has one of its own
    earlier : the scans before, newest first, as many as `limits.earlier_scans` asks for or as
        there are

    Regions that are refused are in `refused` with their reasons, and counted in `left_out`.

    Raises CalibrationError where regions qualify and no stage position can be given for any, and
    where one comes out so far outside its vessel that the coordinates must be wrong.
    """
    expires_at = reading.at + timedelta(hours=limits.expires_h)
    if expires_at <= now:
        return None
    place = _Place(reading.dish, settings or SourceSettings(), calibration, picker, limits.aiming)
    refused: list[RefusedRegion] = []
    homeless: Counter[str] = Counter()
    found: list[_Found] = []
    # In an order of their own: captures come in any.
    for field in sorted(fields, key=lambda one: (one.measurement.acquired_at, one.capture_sha256)):
        for region, aim in _aimed(field.measurement):
            reason = _reason_to_refuse(region, aim, field.measurement, limits)
            if reason is not None:
                refused.append(_refusal(field, region, aim, *reason))
                continue
            missing = place.missing(field.measurement)
            if missing is not None:
                homeless[missing] += 1
                continue
            assert aim is not None
            one = place.locate(field, region, aim)
            if isinstance(one, str):
                homeless[one] += 1
                continue
            kept = _persistent(one, place, earlier, limits)
            if isinstance(kept, _Found):
                found.append(kept)
            else:
                refused.append(_refusal(field, region, aim, *kept))
    if not found:
        if homeless:
            raise CalibrationError(_no_place(reading.dish, homeless))
        return None
    assert calibration is not None
    kept_regions, repeated = _without_repeats(found)
    chosen, postponed = _within(kept_regions, limits.max_hits)
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
        targets=_in_order([_with_cover(one.target, limits.aiming) for one in chosen]),
        left_out=_left_out(refused, homeless, repeated, postponed),
        approved_by="rule" if by_rule else None,
        approved_at=now if by_rule else None,
        aiming=limits.aiming,
        refused=tuple(refused),
        grounds=grounds_of(calibration, picker, place.settings),
        covered_um2=_covered_um2([hit for one in chosen for hit in one.target.hits], limits.aiming),
    )


def _aimed(measurement: FieldMeasurement) -> list[tuple[Region | Colony, Aim | None]]:
    """Colonies to be removed whole, and differentiated regions of the others, with their aims."""
    by_label = {(aim.whole_colony, aim.label): aim for aim in measurement.aims}
    whole: list[tuple[Region | Colony, Aim | None]] = [
        (colony, by_label[True, colony.label])
        for colony in measurement.colonies
        if (True, colony.label) in by_label
    ]
    condemned = {one.label for one, _ in whole}
    return whole + [
        (region, by_label.get((False, region.label)))
        for region in measurement.regions
        if region.colony is None or region.colony not in condemned
    ]


_Reason = tuple[str, str]


def _reason_to_refuse(
    what: Region | Colony, aim: Aim | None, measurement: FieldMeasurement, limits: RemovalConfig
) -> _Reason | None:
    """(what kind of reason, the reason with its numbers)"""
    if isinstance(what, Region):
        if not _has_a_size(what):
            return "no size", "without a size or an outline"
        if what.mean_probability < limits.min_probability:
            return "too uncertain", f"too uncertain (probability below {limits.min_probability:g})"
    pixel_size_um = measurement.pixel_size_um
    if pixel_size_um is None or not (math.isfinite(pixel_size_um) and pixel_size_um > 0):
        return None
    if what.area_px * pixel_size_um**2 < limits.min_region_um2:
        return "too small", f"too small (below {limits.min_region_um2:g} µm²)"
    if aim is None or measurement.aiming != limits.aiming:
        return (
            "not aimed at",
            "measured for another tool or with other limits (colonywatch reprocess measures again)",
        )
    if aim.uncertainty > limits.max_uncertainty:
        return "too uncertain", f"too uncertain (uncertainty above {limits.max_uncertainty:g})"
    if aim.refused is not None:
        return aim.refused, aim.refused_text or aim.refused
    return None


def _refusal(
    field: MeasuredField, what: Region | Colony, aim: Aim | None, reason: str, text: str
) -> RefusedRegion:
    pixel_size_um = field.measurement.pixel_size_um
    outlined = aim if aim is not None or isinstance(what, Colony) else what
    return RefusedRegion(
        region_id=_region_id(field, what),
        capture_sha256=field.capture_sha256,
        reason=reason,
        text=text,
        polygon_px=() if outlined is None else outlined.polygon,
        area_um2=None if pixel_size_um is None else what.area_px * pixel_size_um**2,
        holes_px=() if outlined is None else outlined.holes,
    )


def _region_id(field: MeasuredField, what: Region | Colony) -> str:
    kind = "c" if isinstance(what, Colony) else ""
    return f"{field.capture_sha256[:12]}-{kind}{what.label}"


def _has_a_size(region: Region) -> bool:
    numbers = (region.area_px, region.inscribed_radius_px, *region.pick_point)
    return (
        all(math.isfinite(number) for number in numbers)
        and region.area_px > 0
        and region.inscribed_radius_px > 0
        and len(region.polygon) >= 3
        and bool(np.isfinite(region.polygon).all())
    )


# --- was it there before? -----------------------------------------------------------------------


def _persistent(
    found: _Found, place: _Place, earlier: Sequence[Scan], limits: RemovalConfig
) -> _Found | _Reason:
    """The region with those of its hits whose whole place was differentiated in each of the earlier
    scans, or why none of them was.

    A hit is judged by what the tool touches, wherever the picker sets it down; of a colony that is
    removed whole, by its cells of either class.
    """
    wanted = limits.earlier_scans
    if not wanted or (not earlier and limits.trust_first_scan):
        return found
    if len(earlier) < wanted:
        return "not seen before", "not seen before: the dish has too few earlier scans to compare"
    reach_um = limits.aiming.touches_um / 2 + limits.aiming.positional_error_um
    hits = tuple(
        hit
        for hit in found.target.hits
        if all(
            any(
                _was_differentiated(hit, field, place, reach_um, found.target.whole_colony)
                for field in scan
            )
            for scan in earlier[:wanted]
        )
    )
    if not hits:
        scans = "scan" if wanted == 1 else f"{wanted} scans"
        return "not seen before", f"not surely differentiated in the {scans} before"
    return replace(found, target=replace(found.target, hits=hits))


def _was_differentiated(
    hit: Hit, field: EarlierField, place: _Place, reach_um: float, whole_colony: bool
) -> bool:
    measurement, labels = field.measurement, field.labels
    pixel_size_um, stage, calibration = (
        measurement.pixel_size_um,
        measurement.stage,
        place.calibration,
    )
    if place.missing(measurement) is not None or labels.shape != measurement.shape:
        return False
    assert calibration is not None
    assert pixel_size_um is not None
    assert stage is not None
    ((row, column),) = stage_to_image(
        [(hit.pick_x_um, hit.pick_y_um)],
        shape=measurement.shape,
        pixel_size_um=pixel_size_um,
        pixel_to_stage=calibration.pixel_to_stage,
        centre=stage,
    ).tolist()
    reach = reach_um / pixel_size_um
    top, bottom = math.floor(row - reach), math.ceil(row + reach) + 1
    left, right = math.floor(column - reach), math.ceil(column + reach) + 1
    if top < 0 or left < 0 or bottom > labels.shape[0] or right > labels.shape[1]:
        return False
    rows, columns = np.ogrid[top:bottom, left:right]
    disc = (rows - row) ** 2 + (columns - column) ** 2 <= reach**2
    seen = labels[top:bottom, left:right][disc]
    if whole_colony:
        return bool(np.isin(seen, (CellClass.UNDIFFERENTIATED, CellClass.DIFFERENTIATED)).all())
    return bool((seen == CellClass.DIFFERENTIATED).all())


def _within(found: Sequence[_Found], max_hits: int) -> tuple[list[_Found], int]:
    """The surest regions with no more than so many hits in all, and how many wait for the next
    plan. At least one: of its hits the first ones, where it alone has too many.
    """
    kept: list[_Found] = []
    left = max_hits
    ordered = sorted(found, key=lambda one: -one.target.mean_probability)
    for one in ordered:
        if len(one.target.hits) <= left:
            kept.append(one)
            left -= len(one.target.hits)
    if not kept:
        first = ordered[0]
        kept.append(replace(first, target=replace(first.target, hits=first.target.hits[:left])))
    return kept, len(found) - len(kept)


def _with_cover(target: Target, aiming: Aiming) -> Target:
    """The target with what its hits remove: they lie inside it, so that this is their union."""
    return replace(target, covered_um2=_covered_um2(target.hits, aiming))


def _covered_um2(hits: Sequence[Hit], aiming: Aiming) -> float:
    discs = [Point(hit.pick_x_um, hit.pick_y_um).buffer(aiming.removes_um / 2) for hit in hits]
    return float(unary_union(discs).area)


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


def _no_place(dish: str, homeless: Counter[str]) -> str:
    reasons = "; ".join(
        f"{_counted(number, 'differentiated region')} with {missing}"
        for missing, number in homeless.most_common()
    )
    return f"{dish}: no removal plan, since no stage coordinates can be given: {reasons}"


def _left_out(
    refused: Sequence[RefusedRegion], homeless: Counter[str], repeated: int, postponed: int
) -> tuple[str, ...]:
    sentences = [
        f"{_counted(number, 'region')} {'is' if number == 1 else 'are'} {reason}."
        for reason, number in Counter(one.text for one in refused).most_common()
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
    if postponed:
        sentences.append(
            f"{_counted(postponed, 'region')} {'waits' if postponed == 1 else 'wait'} for the next "
            "plan: this one has as many hits as a plan may have (max_hits)."
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
    aiming: Aiming

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

    def locate(self, field: MeasuredField, what: Region | Colony, aim: Aim) -> _Found | str:
        """A region for which nothing is `missing`, with its hits; or why none may be aimed at.

        Raises CalibrationError where a hit lies so far out that the coordinates must be wrong.
        """
        measurement, calibration = field.measurement, self.calibration
        pixel_size_um, stage = measurement.pixel_size_um, measurement.stage
        assert calibration is not None
        assert pixel_size_um is not None
        assert isinstance(stage, StagePosition)

        def on_stage(points: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
            return image_to_stage(
                points,
                shape=measurement.shape,
                pixel_size_um=pixel_size_um,
                pixel_to_stage=calibration.pixel_to_stage,
                centre=stage,
            )

        # Simplifying an outline can let it cross itself.
        holes = [on_stage(hole) for hole in aim.holes]
        outline = make_valid(Polygon(on_stage(aim.polygon), holes))
        region_id = _region_id(field, what)
        hits, outside = [], ""
        for hit in self._on_whole_steps(
            [
                Hit(
                    order=0,
                    pick_px=(point.row, point.column),
                    pick_x_um=x_um,
                    pick_y_um=y_um,
                    pick_z_um=stage.z_um,
                    clearance_um=point.clearance_px * pixel_size_um,
                )
                for point, (x_um, y_um) in zip(
                    aim.points,
                    on_stage([(point.row, point.column) for point in aim.points]).tolist(),
                    strict=True,
                )
            ],
            measurement,
        ):
            hit = self._in_other_frames(hit)
            why = self.outside(hit, region_id)
            if why is None:
                hits.append(hit)
            else:
                outside = why
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
        return _Found(target, outline)

    def _on_whole_steps(self, hits: Sequence[Hit], measurement: FieldMeasurement) -> list[Hit]:
        """The hits moved to the nearest place that the picker can go to, in its own frame where it
        has one, else on the stage; all steps count from 0.

        The hits were laid with room for that (`Aiming.clearance_um`). One that would have to be
        moved farther is left out, and so is one that falls on another.
        """
        step_um = self.aiming.step_um
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
            if snap_um > self.aiming.snap_um + 1e-6:
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
            f"{vessel.diameter_um / 1000:g} mm; check the calibration (swapped axes? mm for um?), "
            "the stage positions of the captures, and the source's vessel"
        )


def _without_repeats(found: Sequence[_Found]) -> tuple[list[_Found], int]:
    """Fields may overlap on the stage; the larger view of a region is the one to aim by.

    A hit stays where no hit of another field is nearer than half its clearance. Returns the regions
    that keep a hit, and how many lose all.
    """
    kept: list[_Found] = []
    for item in sorted(found, key=lambda one: -one.target.area_um2):
        others = [
            (hit.pick_x_um, hit.pick_y_um)
            for other in kept
            if other.target.capture_sha256 != item.target.capture_sha256
            and other.outline.intersects(item.outline)
            for hit in other.target.hits
        ]
        hits = item.target.hits
        if others:
            taken = np.array(others)
            hits = tuple(
                hit
                for hit in hits
                if np.hypot(*(taken - (hit.pick_x_um, hit.pick_y_um)).T).min()
                >= hit.clearance_um / 2
            )
        if hits:
            kept.append(replace(item, target=replace(item.target, hits=hits)))
    return kept, len(found) - len(kept)
