from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.decisions.hours import last_moment, quiet_until

BERLIN, TOKYO = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Tokyo")
NIGHT = {"begin": time(22), "end": time(7)}
NOON = {"begin": time(12), "end": time(13)}


def berlin(text: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).astimezone(UTC)


RESTS = {
    # name: (now, hours, end of the rest)
    "before it": (berlin("2026-11-03 21:59"), NIGHT, None),
    "at its begin": (berlin("2026-11-03 22:00"), NIGHT, berlin("2026-11-04 07:00")),
    "after midnight": (berlin("2026-11-04 03:00"), NIGHT, berlin("2026-11-04 07:00")),
    "at its end": (berlin("2026-11-04 07:00"), NIGHT, None),
    "within a day": (berlin("2026-11-04 12:30"), NOON, berlin("2026-11-04 13:00")),
    "the night with an hour less": (
        berlin("2026-03-28 23:00"), NIGHT, datetime(2026, 3, 29, 5, tzinfo=UTC),
    ),
    "the night with an hour more": (
        berlin("2026-10-24 23:00"), NIGHT, datetime(2026, 10, 25, 6, tzinfo=UTC),
    ),
    "in the hour that comes twice, second time": (
        berlin("2026-10-25 02:30", fold=1), NIGHT, datetime(2026, 10, 25, 6, tzinfo=UTC),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RESTS)
def test_a_rest_ends_by_the_labs_clock_whatever_the_clock_does(name):
    now, hours, ends = RESTS[name]
    assert quiet_until(now, zone=BERLIN, **hours) == ends


@pytest.mark.parametrize(
    ("end", "ends_utc"),
    [
        (time(2, 30), datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),  # 02:30 is skipped: 03:30
        (time(3), datetime(2026, 3, 29, 1, 0, tzinfo=UTC)),
    ],
)
def test_a_rest_that_ends_at_a_time_which_is_skipped_ends_all_the_same(end, ends_utc):
    now = berlin("2026-03-29 01:00")
    assert quiet_until(now, begin=time(22), end=end, zone=BERLIN) == ends_utc


moments = st.integers(0, 60 * 24 * 365 * 4).map(
    lambda count: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=count)
)
clocks = st.times().map(lambda one: one.replace(second=0, microsecond=0))


@given(moments, clocks, clocks.filter(bool))
def test_the_end_of_a_rest_lies_ahead_within_a_day_and_an_hour(now, begin, end):
    if begin == end:
        return
    ends = quiet_until(now, begin=begin, end=end, zone=BERLIN)
    if ends is not None:
        assert timedelta() < ends - now <= timedelta(hours=25)
        assert quiet_until(ends, begin=begin, end=end, zone=BERLIN) in (None, ends)


DUE = {
    "after the time": (berlin("2026-11-03 09:00"), berlin("2026-11-03 08:00")),
    "at the time": (berlin("2026-11-03 08:00"), berlin("2026-11-03 08:00")),
    "before it: yesterday's": (berlin("2026-11-03 07:59"), berlin("2026-11-02 08:00")),
    "over the change to summer": (
        berlin("2026-03-29 09:00"), datetime(2026, 3, 29, 6, tzinfo=UTC),
    ),
    "over the change to winter": (
        berlin("2026-10-25 09:00"), datetime(2026, 10, 25, 7, tzinfo=UTC),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DUE)
def test_the_digest_is_due_by_the_labs_clock(name):
    now, due = DUE[name]
    assert last_moment(now, time(8), BERLIN) == due


@pytest.mark.parametrize("at", [time(0), time(2, 30), time(8), time(23, 59)])
@pytest.mark.parametrize("zone", [BERLIN, TOKYO])
def test_there_is_one_digest_for_each_day_of_the_year(at, zone):
    """Also where its time is skipped, or comes twice."""
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    found = {last_moment(now + timedelta(minutes=20 * step), at, zone) for step in range(365 * 72)}
    days = {moment.astimezone(zone).date() for moment in found}
    assert len(found) == len(days)
    assert 365 <= len(days) <= 366
