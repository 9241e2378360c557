"""What a machine does to a daemon, other than killing it: a full disk, a locked database, a folder
that goes away, and time. Each against the real daemon, over a stream of captures.
"""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psutil

from monitor.commands.one_pass import AHEAD, IN_WORK
from tools.soak.clock import SettableClock
from tools.soak.record_faults import record_deleted, reprocessed_beside, restored_backup
from tools.soak.soak import (
    HERE,
    UNDELIVERED,
    BrokenPromiseError,
    Stream,
    check,
    running,
    states,
    tail,
    wait_until_quiet,
    write_config,
)
from tools.soak.writers import ill_mannered_writers

# Longer than the database waits for another program.
LOCKED_S = 40.0
SMALL, LARGE = "4m", "200m"
MIB = 2**20


class SkippedError(Exception):
    """This machine cannot be put into that trouble."""


@dataclass(frozen=True)
class Trouble:
    name: str
    run: Callable[[Path, int], str]


def _captures(stream: Stream, chance: random.Random, count: int, every_s: float = 0.0) -> None:
    for _ in range(count):
        stream.write_next(chance)
        time.sleep(every_s)


def _until(what: str, root: Path, ready: Callable[[], bool], limit_s: float = 300.0) -> None:
    until = time.monotonic() + limit_s
    while not ready():
        if time.monotonic() > until:
            raise BrokenPromiseError(f"{what}: not within {limit_s:.0f} s\n{tail(root)}")
        time.sleep(0.3)


