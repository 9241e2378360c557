"""A removal plan on its images: regions switched off one by one, the plan approved or rejected.

Which regions are off stands in the address, so that the drawing works without JavaScript; the
script only spares the way to the server.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from monitor.culture import PlanStatus, RemovalPlan, Role, Target
from monitor.decisions.switching_off import without_regions
from monitor.errors import UsageError
from monitor.outlets.dashboard.access import visit_of
from monitor.outlets.dashboard.act_pages import form_key, key_of
from monitor.outlets.dashboard.facts import Facts
from monitor.outlets.dashboard.forms import LONGEST_NOTE, Act, Acting, Render, StaleError
from monitor.outlets.dashboard.plan_drawing import fields_of, numbered
from monitor.outlets.wording import clean, counted, square_mm
from monitor.record.plans import plan_standing
from monitor.record.store import Store

log = logging.getLogger(__name__)

CheckGrounds = Callable[[RemovalPlan], None]


class PlanPages:
    """check_grounds : raises UsageError where a plan may not be decided on by this configuration;
    ends those whose coordinates do not hold any more
    """

    def __init__(
        self, store: Store, facts: Facts, acting: Acting, *, render: Render,
        clock: Callable[[], datetime], check_grounds: CheckGrounds | None,
    ) -> None:  # fmt: skip
        self._store, self._facts, self._acting = store, facts, acting
        self._render, self._clock = render, clock
        self._check_grounds = check_grounds

    @property
    def routes(self) -> list[Route]:
        act = self._acting.act
        return [
            Route("/plan", self.plan),
            Route("/plan/approve", act(Role.OPERATOR, self._approve), methods=["POST"]),
            Route("/plan/reject", act(Role.OPERATOR, self._reject), methods=["POST"]),
        ]

    def plan(self, request: Request) -> Response:
        plan = self._store.plans.plan(request.query_params.get("id", ""))
        now, visit = self._clock(), visit_of(request)
        is_over = plan.expires_at <= now
        waits = plan.status is PlanStatus.DRAFT and not is_over
        may = visit.may_decide and not is_over
        off = _off(request.query_params.get("off", ""), plan) if waits else frozenset()
        address = f"/plan?id={quote(plan.id, safe='')}"
        facts = self._facts.frame(now) | {
            "title": "Removal plan",
            "plan": self._facts.plan(plan, now),
            "id": plan.id,
            "fields": fields_of(plan, self._store),
            "regions": [_region(number, target, off, address) for number, target in numbered(plan)],
            "left_out": [clean(sentence) for sentence in plan.left_out],
            "tool": _tool(plan),
            "is_over": is_over and plan.status is PlanStatus.DRAFT,
            "can_approve": waits and may,
            "can_reject": may and plan.status in _CAN_BE_REJECTED,
            "has_sign_in": visit.accounts,
            "as_of": plan_standing(plan),
            "events": self._events(plan, now),
            "longest_note": LONGEST_NOTE,
            "address": address,
            "key": form_key(),
        }
        return self._render(request, "plan", facts, 200)

    def _events(self, plan: RemovalPlan, now: datetime) -> list[dict[str, str]]:
        return [
            {
                "at": self._facts.moment(one.at, plan.dish),
                "who": clean(one.who),
                "what": one.what.replace("->", "→"),
                "note": clean(one.note or ""),
            }
            for one in reversed(self._store.plans.events(plan.id))
        ]

    # --- acts ----------------------------------------------------------------------------------

    def _approve(self, act: Act) -> Response:
        plan = self._store.plans.plan(act.form.raw("id"))
        if self._check_grounds is not None:
            self._check_grounds(plan)
        kept = set(act.form.all("keep"))
        off = [target.region_id for number, target in numbered(plan) if str(number) not in kept]
        if len(off) == len(plan.targets):
            raise UsageError("every region is switched off; reject the plan instead")

        def do(now: datetime) -> None:
            shown = self._store.plans.plan(plan.id)
            instead = without_regions(shown, off, who=act.person.name) if off else None
            self._store.plans.approve(
                plan.id, who=act.person.name, now=now, note=act.form.note(), instead=instead
            )

        return self._once(act, plan.id, do)

    def _reject(self, act: Act) -> Response:
        plan = self._store.plans.plan(act.form.raw("id"))

        def do(now: datetime) -> None:
            self._store.plans.reject(plan.id, who=act.person.name, now=now, note=act.form.note())

        return self._once(act, plan.id, do)

    def _once(self, act: Act, plan_id: str, do: Callable[[datetime], None]) -> Response:
        now = self._clock()
        with self._store.acts.once(key_of(act), now=now) as is_new:
            if is_new:
                stands = self._store.plans.plan(plan_id)
                if plan_standing(stands) != act.form.raw("as_of"):
                    raise StaleError(
                        f"Plan {plan_id} has changed since your page was loaded: it is "
                        f"{stands.status} now. Nothing was done: see who did what."
                    )
                do(now)
                log.info("plan=%s: %s by %s", plan_id, act.request.url.path, act.person.name)
        return RedirectResponse(f"/plan?id={quote(plan_id, safe='')}", 303)


_CAN_BE_REJECTED = (PlanStatus.DRAFT, PlanStatus.APPROVED, PlanStatus.EXPORTED)


def _off(text: str, plan: RemovalPlan) -> frozenset[int]:
    """Numbers of regions, as the address gives them; what is none of the plan's is left out."""
    said = set(text.split(","))
    return frozenset(number for number, _ in numbered(plan) if str(number) in said)


def _region(number: int, target: Target, off: frozenset[int], address: str) -> dict[str, Any]:
    turned = sorted(off ^ {number})
    rest = f"&off={','.join(map(str, turned))}" if turned else ""
    return {
        "number": number,
        "id": clean(target.region_id),
        "is_on": number not in off,
        "toggle": f"{address}{rest}#region-{number}",
        "kind": "whole colony" if target.whole_colony else "region",
        "area": square_mm(target.area_um2) or "unknown",
        "covered": "–" if target.covered_um2 is None else square_mm(target.covered_um2),
        "probability": f"{100 * target.mean_probability:.0f} %",
        "hits": counted(len(target.hits), "hit"),
    }


def _tool(plan: RemovalPlan) -> str | None:
    if plan.targeting is None:
        return None
    tool = plan.targeting
    return (
        f"{tool.tool}: removes {tool.removes_um:g} µm, touches {tool.touches_um:g} µm, set down "
        f"within {tool.positional_error_um:g} µm"
    )
