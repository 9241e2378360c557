"""The OpenAPI 3.1 document, made of the same table and types that answer."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from monitor.outlets.dashboard.api.endpoints import ENDPOINTS
from monitor.outlets.dashboard.api.problems import MEDIA_TYPE, Problem
from monitor.outlets.dashboard.api.questions import TABLES, AskExport

_REF = "#/components/schemas/{model}"
_WAIT = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
_PROBLEMS = {
    400: "The request is not one of HTTP, or for another host.",
    401: "There are accounts here, and neither a session's cookie nor a token was shown.",
    404: "There is no such dish on record.",
    405: "Only GET and HEAD.",
    406: "The server cannot write this form.",
    414: "The query is too long.",
    422: "Parameters that cannot be used; `errors` says which and why.",
    429: "Asked too often; wait as Retry-After says.",
    500: "A fault of the server, which its log has.",
    503: "The record cannot be read at the moment.",
}


def description() -> dict[str, Any]:
    answers: list[tuple[type[BaseModel], Any]] = [
        (one.answer, "serialization") for one in ENDPOINTS
    ]
    _, schemas = models_json_schema([*answers, (Problem, "serialization")], ref_template=_REF)
    paths: dict[str, Any] = {}
    for one in ENDPOINTS:
        missing = [404] if one.may_be_missing else []
        paths[one.path] = {
            "get": {
                "operationId": one.path.strip("/"),
                "summary": one.summary,
                "parameters": _parameters(one.question),
                "responses": {
                    "200": _answer(
                        one.summary, "application/json",
                        {"$ref": _REF.format(model=one.answer.__name__)},
                    ),
                    **_problems([401, 422, 429, 500, 503, *missing]),
                },
            }
        }  # fmt: skip
    paths["/exports/{what}"] = {"get": _export()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "colonywatch",
            "version": version("colonywatch"),
            "description": "Everything on the pages as JSON, and whole tables as files. Times are "
            "ISO 8601 with an offset; shares are 0..1; the last part of a name is its unit.",
            "license": {"name": "BSD-3-Clause", "identifier": "BSD-3-Clause"},
        },
        "servers": [{"url": "/api/v1"}],
        "paths": paths,
        # Without accounts nothing has to be shown.
        "security": [{"token": []}, {}],
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token that a person made on their page (/me).",
                }
            },
        },
    }


def _parameters(question: type[BaseModel]) -> list[dict[str, Any]]:
    schema = question.model_json_schema(mode="validation")
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "description": one.get("description", ""),
            "schema": _plain(one, schema.get("$defs", {})),
        }
        for name, one in schema.get("properties", {}).items()
    ]


def _plain(schema: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """Without references and null: what is not given in a query is left out."""
    if "$ref" in schema:
        schema = {**known[schema["$ref"].rsplit("/", 1)[1]], **schema}
    if "anyOf" in schema:
        (one,) = [part for part in schema["anyOf"] if part.get("type") != "null"]
        schema = {**_plain(one, known), **schema}
    left_out = ("$ref", "anyOf", "title", "description")
    return {
        key: value
        for key, value in schema.items()
        if key not in left_out and not (key == "default" and value is None)
    }


def _export() -> dict[str, Any]:
    bytes_of = {"schema": {"type": "string"}}
    return {
        "operationId": "export",
        "summary": "A whole table as a file",
        "parameters": [
            {"name": "what", "in": "path", "required": True,
             "schema": {"type": "string", "enum": list(TABLES)}},
            *_parameters(AskExport),
        ],
        "responses": {
            "200": {
                "description": "The file; what its columns mean is under /exports.",
                "content": {"text/csv": bytes_of, "application/vnd.apache.parquet": bytes_of},
            },
            **_problems([401, 404, 406, 422, 429, 500, 503]),
        },
    }  # fmt: skip


def _answer(words: str, media_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": words, "content": {media_type: {"schema": schema}}}


def _problems(statuses: Sequence[int]) -> dict[str, Any]:
    found = {}
    for status in sorted(statuses):
        one = _answer(_PROBLEMS[status], MEDIA_TYPE, {"$ref": _REF.format(model="Problem")})
        found[str(status)] = one | ({"headers": _WAIT} if status in (429, 503) else {})
    return found
