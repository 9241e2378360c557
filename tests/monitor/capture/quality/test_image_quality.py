from __future__ import annotations

from zoneinfo import ZoneInfo

import cv2
import numpy as np
import pytest

from model.burnt_in import find_burnt_in
from monitor.capture.formats.reading import read_picture
from monitor.capture.quality.image_quality import _Greys, judge
from monitor.capture.quality.round_well import find_round_well
from monitor.errors import CaptureError
from tests.monitor.capture.pictures import colonies, empty_field, real_files, round_well


def reason_of(picture: np.ndarray, inside: np.ndarray | None = None) -> str:
    with pytest.raises(CaptureError) as refused:
        judge(picture, inside)
    assert not refused.value.transient and str(refused.value).isprintable()
    return refused.value.reason


GOOD = {
    "colonies": colonies(),
    "a dish without cells": empty_field(),
    "without cells, quiet camera": empty_field(noise=0.6),
    "without cells, noisy camera": empty_field(noise=8),
    "few cells": colonies(count=1),
    "low contrast": (colonies().astype(float) * 0.3 + 90).astype(np.uint8),
    "12 bit in 16": colonies().astype(np.uint16) * 16,
    "16 bit": colonies().astype(np.uint16) * 257,
    "dim 16 bit": colonies().astype(np.uint16) * 3 + 100,
    "float": colonies().astype(np.float32) / 255,
    "small": colonies((90, 70), count=2),
    "tiny": colonies((12, 9), count=1),
}


@pytest.mark.parametrize("picture", GOOD.values(), ids=GOOD)
def test_valid_captures_pass_without_a_doubt(picture):
    assert judge(picture).doubts == ()


def half(picture: np.ndarray, value: int, part: float = 0.5) -> np.ndarray:
    """As of a file whose last rows were never written."""
    cut = picture.copy()
    cut[round(len(cut) * (1 - part)) :] = value
    return cut


def lit(picture: np.ndarray, by: float) -> np.ndarray:
    """A reflex of the lamp (or, below zero, a shadow) in one corner, beyond the scale."""
    rows, columns = np.indices(picture.shape, dtype=np.float32)
    spot = np.exp(-((rows / 200) ** 2 + (columns / 200) ** 2))
    return np.clip(picture + by * spot, 0, 255).astype(np.uint8)


def without_a_tile(value: int) -> np.ndarray:
    picture = colonies()
    picture[128:256, 256:384] = value
    return picture


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (np.zeros((600, 700), np.uint8), "constant"),
        (np.full((600, 700), 128, np.uint16), "constant"),
        (np.zeros((1, 1), np.uint8), "constant"),
        (half(colonies(), 0), "blank"),
        (half(colonies(), 0, 0.95), "black"),
        (half(colonies(), 128), "blank"),
        (half(colonies(), 0, 0.06), "blank"),
        (half(colonies().astype(np.uint16) * 100, 0), "blank"),
        (half(colonies().astype(np.float32), 0), "blank"),
        (half(empty_field(), 255, 0.3), "blank"),
        (without_a_tile(0), "blank"),
        (empty_field(level=4, noise=1), "black"),
        (np.random.default_rng(0).poisson(2, (600, 700)).astype(np.uint8), "black"),
        (np.clip(colonies().astype(int) + 160, 0, 255).astype(np.uint8), "saturated"),
        (np.clip(colonies().astype(int) * 40, 0, 4095).astype(np.uint16), "saturated"),
        (np.random.default_rng(0).integers(0, 256, (600, 700), np.uint8), "noise"),
        (np.random.default_rng(0).integers(0, 65536, (600, 700), np.uint16), "noise"),
    ],
    ids=[
        *("zeros", "one value", "one pixel", "half zero", "nearly all zero", "half grey"),
        *("last rows zero", "half zero, 16 bit", "half zero, float", "last third white"),
        *(
            "a tile is zero",
            "no light",
            "no light, some noise",
            "saturated",
            "saturated at 12 bit",
            "damaged, 8 bit",
        ),
        "damaged, 16 bit",
    ],
)
def test_what_cannot_be_read_honestly_is_refused(picture, reason):
    assert reason_of(picture) == reason


def test_an_even_background_flattened_by_compression_is_a_doubt_only():
    ramp = np.tile(np.linspace(0, 9, 700).astype(np.uint8) + 100, (600, 1))
    assert judge(ramp).doubts == ("partly-flat",)


