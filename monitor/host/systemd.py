"""Telling systemd how the service fares: the sd_notify protocol, where there is a systemd."""

from __future__ import annotations

import os
import socket


def notify(*lines: str) -> bool:
    """Send lines such as ``READY=1`` or ``STATUS=...``. False where nobody listens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]  # an abstract socket
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.sendto("\n".join(lines).encode(), address)
    except OSError:
        return False
    return True
