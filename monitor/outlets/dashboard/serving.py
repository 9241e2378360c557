"""The dashboard's server: one process, this machine alone unless told otherwise."""

from __future__ import annotations

import logging
import socket

import uvicorn
from starlette.types import ASGIApp

from monitor.config.outlets import DashboardConfig
from monitor.errors import ConfigError

log = logging.getLogger(__name__)

_AT_ONCE, _WAITING = 64, 128
_QUIET_S = 10
_END_S = 5


def listen(dashboard: DashboardConfig) -> socket.socket:
    """Take the address. Raises ConfigError where that is not possible."""
    try:
        found = socket.getaddrinfo(
            dashboard.host, dashboard.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        taken = socket.socket(family, kind, protocol)
        try:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(address)
            taken.listen(_WAITING)
        except OSError:
            taken.close()
            raise
    except OSError as problem:
        raise ConfigError(
            f"outlets.dashboard: cannot listen at {dashboard.host}:{dashboard.port} "
            f"({problem.strerror or problem}); is another program there? Set another host or port"
        ) from problem
    return taken


def server_for(app: ASGIApp) -> uvicorn.Server:
    """A server that tells nobody what it is and keeps no list of who asked for what."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            lifespan="off",
            limit_concurrency=_AT_ONCE,
            timeout_keep_alive=_QUIET_S,
            timeout_graceful_shutdown=_END_S,
        )
    )
