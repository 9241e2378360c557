"""Pictures of whole wells: the same result as of an array in memory, in bounded memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from monitor.capture.filesets import hash_file
from monitor.capture.formats.image import Image
from monitor.capture.formats.tiff_rows import LARGE_PIXELS, TiffRows
from monitor.config import SourceSettings
from monitor.culture import NamedParts
from monitor.errors import CaptureError
from monitor.segmentation.label_maps import encode_label_map, label_map_suffix, read_label_map
from monitor.segmentation.measure_image import OverlayStyle, measure_image
from monitor.segmentation.measuring import load_segmenter, measure
from monitor.segmentation.overlay import encode_png
from monitor.segmentation.request import FieldRequest
from tests.monitor.capture.formats.test_tiff_rows import open_rows
from tests.monitor.capture.pictures import colonies
from tests.monitor.facts import measurement

SIDE = 8200


def mosaic(path: Path, side: int = SIDE) -> Path:
    """A large picture, written tile by tile."""
    field = colonies()[:512, :512]
    tiles = (np.rot90(field, number % 4) for number in range((-(-side // 512)) ** 2))
    with tifffile.TiffWriter(path) as writer:
        writer.write(
            tiles, shape=(side, side), dtype=np.uint8, tile=(512, 512), photometric="minisblack"
        )
    return path


def test_a_picture_read_by_rows_is_segmented_as_one_in_memory():
    segmenter = load_segmenter("starter", 1)
    pixels = colonies()

    def segmented(of):
        return measure_image(
            segmenter,
            Image(of, 2.0, None, None, "TIFF"),
            named=None,
            sidecar=None,
            settings=SourceSettings(),
            shown="a.tif",
            style=OverlayStyle("", 400, encode_png),
        )

    by_rows = open_rows(pixels)
    assert isinstance(by_rows, TiffRows)
    whole, rows = segmented(pixels), segmented(by_rows)
    np.testing.assert_array_equal(rows.labels, whole.labels)
    assert rows.quality == whole.quality


def test_a_large_label_map_is_a_tiled_tiff_that_is_read_again(tmp_path):
    labels = np.zeros((8001, 8000), np.uint8)
    labels[100:3000, 5000:7999] = 2
    labels[7990:] = 255
    assert label_map_suffix(labels) == ".tif"
    path = tmp_path / "labels.tif"
    path.write_bytes(encode_label_map(labels))
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages.first.is_tiled
    seen = measurement(label_map=path.name, shape=labels.shape)
    found = read_label_map(tmp_path, seen)
    assert found is not None
    np.testing.assert_array_equal(found, labels)
    path.write_bytes(path.read_bytes()[:2000])
    assert read_label_map(tmp_path, seen) is None


def request_for(path: Path, state: Path) -> FieldRequest:
    settings = SourceSettings(pixel_size_um=0.5)
    named = NamedParts("dish-1", "dish-time")
    return FieldRequest(path, hash_file(path), named, settings, "0" * 64, state)


MEASURE = """
import resource, sys
from pathlib import Path
from monitor.segmentation.measuring import load_segmenter, measure
from tests.monitor.segmentation.test_mosaics import request_for

segmenter = load_segmenter("starter", 1)
started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = measure(segmenter, request_for(Path(sys.argv[1]), Path(sys.argv[2])))
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - started
print(grown // 1024, found.label_map, found.shape[0], len(found.colonies))
"""


def test_a_mosaic_takes_little_more_memory_than_its_label_map(tmp_path):
    """67 megapixels, of which the label map is held whole and nothing else."""
    path = mosaic(tmp_path / "dish-1.tif")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path), str(tmp_path / "state")],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    grown_mb, label_map, rows, count = done.stdout.split()
    assert (int(rows), label_map[-4:]) == (SIDE, ".tif")
    assert int(count) > 50
    assert int(grown_mb) < 450


class WritingSegmenter:
    """Meanwhile somebody writes into the file."""

    name, sha256, window_um, runner = "stand-in", "0" * 64, 0.0, "by hand"

    def __init__(self, path: Path, write) -> None:
        self.path, self.write = path, write

    def segment(self, pixels, pixel_size_um, *, inside=None):
        self.write(self.path)
        pixels.rows(LARGE_PIXELS // SIDE, SIDE)
        raise AssertionError("must not be measured")


def touched(path: Path) -> None:
    os.utime(path, (1, 1))


def cut(path: Path) -> None:
    os.truncate(path, 10_000)


@pytest.mark.parametrize("write", [touched, cut])
def test_a_mosaic_that_is_written_to_while_it_is_measured_is_no_number(write, tmp_path):
    path = mosaic(tmp_path / "dish-1.tif")
    with pytest.raises(CaptureError) as refused:
        measure(WritingSegmenter(path, write), request_for(path, tmp_path))  # type: ignore[arg-type]
    assert (refused.value.reason, refused.value.transient) == ("changed", True)
