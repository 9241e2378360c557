"""From scans to removal plans."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import cv2
import numpy as np
import pytest
from PIL import Image

from monitor.config import (
    DecisionsConfig,
    RemovalConfig,
)
from monitor.config.confirmation import VerificationConfig
from monitor.culture import (
    AlertKind,
    Calibration,
    CalibrationKind,
    DishStatus,
    PlanStatus,
    StagePosition,
)
from monitor.record.store import Store
from monitor.segmentation.colonies import find_colonies, find_regions, measure_areas
from monitor.segmentation.overlay import encode_png
from monitor.segmentation.targeting import aim_at
from monitor.segmentation.uncertainty_maps import doubt_map_name, doubts_of
from tests.monitor.facts import MODEL, NOW, measurement, minutes
from tests.monitor.line import CALIBRATED, REGION, TWO_OF_THREE, draw_colonies, name_at, series


def test_each_scan_of_a_differentiating_dish_makes_its_plan_and_ends_the_former(make_line, store):
    line = make_line(**CALIBRATED)
    outcomes = series(line, 0.2, 0.3, 0.4)
    newest, former = store.plans.all()
    assert (newest.status, former.status) == (PlanStatus.DRAFT, PlanStatus.SUPERSEDED)
    assert newest.reading_id == outcomes[-1].reading.id
    assert newest.calibration_id == "scope-1"
    assert newest.model_sha256 == MODEL
    ((_, hit),) = newest.visits
    assert (hit.pick_x_um, hit.pick_y_um) == (1001.0, 2001.0)


def test_a_plan_aims_only_where_the_scan_before_saw_the_same(make_line, store):
    """What one scan alone calls differentiated may be debris or a flaw of the picture."""
    line = make_line(
        decisions=DecisionsConfig(
            differentiation=TWO_OF_THREE, removal=RemovalConfig(earlier_scans=1)
        ),
        **CALIBRATED,
    )
    state = line.config.record.folder / "labels"
    state.mkdir(parents=True, exist_ok=True)
    for hour, right in ((1, 200), (2, 200), (3, 90), (4, 200)):
        labels = np.ones((200, 200), np.uint8)
        labels[40:160, 40:right] = 2
        Image.fromarray(labels).save(state / f"{hour}.png")
        series(line, 0.3, first_hour=hour, label_map=f"labels/{hour}.png")
    # The third scan shows that part of the region was none: the fourth does not aim there.
    assert [plan.reading_id for plan in store.plans.all()] == [3, 2]
    (state / "4.png").unlink()
    series(line, 0.3, first_hour=5, label_map="labels/2.png")
    assert len(store.plans.all()) == 2  # a map that is gone proves nothing


@pytest.mark.parametrize(
    ("most_shift_um", "plans"),
    [(150.0, 2), (0.0, 3)],
    ids=["by the default", "where dishes are said to stay where they are"],
)
def test_a_dish_that_was_put_back_elsewhere_gets_no_plan_by_the_scans_before(
    make_line, store, caplog, most_shift_um, plans
):
    """At the same place of the stage they show other cells. A shift of 40 um, then none again."""
    line = make_line(
        decisions=DecisionsConfig(
            differentiation=TWO_OF_THREE,
            removal=RemovalConfig(earlier_scans=1),
            verification=VerificationConfig(most_shift_um=most_shift_um),
        ),
        **CALIBRATED,
    )
    for hour, shift_px in ((1, 0), (2, 0), (3, 20), (4, 20)):
        labels = draw_colonies(line, str(hour), shift_px=shift_px, big=True)
        series(line, 0.3, first_hour=hour, label_map=labels)
    assert len(store.plans.all()) == plans
    assert ("it is 40 um from where it was" in caplog.text) == (plans == 2)


def grown(line, hour, rng, limits):
    """A scan of a dish whose differentiated area grows, as the real parts measure it."""
    labels = np.ones((200, 200), np.uint8)
    cv2.circle(labels, (100, 100), 60 + 3 * hour, 2, -1)
    for row, column in rng.integers(40, 160, (4, 2)).tolist():
        cv2.circle(labels, (column, row), 6, 1, -1)  # remnants that each scan sees elsewhere
    sharp = np.eye(3, dtype=np.float32)[labels].transpose(2, 0, 1)[:, ::2, ::2]
    probabilities = 0.97 * sharp + 0.01
    name = f"labels/{hour}.png"
    folder = line.config.record.folder
    (folder / "labels").mkdir(parents=True, exist_ok=True)
    Image.fromarray(labels).save(folder / name)
    (folder / doubt_map_name(name)).write_bytes(encode_png(doubts_of(probabilities)))
    found = find_colonies(labels, min_area_px=100)
    regions = find_regions(labels, np.where(labels == 2, 0.98, 0.01), min_area_px=100)
    areas = measure_areas(labels)
    aims = aim_at(
        labels,
        probabilities,
        regions,
        found,
        pixel_size_um=4.0,
        targeting=limits.targeting,
        min_probability=limits.min_probability,
        min_region_um2=limits.min_region_um2,
        max_undifferentiated=limits.max_undifferentiated,
    )
    return measurement(
        shape=labels.shape, areas=areas, colonies=found, regions=regions, aims=aims,
        targeting=limits.targeting, acquired_at=NOW.replace(hour=hour, minute=0), pixel_size_um=4.0,
        stage=StagePosition(1000.0, 2000.0), label_map=name,
    )  # fmt: skip


def plan_after(make_line, tmp_path, portions, *, restart=False):
    """The plan of the last of some scans that came in such portions."""
    limits = RemovalConfig(
        earlier_scans=2, whole_colony_above=None, safe_distance_um=10.0, border_um=5.0,
        positional_error_um=5.0,
    )  # fmt: skip
    rng = np.random.default_rng(7)
    with Store(f"sqlite:///{tmp_path}/{'-'.join(map(str, portions))}-{restart}.db") as store:
        line = make_line(
            decisions=DecisionsConfig(
                differentiation=TWO_OF_THREE.model_copy(update={"discard_above": None}),
                removal=limits,
            ),
            store=store,
            **CALIBRATED,
        )
        said = {name_at(hour): grown(line, hour, rng, limits) for hour in range(1, 8)}
        line.worker.says = dict(said)
        names = iter(said)
        for portion in portions:
            for _ in range(portion):
                line.take_in(line.drop(next(names)))
            line.run()
            line.clock.passes(minutes(5))
            line.pipeline.read_scans(line.pipeline.complete_scans())
        (plan,) = [one for one in store.plans.all() if one.status is PlanStatus.DRAFT]
        return plan


@pytest.mark.parametrize("portions", [(1,) * 7, (6, 1), (3, 4), (5, 1, 1)], ids=str)
def test_the_same_scans_give_the_same_plan_however_they_came(make_line, tmp_path, portions):
    """What a hit may touch is asked of the scans taken before, whenever they were read."""
    at_once = plan_after(make_line, tmp_path, (7,))
    came_otherwise = plan_after(make_line, tmp_path, portions)
    assert len(at_once.visits) > 3
    assert at_once.targets == came_otherwise.targets
    assert at_once.refused == came_otherwise.refused
    assert at_once.left_out == came_otherwise.left_out


def test_a_dish_past_saving_is_said_and_gets_no_plan(make_line, store):
    line = make_line(**CALIBRATED)
    series(line, 0.3, 0.3, 0.8, 0.8)
    topics = {str(one.topic) for one in store.alerts.alerts(open_only=True)}
    assert "past-saving" in topics
    assert PlanStatus.DRAFT not in {plan.status for plan in store.plans.all()}
    series(line, 0.3, 0.3, first_hour=5)
    assert store.plans.all()[0].status is PlanStatus.DRAFT


def test_a_dish_that_is_clear_again_has_no_plan_left(make_line, store):
    line = make_line(**CALIBRATED)
    outcomes = series(line, 0.2, 0.3, 0.01, 0.01)
    assert outcomes[-1].decision.alert is AlertKind.CLEARED
    assert {plan.status for plan in store.plans.all()} == {PlanStatus.SUPERSEDED}
    assert store.alerts.alerts(open_only=True) == []


def test_a_scan_that_cannot_be_judged_leaves_plan_and_status_alone(make_line, store):
    line = make_line(**CALIBRATED)
    series(line, 0.2, 0.3)
    series(line, 0.9, first_hour=6, doubts=("out of focus",))
    (plan,) = store.plans.all()
    assert plan.status is PlanStatus.DRAFT
    assert store.dishes.dishes()[0].status is DishStatus.DIFFERENTIATING


def test_without_a_calibration_there_is_an_alert_and_no_plan(line, store, caplog):
    series(line, 0.2, 0.3)
    assert len(store.alerts.alerts()) == 1
    assert store.plans.all() == []
    assert "no removal plan" in caplog.text


def taught(kind=CalibrationKind.CAMERA, **changes):
    """A calibration as it was taught on the day before."""
    values = {
        "id": f"{kind}-1",
        "kind": kind,
        "source": "incubator",
        "matrix": ((1.0, 0.0, 0.0), (0.0, -1.0, 0.0)),
        "made_at": NOW - timedelta(hours=24),
        "made_by": "A. Person",
        "max_age_days": 90.0,
    }
    return Calibration(**(values | changes))


def test_a_plan_aims_by_the_newest_calibration_on_record(line, store, caplog):
    caplog.set_level("INFO")
    store.calibrations.add(taught(id="old", made_at=NOW - timedelta(hours=48)))
    store.calibrations.add(taught())
    series(line, 0.2, 0.3)
    (plan,) = store.plans.all()
    assert (plan.calibration_id, plan.frame) == ("camera-1", "stage")
    assert "source=incubator: camera calibration camera-1 from the record" in caplog.text


def test_the_configuration_wins_over_the_record(make_line, store, caplog):
    caplog.set_level("INFO")
    store.calibrations.add(taught())
    series(make_line(**CALIBRATED), 0.2, 0.3)
    assert [plan.calibration_id for plan in store.plans.all()] == ["scope-1"]
    assert "camera calibration scope-1 from config.yaml" in caplog.text


def test_a_plan_is_in_the_pickers_frame_where_that_is_known(make_line, store):
    store.calibrations.add(
        taught(CalibrationKind.PICKER, matrix=((1.0, 0.0, 1000.0), (0.0, 1.0, -500.0)))
    )
    series(make_line(**CALIBRATED), 0.2, 0.3)
    (plan,) = store.plans.all()
    assert (plan.frame, plan.picker_calibration_id) == ("picker", "picker-1")
    ((_, hit),) = plan.visits
    assert hit.picker_x_um == hit.pick_x_um + 1000
    assert hit.picker_y_um == hit.pick_y_um - 500


@pytest.mark.parametrize(
    ("name", "kind", "changes", "said"),
    [
        ("too old", CalibrationKind.CAMERA, {"max_age_days": 0.5}, "its limit is 0.5 days"),
        ("another objective", CalibrationKind.CAMERA, {"objective": "10x"}, "the objective 10x"),
        ("another pixel size", CalibrationKind.CAMERA, {"pixel_size_um": 1.0}, "expects 1 µm"),
        ("a picker's too", CalibrationKind.PICKER, {"max_age_days": 0.5}, "its limit is 0.5 days"),
    ],
)
def test_a_calibration_that_does_not_hold_makes_an_alert_and_no_plan(
    line, store, caplog, name, kind, changes, said
):
    if kind is CalibrationKind.PICKER:
        store.calibrations.add(taught())
    store.calibrations.add(taught(kind, **changes))
    series(line, 0.2, 0.3)
    assert len(store.alerts.alerts()) == 1
    assert store.plans.all() == []
    assert said in caplog.text


def test_a_region_that_no_plan_can_be_made_of_does_not_stop_the_alert(make_line, store):
    line = make_line(**CALIBRATED)
    sliver = replace(REGION, polygon=((50.0, 50.0), (51.0, 50.0)))
    outcomes = series(line, 0.2, 0.3, regions=(sliver,))
    assert outcomes[-1].decision.alert is AlertKind.RAISED
    assert store.plans.all() == []
