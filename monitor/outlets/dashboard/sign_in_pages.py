"""Signing in and out, and what a person can change of their own account."""

from __future__ import annotations

import hmac
import logging
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from math import ceil
from typing import Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from monitor.config import Config
from monitor.culture import ApiToken, PageSession, Person, Role
from monitor.errors import UsageError
from monitor.outlets.dashboard.access import (
    SIGN_IN,
    address_of,
    cookie_name,
    is_https,
    session_rules,
    visit_of,
)
from monitor.outlets.dashboard.attempts import Attempts
from monitor.outlets.dashboard.forms import Act, Acting, Form, Render, own_address
from monitor.outlets.wording import ago, clean, counted, local
from monitor.record.api_tokens import LONGEST_LABEL
from monitor.record.people import LONGEST_NAME
from monitor.record.store import Store

log = logging.getLogger(__name__)

# Each check of a password takes 64 MiB and a tenth of a second.
_CHECKED_AT_ONCE, _MOST_WAITING = 2, 20
_BEFORE = "before"
_BROWSERS = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("FxiOS/", "Firefox"),
             ("Chrome/", "Chrome"), ("CriOS/", "Chrome"), ("Safari/", "Safari"))  # fmt: skip
_SYSTEMS = (("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"),
            ("Mac OS", "Mac"), ("CrOS", "ChromeOS"), ("Linux", "Linux"))  # fmt: skip


