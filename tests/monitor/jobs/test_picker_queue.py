"""What a connected picker may ask for and tell; the wire is in outlets/sila/test_server.py."""

from __future__ import annotations

import json
import threading

import pytest

from monitor.config import Config, OutletsConfig, RecordConfig, RemovalOutletConfig
from monitor.culture import DishStatus, PickOutcome, PlanStatus, ScanDecision
from monitor.errors import PickingError
from monitor.jobs.deliver import deliver_due
from monitor.jobs.picker_queue import PickingDesk
from monitor.record.plan_reports import PickReport
from tests.monitor.facts import (
    DISH,
    NOW,
    hours,
    measure,
    measurement,
    minutes,
    place,
    read,
    removal_plan,
    target_at,
)

TOKEN, OTHER = "t" * 20, "o" * 20
PICKED, FAILED = PickOutcome.PICKED, PickOutcome.FAILED


def with_plan(store, plan_id="p1", *, dish=DISH, approved=True, plan=None):
    targets = tuple(target_at(number, pick_x_um=5000.0 * number) for number in (1, 2, 3))
    plan = plan or removal_plan(plan_id, targets=targets)
    scan = measure(store, f"/{plan_id}", place(dish, key=plan_id), measurement())
    read(store, scan, ScanDecision(DishStatus.DIFFERENTIATING, plan=plan))
    if approved:
        store.plans.approve(plan_id, who="A. Person", now=NOW)
    return plan_id


def config(tmp_path, handover="sila"):
    return Config(
        record=RecordConfig(folder=tmp_path / "state"),
        outlets=OutletsConfig(removal=RemovalOutletConfig(handover=handover)),
    )


def desk_at(store, tmp_path, now=NOW, **settings):
    return PickingDesk(store, config(tmp_path, **settings), lambda: now)


@pytest.fixture
def desk(store, tmp_path):
    with_plan(store)
    return desk_at(store, tmp_path, NOW + minutes(5))


def reason_of(call, *arguments):
    with pytest.raises(PickingError) as refused:
        call(*arguments)
    return refused.value.reason


def test_only_approved_plans_that_have_time_left_are_pending(store, tmp_path):
    with_plan(store, "p1")
    with_plan(store, "p2", dish="dish-2", approved=False)
    assert [plan.id for plan in desk_at(store, tmp_path).pending()] == ["p1"]
    assert desk_at(store, tmp_path, NOW + hours(12)).pending() == []


def test_a_plan_that_is_taken_is_nobody_elses(desk, store):
    document = json.loads(desk.take("p1", TOKEN))
    assert (document["id"], document["status"]) == ("p1", "exported")
    assert [target["region_id"] for target in document["targets"]] == ["r1", "r2", "r3"]
    assert desk.pending() == []
    assert reason_of(desk.take, "p1", OTHER) == "not-available"
    assert store.plans.plan("p1").handover.to == "sila"


def test_who_did_not_hear_the_answer_asks_again_and_is_told_the_same(desk):
    assert desk.take("p1", TOKEN) == desk.take("p1", TOKEN)


def test_of_many_who_take_at_once_one_gets_it(desk):
    """Each with a connection of its own, as the threads of the server have."""
    got, refused = [], []

    def take(number):
        try:
            got.append(desk.take("p1", f"{number:020}"))
        except PickingError as problem:
            refused.append(problem.reason)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), refused) == (1, ["not-available"] * 7)


@pytest.mark.parametrize(
    ("plan", "reason"),
    [("none", "unknown-plan"), ("draft", "not-available")],
)
def test_what_may_not_be_carried_out_is_not_given(desk, store, plan, reason):
    with_plan(store, "draft", dish="dish-2", approved=False)
    assert reason_of(desk.take, plan, TOKEN) == reason


