"""`sila`: the live interface for pickers."""

from __future__ import annotations

import signal
import threading

from monitor.commands.common import (
    ConfigOption,
    StateOption,
    begin_logging,
    open_config,
    open_store,
    say,
)
from monitor.errors import MonitorError
from monitor.host import systemd
from monitor.host.clock import utc_now
from monitor.jobs.picker_queue import PickingDesk

GRACE_S = 5.0


def sila(config: ConfigOption = None, state: StateOption = None) -> None:
    """Serve dish states and removal plans to SiLA 2 clients until SIGTERM or Ctrl-C.

    A separate process beside the daemon, on the same database. Plans are handed out
    if outlets.removal.handover is sila; the other settings are in outlets.sila.

    Example: colonywatch sila --config /etc/colonywatch/config.yaml
    """
    begin_logging()
    settings = open_config(config, state)
    try:
        from monitor.outlets.sila import certificate, server
    except ImportError as problem:
        raise MonitorError(
            f"the SiLA 2 server is an extra, and {problem.name} is not installed here: pip install "
            "'colonywatch[sila]'"
        ) from problem
    wanted = settings.outlets.sila
    own = certificate.identity(wanted, settings.sila_folder, utc_now())
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with open_store(settings) as store:
        desk = PickingDesk(store, settings, utc_now)
        running = server.start(desk, wanted, own)
        say(f"listening on {wanted.host}, port {wanted.port}; server id {own.server_id}")
        if own.certificate is None:
            say("not encrypted (outlets.sila.security: none)")
        else:
            until = certificate.expires_at(own.certificate)
            where = wanted.certificate_file or settings.sila_folder / "server.crt"
            say(f"clients trust {where}, valid until {until:%Y-%m-%d}")
        if not desk.hands_out:
            say("no plans are handed out: outlets.removal.handover is folder")
        systemd.notify("READY=1")
        stop.wait()
        systemd.notify("STOPPING=1")
        running.stop(GRACE_S)
    say("stopped")
