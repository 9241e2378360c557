"""Other channels, through Apprise, to a real web server of our own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from monitor.config import Config, parse_config
from monitor.config.outlets import ChannelConfig
from monitor.culture import AlertKind, DishStatus, NewAlert, ScanDecision, Severity
from monitor.errors import ConfigError, OutletError
from monitor.jobs.deliver import deliver_due
from monitor.outlets.push import push
from tests.monitor.facts import NOW, hours, measure, measurement, minutes, place, read

TOKEN = "t0psecret-token"


@dataclass
class Webhook:
    """A web server that keeps what it is sent. `answers` : status codes, the last for good."""

    answers: list[int] = field(default_factory=lambda: [200])
    taken: list[dict] = field(default_factory=list)
    stalls: threading.Event | None = None


@contextmanager
def listening(hook: Webhook) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if hook.stalls is not None:
                hook.stalls.wait(20)
            status = hook.answers.pop(0) if len(hook.answers) > 1 else hook.answers[0]
            if status == 200:
                hook.taken.append(json.loads(content))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        if hook.stalls is not None:
            hook.stalls.set()
        server.shutdown()
        server.server_close()
        thread.join()


def channel(folder: Path, port: int, **changes) -> ChannelConfig:
    path = folder / "chat.url"
    path.write_text(f"json://127.0.0.1:{port}/{TOKEN}\n")
    return ChannelConfig(**({"name": "chat", "url_file": path} | changes))


def configured(folder: Path, *channels: ChannelConfig) -> Config:
    config = parse_config(
        f"record: {{folder: {folder / 'state'}}}\noutlets: {{email: {{recipients: []}}}}",
        where=folder / "config.yaml",
    )
    outlets = config.outlets.model_copy(update={"channels": channels})
    return config.model_copy(update={"outlets": outlets})


def raise_alert(store, number=1, *, kind=AlertKind.RAISED, severity=Severity.WARNING, to=("chat",)):
    scan_id = measure(store, f"{number}.tif", place(key=f"s{number}"),
                      measurement(acquired_at=NOW + minutes(number)))  # fmt: skip
    alert = NewAlert(kind, severity=severity, channels=to)
    status = (
        DishStatus.UNDIFFERENTIATED if kind is AlertKind.CLEARED else DishStatus.DIFFERENTIATING
    )
    read(store, scan_id, ScanDecision(status, (alert,)))


def deliver(store, config, now=NOW):
    return deliver_due(store, config, lambda: now, stopping=lambda: False)


def test_an_alert_reaches_a_webhook_once(store, tmp_path):
    hook = Webhook()
    with listening(hook) as port:
        config = configured(tmp_path, channel(tmp_path, port))
        raise_alert(store, severity=Severity.CRITICAL)
        for _ in range(3):
            deliver(store, config)
    (sent,) = hook.taken
    assert sent["title"] == "A1 of 3500003816: critical, 25 % differentiated"
    assert "Above the critical limit" in sent["message"] or "Above the limit" in sent["message"]
    assert sent["type"] == "failure"
    (message,) = store.outbox.log()
    assert message.delivered_to == "chat"


def test_a_webhook_that_fails_is_tried_again_and_its_token_is_told_to_nobody(store, tmp_path):
    hook = Webhook(answers=[503, 200])
    with listening(hook) as port:
        config = configured(tmp_path, channel(tmp_path, port))
        raise_alert(store)
        deliver(store, config)
        (message,) = store.outbox.undelivered()
        assert message.last_error is not None
        assert message.last_error.startswith("chat: not taken")
        assert TOKEN not in message.last_error
        assert deliver(store, config, NOW + minutes(1)) == 1
    assert len(hook.taken) == 1


def test_a_webhook_that_is_silent_does_not_hold_up_the_others(store, tmp_path):
    hook, silent = Webhook(), Webhook(stalls=threading.Event())
    with listening(silent) as slow, listening(hook) as port:
        (tmp_path / "slow").mkdir()
        stalled = channel(tmp_path / "slow", slow, name="slow")
        config = configured(tmp_path, stalled, channel(tmp_path, port))
        email = config.outlets.email.model_copy(update={"timeout_s": 0.5})
        outlets = config.outlets.model_copy(update={"email": email})
        raise_alert(store, to=("slow", "chat"))
        deliver(store, config.model_copy(update={"outlets": outlets}))
        assert len(hook.taken) == 1
        (message,) = store.outbox.undelivered()
        assert message.recipient == "slow"


def test_a_channel_gets_what_it_asked_for(tmp_path):
    from monitor.decisions.recipients import channels_to

    urgent = ChannelConfig(name="urgent", url_file=tmp_path / "x", from_severity="critical")
    one = ChannelConfig(name="one", url_file=tmp_path / "x", sources=("a",))
    config = configured(tmp_path, urgent, one)
    table = [
        (AlertKind.RAISED, Severity.WARNING, "a", ("one",)),
        (AlertKind.RAISED, Severity.CRITICAL, "a", ("urgent", "one")),
        (AlertKind.RAISED, Severity.CRITICAL, "b", ("urgent",)),
        (AlertKind.RAISED, Severity.WARNING, None, ("one",)),
        (AlertKind.CLEARED, Severity.WARNING, "a", ("urgent", "one")),
    ]
    for kind, severity, source, expected in table:
        assert channels_to(config, kind, severity, source) == expected


def test_that_it_is_over_is_told_to_a_channel_that_was_told_that_it_began(store, tmp_path):
    hook = Webhook()
    with listening(hook) as port:
        config = configured(tmp_path, channel(tmp_path, port))
        raise_alert(store, 1)
        deliver(store, config)
        raise_alert(store, 2, kind=AlertKind.CLEARED, to=("chat", "urgent"))
        deliver(store, config, NOW + hours(1))
    assert [sent["title"].split(": ")[1][:7] for sent in hook.taken] == ["25 % di", "back to"]


@pytest.mark.parametrize(
    ("content", "says"),
    [("", "one URL"), ("json://a json://b", "one URL"), ("nothing", "no URL that Apprise knows")],
)
def test_a_file_without_an_address_is_said(tmp_path, content, says):
    one = channel(tmp_path, 1)
    one.url_file.write_text(content)
    with pytest.raises(OutletError, match=says):
        push(one, "title", "text", severity=Severity.WARNING, timeout_s=1)
    one.url_file.unlink()
    with pytest.raises(OutletError, match="cannot be read"):
        push(one, "title", "text", severity=Severity.WARNING, timeout_s=1)


def test_a_channel_that_is_not_configured_any_more_holds_up_nobody(store, tmp_path):
    raise_alert(store)
    deliver(store, configured(tmp_path))
    assert store.outbox.counts().failed == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[{name: a, url_file: x}, {name: a, url_file: y}]", "two are called 'a'"),
        ("[{name: 'a b', url_file: x}]", "pattern"),
        ("[{name: a, url: x}]", "not a known key"),
    ],
)
def test_channels_that_cannot_be_are_said(text, says):
    with pytest.raises(ConfigError, match=says):
        parse_config(f"outlets: {{channels: {text}}}", where=Path("config.yaml"))
