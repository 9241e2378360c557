"""Scans that tell whether what was picked is gone."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from monitor.config import (
    DecisionsConfig,
    RemovalConfig,
)
from monitor.config.confirmation import VerificationConfig
from monitor.culture import (
    AimPoint,
    AlertKind,
    AlertTopic,
    PickOutcome,
    PlanStatus,
    RemovalCheck,
)
from monitor.record.plan_reports import PickReport
from tests.monitor.facts import NOW, minutes
from tests.monitor.line import (
    AIM,
    CALIBRATED,
    COLONIES,
    REGION,
    TWO_OF_THREE,
    away_while_others_wait,
    draw_colonies,
    name_at,
    scanned,
    series,
)


def picked_between_scans(line, store):
    """A dish with a plan that was carried out half an hour after its second scan."""
    series(line, 0.2, 0.3)
    (plan,) = store.plans.all()
    store.plans.approve(plan.id, who="A", now=line.clock.now)
    store.plans.hand_out(plan.id, to="folder", token="t", now=line.clock.now)
    reports = [PickReport(one.region_id, PickOutcome.PICKED) for one in plan.targets]
    return store.plans.acknowledge(
        plan.id,
        reports,
        who="picker",
        now=line.clock.now,
        picked_at=NOW.replace(hour=2, minute=30),
    )


def draw_label_map(line, kind):
    path = line.config.record.folder / "labels" / "a.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((200, 200), kind, np.uint8))


def test_a_region_that_is_gone_is_said_to_be_gone(make_line, store):
    line = make_line(**CALIBRATED)
    plan = picked_between_scans(line, store)
    draw_label_map(line, 0)
    series(line, 0.01, first_hour=3, regions=(), aims=())
    done = store.plans.plan(plan.id)
    assert done.status is PlanStatus.VERIFIED
    assert [fate.check for fate in done.fates] == [RemovalCheck.GONE]
    assert "not-removed" not in {str(one.topic) for one in store.alerts.alerts()}
    assert len(store.plans.all()) == 1


def test_what_was_picked_is_looked_at_by_each_scan_of_a_backlog(make_line, store):
    """The second sees what the first has said; no label map is read while others wait."""
    line = make_line(**CALIBRATED)
    plan = picked_between_scans(line, store)
    draw_label_map(line, 0)
    (line.config.record.folder / "labels/b.png").write_bytes(b"lost")
    for hour, label_map in ((3, "labels/b.png"), (4, "labels/a.png"), (5, "labels/a.png")):
        line.clock.now = max(line.clock.now, NOW.replace(hour=hour))
        line.worker.says[name_at(hour)] = scanned(
            0.01, hour, regions=(), aims=(), label_map=label_map
        )
        line.take_in(line.drop(name_at(hour)))
    line.run()
    line.clock.passes(minutes(5))
    scans = line.pipeline.complete_scans()
    with away_while_others_wait(store, line.config.record.folder / "labels") as opened:
        outcomes = line.pipeline.read_scans(scans)
    assert len(opened) == 1
    checks = [[one.check for one in outcome.decision.verdicts] for outcome in outcomes]
    assert checks == [[], [RemovalCheck.GONE], []]
    assert store.plans.plan(plan.id).status is PlanStatus.VERIFIED


def test_a_region_that_is_still_there_is_told_and_planned_again(make_line, store):
    """Also of a dish whose rest is fine by now, so that it does not count as differentiating."""
    line = make_line(**CALIBRATED)
    plan = picked_between_scans(line, store)
    draw_label_map(line, 2)
    (outcome,) = series(line, 0.01, first_hour=3)
    done = store.plans.plan(plan.id)
    assert done.status is PlanStatus.VERIFIED
    assert [fate.check for fate in done.fates] == [RemovalCheck.STILL_THERE]
    newest = store.plans.all()[0]
    assert (newest.reading_id, newest.status) == (outcome.reading.id, PlanStatus.DRAFT)
    (told,) = [one for one in store.alerts.alerts() if one.topic is AlertTopic.NOT_REMOVED]
    assert told.kind is AlertKind.RAISED
    assert told.text == f"Picked by plan {plan.id}, and checked: 1 still there."
    notes = [(one.at.hour, one.text) for one in store.timelines.of("dish-07").annotations]
    assert notes == [
        (2, f"removal plan {plan.id} picked: of 1 region 1 picked"),
        (3, f"removal plan {plan.id} looked at again: of 1 region 1 still there"),
    ]


def test_a_scan_whose_label_map_is_lost_says_nothing_of_what_was_picked(make_line, store):
    line = make_line(**CALIBRATED)
    plan = picked_between_scans(line, store)
    series(line, 0.01, first_hour=3, regions=(), aims=())
    assert store.plans.plan(plan.id).status is PlanStatus.PICKED


@pytest.mark.parametrize(
    ("shift_px", "without", "check"),
    [
        (0, (), RemovalCheck.STILL_THERE),
        (25, (), RemovalCheck.STILL_THERE),
        (25, (4,), RemovalCheck.GONE),
        (-25, (4,), RemovalCheck.GONE),
        (90, (4,), RemovalCheck.CANNOT_TELL),
    ],
)
def test_a_plate_that_was_put_back_shifted_is_checked_all_the_same(
    make_line, store, shift_px, without, check
):
    """Taken out for picking and put back 50 um off: of what lies at the region's old place nothing
    can be concluded. 180 um off is more than the settings allow.
    """
    line = make_line(**CALIBRATED)
    before = draw_colonies(line, "before")
    row, column, radius = COLONIES[4]
    square = tuple(
        (float(row + down * radius), float(column + right * radius))
        for down, right in ((-1, -1), (-1, 1), (1, 1), (1, -1))
    )
    region = replace(REGION, polygon=square, pick_point=(float(row), float(column)))
    aim = replace(AIM, polygon=square, points=(AimPoint(row, column, 40.0),))
    series(line, 0.2, 0.3, label_map=before, regions=(region,), aims=(aim,))
    (plan,) = store.plans.all()
    store.plans.approve(plan.id, who="A", now=line.clock.now)
    store.plans.hand_out(plan.id, to="folder", token="t", now=line.clock.now)
    store.plans.acknowledge(
        plan.id,
        [PickReport(one.region_id, PickOutcome.PICKED) for one in plan.targets],
        who="picker",
        now=line.clock.now,
        picked_at=NOW.replace(hour=2, minute=30),
    )
    after = draw_colonies(line, "after", shift_px=shift_px, without=without)
    series(line, 0.01, first_hour=3, label_map=after, regions=(), aims=())
    done = store.plans.plan(plan.id)
    assert [fate.check for fate in done.fates] == [check]
    told = {one.topic for one in store.alerts.alerts(open_only=True)}
    assert (AlertTopic.NOT_REMOVED in told) == (check is RemovalCheck.STILL_THERE)
    if check is RemovalCheck.CANNOT_TELL:
        assert done.status is PlanStatus.PICKED
        again = draw_colonies(line, "again", without=without)
        series(line, 0.01, first_hour=4, label_map=again, regions=(), aims=())
        done = store.plans.plan(plan.id)
        assert [fate.check for fate in done.fates] == [RemovalCheck.GONE]
    assert done.status is PlanStatus.VERIFIED


def test_what_no_scan_could_check_in_time_is_mailed_once(make_line, store):
    """A dish that was put back elsewhere: its plan would wait for ever, and nobody would know."""
    decisions = DecisionsConfig(
        differentiation=TWO_OF_THREE,
        removal=RemovalConfig(earlier_scans=0),
        verification=VerificationConfig(within_h=1.0),
    )
    line = make_line(decisions=decisions, **CALIBRATED)
    plan = picked_between_scans(line, store)
    draw_label_map(line, 2)
    series(line, 0.01, 0.01, first_hour=4, regions=(), aims=())
    done = store.plans.plan(plan.id)
    assert (done.status, done.to_check) == (PlanStatus.PICKED, ())
    assert [fate.check for fate in done.fates] == [RemovalCheck.NOT_CHECKED]
    (told,) = [one for one in store.alerts.alerts() if one.topic is AlertTopic.NOT_CHECKED]
    assert (told.kind, told.closed_at) == (AlertKind.RAISED, None)
    assert told.text == (
        f"Picked by plan {plan.id}: no scan in time could tell whether 1 region is gone."
    )
