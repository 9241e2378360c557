import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.config import VesselConfig
from monitor.stage.vessels import Vessel, well_of

PLATE = Vessel(VesselConfig(kind="96-well", centre_um=(14_380.0, 11_240.0)))


def plate(columns_run, rows_run):
    return Vessel(
        VesselConfig(
            kind="96-well", centre_um=(0.0, 0.0), columns_run=columns_run, rows_run=rows_run
        )
    )


@pytest.mark.parametrize(
    ("columns_run", "rows_run", "centre_um"),
    [
        ("+x", "+y", (18_000.0, 9_000.0)),
        ("+x", "-y", (18_000.0, -9_000.0)),
        ("-x", "+y", (-18_000.0, 9_000.0)),
        ("+y", "-x", (-9_000.0, 18_000.0)),
    ],
)
def test_the_centre_of_well_b3_whichever_way_the_stage_runs(columns_run, rows_run, centre_um):
    vessel = plate(columns_run, rows_run)
    assert vessel.centre_um("p/B3") == centre_um
    assert vessel.offset_um("p/B3", *centre_um) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("columns_run", "rows_run", "point_um", "offset_um"),
    [
        ("+x", "+y", (100.0, 250.0), (100.0, -250.0)),
        ("+x", "-y", (100.0, 250.0), (100.0, 250.0)),
        ("-x", "+y", (100.0, 250.0), (-100.0, -250.0)),
        ("+y", "-x", (100.0, 250.0), (250.0, 100.0)),
    ],
)
def test_an_offset_runs_right_and_up_on_the_drawing_of_the_plate(
    columns_run, rows_run, point_um, offset_um
):
    assert plate(columns_run, rows_run).offset_um("p/A1", *point_um) == offset_um


@given(
    kind=st.sampled_from(["6-well", "24-well", "96-well", "384-well"]),
    columns_run=st.sampled_from(["+x", "-x"]),
    rows_run=st.sampled_from(["+y", "-y"]),
    well=st.sampled_from(["A1", "B3", "A3"]),
)
def test_a_well_holds_its_own_centre_and_no_other_one(kind, columns_run, rows_run, well):
    vessel = Vessel(
        VesselConfig(kind=kind, centre_um=(5e4, 4e4), columns_run=columns_run, rows_run=rows_run)
    )
    for other in ("A1", "B3", "A3"):
        offset = vessel.offset_um(f"p/{well}", *vessel.centre_um(f"p/{other}"))
        assert vessel.holds(offset) is (other == well)


@pytest.mark.parametrize(
    ("offset_um", "margin_um", "inside"),
    [
        ((3_199.0, 0.0), 0.0, True),
        ((3_201.0, 0.0), 0.0, False),
        ((2_500.0, 2_500.0), 0.0, False),  # a round well has no corners
        ((3_000.0, 0.0), 300.0, False),
        ((0.0, 0.0), 4_000.0, False),
    ],
)
def test_the_wall_of_a_round_well(offset_um, margin_um, inside):
    assert PLATE.holds(offset_um, margin_um) is inside


def test_a_square_well_has_corners():
    vessel = Vessel(VesselConfig(kind="384-well", centre_um=(0.0, 0.0)))
    assert vessel.holds((1_600.0, -1_600.0))


def test_a_dish_has_one_centre_whatever_it_is_called():
    dish = Vessel(VesselConfig(kind="dish", centre_um=(1_000.0, 2_000.0), well_diameter_mm=35.0))
    assert dish.offset_um("run-3/dish-07", 1_100.0, 2_500.0) == (100.0, -500.0)
    assert dish.holds((17_000.0, 0.0))
    assert not dish.holds((17_600.0, 0.0))


@pytest.mark.parametrize(
    ("dish", "said"),
    [
        ("dish-07", "dish-07 is not a well of a plate"),
        ("p/A13", "a 96-well plate has no well A13"),
        ("p/I1", "a 96-well plate has no well I1"),
        ("p/A0", "a 96-well plate has no well A0"),
        ("p/AA1", "a 96-well plate has no well AA1"),
    ],
)
def test_a_well_that_the_plate_does_not_have_has_no_place(dish, said):
    with pytest.raises(ValueError, match=said):
        PLATE.offset_um(dish, 0.0, 0.0)


@pytest.mark.parametrize(
    ("dish", "well"),
    [
        ("3500003816/A1", "A1"),
        ("plates/p7/AF48", "AF48"),
        ("dish-07", None),
        ("A1", None),
        ("run/dish-07", None),
    ],
)
def test_the_well_is_the_last_part_of_a_plate(dish, well):
    assert well_of(dish) == well


@pytest.mark.parametrize(
    "changes",
    [
        {"columns_run": "+x", "rows_run": "-x"},
        {"kind": "dish"},
        {"centre_um": (float("nan"), 0.0)},
        {"well_diameter_mm": -3.0},
        {"well_pitch_mm": 0.0},
    ],
)
def test_a_vessel_that_cannot_be_is_refused(changes):
    with pytest.raises(ValueError):
        VesselConfig(**({"kind": "96-well", "centre_um": (0.0, 0.0)} | changes))


@pytest.mark.parametrize(
    ("name", "point_um", "is_on_it"),
    [
        ("well A1", (14_380.0, 11_240.0), True),
        ("a corner of the plate", (100.0, 100.0), True),
        ("the far corner", (127_600.0, 85_300.0), True),
        ("over its long side", (127_900.0, 40_000.0), False),
        ("over its short side", (60_000.0, 85_600.0), False),
    ],
)
def test_where_the_plate_ends(name, point_um, is_on_it):
    """A 96-well plate by ANSI/SLAS: A1 at 14.38 and 11.24 mm from two edges."""
    plate = Vessel(VesselConfig(kind="96-well", centre_um=(14_380.0, 11_240.0)))
    assert plate.may_hold(*point_um) is is_on_it
    back = Vessel(
        VesselConfig(kind="96-well", centre_um=(0.0, 0.0), columns_run="-y", rows_run="-x")
    )
    x_um, y_um = point_um[0] - 14_380.0, point_um[1] - 11_240.0
    assert back.may_hold(-y_um, -x_um) is is_on_it
