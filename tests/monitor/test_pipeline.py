from __future__ import annotations

import os
import pickle
import threading
from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import event

from monitor.config import (
    CalibrationConfig,
    Config,
    DecisionsConfig,
    DifferentiationConfig,
    EmailConfig,
    OutletsConfig,
    OverrideConfig,
    RecordConfig,
    RemovalConfig,
    SourceConfig,
)
from monitor.config.confirmation import VerificationConfig
from monitor.culture import (
    UNLISTED,
    Aim,
    AimPoint,
    AlertKind,
    AlertTopic,
    Calibration,
    CalibrationKind,
    CaptureState,
    DishStatus,
    FieldAreas,
    FieldMeasurement,
    PickOutcome,
    PlanStatus,
    Region,
    RemovalCheck,
    Severity,
    StagePosition,
)
from monitor.errors import CaptureError, ModelRefusedError, RecordError
from monitor.jobs.read_scans import TRIES
from monitor.jobs.take_in import look_at
from monitor.pipeline import Pipeline
from monitor.record.intake import TakenIn
from monitor.record.plan_reports import PickReport
from monitor.record.store import Store
from monitor.segmentation.colonies import find_colonies, find_regions, measure_areas
from monitor.segmentation.overlay import encode_png
from monitor.segmentation.request import FieldRequest
from monitor.segmentation.targeting import aim_at
from monitor.segmentation.uncertainty_maps import doubt_map_name, doubts_of
from tests.monitor.facts import MODEL, NOW, hours, measurement, minutes, reopen, sha256_of

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


