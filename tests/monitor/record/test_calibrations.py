from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from monitor.calibration import fit_points, make_calibration
from monitor.culture import CalibrationKind, PlanStatus
from monitor.errors import UsageError
from monitor.record.dishes import ScanDecision
from monitor.record.store import Store
from tests.monitor.facts import (
    DISH,
    NOW,
    TARGET,
    hours,
    measure,
    place,
    read,
    removal_plan,
    target_at,
)

CAMERA, PICKER = CalibrationKind.CAMERA, CalibrationKind.PICKER
POINTS = [
    (100.0, 150.0, 4_000.0, 7_000.0),
    (100.0, 1850.0, 7_400.5, 7_000.0),
    (1400.0, 150.0, 4_000.0, 4_400.0),
    (1400.0, 1850.0, 7_400.0, 4_400.25),
]


def calibration(id_="camera-1", **changes):
    made = make_calibration(
        fit_points(CAMERA, POINTS),
        POINTS,
        id_=id_,
        source="incubator",
        made_at=NOW,
        made_by="A. Person",
        objective="4x",
        binning=2,
        max_age_days=90.0,
        expected_um_a_pixel=2.0,
    )
    return replace(made, **changes)


def with_plan(store, plan, *, dish=DISH, name="a"):
    """A dish of the source `incubator` with this plan."""
    scan = measure(store, f"/data/{name}.tif", place(dish))
    read(store, scan, ScanDecision("differentiating", plan=plan))
    return store.plans.plan(plan.id)


def audit(store):
    with store.database.reading() as session:
        return session.execute(text("SELECT who, what, subject, note FROM audit")).all()


def test_a_calibration_comes_back_as_it_was_made(store):
    store.calibrations.add(calibration())
    assert store.calibrations.all() == [calibration()]


def test_a_calibration_has_its_line_in_the_audit_trail(store):
    store.calibrations.add(calibration())
    ((who, what, subject, note),) = audit(store)
    assert (who, what, subject) == ("A. Person", "camera calibration made", "camera-1")
    assert note.startswith("source incubator, 4 points, rms 0.1")


def test_an_id_is_given_once(store):
    store.calibrations.add(calibration())
    with pytest.raises(UsageError, match="camera-1: a calibration of this id"):
        store.calibrations.add(calibration())
    assert len(store.calibrations.all()) == 1


def test_those_of_a_source_and_kind_come_newest_first(store):
    for number, changes in enumerate(
        [
            {},
            {"made_at": NOW + hours(2)},
            {"made_at": NOW + hours(1)},
            {"source": "other"},
            {"kind": PICKER},
        ]
    ):
        store.calibrations.add(calibration(f"camera-{number}", **changes))
    found = store.calibrations.of("incubator", CAMERA)
    assert [one.id for one in found] == ["camera-1", "camera-2", "camera-0"]


@pytest.mark.parametrize("status", [PlanStatus.DRAFT, PlanStatus.APPROVED])
@pytest.mark.parametrize("kind", [CAMERA, PICKER])
def test_a_new_calibration_supersedes_plans_that_aim_by_the_former_one(store, status, kind):
    with_plan(store, removal_plan(status=status))
    assert store.calibrations.add(calibration(kind=kind)) == ["20261103-00000001"]
    assert store.plans.plan("20261103-00000001").status is PlanStatus.SUPERSEDED


@pytest.mark.parametrize(
    ("name", "changes", "supersedes"),
    [
        ("another source", {"source": "other"}, True),
        ("the very calibration that it aims by", {"id": "scope-1"}, True),
        ("one that is not used, since the configuration wins", {}, False),
    ],
)
def test_other_plans_stay(store, name, changes, supersedes):
    with_plan(store, removal_plan())
    assert store.calibrations.add(calibration(**changes), supersedes=supersedes) == []
    assert store.plans.plan("20261103-00000001").status is PlanStatus.DRAFT


def test_a_plan_remembers_its_picker_frame(store):
    target = target_at(picker_x_um=1.5, picker_y_um=2.5, well_x_um=-3.0, well_y_um=4.0)
    stored = with_plan(store, removal_plan(picker_calibration_id="picker-1", targets=(target,)))
    assert (stored.frame, stored.picker_calibration_id) == ("picker", "picker-1")
    assert stored.targets == (target,)


# --- plans that end leave the picker's folder ---------------------------------------------------


@pytest.fixture
def taken_back(database_file):
    plans = []
    with Store(f"sqlite:///{database_file}", take_back=plans.append) as store:
        yield store, plans


def ends(store, how):
    if how == "expired":
        store.plans.expire(NOW + hours(13))
    elif how == "superseded by a scan":
        scan = measure(store, "/data/b.tif", place(DISH, "later"), at=NOW + hours(1))
        read(store, scan, ScanDecision("differentiating", replaces_plans=True))
    elif how == "superseded by a calibration":
        store.calibrations.add(calibration())
    elif how == "rejected":
        store.plans.move("p1", allowed=list(PlanStatus), to=PlanStatus.REJECTED, who="A", now=NOW)
    else:
        store.plans.move("p1", allowed=list(PlanStatus), to=PlanStatus.DONE, who="A", now=NOW)


