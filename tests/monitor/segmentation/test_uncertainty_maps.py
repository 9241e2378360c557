"""Earlier scans as they are asked when a later one is aimed at."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from model.predict import Segmentation
from monitor.capture.filesets import hash_file
from monitor.config import PinConfig, RemovalConfig, SourceSettings
from monitor.culture import NamedParts, StagePosition
from monitor.segmentation.label_maps import read_label_map
from monitor.segmentation.laying import lay_hits
from monitor.segmentation.measuring import measure
from monitor.segmentation.overlay import encode_png
from monitor.segmentation.request import FieldRequest
from monitor.segmentation.uncertainty_maps import (
    doubt_map_name,
    doubts_of,
    laid_on,
    read_doubts,
    read_sure_labels,
    with_doubts,
)
from monitor.stage.labelled_field import LabelledField
from tests.monitor.capture.corpus import tiff
from tests.monitor.capture.pictures import colonies
from tests.monitor.facts import NOW, measurement

PLAIN = ((1.0, 0.0), (0.0, 1.0))
TURNED_AND_FLIPPED = ((0.0, -1.0), (-1.0, 0.0))


def earlier(labels, *, x_um=0.0, y_um=0.0, pixel_size_um=2.0):
    stage = StagePosition(x_um, y_um)
    measured = measurement(shape=labels.shape, stage=stage, pixel_size_um=pixel_size_um)
    return LabelledField(measured, labels)


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

    name, sha256, window_um, runner = "painter", "0" * 64, 1.0, "by hand"

    def __init__(self, doubt):
        self.doubt = doubt

    def segment(self, pixels, pixel_size_um, *, inside=None):
        probabilities = np.zeros((3, 40, 40), np.float32)
        probabilities[0] = 1.0
        probabilities[:, 5:35, 5:35] = np.array([0, 0, 1])[:, None, None]
        probabilities[1:, 10:14, 10:14] = np.array([self.doubt, 1 - self.doubt])[:, None, None]
        return Segmentation(probabilities, pixels.shape, None, pixel_size_um, None, 0.0)


def laid(measured, tmp_path, limits, *scans):
    """As the scan's hits are laid by earlier scans, newest first."""
    return lay_hits(
        measured,
        read_label_map(tmp_path / "state", measured),
        read_doubts(tmp_path / "state", measured),
        [
            [
                LabelledField(
                    one, read_sure_labels(tmp_path / "state", one, limits.max_undifferentiated)
                )
            ]
            for one in scans
        ],
        PLAIN,
        limits,
    )


def hits_of(aims):
    return [(point.row, point.column) for aim in aims for point in aim.points]


def test_hits_are_laid_clear_of_what_the_scan_before_doubted(tmp_path):
    stage = StagePosition(5_000.0, 6_000.0)
    pin = {"pin": PinConfig(kind="pin", diameter_um=40.0)}
    limits = RemovalConfig(tools=pin, whole_colony_above=None)

    def measured(name, doubt):
        path = tmp_path / f"{name}.tif"
        path.write_bytes(tiff(colonies((400, 400))) + name.encode())
        named = NamedParts("dish-07", "test", acquired_at=NOW, pixel_size_um=2.0, stage=stage)
        return measure(
            Painter(doubt),
            FieldRequest(
                path, hash_file(path), named, SourceSettings(), "5" * 64, tmp_path / "state",
                removal=limits,
            ),
        )  # fmt: skip

    before, now = measured("before", 0.3), measured("now", 0.0)
    doubted = np.zeros((400, 400), np.uint8)
    doubted[100:140, 100:140] = 1
    aims = laid(now, tmp_path, limits, before)
    assert hits_of(aims)
    for row, column in hits_of(aims):
        touched = cv2.circle(np.zeros_like(doubted), (round(column), round(row)), 14, 1, -1)
        assert not (touched & doubted).any()
    # By its own scan alone there are hits there.
    assert any(100 <= row < 140 and 100 <= column < 140 for row, column in hits_of(now.aims))
    # What the network thought of the region is as it was measured.
    assert [aim.uncertainty for aim in aims] == [aim.uncertainty for aim in now.aims]
    assert [aim.mean_probability for aim in aims] == [aim.mean_probability for aim in now.aims]


def test_where_the_scans_before_show_no_more_than_this_one_hits_are_laid_as_without_them(tmp_path):
    """The map of doubts beside a label map says what was said when it was measured."""
    stage = StagePosition(5_000.0, 6_000.0)
    limits = RemovalConfig(whole_colony_above=None)
    path = tmp_path / "now.tif"
    path.write_bytes(tiff(colonies((400, 400))))
    named = NamedParts("dish-07", "test", acquired_at=NOW, pixel_size_um=2.0, stage=stage)
    now = measure(
        Painter(0.3),
        FieldRequest(
            path, hash_file(path), named, SourceSettings(), "5" * 64, tmp_path / "state",
            removal=limits,
        ),
    )  # fmt: skip
    assert hits_of(now.aims)
    assert laid(now, tmp_path, limits) == now.aims
