"""A plan that ends leaves the picker's folder at once."""

from __future__ import annotations

import logging
from collections.abc import Callable

from monitor.config import Config
from monitor.culture import RemovalPlan
from monitor.errors import OutletError

log = logging.getLogger(__name__)


def take_back_from(config: Config) -> Callable[[RemovalPlan], None]:
    """What a store calls with a plan that ends: its files leave the picker's folder at once.

    A folder out of reach stops nothing; the withdrawal stays in the outbox until it succeeds.
    """

    def take_back(plan: RemovalPlan) -> None:
        # Every command that opens the record has this at hand, and hardly one ends a plan.
        from monitor.outlets.picking import withdraw_plan

        try:
            gone = withdraw_plan(plan, config.removal_folder)
        except OutletError as problem:
            log.error("%s", problem)
        else:
            log.info("plan=%s dish=%s: withdrawn, %d files", plan.id, plan.dish, len(gone))

    return take_back
