"""Whether the cells are gone, by label maps drawn with a known answer."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from monitor.culture import (
    Calibration,
    CalibrationKind,
    PickOutcome,
    PlanStatus,
    RegionFate,
    RemovalCheck,
    StagePosition,
)
from monitor.decision_config import VerificationConfig
from monitor.decisions.removal import EarlierField
from monitor.decisions.verification import give_up, verify_removal
from tests.monitor.facts import NOW, TARGET, hours, measurement, minutes, removal_plan

LATER = NOW + hours(1)
SHAPE, PIXEL_SIZE_UM = (400, 500), 2.0
CENTRE = StagePosition(1000.0, 2000.0)
BEFORE = measurement(
    shape=SHAPE, pixel_size_um=PIXEL_SIZE_UM, stage=CENTRE, acquired_at=NOW - hours(1)
)
# Rows and columns 100 to 200: 200 um a side.
SQUARE = ((100.0, 100.0), (100.0, 200.0), (200.0, 200.0), (200.0, 100.0))
REGION = replace(TARGET, polygon_px=SQUARE)
CAMERA = Calibration("scope-1", CalibrationKind.CAMERA, "incubator", ((1, 0, 0), (0, 1, 0)))
FLIPPED = Calibration("scope-2", CalibrationKind.CAMERA, "incubator", ((0, -1, 0), (1, 0, 0)))


def plan(outcome=PickOutcome.PICKED, **changes):
    values = {
        "status": PlanStatus.PICKED,
        "targets": (REGION,),
        "picked_at": NOW,
        "fates": (RegionFate(REGION.region_id, outcome),),
    }
    return removal_plan("p1", **(values | changes))


def field(labels, *, at=LATER, **changes):
    changed = {"acquired_at": at, "shape": labels.shape} | changes
    return EarlierField(replace(BEFORE, **changed), labels)


def cells(hole=None, *, kind=2, shape=SHAPE):
    """Differentiated cells all over, but for a hole: rows and columns."""
    labels = np.full(shape, kind, np.uint8)
    if hole is not None:
        (top, bottom), (left, right) = hole
        labels[top:bottom, left:right] = 0
    return labels


ALL = ((100, 201), (100, 201))


def look(*fields, of=None, camera=CAMERA):
    verdicts = verify_removal(of or plan(), {REGION.capture_sha256: BEFORE}, fields, camera)
    return [(one.region_id, one.check) for one in verdicts]


@pytest.mark.parametrize(
    ("name", "hole", "check"),
    [
        ("all of it is gone", ALL, RemovalCheck.GONE),
        ("nothing was removed", None, RemovalCheck.STILL_THERE),
        ("half of it is gone", ((100, 201), (100, 150)), RemovalCheck.PARTLY_GONE),
        ("a hole elsewhere", ((250, 350), (250, 350)), RemovalCheck.STILL_THERE),
        ("the scan lies 20 um off", ((110, 211), (110, 211)), RemovalCheck.GONE),
        ("its border is left, as the tool must", ((110, 191), (110, 191)), RemovalCheck.GONE),
    ],
)
@pytest.mark.parametrize("camera", [CAMERA, FLIPPED])
def test_a_region_is_checked_by_how_much_of_it_is_background(name, hole, check, camera):
    assert look(field(cells(hole)), camera=camera) == [(REGION.region_id, check)]


def test_the_share_that_is_gone_is_told():
    half = field(cells(((100, 201), (100, 150))))
    (verdict,) = verify_removal(plan(), {REGION.capture_sha256: BEFORE}, [half], CAMERA)
    assert verdict.gone_share == pytest.approx(0.5, abs=0.02)


def test_the_region_is_found_where_the_stage_stood_elsewhere():
    """The field of the next scan lies 100 um to the right: 50 columns of it are new."""
    moved = field(cells(((100, 201), (50, 151))), stage=StagePosition(1100.0, 2000.0))
    assert look(moved) == [(REGION.region_id, RemovalCheck.GONE)]


def test_undifferentiated_cells_in_its_place_are_cells_all_the_same():
    assert look(field(cells(kind=1))) == [(REGION.region_id, RemovalCheck.STILL_THERE)]


@pytest.mark.parametrize(
    ("name", "fields", "of"),
    [
        ("no field", [], plan()),
        ("a field elsewhere", [field(cells(), stage=StagePosition(9e4, 0.0))], plan()),
        ("a capture of before the picking", [field(cells(), at=NOW - minutes(1))], plan()),
        ("a capture of days later", [field(cells(), at=NOW + timedelta(days=2))], plan()),
        ("no class there", [field(cells(kind=255))], plan()),
        ("no stage position", [field(cells(), stage=None)], plan()),
        ("a region that failed", [field(cells())], plan(PickOutcome.FAILED)),
        ("nothing was told of it", [field(cells())], plan(fates=())),
        ("no time of picking", [field(cells())], plan(picked_at=None)),
    ],
)
def test_what_is_not_seen_is_not_said(name, fields, of):
    assert look(*fields, of=of) == []


def test_without_a_calibration_nothing_is_said():
    assert look(field(cells()), camera=None) == []


def test_the_field_that_shows_most_of_it_counts():
    corner = field(cells(), stage=StagePosition(1500.0, 2300.0))
    assert look(corner, field(cells(ALL))) == [(REGION.region_id, RemovalCheck.GONE)]


def test_a_region_that_is_all_border_is_taken_whole():
    small = replace(REGION, polygon_px=((100.0, 100.0), (100.0, 104.0), (104.0, 104.0)))
    assert look(field(cells(ALL)), of=plan(targets=(small,))) == [
        (REGION.region_id, RemovalCheck.GONE)
    ]


# --- a dish that was put back elsewhere ---------------------------------------------------------


def look_at_shifted(field, shift_um, **limits):
    return [
        (one.check, one.gone_share is None)
        for one in verify_removal(
            plan(),
            {REGION.capture_sha256: BEFORE},
            [field],
            CAMERA,
            VerificationConfig(**limits),
            shift_um=shift_um,
        )
    ]


def test_a_dish_that_was_put_back_shifted_is_looked_at_where_it_lies_now():
    """By 100 um: the hole lies 50 columns to the right, and half of where it was is cells."""
    shifted = field(cells(((100, 201), (150, 251))))
    assert look_at_shifted(shifted, (100.0, 0.0)) == [(RemovalCheck.GONE, False)]
    assert look_at_shifted(shifted, (0.0, 0.0)) == [(RemovalCheck.PARTLY_GONE, False)]


def test_of_a_dish_that_does_not_lie_as_it_did_nothing_can_be_told():
    assert look_at_shifted(field(cells()), None) == [(RemovalCheck.CANNOT_TELL, True)]


def test_what_no_scan_looked_at_is_not_said_to_be_untellable():
    early = field(cells(), at=NOW - minutes(1))
    assert look_at_shifted(early, None) == []


def test_what_cannot_be_told_is_looked_at_again():
    fate = RegionFate(REGION.region_id, PickOutcome.PICKED, check=RemovalCheck.CANNOT_TELL)
    again = plan(fates=(fate,))
    assert again.to_check == (REGION.region_id,)
    assert look(field(cells(ALL)), of=again) == [(REGION.region_id, RemovalCheck.GONE)]


@pytest.mark.parametrize(
    ("limits", "check"),
    [
        ({}, RemovalCheck.PARTLY_GONE),
        ({"gone_above": 0.45}, RemovalCheck.GONE),
        ({"still_there_below": 0.55}, RemovalCheck.STILL_THERE),
    ],
)
def test_the_limits_are_settings(limits, check):
    half = field(cells(((100, 201), (100, 150))))
    assert look_at_shifted(half, (0.0, 0.0), **limits) == [(check, False)]


def test_a_scan_that_comes_too_late_says_nothing():
    late = field(cells(), at=NOW + hours(7))
    assert look_at_shifted(late, (0.0, 0.0), within_h=6.0) == []
    assert look_at_shifted(late, (0.0, 0.0), within_h=8.0) != []


@pytest.mark.parametrize(
    ("hour", "checks"),
    [(6.0, []), (7.0, [RemovalCheck.NOT_CHECKED])],
)
def test_the_first_scan_after_the_time_for_looking_gives_up(hour, checks):
    """Also what an earlier scan looked at in vain: nobody waits for ever."""
    fate = RegionFate(REGION.region_id, PickOutcome.PICKED, check=RemovalCheck.CANNOT_TELL)
    limits = VerificationConfig(within_h=6.0)
    verdicts = give_up(plan(fates=(fate,)), NOW + hours(hour), limits)
    assert [one.check for one in verdicts] == checks


@pytest.mark.parametrize("check", [RemovalCheck.GONE, RemovalCheck.NOT_CHECKED])
def test_what_is_known_or_given_up_is_not_given_up_again(check):
    fate = RegionFate(REGION.region_id, PickOutcome.PICKED, check=check)
    assert give_up(plan(fates=(fate,)), NOW + hours(99)) == ()
