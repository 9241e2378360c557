"""Mails as people get them, and a server that takes, refuses, stalls or speaks TLS."""

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from dataclasses import replace
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from zoneinfo import ZoneInfo

import cv2
import numpy as np
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.config import DifferentiationConfig, EmailConfig
from monitor.culture import AlertKind, AlertTopic, Doubt, DoubtReason, PlanStatus, Severity
from monitor.errors import OutletError
from monitor.outlets.figures.plan import draw_plan
from monitor.outlets.mail.alert_mail import compose, compose_short
from monitor.outlets.mail.smtp import send
from monitor.outlets.mail.stories import AlertStory
from tests.monitor.outlets.plans import PLAN
from tests.monitor.outlets.stories import alert, reading, series

TOKYO = ZoneInfo("Asia/Tokyo")


def story(readings=None, kind=AlertKind.RAISED, **changes):
    readings = series(0.06, 0.07, 0.08, 0.14) if readings is None else readings
    values = {
        "alert": alert(readings, kind),
        "readings": readings,
        "limits": DifferentiationConfig(),
        "zone": TOKYO,
        "overlay": None,
        "plan": None,
        "source": "incubator-3",
    }
    return AlertStory(**(values | changes))


def composed(*, message_id="alert-5-9", recipients=("lab@example.org",), **changes):
    message = compose(
        [story(**changes)],
        sender="colonywatch@example.org",
        recipients=recipients,
        message_id=message_id,
    )
    # As a mail program sees it, after the wire.
    return message_from_bytes(message.as_bytes(), policy=default)


def test_the_plan_is_shown_in_the_mail_where_it_could_be_drawn():
    picture = draw_plan(PLAN, ())
    message = composed(plan=PLAN, plan_picture=picture)
    (part,) = (one for one in message.walk() if (one.get_filename() or "").endswith("_plan.png"))
    assert part.get_content() == picture
    (html,) = (one for one in message.walk() if one.get_content_type() == "text/html")
    assert f"cid:{part['Content-ID'].strip('<>')}" in html.get_content()
    assert "_plan.png" not in str(composed(plan=PLAN))


def text_of(message):
    return message.get_body(("plain",)).get_content()


def html_of(message):
    return message.get_body(("html",)).get_content()


def pictures(message):
    return [part for part in message.walk() if part.get_content_maintype() == "image"]


@pytest.fixture
def overlay(tmp_path):
    path = tmp_path / "overlay.jpg"
    chance = np.random.default_rng(1)
    cv2.imwrite(str(path), chance.integers(0, 255, (1500, 2000, 3), dtype=np.uint8))
    return path


# --- what it says -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "readings", "kind", "subject"),
    [
        (
            "a well of a plate",
            series(0.06, 0.08, 0.10, 0.14),
            AlertKind.RAISED,
            "A1 of 3500003816: 14 % differentiated, +6 points in 12 h",
        ),
        (
            "a dish of its own",
            series(0.06, 0.14, dish="dish-07"),
            AlertKind.RAISED,
            "dish-07: 14 % differentiated, +8 points in 6 h",
        ),
        (
            "nothing to compare with",
            series(0.14),
            AlertKind.RAISED,
            "A1 of 3500003816: 14 % differentiated",
        ),
        (
            "cells undefined before",
            series(None, None, 0.14),
            AlertKind.RAISED,
            "A1 of 3500003816: 14 % differentiated",
        ),
        (
            "scans every twenty minutes, the first two back",
            series(0.118, 0.12, 0.125, hours=1 / 3),
            AlertKind.RAISED,
            "A1 of 3500003816: 12 % differentiated, +0.7 points in 40 min",
        ),
        (
            "scans every second day",
            series(0.02, 0.125, hours=48),
            AlertKind.RAISED,
            "A1 of 3500003816: 12 % differentiated, +10 points in 2 days",
        ),
        (
            "worse",
            series(0.14, 0.2, 0.31),
            AlertKind.WORSENED,
            "A1 of 3500003816: getting worse, 31 % differentiated, +17 points in 12 h",
        ),
        (
            "better",
            series(0.14, 0.08, 0.032),
            AlertKind.CLEARED,
            "A1 of 3500003816: back to 3.2 % differentiated, −11 points in 12 h",
        ),
        (
            "cleared since all cells are gone",
            series(0.14, None),
            AlertKind.CLEARED,
            "A1 of 3500003816: no cells to judge",
        ),
    ],
)
def test_the_subject_says_dish_what_and_how_bad(name, readings, kind, subject):
    assert composed(readings=readings, kind=kind)["Subject"] == subject


