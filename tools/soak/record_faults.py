"""What happens to the record under a daemon: deleted with or without its folder, restored from an
older backup, measured again by another model. Each against the real daemon and the real commands.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import yaml

from model.checkpoint import load_model, save_model
from model.predict import STARTER
from tools.soak.soak import (
    HERE,
    BrokenPromiseError,
    Stream,
    check,
    running,
    tail,
    wait_until_quiet,
    write_config,
)

NOTICED_WITHIN_S = 60.0
LIMIT_S = 300.0


def record_deleted(*, with_folder: bool) -> Callable[[Path, int], str]:
    """Under the daemon, with captures before, meanwhile and after it was restored."""

    def run(root: Path, seed: int) -> str:
        chance = random.Random(seed)
        write_config(root)
        stream = Stream(root / "captures", seed)
        database, copy = root / "state/colonywatch.sqlite", root / "copy.sqlite"
        with running(root) as daemon:
            _write(stream, chance, 6)
            wait_until_quiet(root, stream, daemon)
            _command(root, "backup", copy)
            _write(stream, chance, 4)
            if with_folder:
                shutil.rmtree(root / "state")
            else:
                for ending in ("", "-wal", "-shm"):
                    database.with_name(database.name + ending).unlink(missing_ok=True)
            began = time.monotonic()
            _until(root, "the mail that it is gone", lambda: bool(_mails(root, "GONE")))
            noticed_s = time.monotonic() - began
            if noticed_s > NOTICED_WITHIN_S:
                raise BrokenPromiseError(f"noticed after {noticed_s:.0f} s only\n{tail(root)}")
            log_then = len((root / "daemon.log").read_bytes())
            _write(stream, chance, 4)
            time.sleep(10)
            said = (root / "daemon.log").read_bytes()[log_then:]
            if b"capture=" in said or b"scan dish=" in said:
                raise BrokenPromiseError(f"something was recorded meanwhile\n{tail(root)}")
            if database.exists():
                raise BrokenPromiseError("an empty record was made in its place")
            _command(root, "restore", copy)
            _until(root, "the mail that it is back", lambda: bool(_mails(root, "is back")))
            _write(stream, chance, 4)
            wait_until_quiet(root, stream, daemon)
            check(root, stream)
            if len(_mails(root, "GONE")) != 1:
                raise BrokenPromiseError(f"told {len(_mails(root, 'GONE'))} times")
        return (
            f"told after {noticed_s:.0f} s, nothing recorded meanwhile; restored, then "
            f"{stream.good} read, {stream.bad} set aside"
        )

    return run


def reprocessed_beside(root: Path, seed: int) -> str:
    """Another model measures all anew while the daemon, whose model is the former, goes on."""
    chance = random.Random(seed)
    write_config(root, restless=False)
    stream = Stream(root / "captures", seed)
    model = load_model(STARTER)
    manifest = replace(model.manifest, name="other", temperature=model.manifest.temperature * 1.01)
    sha256 = save_model(root / "other", replace(model, manifest=manifest), "# other\n").sha256
    with running(root) as daemon:
        _write(stream, chance, 30)
        wait_until_quiet(root, stream, daemon)
        before = stream.good
        words = ["reprocess", "--model", str(root / "other"), "--config", root / "config.yaml"]
        with (root / "daemon.log").open("ab") as log:
            again = subprocess.Popen(_words(*words), stdout=log, stderr=log, cwd=HERE)
        while again.poll() is None:
            _write(stream, chance, 1)
            time.sleep(1)
        if again.returncode != 0:
            raise BrokenPromiseError(f"reprocess ended with {again.returncode}\n{tail(root)}")
        wait_until_quiet(root, stream, daemon)
        check(root, stream)
    by_other = _rows(
        root,
        "SELECT count(*) FROM scan JOIN reading ON reading.id = scan.reading_id JOIN analysis ON "
        "analysis.id = reading.analysis_id WHERE analysis.model_sha256 = ?",
        sha256,
    )[0][0]
    if by_other < before:
        raise BrokenPromiseError(f"{by_other} of {before} readings are the other model's")
    mixed = _rows(
        root,
        """
        SELECT count(*) FROM scan
        JOIN reading ON reading.id = scan.reading_id
        JOIN analysis AS its ON its.id = reading.analysis_id
        JOIN reading_measurement AS held ON held.reading_id = reading.id
        JOIN measurement ON measurement.id = held.measurement_id
        JOIN analysis AS other ON other.id = measurement.analysis_id
        WHERE its.model_sha256 != other.model_sha256
        """,
    )[0][0]
    if mixed:
        raise BrokenPromiseError(f"{mixed} measurements lie in a reading of another model")
    return f"all {before} readings are the other model's; {stream.good - before} came meanwhile"


def restored_backup(root: Path, seed: int) -> str:
    """An older backup takes the record's place; plans made since are with the picker."""
    chance = random.Random(seed)
    write_config(root)
    _plan_at_the_least_sign(root / "config.yaml")
    stream = Stream(root / "captures", seed)
    copy, folder = root / "copy.sqlite", root / "state/removal"
    with running(root) as daemon:
        _write(stream, chance, 8)
        wait_until_quiet(root, stream, daemon)
        _command(root, "backup", copy)
        _write(stream, chance, 12)
        wait_until_quiet(root, stream, daemon)
        refused = subprocess.run(
            _words("restore", copy, "--config", root / "config.yaml"),
            check=False, capture_output=True, cwd=HERE,
        )  # fmt: skip
        if refused.returncode != 1 or b"stop it first" not in refused.stderr:
            raise BrokenPromiseError(f"restored under a daemon: {refused.stderr.decode()}")
    out = {path.name for path in folder.glob("*.sha256")}
    known = {row[0] for row in _rows(root, "SELECT id FROM removal_plan", database=copy)}
    strangers = {name for name in out if not any(plan in name for plan in known)}
    if not strangers:
        raise BrokenPromiseError(f"no plan was made after the backup: {out}")
    _command(root, "restore", copy)
    left = {path.name for path in folder.glob("*.sha256")}
    if left & strangers:
        raise BrokenPromiseError(f"plans that nobody knows stayed with the picker: {left}")
    with running(root) as daemon:
        wait_until_quiet(root, stream, daemon)
        _write(stream, chance, 4)
        wait_until_quiet(root, stream, daemon)
        check(root, stream)
    exported = {
        row[0] for row in _rows(root, "SELECT id FROM removal_plan WHERE status='exported'")
    }
    seen = {path.name for path in folder.glob("*.sha256")}
    if any(not any(plan in name for plan in exported) for name in seen):
        raise BrokenPromiseError(f"with the picker lies what is not out: {seen} {exported}")
    twice = _rows(
        root,
        "SELECT dish_id, count(*) FROM removal_plan WHERE status IN ('approved', 'exported') "
        "GROUP BY 1 HAVING count(*) > 1",
    )
    if twice:
        raise BrokenPromiseError(f"dishes with two plans that are out: {twice}")
    return (
        f"{len(strangers)} plans made since were withdrawn, of {len(out)} that were out; "
        f"{stream.good} read, {stream.bad} set aside, no dish planned twice"
    )