def test_a_plan_past_its_time_is_not_given_nor_given_again(store, tmp_path):
    with_plan(store)
    desk_at(store, tmp_path).take("p1", TOKEN)
    late = desk_at(store, tmp_path, NOW + hours(12))
    assert reason_of(late.take, "p1", TOKEN) == "not-available"
    assert late.check("p1", TOKEN) == (False, PlanStatus.EXPORTED)


def test_a_plan_that_ended_after_it_was_taken_may_not_be_carried_out(desk, store):
    desk.take("p1", TOKEN)
    assert desk.check("p1", TOKEN) == (True, PlanStatus.EXPORTED)
    store.plans.reject("p1", who="A. Person", now=NOW)
    assert desk.check("p1", TOKEN) == (False, PlanStatus.REJECTED)


def test_the_token_is_asked_for(desk):
    desk.take("p1", TOKEN)
    told = [PickReport("r1", PICKED)]
    assert reason_of(desk.check, "p1", OTHER) == "not-taken-by-you"
    assert reason_of(desk.acknowledge, "p1", OTHER, told, NOW + minutes(6)) == "not-taken-by-you"
    assert reason_of(desk.check, "none", OTHER) == "unknown-plan"


def test_a_part_can_be_told_and_the_rest_later(desk):
    desk.take("p1", TOKEN)
    at = NOW + minutes(6)
    first = [PickReport("1", PICKED), PickReport("r2", FAILED, "clogged")]
    plan = desk.acknowledge("p1", TOKEN, first, at)
    assert plan.status is PlanStatus.PICKED
    assert {fate.region_id: fate.outcome for fate in plan.fates} == {"r1": PICKED, "r2": FAILED}
    assert desk.acknowledge("p1", TOKEN, first, at) == plan
    plan = desk.acknowledge("p1", TOKEN, [PickReport("r3", PICKED)], at)
    assert len(plan.fates) == 3


@pytest.mark.parametrize(
    "told",
    [
        [],
        [PickReport("r9", PICKED)],
        [PickReport("r1", PICKED), PickReport("r9", PICKED)],
        [PickReport("1", PICKED), PickReport("r1", FAILED)],
    ],
    ids=["nothing", "unknown", "one of them unknown", "contradictory"],
)
def test_what_cannot_be_is_refused_and_nothing_of_it_is_kept(desk, store, told):
    desk.take("p1", TOKEN)
    assert reason_of(desk.acknowledge, "p1", TOKEN, told, NOW + minutes(6)) == "refused"
    assert store.plans.plan("p1").fates == ()


def test_a_clock_that_is_wrong_is_refused(desk):
    desk.take("p1", TOKEN)
    told = [PickReport("r1", PICKED)]
    assert reason_of(desk.acknowledge, "p1", TOKEN, told, NOW - hours(1)) == "refused"


def test_a_plan_goes_one_way_only(store, tmp_path):
    """As files where the lab wants files, live where it wants that, never both."""
    with_plan(store)
    files = config(tmp_path, "folder")
    desk = PickingDesk(store, files, lambda: NOW)
    assert desk.pending() == []
    assert reason_of(desk.take, "p1", TOKEN) == "not-available"
    deliver_due(store, config(tmp_path, "sila"), lambda: NOW, stopping=lambda: False)
    assert not files.removal_folder.exists()
    assert store.plans.plan("p1").status is PlanStatus.APPROVED
    desk_at(store, tmp_path).take("p1", TOKEN)
    deliver_due(store, files, lambda: NOW, stopping=lambda: False)
    assert not files.removal_folder.exists()


def test_a_plan_that_lies_in_the_folder_cannot_be_taken(store, tmp_path):
    with_plan(store)
    deliver_due(store, config(tmp_path, "folder"), lambda: NOW, stopping=lambda: False)
    assert store.plans.plan("p1").status is PlanStatus.EXPORTED
    desk = desk_at(store, tmp_path)
    assert reason_of(desk.take, "p1", TOKEN) == "not-available"
    assert reason_of(desk.check, "p1", TOKEN) == "not-taken-by-you"