def test_the_mail_is_text_html_and_two_pictures_that_the_html_shows(overlay):
    message = composed(overlay=overlay)
    assert message.get_content_type() == "multipart/alternative"
    shown = pictures(message)
    assert [part.get_content_type() for part in shown] == ["image/jpeg", "image/png"]
    for part in shown:
        name = part["Content-ID"].strip("<>")
        assert f'src="cid:{name}"' in html_of(message)
        picture = cv2.imdecode(np.frombuffer(part.get_content(), np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape[1] <= 1200
    assert html_of(message).count("alt=") == 2


@pytest.mark.parametrize("content", [None, b"", b"no picture at all"])
def test_an_overlay_that_cannot_be_read_is_said_to_be_missing(tmp_path, content):
    path = tmp_path / "overlay.jpg"
    if content is not None:
        path.write_bytes(content)
    message = composed(overlay=path)
    assert len(pictures(message)) == 1
    assert "is missing here" in text_of(message)
    assert "is missing here" in html_of(message)


def test_the_mail_says_what_the_alert_rests_on():
    counted = composed(readings=series(0.06, 0.11, 0.12, 0.14))
    assert "Above the limit of 10 % in 3 of the last 4 scans." in text_of(counted)
    readings = series(0.06, 0.31, 0.32, 0.34)
    critical = replace(alert(readings), severity=Severity.CRITICAL, text="It will rain.")
    said = text_of(composed(readings=readings, alert=critical))
    assert "Critical, 34 % differentiated" in said
    assert "Above the limit of 30 % in 3 of the last 4 scans. It will rain." in said


NOTICE_CASES = {
    AlertTopic.RISING: ("rises fast", "no longer rises fast"),
    AlertTopic.CONFLUENT: ("confluent", "no longer confluent"),
    AlertTopic.GROWTH_STOPPED: ("hardly grows", "grows again"),
    AlertTopic.DOUBTFUL: ("cannot be judged", "can be judged again"),
}


@pytest.mark.parametrize("topic", NOTICE_CASES)
def test_a_notice_says_what_begins_and_what_ends(topic):
    readings = series(0.01, 0.02)
    for kind, words in zip((AlertKind.RAISED, AlertKind.CLEARED), NOTICE_CASES[topic], strict=True):
        one = replace(alert(readings, kind), topic=topic, text="So it is.")
        mail = composed(readings=readings, alert=one)
        assert f": {words}, 2 % differentiated" in mail["Subject"]
        assert "So it is." in text_of(mail)


@pytest.mark.parametrize("body", [text_of, html_of])
def test_both_forms_say_the_facts_in_the_time_of_the_lab(body):
    said = body(composed())
    for fact in (
        "3500003816/A1",
        "incubator-3",
        "14 % of the cells (5 mm²)",
        "45 %",
        "20 fields, 31 colonies",
        "Sun 25 Oct 2026, 06:00 (Asia/Tokyo)",
        "Above the limit of 10 % in the last scan, at the end of a series that clearly rises.",
        "model 0123456789ab",
        "settings fedcba987654",
        "colonywatch alerts ack 5",
    ):
        assert fact in said


@pytest.mark.parametrize("body", [text_of, html_of])
@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (None, "this scan has no removal plan"),
        (
            replace(PLAN, status=PlanStatus.DRAFT),
            "approve the removal plan before Wed 4 Nov 2026, 06:30 (Asia/Tokyo)",
        ),
        (
            replace(PLAN, status=PlanStatus.DRAFT),
            "colonywatch removals approve 20261103T093000-17",
        ),
        (replace(PLAN, status=PlanStatus.DRAFT), "2 regions, 0.034 mm² in all; waits for a person"),
        (
            replace(PLAN, status=PlanStatus.DRAFT, covered_um2=15_200.0),
            "2 regions, 2 hits that remove 0.015 mm² of their 0.034 mm²; waits for a person",
        ),
        (PLAN, "colonywatch removals reject 20261103T093000-17"),
        (PLAN, "3 regions are too small"),
        (replace(PLAN, status=PlanStatus.SUPERSEDED), "removal plan is superseded"),
    ],
)
def test_the_mail_says_what_to_do_with_the_removal_plan(body, plan, said):
    mail = body(composed(plan=plan)).replace("&#39;", "'")
    assert said in mail


