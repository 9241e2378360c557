"""What a capture costs outside the segmentation: taken in, claimed, written down, its scan read.

    python -m tools.bench.record --captures 2000 --scans 20
    python -m tools.bench.record --profile

One simulated field is measured by the real model; then that answer is given at once for every
capture, so that only our own work is left. Prints processor time and wall time a capture.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from model.simulation.incubator import VirtualDish, write_capture
from monitor.capture.filesets import hash_file
from monitor.config import Config, RecordConfig, SourceConfig, settings_sha256
from monitor.culture import FieldMeasurement
from monitor.pipeline import Pipeline
from monitor.record.store import Store
from monitor.segmentation.request import FieldRequest

BEGAN = datetime(2026, 11, 2, 6, 0, tzinfo=UTC)
PORTION, AHEAD = 200, 32


class AnswersAtOnce:
    """Stands where the worker stands. A dish differentiates in the last quarter of its scans."""

    def __init__(self, early: FieldMeasurement, late: FieldMeasurement, scans: int) -> None:
        self._early, self._late = early, late
        self._turns_at = BEGAN + timedelta(hours=6 * (scans * 3 // 4))

    def submit(self, request: FieldRequest) -> Future[FieldMeasurement]:
        future: Future[FieldMeasurement] = Future()
        assert request.named.acquired_at is not None
        answer = self._late if request.named.acquired_at >= self._turns_at else self._early
        future.set_result(
            replace(answer, acquired_at=request.named.acquired_at, fingerprint=request.sha256)
        )
        return future

    def died_with(self, future: Future[FieldMeasurement], request_sha256: str) -> bool:
        return False


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="colonywatch-bench-") as name:
        root = Path(name)
        source = SourceConfig(
            name="bench", path=root / "captures", scan_quiet_s=0.0, fields_per_scan=1
        )
        config = Config(sources=(source,), record=RecordConfig(folder=root / "state"))
        worker = AnswersAtOnce(
            *(_measured(root, config, source, hour) for hour in (0.0, 30.0)), options.scans
        )
        files = _files(source.path, options.captures, options.scans)
        profile = cProfile.Profile()
        with Store(config.record.database_url) as store:
            owner = store.processes.begin("process", BEGAN)
            pipeline = Pipeline(config, store, worker, owner=owner)
            spent: dict[str, float] = {}
            wall = time.perf_counter()
            if options.profile:
                profile.enable()
            for first in range(0, len(files), PORTION):
                some = files[first : first + PORTION]
                _timed(spent, "take in", lambda some=some: pipeline.take_in_all(some))  # type: ignore[misc]
                _timed(spent, "claim and write down", lambda: _measure(pipeline))
            scans = _timed(spent, "which scans", pipeline.complete_scans)
            _timed(spent, "read scans", lambda: [pipeline.read_scan(one) for one in scans])
            profile.disable()
            wall = time.perf_counter() - wall
            assert store.captures.counts()["recorded"] == len(files)
        count = len(files)
        print("| part | processor time a capture |\n|---|---|")
        for part, seconds in spent.items():
            print(f"| {part} | {1000 * seconds / count:.2f} ms |")
        total = 1000 * sum(spent.values()) / count
        print(f"| all | {total:.2f} ms (wall {1000 * wall / count:.2f} ms) |")
        if options.profile:
            pstats.Stats(profile).sort_stats("cumulative").print_stats(70)
            pstats.Stats(profile).sort_stats("tottime").print_stats(40)


def _measured(root: Path, config: Config, source: SourceConfig, hour: float) -> FieldMeasurement:
    from monitor.capture.names.patterns import parse_name
    from monitor.segmentation.measuring import load_segmenter, measure

    field = VirtualDish("dish-01", 1, onset_h=5.0, colony_radius_um=120.0).field(
        hour, shape=(256, 256), pixel_size_um=3.0
    )
    path = root / f"dish-01_20261101T00{hour:02.0f}00Z_f1.ome.tif"
    write_capture(field, path, acquired_at=BEGAN, stage_x_um=0.0, stage_y_um=0.0, name=path.name)
    request = FieldRequest(
        path=path,
        sha256=hash_file(path),
        named=parse_name(path, source.names, source.zone, source.start),
        settings=source,
        settings_sha256=settings_sha256(config, source),
        state_folder=config.record.folder,
        removal=config.decisions.removal,
    )
    return measure(load_segmenter("starter", 1), request)


def _files(folder: Path, captures: int, scans: int) -> list[tuple[Path, str]]:
    folder.mkdir(parents=True)
    files = []
    for number in range(captures):
        at = BEGAN + timedelta(hours=6 * (number % scans), minutes=number // scans % 60)
        path = folder / f"dish-{number // scans:03d}_{at:%Y%m%dT%H%M%SZ}_f1.tif"
        path.write_bytes(number.to_bytes(8, "big"))
        files.append((path, "bench"))
    return sorted(files)


def _measure(pipeline: Pipeline) -> None:
    while started := pipeline.start_due(2, ahead=AHEAD):
        for work in started:
            pipeline.finish(work)


def _timed(spent: dict[str, float], part: str, work: Callable[[], Any]) -> Any:
    began = time.process_time()
    done = work()
    spent[part] = spent.get(part, 0.0) + time.process_time() - began
    return done


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--captures", type=int, default=2000)
    parser.add_argument("--scans", type=int, default=20, help="a dish")
    parser.add_argument("--profile", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