@pytest.fixture
def make_line(store, tmp_path):
    folder = tmp_path / "captures"
    folder.mkdir()

    def make(*, patient=True, decisions=None, store=store, **settings) -> Line:
        source = SourceConfig(
            **({"name": "incubator", "path": folder, "names": "dish-time"} | settings)
        )
        config = Config(
            sources=(source,),
            record=RecordConfig(folder=tmp_path / "state"),
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


@pytest.fixture
def line(make_line) -> Line:
    return make_line()


def name_at(hour: int, dish: str = "dish-07", field: int = 1) -> str:
    return f"{dish}_20261103T{hour:02}0000Z_f{field}.tif"


FIRST = name_at(3)
TRUNCATED = CaptureError("half of it is missing", reason="truncated")


# --- the straight way ---------------------------------------------------------------------------


def test_a_settled_file_becomes_a_reading(line):
    capture = line.take_in(line.drop(FIRST))
    assert (capture.state, capture.source) == (CaptureState.WAITING, "incubator")
    line.run()
    assert line.capture(capture.id).state is CaptureState.MEASURED
    (outcome,) = line.read_all()
    assert outcome.reading.dish == "dish-07"
    assert outcome.decision.status is DishStatus.ABOVE_LIMIT
    assert line.capture(capture.id).state is CaptureState.RECORDED
    assert line.pipeline.complete_scans() == []


def test_the_worker_gets_all_that_it_needs_and_no_more(line, tmp_path):
    capture = line.take_in(line.drop(FIRST))
    line.run()
    (request,) = line.worker.asked
    assert request.path == line.folder / FIRST
    assert request.sha256 == capture.sha256 == sha256_of(FIRST)
    assert (request.named.dish, request.named.field) == ("dish-07", "1")
    assert request.settings == line.config.sources[0]
    assert len(request.settings_sha256) == 64
    assert request.state_folder == tmp_path / "state"


def test_a_path_of_no_source_goes_by_the_unlisted_settings(line, tmp_path):
    path = tmp_path / "elsewhere" / FIRST
    path.parent.mkdir()
    path.write_text("x")
    line.take_in(path, UNLISTED)
    line.run()
    assert line.worker.asked[0].settings == line.config.unlisted


def test_no_more_is_started_than_asked_for(line):
    for hour in range(4):
        line.take_in(line.drop(name_at(hour)))
    assert line.pipeline.start_due(0) == []
    assert line.pipeline.start_due(-1) == []
    assert len(line.pipeline.start_due(3)) == 3
    assert len(line.pipeline.start_due(3)) == 1


def test_only_the_given_captures_are_started(line):
    line.take_in(line.drop(name_at(1)))
    mine = line.take_in(line.drop(name_at(2)))
    assert [work.capture.id for work in line.pipeline.start_due(9, only=[mine.id])] == [mine.id]


def test_a_file_that_was_taken_in_before_is_known(line):
    path = line.drop(FIRST)
    first = line.pipeline.take_in(path, "incubator")
    again = line.pipeline.take_in(path, "incubator")
    assert [taken[0] for taken in (first, again)] == [TakenIn.NEW, TakenIn.KNOWN]
    assert len(line.all()) == 1


def test_fields_of_one_visit_make_one_reading(line):
    for number in range(3):
        line.take_in(line.drop(name_at(3, field=number)))
    line.run()
    (outcome,) = line.read_all()
    assert outcome.reading.captures == 3


# --- what may be half written ---------------------------------------------------------------------


def test_a_young_file_that_cannot_be_decoded_waits_and_an_old_one_does_not(line):
    line.worker.says = {name_at(1): TRUNCATED, name_at(2): TRUNCATED}
    young = line.take_in(line.drop(name_at(1), age_s=YOUNG))
    old = line.take_in(line.drop(name_at(2), age_s=OLD))
    line.run()
    young, old = line.capture(young.id), line.capture(old.id)
    assert (young.state, young.reason) == (CaptureState.WAITING, "truncated")
    assert young.next_try_at > line.clock.now
    assert (old.state, old.reason) == (CaptureState.UNREADABLE, "truncated")
    assert old.message == "half of it is missing"


def test_a_young_file_that_stays_broken_is_unreadable_in_the_end(line):
    line.worker.says = {FIRST: TRUNCATED}
    capture = line.take_in(line.drop(FIRST, age_s=YOUNG))
    tries = 0
    while line.capture(capture.id).state is CaptureState.WAITING:
        line.clock.now = max(line.clock.now, line.capture(capture.id).next_try_at)
        line.run()
        tries += 1
        assert tries < 20
    assert line.capture(capture.id).reason == "truncated"
    assert minutes(10) <= line.clock.now - NOW < minutes(25)


def test_a_program_that_ends_does_not_wait_for_young_files(make_line):
    line = make_line(patient=False)
    line.worker.says = {FIRST: TRUNCATED}
    capture = line.take_in(line.drop(FIRST, age_s=YOUNG))
    line.run()
    assert line.capture(capture.id).state is CaptureState.UNREADABLE


@pytest.mark.parametrize("seen_before_s", [30, 3600])
def test_a_file_of_the_future_is_as_old_as_our_first_look_at_it(line, seen_before_s):
    """The imager's clock runs a day ahead."""
    line.worker.says = {FIRST: None}
    capture = line.take_in(line.drop(FIRST, age_s=-86_400))
    (work,) = line.pipeline.start_due(1)
    line.clock.passes(timedelta(seconds=seen_before_s))
    work.future.set_exception(TRUNCATED)
    line.pipeline.finish(work)
    expected = CaptureState.WAITING if seen_before_s < 600 else CaptureState.UNREADABLE
    assert line.capture(capture.id).state is expected


def test_half_a_file_that_grows_whole_is_one_capture(line):
    line.worker.says = {FIRST: TRUNCATED}
    half = line.take_in(line.drop(FIRST, "half", age_s=YOUNG))
    line.run()
    line.worker.says = {}
    whole = line.take_in(line.drop(FIRST, "the whole", age_s=YOUNG))
    line.run()
    assert whole.id == half.id
    assert [capture.state for capture in line.all()] == [CaptureState.MEASURED]


def test_half_a_file_is_forgotten_also_when_the_whole_was_noticed_first(line):
    """The half is still in the worker's queue when the whole file has settled."""
    line.worker.says = {FIRST: None}
    line.take_in(line.drop(FIRST, "half", age_s=YOUNG))
    (work,) = line.pipeline.start_due(1)
    whole = line.take_in(line.drop(FIRST, "the whole", age_s=YOUNG))
    work.future.set_exception(CaptureError("other bytes", reason="changed", transient=True))
    line.pipeline.finish(work)
    line.worker.says = {}
    line.run()
    assert [(capture.id, capture.state) for capture in line.all()] == [
        (whole.id, CaptureState.MEASURED)
    ]


def test_changed_bytes_are_taken_in_anew_and_measured(line):
    line.worker.says = {FIRST: None}
    capture = line.take_in(line.drop(FIRST, "before"))
    (work,) = line.pipeline.start_due(1)
    line.drop(FIRST, "after")
    work.future.set_exception(CaptureError("other bytes", reason="changed", transient=True))
    line.pipeline.finish(work)
    line.worker.says = {}
    line.run()
    (found,) = line.all()
    assert (found.id, found.state) == (capture.id, CaptureState.MEASURED)
    assert found.sha256 == line.worker.asked[-1].sha256 == sha256_of("after")


def test_an_empty_young_file_waits_for_its_bytes(line):
    path = line.folder / FIRST
    path.touch()
    line.touch(path, YOUNG)
    capture = line.take_in(path)
    assert (capture.state, capture.reason) == (CaptureState.WAITING, "empty")
    line.run()
    assert line.worker.asked == []
    line.drop(FIRST, "bytes at last")
    line.clock.passes(minutes(1))
    line.run()
    assert line.capture(capture.id).state is CaptureState.MEASURED


def test_an_empty_file_that_stays_empty_is_unreadable(line):
    path = line.folder / FIRST
    path.touch()
    line.touch(path, YOUNG)
    capture = line.take_in(path)
    line.clock.passes(minutes(30))
    line.run()
    capture = line.capture(capture.id)
    assert (capture.state, capture.reason) == (CaptureState.UNREADABLE, "empty")
    assert FIRST in capture.message


def test_an_empty_old_file_is_unreadable_at_once(line):
    path = line.folder / FIRST
    path.touch()
    line.touch(path, OLD)
    assert line.take_in(path).state is CaptureState.UNREADABLE


def test_empty_files_are_not_one_capture(line):
    for hour in (1, 2):
        path = line.folder / name_at(hour)
        path.touch()
        line.touch(path, OLD)
        line.take_in(path)
    assert len(line.all()) == 2


# --- what cannot be reached -----------------------------------------------------------------------


def test_a_transient_trouble_waits_longer_each_time(line):
    line.worker.says = {FIRST: CaptureError("share gone", reason="io-error", transient=True)}
    capture = line.take_in(line.drop(FIRST))
    waits = []
    for _ in range(4):
        line.run()
        due = line.capture(capture.id).next_try_at
        waits.append((due - line.clock.now).total_seconds())
        line.clock.now = due
    assert waits == [5, 10, 20, 40]
    line.worker.says = {}
    line.run()
    assert line.capture(capture.id).state is CaptureState.MEASURED
    assert line.capture(capture.id).reason is None


def test_a_file_that_went_away_waits_and_is_measured_when_it_is_back(line):
    gone = CaptureError("not there", reason="missing", transient=True)
    line.worker.says = {FIRST: gone}
    path = line.drop(FIRST)
    capture = line.take_in(path)
    path.unlink()
    line.run()
    capture = line.capture(capture.id)
    assert (capture.state, capture.reason) == (CaptureState.WAITING, "missing")
    line.drop(FIRST)
    line.worker.says = {}
    line.clock.passes(minutes(1))
    line.run()
    assert line.capture(capture.id).state is CaptureState.MEASURED


def test_a_file_that_goes_away_before_the_first_look_leaves_no_row(line):
    assert line.pipeline.take_in(line.folder / "never.tif", "incubator") is None
    assert line.all() == []


def test_a_renamed_file_is_measured_under_its_new_name(line):
    path = line.drop(FIRST)
    capture = line.take_in(path)
    renamed = path.rename(line.folder / name_at(5))
    assert line.take_in(renamed).id == capture.id
    line.run()
    assert line.worker.asked[0].path == renamed


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_waits_until_it_may(line):
    path = line.drop(FIRST)
    path.chmod(0)
    capture = line.take_in(path)
    assert (capture.state, capture.reason) == (CaptureState.WAITING, "no-permission")
    path.chmod(0o600)
    line.clock.passes(minutes(1))
    line.run()
    assert line.capture(capture.id).state is CaptureState.MEASURED


def test_a_fifo_is_no_capture_and_is_never_opened(line):
    """Opening it would wait for a writer for ever."""
    path = line.folder / FIRST
    os.mkfifo(path)
    capture = line.take_in(path)
    assert (capture.state, capture.reason) == (CaptureState.UNREADABLE, "not-a-file")


def test_a_folder_named_like_a_picture_is_no_capture(line):
    path = line.folder / FIRST
    path.mkdir()
    assert line.take_in(path).reason == "not-a-file"


def test_a_link_into_nowhere_is_not_there(line):
    (line.folder / FIRST).symlink_to(line.folder / "gone")
    assert line.pipeline.take_in(line.folder / FIRST, "incubator") is None
    (line.folder / "loop").symlink_to(line.folder / "loop")
    seen = look_at(line.folder / "loop", "incubator")
    assert seen is not None
    assert (seen.problem or ("",))[0] == "io-error"
    assert seen.transient


def test_a_name_that_is_no_text_is_a_capture_like_any_other(line):
    path = Path(os.fsdecode(os.fsencode(line.folder) + b"/broken-\xff.tif"))
    path.touch()
    line.touch(path, OLD)
    capture = line.take_in(path)
    assert capture.state is CaptureState.UNREADABLE
    path.write_text("bytes")
    line.take_in(path)
    line.run()
    assert line.capture(capture.id).reason in ("bad-name", "no-name-match")


# --- what cannot be judged ------------------------------------------------------------------------


def test_a_name_that_fits_no_pattern_is_said_with_its_reason(line):
    capture = line.take_in(line.drop("IMG_0042.tif"))
    fine = line.take_in(line.drop(FIRST))
    line.run()
    capture = line.capture(capture.id)
    assert (capture.state, capture.reason) == (CaptureState.UNREADABLE, "no-name-match")
    assert "IMG_0042.tif: the name fits no known pattern" in capture.message
    assert line.capture(fine.id).state is CaptureState.MEASURED


def test_a_name_put_right_is_read_without_being_asked(line):
    path = line.drop("IMG_0042.tif")
    capture = line.take_in(path)
    line.run()
    line.take_in(path.rename(line.folder / FIRST))
    line.run()
    assert line.capture(capture.id).state is CaptureState.MEASURED
    (outcome,) = line.read_all()
    assert outcome.reading.dish == "dish-07"


def test_an_unexpected_fault_stops_neither_the_next_nor_looks_like_a_number(line, caplog):
    line.worker.says = {name_at(1): ZeroDivisionError("oh")}
    broken = line.take_in(line.drop(name_at(1)))
    fine = line.take_in(line.drop(name_at(2)))
    line.run()
    broken = line.capture(broken.id)
    assert (broken.state, broken.reason) == (CaptureState.WAITING, "internal-error")
    assert "ZeroDivisionError('oh')" in broken.message
    assert line.capture(fine.id).state is CaptureState.MEASURED
    assert "unexpected error" in caplog.text


def test_a_model_that_is_refused_blames_no_capture(line):
    """After a crash of the worker the model is loaded again, and may have been replaced."""
    line.worker.says = {FIRST: ModelRefusedError("weights and manifest differ")}
    capture = line.take_in(line.drop(FIRST))
    line.run()
    capture = line.capture(capture.id)
    assert (capture.state, capture.reason) == (CaptureState.WAITING, "model-refused")
    line.worker.says = {}
    line.clock.passes(minutes(1))
    line.run()
    assert line.capture(capture.id).state is CaptureState.MEASURED


# --- a worker that dies ---------------------------------------------------------------------------


@pytest.mark.parametrize("death", [BrokenProcessPool("died"), CancelledError()])
def test_only_the_capture_in_hand_is_blamed_for_the_workers_death(line, death):
    line.worker.says = {name_at(1): None, name_at(2): None}
    killer = line.take_in(line.drop(name_at(1)))
    behind = line.take_in(line.drop(name_at(2)))
    line.worker.in_hand = killer.sha256
    works = line.pipeline.start_due(2)
    for work in works:
        if isinstance(death, CancelledError):
            work.future.cancel()
        else:
            work.future.set_exception(death)
        line.pipeline.finish(work)
    killer, behind = line.capture(killer.id), line.capture(behind.id)
    assert (killer.state, killer.crashes) == (CaptureState.WAITING, 1)
    assert killer.next_try_at == line.clock.now
    assert (behind.state, behind.crashes) == (CaptureState.WAITING, 0)
    assert behind.reason == "worker-died"


def test_a_capture_that_kills_the_worker_twice_is_set_aside(line):
    line.worker.says = {name_at(1): BrokenProcessPool("died")}
    killer = line.take_in(line.drop(name_at(1)))
    line.worker.in_hand = killer.sha256
    fine = line.take_in(line.drop(name_at(2)))
    line.run()
    killer = line.capture(killer.id)
    assert (killer.state, killer.reason) == (CaptureState.UNREADABLE, "kills-worker")
    assert len([one for one in line.worker.asked if one.path.name == name_at(1)]) == 2
    assert line.capture(fine.id).state is CaptureState.MEASURED


def test_a_worker_that_dies_by_itself_blames_nobody_however_often(line):
    line.worker.says = {FIRST: BrokenProcessPool("out of memory")}
    capture = line.take_in(line.drop(FIRST))
    for _ in range(10):
        line.run()
        line.clock.now = line.capture(capture.id).next_try_at
    assert line.capture(capture.id).crashes == 0
    line.worker.says = {}
    line.run()
    assert line.capture(capture.id).state is CaptureState.MEASURED


def test_an_answer_that_comes_after_the_claim_was_lost_is_not_counted(line, store):
    line.take_in(line.drop(FIRST))
    (work,) = line.pipeline.start_due(1)
    store.captures.release("me", line.clock.now)
    assert line.pipeline.finish(work) is None
    assert line.capture(work.capture.id).state is CaptureState.WAITING


# --- recorded captures analysed again -------------------------------------------------------------


def test_a_recorded_file_written_over_before_it_is_analysed_again_ends_well(line, store):
    capture = line.take_in(line.drop(FIRST, "first"))
    line.run()
    line.read_all()
    reopen(store, "new model", at=line.clock.now)
    line.drop(FIRST, "second")
    line.worker.says = {FIRST: None}
    (work,) = line.pipeline.start_due(1)
    work.future.set_exception(CaptureError("other bytes", reason="changed", transient=True))
    line.pipeline.finish(work)
    line.worker.says = {}
    line.run()
    line.read_all()
    assert [found.state for found in line.all()] == [CaptureState.RECORDED] * 2
    assert line.capture(capture.id).sha256 == sha256_of("first")


def test_a_recorded_file_that_is_gone_keeps_its_reading(line, store):
    path = line.drop(FIRST)
    capture = line.take_in(path)
    line.run()
    line.read_all()
    path.unlink()
    reopen(store, "new model", at=line.clock.now)
    line.worker.says = {FIRST: CaptureError("not there", reason="missing", transient=True)}
    line.run()
    assert line.capture(capture.id).state is CaptureState.RECORDED
    assert len(store.dishes.history("dish-07")) == 1


# --- decisions ----------------------------------------------------------------------------------

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


def test_a_dish_that_differentiates_alerts_once_and_everybody_is_told(make_line, store):
    line = make_line(**CALIBRATED)
    outcomes = series(line, 0.01, 0.2, 0.21, 0.22, 0.2)
    assert [outcome.decision.alert for outcome in outcomes] == [
        None,
        None,
        AlertKind.RAISED,
        None,
        None,
    ]
    (alert,) = store.alerts.alerts()
    assert alert.reading_id == outcomes[2].reading.id
    mails = [one for one in store.outbox.undelivered() if one.channel == "email"]
    assert [one.recipient for one in mails] == list(line.config.outlets.email.addresses)


def test_a_dish_that_gets_worse_is_told_at_each_step(make_line, store):
    outcomes = series(make_line(), 0.2, 0.2, 0.31, 0.32, 0.33, 0.1, 0.1)
    assert [outcome.decision.alert for outcome in outcomes] == [
        None,
        AlertKind.RAISED,
        None,
        AlertKind.WORSENED,
        None,
        None,
        None,
    ]
    assert [outcome.decision.severity for outcome in outcomes[3:]] == [
        Severity.CRITICAL,
        Severity.CRITICAL,
        Severity.CRITICAL,
        Severity.WARNING,
    ]
    newest, _ = store.alerts.alerts()
    assert newest.severity is Severity.CRITICAL


def mails(store):
    """The alerts that go out now, as (topic, kind)."""
    due = [one for one in store.outbox.undelivered() if one.failed_at is None]
    now = max(one.created_at for one in due) if due else None
    found = [store.alerts.alert(int(one.subject_id)) for one in due if one.next_try_at <= now]
    return [(str(one.topic), str(one.kind)) for one in found]


RAISED_MAIL = ("differentiation", "raised")


def test_a_dish_that_comes_and_goes_within_the_cooldown_makes_one_mail(make_line, store):
    line = make_line()
    series(line, 0.2, 0.2, 0.01, 0.01, 0.2, 0.2, 0.01, 0.01, 0.2, 0.2)
    kinds = [(str(one.kind), one.held_back) for one in reversed(store.alerts.alerts())]
    assert kinds == [
        ("raised", None),
        ("cleared", "cooldown"),
        ("raised", "cooldown"),
        ("cleared", "cooldown"),
        ("raised", "cooldown"),
    ]
    assert mails(store) == [RAISED_MAIL]


def test_the_all_clear_waits_for_the_cooldown_to_end(make_line, store):
    line = make_line()
    series(line, 0.2, 0.2, 0.01, 0.01)
    _, cleared = store.outbox.undelivered()
    assert store.alerts.alert(int(cleared.subject_id)).kind is AlertKind.CLEARED
    # Raised by the scan of hour 2, cleared by that of hour 4; the cooldown is 12 h.
    assert cleared.next_try_at - cleared.created_at == timedelta(hours=10)
    assert mails(store) == [RAISED_MAIL]


def snooze(line, span):
    (alert,) = line.store.alerts.alerts()
    now = line.clock.now
    line.store.alerts.snooze(alert.id, until=now + span, who="a", now=now)


def test_while_a_dish_is_snoozed_only_what_is_critical_is_mailed(make_line, store):
    line = make_line()
    series(line, 0.2, 0.2)
    (alert,) = store.alerts.alerts()
    store.alerts.snooze(
        alert.id, until=line.clock.now + timedelta(days=2), who="a", now=line.clock.now
    )
    series(line, 0.12, 0.12, 0.24, 0.24, first_hour=3)
    series(line, 0.5, 0.5, first_hour=7)
    story = [(str(one.kind), str(one.severity), one.held_back) for one in store.alerts.alerts()]
    assert story == [
        ("worsened", "critical", None),
        ("raised", "warning", None),
    ]


def test_what_a_snooze_held_back_is_mailed_when_it_is_over(make_line, store):
    line = make_line()
    series(line, 0.12, 0.12)
    (alert,) = store.alerts.alerts()
    store.alerts.snooze(
        alert.id, until=line.clock.now + timedelta(hours=5), who="a", now=line.clock.now
    )
    series(line, 0.24, 0.24, first_hour=3)
    assert store.alerts.alerts()[0].held_back == "snoozed"
    series(line, 0.24, first_hour=5)
    assert len(store.alerts.alerts()) == 2
    line.clock.passes(timedelta(hours=6))
    series(line, 0.24, 0.24, first_hour=6)
    newest, held, _ = store.alerts.alerts()
    assert (newest.kind, newest.held_back) == (AlertKind.WORSENED, None)
    assert (held.kind, held.held_back) == (AlertKind.WORSENED, "snoozed")
    assert mails(store) == [RAISED_MAIL, ("differentiation", "worsened")]


def test_a_dish_that_cannot_be_judged_for_a_day_is_told_once_and_its_end_too(make_line, store):
    limits = DifferentiationConfig(doubtful_for_h=3.0)
    line = make_line(decisions=DecisionsConfig(differentiation=limits))
    series(line, 0.01)
    series(line, *[0.01] * 5, first_hour=2, doubts=("out of focus",))
    series(line, 0.01, first_hour=7)
    story = [(str(one.topic), str(one.kind)) for one in store.alerts.alerts()]
    assert story == [("doubtful", "cleared"), ("doubtful", "raised")]
    assert store.alerts.alerts(open_only=True) == []


def test_a_dish_has_the_limits_of_the_first_override_that_fits_it(make_line, store):
    override = OverrideConfig(dishes="dish-0?", limits={"raise_above": 0.5})
    line = make_line(decisions=DecisionsConfig(differentiation=TWO_OF_THREE, overrides=(override,)))
    outcomes = series(line, 0.2, 0.3, 0.6, 0.6)
    assert [outcome.decision.alert for outcome in outcomes] == [None, None, None, AlertKind.RAISED]


def test_each_scan_of_a_differentiating_dish_makes_its_plan_and_ends_the_former(make_line, store):
    line = make_line(**CALIBRATED)
    outcomes = series(line, 0.2, 0.3, 0.4)
    newest, former = store.plans.all()
    assert (newest.status, former.status) == (PlanStatus.DRAFT, PlanStatus.SUPERSEDED)
    assert newest.reading_id == outcomes[-1].reading.id
    assert newest.calibration_id == "scope-1"
    assert newest.model_sha256 == MODEL
    ((_, hit),) = newest.visits
    assert (hit.pick_x_um, hit.pick_y_um) == (1001.0, 2001.0)


def test_a_plan_aims_only_where_the_scan_before_saw_the_same(make_line, store):
    """What one scan alone calls differentiated may be debris or a flaw of the picture."""
    line = make_line(
        decisions=DecisionsConfig(
            differentiation=TWO_OF_THREE, removal=RemovalConfig(earlier_scans=1)
        ),
        **CALIBRATED,
    )
    state = line.config.record.folder / "labels"
    state.mkdir(parents=True, exist_ok=True)
    for hour, right in ((1, 200), (2, 200), (3, 90), (4, 200)):
        labels = np.ones((200, 200), np.uint8)
        labels[40:160, 40:right] = 2
        Image.fromarray(labels).save(state / f"{hour}.png")
        series(line, 0.3, first_hour=hour, label_map=f"labels/{hour}.png")
    # The third scan shows that part of the region was none: the fourth does not aim there.
    assert [plan.reading_id for plan in store.plans.all()] == [3, 2]
    (state / "4.png").unlink()
    series(line, 0.3, first_hour=5, label_map="labels/2.png")
    assert len(store.plans.all()) == 2  # a map that is gone proves nothing


@pytest.mark.parametrize(
    ("most_shift_um", "plans"),
    [(150.0, 2), (0.0, 3)],
    ids=["by the default", "where dishes are said to stay where they are"],
)
def test_a_dish_that_was_put_back_elsewhere_gets_no_plan_by_the_scans_before(
    make_line, store, caplog, most_shift_um, plans
):
    """At the same place of the stage they show other cells. A shift of 40 um, then none again."""
    line = make_line(
        decisions=DecisionsConfig(
            differentiation=TWO_OF_THREE,
            removal=RemovalConfig(earlier_scans=1),
            verification=VerificationConfig(most_shift_um=most_shift_um),
        ),
        **CALIBRATED,
    )
    for hour, shift_px in ((1, 0), (2, 0), (3, 20), (4, 20)):
        labels = draw_colonies(line, str(hour), shift_px=shift_px, big=True)
        series(line, 0.3, first_hour=hour, label_map=labels)
    assert len(store.plans.all()) == plans
    assert ("it is 40 um from where it was" in caplog.text) == (plans == 2)


def grown(line, hour, rng, limits):
    """A scan of a dish whose differentiated area grows, as the real parts measure it."""
    labels = np.ones((200, 200), np.uint8)
    cv2.circle(labels, (100, 100), 60 + 3 * hour, 2, -1)
    for row, column in rng.integers(40, 160, (4, 2)).tolist():
        cv2.circle(labels, (column, row), 6, 1, -1)  # remnants that each scan sees elsewhere
    sharp = np.eye(3, dtype=np.float32)[labels].transpose(2, 0, 1)[:, ::2, ::2]
    probabilities = 0.97 * sharp + 0.01
    name = f"labels/{hour}.png"
    folder = line.config.record.folder
    (folder / "labels").mkdir(parents=True, exist_ok=True)
    Image.fromarray(labels).save(folder / name)
    (folder / doubt_map_name(name)).write_bytes(encode_png(doubts_of(probabilities)))
    found = find_colonies(labels, min_area_px=100)
    regions = find_regions(labels, np.where(labels == 2, 0.98, 0.01), min_area_px=100)
    areas = measure_areas(labels)
    aims = aim_at(
        labels,
        probabilities,
        regions,
        found,
        pixel_size_um=4.0,
        targeting=limits.targeting,
        min_probability=limits.min_probability,
        min_region_um2=limits.min_region_um2,
        max_undifferentiated=limits.max_undifferentiated,
    )
    return measurement(
        shape=labels.shape, areas=areas, colonies=found, regions=regions, aims=aims,
        targeting=limits.targeting, acquired_at=NOW.replace(hour=hour, minute=0), pixel_size_um=4.0,
        stage=StagePosition(1000.0, 2000.0), label_map=name,
    )  # fmt: skip


def plan_after(make_line, tmp_path, portions, *, restart=False):
    """The plan of the last of some scans that came in such portions."""
    limits = RemovalConfig(
        earlier_scans=2, whole_colony_above=None, safe_distance_um=10.0, border_um=5.0,
        positional_error_um=5.0,
    )  # fmt: skip
    rng = np.random.default_rng(7)
    with Store(f"sqlite:///{tmp_path}/{'-'.join(map(str, portions))}-{restart}.db") as store:
        line = make_line(
            decisions=DecisionsConfig(
                differentiation=TWO_OF_THREE.model_copy(update={"discard_above": None}),
                removal=limits,
            ),
            store=store,
            **CALIBRATED,
        )
        said = {name_at(hour): grown(line, hour, rng, limits) for hour in range(1, 8)}
        line.worker.says = dict(said)
        names = iter(said)
        for portion in portions:
            for _ in range(portion):
                line.take_in(line.drop(next(names)))
            line.run()
            line.clock.passes(minutes(5))
            line.pipeline.read_scans(line.pipeline.complete_scans())
        (plan,) = [one for one in store.plans.all() if one.status is PlanStatus.DRAFT]
        return plan


@pytest.mark.parametrize("portions", [(1,) * 7, (6, 1), (3, 4), (5, 1, 1)], ids=str)
def test_the_same_scans_give_the_same_plan_however_they_came(make_line, tmp_path, portions):
    """What a hit may touch is asked of the scans taken before, whenever they were read."""
    at_once = plan_after(make_line, tmp_path, (7,))
    came_otherwise = plan_after(make_line, tmp_path, portions)
    assert len(at_once.visits) > 3
    assert at_once.targets == came_otherwise.targets
    assert at_once.refused == came_otherwise.refused
    assert at_once.left_out == came_otherwise.left_out


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


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "of a backlog"])
def test_label_maps_are_read_before_the_transaction_that_decides(make_line, store, together):
    """They are large and may lie on a slow disk; nobody else can write while a decision is made."""
    line = make_line(
        decisions=DecisionsConfig(
            differentiation=TWO_OF_THREE, removal=RemovalConfig(earlier_scans=1)
        ),
        **CALIBRATED,
    )
    state = line.config.record.folder / "labels"
    state.mkdir(parents=True, exist_ok=True)
    labels = np.ones((200, 200), np.uint8)
    labels[40:160, 40:200] = 2
    Image.fromarray(labels).save(state / "1.png")
    for hour in (1, 2, 3):
        line.worker.says[name_at(hour)] = scanned(0.3, hour, label_map="labels/1.png")
        line.take_in(line.drop(name_at(hour)))
    line.run()
    line.clock.passes(minutes(5))
    scans = line.pipeline.complete_scans()
    with away_while_others_wait(store, state) as opened:
        if together:
            outcomes = line.pipeline.read_scans(scans)
        else:
            outcomes = [line.pipeline.read_scan(scan) for scan in scans]
    assert [one.decision.plan is not None for one in outcomes] == [False, True, True]
    assert len(opened) == (1 if together else 3)


