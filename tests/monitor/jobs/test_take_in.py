"""Files that cannot be reached, have moved, or are none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from monitor.culture import (
    CaptureState,
)
from monitor.errors import CaptureError
from monitor.jobs.take_in import look_at
from tests.monitor.facts import minutes
from tests.monitor.line import FIRST, OLD, name_at


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