def test_a_cleared_alert_asks_for_nothing():
    said = text_of(composed(readings=series(0.12, 0.03), kind=AlertKind.CLEARED))
    assert "1. Nothing." in said
    assert "Below the lower limit of 5 %" in said
    assert "removals approve" not in said


def test_a_worse_dish_is_said_to_be_worse():
    assert "Consider whether the dish is worth keeping." in text_of(
        composed(kind=AlertKind.WORSENED)
    )


def test_a_test_is_marked_in_the_subject_and_in_both_forms():
    message = composed(test=True)
    assert message["Subject"].startswith("[test] A1 of 3500003816: ")
    assert message["Importance"] is None
    for said in (text_of(message), html_of(message)):
        assert "THIS IS A TEST" in said
        assert "alerts ack" not in said


def test_doubts_and_an_unknown_pixel_size_are_said():
    doubtful = reading(
        0, 0.14, doubts=("out of focus in 3 fields",), pixel_size_um=None, differentiated_um2=None
    )
    said = text_of(composed(readings=(doubtful,)))
    assert "out of focus in 3 fields" in said
    assert "unknown; areas cannot be given" in said


SURE = Doubt((), (0.801, 0.982), "ips 4x", calibrated=True)
OWN = Doubt((), (0.801, 0.982), "ips 4x", calibrated=False)
STRANGE = Doubt((DoubtReason.UNFAMILIAR, DoubtReason.DISAGREEMENT), (0.801, 0.982))


@pytest.mark.parametrize("doubt", [SURE, OWN, STRANGE])
def test_a_number_stands_with_its_interval(doubt):
    message = composed(readings=(reading(0, 0.94, doubt=doubt),))
    for said in (text_of(message), html_of(message)):
        assert "94 % (90 % interval 80 to 99 %) of the cells (5 mm²)" in said
        assert ("not calibrated for this kind of image" in said) is (doubt is not SURE)
        assert ("In doubt" in said) is (doubt is STRANGE)


def test_why_the_network_is_in_doubt_is_said_once_and_in_words():
    message = composed(readings=(reading(0, 0.94, doubt=STRANGE, uncertainty=0.6),))
    for said in (text_of(message), html_of(message)):
        assert said.count("unlike the images the model has learnt from") == 1
        assert said.count("the model contradicts itself on this image") == 1
        assert "unsure here" not in said


def test_of_a_doubt_that_the_model_cannot_tell_a_mail_says_nothing():
    message = composed(readings=(reading(0, 0.94),))
    for said in (text_of(message), html_of(message)):
        assert "94 % of the cells (5 mm²)" in said
        for word in ("interval", "alibrated", "doubt"):
            assert word not in said


def test_an_interval_of_another_reading_does_not_stand_beside_the_alerts_number():
    """Scans may have come since the alert was raised."""
    readings = (reading(0, 0.5, doubt=SURE), reading(1, 0.94, doubt=SURE))
    older = replace(alert(readings[:1]), fraction=0.5)
    message = composed(readings=readings, alert=older)
    assert "50 % of the cells" in text_of(message)
    assert "interval" not in text_of(message)


@pytest.mark.parametrize(
    ("doubt", "line"),
    [
        (Doubt(), None),
        (SURE, "90 % interval 80 to 99 %"),
        (
            STRANGE,
            "90 % interval 80 to 99 %; in doubt: unlike the images the model has learnt from, "
            "the model contradicts itself on this image",
        ),
        (Doubt((DoubtReason.UNCLEAR,)), "In doubt: cells cannot be told apart here"),
    ],
)
def test_a_chat_says_in_one_line_how_far_the_number_may_be_trusted(doubt, line):
    _, text = compose_short([story(readings=(reading(0, 0.94, doubt=doubt),))])
    _, plain = compose_short([story(readings=(reading(0, 0.94),))])
    assert text.splitlines() == [*plain.splitlines(), *([line] if line else [])]


@pytest.mark.parametrize(("uncertainty", "said"), [(0.34, False), (0.35, True)])
def test_an_unsure_network_is_owned_up_to(uncertainty, said):
    """The alert stands; who acts on it should look at the picture first."""
    mail = text_of(composed(readings=(reading(0, 0.14, uncertainty=uncertainty),)))
    assert ("look at the image before you act" in mail) is said


