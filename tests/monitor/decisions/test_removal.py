import itertools
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.config import (
    CalibrationConfig,
    RemovalConfig,
    SourceSettings,
    StageLimitsConfig,
    VesselConfig,
)
from monitor.culture import (
    Aim,
    AimPoint,
    Calibration,
    CalibrationKind,
    Colony,
    Doubt,
    DoubtReason,
    FieldAreas,
    FieldMeasurement,
    PlanStatus,
    Reading,
    Region,
    ScanField,
    StagePosition,
)
from monitor.decisions.removal import plan_removal
from monitor.decisions.tour import short_tour
from monitor.errors import CalibrationError
from monitor.stage.calibration import configured_calibration
from monitor.stage.labelled_field import LabelledField
from tests.monitor.facts import with_pixel_size

NOW = datetime(2026, 11, 3, 9, 30, tzinfo=UTC)
READING = Reading(
    id=17,
    dish="3500003816/A1",
    scan_id=4,
    version=1,
    at=NOW - timedelta(minutes=5),
    captures=1,
    background_um2=6e5,
    undifferentiated_um2=3e5,
    differentiated_um2=1e5,
    differentiated_fraction=0.25,
    confluence=0.4,
    uncertainty=0.1,
    pixel_size_um=2.0,
    model_sha256="m" * 64,
    settings_sha256="s" * 64,
    colonies=3,
)
LIMITS = RemovalConfig(earlier_scans=0)  # 10 000 um2, 0.6, tip of 100 and 120 um, 12 h
CALIBRATION = configured_calibration(
    "incubator",
    SourceSettings(
        calibration=CalibrationConfig(id="scope-1", pixel_to_stage=((1.0, 0.0), (0.0, -1.0)))
    ),
)


def region(label=1, row=100, column=100, side=60, **changes):
    """A square region: 60 px of 2 um are 14 400 um2 with an inscribed radius of 60 um."""
    half = side / 2
    values = {
        "label": label,
        "area_px": side * side,
        "polygon": (
            (row - half, column - half),
            (row - half, column + half),
            (row + half, column + half),
            (row + half, column - half),
        ),
        "pick_point": (float(row), float(column)),
        "inscribed_radius_px": half,
        "mean_probability": 0.9,
    }
    return Region(**(values | changes))


def aim(one, **changes):
    """One hit at the region's pick point; refused where the tool does not fit in."""
    radius = one.inscribed_radius_px
    fits = radius * 2.0 >= LIMITS.targeting.clearance_um / 2
    values = {
        "label": one.label,
        "whole_colony": False,
        "area_px": one.area_px,
        "polygon": one.polygon,
        "mean_probability": one.mean_probability,
        "uncertainty": 0.1,
        "inscribed_radius_px": radius,
        "points": (AimPoint(*one.pick_point, radius),) if fits else (),
        "removable_px": 2_000.0,
        "covered_px": 1_900.0,
        "refused": None if fits else "too thin",
        "refused_text": None if fits else "too thin for tip-100 (needs 180 µm across)",
    }
    return Aim(**(values | changes))


def field(*regions, sha256="a" * 64, **changes):
    values = {
        "aims": tuple(aim(one) for one in regions),
        "targeting": LIMITS.targeting,
        "shape": (401, 401),
        "areas": FieldAreas(100, 100, 100),
        "colonies": (),
        "regions": regions,
        "uncertainty": 0.1,
        "model_name": "starter",
        "model_sha256": "m" * 64,
        "settings_sha256": "s" * 64,
        "acquired_at": READING.at,
        "acquired_at_from": "metadata",
        "pixel_size_um": 2.0,
        "pixel_size_from": "metadata",
        "stage": StagePosition(5000.0, 1000.0, 250.0),
    }
    measured = FieldMeasurement(**with_pixel_size(values | changes))
    return ScanField(sha256, f"{sha256}.tif", "incubator", measured)


def plan(*fields, calibration=CALIBRATION, limits=LIMITS, **places):
    return plan_removal("p1", READING, fields, calibration, limits, NOW, **places)


