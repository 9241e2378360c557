"""Kill the daemon and its worker at random moments over a stream of captures, then count.

Captures keep arriving while SIGKILL hits the daemon (and with it the worker, which ends with its
parent) or the worker alone. At the end every capture must have exactly one reading or one reason,
the database must be sound, no temporary file may be left, and mails and plans may be doubled by a
crash but never missing.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import yaml
from sqlalchemy import NullPool, create_engine, make_url, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from model.simulation.incubator import VirtualDish, write_capture

HERE = Path(__file__).parents[2]
QUIET_LIMIT_S = 180.0
WORKER_LOADS_S = 30.0
UNDELIVERED = "delivered_at IS NULL AND failed_at IS NULL"


class BrokenPromiseError(Exception):
    """A promise that did not hold."""


def kill_at_random(
    root: Path, seed: int, *, kills: int, mean_s: float, database: str | None = None
) -> str:
    """SIGKILL daemon or worker over and over; says what was left."""
    chance = random.Random(seed)
    write_config(root, database=database)
    stream = Stream(root / "captures", seed)
    killed: Counter[str] = Counter()
    daemon = start(root)
    try:
        while killed["daemon"] + killed["worker"] < kills:
            for _ in range(chance.randint(0, 3)):
                stream.write_next(chance)
            time.sleep(chance.expovariate(1 / mean_s))
            whom = chance.choice(("daemon", "worker"))
            if daemon.poll() is not None:
                if "times while it loaded the model" not in tail(root):
                    raise BrokenPromiseError(
                        f"the daemon ended by itself with {daemon.returncode}:\n{tail(root)}"
                    )
                # Its worker was killed at each of its starts. systemd would start it again.
                killed["given up"] += 1
                daemon = start(root)
            if kill(daemon, whom):
                killed[whom] += 1
                if sum(killed.values()) % 25 == 0:
                    print(f"{dict(killed)} kills, {stream.good + stream.bad} captures", flush=True)
            if whom == "daemon":
                daemon.wait(10)
                daemon = start(root)
        wait_until_quiet(root, stream, daemon)
        # A worker that was killed twice over the same capture cannot be told from one that the
        # capture killed: it is set aside, and a person has it tried again.
        aside = _one(root, "SELECT count(*) FROM capture WHERE reason = 'kills-worker'")
        if aside:
            subprocess.run(
                [sys.executable, "-m", "monitor", "retry", "--config", str(root / "config.yaml")],
                check=True,
                cwd=HERE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            wait_until_quiet(root, stream, daemon)
        check(root, stream)
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(30)
    return (
        f"daemon {killed['daemon']}, worker {killed['worker']} times, and {killed['given up']} "
        f"starts given up; {stream.good} captures read, {stream.bad} broken ones set aside; "
        f"{aside} whole ones were set aside after two kills and read after `retry`"
    )


@contextmanager
def running(
    root: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The daemon, ended at the end as systemd would end it."""
    daemon = start(root, environment)
    try:
        yield daemon
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(180)


class Stream:
    """An imager that goes on whatever happens to us; some of its files are broken."""

    def __init__(self, folder: Path, seed: int, *, side_px: int = 256) -> None:
        self._folder = folder
        folder.mkdir()
        dish = VirtualDish("dish-01", seed, onset_h=5.0, colony_radius_um=120.0)
        self._fields = [
            dish.field(hour, shape=(side_px, side_px), pixel_size_um=3.0)
            for hour in (0.0, 20.0, 40.0)
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
        # Every capture is a picture of its own, as a camera's noise would see to: the same one of
        # several dishes would be a stuck camera's.
        noise = np.random.default_rng(number).integers(0, 2, field.image.shape)
        image = np.clip(field.image.astype(np.int32) + noise, 0, 255).astype(field.image.dtype)
        write_capture(
            type(field)(image, field.labels, field.pixel_size_um, field.modality, field.seed),
            self._folder / f"{name}.ome.tif",
            acquired_at=at,
            stage_x_um=0.0,
            stage_y_um=0.0,
            name=name,
        )
        self.good += 1


def write_config(
    root: Path,
    *,
    gather_s: float = 2,
    rescan_s: float = 5,
    restless: bool = True,
    database: str | None = None,
) -> None:
    """restless : each scan raises or clears an alert, and each of these is mailed

    database : the URL of an empty one; None: SQLite
    """
    # Each scan counts, and no mail waits for a later hour.
    each_scan = {"cooldown_h": 0, "scans_needed": 1, "scans_considered": 1}
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
                        "rescan_s": rescan_s,
                        "calibration": {"id": "soak"},
                    }
                ],
                "decisions": {
                    "removal": {"approval": "rule"},
                    **({"differentiation": each_scan} if restless else {}),
                },
                "outlets": {"email": {"gather_s": gather_s}},
                "compute": {"threads": 1},
                "record": {"database": database},
            }
        )
    )


