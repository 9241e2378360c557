"""Which calibrations a source uses now: those of the configuration, or on record."""

from __future__ import annotations

import logging
from datetime import datetime

from monitor.config import Config
from monitor.culture import Calibration, CalibrationKind
from monitor.decisions.evidence import Calibrations
from monitor.errors import CalibrationError
from monitor.record.store import Store
from monitor.stage.calibration import calibration_to_use

log = logging.getLogger(__name__)


def calibration_in_use(
    kind: CalibrationKind, source: str, config: Config, store: Store, now: datetime
) -> Calibration | None:
    """None where there is none at all. Raises CalibrationError where it may not be used."""
    on_record = store.calibrations.of(source, kind)
    used = calibration_to_use(kind, source, config.settings_of(source), on_record, now)
    if used is not None:
        where = "the record" if used in on_record else "config.yaml"
        log.info("source=%s: %s calibration %s from %s", source, kind, used.id, where)
    return used


def calibrations_in_use(source: str, config: Config, store: Store, now: datetime) -> Calibrations:
    """Both that plans rest on, or why one of them may not be used."""
    found: dict[CalibrationKind, Calibration | None] = {}
    problems: dict[CalibrationKind, str] = {}
    for kind in (CalibrationKind.CAMERA, CalibrationKind.PICKER):
        try:
            found[kind] = calibration_in_use(kind, source, config, store, now)
        except CalibrationError as problem:
            problems[kind] = str(problem)
    return Calibrations(
        camera=found.get(CalibrationKind.CAMERA),
        picker=found.get(CalibrationKind.PICKER),
        camera_problem=problems.get(CalibrationKind.CAMERA),
        problem=next(iter(problems.values()), None),
    )
