"""That the daemon is down is told: by the unit for failures, and by calls that stop coming."""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from email import message_from_bytes
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from monitor.config import Config, RecordConfig, parse_config
from monitor.config.outlets import CheckInConfig
from monitor.config.partial import partial_config
from monitor.daemon import STUCK_S, Daemon
from monitor.errors import ConfigError
from monitor.host.clock import utc_now
from monitor.outlets.heartbeat import CheckIn
from tests.monitor.commands.calls import DONE, FAILED, call
from tests.monitor.facts import add_message
from tests.monitor.jobs.test_deliver import Postman, mail_server

TOKEN = "5d3c-secret"


@dataclass
class Checks:
    """A server like healthchecks.io. `calls` : (ending, text)"""

    status: int = 200
    calls: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def listening(checks: Checks) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            checks.calls.append((self.path.removeprefix(f"/{TOKEN}"), text))
            self.send_response(checks.status)
            self.end_headers()
            self.wfile.write(b"OK")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/{TOKEN}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def address(folder: Path, url: str) -> Path:
    path = folder / "check-in.url"
    path.write_text(url + "\n")
    return path


# --- the check-in --------------------------------------------------------------------------------


def test_it_calls_when_it_begins_while_all_is_well_and_when_it_is_not(tmp_path):
    checks = Checks()
    with listening(checks) as url:
        check_in = CheckIn(address(tmp_path, url), timeout_s=5)
        assert check_in.start()
        assert check_in.success()
        assert check_in.fail("3 messages wait µ")
    assert [ending for ending, _ in checks.calls] == ["/start", "", "/fail"]
    assert checks.calls[-1][1] == "3 messages wait µ"


def test_what_goes_wrong_is_logged_once_and_does_not_tell_the_address(tmp_path, caplog):
    caplog.set_level(logging.INFO, "monitor")
    checks = Checks(status=404)
    with listening(checks) as url:
        check_in = CheckIn(address(tmp_path, url), timeout_s=5)
        assert [check_in.success() for _ in range(5)] == [False] * 5
        assert len(caplog.records) == 1
        checks.status = 200
        assert check_in.success()
    assert "404" in caplog.text
    assert "is reachable again" in caplog.text
    assert TOKEN not in caplog.text


def silent(connection: socket.socket) -> None:
    connection.settimeout(5)
    with contextlib.suppress(OSError):
        while connection.recv(1 << 16):
            pass


