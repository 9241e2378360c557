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


class CalibrationsNow:
    """As they are at one moment: each source's are looked up once."""

    def __init__(self, config: Config, store: Store, now: datetime) -> None:
        self._config, self._store, self._now = config, store, now
        self._known: dict[str, Calibrations] = {}

    def of(self, source: str) -> Calibrations:
        """Both that plans rest on, or why one of them may not be used."""
        known = self._known.get(source)
        if known is None:
            known = self._known[source] = self._look_up(source)
        return known

    def _look_up(self, source: str) -> Calibrations:
        settings = self._config.settings_of(source)
        on_record = self._store.calibrations.of(source)
        found: dict[CalibrationKind, Calibration | None] = {}
        problems: dict[CalibrationKind, str] = {}
        for kind in (CalibrationKind.CAMERA, CalibrationKind.PICKER):
            own = [one for one in on_record if one.kind is kind]
            try:
                found[kind] = used = calibration_to_use(kind, source, settings, own, self._now)
            except CalibrationError as problem:
                problems[kind] = str(problem)
                continue
            if used is not None:
                where = "the record" if used in own else "config.yaml"
                log.info("source=%s: %s calibration %s from %s", source, kind, used.id, where)
        return Calibrations(
            camera=found.get(CalibrationKind.CAMERA),
            picker=found.get(CalibrationKind.PICKER),
            camera_problem=problems.get(CalibrationKind.CAMERA),
            problem=next(iter(problems.values()), None),
        )
