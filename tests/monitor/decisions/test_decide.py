"""What a scan means: asked of values alone, without a record, a clock or a picture."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from monitor.config import DifferentiationConfig, RemovalConfig, SourceConfig
from monitor.config.confirmation import VerificationConfig
from monitor.config.mail import RecipientConfig
from monitor.culture import (
    AlertKind,
    AlertTopic,
    Course,
    DishStatus,
    Doubt,
    DoubtReason,
    LatestScan,
    Reading,
    ScanFacts,
    ScanField,
    Stand,
)
from monitor.decisions.decide import Rules, assess, decide
from monitor.decisions.evidence import Calibrations, Evidence, PlanEvidence
from tests.monitor.facts import DISH, MODEL, NOW, SETTINGS, hours, measurement, removal_plan

LIMITS = DifferentiationConfig(scans_needed=2, scans_considered=3, agree_h=0)
FIELD = ScanField("a" * 64, "a.tif", "incubator", measurement())


def rules(tmp_path, **changes) -> Rules:
    values = {
        "limits": LIMITS,
        "removal": RemovalConfig(earlier_scans=1),
        "verification": VerificationConfig(),
        "settings": SourceConfig(name="incubator", path=tmp_path, names="dish-time"),
        "recipients": [RecipientConfig(address="a@lab.org")],
        "channels": [],
        "now": NOW + hours(10),
        "not_before": NOW + hours(10),
        "plan_id": "p1",
    }
    return Rules(**(values | changes))


def reading(number: int, fraction: float, **changes) -> Reading:
    values = {
        "id": number, "dish": DISH, "scan_id": number, "version": 1, "at": NOW + hours(number),
        "captures": 1, "background_um2": 1e6, "undifferentiated_um2": 1e6 * (1 - fraction),
        "differentiated_um2": 1e6 * fraction, "differentiated_fraction": fraction,
        "confluence": 0.5, "uncertainty": 0.1, "pixel_size_um": 2.0, "model_sha256": MODEL,
        "settings_sha256": SETTINGS, "colonies": 3,
    }  # fmt: skip
    return Reading(**(values | changes))


def series(*fractions: float, first: int = 1) -> tuple[Reading, ...]:
    return tuple(reading(first + place, one) for place, one in enumerate(fractions))


def facts(*readings: Reading, **changes) -> ScanFacts:
    """A dish of which nothing was decided yet."""
    values = {
        "scan_id": readings[-1].scan_id, "dish": DISH, "status": DishStatus.UNKNOWN,
        "fields": (FIELD,), "history": readings[:-1], "next_version": 1, "is_newest": True,
        "course": Course((), Stand(), readings, (None,) * len(readings)),
    }  # fmt: skip
    return ScanFacts(**(values | changes))


def test_the_same_facts_and_evidence_mean_the_same_at_any_time(tmp_path):
    """Nothing else is asked: no record, no clock, no file."""
    readings = series(0.3, 0.3)
    one, other = (
        decide(
            assess(facts(*readings), readings[-1], LIMITS, earlier_scans=1),
            Evidence(Calibrations(problem="the calibration scope-1 is too old")),
            rules(tmp_path),
        )
        for _ in range(2)
    )
    assert one == other
    assert one.status is DishStatus.DIFFERENTIATING
    assert [(alert.kind, alert.mail_to) for alert in one.alerts] == [
        (AlertKind.RAISED, ("a@lab.org",))
    ]
    assert (one.plan, one.replaces_plans) == (None, True)


@pytest.mark.parametrize(
    ("fractions", "earlier_scans", "planned_by", "earlier"),
    [
        ((0.01, 0.01, 0.01), 2, None, []),
        ((0.3, 0.3, 0.3), 2, 3, [2, 1]),
        ((0.3, 0.3, 0.3), 1, 3, [2]),
        ((0.3, 0.3, 0.3), 0, 3, []),
        ((0.3, 0.8, 0.8), 2, None, []),
    ],
    ids=["undifferentiated", "two scans before", "one", "none", "past saving"],
)
def test_pictures_are_looked_at_only_where_a_plan_may_be_made(
    fractions, earlier_scans, planned_by, earlier
):
    readings = series(*fractions)
    asked = assess(facts(*readings), readings[-1], LIMITS, earlier_scans=earlier_scans).asked
    assert (asked.planned_by and asked.planned_by.id) == planned_by
    assert [one.id for one in asked.earlier] == earlier


def test_scans_that_cannot_be_judged_are_looked_past():
    readings = (*series(0.3, 0.3), reading(3, 0.3, doubts=("out of focus",)), reading(4, 0.3))
    asked = assess(facts(*readings), readings[-1], LIMITS, earlier_scans=2).asked
    assert [one.id for one in asked.earlier] == [2, 1]


def test_what_was_picked_is_looked_at_unless_the_scan_is_in_doubt():
    plan = removal_plan()
    for doubts, picked in (((), (plan,)), (("out of focus",), ())):
        newest = reading(2, 0.01, doubts=doubts)
        known = facts(reading(1, 0.01), newest, picked=(plan,))
        assert assess(known, newest, LIMITS, earlier_scans=1).asked.picked == picked


def between(number: int, fraction: float, low: float, *, calibrated: bool = True) -> Reading:
    doubt = Doubt((), (low, 1.0), "ips 4x", calibrated)
    return reading(number, fraction, doubt=doubt)


STRANGE = Doubt((DoubtReason.UNFAMILIAR,))
NO_PLAN = {
    "the newest scan is in doubt": [*series(0.3, 0.3), reading(3, 0.3, doubt=STRANGE)],
    "its interval reaches below the limit": [*series(0.3, 0.3), between(3, 0.3, 0.05)],
    "its interval ends at the limit": [*series(0.3, 0.3), between(3, 0.3, 0.10)],
    "all scans are in doubt": [reading(number, 0.9, doubt=STRANGE) for number in (1, 2, 3)],
}
A_PLAN = {
    "its interval clears the limit": [*series(0.3, 0.3), between(3, 0.3, 0.11)],
    "its interval is not calibrated": [*series(0.3, 0.3), between(3, 0.3, 0.0, calibrated=False)],
    "nothing is known of its doubt": [*series(0.3, 0.3, 0.3)],
}


@pytest.mark.parametrize("case", [*NO_PLAN, *A_PLAN])
def test_no_plan_is_made_from_what_is_not_sure(tmp_path, case):
    """Nor is one for what the picker left, which no sure scan shows."""
    readings = (NO_PLAN | A_PLAN)[case]
    for picked in ((), (removal_plan(),)):
        known = facts(*readings, picked=picked)
        assessed = assess(known, readings[-1], LIMITS, earlier_scans=1)
        assert (assessed.asked.planned_by is not None) == (case in A_PLAN)
    decision = decide(assessed, Evidence(plan=PlanEvidence([], [])), rules(tmp_path))
    assert decision.plan is None


def test_hits_are_not_laid_by_scans_in_doubt():
    readings = (*series(0.3, 0.3), reading(3, 0.3, doubt=STRANGE), reading(4, 0.3))
    asked = assess(facts(*readings), readings[-1], LIMITS, earlier_scans=2).asked
    assert [one.id for one in asked.earlier] == [2, 1]


def test_what_was_picked_is_not_called_gone_by_a_scan_in_doubt():
    newest = reading(2, 0.01, doubt=STRANGE)
    known = facts(reading(1, 0.3), newest, picked=(removal_plan(),))
    assert assess(known, newest, LIMITS, earlier_scans=1).asked.picked == ()


def test_a_plan_of_before_stays_while_scans_are_in_doubt_and_ends_with_the_next_sure_one(tmp_path):
    """It aims at where the cells were when they were last surely seen, and expires by itself."""
    for case, ends in (("the newest scan is in doubt", False), ("its interval ends at the limit",
                                                                True)):  # fmt: skip
        readings = NO_PLAN[case]
        assessed = assess(facts(*readings), readings[-1], LIMITS, earlier_scans=1)
        assert decide(assessed, Evidence(), rules(tmp_path)).replaces_plans is ends


def test_a_dish_that_is_freshly_passaged_gets_no_alert_and_no_plan_and_says_till_when(tmp_path):
    readings = series(0.9, 0.9, 0.9)
    course = Course((), Stand(), readings, (None,) * 3, passaged_at=readings[0].at)
    known = facts(*readings, course=course)
    assessed = assess(known, readings[-1], LIMITS, earlier_scans=1)
    decision = decide(assessed, Evidence(), rules(tmp_path))
    assert decision.status is DishStatus.FRESHLY_PASSAGED
    assert (decision.alerts, decision.plan) == ((), None)
    assert decision.judged_from == readings[0].at + timedelta(hours=48)


def test_a_request_to_look_goes_to_who_gets_warnings_and_to_nobody_else(tmp_path):
    readings = NO_PLAN["all scans are in doubt"]
    assessed = assess(facts(*readings), readings[-1], LIMITS, earlier_scans=1)
    people = [
        RecipientConfig(address="a@lab.org"),
        RecipientConfig(address="b@lab.org", from_severity="critical"),
    ]
    (asked,) = decide(assessed, Evidence(), rules(tmp_path, recipients=people)).alerts
    assert (asked.topic, asked.mail_to) == (AlertTopic.PLEASE_LOOK, ("a@lab.org",))


def test_a_scan_that_came_late_is_decided_on_as_the_newest_one():
    readings = series(0.3, 0.3, 0.3)
    newest = facts(*readings)
    late = replace(newest, scan_id=1, latest=LatestScan(newest, readings[-1]))
    assessed = assess(late, readings[0], LIMITS, earlier_scans=1)
    assert (assessed.is_late, assessed.reading.id) == (True, 3)
    assert (assessed.planned_by.id, assessed.asked.plan_of.id) == (3, 3)


def test_a_dish_that_has_ended_is_not_decided_on(tmp_path):
    readings = series(0.3, 0.3)
    ended = facts(*readings, has_ended=True, status=DishStatus.UNDIFFERENTIATED)
    assessed = assess(ended, readings[-1], LIMITS, earlier_scans=1)
    decision = decide(assessed, Evidence(), rules(tmp_path))
    assert (decision.status, decision.alerts) == (DishStatus.UNDIFFERENTIATED, ())


def test_a_dish_that_lies_elsewhere_gets_its_alert_and_no_plan(tmp_path, caplog):
    readings = series(0.3, 0.3)
    assessed = assess(facts(*readings), readings[-1], LIMITS, earlier_scans=1)
    moved = Evidence(plan=PlanEvidence([], [], moved_um=400.0))
    decision = decide(assessed, moved, rules(tmp_path))
    assert (decision.plan, decision.replaces_plans) == (None, True)
    assert [one.topic for one in decision.alerts] == [AlertTopic.DIFFERENTIATION]
    assert "it is 400 um from where it was" in caplog.text


def test_what_is_no_news_is_on_record_and_mailed_to_nobody(tmp_path):
    readings = series(0.3, 0.3)
    assessed = assess(facts(*readings), readings[-1], LIMITS, earlier_scans=1)
    later = rules(tmp_path, now=NOW + timedelta(days=30))
    assert [one.held_back for one in decide(assessed, Evidence(), later).alerts] == ["old scan"]
