"""A plan that ends leaves the picker's folder at once."""

from __future__ import annotations
import logging
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from monitor.config import Config, ExportFormat
from monitor.culture import Alert, Message, PlanStatus, RemovalPlan, Severity
from monitor.decisions.recipients import mail_to
from monitor.decisions.silence import SILENCES
from monitor.errors import OutletError, UsageError
from monitor.jobs.daily_digest import digest_mail
from monitor.jobs.plan_grounds import foreign, groundless
from monitor.outlets.picking import (
    Handout,
    Picture,
    StagedPlan,
    file_stem,
    plan_as_json,
    stage_plan,
    staged_before,
    withdraw_plan,
    write_late,
)
from monitor.record.outbox import HELD
from monitor.record.plans import LIVE_PLANS
from monitor.record.store import Store
from monitor.segmentation.label_maps import read_label_map, read_overlay
from monitor.stage.vessels import Vessel
if TYPE_CHECKING:
    from email.message import EmailMessage

    from monitor.outlets.mail.alert_mail import Links, MailSize, Story

log = logging.getLogger(__name__)

def take_back_from(config: Config) -> Callable[[RemovalPlan], None]:
    """What a store calls with a plan that ends: its files leave the picker's folder at once.

    A folder out of reach stops nothing; the withdrawal stays in the outbox until it succeeds.
    """

    def take_back(plan: RemovalPlan) -> None:
        try:
            gone = withdraw_plan(plan, config.removal_folder)
        except OutletError as problem:
            log.error("%s", problem)
        else:
            log.info("plan=%s dish=%s: withdrawn, %d files", plan.id, plan.dish, len(gone))

    return take_back