class SignInPages:
    def __init__(
        self, config: Config, store: Store, acting: Acting, *, render: Render,
        frame: Callable[[datetime], dict[str, Any]], clock: Callable[[], datetime],
    ) -> None:  # fmt: skip
        self._config, self._people, self._tokens = config, store.people, store.api_tokens
        self._dashboard = config.outlets.dashboard
        self._rules = session_rules(self._dashboard.sign_in)
        self._acting, self._render, self._frame, self._clock = acting, render, frame, clock
        self._attempts = Attempts()
        self._limiter: CapacityLimiter | None = None

    @property
    def routes(self) -> list[Route]:
        act = self._acting.act
        return [
            Route(SIGN_IN, self.sign_in, methods=["GET", "POST"]),
            Route("/sign-out", act(Role.VIEWER, self._sign_out), methods=["POST"]),
            Route("/me", self.me),
            Route("/me/password", self.change_password, methods=["POST"]),
            Route("/me/end", act(Role.VIEWER, self._end_session), methods=["POST"]),
        ]

    # --- signing in ----------------------------------------------------------------------------

    async def sign_in(self, request: Request) -> Response:
        if request.method != "POST":
            return await run_sync(self._sign_in_page, request)
        form = Form(await request.body())
        name, to = form.text("name", LONGEST_NAME), own_address(form.raw("next"))
        before = request.cookies.get(_BEFORE, "")
        again = partial(self._sign_in_page, request, name=name, to=to)
        if not before or not hmac.compare_digest(before.encode(), form.raw("token").encode()):
            said = "This page was open for too long, or cookies are off. Try once more."
            return await run_sync(partial(again, said=said, status=403))
        address = address_of(request, self._dashboard.sign_in)
        wait = self._attempts.begin(name, address, self._clock())
        if wait is not None:
            log.warning("sign-in of %s from %s: too many attempts", name or "nobody", address)
            minutes = counted(ceil(wait / timedelta(minutes=1)), "minute")
            said = f"Too many attempts. Try again in {minutes}."
            return await run_sync(partial(again, said=said, status=429, wait=wait))
        person = await self._checked(self._people.check, name, form.raw("password"))
        if person is None:
            log.warning("sign-in of %s from %s: refused", name or "nobody", address)
            said = "Name and password do not fit."
            return await run_sync(partial(again, said=said, status=403))
        self._attempts.succeeded(name, address)
        return await run_sync(self._begin, request, person, address, to)

    async def _checked(self, check: Callable[..., Any], *what: Any) -> Any:
        """On threads of its own, so that guessing holds up no page."""
        if self._hashing.statistics().tasks_waiting >= _MOST_WAITING:
            raise HTTPException(503, "Many people sign in at once. Try again in a minute.")
        return await run_sync(partial(check, *what), limiter=self._hashing)

    @property
    def _hashing(self) -> CapacityLimiter:
        """It belongs to the event loop, which is there with the first request."""
        if self._limiter is None:
            self._limiter = CapacityLimiter(_CHECKED_AT_ONCE)
        return self._limiter

    def _begin(self, request: Request, person: Person, address: str, to: str) -> Response:
        now = self._clock()
        former = visit_of(request).session
        if former is not None:
            self._people.end_session(former.id, of=former.person, who=former.person.name, now=now)
        agent = _agent(request.headers.get("user-agent", ""))
        token = self._people.open_session(
            person, rules=self._rules, address=address, agent=agent, now=now
        )
        log.info("%s signed in from %s", person.name, address)
        response = RedirectResponse(to, 303)
        self._set_cookie(response, cookie_name(self._dashboard), token, self._rules.longest)
        response.delete_cookie(_BEFORE, path=SIGN_IN)
        return response

    def _sign_in_page(
        self, request: Request, *, name: str = "", to: str | None = None, said: str | None = None,
        status: int = 200, wait: timedelta | None = None,
    ) -> Response:  # fmt: skip
        to = own_address(request.query_params.get("next", "/")) if to is None else to
        before = request.cookies.get(_BEFORE, "")
        if not 20 <= len(before) <= 100 or not before.isascii():
            before = secrets.token_urlsafe(24)
        facts = {
            "title": "Sign in",
            "typed": name,
            "next": to,
            "said": said,
            "before": before,
            "has_accounts": visit_of(request).accounts,
            "longest_name": LONGEST_NAME,
        }
        response = self._render(request, "sign_in", self._frame(self._clock()) | facts, status)
        self._set_cookie(response, _BEFORE, before, timedelta(hours=12), SIGN_IN)
        if wait is not None:
            response.headers["retry-after"] = str(ceil(wait.total_seconds()))
        return response

    def _set_cookie(
        self, response: Response, name: str, value: str, lasts: timedelta, path: str = "/"
    ) -> None:
        response.set_cookie(
            name, value, max_age=int(lasts.total_seconds()), path=path, httponly=True,
            samesite="lax", secure=is_https(self._dashboard),
        )  # fmt: skip

    def _sign_out(self, act: Act) -> Response:
        session = act.visit.session
        if session is not None:
            self._people.end_session(
                session.id, of=act.person, who=act.person.name, now=self._clock()
            )
        response = RedirectResponse(SIGN_IN, 303)
        response.delete_cookie(
            cookie_name(self._dashboard), path="/", httponly=True, samesite="lax",
            secure=is_https(self._dashboard),
        )  # fmt: skip
        # What was shown to one person is not for the next one at this browser.
        response.headers["clear-site-data"] = '"cache"'
        return response

    # --- one's own account ---------------------------------------------------------------------

    def me(self, request: Request) -> Response:
        return self._me(request)

    def me_with(self, request: Request, made: str) -> Response:
        """With a token that was just made: it is shown this once."""
        return self._me(request, made=made)

    def _me(
        self, request: Request, said: str | None = None, status: int = 200, made: str | None = None
    ) -> Response:
        visit = visit_of(request)
        if visit.person is None:
            return RedirectResponse(f"{SIGN_IN}?next=/me", 303)
        now = self._clock()
        sessions = self._people.sessions(visit.person.name, rules=self._rules, now=now)
        facts = {
            "title": "Your account",
            "person": visit.person,
            "sessions": [self._session(one, visit.session, now) for one in sessions],
            "tokens": [self._token(one, now) for one in self._tokens.of(visit.person)],
            "longest_label": LONGEST_LABEL,
            "made": made,
            "said": said,
            "is_done": request.query_params.get("done") == "1",
        }
        return self._render(request, "me", self._frame(now) | facts, status)

    def _session(self, one: PageSession, here: PageSession | None, now: datetime) -> dict[str, Any]:
        zone = self._config.zone_of()
        return {
            "id": one.id,
            "is_this": here is not None and one.id == here.id,
            "agent": clean(one.agent) or "unknown browser",
            "address": clean(one.address),
            "since": local(one.made_at, zone),
            "seen": ago(now - one.seen_at),
        }

    def _token(self, one: ApiToken, now: datetime) -> dict[str, Any]:
        return {
            "id": one.id,
            "label": clean(one.label),
            "since": local(one.made_at, self._config.zone_of()),
            "seen": None if one.seen_at is None else ago(now - one.seen_at),
        }

    async def change_password(self, request: Request) -> Response:
        form = Form(await request.body())
        visit = visit_of(request)

        def change(act: Act) -> Response:
            if not hmac.compare_digest(form.raw("new").encode(), form.raw("again").encode()):
                raise UsageError("the new password was typed in two ways")
            session = act.visit.session
            self._people.set_password(
                act.person.name, form.raw("new"), who=act.person.name, now=self._clock(),
                but=None if session is None else session.id,
            )  # fmt: skip
            return RedirectResponse("/me?done=1", 303)

        if visit.person is not None and visit.is_ours(form.raw("token")):
            address = address_of(request, self._dashboard.sign_in)
            wait = self._attempts.begin(visit.person.name, address, self._clock())
            if wait is not None:
                return await run_sync(self._me, request, "Too many attempts. Wait a little.", 429)
            old = form.raw("old")
            if await self._checked(self._people.check, visit.person.name, old) is None:
                return await run_sync(self._me, request, "The old password is not right.", 403)
            self._attempts.succeeded(visit.person.name, address)
        answer = partial(self._acting.answer, request, form, Role.VIEWER, change)
        return await run_sync(answer, limiter=self._hashing)

    def _end_session(self, act: Act) -> Response:
        number = act.form.raw("session")
        if not (number.isascii() and number.isdigit()) or len(number) > 9:
            raise UsageError("that is no session")
        self._people.end_session(int(number), of=act.person, who=act.person.name, now=self._clock())
        return RedirectResponse("/me", 303)


def _agent(text: str) -> str:
    """What a person calls their browser, of what it calls itself."""
    browser = next((name for mark, name in _BROWSERS if mark in text), "")
    system = next((name for mark, name in _SYSTEMS if mark in text), "")
    if browser and system:
        return f"{browser} on {system}"
    return browser or system or clean(text)[:60]
