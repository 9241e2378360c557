from __future__ import annotations

import socket
from email import message_from_bytes
from email.policy import default

import pytest

from monitor.commands.trial_alert import send_trial_alert
from monitor.config import (
    CalibrationConfig,
    Config,
    DecisionsConfig,
    DifferentiationConfig,
    EmailConfig,
    OutletsConfig,
    RecordConfig,
    RemovalConfig,
    UnlistedSettings,
)
from monitor.errors import MonitorError


def config_for(tmp_path, *, email=None, **rule) -> Config:
    return Config(
        record=RecordConfig(folder=tmp_path / "state"),
        unlisted=UnlistedSettings(calibration=CalibrationConfig(id="scope-1")),
        decisions=DecisionsConfig(
            differentiation=DifferentiationConfig(**rule), removal=RemovalConfig(approval="rule")
        ),
        outlets=OutletsConfig(email=email or EmailConfig()),
    )


@pytest.fixture
def trial(tmp_path):
    folder = tmp_path / "trial"
    folder.mkdir()
    return folder


RULES = {
    "the default": {},
    "one scan is enough": {"scans_needed": 1, "scans_considered": 1},
    "five of seven": {"scans_needed": 5, "scans_considered": 7},
    "all of two days": {"scans_needed": 3, "scans_considered": 3, "agree_h": 48.0},
    "a high limit": {"raise_above": 0.85, "clear_below": 0.5},
    "a low limit": {"raise_above": 0.001, "clear_below": 0.0005},
}


@pytest.mark.parametrize("case", RULES)
def test_any_sensible_rule_alerts_and_the_mail_arrives_marked_as_a_test(case, tmp_path, trial):
    config = config_for(tmp_path, **RULES[case])
    where, problem = send_trial_alert(config, trial)
    assert problem is None
    (file,) = config.mailbox.iterdir()
    assert where == str(file)
    mail = message_from_bytes(file.read_bytes(), policy=default)
    assert mail["Subject"].startswith("[test] A1 of TEST: ")
    pictures = [part.get_content_type() for part in mail.walk()]
    assert {"image/jpeg", "image/png"} < set(pictures)


def test_the_real_record_and_the_picker_are_never_touched(tmp_path, trial):
    config = config_for(tmp_path)
    send_trial_alert(config, trial)
    assert [path.name for path in config.record.folder.iterdir()] == ["mailbox"]
    assert not config.removal_folder.exists()


def test_a_server_that_is_not_there_is_said(tmp_path, trial):
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        email = EmailConfig(server="127.0.0.1", port=port, security="none", timeout_s=5)
        where, problem = send_trial_alert(config_for(tmp_path, email=email), trial)
    assert where == ""
    assert problem is not None
    assert "no connection" in problem


def test_nobody_to_mail_is_said(tmp_path, trial):
    where, problem = send_trial_alert(config_for(tmp_path, email=EmailConfig(recipients=())), trial)
    assert where == ""
    assert problem is not None
    assert "recipient" in problem


def test_a_rule_that_can_never_alert_is_said(tmp_path, trial):
    with pytest.raises(MonitorError, match="did not alert"):
        send_trial_alert(config_for(tmp_path, raise_above=1.0), trial)