def read_while_fields_come(line, store, comes):
    """Read a scan; at each beginning of a transaction another program writes a field of it."""
    for number in range(1 + comes):
        name = name_at(3, field=number)
        line.worker.says[name] = scanned(0.3, 3)
        line.take_in(line.drop(name))
    first, *late = line.pipeline.start_due(100)
    line.pipeline.finish(first)
    line.clock.passes(minutes(5))
    (scan,) = store.scans.scans_to_read(line.clock.now, {}, {"incubator": 1})
    reader, coming = threading.current_thread(), iter(late)

    def one_comes(connection):
        if threading.current_thread() is not reader or not (
            connection.get_execution_options().get("writes") and (work := next(coming, None))
        ):
            return
        connection.exec_driver_sql("ROLLBACK")
        other = threading.Thread(target=line.pipeline.finish, args=(work,))
        other.start()
        other.join()
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(store.database.engine, "begin", one_comes)
    try:
        return line.pipeline.read_scan(scan)
    finally:
        event.remove(store.database.engine, "begin", one_comes)


def test_a_field_that_comes_while_its_scan_is_read_is_in_the_reading(make_line, store):
    """What was put together before the transaction is then not the scan: it is begun anew."""
    line = make_line(**CALIBRATED)
    outcome = read_while_fields_come(line, store, 1)
    assert (outcome.reading.captures, outcome.reading.version) == (2, 1)
    assert line.pipeline.complete_scans() == []


