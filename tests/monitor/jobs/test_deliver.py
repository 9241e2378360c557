from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import cv2
import numpy as np
import pytest
from aiosmtpd.controller import Controller

from monitor.config import (
    CalibrationConfig,
    Config,
    EmailConfig,
    OverrideConfig,
    RecordConfig,
    SourceConfig,
)
from monitor.config.outlets import DashboardConfig
from monitor.culture import AlertKind, DishStatus, NewAlert, PlanStatus, ScanDecision
from monitor.errors import RecordError
from monitor.jobs.deliver import deliver_due
from monitor.outlets.answer_links import AnswerLinks
from monitor.outlets.mail.alert_mail import compose
from monitor.outlets.picking import Handout, stage_plan
from tests.monitor.facts import (
    DISH,
    NOW,
    add_message,
    hours,
    measure,
    measurement,
    minutes,
    place,
    read,
    removal_plan,
)


def raised_for(*recipients):
    alert = NewAlert(AlertKind.RAISED, mail_to=recipients)
    return ScanDecision(DishStatus.DIFFERENTIATING, (alert,))


RAISED = raised_for("a@lab.org")


@dataclass
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Postman:
    """A mail server that keeps what it takes. `refuses` : recipient -> its answer."""

    refuses: dict[str, str] = field(default_factory=dict)
    taken: list[tuple[list[str], bytes]] = field(default_factory=list)

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        answer = self.refuses.get(address, "250 OK")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        self.taken.append((list(envelope.rcpt_tos), envelope.content))
        return "250 OK"


class OnAnyPort(Controller):
    def _trigger_server(self):
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextmanager
def mail_server(postman: Postman) -> Iterator[int]:
    controller = OnAnyPort(postman, hostname="127.0.0.1", port=0)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


@pytest.fixture
def config(tmp_path) -> Config:
    return Config(
        sources=(
            SourceConfig(
                name="incubator",
                path=tmp_path / "captures",
                timezone="Asia/Tokyo",
                calibration=CalibrationConfig(id="scope-1", rms_um=2.5),
            ),
        ),
        record=RecordConfig(folder=tmp_path / "state"),
    )


def through(config: Config, port: int) -> Config:
    email = EmailConfig(server="127.0.0.1", port=port, security="none", timeout_s=5)
    outlets = config.outlets.model_copy(update={"email": email})
    return config.model_copy(update={"outlets": outlets})


def deliver(store, config, clock=None, **options):
    return deliver_due(store, config, clock or Clock(), **({"stopping": lambda: False} | options))


def raise_alert(store, decision=RAISED, *, key="s1", at=NOW, **changes):
    scan = measure(store, f"/in/{key}.tif", place(key=key), measurement(acquired_at=at, **changes))
    outcome = read(store, scan, decision)
    assert outcome is not None
    return outcome.reading


def mails(folder: Path):
    return [
        message_from_bytes(path.read_bytes(), policy=default)
        for path in sorted(folder.glob("*.eml"))
    ]


def pictures(mail):
    return [
        part.get_content_type() for part in mail.walk() if part.get_content_maintype() == "image"
    ]


# --- mail ---------------------------------------------------------------------------------------


def test_an_alert_reaches_its_recipient_through_a_real_server(store, config):
    overlay = config.record.folder / "overlays" / "a.jpg"
    overlay.parent.mkdir(parents=True)
    cv2.imwrite(str(overlay), np.full((40, 60, 3), 128, np.uint8))
    for hour in (1, 2):
        raise_alert(store, ScanDecision(DishStatus.UNKNOWN), key=f"h{hour}", at=NOW - hours(hour))
    raise_alert(store)
    postman = Postman()
    with mail_server(postman) as port:
        assert deliver(store, through(config, port)) == 1
    ((recipients, content),) = postman.taken
    mail = message_from_bytes(content, policy=default)
    assert recipients == ["a@lab.org"]
    assert mail["To"] == "a@lab.org"
    assert mail["Subject"].startswith("A1 of 3500003816: 25 % differentiated")
    assert pictures(mail) == ["image/jpeg", "image/png"]
    text = mail.get_body(("plain",)).get_content()
    assert "Asia/Tokyo" in text  # the zone of the dish's source
    assert "incubator" in text
    assert store.outbox.counts().pending == 0
    assert store.outbox.log(limit=1)[0].delivered_to == f"a@lab.org through 127.0.0.1:{port}"
    assert deliver(store, config) == 0


def test_without_a_server_mails_are_files(store, config):
    raise_alert(store)
    assert deliver(store, config) == 1
    (mail,) = mails(config.mailbox)
    assert mail["To"] == "a@lab.org"


