import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.config import CalibrationConfig, SourceSettings, StageLimitsConfig, VesselConfig
from monitor.culture import CalibrationKind
from monitor.errors import CalibrationError
from monitor.stage.calibration import (
    configured_calibration,
    newest_fit,
    why_other_pixels,
    why_unfit,
)
from monitor.stage.fitting import fit_points, make_calibration
from monitor.stage.frames import Affine
from monitor.stage.vessels import Vessel

NOW = datetime(2026, 11, 3, 9, 30, tzinfo=UTC)
CAMERA, PICKER = CalibrationKind.CAMERA, CalibrationKind.PICKER
CORNERS = ((100.0, 150.0), (100.0, 1850.0), (1400.0, 150.0), (1400.0, 1850.0), (750.0, 1000.0))
STAGE = ((2_000.0, 3_000.0), (98_000.0, 3_000.0), (2_000.0, 70_000.0), (98_000.0, 70_000.0))
LIMITS = StageLimitsConfig(x=(0.0, 110_000.0), y=(0.0, 75_000.0))


def turn(degrees, *, scale=1.0, flip=False):
    """(first, second) step -> (x, y): the second axis is turned over where `flip`."""
    angle, sign = math.radians(degrees), -1.0 if flip else 1.0
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    return ((cos, -sign * sin), (sin, sign * cos))


def camera_points(linear, *, shift=(50_000.0, 30_000.0), at=CORNERS):
    """Taught points of a camera whose (column, row) step is `linear` in um."""
    places = Affine.of(linear, shift).apply([(column, row) for row, column in at])
    return [
        (row, column, float(x), float(y)) for (row, column), (x, y) in zip(at, places, strict=True)
    ]


def picker_points(linear, *, shift=(-12_000.0, 4_000.0), at=STAGE):
    places = Affine.of(linear, shift).apply(at)
    return [(*one, float(x), float(y)) for one, (x, y) in zip(at, places, strict=True)]


def swapped(points, first=True, second=False):
    return [
        (*((b, a) if first else (a, b)), *((d, c) if second else (c, d))) for a, b, c, d in points
    ]


def scaled(points, factor):
    return [(a, b, factor * c, factor * d) for a, b, c, d in points]


def moved(points, number, x_um=0.0, y_um=0.0):
    changed = list(points)
    a, b, c, d = changed[number - 1]
    changed[number - 1] = (a, b, c + x_um, d + y_um)
    return changed


# --- what is recovered --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "linear", "rotation_deg", "mirrored"),
    [
        ("as it lies", turn(0, scale=1.61), 0, False),
        ("rows against y", turn(0, scale=1.61, flip=True), 0, True),
        ("columns against x", turn(180, scale=1.61, flip=True), 180, True),
        ("half a turn", turn(180, scale=1.61), 180, False),
        ("a quarter turn", turn(90, scale=1.61), 90, False),
        ("transposed", turn(90, scale=1.61, flip=True), 90, True),
        ("a camera that sits a little askew", turn(-1.7, scale=0.65, flip=True), -1.7, True),
    ],
)
def test_known_flips_and_rotations_are_recovered(name, linear, rotation_deg, mirrored):
    fit = fit_points(CAMERA, camera_points(linear))
    turned = (fit.rotation_deg - rotation_deg + 180) % 360 - 180
    assert turned == pytest.approx(0, abs=1e-6)
    assert fit.mirrored is mirrored
    assert fit.scale == pytest.approx(math.hypot(linear[0][0], linear[1][0]))
    assert fit.skew_deg == pytest.approx(0, abs=1e-6)
    assert fit.rms_um < 1e-6


@given(
    degrees=st.floats(-180, 180),
    flip=st.booleans(),
    scale=st.floats(0.05, 20),
    x_um=st.floats(-200_000, 200_000),
    y_um=st.floats(-200_000, 200_000),
    row=st.floats(-3_000, 20_000),
    column=st.floats(-3_000, 20_000),
)
def test_pixel_to_stage_and_back_is_closer_than_a_hundredth_of_a_micrometre(
    degrees, flip, scale, x_um, y_um, row, column
):
    linear = turn(degrees, scale=scale, flip=flip)
    fit = fit_points(CAMERA, camera_points(linear, shift=(x_um, y_um)))
    truth = Affine.of(linear, (x_um, y_um))
    assert fit.mirrored is flip
    stage = fit.affine.apply([(column, row)])
    assert np.abs(stage - truth.apply([(column, row)])).max() < 0.01
    back = fit.affine.inverse().apply(stage)
    assert np.abs(back - [(column, row)]).max() * scale < 0.01


