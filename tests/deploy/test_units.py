"""The systemd units, judged by systemd's own tools."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = (
    "colonywatch.service",
    "colonywatch-dashboard.service",
    "colonywatch-sila.service",
    "colonywatch-failed@.service",
    "colonywatch-backup.service",
    "colonywatch-backup.timer",
)
LASTING = UNITS[:3]
FAILED, BACKUP = UNITS[3:5]
SERVICES = UNITS[:5]

needs_systemd_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd-analyze is not on this machine: apt install systemd",
)


def settings_of(unit: str) -> dict[str, list[str]]:
    """Each setting of a unit with all its values in order."""
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / unit).read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"([A-Za-z]+)=(.*)", line):
            found.setdefault(match[1], []).append(match[2])
    return found


def seconds(span: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(s|min|h)", span).groups()  # type: ignore[union-attr]
    return int(number) * {"s": 1, "min": 60, "h": 3600}[unit]


@needs_systemd_analyze
def test_systemd_has_nothing_to_say_against_the_units(tmp_path: Path) -> None:
    """The program is not installed here, so /bin/true stands in for it."""
    for unit in UNITS:
        text = re.sub(r"(?m)^(ExecStart=)\S+", r"\1/bin/true", (DEPLOY / unit).read_text("utf-8"))
        (tmp_path / unit).write_text(text, encoding="utf-8")
    instance = tmp_path / "colonywatch-failed@colonywatch.service.service"
    shutil.copy(tmp_path / UNITS[3], instance)
    done = subprocess.run(
        [
            "systemd-analyze",
            "verify",
            *(f"./{unit}" for unit in (*LASTING, *UNITS[4:])),
            f"./{instance.name}",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = [
        line
        for line in done.stderr.splitlines()
        # What else is wrong on this machine is not ours.
        if "colonywatch" in line
    ]
    assert (done.returncode, said) == (0, []), done.stderr


@needs_systemd_analyze
@pytest.mark.parametrize("unit", SERVICES)
def test_little_is_exposed(unit: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=15", unit],
        cwd=DEPLOY,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze cannot judge units offline; it takes version 250")
    assert "Overall exposure level" in done.stdout, done.stderr
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("unit", LASTING)
def test_only_its_own_folders_are_open_to_writing(unit: str) -> None:
    settings = settings_of(unit)
    assert settings["ProtectSystem"] == ["strict"]
    assert settings["ProtectHome"] == ["read-only"]
    assert settings["StateDirectory"] == ["colonywatch"]
    assert "ReadWritePaths" not in settings
    assert settings["User"] == settings["Group"] == ["colonywatch"]


@pytest.mark.parametrize("unit", LASTING)
def test_a_bad_configuration_is_not_tried_again_and_a_crash_is(unit: str) -> None:
    settings = settings_of(unit)
    assert settings["Restart"] == ["on-failure"]
    assert settings["RestartPreventExitStatus"] == ["78"]
    assert settings["OnFailure"] == ["colonywatch-failed@%n.service"]


def test_the_daemon_has_time_for_a_clean_stop() -> None:
    settings = settings_of("colonywatch.service")
    assert settings["Type"] == ["notify"]
    assert settings["KillMode"] == ["mixed"]
    assert seconds(settings["TimeoutStopSec"][0]) > 30


def test_a_daemon_that_hangs_again_and_again_reaches_the_start_limit() -> None:
    """With a short interval systemd would start it for ever and never tell anybody."""
    settings = settings_of("colonywatch.service")
    life = seconds(settings["WatchdogSec"][0]) + seconds(settings["TimeoutStopSec"][0])
    cycle = life + seconds(settings["RestartSec"][0])
    limit = int(settings["StartLimitBurst"][0])
    assert limit * cycle < seconds(settings["StartLimitIntervalSec"][0])


def test_torch_may_write_machine_code_and_the_dashboard_may_not() -> None:
    assert "MemoryDenyWriteExecute" not in settings_of("colonywatch.service")
    assert settings_of("colonywatch-dashboard.service")["MemoryDenyWriteExecute"] == ["yes"]


@pytest.mark.parametrize("unit", SERVICES)
def test_nobody_else_reads_what_a_unit_writes(unit: str) -> None:
    """Others read the plans by the group of their folder, and nothing else."""
    settings = settings_of(unit)
    assert settings["UMask"] == ["0077"]
    assert settings["StateDirectoryMode"] == ["0750"]


def test_backups_are_made_every_night_and_a_failure_is_told() -> None:
    timer, backup = settings_of("colonywatch-backup.timer"), settings_of(BACKUP)
    assert timer["Persistent"] == ["yes"] and timer["WantedBy"] == ["timers.target"]
    assert " backup --rotate " in backup["ExecStart"][0]
    assert backup["OnFailure"] == ["colonywatch-failed@%n.service"]
    assert int(backup["Nice"][0]) > int(settings_of("colonywatch.service")["Nice"][0])