def test_a_region_that_qualifies_becomes_a_target_in_the_stage_frame():
    result = plan(field(region(row=150, column=300)))
    ((target, hit),) = result.visits
    # The centre is (200, 200): 100 columns right are +200 um in x, 50 rows up are +100 um in y.
    assert (hit.pick_x_um, hit.pick_y_um, hit.pick_z_um) == (5200.0, 1100.0, 250.0)
    assert hit.pick_px == (150.0, 300.0)
    assert target.centroid_px == pytest.approx((150.0, 300.0))
    assert (target.area_um2, target.inscribed_radius_um) == (14_400.0, 60.0)
    assert (target.order, target.capture_sha256) == (1, "a" * 64)
    assert target.region_id == "aaaaaaaaaaaa-1"


def test_the_plan_names_what_it_rests_on_and_when_it_ends():
    result = plan(field(region()))
    assert (result.id, result.dish, result.reading_id) == ("p1", "3500003816/A1", 17)
    assert (result.model_sha256, result.settings_sha256) == ("m" * 64, "s" * 64)
    assert result.calibration_id == "scope-1"
    assert result.created_at == NOW
    assert result.expires_at == READING.at + timedelta(hours=12)  # from the scan on


def test_a_plan_waits_for_a_person():
    result = plan(field(region()))
    assert result.status is PlanStatus.DRAFT
    assert (result.approved_by, result.approved_at) == (None, None)


def test_a_rule_may_approve_where_the_configuration_says_so():
    result = plan(
        field(region()), limits=RemovalConfig(earlier_scans=0, approval="rule", expires_h=1.0)
    )
    assert result.status is PlanStatus.APPROVED
    assert (result.approved_by, result.approved_at) == ("rule", NOW)
    assert result.expires_at == READING.at + timedelta(hours=1)


def test_a_scan_of_long_ago_makes_no_plan():
    """A backfill reads scans of last year; the cells have moved since."""
    assert plan(field(region()), limits=RemovalConfig(earlier_scans=0, expires_h=0.05)) is None


@pytest.mark.parametrize(
    "fields",
    [
        (),
        (field(),),
        (field(region(side=40)),),
        (field(region(inscribed_radius_px=5.0)),),
        (field(region(mean_probability=0.5)),),
    ],
)
@pytest.mark.parametrize("calibration", [CALIBRATION, None])
def test_no_plan_where_no_region_qualifies(fields, calibration):
    assert plan(*fields, calibration=calibration) is None


def test_regions_left_out_are_counted_with_their_reason():
    result = plan(
        field(
            region(1),
            region(2, row=300, side=40),
            region(3, row=30, side=30),
            region(4, column=300, inscribed_radius_px=5.0),
            region(5, row=200, column=250, mean_probability=0.55),
        )
    )
    assert [target.region_id[-1] for target in result.targets] == ["1"]
    assert result.left_out == (
        "2 regions are too small (below 10000 µm²).",
        "1 region is too thin for tip-100 (needs 180 µm across).",
        "1 region is too uncertain (probability below 0.6).",
    )


@pytest.mark.parametrize(
    ("change", "calibration", "text"),
    [
        ({}, None, "2 differentiated regions with no calibration: set the source's calibration"),
        ({"stage": None}, CALIBRATION, "with no stage position"),
        ({"pixel_size_um": None}, CALIBRATION, "no pixel size: set the source's pixel_size_um"),
    ],
)
def test_without_a_place_on_the_stage_there_is_an_error_and_no_plan(change, calibration, text):
    with pytest.raises(CalibrationError, match=text) as raised:
        plan(field(region(1), region(2, row=300), **change), calibration=calibration)
    assert str(raised.value).startswith("3500003816/A1: no removal plan")


def test_an_assumed_pixel_size_places_nothing():
    with pytest.raises(CalibrationError, match="no pixel size"):
        plan(field(region(), pixel_size_um=None, assumed_pixel_size_um=2.0))


def test_a_field_that_cannot_be_placed_is_left_out_and_said():
    result = plan(field(region()), field(region(), sha256="b" * 64, stage=None))
    assert [target.capture_sha256[0] for target in result.targets] == ["a"]
    assert result.left_out[0].startswith("1 region cannot be placed on the stage")


def test_a_region_seen_in_two_overlapping_fields_is_aimed_at_once_by_its_larger_view():
    whole = field(region(column=350, side=80))
    cut = field(
        region(column=31, row=100, side=62), sha256="b" * 64, stage=StagePosition(5640.0, 1000.0)
    )
    result = plan(cut, whole)
    assert [target.capture_sha256[0] for target in result.targets] == ["a"]
    assert result.left_out == ("1 region is aimed at already in an overlapping field.",)


