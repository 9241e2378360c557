"""What becomes of removal plans, and who may decide it."""

import subprocess
import sys
import threading
from dataclasses import replace

import pytest
from sqlalchemy import text

from monitor.culture import (
    CalibrationKind,
    DishStatus,
    Handover,
    PickOutcome,
    PlanStatus,
    RegionVerdict,
    RemovalCheck,
    ScanDecision,
)
from monitor.errors import UsageError
from monitor.record.plan_moves import MOVES, end_plan
from monitor.record.plan_reports import PickReport
from monitor.record.store import Store
from monitor.record.tables import RemovalPlanRow
from monitor.stage.fitting import fit_points, make_calibration
from tests.monitor.facts import (
    DISH,
    HIT,
    NOW,
    TARGET,
    facts_on,
    hours,
    measure,
    measurement,
    minutes,
    place,
    read,
    removal_plan,
)

PICKED, PARTLY, FAILED = PickOutcome.PICKED, PickOutcome.PARTLY_PICKED, PickOutcome.FAILED
TOLD, LATER = NOW + minutes(30), NOW + hours(1)
FOUR = tuple(replace(TARGET, region_id=f"r{number}") for number in (1, 2, 3, 4))


def with_plan(store, id_="p1", *, dish=DISH, at=NOW, replaces=False, **changes):
    plan = removal_plan(id_, **changes)
    scan = measure(store, f"/{plan.id}", place(dish, key=plan.id), measurement(acquired_at=at))
    decision = ScanDecision(DishStatus.DIFFERENTIATING, plan=plan, replaces_plans=replaces)
    read(store, scan, decision, at=max(at, NOW))
    return plan.id


def next_scan(store, *, at=LATER, name="next", **changes):
    scan = measure(store, f"/{name}", place(key=name), measurement(acquired_at=at))
    decision = ScanDecision(DishStatus.DIFFERENTIATING, replaces_plans=True, **changes)
    return read(store, scan, decision, at=at)


def approve(store, plan_id="p1", *, now=NOW, who="A. Person"):
    return store.plans.approve(plan_id, who=who, now=now)


def hand_out(store, plan_id="p1", *, token="t1", now=NOW):
    return store.plans.hand_out(plan_id, to="folder", token=token, now=now)


def out(store, id_="p1", **changes):
    """A plan that the picker has."""
    with_plan(store, id_, **changes)
    approve(store, id_)
    hand_out(store, id_)
    return id_


def tell(store, *reports, plan_id="p1", now=TOLD, picked_at=None):
    reports = [PickReport(*report) for report in reports]
    return store.plans.acknowledge(
        plan_id, reports, who="picker", now=now, picked_at=picked_at, note="run 7"
    )


@pytest.mark.parametrize(
    ("told", "outcome", "hits"),
    [
        ([(1,)], PickOutcome.PARTLY_PICKED, (1,)),
        ([(2,), (1,)], PickOutcome.PARTLY_PICKED, (1, 2)),
        ([(2,), (1, 3)], PickOutcome.PICKED, None),
        ([None], PickOutcome.PARTLY_PICKED, None),
        ([(2,), None], PickOutcome.PARTLY_PICKED, (2,)),
        ([(2,), (2,)], PickOutcome.PARTLY_PICKED, (2,)),
    ],
)
def test_hits_that_are_told_of_one_after_another_add_up(store, told, outcome, hits):
    """Two logs of one run; with all of its hits a region is picked."""
    three = tuple(replace(HIT, order=number) for number in (1, 2, 3))
    out(store, targets=(replace(TARGET, hits=three),))
    for some in told:
        tell(store, (TARGET.region_id, PickOutcome.PARTLY_PICKED, None, some))
    (fate,) = store.plans.plan("p1").fates
    assert (fate.outcome, fate.hits) == (outcome, hits)


def status(store, plan_id="p1"):
    return store.plans.plan(plan_id).status


def fates(plan):
    return {fate.region_id: fate.outcome for fate in plan.fates}


