from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.capture.filesets import look_at_file, look_at_open_file
from monitor.capture.settling import Settling

A, B = Path("/in/a.tif"), Path("/in/b.tif")


def test_a_file_is_looked_at_when_its_quiet_time_is_over():
    settling = Settling(2.0)
    settling.noticed(A, 10.0)
    assert settling.due(11.9) == []
    assert settling.due(12.0) == [A]
    assert settling.next_due() == 12.0 and len(settling) == 1


def test_it_is_whole_when_a_second_look_finds_it_as_it_was():
    settling = Settling(2.0)
    settling.noticed(A, 0.0)
    assert not settling.looked(A, 100, 5, 2.0)
    assert settling.due(3.9) == []
    assert settling.due(4.0) == [A]
    assert settling.looked(A, 100, 5, 4.0)
    assert len(settling) == 0 and settling.next_due() is None


def test_a_change_of_size_or_time_starts_the_wait_again():
    settling = Settling(2.0)
    settling.noticed(A, 0.0)
    assert not settling.looked(A, 100, 5, 2.0)
    assert not settling.looked(A, 180, 5, 4.0)
    assert not settling.looked(A, 180, 6, 6.0)
    assert settling.looked(A, 180, 6, 8.0)


def test_bursts_with_pauses_longer_than_one_look_are_waited_for():
    """Some imagers write a plane, close the file, and go on four seconds later."""
    settling = Settling(5.0)
    whole_at, size = None, 0
    for tick in range(60):
        now = float(tick)
        if tick in (0, 4, 8, 12):
            size += 1000
            settling.noticed(A, now)
        for path in settling.due(now):
            if settling.looked(path, size, size, now):
                whole_at = now
        if whole_at:
            break
    assert size == 4000 and whole_at is not None and 17.0 <= whole_at <= 23.0


def test_a_second_look_that_comes_early_proves_nothing():
    settling = Settling(2.0)
    settling.noticed(A, 0.0)
    assert not settling.looked(A, 1, 1, 2.0)
    assert not settling.looked(A, 1, 1, 2.1)
    assert settling.due(4.0) == [A]


def test_an_event_puts_the_look_off():
    settling = Settling(2.0)
    settling.noticed(A, 0.0)
    settling.noticed(A, 1.5)
    assert settling.due(3.4) == []
    assert settling.due(3.5) == [A]


def test_a_file_that_is_noticed_again_and_again_is_still_looked_at():
    """A rescan more frequent than the quiet time must not hold a file back for ever."""
    settling = Settling(10.0)
    now = 0.0
    while now < 100.0:
        settling.noticed(A, now)
        if settling.due(now) and settling.looked(A, 7, 7, now):
            break
        now += 1.0
    assert now <= 60.0


def test_what_waits_longest_comes_first():
    settling = Settling(1.0)
    settling.noticed(B, 0.0)
    settling.noticed(A, 0.5)
    assert settling.due(9.0) == [B, A]


def test_a_file_that_is_gone_is_forgotten():
    settling = Settling(1.0)
    settling.noticed(A, 0.0)
    assert not settling.looked(A, 1, 1, 1.0)
    settling.gone(A)
    settling.gone(B)
    assert len(settling) == 0
    settling.noticed(A, 5.0)
    assert not settling.looked(A, 1, 1, 6.0)


def test_without_a_quiet_time_two_looks_still_have_to_agree():
    settling = Settling(0.0)
    settling.noticed(A, 0.0)
    assert settling.due(0.0) == [A]
    assert not settling.looked(A, 1, 1, 0.0)
    assert settling.looked(A, 1, 1, 0.0)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.floats(0, 5)), max_size=60))
def test_nothing_is_whole_before_it_was_the_same_for_a_quiet_time(steps):
    settling, now, quiet_s = Settling(2.0), 0.0, 2.0
    seen: dict[int, float] = {}
    for action, size, passed in steps:
        now += passed
        if action == 0:
            settling.noticed(A, now)
        elif action == 1:
            settling.gone(A)
            seen.clear()
        elif settling.looked(A, size, size, now):
            assert now - seen[size] >= quiet_s * 0.999
            seen.clear()
        else:
            seen = {size: seen.get(size, now)}


def test_a_file_that_was_replaced_is_looked_at_anew_though_it_looks_the_same():
    """Names that are rotated: what lies there now is another file than the one looked at."""
    settling = Settling(2.0)
    settling.noticed(A, 0.0)
    assert not settling.looked(A, 100, 5, 2.0)
    settling.noticed(A, 3.0, replaced=True)
    assert not settling.looked(A, 100, 5, 5.0)
    assert settling.looked(A, 100, 5, 7.0)


def test_a_file_that_grows_while_its_folder_says_it_does_not_is_waited_for(tmp_path):
    """sshfs 3.7.3: size and time of `stat` stand still up to 20 s, those of the opened file do
    not.
    """
    path = tmp_path / "a.tif"
    path.write_bytes(b"0" * 10)
    stale = path.stat()
    settling = Settling(2.0)
    settling.noticed(path, 0.0)
    whole_at = None
    for tick in range(1, 20):
        if tick <= 12:
            with path.open("ab") as file:
                file.write(b"0" * 10)
        look = look_at_open_file(path, stat_of=lambda _: stale)
        assert look_at_file(path).size == look.size
        if settling.looked(path, look.size, look.mtime_ns, float(tick)):
            whole_at = tick
            break
    assert whole_at is not None and whole_at >= 14


def test_a_file_that_may_not_be_opened_is_as_its_folder_says(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(b"0" * 10)

    def refuses(handle: int) -> os.stat_result:
        raise PermissionError

    os.mkfifo(tmp_path / "fifo.tif")
    assert not look_at_open_file(tmp_path / "fifo.tif", fstat_of=refuses).is_regular
    assert look_at_open_file(path).size == 10
    with pytest.raises(FileNotFoundError):
        look_at_open_file(tmp_path / "gone.tif")


def test_the_parts_of_a_store_are_asked_when_opened_too(tmp_path):
    part = tmp_path / "a.zarr" / "0"
    part.parent.mkdir()
    part.write_bytes(b"0" * 10)
    asked = []

    def fstat_of(handle: int) -> os.stat_result:
        asked.append(handle)
        return os.fstat(handle)

    look = look_at_open_file(part.parent, fstat_of=fstat_of)
    assert look == look_at_file(part.parent) and len(asked) == 1
