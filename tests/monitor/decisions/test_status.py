from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.config import DifferentiationConfig
from monitor.culture import AlertKind, DishStatus, Reading, Severity
from monitor.decisions.status import Standing, can_be_judged, considered, judge

START = datetime(2026, 11, 3, 9, 30, tzinfo=UTC)
# 0.10 and 0.05, critical 0.30 and 0.20, worse by 0.10
LIMITS = DifferentiationConfig(scans_needed=2, scans_considered=3)
THREE_OF_FOUR = DifferentiationConfig()
ONE_OF_ONE = DifferentiationConfig(scans_needed=1, scans_considered=1)
UNKNOWN, _, UNDIFFERENTIATED, ABOVE_LIMIT, DIFFERENTIATING = DishStatus
RAISED, WORSENED, CLEARED = AlertKind
_, WARNING, CRITICAL = Severity
HIGH, MIDDLE, LOW = 0.2, 0.07, 0.01


def at(number):
    return START + timedelta(hours=6 * number)


def reading(fraction, number=0, **changes):
    values = {
        "id": number + 1,
        "dish": "3500003816/A1",
        "scan_id": number + 1,
        "version": 1,
        "at": at(number),
        "captures": 20,
        "background_um2": 6e5,
        "undifferentiated_um2": 3e5,
        "differentiated_um2": 1e5,
        "differentiated_fraction": fraction,
        "confluence": 0.4,
        "uncertainty": 0.1,
        "pixel_size_um": 2.0,
        "model_sha256": "m" * 64,
        "settings_sha256": "s" * 64,
        "colonies": 3,
    }
    return Reading(**(values | changes))


EMPTY = reading(None, confluence=0.0)
FEW_CELLS = reading(0.9, confluence=0.004)
DOUBTFUL = reading(0.9, doubts=("out of focus",))
UNMEASURED = reading(0.9, confluence=None)


def as_reading(item, number):
    return item if isinstance(item, Reading) else reading(item, number)


def judged(now, *series, limits=LIMITS):
    readings = [as_reading(item, number) for number, item in enumerate(series)]
    judgement = judge(standing(now), readings, limits)
    return judgement.status, judgement.alert


def standing(status, severity=WARNING, reported=None, reported_at=None):
    is_differentiating = status is DIFFERENTIATING
    return Standing(status, severity if is_differentiating else None, reported, reported_at)


