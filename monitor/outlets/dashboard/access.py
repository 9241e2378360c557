"""Who is asking, and may they? Before any page: without an account nobody sees one, once there are
accounts.

A request is known by its session's cookie, or by what the web server in front says; a program's, to
the API alone, by a token of its person. Forms carry a token that a page elsewhere cannot know, and
browsers that say where a form comes from are believed.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from monitor.config.outlets import DashboardConfig
from monitor.config.sign_in import SignInConfig
from monitor.culture import PageSession, Person, Role
from monitor.errors import RecordError, UsageError
from monitor.outlets.dashboard.api.problems import problem
from monitor.outlets.wording import clean
from monitor.record.api_tokens import ApiTokens
from monitor.record.people import PeopleRecord, SessionRules

log = logging.getLogger(__name__)

SIGN_IN = "/sign-in"
_SAFE = ("GET", "HEAD", "OPTIONS")
_US = "colonywatch"
_LONGEST_TOKEN = 200
_API = "/api/"
Say = Callable[[Request, str, str, int], Response]


@dataclass(frozen=True)
class Visit:
    """Somebody who asks for something.

    person : None = has not signed in
    accounts : are there any? Without them everybody who reaches the pages may look
    session : None of one whom the web server in front vouches for
    form_tokens : the first goes into forms; any of them comes back in one of ours
    by_proxy : what the web server in front said, where that is nobody here
    """

    person: Person | None = None
    accounts: bool = False
    session: PageSession | None = None
    form_tokens: tuple[str, ...] = ()
    by_proxy: str | None = None

    def may(self, needed: Role) -> bool:
        if self.person is not None:
            return self.person.role.may(needed)
        return needed is Role.VIEWER and not self.accounts

    @property
    def may_look(self) -> bool:
        return self.may(Role.VIEWER)

    @property
    def may_decide(self) -> bool:
        return self.may(Role.OPERATOR)

    @property
    def may_manage(self) -> bool:
        return self.may(Role.ADMIN)

    @property
    def form_token(self) -> str:
        return self.form_tokens[0] if self.form_tokens else ""

    def is_ours(self, token: str) -> bool:
        """Does a form that holds this token come from a page that was given to this visitor?"""
        given = token[:_LONGEST_TOKEN].encode()
        return any(hmac.compare_digest(one.encode(), given) for one in self.form_tokens)


NOBODY = Visit(accounts=True)


def visit_of(request: Request) -> Visit:
    """Who asks, as `Access` found out. For every page and every act."""
    found = request.scope.get("state", {}).get("visit", NOBODY)
    assert isinstance(found, Visit)
    return found


def session_rules(settings: SignInConfig) -> SessionRules:
    return SessionRules(
        idle=timedelta(hours=settings.idle_h), longest=timedelta(days=settings.longest_days)
    )


def cookie_name(dashboard: DashboardConfig) -> str:
    """Browsers take a name with that beginning only by https, from this machine alone."""
    return "__Host-session" if is_https(dashboard) else "session"


def is_https(dashboard: DashboardConfig) -> bool:
    """Do people reach the pages that way? The web server in front speaks plainly with us."""
    return (dashboard.url or "").startswith("https:")


def address_of(request: Request, settings: SignInConfig) -> str:
    """Of whom it comes from: behind the web server in front, as that says."""
    address = request.client.host if request.client is not None else ""
    said = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
    for one in reversed([part.strip() for part in said if part.strip()]):
        if not settings.is_proxy(address):
            break
        address = one
    return clean(address)[:60]


def _token_shown(request: Request) -> str | None:
    """What a program shows to the API; None where it shows nothing, and on the pages."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not request.url.path.startswith(_API):
        return None
    return token.strip()[:_LONGEST_TOKEN]


