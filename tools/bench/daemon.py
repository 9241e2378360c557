"""What the daemon itself costs, beside what the network needs for the same captures.

    python -m tools.bench.daemon
    python -m tools.bench.daemon --burst 500 --large 20 --idle-s 20

Prints a table for docs/performance.md: start to the first capture, captures a minute, a burst of
small captures dropped at once, and what it takes to wait for nothing. The real program in
a process of its own, with its default settings; processor time is of the daemon and its worker.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import psutil

from model.simulation.fields import simulate_field
from monitor.capture.filesets import hash_file
from monitor.config import SourceSettings
from monitor.culture import NamedParts
from monitor.segmentation.measuring import load_segmenter, measure
from monitor.segmentation.request import FieldRequest

PIXEL_SIZE_UM = 2.5
SMALL_PX, LARGE_PX = 96, 1024
DISHES = 24
CONFIG = f"""
sources:
  - name: incubator
    path: captures
    names: dish-time
    pixel_size_um: {PIXEL_SIZE_UM}
    fields_per_scan: 1
compute:
  threads: {{threads}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--burst", type=int, default=5000, help="small captures dropped at once")
    parser.add_argument("--large", type=int, default=60, help="captures of a megapixel")
    parser.add_argument("--idle-s", type=float, default=60.0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="colonywatch-daemon-") as name:
        root = Path(name)
        small_s, large_s = (network_s(side, root, options.threads) for side in (SMALL_PX, LARGE_PX))
        (root / "captures").mkdir()
        config = CONFIG.format(threads=options.threads)
        (root / "config.yaml").write_text(config, encoding="utf-8")
        drop(root, 1, SMALL_PX)
        for capture in (root / "captures").iterdir():
            os.utime(capture, (time.time() - 3600,) * 2)  # it came while the daemon was down
        began = time.monotonic()
        with running(root) as daemon:
            wait_for(root, 1)
            took_s, start_s = time.monotonic() - began, sum(used_s(daemon))
            print(
                f"| start to the first capture on record | {took_s:.1f} s, {start_s:.1f} s of "
                "processor time |"
            )
            time.sleep(10)
            before, since = sum(used_s(daemon)), time.monotonic()
            time.sleep(options.idle_s)
            share = (sum(used_s(daemon)) - before) / (time.monotonic() - since)
            print(f"| waiting for nothing | {100 * share:.2f} % of a core |")
            report("captures of a megapixel", root, daemon, options.large, LARGE_PX, large_s)
            report("burst of small captures", root, daemon, options.burst, SMALL_PX, small_s)
        states = Counter(state for (state,) in rows(root, "SELECT state FROM capture"))
        total = 1 + options.large + options.burst
        print(f"| on record in the end | {states['recorded']} of {total} |")
        if states["recorded"] != total:
            raise SystemExit(f"captures are missing: {dict(states)}")


def report(
    what: str, root: Path, daemon: subprocess.Popen[bytes], count: int, side: int, alone_s: float
) -> None:
    known = len(rows(root, "SELECT id FROM capture"))
    before, began = used_s(daemon), time.monotonic()
    drop(root, count, side, first=known)
    dropped_s = time.monotonic() - began
    wait_for(root, known + count, "SELECT count(*) FROM capture")
    taken_s = time.monotonic() - began
    taken = (
        measured(root) - known,
        [now - then for now, then in zip(used_s(daemon), before, strict=True)],
    )
    wait_for(root, known + count)
    took_s = time.monotonic() - began
    each_ms = [
        1000 * (now - then) / count for now, then in zip(used_s(daemon), before, strict=True)
    ]
    print(
        f"| {what} | {count} dropped in {dropped_s:.1f} s, all known after {taken_s:.1f} s (by "
        f"then {taken[0]} measured, {sum(taken[1]):.1f} s of processor time), "
        f"measured after {took_s:.1f} s: {60 * count / took_s:.0f} a minute; "
        f"{sum(each_ms):.1f} ms of processor time each: daemon {each_ms[0]:.1f}, worker "
        f"{sum(each_ms[1:]):.1f}, of which the network {1000 * alone_s:.1f} ms |",
        flush=True,
    )


def measured(root: Path) -> int:
    found = rows(root, DONE)
    return int(found[0][0]) if found else 0


def pictures(side: int, count: int, first: int = 0) -> Iterator[bytes]:
    """PNGs of simulated cells; no two have the same pixels.

    first : another one, other pictures
    """
    field = simulate_field(1, shape=(LARGE_PX, LARGE_PX), pixel_size_um=PIXEL_SIZE_UM).image
    grey = field.astype(np.uint8)
    chance = np.random.default_rng((side, first))
    for _ in range(count):
        top, left = chance.integers(0, LARGE_PX - side + 1, 2)
        part = grey[top : top + side, left : left + side]
        noise = chance.integers(0, 2, part.shape, dtype=np.uint8)
        yield cv2.imencode(".png", part // 2 * 2 + noise)[1].tobytes()


def drop(root: Path, count: int, side: int, first: int = 0) -> None:
    """Captures of several dishes, an hour apart each."""
    start = datetime.now(UTC) - timedelta(days=60)
    for number, content in enumerate(pictures(side, count, first), first):
        at = start + timedelta(minutes=3 * number)
        name = f"dish-{number % DISHES:02d}_{at:%Y%m%dT%H%M%SZ}.png"
        (root / "captures" / name).write_bytes(content)


def network_s(side: int, root: Path, threads: int) -> float:
    """Processor seconds that the network alone needs for one such capture, in this process."""
    segmenter = load_segmenter("starter", threads)
    spent: list[float] = []
    segmenter.network.register_forward_pre_hook(lambda *_: spent.append(-time.process_time()))
    segmenter.network.register_forward_hook(lambda *_: spent.append(time.process_time()))
    path, found = root / "alone.png", []
    for content in pictures(side, 12):
        path.write_bytes(content)
        spent.clear()
        measure(
            segmenter,
            FieldRequest(
                path,
                hash_file(path),
                NamedParts("alone", "dish-time"),
                SourceSettings(pixel_size_um=PIXEL_SIZE_UM),
                "0" * 64,
                root / "alone",
            ),
        )
        found.append(sum(spent))
    return float(np.median(found[2:]))


@contextmanager
def running(root: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "monitor", "run", "--config", str(root / "config.yaml")]
    with (root / "log").open("wb") as log:
        daemon = subprocess.Popen(
            [*command, "--state", str(root / "state")], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            yield daemon
        finally:
            daemon.terminate()
            daemon.wait(60)


def used_s(daemon: subprocess.Popen[bytes]) -> list[float]:
    """Processor seconds so far: of the daemon, and of each process of its worker."""
    parent = psutil.Process(daemon.pid)
    times = [one.cpu_times() for one in (parent, *parent.children(recursive=True))]
    return [one.user + one.system for one in times]


def rows(root: Path, query: str) -> list[tuple[str]]:
    databases = list((root / "state").glob("*.sqlite*")) + list((root / "state").glob("*.db"))
    files = [path for path in databases if not path.name.endswith(("-wal", "-shm"))]
    if not files:
        return []
    with closing(sqlite3.connect(f"file:{files[0]}?mode=ro", uri=True, timeout=30)) as database:
        try:
            return list(database.execute(query))
        except sqlite3.DatabaseError:
            return []  # not made yet


DONE = "SELECT count(*) FROM capture WHERE state IN ('recorded', 'unreadable')"


def wait_for(root: Path, count: int, query: str = DONE, quiet_s: float = 300.0) -> None:
    """Until so many captures are on record. Raises SystemExit where nothing moves any more."""
    last, since = -1, time.monotonic()
    while last < count:
        found = rows(root, query)
        now = int(found[0][0]) if found else 0
        if now != last:
            last, since = now, time.monotonic()
        if time.monotonic() - since > quiet_s:
            raise SystemExit(f"stuck at {last} of {count}: {(root / 'log').read_text()[-2000:]}")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
