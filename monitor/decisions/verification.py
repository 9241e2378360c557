"""Are the cells gone that a picker was sent to? Pure rules, by the label maps of a later scan."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
from shapely import contains_xy, make_valid, prepare, transform
from shapely.affinity import translate
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from model.classes import UNKNOWN, CellClass
from monitor.culture import (
    Calibration,
    FieldMeasurement,
    RegionVerdict,
    RemovalCheck,
    RemovalPlan,
    Target,
)
from monitor.decision_config import VerificationConfig
from monitor.decisions.removal import EarlierField
from monitor.geometry import field_to_stage, image_to_stage

DEFAULTS = VerificationConfig()
# Less of a region in the picture proves nothing.
_SEEN = 0.5
_POINTS = 40_000
_USUAL_ERROR_UM = 20.0


def verify_removal(
    plan: RemovalPlan,
    before: Mapping[str, FieldMeasurement],
    fields: Sequence[EarlierField],
    calibration: Calibration | None,
    limits: VerificationConfig = DEFAULTS,
    *,
    shift_um: tuple[float, float] | None = (0.0, 0.0),
) -> tuple[RegionVerdict, ...]:
    """What a scan says of each region of `plan` that was picked and not looked at since.

    before : the captures that the plan was made from, by SHA-256
    fields : captures of the scan with their label maps; those taken before the picking do not count
    calibration : how the camera stands on the stage
    shift_um : how far the dish lies from where it lay when the plan was made; None = it does not
        lie as it did, so that nothing can be told

    Two scans and a picker never lie exactly on one another. A region is judged by what is left of
    it when its border is drawn in by the picker's error and that of the label map, so that a shift
    by as much changes nothing. Regions that no field shows are not in the answer.
    """
    if calibration is None or plan.picked_at is None:
        return ()
    late = [
        field
        for field in fields
        if plan.picked_at < field.measurement.acquired_at
        and field.measurement.acquired_at <= plan.picked_at + timedelta(hours=limits.within_h)
        and field.measurement.stage is not None
        and (field.measurement.pixel_size_um or 0) > 0
        and field.labels.shape == field.measurement.shape
    ]
    aiming = plan.aiming
    error_um = aiming.positional_error_um + aiming.border_um if aiming else _USUAL_ERROR_UM
    verdicts = []
    for target in plan.targets:
        made_from = before.get(target.capture_sha256)
        if target.region_id not in plan.to_check or made_from is None:
            continue
        if shift_um is None:
            if late:
                verdicts.append(
                    RegionVerdict(plan.id, target.region_id, RemovalCheck.CANNOT_TELL, None)
                )
            continue
        place = _on_stage(target, made_from, calibration, error_um)
        if place is not None:
            place = translate(place, *shift_um)
        looks = [] if place is None else [_look(place, field, calibration) for field in late]
        seen_share, gone_share = max(looks, default=(0.0, 0.0))
        if seen_share >= _SEEN:
            verdicts.append(
                RegionVerdict(plan.id, target.region_id, _check(gone_share, limits), gone_share)
            )
    return tuple(verdicts)


def give_up(
    plan: RemovalPlan, scan_at: datetime, limits: VerificationConfig = DEFAULTS
) -> tuple[RegionVerdict, ...]:
    """Regions of `plan` that nobody will look at any more, since the newest scan is too late.

    scan_at : of the first capture of that scan
    """
    if plan.picked_at is None or scan_at <= plan.picked_at + timedelta(hours=limits.within_h):
        return ()
    return tuple(
        RegionVerdict(plan.id, region_id, RemovalCheck.NOT_CHECKED, None)
        for region_id in plan.to_check
    )


def _check(gone_share: float, limits: VerificationConfig) -> RemovalCheck:
    if gone_share >= limits.gone_above:
        return RemovalCheck.GONE
    if gone_share <= limits.still_there_below:
        return RemovalCheck.STILL_THERE
    return RemovalCheck.PARTLY_GONE


def _on_stage(
    target: Target, made_from: FieldMeasurement, calibration: Calibration, error_um: float
) -> BaseGeometry | None:
    """The region without its border; a region that is all border is taken whole."""
    if made_from.stage is None or not (made_from.pixel_size_um or 0) > 0:
        return None
    assert made_from.pixel_size_um is not None
    corners = image_to_stage(
        target.polygon_px,
        shape=made_from.shape,
        pixel_size_um=made_from.pixel_size_um,
        pixel_to_stage=calibration.pixel_to_stage,
        centre=made_from.stage,
    )
    region = make_valid(Polygon(corners))
    inner = region.buffer(-error_um)
    return region if inner.is_empty else inner


def _look(
    place: BaseGeometry, field: EarlierField, calibration: Calibration
) -> tuple[float, float]:
    """How much of a place a capture shows, and how much of that is background; 0..1 both."""
    measurement, labels = field.measurement, field.labels
    assert measurement.stage is not None
    assert measurement.pixel_size_um is not None
    to_image = field_to_stage(
        shape=measurement.shape,
        pixel_size_um=measurement.pixel_size_um,
        pixel_to_stage=calibration.pixel_to_stage,
        centre=measurement.stage,
    ).inverse()
    outline = transform(place, to_image.apply)
    prepare(outline)
    left, top, right, bottom = outline.bounds
    # A grid as coarse as it may be: the shares of a large region need no more points.
    step = max(1.0, math.sqrt((right - left) * (bottom - top) / _POINTS))
    columns, rows = np.meshgrid(np.arange(left, right, step), np.arange(top, bottom, step))
    inside = contains_xy(outline, columns, rows)
    wanted = int(np.count_nonzero(inside))
    columns, rows = np.rint(columns[inside]).astype(int), np.rint(rows[inside]).astype(int)
    pictured = (rows >= 0) & (rows < labels.shape[0]) & (columns >= 0) & (columns < labels.shape[1])
    found = labels[rows[pictured], columns[pictured]]
    found = found[found != UNKNOWN]
    if not wanted or not found.size:
        return 0.0, 0.0
    gone = float(np.count_nonzero(found == CellClass.BACKGROUND)) / found.size
    return found.size / wanted, gone
