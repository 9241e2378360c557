"""Forms that people send: what stands in them, and how an act is refused.

Every act goes through `Acting.act`: it asks for somebody who may do it, and for a form of our own.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from monitor.culture import Person, Role
from monitor.errors import UsageError
from monitor.outlets.dashboard.access import Visit, visit_of
from monitor.outlets.wording import clean

log = logging.getLogger(__name__)

MOST_FIELDS = 4_000
LONGEST_NOTE = 500
Render = Callable[[Request, str, dict[str, Any], int], Response]
Endpoint = Callable[[Request], Awaitable[Response]]


class Form:
    """What was sent, whatever it was: names without a value are empty."""

    def __init__(self, body: bytes) -> None:
        try:
            self._fields = parse_qs(
                body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS
            )
        except ValueError:
            self._fields = {}

    def text(self, name: str, longest: int = LONGEST_NOTE) -> str:
        """One line that is fit to be shown."""
        return clean(self.raw(name))[:longest].strip()

    def raw(self, name: str) -> str:
        return self._fields.get(name, [""])[0]

    def all(self, name: str) -> list[str]:
        return self._fields.get(name, [])

    def note(self) -> str | None:
        return self.text("note") or None


class Act:
    """Somebody who may, and what they sent."""

    def __init__(self, request: Request, person: Person, visit: Visit, form: Form) -> None:
        self.request, self.person, self.visit, self.form = request, person, visit, form


class StaleError(UsageError):
    """What the page showed is not so any more; nothing was done."""


class Acting:
    """render : a request, a template's name, its facts and a status -> the page

    frame : what every page has at its top and its end
    """

    def __init__(
        self, render: Render, frame: Callable[[datetime], dict[str, Any]],
        clock: Callable[[], datetime],
    ) -> None:  # fmt: skip
        self._render, self._frame, self._clock = render, frame, clock

    def act(self, needed: Role, do: Callable[[Act], Response]) -> Endpoint:
        """An address that changes something. `do` runs in a thread of its own."""

        async def answer(request: Request) -> Response:
            form = Form(await request.body())
            return await run_sync(self.answer, request, form, needed, do)

        return answer

    def answer(
        self, request: Request, form: Form, needed: Role, do: Callable[[Act], Response]
    ) -> Response:
        visit = visit_of(request)
        if visit.person is None:
            text = "Only somebody who has signed in can do this. Nothing was done."
            return self.message(request, "Not possible", text, 401)
        if not visit.is_ours(form.raw("token")):
            text = (
                "This form is from a page that was opened before you signed in, or from elsewhere. "
                "Nothing was done. Go back, load the page again, and send it once more."
            )
            return self.message(request, "Nothing was done", text, 403)
        if not visit.may(needed):
            text = f"You are a {visit.person.role} here; this takes an {needed}. Nothing was done."
            return self.message(request, "Not possible", text, 403)
        try:
            return do(Act(request, visit.person, visit, form))
        except StaleError as problem:
            return self.message(request, "Changed meanwhile", str(problem), 409, form)
        except UsageError as problem:
            text = f"{str(problem)[:1].upper()}{str(problem)[1:]}. Nothing was done."
            return self.message(request, "Not possible", text, 422, form)

    def message(
        self, request: Request, title: str, text: str, status: int, form: Form | None = None
    ) -> Response:
        """back : the page that the form was on"""
        back = own_address(form.raw("back")) if form is not None and form.raw("back") else None
        facts = {"title": title, "text": clean(text), "back": back}
        return self._render(request, "message", self._frame(self._clock()) | facts, status)


def done(act: Act, usual: str = "/") -> Response:
    """Back to the page that the form was on: loading that again sends nothing again."""
    return RedirectResponse(own_address(act.form.raw("back"), usual), 303)


def own_address(address: str, usual: str = "/") -> str:
    """A page of ours, whatever a form or a link names."""
    is_own = address.startswith("/") and not address.startswith(("//", "/\\"))
    is_plain = address.isascii() and address.isprintable() and "\\" not in address
    return address if is_own and is_plain and len(address) <= 2_000 else usual
