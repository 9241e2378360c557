"""A record of five years: how large it is, and how long its questions take.

96 dishes scanned hourly for five years are 4.2 million readings. Their rows are copies of rows that
the real pipeline wrote for captures of the virtual incubator (one dish in eight differentiates),
each with times, hashes, names and numbers of its own, put into the real tables in the order of
time, with the indices in place. First some hundred readings are written both ways, by the record
and in bulk, and the bytes in each table are compared: a bulk row that were smaller than a real one
would make the result worthless.

    python -m tools.bench.history_scale --readings 4000000 --folder /tmp/scale
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from monitor.culture import (
    ColonyScan,
    DishStatus,
    FieldIdentity,
    NewReading,
    ScanDecision,
    ScanField,
    Tracking,
)
from monitor.record.colonies import unpack_colonies
from monitor.record.detail_codec import decode
from monitor.record.scan_places import ScanPlace
from monitor.record.sightings import SeenFile
from monitor.record.store import Store
from monitor.scans.summary import sum_up

START = datetime(2026, 1, 5, 6, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DISHES = 96
PORTION = 4_800
COMPARED = 480
TABLES = (
    "scan", "capture", "file", "measurement", "reading", "reading_measurement", "reading_colonies",
)  # fmt: skip
Rows = dict[str, list[dict[str, Any]]]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--readings", type=int, default=4_000_000)
    options.add_argument("--folder", type=Path, help="for the database; default: a temporary one")
    options.add_argument("--keep", action="store_true", help="leave the database there")
    given = options.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="scale-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        model = folder / "model.sqlite"
        if not model.exists():
            write_model(folder, model)
        rows = read_rows(model)
        compare(folder, model, rows)
        database = folder / "scale.sqlite"
        database.unlink(missing_ok=True)
        began = time.monotonic()
        fill(database, rows, given.readings)
        print(f"{given.readings} readings written in {time.monotonic() - began:.0f} s", flush=True)
        report(database, given.readings)
    finally:
        if not given.keep:
            shutil.rmtree(folder, ignore_errors=True)


def write_model(folder: Path, model: Path) -> None:
    """A small record that the real pipeline wrote."""
    captures, state = folder / "captures", folder / "state"
    config = folder / "config.yaml"
    config.write_text(f"sources: [{{name: incubator, path: {captures}}}]\n")
    for words in (
        ["simulate", str(captures), "--dishes", "8", "--hours", "72", "--interval-h", "6"],
        ["process", str(captures), "--state", str(state)],
    ):
        subprocess.run(
            [sys.executable, "-m", "monitor", *words, "--config", str(config)],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    (state / "colonywatch.sqlite").rename(model)


def read_rows(model: Path) -> Rows:
    """The rows of every reading that rests on one capture, as the database holds them."""
    with closing(sqlite3.connect(model)) as connection:
        connection.row_factory = sqlite3.Row
        found: Rows = {
            table: [dict(row) for row in connection.execute(query)]
            for table, query in {
                "measurement": "SELECT * FROM measurement ORDER BY id",
                "capture": "SELECT * FROM capture ORDER BY id",
                "file": "SELECT * FROM file ORDER BY capture_id",
                "reading": "SELECT r.* FROM reading r JOIN scan s ON s.reading_id = r.id",
                "scan": "SELECT * FROM scan",
                "reading_colonies": "SELECT * FROM reading_colonies",
                "reading_measurement": "SELECT * FROM reading_measurement",
                "analysis": "SELECT * FROM analysis",
            }.items()
        }
    return found


class _Whole:
    """The rows of one reading of the model record, joined."""

    def __init__(self, rows: Rows, reading: dict[str, Any]) -> None:
        def one(table: str, key: str, value: Any) -> dict[str, Any]:
            return next(row for row in rows[table] if row[key] == value)

        self.reading = reading
        self.scan = one("scan", "id", reading["scan_id"])
        joined = one("reading_measurement", "reading_id", reading["id"])
        self.measurement = one("measurement", "id", joined["measurement_id"])
        self.capture = one("capture", "id", self.measurement["capture_id"])
        self.file = one("file", "capture_id", self.capture["id"])
        self.colonies = one("reading_colonies", "reading_id", reading["id"])


def whole_readings(rows: Rows) -> list[_Whole]:
    return [_Whole(rows, reading) for reading in rows["reading"]]


def plan(count: int, kinds: int) -> Iterator[tuple[int, int, datetime, int]]:
    """(number from 1, dish from 0, time, which reading of the model) in the order of time."""
    random = np.random.default_rng(1)
    picks = random.integers(0, kinds, count)
    for number in range(count):
        hour, dish = divmod(number, DISHES)
        yield number + 1, dish, START + timedelta(hours=hour, seconds=30 * dish), int(picks[number])


def name_of(dish: int, at: datetime) -> str:
    return f"dish-{dish + 1:02d}_{at:%Y%m%dT%H%M%SZ}_f1.ome.tif"


def us(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)


def fill(database: Path, rows: Rows, count: int) -> None:
    """Rows into the tables of a new record, some thousand readings a transaction."""
    Store(f"sqlite:///{database}").close()
    kinds = whole_readings(rows)
    newest = count - 3 * DISHES
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA cache_size=-400000")
        connection.execute("BEGIN")
        insert(connection, "analysis", rows["analysis"])
        insert(
            connection,
            "dish",
            [
                {"id": dish + 1, "name": name, "label": name, "source": "incubator", "passage": 0,
                 "next_colony": 30, "status": "undifferentiated", "repeats": 0,
                 "created_at": "2026-01-05 06:00:00.000000"}
                for dish in range(DISHES) for name in [f"dish-{dish + 1:02d}"]
            ],
        )  # fmt: skip
        insert(
            connection,
            "folder",
            [{"id": dish + 1, "path": f"/data/incubator/dish-{dish + 1:02d}"}
             for dish in range(DISHES)],
        )  # fmt: skip
        connection.execute("COMMIT")
        made: dict[str, list[dict[str, Any]]] = {table: [] for table in TABLES}
        for number, dish, at, pick in plan(count, len(kinds)):
            for table, row in _copy(
                kinds[pick], number, dish, at, with_maps=number > newest
            ).items():
                made[table].append(row)
            if number % PORTION == 0 or number == count:
                connection.execute("BEGIN")
                connection.execute("PRAGMA defer_foreign_keys=ON")
                for table in TABLES:
                    insert(connection, table, made[table])
                    made[table].clear()
                connection.execute("COMMIT")


def _copy(
    one: _Whole, number: int, dish: int, at: datetime, *, with_maps: bool
) -> dict[str, dict[str, Any]]:
    taken, done = us(at), us(at) + 63_251_907
    name = name_of(dish, at)
    return {
        "scan": {**one.scan, "id": number, "dish_id": dish + 1, "first_at": taken,
                 "last_at": taken, "last_taken_at": done, "reading_id": number},
        "capture": {**one.capture, "id": number, "sha256_head": os.urandom(16),
                    "sha256_tail": os.urandom(16), "folder_id": dish + 1,
                    "name": name, "source": "incubator", "first_seen_at": done - 1_203_332,
                    "finished_at": done, "acquired_at": taken, "fingerprint": os.urandom(8),
                    "scan_id": number},
        "file": {**one.file, "folder_id": dish + 1, "name": name,
                 "mtime_ns": 1000 * (taken + 51_207), "capture_id": number},
        "measurement": {**one.measurement, "id": number, "capture_id": number,
                        "created_at": done},
        "reading": {**one.reading, "id": number, "dish_id": dish + 1, "scan_id": number,
                    "at": taken, "created_at": done + 302_118},
        "reading_measurement": {"reading_id": number, "measurement_id": number},
        "reading_colonies": {**one.colonies, "reading_id": number,
                             "maps": one.colonies["maps"] if with_maps else None},
    }  # fmt: skip


def insert(connection: sqlite3.Connection, table: str, rows: list[dict[str, Any]]) -> None:
    columns = list(rows[0])
    connection.executemany(
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
        [tuple(row[column] for column in columns) for row in rows],
    )


# --- the same readings by the record itself ------------------------------------------------------


def compare(folder: Path, model: Path, rows: Rows) -> None:
    """Stop where a row in bulk is smaller than one that the record writes."""
    bulk, real = folder / "bulk.sqlite", folder / "real.sqlite"
    for database in (bulk, real):
        database.unlink(missing_ok=True)
    fill(bulk, rows, COMPARED)
    kinds = whole_readings(rows)
    with Store(f"sqlite:///{model}") as known, Store(f"sqlite:///{real}") as store:
        fields = [known.scans.scan_fields(one.reading["id"])[0] for one in kinds]
        for _, dish, at, pick in plan(COMPARED, len(kinds)):
            write_one(store, fields[pick], kinds[pick], dish, at)
    sizes = [payload(database) for database in (real, bulk)]
    print("bytes a reading, of each table and index: written by the record, in bulk")
    for table in sorted(sizes[0], key=lambda one: -sizes[0][one]):
        if sizes[0][table] > COMPARED:
            print(f"  {table:40}{sizes[0][table] / COMPARED:8.1f}"
                  f"{sizes[1].get(table, 0) / COMPARED:8.1f}")  # fmt: skip
    totals = [sum(size.values()) / COMPARED for size in sizes]
    print(f"  together {totals[0]:.1f} and {totals[1]:.1f}", flush=True)
    if totals[1] < 0.98 * totals[0]:
        raise SystemExit("rows in bulk are smaller than those of the record; mend `_copy`")


def write_one(store: Store, field: ScanField, one: _Whole, dish: int, at: datetime) -> None:
    name = f"dish-{dish + 1:02d}"
    path = Path(f"/data/incubator/{name}/{name_of(dish, at)}")
    done = at + timedelta(seconds=63, microseconds=251_907)
    identity = FieldIdentity("incubator", name, one.scan["key"], field.field or None)
    seen = SeenFile(
        path=path, source="incubator", size=one.file["size"],
        mtime_ns=1000 * (us(at) + 51_207), sha256=os.urandom(32).hex(),
        identity=identity,
    )  # fmt: skip
    _, capture = store.captures.take_in(seen, done)
    store.captures.claim_due("bench", done, limit=1, only=[capture.id])
    measured = field.measurement
    changed = {"acquired_at": at, "fingerprint": os.urandom(32).hex()}
    scan = store.captures.record_measurement(
        capture.id, "bench", ScanPlace(identity, one.scan["key"], 900.0),
        type(measured)(**{**vars(measured), **changed}), done,
    )  # fmt: skip
    assert scan is not None
    colonies = tuple(unpack_colonies(decode(one.colonies["packed"])))

    at_last = done + timedelta(microseconds=302_118)
    with store.scans.open(scan, at_last) as opened:
        assert opened is not None
        summary = sum_up([one.measurement for one in opened.fields])
        values = {name: getattr(summary, name) for name in summary.__dataclass_fields__}
        new = NewReading(
            **{**values, "colony_um2": one.reading["colony_um2"],
               "imaged_share": one.reading["imaged_share"]},
            model_sha256=measured.model_sha256, settings_sha256=measured.settings_sha256,
        )  # fmt: skip
        opened.add_reading(new, ColonyScan(Tracking(colonies, next_number=30)))
        opened.carry_out(ScanDecision(DishStatus.UNKNOWN))


def payload(database: Path) -> dict[str, int]:
    """Bytes of content in each table and index, maps of the newest scans left out."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE reading_colonies SET maps = NULL")
        connection.commit()
        grown = "('scan','capture','file','measurement','reading','reading_measurement',"
        grown += "'reading_colonies')"
        names = connection.execute(f"SELECT name FROM sqlite_schema WHERE tbl_name IN {grown}")
        wanted = {name for (name,) in names}
        return {
            name: size
            for name, size in connection.execute("SELECT name, sum(payload) FROM dbstat GROUP BY 1")
            if name in wanted
        }


