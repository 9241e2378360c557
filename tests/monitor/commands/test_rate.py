"""How far long work has come, and how long it will take."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from monitor.commands import rate as rate_module
from monitor.commands.rate import RECENT_S, Pace, show_rate


def test_before_the_first_is_done_nothing_is_promised():
    pace = Pace(total=10, begun=100.0)
    pace.skip(4)
    assert pace.per_s(101.0) is None
    assert pace.left_s(101.0) is None
    assert pace.text(101.0) == ""


def test_what_needed_no_work_is_neither_in_the_rate_nor_left():
    pace = Pace(total=100, begun=0.0)
    pace.skip(60)
    for second in range(1, 11):
        pace.advance(float(second))
    assert pace.per_s(10.0) == pytest.approx(1.0)
    assert pace.left_s(10.0) == pytest.approx(30.0)
    assert pace.text(10.0) == "1.0 a second, 30 s left"


def test_the_rate_is_that_of_late():
    """An hour of large captures says nothing of the small ones that come now."""
    pace = Pace(total=10_000, begun=0.0)
    for minute in range(1, 61):
        pace.advance(minute * 60.0)
    for step in range(1, 3001):
        pace.advance(3600.0 + step / 10)
    now = 3900.0
    assert pace.per_s(now) == pytest.approx(10.0, rel=0.02)
    assert pace.left_s(now + RECENT_S) > pace.left_s(now)  # it stalls, and says so


@pytest.mark.parametrize(
    ("per_s", "total", "text"),
    [
        (0.05, 4, "3.0 a minute, 60 s left"),
        (1.0, 3601, "1.0 a second, 60 min left"),
        (2.0, 36_001, "2.0 a second, 5.0 h left"),
    ],
)
def test_it_speaks_in_units_that_a_person_thinks_in(per_s, total, text):
    pace = Pace(total=total, begun=0.0)
    pace.advance(1 / per_s)
    assert pace.text(1 / per_s) == text


def shown(console: Console, *, quiet: bool = False) -> str:
    with show_rate(console, quiet=quiet) as rate:
        count = rate.count(3, "segmenting")
        count.skip(1)
        for _ in range(2):
            count.advance()
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_off_a_terminal_a_plain_line_says_it_now_and_then(monkeypatch):
    assert shown(Console(file=io.StringIO(), width=40)) == ""
    monkeypatch.setattr(rate_module, "LINE_EVERY_S", 0.0)
    lines = shown(Console(file=io.StringIO(), width=40)).splitlines()
    assert lines[0] == "segmenting: 1 of 3"
    assert lines[-1].startswith("segmenting: 3 of 3, ")
    assert lines[-1].endswith(" left")
    assert shown(Console(file=io.StringIO()), quiet=True) == ""


def test_on_a_terminal_a_bar_shows_rate_and_remaining_time():
    text = shown(Console(file=io.StringIO(), width=100, force_terminal=True))
    assert "segmenting" in text and "3/3" in text and "a second, 0 s left" in text
