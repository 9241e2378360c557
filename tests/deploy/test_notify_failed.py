"""The word of failure, with programs of the test's own in place of the machine's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller

from tests.monitor.outlets.dashboard.test_dashboard import free_port

SCRIPT = Path(__file__).parents[2] / "deploy" / "notify-failed.sh"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder of stand-ins that write down what they were given."""
    folder = tmp_path / "programs"
    folder.mkdir()
    stand_ins = {
        "logger": f'printf "%s\\n" "$*" >>{tmp_path}/log',
        "sendmail": f'printf "%s\\n" "$*" >{tmp_path}/arguments; cat >{tmp_path}/mail',
        "systemctl": 'case $2 in *Result) echo exit-code ;; *) echo "${STATUS:-1}" ;; esac',
        "journalctl": 'echo "the last line of $*"',
    }
    for name, text in stand_ins.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    return folder


def tell(programs: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPT), *arguments],
        env={
            **os.environ,
            "COLONYWATCH_SMTP_PORT": "1",
            "PATH": f"{programs}:{os.environ['PATH']}",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=30,
    )


def program_of(tmp_path: Path, code: int) -> str:
    """A program in place of ours, which writes down what it was given."""
    program = tmp_path / "colonywatch"
    program.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/told\ncat >{tmp_path}/journal\nexit {code}\n'
    )
    program.chmod(0o755)
    return str(program)


def test_everybody_who_gets_alerts_is_told_by_our_own_program(
    tmp_path: Path, programs: Path
) -> None:
    ours = program_of(tmp_path, 0)
    done = tell(programs, "colonywatch.service", COLONYWATCH_PROGRAM=ours, STATUS="78")
    assert done.returncode == 0, done.stderr
    told = (tmp_path / "told").read_text(encoding="utf-8").splitlines()
    assert told[:3] == ["report-failure", "colonywatch.service", "--reason"]
    assert "check-config" in told[3]
    assert told[4:] == ["--config", "/etc/colonywatch/config.yaml"]
    assert "the last line of" in (tmp_path / "journal").read_text(encoding="utf-8")
    assert not (tmp_path / "mail").exists()


@pytest.mark.parametrize("code", [1, 78, 127])
def test_where_our_own_program_cannot_the_administrator_is_mailed(
    tmp_path: Path, programs: Path, code: int
) -> None:
    ours = program_of(tmp_path, code)
    done = tell(programs, "colonywatch.service", COLONYWATCH_PROGRAM=ours)
    assert done.returncode == 0
    assert "could not tell anybody" in done.stderr
    assert "is DOWN" in (tmp_path / "mail").read_text(encoding="utf-8")


def test_the_system_log_and_the_administrator_hear_of_it(tmp_path: Path, programs: Path) -> None:
    done = tell(programs, "colonywatch.service", COLONYWATCH_ADMIN="lab@example.org")
    assert done.returncode == 0, done.stderr
    assert (
        (tmp_path / "log")
        .read_text(encoding="utf-8")
        .startswith("--priority daemon.crit --tag colonywatch -- colonywatch.service is DOWN on ")
    )
    assert (tmp_path / "arguments").read_text(encoding="utf-8") == "-t -oi\n"
    head, body = (tmp_path / "mail").read_text(encoding="utf-8").split("\n\n", 1)
    assert "To: lab@example.org" in head.splitlines()
    assert "Subject: [colonywatch] colonywatch.service is DOWN on " in head
    assert "systemctl reset-failed colonywatch.service" in body
    assert "the last line of --no-pager" in body


def test_the_mail_server_of_this_machine_comes_before_a_sendmail(
    tmp_path: Path, programs: Path
) -> None:
    """The unit takes from programs the rights that a sendmail needs."""
    received = []

    class Receiver:
        async def handle_DATA(self, server, session, envelope):  # noqa: N802
            received.append((envelope.rcpt_tos, envelope.content.decode()))
            return "250 OK"

    server = Controller(Receiver(), hostname="localhost", port=free_port())
    server.start()
    try:
        done = tell(
            programs,
            "colonywatch.service",
            COLONYWATCH_SMTP_PORT=str(server.port),
            COLONYWATCH_ADMIN="lab@example.org",
        )
    finally:
        server.stop()
    assert done.returncode == 0 and "mail server of this machine" in done.stdout, done.stderr
    ((to, mail),) = received
    assert to == ["lab@example.org"] and "is DOWN" in mail
    assert not (tmp_path / "mail").exists()


def test_a_bad_configuration_is_called_by_its_name(tmp_path: Path, programs: Path) -> None:
    tell(programs, "colonywatch.service", STATUS="78")
    assert "colonywatch check-config" in (tmp_path / "mail").read_text(encoding="utf-8")


def test_a_mail_that_cannot_be_handed_over_is_a_failure(tmp_path: Path, programs: Path) -> None:
    (programs / "sendmail").write_text("#!/bin/sh\nexit 75\n", encoding="utf-8")
    done = tell(programs, "colonywatch.service")
    assert done.returncode == 1
    assert "could not be handed over" in done.stderr
    assert "is DOWN" in (tmp_path / "log").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "arguments", [(), ("a.service", "b.service"), ("x\nBcc: y@z",), ("$(id)",), ("",)]
)
def test_only_one_name_of_a_unit_is_taken(
    tmp_path: Path, programs: Path, arguments: tuple[str, ...]
) -> None:
    assert tell(programs, *arguments).returncode == 2
    assert not (tmp_path / "mail").exists()
