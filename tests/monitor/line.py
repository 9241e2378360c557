"""A pipeline that tests drive by hand, and what they drop into it."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
from sqlalchemy import event

from monitor.config import (
    CalibrationConfig,
    Config,
    DecisionsConfig,
    DifferentiationConfig,
    EmailConfig,
    OutletsConfig,
    RecordConfig,
    RemovalConfig,
    SourceConfig,
)
from monitor.culture import (
    Aim,
    AimPoint,
    FieldAreas,
    FieldMeasurement,
    Region,
    StagePosition,
)
from monitor.pipeline import Pipeline
from monitor.record.store import Store
from monitor.segmentation.request import FieldRequest
from tests.monitor.facts import NOW, measurement, minutes

TWO_OF_THREE = DifferentiationConfig(scans_needed=2, scans_considered=3, agree_h=0)


OLD, YOUNG = 3600.0, 5.0  # seconds since the file was written; 600 are young


@dataclass
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def passes(self, span: timedelta) -> None:
        self.now += span


@dataclass
class StandInWorker:
    """Says of each capture what the test wrote down for it, at once.

    says : file name -> measurement, exception, or None for an answer that never comes
    in_hand : what it was at when it died
    """

    says: dict[str, FieldMeasurement | BaseException | None] = field(default_factory=dict)
    in_hand: str | None = None
    asked: list[FieldRequest] = field(default_factory=list)

    def submit(self, request: FieldRequest) -> Future[FieldMeasurement]:
        self.asked.append(pickle.loads(pickle.dumps(request)))  # it crosses to another process
        future: Future[FieldMeasurement] = Future()
        answer = self.says.get(request.path.name, measurement())
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        elif answer is not None:
            measured = answer
            future.set_result(measured)
        return future

    def died_with(self, future: Future[FieldMeasurement], request_sha256: str) -> bool:
        return self.in_hand == request_sha256


@dataclass
class Line:
    """A pipeline over a folder of its own, with a clock that stands still."""

    pipeline: Pipeline
    worker: StandInWorker
    clock: Clock
    folder: Path
    config: Config
    store: object

    def drop(self, name: str, content: str | bytes = "", *, age_s: float = OLD) -> Path:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else (content or name).encode())
        self.touch(path, age_s)
        return path

    def touch(self, path: Path, age_s: float) -> None:
        written = (self.clock.now - timedelta(seconds=age_s)).timestamp()
        os.utime(path, (written, written))

    def take_in(self, path: Path, source: str = "incubator"):
        taken = self.pipeline.take_in(path, source)
        assert taken is not None
        return taken[1]

    def run(self) -> None:
        """Everything that is due now, as the daemon would do it."""
        for _ in range(20):
            for work in self.pipeline.start_due(100):
                self.pipeline.finish(work)
            if not self.store.captures.any_due(self.clock.now):
                return
        raise AssertionError("captures are claimed over and over")

    def capture(self, id_: int):
        (found,) = self.store.captures.find([id_])
        return found

    def all(self):
        return self.store.captures.find(range(1, 1000))

    def read_all(self):
        self.clock.passes(minutes(5))
        scans = self.pipeline.complete_scans()
        return [self.pipeline.read_scan(scan) for scan in scans]


def name_at(hour: int, dish: str = "dish-07", field: int = 1) -> str:
    return f"{dish}_20261103T{hour:02}0000Z_f{field}.tif"


FIRST = name_at(3)


REGION = Region(
    label=1,
    area_px=10_000,
    polygon=((50.0, 50.0), (50.0, 150.0), (150.0, 150.0), (150.0, 50.0)),
    pick_point=(100.0, 100.0),
    inscribed_radius_px=50.0,
    mean_probability=0.9,
)


AIM = Aim(
    label=1,
    whole_colony=False,
    area_px=10_000,
    polygon=REGION.polygon,
    mean_probability=0.9,
    uncertainty=0.1,
    inscribed_radius_px=50.0,
    points=(AimPoint(100.0, 100.0, 50.0),),
    removable_px=2_000.0,
    covered_px=1_900.0,
)


AT_ITS_WORD = RemovalConfig(earlier_scans=0)


def scanned(fraction: float, hour: int, **changes) -> FieldMeasurement:
    """One field of 400 um a side, half full, with one region that is worth removing."""
    differentiated = round(20_000 * fraction)
    values = {
        "shape": (200, 200),
        "areas": FieldAreas(20_000, 20_000 - differentiated, differentiated),
        "regions": (REGION,),
        "aims": (AIM,),
        "targeting": AT_ITS_WORD.targeting,
        "acquired_at": NOW.replace(hour=hour, minute=0),
        "stage": StagePosition(1000.0, 2000.0),
    }
    return measurement(**(values | changes))


def series(line, *fractions, first_hour=1, **changes):
    """Scans at consecutive hours, each read when it is complete."""
    outcomes = []
    for hour, fraction in enumerate(fractions, start=first_hour):
        taken = NOW.replace(hour=hour, minute=0)
        line.clock.now = max(line.clock.now, taken)  # before that it is not there
        line.worker.says[name_at(hour)] = scanned(fraction, hour, **changes)
        line.take_in(line.drop(name_at(hour)))
        line.run()
        outcomes += line.read_all()
    return outcomes


CALIBRATED = {"calibration": CalibrationConfig(id="scope-1")}


@contextmanager
def away_while_others_wait(store, folder):
    """The folder is out of reach while a transaction that writes is open; yields how many were."""
    engine, away, opened = store.database.engine, folder.with_name("away"), []

    def hide(connection):
        if connection.get_execution_options().get("writes"):
            opened.append(folder.rename(away))

    def show(connection):
        if away.exists():
            away.rename(folder)

    listened = [("begin", hide), ("commit", show), ("rollback", show)]
    for name, heard in listened:
        event.listen(engine, name, heard)
    yield opened
    for name, heard in listened:
        event.remove(engine, name, heard)


# Colonies here and there, and the region of the plan in the middle.
COLONIES = ((30, 40, 18), (45, 150, 22), (150, 45, 25), (165, 160, 15), (100, 100, 14))


def draw_colonies(line, name, *, shift_px=0, without=(), big=False):
    """big : with one more, differentiated, that holds the hit also where it is shifted"""
    labels = np.zeros((200, 200), np.uint8)
    for number, (row, column, radius) in enumerate(COLONIES):
        if number not in without:
            cv2.circle(labels, (column + shift_px, row), radius, 1 + number % 2, -1)
    if big:
        labels[:25], labels[175:] = 1, 1
        labels[60:140, 45 + shift_px : 140 + shift_px] = 2
    path = line.config.record.folder / f"labels/{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), labels)
    return f"labels/{name}.png"


def line_maker(store: Store, root: Path):
    """make_line(...): a line over the folder ``captures`` in `root`, which is made here."""
    folder = root / "captures"
    folder.mkdir()

    def make(*, patient=True, decisions=None, store=store, **settings) -> Line:
        source = SourceConfig(
            **({"name": "incubator", "path": folder, "names": "dish-time"} | settings)
        )
        config = Config(
            sources=(source,),
            record=RecordConfig(folder=root / "state"),
            decisions=decisions
            or DecisionsConfig(
                differentiation=TWO_OF_THREE, removal=RemovalConfig(earlier_scans=0)
            ),
            outlets=OutletsConfig(email=EmailConfig(gather_s=0)),
        )
        clock, worker = Clock(), StandInWorker()
        pipeline = Pipeline(config, store, worker, owner="me", clock=clock, patient=patient)
        return Line(pipeline, worker, clock, folder, config, store)

    return make