# --- what it is for ----------------------------------------------------------------------------


def report(database: Path, count: int) -> None:
    size = database.stat().st_size
    print(f"database: {size / 1e6:.0f} MB, {size / count:.0f} bytes a reading", flush=True)
    with closing(sqlite3.connect(database)) as connection:
        try:
            parts = connection.execute(
                "SELECT name, sum(pgsize) FROM dbstat GROUP BY 1 ORDER BY 2 DESC LIMIT 16"
            ).fetchall()
        except sqlite3.OperationalError:
            parts = []
    for name, part in parts:
        print(f"  {name:40}{part / count:8.1f}")
    with Store(f"sqlite:///{database}") as store:
        last = START + timedelta(hours=(count - 1) // DISHES)
        week = last - timedelta(days=14)
        asked: list[tuple[str, Callable[[], Any]]] = [
            ("history of one dish, its last 14 days", lambda: len(_window(store))),
            ("history of one dish, all of it", lambda: len(store.dishes.history("dish-40"))),
            ("all that a picture tells, 14 days",
             lambda: len(store.timelines.of("dish-41", since=week).readings)),
            ("colonies of one dish, 14 days",
             lambda: len(store.colonies.series("dish-42", since=week))),
            ("all dishes with their first and last reading", lambda: len(store.dishes.dishes())),
            ("captures by their state", lambda: store.captures.counts()["recorded"]),
            ("96 files: are they known?", lambda: len(store.captures.looks(
                [Path(f"/data/incubator/dish-{dish + 1:02d}") / name_of(dish, at)
                 for _, dish, at, _ in plan(DISHES, 1)]))),
            ("a capture due?", lambda: store.captures.any_due(datetime.now(UTC))),
            ("scans to read", lambda: len(store.scans.scans_to_read(datetime.now(UTC), {}, {}))),
        ]  # fmt: skip
        for what, ask in asked:
            times, work = [], []
            for _ in range(5):
                began, busy = time.perf_counter(), time.process_time()
                found = ask()
                times.append(time.perf_counter() - began)
                work.append(time.process_time() - busy)
            print(f"{what} ({found}): first {times[0]:.3f} s, then {min(times[1:]):.3f} s, "
                  f"of the processor {min(work):.3f} s", flush=True)  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of this process, writing included: {peak:.0f} MiB")


def _window(store: Store) -> Any:
    newest = store.dishes.newest_at("dish-39")
    assert newest is not None
    return store.dishes.history("dish-39", since=newest - timedelta(days=14))


if __name__ == "__main__":
    main()