def test_an_alert_without_any_reading_still_makes_a_mail():
    bare = replace(alert(series(0.14)), reading_id=None)
    message = compose(
        [story(readings=(reading(0, 0.14),), alert=bare)], sender="a@b", recipients=["c@d"],
        message_id="x",
    )  # fmt: skip
    nothing = compose(
        [replace(story(), alert=bare, readings=())],
        sender="a@b",
        recipients=["c@d"],
        message_id="x",
    )
    assert "14 % differentiated" in message["Subject"]
    assert "14 % differentiated" in nothing["Subject"]


def test_the_headers_name_who_when_and_which():
    message = composed(recipients=("a@example.org", "b@example.org"))
    assert message["From"] == "colonywatch@example.org"
    assert message["To"] == "a@example.org, b@example.org"
    assert message["Message-ID"] == "<alert-5-9@colonywatch>"
    assert message["Date"].datetime == alert(series(0.06, 0.07, 0.08, 0.14)).created_at
    assert message["Auto-Submitted"] == "auto-generated"


def test_the_same_alert_makes_the_same_mail_again(overlay):
    first, second = composed(overlay=overlay), composed(overlay=overlay)
    assert [part.get_content() for part in pictures(first)] == [
        part.get_content() for part in pictures(second)
    ]
    assert (text_of(first), html_of(first)) == (text_of(second), html_of(second))


def test_nobody_to_send_it_to_is_an_error_that_stays():
    with pytest.raises(OutletError, match="no recipient") as raised:
        composed(recipients=())
    assert raised.value.permanent


@pytest.mark.parametrize(
    "dish",
    [
        "A1\r\nBcc: thief@example.org",
        "A1\n\n<script>alert(1)</script>",
        "A1\x00\x1b[31m\u202eevil",
        "\udce9t\udce9",
        "皿/7",
    ],
)
def test_a_dish_name_can_neither_add_headers_nor_markup(dish):
    readings = series(0.06, 0.14, dish=dish)
    message = composed(readings=readings)
    assert message["Bcc"] is None
    assert set(message.keys()) == set(composed().keys())
    assert "\n" not in message["Subject"]
    assert "<script" not in html_of(message)
    assert "\x1b" not in text_of(message)
    assert "\u202e" not in html_of(message)


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(dish=st.text(max_size=120), source=st.text(max_size=40), doubt=st.text(max_size=40))
def test_whatever_captures_are_called_the_mail_is_whole(dish, source, doubt):
    readings = (reading(0, 0.14, dish=dish, doubts=(doubt,)),)
    message = composed(readings=readings, source=source)
    assert "14 % differentiated" in message["Subject"]
    assert message.defects == []
    assert len(pictures(message)) == 1


# --- where it goes ------------------------------------------------------------------------------


def simple(recipients=("lab@example.org",), **changes):
    return compose(
        [story(readings=series(0.06, 0.14), **changes)],
        sender="colonywatch@example.org",
        recipients=recipients,
        message_id="alert-5-9",
    )


def test_without_a_server_the_mail_becomes_a_file(tmp_path):
    where = send(simple(), EmailConfig(), tmp_path / "mailbox")
    path = Path(where)
    assert path.name == "20261024T090300Z_alert-5-9_at_colonywatch.eml"
    mail = message_from_bytes(path.read_bytes(), policy=default)
    assert mail["Subject"] == "A1 of 3500003816: 14 % differentiated, +8 points in 6 h"
    assert len(pictures(mail)) == 1


