from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from monitor.decisions.capacity import Load, load_of, verdict

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def scans(count: int, *, every_min: float, took_s: float):
    return [(NOW + timedelta(minutes=every_min * number), took_s) for number in range(count)]


VERDICTS = {
    # name: (minutes from scan to scan, seconds that one takes, is it well, what is said)
    "enough": (60, 14, True, "a scan takes this machine 14 s, one comes every 60 min: fine, 0.4 %"),
    "just enough": (60, 3000, None, "50 min, one comes every 60 min: just enough, 83 %"),
    "too much": (1, 70, False, "70 s, one comes every 60 s: too much, 117 %"),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_whether_a_machine_keeps_up_is_said_in_a_sentence(case):
    every_min, took_s, well, said = VERDICTS[case]
    load = load_of("incubator", scans(20, every_min=every_min, took_s=took_s))
    ok, text = verdict([load])
    assert ok is well
    assert said.replace(" %", "%") in text.replace(" %", "%"), text


def test_several_imagers_share_the_machine():
    ok, text = verdict([Load("a", 40, 100), Load("b", 45, 100)])
    assert ok is None and "85" in text and "a: " in text and "b: " in text


def test_what_the_lab_expects_counts_where_it_is_more():
    """A plate that has only begun gives fewer scans than it will."""
    taken = scans(5, every_min=60, took_s=30)
    assert load_of("a", taken, expected_every_s=40).every_s == 40
    assert load_of("a", taken, expected_every_s=9e9).every_s == 3600


def test_of_few_scans_nothing_is_said():
    assert load_of("a", scans(2, every_min=1, took_s=1)) is None


def test_scans_of_one_moment_are_more_than_any_machine_can():
    ok, _ = verdict([load_of("a", [(NOW, 1.0)] * 4)])
    assert ok is False
