from dataclasses import replace

import cv2
import numpy as np
import pytest

from monitor.culture import RefusedRegion
from monitor.outlets.figures.plan import DrawnField, draw_plan
from monitor.segmentation.overlay import draw_overlay, field_of_view
from tests.monitor.outlets.plans import PLAN, TARGET, TARGETING, aimed

LABELS = np.zeros((400, 500), np.uint8)
LABELS[100:300, 200:450] = 2
LABELS[50:90, 50:90] = 1
FIELD = DrawnField("a" * 64, "plate_A1_f1.tif", (400, 500), 2.0, labels=LABELS)
AIMED = replace(PLAN, targeting=TARGETING, targets=(TARGET,))


def drawn(plan=AIMED, fields=(FIELD,)):
    return cv2.imdecode(np.frombuffer(draw_plan(plan, fields), np.uint8), cv2.IMREAD_COLOR)


def test_a_hit_is_drawn_where_it_is_and_as_large_as_the_tool():
    elsewhere = replace(AIMED, targets=(aimed(TARGET, pick_px=(250.0, 420.0)),))
    changed = np.abs(drawn().astype(int) - drawn(elsewhere).astype(int)).sum(axis=2) > 30
    rows, columns = np.nonzero(changed[:, : round(360 * 754 / 500)])
    # 120 um are 60 px in a picture of 500, on a panel that is 754 wide and starts at 9.
    assert np.ptp(columns) == pytest.approx(60 * 754 / 500, abs=4)
    assert np.ptp(rows) == pytest.approx(60 * 754 / 500, abs=4)
    assert columns.mean() == pytest.approx(9 + 300 * 754 / 500, abs=4)


@pytest.mark.parametrize(
    ("name", "plan", "fields"),
    [
        ("nothing left of the pictures", AIMED, (replace(FIELD, labels=None),)),
        ("no pixel size", AIMED, (replace(FIELD, pixel_size_um=None),)),
        ("a plan of an earlier version", PLAN, (FIELD,)),
        ("no field", AIMED, ()),
        ("a name that is none", replace(AIMED, dish="a$b$\x00\n" + "x" * 300), (FIELD,)),
        (
            "only refused",
            replace(
                AIMED,
                targets=(),
                refused=(RefusedRegion("r", "a" * 64, "too thin", "", TARGET.polygon_px),),
            ),
            (FIELD,),
        ),
        (
            "many fields",
            replace(AIMED, targets=tuple(replace(TARGET, capture_sha256=f"{n}") for n in range(9))),
            tuple(replace(FIELD, capture_sha256=f"{n}") for n in range(9)),
        ),
    ],
)
def test_a_picture_is_made_whatever_is_missing(name, plan, fields):
    picture = drawn(plan, fields)
    assert picture.shape[0] > 200
    assert picture.std() > 5


def test_an_overlay_without_its_strips_is_the_field_of_view():
    chance = np.random.default_rng(0)
    pixels = chance.integers(0, 255, LABELS.shape, dtype=np.uint8)
    plain = draw_overlay(pixels, LABELS, pixel_size_um=2.0, max_side=1000)
    titled = draw_overlay(pixels, LABELS, pixel_size_um=2.0, title="dish", max_side=1000)
    seen = field_of_view(titled, LABELS.shape)
    assert seen.shape[:2] == (400, 500)
    assert np.array_equal(seen, plain[:400])
