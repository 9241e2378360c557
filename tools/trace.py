"""The way of one capture through the program: which of our files it meets, how often it changes
from one to another.

    python -m tools.trace                        a simulated capture of a dish that differentiates
    python -m tools.trace CAPTURE --pixel-size-um 2 --pairs 40

Traces one real capture from watching to mail in one thread, by the real parts: the watcher's
rescan, settling, the line, the record in SQLite, a mail into a folder. Only the worker's process is
left out: the capture is measured here. This script stands where the daemon's loop stands.

A change of file is a call that a function in one of our files (`monitor/`, `model/`) makes of a
function in another. What a library, a template or a generated `__init__` calls is not counted, and
a generator that goes on is not called. Reading an attribute of a value counts where it is worked
out (a property), and not where it is stored; how many there are is said beside. Everything is
traced on a second capture, after a first one has loaded what is loaded late.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from types import FrameType

import numpy as np

from model.classes import CellClass
from model.simulation.fields import SimulatedField, simulate_field
from model.simulation.incubator import write_capture
from monitor.capture.filesets import look_at_open_file
from monitor.capture.settling import Settling
from monitor.capture.watching import Watcher
from monitor.config import Config, parse_config
from monitor.culture import FieldMeasurement
from monitor.jobs.deliver import deliver_due
from monitor.pipeline import Pipeline
from monitor.record.store import Store
from monitor.segmentation.measuring import load_segmenter, measure
from monitor.segmentation.request import FieldRequest

ROOT = Path(__file__).resolve().parents[1]
QUIET_S = 1.0
# Of a field that an alert is sure to follow from.
DIFFERENTIATED = 0.4, 0.9
CONFIG = """
sources:
  - name: incubator
    path: captures
    names: dish-time
    settle_s: 1
    scan_quiet_s: 0
    pixel_size_um: {um}
    calibration: {{pixel_to_stage: [[1, 0], [0, 1]]}}
