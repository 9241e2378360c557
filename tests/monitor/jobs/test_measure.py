"""What the worker says, and what becomes of captures that it cannot measure."""

from __future__ import annotations

from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool

import pytest

from monitor.culture import (
    CaptureState,
)
from monitor.errors import CaptureError, ModelRefusedError
from monitor.pipeline import Pipeline
from tests.monitor.facts import NOW, hours, measurement, minutes, reopen, sha256_of
from tests.monitor.line import FIRST, name_at


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
