"""Which regions of a dish are worth removing, and in what order. Pure rules.

A plan names where to aim in the stage's frame. Where that cannot be said for certain, it is not
said at all.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
from shapely.geometry import Point
from shapely.ops import unary_union

from model.classes import CellClass
from monitor.config import RemovalConfig, SourceSettings
from monitor.culture import (
    Aim,
    Calibration,
    Colony,
    FieldMeasurement,
    Hit,
    PlanStatus,
    Reading,
    RefusedRegion,
    Region,
    RemovalPlan,
    ScanField,
    Target,
    Targeting,
)
from monitor.culture.doubt_words import reason_words
from monitor.decisions.placing import Found, Place, id_of
from monitor.decisions.tour import short_tour
from monitor.errors import CalibrationError
from monitor.stage.calibration import grounds_of
from monitor.stage.frames import stage_to_image
from monitor.stage.labelled_field import LabelledField

Scan = Sequence[LabelledField]


def plan_removal(
    plan_id: str,
    reading: Reading,
    fields: Sequence[ScanField],
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
    earlier : the scans before, newest first, up to as many as `limits.earlier_scans` asks for

    Regions that are refused are in `refused` with their reasons, and counted in `left_out`.

    Raises CalibrationError where regions qualify and no stage position can be given for any, and
    where one comes out so far outside its vessel that the coordinates must be wrong.
    """
    expires_at = reading.at + timedelta(hours=limits.expires_h)
    if expires_at <= now:
        return None
    place = Place(reading.dish, settings or SourceSettings(), calibration, picker, limits.targeting)
    found, refused, homeless = _sorted_out(fields, place, earlier, limits)
    if not found or calibration is None:
        return None
    kept_regions, repeated = _without_repeats(found)
    chosen, postponed = _within(kept_regions, limits.max_hits)
    by_rule = limits.approval == "rule"
    targeting = limits.targeting
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
        targets=_in_order([_with_cover(one.target, targeting) for one in chosen]),
        left_out=_left_out(refused, homeless, repeated, postponed),
        approved_by="rule" if by_rule else None,
        approved_at=now if by_rule else None,
        targeting=targeting,
        refused=tuple(refused),
        grounds=grounds_of(calibration, picker, place.settings),
        covered_um2=_covered_um2([hit for one in chosen for hit in one.target.hits], targeting),
    )


def _sorted_out(
    fields: Sequence[ScanField], place: Place, earlier: Sequence[Scan], limits: RemovalConfig
) -> tuple[list[Found], list[RefusedRegion], Counter[str]]:
    """(regions to remove, refused ones, how many have no place and for which reason)

    Raises CalibrationError where all that qualify have no place.
    """
    refused: list[RefusedRegion] = []
    homeless: Counter[str] = Counter()
    found: list[Found] = []
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
            if isinstance(kept, Found):
                found.append(kept)
            else:
                refused.append(_refusal(field, region, aim, *kept))
    if homeless and not found:
        raise CalibrationError(_no_place(place.dish, homeless))
    return found, refused, homeless


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
    if measurement.doubt.in_doubt:
        # Its scan as a whole is not, or there would be no plan.
        why = ", ".join(reason_words(measurement.doubt))
        return "in doubt", f"in a field in doubt ({why})"
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
    if aim is None or measurement.targeting != limits.targeting:
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
    field: ScanField, what: Region | Colony, aim: Aim | None, reason: str, text: str
) -> RefusedRegion:
    pixel_size_um = field.measurement.pixel_size_um
    outlined = aim if aim is not None or isinstance(what, Colony) else what
    return RefusedRegion(
        region_id=id_of(field, what),
        capture_sha256=field.capture_sha256,
        reason=reason,
        text=text,
        polygon_px=() if outlined is None else outlined.polygon,
        area_um2=None if pixel_size_um is None else what.area_px * pixel_size_um**2,
        holes_px=() if outlined is None else outlined.holes,
    )


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
    found: Found, place: Place, earlier: Sequence[Scan], limits: RemovalConfig
) -> Found | _Reason:
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
    reach_um = limits.targeting.touches_um / 2 + limits.targeting.positional_error_um
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
        return "not seen before", f"not clearly differentiated in the {scans} before"
    return replace(found, target=replace(found.target, hits=hits))


def _was_differentiated(
    hit: Hit, field: LabelledField, place: Place, reach_um: float, whole_colony: bool
) -> bool:
    measurement, labels = field.measurement, field.labels
    pixel_size_um, stage, calibration = (
        measurement.pixel_size_um,
        measurement.stage,
        place.calibration,
    )
    if place.missing(measurement) is not None or labels.shape != measurement.shape:
        return False
    if measurement.doubt.in_doubt:
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


def _within(found: Sequence[Found], max_hits: int) -> tuple[list[Found], int]:
    """The surest regions with no more than so many hits in all, and how many wait for the next
    plan. At least one: of its hits the first ones, where it alone has too many.
    """
    kept: list[Found] = []
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


def _with_cover(target: Target, targeting: Targeting) -> Target:
    """The target with what its hits remove: they lie inside it, so that this is their union."""
    return replace(target, covered_um2=_covered_um2(target.hits, targeting))


def _covered_um2(hits: Sequence[Hit], targeting: Targeting) -> float:
    discs = [Point(hit.pick_x_um, hit.pick_y_um).buffer(targeting.removes_um / 2) for hit in hits]
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


def _without_repeats(found: Sequence[Found]) -> tuple[list[Found], int]:
    """Fields may overlap on the stage; the larger view of a region is the one to aim by.

    A hit stays where no hit of another field is nearer than half its clearance. Returns the regions
    that keep a hit, and how many lose all.
    """
    kept: list[Found] = []
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