class Access:
    """open_paths : what everybody may see; open_folders : and all below these

    say : a page with a title, a text and a status
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        people: PeopleRecord,
        tokens: ApiTokens,
        dashboard: DashboardConfig,
        key: bytes,
        clock: Callable[[], datetime],
        say: Say,
        open_paths: Collection[str],
        open_folders: tuple[str, ...] = ("/answer/",),
    ) -> None:
        self._app, self._people, self._tokens, self._dashboard = app, people, tokens, dashboard
        self._settings = dashboard.sign_in
        self._rules = session_rules(dashboard.sign_in)
        self._key, self._clock, self._say = key, clock, say
        self._open_paths, self._open_folders = frozenset(open_paths), open_folders

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        path = request.url.path
        if path in self._open_paths and path != SIGN_IN and request.method in _SAFE:
            await self._app(scope, receive, send)
            return
        try:
            visit = await run_sync(self._visit, request)
        except RecordError as problem:
            log.error("%s", problem)
            text = "The record cannot be read at the moment. Try again in a minute."
            await self._say(request, "Not possible now", text, 503)(scope, receive, send)
            return
        scope.setdefault("state", {})["visit"] = visit
        refusal = self._refusal(request, visit)
        await (self._app if refusal is None else refusal)(scope, receive, send)

    def _refusal(self, request: Request, visit: Visit) -> Response | None:
        acts = request.method not in _SAFE
        if acts and request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            text = "This was sent by a page elsewhere. Nothing was done."
            return self._say(request, "Not possible", text, 403)
        path = request.url.path
        if path in self._open_paths or path.startswith(self._open_folders):
            return None
        if not visit.accounts and not self._dashboard.is_local:
            text = "There are no accounts. Make one on the machine: colonywatch users add"
            return self._say(request, "Not open", text, 503)
        if visit.may_look or path == SIGN_IN:
            return None
        if path.startswith(_API):
            return problem(
                401, "Only those who have signed in are answered, and programs that show a token: "
                "Authorization: Bearer cw_...",
            )  # fmt: skip
        if visit.by_proxy is not None:
            text = f"{clean(visit.by_proxy)[:80]} has no account here. Ask an admin for one."
            return self._say(request, "No account", text, 403)
        if acts:
            text = "You are signed out. Nothing was done. Sign in, and try again."
            return self._say(request, "Signed out", text, 401)
        query = f"?{request.url.query}" if request.url.query else ""
        wanted = quote(f"{path}{query}", safe="/")
        to = SIGN_IN if wanted == "/" else f"{SIGN_IN}?next={wanted}"
        return RedirectResponse(to, 303)

    # --- who it is -----------------------------------------------------------------------------

    def _visit(self, request: Request) -> Visit:
        now = self._clock()
        shown = _token_shown(request)
        if shown is not None:
            person = self._tokens.person_of(shown, now=now)
            # Who shows a token wants to be known by it, and by nothing else.
            return Visit(person, accounts=True)
        said = self._said_by_proxy(request)
        if said is not None:
            person = self._known(said, now)
            if person is None:
                return Visit(accounts=True, by_proxy=said)
            days = (now.date(), now.date() - timedelta(days=1))
            tokens = tuple(self._sealed(f"{person.id} {day.isoformat()}") for day in days)
            return Visit(person, True, None, tokens)
        token = request.cookies.get(cookie_name(self._dashboard), "")
        if 0 < len(token) <= _LONGEST_TOKEN:
            session = self._people.session_of(token, rules=self._rules, now=now)
            if session is not None:
                return Visit(session.person, True, session, (self._sealed(f"session {token}"),))
        return Visit(accounts=self._settings.header is not None or self._people.exist())

    def _said_by_proxy(self, request: Request) -> str | None:
        """Who signed in at the web server in front. Two of them are nobody."""
        header = self._settings.header
        peer = request.client.host if request.client is not None else ""
        if header is None or not self._settings.is_proxy(peer):
            return None
        said = [one.strip() for one in request.headers.getlist(header)]
        if len(said) != 1 or not said[0]:
            return None
        try:
            # Headers come as bytes; servers in front send names in UTF-8.
            return said[0].encode("latin-1").decode("utf-8")
        except UnicodeDecodeError:
            return said[0]

    def _known(self, name: str, now: datetime) -> Person | None:
        person = self._people.find(name)
        if person is not None or self._settings.unknown == "refuse":
            return person
        try:
            return self._people.add(name, Role.VIEWER, password=None, who=_US, now=now)
        except UsageError as problem:
            # Disabled, no name, or the first of all.
            log.warning("sign-in by %s: %s", self._settings.header, clean(str(problem)))
            return None

    def _sealed(self, text: str) -> str:
        digest = hmac.new(self._key, text.encode("utf-8", "replace"), hashlib.sha256)
        return digest.hexdigest()