def test_a_scan_that_changes_all_the_time_is_read_later(make_line, store, caplog):
    """Nobody waits for it for ever, and nothing is lost."""
    line = make_line(**CALIBRATED)
    assert read_while_fields_come(line, store, TRIES) is None
    assert "it is read later" in caplog.text
    (outcome,) = line.read_all()
    assert (outcome.reading.captures, outcome.reading.version) == (1 + TRIES, 1)


def test_a_dish_past_saving_is_said_and_gets_no_plan(make_line, store):
    line = make_line(**CALIBRATED)
    series(line, 0.3, 0.3, 0.8, 0.8)
    topics = {str(one.topic) for one in store.alerts.alerts(open_only=True)}
    assert "past-saving" in topics
    assert PlanStatus.DRAFT not in {plan.status for plan in store.plans.all()}
    series(line, 0.3, 0.3, first_hour=5)
    assert store.plans.all()[0].status is PlanStatus.DRAFT


def test_a_dish_that_is_clear_again_has_no_plan_left(make_line, store):
    line = make_line(**CALIBRATED)
    outcomes = series(line, 0.2, 0.3, 0.01, 0.01)
    assert outcomes[-1].decision.alert is AlertKind.CLEARED
    assert {plan.status for plan in store.plans.all()} == {PlanStatus.SUPERSEDED}
    assert store.alerts.alerts(open_only=True) == []


