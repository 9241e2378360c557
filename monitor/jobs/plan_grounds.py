"""Plans whose calibration does not hold any more, also where that was changed in config.yaml."""

from __future__ import annotations

import logging
import socket
from datetime import datetime

from monitor.config import Config, SourceConfig, SourceSettings
from monitor.culture import LIVE_PLANS, UNLISTED, Calibration, CalibrationKind, RemovalPlan
from monitor.errors import CalibrationError, UsageError
from monitor.record.store import Store
from monitor.stage.calibration import calibration_to_use, why_groundless

_WHICH = "give the daemon's with --config FILE"

log = logging.getLogger(__name__)


def end_groundless(
    store: Store, config: Config, now: datetime, *, of_gone_sources: bool = False
) -> list[tuple[RemovalPlan, str]]:
    """End every plan that waits or is out and whose coordinates rest on what does not hold now.

    of_gone_sources : also those of a source that the configuration does not name. That is for the
        daemon alone, whose configuration is the one that the sources are watched by: another
        program may have been started with another one.

    Returns those plans, each with why.
    """
    ended = []
    for plan in store.plans.all(LIVE_PLANS):
        if foreign(plan, store, config) is None:
            why = groundless(plan, store, config, now)
        else:
            why = _of_gone_source(plan, store, config) if of_gone_sources else None
        if why is not None and store.plans.supersede(plan.id, now=now, why=why):
            log.warning("plan=%s dish=%s superseded: %s", plan.id, plan.dish, why)
            ended.append((plan, why))
    return ended


def check_grounds(plan: RemovalPlan, store: Store, config: Config, now: datetime) -> None:
    """Before a person decides on a plan: nothing is approved that aims by what does not hold.

    Raises UsageError where the configuration does not mean the plan's source.
    """
    why = foreign(plan, store, config)
    if why is not None:
        raise UsageError(f"{plan.id}: {why}")
    end_groundless(store, config, now)


def foreign(plan: RemovalPlan, store: Store, config: Config) -> str | None:
    """Why a configuration says nothing of a plan, and what to do then; None where it does.

    It does not name the plan's source, or means another folder by the name than was watched last.
    """
    source = store.dishes.source_of(plan.dish)
    if source == UNLISTED or plan.grounds is None:
        return None
    settings = _settings_of(source, config)
    if settings is None:
        return f"its source {source} is not in this configuration; {_WHICH}"
    known = store.sources.place_of(source)
    # One folder may be written in several ways, and a container has another name at each start.
    if known is not None and known[1].resolve() != settings.path.resolve():
        return (
            f"its source {source} is {known[1]} on {known[0]}, and {settings.path} in this "
            f"configuration; {_WHICH}, or start the daemon with this one first"
        )
    return None


def _of_gone_source(plan: RemovalPlan, store: Store, config: Config) -> str | None:
    source = store.dishes.source_of(plan.dish)
    if plan.grounds is None or _settings_of(source, config) is not None:
        return None
    known = store.sources.place_of(source)
    if known is not None and known[0] != socket.gethostname():
        return None  # watched by a program on another machine
    return f"its source {source} is no longer in the configuration"


def _settings_of(source: str, config: Config) -> SourceConfig | None:
    return next((one for one in config.sources if one.name == source), None)


def groundless(plan: RemovalPlan, store: Store, config: Config, now: datetime) -> str | None:
    """Why a plan may not be carried out by the configuration and the record as they are now.

    Not for a plan that is `foreign` to the configuration.
    """
    source = store.dishes.source_of(plan.dish)
    settings: SourceSettings = _settings_of(source, config) or config.unlisted
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
