"""Whether the cells are gone, by label maps drawn with a known answer."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from monitor.config.confirmation import VerificationConfig
from monitor.culture import (
    Calibration,
    CalibrationKind,
    Doubt,
    DoubtReason,
    Hit,
    PickOutcome,
    PlanStatus,
    RegionFate,
    RemovalCheck,
    StagePosition,
    Targeting,
    ToolKind,
)
from monitor.decisions.verification import give_up, verify_removal
from monitor.stage.labelled_field import LabelledField
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
    return LabelledField(replace(BEFORE, **changed), labels)


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


def test_a_field_in_doubt_tells_nothing_of_what_was_picked():
    """The model calls what it does not know background, as often as not."""
    strange = Doubt((DoubtReason.UNFAMILIAR,))
    assert look(field(cells(ALL), doubt=strange)) == []
    both = [field(cells(ALL), doubt=strange), field(cells())]
    assert look(*both) == [(REGION.region_id, RemovalCheck.STILL_THERE)]


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


# --- by what the hits were to remove ------------------------------------------------------------

TIP = Targeting("tip-100", ToolKind.TIP, 100.0, 120.0, 10.0, 20.0, 30.0)
PIN = Targeting("pin-40", ToolKind.PIN, 40.0, 40.0, 10.0, 20.0, 30.0)
# (row, column) of four hits in a region of 300 pixels a side, far from its borders.
AIMS = ((120, 120), (120, 160), (160, 140), (290, 330))


def on_stage(row, column):
    x_um = CENTRE.x_um + (column - (SHAPE[1] - 1) / 2) * PIXEL_SIZE_UM
    return x_um, CENTRE.y_um + (row - (SHAPE[0] - 1) / 2) * PIXEL_SIZE_UM


def aimed_plan(targeting=TIP, aims=AIMS, *, fate=None, **changes):
    hits = tuple(
        Hit(number, (row, column), *on_stage(row, column), None, 60.0)
        for number, (row, column) in enumerate(aims, start=1)
    )
    large = ((50.0, 50.0), (50.0, 350.0), (350.0, 350.0), (350.0, 50.0))
    region = replace(REGION, hits=hits, polygon_px=large)
    fates = (fate or RegionFate(REGION.region_id, PickOutcome.PICKED),)
    return plan(targets=(region,), targeting=targeting, fates=fates, **changes)


def after(aims, *, targeting=TIP, off_px=(0, 0), kind=2):
    """Cells all over, but for the disc that each hit removed, to the pixel."""
    labels = cells(kind=kind)
    rows, columns = np.ogrid[: SHAPE[0], : SHAPE[1]]
    for row, column in aims:
        away = np.hypot(rows - row - off_px[0], columns - column - off_px[1])
        labels[away * PIXEL_SIZE_UM <= targeting.removes_um / 2] = 0
    return labels


def judged(of, labels, **changes):
    verdicts = verify_removal(
        of, {REGION.capture_sha256: BEFORE}, [field(labels)], CAMERA, **changes
    )
    return [(one.check, round(one.gone_share, 2)) for one in verdicts]


@pytest.mark.parametrize("targeting", [TIP, PIN], ids=["tip", "pin"])
@pytest.mark.parametrize("off_px", [(0, 0), (4, -3), (-5, 0)])
def test_a_plan_that_was_carried_out_is_gone_however_little_of_the_region_that_is(
    targeting, off_px
):
    """The hits cover a tenth of the region; the picker may miss by 10 um, the label map too."""
    of = aimed_plan(targeting)
    assert judged(of, after(AIMS, targeting=targeting, off_px=off_px)) == [(RemovalCheck.GONE, 1.0)]


def test_where_no_hit_took_anything_it_is_still_there():
    assert judged(aimed_plan(), cells()) == [(RemovalCheck.STILL_THERE, 0.0)]


def test_background_beside_the_hits_says_nothing_for_them():
    """Cells of the same region died elsewhere."""
    labels = cells(((200, 350), (50, 300)))
    assert judged(aimed_plan(), labels) == [(RemovalCheck.STILL_THERE, 0.0)]


def test_half_of_the_hits_is_half_of_what_they_were_to_remove():
    ((check, share),) = judged(aimed_plan(), after([AIMS[0], AIMS[3]]))
    assert (check, share) == (RemovalCheck.PARTLY_GONE, pytest.approx(0.5, abs=0.02))


@pytest.mark.parametrize(
    ("hits", "check"),
    [
        ((1, 4), RemovalCheck.GONE),
        ((2,), RemovalCheck.STILL_THERE),
        ((1, 2), RemovalCheck.PARTLY_GONE),
        (None, RemovalCheck.PARTLY_GONE),
    ],
)
def test_of_a_region_that_was_partly_picked_only_the_hits_that_were_set_count(hits, check):
    fate = RegionFate(REGION.region_id, PickOutcome.PARTLY_PICKED, hits=hits)
    ((found, _),) = judged(aimed_plan(fate=fate), after([AIMS[0], AIMS[3]]))
    assert found is check


def test_where_hits_overlap_their_common_place_counts_once():
    """Three hits almost on one another are one place, and a fourth elsewhere another."""
    crowded = ((120, 120), (120, 121), (121, 120), (290, 330))
    ((check, share),) = judged(aimed_plan(aims=crowded), after([crowded[3]]))
    assert (check, share) == (RemovalCheck.PARTLY_GONE, pytest.approx(0.5, abs=0.08))


def test_hits_are_looked_for_where_the_dish_lies_now():
    """Put back 100 um to the right."""
    shifted = after(AIMS, off_px=(0, 50))
    assert judged(aimed_plan(), shifted, shift_um=(100.0, 0.0)) == [(RemovalCheck.GONE, 1.0)]


def test_each_region_is_judged_by_its_own_hits_also_where_two_fields_show_the_same_one():
    """Of a region in the overlap of two fields each plan's target keeps the hits of its own."""
    of = aimed_plan()
    (target,) = of.targets
    twin = replace(target, region_id="bbbb-1", capture_sha256="b" * 64, hits=target.hits[3:])
    fates = (*of.fates, RegionFate("bbbb-1", PickOutcome.PICKED))
    both = replace(of, targets=(replace(target, hits=target.hits[:3]), twin), fates=fates)
    assert judged(both, after(AIMS[:3])) == [
        (RemovalCheck.GONE, 1.0),
        (RemovalCheck.STILL_THERE, 0.0),
    ]


def test_hits_beyond_the_picture_leave_the_region_open():
    outside = tuple((row, column + 450) for row, column in AIMS)
    assert judged(aimed_plan(aims=outside), cells()) == []
