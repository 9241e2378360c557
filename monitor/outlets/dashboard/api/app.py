"""The API's addresses: GET and HEAD only, all that goes wrong as application/problem+json."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from itertools import chain
from math import ceil
from typing import Any

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from monitor.outlets.dashboard.api.description import description
from monitor.outlets.dashboard.api.endpoints import ENDPOINTS, Endpoint, Sources
from monitor.outlets.dashboard.api.exports import FILES, as_csv, as_parquet, file_name
from monitor.outlets.dashboard.api.limits import Allowance
from monitor.outlets.dashboard.api.problems import HANDLERS, Fault, later, problem
from monitor.outlets.dashboard.api.questions import FORMS, TABLES, AskExport

_LONGEST_QUERY = 4_000
_EXPORTS_AT_ONCE = 2


def build_api(on: Sources, allowance: Allowance | None = None) -> ASGIApp:
    """allowance : of each address; usual: 500 requests at once and 50 a second after that"""
    described = json.dumps(description()).encode()

    def openapi(request: Request) -> Response:
        return Response(described, media_type="application/json")

    exports = _Exports(on)
    return Starlette(
        routes=[
            Route("/openapi.json", openapi),
            *[Route(one.path, _answering(on, one)) for one in ENDPOINTS],
            Route("/exports/{what}", exports.give),
        ],
        middleware=[Middleware(_Guard, allowance=allowance or Allowance(50, 500))],
        exception_handlers=HANDLERS,
    )


class _Guard:
    """Refuses what is too much, before any work is done for it."""

    def __init__(self, app: ASGIApp, allowance: Allowance) -> None:
        self._app, self._allowance = app, allowance

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused: Response | None = None
        wait = self._allowance.wait_s((scope.get("client") or ("?",))[0])
        if wait:
            refused = later(429, "Asked too often.", ceil(wait))
        elif len(scope["query_string"]) > _LONGEST_QUERY:
            refused = problem(414, f"The query is longer than {_LONGEST_QUERY:,} bytes.")
        await (refused or self._app)(scope, receive, send)


def _answering(on: Sources, one: Endpoint) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        found = one.work(on, asked(request, one.question))
        return Response(found.model_dump_json(), media_type="application/json")

    return answer


def asked(request: Request, question: type[BaseModel]) -> Any:
    """Raises ValidationError for what cannot be used, and for what is given twice."""
    given = request.query_params.multi_items()
    values = dict(given)
    if len(values) < len(given):
        twice = sorted({name for name, _ in given if sum(name == one for one, _ in given) > 1})
        raise ValidationError.from_exception_data(
            "query",
            [{"type": "value_error", "loc": (name,), "input": None,
              "ctx": {"error": ValueError("is given more than once")}} for name in twice],
        )  # fmt: skip
    return question.model_validate(values)


class _Exports:
    def __init__(self, on: Sources) -> None:
        self._on = on
        self._turns = threading.BoundedSemaphore(_EXPORTS_AT_ONCE)

    def give(self, request: Request) -> Response:
        what, ask = request.path_params["what"], asked(request, AskExport)
        if what not in TABLES:
            known = f"is one of {', '.join(TABLES)}"
            return problem(422, "There is no such table.", [Fault(name="what", detail=known)])
        if ask.dish is not None:
            self._on.store.lines.line(ask.dish)
        media_type, suffix = FORMS[ask.form]
        name = file_name(what, suffix, self._on.clock())
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        if request.method == "HEAD":
            return Response(media_type=media_type, headers=headers)
        if not self._turns.acquire(blocking=False):
            return later(429, "Other exports are under way.", 10)
        content = self._to_its_end(self._content(what, ask))
        try:
            # Whatever can go wrong at its begin goes wrong before the answer has begun.
            first = next(content)
        except ImportError:
            return problem(
                406, "Parquet needs a package that this server lacks: colonywatch[parquet]."
            )
        return StreamingResponse(chain([first], content), media_type=media_type, headers=headers)

    def _content(self, what: str, ask: AskExport) -> Iterator[bytes]:
        file = FILES[what]
        portions = file.rows(self._on.store, self._on.config, ask.dish)
        if ask.form == "parquet":
            return as_parquet(file, portions)
        return as_csv(file, portions, german=ask.form == "csv-de")

    def _to_its_end(self, content: Iterator[bytes]) -> Iterator[bytes]:
        """Gives the turn back at the end, also where the reader has gone before it."""
        try:
            yield from content
        finally:
            self._turns.release()
