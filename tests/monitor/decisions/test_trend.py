from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import theilslopes

from monitor.decisions.trend import Forecast, Trend, forecast, trend

START = datetime(2026, 11, 3, 9, 30, tzinfo=UTC)


def every(hours, count):
    return [START + timedelta(hours=hours * number) for number in range(count)]


def line(slope, level, hours, count):
    return [level + slope * hours * number for number in range(count)]


def test_a_straight_line_has_its_own_slope_and_no_doubt():
    found = trend(every(6, 6), line(0.01, 0.1, 6, 6), window_h=30)
    assert found is not None
    assert found.slope_per_h == pytest.approx(0.01)
    assert (found.low_per_h, found.high_per_h) == pytest.approx((0.01, 0.01))
    assert found.level == pytest.approx(0.1 + 0.01 * 30)
    assert (found.points, found.hours) == (6, 30)


def test_one_wild_scan_moves_neither_slope_nor_level():
    values = line(0.01, 0.1, 1, 20)
    values[7] = 0.9
    found = trend(every(1, 20), values, window_h=30)
    assert found is not None
    assert found.slope_per_h == pytest.approx(0.01, abs=1e-3)
    assert found.level == pytest.approx(0.1 + 0.19, abs=0.01)
    assert found.rises


@pytest.mark.parametrize("count", [0, 1, 4])
def test_few_points_have_no_trend(count):
    assert trend(every(6, count), [0.1] * count, window_h=100) is None


def test_points_before_the_window_do_not_count():
    falls_then_rises = [*line(-0.02, 0.9, 1, 20), *line(0.01, 0.5, 1, 10)]
    found = trend(every(1, 30), falls_then_rises, window_h=9)
    assert found is not None
    assert (found.points, found.hours) == (10, 9)
    assert found.slope_per_h == pytest.approx(0.01)


def test_points_at_one_moment_have_no_slope():
    assert trend([START] * 8, [0.1 * number for number in range(8)], window_h=30) is None


def test_noise_around_a_level_is_not_taken_for_a_rise_too_often():
    random = np.random.default_rng(3)
    false = 0
    for _ in range(400):
        found = trend(every(3, 11), list(random.normal(0.08, 0.01, 11)), window_h=30)
        assert found is not None
        false += found.rises
    # 2.5 % on one side; the bound is that plus three standard errors.
    assert false / 400 < 0.025 + 3 * (0.025 * 0.975 / 400) ** 0.5


@given(st.lists(st.floats(0, 1), min_size=5, max_size=25))
def test_it_agrees_with_another_implementation(values):
    found = trend(every(1, len(values)), values, window_h=100)
    assert found is not None
    theirs = theilslopes(values, np.arange(len(values)), alpha=0.95)
    assert found.slope_per_h == pytest.approx(theirs.slope, abs=1e-9)
    assert found.low_per_h <= found.slope_per_h + 1e-12
    assert found.slope_per_h <= found.high_per_h + 1e-12
    # They round to the nearest rank, we to the wider interval.
    assert found.low_per_h <= theirs.low_slope + 1e-9
    assert found.high_per_h >= theirs.high_slope - 1e-9


RISES = Trend(0.01, 0.008, 0.0125, level=0.2, points=10, hours=30)
FORECASTS = {
    # name: (trend, limit, forecast)
    "between the slopes of its interval": (RISES, 0.3, Forecast(0.3, 8.0, 12.5)),
    "passed already": (RISES, 0.2, None),
    "not surely rising": (Trend(0.01, 0.0, 0.02, 0.2, 10, 30), 0.3, None),
    "the slow end is too far away": (Trend(0.01, 0.001, 0.02, 0.2, 10, 30), 0.3,
                                     Forecast(0.3, 5.0, None)),
    "both ends are too far away": (Trend(1e-4, 1e-5, 1e-3, 0.2, 10, 30), 0.3, None),
}  # fmt: skip


@pytest.mark.parametrize("case", FORECASTS)
def test_a_forecast_is_an_interval_and_only_for_what_surely_rises(case):
    found, limit, expected = FORECASTS[case]
    got = forecast(found, limit)
    if expected is None:
        assert got is None
        return
    assert got is not None
    assert got.earliest_h == pytest.approx(expected.earliest_h)
    assert got.latest_h == (None if expected.latest_h is None else pytest.approx(expected.latest_h))
