"""Are the cells gone that a picker was sent to? Pure rules, by the label maps of a later scan."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from shapely import contains_xy, make_valid, prepare
from shapely.geometry import Polygon

from model.classes import UNKNOWN, CellClass
from monitor.config.confirmation import VerificationConfig
from monitor.culture import (
    Calibration,
    FieldMeasurement,
    RegionVerdict,
    RemovalCheck,
    RemovalPlan,
    Ring,
    Target,
    Targeting,
)
from monitor.stage.frames import image_to_stage, stage_to_image
from monitor.stage.labelled_field import LabelledField

DEFAULTS = VerificationConfig()
# Less of a region in the picture proves nothing.
_SEEN = 0.5
_POINTS = 40_000
_USUAL_ERROR_UM = 20.0
_STEPS_A_RADIUS = 8


def verify_removal(
    plan: RemovalPlan,
    before: Mapping[str, FieldMeasurement],
    fields: Sequence[LabelledField],
    calibration: Calibration | None,
    limits: VerificationConfig = DEFAULTS,
    *,
    shift_um: tuple[float, float] | None = (0.0, 0.0),
) -> tuple[RegionVerdict, ...]:
    """What a scan says of each region of `plan` that was picked and not looked at since.

    before : the captures that the plan was made from, by SHA-256
    fields : captures of the scan with their label maps; those taken before the picking do not
        count, nor those in doubt
    calibration : how the camera stands on the stage
    shift_um : how far the dish lies from where it lay when the plan was made; None = it does not
        lie as it did, so that nothing can be told

    A region is judged by what its hits were to remove: the discs under the tool, of a region that
    was partly picked those of the hits that were set. Two scans and a picker never lie exactly on
    one another: each disc is drawn in by the picker's error and that of the label map, but to no
    less than half its radius, so that a shift by as much changes nothing. Regions that no field
    shows are not in the answer.
    """
    if calibration is None or plan.picked_at is None:
        return ()
    last = plan.picked_at + timedelta(hours=limits.within_h)
    late = [
        field
        for field in fields
        if plan.picked_at < field.measurement.acquired_at <= last
        and field.measurement.stage is not None
        and (field.measurement.pixel_size_um or 0) > 0
        and field.labels.shape == field.measurement.shape
        and not field.measurement.doubt.in_doubt
    ]
    fates = {fate.region_id: fate for fate in plan.fates}
    verdicts = []
    for target in plan.targets:
        if target.region_id not in plan.to_check:
            continue
        places: NDArray[np.float64] | None
        if plan.targeting is not None:
            places = _under_hits(target, fates[target.region_id].hits, plan.targeting)
        else:
            places = _under_region(target, before.get(target.capture_sha256), calibration)
        if places is None:
            continue
        if shift_um is None:
            if late:
                cannot_tell = RemovalCheck.CANNOT_TELL
                verdicts.append(RegionVerdict(plan.id, target.region_id, cannot_tell, None))
            continue
        looks = [_look(places + np.asarray(shift_um), field, calibration) for field in late]
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


def _under_hits(
    target: Target, numbers: Collection[int] | None, targeting: Targeting
) -> NDArray[np.float64]:
    """Points spread evenly over what hits remove whatever their errors, (N, 2) (x, y) um on the
    stage; where discs overlap, once.

    numbers : of the hits that were set, from 1; None = all
    """
    radius = targeting.removes_um / 2
    core = max(radius - targeting.positional_error_um - targeting.border_um, radius / 2)
    step = core / _STEPS_A_RADIUS
    squares: list[NDArray[np.intp]] = []
    for number, hit in enumerate(target.hits, start=1):
        if numbers is not None and number not in numbers:
            continue
        middle = np.array([hit.pick_x_um, hit.pick_y_um])
        first = np.floor((middle - core) / step).astype(np.intp)
        grid = np.indices((2 * _STEPS_A_RADIUS + 3,) * 2).reshape(2, -1).T + first
        squares.append(grid[np.hypot(*(grid * step - middle).T) <= core])
    return np.asarray(np.unique(np.concatenate(squares), axis=0) * step, np.float64)


def _under_region(
    target: Target, made_from: FieldMeasurement | None, calibration: Calibration
) -> NDArray[np.float64] | None:
    """The same of a plan that names no tool: over the region without its border; one that is all
    border is taken whole.
    """
    if made_from is None or made_from.stage is None or not (made_from.pixel_size_um or 0) > 0:
        return None
    assert made_from.pixel_size_um is not None

    def on_stage(ring: Ring) -> NDArray[np.float64]:
        assert made_from is not None
        assert made_from.stage is not None
        assert made_from.pixel_size_um is not None
        return image_to_stage(
            ring,
            shape=made_from.shape,
            pixel_size_um=made_from.pixel_size_um,
            pixel_to_stage=calibration.pixel_to_stage,
            centre=made_from.stage,
        )

    holes = [on_stage(hole) for hole in target.holes_px]
    region = make_valid(Polygon(on_stage(target.polygon_px), holes))
    inner = region.buffer(-_USUAL_ERROR_UM)
    place = region if inner.is_empty else inner
    prepare(place)
    left, low, right, high = place.bounds
    # A grid as coarse as it may be: the shares of a large region need no more points.
    step = max(made_from.pixel_size_um, math.sqrt((right - left) * (high - low) / _POINTS))
    x, y = np.meshgrid(np.arange(left, right, step), np.arange(low, high, step))
    inside = contains_xy(place, x, y)
    return np.stack([x[inside], y[inside]], axis=1)


def _look(
    places: NDArray[np.float64], field: LabelledField, calibration: Calibration
) -> tuple[float, float]:
    """How many of these points of the stage a capture shows, and how many of those as background;
    0..1 both.
    """
    measurement, labels = field.measurement, field.labels
    assert measurement.stage is not None
    assert measurement.pixel_size_um is not None
    if not len(places):
        return 0.0, 0.0
    pixels = np.rint(
        stage_to_image(
            places,
            shape=measurement.shape,
            pixel_size_um=measurement.pixel_size_um,
            pixel_to_stage=calibration.pixel_to_stage,
            centre=measurement.stage,
        )
    ).astype(int)
    pictured = ((pixels >= 0) & (pixels < labels.shape)).all(axis=1)
    rows, columns = pixels[pictured].T
    found = labels[rows, columns]
    found = found[found != UNKNOWN]
    if not found.size:
        return 0.0, 0.0
    gone = float(np.count_nonzero(found == CellClass.BACKGROUND)) / found.size
    return found.size / len(places), gone