@pytest.mark.parametrize(
    ("picture", "doubt"),
    [
        (
            cv2.GaussianBlur(colonies(noise=0.0), (0, 0), 8) + empty_field(level=1, noise=1),
            "out-of-focus",
        ),
        ((colonies() // 10), "very-dark"),
        (lit(colonies(), 400), "partly-saturated"),
        (lit(colonies(), -300), "partly-black"),
    ],
    ids=["out of focus", "dark", "a reflex", "a shadow"],
)
def test_what_is_merely_bad_is_a_doubt(picture, doubt):
    assert doubt in judge(picture).doubts


def test_a_round_well_is_judged_by_its_inside():
    picture = round_well()
    well = find_round_well(picture)
    assert well is not None
    assert judge(picture, well.inside(picture.shape)).doubts == ()
    assert reason_of(picture) in {"black", "blank"}
    picture[500:] = 0
    assert reason_of(picture, well.inside(picture.shape)) == "blank"


def test_an_inside_without_pixels_is_refused():
    assert reason_of(colonies(), np.zeros((600, 700), bool)) == "blank"


def test_blur_is_measured_in_pixels():
    sharp = colonies(noise=0.0, count=30).astype(np.float32)
    blurs = [judge(cv2.GaussianBlur(sharp, (0, 0), s)).measures["blur_px"] for s in (1, 2, 4, 8)]
    assert blurs == sorted(blurs) and blurs[0] < 2 and blurs[3] > 4


def test_an_empty_dish_says_nothing_of_the_focus():
    assert "blur_px" not in judge(empty_field(level=128, noise=3)).measures


def test_measures_do_not_depend_on_the_depth():
    eight, sixteen = judge(colonies()).measures, judge(colonies().astype(np.uint16) * 257).measures
    for name in ("median", "range", "noise", "blur_px"):
        assert eight[name] == pytest.approx(sixteen[name], rel=0.01), name


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_what_is_counted_is_what_sorting_says(kind):
    chance = np.random.default_rng(3)
    for size in (1, 2, 7, 1000, 4711):
        grey = chance.normal(120 if kind == "uint8" else 3000, 40, size).clip(
            0, 255 if kind == "uint8" else 65535
        )
        wanted = (0.0, 0.1, 12.5, 50.0, 99.9, 100.0)
        sample = grey.astype(kind)
        greys = _Greys(sample)
        found = greys.percentiles(wanted)
        assert found == pytest.approx(np.percentile(sample, wanted), abs=1e-9)
        assert (greys.lowest, greys.highest) == (sample.min(), sample.max())
        assert greys.part(float(sample[0])) == np.mean(sample == sample[0])


def test_no_real_field_is_refused_or_doubted():
    folders = ("incubator_6well", "incubator_96well", "hipsc_phase", "spread_cells_phase")
    for path in real_files(*folders, "ips_fields"):
        pixels = read_picture(path, zone=ZoneInfo("UTC")).pixels
        well = find_round_well(pixels)
        quality = judge(pixels, None if well is None else well.inside(pixels.shape))
        assert quality.doubts == (), (path.name, quality)


def test_real_fields_that_were_spoilt_are_caught():
    chance = np.random.default_rng(0)
    for path in real_files("incubator_6well", "hipsc_phase")[::4]:
        pixels = read_picture(path, zone=ZoneInfo("UTC")).pixels
        assert reason_of(half(pixels, 0)) == "blank"
        assert reason_of(half(pixels, int(np.median(pixels)), 0.1)) == "blank"
        assert reason_of(pixels // 60) == "black"
        # The lens blurs; the camera's noise comes after it.
        blurred = cv2.GaussianBlur(pixels.astype(np.float32), (0, 0), 10)
        blurred = np.rint(blurred + chance.normal(0, 0.7, pixels.shape)).astype(np.uint8)
        assert judge(blurred).measures.get("blur_px", 20.0) > 4.0, path.name


def bar_on(picture: np.ndarray) -> np.ndarray:
    burnt = picture.copy()
    rows, columns = burnt.shape
    burnt[rows - 60 : rows - 50, columns - 200 : columns - 30] = 255
    cv2.putText(burnt, "500 um", (columns - 190, rows - 70), cv2.FONT_HERSHEY_SIMPLEX, 1, 255, 3)
    return burnt


@pytest.mark.parametrize("shape", [(250, 250), (512, 512)])
def test_the_sharp_edges_of_a_bar_do_not_make_a_blurred_picture_sharp(shape: tuple[int, int]):
    blurred = cv2.GaussianBlur(colonies(shape), (0, 0), 10)
    assert "out-of-focus" in judge(blurred).doubts
    burnt = bar_on(blurred)
    found = find_burnt_in(burnt)
    assert found is not None
    assert "out-of-focus" not in judge(burnt).doubts, "the bar alone is sharp"
    assert "out-of-focus" in judge(burnt, None, found).doubts


def test_measures_with_a_bar_are_those_without_it():
    bare = colonies()
    burnt = bar_on(bare)
    without, with_it = judge(bare).measures, judge(burnt, None, find_burnt_in(burnt)).measures
    assert with_it.pop("burnt_in") == pytest.approx(0.05, abs=0.04)
    assert with_it == pytest.approx(without, abs=2.0)
    assert with_it["clipped_bright"] == pytest.approx(without["clipped_bright"], abs=1e-3)


@pytest.mark.parametrize("paper", [0, 255])
def test_a_strip_of_facts_is_nothing_that_was_never_written(paper: int):
    burnt = colonies()
    burnt[-60:] = paper
    cv2.putText(burnt[-60:], "10x Day 3", (20, 40), cv2.FONT_HERSHEY_SIMPLEX, 1, 255 - paper, 2)
    assert judge(burnt, None, find_burnt_in(burnt)).doubts == ()


def test_what_was_never_written_is_refused_beside_a_bar_too():
    picture = half(colonies(), 0, 0.2)
    picture[40:50, 40:200] = 255
    found = find_burnt_in(picture)
    assert found is not None
    with pytest.raises(CaptureError) as refused:
        judge(picture, None, found)
    assert refused.value.reason == "blank"
