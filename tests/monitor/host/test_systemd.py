from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from monitor.host.systemd import notify


@pytest.fixture(params=["a file", "abstract"])
def manager(request, tmp_path, monkeypatch):
    """The socket that systemd would listen on."""
    address = f"@colonywatch-test-{os.getpid()}" if request.param == "abstract" else ""
    address = address or str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address.replace("@", "\0", 1) if address[0] == "@" else address)
        listening.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        yield listening


def test_systemd_hears_every_line_in_one_message(manager):
    assert notify("READY=1", "STATUS=watching 2 sources µ")
    assert manager.recv(4096).decode() == "READY=1\nSTATUS=watching 2 sources µ"


def test_without_systemd_nobody_is_told(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "")
    assert not notify("READY=1")


def test_a_socket_that_is_gone_stops_nobody(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    assert not notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "/x" * 200)
    assert not notify("READY=1")
