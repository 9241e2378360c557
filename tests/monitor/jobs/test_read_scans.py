"""Scans read one by one, together, late, and while others write."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import event

from monitor.config import (
    DecisionsConfig,
    RemovalConfig,
)
from monitor.culture import (
    AlertKind,
    DishStatus,
    FieldAreas,
    PlanStatus,
)
from monitor.errors import RecordError
from monitor.jobs.read_scans import TRIES
from tests.monitor.facts import measurement, minutes
from tests.monitor.line import (
    CALIBRATED,
    TWO_OF_THREE,
    away_while_others_wait,
    name_at,
    scanned,
    series,
)


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "of a backlog"])
def test_label_maps_are_read_before_the_transaction_that_decides(make_line, store, together):
    """They are large and may lie on a slow disk; nobody else can write while a decision is made."""
    line = make_line(
        decisions=DecisionsConfig(
            differentiation=TWO_OF_THREE, removal=RemovalConfig(earlier_scans=1)
        ),
        **CALIBRATED,
    )
    state = line.config.record.folder / "labels"
    state.mkdir(parents=True, exist_ok=True)
    labels = np.ones((200, 200), np.uint8)
    labels[40:160, 40:200] = 2
    Image.fromarray(labels).save(state / "1.png")
    for hour in (1, 2, 3):
        line.worker.says[name_at(hour)] = scanned(0.3, hour, label_map="labels/1.png")
        line.take_in(line.drop(name_at(hour)))
    line.run()
    line.clock.passes(minutes(5))
    scans = line.pipeline.complete_scans()
    with away_while_others_wait(store, state) as opened:
        if together:
            outcomes = line.pipeline.read_scans(scans)
        else:
            outcomes = [line.pipeline.read_scan(scan) for scan in scans]
    assert [one.decision.plan is not None for one in outcomes] == [False, True, True]
    assert len(opened) == (1 if together else 3)


def read_while_fields_come(line, store, comes):
    """Read a scan; at each beginning of a transaction another program writes a field of it."""
    for number in range(1 + comes):
        name = name_at(3, field=number)
        line.worker.says[name] = scanned(0.3, 3)
        line.take_in(line.drop(name))
    first, *late = line.pipeline.start_due(100)
    line.pipeline.finish(first)
    line.clock.passes(minutes(5))
    (scan,) = store.scans.scans_to_read(line.clock.now, {}, {"incubator": 1})
    reader, coming = threading.current_thread(), iter(late)

    def one_comes(connection):
        if threading.current_thread() is not reader or not (
            connection.get_execution_options().get("writes") and (work := next(coming, None))
        ):
            return
        connection.exec_driver_sql("ROLLBACK")
        other = threading.Thread(target=line.pipeline.finish, args=(work,))
        other.start()
        other.join()
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(store.database.engine, "begin", one_comes)
    try:
        return line.pipeline.read_scan(scan)
    finally:
        event.remove(store.database.engine, "begin", one_comes)


def test_a_field_that_comes_while_its_scan_is_read_is_in_the_reading(make_line, store):
    """What was put together before the transaction is then not the scan: it is begun anew."""
    line = make_line(**CALIBRATED)
    outcome = read_while_fields_come(line, store, 1)
    assert (outcome.reading.captures, outcome.reading.version) == (2, 1)
    assert line.pipeline.complete_scans() == []


def test_a_scan_that_changes_all_the_time_is_read_later(make_line, store, caplog):
    """Nobody waits for it for ever, and nothing is lost."""
    line = make_line(**CALIBRATED)
    assert read_while_fields_come(line, store, TRIES) is None
    assert "it is read later" in caplog.text
    (outcome,) = line.read_all()
    assert (outcome.reading.captures, outcome.reading.version) == (1 + TRIES, 1)


def test_a_scan_that_trips_over_a_fault_of_ours_does_not_stop_the_others(line, store, caplog):
    for dish, areas in (("dish-01", None), ("dish-02", FieldAreas(600, 300, 100))):
        name = name_at(1, dish)
        line.worker.says[name] = measurement()
        line.take_in(line.drop(name))
        line.run()
        if areas is None:
            with store.database.writing() as session:
                session.connection().exec_driver_sql("UPDATE measurement SET detail = x'01'")
    first, second = line.read_all()
    assert first is None
    assert second.reading.dish == "dish-02"
    assert "unexpected error" in caplog.text
    assert line.pipeline.complete_scans() == []
    assert [str(capture.state) for capture in line.all()] == ["measured", "recorded"]


def test_scans_read_together_say_what_they_say_one_by_one(make_line, store):
    """Of a backlog: each scan sees those before it, though nothing of them is written yet."""
    line = make_line(**CALIBRATED)
    fractions = 0.01, 0.2, 0.21, 0.22, 0.2
    for hour, fraction in enumerate(fractions, start=1):
        line.worker.says[name_at(hour)] = scanned(fraction, hour)
        line.take_in(line.drop(name_at(hour)))
    assert None not in line.pipeline.finish_all(line.pipeline.start_due(100))
    line.clock.passes(minutes(5))
    outcomes = line.pipeline.read_scans(line.pipeline.complete_scans())
    raised = [None, None, AlertKind.RAISED, None, None]
    assert [outcome.decision.alert for outcome in outcomes] == raised
    assert [outcome.status_before for outcome in outcomes] == [
        DishStatus.UNKNOWN,
        DishStatus.UNDIFFERENTIATED,
        DishStatus.ABOVE_LIMIT,
        *[DishStatus.DIFFERENTIATING] * 2,
    ]
    (alert,) = store.alerts.alerts()
    assert alert.reading_id == outcomes[2].reading.id
    assert [str(plan.status) for plan in store.plans.all()].count("draft") == 1
    assert line.pipeline.complete_scans() == []


def test_a_backlog_that_is_cut_off_in_the_middle_is_read_from_its_beginning(line, store):
    """Killed, out of disk: of the scans that are read together none is, and none is lost."""
    for hour in range(4):
        line.worker.says[name_at(hour)] = scanned(0.01, hour)
        line.take_in(line.drop(name_at(hour)))
    line.run()
    line.clock.passes(minutes(5))
    scans = line.pipeline.complete_scans()
    change(
        store,
        "CREATE TRIGGER full BEFORE INSERT ON reading WHEN (SELECT count(*) FROM reading) = 2 "
        "BEGIN SELECT RAISE(ABORT, 'disk is full'); END",
    )
    with pytest.raises(RecordError, match="disk is full"):
        line.pipeline.read_scans(scans)
    assert {str(capture.state) for capture in line.all()} == {"measured"}
    change(store, "DROP TRIGGER full")
    assert line.pipeline.complete_scans() == scans
    assert [one.reading.version for one in line.pipeline.read_scans(scans)] == [1] * 4
    assert {str(capture.state) for capture in line.all()} == {"recorded"}


def change(store, statement):
    """As nobody but a broken disk, or a fault of ours, would."""
    with store.database.writing() as session:
        session.connection().exec_driver_sql(statement)


@pytest.mark.parametrize("where", ["before the transaction", "inside it"])
def test_of_scans_read_together_one_fault_of_ours_stops_only_its_own(line, store, caplog, where):
    for dish in ("dish-01", "dish-02", "dish-03"):
        line.take_in(line.drop(name_at(1, dish)))
    line.run()
    if where == "inside it":
        change(store, "UPDATE dish SET status = 'no status' WHERE name = 'dish-02'")
    else:
        change(store, "UPDATE measurement SET detail = x'01' WHERE id = 2")
    line.clock.passes(minutes(5))
    outcomes = line.pipeline.read_scans(line.pipeline.complete_scans())
    assert [one.reading.dish for one in outcomes] == ["dish-01", "dish-03"]
    assert "unexpected error" in caplog.text
    assert line.pipeline.complete_scans() == []
    assert [str(capture.state) for capture in line.all()] == ["recorded", "measured", "recorded"]


def test_older_scans_that_come_later_alert_as_they_would_have_in_time(make_line, store):
    line = make_line(**CALIBRATED)
    series(line, 0.01, first_hour=20)
    outcomes = series(line, 0.3, 0.4, 0.5, first_hour=5)
    assert [outcome.decision.alert for outcome in outcomes] == [
        None,
        AlertKind.RAISED,
        AlertKind.WORSENED,
    ]
    assert [(one.at.hour, one.kind) for one in store.alerts.alerts()] == [
        (7, AlertKind.WORSENED),
        (6, AlertKind.RAISED),
    ]
    assert store.dishes.dishes()[0].status is DishStatus.DIFFERENTIATING
    assert [one.at.hour for one in store.dishes.history("dish-07")] == [5, 6, 7, 20]


def test_a_late_field_does_not_alert_a_second_time(make_line, store):
    line = make_line(**CALIBRATED)
    series(line, 0.2, 0.3)
    late = name_at(2, field=2)
    line.worker.says[late] = scanned(0.3, 2)
    line.take_in(line.drop(late))
    line.run()
    (outcome,) = line.read_all()
    assert (outcome.reading.version, outcome.reading.captures) == (2, 2)
    assert len(store.alerts.alerts()) == 1
    newest, former = sorted(store.plans.all(), key=lambda plan: plan.reading_id, reverse=True)
    assert (newest.status, former.status) == (PlanStatus.DRAFT, PlanStatus.SUPERSEDED)


def test_settings_changed_between_two_fields_are_both_in_the_readings_hash(line):
    for number, settings in enumerate(("1" * 64, "2" * 64)):
        name = name_at(3, field=number)
        line.worker.says[name] = measurement(settings_sha256=settings)
        line.take_in(line.drop(name))
    line.run()
    (outcome,) = line.read_all()
    assert outcome.reading.settings_sha256 not in ("1" * 64, "2" * 64)
    assert len(outcome.reading.settings_sha256) == 64


def test_dishes_are_judged_apart(line, store):
    for dish, fraction in (("dish-01", 0.01), ("dish-02", 0.5)):
        for hour in (1, 2, 3):
            name = name_at(hour, dish)
            line.worker.says[name] = scanned(fraction, hour)
            line.take_in(line.drop(name))
    line.run()
    line.read_all()
    assert [alert.dish for alert in store.alerts.alerts()] == ["dish-02"]
