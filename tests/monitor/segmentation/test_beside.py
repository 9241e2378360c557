"""What is done beside something else is done when that is."""

from __future__ import annotations

import threading

import pytest

from monitor.segmentation.beside import done_beside


def when(told: threading.Event, value: int) -> tuple[int, str]:
    assert told.wait(30)
    return value, threading.current_thread().name


def test_what_runs_beside_is_done_at_the_end_and_in_one_thread() -> None:
    told = threading.Event()
    with done_beside(when, told, 1) as first:
        assert not first.done()
        told.set()
    assert first.done()
    with done_beside(when, told, 2) as second:
        pass
    assert [first.result(), second.result()] == [(1, first.result()[1]), (2, first.result()[1])]
    assert first.result()[1] != threading.current_thread().name


def test_it_is_waited_for_where_the_rest_fails() -> None:
    told = threading.Event()
    with pytest.raises(KeyError), done_beside(when, told, 3) as beside:
        told.set()
        raise KeyError
    assert beside.done()


def test_what_fails_beside_is_told_where_its_result_is_asked_for() -> None:
    def fails() -> None:
        raise OSError("no room")

    with done_beside(fails) as beside:
        pass
    with pytest.raises(OSError, match="no room"):
        beside.result()
