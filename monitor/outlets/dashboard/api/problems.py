"""What goes wrong, told to programs as RFC 9457 has it: application/problem+json."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus

from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from monitor.errors import RecordError, UsageError
from monitor.outlets.wording import clean

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class Fault(BaseModel):
    """One thing that is wrong with a request."""

    name: str
    detail: str


class Problem(BaseModel):
    """type : always about:blank; what it is follows from the status"""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[Fault] = []


def problem(
    status: int,
    detail: str,
    errors: list[Fault] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    told = Problem(
        title=HTTPStatus(status).phrase, status=status, detail=detail, errors=errors or []
    )
    return Response(told.model_dump_json(), status, media_type=MEDIA_TYPE, headers=headers)


def later(status: int, detail: str, after_s: int) -> Response:
    """To be asked again after that."""
    return problem(status, detail, headers={"retry-after": str(after_s)})


def not_possible(request: Request, cause: Exception) -> Response:
    assert isinstance(cause, HTTPException)
    detail = cause.detail
    if cause.status_code == 404:
        detail = "There is nothing at this address; /api/v1/openapi.json lists what there is."
    if cause.status_code == 405:
        detail = f"{request.method} is not possible here."
    return problem(cause.status_code, detail, headers=cause.headers)


def not_understood(request: Request, cause: Exception) -> Response:
    assert isinstance(cause, ValidationError)
    errors = [
        Fault(name=".".join(str(part) for part in one["loc"]) or "query", detail=one["msg"])
        for one in cause.errors(include_url=False, include_context=False, include_input=False)
    ]
    return problem(422, f"{len(errors)} parameters cannot be used as they are.", errors)


def not_there(request: Request, cause: Exception) -> Response:
    return problem(404, clean(str(cause)))


def out_of_order(request: Request, cause: Exception) -> Response:
    log.error("%s", cause)
    return later(503, "The record cannot be read at the moment; try again in a minute.", 60)


def fault(request: Request, cause: Exception) -> Response:
    # The server logs it.
    return problem(500, "Something went wrong here; the log has the details.")


HANDLERS = {
    HTTPException: not_possible,
    ValidationError: not_understood,
    UsageError: not_there,
    RecordError: out_of_order,
    Exception: fault,
}
