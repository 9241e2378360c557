"""The page on accounts, for admins: who there is, and what each may do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from monitor.config import Config
from monitor.culture import Person, Role
from monitor.errors import UsageError
from monitor.outlets.dashboard.access import session_rules, visit_of
from monitor.outlets.dashboard.forms import Act, Acting, Render
from monitor.outlets.wording import ago, local
from monitor.record.passwords import SHORTEST
from monitor.record.people import LONGEST_NAME
from monitor.record.store import Store

_ROLES = {
    Role.VIEWER: "looks",
    Role.OPERATOR: "answers alerts, decides on dishes and plans",
    Role.ADMIN: "makes accounts, too",
}


class PeoplePages:
    def __init__(
        self, config: Config, store: Store, acting: Acting, *, render: Render,
        frame: Callable[[datetime], dict[str, Any]], clock: Callable[[], datetime],
    ) -> None:  # fmt: skip
        self._config, self._people, self._acting = config, store.people, acting
        self._rules = session_rules(config.outlets.dashboard.sign_in)
        self._render, self._frame, self._clock = render, frame, clock

    @property
    def routes(self) -> list[Route]:
        acts = {
            "add": self._add,
            "role": self._role,
            "password": self._password,
            "disable": self._disable,
            "enable": self._enable,
            "sign-out": self._sign_out,
        }
        return [
            Route("/people", self.people),
            *[
                Route(f"/people/{name}", self._acting.act(Role.ADMIN, do), methods=["POST"])
                for name, do in acts.items()
            ],
        ]

    def people(self, request: Request) -> Response:
        visit = visit_of(request)
        if not visit.may_manage or visit.person is None:
            raise HTTPException(403, "Only an admin sees the accounts.")
        now = self._clock()
        facts = {
            "title": "Accounts",
            "people": [self._told(one, visit.person, now) for one in self._people.all()],
            "roles": [(str(role), words) for role, words in _ROLES.items()],
            "longest_name": LONGEST_NAME,
            "shortest_password": SHORTEST,
        }
        return self._render(request, "people", self._frame(now) | facts, 200)

    def _told(self, one: Person, reader: Person, now: datetime) -> dict[str, Any]:
        sessions = self._people.sessions(one.name, rules=self._rules, now=now)
        zone = self._config.zone_of()
        return {
            "id": one.id,
            "name": one.name,
            "role": str(one.role),
            "is_you": one.id == reader.id,
            "has_password": one.has_password,
            "disabled": None if one.disabled_at is None else local(one.disabled_at, zone),
            "seen": "never" if one.seen_at is None else ago(now - one.seen_at),
            "sessions": len(sessions),
        }

    # --- acts ----------------------------------------------------------------------------------

    def _add(self, act: Act) -> Response:
        password = act.form.raw("password") or None
        self._people.add(
            act.form.raw("name"), _role_of(act), password=password, who=act.person.name,
            now=self._clock(),
        )  # fmt: skip
        return _back()

    def _role(self, act: Act) -> Response:
        self._people.set_role(
            act.form.raw("name"), _role_of(act), who=act.person.name, now=self._clock()
        )
        return _back()

    def _password(self, act: Act) -> Response:
        self._people.set_password(
            act.form.raw("name"), act.form.raw("password"), who=act.person.name,
            now=self._clock(),
        )  # fmt: skip
        return _back()

    def _disable(self, act: Act) -> Response:
        self._people.disable(act.form.raw("name"), who=act.person.name, now=self._clock())
        return _back()

    def _enable(self, act: Act) -> Response:
        self._people.enable(act.form.raw("name"), who=act.person.name, now=self._clock())
        return _back()

    def _sign_out(self, act: Act) -> Response:
        self._people.end_sessions(act.form.raw("name"), who=act.person.name, now=self._clock())
        return _back()


def _role_of(act: Act) -> Role:
    try:
        return Role(act.form.raw("role"))
    except ValueError:
        raise UsageError("a role is viewer, operator or admin") from None


def _back() -> Response:
    return RedirectResponse("/people", 303)