def test_neighbouring_regions_of_one_field_are_both_aimed_at():
    outer = region(1, side=200, row=150, column=150, pick_point=(60.0, 60.0))
    assert len(plan(field(outer, region(2, row=150, column=150))).targets) == 2


def test_targets_come_in_the_order_of_a_short_tour():
    rows = field(*(region(label, row=30, column=30 + 70 * (label * 3 % 5)) for label in range(5)))
    places = [hit.pick_x_um for _, hit in plan(rows).visits]
    assert places == sorted(places)
    assert [target.order for target in plan(rows).targets] == [1, 2, 3, 4, 5]


def length(points, order):
    steps = np.diff(np.asarray(points)[list(order)], axis=0)
    return float(np.hypot(steps[:, 0], steps[:, 1]).sum())


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 100_000), st.integers(0, 100_000)), max_size=40))
def test_a_tour_visits_each_point_once_and_is_no_longer_than_the_plain_order_of_neighbours(points):
    array = np.array(points, float).reshape(-1, 2)
    order = short_tour(array)
    assert sorted(order) == list(range(len(points)))
    if len(points) > 1:
        left = set(range(len(points)))
        here = min(left, key=lambda index: (array[index].sum(), index))
        nearest = [here]
        left.discard(here)
        while left:
            here = min(left, key=lambda index: (np.hypot(*(array[index] - array[here])), index))
            left.discard(here)
            nearest.append(here)
        assert length(array, order) <= length(array, nearest) + 1e-6


def test_a_tour_of_few_points_is_within_a_tenth_of_the_best():
    chance = np.random.default_rng(3)
    ratios = []
    for _ in range(20):
        points = chance.uniform(0, 30_000, (7, 2))
        best = min(length(points, order) for order in itertools.permutations(range(7)))
        ratios.append(length(points, short_tour(points)) / best)
    assert np.mean(ratios) < 1.10


# --- where targets may lie ----------------------------------------------------------------------

# The field's centre is at (5000, 1000): well A1, with rows against y as the camera has it.
WELL = VesselConfig(kind="96-well", centre_um=(5_000.0, 1_000.0), rows_run="-y")


def test_a_target_is_given_from_the_centre_of_its_well_too():
    ((_, hit),) = plan(
        field(region(row=150, column=300)), settings=SourceSettings(vessel=WELL)
    ).visits
    assert (hit.well_x_um, hit.well_y_um) == (200.0, 100.0)


def test_a_picker_with_its_own_frame_gets_its_own_coordinates():
    picker = replace(
        CALIBRATION,
        id="picker-1",
        kind=CalibrationKind.PICKER,
        matrix=((0.0, -1.0, 10_000.0), (1.0, 0.0, 500.0)),
    )
    result = plan(field(region(row=150, column=300)), picker=picker)
    ((_, hit),) = result.visits
    assert (hit.pick_x_um, hit.pick_y_um) == (5200.0, 1100.0)
    assert (hit.picker_x_um, hit.picker_y_um) == (8_900.0, 5_700.0)
    assert (result.frame, result.picker_calibration_id) == ("picker", "picker-1")
    assert plan(field(region())).frame == "stage"


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        (
            "outside the stage",
            {"stage_limits_um": StageLimitsConfig(x=(0.0, 4_900.0), y=(0.0, 75_000.0))},
            r"a place \(x 5200, y 1100 µm\) outside the stage limits: check the calibration",
        ),
        (
            "in another well",
            {"vessel": VesselConfig(kind="96-well", centre_um=(14_380.0, 11_240.0))},
            "13.7 mm from the centre of a vessel of 6.4 mm; check the calibration",
        ),
        (
            "in no well",
            {"vessel": VesselConfig(kind="dish", centre_um=(9e4, 0.0), well_diameter_mm=35.0)},
            "mm from the centre of a vessel of 35 mm",
        ),
        ("mm for um", {"stage_limits_um": StageLimitsConfig(x=(0, 110), y=(0, 75))}, "outside the"),
        (
            "on the wall",
            {"vessel": WELL.model_copy(update={"well_diameter_mm": 0.44})},
            "a place on the wall of the vessel",
        ),
        ("another objective", {"binning": 2}, "expects 4 µm: another objective or another binning"),
    ],
)
def test_a_place_that_cannot_be_right_makes_no_plan(name, settings, said):
    calibration = replace(
        CALIBRATION, pixel_size_um=2.0, matrix=((2.0, 0.0, 0.0), (0.0, -2.0, 0.0))
    )
    with pytest.raises(CalibrationError, match=said) as raised:
        plan(
            field(region(row=150, column=300)),
            calibration=calibration,
            settings=SourceSettings().model_copy(update=settings),
        )
    assert str(raised.value).startswith("3500003816/A1: no removal plan")


