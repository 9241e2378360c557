"""Imagers with bad manners: each way of writing a file that has fooled a watched folder before."""

from __future__ import annotations

import io
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import tifffile
import yaml

from model.simulation.incubator import VirtualDish
from tools.soak.soak import BrokenPromiseError, running, states, tail

AT = (datetime.now(UTC) - timedelta(days=1)).replace(microsecond=0)
LIMIT_S = 300.0


def pictures(count: int) -> list[bytes]:
    """Plain TIFF files of one dish, each another picture of it."""
    dish = VirtualDish("dish-01", 3, onset_h=50.0, colony_radius_um=120.0)
    image = dish.field(6.0, shape=(256, 256), pixel_size_um=3.0).image
    found = []
    for number in range(count):
        file = io.BytesIO()
        noise = np.random.default_rng(number).integers(0, 2, image.shape)
        noisy = np.clip(image.astype(np.int32) + noise, 0, 255).astype(image.dtype)
        # Compressed and with the directory at its end, as a writer that streams would do it.
        tifffile.imwrite(file, noisy, compression="lzw", description=f"capture {number}")
        found.append(file.getvalue())
    return found


def ill_mannered_writers(
    root: Path, *, settle_s: float, pause_s: float, watch: str = "auto"
) -> str:
    """All of them at once, each over a dish of its own; then what the record holds of each.

    settle_s : quiet time of the source
    watch : as in the source's settings
    pause_s : of the writers; those that wait longer than the quiet time take four times that
    """
    _write_config(root, settle_s, watch)
    folder = root / "captures"
    folder.mkdir()
    data = iter(pictures(20))

    def path(dish: str, field: str = "f1") -> Path:
        return folder / f"{dish}_{AT:%Y%m%dT%H%M%SZ}_{field}.tif"

    def in_bursts(dish: str, pause_s: float) -> None:
        """Closes the file and opens it again for each part."""
        whole = next(data)
        for part in range(4):
            with path(dish).open("ab") as file:
                file.write(whole[part * len(whole) // 4 : (part + 1) * len(whole) // 4])
            time.sleep(pause_s)

    def under_another_name(dish: str, ending: str) -> None:
        whole, hidden = next(data), path(dish).with_name(path(dish).name + ending)
        hidden.write_bytes(whole[: len(whole) // 2])
        time.sleep(4 * settle_s)
        hidden.write_bytes(whole)
        hidden.rename(path(dish))

    def in_reserved_room(dish: str) -> None:
        """Takes the room first, then fills it from its end."""
        whole = next(data)
        with path(dish).open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, len(whole))
        time.sleep(4 * settle_s)
        with path(dish).open("r+b", buffering=0) as file:
            file.seek(len(whole) // 2)
            file.write(whole[len(whole) // 2 :])
            time.sleep(4 * settle_s)
            file.seek(0)
            file.write(whole[: len(whole) // 2])

    def empty_first(dish: str) -> None:
        path(dish).touch()
        time.sleep(4 * settle_s)
        path(dish).write_bytes(next(data))

    def written_over(dish: str) -> None:
        """A file that was read holds another picture by now."""
        path(dish).write_bytes(next(data))
        _until(root, lambda: _readings(root, dish) == [1])
        path(dish).write_bytes(next(data))

    def folder_moved_in(dish: str) -> None:
        outside = root / "outside" / "plate" / "day-1"
        outside.mkdir(parents=True)
        for field in ("f1", "f2", "f3"):
            (outside / path(dish, field).name).write_bytes(next(data))
        outside.parent.rename(folder / "plate")

    def late_field(dish: str) -> None:
        for field in ("f1", "f2"):
            path(dish, field).write_bytes(next(data))
        _until(root, lambda: _readings(root, dish) == [2])
        path(dish, "f3").write_bytes(next(data))

    # dish: (how it is written, fields that each version of its one reading rests on)
    wanted: dict[str, tuple[Callable[[str], None], list[int]]] = {
        "bursts": (lambda dish: in_bursts(dish, pause_s), [1]),
        "long-pauses": (lambda dish: in_bursts(dish, 4 * settle_s), [1]),
        "renamed-tmp": (lambda dish: under_another_name(dish, ".tmp"), [1]),
        "renamed-part": (lambda dish: under_another_name(dish, ".part"), [1]),
        "reserved": (in_reserved_room, [1]),
        "empty-first": (empty_first, [1]),
        "written-over": (written_over, [1, 1]),
        "moved-in": (folder_moved_in, [3]),
        "late-field": (late_field, [2, 3]),
    }
    with running(root):
        _until(root, lambda: "ready:" in tail(root))
        faults: list[BaseException] = []

        def write(how: Callable[[str], None], dish: str) -> None:
            try:
                how(dish)
            except BaseException as problem:
                faults.append(problem)

        writers = [
            threading.Thread(target=write, args=(how, dish)) for dish, (how, _) in wanted.items()
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        if faults:
            raise faults[0]

        def is_done() -> bool:
            return all(_readings(root, dish) == fields for dish, (_, fields) in wanted.items())

        _until(root, is_done, lambda: str({dish: _readings(root, dish) for dish in wanted}))
        time.sleep(4 * settle_s)  # nothing comes after it
        if not is_done():
            raise BrokenPromiseError(f"read once more: { {d: _readings(root, d) for d in wanted} }")
    captures = 1 + sum(fields[-1] for _, fields in wanted.values())
    if states(root) != {"recorded": captures}:
        raise BrokenPromiseError(f"{captures} captures were written: {states(root)}\n{tail(root)}")
    return f"{len(wanted)} manners of writing, {captures} captures, each read as it was meant"


def _readings(root: Path, dish: str) -> list[int]:
    """Fields of each version of the dish's readings, of all its scans."""
    database = root / "state" / "colonywatch.sqlite"
    if not database.exists():
        return []
    with closing(sqlite3.connect(database, timeout=30)) as connection:
        rows = connection.execute(
            "SELECT reading.captures FROM reading JOIN dish ON dish.id = reading.dish_id "
            "WHERE dish.name = ? ORDER BY reading.scan_id, reading.version",
            (dish,),
        )
        return [captures for (captures,) in rows]


def _until(
    root: Path, ready: Callable[[], bool], what: Callable[[], str] = lambda: "not in time"
) -> None:
    until = time.monotonic() + LIMIT_S
    while not ready():
        if time.monotonic() > until:
            raise BrokenPromiseError(f"{what()}\n{tail(root)}")
        time.sleep(0.1)


def _write_config(root: Path, settle_s: float, watch: str) -> None:
    source = {
        "name": "soak",
        "path": "captures",
        "watch": watch,
        "poll_s": 1.0,
        "settle_s": settle_s,
        "young_s": 60,
        "scan_quiet_s": 3 * settle_s,
        "rescan_s": 5,
    }
    (root / "config.yaml").write_text(
        yaml.safe_dump({"sources": [source], "compute": {"threads": 1}})
    )
