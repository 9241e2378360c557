"""Does a capture cost more where there are many dishes? `python -m tools.bench.dishes`.

A record gets so many dishes with one scan each; then captures of further dishes go the whole line,
measurement aside, and the processor's time for each is told.
"""

from __future__ import annotations

import logging
import sqlite3
import tempfile
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from monitor.record.store import Store
from tests.monitor.facts import NOW, measure, measurement, place, read
from tests.monitor.line import line_maker, scanned

DISHES = (100, 10_000)
WARM, CAPTURES = 5, 30
# Of each table the row of the first dish, again for each further one: what is other in it.
_GROWN = {
    "dish": ("id = 1", {"id": "id+i", "name": "name||'-'||i", "label": "label||'-'||i"}),
    "scan": ("id = 1", {"id": "id+i", "dish_id": "dish_id+i", "reading_id": "reading_id+i"}),
    "capture": (
        "id = 1",
        {
            "id": "id+i",
            "scan_id": "scan_id+i",
            "name": "name||i",
            "sha256_head": "randomblob(16)",
            "fingerprint": "randomblob(8)",
        },
    ),
    "file": ("capture_id = 1", {"name": "name||i", "capture_id": "capture_id+i"}),
    "measurement": ("id = 1", {"id": "id+i", "capture_id": "capture_id+i"}),
    "reading": ("id = 1", {"id": "id+i", "dish_id": "dish_id+i", "scan_id": "scan_id+i"}),
    "reading_measurement": (
        "reading_id = 1",
        {"reading_id": "reading_id+i", "measurement_id": "measurement_id+i"},
    ),
}


def grow(database: Path, dishes: int) -> None:
    """So many dishes like the first, each with a scan that is read."""
    with closing(sqlite3.connect(database)) as connection, connection:
        for table, (which, other) in _GROWN.items():
            names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            columns = ", ".join(f'"{name}"' for name in names)
            values = ", ".join(other.get(name, f'"{name}"') for name in names)
            connection.execute(
                "WITH RECURSIVE further(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM further "
                f"WHERE i < ?) INSERT INTO {table} ({columns}) SELECT {values} "
                f"FROM {table}, further WHERE {which}",
                [dishes - 1],
            )


def each_s(folder: Path, dishes: int) -> float:
    """Processor's seconds of a capture of a new dish, where there are so many."""
    database = folder / "record.sqlite"
    with Store(f"sqlite:///{database}") as store:
        first = measurement(acquired_at=NOW - timedelta(hours=5))
        read(store, measure(store, "/in/a.tif", place("d0"), first))
    grow(database, dishes)
    with Store(f"sqlite:///{database}") as store:
        line = line_maker(store, folder)()
        began = 0.0
        for number in range(WARM + CAPTURES):
            if number == WARM:
                began = time.process_time()
            name = f"new-{number:04}_20261103T090000Z_f1.tif"
            line.worker.says[name] = scanned(0.3, 9)
            line.take_in(line.drop(name))
            line.run()
            line.read_all()
        return (time.process_time() - began) / CAPTURES


def main() -> None:
    logging.disable(logging.WARNING)
    print("| dishes | ms a capture |\n|---|---|")
    for dishes in DISHES:
        with tempfile.TemporaryDirectory() as folder:
            print(f"| {dishes:,} | {1000 * each_s(Path(folder), dishes):.1f} |", flush=True)


if __name__ == "__main__":
    main()