@given(
    degrees=st.floats(-180, 180),
    flip=st.booleans(),
    noise=st.lists(st.floats(-4, 4), min_size=10, max_size=10),
)
def test_noise_of_the_hand_stays_in_the_residuals_and_off_the_targets(degrees, flip, noise):
    points = camera_points(turn(degrees, scale=1.61, flip=flip))
    shaken = [
        (row, column, x + noise[2 * i], y + noise[2 * i + 1])
        for i, (row, column, x, y) in enumerate(points)
    ]
    fit = fit_points(CAMERA, shaken, expected_um_a_pixel=1.61)
    assert max(fit.residuals_um) < 8
    # Inside the taught corners the fit is as good as the points.
    for row, column, x, y in points:
        assert np.hypot(*(fit.affine.apply([(column, row)])[0] - (x, y))) < 8


def test_the_stage_moves_against_the_picture_where_one_feature_was_followed():
    linear = turn(30, scale=1.61, flip=True)
    followed = [(row, column, -x, -y) for row, column, x, y in camera_points(linear)]
    fit = fit_points(CAMERA, followed, one_feature=True)
    assert np.allclose(fit.affine.linear, linear)


def test_a_picker_with_its_own_origin_and_turn_is_recovered():
    fit = fit_points(PICKER, picker_points(turn(-90)), limits=LIMITS)
    assert fit.affine.apply([(10_000.0, 20_000.0)]) == pytest.approx(
        np.array([[8_000.0, -6_000.0]])
    )


def test_the_same_place_twice_checks_nothing():
    points = camera_points(turn(0, scale=1.6), at=CORNERS[:3])
    assert not fit_points(CAMERA, [*points, points[0]]).is_checked
    assert fit_points(CAMERA, camera_points(turn(0, scale=1.6), at=CORNERS[:4])).is_checked


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("x and y swapped", lambda points: swapped(points, False, True), "with x and y swapped"),
        ("mm for um", lambda points: scaled(points, 0.001), "if they are in mm"),
    ],
)
def test_stage_positions_beside_the_vessel_are_refused(name, change, said):
    """Where neither the pixel size nor a former calibration is known. A 96-well plate: the taught
    place lies well off its diagonal.
    """
    plate = Vessel(VesselConfig(kind="96-well", centre_um=(24_380.0, 21_240.0)))
    points = camera_points(turn(0, scale=1.6, flip=True), shift=(100_000.0, 30_000.0))
    fit_points(CAMERA, points, vessel=plate)
    with pytest.raises(CalibrationError, match=said):
        fit_points(CAMERA, change(points), vessel=plate)


def test_positions_on_a_slide_beside_the_vessel_are_taken():
    dish = Vessel(VesselConfig(kind="dish", centre_um=(0.0, 0.0), well_diameter_mm=35.0))
    points = camera_points(turn(0, scale=1.6), shift=(60_000.0, 60_000.0))
    assert fit_points(CAMERA, points, vessel=dish).rms_um < 1e-6


def test_a_number_that_is_no_place_is_refused():
    points = moved(camera_points(turn(0, scale=1.6)), 2, x_um=1e300)
    with pytest.raises(CalibrationError, match="point 2 has 1e\\+300, which is not a place"):
        fit_points(CAMERA, points)


def test_three_points_are_enough_but_check_nothing():
    three = camera_points(turn(0, scale=1.61))[:3]
    assert not fit_points(CAMERA, three).is_checked
    assert fit_points(CAMERA, camera_points(turn(0, scale=1.61))[:4]).is_checked


# --- what is refused ----------------------------------------------------------------------------

GOOD = camera_points(turn(2, scale=1.61, flip=True))
ON_A_LINE = camera_points(turn(0, scale=1.61), at=[(100 * n, 50 + 90 * n) for n in range(5)])