@contextmanager
def _small_disk(place: Path, size: str) -> Iterator[None]:
    place.mkdir(parents=True, exist_ok=True)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)],
        check=False,
        capture_output=True,
    )
    if made.returncode != 0:
        raise SkippedError("only root may mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


def _full_disk(folder: str) -> Callable[[Path, int], str]:
    def run(root: Path, seed: int) -> str:
        chance = random.Random(seed)
        write_config(root)
        stream = Stream(root / "captures", seed)
        place = root / folder
        with _small_disk(place, SMALL):
            filler = place / "filler"
            with running(root) as daemon:
                _captures(stream, chance, 4, 0.5)
                _until("the first readings", root, lambda: _done(root) > 0)
                _until("a full disk is met", root, lambda: _is_full(place, filler))
                _captures(stream, chance, 14, 0.2)
                time.sleep(10)
                before = states(root)
                if (
                    sum(before.values()) - before["recorded"] - before["unreadable"] == 0
                    and (sum(before.values()) == stream.good + stream.bad)
                    and folder != "state/removal"
                ):
                    raise BrokenPromiseError(f"the full disk held nothing up: {before}")
                filler.unlink(missing_ok=True)
                subprocess.run(["mount", "-o", f"remount,size={LARGE}", str(place)], check=True)
                wait_until_quiet(root, stream, daemon)
                check(root, stream)
        return f"{stream.good} read, {stream.bad} set aside; none lost while it was full"

    return run


def _is_full(place: Path, filler: Path) -> bool:
    """Something else on the disk takes what is left."""
    try:
        with filler.open("ab") as file:
            while True:
                file.write(b"\0" * 4096)
                file.flush()
    except OSError:
        return shutil.disk_usage(place).free < 16 * 1024


def _locked(root: Path, seed: int) -> str:
    chance = random.Random(seed)
    write_config(root)
    stream = Stream(root / "captures", seed)
    with running(root) as daemon:
        _captures(stream, chance, 3, 0.3)
        _until("a first capture", root, lambda: states(root)["recorded"] > 0)
        with closing(
            sqlite3.connect(root / "state/colonywatch.sqlite", isolation_level=None)
        ) as other:
            other.execute("BEGIN IMMEDIATE")
            _captures(stream, chance, 10, LOCKED_S / 10)
            other.execute("ROLLBACK")
        wait_until_quiet(root, stream, daemon)
        check(root, stream)
    said = (root / "daemon.log").read_text(errors="replace").count("locked")
    if not said:
        raise BrokenPromiseError("the locked database was not said in the log")
    return f"locked for {LOCKED_S:.0f} s, said in the log; {stream.good} read, {stream.bad} aside"


def _count(root: Path, query: str) -> int:
    with closing(sqlite3.connect(root / "state/colonywatch.sqlite", timeout=30)) as connection:
        return int(connection.execute(query).fetchone()[0])


def _flat(captures: int) -> Callable[[Path, int], str]:
    def run(root: Path, seed: int) -> str:
        chance = random.Random(seed)
        write_config(root)
        stream = Stream(root / "captures", seed)
        memory: dict[str, list[float]] = {"daemon": [], "worker": []}
        handles: dict[str, list[int]] = {"daemon": [], "worker": []}
        with running(root) as daemon:
            _captures(stream, chance, 5)
            _until("a first capture", root, lambda: states(root)["recorded"] > 0)
            for _ in range(captures // 5):
                _captures(stream, chance, 5)
                enough = stream.good + stream.bad - 10
                _until("captures", root, lambda enough=enough: _done(root) >= enough)  # type: ignore[misc]
                parent = psutil.Process(daemon.pid)
                worker = max(parent.children(), key=lambda child: child.memory_info().rss)
                for name, process in (("daemon", parent), ("worker", worker)):
                    memory[name].append(process.memory_info().rss / MIB)
                    handles[name].append(process.num_fds())
            wait_until_quiet(root, stream, daemon)
            check(root, stream)
        said = []
        for name in memory:
            # The first third fills caches.
            settled = memory[name][len(memory[name]) // 3 :]
            slope = statistics.linear_regression([5.0 * n for n in range(len(settled))], settled)
            third = len(memory[name]) // 3
            early = statistics.median(memory[name][third : 2 * third])
            late = statistics.median(memory[name][2 * third :])
            # What leaks stays: how many are open for a moment says nothing.
            opened = statistics.median(handles[name][2 * third :]) - statistics.median(
                handles[name][third : 2 * third]
            )
            if late > 1.1 * early + 10 or opened > 3:
                raise BrokenPromiseError(
                    f"{name} grows: {early:.0f} -> {late:.0f} MiB, {opened:+g} open files"
                )
            said.append(
                f"{name} {early:.0f} -> {late:.0f} MiB ({1000 * slope.slope:+.1f} MiB per 1,000 "
                f"captures), {opened:+g} files (at most {max(handles[name])} open)"
            )
        return f"{captures} captures: {'; '.join(said)}"

    return run


def _writers(watch: str) -> Callable[[Path, int], str]:
    """With the quiet time that a source has where nothing else is said."""

    def run(root: Path, seed: int) -> str:
        del seed
        said = ill_mannered_writers(root, settle_s=2.0, pause_s=4.0, watch=watch)
        return f"{said}; bursts 4 s apart, pauses of 8 s, quiet time 2 s"

    return run


def _fuzz(minutes: float) -> Callable[[Path, int], str]:
    """In a process of its own, so that a native crash is seen."""

    def run(root: Path, seed: int) -> str:
        words = [sys.executable, "-m", "tools.soak.fuzz", "--minutes", str(minutes)]
        words += ["--seed", str(1000 * seed), "--folder", str(root)]
        answer = subprocess.run(words, check=False, capture_output=True, text=True, cwd=HERE)
        if answer.returncode != 0:
            raise BrokenPromiseError(f"ended with {answer.returncode}\n{answer.stderr[-3000:]}")
        return answer.stdout.strip()

    return run


def _clock_set(root: Path, seed: int) -> str:
    """Back by a day and ahead by two, with captures, retries and mails under way."""
    chance = random.Random(seed)
    write_config(root, gather_s=20)
    stream = Stream(root / "captures", seed)
    try:
        clock = SettableClock(root / "clock")
    except OSError as problem:
        raise SkippedError(str(problem)) from problem
    longest_s = 0.0
    with running(root, clock.environment) as daemon:
        _captures(stream, chance, 6, 0.3)
        _until("a first reading", root, lambda: states(root)["recorded"] > 0)
        for ahead in (-1, 1, -3, 0):
            # In the middle of things: with a mail that waits for others.
            _until("a mail that waits", root, lambda: _one_more(root, stream, chance), 180)
            clock.set(timedelta(days=ahead))
            began = time.monotonic()
            _captures(stream, chance, 6, 0.3)
            wait_until_quiet(root, stream, daemon)
            longest_s = max(longest_s, time.monotonic() - began)
        check(root, stream)
    said = (root / "daemon.log").read_text(errors="replace").count("the clock was set")
    if said != 4:
        raise BrokenPromiseError(f"the clock was set 4 times, which was said {said} times")
    return (
        f"1 day back, 2 ahead, 4 back, 3 ahead; {stream.good} read, {stream.bad} set aside and "
        f"every mail sent, at most {longest_s:.0f} s after"
    )


def _one_more(root: Path, stream: Stream, chance: random.Random) -> bool:
    """Write captures until a mail is on its way."""
    if _count(root, f"SELECT count(*) FROM outbox WHERE {UNDELIVERED}"):
        return True
    stream.write_next(chance)
    return False


def _done(root: Path) -> int:
    found = states(root)
    return found["recorded"] + found["unreadable"]


def _away(root: Path, seed: int) -> str:
    """The folder is deleted and made again, with what was in it and more."""
    chance = random.Random(seed)
    write_config(root)
    stream = Stream(root / "captures", seed)
    with running(root) as daemon:
        _captures(stream, chance, 6)
        wait_until_quiet(root, stream, daemon)
        before = _count(root, "SELECT count(*) FROM measurement")
        for _ in range(3):
            shutil.copytree(root / "captures", root / "kept")
            shutil.rmtree(root / "captures")
            time.sleep(7)
            if sum(states(root).values()) != stream.good + stream.bad:
                raise BrokenPromiseError("captures were forgotten with their folder")
            (root / "kept").rename(root / "captures")
            _captures(stream, chance, 2)
            wait_until_quiet(root, stream, daemon)
        check(root, stream)
        after = _count(root, "SELECT count(*) FROM measurement")
        if after > stream.good:
            raise BrokenPromiseError(f"{after - before} measurements for six new captures")
    log = (root / "daemon.log").read_text(errors="replace")
    if "is gone" not in log or "is back" not in log:
        raise BrokenPromiseError("nobody was told that the folder went and came back")
    return f"deleted and made again 3 times; {stream.good} read once each, said in the log"


def _backfill(count: int) -> Callable[[Path, int], str]:
    """`process` over many files: stopped, killed, gone on with while the daemon runs."""

    def run(root: Path, seed: int) -> str:
        chance = random.Random(seed)
        # The lab's usual settings: what is measured is the backfill, not thousands of mails.
        write_config(root, rescan_s=300, restless=False)
        stream = Stream(root / "captures", seed, side_px=128)
        _captures(stream, chance, count)
        limit_s = 600 + 0.5 * count
        words = [
            *(sys.executable, "-m", "monitor", "process", str(root / "captures")),
            *("--config", str(root / "config.yaml")),
        ]
        began = time.monotonic()
        for number, part in ((signal.SIGINT, 0.2), (signal.SIGKILL, 0.4)):
            with (root / "daemon.log").open("ab") as log:
                one = subprocess.Popen(words, stdout=log, stderr=log, cwd=HERE)
            wanted = part * count
            _until("a part", root, lambda wanted=wanted: _measured(root) >= wanted, limit_s)  # type: ignore[misc]
            one.send_signal(number)
            try:
                one.wait(60)
            except subprocess.TimeoutExpired:
                one.kill()
                raise BrokenPromiseError(f"signal {number} did not end it\n{tail(root)}") from None
        with running(root) as daemon, (root / "daemon.log").open("ab") as log:
            subprocess.run(words, stdout=log, stderr=log, cwd=HERE, check=True, timeout=limit_s)
            wait_until_quiet(root, stream, daemon)
        took_s = time.monotonic() - began
        check(root, stream)
        # Only what was in hand when it was stopped may have been done twice.
        again = _count(root, "SELECT count(*) FROM capture WHERE attempts > 1")
        if again > 2 * (AHEAD + IN_WORK):
            raise BrokenPromiseError(f"{again} captures were claimed twice")
        return (
            f"{count} files in {took_s:.0f} s, stopped and killed once each, then beside the "
            f"daemon; {stream.good} read, {stream.bad} set aside, {again} claimed twice"
        )

    return run


def _measured(root: Path) -> int:
    found = states(root)
    return found["measured"] + _done(root)


def troubles(captures: int, fuzz_minutes: float) -> tuple[Trouble, ...]:
    return (
        Trouble("disk full: database", _full_disk("state")),
        Trouble("disk full: overlays", _full_disk("state/overlays")),
        Trouble("disk full: exports", _full_disk("state/removal")),
        Trouble("database locked", _locked),
        Trouble("writers, by events", _writers("events")),
        Trouble("writers, by polling", _writers("polling")),
        Trouble("damaged files", _fuzz(fuzz_minutes)),
        Trouble("clock set", _clock_set),
        Trouble("folder away and back", _away),
        Trouble("database deleted", record_deleted(with_folder=False)),
        Trouble("state folder deleted", record_deleted(with_folder=True)),
        Trouble("reprocess beside the daemon", reprocessed_beside),
        Trouble("restored backup", restored_backup),
        Trouble("backfill", _backfill(captures)),
        Trouble("memory and open files", _flat(captures)),
    )
