import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from monitor.segmentation.overlay import (
    DIFFERENTIATED_BGR,
    UNCERTAIN_BELOW,
    UNCERTAIN_BGR,
    UNDIFFERENTIATED_BGR,
    Trust,
    draw_overlay,
    encode_jpeg,
    encode_labels,
    encode_png,
    field_of_view,
    stretch_contrast,
)
from monitor.segmentation.overlay_strips import title_height


def faint_field(rows=600, columns=800):
    """A field whose colony differs from plastic by texture of a few grey levels; uneven light."""
    chance = np.random.default_rng(7)
    grey = 120 + np.linspace(0, 30, columns)[None, :] + chance.normal(0, 0.7, (rows, columns))
    labels = np.zeros((rows, columns), np.uint8)
    cv2.circle(labels, (columns // 2, rows // 2), rows // 4, 1, -1)
    cv2.circle(labels, (columns // 2, rows // 2), rows // 10, 2, -1)
    grey += (labels > 0) * chance.normal(0, 2.5, (rows, columns))
    return grey.clip(0, 255).astype(np.uint8), labels


def count(picture, colour):
    return int(np.count_nonzero((picture == colour).all(axis=2)))


def test_a_faint_colony_is_brought_to_plain_contrast_and_plastic_is_not():
    pixels, labels = faint_field()
    shown = stretch_contrast(pixels, labels != 255).astype(float)
    before = pixels[labels > 0].std()
    assert shown[labels == 2].std() > 6 * before
    assert shown[labels == 2].std() > 1.8 * shown[:200, :200].std()
    left, right = shown[:, :100], shown[:, -100:]
    assert abs(left.mean() - right.mean()) < 15  # uneven light is gone


@pytest.mark.parametrize("level", [0, 130, 255])
def test_a_capture_without_structure_becomes_middle_grey(level):
    shown = stretch_contrast(np.full((40, 60), level, np.uint8), np.ones((40, 60), bool))
    assert (shown == shown[0, 0]).all()
    assert 100 < shown[0, 0] < 150


def test_what_lies_outside_the_vessel_does_not_shape_the_stretch():
    pixels, labels = faint_field()
    seen = np.ones(labels.shape, bool)
    seen[:, :200] = False
    dark = pixels.copy()
    dark[:, :200] = 0
    assert np.array_equal(
        stretch_contrast(pixels, seen)[:, 200:], stretch_contrast(dark, seen)[:, 200:]
    )


def test_both_classes_are_outlined_in_their_own_colour():
    pixels, labels = faint_field()
    picture = draw_overlay(pixels, labels, pixel_size_um=1.0)
    without = draw_overlay(pixels, np.where(labels == 2, 1, labels), pixel_size_um=1.0)
    assert picture.dtype == np.uint8
    assert picture.shape[1:] == (800, 3)
    assert count(picture, DIFFERENTIATED_BGR) > count(without, DIFFERENTIATED_BGR) + 150
    assert count(picture, UNDIFFERENTIATED_BGR) > 400


def test_differentiated_cells_are_tinted_red_and_undifferentiated_blue():
    pixels, labels = faint_field()
    picture = draw_overlay(pixels, labels, pixel_size_um=None)[: labels.shape[0]].astype(float)
    blue, _, red = (picture[..., channel] for channel in range(3))
    inner = cv2.erode((labels == 2).view(np.uint8) * 1, np.ones((9, 9))) > 0
    outer = cv2.erode((labels == 1).view(np.uint8) * 1, np.ones((9, 9))) > 0
    assert red[inner].mean() > blue[inner].mean() + 20
    assert blue[outer].mean() > red[outer].mean() + 8


def test_outside_of_the_vessel_is_dimmed():
    pixels, labels = faint_field()
    labels[:, :150] = 255
    picture = draw_overlay(pixels, labels, pixel_size_um=1.0)
    assert picture[:500, :150].mean() < 0.5 * picture[:500, 150:250].mean()


# --- what is uncertain, and what is in doubt ------------------------------------------------------


def sure_but_for(part, coarse=(15, 20)):
    """A map of a picture whose right half, or other part, is uncertain."""
    certainty = np.full(coarse, 0.95, np.float32)
    certainty[part] = 0.5
    return certainty


def yellow(picture):
    """Where stripes run: blue far below green and red."""
    blue, green, red = (picture[..., channel].astype(int) for channel in range(3))
    return (green - blue > 60) & (red - blue > 60) & (abs(red - green) < 40)


def test_stripes_mark_what_is_uncertain_and_nothing_else():
    pixels, labels = faint_field()
    plain = draw_overlay(pixels, labels, pixel_size_um=1.0)[:400]
    marked = draw_overlay(
        pixels, labels, pixel_size_um=1.0, trust=Trust(sure_but_for(np.s_[:, 10:]))
    )[:400]
    changed = (plain != marked).any(axis=2)
    assert not changed[:, :380].any()
    assert 0.1 < changed[:, 440:].mean() < 0.5
    assert (yellow(marked) == changed)[changed].mean() > 0.9


def test_stripes_leave_the_outlines_and_what_lies_outside_of_the_vessel():
    pixels, labels = faint_field()
    labels[:, 700:] = 255
    everywhere = Trust(np.full((15, 20), 0.4, np.float32))
    plain = draw_overlay(pixels, labels, pixel_size_um=1.0)
    marked = draw_overlay(pixels, labels, pixel_size_um=1.0, trust=everywhere)
    assert np.array_equal(plain[:400, 701:], marked[:400, 701:])
    for colour in (DIFFERENTIATED_BGR, UNDIFFERENTIATED_BGR):
        assert count(plain[:480], colour) == count(marked[:480], colour)


def test_a_border_between_two_classes_of_which_both_are_sure_is_not_uncertain():
    """Were the classes' own maps spread and then compared, each outline would get stripes."""
    pixels, labels = faint_field()
    sure = Trust(np.full((15, 20), 0.95, np.float32))
    plain = draw_overlay(pixels, labels, pixel_size_um=1.0)
    assert np.array_equal(plain, draw_overlay(pixels, labels, pixel_size_um=1.0, trust=sure))


@pytest.mark.parametrize(("certainty", "is_marked"), [(0.66, True), (0.67, False)])
def test_uncertain_is_where_no_class_is_twice_as_probable_as_the_others_together(
    certainty, is_marked
):
    assert pytest.approx(2 / 3) == UNCERTAIN_BELOW
    pixels, labels = faint_field()
    trust = Trust(np.full((15, 20), certainty, np.float32))
    marked = draw_overlay(pixels, labels, pixel_size_um=1.0, trust=trust)
    assert yellow(marked[:400]).any() == is_marked


def test_the_legend_explains_the_stripes_where_there_are_any():
    pixels, labels = faint_field()
    plain = draw_overlay(pixels, labels, pixel_size_um=1.0)
    marked = draw_overlay(
        pixels, labels, pixel_size_um=1.0, trust=Trust(sure_but_for(np.s_[:3, :3]))
    )
    assert count(plain[600:], UNCERTAIN_BGR) == 0
    assert count(marked[600:], UNCERTAIN_BGR) > 20


@pytest.mark.parametrize("max_side", [None, 300])
@pytest.mark.parametrize("shape", [(600, 800), (60, 80), (1, 1), (3, 900)])
def test_stripes_are_seen_at_any_size(shape, max_side):
    pixels = np.arange(shape[0] * shape[1], dtype=np.uint16).reshape(shape)
    labels = np.zeros(shape, np.uint8)
    trust = Trust(np.full((2, 3), 0.4, np.float32), ("a reason that is long " * 5,))
    picture = draw_overlay(pixels, labels, pixel_size_um=1.0, max_side=max_side, trust=trust)
    assert yellow(picture).any()


def test_why_an_image_is_in_doubt_stands_below_it_dark_on_light():
    """So that it is no part of the legend, and the picture lies where it always does."""
    pixels, labels = faint_field()
    plain = draw_overlay(pixels, labels, pixel_size_um=1.0, title="dish-07")
    one = draw_overlay(
        pixels, labels, pixel_size_um=1.0, title="dish-07",
        trust=Trust(in_doubt=("unlike the images the model has learnt from",)),
    )  # fmt: skip
    more = draw_overlay(
        pixels, labels, pixel_size_um=1.0, title="dish-07",
        trust=Trust(in_doubt=("unlike the images the model has learnt from",) * 4),
    )  # fmt: skip
    assert plain.shape[0] < one.shape[0] < more.shape[0]
    assert np.array_equal(field_of_view(plain, labels.shape), field_of_view(one, labels.shape))
    strip_rows = one.shape[0] - plain.shape[0]
    legend_rows = plain.shape[0] - title_height(800) - 600
    strip = one[-legend_rows - strip_rows : -legend_rows]
    assert np.median(strip[..., 2]) > 200
    assert (strip.max(axis=2) < 90).any()
    assert np.array_equal(one[-legend_rows:], plain[-legend_rows:])


def bar_length_px(picture):
    """The longest run of pure white in the lower right quarter: the scale bar."""
    rows, columns = picture.shape[:2]
    white = (picture[rows // 2 :, columns // 2 :] == 255).all(axis=2)
    longest = 0
    for line in white:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], line, [0]]).astype(int)))
        longest = max(longest, int((edges[1::2] - edges[::2]).max(initial=0)))
    return longest


@pytest.mark.parametrize(
    ("columns", "pixel_size_um", "max_side", "bar_px"),
    [
        (1000, 1.0, None, 200),  # 200 um
        (1000, 0.65, None, 154),  # 100 um
        (1000, 10.0, None, 200),  # 2 mm
        (2000, 1.0, 1000, 100),  # 200 um at half size
        (1000, None, None, 200),  # 200 px
    ],
)
def test_the_scale_bar_has_a_round_length(columns, pixel_size_um, max_side, bar_px):
    pixels = np.full((columns * 3 // 4, columns), 90, np.uint8)
    labels = np.zeros(pixels.shape, np.uint8)
    picture = draw_overlay(pixels, labels, pixel_size_um=pixel_size_um, max_side=max_side)
    assert bar_length_px(picture) == pytest.approx(bar_px, abs=1)


def test_an_assumed_pixel_size_is_said_to_be_assumed():
    pixels, labels = faint_field()
    sure = draw_overlay(pixels, labels, pixel_size_um=1.0)
    guess = draw_overlay(pixels, labels, pixel_size_um=1.0, assumed=True)
    assert not np.array_equal(sure, guess)


@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (900, 3), (64, 64), (31, 47)])
@pytest.mark.parametrize("max_side", [None, 300])
def test_captures_of_any_shape_are_drawn(shape, max_side):
    pixels = np.arange(shape[0] * shape[1], dtype=np.uint16).reshape(shape)
    labels = np.ones(shape, np.uint8)
    picture = draw_overlay(pixels, labels, pixel_size_um=2.0, title="dish " * 40, max_side=max_side)
    assert picture.shape[1] >= 1
    assert cv2.imdecode(np.frombuffer(encode_png(picture), np.uint8), cv2.IMREAD_COLOR) is not None


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("channels", [None, 3])
def test_any_number_type_shows_the_same_structure(kind, channels):
    pixels, labels = faint_field(300, 400)
    other = pixels.astype(kind)
    if channels:
        other = np.repeat(other[..., None], channels, axis=2)
    drawn = draw_overlay(other, labels, pixel_size_um=1.0).astype(int)
    plain = draw_overlay(pixels, labels, pixel_size_um=1.0).astype(int)
    assert np.abs(drawn - plain).max() <= 3


def test_pixels_that_are_no_number_do_not_spoil_the_picture():
    pixels, labels = faint_field(300, 400)
    broken = pixels.astype(np.float32)
    broken[0, 0] = np.nan
    picture = draw_overlay(broken, labels, pixel_size_um=1.0)
    assert picture[50:250, 50:350].std() > 10


def test_capture_and_label_map_must_have_one_shape():
    with pytest.raises(ValueError, match="differ in shape"):
        draw_overlay(np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8), pixel_size_um=None)


