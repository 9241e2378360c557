from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from monitor.culture import CalibrationKind, PlanStatus, ScanDecision
from monitor.errors import UsageError
from monitor.stage.fitting import fit_points, make_calibration
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
        return session.execute(text("SELECT who, what, about, why FROM audit")).all()


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
    with pytest.raises(UsageError, match="camera-1: a calibration with this id"):
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
        return store.plans.approve("p2", who="A", now=NOW)

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
