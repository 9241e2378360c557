"""`colonywatch sila` as a program of its own."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from contextlib import contextmanager

import pytest

from monitor.culture import PlanStatus
from monitor.host.clock import utc_now
from monitor.record.store import Store
from tests.monitor.commands.calls import BAD_CONFIG, DONE, call, command
from tests.monitor.facts import hours
from tests.monitor.jobs.test_picker_queue import OTHER, TOKEN, removal_plan, target_at, with_plan


def settings(tmp_path, **sila):
    text = {
        "record": {"folder": str(tmp_path / "state")},
        "outlets": {"removal": {"handover": "sila"}, "sila": sila},
    }
    (tmp_path / "config.yaml").write_text(json.dumps(text))
    return tmp_path / "config.yaml"


@pytest.mark.parametrize(
    ("sila", "said"),
    [
        ({"host": "0.0.0.0", "security": "none"}, "is allowed only with host"),
        ({"host": "incubator"}, "not an address to listen on"),
        ({"certificate_file": "a.crt"}, "go together"),
        ({"port": 0}, "port"),
        ({"certificate_file": "a.crt", "key_file": "a.key"}, r"a\.crt: cannot be read"),
    ],
)
def test_settings_that_cannot_be_are_said_before_anything_listens(tmp_path, sila, said):
    pytest.importorskip("sila2", reason="the extra colonywatch[sila] is not installed")
    answer = call("sila", "--config", settings(tmp_path, **sila), folder=tmp_path)
    assert answer.code == BAD_CONFIG
    assert re.search(said, answer.err)


@contextmanager
def running(config):
    process = subprocess.Popen(
        command("sila", "--config", config), stderr=subprocess.PIPE, text=True
    )
    try:
        for line in process.stderr:
            if line.startswith("clients trust"):
                break
        yield process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_a_plan_survives_the_server_that_gave_it_away(tmp_path):
    """SIGKILL right after taking: the next server knows whose the plan is."""
    pytest.importorskip("sila2", reason="the extra colonywatch[sila] is not installed")
    from sila2.client import SilaClient
    from sila2.framework import DefinedExecutionError

    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    config = settings(tmp_path, port=port)
    (tmp_path / "state").mkdir()
    with Store(f"sqlite:///{tmp_path / 'state/colonywatch.sqlite'}") as store:
        now = utc_now()
        plan = removal_plan(
            "p1", targets=(target_at(1),), created_at=now, expires_at=now + hours(12)
        )
        with_plan(store, plan=plan)
        with running(config) as process:
            trusted = (tmp_path / "state/sila/server.crt").read_bytes()
            with SilaClient("127.0.0.1", port, root_certs=trusted) as picker:
                first = picker.RemovalPlans.TakePlan("p1", TOKEN).Document
                process.kill()
        assert store.plans.plan("p1").status is PlanStatus.EXPORTED
        with running(config) as process:
            with SilaClient("127.0.0.1", port, root_certs=trusted) as picker:
                with pytest.raises(DefinedExecutionError):
                    picker.RemovalPlans.TakePlan("p1", OTHER)
                assert picker.RemovalPlans.TakePlan("p1", TOKEN).Document == first
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == DONE