@pytest.mark.parametrize(
    ("name", "points", "settings", "said"),
    [
        ("none", [], {}, "0 taught points are too few"),
        ("two", GOOD[:2], {}, "2 taught points are too few; teach at least 3"),
        ("a number missing", [*GOOD, (1.0, math.nan, 2.0, 3.0)], {}, "point 6 has a number missi"),
        ("collinear", ON_A_LINE, {}, "lie on one line, or in one spot, in the image"),
        ("one spot", [GOOD[0]] * 4, {}, "in one spot, in the image"),
        (
            "one spot of the stage",
            [(row, column, 5.0, 5.0) for row, column, _, _ in GOOD],
            {},
            "in one spot, on the stage",
        ),
        (
            "too close",
            camera_points(turn(0, scale=1.61), at=[(0, 0), (0, 30), (30, 0), (30, 30)]),
            {},
            "too close to one another in the image",
        ),
        (
            "mm for um",
            [(row, column, x / 1000, y / 1000) for row, column, x, y in GOOD],
            {"expected_um_a_pixel": 1.61},
            "a factor of 1000 means mm instead of um: name the columns x_mm, y_mm",
        ),
        (
            "mm for um, pixel size not known",
            [(row, column, x / 1000, y / 1000) for row, column, x, y in GOOD],
            {},
            "which no microscope has; give stage positions in um; a factor of 1000 means mm",
        ),
        (
            "mm for um, against the stage",
            [(row, column, x / 1000, y / 1000) for row, column, x, y in GOOD],
            {"limits": LIMITS},
            "if they are in mm, name the columns x_mm, y_mm",
        ),
        (
            "binning",
            GOOD,
            {"expected_um_a_pixel": 0.805},
            "a factor of 2 is another binning or another objective",
        ),
        ("another objective", GOOD, {"expected_um_a_pixel": 1.3}, "set the source's pixel_size_um"),
        (
            "row and column swapped",
            swapped(GOOD),
            {"mirrored": True},
            r"two axes are swapped \(row and column, or the other x and y\)",
        ),
        ("x and y swapped", swapped(GOOD, False, True), {"mirrored": True}, "--not-mirrored"),
        (
            "row and column swapped, by the picture",
            swapped(GOOD),
            {"shape": (1500, 2000)},
            "is outside the image of 1500 rows and 2000 columns; row and column are swapped",
        ),
        (
            "x and y swapped, by the stage",
            camera_points(turn(0, scale=1.61), shift=(10_000.0, 90_000.0)),
            {"limits": LIMITS},
            "outside the stage limits x 0 to 110000, y 0 to 75000; x and y are swapped",
        ),
        (
            "outside the stage",
            camera_points(turn(0, scale=1.61), shift=(-90_000.0, 10_000.0)),
            {"limits": LIMITS},
            "check the point, and the source's stage_limits_um",
        ),
        ("one slip", moved(GOOD, 2, 80.0), {}, "without point 2 or 3 the others fit: teach them"),
        (
            "one point swapped",
            [*GOOD[:3], (*GOOD[3][:2], GOOD[3][3], GOOD[3][2]), GOOD[4]],
            {},
            "point 4 fits with its x and y swapped",
        ),
        ("several slips", moved(moved(GOOD, 2, 80.0), 5, -60.0, 200.0), {}, "teach the points aga"),
        ("three points, one wrong", moved(GOOD[:3], 2, 300.0), {}, "one axis comes out"),
        ("three points, askew", moved(GOOD[:3], 2, 0.0, 120.0), {}, "degrees to each other"),
    ],
)
def test_a_camera_that_cannot_be_right_is_refused_with_what_to_do(name, points, settings, said):
    with pytest.raises(CalibrationError, match=said):
        fit_points(CAMERA, points, **settings)


@pytest.mark.parametrize(
    ("name", "points", "settings", "said"),
    [
        (
            "mm at the picker",
            [(a, b, c / 1000, d / 1000) for a, b, c, d in picker_points(turn(0))],
            {},
            "mm instead of um",
        ),
        (
            "mm at the stage",
            [(a / 1000, b / 1000, c, d) for a, b, c, d in picker_points(turn(0))],
            {},
            "too close to one another on the stage",
        ),
        ("another length", picker_points(turn(0, scale=1.2)), {}, "check the units of the two"),
        ("swapped", swapped(picker_points(turn(0))), {"mirrored": False}, "stage x and y"),
        ("swapped, by the stage", swapped(picker_points(turn(0))), {"limits": LIMITS}, "x and y a"),
        ("one slip", moved(picker_points(turn(0)), 1, 50.0), {}, "do not fit together"),
    ],
)
def test_a_picker_that_cannot_be_right_is_refused_with_what_to_do(name, points, settings, said):
    with pytest.raises(CalibrationError, match=said):
        fit_points(PICKER, points, **settings)


