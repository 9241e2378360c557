"""Approved plans -> files in the picker's folder, in steps each of which a crash may follow."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from datetime import datetime

from monitor.config import Config, ExportFormat
from monitor.culture import LIVE_PLANS, Message, PlanStatus, RemovalPlan
from monitor.errors import OutletError, UsageError
from monitor.jobs.plan_grounds import foreign, groundless
from monitor.jobs.plan_views import handout_of
from monitor.outlets.picking import (
    Handout,
    StagedPlan,
    file_stem,
    stage_plan,
    staged_before,
    write_late,
)
from monitor.record.store import Store

log = logging.getLogger(__name__)


def hand_to_picker(message: Message, store: Store, config: Config, now: datetime) -> str:
    """In three steps, each of which a crash may follow: the files are on the disk under hidden
    names; the plan is exported, on record; the files are shown. A plan that is exported is never
    written again, only shown as far as it is not.
    """
    plan = store.plans.plan(message.subject_id)
    if plan.status in LIVE_PLANS:
        unknown = foreign(plan, store, config)
        if unknown is not None:
            raise OutletError(f"{plan.id}: is not handed to the picker: {unknown}")
    why = groundless(plan, store, config, now) if plan.status in LIVE_PLANS else None
    if why is not None:
        store.plans.supersede(plan.id, now=now, why=why)
        raise OutletError(f"{plan.id}: is superseded: {why}", permanent=True)
    if plan.status is PlanStatus.APPROVED and config.outlets.removal.handover == "sila":
        return "pending plans (sila)"
    if plan.status is PlanStatus.APPROVED:
        staged = stage_plan(
            handout_of(plan, store, config),
            config.removal_folder,
            now=now,
            formats=config.outlets.removal.formats,
            token=secrets.token_hex(8),
        )
        for name, why in staged.unwritten.items():
            log.error("plan=%s dish=%s: %s is not written: %s", plan.id, plan.dish, name, why)
        try:
            store.plans.hand_out(
                plan.id, to="folder", token=staged.token, now=now, unwritten=staged.unwritten
            )
        except UsageError as problem:
            # It was rejected, superseded or expired while it was being written.
            staged.discard()
            raise OutletError(str(problem), permanent=True) from problem
        except BaseException:
            staged.discard()
            raise
    elif plan.status is PlanStatus.EXPORTED and plan.handover is not None:
        if plan.handover.to != "folder":
            return f"taken ({plan.handover.to})"
        staged = staged_before(plan, config.removal_folder, plan.handover.token)
    else:
        raise OutletError(f"{plan.id}: is {plan.status}, not approved", permanent=True)
    try:
        # While nobody can end the plan: what has ended is never to be seen.
        store.plans.show(plan.id, publish=lambda _: _show(staged), now=now)
    except UsageError as problem:
        staged.discard()
        raise OutletError(str(problem), permanent=True) from problem
    return str(config.removal_folder / file_stem(plan))


def deliver_late(store: Store, config: Config, now: datetime) -> None:
    """Formats that a plan in the picker's folder lacks, since they could not be written: once they
    can be, as with corrected settings, they are.
    """
    for plan in store.plans.all([PlanStatus.EXPORTED]):
        if plan.handover is None or not plan.handover.unwritten:
            continue
        missing = dict(plan.handover.unwritten)
        wanted = [name for name in config.outlets.removal.formats if name in missing]
        handout = handout_of(plan, store, config)

        def publish(
            _: RemovalPlan,
            handout: Handout = handout,
            wanted: Sequence[ExportFormat] = wanted,
        ) -> dict[str, str]:
            return write_late(handout, config.removal_folder, wanted)

        try:
            store.plans.show_late(plan.id, publish=publish, now=now)
        except OutletError as problem:
            log.error("%s", problem)


def _show(staged: StagedPlan) -> None:
    staged.publish()
