"""Files that may be half written, and empty ones."""

from __future__ import annotations

from datetime import timedelta

import pytest

from monitor.culture import (
    CaptureState,
)
from monitor.errors import CaptureError
from tests.monitor.facts import NOW, minutes, sha256_of
from tests.monitor.line import FIRST, OLD, YOUNG, name_at

TRUNCATED = CaptureError("half of it is missing", reason="truncated")


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
