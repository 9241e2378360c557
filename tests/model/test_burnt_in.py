"""What was burnt into a picture is found, whatever its ink and place; what only looks bright,
dark or straight is not taken for it."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from model.burnt_in import MARGIN_PX, BurntIn, find_burnt_in, imaged
from model.classes import UNKNOWN
from model.simulation.fields import simulate_field

DATA = Path(os.environ.get("COLONYWATCH_DATA", Path(__file__).parents[3] / "shared" / "data"))
SHAPE = (480, 560)
CORNERS = [(False, False), (False, True), (True, False), (True, True)]


def culture(seed: int = 3, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """A field of cells without anything burnt in: the first one from a seed on."""
    fields = (
        simulate_field(number, shape=shape, pixel_size_um=1.6, modality="phase")
        for number in itertools.count(1000 * seed)
    )
    field = next(one for one in fields if not (one.labels == UNKNOWN).any())
    image = field.image.astype(np.float32)
    # Neither end of the scale is reached, as by a camera that is set well.
    low, high = np.percentile(image, (0.5, 99.5))
    return np.clip(np.rint(70 + 110 * (image - low) / (high - low)), 20, 235).astype(np.uint8)


def with_bar(
    image: np.ndarray,
    ink: int,
    corner: tuple[bool, bool] = (True, True),
    text: str = "200 um",
    length: int = 130,
    thick: int = 6,
) -> np.ndarray:
    """A scale bar below its text in a corner: (at the bottom, at the right)."""
    drawn = image.copy()
    rows, columns = image.shape
    top = rows - 22 - thick if corner[0] else 50
    left = columns - 20 - length if corner[1] else 20
    drawn[top : top + thick, left : left + length] = ink
    cv2.putText(
        drawn, text, (left + 8, top - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.9, ink, 2, cv2.LINE_AA
    )
    return drawn


def by_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    _, packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE)


def found_share(found: BurntIn | None, ink: np.ndarray) -> float:
    if found is None:
        return 0.0
    mask = found.rows(0, ink.shape[0])
    # No more than the neighbourhood is taken away with it.
    around = cv2.dilate(ink.astype(np.uint8), np.ones((61, 61), np.uint8)) > 0
    assert not (mask & ~around).any()
    return float((mask & ink).sum() / ink.sum())


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("ink", [0, 255])
@pytest.mark.parametrize("quality", [None, 95, 75, 50])
def test_a_bar_with_its_text_is_found(
    corner: tuple[bool, bool], ink: int, quality: int | None
) -> None:
    bare = culture()
    burnt = with_bar(bare, ink, corner)
    seen = burnt if quality is None else by_jpeg(burnt, quality)
    assert found_share(find_burnt_in(seen), burnt != bare) > 0.99


@pytest.mark.parametrize("seed", range(8))
def test_nothing_is_found_where_nothing_is_burnt_in(seed: int) -> None:
    image = culture(seed)
    for picture in (image, by_jpeg(image, 60), 255 - image):
        assert find_burnt_in(picture) is None


@pytest.mark.parametrize("length", [60, 200])
@pytest.mark.parametrize("thick", [3, 12])
def test_bars_of_any_length_and_thickness_are_found_upright_too(length: int, thick: int) -> None:
    bare = culture()
    for turned in (False, True):
        burnt = bare.copy()
        place = burnt[:, :].T if turned else burnt
        place[400 : 400 + thick, 40 : 40 + length] = 255
        assert found_share(find_burnt_in(burnt), burnt != bare) == 1.0


def test_a_bar_of_a_middle_grey_is_found_in_a_lossless_picture() -> None:
    """Coloured bars become such greys: the bar is found, and most of its text."""
    bare = min(map(culture, range(12)), key=np.std)
    for grey in (29, 179, 226):
        burnt = with_bar(bare, grey)
        assert found_share(find_burnt_in(burnt), burnt != bare) > 0.6, grey


def test_sixteen_bits_and_floats_are_searched_too() -> None:
    """ImageJ burns 65535 into pictures of a camera of 12 bit."""
    bare = culture().astype(np.uint16) * 16
    burnt = np.where(with_bar(culture(), 255) != culture(), np.uint16(65535), bare)
    assert found_share(find_burnt_in(burnt), burnt != bare) > 0.99
    as_float = (burnt / 65535).astype(np.float32)
    assert found_share(find_burnt_in(as_float), burnt != bare) > 0.99


def test_a_bar_that_was_shrunk_with_the_picture_is_found() -> None:
    wide = (SHAPE[0] * 2, SHAPE[1] * 2)
    bare = cv2.resize(culture(), wide[::-1], interpolation=cv2.INTER_CUBIC)
    burnt = with_bar(bare, 0, text="100 um", length=260, thick=12)
    small, ink = (
        cv2.resize(one, SHAPE[::-1], interpolation=cv2.INTER_AREA)
        for one in (burnt, (burnt != bare).astype(np.float32))
    )
    assert found_share(find_burnt_in(small), ink > 0.5) > 0.99


@pytest.mark.parametrize("text", ["2026-03-01 12:30", "00:45:10", "t = 1270 h"])
@pytest.mark.parametrize("ink", [0, 255])
def test_a_time_stamp_alone_is_found(text: str, ink: int) -> None:
    bare = culture()
    burnt = bare.copy()
    cv2.putText(burnt, text, (12, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.8, ink, 2, cv2.LINE_AA)
    assert found_share(find_burnt_in(burnt), burnt != bare) > 0.99


@pytest.mark.parametrize(("paper", "ink"), [(0, 255), (255, 0), (40, 230)])
def test_paper_with_text_is_found_whole(paper: int, ink: int) -> None:
    bare = culture()
    burnt = bare.copy()
    burnt[20:60, 30:230] = paper
    cv2.putText(burnt, "Day 3  B4", (40, 50), cv2.FONT_HERSHEY_SIMPLEX, 0.9, ink, 2, cv2.LINE_AA)
    ink_at = np.zeros(SHAPE, bool)
    ink_at[20:60, 30:230] = True
    assert found_share(find_burnt_in(burnt), ink_at) == 1.0


@pytest.mark.parametrize("at_the_bottom", [True, False])
@pytest.mark.parametrize(("paper", "ink"), [(0, 255), (255, 0)])
def test_a_strip_of_facts_is_found_whole(at_the_bottom: bool, paper: int, ink: int) -> None:
    burnt = culture()
    rows = slice(-44, None) if at_the_bottom else slice(0, 44)
    strip = burnt[rows]
    strip[:] = paper
    cv2.putText(strip, "10x  2026-03-01", (30, 31), cv2.FONT_HERSHEY_SIMPLEX, 0.8, ink, 2)
    expected = np.zeros(SHAPE, bool)
    expected[rows] = True
    assert found_share(find_burnt_in(burnt), expected) == 1.0


def test_an_arrow_in_the_ink_of_a_bar_is_found() -> None:
    bare = culture()
    burnt = with_bar(bare, 255)
    cv2.arrowedLine(burnt, (150, 150), (200, 190), 255, 4, cv2.LINE_AA, 0, 0.4)
    assert found_share(find_burnt_in(burnt), burnt != bare) > 0.99


def dead_cells(image: np.ndarray) -> None:
    """Saturated, in a row and of one size, as nothing but chance would have them."""
    for column in range(60, 500, 60):
        cv2.circle(image, (column, 440), 9, 30, 3, cv2.LINE_AA)
        cv2.circle(image, (column, 440), 7, 255, -1, cv2.LINE_AA)


def rings(image: np.ndarray) -> None:
    for column in range(60, 500, 24):
        cv2.circle(image, (column, 440), 8, 255, 2, cv2.LINE_AA)
    image[:] = cv2.GaussianBlur(image, (0, 0), 1.5)


def dust(image: np.ndarray) -> None:
    shade = np.zeros(SHAPE, np.float32)
    cv2.ellipse(shade, (300, 400), (60, 8), 0, 0, 360, 1.0, -1)
    image[:] = image * (1 - cv2.GaussianBlur(shade, (0, 0), 4))


def clipped_light(image: np.ndarray) -> None:
    light = np.linspace(0.8, 3.0, SHAPE[1], dtype=np.float32)
    image[:] = np.clip(image * light, 0, 255)


def dark_well(image: np.ndarray) -> None:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    image[np.hypot(rows - 240, columns - 280) > 225] = 3


def dark_wall(image: np.ndarray) -> None:
    image[:, -30:] = 4


def never_written(image: np.ndarray) -> None:
    image[-60:] = 0


def dead_column(image: np.ndarray) -> None:
    image[:, 200] = 255


def scratch(image: np.ndarray) -> None:
    cv2.line(image, (50, 300), (500, 380), 255, 2, cv2.LINE_AA)


def seams(image: np.ndarray) -> None:
    for row in range(0, SHAPE[0], 120):
        image[row : row + 120] = np.clip(image[row : row + 120] * (1 + row / 900), 0, 255)


@pytest.mark.parametrize(
    "spoil",
    [
        dead_cells,
        rings,
        dust,
        clipped_light,
        dark_well,
        dark_wall,
        never_written,
        dead_column,
        scratch,
        seams,
    ],
)
def test_what_a_microscope_does_is_not_taken_for_it(spoil: object) -> None:
    image = culture()
    spoil(image)  # type: ignore[operator]
    assert find_burnt_in(image) is None


def test_nothing_is_looked_for_outside_the_vessel() -> None:
    burnt = with_bar(culture(), 255)
    inside = np.zeros(SHAPE, bool)
    inside[:300] = True
    assert find_burnt_in(burnt, inside) is None


def test_a_picture_in_bands_shows_the_same() -> None:
    bare = culture(shape=(2000, 300))
    burnt = with_bar(bare, 0, text="100 um", length=100)
    whole = find_burnt_in(burnt)
    assert whole is not None
    in_bands = find_burnt_in(burnt, band_pixels=700 * 300)
    assert in_bands is not None
    assert {item.box for item in in_bands.items} == {item.box for item in whole.items}


def test_the_area_counts_each_pixel_once_and_the_mask_leaves_them_out() -> None:
    burnt = with_bar(culture(), 0)
    found = find_burnt_in(burnt)
    assert found is not None
    mask = found.rows(0, SHAPE[0])
    assert found.area_px == mask.sum()
    inside = np.ones(SHAPE, bool)
    inside[:, :100] = False
    counted = imaged(inside, found)
    assert counted is not None
    assert np.array_equal(counted.rows(0, SHAPE[0]), inside & ~mask)
    assert np.array_equal(counted.rows(430, 450), (inside & ~mask)[430:450])
    assert imaged(None, None) is None


@pytest.mark.parametrize("shape", [(1, 1), (31, 400), (64, 64)])
def test_small_even_and_empty_pictures_show_nothing(shape: tuple[int, int]) -> None:
    assert find_burnt_in(np.full(shape, 7, np.uint8)) is None
    noise = np.random.default_rng(0).integers(90, 110, shape).astype(np.uint8)
    assert find_burnt_in(noise) is None


def test_a_margin_is_left_for_smoothed_edges() -> None:
    burnt = culture()
    burnt[400:408, 300:420] = 0
    found = find_burnt_in(burnt)
    assert found is not None
    (item,) = found.items
    near = (400 - MARGIN_PX, 300 - MARGIN_PX, 408 + MARGIN_PX, 420 + MARGIN_PX)
    assert item.box == pytest.approx(near, abs=2)


def _real(pattern: str) -> list[Path]:
    paths = sorted(DATA.glob(pattern))
    if not paths:
        pytest.skip(f"no real fields {pattern} in {DATA}; set COLONYWATCH_DATA")
    return paths


def _grey(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    return np.asarray(image)


@pytest.mark.parametrize(
    "folder", ["hipsc_phase/images", "hipsc_phase/unlabelled", "passage/images"]
)
def test_the_bars_of_real_fields_are_found_and_nothing_else(folder: str) -> None:
    """Each has one at the bottom right, with its length above."""
    for path in _real(f"{folder}/*"):
        image = _grey(path)
        rows, columns = image.shape
        found = find_burnt_in(image)
        assert found is not None, path.name
        assert {"bar", "text"} <= {item.kind for item in found.items}, path.name
        assert found.area_px < 0.03 * image.size, path.name
        for item in found.items:
            top, left, *_ = item.box
            assert top > 0.75 * rows, path.name
            assert left > 0.5 * columns, path.name
        # Above the bars nothing is found.
        assert find_burnt_in(image[: round(0.75 * rows)]) is None, path.name


@pytest.mark.parametrize(
    "pattern",
    [
        "ips_fields/images/*",
        "incubator_6well/*_Xmm4*",
        "incubator_96well/*",
        "glands/test/images/*",
    ],
)
def test_real_fields_without_bars_show_none(pattern: str) -> None:
    for path in _real(pattern):
        assert find_burnt_in(_grey(path)) is None, path.name


def test_text_of_another_font_is_found() -> None:
    """As ImageJ draws it: bold, without serifs, smoothed."""
    bare = culture()
    picture = Image.fromarray(bare)
    drawing = ImageDraw.Draw(picture)
    drawing.text((400, 410), "500 µm", fill=255, font_size=26)
    drawing.rectangle((390, 450, 520, 456), fill=255)
    burnt = np.asarray(picture)
    assert found_share(find_burnt_in(burnt), burnt != bare) > 0.98
