"""Deciding on alerts and dishes, by the functions that the command line uses.

A form says which state of the thing its page showed; if that has changed, nothing is done.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from monitor.config import Config
from monitor.culture import LIVE_PLANS, Role
from monitor.decisions.passages import fresh_until
from monitor.errors import UsageError
from monitor.outlets.answer_links import dish_page
from monitor.outlets.dashboard.access import visit_of
from monitor.outlets.dashboard.facts import Facts
from monitor.outlets.dashboard.forms import LONGEST_NOTE, Act, Acting, Render, StaleError, done
from monitor.outlets.wording import STATUS_WORDS, local, where_of
from monitor.record.alerts import standing
from monitor.record.store import Store

log = logging.getLogger(__name__)

_LONGEST_REST_H = 24 * 31
_MOST_TARGETS = 384
_LONGEST_NAME = 200


class ActPages:
    def __init__(
        self, config: Config, store: Store, facts: Facts, acting: Acting, *, render: Render,
        clock: Callable[[], datetime],
    ) -> None:  # fmt: skip
        self._config, self._store, self._facts = config, store, facts
        self._acting, self._render, self._clock = acting, render, clock

    @property
    def routes(self) -> list[Route]:
        act = self._acting.act
        acts = {"note": self._note, "passage": self._passage, "end": self._end,
                "resume": self._resume}  # fmt: skip
        return [
            Route("/alert", self.alert),
            Route("/alert/answer", act(Role.OPERATOR, self._answer), methods=["POST"]),
            Route("/decide", self.decide),
            *[
                Route(f"/decide/{name}", act(Role.OPERATOR, do), methods=["POST"])
                for name, do in acts.items()
            ],
        ]

    # --- alerts --------------------------------------------------------------------------------

    def alert(self, request: Request) -> Response:
        """The alert, and the form by which somebody who has signed in answers it."""
        visit = visit_of(request)
        alert = self._store.alerts.alert(_number(request.query_params.get("id", "")))
        facts = self._facts.answer(alert, self._clock()) | {
            "said": None,
            "as_of": standing(alert),
            "who": "" if visit.person is None else visit.person.name,
            "typed": "",
            "longest_who": 0,
            "longest_note": LONGEST_NOTE,
            "to": "/alert/answer",
            "is_open": alert.closed_at is None and visit.may_decide,
            "alert_id": alert.id,
            "key": form_key(),
        }
        return self._render(request, "answer", facts, 200)

    def _answer(self, act: Act) -> Response:
        number, now = _number(act.form.raw("id")), self._clock()
        page = f"/alert?id={number}"
        rest = act.form.raw("rest_h")
        keeps = rest == "keep"
        hours = 0.0 if keeps else _hours(rest)
        with self._store.acts.once(key_of(act), now=now) as is_new:
            if is_new:
                answered = self._store.alerts.answer(
                    number, who=act.person.name, note=act.form.note(),
                    snooze_until=now + timedelta(hours=hours) if hours else None,
                    keep_snooze=keeps, as_of=act.form.raw("as_of"), now=now,
                )  # fmt: skip
                if not answered.is_new:
                    raise StaleError(
                        "The alert was answered or ended after your page was loaded. "
                        "Nothing was done: see how it stands now."
                    )
        return RedirectResponse(page, 303)

    # --- dishes --------------------------------------------------------------------------------

    def decide(self, request: Request) -> Response:
        """What can be done with a dish: a form each."""
        if not visit_of(request).may_decide:
            raise HTTPException(403, "Only somebody who has signed in as operator can decide here.")
        name, now = request.query_params.get("name", ""), self._clock()
        line = self._store.lines.line(name)
        limits = self._config.decisions.limits_for(line.name, line.source, line.label)
        usual_from = fresh_until(now, limits)
        zone = self._config.zone_of(line.source)
        facts = self._facts.frame(now) | {
            "title": where_of(line.name),
            "name": line.name,
            "label": line.label,
            "page": dish_page("", line.name),
            "as_of": self._store.lines.standing(line.name),
            "status": STATUS_WORDS[self._store.lines.status(line.name)],
            "ended": None if line.ended_at is None else local(line.ended_at, zone),
            "zone": str(zone),
            "at_present": f"{now.astimezone(zone):%Y-%m-%dT%H:%M}",
            "plans": len(self._live_plans(line.name)),
            "fresh": None if usual_from is None else local(usual_from, zone),
            "longest_note": LONGEST_NOTE,
            "key": form_key(),
        }
        return self._render(request, "decide", facts, 200)

    def _live_plans(self, dish: str) -> list[str]:
        return [one.id for one in self._store.plans.all(LIVE_PLANS) if one.dish == dish]

    def _on_dish(self, act: Act, do: Callable[[str, datetime, datetime], object]) -> Response:
        """do : the dish's name, when it happened, and now"""
        name, now = act.form.raw("dish"), self._clock()
        with self._store.acts.once(key_of(act), now=now) as is_new:
            if is_new:
                if self._store.lines.standing(name) != act.form.raw("as_of"):
                    status = STATUS_WORDS[self._store.lines.status(name)]
                    raise StaleError(
                        f"{where_of(name)} has changed since your page was loaded (now: {status}). "
                        "Nothing was done: look at it again, then decide."
                    )
                do(name, self._moment(act, name, now), now)
                log.info("dish=%s: %s by %s", name, act.request.url.path, act.person.name)
        return done(act, dish_page("", name))

    def _moment(self, act: Act, dish: str, now: datetime) -> datetime:
        text = act.form.raw("at").strip()
        if not text:
            return now
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            raise UsageError(f"{text[:40]} is not a time; write it like 2026-11-03 14:00") from None
        if at.tzinfo is None:
            at = at.replace(tzinfo=self._config.zone_of(self._store.lines.line(dish).source))
        # A form knows minutes only: this minute is not in the future.
        return min(at, now) if at - now < timedelta(minutes=1) else at

    def _note(self, act: Act) -> Response:
        def do(name: str, at: datetime, now: datetime) -> object:
            return self._store.lines.annotate(
                name, act.form.text("note"), at=at, who=act.person.name, now=now
            )

        return self._on_dish(act, do)

    def _passage(self, act: Act) -> Response:
        given = [" ".join(one.split()) for one in act.form.raw("to").splitlines()]
        to = [one for one in given if one]
        if len(to) > _MOST_TARGETS or any(len(one) > _LONGEST_NAME for one in to):
            raise UsageError(f"at most {_MOST_TARGETS} names of {_LONGEST_NAME} letters")

        def do(name: str, at: datetime, now: datetime) -> object:
            return self._store.lines.passage(
                name, to, at=at, who=act.person.name, note=act.form.note(), now=now
            )

        return self._on_dish(act, do)

    def _end(self, act: Act) -> Response:
        def do(name: str, at: datetime, now: datetime) -> object:
            return self._store.lines.end(
                name, at=at, who=act.person.name, note=act.form.note(), now=now
            )

        return self._on_dish(act, do)

    def _resume(self, act: Act) -> Response:
        def do(name: str, at: datetime, now: datetime) -> object:
            return self._store.lines.resume(name, who=act.person.name, now=now)

        return self._on_dish(act, do)


def form_key() -> str:
    """By which a form is known when it comes back, and when it comes back twice."""
    return secrets.token_urlsafe(18)


def key_of(act: Act) -> str:
    """Raises UsageError where the form has none, or one that is not from us."""
    key = act.form.raw("key")
    if not re.fullmatch(r"[A-Za-z0-9_-]{20,60}", key):
        raise UsageError("the form is incomplete; load its page again")
    # Of one person's forms: another one's key stands in nobody's way.
    return f"{act.person.id}:{key}"


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise UsageError("an alert has a whole number")
    return int(text)


def _hours(text: str) -> float:
    """0 = no rest. Raises UsageError where it is no time."""
    try:
        hours = float(text or 0)
    except ValueError:
        hours = -1.0
    if not 0 <= hours <= _LONGEST_REST_H:
        raise UsageError("that is not a valid snooze time")
    return hours