def test_the_picture_is_written_as_png_without_loss_and_as_jpeg_nearly_so():
    pixels, labels = faint_field()
    picture = draw_overlay(pixels, labels, pixel_size_um=1.0)
    png = cv2.imdecode(np.frombuffer(encode_png(picture), np.uint8), cv2.IMREAD_COLOR)
    jpeg = cv2.imdecode(np.frombuffer(encode_jpeg(picture), np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(png, picture)
    assert np.abs(jpeg.astype(int) - picture).mean() < 6
    assert len(encode_jpeg(picture, quality=60)) < 0.6 * len(encode_png(picture))


def test_a_label_map_is_written_without_loss():
    labels = np.random.default_rng(0).choice(np.array([0, 1, 2, 255], np.uint8), (61, 83))
    content = np.frombuffer(encode_labels(labels), np.uint8)
    assert (cv2.imdecode(content, cv2.IMREAD_UNCHANGED) == labels).all()


def test_real_brightfield_colonies_become_plainly_visible():
    data = Path(os.environ.get("COLONYWATCH_DATA", "../shared/data")) / "incubator_6well"
    fields = sorted(data.glob("*.tiff"))
    if not fields:
        pytest.skip(f"no real captures at {data}; set COLONYWATCH_DATA")
    pixels = tifffile.imread(fields[0])
    shown = stretch_contrast(pixels, np.ones(pixels.shape, bool))
    assert pixels.std() < 6
    assert shown.std() > 35
