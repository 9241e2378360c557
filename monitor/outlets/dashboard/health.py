"""Addresses for programs that watch this one: /metrics, /healthz, /readyz.

None of them tells of a dish to whoever may not know it: figures go to this machine alone, or to who
holds the token.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from monitor.errors import MonitorError
from monitor.outlets.metrics import CONTENT_TYPE, Metrics
from monitor.record.store import Store

PATHS = ("/metrics", "/healthz", "/readyz")
# A proxy says for whom it asks; what it forwards comes from elsewhere.
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")


class Health:
    """token_file : see `MetricsConfig`"""

    def __init__(
        self,
        store: Store,
        metrics: Metrics,
        *,
        clock: Callable[[], datetime],
        token_file: Path | None = None,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._token_file = token_file

    def routes(self) -> list[Route]:
        return [
            Route("/metrics", self.metrics),
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
        ]

    def healthz(self, request: Request) -> Response:
        """This server answers. Whether anything else works is /readyz."""
        return PlainTextResponse("ok\n")

    def readyz(self, request: Request) -> Response:
        """Are cultures being watched? 503 says in words why not, and names none of them."""
        wrong: list[str] = []
        try:
            daemons = self._store.processes.living("daemon", self._clock())
        except MonitorError:
            wrong.append("the record cannot be read")
        else:
            alive = [one for one in daemons if one.alive]
            if not alive:
                wrong.append("no daemon is at work")
            elif all(one.detail.get("stopped") for one in alive):
                wrong.append("the disk is nearly full: nothing is measured")
            if any(
                not source.get("present", True)
                for one in alive
                for source in one.detail.get("sources", ())
            ):
                wrong.append("the folder of a source is out of reach")
        return JSONResponse({"ready": not wrong, "wrong": wrong}, status_code=503 if wrong else 200)

    def metrics(self, request: Request) -> Response:
        if not self._may_know(request):
            return PlainTextResponse(
                "Only this machine is answered, or who holds the token of "
                "outlets.metrics.token_file.\n",
                status_code=403,
            )
        try:
            return Response(self._metrics.text(), media_type=CONTENT_TYPE)
        except MonitorError:
            return PlainTextResponse("The record cannot be read.\n", status_code=503)

    def _may_know(self, request: Request) -> bool:
        if self._token_file is not None:
            try:
                token = self._token_file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError):
                return False
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            if token and scheme.lower() == "bearer":
                return hmac.compare_digest(given.strip().encode(), token.encode())
        if any(name in request.headers for name in _FORWARDED):
            return False
        return request.client is not None and _is_this_machine(request.client.host)


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