def test_a_scan_that_cannot_be_judged_leaves_plan_and_status_alone(make_line, store):
    line = make_line(**CALIBRATED)
    series(line, 0.2, 0.3)
    series(line, 0.9, first_hour=6, doubts=("out of focus",))
    (plan,) = store.plans.all()
    assert plan.status is PlanStatus.DRAFT
    assert store.dishes.dishes()[0].status is DishStatus.DIFFERENTIATING


def test_without_a_calibration_there_is_an_alert_and_no_plan(line, store, caplog):
    series(line, 0.2, 0.3)
    assert len(store.alerts.alerts()) == 1
    assert store.plans.all() == []
    assert "no removal plan" in caplog.text


def taught(kind=CalibrationKind.CAMERA, **changes):
    """A calibration as it was taught on the day before."""
    values = {
        "id": f"{kind}-1",
        "kind": kind,
        "source": "incubator",
        "matrix": ((1.0, 0.0, 0.0), (0.0, -1.0, 0.0)),
        "made_at": NOW - timedelta(hours=24),
        "made_by": "A. Person",
        "max_age_days": 90.0,
    }
    return Calibration(**(values | changes))


def test_a_plan_aims_by_the_newest_calibration_on_record(line, store, caplog):
    caplog.set_level("INFO")
    store.calibrations.add(taught(id="old", made_at=NOW - timedelta(hours=48)))
    store.calibrations.add(taught())
    series(line, 0.2, 0.3)
    (plan,) = store.plans.all()
    assert (plan.calibration_id, plan.frame) == ("camera-1", "stage")
    assert "source=incubator: camera calibration camera-1 from the record" in caplog.text