def waiting_for_the_picker(store):
    return [
        (message.channel, message.subject_id)
        for message in store.outbox.undelivered()
        if message.failed_at is None
    ]


def events(store, plan_id="p1"):
    return [(event.who, event.what) for event in store.plans.events(plan_id)]


# --- deciding -----------------------------------------------------------------------------------


def test_an_approval_names_the_person_and_sends_the_plan(store):
    with_plan(store)
    plan = approve(store, now=NOW + minutes(1))
    assert (plan.status, plan.approved_by) == (PlanStatus.APPROVED, "A. Person")
    assert plan.approved_at == NOW + minutes(1)
    assert waiting_for_the_picker(store) == [("removal", "p1")]
    assert events(store)[-1] == ("A. Person", "plan draft -> approved")


def test_of_two_people_who_decide_one_wins(store):
    with_plan(store)
    store.plans.reject("p1", who="B", now=NOW)
    with pytest.raises(UsageError, match="is rejected; only a plan that is draft can become appr"):
        approve(store)
    assert waiting_for_the_picker(store) == []


def test_of_two_approvals_at_once_one_wins(database_url):
    with Store(database_url) as first, Store(database_url) as second:
        with_plan(first)
        barrier = threading.Barrier(2)
        outcomes: list[str] = []

        def race(store):
            barrier.wait()
            try:
                outcomes.append(str(approve(store).status))
            except UsageError:
                outcomes.append("too late")

        threads = [threading.Thread(target=race, args=(store,)) for store in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["approved", "too late"]
        assert waiting_for_the_picker(first) == [("removal", "p1")]


APPROVE = """
import sys
from datetime import datetime, timedelta
from monitor.errors import UsageError
from monitor.record.store import Store
with Store(sys.argv[1]) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        print(store.plans.approve("p1", who=sys.argv[2], now=datetime.fromisoformat(sys.argv[3])))
    except UsageError as problem:
        print("too late:", problem)
"""


def test_of_two_programs_that_approve_at_once_one_wins(store, database_url):
    """Two people at two machines: two processes with connections of their own."""
    with_plan(store)
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", APPROVE, database_url, who, NOW.isoformat()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for who in ("A", "B")
    ]
    for program in programs:
        assert program.stdout.readline() == "ready\n"
    for program in programs:
        program.stdin.write("go\n")
        program.stdin.flush()
    answers = [program.communicate(timeout=60)[0] for program in programs]
    winners = [who for who, answer in zip("AB", answers, strict=True) if "too late" not in answer]
    assert len(winners) == 1
    assert store.plans.plan("p1").approved_by == winners[0]
    assert [what for _, what in events(store)].count("plan draft -> approved") == 1


def test_a_change_between_look_and_write_is_refused(store):
    """On a database that does not lock the row, the status in WHERE decides."""
    with_plan(store)
    with store.database.writing() as session:
        row = session.get_one(RemovalPlanRow, "p1")
        assert row.status == PlanStatus.DRAFT
        session.connection().exec_driver_sql("UPDATE removal_plan SET status = 'approved'")
        with pytest.raises(UsageError, match="p1: was changed by somebody else at this moment"):
            end_plan(session, row, PlanStatus.REJECTED, NOW, None)


def test_a_plan_whose_time_is_over_cannot_be_approved(store):
    with_plan(store, expires_at=NOW + hours(12))
    with pytest.raises(UsageError, match=r"expired at 2026-11-03 21:30 UTC; the dish's next scan"):
        approve(store, now=NOW + hours(12))
    assert status(store) is PlanStatus.DRAFT
    assert waiting_for_the_picker(store) == []


def test_rejecting_a_plan_that_the_picker_has_withdraws_it(store):
    out(store)
    store.plans.reject("p1", who="A", now=NOW, note="dead cells")
    assert waiting_for_the_picker(store) == [("withdrawal", "p1")]
    last = store.plans.events("p1")[-1]
    assert (last.who, last.what, last.note) == ("A", "plan exported -> rejected", "dead cells")


