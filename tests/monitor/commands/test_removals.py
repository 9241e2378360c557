"""`removals done`, `show` and `schema`: what a person says and sees of a plan that was picked."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from jsonschema import Draft202012Validator

from monitor.culture import RegionVerdict, RemovalCheck
from monitor.host.clock import utc_now
from monitor.record.plans import write_verdicts
from monitor.record.store import Store
from tests.monitor.commands.calls import DONE, FAILED, MISUSED, call
from tests.monitor.facts import hours, removal_plan, target_at
from tests.monitor.jobs.test_picker_queue import with_plan

PLAN = "20261103-00000001"


@pytest.fixture
def state(tmp_path):
    """A record with one plan of three regions, which the picker has."""
    folder = tmp_path / "state"
    folder.mkdir()
    now = utc_now()
    with Store(f"sqlite:///{folder / 'colonywatch.sqlite'}") as store:
        targets = tuple(target_at(number, pick_x_um=5000.0 * number) for number in (1, 2, 3))
        plan = removal_plan(PLAN, targets=targets, created_at=now, expires_at=now + hours(12))
        with_plan(store, PLAN, plan=plan, approved=False)
        store.plans.approve(PLAN, who="Ada", now=now)
        store.plans.hand_out(PLAN, to="folder", token="t1", now=now)
    return folder


def done(state, *words):
    return call("removals", "done", PLAN, *words, "--who", "Ada", "--state", state)


def fates(state):
    shown = call("removals", "show", PLAN, "--json", "--state", state).document
    return {one["region_id"]: one["fate"] and one["fate"]["outcome"] for one in shown["targets"]}


@pytest.mark.parametrize(
    ("words", "outcomes", "said"),
    [
        ((), ("picked", "picked", "picked"), "3 picked"),
        (("--failed", "3"), ("picked", "picked", "failed"), "2 picked, 1 failed"),
        (("--targets", "1"), ("picked", "failed", "failed"), "1 picked, 2 failed"),
        (("--targets", "1", "--targets", "r2"), ("picked", "picked", "failed"), "2 picked"),
        (("--targets", "r1", "--failed", "2"), ("picked", "failed", "failed"), "1 picked"),
    ],
)
def test_what_was_removed_is_said_region_by_region(state, words, outcomes, said):
    answer = done(state, *words)
    assert answer.code == DONE, answer.err
    assert f"plan {PLAN} of 3500003816/A1 is picked; of 3 regions {said}" in answer.err
    assert fates(state) == dict(zip(("r1", "r2", "r3"), outcomes, strict=True))


def test_regions_may_be_named_one_call_after_the_other(state):
    """As somebody at the bench does it."""
    assert done(state, "--targets", "1").code == DONE
    answer = done(state, "--targets", "2")
    assert answer.code == DONE, answer.err
    assert fates(state) == {"r1": "picked", "r2": "picked", "r3": "failed"}


def test_where_all_failed_the_plan_ends(state):
    answer = done(state, "--failed", "1", "--failed", "2", "--failed", "3")
    assert "is rejected; of 3 regions 3 failed" in answer.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--targets", "4"), "has no region 4"),
        (("--failed", "r9"), "has no region r9"),
        (("--targets", ""), "has no region"),
        (("--targets", "2", "--failed", "r2"), "r2: is both removed and failed"),
    ],
)
def test_regions_that_cannot_be_meant_are_refused_whole(state, words, said):
    answer = done(state, *words)
    assert answer.code == MISUSED
    assert said in answer.err
    assert set(fates(state).values()) == {None}


def test_what_was_said_is_not_taken_back(state):
    assert done(state).code == DONE
    assert done(state).code == DONE  # the same again
    answer = done(state, "--failed", "1")
    assert answer.code == MISUSED
    assert "region r1 is now said to be failed, and was said to be picked before" in answer.err


def test_show_tells_what_became_of_each_region_and_who_did_it(state):
    assert done(state, "--failed", "3", "--note", "clogged [tip]").code == DONE
    with Store(f"sqlite:///{state / 'colonywatch.sqlite'}") as store:
        (reading,) = store.dishes.history("3500003816/A1")
        with store.database.writing() as session:
            verdict = RegionVerdict(PLAN, "r1", RemovalCheck.STILL_THERE, 0.125)
            write_verdicts(session, [verdict], replace(reading), utc_now())
    shown = call("removals", "show", PLAN, "--state", state)
    assert shown.code == DONE, shown.err
    assert "failed (clogged [tip])" in shown.out
    assert "still there (12.5 %)" in shown.out
    assert "plan draft -> approved, by Ada" in shown.err
    assert "plan exported -> picked, by Ada: of 3 regions 2 picked, 1 failed" in shown.err


def test_the_document_keeps_to_the_schema_that_is_printed(state):
    assert done(state, "--failed", "3").code == DONE
    printed = call("removals", "schema")
    contract = Draft202012Validator(json.loads(printed.out))
    shown = call("removals", "show", PLAN, "--json", "--state", state).document
    contract.validate(shown)
    assert [one["what"] for one in shown["events"]] == [
        "plan made, draft",
        "plan draft -> approved",
        "plan approved -> exported",
        "plan exported -> picked",
    ]


# --- a whole plate ------------------------------------------------------------------------------


@pytest.fixture
def plate(state):
    """The same plate with two more wells: one approved, one not."""
    now = utc_now()
    with Store(f"sqlite:///{state / 'colonywatch.sqlite'}") as store:
        for number, well, approved in ((2, "C5", True), (3, "B2", False)):
            id_ = f"20261103-0000000{number}"
            targets = (target_at(1, pick_x_um=1e5 * number),)
            plan = removal_plan(id_, targets=targets, created_at=now, expires_at=now + hours(12))
            with_plan(store, id_, dish=f"3500003816/{well}", plan=plan, approved=False)
            if approved:
                store.plans.approve(id_, who="Ada", now=now)
    return state


def export(state, *words):
    return call("removals", "export", *words, "--state", state)


def test_a_whole_plate_is_one_list_and_what_is_left_out_is_said(plate, tmp_path):
    answer = export(plate, "--plate", "3500003816", "--out", tmp_path / "picks.csv")
    assert answer.code == DONE, answer.err
    rows = list(csv.DictReader(io.StringIO((tmp_path / "picks.csv").read_text())))
    assert [(row["visit"], row["well"], row["export_id"]) for row in rows] == [
        ("1", "A1", PLAN),
        ("2", "A1", PLAN),
        ("3", "A1", PLAN),
        ("4", "C5", "20261103-00000002"),
    ]
    assert "left out: B2: plan 20261103-00000003 is a draft" in answer.err
    assert "plate 3500003816: 4 hits in 2 wells" in answer.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give either a plan or --plate"),
        ((PLAN, "--plate", "3500003816"), "give either a plan or --plate"),
        (("--plate", "plate-9"), "plates that have: 3500003816"),
        (("--plate", "3500003816/A1"), "plates that have: 3500003816"),
        (("--plate", ""), "plates that have: 3500003816"),
    ],
)
def test_a_plate_that_cannot_be_exported_is_refused_with_why(plate, tmp_path, words, said):
    answer = export(plate, *words, "--out", tmp_path / "picks.csv")
    assert answer.code == MISUSED
    assert said in answer.err
    assert not (tmp_path / "picks.csv").exists()


def test_a_plate_of_which_nothing_is_approved_is_no_list(plate, tmp_path):
    for plan in (PLAN, "20261103-00000002"):
        assert call("removals", "reject", plan, "--who", "Ada", "--state", plate).code == DONE
    answer = export(plate, "--plate", "3500003816", "--out", tmp_path / "picks.csv")
    assert answer.code == MISUSED
    assert "no well of it has an approved plan" in answer.err
    assert f"left out: A1: plan {PLAN} is rejected" in answer.err


def test_a_format_that_cannot_say_it_names_the_setting(plate, tmp_path):
    answer = export(
        plate, "--plate", "3500003816", "--format", "opentrons", "--out", tmp_path / "run.py"
    )
    assert answer.code == FAILED
    assert "set outlets.removal.opentrons.labware" in answer.err


def test_the_list_tells_what_hits_remove_from_what_regions_cover(state):
    """A tenth of an area is not to be read as all of it."""
    (listed,) = call("removals", "list", "--json", "--state", state).document
    assert {"area_um2", "covered_um2"} <= set(listed)
    text = call("removals", "list", "--state", state).out
    assert "hits remove" in text
