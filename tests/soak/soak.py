"""Kill the daemon and its worker at random moments over a stream of captures, then count.

    python -m tests.soak.soak --kills 300 --seed 1

Captures keep arriving while SIGKILL hits the daemon (and with it the worker, which ends with its
parent) or the worker alone. At the end every capture must have exactly one reading or one reason,
the database must be sound, no temporary file may be left, and mails and plans may be doubled by a
crash but never missing. Exits 1 with the first promise that was broken.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import psutil
import yaml

from model.simulate import VirtualDish, write_capture

HERE = Path(__file__).parents[2]
QUIET_LIMIT_S = 180.0


class BrokenPromiseError(Exception):
    """A promise that did not hold."""


def main() -> int:
    options = _options()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="colonywatch-soak-") as name:
        root = Path(name)
        _write_config(root)
        stream = _Stream(root / "captures", options.seed)
        began = time.monotonic()
        kills: Counter[str] = Counter()
        daemon = _start(root)
        try:
            while sum(kills.values()) < options.kills:
                for _ in range(chance.randint(0, 3)):
                    stream.write_next(chance)
                time.sleep(chance.expovariate(1 / options.mean_s))
                whom = chance.choice(("daemon", "worker"))
                if daemon.poll() is not None:
                    raise BrokenPromiseError(
                        f"the daemon ended by itself with {daemon.returncode}:\n{_tail(root)}"
                    )
                if _kill(daemon, whom):
                    kills[whom] += 1
                if whom == "daemon":
                    daemon.wait(10)
                    daemon = _start(root)
                if sum(kills.values()) % 25 == 0:
                    print(
                        f"{dict(kills)} kills, {stream.good + stream.bad} captures, "
                        f"{time.monotonic() - began:.0f} s",
                        flush=True,
                    )
            _wait_until_quiet(root, stream, daemon)
            _check(root, stream)
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(30)
    print(
        f"sound after {dict(kills)} kills: {stream.good} captures read, {stream.bad} set aside, "
        f"{time.monotonic() - began:.0f} s"
    )
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mean-s", type=float, default=4.0, help="mean time between kills")
    return parser.parse_args()


class _Stream:
    """An imager that goes on whatever happens to us; some of its files are broken."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        folder.mkdir()
        dish = VirtualDish("dish-01", seed, onset_h=5.0, colony_radius_um=120.0)
        self._fields = [
            dish.field(hour, shape=(256, 256), pixel_size_um=3.0) for hour in (0.0, 20.0, 40.0)
        ]
        # Of this week: what is older is not mailed.
        self._start = datetime.now(UTC).replace(microsecond=0) - timedelta(days=4)
        self.good = self.bad = 0

    def write_next(self, chance: random.Random) -> None:
        number = self.good + self.bad
        at = self._start + timedelta(minutes=5 * number)
        name = f"dish-{number % 5:02d}_{at:%Y%m%dT%H%M%SZ}_f1"
        if chance.random() < 0.1:
            # Half a PNG: no decoder may make a picture of it.
            data = cv2.imencode(".png", self._fields[0].image)[1].tobytes()
            salt = number.to_bytes(4, "big")
            (self._folder / f"{name}.png").write_bytes(data[: len(data) // 2] + salt)
            self.bad += 1
            return
        field = self._fields[number % 3]
        # Every capture has bytes of its own, as a camera's noise would see to.
        image = np.clip(
            field.image.astype(np.int32) + np.random.default_rng(number).integers(0, 2), 0, 255
        ).astype(field.image.dtype)
        write_capture(
            type(field)(image, field.labels, field.pixel_size_um, field.modality, field.seed),
            self._folder / f"{name}.ome.tif",
            acquired_at=at,
            stage_x_um=0.0,
            stage_y_um=0.0,
            name=name,
        )
        self.good += 1


def _write_config(root: Path) -> None:
    (root / "config.yaml").write_text(
        yaml.safe_dump(
            {
                "sources": [
                    {
                        "name": "soak",
                        "path": "captures",
                        "settle_s": 0.2,
                        "young_s": 5,
                        "scan_quiet_s": 0.5,
                        "fields_per_scan": 1,
                        "rescan_s": 5,
                        "calibration": {"id": "soak"},
                    }
                ],
                "decisions": {"removal": {"approval": "rule"}},
                "compute": {"threads": 1},
            }
        )
    )


def _start(root: Path) -> subprocess.Popen[bytes]:
    with (root / "daemon.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "monitor", "run", "--config", str(root / "config.yaml")],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            cwd=HERE,
        )


def _kill(daemon: subprocess.Popen[bytes], whom: str) -> bool:
    """SIGKILL; False where there was nobody to kill."""
    try:
        if whom == "daemon":
            os.kill(daemon.pid, signal.SIGKILL)
            return True
        children = psutil.Process(daemon.pid).children()
        # The worker is the one that holds the model; the resource tracker is small.
        workers = [child for child in children if child.memory_info().rss > 100 * 2**20]
        for worker in workers:
            worker.kill()
        return bool(workers)
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


def _wait_until_quiet(root: Path, stream: _Stream, daemon: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + QUIET_LIMIT_S + 0.5 * (stream.good + stream.bad)
    while time.monotonic() < until:
        if daemon.poll() is not None:
            raise BrokenPromiseError(
                f"the daemon ended by itself with {daemon.returncode}:\n{_tail(root)}"
            )
        states = _states(root)
        open_messages = _one(
            root, "SELECT count(*) FROM outbox WHERE delivered_at IS NULL AND failed_at IS NULL"
        )
        if (
            sum(states.values()) == stream.good + stream.bad
            and states["recorded"] + states["unreadable"] == sum(states.values())
            and open_messages == 0
        ):
            return
        time.sleep(1)
    raise BrokenPromiseError(
        f"not quiet after {QUIET_LIMIT_S:.0f} s: {_states(root)}, {open_messages} "
        f"messages, {stream.good}+{stream.bad} captures:\n{_tail(root)}"
    )


def _check(root: Path, stream: _Stream) -> None:
    def promise(what: str, holds: bool) -> None:
        if not holds:
            raise BrokenPromiseError(f"{what}\n{_tail(root)}")

    states = _states(root)
    promise(
        f"every good capture has a reading: {states} of {stream.good}",
        states["recorded"] == stream.good,
    )
    promise(
        f"every bad capture has a reason: {states} of {stream.bad}",
        states["unreadable"] == stream.bad,
    )
    promise("the database is sound", _one(root, "PRAGMA integrity_check") == "ok")
    promise("foreign keys hold", _one(root, "SELECT count(*) FROM pragma_foreign_key_check") == 0)
    doubles = _one(
        root,
        "SELECT count(*) FROM (SELECT measurement_id FROM reading_measurement "
        "JOIN scan ON scan.reading_id = reading_measurement.reading_id "
        "GROUP BY measurement_id HAVING count(*) > 1)",
    )
    promise("no capture counts twice", doubles == 0)
    per_scan = _one(root, "SELECT count(*) FROM scan WHERE reading_id IS NULL")
    promise("every scan has its reading", per_scan == 0)
    readings = _one(root, "SELECT count(*) FROM scan")
    promise(f"one scan a capture: {readings}", readings == stream.good)
    mails = len(list((root / "state/mailbox").glob("*.eml")))
    raised = _one(root, "SELECT count(*) FROM alert")
    promise(f"a mail for each of {raised} alerts: {mails}", mails >= raised)
    left = [path for path in root.rglob("*") if path.name.endswith(".tmp")]
    promise(f"no temporary file is left: {left}", not left)


def _states(root: Path) -> Counter[str]:
    database = root / "state" / "colonywatch.sqlite"
    if not database.exists():
        return Counter()
    with sqlite3.connect(database, timeout=30) as connection:
        return Counter(dict(connection.execute("SELECT state, count(*) FROM capture GROUP BY 1")))


def _one(root: Path, query: str) -> object:
    with sqlite3.connect(root / "state" / "colonywatch.sqlite", timeout=30) as connection:
        return connection.execute(query).fetchone()[0]


def _tail(root: Path) -> str:
    return "\n".join((root / "daemon.log").read_text(errors="replace").splitlines()[-25:])


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPromiseError as problem:
        print(f"broken: {problem}", file=sys.stderr)
        sys.exit(1)
