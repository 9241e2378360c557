"""The pages' addresses. GET only looks, HEAD too: mail scanners follow links. POST answers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import parse_qs, quote, unquote

from anyio.to_thread import run_sync
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.config import Config
from monitor.culture import Alert, RemovalPlan
from monitor.errors import RecordError, UsageError
from monitor.outlets.answer_links import AnswerLinks, LinkError, is_for
from monitor.outlets.dashboard.access import SIGN_IN, Access, visit_of
from monitor.outlets.dashboard.act_pages import ActPages
from monitor.outlets.dashboard.api.app import build_api
from monitor.outlets.dashboard.api.endpoints import Sources
from monitor.outlets.dashboard.asking import whole
from monitor.outlets.dashboard.boards import Boards
from monitor.outlets.dashboard.facts import RANGES, USUAL_RANGE, Facts
from monitor.outlets.dashboard.forms import Acting
from monitor.outlets.dashboard.health import Health
from monitor.outlets.dashboard.help_pages import HelpPages
from monitor.outlets.dashboard.look import PageFiles, choose_theme, look_of
from monitor.outlets.dashboard.people_pages import PeoplePages
from monitor.outlets.dashboard.pictures import Drawn, overlay_file, small_picture
from monitor.outlets.dashboard.plan_pages import CheckGrounds, PlanPages
from monitor.outlets.dashboard.series_pages import SeriesPages
from monitor.outlets.dashboard.sign_in_pages import SignInPages
from monitor.outlets.dashboard.token_pages import TokenPages
from monitor.outlets.dashboard.viewer_pages import ShiftBetween, ViewerPages
from monitor.outlets.overlays_again import bring_back
from monitor.outlets.wording import clean
from monitor.record.alerts import standing
from monitor.record.overviews import FieldImage
from monitor.record.store import Store

log = logging.getLogger(__name__)

_NAME, _NAME_S = "who", 365 * 86_400
_LONGEST_WHO, _LONGEST_NOTE, _LONGEST_REST_H = 80, 500, 24 * 31
_LARGEST_FORM = 16_384
_WIDTHS = {"small": 420, "large": 1400}
_MOST_FIELDS = 200
_FOREVER = "private, max-age=31536000, immutable"
_HEADERS = {
    "content-security-policy": "default-src 'none'; img-src 'self'; style-src 'self'; "
    "script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # The address of an answer is the right to give it.
    "referrer-policy": "no-referrer",
    "x-robots-tag": "noindex, nofollow",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


def build_app(
    config: Config,
    store: Store,
    links: AnswerLinks,
    *,
    clock: Callable[[], datetime],
    draw_plan: Callable[[RemovalPlan], bytes],
    health: Health | None = None,
    shift_between: ShiftBetween | None = None,
    check_grounds: CheckGrounds | None = None,
) -> ASGIApp:
    """draw_plan : the plan drawn on its pictures, as PNG
    health : for programs that watch this one
    shift_between, check_grounds : as of `ViewerPages` and `PlanPages`
    """
    pages = _Pages(config, store, links, clock, draw_plan)
    boards = Boards(config, store, pages.facts, clock, pages)
    files = [f"/{name}" for name in (*pages.files.names, "favicon.ico")]
    watched = health.routes() if health is not None else []
    app = Starlette(
        routes=[
            Route("/", boards.overview),
            Route("/plates", boards.plates),
            Route("/wall", boards.wall),
            Route("/changes", boards.changes),
            Mount("/api/v1", build_api(Sources(config, store, boards, pages.facts, clock))),
            Route("/dish", pages.dish),
            Route("/alerts", pages.alerts),
            Route("/plans", pages.plans),
            Route("/answer/{token}", pages.answer, methods=["GET", "POST"]),
            Route("/series.png", pages.series),
            Route("/picture", pages.picture),
            Route("/plan.png", pages.plan),
            Route("/help", pages.help.give),
            Route("/help/{path:path}", pages.help.give),
            Route("/theme", choose_theme, methods=["POST"]),
            *_looking(config, store, clock, pages, shift_between),
            *[Route(path, pages.files.give) for path in files],
            *_deciding(config, store, pages, clock, check_grounds),
            Route("/alive", pages.alive),
            *watched,
        ],
        middleware=[
            Middleware(
                TrustedHostMiddleware,
                allowed_hosts=sorted(config.outlets.dashboard.names),
                www_redirect=False,
            ),
            Middleware(
                Access, people=store.people, tokens=store.api_tokens,
                dashboard=config.outlets.dashboard, key=links.key_for("forms"), clock=clock,
                say=pages.plain,
                open_paths=[*files, *(one.path for one in watched), "/alive", "/theme", SIGN_IN],
            ),
        ],
        exception_handlers=pages.handlers,
        max_body_size=_LARGEST_FORM,
    )  # fmt: skip
    # Around all, so that pages on faults have them too.
    return _SafeHeaders(app)


def _looking(
    config: Config,
    store: Store,
    clock: Callable[[], datetime],
    pages: _Pages,
    shift_between: ShiftBetween | None,
) -> list[Route]:
    """Scans and series looked at closely."""
    viewer = ViewerPages(
        config, store, clock=clock, render=pages.page, frame=pages.facts.frame,
        shift_between=shift_between,
    )  # fmt: skip
    series = SeriesPages(config, store, clock=clock, render=pages.page, frame=pages.facts.frame)
    return [*viewer.routes, *series.routes]


def _deciding(
    config: Config,
    store: Store,
    pages: _Pages,
    clock: Callable[[], datetime],
    check_grounds: CheckGrounds | None,
) -> list[Route]:
    """What people do, and who they are."""
    facts, render = pages.facts, pages.page
    acting = Acting(render, facts.frame, clock)
    signing_in = SignInPages(config, store, acting, render=render, frame=facts.frame, clock=clock)
    plans = PlanPages(store, facts, acting, render=render, clock=clock, check_grounds=check_grounds)
    return [
        *TokenPages(store, acting, me=signing_in.me_with, clock=clock).routes,
        *signing_in.routes,
        *PeoplePages(config, store, acting, render=render, frame=facts.frame, clock=clock).routes,
        *ActPages(config, store, facts, acting, render=render, clock=clock).routes,
        *plans.routes,
    ]


class _SafeHeaders:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                had = {name for name, _ in message["headers"]}
                # Pages tell of the present; pictures say themselves how long they hold.
                for name, value in (_HEADERS | {"cache-control": "no-store"}).items():
                    if name.encode() not in had:
                        message["headers"].append((name.encode(), value.encode()))
            await send(message)

        await self._app(scope, receive, with_headers)


class _Pages:
    def __init__(
        self,
        config: Config,
        store: Store,
        links: AnswerLinks,
        clock: Callable[[], datetime],
        draw_plan: Callable[[RemovalPlan], bytes],
    ) -> None:
        self._config = config
        self._store = store
        self._links = links
        self._clock = clock
        self._draw_plan = draw_plan
        self.facts = Facts(config, store, links)
        self._small, self._plots = Drawn(megabytes=40), Drawn(megabytes=20)
        self._templates = Environment(
            loader=PackageLoader("monitor.outlets.dashboard", "pages"),
            autoescape=select_autoescape(("html.j2",)),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.files = PageFiles()
        self._templates.globals["file"] = self.files.address
        self.help = HelpPages()
        self._templates.globals["has_help"] = self.help.are_there

    # --- looking -------------------------------------------------------------------------------

    def dish(self, request: Request) -> Response:
        span = _span(request)
        return self.page(request, "dish", self.facts.dish(_dish(request), span, self._clock()))

    def alerts(self, request: Request) -> Response:
        return self.page(request, "alerts", self.facts.alerts(self._clock()))

    def plans(self, request: Request) -> Response:
        return self.page(request, "plans", self.facts.plans(self._clock()))

    def alive(self, request: Request) -> Response:
        """For who watches the dashboard: it answers, and can read the record."""
        self._store.overviews.counts()
        return PlainTextResponse("ok\n")

    # --- pictures ------------------------------------------------------------------------------

    def picture(self, request: Request) -> Response:
        reading = whole(request, "reading", most=2**62)
        number = whole(request, "field", most=_MOST_FIELDS - 1)
        size = request.query_params.get("size", "full")
        folder = self._config.record.folder

        def draw() -> bytes | None:
            fields = self._store.overviews.pictures(reading, limit=number + 1)
            if len(fields) <= number:
                return None
            self._bring_back(fields[number])
            if size not in _WIDTHS:
                return overlay_file(folder, fields[number])
            return small_picture(folder, fields[number], _WIDTHS[size])

        key = reading, number, size if size in _WIDTHS else "full", request.query_params.get("of")
        # Whole overlays are large, and seldom asked for twice.
        content = draw() if key[2] == "full" else self._small.picture(key, draw)
        return _image(content, "image/jpeg")

    def _bring_back(self, field: FieldImage) -> None:
        """Its overlay, where that was removed since: drawn again, and kept."""
        if field.overlay is None or field.capture_id is None:
            return
        if not (self._config.record.folder / field.overlay).exists():
            bring_back(self._config, self._store.picture_files.of(field.capture_id))

    def series(self, request: Request) -> Response:
        # With it comes matplotlib, which takes a second to load: not before the first plot.
        from monitor.outlets.figures.series import plot_story

        dish, span = _dish(request), _span(request)

        def draw() -> bytes:
            line = self._store.lines.line(dish)
            until = self._store.dishes.newest_at(dish) or self._clock()
            told = self._store.timelines.of(dish, since=until - timedelta(days=RANGES[span]))
            limits = self._config.decisions.limits_for(dish, line.source, line.label)
            return plot_story(told, limits, zone=self._config.zone_of(line.source))

        mark = request.query_params.get("of")
        return _image(self._plots.picture((dish, span, mark), draw), "image/png")

    def plan(self, request: Request) -> Response:
        plan = self._store.plans.plan(request.query_params.get("id", ""))
        content = self._plots.picture((plan.id, plan.status), partial(self._draw_plan, plan))
        return _image(content, "image/png")

    # --- answering -----------------------------------------------------------------------------

    async def answer(self, request: Request) -> Response:
        body = await request.body() if request.method == "POST" else None
        return await run_sync(self._answer, request, body)

    def _answer(self, request: Request, body: bytes | None) -> Response:
        now = self._clock()
        try:
            alert_id, mark = self._links.alert_of(request.path_params["token"], now)
            alert = self._alert(alert_id, mark)
        except LinkError as problem:
            said = f"{problem} Nothing was changed."
            return self.page(
                request, "message", self.facts.message("Link not valid", said, now), 410
            )
        if body is None:
            return self._answer_page(request, alert)
        form = {key: values[0] for key, values in parse_qs(body.decode("utf-8", "replace")).items()}
        person = visit_of(request).person
        who = clean(form.get("who", ""))[:_LONGEST_WHO].strip() if person is None else person.name
        note = clean(form.get("note", ""))[:_LONGEST_NOTE].strip() or None
        keeps = form.get("rest_h") == "keep"
        rest_h = 0.0 if keeps else _hours(form.get("rest_h", ""))
        if not who or rest_h is None:
            said = "Please give your name." if not who else "That is not a valid snooze time."
            return self._answer_page(request, alert, said=said, form=form, status=422)
        until = now + timedelta(hours=rest_h) if rest_h else None
        done = self._store.alerts.answer(
            alert.id,
            who=who,
            note=note,
            snooze_until=until,
            keep_snooze=keeps,
            as_of=form.get("as_of", ""),
            now=now,
        )
        if not done.is_new:
            is_mine = done.alert.acknowledged_by == who and done.alert.note == note
            if not is_mine:
                said = "Nothing was changed: the alert was answered or ended meanwhile. See below."
                return self._answer_page(request, done.alert, said=said, form=form, status=409)
        else:
            log.info("alert=%d: answered by %s%s", alert.id, who, " and snoozed" if until else "")
        response = RedirectResponse(request.url.path, status_code=303)
        response.set_cookie(
            _NAME, quote(who), max_age=_NAME_S, httponly=True, samesite="lax", path="/answer",
            secure=request.url.scheme == "https",
        )  # fmt: skip
        return response

    def _alert(self, alert_id: int, mark: int) -> Alert:
        try:
            alert = self._store.alerts.alert(alert_id)
        except UsageError as problem:
            raise LinkError("The alert of this link is not on record.") from problem
        if not is_for(alert, mark):
            raise LinkError("The alert of this link is no longer on record.")
        return alert

    def _answer_page(
        self,
        request: Request,
        alert: Alert,
        *,
        said: str | None = None,
        form: dict[str, str] | None = None,
        status: int = 200,
    ) -> Response:
        known = clean(unquote(request.cookies.get(_NAME, "")))[:_LONGEST_WHO]
        person = visit_of(request).person
        facts = self.facts.answer(alert, self._clock()) | {
            "said": said,
            "as_of": standing(alert),
            "who": (form or {}).get("who", known) if person is None else person.name,
            "to": "",
            "typed": (form or {}).get("note", ""),
            "longest_who": _LONGEST_WHO,
            "longest_note": _LONGEST_NOTE,
        }
        return self.page(request, "answer", facts, status)

    # --- what goes wrong -----------------------------------------------------------------------

    @property
    def handlers(self) -> dict[Any, Callable[[Request, Exception], Response]]:
        return {
            HTTPException: self.not_possible,
            UsageError: self.not_there,
            RecordError: self.out_of_order,
            Exception: self.fault,
        }

    def not_possible(self, request: Request, problem: Exception) -> Response:
        status = problem.status_code if isinstance(problem, HTTPException) else 400
        said = problem.detail if isinstance(problem, HTTPException) else str(problem)
        text = "There is no page at this address." if said == "Not Found" else said
        return self.plain(request, "Not possible", text, status)

    def not_there(self, request: Request, problem: Exception) -> Response:
        return self.plain(request, "Not on record", clean(str(problem)), 404)

    def out_of_order(self, request: Request, problem: Exception) -> Response:
        log.error("%s", problem)
        return self.plain(
            request, "The record cannot be read at the moment", "Try again in a minute.", 503
        )

    def fault(self, request: Request, problem: Exception) -> Response:
        # The server logs it.
        return self.plain(request, "Something went wrong here", "The log has the details.", 500)

    def plain(self, request: Request, title: str, text: str, status: int) -> Response:
        """Works also where the record does not."""
        facts = {"title": title, "text": text, **look_of(request)}
        return HTMLResponse(self._templates.get_template("plain.html.j2").render(facts), status)

    def piece(self, name: str, facts: dict[str, object]) -> Markup:
        # The template has escaped it.
        return Markup(self._templates.get_template(f"{name}.html.j2").render(facts))  # nosec B704

    def page(
        self, request: Request, name: str, facts: dict[str, object], status: int = 200
    ) -> Response:
        template = self._templates.get_template(f"{name}.html.j2")
        seen = look_of(request) | {"visit": visit_of(request)}
        return HTMLResponse(template.render(facts | seen), status)


def _image(content: bytes | None, media_type: str) -> Response:
    if content is None:
        raise HTTPException(404, "The image is gone.")
    return Response(content, media_type=media_type, headers={"cache-control": _FOREVER})


def _dish(request: Request) -> str:
    return request.query_params.get("name", "")


def _span(request: Request) -> str:
    span = request.query_params.get("days", USUAL_RANGE)
    return span if span in RANGES else USUAL_RANGE


def _hours(text: str) -> float | None:
    """0 = no rest; None where it is no time."""
    try:
        hours = float(text or 0)
    except ValueError:
        return None
    return hours if 0 <= hours <= _LONGEST_REST_H else None