@given(factor=st.sampled_from([0.001, 1000.0]), degrees=st.floats(-180, 180), flip=st.booleans())
def test_a_thousandfold_is_always_found(factor, degrees, flip):
    points = [
        (row, column, x * factor, y * factor)
        for row, column, x, y in camera_points(turn(degrees, scale=1.61, flip=flip))
    ]
    with pytest.raises(CalibrationError, match="factor of 1000"):
        fit_points(CAMERA, points, expected_um_a_pixel=1.61)


@given(degrees=st.floats(-180, 180), flip=st.booleans(), first=st.booleans())
def test_swapped_axes_are_always_found_where_the_mirror_is_known(degrees, flip, first):
    points = camera_points(turn(degrees, scale=1.61, flip=flip))
    with pytest.raises(CalibrationError, match="two axes are swapped"):
        fit_points(CAMERA, swapped(points, first, not first), mirrored=flip)


# --- when it may be used ------------------------------------------------------------------------


def made(points=GOOD, kind=CAMERA, **changes):
    values = {
        "id_": "camera-1",
        "source": "incubator",
        "made_at": NOW,
        "made_by": "A. Person",
        "objective": None,
        "binning": 1,
        "max_age_days": 90.0,
        "expected_um_a_pixel": 1.61,
    }
    return make_calibration(fit_points(kind, points), points, **(values | changes))


def test_a_calibration_gives_the_turn_without_the_pixel_size():
    (a, b), (c, d) = made().pixel_to_stage
    assert ((a, b), (c, d)) == (
        pytest.approx(turn(2, flip=True)[0]),
        pytest.approx(turn(2, flip=True)[1]),
    )
    assert made(expected_um_a_pixel=None).pixel_size_um == pytest.approx(1.61)
    assert made().mirrored


@pytest.mark.parametrize(
    ("name", "changes", "settings", "days", "said"),
    [
        ("fresh", {}, {}, 0, None),
        ("as old as it may be", {}, {}, 90, None),
        ("too old", {}, {}, 91, "is 91 days old, its limit is 90 days: calibrate again"),
        ("no age limit", {"max_age_days": None}, {}, 9_999, None),
        ("its objective", {"objective": "4x"}, {"objective": "4x"}, 0, None),
        ("another one", {"objective": "4x"}, {"objective": "10x"}, 0, "for the objective 4x"),
        ("not named", {"objective": "4x"}, {}, 0, "the source's objective is not named"),
        ("names none", {}, {"objective": "4x"}, 0, "--objective 4x"),
    ],
)
def test_an_old_calibration_or_one_for_another_objective_is_not_used(
    name, changes, settings, days, said
):
    reason = why_unfit(made(**changes), SourceSettings(**settings), NOW + timedelta(days=days))
    assert (reason is None) if said is None else (said in reason)


@pytest.mark.parametrize(
    ("pixel_size_um", "binning", "fits"),
    [(1.61, 1, True), (1.65, 1, True), (3.22, 1, False), (3.22, 2, True), (0.65, 1, False)],
)
def test_captures_of_another_pixel_size_do_not_go_with_a_calibration(pixel_size_um, binning, fits):
    reason = why_other_pixels(made(), SourceSettings(binning=binning), pixel_size_um)
    assert (reason is None) is fits


def test_the_newest_that_may_be_used_is_used():
    newer = replace(made(), id="camera-2", objective="10x")
    assert newest_fit([newer, made()], SourceSettings(), NOW).id == "camera-1"
    assert newest_fit([newer, made()], SourceSettings(objective="10x"), NOW).id == "camera-2"
    assert newest_fit([], SourceSettings(), NOW) is None
    with pytest.raises(CalibrationError, match="camera-2 is for the objective 10x"):
        newest_fit([newer, made()], SourceSettings(), NOW + timedelta(days=100))


def test_what_stands_in_the_configuration_is_a_calibration_too():
    given_there = CalibrationConfig(
        id="scope-1",
        pixel_to_stage=((0.0, 1.0), (1.0, 0.0)),
        rms_um=2.0,
        pixel_size_um=1.61,
        made_on=date(2026, 11, 1),
        max_age_days=30.0,
    )
    settings = SourceSettings(calibration=given_there, objective="4x")
    found = configured_calibration("incubator", settings)
    assert found.pixel_to_stage == ((0.0, 1.0), (1.0, 0.0))
    assert (found.id, found.rms_um, found.mirrored) == ("scope-1", 2.0, True)
    assert why_unfit(found, settings, NOW) is None
    assert "is 31 days old" in why_unfit(found, settings, datetime(2026, 12, 2, 1, tzinfo=UTC))
    assert configured_calibration("incubator", SourceSettings()) is None