def test_every_recipient_has_a_mail_of_his_own_and_one_refusal_holds_up_nobody(store, config):
    raise_alert(store, raised_for("gone@lab.org", "busy@lab.org", "a@lab.org"))
    postman = Postman({"gone@lab.org": "550 no such user", "busy@lab.org": "451 later"})
    clock = Clock()
    with mail_server(postman) as port:
        assert deliver(store, through(config, port), clock) == 1
        assert [recipients for recipients, _ in postman.taken] == [["a@lab.org"]]
        gone, busy = store.outbox.undelivered()
        assert gone.failed_at == NOW
        assert "550 no such user" in gone.last_error
        assert busy.failed_at is None
        assert busy.next_try_at == NOW + timedelta(seconds=15)
        postman.refuses.clear()
        clock.now += timedelta(seconds=15)
        assert deliver(store, through(config, port), clock) == 1
    assert [recipients for recipients, _ in postman.taken] == [["a@lab.org"], ["busy@lab.org"]]
    assert [message.recipient for message in store.outbox.undelivered()] == ["gone@lab.org"]


def test_a_mail_that_cannot_go_is_kept_and_goes_when_the_server_is_back(store, config):
    raise_alert(store)
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        clock = Clock()
        for attempt, wait_s in enumerate((15, 30, 60), start=1):
            assert deliver(store, through(config, port), clock) == 0
            (message,) = store.outbox.undelivered()
            assert message.attempts == attempt
            assert message.next_try_at == clock.now + timedelta(seconds=wait_s)
            assert "no connection" in (message.last_error or "")
            clock.now = message.next_try_at
    postman = Postman()
    with mail_server(postman) as port:
        assert deliver(store, through(config, port), clock) == 1
    assert len(postman.taken) == 1


def test_nothing_is_drawn_once_more_for_a_server_that_is_still_down(store, config, monkeypatch):
    """A day without a server is some fifty tries for each mail, and each takes a second to draw."""
    raise_alert(store)
    drawn = []

    def composed(*args, **words):
        drawn.append(1)
        return compose(*args, **words)

    monkeypatch.setattr("monitor.outlets.mail.alert_mail.compose", composed)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        down = through(config, taken.getsockname()[1])
        clock = Clock()
        for _ in range(3):
            assert deliver(store, down, clock) == 0
            clock.now += hours(1)
    (message,) = store.outbox.undelivered()
    assert (message.attempts, len(drawn)) == (3, 1)
    assert "no connection" in (message.last_error or "")
    postman = Postman()
    with mail_server(postman) as port:
        assert deliver(store, through(config, port), clock) == 1
    assert len(postman.taken) == 1


def test_a_mail_that_goes_twice_can_be_told_from_a_second_one(store, config):
    """The server has it, and we die before we can say so; more on the dish comes meanwhile."""
    raise_alert(store)
    raise_alert(store, key="s2", at=NOW + hours(1))
    postman = Postman()
    with mail_server(postman) as port:
        assert deliver(store, through(config, port)) == 2
        with store.database.writing() as session:
            session.connection().exec_driver_sql("UPDATE outbox SET delivered_at = NULL")
        raise_alert(store, key="s3", at=NOW + hours(2))
        assert deliver(store, through(config, port), Clock(NOW + minutes(5))) == 3
    first, again, third = (
        message_from_bytes(content, policy=default)["Message-ID"] for _, content in postman.taken
    )
    assert first == again
    assert third != first


def test_a_mail_without_its_overlay_goes_all_the_same(store, config):
    raise_alert(store)
    deliver(store, config)
    (mail,) = mails(config.mailbox)
    assert pictures(mail) == ["image/png"]


def test_a_mail_shows_the_series_up_to_its_alert_and_no_further(store, config):
    raise_alert(store)
    later = measurement(0, 0, 1000, acquired_at=NOW + hours(6))
    read(store, measure(store, "/in/later.tif", place(key="later"), later))
    deliver(store, config)
    (mail,) = mails(config.mailbox)
    assert "25 % differentiated" in mail["Subject"]


def test_a_mail_on_a_renamed_dish_shows_the_limits_that_it_is_judged_by(store, config):
    """Limits of the lab go by what captures call the dish; a better name must not change them."""
    other = OverrideConfig(dishes=DISH, limits={"raise_above": 0.17})
    decisions = config.decisions.model_copy(update={"overrides": (other,)})
    raise_alert(store)
    store.lines.rename(DISH, "donor 7", who="mika", now=NOW)
    deliver(store, config.model_copy(update={"decisions": decisions}))
    (mail,) = mails(config.mailbox)
    assert "17 %" in mail.get_body(("plain",)).get_content()


