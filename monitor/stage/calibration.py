"""Which calibration holds now for a source, and whether what was made with one still does. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta

from monitor.config import SourceSettings
from monitor.culture import Calibration, CalibrationKind, Grounds, RemovalPlan
from monitor.errors import CalibrationError
from monitor.stage.frames import Affine

SCALE_TOLERANCE = 0.05


def configured_calibration(name: str, settings: SourceSettings) -> Calibration | None:
    """The camera's calibration that stands in the configuration of the source `name`."""
    given = settings.calibration
    if given is None:
        return None
    unit = given.pixel_size_um or 1.0
    linear = [[unit * value for value in row] for row in given.pixel_to_stage]
    return Calibration(
        id=given.id,
        kind=CalibrationKind.CAMERA,
        source=name,
        matrix=Affine.of(linear, (0.0, 0.0)).matrix,
        made_at=None if given.made_on is None else datetime.combine(given.made_on, time(), UTC),
        made_by="config.yaml",
        objective=given.objective or settings.objective,
        pixel_size_um=given.pixel_size_um,
        binning=settings.binning,
        max_age_days=given.max_age_days,
        rms_um=given.rms_um,
    )


def why_unfit(calibration: Calibration, settings: SourceSettings, now: datetime) -> str | None:
    """Why a calibration must not be used for a source now; None where it may."""
    if calibration.objective != settings.objective and calibration.objective is not None:
        present = settings.objective or "not named"
        return (
            f"calibration {calibration.id} is for the objective {calibration.objective}, and the "
            f"source's objective is {present}: calibrate again or set the source's objective"
        )
    if settings.objective is not None and calibration.objective is None:
        return (
            f"calibration {calibration.id} names no objective, and the source's is "
            f"{settings.objective}: calibrate again with --objective {settings.objective}"
        )
    if calibration.max_age_days is not None and calibration.made_at is not None:
        age = now - calibration.made_at
        if age > timedelta(days=calibration.max_age_days):
            return (
                f"calibration {calibration.id} is {age.days} days old, its limit is "
                f"{calibration.max_age_days:g} days: calibrate again"
            )
    return None


def why_other_pixels(
    calibration: Calibration, settings: SourceSettings, pixel_size_um: float
) -> str | None:
    """Why a capture of this pixel size does not go with a camera's calibration, or None."""
    if calibration.pixel_size_um is None:
        return None
    expected = calibration.pixel_size_um * settings.binning / calibration.binning
    if abs(pixel_size_um / expected - 1) <= SCALE_TOLERANCE:
        return None
    return (
        f"a pixel size of {pixel_size_um:g} µm, where calibration {calibration.id} expects "
        f"{expected:g} µm: another objective or another binning; calibrate again or set the "
        "source's binning"
    )


def newest_fit(
    found: Sequence[Calibration], settings: SourceSettings, now: datetime
) -> Calibration | None:
    """The newest calibration that may be used now; None where there is none on record.

    found : of one source and kind, newest first
    Raises CalibrationError where there are some and none may be used.
    """
    reasons = []
    for one in found:
        reason = why_unfit(one, settings, now)
        if reason is None:
            return one
        reasons.append(reason)
    if reasons:
        raise CalibrationError(reasons[0])
    return None


def calibration_to_use(
    kind: CalibrationKind,
    name: str,
    settings: SourceSettings,
    on_record: Sequence[Calibration],
    now: datetime,
) -> Calibration | None:
    """What a source uses now: what the configuration says, else the newest on record that fits.

    on_record : of this source and kind, newest first
    None where there is none at all. Raises CalibrationError where there is one and it may not be
    used.
    """
    configured = configured_calibration(name, settings) if kind is CalibrationKind.CAMERA else None
    if configured is None:
        return newest_fit(on_record, settings, now)
    return newest_fit([configured], settings, now)


# --- what plans rest on -------------------------------------------------------------------------


def grounds_of(
    camera: Calibration | None, picker: Calibration | None, settings: SourceSettings
) -> Grounds:
    """What coordinates rest on that are made with these."""
    return Grounds(
        camera=None if camera is None else _fingerprint(camera),
        picker=None if picker is None else _fingerprint(picker),
        vessel=None if settings.vessel is None else _hashed(settings.vessel.model_dump_json()),
    )


def _fingerprint(made: Calibration) -> str:
    numbers = [float(one) for line in made.matrix for one in line]
    return _hashed(repr((numbers, made.pixel_size_um, made.binning, made.objective)))


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def why_groundless(
    plan: RemovalPlan,
    camera: Calibration | None,
    picker: Calibration | None,
    settings: SourceSettings,
) -> str | None:
    """Why a plan must not be carried out any more: what it rests on is not what holds now. None
    where it still does.

    camera, picker : what the plan's source uses now
    """
    if plan.grounds is None and camera is None:
        return None
    now, then = grounds_of(camera, picker, settings), plan.grounds
    for kind, id_, used in (
        ("", plan.calibration_id, camera),
        ("picker ", plan.picker_calibration_id, picker),
    ):
        if (None if used is None else used.id) != id_:
            former = "no calibration" if id_ is None else f"{kind}calibration {id_}"
            after = "none is set any longer" if used is None else f"{used.id} is in use now"
            return f"it rests on {former}, and {after}"
    if then is not None and (then.camera, then.picker) != (now.camera, now.picker):
        changed = plan.calibration_id if then.camera != now.camera else plan.picker_calibration_id
        return f"calibration {changed} was changed"
    if then is not None and then.vessel != now.vessel:
        return "the vessel of its source was changed"
    return None