def test_a_dish_that_is_no_well_of_the_plate_has_no_place():
    settings = SourceSettings(vessel=WELL)
    with pytest.raises(CalibrationError, match="dish-07 is not a well of a plate"):
        plan_removal(
            "p1",
            replace(READING, dish="dish-07"),
            [field(region())],
            CALIBRATION,
            LIMITS,
            NOW,
            settings=settings,
        )


def test_what_lies_beyond_the_limits_is_left_out_and_said_where_the_rest_has_a_place():
    limits = StageLimitsConfig(x=(4_500.0, 5_100.0), y=(0.0, 2_000.0))
    result = plan(
        field(region(1), region(2, row=300, column=330)),
        settings=SourceSettings(stage_limits_um=limits),
    )
    assert [target.region_id[-1] for target in result.targets] == ["1"]
    assert result.left_out[0].startswith("1 region cannot be placed on the stage, a place (x 5260")


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("no area", {"area_px": 0}),
        ("a negative area", {"area_px": -3600}),
        ("no radius", {"inscribed_radius_px": 0.0}),
        ("a negative radius", {"inscribed_radius_px": -5.0}),
        ("no outline", {"polygon": ()}),
        ("a line for an outline", {"polygon": ((1.0, 2.0), (3.0, 4.0))}),
        ("an outline with a gap", {"polygon": ((1.0, 2.0), (3.0, np.nan), (9.0, 9.0))}),
        ("nowhere to aim", {"pick_point": (np.nan, 5.0)}),
    ],
)
def test_a_region_without_a_size_is_left_out_whatever_the_limits_are(name, changes):
    limits = RemovalConfig(min_region_um2=1e-9, min_probability=0.0, earlier_scans=0)
    result = plan(field(region(1), region(2, **changes)), limits=limits)
    assert [target.region_id[-1] for target in result.targets] == ["1"]
    assert result.left_out == ("1 region is without a size or an outline.",)


@pytest.mark.parametrize("pixel_size_um", [0.0, -2.0, np.nan, np.inf])
def test_a_pixel_without_a_size_places_nothing(pixel_size_um):
    with pytest.raises(CalibrationError, match="a pixel size of"):
        plan(field(region(), pixel_size_um=pixel_size_um))


# --- was it there before? -----------------------------------------------------------------------

PERSISTENT = RemovalConfig(earlier_scans=1)
STRANGE = Doubt((DoubtReason.UNFAMILIAR,))


def before(labels, **changes):
    measured = field(shape=labels.shape, **changes).measurement
    return [LabelledField(measured, labels)]


def drawn(value=2, *, hole=None):
    """The picture of `field` a scan earlier: all of one class, but for a square."""
    labels = np.full((401, 401), value, np.uint8)
    if hole is not None:
        labels[hole] = 1
    return labels


@pytest.mark.parametrize(
    ("name", "earlier", "aimed_at"),
    [
        ("the same before", [before(drawn())], True),
        ("background before", [before(drawn(0))], False),
        ("good cells under the wall", [before(drawn(hole=np.s_[150:155, 328:333]))], False),
        ("good cells beyond its reach", [before(drawn(hole=np.s_[150:155, 340:345]))], True),
        ("no earlier scan", [], False),
        ("its map is gone", [[]], False),
        ("its field was in doubt", [before(drawn(), doubt=STRANGE)], False),
        ("seen from another place", [before(drawn(), stage=StagePosition(6e3, 1e3))], False),
        ("a shifted stage", [before(drawn(), stage=StagePosition(5_040.0, 1_020.0))], True),
    ],
)
def test_a_hit_needs_its_whole_place_differentiated_in_the_scan_before(name, earlier, aimed_at):
    """All that the tool touches, wherever the picker sets it down: 70 um about the aim."""
    result = plan(field(region(row=150, column=300)), limits=PERSISTENT, earlier=earlier)
    assert (result is not None) == aimed_at


