"""The dashboard's server: one process, this machine alone unless told otherwise."""

from __future__ import annotations

import logging
import socket

import uvicorn
from anyio.to_thread import current_default_thread_limiter
from starlette.types import ASGIApp, Receive, Scope, Send

from monitor.config.outlets import DashboardConfig
from monitor.errors import ConfigError

log = logging.getLogger(__name__)

# Connections, most of which are idle: a browser keeps up to six for a page. What cannot be worked
# at once waits for its turn; it is not refused.
_AT_ONCE, _WAITING = 4_096, 1_024
_QUIET_S = 10
# Threads that read the record. More would only wait for one another, and run out of connections.
_AT_WORK = 8
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


def listen_for(dashboard: DashboardConfig, has_accounts: bool) -> socket.socket:
    """As `listen`; where others can reach it, only once somebody has to sign in."""
    if not (dashboard.is_local or has_accounts or dashboard.sign_in.header is not None):
        raise ConfigError(
            f"outlets.dashboard: host {dashboard.host} lets others in, and there are no accounts. "
            "Make the first with: colonywatch users add NAME --role admin; or listen on this "
            "machine alone (host: 127.0.0.1)"
        )
    return listen(dashboard)


def server_for(app: ASGIApp) -> uvicorn.Server:
    """A server that tells nobody what it is and keeps no list of who asked for what."""
    return uvicorn.Server(
        uvicorn.Config(
            _FewThreads(app),
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


class _FewThreads:
    """The limit belongs to the event loop, which is there with the first request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._is_set = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._is_set:
            current_default_thread_limiter().total_tokens = _AT_WORK
            self._is_set = True
        await self._app(scope, receive, send)
