from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from monitor.config import SilenceConfig
from monitor.config.confirmation import ClockConfig
from monitor.culture import AlertTopic, Severity
from monitor.decisions.clock import Arrival, clock_off, off_text
from monitor.decisions.silence import MachineLife, SourceLife, what_is_wrong

NOW = datetime(2026, 11, 3, 9, 30, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def live(*offs, every=HOUR, **changes):
    """Captures that come one by one, dated so far off when they come (below 0: before)."""
    return [
        replace(Arrival(NOW + n * every + off, NOW + n * every, NOW + n * every), **changes)
        for n, off in enumerate(offs)
    ]


def copied(*ages):
    """A backlog: all come now, taken so long ago."""
    return [Arrival(NOW - age, NOW + n * MINUTE, NOW) for n, age in enumerate(ages)]


ON_TIME = -2 * MINUTE
CASES = {
    "nothing came": ([], None),
    "right": (live(*[ON_TIME] * 5), None),
    "a few minutes ahead": (live(14 * MINUTE), None),
    "15 h ahead": (live(ON_TIME, 15 * HOUR), 15 * HOUR),
    "ahead, and right again": (live(15 * HOUR, ON_TIME), None),
    "an hour behind, as when summer time ends": (live(*[-HOUR] * 4), -HOUR),
    "an hour behind, three captures": (live(*[-HOUR] * 3), None),
    "of 1970": (live(*[-20_000 * 24 * HOUR] * 4), -20_000 * 24 * HOUR),
    "a slow transfer of files written in time": (
        [replace(one, written=one.dated + MINUTE) for one in live(*[-HOUR] * 5)],
        None,
    ),
    "a backlog": (copied(*[n * HOUR for n in range(12, 0, -1)]), None),
    "a backlog, newest first": (copied(*[n * HOUR for n in range(1, 12)]), None),
    "late by different times": (live(-HOUR, -2 * HOUR, -1.5 * HOUR, -HOUR, -3 * HOUR), None),
}


@pytest.mark.parametrize("case", CASES)
def test_a_clock_is_off_only_with_evidence(case):
    arrivals, off = CASES[case]
    assert clock_off(arrivals, ClockConfig()) == off


def test_a_clock_that_is_behind_need_not_be_watched():
    assert clock_off(live(*[-HOUR] * 5), ClockConfig(behind_min=None)) is None


def wrong(source, open_now=()):
    found = what_is_wrong(NOW, [], [source], MachineLife(), SilenceConfig(), set(open_now))
    return [(one.topic, one.severity) for one in found]


def test_a_clock_ahead_is_critical_since_nothing_is_decided_meanwhile():
    source = SourceLife("incubator", None, NOW, clock_seen=True)
    topic = AlertTopic.IMAGER_CLOCK
    assert wrong(replace(source, clock_off=HOUR)) == [(topic, Severity.CRITICAL)]
    assert wrong(replace(source, clock_off=-HOUR)) == [(topic, Severity.WARNING)]
    assert wrong(source) == wrong(source, [(topic, "", "incubator")]) == []


def test_the_alert_lasts_over_a_restart_until_a_capture_says_otherwise():
    source = SourceLife("incubator", None, NOW)
    key = (AlertTopic.IMAGER_CLOCK, "", "incubator")
    assert [topic for topic, _ in wrong(source, [key])] == [AlertTopic.IMAGER_CLOCK]


TEXTS = {"50 min": 50 * MINUTE, "15.0 h": 15 * HOUR, "900 days": 900 * 24 * HOUR}


@pytest.mark.parametrize("text", TEXTS)
def test_how_far_a_clock_is_off_is_said_with_what_to_do(text):
    for off in (TEXTS[text], -TEXTS[text]):
        said = off_text("incubator", off)
        assert text in said
        assert "timezone of source incubator" in said
