"""A mail server that is dead for a day, and a daemon that dies while it sends: nothing is lost."""

from __future__ import annotations

import re
import socket
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest

from monitor.config import Config, parse_config
from monitor.culture import AlertKind, AlertTopic, NewAlert
from monitor.jobs.deliver import deliver_due
from tests.monitor.facts import NOW
from tests.monitor.jobs.test_deliver import Postman, mail_server

A, B = "a@lab.org", "b@lab.org"
ROUND = timedelta(minutes=20)


@dataclass
class Clock:
    """dies_at : of these questions after the time, the one at which the daemon is killed"""

    now: datetime = NOW
    dies_at: int | None = None
    asked: int = field(default=0)

    def __call__(self) -> datetime:
        self.asked += 1
        if self.asked == self.dies_at:
            raise KeyboardInterrupt
        return self.now


def configured(folder: Path, port: int) -> Config:
    return parse_config(
        f"record: {{folder: {folder}}}\n"
        f"outlets: {{email: {{server: 127.0.0.1, port: {port}, security: none, gather_s: 0, "
        f"recipients: [{A}, {B}]}}}}",
        where=folder / "config.yaml",
    )


def raise_alert(store, number: int, now: datetime) -> int:
    source = f"imager-{number}"
    alert = store.alerts.write(
        AlertKind.RAISED,
        AlertTopic.SOURCE_SILENT,
        lambda _: NewAlert(
            AlertKind.RAISED, AlertTopic.SOURCE_SILENT, text="Nothing came.", mail_to=(A, B)
        ),
        dish=None,
        source=source,
        now=now,
    )
    assert alert is not None
    return alert.id


def told(postman: Postman) -> Counter[tuple[str, int]]:
    """(address, number of the alert) of every mail that the server took."""
    found: Counter[tuple[str, int]] = Counter()
    for to, content in postman.taken:
        mail = message_from_bytes(content, policy=default)
        text = mail.get_body(("plain",)).get_content()
        found.update((to[0], int(number)) for number in re.findall(r"^alert (\d+),", text, re.M))
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_a_server_that_is_dead_for_a_day_loses_nothing_and_gets_nothing_twice(store, tmp_path):
    dead, clock, alerts = configured(tmp_path, free_port()), Clock(), []
    while clock.now < NOW + timedelta(hours=24):
        if len(alerts) <= (clock.now - NOW) / timedelta(hours=3):
            alerts.append(raise_alert(store, len(alerts), clock.now))
        assert deliver_due(store, dead, clock, stopping=lambda: False) == 0
        clock.now += ROUND
    waiting = store.outbox.undelivered(limit=1000)
    assert len(waiting) == 2 * len(alerts) == 16
    assert store.outbox.counts().failed == 0
    # Tried again and again, and never later than half an hour after its last try.
    assert max(one.next_try_at for one in waiting) <= clock.now + timedelta(minutes=30)
    postman = Postman()
    with mail_server(postman) as port:
        alive = configured(tmp_path, port)
        began = clock.now
        while store.outbox.counts().pending:
            deliver_due(store, alive, clock, stopping=lambda: False)
            clock.now += timedelta(minutes=1)
        assert clock.now - began <= timedelta(minutes=35)
        deliver_due(store, alive, clock, stopping=lambda: False)
    assert told(postman) == Counter({(to, one): 1 for one in alerts for to in (A, B)})


@pytest.mark.parametrize("dies_at", [1, 2, 3, 4, 6, 9])
def test_a_daemon_that_dies_while_it_sends_loses_nothing(store, tmp_path, dies_at):
    """Whatever it was about to do: what was in hand goes again, with the same Message-ID."""
    clock = Clock(dies_at=dies_at)
    alerts = [raise_alert(store, number, NOW) for number in range(2)]
    postman = Postman()
    with mail_server(postman) as port:
        config = configured(tmp_path, port)
        try:
            deliver_due(store, config, clock, stopping=lambda: False)
        except KeyboardInterrupt:
            clock.now += timedelta(minutes=5)
        deliver_due(store, config, clock, stopping=lambda: False)
    counts = told(postman)
    assert set(counts) == {(to, one) for one in alerts for to in (A, B)}
    assert sum(counts.values()) <= 5  # at most the one in hand went twice
    ids = {message_from_bytes(content)["Message-ID"] for _, content in postman.taken}
    assert len(ids) == 4
