"""What a setting cures waits for it and then goes by itself; what is too large goes smaller."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import cv2
import numpy as np
import pytest

from monitor.config import Config, RecipientConfig, RecordConfig, SourceConfig
from monitor.config.outlets import ChannelConfig
from monitor.culture import AlertKind, DishStatus, NewAlert, ScanDecision
from monitor.jobs.deliver import deliver_due, release_cured
from monitor.outlets.push import channels_fingerprint
from monitor.record.store import Store
from tests.monitor.facts import NOW, add_message, hours, measure, measurement, minutes, place, read
from tests.monitor.outlets.mail_servers import (
    Opinions,
    certificate_for,
    mail_server,
    mail_settings,
    only_with,
)

A, B = "a@lab.example", "b@lab.example"
HALF_AN_HOUR = timedelta(minutes=30)


@dataclass
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def base(tmp_path) -> Config:
    return Config(
        sources=(SourceConfig(name="incubator", path=tmp_path / "captures"),),
        record=RecordConfig(folder=tmp_path / "state"),
    )


def through(base: Config, port: int, **settings) -> Config:
    email = mail_settings(port, **({"recipients": (A,)} | settings))
    return base.model_copy(update={"outlets": base.outlets.model_copy(update={"email": email})})


def deliver(store, config, now=NOW) -> int:
    return deliver_due(store, config, Clock(now), stopping=lambda: False)


def raise_alert(store, *recipients, key="s1", at=NOW, kind=AlertKind.RAISED, **changes):
    scan = measure(store, f"/in/{key}.tif", place(key=key), measurement(acquired_at=at, **changes))
    alert = NewAlert(kind, mail_to=recipients or (A,))
    assert read(store, scan, ScanDecision(DishStatus.DIFFERENTIATING, (alert,))) is not None


def states(store) -> dict[str, str]:
    return {
        one.recipient: "given up" if one.failed_at else "waits" if one.waits_for_setting else "due"
        for one in store.outbox.undelivered()
    }


# --- waiting for a setting ------------------------------------------------------------------------


def test_a_mail_that_a_setting_cures_waits_for_it_and_then_goes_by_itself(store, base, tmp_path):
    certificate, context = certificate_for(tmp_path / "certificate", "127.0.0.1")
    password = tmp_path / "password"
    password.write_text("right")
    opinions = Opinions()
    manners = {
        "tls_context": context,
        "authenticator": only_with("watch", "right"),
        "auth_required": True,
    }
    raise_alert(store)
    with mail_server(opinions, **manners) as port:
        # Each time somebody mends what the error names, until it goes.
        steps = [
            ("outlets.email.username", {}),
            ("outlets.email.ca_file", {"security": "starttls"}),
            ("outlets.email.username", {"ca_file": certificate}),
            (None, {"username": "watch", "password_file": password}),
        ]
        settings, seen = {}, None
        for named, change in steps:
            settings |= change
            config = through(base, port, **settings)
            seen = release_cured(store, config, NOW, known=seen)
            sent = deliver(store, config)
            if named is None:
                assert sent == 1
                break
            (waiting,) = store.outbox.undelivered()
            assert sent == 0
            assert named in waiting.last_error
            assert waiting.failed_at is None
            assert deliver(store, config) == 0
            assert store.outbox.undelivered()[0].attempts == waiting.attempts
    assert len(opinions.taken) == 1


@pytest.mark.parametrize("where", ["mail", "rcpt"])
def test_a_refused_sender_waits_for_another_one(store, base, where):
    answer = "553 5.7.1 <watch@lab.example>: Sender address rejected: not owned by you"
    opinions = Opinions()
    raise_alert(store)
    with mail_server(opinions) as port:
        refusing = Opinions(mail=answer) if where == "mail" else Opinions(rcpt={A: answer})
        with mail_server(refusing) as strict:
            config = through(base, strict)
            seen = release_cured(store, config, NOW)
            assert deliver(store, config) == 0
        assert states(store) == {A: "waits"}
        assert "outlets.email.sender" in store.outbox.undelivered()[0].last_error
        right = through(base, port, sender="other@lab.example")
        assert release_cured(store, right, NOW, known=seen) != seen
        assert deliver(store, right) == 1
    assert opinions.mails[0]["From"] == "other@lab.example"


def test_one_refused_login_holds_back_the_others_so_that_no_account_is_locked(
    store, base, tmp_path
):
    """Servers lock accounts after some wrong passwords."""
    certificate, context = certificate_for(tmp_path / "certificate", "127.0.0.1")
    password = tmp_path / "password"
    password.write_text("wrong")
    tries = []

    def check(server, session, envelope, mechanism, data):
        tries.append(data.password)
        return only_with("watch", "right")(server, session, envelope, mechanism, data)

    everybody = [f"person-{number}@lab.example" for number in range(5)]
    raise_alert(store, *everybody)
    opinions = Opinions()
    with mail_server(opinions, tls_context=context, authenticator=check) as port:
        config = through(
            base,
            port,
            security="starttls",
            ca_file=certificate,
            username="watch",
            password_file=password,
            recipients=everybody,
        )
        seen = release_cured(store, config, NOW)
        for _ in range(3):
            assert deliver(store, config) == 0
        assert len(tries) <= 2  # each of its kinds of login once
        assert set(states(store).values()) == {"waits"}
        password.write_text("right")
        release_cured(store, config, NOW, known=seen)
        assert deliver(store, config) == 5
    assert len(opinions.taken) == 5


def test_what_waits_is_tried_now_and_then_for_the_cure_may_lie_with_the_server(store, base):
    raise_alert(store)
    opinions = Opinions(mail="550 5.7.1 who are you")
    with mail_server(opinions) as port:
        config = through(base, port)
        assert deliver(store, config) == 0
        assert deliver(store, config, NOW + HALF_AN_HOUR - minutes(1)) == 0
        assert store.outbox.undelivered()[0].attempts == 1
        opinions.mail = "250 OK"
        assert deliver(store, config, NOW + HALF_AN_HOUR) == 1


def test_without_a_change_nothing_is_released(store, base):
    raise_alert(store)
    with mail_server(Opinions(rcpt={A: "550 5.1.1 User unknown"})) as port:
        config = through(base, port)
        seen = release_cured(store, config, NOW)
        assert deliver(store, config) == 0
        for known in (seen, None):  # this program goes on, another one starts
            assert release_cured(store, config, NOW, known=known) == seen
            assert states(store) == {A: "given up"}


def test_what_found_nobody_goes_at_once_by_another_port(store, base):
    """After some tries the next one is far away; with new settings nobody waits for that."""
    raise_alert(store)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        wrong = through(base, listener.getsockname()[1])
    seen, now = release_cured(store, wrong, NOW), NOW
    for _ in range(6):
        assert deliver(store, wrong, now) == 0
        now = store.outbox.undelivered()[0].next_try_at
    now -= minutes(5)
    assert "outlets.email.server and port" in store.outbox.undelivered()[0].last_error
    with mail_server(opinions := Opinions()) as port:
        right = through(base, port)
        release_cured(store, right, now, known=seen)
        assert deliver(store, right, now) == 1
    assert len(opinions.taken) == 1


def test_what_was_given_up_long_ago_is_of_no_use_any_more(store, base):
    raise_alert(store)
    with mail_server(Opinions(rcpt={A: "550 5.1.1 User unknown"})) as port:
        deliver(store, through(base, port))
    release_cured(store, through(base, 26), NOW + timedelta(days=15))
    assert states(store) == {A: "given up"}


# --- recipients -----------------------------------------------------------------------------------


def test_a_refused_recipient_holds_up_nobody_and_the_corrected_address_gets_the_alert(store, base):
    raise_alert(store, "typo@lab.example", B)
    opinions = Opinions(rcpt={"typo@lab.example": "550 5.1.1 User unknown"})
    with mail_server(opinions) as port:
        config = through(base, port, recipients=("typo@lab.example", B))
        seen = release_cured(store, config, NOW)
        assert deliver(store, config) == 1
        assert states(store) == {"typo@lab.example": "given up"}
        corrected = through(base, port, recipients=(A, B))
        release_cured(store, corrected, NOW, known=seen)
        assert deliver(store, corrected) == 1
    assert [to for to, _ in opinions.taken] == [[B], [A]]
    assert opinions.mails[1]["To"] == A
    assert store.outbox.undelivered() == []


def test_whoever_is_taken_out_of_the_recipients_gets_nothing_and_is_not_missed(store, base):
    raise_alert(store, "left@lab.example", B)
    opinions = Opinions(rcpt={"left@lab.example": "550 5.1.1 User unknown"})
    with mail_server(opinions) as port:
        deliver(store, through(base, port, recipients=("left@lab.example", B)))
        without = through(base, port, recipients=(B,))
        release_cured(store, without, NOW)
        assert deliver(store, without) == 0
    assert [to for to, _ in opinions.taken] == [[B]]
    assert (store.outbox.counts().pending, store.outbox.counts().failed) == (0, 0)


def test_a_new_address_gets_only_what_it_is_to_get(store, base):
    raise_alert(store, "typo@lab.example")
    opinions = Opinions(rcpt={"typo@lab.example": "550 5.1.1 User unknown"})
    with mail_server(opinions) as port:
        deliver(store, through(base, port, recipients=("typo@lab.example",)))
        only_critical = RecipientConfig(address=A, from_severity="critical")
        config = through(base, port, recipients=(only_critical, B))
        release_cured(store, config, NOW)
        assert deliver(store, config) == 1
    assert [to for to, _ in opinions.taken] == [[B]]


def test_greylisting_is_waited_out(store, base):
    raise_alert(store)
    opinions = Opinions(rcpt={A: "451 4.7.1 Greylisted, please try again in 300 seconds"})
    with mail_server(opinions) as port:
        config = through(base, port)
        assert deliver(store, config) == 0
        (waiting,) = store.outbox.undelivered()
        assert (waiting.failed_at, waiting.waits_for_setting) == (None, False)
        assert "greylisting" in waiting.last_error
        opinions.rcpt.clear()
        assert deliver(store, config, waiting.next_try_at) == 1


# --- channels -------------------------------------------------------------------------------------


def test_a_channel_without_its_url_waits_for_the_file(store, base, tmp_path):
    file = tmp_path / "chat.url"
    channel = ChannelConfig(name="chat", url_file=file)
    outlets = base.outlets.model_copy(update={"channels": (channel,)})
    config = base.model_copy(update={"outlets": outlets})
    raise_alert(store)
    add_message(store, "channel", "1", "chat", NOW)
    pytest.importorskip("apprise")
    seen = release_cured(store, config, NOW)
    assert deliver(store, config) == 1  # the mail, into the mailbox
    (waiting,) = store.outbox.undelivered()
    assert waiting.waits_for_setting
    before = channels_fingerprint((channel,))
    file.write_text("no address at all\n")
    assert channels_fingerprint((channel,)) != before
    release_cured(store, config, NOW, known=seen)
    assert not store.outbox.undelivered()[0].waits_for_setting


# --- too large ------------------------------------------------------------------------------------


@pytest.fixture
def with_picture(store, base):
    overlay = base.record.folder / "overlays" / "a.jpg"
    overlay.parent.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 255, (700, 900, 3)).astype(np.uint8)
    cv2.imwrite(str(overlay), noise)
    raise_alert(store)
    return store


def kinds(mail) -> list[str]:
    return [part.get_content_type() for part in mail.walk() if not part.is_multipart()]


@pytest.mark.parametrize("says_so", [True, False])
@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (4_000_000, ["text/plain", "text/html", "image/jpeg", "image/png"]),
        (150_000, ["text/plain", "text/html", "image/jpeg"]),
        (20_000, ["text/plain", "text/html"]),
        (2_500, ["text/plain"]),
    ],
)
def test_a_mail_is_made_as_small_as_the_server_wants_it(
    with_picture, base, limit, expected, says_so
):
    """The limit is told before, or only once the whole mail was sent."""

    class Strict(Opinions):
        async def handle_DATA(self, server, session, envelope):  # noqa: N802
            if len(envelope.content) > limit:
                return "552 5.3.4 Message too big for system"
            return await super().handle_DATA(server, session, envelope)

    opinions = Opinions() if says_so else Strict()
    manners = {"data_size_limit": limit} if says_so else {}
    with mail_server(opinions, **manners) as port:
        assert deliver(with_picture, through(base, port)) == 1
    (mail,) = opinions.mails
    assert kinds(mail) == expected
    text = mail.get_body(("plain",)).get_content()
    smaller = expected[-1] != "image/png"
    assert ("accepts no larger mails" in text) is smaller
    if len(expected) > 1:
        assert ("accepts no larger" in mail.get_body(("html",)).get_content()) is smaller
        assert ("the image below" in text) is ("image/jpeg" in expected)
    assert "25 % differentiated" in mail["Subject"]
    assert with_picture.outbox.counts().pending == 0


def test_a_mail_that_is_too_large_in_any_form_is_kept_with_its_reason(with_picture, base):
    with mail_server(Opinions(), data_size_limit=100) as port:
        assert deliver(with_picture, through(base, port)) == 0
    assert states(with_picture) == {A: "given up"}
    assert "too large" in with_picture.outbox.undelivered()[0].last_error


# --- ids ------------------------------------------------------------------------------------------


def test_mails_of_two_records_never_share_an_id(base, make_record):
    """The test's own record counts from one again, as does every machine: mail readers show of two
    mails with one id only the first.
    """
    ids = []
    for _ in ("real", "trial"):
        with Store(make_record()) as store, mail_server(opinions := Opinions()) as port:
            raise_alert(store)
            deliver(store, through(base, port))
            ids += [one["Message-ID"] for one in opinions.mails]
    assert len(ids) == len(set(ids)) == 2


def test_an_id_is_kept_over_all_tries_and_forms(store, base):
    raise_alert(store)
    seen = []

    class Noting(Opinions):
        async def handle_DATA(self, server, session, envelope):  # noqa: N802
            seen.append(envelope.content.split(b"Message-ID: ")[1].split(b"\r\n")[0])
            return "451 later" if len(seen) < 3 else "552 5.3.4 too big" if len(seen) < 5 else "250"

    with mail_server(Noting()) as port:
        config, now = through(base, port), NOW
        while store.outbox.counts().pending:
            deliver(store, config, now)
            now += minutes(1)
    assert len(seen) == 5
    assert len(set(seen)) == 1


def test_mails_on_one_alert_make_a_thread_at_each_recipient(store, base):
    opinions = Opinions()
    with mail_server(opinions) as port, ExitStack():
        config = through(base, port, recipients=(A, B))
        for number, kind in enumerate(
            (AlertKind.RAISED, AlertKind.WORSENED, AlertKind.WORSENED, AlertKind.RAISED)
        ):
            raise_alert(store, A, B, key=f"s{number}", at=NOW + hours(number), kind=kind)
            assert deliver(store, config, NOW + hours(number)) == 2
    of_a = [mail for mail in opinions.mails if mail["To"] == A]
    ids = [mail["Message-ID"] for mail in of_a]
    assert [mail["References"] for mail in of_a] == [None, ids[0], f"{ids[0]} {ids[1]}", None]
    assert [mail["In-Reply-To"] for mail in of_a] == [None, ids[0], ids[1], None]
    assert len({mail["Message-ID"] for mail in opinions.mails}) == 8


def test_the_record_says_nothing_of_a_password(store, base, tmp_path):
    password = tmp_path / "password"
    password.write_text("hunter2")
    raise_alert(store)
    with mail_server(Opinions()) as port:
        config = through(base, port, security="starttls", username="watch", password_file=password)
        deliver(store, config)
    message = store.outbox.undelivered()[0]
    assert "hunter2" not in json.dumps([message.last_error, replace(message).mail_id])