def with_dashboard(config: Config, **changes) -> Config:
    dashboard = DashboardConfig(url="https://colonies.lab.example", **changes)
    outlets = config.outlets.model_copy(update={"dashboard": dashboard})
    return config.model_copy(update={"outlets": outlets})


def test_a_mail_links_to_its_dish_and_to_its_answer_where_there_is_a_dashboard(store, config):
    config = with_dashboard(config)
    raise_alert(store)
    deliver(store, config)
    (mail,) = mails(config.mailbox)
    for kind in ("plain", "html"):
        text = mail.get_body((kind,)).get_content()
        (token,) = set(re.findall(r"https://colonies.lab.example/answer/([\w.-]+)", text))
        links = AnswerLinks(config.secret_file, good_for=timedelta(days=7))
        assert links.alert_of(token, NOW)[0] == 1
        assert "https://colonies.lab.example/dish?name=3500003816%2FA1" in text
        assert "colonywatch alerts ack" not in text


def test_a_secret_that_cannot_be_had_does_not_hold_up_the_mail(store, config, tmp_path):
    (tmp_path / "short").write_text("x")
    config = with_dashboard(config, secret_file=tmp_path / "short")
    raise_alert(store)
    deliver(store, config)
    (mail,) = mails(config.mailbox)
    assert "colonywatch alerts ack 1" in mail.get_body(("plain",)).get_content()


def test_a_trial_alert_has_no_links_to_an_alert_that_is_on_no_record(store, config):
    raise_alert(store)
    deliver(store, with_dashboard(config), is_trial=True)
    (mail,) = mails(config.mailbox)
    assert "/answer/" not in mail.get_body(("html",)).get_content()


def test_a_trial_alert_is_marked_as_a_test(store, config):
    raise_alert(store)
    deliver(store, config, is_trial=True)
    (mail,) = mails(config.mailbox)
    assert mail["Subject"].startswith("[test] ")


def test_a_delivery_that_is_told_to_stop_leaves_the_rest_for_later(store, config):
    raise_alert(store, raised_for("a@lab.org", "b@lab.org", "c@lab.org"))
    answers = iter([False, True])
    assert deliver(store, config, stopping=lambda: next(answers)) == 1
    assert store.outbox.counts().pending == 2


# --- removal plans --------------------------------------------------------------------------------


APPROVED = removal_plan(status=PlanStatus.APPROVED, approved_by="rule", approved_at=NOW)


def with_plan(store, plan=APPROVED):
    raise_alert(store, ScanDecision(DishStatus.DIFFERENTIATING, plan=plan))
    return plan.id


def files(config):
    folder = config.removal_folder
    return sorted(path.suffix for path in folder.iterdir()) if folder.exists() else []


def test_an_approved_plan_is_written_where_the_picker_looks(store, config):
    plan_id = with_plan(store)
    assert deliver(store, config) == 1
    assert files(config) == [".csv", ".json", ".sha256"]
    assert store.plans.plan(plan_id).status is PlanStatus.EXPORTED
    assert '"rms_um": 2.5' in next(config.removal_folder.glob("*.json")).read_text()


def test_a_draft_is_written_only_after_a_person_approved_it(store, config):
    plan_id = with_plan(store, removal_plan())
    assert deliver(store, config) == 0
    assert files(config) == []
    store.plans.approve(plan_id, who="A. Person", now=NOW)
    assert deliver(store, config) == 1
    assert files(config) == [".csv", ".json", ".sha256"]


def test_a_withdrawn_plan_leaves_the_folder(store, config):
    plan_id = with_plan(store)
    deliver(store, config)
    store.plans.reject(plan_id, who="A. Person", now=NOW)
    assert deliver(store, config) == 1
    assert files(config) == []


def test_a_plan_superseded_before_it_was_written_never_appears(store, config):
    with_plan(store)
    scan = measure(store, "/2", place(key="2"), measurement(acquired_at=NOW + hours(1)))
    read(store, scan, ScanDecision(DishStatus.DIFFERENTIATING, replaces_plans=True))
    deliver(store, config)
    assert files(config) == []
    assert store.outbox.counts().failed == 0
    assert store.outbox.counts().pending == 0


def test_a_plan_superseded_while_it_is_being_written_is_taken_back(store, config):
    """The message was taken before the newer scan ended the plan."""
    plan_id = with_plan(store)
    newer = measure(store, "/2", place(key="2"), measurement(acquired_at=NOW + hours(1)))
    ended = []

    def clock():
        # The second look at the clock comes when the message is in hand.
        ended.append(True)
        if len(ended) == 2:
            read(store, newer, ScanDecision(DishStatus.DIFFERENTIATING, replaces_plans=True))
        return NOW

    deliver(store, config, clock)
    assert files(config) == []
    assert store.plans.plan(plan_id).status is PlanStatus.SUPERSEDED
    assert store.outbox.counts().failed == 0


