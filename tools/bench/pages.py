"""How fast pages are: 400 dishes, 4 million readings, 200 readers at once, beside a former build.

Each build makes its own record with its own tables, which is then filled alike: 400 dishes scanned
hourly, one in eight differentiating, 120 open alerts. Readings and scans are there from the first
on; captures and measurements of the last three scans, which is all of them that pages ask for. Then
each build serves its record in turn (`colonywatch serve`), and the same requests go to both, on the
loopback address alone. Times are the server's processor time for an answer; in brackets, how long
a reader waited for it, which other work on the machine makes longer.

    python -m tools.bench.pages --former ../before --readings 4000000
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from monitor.record.detail_codec import encode

DISHES, HOUR_US = 400, 3_600_000_000
READERS, LOOKS = 200, 400
CHANGES = 10
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PAGES = {
    "all dishes": "/",
    "one dish": "/dish?name=plate-02/C4",
    "alerts": "/alerts",
    "plate map": "/plates",
    "wall screen": "/wall",
    "API, all dishes": "/api/v1/dishes?limit=500",
    "API, has anything changed": "/api/v1/changes",
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--former", type=Path, help="a checkout of another build, measured beside")
    options.add_argument("--readings", type=int, default=4_000_000)
    options.add_argument("--folder", type=Path, help="for the records; default: a temporary one")
    options.add_argument("--keep", action="store_true", help="leave the records there")
    given = options.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="pages-"))
    here = Path(__file__).resolve().parents[2]
    builds = {"this build": here} | ({"former": given.former.resolve()} if given.former else {})
    try:
        for name, checkout in builds.items():
            state = folder / name.replace(" ", "-")
            if not (state / "colonywatch.sqlite").exists():
                make_record(checkout, state, given.readings)
        found = {
            name: measure(checkout, folder / name.replace(" ", "-"))
            for name, checkout in reversed(builds.items())
        }
        for title, values in found.items():
            print(f"\n{title}")
            for line, value in values.items():
                print(f"  {line:44}{value}")
    finally:
        if not given.keep:
            shutil.rmtree(folder, ignore_errors=True)


# --- the record --------------------------------------------------------------------------------


def well_of(dish: int) -> str:
    """Dishes in plates of 96 wells."""
    plate, well = divmod(dish, 96)
    return f"plate-{plate + 1:02d}/{'ABCDEFGH'[well // 12]}{well % 12 + 1}"


def make_record(checkout: Path, state: Path, readings: int) -> None:
    """The tables by the build, the rows from here."""
    state.mkdir(parents=True, exist_ok=True)
    database = state / "colonywatch.sqlite"
    words = f"from monitor.record.store import Store; Store('sqlite:///{database}').close()"
    subprocess.run([sys.executable, "-c", words], check=True, env=_environment(checkout))
    now = datetime.now(UTC).replace(microsecond=0)
    began = time.monotonic()
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA cache_size=-400000")
        connection.execute("BEGIN")
        connection.execute("PRAGMA defer_foreign_keys=ON")
        _few(connection, now)
        _many(connection, now, readings // DISHES)
        _newest(connection, readings // DISHES)
        connection.execute("COMMIT")
        connection.execute("ANALYZE")
    size = database.stat().st_size / 1e6
    print(f"{state.name}: {readings} readings, {size:.0f} MB, {time.monotonic() - began:.0f} s")


def _few(connection: sqlite3.Connection, now: datetime) -> None:
    at = now.strftime("%Y-%m-%d %H:%M:%S.000000")
    connection.execute(
        "INSERT INTO analysis (id, model_name, model_sha256, settings_sha256) VALUES (1,?,?,?)",
        ("pmf-cnn", "a" * 64, "5" * 64),
    )
    connection.execute("INSERT INTO folder (id, path) VALUES (1, '/data')")
    for dish in range(DISHES):
        turns = dish % 8 == 3
        connection.execute(
            "INSERT INTO dish (id, name, label, source, passage, next_colony, status, severity,"
            " repeats, created_at) VALUES (?, ?, ?, 'incubator', 3, 30, ?, ?, 0, ?)",
            (dish + 1, well_of(dish), well_of(dish),
             "differentiating" if turns else "undifferentiated",
             ("critical" if dish % 16 == 3 else "warning") if turns else None, at),
        )  # fmt: skip
    for number in range(120):
        dish = number % DISHES + 1
        topic = "differentiation" if number < 50 else "confluence-reached"
        connection.execute(
            "INSERT INTO alert (dish_id, topic, severity, kind, status, at, fraction, created_at)"
            " VALUES (?, ?, 'warning', 'raised', 'differentiating', ?, 0.3, ?)",
            (dish, topic, at, at),
        )


def _many(connection: sqlite3.Connection, now: datetime, scans: int) -> None:
    """Scans and readings in the order of time, as a daemon writes them."""
    last = (now - EPOCH - timedelta(minutes=30)) // timedelta(microseconds=1)
    numbers = (
        f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < "
        f"{scans * DISHES}), r AS (SELECT i + 1 AS id, i % {DISHES} + 1 AS dish, {last} - "
        f"({scans - 1} - i / {DISHES}) * {HOUR_US} + (i % {DISHES}) * 4000000 AS at FROM n)"
    )
    connection.execute(
        f"{numbers} INSERT INTO scan (id, dish_id, key, first_at, last_at, last_taken_at, dirty,"
        " is_misdated, stand, reading_id) SELECT id, dish, 's' || id, at, at, at + 60000000, 0, 0,"
        " '{}', id FROM r"
    )
    doubt = '{"reasons": [], "interval": [0.02, 0.09], "kind": "ips 4x", "calibrated": true}'
    connection.execute(
        f"{numbers} INSERT INTO reading (id, dish_id, scan_id, version, at, captures,"
        " background_um2, undifferentiated_um2, differentiated_um2, differentiated_fraction,"
        " confluence, uncertainty, pixel_size_um, analysis_id, colonies, doubts, joined, doubt,"
        " created_at) SELECT id, dish, id, 1, at, 1, 4e7, 2e7, 1e6, CASE dish % 8 WHEN 4 THEN"
        " 0.3 ELSE 0.04 END + (id % 97) / 5000.0, 0.3 + (id % 89) / 300.0, 0.1, 2.0, 1, 24, '[]',"
        f" 'one field', '{doubt}', at + 61000000 FROM r"
    )


def _newest(connection: sqlite3.Connection, scans: int) -> None:
    first = (scans - 3) * DISHES + 1
    for number in range(first, scans * DISHES + 1):
        detail = encode({
            "shape": [1040, 1392], "overlay": f"overlays/{number}.jpg", "quality": {"sharp": 0.5},
            "colonies": [], "regions": [], "doubts": [], "took_s": 0.1,
        })  # fmt: skip
        connection.execute(
            "INSERT INTO capture (id, folder_id, name, source, state, attempts, crashes,"
            " first_seen_at, finished_at, is_local, is_misdated, scan_id)"
            " SELECT ?, 1, ?, 'incubator', 'recorded', 0, 0, at, at, 0, 0, id FROM reading"
            " WHERE id = ?",
            (number, f"{number}.tif", number),
        )
        connection.execute(
            "INSERT INTO measurement (id, capture_id, analysis_id, background_px,"
            " undifferentiated_px, differentiated_px, pixel_size_um, uncertainty, created_at,"
            " beside, assumed_um, detail) VALUES (?, ?, 1, 1000000, 400000, 20000, 2.0, 0.1, 0,"
            " x'', 0.0, ?)",
            (number, number, detail),
        )
        connection.execute("INSERT INTO reading_measurement VALUES (?, ?)", (number, number))


# --- asking ------------------------------------------------------------------------------------


def _environment(checkout: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}


@contextmanager
def serving(checkout: Path, state: Path) -> Iterator[tuple[int, int]]:
    """(port, process)"""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    config = state / "config.yaml"
    config.write_text(f"record: {{folder: {state}}}\n")
    server = subprocess.Popen(
        [sys.executable, "-m", "monitor", "serve", "--port", str(port), "--config", str(config)],
        env=_environment(checkout), cwd=checkout, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until = time.monotonic() + 120
        while ask(port, "/alive")[0] != 200:
            if server.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"{checkout}: the dashboard does not begin")
            time.sleep(0.2)
        yield port, server.pid
    finally:
        server.terminate()
        server.wait(30)


def ask(port: int, path: str) -> tuple[int, float, int]:
    """Status (0: no answer), seconds, bytes."""
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        size = len(answer.read())
        return answer.status, time.monotonic() - began, size
    except OSError:
        return 0, time.monotonic() - began, 0
    finally:
        connection.close()


def measure(checkout: Path, state: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    with serving(checkout, state) as (port, pid):
        for name, path in PAGES.items():
            status, _, size = ask(port, path)
            if status != 200:
                found[name] = "not there"
                continue
            changed = []
            for number in range(CHANGES):
                change(state, number)
                changed.append(timed(port, pid, path, 1))
            found[name] = (
                f"after a change {_mean(changed)}, else {_mean([timed(port, pid, path, 20)])};"
                f" {size / 1000:.0f} kB"
            )
        began = time.monotonic()
        with ThreadPoolExecutor(READERS) as readers:
            looks = list(readers.map(lambda _: ask(port, "/"), range(LOOKS)))
        took = time.monotonic() - began
        statuses = Counter(status for status, _, _ in looks)
        times = sorted(seconds for status, seconds, _ in looks if status == 200)
        refused = LOOKS - statuses[200]
        found[f"{READERS} readers at once, {LOOKS} pages"] = (
            f"{refused} refused, {LOOKS / took:.0f} pages/s, slowest {_ms(times[-1])}"
            f" {json.dumps(dict(statuses))}"
        )
    return found


def timed(port: int, pid: int, path: str, times: int) -> tuple[float, float]:
    """Seconds of the server's processor and of waiting, each for one answer."""
    before, began = processor_s(pid), time.monotonic()
    for _ in range(times):
        ask(port, path)
    return (processor_s(pid) - before) / times, (time.monotonic() - began) / times


def processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def change(state: Path, number: int) -> None:
    """Another status of one dish, so that what was kept does not hold any more."""
    with closing(sqlite3.connect(state / "colonywatch.sqlite", timeout=30)) as connection:
        connection.execute(
            "UPDATE dish SET status = ? WHERE id = 1",
            ("above-limit" if number % 2 else "undifferentiated",),
        )
        connection.commit()


def _mean(pairs: list[tuple[float, float]]) -> str:
    return " ".join(
        form.format(1000 * statistics.mean(pair[place] for pair in pairs))
        for place, form in enumerate(("{:.0f} ms", "({:.0f})"))
    )


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"


if __name__ == "__main__":
    main()