def test_a_plan_that_was_never_approved_needs_no_withdrawal(store):
    with_plan(store)
    store.plans.reject("p1", who="A", now=NOW)
    assert waiting_for_the_picker(store) == []


# --- ending by itself ---------------------------------------------------------------------------


@pytest.mark.parametrize("stands", ["draft", "approved", "exported"])
def test_the_next_scan_supersedes_what_is_still_alive(store, stands):
    with_plan(store)
    if stands != "draft":
        approve(store)
    if stands == "exported":
        hand_out(store)
    next_scan(store, plan=removal_plan("p2"))
    assert {plan.id: plan.status for plan in store.plans.all()} == {
        "p1": PlanStatus.SUPERSEDED,
        "p2": PlanStatus.DRAFT,
    }
    last = store.plans.events("p1")[-1]
    assert (last.what, last.note) == (f"plan {stands} -> superseded", "a newer scan")
    expected = [] if stands == "draft" else [("withdrawal", "p1")]
    assert waiting_for_the_picker(store) == expected
    # What was withdrawn is no failure that a person should look at, and is not sent again.
    assert store.outbox.counts().failed == 0
    store.outbox.retry(NOW)
    assert waiting_for_the_picker(store) == expected


@pytest.mark.parametrize("stands", [PlanStatus.PICKED, PlanStatus.REJECTED])
def test_what_is_over_stays_as_it_is(store, stands):
    out(store)
    if stands is PlanStatus.PICKED:
        tell(store, (TARGET.region_id, PICKED))
    else:
        store.plans.reject("p1", who="A", now=NOW)
    next_scan(store)
    assert status(store) is stands


def test_another_dishs_scan_leaves_a_plan_alone(store):
    with_plan(store)
    scan = measure(store, "/other", place("other"))
    read(store, scan, ScanDecision(DishStatus.DIFFERENTIATING, replaces_plans=True))
    assert status(store) is PlanStatus.DRAFT


def test_plans_expire_and_leave_the_picker(store):
    with_plan(store, "draft")
    with_plan(store, "approved")
    approve(store, "approved")
    with_plan(store, "fresh", expires_at=NOW + hours(99))
    assert store.plans.expire(NOW + hours(11.9)) == []
    assert sorted(store.plans.expire(NOW + hours(12))) == ["approved", "draft"]
    assert status(store, "fresh") is PlanStatus.DRAFT
    assert waiting_for_the_picker(store) == [("withdrawal", "approved")]
    assert store.plans.expire(NOW + hours(13)) == []


def test_a_plan_that_does_not_exist_is_said_to_be_unknown(store):
    for act in (lambda: store.plans.plan("nope"), lambda: approve(store, "nope")):
        with pytest.raises(UsageError, match="nope: there is no removal plan with this id"):
            act()
    assert store.plans.for_reading(7) is None
    assert store.plans.events("nope") == []


@pytest.fixture
def taken_back(database_url):
    plans = []
    with Store(database_url, take_back=plans.append) as store:
        yield store, plans


def new_calibration():
    points = [(0, 0, 0, 0), (0, 100, 200, 0), (100, 0, 0, 200), (100, 100, 200, 200)]
    return make_calibration(
        fit_points(CalibrationKind.CAMERA, points),
        points,
        id_="camera-1",
        source="incubator",
        made_at=NOW,
        made_by="A. Person",
        objective=None,
        binning=1,
        max_age_days=None,
        expected_um_a_pixel=2.0,
    )


ENDINGS = {
    "expired": lambda store: store.plans.expire(NOW + hours(13)),
    "superseded by a scan": next_scan,
    "superseded by a calibration": lambda store: store.calibrations.add(new_calibration()),
    "rejected": lambda store: store.plans.reject("p1", who="A", now=NOW),
    "picked": lambda store: tell(store, (TARGET.region_id, PICKED)),
}