def test_the_same_mail_again_replaces_its_file(tmp_path):
    assert send(simple(), EmailConfig(), tmp_path) == send(simple(), EmailConfig(), tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_mailbox_that_cannot_be_written_is_tried_again(tmp_path):
    (tmp_path / "mailbox").write_text("a file, not a folder")
    with pytest.raises(OutletError, match="cannot be written") as raised:
        send(simple(), EmailConfig(), tmp_path / "mailbox")
    assert not raised.value.permanent


class Answering:
    """A mail server's opinions. What it takes is kept in `taken` as (recipients, content)."""

    def __init__(self, sender="250 OK", data="250 OK", **recipients):
        self.sender = sender
        self.data = data
        self.recipients = recipients
        self.taken = []

    async def handle_MAIL(self, server, session, envelope, address, options):  # noqa: N802
        if self.sender.startswith("250"):
            envelope.mail_from = address
        return self.sender

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        answer = self.recipients.get(address.partition("@")[0], "250 OK")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        if self.data.startswith("250"):
            self.taken.append((list(envelope.rcpt_tos), envelope.content))
        return self.data


class OnAnyPort(Controller):
    def _trigger_server(self):
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextlib.contextmanager
def running(handler, **settings):
    controller = OnAnyPort(handler, hostname="127.0.0.1", port=0, **settings)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


def configured(port, **settings):
    values = {"server": "127.0.0.1", "port": port, "security": "none", "timeout_s": 5.0}
    return EmailConfig(**(values | settings))


def test_a_server_gets_the_mail_for_each_address(tmp_path):
    handler = Answering()
    with running(handler) as port:
        where = send(simple(("a@example.org", "b@example.org")), configured(port), tmp_path)
    assert where == f"a@example.org, b@example.org through 127.0.0.1:{port}"
    ((recipients, content),) = handler.taken
    assert recipients == ["a@example.org", "b@example.org"]
    mail = message_from_bytes(content, policy=default)
    assert mail["Subject"] == "A1 of 3500003816: 14 % differentiated, +8 points in 6 h"
    assert [part.get_content()[:4] for part in pictures(mail)] == [b"\x89PNG"]
    assert list(tmp_path.iterdir()) == []


def test_the_mail_can_go_to_one_of_its_addresses_alone(tmp_path):
    handler = Answering()
    message = simple(("a@example.org", "b@example.org"))
    with running(handler) as port:
        send(message, configured(port), tmp_path, to=["b@example.org"])
    assert [recipients for recipients, _ in handler.taken] == [["b@example.org"]]


@pytest.mark.parametrize(
    ("name", "answers", "permanent", "text"),
    [
        ("message refused", {"data": "554 spam"}, True, "the mail was refused: 554 spam"),
        ("server is full", {"data": "452 no room"}, False, "the mail was refused: 452 no room"),
        ("sender refused", {"sender": "550 who are you"}, True, "sender colonywatch@example.org"),
        ("sender to wait", {"sender": "451 later"}, False, "451 later"),
        ("nobody there", {"lab": "550 no such user"}, True, r"lab@example.org \(550 no such user"),
        ("greylisted", {"lab": "450 try later"}, False, r"lab@example.org \(450 try later"),
    ],
)
def test_a_refusal_says_whether_trying_again_can_help(tmp_path, name, answers, permanent, text):
    handler = Answering(**answers)
    with running(handler) as port, pytest.raises(OutletError, match=text) as raised:
        send(simple(), configured(port), tmp_path)
    assert raised.value.permanent is permanent
    assert handler.taken == []


def test_one_address_that_may_work_later_keeps_the_mail_alive(tmp_path):
    handler = Answering(a="550 no such user", b="450 try later")
    message = simple(("a@example.org", "b@example.org"))
    with running(handler) as port, pytest.raises(OutletError) as raised:
        send(message, configured(port), tmp_path)
    assert not raised.value.permanent


def test_some_addresses_refused_are_named_and_the_others_have_the_mail(tmp_path):
    handler = Answering(b="550 no such user")
    with running(handler) as port:
        where = send(simple(("a@example.org", "b@example.org")), configured(port), tmp_path)
    assert where == (
        f"a@example.org through 127.0.0.1:{port}; refused: b@example.org (550 no such user)"
    )
    assert [recipients for recipients, _ in handler.taken] == [["a@example.org"]]


@contextlib.contextmanager
def a_socket(answer):
    """A server made of one function that gets each connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(5)

    def serve():
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                answer(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()
        thread.join()


def drops_within_the_mail(connection):
    connection.settimeout(5)
    connection.sendall(b"220 here\r\n")
    for line in connection.makefile("rb"):
        if line.upper().startswith(b"DATA"):
            connection.sendall(b"354 go on\r\n")
            connection.recv(20)
            return
        connection.sendall(b"250 yes\r\n")


def falls_silent_within_the_mail(connection):
    connection.settimeout(5)
    connection.sendall(b"220 here\r\n")
    for line in connection.makefile("rb"):
        if line.upper().startswith(b"DATA"):
            connection.sendall(b"354 go on\r\n")
            read_to_the_end(connection)
            return
        connection.sendall(b"250 yes\r\n")


def read_to_the_end(connection):
    connection.settimeout(5)
    while connection.recv(1 << 16):
        pass


@pytest.mark.parametrize(
    ("name", "answer", "text"),
    [
        ("never says a word", read_to_the_end, "no answer in time"),
        ("hangs up at once", lambda connection: None, "no connection"),
        ("hangs up within the mail", drops_within_the_mail, "no connection"),
        ("falls silent within the mail", falls_silent_within_the_mail, "no answer in time"),
        ("turns away", lambda connection: connection.sendall(b"554 go away\r\n"), "554 go away"),
        (
            "speaks no SMTP",
            lambda connection: connection.sendall(b"HTTP/1.1\r\n"),
            "is not a mail server",
        ),
    ],
)
def test_a_server_that_does_not_play_along_is_tried_again(tmp_path, name, answer, text):
    with a_socket(answer) as port, pytest.raises(OutletError, match=text) as raised:
        send(simple(), configured(port, timeout_s=0.3), tmp_path)
    assert not raised.value.permanent


def test_a_server_that_is_not_there_is_tried_again(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(OutletError, match="no connection") as raised:
        send(simple(), configured(port), tmp_path)
    assert not raised.value.permanent


def test_a_mail_that_was_taken_counts_as_sent_though_the_farewell_hangs(tmp_path):
    seen = []

    def take_all_but_the_farewell(connection):
        connection.settimeout(5)
        lines = connection.makefile("rb")
        connection.sendall(b"220 here\r\n")
        in_data = False
        for line in lines:
            seen.append(line)
            if in_data:
                if line == b".\r\n":
                    in_data = False
                    connection.sendall(b"250 taken\r\n")
            elif line.lower().startswith(b"data"):
                in_data = True
                connection.sendall(b"354 go on\r\n")
            elif not line.lower().startswith(b"quit"):
                connection.sendall(b"250 fine\r\n")

    with a_socket(take_all_but_the_farewell) as port:
        where = send(simple(), configured(port, timeout_s=0.3), tmp_path)
    assert where.startswith("lab@example.org through ")
    assert b"quit\r\n" in seen


# --- TLS and login ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """(certificate, key) of 127.0.0.1, signed by itself."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make a certificate with")
    folder = tmp_path_factory.mktemp("certificate")
    files = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
         "-out", files[0], "-keyout", files[1]],
        check=True, capture_output=True,
    )  # fmt: skip
    return files