def _plan_at_the_least_sign(config: Path) -> None:
    settings = yaml.safe_load(config.read_text())
    settings["decisions"]["differentiation"] |= {"discard_above": None}
    settings["decisions"]["removal"] |= {
        "trust_first_scan": True,
        "earlier_scans": 0,
        "min_region_um2": 1.0,
        "min_probability": 0.0,
        "max_uncertainty": 1.0,
        "max_undifferentiated": 1.0,
        "border_um": 0.0,
        "safe_distance_um": 0.0,
        "positional_error_um": 0.0,
        "tools": {"spot": {"kind": "laser", "diameter_um": 8.0}},
        "expires_h": 1000.0,  # the captures bear a date of some days ago
    }
    config.write_text(yaml.safe_dump(settings))


def _write(stream: Stream, chance: random.Random, count: int) -> None:
    for _ in range(count):
        stream.write_next(chance)


def _words(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "monitor", *map(str, words)]


def _command(root: Path, *words: str | Path) -> None:
    answer = subprocess.run(
        _words(*words, "--config", root / "config.yaml"),
        check=False,
        capture_output=True,
        cwd=HERE,
        timeout=LIMIT_S,
    )
    if answer.returncode != 0:
        raise BrokenPromiseError(f"{words}: {answer.returncode}\n{answer.stderr.decode()[-2000:]}")


def _mails(root: Path, subject: str) -> list[Path]:
    return [
        path
        for path in (root / "state/mailbox").glob("*.eml")
        if any(
            line.startswith("Subject:") and subject in line
            for line in path.read_text(errors="replace").splitlines()
        )
    ]


def _until(root: Path, what: str, ready: Callable[[], bool]) -> None:
    until = time.monotonic() + LIMIT_S
    while not ready():
        if time.monotonic() > until:
            raise BrokenPromiseError(f"{what}: not within {LIMIT_S:.0f} s\n{tail(root)}")
        time.sleep(0.3)


def _rows(
    root: Path, query: str, *values: str, database: Path | None = None
) -> list[tuple[int, ...]]:
    file = database or root / "state/colonywatch.sqlite"
    with closing(sqlite3.connect(file, timeout=30)) as connection:
        return connection.execute(query, values).fetchall()