@pytest.mark.parametrize("how", ENDINGS)
def test_a_plan_that_ends_is_taken_back_before_that_is_on_record_and_again_from_the_outbox(
    taken_back, how
):
    store, plans = taken_back
    out(store)
    ENDINGS[how](store)
    assert [(plan.id, plan.status) for plan in plans] == [("p1", PlanStatus.EXPORTED)]
    assert ("withdrawal", "p1") in waiting_for_the_picker(store)


@pytest.mark.parametrize("how", ["expired", "superseded by a scan", "rejected"])
def test_a_draft_was_never_in_the_folder_and_is_not_looked_for(taken_back, how):
    store, plans = taken_back
    with_plan(store)
    ENDINGS[how](store)
    assert plans == []
    assert status(store) is not PlanStatus.DRAFT


# --- handing out --------------------------------------------------------------------------------


def test_a_plan_is_handed_out_once(store):
    with_plan(store)
    approve(store)
    plan = hand_out(store)
    assert plan.status is PlanStatus.EXPORTED
    assert plan.handover == Handover("folder", "t1", NOW)
    with pytest.raises(UsageError, match="p1: was handed out already"):
        hand_out(store, token="t2")


def test_the_same_token_is_answered_the_same(store):
    """One who did not hear the answer may ask again."""
    with_plan(store)
    approve(store)
    assert hand_out(store) == hand_out(store)
    assert [what for _, what in events(store)].count("plan approved -> exported") == 1


@pytest.mark.parametrize(
    ("stands", "now", "said"),
    [
        (PlanStatus.DRAFT, NOW, "p1: is draft, not approved"),
        (PlanStatus.SUPERSEDED, NOW, "p1: is superseded, not approved"),
        (PlanStatus.APPROVED, NOW + hours(12), "p1: expired at 2026-11-03 21:30 UTC"),
    ],
)
def test_what_may_not_be_carried_out_is_not_handed_out(store, stands, now, said):
    with_plan(store, status=stands)
    with pytest.raises(UsageError, match=said):
        hand_out(store, now=now)


def test_only_what_is_exported_and_in_time_is_shown(store):
    out(store)
    shown = []
    store.plans.show("p1", publish=shown.append, now=NOW)
    assert [plan.status for plan in shown] == [PlanStatus.EXPORTED]
    with pytest.raises(UsageError, match="p1: expired"):
        store.plans.show("p1", publish=shown.append, now=NOW + hours(12))
    store.plans.reject("p1", who="A", now=NOW)
    with pytest.raises(UsageError, match="p1: is rejected, not exported"):
        store.plans.show("p1", publish=shown.append, now=NOW)
    assert len(shown) == 1


# --- what the picker says -----------------------------------------------------------------------


def test_a_plan_that_was_carried_out_is_picked_with_a_word_on_each_region(store):
    out(store, targets=FOUR)
    plan = tell(store, ("r1", PICKED), ("r2", PARTLY), ("r3", FAILED, "clogged"), ("r4", PICKED))
    assert (plan.status, plan.picked_at) == (PlanStatus.PICKED, NOW + minutes(30))
    assert fates(plan) == {"r1": PICKED, "r2": PARTLY, "r3": FAILED, "r4": PICKED}
    assert plan.fates[2].reason == "clogged"
    assert plan.to_check == ("r1", "r2", "r4")
    last = store.plans.events("p1")[-1]
    assert (last.who, last.what) == ("picker", "plan exported -> picked")
    assert last.note == "of 4 regions 2 picked, 1 partly picked, 1 failed; run 7"


def test_the_same_told_again_changes_nothing(store):
    out(store)
    first = tell(store, (TARGET.region_id, PICKED))
    count = len(events(store))
    assert tell(store, (TARGET.region_id, PICKED), now=NOW + hours(1)) == first
    assert len(events(store)) == count