def test_a_dish_without_earlier_scans_may_be_taken_at_its_word():
    limits = RemovalConfig(earlier_scans=1, trust_first_scan=True)
    assert plan(field(region()), limits=limits) is not None
    assert plan(field(region()), limits=limits, earlier=[before(drawn(0))]) is None


def test_each_of_the_earlier_scans_must_agree():
    limits = RemovalConfig(earlier_scans=2)
    same = before(drawn())
    assert plan(field(region()), limits=limits, earlier=[same, same]) is not None
    assert plan(field(region()), limits=limits, earlier=[same, before(drawn(1))]) is None
    assert plan(field(region()), limits=limits, earlier=[same]) is None


# --- what the tool can do -----------------------------------------------------------------------


def test_the_plan_names_its_tool_its_cover_and_what_it_refuses():
    result = plan(field(region(1), region(2, row=300, inscribed_radius_px=5.0)))
    (target,) = result.targets
    assert result.targeting == LIMITS.targeting
    assert target.removable_um2 == 8_000.0
    assert target.covered_um2 == pytest.approx(np.pi * 50.0**2, rel=0.01)
    (refused,) = result.refused
    assert (refused.region_id[-1], refused.reason) == ("2", "too thin")
    assert refused.area_um2 == 14_400.0


@pytest.mark.parametrize(
    "changes",
    [{"targeting": None}, {"targeting": RemovalConfig(border_um=5.0).targeting}, {"aims": ()}],
)
def test_what_was_measured_for_another_tool_is_not_aimed_at_with_this_one(changes):
    assert plan(field(region(), **changes)) is None
    result = plan(field(region(), sha256="b" * 64), field(region(), **changes))
    assert "colonywatch reprocess" in result.left_out[0]


def test_regions_of_a_field_in_doubt_are_left_though_the_scan_as_a_whole_is_sure():
    """One doubtful field in twenty leaves a scan sure, and may still be all wrong."""
    strange = field(region(), doubt=STRANGE)
    assert plan(strange) is None
    result = plan(field(region(), sha256="b" * 64), strange)
    assert [one.capture_sha256 for one in result.targets] == ["b" * 64]
    assert [one.reason for one in result.refused] == ["in doubt"]
    assert result.left_out == (
        "1 region is in a field in doubt (unlike the images the model has learnt from).",
    )


def test_an_uncertain_region_is_left():
    doubtful = field(region(), aims=(aim(region(), uncertainty=0.6),))
    assert plan(doubtful) is None


def test_a_plan_has_no_more_hits_than_it_may_and_says_what_waits():
    regions = [
        region(label, row=60 + 70 * label, mean_probability=0.6 + label / 10) for label in (1, 2, 3)
    ]
    result = plan(field(*regions), limits=RemovalConfig(earlier_scans=0, max_hits=2))
    assert {target.region_id[-1] for target in result.targets} == {"2", "3"}
    assert result.left_out[-1].startswith("1 region waits for the next plan")


def test_a_colony_that_goes_whole_takes_its_regions_with_it():
    colony = Colony(1, 5_000, 4_500, (100.0, 100.0), (60, 60, 140, 140))
    whole = aim(region(), whole_colony=True, area_px=5_000)
    result = plan(field(region(colony=1), colonies=(colony,), aims=(whole,)))
    (target,) = result.targets
    assert (target.whole_colony, target.region_id) == (True, "aaaaaaaaaaaa-c1")


# --- the picker's smallest step -----------------------------------------------------------------

TURNED = Calibration(
    "picker-1",
    CalibrationKind.PICKER,
    "incubator",
    ((0.8, -0.6, 1_234.5), (0.6, 0.8, -77.7)),
)


IN_WELL = SourceSettings(vessel=WELL)


def stepping(step_um, **changes):
    return RemovalConfig(earlier_scans=0, step_um=step_um, **changes)


