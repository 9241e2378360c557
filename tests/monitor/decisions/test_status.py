from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.config import DifferentiationConfig
from monitor.culture import AlertKind, DishStatus, Reading
from monitor.decisions.status import can_be_judged, judge

START = datetime(2026, 11, 3, 9, 30, tzinfo=UTC)
LIMITS = DifferentiationConfig()  # above 0.10, below 0.05, 2 of 3, confluence 0.005
ONE_OF_ONE = DifferentiationConfig(scans_needed=1, scans_considered=1)
UNKNOWN, UNDIFFERENTIATED, DIFFERENTIATING = DishStatus
RAISED, CLEARED = AlertKind.RAISED, AlertKind.CLEARED
HIGH, MIDDLE, LOW = 0.2, 0.07, 0.01


def reading(fraction, number=0, **changes):
    values = {
        "id": number + 1,
        "dish": "3500003816/A1",
        "scan_id": number + 1,
        "version": 1,
        "at": START + timedelta(hours=6 * number),
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
    judgement = judge(now, readings, limits)
    return judgement.status, judgement.alert


CASES = {
    # name: (status before, series oldest first, status after, alert)
    "nothing was read yet": (UNKNOWN, [], UNKNOWN, None),
    "first reading, low": (UNKNOWN, [LOW], UNDIFFERENTIATED, None),
    "first reading, between the limits": (UNKNOWN, [MIDDLE], UNDIFFERENTIATED, None),
    "first reading, high: one scan is not enough": (UNKNOWN, [HIGH], UNDIFFERENTIATED, None),
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
        UNDIFFERENTIATED,
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
    status, alerts, readings = UNKNOWN, [], []
    for number, item in enumerate(series):
        readings.append(as_reading(item, number))
        judgement = judge(status, readings, limits)
        status = judgement.status
        if judgement.alert is not None:
            alerts.append(judgement.alert)
    return status, alerts


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
    status, alerts = follow(series, limits)
    assert alerts == ([RAISED, CLEARED] * len(alerts))[: len(alerts)]
    assert (status is DIFFERENTIATING) == (bool(alerts) and alerts[-1] is RAISED)


@given(st.lists(readings, min_size=1, max_size=10), rules(), st.sampled_from(DishStatus))
def test_an_alert_always_has_a_newest_reading_that_shows_it(series, limits, before):
    judgement = judge(before, series, limits)
    newest = series[-1].differentiated_fraction
    if judgement.alert is RAISED:
        assert newest is not None
        assert newest > limits.raise_above
    if judgement.alert is CLEARED:
        assert newest is not None
        assert newest < limits.clear_below
    assert (judgement.alert is None) or (judgement.status is not before)


@given(st.lists(readings, min_size=1, max_size=10), st.lists(readings, max_size=5))
def test_readings_that_cannot_be_judged_change_nothing(series, noise):
    unfit = [item for item in noise if not can_be_judged(item, LIMITS)]
    middle = len(series) // 2
    mixed = [*series[:middle], *unfit, *series[middle:]]
    assert judge(UNDIFFERENTIATED, mixed, LIMITS) == judge(UNDIFFERENTIATED, series, LIMITS)
