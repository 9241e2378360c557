import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.culture import StagePosition
from monitor.errors import CalibrationError
from monitor.stage.frames import Affine, field_to_stage, image_to_stage, stage_to_image

CENTRE = StagePosition(10_000.0, -2_000.0)
IDENTITY = ((1.0, 0.0), (0.0, 1.0))

finite = st.floats(-200_000, 200_000)


@st.composite
def orientations(draw):
    angle = draw(st.floats(-math.pi, math.pi))
    flip = draw(st.sampled_from([1.0, -1.0]))
    scale = draw(st.floats(0.9, 1.1))
    return (
        (scale * math.cos(angle), -scale * flip * math.sin(angle)),
        (scale * math.sin(angle), scale * flip * math.cos(angle)),
    )


@given(
    points=st.lists(st.tuples(st.floats(-500, 20_000), st.floats(-500, 20_000)), max_size=20),
    rows=st.integers(1, 20_000),
    columns=st.integers(1, 20_000),
    pixel_size_um=st.floats(0.01, 100),
    pixel_to_stage=orientations(),
    x_um=finite,
    y_um=finite,
)
def test_there_and_back_is_closer_than_a_hundredth_of_a_micrometre(
    points, rows, columns, pixel_size_um, pixel_to_stage, x_um, y_um
):
    frame = {
        "shape": (rows, columns),
        "pixel_size_um": pixel_size_um,
        "pixel_to_stage": pixel_to_stage,
        "centre": StagePosition(x_um, y_um),
    }
    stage = image_to_stage(points, **frame)
    again = stage_to_image(stage, **frame)
    assert again.shape == (len(points), 2)
    assert np.all(np.abs(again - np.reshape(points, (-1, 2))) * pixel_size_um < 0.01)


@pytest.mark.parametrize(
    ("name", "pixel_to_stage", "x_um", "y_um"),
    [
        ("columns along +x, rows along +y", IDENTITY, 10_020, -1_990),
        ("rows against y", ((1, 0), (0, -1)), 10_020, -2_010),
        ("columns against x", ((-1, 0), (0, 1)), 9_980, -1_990),
        ("half a turn", ((-1, 0), (0, -1)), 9_980, -2_010),
        ("a quarter turn: columns along +y, rows along -x", ((0, -1), (1, 0)), 9_990, -1_980),
        ("transposed: columns along +y, rows along +x", ((0, 1), (1, 0)), 10_010, -1_980),
    ],
)
def test_known_flips_and_rotations(name, pixel_to_stage, x_um, y_um):
    # The field's centre is (49.5, 99.5); the point is 5 rows below and 10 columns right of it.
    stage = image_to_stage(
        [(54.5, 109.5)],
        shape=(100, 200),
        pixel_size_um=2.0,
        pixel_to_stage=pixel_to_stage,
        centre=CENTRE,
    )
    assert stage == pytest.approx(np.array([[x_um, y_um]]))


def test_the_middle_of_an_image_with_even_sides_lies_between_four_pixels():
    stage = image_to_stage(
        [(0, 0), (1, 1)],
        shape=(2, 2),
        pixel_size_um=1.0,
        pixel_to_stage=IDENTITY,
        centre=StagePosition(0.0, 0.0),
    )
    assert stage.tolist() == [[-0.5, -0.5], [0.5, 0.5]]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"pixel_size_um": 0.0}, "pixel size of 0.0"),
        ({"pixel_size_um": -1.0}, "pixel size of -1.0"),
        ({"pixel_size_um": math.nan}, "pixel size of nan"),
        ({"pixel_to_stage": ((1.0, 1.0), (1.0, 1.0))}, "onto a line"),
        ({"pixel_to_stage": ((1.0, 1.0),)}, "2 x 2"),
        ({"centre": StagePosition(math.nan, 0.0)}, "is not a stage position"),
    ],
)
@pytest.mark.parametrize("move", [image_to_stage, stage_to_image])
def test_what_gives_no_position_is_refused(move, change, text):
    frame = {
        "shape": (100, 200),
        "pixel_size_um": 2.0,
        "pixel_to_stage": IDENTITY,
        "centre": CENTRE,
    }
    with pytest.raises(CalibrationError, match=text):
        move([(1.0, 1.0)], **(frame | change))


def test_points_that_are_no_pairs_are_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match=r"\(N, 2\)"):
        image_to_stage(
            [1.0, 2.0, 3.0],
            shape=(10, 10),
            pixel_size_um=1.0,
            pixel_to_stage=IDENTITY,
            centre=CENTRE,
        )


# --- the whole way ------------------------------------------------------------------------------


@given(
    points=st.lists(
        st.tuples(st.floats(-500, 20_000), st.floats(-500, 20_000)), min_size=1, max_size=20
    ),
    rows=st.integers(1, 20_000),
    columns=st.integers(1, 20_000),
    pixel_size_um=st.floats(0.01, 100),
    pixel_to_stage=orientations(),
    to_picker=orientations(),
    x_um=finite,
    y_um=finite,
)
def test_from_pixel_over_stage_to_picker_and_back_is_closer_than_a_hundredth_of_a_micrometre(
    points, rows, columns, pixel_size_um, pixel_to_stage, to_picker, x_um, y_um
):
    frame = {
        "shape": (rows, columns),
        "pixel_size_um": pixel_size_um,
        "pixel_to_stage": pixel_to_stage,
        "centre": StagePosition(x_um, y_um),
    }
    to_stage = field_to_stage(**frame)
    whole_way = to_stage.then(Affine.of(to_picker, (y_um, -x_um)))
    columns_first = np.array(points)[:, ::-1]
    assert np.abs(to_stage.apply(columns_first) - image_to_stage(points, **frame)).max() < 0.01
    back = whole_way.inverse().apply(whole_way.apply(columns_first))
    assert np.abs(back - columns_first).max() * pixel_size_um < 0.01


def test_first_this_then_that():
    quarter_turn = Affine.of(((0, -1), (1, 0)), (0, 0))
    shift = Affine.of(((1, 0), (0, 1)), (10, 0))
    assert quarter_turn.then(shift).apply([(1, 0)]).tolist() == [[10.0, 1.0]]
    assert shift.then(quarter_turn).apply([(1, 0)]).tolist() == [[0.0, 11.0]]


@pytest.mark.parametrize("linear", [((0, 0), (0, 0)), ((1, 2), (2, 4)), ((1e-6, 0), (1, 0))])
def test_a_transform_onto_a_line_has_no_way_back(linear):
    with pytest.raises(CalibrationError, match="onto a line; calibrate again"):
        Affine.of(linear, (0, 0)).inverse()