def test_the_configuration_wins_over_the_record(make_line, store, caplog):
    caplog.set_level("INFO")
    store.calibrations.add(taught())
    series(make_line(**CALIBRATED), 0.2, 0.3)
    assert [plan.calibration_id for plan in store.plans.all()] == ["scope-1"]
    assert "camera calibration scope-1 from config.yaml" in caplog.text


def test_a_plan_is_in_the_pickers_frame_where_that_is_known(make_line, store):
    store.calibrations.add(
        taught(CalibrationKind.PICKER, matrix=((1.0, 0.0, 1000.0), (0.0, 1.0, -500.0)))
    )
    series(make_line(**CALIBRATED), 0.2, 0.3)
    (plan,) = store.plans.all()
    assert (plan.frame, plan.picker_calibration_id) == ("picker", "picker-1")
    ((_, hit),) = plan.visits
    assert hit.picker_x_um == hit.pick_x_um + 1000
    assert hit.picker_y_um == hit.pick_y_um - 500


@pytest.mark.parametrize(
    ("name", "kind", "changes", "said"),
    [
        ("too old", CalibrationKind.CAMERA, {"max_age_days": 0.5}, "its limit is 0.5 days"),
        ("another objective", CalibrationKind.CAMERA, {"objective": "10x"}, "the objective 10x"),
        ("another pixel size", CalibrationKind.CAMERA, {"pixel_size_um": 1.0}, "expects 1 µm"),
        ("a picker's too", CalibrationKind.PICKER, {"max_age_days": 0.5}, "its limit is 0.5 days"),
    ],
)
def test_a_calibration_that_does_not_hold_makes_an_alert_and_no_plan(
    line, store, caplog, name, kind, changes, said
):
    if kind is CalibrationKind.PICKER:
        store.calibrations.add(taught())
    store.calibrations.add(taught(kind, **changes))
    series(line, 0.2, 0.3)
    assert len(store.alerts.alerts()) == 1
    assert store.plans.all() == []
    assert said in caplog.text


def test_a_region_that_no_plan_can_be_made_of_does_not_stop_the_alert(make_line, store):
    line = make_line(**CALIBRATED)
    sliver = replace(REGION, polygon=((50.0, 50.0), (51.0, 50.0)))
    outcomes = series(line, 0.2, 0.3, regions=(sliver,))
    assert outcomes[-1].decision.alert is AlertKind.RAISED
    assert store.plans.all() == []


def test_a_scan_that_trips_over_a_fault_of_ours_does_not_stop_the_others(line, store, caplog):
    for dish, areas in (("dish-01", None), ("dish-02", FieldAreas(600, 300, 100))):
        name = name_at(1, dish)
        line.worker.says[name] = measurement()
        line.take_in(line.drop(name))
        line.run()
        if areas is None:
            with store.database.writing() as session:
                session.connection().exec_driver_sql("UPDATE measurement SET detail = x'01'")
    first, second = line.read_all()
    assert first is None
    assert second.reading.dish == "dish-02"
    assert "unexpected error" in caplog.text
    assert line.pipeline.complete_scans() == []
    assert [str(capture.state) for capture in line.all()] == ["measured", "recorded"]


def test_scans_read_together_say_what_they_say_one_by_one(make_line, store):
    """Of a backlog: each scan sees those before it, though nothing of them is written yet."""
    line = make_line(**CALIBRATED)
    fractions = 0.01, 0.2, 0.21, 0.22, 0.2
    for hour, fraction in enumerate(fractions, start=1):
        line.worker.says[name_at(hour)] = scanned(fraction, hour)
        line.take_in(line.drop(name_at(hour)))
    assert None not in line.pipeline.finish_all(line.pipeline.start_due(100))
    line.clock.passes(minutes(5))
    outcomes = line.pipeline.read_scans(line.pipeline.complete_scans())
    raised = [None, None, AlertKind.RAISED, None, None]
    assert [outcome.decision.alert for outcome in outcomes] == raised
    assert [outcome.status_before for outcome in outcomes] == [
        DishStatus.UNKNOWN,
        DishStatus.UNDIFFERENTIATED,
        DishStatus.ABOVE_LIMIT,
        *[DishStatus.DIFFERENTIATING] * 2,
    ]
    (alert,) = store.alerts.alerts()
    assert alert.reading_id == outcomes[2].reading.id
    assert [str(plan.status) for plan in store.plans.all()].count("draft") == 1
    assert line.pipeline.complete_scans() == []


def test_a_backlog_that_is_cut_off_in_the_middle_is_read_from_its_beginning(line, store):
    """Killed, out of disk: of the scans that are read together none is, and none is lost."""
    for hour in range(4):
        line.worker.says[name_at(hour)] = scanned(0.01, hour)
        line.take_in(line.drop(name_at(hour)))
    line.run()
    line.clock.passes(minutes(5))
    scans = line.pipeline.complete_scans()
    change(
        store,
        "CREATE TRIGGER full BEFORE INSERT ON reading WHEN (SELECT count(*) FROM reading) = 2 "
        "BEGIN SELECT RAISE(ABORT, 'disk is full'); END",
    )
    with pytest.raises(RecordError, match="disk is full"):
        line.pipeline.read_scans(scans)
    assert {str(capture.state) for capture in line.all()} == {"measured"}
    change(store, "DROP TRIGGER full")
    assert line.pipeline.complete_scans() == scans
    assert [one.reading.version for one in line.pipeline.read_scans(scans)] == [1] * 4
    assert {str(capture.state) for capture in line.all()} == {"recorded"}


def change(store, statement):
    """As nobody but a broken disk, or a fault of ours, would."""
    with store.database.writing() as session:
        session.connection().exec_driver_sql(statement)


