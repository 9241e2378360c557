"""What a picker may ask for and tell while it is connected: plans handed out one by one.

The same rules as for the picker's folder: only approved plans, each to one client, none that has
ended. Each call is one transaction; who did not hear the answer asks again with the same token.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime

from monitor.config import Config
from monitor.culture import PlanStatus, RemovalPlan
from monitor.errors import PickingError, UsageError
from monitor.jobs.picker_logs import why_too_early
from monitor.jobs.plan_grounds import end_groundless, foreign
from monitor.jobs.plan_views import document_of
from monitor.record.dishes import DishSummary
from monitor.record.plan_reports import PickReport, counts_of_fates
from monitor.record.store import Store

log = logging.getLogger(__name__)

WHO = "picker (sila)"


class PickingDesk:
    """Used by many threads at once."""

    def __init__(self, store: Store, config: Config, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._config = config
        self._clock = clock

    @property
    def hands_out(self) -> bool:
        """Whether plans go this way at all, and not as files."""
        return self._config.outlets.removal.handover == "sila"

    def dishes(self) -> list[DishSummary]:
        """Dishes that are not finished, by name."""
        return [one for one in self._store.dishes.dishes() if one.ended_at is None]

    def pending(self) -> list[RemovalPlan]:
        """Plans that may be taken, the one that expires first before the others."""
        if not self.hands_out:
            return []
        now = self._clock()
        end_groundless(self._store, self._config, now)
        plans = self._store.plans.all([PlanStatus.APPROVED])
        return sorted(
            (plan for plan in plans if plan.expires_at > now and self._foreign(plan) is None),
            key=lambda plan: plan.expires_at,
        )

    def take(self, plan_id: str, token: str) -> bytes:
        """The plan as its JSON document; from now on it is this token's.

        Raises PickingError: unknown-plan, not-available.
        """
        wanted = self._plan(plan_id)
        if not self.hands_out:
            raise PickingError(
                f"{plan_id}: plans are handed out as files here (outlets.removal.handover: folder)",
                reason="not-available",
            )
        unknown = self._foreign(wanted)
        if unknown is not None:
            raise PickingError(f"{plan_id}: {unknown}", reason="not-available")
        end_groundless(self._store, self._config, self._clock())
        try:
            plan = self._store.plans.hand_out(plan_id, to="sila", token=token, now=self._clock())
        except UsageError as problem:
            raise PickingError(str(problem), reason="not-available") from problem
        log.info("plan=%s dish=%s: taken by a SiLA client", plan.id, plan.dish)
        return document_of(plan, self._store, self._config)

    def check(self, plan_id: str, token: str) -> tuple[bool, PlanStatus]:
        """(may it be carried out now, its status).

        Raises PickingError: unknown-plan, not-taken-by-you.
        """
        end_groundless(self._store, self._config, self._clock())
        plan = self._taken(plan_id, token)
        may = (
            plan.status is PlanStatus.EXPORTED
            and self._clock() < plan.expires_at
            and self._foreign(plan) is None
        )
        return may, plan.status

    def acknowledge(
        self, plan_id: str, token: str, reports: Sequence[PickReport], picked_at: datetime
    ) -> RemovalPlan:
        """Write down what was done of regions, named by their ids or numbers. All of it or nothing.

        Raises PickingError: unknown-plan, not-taken-by-you, refused.
        """
        plan = self._taken(plan_id, token)
        names = plan.region_names
        if not reports:
            raise PickingError(f"{plan_id}: nothing is reported about any region", reason="refused")
        told: dict[str, PickReport] = {}
        for report in reports:
            region_id = names.get(report.region_id)
            if region_id is None:
                raise PickingError(f"{plan_id}: has no region {report.region_id}", reason="refused")
            before = told.setdefault(
                region_id, PickReport(region_id, report.outcome, report.reason)
            )
            if before.outcome is not report.outcome:
                raise PickingError(
                    f"{plan_id}: region {region_id} is said to be both {before.outcome} and "
                    f"{report.outcome}",
                    reason="refused",
                )
        early = why_too_early(plan, picked_at)
        if early is not None:
            raise PickingError(early, reason="refused")
        try:
            done = self._store.plans.acknowledge(
                plan_id,
                list(told.values()),
                who=WHO,
                now=self._clock(),
                picked_at=picked_at,
            )
        except UsageError as problem:
            raise PickingError(str(problem), reason="refused") from problem
        log.info(
            "plan=%s dish=%s: told by a SiLA client: %s", done.id, done.dish, counts_of_fates(done)
        )
        return done

    def _foreign(self, plan: RemovalPlan) -> str | None:
        return foreign(plan, self._store, self._config)

    def _plan(self, plan_id: str) -> RemovalPlan:
        try:
            return self._store.plans.plan(plan_id)
        except UsageError as problem:
            raise PickingError(
                f"{plan_id}: there is no removal plan of this id", reason="unknown-plan"
            ) from problem

    def _taken(self, plan_id: str, token: str) -> RemovalPlan:
        plan = self._plan(plan_id)
        handover = plan.handover
        if (
            handover is None
            or handover.to != "sila"
            or not secrets.compare_digest(handover.token.encode(), token.encode())
        ):
            raise PickingError(
                f"{plan_id}: was not taken with this token", reason="not-taken-by-you"
            )
        return plan