def test_a_log_that_grows_adds_to_what_is_known(store):
    out(store, targets=FOUR)
    assert tell(store, ("r1", FAILED)).status is PlanStatus.EXPORTED
    assert tell(store, ("r1", PICKED), ("r2", PARTLY)).status is PlanStatus.PICKED
    plan = tell(store, ("r1", PICKED), ("r2", PICKED), ("r3", FAILED))
    assert fates(plan) == {"r1": PICKED, "r2": PICKED, "r3": FAILED}
    assert store.plans.events("p1")[-1].note.startswith("of 4 regions 2 picked, 1 failed, 1 withou")


def test_what_contradicts_what_was_told_is_refused(store):
    out(store)
    tell(store, (TARGET.region_id, PICKED))
    with pytest.raises(UsageError, match=r"is now said to be failed, and was said to be picked"):
        tell(store, (TARGET.region_id, FAILED))
    assert fates(store.plans.plan("p1")) == {TARGET.region_id: PICKED}


def test_a_region_of_another_plan_is_refused_and_nothing_of_it_is_written(store):
    out(store, targets=FOUR)
    with pytest.raises(UsageError, match="p1: has no region r9; its regions: r1, r2, r3, r4"):
        tell(store, ("r1", PICKED), ("r9", PICKED))
    assert store.plans.plan("p1").fates == ()


@pytest.mark.parametrize("stands", [PlanStatus.DRAFT, PlanStatus.APPROVED])
def test_a_plan_that_was_never_handed_out_cannot_have_been_picked(store, stands):
    with_plan(store, status=stands)
    with pytest.raises(UsageError, match=f"p1: is {stands} and was never handed to a picker"):
        tell(store, (TARGET.region_id, PICKED))


def test_a_plan_of_which_every_region_failed_is_rejected_by_the_picker(store):
    out(store)
    plan = tell(store, (TARGET.region_id, FAILED, "lid on"))
    assert (plan.status, plan.picked_at) == (PlanStatus.REJECTED, None)
    assert events(store)[-1] == ("picker", "plan exported -> rejected")
    assert waiting_for_the_picker(store) == [("withdrawal", "p1")]


@pytest.mark.parametrize("how", ["expired", "superseded by a scan", "rejected"])
def test_what_was_picked_is_a_fact_also_of_a_plan_that_ended_meanwhile(store, how):
    """The picker had the list before it was withdrawn."""
    out(store)
    ENDINGS[how](store)
    ended = status(store)
    plan = tell(store, (TARGET.region_id, PICKED), now=NOW + hours(14), picked_at=NOW + minutes(5))
    assert (plan.status, plan.picked_at) == (PlanStatus.PICKED, NOW + minutes(5))
    assert events(store)[-1] == ("picker", f"plan {ended} -> picked")


def test_a_plan_made_before_the_picking_ends_with_it(store):
    """Its scan shows what is no longer there."""
    out(store)
    next_scan(store, at=NOW + minutes(10), plan=removal_plan("p2"))
    approve(store, "p2")
    tell(store, (TARGET.region_id, PICKED))
    assert status(store, "p2") is PlanStatus.SUPERSEDED
    assert store.plans.events("p2")[-1].note == "plan p1 was carried out after its scan"
    assert ("withdrawal", "p2") in waiting_for_the_picker(store)


def test_a_plan_made_after_the_picking_stays(store):
    out(store)
    next_scan(store, at=NOW + hours(1), plan=removal_plan("p2"))
    tell(store, (TARGET.region_id, PICKED), now=NOW + hours(2), picked_at=NOW + minutes(10))
    assert status(store, "p2") is PlanStatus.DRAFT


def test_a_scan_of_before_the_picking_that_is_read_late_makes_no_plan(store):
    out(store)
    tell(store, (TARGET.region_id, PICKED))
    next_scan(store, at=NOW + minutes(20), plan=removal_plan("p2"))
    assert [plan.id for plan in store.plans.all()] == ["p1"]
    assert events(store, "p2") == [("colonywatch", "plan not made")]


def test_a_picker_whose_clock_runs_ahead_has_picked_now(store):
    out(store)
    plan = tell(store, (TARGET.region_id, PICKED), now=NOW, picked_at=NOW + hours(5))
    assert plan.picked_at == NOW