def start(root: Path, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    with (root / "daemon.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "monitor", "run", "--config", str(root / "config.yaml")],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            cwd=HERE,
            env={**os.environ, **(environment or {})},
        )


def kill(daemon: subprocess.Popen[bytes], whom: str) -> bool:
    """SIGKILL; False where there was nobody to kill."""
    try:
        if whom == "daemon":
            os.kill(daemon.pid, signal.SIGKILL)
            return True
        until = time.monotonic() + WORKER_LOADS_S
        while time.monotonic() < until and daemon.poll() is None:
            children = psutil.Process(daemon.pid).children()
            # The worker is the one that holds the model; the resource tracker is small.
            workers = [child for child in children if child.memory_info().rss > 100 * 2**20]
            for worker in workers:
                worker.kill()
            if workers:
                return True
            time.sleep(0.1)
        return False
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


def wait_until_quiet(root: Path, stream: Stream, daemon: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + QUIET_LIMIT_S + 0.5 * (stream.good + stream.bad)
    while time.monotonic() < until:
        if daemon.poll() is not None:
            raise BrokenPromiseError(
                f"the daemon ended by itself with {daemon.returncode}:\n{tail(root)}"
            )
        found = states(root)
        open_messages = found and _one(root, f"SELECT count(*) FROM outbox WHERE {UNDELIVERED}")
        if (
            sum(found.values()) == stream.good + stream.bad
            and found["recorded"] + found["unreadable"] == sum(found.values())
            and open_messages == 0
        ):
            return
        time.sleep(1)
    raise BrokenPromiseError(
        f"not quiet after {QUIET_LIMIT_S:.0f} s: {states(root)}, {open_messages} "
        f"messages, {stream.good}+{stream.bad} captures:\n{_waiting(root)}\n{tail(root)}"
    )


def _waiting(root: Path) -> str:
    """What has not come to its end, for whoever looks for the reason."""
    rows = [
        *_ask(
            root,
            "SELECT id, name, state, reason, attempts, crashes, next_try_at FROM capture "
            "WHERE state NOT IN ('recorded', 'unreadable')",
        ),
        *_ask(root, f"SELECT * FROM outbox WHERE {UNDELIVERED}"),
    ]
    return "\n".join(map(str, rows[:20]))


def check(root: Path, stream: Stream) -> None:
    def promise(what: str, holds: bool) -> None:
        if not holds:
            raise BrokenPromiseError(f"{what}\n{tail(root)}")

    found = states(root)
    promise(
        f"every good capture has a reading: {found} of {stream.good}",
        found["recorded"] == stream.good,
    )
    promise(
        f"every bad capture has a reason: {found} of {stream.bad}",
        found["unreadable"] == stream.bad,
    )
    if make_url(_url(root)).get_backend_name() == "sqlite":
        promise("the database is sound", _one(root, "PRAGMA integrity_check") == "ok")
        wrong = _one(root, "SELECT count(*) FROM pragma_foreign_key_check")
        promise("foreign keys hold", wrong == 0)
    doubles = _one(
        root,
        "SELECT count(*) FROM (SELECT measurement_id FROM reading_measurement "
        "JOIN scan ON scan.reading_id = reading_measurement.reading_id "
        "GROUP BY measurement_id HAVING count(*) > 1) AS doubled",
    )
    promise("no capture counts twice", doubles == 0)
    per_scan = _one(root, "SELECT count(*) FROM scan WHERE reading_id IS NULL")
    promise("every scan has its reading", per_scan == 0)
    readings = _one(root, "SELECT count(*) FROM scan")
    promise(f"one scan a capture: {readings}", readings == stream.good)
    # Alerts may share a mail; each has a row of its own in the outbox.
    untold = _one(
        root,
        "SELECT count(*) FROM alert WHERE held_back IS NULL AND NOT EXISTS (SELECT 1 FROM "
        "outbox WHERE channel = 'email' AND subject_id = CAST(alert.id AS TEXT) "
        "AND delivered_at IS NOT NULL)",
    )
    promise(f"every alert was mailed or says why not: {untold} were not", untold == 0)
    alerts = _one(root, "SELECT count(*) FROM alert WHERE held_back IS NULL")
    mails = len(list((root / "state/mailbox").glob("*.eml")))
    promise(f"there are mails for {alerts} alerts: {mails}", bool(mails) or not alerts)
    left = [path for path in root.rglob("*") if path.name.endswith(".tmp")]
    promise(f"no temporary file is left: {left}", not left)


def states(root: Path) -> Counter[str]:
    if not (root / "state").exists():
        return Counter()
    try:
        rows = _ask(root, "SELECT state, count(*) FROM capture GROUP BY 1")
    except (OperationalError, ProgrammingError) as problem:
        if "no such table" not in str(problem) and "does not exist" not in str(problem):
            raise
        return Counter()  # the daemon is still making it
    return Counter(dict(rows))


def _one(root: Path, query: str) -> object:
    return _ask(root, query)[0][0]


def _ask(root: Path, query: str) -> list[tuple[Any, ...]]:
    engine = create_engine(_url(root), poolclass=NullPool)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def _url(root: Path) -> str:
    """Of the record that the daemon's configuration names."""
    document = yaml.safe_load((root / "config.yaml").read_text())
    named = document.get("record", {}).get("database")
    return named or f"sqlite:///{root}/state/colonywatch.sqlite?timeout=30"


def tail(root: Path) -> str:
    return "\n".join((root / "daemon.log").read_text(errors="replace").splitlines()[-25:])