def server_side(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def trusting(certificate):
    return ssl.create_default_context(cafile=certificate[0])


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_the_line_is_encrypted_as_configured(tmp_path, certificate, security):
    handler = Answering()
    how = "tls_context" if security == "starttls" else "ssl_context"
    with running(handler, **{how: server_side(certificate)}) as port:
        send(simple(), configured(port, security=security), tmp_path, tls=trusting(certificate))
    assert len(handler.taken) == 1


def test_a_certificate_that_nobody_vouches_for_gets_no_mail(tmp_path, certificate):
    handler = Answering()
    with (
        running(handler, tls_context=server_side(certificate)) as port,
        pytest.raises(OutletError, match="not trusted") as raised,
    ):
        send(simple(), configured(port, security="starttls"), tmp_path)
    assert not raised.value.permanent
    assert handler.taken == []


def test_a_server_without_starttls_gets_no_mail_in_the_open(tmp_path):
    handler = Answering()
    with running(handler) as port, pytest.raises(OutletError, match="security") as raised:
        send(simple(), configured(port, security="starttls"), tmp_path)
    assert not raised.value.permanent
    assert handler.taken == []


@pytest.mark.parametrize(("password", "accepted"), [("secret\n", True), ("wrong", False)])
def test_the_login_uses_the_password_file(tmp_path, certificate, password, accepted):
    def check(server, session, envelope, mechanism, data):
        right = (data.login, data.password) == (b"watch", b"secret")
        return AuthResult(success=right, handled=right)

    file = tmp_path / "password"
    file.write_text(password)
    handler = Answering()
    with running(
        handler, tls_context=server_side(certificate), authenticator=check, auth_required=True
    ) as port:
        settings = configured(port, security="starttls", username="watch", password_file=file)
        if accepted:
            send(simple(), settings, tmp_path, tls=trusting(certificate))
        else:
            with pytest.raises(OutletError, match="the login was refused") as raised:
                send(simple(), settings, tmp_path, tls=trusting(certificate))
            assert raised.value.permanent
    assert len(handler.taken) == int(accepted)


def test_a_password_file_that_is_not_there_is_said(tmp_path):
    settings = configured(
        1, security="starttls", username="watch", password_file=tmp_path / "password"
    )
    with pytest.raises(OutletError, match="the mail password cannot be read") as raised:
        send(simple(), settings, tmp_path)
    assert not raised.value.permanent
