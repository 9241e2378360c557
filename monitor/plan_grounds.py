"""Plans whose calibration does not hold any more, also where that was changed in config.yaml."""

from __future__ import annotations

import logging
from datetime import datetime

from monitor.calibration import calibration_to_use, why_groundless
from monitor.config import Config, SourceSettings
from monitor.culture import UNLISTED, Calibration, CalibrationKind, RemovalPlan
from monitor.errors import CalibrationError
from monitor.record.plans import LIVE_PLANS
from monitor.record.store import Store

log = logging.getLogger(__name__)


def end_groundless(store: Store, config: Config, now: datetime) -> list[tuple[RemovalPlan, str]]:
    """End every plan that waits or is out and whose coordinates rest on what does not hold now.

    Returns those plans, each with why.
    """
    ended = []
    for plan in store.plans.all(LIVE_PLANS):
        why = groundless(plan, store, config, now)
        if why is not None and store.plans.supersede(plan.id, now=now, why=why):
            log.warning("plan=%s dish=%s superseded: %s", plan.id, plan.dish, why)
            ended.append((plan, why))
    return ended


def groundless(plan: RemovalPlan, store: Store, config: Config, now: datetime) -> str | None:
    """Why a plan may not be carried out by the configuration and the record as they are now."""
    source = store.dishes.source_of(plan.dish)
    settings: SourceSettings | None = config.unlisted if source == UNLISTED else None
    for one in config.sources:
        if one.name == source:
            settings = one
    if settings is None:
        if plan.grounds is None:
            return None
        return f"its source {source} is not in the configuration any more"
    try:
        camera = _used(CalibrationKind.CAMERA, source, settings, store, now)
        if camera is None and source == UNLISTED:
            # Paths given by hand, perhaps with a configuration of their own: that another one says
            # nothing of how they were taken takes nothing back.
            return None
        return why_groundless(
            plan,
            camera,
            _used(CalibrationKind.PICKER, source, settings, store, now),
            settings,
        )
    except CalibrationError as problem:
        return str(problem)


def _used(
    kind: CalibrationKind, source: str, settings: SourceSettings, store: Store, now: datetime
) -> Calibration | None:
    return calibration_to_use(kind, source, settings, store.calibrations.of(source, kind), now)
