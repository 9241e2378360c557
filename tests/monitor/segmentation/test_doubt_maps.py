"""Earlier scans as they are asked when a later one is aimed at."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import cv2
import numpy as np
import pytest

from model.predict import Segmentation
from monitor.capture.bundles import hash_file
from monitor.config import PinConfig, RemovalConfig, SourceSettings
from monitor.culture import NamedParts, StagePosition
from monitor.segmentation.doubt_maps import (
    doubt_map_name,
    doubts_of,
    laid_on,
    read_sure_labels,
    with_doubts,
)
from monitor.segmentation.overlay import encode_png
from monitor.segmentation.request import EarlierCapture, FieldRequest
from monitor.segmentation.segmenter import measure
from tests.monitor.capture.corpus import tiff
from tests.monitor.capture.pictures import colonies
from tests.monitor.facts import NOW, measurement

PLAIN = ((1.0, 0.0), (0.0, 1.0))
TURNED_AND_FLIPPED = ((0.0, -1.0), (-1.0, 0.0))


def earlier(labels, *, x_um=0.0, y_um=0.0, pixel_size_um=2.0):
    stage = StagePosition(x_um, y_um)
    measured = measurement(shape=labels.shape, stage=stage, pixel_size_um=pixel_size_um)
    return EarlierCapture(measured, stage, pixel_size_um), labels


def dot(row, column, shape=(100, 120)):
    labels = np.zeros(shape, np.uint8)
    labels[row, column] = 2
    return labels


@pytest.mark.parametrize(
    ("pixel_to_stage", "moved_um", "expected"),
    [
        (PLAIN, (0.0, 0.0), (40, 60)),
        # The stage went right and down: what was seen then now lies farther left and up.
        (PLAIN, (20.0, 10.0), (35, 50)),
        (TURNED_AND_FLIPPED, (20.0, 10.0), (50, 65)),
    ],
)
def test_what_was_seen_is_found_where_it_lies_now(pixel_to_stage, moved_um, expected):
    stage = StagePosition(*moved_um)
    laid = laid_on((100, 120), 2.0, stage, [earlier(dot(40, 60))], pixel_to_stage)
    assert np.argwhere(laid == 2).tolist() == [list(expected)]


def test_what_no_earlier_field_showed_is_unknown():
    laid = laid_on((100, 120), 2.0, StagePosition(100.0, 0.0), [earlier(dot(40, 60))], PLAIN)
    assert (laid[:, 70:] == 255).all()
    assert (laid[:, :70] != 255).all()
    assert (laid_on((100, 120), 2.0, StagePosition(0.0, 0.0), [], PLAIN) == 255).all()


@pytest.mark.parametrize("far", [1e7, 1e300, float("nan")])
def test_a_field_far_away_shows_nothing_here(far):
    laid = laid_on((100, 120), 2.0, StagePosition(far, 0.0), [earlier(dot(40, 60))], PLAIN)
    assert (laid == 255).all()


def test_another_magnification_is_laid_to_scale():
    labels = np.zeros((50, 60), np.uint8)
    labels[20:30, 20:40] = 2
    laid = laid_on(
        (100, 120), 2.0, StagePosition(0.0, 0.0), [earlier(labels, pixel_size_um=4.0)], PLAIN
    )
    assert np.count_nonzero(laid == 2) == pytest.approx(4 * 200, rel=0.02)


def test_where_two_fields_show_a_place_the_doubtful_one_counts():
    sure, unsure = np.full((50, 50), 2, np.uint8), np.full((50, 50), 2, np.uint8)
    unsure[10, 10] = 1
    laid = laid_on((50, 50), 2.0, StagePosition(0, 0), [earlier(sure), earlier(unsure)], PLAIN)
    assert (laid[10, 10], np.count_nonzero(laid == 2)) == (1, 2499)


def test_doubtful_cells_count_as_undifferentiated():
    labels = np.full((100, 100), 2, np.uint8)
    labels[:20] = 0
    probabilities = np.zeros((3, 10, 10), np.float32)
    probabilities[1, 6, 6] = 0.3
    sure = with_doubts(labels, doubts_of(probabilities), 0.05)
    assert (sure[:20] == 0).all()
    assert (sure[60:70, 60:70] == 1).all()
    assert (sure[20:50] == 2).all()


def test_rounding_takes_no_doubt_away():
    probabilities = np.full((3, 2, 2), 0.0501, np.float32)
    labels = np.full((8, 8), 2, np.uint8)
    assert (with_doubts(labels, doubts_of(probabilities), 0.05) == 1).all()
    assert (with_doubts(labels, doubts_of(probabilities * 0.5), 0.05) == 2).all()


@pytest.mark.parametrize("content", [b"", b"no picture", encode_png(np.zeros((2, 2, 3), np.uint8))])
def test_a_doubt_map_that_cannot_be_read_leaves_nothing_sure(tmp_path, content):
    measured = measurement(shape=(8, 8), label_map="labels/a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.png").write_bytes(encode_png(np.full((8, 8), 2, np.uint8)))
    assert read_sure_labels(tmp_path, measured, 0.05) is not None
    (tmp_path / doubt_map_name("labels/a.png")).write_bytes(content)
    assert read_sure_labels(tmp_path, measured, 0.05) is None


class Painter:
    """A segmenter that is told what it sees: a square of differentiated cells, with a doubt."""

    name, sha256, window_um = "painter", "0" * 64, 1.0

    def __init__(self, doubt):
        self.doubt = doubt

    def segment(self, pixels, pixel_size_um, *, inside=None):
        probabilities = np.zeros((3, 40, 40), np.float32)
        probabilities[0] = 1.0
        probabilities[:, 5:35, 5:35] = np.array([0, 0, 1])[:, None, None]
        probabilities[1:, 10:14, 10:14] = np.array([self.doubt, 1 - self.doubt])[:, None, None]
        return Segmentation(probabilities, pixels.shape, None, pixel_size_um, None, 0.0)


def test_the_worker_lays_hits_clear_of_what_the_scan_before_doubted(tmp_path):
    pixels = colonies((400, 400))
    path = tmp_path / "dish-07_20261103T0900Z.tif"
    path.write_bytes(tiff(pixels))
    stage = StagePosition(5_000.0, 6_000.0)
    named = NamedParts("dish-07", "test", acquired_at=NOW, pixel_size_um=2.0, stage=stage)
    pin = {"pin": PinConfig(kind="pin", diameter_um=40.0)}
    asked = FieldRequest(
        path, hash_file(path), named, SourceSettings(), "5" * 64, tmp_path / "state",
        removal=RemovalConfig(tools=pin, whole_colony_above=None), pixel_to_stage=PLAIN,
    )  # fmt: skip
    before = measure(Painter(0.3), asked)
    once = EarlierCapture(replace(before, acquired_at=NOW - timedelta(hours=6)), stage, 2.0)
    now = measure(Painter(0.0), replace(asked, earlier=((once,),)))
    places = [(point.row, point.column) for aim in now.aims for point in aim.points]
    assert places
    doubted = np.zeros((400, 400), np.uint8)
    doubted[100:140, 100:140] = 1
    for row, column in places:
        touched = cv2.circle(np.zeros_like(doubted), (round(column), round(row)), 14, 1, -1)
        assert not (touched & doubted).any()
    # Without asking the scan before, there are hits there.
    (alone,) = measure(Painter(0.0), asked).aims
    assert any(100 <= one.row < 140 and 100 <= one.column < 140 for one in alone.points)
    # A scan that is later than the capture itself proves nothing of what was before.
    late = EarlierCapture(replace(before, acquired_at=NOW + timedelta(hours=6)), stage, 2.0)
    assert measure(Painter(0.0), replace(asked, earlier=((late,),))).aims == (alone,)