@pytest.mark.parametrize(
    "answer",
    [
        silent,
        lambda connection: None,
        lambda connection: connection.sendall(b"\x00\xff rubbish\r\n"),
    ],
    ids=["never answers", "hangs up", "speaks no HTTP"],
)
def test_a_server_that_does_not_play_along_raises_nothing_and_costs_its_time_limit(
    tmp_path, answer
):
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = listener.accept()
        with connection:
            answer(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/{TOKEN}"
    began = time.monotonic()
    assert not CheckIn(address(tmp_path, url), timeout_s=0.3).success()
    assert time.monotonic() - began < 4
    listener.close()
    thread.join()


@pytest.mark.parametrize("content", ["", "ftp://x/y", "http://a http://b", "file:///etc/passwd"])
def test_a_file_without_an_address_is_said(tmp_path, caplog, content):
    assert not CheckIn(address(tmp_path, content), timeout_s=1).success()
    assert "one address that begins with https" in caplog.text


def daemon_with(folder: Path, store, url: str) -> Daemon:
    config = Config(record=RecordConfig(folder=folder))
    settings = CheckInConfig(url_file=address(folder, url), timeout_s=5)
    outlets = config.outlets.model_copy(update={"check_in": settings})
    return Daemon(config.model_copy(update={"outlets": outlets}), store)


def test_the_daemon_says_that_all_is_well_only_where_it_is(store, tmp_path):
    """Also that mails do not get out, which no mail can tell."""
    checks = Checks()
    with listening(checks) as url:
        daemon = daemon_with(tmp_path, store, url)
        daemon._check_in_now()
        daemon._check_in_now()
        add_message(store, "email", "1", "a@lab.org", utc_now() - timedelta(hours=3))
        store.outbox.take_due(utc_now())
        store.outbox.failed(1, "no answer", utc_now(), permanent=False)
        daemon._check_in_now()
        store.outbox.delivered(1, "a@lab.org", utc_now())
        daemon._check_in_now()
        daemon._loop_at = time.monotonic() - STUCK_S - 1
        daemon._check_in_now()
    assert [ending for ending, _ in checks.calls] == ["/start", "", "", "/fail", "", "/fail"]
    assert "1 message waits" in checks.calls[3][1]
    assert "main loop" in checks.calls[5][1]


def test_a_daemon_that_cannot_begin_says_so(store, tmp_path):
    checks = Checks()
    with listening(checks) as url:
        daemon = daemon_with(tmp_path, store, url)
        model = daemon._config.segmentation.model_copy(update={"model": str(tmp_path / "none")})
        daemon._config = daemon._config.model_copy(update={"segmentation": model})
        with pytest.raises(Exception, match="none"):
            daemon.run()
    ((ending, text),) = checks.calls
    assert ending == "/fail"
    assert text.startswith("the daemon ends: ")


# --- the unit for failures -----------------------------------------------------------------------

EMAIL = (
    "email: {{server: 127.0.0.1, port: {port}, security: none, recipients: [a@lab.org, b@lab.org]}}"
)
BROKEN = {
    # name: (the file, what of it must stand in the mail; None = it is sound)
    "sound": ("outlets:\n  {email}\n", None),
    "a wrong key elsewhere": ("sourcs: []\noutlets:\n  {email}\n", "sourcs"),
    "a wrong value elsewhere": ("compute: {{threads: -1}}\noutlets:\n  {email}\n", "threads"),
    "no YAML elsewhere": ("a: [[\noutlets:\n  {email}\nrecord: {{}}\n", "not valid YAML"),
    "no YAML after it": ("outlets:\n  {email}\nsources:\n  - {{\n", "not valid YAML"),
    "a wrong outlet beside it": ("outlets:\n  {email}\n  removal: {{formats: [x]}}\n", "formats"),
    "a source that is gone": (
        "sources: [{{name: a, path: a}}]\noutlets:\n  {email}\n  "
        "channels: [{{name: c, url_file: x, sources: [b]}}]\n", "there is no source",
    ),
}  # fmt: skip


def report(config: Path, log: str = "", reason: str = "exit status 78"):
    before, sys.stdin = sys.stdin, io.StringIO(log)
    try:
        return call("report-failure", "colonywatch.service", "--reason", reason, "--config", config)
    finally:
        sys.stdin = before


@pytest.mark.parametrize("name", BROKEN)
def test_everybody_is_told_whatever_else_is_wrong_with_the_configuration(tmp_path, name):
    text, problem = BROKEN[name]
    postman = Postman()
    with mail_server(postman) as port:
        path = tmp_path / "config.yaml"
        path.write_text(text.format(email=EMAIL.format(port=port)))
        if problem is not None:
            with pytest.raises(ConfigError):
                parse_config(path.read_text(), where=path)
        answer = report(path, "the last <words> of the daemon\n")
    assert answer.code == DONE, answer.err
    assert sorted(to[0] for to, _ in postman.taken) == ["a@lab.org", "b@lab.org"]
    mail = message_from_bytes(postman.taken[0][1], policy=default)
    assert mail["Subject"] == (
        f"[colonywatch] colonywatch.service is DOWN on {socket.gethostname()}"
    )
    body = mail.get_content()
    assert "exit status 78" in body
    assert "the last <words> of the daemon" in body
    assert ("The configuration cannot be used" in body) == (problem is not None)
    assert problem is None or problem in body


@pytest.mark.parametrize(
    "text",
    [
        "outlets: {email: {server: 5}}",
        "nothing: here",
        "outlets: [[[",
        "\x00\x01",
        "outlets: {email: {server: null}}",
        "",
    ],
)
def test_where_nobody_can_be_told_that_is_said(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    answer = report(path)
    assert answer.code == FAILED
    assert "nobody was told" in answer.err
    assert str(path) in answer.err or "no mail server is configured" in answer.err
    assert report(tmp_path / "none.yaml").code == FAILED


def test_one_address_that_is_refused_does_not_keep_the_others_from_hearing(tmp_path):
    postman = Postman(refuses={"a@lab.org": "550 nobody"})
    with mail_server(postman) as port:
        path = tmp_path / "config.yaml"
        path.write_text(f"outlets:\n  {EMAIL.format(port=port)}\n")
        answer = report(path)
    assert answer.code == DONE
    assert [to for to, _ in postman.taken] == [["b@lab.org"]]
    assert "550 nobody" in answer.err


def test_the_check_in_hears_of_it_too(tmp_path):
    checks = Checks()
    with listening(checks) as url:
        path = tmp_path / "config.yaml"
        address(tmp_path, url)
        path.write_text("outlets: {check_in: {url_file: check-in.url}}\n")
        answer = report(path)
    assert answer.code == DONE
    assert checks.calls[0][0] == "/fail"
    assert "will not start again by itself" in checks.calls[0][1]


def test_relative_files_are_found_beside_the_broken_configuration(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("wrong: 1\noutlets: {email: {server: m, username: u, password_file: secret}}\n")
    found = partial_config(path)
    assert found.outlets is not None
    assert found.outlets.email.password_file == tmp_path / "secret"
