"""A source's time zone is put right: what is on record of it is put right too."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from monitor.capture.naming import name_capture
from monitor.config import SourceSettings
from monitor.culture import AlertKind, DishStatus
from monitor.culture.local_times import is_by_zone, moved
from monitor.pipeline import Pipeline
from tests.monitor.facts import NOW, hours
from tests.monitor.test_orders import arrive, field, new_line

TOKYO = ZoneInfo("Asia/Tokyo")


def local(taken: datetime, share: float, zone: str):
    """(name, measurement) of a scan by an imager whose clock is Tokyo's, read by `zone`."""
    digits = taken.astimezone(TOKYO).replace(tzinfo=None)
    at = digits.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    name, shown = field(((at - (NOW - hours(48))) / hours(1), share, False), 0)
    return name, replace(shown, zone=zone)


def scans(shares, zone, first):
    return [local(first + hours(2 * n), share, zone) for n, share in enumerate(shares)]


def restarted(line, **settings):
    (source,) = line.config.sources
    config = line.config.model_copy(update={"sources": (source.model_copy(update=settings),)})
    pipeline = Pipeline(config, line.store, line.worker, owner="me", clock=line.clock)
    pipeline.put_zones_right()
    return replace(line, pipeline=pipeline, config=config)


def test_what_is_on_record_is_put_right_with_the_zone_and_no_hours_are_muted(make_record):
    first = NOW - hours(30)
    wrong = scans([0.01, 0.01, 0.02, 0.01], "UTC", first)
    right = scans([0.5, 0.55, 0.6, 0.58], "Asia/Tokyo", first + hours(8))
    with new_line(make_record(), first + hours(7)) as line:
        for one in wrong:
            arrive(line, [one])
        assert line.store.dishes.history("dish-07")[0].at == first + hours(9)
        assert line.store.dishes.history("dish-07")[-1].doubts == ("dated-ahead",)
        again = restarted(line, timezone="Asia/Tokyo")
        history = again.store.dishes.history("dish-07")
        assert [one.at for one in history] == [first + hours(2 * n) for n in range(4)]
        assert {one.doubts for one in history} == {()}
        for number, one in enumerate(right):
            again.clock.now = first + hours(8 + 2 * number) + timedelta(minutes=2)
            arrive(again, [one])
        history = again.store.dishes.history("dish-07")
        assert [one.at for one in history] == [first + hours(2 * n) for n in range(8)]
        assert {one.captures for one in history} == {1}
        raised = [one for one in again.store.alerts.alerts() if one.kind is AlertKind.RAISED]
        assert raised
        (dish,) = again.store.dishes.dishes()
        assert dish.status is DishStatus.DIFFERENTIATING


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "Europe/Berlin", "America/St_Johns"])
def test_a_zone_that_is_put_right_and_back_changes_nothing(zone):
    at = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    there = moved(at, "UTC", zone)
    assert there.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == at.replace(tzinfo=None)
    assert moved(there, zone, "UTC") == at


NAMES = {
    "of no zone": ("dish-07_20261103T030000.tif", True),
    "of UTC": ("dish-07_20261103T030000Z.tif", False),
    "with an offset": ("dish-07_20261103T030000+0900.tif", False),
}


@pytest.mark.parametrize("case", NAMES)
def test_only_times_that_name_no_zone_rest_on_that_of_the_source(case):
    name, rests = NAMES[case]
    settings = SourceSettings(names="dish-time", timezone="Asia/Tokyo")
    named = name_capture(Path("/in") / name, settings.names, settings.zone, settings.start)
    assert named.acquired_at is not None
    assert is_by_zone(named.acquired_at) is rests
