"""The line: a settled file becomes a reading."""

from __future__ import annotations

from monitor.culture import (
    UNLISTED,
    CaptureState,
    DishStatus,
)
from monitor.record.intake import TakenIn
from tests.monitor.facts import NOW, measurement, minutes, sha256_of
from tests.monitor.line import FIRST, name_at


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