@given(
    row=st.floats(60, 340),
    column=st.floats(60, 340),
    step_um=st.sampled_from([1.0, 6.25, 25.0, 100.0]),
    picker=st.sampled_from([None, TURNED]),
)
def test_hits_lie_on_whole_steps_and_every_frame_says_the_place_where_they_lie_now(
    row, column, step_um, picker
):
    limits = stepping(step_um)
    one = field(region(row=row, column=column), targeting=limits.targeting)
    ((_, hit),) = plan(one, limits=limits, picker=picker, settings=IN_WELL).visits
    x_um, y_um = (
        (hit.pick_x_um, hit.pick_y_um) if picker is None else (hit.picker_x_um, hit.picker_y_um)
    )
    for value in (x_um, y_um):
        assert abs(value / step_um - round(value / step_um)) < 1e-6
    assert hit.snap_um <= limits.targeting.snap_um + 1e-6
    # The picture, the stage and the well agree on it.
    assert hit.pick_x_um == pytest.approx(5000 + 2 * (hit.pick_px[1] - 200))
    assert hit.pick_y_um == pytest.approx(1000 - 2 * (hit.pick_px[0] - 200))
    assert hit.well_x_um == pytest.approx(hit.pick_x_um - 5000)
    moved = math.hypot(2 * (hit.pick_px[1] - column), 2 * (hit.pick_px[0] - row))
    assert hit.snap_um == pytest.approx(moved, abs=1e-6)
    assert hit.clearance_um == pytest.approx(max(0.0, 60 - moved), abs=1e-6)


def test_room_for_the_step_is_kept_when_hits_are_laid_out():
    """So that a hit that is moved to the nearest step is as far from good cells as before."""
    fine, coarse = LIMITS.targeting, stepping(20.0).targeting
    half_a_diagonal = 20.0 / math.sqrt(2)
    assert coarse.clearance_um == pytest.approx(fine.clearance_um + half_a_diagonal)
    assert coarse.clearance_of_good_um == pytest.approx(fine.clearance_of_good_um + half_a_diagonal)


def test_what_was_measured_without_room_for_the_step_is_not_aimed_at():
    assert plan(field(region()), limits=stepping(20.0)) is None


def test_hits_that_fall_on_one_step_are_set_once():
    limits = stepping(100.0)
    one = region()
    points = tuple(AimPoint(100.0, 100.0 + offset, 30.0) for offset in (0.0, 5.0, 40.0))
    measured = field(one, aims=(aim(one, points=points),), targeting=limits.targeting)
    visits = plan(measured, limits=limits).visits
    assert len(visits) == 2
    assert len({(hit.pick_x_um, hit.pick_y_um) for _, hit in visits}) == 2


def test_without_a_step_nothing_is_moved():
    ((_, hit),) = plan(field(region(row=150.3))).visits
    assert (hit.pick_px, hit.snap_um) == ((150.3, 100.0), None)


@pytest.mark.parametrize("step_um", [0.0, -1.0, float("nan"), float("inf"), 5_000.0])
def test_a_step_that_cannot_be_is_refused(step_um):
    with pytest.raises(ValueError):
        stepping(step_um)


def test_the_plan_says_what_its_hits_remove_in_all_and_counts_what_overlaps_once():
    """Two hits of 100 um, 50 um apart; a third by itself. The regions cover more."""
    near = tuple(AimPoint(100.0, column, 60.0) for column in (100.0, 125.0))
    one, two = region(side=120), region(label=2, row=300, column=300)
    aims = (aim(one, points=near), aim(two))
    result = plan(field(one, two, aims=aims))
    disc = np.pi * 50.0**2
    lens = 2 * 50.0**2 * np.arccos(0.5) - 25.0 * np.sqrt(4 * 50.0**2 - 50.0**2)
    assert result.covered_um2 == pytest.approx(3 * disc - lens, rel=0.01)
    assert result.covered_um2 < result.area_um2 == (120**2 + 60**2) * 4


def test_a_target_keeps_the_holes_of_its_region():
    one = region(side=120)
    hole = ((90.0, 90.0), (90.0, 110.0), (110.0, 110.0), (110.0, 90.0))
    result = plan(field(one, aims=(aim(one, holes=(hole,)),)))
    assert result.targets[0].holes_px == (hole,)


@pytest.mark.parametrize("seed", range(4))
def test_the_plan_does_not_depend_on_the_order_of_its_captures(seed):
    """Fields arrive in any order; equal ones decide nothing by it."""
    fields = [
        field(region(label=n, row=100 + 3 * n), sha256=letter * 64)
        for n, letter in enumerate("abcdef", start=1)
    ]
    shuffled = [fields[n] for n in np.random.default_rng(seed).permutation(len(fields))]
    assert plan(*shuffled) == plan(*fields)
