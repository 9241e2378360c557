"""The way of a mail as a person tries it: `doctor`, `alerts test`, `status`."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from monitor.record.store import Store
from tests.monitor.commands.calls import DONE, FAILED, call
from tests.monitor.outlets.mail_servers import Opinions, certificate_for, mail_server
from tests.monitor.test_cured_by_settings import raise_alert

TO = "a@lab.example"


def written(folder: Path, port: int, **settings: object) -> Path:
    email = {
        "server": "127.0.0.1",
        "port": port,
        "security": "none",
        "sender": "watch@lab.example",
        "recipients": [TO],
        "timeout_s": 5,
    }
    path = folder / "config.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "record": {"folder": str(folder / "state")},
                "outlets": {"email": email | settings},
            }
        )
    )
    return path


@pytest.fixture
def waiting(tmp_path, fresh_database):
    """A record with one alert whose mail waits."""
    state = tmp_path / "state"
    state.mkdir()
    (state / "colonywatch.sqlite").write_bytes(fresh_database.read_bytes())
    with Store(f"sqlite:///{state / 'colonywatch.sqlite'}") as store:
        raise_alert(store, TO)
    return state


def test_a_test_that_arrives_sends_what_had_waited_with_an_id_of_its_own(tmp_path, waiting):
    """Whoever corrects a setting tries it with `alerts test`; the real alert must not be missed,
    nor be hidden behind the test in a mail reader that shows one mail an id.
    """
    certificate, context = certificate_for(tmp_path / "certificate", "127.0.0.1")
    opinions = Opinions()
    with mail_server(opinions, tls_context=context, require_starttls=True) as port:
        config = written(tmp_path, port)
        answer = call("alerts", "test", "--config", config)
        assert answer.code == FAILED
        assert "set outlets.email.security to starttls" in answer.err
        assert opinions.taken == []
        config = written(tmp_path, port, security="starttls", ca_file=str(certificate))
        answer = call("alerts", "test", "--config", config)
        assert answer.code == DONE, answer.err
        assert "1 that had waited was sent, too" in answer.out + answer.err
    test, real = opinions.mails
    assert test["Subject"].startswith("[test] ")
    assert real["Subject"].startswith("A1 of 3500003816")
    assert test["Message-ID"] != real["Message-ID"]


def test_status_and_the_log_name_the_setting(tmp_path, waiting):
    answer_to_sender = "550 5.7.1 who are you"
    with mail_server(Opinions(mail=answer_to_sender)) as port:
        config = written(tmp_path, port)
        (tmp_path / "empty").mkdir()
        call("process", tmp_path / "empty", "--config", config)  # a round of the outbox
    document = call("status", "--config", config, "--json").document
    (message,) = document["undelivered"]
    assert "outlets.email.sender" in message["last_error"]
    assert (document["outbox_pending"], document["outbox_failed"]) == (1, 0)
    shown = call("status", "--config", config)
    assert "outlets.email.sender" in shown.out + shown.err
    log = call("alerts", "log", "--config", config, "--json").document
    assert "outlets.email.sender" in log[0]["last_error"]


@pytest.mark.parametrize(
    ("opinions", "settings", "says"),
    [
        (Opinions(), {"security": "starttls"}, "outlets.email.security"),
        (Opinions(mail="550 who are you"), {}, "outlets.email.sender"),
        (Opinions(rcpt={TO: "550 5.1.1 User unknown"}), {}, "outlets.email.recipients"),
    ],
    ids=["encryption", "sender", "recipient"],
)
def test_doctor_tries_the_way_of_a_mail_without_one(tmp_path, opinions, settings, says):
    with mail_server(opinions) as port:
        config = written(tmp_path, port, **settings)
        found = call("doctor", "--config", config, "--json").document
    mail = [one for one in found if one["what"] == "mail"]
    assert any(one["ok"] is False and says in one["text"] for one in mail)
    assert opinions.taken == []


def test_doctor_says_that_mails_will_have_to_be_smaller(tmp_path):
    with mail_server(Opinions(), data_size_limit=200_000) as port:
        config = written(tmp_path, port)
        found = call("doctor", "--config", config, "--json").document
    texts = {one["ok"]: one["text"] for one in found if one["what"] == "mail"}
    assert "0.2 MB" in texts[None]
    assert "accepts our mail" in texts[True]
