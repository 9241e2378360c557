"""What a QPix writes about its work, matched to the hits of plans."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.config import PickLogsConfig
from monitor.config.outlets import QPixLogConfig
from monitor.culture import Handover, PickOutcome, PlanStatus
from monitor.errors import PickLogError
from monitor.jobs.picker_logs import PickLogFolder, plan_picked
from monitor.outlets.picking.qpix_log import is_qpix_log, read_qpix_log
from monitor.record.pick_logs import PickLogState
from tests.monitor.facts import HIT, NOW, TARGET, hours, minutes, removal_plan
from tests.monitor.record.test_plans import out, with_plan

HEAD = (
    "Source Barcode,Source Region,Feature Position X,Feature Position Y,"
    "Destination Barcode,Destination Well"
)
RUN = "2026-11-03T09:40:00Z"


def hit(order, x_um, y_um):
    return replace(
        HIT, order=order, pick_x_um=x_um, pick_y_um=y_um, well_x_um=x_um - 5000, well_y_um=-y_um
    )


TARGETS = (
    replace(TARGET, region_id="r1", hits=(hit(1, 5000.0, 1000.0), hit(2, 5080.0, 1000.0))),
    replace(TARGET, region_id="r2", hits=(hit(3, 5500.0, 1200.0),)),
    replace(TARGET, region_id="r3", hits=(hit(4, 5600.0, 1200.0),)),
)


def log_of(*rows, run=RUN, head=HEAD, ending="\n"):
    lines = ["QPix 420 Picking Log", f"Run Date,{run}", "Method,remove", "", head]
    lines += [f"3500003816,{row},DEST01,A{number}" for number, row in enumerate(rows, start=1)]
    return ending.join([*lines, ""]).encode()


@pytest.fixture
def read(store, tmp_path):
    """Drop a log beside a plan that is out; gives (state, message, outcomes by region)."""
    folder = tmp_path / "picker-says"
    folder.mkdir()

    def drop(content, *, plan_id="p1", **settings):
        qpix = QPixLogConfig(**settings)
        reader = PickLogFolder(PickLogsConfig(folder=folder, qpix=qpix), store)
        (folder / "run.csv").write_bytes(content)
        for at_s in (0.0, 10.0):
            reader.look(lambda: NOW + hours(1), at_s)
        (found,) = store.pick_logs.latest()
        fates = {one.region_id: one.outcome for one in store.plans.plan(plan_id).fates}
        return found.state, found.message or "", fates

    return drop


@pytest.fixture
def plan(store):
    return out(store, targets=TARGETS)


PICKED, PARTLY = PickOutcome.PICKED, PickOutcome.PARTLY_PICKED


def test_features_become_the_hits_that_they_lie_at(plan, read, store):
    """What is not in the log was not picked; of r3 nothing is known yet."""
    state, _, fates = read(log_of("A1,5003.2,998.0", "A1,5501,1195"))
    assert (state, fates) == (PickLogState.READ, {"r1": PARTLY, "r2": PICKED})
    assert store.plans.plan("p1").status is PlanStatus.PICKED


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_lines_and_letters_may_be_those_of_any_machine(plan, read, ending, coding):
    content = log_of("A1,5000,1000", "A1,5080,1000", ending=ending).decode()
    content = content.replace("Method,remove", "Unit,µm")
    state, _, fates = read(content.encode(coding))
    assert (state, fates) == (PickLogState.READ, {"r1": PICKED})


@pytest.mark.parametrize("region", ["A1", "A01", "a1", "a001"])
def test_a_well_may_be_written_in_several_ways(plan, read, region):
    assert read(log_of(f"{region},5500,1200"))[2] == {"r2": PICKED}


@pytest.mark.parametrize(
    ("settings", "row"),
    [
        ({"unit": "mm"}, "A1,5.5,1.2"),
        ({"frame": "well"}, "A1,500,-1200"),
        ({"frame": "well", "unit": "mm"}, "A1,0.5,-1.2"),
    ],
)
def test_unit_and_frame_are_settings(plan, read, settings, row):
    assert read(log_of(row), **settings)[2] == {"r2": PICKED}


@pytest.mark.parametrize(
    ("row", "settings", "said"),
    [
        ("A1,5500,1300", {}, "is 100 um from the nearest hit; check frame, unit"),
        ("A1,5.5,1.2", {}, "in mm it would fit: set outlets.removal.pick_logs.qpix.unit: mm"),
        ("A1,5500,1200", {"unit": "mm"}, "in um it would fit"),
        ("A1,5548,1200", {"tolerance_um": 60.0}, "is between the hits of two regions"),
        ("A1,5500,1200", {"frame": "picker"}, "no positions in the frame 'picker'"),
        ("B7,5500,1200", {}, "3500003816/B7: no plan of this dish was handed out"),
        (",5500,1200", {}, "3500003816: no plan of this dish was handed out"),
    ],
)
def test_what_does_not_fit_is_refused_and_not_guessed(plan, read, row, settings, said):
    state, message, fates = read(log_of("A1,5000,1000", row), **settings)
    assert said in message
    # Lines on a dish are used together or not at all; those on another one are not its fault.
    other_dish = not row.startswith("A1")
    assert state is (PickLogState.PARTLY_READ if other_dish else PickLogState.REFUSED)
    assert fates == ({"r1": PARTLY} if other_dish else {})


def test_the_plan_is_the_last_one_handed_out_before_the_run(store, read):
    out(store, "p1", targets=TARGETS)
    store.plans.reject("p1", who="A. Person", now=NOW + minutes(5))
    with_plan(store, "p2", targets=TARGETS, created_at=NOW + minutes(20))
    store.plans.approve("p2", who="A. Person", now=NOW + minutes(20))
    store.plans.hand_out("p2", to="folder", token="t2", now=NOW + minutes(30))
    assert read(log_of("A1,5500,1200"), plan_id="p1")[2] == {"r2": PICKED}
    assert store.plans.plan("p2").fates == ()
    later = log_of("A1,5600,1200", run="2026-11-03T10:10:00Z")
    assert read(later, plan_id="p2")[2] == {"r3": PICKED}


def test_a_run_before_the_plan_was_handed_out_is_none_of_its(plan, read):
    state, message, _ = read(log_of("A1,5500,1200", run="2026-11-03T08:00:00Z"))
    assert (state, "handed out before 2026-11-03 08:00 UTC" in message) == (
        PickLogState.REFUSED,
        True,
    )


def test_without_the_setting_the_log_says_what_is_missing(plan, store, tmp_path):
    (tmp_path / "run.csv").write_bytes(log_of("A1,5500,1200"))
    reader = PickLogFolder(PickLogsConfig(folder=tmp_path), store)
    for at_s in (0.0, 10.0):
        reader.look(lambda: NOW + hours(1), at_s)
    (found,) = store.pick_logs.latest()
    assert (found.reason, "outlets.removal.pick_logs.qpix" in found.message) == ("dialect", True)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (log_of("A1,5500,1200")[:-1], "half-written"),
        (log_of("A1,5500,1200") + b"3500003816,A1,55", "half-written"),
        (log_of("A1,5500"), "cells"),
        (log_of("A1,5500,twelve"), "position"),
        (log_of("A1,5500,nan"), "position"),
        (log_of("A1,1e999,1200"), "position"),
        (log_of('A1,"5500,1200'), "not-csv"),
        (log_of("A1,5500,1200") + b",A1,5500,1200,DEST01,A2\n", "cells"),
        (log_of("A1,1,2", head=HEAD + ",Source Region"), "columns"),
        (log_of("A1,1,2", head=HEAD.replace("Feature Position Y", "Z")), "columns"),
        (log_of("A1,1,2") + log_of("A1,1,2"), "columns"),
        (log_of("A1,1,2", run="03/11/2026"), "time"),
        (log_of("A1,1,2", run=""), "time"),
        (log_of("A1,1,2", run="0001-01-01T00:00:00+14:00"), "time"),
    ],
)
def test_a_log_that_is_not_whole_and_right_is_not_used(content, reason):
    assert is_qpix_log(content)
    with pytest.raises(PickLogError) as refused:
        read_qpix_log(content, QPixLogConfig())
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("line", "written"),
    [
        ("Run Date,2026-11-03T09:40:00Z", {}),
        ("Run Date,2026-11-03 18:40:00", {"timezone": "Asia/Tokyo"}),
        ('"Run Date","03/11/2026 09:40"', {"date_format": "%d/%m/%Y %H:%M"}),
        ("Run Date: 11/3/2026 1:40:00 AM,,,,", {
            "date_format": "%m/%d/%Y %I:%M:%S %p", "timezone": "America/Los_Angeles"
        }),
    ],
)  # fmt: skip
def test_the_run_date_is_read_as_it_is_said_to_be_written(line, written):
    content = log_of("A1,1,2").replace(f"Run Date,{RUN}".encode(), line.encode())
    found = read_qpix_log(content, QPixLogConfig(**written))
    assert found.run_at == datetime(2026, 11, 3, 9, 40, tzinfo=UTC)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=6), st.integers(0, 400), st.integers(0, 20))
def test_no_bytes_bring_the_reader_down(garbage, at, cut):
    content = log_of("A1,5500,1200", "A1,5600,1200")
    content = content[:at] + garbage + content[at + cut :]
    if is_qpix_log(content):
        with suppress(PickLogError):
            read_qpix_log(content, QPixLogConfig())


def test_our_own_logs_are_not_taken_for_one():
    assert not is_qpix_log(b"plan,target,outcome\np1,1,picked\n")
    assert not is_qpix_log(b"\xff\xfe\x00")


def handed_out(dish, source, label="3500003816/A1", at=NOW):
    handover = Handover("folder", "t", at)
    return removal_plan(f"p-{source}", dish=dish, source=source, label=label, handover=handover)


@pytest.mark.parametrize("dish", ["a:3500003816/A1", "donor 7"])
def test_a_run_is_of_the_plate_that_its_barcode_says_whatever_people_call_the_dish(dish):
    plan = handed_out(dish, "a")
    assert plan_picked([plan], "3500003816", "A01", None) is plan


def test_a_run_on_a_name_that_two_sources_use_is_of_neither():
    plans = [handed_out(f"{source}:3500003816/A1", source) for source in "ab"]
    with pytest.raises(PickLogError, match="of sources a, b") as refused:
        plan_picked(plans, "3500003816", "A1", None)
    assert refused.value.reason == "several-dishes"