decisions: {{differentiation: {{scans_needed: 1, scans_considered: 1, mail_within_h: null}}}}
outlets: {{email: {{gather_s: 0}}}}
"""


class Here:
    """A worker that measures at once, in this thread."""

    def __init__(self) -> None:
        self._segmenter = load_segmenter("starter", 1)

    def submit(self, request: FieldRequest) -> Future[FieldMeasurement]:
        answer: Future[FieldMeasurement] = Future()
        try:
            answer.set_result(measure(self._segmenter, request))
        except Exception as problem:
            answer.set_exception(problem)
        return answer

    def died_with(self, future: Future[FieldMeasurement], request_sha256: str) -> bool:
        return False


class Trace:
    """loop : the file that stands for the daemon's, and counts as ours

    files : calls of functions in each of our files; steps : (from file, to file, function)
    attributes : how many of the steps read an attribute of a value
    """

    def __init__(self, root: Path, loop: str | None = None) -> None:
        self._root = f"{root}/"
        self._loop = loop
        self._ours: dict[str, str] = {}
        self.files: Counter[str] = Counter()
        self.steps: Counter[tuple[str, str, str]] = Counter()
        self.attributes = 0

    @property
    def changes(self) -> int:
        return sum(self.steps.values())

    def of(self, run: Callable[[], None]) -> None:
        sys.setprofile(self._seen)
        try:
            run()
        finally:
            sys.setprofile(None)

    def _seen(self, frame: FrameType, event: str, _: object) -> None:
        if event != "call":
            return
        code = frame.f_code
        here = self._file(code.co_filename)
        # The argument of the instruction that begins a function; 1 to 3 where a generator goes on.
        if not here or code.co_code[frame.f_lasti + 1] & 3:
            return
        self.files[here] += 1
        caller = frame.f_back
        before = "" if caller is None else self._file(caller.f_code.co_filename)
        if before and before != here:
            self.steps[before, here, code.co_name] += 1
            self.attributes += _is_attribute(frame)

    def _file(self, name: str) -> str:
        """As it is called from the root; empty where it is none of ours."""
        found = self._ours.get(name)
        if found is None:
            inside = name.removeprefix(self._root)
            is_ours = inside.startswith(("monitor/", "model/")) or name == self._loop
            found = self._ours[name] = inside if is_ours else ""
        return found


def _is_attribute(frame: FrameType) -> bool:
    """Whether this is the call of a property, which looks like an attribute to whoever asks."""
    of = type(frame.f_locals.get("self"))
    return isinstance(getattr(of, frame.f_code.co_name, None), property | cached_property)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("capture", type=Path, nargs="?", help="an image; default: a simulated one")
    parser.add_argument("--pixel-size-um", type=float, default=2.0)
    parser.add_argument("--pairs", type=int, default=0, help="show so many steps, frequent first")
    options = parser.parse_args()
    if options.capture is not None and not options.capture.is_file():
        parser.error(f"{options.capture}: is not a file")
    trace = Trace(ROOT, loop=__file__)
    worker = Here()
    with tempfile.TemporaryDirectory(prefix="colonywatch-trace-") as name:
        for run in ("first", "second"):
            root = Path(name) / run
            capture = laid_in(root, options.capture, options.pixel_size_um)
            config = parse_config(
                CONFIG.format(um=options.pixel_size_um), where=root / "config.yaml"
            )
            with Store(config.record.database_url) as store:
                go = follow(capture, config, store, worker)
                go() if run == "first" else trace.of(go)
                mails = len(list(root.glob("state/mailbox/*")))
                readings = sum(dish.scans for dish in store.dishes.dishes())
    own = [file for file in trace.files if not file.startswith("tools/")]
    print(f"{readings} reading, {mails} mail")
    rooms = sum(count for step, count in trace.steps.items() if is_to_another_room(step))
    print(f"{len(own)} files, {trace.changes} changes of file")
    print(f"{trace.attributes} of them read an attribute, {rooms} go from room to room")
    for (before, after, function), count in trace.steps.most_common(options.pairs):
        print(f"{count:6} {before} -> {after} {function}")


def is_to_another_room(step: tuple[str, str, str]) -> bool:
    """A room is a folder; what is below it is part of it."""
    before, after = (file.split("/")[:-1][:2] for file in step[:2])
    return before != after


def laid_in(root: Path, given: Path | None, um: float) -> Path:
    """A capture in a source's folder, with a name that says dish and time."""
    at = datetime.now(UTC) - timedelta(hours=1)
    stem = f"dish-07_{at:%Y%m%dT%H%M%SZ}_f1"
    (root / "captures").mkdir(parents=True)
    if given is not None:
        path = root / "captures" / (stem + "".join(given.suffixes[-2:]))
        shutil.copy(given, path)
        return path
    drawn = differentiating_field(um)
    path = root / "captures" / f"{stem}.ome.tif"
    write_capture(drawn, path, acquired_at=at, stage_x_um=0.0, stage_y_um=0.0, name=stem)
    return path


def differentiating_field(um: float) -> SimulatedField:
    """The first one by its seed of which so much differentiates."""
    for seed in itertools.count(1):
        drawn = simulate_field(seed, shape=(512, 512), pixel_size_um=um, modality="phase")
        cells = np.isin(drawn.labels, (CellClass.UNDIFFERENTIATED, CellClass.DIFFERENTIATED))
        share = np.count_nonzero(drawn.labels == CellClass.DIFFERENTIATED) / max(1, cells.sum())
        if DIFFERENTIATED[0] < share < DIFFERENTIATED[1]:
            return drawn
    raise AssertionError("seeds do not end")


def follow(capture: Path, config: Config, store: Store, worker: Here) -> Callable[[], None]:
    """The daemon's steps, one after the other, for one capture."""
    source = config.sources[0]
    owner = store.processes.begin("process", datetime.now(UTC))
    pipeline = Pipeline(config, store, worker, owner=owner)
    noticed: list[Path] = []
    watcher = Watcher(source, noticed.append)
    settling = Settling(QUIET_S)

    def go() -> None:
        watcher.rescan()
        now = time.monotonic()
        for path in noticed:
            settling.noticed(path, now)
        whole: list[Path] = []
        for turn in (1, 2):
            at = now + 2 * turn * QUIET_S
            for path in settling.due(at):
                look = look_at_open_file(path)
                if settling.looked(path, look.size, look.mtime_ns, at):
                    whole.append(path)
        pipeline.take_in_all([(path, source.name) for path in whole])
        pipeline.finish_all(pipeline.start_due(1))
        pipeline.read_scans(pipeline.complete_scans())
        later = datetime.now(UTC) + timedelta(hours=1)
        deliver_due(store, config, lambda: later, stopping=lambda: False)

    return go


if __name__ == "__main__":
    main()