@pytest.mark.parametrize("where", ["before the transaction", "inside it"])
def test_of_scans_read_together_one_fault_of_ours_stops_only_its_own(line, store, caplog, where):
    for dish in ("dish-01", "dish-02", "dish-03"):
        line.take_in(line.drop(name_at(1, dish)))
    line.run()
    if where == "inside it":
        change(store, "UPDATE dish SET status = 'no status' WHERE name = 'dish-02'")
    else:
        change(store, "UPDATE measurement SET detail = x'01' WHERE id = 2")
    line.clock.passes(minutes(5))
    outcomes = line.pipeline.read_scans(line.pipeline.complete_scans())
    assert [one.reading.dish for one in outcomes] == ["dish-01", "dish-03"]
    assert "unexpected error" in caplog.text
    assert line.pipeline.complete_scans() == []
    assert [str(capture.state) for capture in line.all()] == ["recorded", "measured", "recorded"]


def test_older_scans_that_come_later_alert_as_they_would_have_in_time(make_line, store):
    line = make_line(**CALIBRATED)
    series(line, 0.01, first_hour=20)
    outcomes = series(line, 0.3, 0.4, 0.5, first_hour=5)
    assert [outcome.decision.alert for outcome in outcomes] == [
        None,
        AlertKind.RAISED,
        AlertKind.WORSENED,
    ]
    assert [(one.at.hour, one.kind) for one in store.alerts.alerts()] == [
        (7, AlertKind.WORSENED),
        (6, AlertKind.RAISED),
    ]
    assert store.dishes.dishes()[0].status is DishStatus.DIFFERENTIATING
    assert [one.at.hour for one in store.dishes.history("dish-07")] == [5, 6, 7, 20]


def test_a_late_field_does_not_alert_a_second_time(make_line, store):
    line = make_line(**CALIBRATED)
    series(line, 0.2, 0.3)
    late = name_at(2, field=2)
    line.worker.says[late] = scanned(0.3, 2)
    line.take_in(line.drop(late))
    line.run()
    (outcome,) = line.read_all()
    assert (outcome.reading.version, outcome.reading.captures) == (2, 2)
    assert len(store.alerts.alerts()) == 1
    newest, former = sorted(store.plans.all(), key=lambda plan: plan.reading_id, reverse=True)
    assert (newest.status, former.status) == (PlanStatus.DRAFT, PlanStatus.SUPERSEDED)


def test_settings_changed_between_two_fields_are_both_in_the_readings_hash(line):
    for number, settings in enumerate(("1" * 64, "2" * 64)):
        name = name_at(3, field=number)
        line.worker.says[name] = measurement(settings_sha256=settings)
        line.take_in(line.drop(name))
    line.run()
    (outcome,) = line.read_all()
    assert outcome.reading.settings_sha256 not in ("1" * 64, "2" * 64)
    assert len(outcome.reading.settings_sha256) == 64


def test_dishes_are_judged_apart(line, store):
    for dish, fraction in (("dish-01", 0.01), ("dish-02", 0.5)):
        for hour in (1, 2, 3):
            name = name_at(hour, dish)
            line.worker.says[name] = scanned(fraction, hour)
            line.take_in(line.drop(name))
    line.run()
    line.read_all()
    assert [alert.dish for alert in store.alerts.alerts()] == ["dish-02"]


def test_a_scan_is_read_as_soon_as_all_its_fields_are_there(make_line):
    line = make_line(fields_per_scan=2)
    for number in (1, 2):
        line.take_in(line.drop(name_at(3, field=number)))
    (first, second) = line.pipeline.start_due(2)
    line.pipeline.finish(first)
    assert line.pipeline.complete_scans() == []
    line.pipeline.finish(second)
    assert len(line.pipeline.complete_scans()) == 1


def test_where_captures_belong_is_taken_from_the_name_and_the_source(make_line, store):
    line = make_line(scan_gap_s=60.0)
    for number, minute in enumerate((0, 5)):
        name = name_at(3, field=number)
        line.worker.says[name] = measurement(acquired_at=NOW + minutes(minute))
        line.take_in(line.drop(name))
    line.run()
    assert len(line.read_all()) == 2


def test_an_empty_file_that_went_away_is_forgotten(make_line):
    """It never held a byte: there is nothing to wait for."""
    line = make_line()
    path = line.drop("dish-07_20261102T030000Z_f1.tif", b"", age_s=0.0)
    capture = line.take_in(path)
    assert (capture.state, capture.reason) == (CaptureState.WAITING, "empty")
    path.unlink()
    line.clock.passes(minutes(1))
    line.run()
    assert line.all() == []
    assert list(line.pipeline.forgotten) == [path]
    assert line.store.captures.counts() == {"recorded": 0, "unreadable": 0, "waiting": 0}


def test_an_empty_file_whose_folder_is_gone_waits_for_it_to_come_back(make_line):
    """The share may be off; on it the file may have been written by now."""
    line = make_line()
    path = line.drop("dish-07_20261102T030000Z_f1.tif", b"", age_s=0.0)
    capture = line.take_in(path)
    path.parent.rename(path.parent.with_name("away"))
    line.clock.passes(minutes(1))
    line.run()
    assert line.capture(capture.id).reason == "missing"
    path.parent.with_name("away").rename(path.parent)
    line.drop(path.name, age_s=0.0)
    line.clock.passes(minutes(20))
    line.run()
    assert line.capture(capture.id).state is CaptureState.MEASURED


def test_claims_for_later_calls_are_handed_out_first(make_line):
    line = make_line()
    for hour in range(5):
        line.take_in(line.drop(f"dish-07_20261102T{hour:02}0000Z_f1.tif"))
    assert len(line.pipeline.start_due(1, ahead=4)) == 1
    others = line.store.captures.claim_due("another", line.clock.now, limit=9)
    assert len(others) == 1
    assert len(line.pipeline.start_due(9)) == 3


def test_a_picture_of_another_size_is_doubted_also_after_a_restart(make_line):
    """It comes of another objective or binning: shown, and no alert rests on it."""
    line = make_line()
    line.clock.passes(hours(10))
    for hour in range(6):
        name = f"dish-07_20261102T{hour:02}0000Z_f1.tif"
        line.worker.says[name] = measurement(shape=(25, 40), acquired_at=NOW + hours(hour))
        line.take_in(line.drop(name))
    line.run()
    again = Pipeline(line.config, line.store, line.worker, owner="me", clock=line.clock)
    name = "dish-07_20261102T090000Z_f1.tif"
    line.worker.says[name] = measurement(shape=(50, 80), acquired_at=NOW + hours(9))
    again.take_in(line.drop(name), "incubator")
    for work in again.start_due(9):
        again.finish(work)
    line.read_all()
    doubts = [reading.doubts for reading in line.store.dishes.history("dish-07")]
    assert doubts == [()] * 6 + [("other-size",)]


# --- what was picked ----------------------------------------------------------------------------


def picked_between_scans(line, store):
    """A dish with a plan that was carried out half an hour after its second scan."""
    series(line, 0.2, 0.3)
    (plan,) = store.plans.all()
    store.plans.approve(plan.id, who="A", now=line.clock.now)
    store.plans.hand_out(plan.id, to="folder", token="t", now=line.clock.now)
    reports = [PickReport(one.region_id, PickOutcome.PICKED) for one in plan.targets]
    return store.plans.acknowledge(
        plan.id,
        reports,
        who="picker",
        now=line.clock.now,
        picked_at=NOW.replace(hour=2, minute=30),
    )


