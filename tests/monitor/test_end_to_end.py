"""File dropped -> row -> mail -> picker's file, by the real daemon in a process of its own."""

from __future__ import annotations

import email
import email.policy
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from ome_types import from_tiff

from model.simulation.incubator import VirtualDish, simulate_incubator, write_capture

LIMIT_S = 120.0


@dataclass
class Incubator:
    """A configured daemon with its folders."""

    root: Path
    config: Path

    @property
    def captures(self) -> Path:
        return self.root / "captures"

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "monitor", *words, "--config", str(self.config)],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )

    def document(self, *words: str) -> Any:
        answer = self.command(*words)
        assert answer.returncode == 0, answer.stderr
        return json.loads(answer.stdout)


@pytest.fixture
def incubator(tmp_path: Path) -> Incubator:
    (tmp_path / "captures").mkdir()
    config = tmp_path / "config.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "sources": [
                    {
                        "name": "virtual",
                        "path": "captures",
                        "names": "dish-time",
                        "settle_s": 0.1,
                        "scan_quiet_s": 0.5,
                        "fields_per_scan": 1,
                        "calibration": {"id": "virtual", "pixel_to_stage": [[1, 0], [0, 1]]},
                    }
                ],
                "decisions": {
                    # The dish is far gone; what is asked here is that a plan travels.
                    "differentiation": {
                        "scans_needed": 1,
                        "scans_considered": 1,
                        "discard_above": None,
                    },
                    "removal": {"approval": "rule", "trust_first_scan": True},
                },
                "outlets": {"email": {"gather_s": 0}},
            }
        )
    )
    return Incubator(tmp_path, config)


@contextmanager
def running(incubator: Incubator) -> Iterator[subprocess.Popen[bytes]]:
    log = (incubator.root / "daemon.log").open("ab")
    process = subprocess.Popen(
        [sys.executable, "-m", "monitor", "run", "--config", str(incubator.config)],
        stdout=log,
        stderr=log,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(30)
        log.close()


def wait_until(ready: Callable[[], bool], incubator: Incubator) -> None:
    until = time.monotonic() + LIMIT_S
    while not ready():
        log = (incubator.root / "daemon.log").read_text()
        assert time.monotonic() < until, f"did not come within {LIMIT_S} s:\n{log}"
        time.sleep(0.2)


def recorded(incubator: Incubator) -> int:
    return int(incubator.document("status", "--json")["captures"]["recorded"])


def last_field(incubator: Incubator) -> Path:
    """A dish that is far gone, as an imager writes it."""
    dish = VirtualDish(
        "dish-01",
        5,
        onset_h=2.0,
        colony_radius_um=160.0,
        spread_um_per_h=12.0,
        stage_x_um=5000.0,
        stage_y_um=-3000.0,
    )
    field = dish.field(40.0, shape=(640, 640), pixel_size_um=2.5)
    at = (datetime.now(UTC) - timedelta(hours=1)).replace(microsecond=0)
    path = incubator.captures / "dish-01" / f"dish-01_{at:%Y%m%dT%H%M%SZ}_f1.ome.tif"
    write_capture(
        field,
        path,
        acquired_at=at,
        stage_x_um=dish.stage_x_um,
        stage_y_um=dish.stage_y_um,
        name=path.stem,
    )
    return path


@pytest.mark.slow
def test_a_differentiated_dish_makes_a_row_a_mail_and_a_plan_for_the_picker(
    incubator: Incubator,
) -> None:
    """The whole line, with nothing stood in for."""
    with running(incubator):
        capture = last_field(incubator)
        mailbox, picker = incubator.root / "state/mailbox", incubator.root / "state/removal"
        wait_until(
            lambda: bool(list(mailbox.glob("*.eml")) and list(picker.glob("*.csv"))), incubator
        )
    [row] = incubator.document("history", "dish-01", "--format", "json")["readings"]
    assert row["differentiated_fraction"] > 0.1
    assert row["pixel_size_um"] == 2.5
    assert datetime.fromisoformat(row["at"]).strftime("%Y%m%dT%H%M%SZ") in capture.name
    [mail] = list(mailbox.glob("*.eml"))
    message = email.message_from_bytes(mail.read_bytes(), policy=email.policy.default)
    assert "dish-01" in message["subject"]
    kinds = [part.get_content_type() for part in message.walk()]
    # The overlay, the series and the plan.
    assert kinds.count("image/png") + kinds.count("image/jpeg") == 3
    [plan] = incubator.document("removals", "list", "--json")
    assert plan["status"] == "exported"
    assert plan["targets"] > 0
    document = json.loads(next(picker.glob("*.json")).read_text())
    plane = from_tiff(capture).images[0].pixels.planes[0]
    half_um = 640 / 2 * 2.5
    for target in document["targets"]:
        # Inside the field of view that the instrument's metadata describe.
        for hit in target["hits"]:
            assert abs(hit["pick_stage_um"]["x"] - plane.position_x) <= half_um
            assert abs(hit["pick_stage_um"]["y"] - plane.position_y) <= half_um


@pytest.mark.slow
def test_a_killed_daemon_loses_nothing_and_counts_nothing_twice(incubator: Incubator) -> None:
    """SIGKILL in the middle of a burst; the next daemon finishes the work."""
    staging = incubator.root / "staging"
    scans = list(
        simulate_incubator(
            staging,
            dishes=3,
            hours=6,
            interval_h=3,
            seed=3,
            start=datetime(2026, 1, 5, tzinfo=UTC),
            shape=(384, 384),
            pixel_size_um=3.0,
        )
    )
    with running(incubator) as process:
        for folder in sorted(staging.iterdir()):
            shutil.move(folder, incubator.captures / folder.name)
        wait_until(lambda: recorded(incubator) >= 2, incubator)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
    with running(incubator):
        wait_until(lambda: recorded(incubator) == len(scans), incubator)
    status = incubator.document("status", "--json")
    assert status["captures"] == {"recorded": len(scans), "unreadable": 0, "waiting": 0}
    for dish in ("dish-01", "dish-02", "dish-03"):
        series = incubator.document("history", dish, "--format", "json")["readings"]
        assert [row["captures"] for row in series] == [1, 1, 1]
        assert [row["version"] for row in series] == [1, 1, 1]


@pytest.mark.slow
def test_the_source_folder_stays_as_the_imager_left_it(incubator: Incubator) -> None:
    """Invariant 1: nothing there is moved, renamed, deleted or added."""
    capture = last_field(incubator)
    before = capture.read_bytes(), capture.stat().st_mtime_ns
    answer = incubator.document("process", str(incubator.captures), "--json")
    assert answer["recorded"] == 1
    assert (capture.read_bytes(), capture.stat().st_mtime_ns) == before
    assert [path.name for path in incubator.captures.rglob("*")] == ["dish-01", capture.name]