WAYS = ["expired", "superseded by a scan", "superseded by a calibration", "rejected", "done"]


@pytest.mark.parametrize("how", WAYS)
def test_a_plan_that_ends_is_taken_back_before_that_is_on_record_and_again_from_the_outbox(
    taken_back, how
):
    store, plans = taken_back
    with_plan(store, removal_plan("p1", status=PlanStatus.APPROVED))
    store.plans.export("p1", publish=lambda plan: None, now=NOW)
    ends(store, how)
    assert [(plan.id, plan.status) for plan in plans] == [("p1", PlanStatus.EXPORTED)]
    waiting = [one.channel for one in store.outbox.undelivered() if one.failed_at is None]
    assert "withdrawal" in waiting


@pytest.mark.parametrize("how", ["expired", "superseded by a scan", "rejected"])
def test_a_draft_was_never_in_the_folder_and_is_not_looked_for(taken_back, how):
    store, plans = taken_back
    with_plan(store, removal_plan("p1"))
    ends(store, how)
    assert plans == []
    assert store.plans.plan("p1").status is not PlanStatus.DRAFT


# --- handing over -------------------------------------------------------------------------------


def test_a_plan_is_exported_when_its_files_were_shown(store):
    with_plan(store, removal_plan("p1", status=PlanStatus.APPROVED))
    seen = []
    done = store.plans.export("p1", publish=seen.append, now=NOW)
    assert [plan.status for plan in seen] == [PlanStatus.APPROVED]
    assert done.status is PlanStatus.EXPORTED


def test_a_plan_whose_files_could_not_be_shown_stays_approved(store):
    with_plan(store, removal_plan("p1", status=PlanStatus.APPROVED))

    def fails(plan):
        raise OSError("no such share")

    with pytest.raises(OSError, match="no such share"):
        store.plans.export("p1", publish=fails, now=NOW)
    assert store.plans.plan("p1").status is PlanStatus.APPROVED


@pytest.mark.parametrize(
    ("status", "now", "said"),
    [
        (PlanStatus.DRAFT, NOW, "p1: is draft, not approved"),
        (PlanStatus.SUPERSEDED, NOW, "p1: is superseded, not approved"),
        (PlanStatus.APPROVED, NOW + hours(12), "p1: expired at 2026-11-03 21:30 UTC"),
    ],
)
def test_nothing_is_shown_of_a_plan_that_may_not_be_carried_out(store, status, now, said):
    with_plan(store, removal_plan("p1", status=status))
    seen = []
    with pytest.raises(UsageError, match=said):
        store.plans.export("p1", publish=seen.append, now=now)
    assert seen == []


# --- overlapping plans --------------------------------------------------------------------------

FAR = target_at(pick_x_um=9_000.0)


@pytest.mark.parametrize(
    ("name", "dish", "targets", "said"),
    [
        ("the same dish", DISH, (FAR,), "plan p1 of the same dish is approved"),
        ("wells of a plate on one spot", "3500003816/B1", (TARGET,), "two wells cannot be the sa"),
        ("wells of a plate", "3500003816/B1", (FAR,), None),
        ("wells of two plates, one after the other", "3500009999/B1", (TARGET,), None),
        ("dishes, one after the other", "dish-07", (TARGET,), None),
    ],
)
def test_plans_that_overlap_are_not_both_approved(store, name, dish, targets, said):
    with_plan(store, removal_plan("p1", status=PlanStatus.APPROVED))
    with_plan(store, removal_plan("p2", targets=targets), dish=dish, name="b")

    def approve():
        return store.plans.move(
            "p2", allowed=[PlanStatus.DRAFT], to=PlanStatus.APPROVED, who="A", now=NOW
        )

    if said is None:
        assert approve().status is PlanStatus.APPROVED
    else:
        with pytest.raises(UsageError, match=said):
            approve()
        assert store.plans.plan("p2").status is PlanStatus.DRAFT


def test_a_rule_does_not_approve_what_overlaps(store):
    with_plan(store, removal_plan("p1", status=PlanStatus.APPROVED, approved_by="rule"))
    late = with_plan(
        store,
        removal_plan("p2", status=PlanStatus.APPROVED, approved_by="rule", approved_at=NOW),
        dish="3500003816/B1",
        name="b",
    )
    assert (late.status, late.approved_by) == (PlanStatus.DRAFT, None)
    assert [one.subject_id for one in store.outbox.undelivered()] == ["p1"]


def test_times_are_utc(store):
    store.calibrations.add(calibration(made_at=datetime(2026, 11, 3, 9, 30, tzinfo=UTC)))
    assert store.calibrations.all()[0].made_at.tzinfo is UTC
