"""All dishes at once say the same as each dish asked for alone; and what counts as a change."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from monitor.culture import AlertKind, DishStatus, NewAlert, ScanDecision
from monitor.record.alerts import standing
from monitor.record.store import Store
from tests.monitor.facts import NOW, hours, measure, measurement, minutes, place, read


@pytest.fixture
def file(fresh_database, tmp_path) -> Path:
    return Path(shutil.copy(fresh_database, tmp_path / "record.sqlite"))


@pytest.fixture
def store(file):
    with Store(f"sqlite:///{file}") as opened:
        yield opened


def scan(store: Store, dish: str, number: int, *, alert: NewAlert | None = None) -> None:
    measured = measurement(
        acquired_at=NOW + hours(number), differentiated=50 + number, label_map=None,
        overlay=f"overlays/{dish[-2:]}-{number}.jpg",
    )  # fmt: skip
    name = f"{dish.replace('/', '-')}-{number}.tif"
    scan_id = measure(store, name, place(dish, key=f"s{number}"), measured)
    status = DishStatus.UNDIFFERENTIATED if alert is None else DishStatus.DIFFERENTIATING
    read(store, scan_id, ScanDecision(status, () if alert is None else (alert,)))


def alone(store: Store, since):
    return [store.overviews.dish(name, since=since, points=9) for name in ("P1/A1", "P1/B2")]


def test_dishes_together_are_the_same_as_each_alone_also_after_more_scans(store):
    since = NOW - timedelta(days=7)
    for numbers in ((1, 2), (3,), (0,)):  # the last one came late
        for number in numbers:
            for dish in ("P1/A1", "P1/B2"):
                scan(store, dish, number)
        found = store.glances.drawn(store.glances.dishes(), since=since, points=9)
        assert found == alone(store, since)
    assert len(found[0].series) == 4


def test_only_scans_since_then_are_in_a_series(store):
    for number in (1, 2, 3):
        scan(store, "P1/A1", number)
    (one,) = store.glances.drawn(store.glances.dishes(), since=NOW + hours(2), points=9)
    assert [point.at for point in one.series] == [NOW + hours(2), NOW + hours(3)]


def test_a_scan_an_alert_an_answer_and_a_note_are_changes_and_a_sign_of_life_is_none(store):
    marks = [store.changes.mark()]

    def changed() -> bool:
        marks.append(store.changes.mark())
        return marks[-1] != marks[-2]

    scan(store, "P1/A1", 1)
    assert changed()
    scan(store, "P1/A1", 2, alert=NewAlert(AlertKind.RAISED))
    assert changed()
    (alert,) = store.overviews.alerts(limit=9, is_open=True)
    store.alerts.answer(
        alert.id, who="Ada", note=None, snooze_until=NOW + hours(9), keep_snooze=False,
        as_of=standing(alert), now=NOW,
    )  # fmt: skip
    assert changed()
    store.lines.annotate("P1/A1", "fed", at=NOW, who="Ada", now=NOW + minutes(1))
    assert changed()
    store.processes.beat("me", NOW, {})
    assert not changed()
    assert len(set(marks)) == len(marks) - 1


def test_what_another_program_writes_is_a_change_too(store, file):
    before = store.changes.mark()
    with Store(f"sqlite:///{file}") as other:
        scan(other, "P1/A1", 1)
    assert store.changes.mark() != before


def test_tables_are_listed_by_the_portion_each_row_once(store):
    for number in (1, 2, 3):
        scan(store, "P1/A1", number)
    scan(store, "P1/B2", 4)
    first = store.listings.readings(after=0, limit=3)
    rest = store.listings.readings(after=first[-1][0].id, limit=3)
    ids = [one.id for one, _ in (*first, *rest)]
    assert ids == sorted(set(ids))
    assert len(ids) == 4
    assert {one.dish for one, _ in store.listings.readings(after=0, limit=9, dish="P1/B2")} == {
        "P1/B2"
    }