# --- what the next scan says --------------------------------------------------------------------


def look(store, *verdicts, at=LATER, name="next"):
    made = tuple(RegionVerdict("p1", *verdict) for verdict in verdicts)
    return next_scan(store, at=at, name=name, verdicts=made)


def test_a_plan_is_verified_when_every_picked_region_was_looked_at(store):
    out(store, targets=FOUR)
    tell(store, ("r1", PICKED), ("r2", PICKED), ("r3", FAILED))
    look(store, ("r1", RemovalCheck.GONE, 0.97))
    plan = store.plans.plan("p1")
    assert (plan.status, plan.to_check) == (PlanStatus.PICKED, ("r2",))
    second = look(store, ("r2", RemovalCheck.STILL_THERE, 0.1), at=NOW + hours(2), name="later")
    plan = store.plans.plan("p1")
    assert (plan.status, plan.to_check) == (PlanStatus.VERIFIED, ())
    assert [(fate.check, fate.gone_share) for fate in plan.fates] == [
        (RemovalCheck.GONE, 0.97),
        (RemovalCheck.STILL_THERE, 0.1),
        (None, None),
    ]
    assert plan.fates[1].checked_by == second.reading.id
    last = store.plans.events("p1")[-1]
    assert last.what == "plan picked -> verified"
    assert last.note == "scan of 2026-11-03 11:30 UTC: of 2 regions 1 gone, 1 still there"


def test_a_plan_that_was_not_checked_in_time_stays_picked_and_waits_no_more(store):
    out(store, targets=FOUR)
    tell(store, ("r1", PICKED), ("r2", PICKED))
    look(store, ("r1", RemovalCheck.GONE, 0.97), ("r2", RemovalCheck.CANNOT_TELL, None))
    look(store, ("r2", RemovalCheck.NOT_CHECKED, None), at=NOW + hours(30), name="late")
    plan = store.plans.plan("p1")
    assert (plan.status, plan.to_check) == (PlanStatus.PICKED, ())
    assert store.plans.to_check(plan.dish) == ()
    last = store.plans.events("p1")[-1]
    assert last.what == "plan not verified in time"
    assert last.note == "scan of 2026-11-04 15:30 UTC: of 2 regions 1 gone, 1 not checked"


def test_what_is_told_after_the_check_is_refused(store):
    out(store, targets=FOUR)
    tell(store, ("r1", PICKED))
    look(store, ("r1", RemovalCheck.GONE, 1.0))
    with pytest.raises(UsageError, match="was checked by a scan already"):
        tell(store, ("r2", PICKED))
    assert tell(store, ("r1", PICKED)).status is PlanStatus.VERIFIED


def test_a_scan_hears_which_plans_to_look_after(store):
    out(store)
    tell(store, (TARGET.region_id, PICKED))
    scan = measure(store, "/later", place(key="later"), measurement(acquired_at=NOW + hours(1)))
    heard = facts_on(store, scan, at=NOW + hours(1)).picked
    assert [plan.id for plan in heard] == ["p1"]


# --- the whole --------------------------------------------------------------------------------


def test_every_status_can_be_reached_and_only_verified_is_the_end():
    reached = {to for ways in MOVES.values() for to in ways}
    assert reached == set(PlanStatus) - {PlanStatus.DRAFT}
    assert [stands for stands, ways in MOVES.items() if not ways] == [PlanStatus.VERIFIED]
    assert set(MOVES) == set(PlanStatus)


def test_a_plan_of_a_former_version_is_read_as_handed_out(store):
    """Before hand-overs had a token; see the migration."""
    out(store)
    with store.database.writing() as session:
        session.execute(
            text("UPDATE removal_plan SET handover = :handover"),
            {"handover": f'{{"to": "folder", "token": "before", "at": "{NOW.isoformat()}"}}'},
        )
    assert tell(store, (TARGET.region_id, PICKED)).status is PlanStatus.PICKED
