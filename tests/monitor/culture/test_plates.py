"""How a plate lies on the stage, by wells that were taught."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.config import VesselConfig
from monitor.culture.plates import KINDS, fit_wells, place_of
from monitor.stage.vessels import Vessel

DIRECTIONS = [("+x", "+y"), ("+x", "-y"), ("-x", "+y"), ("+y", "-x"), ("-y", "+x")]


def truth(kind, columns_run, rows_run, skew_deg, a1_um):
    """Where a plate that is turned by so much has its wells: well -> stage (x, y)."""
    straight = Vessel(
        VesselConfig(kind=kind, centre_um=(0.0, 0.0), columns_run=columns_run, rows_run=rows_run)
    )
    turn = math.radians(skew_deg)

    def centre(well):
        x, y = straight.centre_um(f"p/{well}")
        return (
            a1_um[0] + x * math.cos(turn) - y * math.sin(turn),
            a1_um[1] + x * math.sin(turn) + y * math.cos(turn),
        )

    return centre


def corner(kind):
    return f"{chr(ord('A') + KINDS[kind].rows - 1)}{KINDS[kind].columns}"


@given(
    kind=st.sampled_from(["6-well", "24-well", "96-well", "384-well"]),
    directions=st.sampled_from(DIRECTIONS),
    skew_deg=st.floats(-4.9, 4.9),
    a1_um=st.tuples(st.floats(-1e5, 1e5), st.floats(-1e5, 1e5)),
    three=st.booleans(),
)
def test_two_or_three_wells_say_where_all_lie(kind, directions, skew_deg, a1_um, three):
    centre = truth(kind, *directions, skew_deg, a1_um)
    wells = ["A1", corner(kind), *(["A3"] if three else [])]
    vessel = Vessel(
        VesselConfig(
            kind=kind,
            taught_wells={well: centre(well) for well in wells},
            columns_run=directions[0],
            rows_run=directions[1],
        )
    )
    assert vessel.lies.skew_deg == pytest.approx(skew_deg, abs=1e-6)
    assert max(vessel.lies.residuals_um.values()) < 1e-3
    for well in ("A1", "B2", corner(kind)):
        x_um, y_um = vessel.centre_um(f"p/{well}")
        assert (x_um, y_um) == pytest.approx(centre(well), abs=1e-3)
        # A step along the plate's columns is a step to the right in the well, however it lies.
        right_um = (
            x_um + 100 * vessel.lies.along_columns[0],
            y_um + 100 * vessel.lies.along_columns[1],
        )
        assert vessel.offset_um(f"p/{well}", *right_um) == pytest.approx((100, 0), abs=1e-3)
        down_um = (
            x_um + 100 * vessel.lies.along_rows[0],
            y_um + 100 * vessel.lies.along_rows[1],
        )
        assert vessel.offset_um(f"p/{well}", *down_um) == pytest.approx((0, -100), abs=1e-3)


def test_a_straight_plate_would_be_off_by_millimetres_at_its_far_end():
    """Half a degree is nothing to see, and 1 mm at well H12."""
    centre = truth("96-well", "+x", "+y", 0.5, (14_380.0, 11_240.0))
    askew = Vessel(
        VesselConfig(kind="96-well", taught_wells={one: centre(one) for one in ("A1", "H12")})
    )
    straight = Vessel(VesselConfig(kind="96-well", centre_um=(14_380.0, 11_240.0)))
    assert math.hypot(*straight.offset_um("p/H12", *centre("H12"))) == pytest.approx(1024, abs=5)
    assert math.hypot(*askew.offset_um("p/H12", *centre("H12"))) < 0.01
    assert askew.may_hold(*centre("H12"))


CENTRE = truth("96-well", "+x", "+y", 0.4, (14_380.0, 11_240.0))
A1, A12, H1, H12 = (CENTRE(well) for well in ("A1", "A12", "H1", "H12"))


@pytest.mark.parametrize(
    ("name", "taught", "said"),
    [
        ("one well", {"A1": A1}, "teach at least two wells"),
        ("none", {}, "teach at least two wells"),
        ("two swapped", {"A1": H12, "H12": A1}, "fit with A1 and H12 swapped"),
        ("two swapped of three", {"A1": A1, "A12": H1, "H1": A12}, "fit with A12 and H1 swapped"),
        ("one name for another", {"A1": A1, "A12": H12}, "are not where a plate has them"),
        ("x and y", {"A1": A1[::-1], "H12": H12[::-1]}, "fit with x and y swapped"),
        (
            "x and y of three",
            {"A1": A1[::-1], "A12": A12[::-1], "H12": H12[::-1]},
            "fit with x and y swapped",
        ),
        ("mm", {"A1": (14.38, 11.24), "H12": (113.38, 74.24)}, "um, not mm"),
        ("the same place twice", {"A1": A1, "H12": A1}, "are not where a plate has them"),
        ("too near", {"A1": A1, "A2": CENTRE("A2")}, "too close together"),
        ("no such well", {"A1": A1, "I12": H12}, "a 96-well plate has no well I12"),
        ("no well", {"A1": A1, "corner": H12}, "'corner' is not a well"),
        ("no number", {"A1": A1, "H12": (math.nan, 0.0)}, "two numbers"),
        ("half a millimetre off", {"A1": A1, "A12": (A12[0] + 600, A12[1]), "H1": H1}, "um off"),
    ],
)
def test_wells_that_cannot_be_right_are_refused(name, taught, said):
    with pytest.raises(ValueError, match=said):
        fit_wells("96-well", 9.0, "+x", "+y", taught)
    with pytest.raises(ValueError, match=said):
        VesselConfig(kind="96-well", taught_wells=taught)


def test_a_plate_of_another_pitch_is_refused():
    """19.0 mm in place of 19.3 is 1.8 mm over a 24-well plate."""
    centre = truth("24-well", "+x", "+y", 0.0, (0.0, 0.0))
    with pytest.raises(ValueError, match="are not where a plate has them"):
        fit_wells("24-well", 19.0, "+x", "+y", {one: centre(one) for one in ("A1", "D6")})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"centre_um": (0.0, 0.0), "taught_wells": {"A1": A1, "H12": H12}},
        {"kind": "dish", "well_diameter_mm": 35.0, "taught_wells": {"A1": A1, "H12": H12}},
    ],
)
def test_a_vessel_lies_by_one_of_the_two(changes):
    with pytest.raises(ValueError):
        VesselConfig(**({"kind": "96-well"} | changes))


@pytest.mark.parametrize(
    ("well", "kind", "place"),
    [("A1", "96-well", (0, 0)), ("H12", "96-well", (7, 11)), ("P24", "384-well", (15, 23))],
)
def test_the_place_of_a_well(well, kind, place):
    assert place_of(well, kind) == place
