"""Tokens for a person's programs: made, shown once, revoked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from monitor.culture import Role
from monitor.errors import UsageError
from monitor.outlets.dashboard.forms import Act, Acting
from monitor.record.api_tokens import LONGEST_LABEL
from monitor.record.store import Store


class TokenPages:
    """me : one's own page, with the token that was just made"""

    def __init__(
        self, store: Store, acting: Acting, *, me: Callable[[Request, str], Response],
        clock: Callable[[], datetime],
    ) -> None:  # fmt: skip
        self._tokens, self._acting, self._me, self._clock = store.api_tokens, acting, me, clock

    @property
    def routes(self) -> list[Route]:
        act = self._acting.act
        return [
            Route("/me/token", act(Role.VIEWER, self._make), methods=["POST"]),
            Route("/me/revoke", act(Role.VIEWER, self._revoke), methods=["POST"]),
        ]

    def _make(self, act: Act) -> Response:
        label = act.form.text("label", LONGEST_LABEL)
        made = self._tokens.make(act.person, label, who=act.person.name, now=self._clock())
        return self._me(act.request, made)

    def _revoke(self, act: Act) -> Response:
        number = act.form.raw("number")
        if not (number.isascii() and number.isdigit()) or len(number) > 9:
            raise UsageError("that is no token")
        self._tokens.revoke(int(number), of=act.person, who=act.person.name, now=self._clock())
        return RedirectResponse("/me", 303)