def test_an_expired_plan_is_not_written_however_long_it_was_approved(store, config):
    with_plan(store)
    assert deliver(store, config, Clock(NOW + hours(12))) == 0
    assert files(config) == []
    (message,) = store.outbox.undelivered()
    assert message.failed_at is not None
    assert "expired" in (message.last_error or "")


def handed_out(store, config, plan_id):
    """A delivery that ends just before the files are shown."""
    assert store.outbox.take_due(NOW) is not None
    staged = stage_plan(
        Handout(store.plans.plan(plan_id)), config.removal_folder, now=NOW, token="t"
    )
    store.plans.hand_out(plan_id, to="folder", token="t", now=NOW)
    return staged


def test_a_plan_that_was_not_shown_before_we_died_is_shown(store, config):
    plan_id = with_plan(store)
    handed_out(store, config, plan_id)
    assert deliver(store, config, Clock(NOW + minutes(3))) == 1
    assert files(config) == [".csv", ".json", ".sha256"]
    assert store.outbox.undelivered() == []


def test_a_plan_that_was_shown_in_part_before_we_died_is_shown_in_full(store, config):
    plan_id = with_plan(store)
    staged = handed_out(store, config, plan_id)
    hidden, path = staged.files[0]
    hidden.rename(path)
    assert deliver(store, config, Clock(NOW + minutes(3))) == 1
    assert files(config) == [".csv", ".json", ".sha256"]


def test_a_plan_that_was_shown_before_we_died_is_not_shown_again(store, config):
    """The picker may have taken the files by now, and would remove the regions twice."""
    plan_id = with_plan(store)
    for path in handed_out(store, config, plan_id).publish():
        path.unlink()  # the picker took them
    assert deliver(store, config, Clock(NOW + minutes(3))) == 1
    assert files(config) == []
    assert store.outbox.undelivered() == []


def test_a_plan_that_ended_before_it_was_shown_leaves_nothing_behind(store, config):
    plan_id = with_plan(store)
    handed_out(store, config, plan_id)
    store.plans.reject(plan_id, who="A. Person", now=NOW)
    deliver(store, config, Clock(NOW + minutes(3)))
    assert list(config.removal_folder.iterdir()) == []


def test_a_folder_that_goes_away_between_writing_and_showing_is_waited_for(store, config, tmp_path):
    plan_id = with_plan(store)
    handed_out(store, config, plan_id)
    config.removal_folder.rename(tmp_path / "away")
    assert deliver(store, config, Clock(NOW + minutes(3))) == 0
    assert store.plans.plan(plan_id).status is PlanStatus.EXPORTED
    (tmp_path / "away").rename(config.removal_folder)
    assert deliver(store, config, Clock(NOW + minutes(9))) == 1
    assert files(config) == [".csv", ".json", ".sha256"]


def test_a_picker_folder_that_cannot_be_written_does_not_hold_up_the_mail(store, config, tmp_path):
    (tmp_path / "state").mkdir(exist_ok=True)
    config.removal_folder.write_text("a file in the way")
    raise_alert(store, replace(RAISED, plan=APPROVED))
    clock = Clock()
    assert deliver(store, config, clock) == 1
    assert len(mails(config.mailbox)) == 1
    (message,) = store.outbox.undelivered()
    assert (message.channel, message.failed_at) == ("removal", None)
    assert store.plans.plan(APPROVED.id).status is PlanStatus.APPROVED
    config.removal_folder.unlink()
    clock.now = message.next_try_at
    assert deliver(store, config, clock) == 1
    assert files(config) == [".csv", ".json", ".sha256"]


# --- what should not happen -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channel", "subject", "says"),
    [
        ("pigeon", "1", "there is no outlet 'pigeon'"),
        ("email", "99", "there is no alert with this number"),
        ("email", "not a number", "unexpected error"),
        ("removal", "nope", "there is no removal plan with this id"),
    ],
)
def test_a_message_that_makes_no_sense_is_kept_and_holds_up_nobody(
    store, config, channel, subject, says
):
    add_message(store, channel, subject, "x", NOW - minutes(1))
    raise_alert(store)
    assert deliver(store, config) == 1
    assert len(mails(config.mailbox)) == 1
    (message,) = store.outbox.undelivered()
    assert says in (message.last_error or "")


def test_a_record_that_cannot_be_read_is_not_hidden(store, config):
    raise_alert(store)
    with store.database.writing() as session:
        session.connection().exec_driver_sql("ALTER TABLE outbox RENAME TO lost")
    with pytest.raises(RecordError, match="no such table"):
        deliver(store, config)
