"""Fields laid on a canvas, for stages that run in every direction."""

from __future__ import annotations

import numpy as np
import pytest

from monitor.culture import StagePosition
from monitor.outlets.viewing.canvas import FieldExtent, Laid, lay_out
from monitor.stage.frames import image_to_stage

SHAPE = (100, 160)
STRAIGHT, AGAINST, TURNED = [[1, 0], [0, 1]], [[1, 0], [0, -1]], [[0, 1], [-1, 0]]


def field(x: float, y: float, *, size: float | None = 2.0, shape=SHAPE) -> FieldExtent:
    return FieldExtent(shape, size, StagePosition(x, y))


@pytest.mark.parametrize("matrix", [STRAIGHT, AGAINST, TURNED])
def test_a_point_of_a_field_has_one_place_on_the_stage_whichever_way_one_goes(matrix) -> None:
    """Straight, or over the canvas: the same to half a pixel, to which fields are set down."""
    fields = [field(1000, -500), field(1301.0, -500), field(1000, -333.3)]
    canvas = lay_out(fields, matrix)
    assert canvas.laid is Laid.STAGE and canvas.to_stage is not None
    for one, placed in zip(fields, canvas.placed, strict=True):
        for column, row in ((0, 0), (159, 0), (40, 99)):
            (straight,) = image_to_stage(
                [[row, column]], shape=SHAPE, pixel_size_um=2.0, pixel_to_stage=matrix,
                centre=one.stage,
            )  # fmt: skip
            on_canvas = [[column + placed.left, row + placed.top]]
            (over_canvas,) = canvas.to_stage.apply(on_canvas)
            assert np.abs(straight - over_canvas).max() <= 1.0 + 1e-6
            assert placed.of_canvas(*on_canvas[0]) == pytest.approx((column, row))


def test_the_canvas_is_as_the_camera_sees_it_also_where_rows_run_against_the_stage() -> None:
    upper, lower = field(0, 200), field(0, 0)
    canvas = lay_out([upper, lower], AGAINST)
    assert canvas.placed[0].top == 0 and canvas.placed[1].top == 100
    assert (canvas.width, canvas.height) == (160, 200)


def test_scans_of_one_stage_share_a_frame() -> None:
    one, other = lay_out([field(0, 0)], STRAIGHT), lay_out([field(50, 20)], STRAIGHT)
    assert one.camera_um is not None and other.camera_um is not None
    assert np.subtract(other.camera_um, one.camera_um).tolist() == [50, 20]


def test_a_field_of_another_pixel_size_is_as_large_as_what_it_shows() -> None:
    canvas = lay_out([field(0, 0), field(400, 0), field(0, 400, size=4.0)], STRAIGHT)
    assert [(one.width, one.height) for one in canvas.placed] == [(160, 100)] * 2 + [(320, 200)]
    assert canvas.placed[2].of_canvas(
        canvas.placed[2].left + 1.5, canvas.placed[2].top + 1.5
    ) == pytest.approx((0.5, 0.5))


def test_fields_without_places_stand_beside_each_other_and_overlap_nowhere() -> None:
    canvas = lay_out([FieldExtent(SHAPE, None)] * 5, STRAIGHT)
    assert canvas.laid is Laid.BESIDE and canvas.to_stage is None and canvas.camera_um is None
    seen = np.zeros((canvas.height, canvas.width), int)
    for one in canvas.placed:
        seen[one.top : one.top + one.height, one.left : one.left + one.width] += 1
    assert seen.max() == 1 and seen.sum() == 5 * SHAPE[0] * SHAPE[1]


def test_what_has_no_place_stands_below_what_has_one() -> None:
    canvas = lay_out([field(0, 0), FieldExtent(SHAPE, 2.0), field(320, 0)], STRAIGHT)
    assert canvas.laid is Laid.BOTH
    assert [one.on_stage for one in canvas.placed] == [True, False, True]
    assert canvas.placed[1].top > 100


def test_a_wrong_place_makes_no_canvas_that_nobody_can_cross() -> None:
    canvas = lay_out([field(0, 0), field(9e8, 0)], STRAIGHT)
    assert canvas.laid is Laid.BESIDE and canvas.width < 1000
    assert lay_out([field(float("nan"), 0)], STRAIGHT).to_stage is None


def test_one_field_without_a_place_is_its_own_canvas() -> None:
    canvas = lay_out([FieldExtent(SHAPE, None)], None)
    assert (canvas.width, canvas.height, canvas.laid) == (160, 100, Laid.ONE)