CASES = {
    # name: (status before, series oldest first, status after, alert)
    "nothing was read yet": (UNKNOWN, [], UNKNOWN, None),
    "first reading, low": (UNKNOWN, [LOW], UNDIFFERENTIATED, None),
    "first reading, between the limits": (UNKNOWN, [MIDDLE], UNDIFFERENTIATED, None),
    "first reading, high: one scan is not enough": (UNKNOWN, [HIGH], ABOVE_LIMIT, None),
    "above, and then not any more": (ABOVE_LIMIT, [HIGH, LOW], UNDIFFERENTIATED, None),
    "above, and then between the limits": (ABOVE_LIMIT, [HIGH, MIDDLE], UNDIFFERENTIATED, None),
    "above, and then confirmed": (ABOVE_LIMIT, [HIGH, HIGH], DIFFERENTIATING, RAISED),
    "above, and then nothing to go by": (ABOVE_LIMIT, [HIGH, FEW_CELLS], ABOVE_LIMIT, None),
    "unknown, two high at once": (UNKNOWN, [HIGH, HIGH], DIFFERENTIATING, RAISED),
    "second high in a row": (UNDIFFERENTIATED, [LOW, HIGH, HIGH], DIFFERENTIATING, RAISED),
    "two high of three": (UNDIFFERENTIATED, [HIGH, LOW, HIGH], DIFFERENTIATING, RAISED),
    "two high, but the newest is not": (
        UNDIFFERENTIATED,
        [HIGH, HIGH, LOW],
        UNDIFFERENTIATED,
        None,
    ),
    "the other high is too long ago": (
        UNDIFFERENTIATED,
        [HIGH, LOW, LOW, HIGH],
        ABOVE_LIMIT,
        None,
    ),
    "exactly at the upper limit": (UNDIFFERENTIATED, [0.10, 0.10], UNDIFFERENTIATED, None),
    "exactly at the lower limit": (DIFFERENTIATING, [0.05, 0.05], DIFFERENTIATING, None),
    "goes on high: no second alert": (DIFFERENTIATING, [HIGH, HIGH, HIGH], DIFFERENTIATING, None),
    "back between the limits": (DIFFERENTIATING, [HIGH, MIDDLE, MIDDLE], DIFFERENTIATING, None),
    "one low is not enough": (DIFFERENTIATING, [HIGH, HIGH, LOW], DIFFERENTIATING, None),
    "two low of three": (DIFFERENTIATING, [LOW, HIGH, LOW], UNDIFFERENTIATED, CLEARED),
    "two low in a row": (DIFFERENTIATING, [HIGH, LOW, LOW], UNDIFFERENTIATED, CLEARED),
    "two low, but the newest is not": (DIFFERENTIATING, [LOW, LOW, MIDDLE], DIFFERENTIATING, None),
    "low stays low": (UNDIFFERENTIATED, [LOW, LOW, LOW], UNDIFFERENTIATED, None),
    # What cannot be judged counts neither way, and changes nothing by itself.
    "unknown, no cells": (UNKNOWN, [EMPTY], UNKNOWN, None),
    "unknown, too few cells": (UNKNOWN, [FEW_CELLS], UNKNOWN, None),
    "no cells any more": (DIFFERENTIATING, [HIGH, EMPTY, EMPTY], DIFFERENTIATING, None),
    "high in a handful of cells": (UNDIFFERENTIATED, [HIGH, FEW_CELLS], UNDIFFERENTIATED, None),
    "high, but in doubt": (UNDIFFERENTIATED, [HIGH, DOUBTFUL, DOUBTFUL], UNDIFFERENTIATED, None),
    "no confluence": (UNDIFFERENTIATED, [HIGH, UNMEASURED], UNDIFFERENTIATED, None),
    "a doubtful one between two high": (
        UNDIFFERENTIATED,
        [HIGH, DOUBTFUL, HIGH],
        DIFFERENTIATING,
        RAISED,
    ),
    "empty ones do not push a high one out": (
        UNDIFFERENTIATED,
        [HIGH, EMPTY, EMPTY, EMPTY, HIGH],
        DIFFERENTIATING,
        RAISED,
    ),
    "a doubtful newest one judges nothing": (
        UNDIFFERENTIATED,
        [HIGH, HIGH, DOUBTFUL],
        UNDIFFERENTIATED,
        None,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_two_of_three_scans_decide(case):
    before, series, after, alert = CASES[case]
    assert judged(before, *series) == (after, alert)


def test_one_scan_is_enough_where_the_lab_says_so():
    assert judged(UNKNOWN, HIGH, limits=ONE_OF_ONE) == (DIFFERENTIATING, RAISED)
    assert judged(DIFFERENTIATING, HIGH, LOW, limits=ONE_OF_ONE) == (UNDIFFERENTIATED, CLEARED)


def test_all_of_the_last_scans_can_be_asked_for():
    limits = DifferentiationConfig(scans_needed=3, scans_considered=3)
    assert judged(UNDIFFERENTIATED, HIGH, LOW, HIGH, HIGH, limits=limits)[1] is None
    assert judged(UNDIFFERENTIATED, HIGH, HIGH, HIGH, limits=limits)[1] is RAISED


@pytest.mark.parametrize("item", [EMPTY, FEW_CELLS, DOUBTFUL, UNMEASURED])
def test_what_rests_on_nothing_is_not_judged(item):
    assert not can_be_judged(item, LIMITS)
    assert can_be_judged(reading(0.0), LIMITS)
    assert can_be_judged(reading(0.5, confluence=LIMITS.min_confluence), LIMITS)


def follow(series, limits=LIMITS):
    """The status and all alerts after each reading in turn, as the record would keep them."""
    before, alerts, readings = Standing(), [], []
    for number, item in enumerate(series):
        readings.append(as_reading(item, number))
        judgement = judge(before, readings, limits)
        reported, reported_at = before.reported, before.reported_at
        if judgement.alert is not None:
            alerts.append(judgement.alert)
            reported, reported_at = readings[-1].differentiated_fraction, readings[-1].at
        before = Standing(judgement.status, judgement.severity, reported, reported_at)
    return before.status, alerts


def test_a_dish_that_flaps_around_the_upper_limit_alerts_once():
    assert follow([0.09, 0.11] * 20) == (DIFFERENTIATING, [RAISED])


def test_a_dish_that_flaps_around_the_lower_limit_does_not_alert():
    assert follow([0.04, 0.06] * 20) == (UNDIFFERENTIATED, [])


def test_a_dish_that_comes_and_goes_alerts_each_time():
    series = [LOW, HIGH, HIGH, LOW, LOW, HIGH, HIGH]
    assert follow(series) == (DIFFERENTIATING, [RAISED, CLEARED, RAISED])


fractions = st.none() | st.floats(0, 1)
readings = st.builds(
    lambda fraction, confluence, doubts: reading(fraction, confluence=confluence, doubts=doubts),
    fractions,
    st.none() | st.floats(0, 1),
    st.sampled_from([(), (), (), ("doubt",)]),
)


@st.composite
def rules(draw):
    considered = draw(st.integers(1, 5))
    below, above = sorted(draw(st.tuples(st.floats(0, 0.5), st.floats(0.51, 1))))
    return DifferentiationConfig(
        raise_above=above,
        clear_below=below,
        scans_considered=considered,
        scans_needed=draw(st.integers(1, considered)),
        min_confluence=draw(st.floats(0, 0.5)),
    )


@given(st.lists(readings, max_size=25), rules())
def test_no_dish_is_ever_raised_twice_without_being_cleared_between(series, limits):
    in_time = [replace(item, at=at(number)) for number, item in enumerate(series)]
    status, alerts = follow(in_time, limits)
    assert (status is DIFFERENTIATING) == (bool(alerts) and alerts[-1] is not CLEARED)
    alerts = [alert for alert in alerts if alert is not WORSENED]
    assert alerts == ([RAISED, CLEARED] * len(alerts))[: len(alerts)]


@given(st.lists(readings, min_size=1, max_size=10), rules(), st.sampled_from(DishStatus))
def test_an_alert_always_has_a_newest_reading_that_shows_it(series, limits, before):
    judgement = judge(standing(before), series, limits)
    newest = series[-1].differentiated_fraction
    if judgement.alert is RAISED:
        assert newest is not None
        assert newest > limits.raise_above
    if judgement.alert is CLEARED:
        assert newest is not None
        assert newest < limits.clear_below
    if judgement.alert in (RAISED, CLEARED):
        assert judgement.status is not before
    if judgement.alert is WORSENED:
        assert judgement.status is before is DIFFERENTIATING
    assert (judgement.severity is not None) == (judgement.status is DIFFERENTIATING)


@given(st.lists(readings, min_size=1, max_size=10), st.lists(readings, max_size=5))
def test_readings_that_cannot_be_judged_change_nothing(series, noise):
    unfit = [item for item in noise if not can_be_judged(item, LIMITS)]
    middle = len(series) // 2
    mixed = [*series[:middle], *unfit, *series[middle:]]
    before = standing(UNDIFFERENTIATED)
    assert judge(before, mixed, LIMITS) == judge(before, series, LIMITS)


WORSE_CASES = {
    # name: (severity, reported fraction, series, severity after, alert)
    "one critical scan is not enough": (WARNING, 0.15, [0.15, 0.15, 0.4], WARNING, None),
    "two critical scans": (WARNING, 0.15, [0.15, 0.4, 0.4], CRITICAL, WORSENED),
    "exactly at the critical limit": (WARNING, 0.25, [0.3, 0.3, 0.3], WARNING, None),
    "critical stays critical, told once": (CRITICAL, 0.4, [0.4, 0.4, 0.4], CRITICAL, None),
    "between the critical limits it stays": (CRITICAL, 0.4, [0.4, 0.25, 0.25], CRITICAL, None),
    "one scan below the lower one": (CRITICAL, 0.4, [0.4, 0.4, 0.15], CRITICAL, None),
    "a warning again, and nobody is told": (CRITICAL, 0.4, [0.4, 0.15, 0.15], WARNING, None),
    "ten points up in two scans": (WARNING, 0.12, [0.12, 0.23, 0.24], WARNING, WORSENED),
    "ten points up in one scan": (WARNING, 0.12, [0.12, 0.12, 0.24], WARNING, None),
    "nine points up": (WARNING, 0.12, [0.20, 0.21, 0.21], WARNING, None),
    "up again, but the newest is not": (WARNING, 0.12, [0.24, 0.24, 0.15], WARNING, None),
    "critical and up again": (CRITICAL, 0.35, [0.46, 0.46], CRITICAL, WORSENED),
    "nothing was reported yet": (WARNING, None, [0.25, 0.25], WARNING, None),
}


@pytest.mark.parametrize("case", WORSE_CASES)
def test_what_gets_worse_is_told_once_more(case):
    severity, reported, series, after, alert = WORSE_CASES[case]
    before = standing(DIFFERENTIATING, severity, reported, START - timedelta(hours=1))
    readings = [reading(item, number) for number, item in enumerate(series)]
    judgement = judge(before, readings, LIMITS)
    assert (judgement.severity, judgement.alert) == (after, alert)


def test_scans_before_the_last_alert_do_not_make_it_worse():
    """The alert's own scan was a low one: the higher ones before it are no news."""
    readings = [reading(0.25, 0), reading(0.12, 1), reading(0.23, 2)]
    before = standing(DIFFERENTIATING, WARNING, 0.12, at(1))
    assert judge(before, readings, LIMITS).alert is None
    assert judge(before, [*readings, reading(0.23, 3)], LIMITS).alert is WORSENED


def test_a_dish_that_is_found_critical_is_raised_as_critical():
    judgement = judge(Standing(), [reading(0.5, 0), reading(0.5, 1)], LIMITS)
    assert (judgement.severity, judgement.alert) == (CRITICAL, RAISED)


def test_without_a_second_limit_nothing_is_critical():
    limits = DifferentiationConfig(critical_above=None, worse_by=None)
    assert follow([0.2, 0.3, 0.5, 0.7, 0.9, 0.95], limits) == (DIFFERENTIATING, [RAISED])


def test_a_dish_that_goes_on_rising_is_told_at_each_step():
    series = [0.02, 0.12, 0.14, 0.2, 0.25, 0.26, 0.31, 0.32, 0.33]
    assert follow(series) == (DIFFERENTIATING, [RAISED, WORSENED, WORSENED])


OFTEN_CASES = {
    # name: (hours between scans, series, how many of how many must agree)
    "every 6 h": (6, [LOW] * 10, (3, 4)),
    "every 3 h": (3, [LOW] * 10, (3, 4)),
    "every 2 h": (2, [LOW] * 10, (4, 5)),
    "every hour": (1, [LOW] * 12, (7, 9)),
    "every 10 minutes": (1 / 6, [LOW] * 100, (37, 49)),
    "every hour, but it has only begun": (1, [LOW] * 5, (4, 5)),
    "every hour, half of them in doubt": (1, [LOW, DOUBTFUL] * 6, (4, 5)),
    "nothing to judge": (1, [DOUBTFUL] * 6, (3, 0)),
}


def every(hours, *series):
    readings = [as_reading(item, number) for number, item in enumerate(series)]
    return [
        replace(item, at=START + timedelta(hours=hours * number))
        for number, item in enumerate(readings)
    ]


@pytest.mark.parametrize("case", OFTEN_CASES)
def test_the_more_often_a_dish_is_scanned_the_more_scans_must_agree(case):
    """An hour of condensation is one scan of one dish and six of another."""
    hours, series, expected = OFTEN_CASES[case]
    votes, needed = considered(every(hours, *series), THREE_OF_FOUR)
    assert (needed, len(votes)) == expected


def test_condensation_of_three_hours_raises_no_dish_however_often_it_is_scanned():
    for hours in (6, 3, 2, 1, 0.5):
        scans = round(40 / hours)
        wet = range(round(20 / hours), round(23 / hours))
        series = [HIGH if number in wet else LOW for number in range(scans)]
        before = standing(UNDIFFERENTIATED)
        readings = every(hours, *series)
        for end in range(1, scans + 1):
            assert judge(before, readings[:end], THREE_OF_FOUR).alert is None


def test_a_lab_to_which_one_scan_is_enough_gets_it_however_often_there_is_one():
    readings = every(0.25, *[LOW] * 20, HIGH)
    assert judge(standing(UNDIFFERENTIATED), readings, ONE_OF_ONE).alert is RAISED


RISE_CASES = {
    # name: (series, is it raised with its newest scan?)
    "a series that surely rises": ([0.01, 0.03, 0.05, 0.07, 0.085, 0.11], True),
    "a rise that is too short to be sure": ([0.05, 0.07, 0.085, 0.11], False),
    "a jump in a flat series": ([0.01, 0.02, 0.01, 0.02, 0.01, 0.4], False),
    "a jump of two scans in a flat series": ([0.01, 0.02, 0.01, 0.02, 0.4, 0.4], False),
    "three of four, whatever the trend": ([0.02, 0.01, 0.02, 0.4, 0.4, 0.4], True),
    "a rise far below the limit and a jump": ([0.0, 0.005, 0.01, 0.015, 0.02, 0.4], False),
    "a rise that has not passed it": ([0.01, 0.03, 0.05, 0.07, 0.08, 0.095], False),
    # Its level is near the limit, but its line does not pass it in the 6 h to come.
    "a slow rise below the limit and a jump": ([0.055, 0.06, 0.065, 0.07, 0.075, 0.11], False),
    "a slow rise that gets there": ([0.075, 0.08, 0.085, 0.09, 0.095, 0.105], True),
}


@pytest.mark.parametrize("case", RISE_CASES)
def test_a_sure_rise_needs_one_scan_and_anything_else_three_of_four(case):
    series, is_raised = RISE_CASES[case]
    readings = [reading(item, number) for number, item in enumerate(series)]
    judgement = judge(standing(UNDIFFERENTIATED), readings, THREE_OF_FOUR)
    assert (judgement.alert is RAISED) == is_raised


def test_without_a_trend_only_the_count_decides():
    limits = DifferentiationConfig(trend_h=None)
    readings = [
        reading(item, number)
        for number, item in enumerate(RISE_CASES["a series that surely rises"][0])
    ]
    assert judge(standing(UNDIFFERENTIATED), readings, limits).alert is None