def draw_label_map(line, kind):
    path = line.config.record.folder / "labels" / "a.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((200, 200), kind, np.uint8))


def test_a_region_that_is_gone_is_said_to_be_gone(make_line, store):
    line = make_line(**CALIBRATED)
    plan = picked_between_scans(line, store)
    draw_label_map(line, 0)
    series(line, 0.01, first_hour=3, regions=(), aims=())
    done = store.plans.plan(plan.id)
    assert done.status is PlanStatus.VERIFIED
    assert [fate.check for fate in done.fates] == [RemovalCheck.GONE]
    assert "not-removed" not in {str(one.topic) for one in store.alerts.alerts()}
    assert len(store.plans.all()) == 1


def test_what_was_picked_is_looked_at_by_each_scan_of_a_backlog(make_line, store):
    """The second sees what the first has said; no label map is read while others wait."""
    line = make_line(**CALIBRATED)
    plan = picked_between_scans(line, store)
    draw_label_map(line, 0)
    (line.config.record.folder / "labels/b.png").write_bytes(b"lost")
    for hour, label_map in ((3, "labels/b.png"), (4, "labels/a.png"), (5, "labels/a.png")):
        line.clock.now = max(line.clock.now, NOW.replace(hour=hour))
        line.worker.says[name_at(hour)] = scanned(
            0.01, hour, regions=(), aims=(), label_map=label_map
        )
        line.take_in(line.drop(name_at(hour)))
    line.run()
    line.clock.passes(minutes(5))
    scans = line.pipeline.complete_scans()
    with away_while_others_wait(store, line.config.record.folder / "labels") as opened:
        outcomes = line.pipeline.read_scans(scans)
    assert len(opened) == 1
    checks = [[one.check for one in outcome.decision.verdicts] for outcome in outcomes]
    assert checks == [[], [RemovalCheck.GONE], []]
    assert store.plans.plan(plan.id).status is PlanStatus.VERIFIED


def test_a_region_that_is_still_there_is_told_and_planned_again(make_line, store):
    """Also of a dish whose rest is fine by now, so that it does not count as differentiating."""
    line = make_line(**CALIBRATED)
    plan = picked_between_scans(line, store)
    draw_label_map(line, 2)
    (outcome,) = series(line, 0.01, first_hour=3)
    done = store.plans.plan(plan.id)
    assert done.status is PlanStatus.VERIFIED
    assert [fate.check for fate in done.fates] == [RemovalCheck.STILL_THERE]
    newest = store.plans.all()[0]
    assert (newest.reading_id, newest.status) == (outcome.reading.id, PlanStatus.DRAFT)
    (told,) = [one for one in store.alerts.alerts() if one.topic is AlertTopic.NOT_REMOVED]
    assert told.kind is AlertKind.RAISED
    assert told.text == f"Picked by plan {plan.id}, and checked: 1 still there."
    notes = [(one.at.hour, one.text) for one in store.timelines.of("dish-07").annotations]
    assert notes == [
        (2, f"removal plan {plan.id} picked: of 1 region 1 picked"),
        (3, f"removal plan {plan.id} looked at again: of 1 region 1 still there"),
    ]


def test_a_scan_whose_label_map_is_lost_says_nothing_of_what_was_picked(make_line, store):
    line = make_line(**CALIBRATED)
    plan = picked_between_scans(line, store)
    series(line, 0.01, first_hour=3, regions=(), aims=())
    assert store.plans.plan(plan.id).status is PlanStatus.PICKED


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


@pytest.mark.parametrize(
    ("shift_px", "without", "check"),
    [
        (0, (), RemovalCheck.STILL_THERE),
        (25, (), RemovalCheck.STILL_THERE),
        (25, (4,), RemovalCheck.GONE),
        (-25, (4,), RemovalCheck.GONE),
        (90, (4,), RemovalCheck.CANNOT_TELL),
    ],
)
def test_a_plate_that_was_put_back_shifted_is_checked_all_the_same(
    make_line, store, shift_px, without, check
):
    """Taken out for picking and put back 50 um off: of what lies at the region's old place nothing
    can be concluded. 180 um off is more than the settings allow.
    """
    line = make_line(**CALIBRATED)
    before = draw_colonies(line, "before")
    row, column, radius = COLONIES[4]
    square = tuple(
        (float(row + down * radius), float(column + right * radius))
        for down, right in ((-1, -1), (-1, 1), (1, 1), (1, -1))
    )
    region = replace(REGION, polygon=square, pick_point=(float(row), float(column)))
    aim = replace(AIM, polygon=square, points=(AimPoint(row, column, 40.0),))
    series(line, 0.2, 0.3, label_map=before, regions=(region,), aims=(aim,))
    (plan,) = store.plans.all()
    store.plans.approve(plan.id, who="A", now=line.clock.now)
    store.plans.hand_out(plan.id, to="folder", token="t", now=line.clock.now)
    store.plans.acknowledge(
        plan.id,
        [PickReport(one.region_id, PickOutcome.PICKED) for one in plan.targets],
        who="picker",
        now=line.clock.now,
        picked_at=NOW.replace(hour=2, minute=30),
    )
    after = draw_colonies(line, "after", shift_px=shift_px, without=without)
    series(line, 0.01, first_hour=3, label_map=after, regions=(), aims=())
    done = store.plans.plan(plan.id)
    assert [fate.check for fate in done.fates] == [check]
    told = {one.topic for one in store.alerts.alerts(open_only=True)}
    assert (AlertTopic.NOT_REMOVED in told) == (check is RemovalCheck.STILL_THERE)
    if check is RemovalCheck.CANNOT_TELL:
        assert done.status is PlanStatus.PICKED
        again = draw_colonies(line, "again", without=without)
        series(line, 0.01, first_hour=4, label_map=again, regions=(), aims=())
        done = store.plans.plan(plan.id)
        assert [fate.check for fate in done.fates] == [RemovalCheck.GONE]
    assert done.status is PlanStatus.VERIFIED


def test_what_no_scan_could_check_in_time_is_mailed_once(make_line, store):
    """A dish that was put back elsewhere: its plan would wait for ever, and nobody would know."""
    decisions = DecisionsConfig(
        differentiation=TWO_OF_THREE,
        removal=RemovalConfig(earlier_scans=0),
        verification=VerificationConfig(within_h=1.0),
    )
    line = make_line(decisions=decisions, **CALIBRATED)
    plan = picked_between_scans(line, store)
    draw_label_map(line, 2)
    series(line, 0.01, 0.01, first_hour=4, regions=(), aims=())
    done = store.plans.plan(plan.id)
    assert (done.status, done.to_check) == (PlanStatus.PICKED, ())
    assert [fate.check for fate in done.fates] == [RemovalCheck.NOT_CHECKED]
    (told,) = [one for one in store.alerts.alerts() if one.topic is AlertTopic.NOT_CHECKED]
    assert (told.kind, told.closed_at) == (AlertKind.RAISED, None)
    assert told.text == (
        f"Picked by plan {plan.id}: no scan in time could tell whether 1 region is gone."
    )
