"""Large pictures are read a few rows at a time: the same pixels, and the same refusals."""

from __future__ import annotations

import io
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import tifffile

from monitor.capture.formats.reading import open_picture, read_picture
from monitor.capture.formats.tiff_rows import FileBytes, TiffRows
from monitor.capture.quality.image_quality import judge
from monitor.capture.quality.round_well import find_round_well
from monitor.errors import CaptureError
from tests.monitor.capture.pictures import colonies, round_well

UTC_ZONE = ZoneInfo("UTC")
GREY = colonies()[:301, :407]
RGB = np.dstack([GREY, np.roll(GREY, 3, 0), np.roll(GREY, 5, 1)])
KINDS = {
    "one strip": (GREY, {"rowsperstrip": 301}),
    "strips": (GREY, {"rowsperstrip": 7}),
    "tiles": (GREY, {"tile": (64, 48)}),
    "big-endian": (GREY.astype(np.uint16) * 257, {"byteorder": ">"}),
    "big-endian tiles, deflate": (
        GREY.astype(np.uint16) * 257,
        {"byteorder": ">", "tile": (32, 32), "compression": "deflate", "predictor": True},
    ),
    "floats in BigTIFF": (GREY.astype(np.float32) / 7, {"bigtiff": True, "rowsperstrip": 16}),
    "lzw strips": (GREY, {"compression": "lzw", "predictor": True, "rowsperstrip": 13}),
    "jpeg tiles": (GREY, {"compression": "jpeg", "tile": (64, 64)}),
    "zstd tiles": (GREY, {"compression": "zstd", "tile": (128, 16)}),
    "colour": (RGB, {"photometric": "rgb", "rowsperstrip": 20}),
    "colour, jpeg tiles": (RGB, {"photometric": "rgb", "compression": "jpeg", "tile": (64, 64)}),
    "white is zero": (GREY, {"photometric": "miniswhite", "tile": (64, 64)}),
}


def stored(path: Path, pixels: np.ndarray, **how) -> Path:
    tifffile.imwrite(path, pixels, **({"photometric": "minisblack"} | how))
    return path


@pytest.mark.parametrize("name", KINDS)
def test_rows_read_one_by_one_are_those_of_the_whole_picture(name, tmp_path):
    pixels, how = KINDS[name]
    path = stored(tmp_path / "dish-1.tif", pixels, **how)
    whole = read_picture(path, zone=UTC_ZONE).pixels
    picture = open_picture(path, zone=UTC_ZONE, large_pixels=1000)
    rows = picture.pixels
    assert isinstance(rows, TiffRows)
    assert (rows.shape, rows.dtype) == (whole.shape, whole.dtype)
    for top, bottom in [(0, 301), (0, 1), (300, 301), (60, 70), (5, 200), (3, 4), (64, 128)]:
        np.testing.assert_array_equal(rows.rows(top, bottom), whole[top:bottom])
    picture.close()


def test_the_sharpest_page_and_the_metadata_are_the_same(tmp_path):
    path = tmp_path / "dish-1.ome.tif"
    stack = np.stack([np.full_like(GREY, 90), GREY, GREY // 2 + 20])
    tifffile.imwrite(
        path, stack, metadata={"axes": "ZYX", "PhysicalSizeX": 0.7, "PhysicalSizeXUnit": "µm"}
    )
    picture = open_picture(path, zone=UTC_ZONE, large_pixels=1000)
    np.testing.assert_array_equal(picture.pixels.rows(0, 301), GREY)
    assert (picture.pixel_size_um, picture.format) == (0.7, "OME-TIFF")
    picture.close()


def test_small_pictures_and_other_formats_are_read_whole(tmp_path):
    path = stored(tmp_path / "dish-1.tif", GREY)
    assert isinstance(open_picture(path, zone=UTC_ZONE).pixels, np.ndarray)
    signed = stored(tmp_path / "dish-2.tif", GREY.astype(np.int16))
    assert isinstance(open_picture(signed, zone=UTC_ZONE, large_pixels=1000).pixels, np.ndarray)


@pytest.mark.parametrize("how", [{"tile": (64, 64), "compression": "lzw"}, {"rowsperstrip": 9}])
def test_a_cut_or_damaged_file_is_refused_when_it_is_opened(how, tmp_path):
    path = stored(tmp_path / "dish-1.tif", GREY, **how)
    content = path.read_bytes()
    for damaged in (content[:-40], content[: len(content) // 2], content[:8]):
        path.write_bytes(damaged)
        with pytest.raises(CaptureError) as refused:
            open_picture(path, zone=UTC_ZONE, large_pixels=1000)
        assert refused.value.reason in ("truncated", "corrupt")


def test_floats_that_are_no_numbers_are_refused(tmp_path):
    pixels = GREY.astype(np.float32)
    pixels[200, 3] = np.nan
    path = stored(tmp_path / "dish-1.tif", pixels, rowsperstrip=10)
    with pytest.raises(CaptureError, match="not a number"):
        open_picture(path, zone=UTC_ZONE, large_pixels=1000)


def test_a_file_that_is_cut_off_while_it_is_open_is_an_error_and_no_blank_picture(tmp_path):
    path = stored(tmp_path / "dish-1.tif", GREY, rowsperstrip=10)
    picture = open_picture(path, zone=UTC_ZONE, large_pixels=1000)
    with path.open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(EOFError):
        picture.pixels.rows(200, 300)
    picture.close()


def test_a_few_bytes_that_declare_gigapixels_are_refused(tmp_path):
    path = tmp_path / "dish-1.tif"
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        tiles = (np.zeros((1024, 1024), np.uint8) for _ in range(30 * 30))
        writer.write(
            tiles, shape=(30_720, 30_720), dtype=np.uint8, tile=(1024, 1024), compression="deflate"
        )
    with pytest.raises(CaptureError) as refused:
        open_picture(path, zone=UTC_ZONE)
    assert refused.value.reason == "too-large"


def test_bytes_of_an_open_file_are_those_of_the_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(200)))
    with path.open("rb") as file:
        content = FileBytes(file)
        assert (len(content), content[3:7], content[190:400]) == (
            200,
            b"\3\4\5\6",
            bytes(range(190, 200)),
        )
        assert content[:] == path.read_bytes()


@pytest.mark.parametrize("pixels", [GREY, round_well(), np.pad(GREY[:250], ((0, 150), (0, 0)))])
def test_wells_and_quality_are_the_same_of_rows_as_of_the_whole(pixels, tmp_path):
    rows = open_rows(pixels)
    well, other = find_round_well(pixels), find_round_well(rows)
    assert (well is None) == (other is None)
    if well is not None and other is not None:
        assert other.centre == pytest.approx(well.centre, abs=0.5)
        assert other.radius_px == pytest.approx(well.radius_px, rel=0.005)
    mask = None if well is None else well.inside_rows(rows.shape)
    inside = None if well is None else well.inside(pixels.shape)
    try:
        expected = judge(pixels, inside)
    except CaptureError as refused:
        with pytest.raises(CaptureError, match=str(refused)[:20]):
            judge(rows, mask)
    else:
        assert judge(rows, mask) == expected


def open_rows(pixels):
    content = io.BytesIO()
    tifffile.imwrite(content, pixels, tile=(32, 32), photometric="minisblack")
    picture = open_picture(
        Path("dish-1.tif"), zone=UTC_ZONE, data=content.getvalue(), large_pixels=100
    )
    return picture.pixels
