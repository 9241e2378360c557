from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from monitor.config import DifferentiationConfig
from monitor.culture import AlertKind, AlertTopic, Reading
from monitor.decisions.alert_rules import judge_notices
from monitor.decisions.notices import forecast_text, next_limit
from monitor.decisions.trend import Forecast

START = datetime(2026, 11, 3, 9, 30, tzinfo=UTC)
RISING, CONFLUENT = AlertTopic.RISING, AlertTopic.CONFLUENT
GROWTH_STOPPED, DOUBTFUL = AlertTopic.GROWTH_STOPPED, AlertTopic.DOUBTFUL
RAISED, _, CLEARED = AlertKind
DEFAULT = DifferentiationConfig()
ALL = DifferentiationConfig(
    scans_needed=2,
    scans_considered=3,
    rise_above_per_day=0.10,
    confluence_above=0.70,
    growth_below_per_day=0.05,
)


def reading(number, fraction=0.02, confluence=0.3, doubts=(), every_h=6):
    return Reading(
        id=number + 1, dish="A1", scan_id=number + 1, version=1,
        at=START + timedelta(hours=every_h * number), captures=1, background_um2=None,
        undifferentiated_um2=None, differentiated_um2=None, differentiated_fraction=fraction,
        confluence=confluence, uncertainty=0.1, pixel_size_um=None, model_sha256="m" * 64,
        settings_sha256="s" * 64, colonies=3, doubts=doubts,
    )  # fmt: skip


def fractions(*values):
    grown = [0.2 * 1.2**number for number in range(len(values))]
    return [
        reading(number, value, cover)
        for number, (value, cover) in enumerate(zip(values, grown, strict=True))
    ]


def covers(*values):
    return [reading(number, confluence=value) for number, value in enumerate(values)]


def doubtful(*flags):
    return [
        reading(number, doubts=("out of focus",) if flag else ())
        for number, flag in enumerate(flags)
    ]


CASES = {
    # name: (topics open before, series, what begins and ends)
    "nothing was read": ([], [], {}),
    "a fast rise": ([], fractions(0.0, 0.03, 0.06, 0.09, 0.12, 0.15), {RISING: RAISED}),
    "told once": ([RISING], fractions(0.0, 0.03, 0.06, 0.09, 0.12, 0.15), {}),
    "a rise of four scans is not sure": ([], fractions(0.0, 0.03, 0.06, 0.09), {}),
    "a slow rise": ([], fractions(0.0, 0.01, 0.02, 0.03, 0.04, 0.05), {}),
    "a single jump is no rise": ([], fractions(0.02, 0.02, 0.02, 0.02, 0.02, 0.4), {}),
    "the rise is over": ([RISING], fractions(*[0.15] * 6), {RISING: CLEARED}),
    "confluent in two scans": ([], covers(0.5, 0.72, 0.75), {CONFLUENT: RAISED}),
    "confluent in one scan": ([], covers(0.5, 0.6, 0.75), {}),
    "still confluent": ([CONFLUENT], covers(0.75, 0.8, 0.85), {}),
    "a little less than confluent": ([CONFLUENT], covers(0.75, 0.6, 0.6), {}),
    "passaged": ([CONFLUENT], covers(0.75, 0.2, 0.2), {CONFLUENT: CLEARED}),
    "growth stopped": ([], covers(0.3, 0.302, 0.301, 0.299, 0.3, 0.3), {GROWTH_STOPPED: RAISED}),
    "growth goes on": ([], covers(0.2, 0.22, 0.24, 0.26, 0.28, 0.3), {}),
    "growth again": (
        [GROWTH_STOPPED],
        covers(0.2, 0.22, 0.24, 0.26, 0.28, 0.3),
        {GROWTH_STOPPED: CLEARED},
    ),
    "in doubt for a day": ([], doubtful(False, True, True, True, True, True), {DOUBTFUL: RAISED}),
    "in doubt for eighteen hours": ([], doubtful(False, True, True, True, True), {}),
    "in doubt now and then": ([], doubtful(True, True, True, False, True, True), {}),
    "in doubt and told": ([DOUBTFUL], doubtful(*[True] * 9), {}),
    "not in doubt any more": ([DOUBTFUL], doubtful(True, True, False), {DOUBTFUL: CLEARED}),
}


@pytest.mark.parametrize("case", CASES)
def test_notices_begin_and_end_once(case):
    before, series, expected = CASES[case]
    found = judge_notices(before, series, ALL)
    assert {notice.topic: notice.kind for notice in found} == expected
    assert all(notice.text for notice in found)


def test_only_doubt_is_watched_unless_the_lab_asks_for_more():
    every_reason = [
        *fractions(0.0, 0.03, 0.06, 0.09, 0.12, 0.15),
        *[reading(number, 0.15, 0.9) for number in range(6, 12)],
    ]
    assert judge_notices([], every_reason, DEFAULT) == ()


def test_what_is_not_watched_any_more_is_closed():
    found = judge_notices([RISING, CONFLUENT, GROWTH_STOPPED], fractions(*[0.1] * 6), DEFAULT)
    assert {notice.topic for notice in found} == {RISING, CONFLUENT, GROWTH_STOPPED}
    assert {notice.kind for notice in found} == {CLEARED}


def test_a_dish_on_its_way_is_told_when_it_will_pass_the_next_limit():
    rising = fractions(0.02, 0.04, 0.06, 0.08)
    assert next_limit(rising, DEFAULT) is None
    found = next_limit(fractions(0.0, 0.015, 0.03, 0.045, 0.06, 0.075), DEFAULT)
    assert found is not None
    assert found.limit == 0.10
    assert found.earliest_h == pytest.approx(10)
    beyond = next_limit(fractions(0.05, 0.08, 0.11, 0.14, 0.17, 0.2), DEFAULT)
    assert beyond is not None
    assert beyond.limit == 0.30


def test_a_limit_that_the_newest_scan_has_passed_is_not_ahead():
    late = fractions(0.0, 0.015, 0.03, 0.045, 0.06, 0.12)
    found = next_limit(late, DEFAULT)
    assert found is None or found.limit == 0.30
    assert next_limit(late, DifferentiationConfig(critical_above=None)) is None


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Forecast(0.3, 9.2, 13.8), "will pass 30 % in 9 to 14 h"),
        (Forecast(0.3, 9.2, 9.4), "will pass 30 % in 9 h"),
        (Forecast(0.1, 0.2, 3.0), "will pass 10 % in 1 to 3 h"),
        (Forecast(0.3, 40.0, None), "will pass 30 % in 40 h at the earliest"),
    ],
)
def test_a_forecast_in_words(found, text):
    assert forecast_text(found) == text
