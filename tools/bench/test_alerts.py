from __future__ import annotations

import numpy as np
import pytest

from monitor.culture import AlertKind, AlertTopic
from monitor.decisions.course import Change
from tools.bench.alert_series import LIVES
from tools.bench.alerts import (
    ASSUMED,
    LIMIT,
    LIMITS,
    NOISES,
    Lived,
    Series,
    alerts_by_rule,
    alerts_by_threshold,
    heard,
    score,
    simulate,
)


def series(truth, read=None):
    truth = np.array(truth)
    above = np.flatnonzero(truth > LIMIT)
    read = truth if read is None else np.array(read)
    passed = int(above[0]) if len(above) else None
    return Series(truth, truth, read, np.zeros(len(truth), bool), passed)


RAISED, WORSENED, CLEARED = AlertKind
RISES = series([0.0, 0.0, 0.05, 0.2, 0.3, 0.4, 0.5, 0.6])


@pytest.mark.parametrize(
    ("found", "in_time", "missed", "false"),
    [([3], 1, 0, 0), ([5], 1, 0, 0), ([6], 0, 0, 0), ([], 0, 1, 0), ([0], 0, 1, 1), ([2], 1, 0, 0)],
)
def test_an_alert_is_in_time_late_early_or_false(found, in_time, missed, false):
    got = score([RISES], [found], 6.0)
    assert (got.onsets, got.in_time, got.missed, got.false) == (1, in_time, missed, false)


def test_one_limit_alerts_at_each_crossing():
    flat = series([0.0] * 6, [0.2, 0.0, 0.0, 0.2, 0.0, 0.3])
    assert alerts_by_threshold(flat, LIMIT, 6.0) == [0, 3, 5]
    assert alerts_by_rule(flat, LIMITS, 6.0) == []


@pytest.mark.parametrize("noise", NOISES[:2], ids=lambda noise: noise.name)
def test_the_default_rule_is_in_time_and_seldom_wrong(noise):
    """Fewer dishes than docs/alerts.md rests on, so with room for chance."""
    random = np.random.default_rng(11)
    dishes = [simulate(random, noise, 6.0) for _ in range(400)]
    got = score(dishes, [alerts_by_rule(one, LIMITS, 6.0) for one in dishes], 6.0)
    plain = score(dishes, [alerts_by_threshold(one, LIMIT, 6.0) for one in dishes], 6.0)
    assert got.share_in_time > 0.93
    assert got.false_per_100 < 2.0
    if noise is ASSUMED:
        assert got.false_per_100 < plain.false_per_100 / 3


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ([], []),
        ([(4, RAISED)], [4]),
        ([(1, RAISED)], [1, 3]),
        ([(1, RAISED), (2, CLEARED)], [1]),
        ([(1, RAISED), (5, CLEARED)], [1, 3]),
        ([(1, RAISED), (4, WORSENED)], [1, 3, 4]),
    ],
)
def test_a_request_that_is_open_while_the_truth_passes_the_limit_was_heard(asked, told):
    changes = [(number, Change(None, AlertTopic.PLEASE_LOOK, kind)) for number, kind in asked]
    assert sorted(heard(RISES, changes)) == told


@pytest.mark.parametrize("life", LIVES[1:], ids=lambda life: life.name)
def test_passages_debris_and_doubt_make_few_false_alerts_and_hide_no_onset(life):
    """Fewer dishes than docs/alerts.md rests on, so with room for chance."""
    got = Lived.measured(life, 6.0, 150, 11)
    assert got.told.share_in_time > 0.9
    assert got.alone.false_per_100 < 3.0
    if life.passages:
        assert got.blind.false_per_100 > 10 * max(got.alone.false_per_100, 1.0)
