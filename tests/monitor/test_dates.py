"""Captures whose date cannot be right: shown as doubtful, and without a say in what is decided."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from monitor.culture import AlertKind, DishStatus, Severity
from tests.monitor.facts import NOW, hours, minutes
from tests.monitor.test_orders import arrive, field, new_line


def scan_at(at: datetime, share: float, number: int = 0):
    """(name, measurement) of a scan that is dated so."""
    after_h = (at - (NOW - hours(48))) / hours(1)
    name, shown = field((after_h, share, False), number)
    return name, shown


def six_at_98_percent(until: datetime):
    return [scan_at(until - hours(4 * back), 0.98) for back in range(5, -1, -1)]


def last_of(line):
    (dish,) = line.store.dishes.dishes()
    (overview,) = line.store.overviews.dishes(limit=5, since=NOW - hours(99), points=9)
    assert dish.last == overview.last
    assert dish.last is not None
    assert line.store.dishes.newest_at("dish-07") == dish.last.at
    return dish


MISDATED = {
    "15 hours ahead": (hours(15), "dated-ahead"),
    "16 minutes ahead": (minutes(16), "dated-ahead"),
    "in 2099": (datetime(2099, 1, 1, tzinfo=UTC) - NOW, "dated-ahead"),
    "in 1970": (datetime(1970, 1, 1, 0, 3, tzinfo=UTC) - NOW, "dated-before-1990"),
}


@pytest.mark.parametrize("case", MISDATED)
@pytest.mark.parametrize("one_by_one", [True, False])
def test_a_misdated_scan_is_doubtful_and_never_the_newest(make_record, case, one_by_one):
    """It hid six scans at 98 % behind one healthy scan that was dated ahead."""
    off, doubt = MISDATED[case]
    healthy = scan_at(NOW + off, 0.0)
    bad = six_at_98_percent(NOW)
    with new_line(make_record(), NOW) as line:
        arrive(line, [healthy])
        for portion in [[one] for one in bad] if one_by_one else [bad]:
            arrive(line, portion)
        dish = last_of(line)
        assert (dish.status, dish.last.at) == (DishStatus.DIFFERENTIATING, bad[-1][1].acquired_at)
        worst = [one for one in line.store.alerts.alerts() if one.severity is Severity.CRITICAL]
        assert [one.kind for one in worst][-1:] == [AlertKind.RAISED]
        doubts = {one.at: one.doubts for one in line.store.dishes.history("dish-07")}
        assert doubts.pop(healthy[1].acquired_at) == (doubt,)
        assert set(doubts.values()) == {()}


def test_a_clock_a_few_minutes_ahead_is_in_no_doubt(make_record):
    with new_line(make_record(), NOW) as line:
        arrive(line, [scan_at(NOW + minutes(14), 0.2)])
        assert last_of(line).last.doubts == ()


def test_a_misdated_scan_stays_doubtful_when_its_date_has_come(make_record):
    with new_line(make_record(), NOW) as line:
        arrive(line, [scan_at(NOW + hours(15), 0.0)])
        line.clock.now = NOW + hours(20)
        later = [scan_at(NOW + hours(hour), 0.98) for hour in (13, 14, 16, 17)]
        arrive(line, later)
        dish = last_of(line)
        assert (dish.status, dish.last.at) == (DishStatus.DIFFERENTIATING, NOW + hours(17))


def test_a_dish_of_misdated_scans_alone_shows_them_as_doubtful(make_record):
    with new_line(make_record(), NOW) as line:
        for hour in range(4):
            arrive(line, [scan_at(NOW + hours(20 + hour), 0.98)])
        dish = last_of(line)
        assert (dish.status, dish.last.doubts) == (DishStatus.UNKNOWN, ("dated-ahead",))
        assert line.store.plans.all() == []


def test_a_field_dated_ahead_joins_no_scan_of_that_time(make_record):
    """The scan that is taken then is not in doubt for it."""
    with new_line(make_record(), NOW) as line:
        arrive(line, [scan_at(NOW + hours(15), 0.0, 0)])
        line.clock.now = NOW + hours(16)
        arrive(line, [scan_at(NOW + hours(15), 0.2, 1)])
        assert [one.doubts for one in line.store.dishes.history("dish-07")] == [
            ("dated-ahead",),
            (),
        ]


def test_misdated_scans_do_not_pass_for_silence_nor_hide_it(make_record):
    with new_line(make_record(), NOW) as line:
        arrive(line, [scan_at(NOW + timedelta(days=900), 0.0)])
        (sign,) = line.store.dishes.signs()
        assert abs(sign.last_new_at - NOW) < minutes(5)


def test_a_pause_of_months_begins_a_new_series_and_asks(make_record):
    """Last year's 12 and 13 % and today's 11 % are no three scans that agree."""
    year = NOW - timedelta(days=365)
    last_year = [scan_at(year + hours(6 * n), share) for n, share in enumerate((0, 0, 0.12, 0.13))]
    with new_line(make_record(), NOW) as line:
        arrive(line, last_year)
        arrive(line, [scan_at(NOW - hours(1), 0.11)])
        assert last_of(line).status is not DishStatus.DIFFERENTIATING
        (asked,) = line.store.alerts.alerts()
        assert (str(asked.topic), asked.kind) == ("old-series", AlertKind.RAISED)
        assert "364 days" in (asked.text or "")
