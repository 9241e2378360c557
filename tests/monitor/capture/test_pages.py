"""TIFFs of several pages, and what their writers say of them: heights, channels, times, places."""

from __future__ import annotations

import io
import json
import struct
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile

from monitor.capture.formats.reading import read_picture
from monitor.culture import StagePosition
from monitor.errors import CaptureError
from tests.monitor.capture.pictures import colonies

TOKYO = ZoneInfo("Asia/Tokyo")
SHARP = colonies((96, 128))
DULL = cv2.GaussianBlur(SHARP, (0, 0), 3)


def tiff(*pages: np.ndarray, told: list[dict[str, Any]] | None = None, **how: Any) -> bytes:
    """told : what Micro-Manager's tag says of each page"""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for number, page in enumerate(pages):
            tags = []
            if told is not None:
                text = json.dumps(told[number])
                tags = [(51123, "s", 0, text, True)]
            more = {"photometric": "minisblack", "metadata": None, "extratags": tags} | how
            writer.write(page, **more)
    return file.getvalue()


def read(data: bytes, **how: Any):
    return read_picture(Path("dish-1.tif"), **({"zone": TOKYO, "data": data} | how))


def refused(data: bytes, **how: Any) -> str:
    with pytest.raises(CaptureError) as problem:
        read(data, **how)
    assert problem.value.reason in ("unsupported", "truncated")
    return str(problem.value)


# --- axes that tifffile notes -------------------------------------------------------------------

FILMS = {
    # Three or four planes become colours of one page where no photometric is given.
    "three times as colours": {"count": 3},
    "four times as colours": {"count": 4},
    "two times": {"count": 2},
    "five times": {"count": 5},
    "three times as pages": {"count": 3, "photometric": "minisblack"},
}


AS_COLOURS = pytest.mark.filterwarnings("ignore:.*are stored as RGB:DeprecationWarning")


@AS_COLOURS
@pytest.mark.parametrize("case", FILMS)
def test_times_in_one_file_are_refused(case):
    """The sharpest of them is no reading of any one time."""
    how = dict(FILMS[case])
    file = io.BytesIO()
    tifffile.imwrite(file, np.stack([SHARP] * how.pop("count")), metadata={"axes": "TYX"}, **how)
    said = refused(file.getvalue())
    assert "time points; one per file is read; export one file for each field" in said


def test_heights_and_channels_lie_along_the_axes_that_are_noted():
    stack = np.stack([np.stack([DULL, SHARP]), np.stack([SHARP // 2, DULL // 2])])
    for axes, planes in (("CZYX", stack), ("ZCYX", stack.transpose(1, 0, 2, 3))):
        file = io.BytesIO()
        tifffile.imwrite(file, planes, photometric="minisblack", metadata={"axes": axes})
        np.testing.assert_array_equal(read(file.getvalue()).pixels, SHARP)
        np.testing.assert_array_equal(read(file.getvalue(), channel="2").pixels, SHARP // 2)


@AS_COLOURS
@pytest.mark.parametrize("axes", ["ZYX", "CYX"])
def test_planes_that_were_written_as_colours_are_no_colours(axes):
    file = io.BytesIO()
    tifffile.imwrite(file, np.stack([SHARP, DULL, SHARP]), metadata={"axes": axes})
    assert "stored as the colours of one image" in refused(file.getvalue())


@pytest.mark.parametrize("axes", ["RYX", "PYX", "HYX"])
def test_axes_of_another_kind_are_refused(axes):
    file = io.BytesIO()
    tifffile.imwrite(file, np.stack([SHARP] * 2), photometric="minisblack", metadata={"axes": axes})
    assert f"has axes {axes}" in refused(file.getvalue())


def test_a_stack_of_which_one_page_tells_is_not_whole():
    file = io.BytesIO()
    how = {"photometric": "minisblack", "metadata": {"axes": "ZYX"}, "truncate": True}
    tifffile.imwrite(file, np.stack([SHARP] * 4), **how)
    assert "declares 4 planes and has 1" in refused(file.getvalue())


def dated(*times: str) -> bytes:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for time in times:
            writer.write(SHARP, photometric="minisblack", metadata=None, datetime=time)
    return file.getvalue()


def test_pages_made_long_after_one_another_are_times():
    said = refused(dated("2026:11:02 03:00:00", "2026:11:02 07:00:00"))
    assert "between 2026-11-02 03:00:00 and 2026-11-02 07:00:00" in said
    assert read(dated("2026:11:02 03:00:00", "2026:11:02 03:00:04")).pixels.shape == SHARP.shape


# --- pages that are no planes -------------------------------------------------------------------


def of_pages(*pages: tuple[np.ndarray, int]) -> bytes:
    """(pixels, NewSubfileType) of each"""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for page, kind in pages:
            writer.write(page, photometric="minisblack", metadata=None, subfiletype=kind)
    return file.getvalue()


SMALL, LABEL = np.ascontiguousarray(SHARP[::4, ::4]), np.full((30, 30), 7, np.uint8)
PAGES = {
    "a pyramid": [(SHARP, 0), (SMALL, 1), (LABEL, 0)],
    "a thumbnail first": [(SMALL, 1), (SHARP, 0)],
    "a thumbnail first that does not say so": [(SMALL, 0), (SHARP, 0)],
    "a mask behind it": [(SHARP, 0), (SHARP > 127, 4)],
    "a copy of the same size that is reduced": [(SHARP, 0), (np.roll(SHARP, 1), 1)],
}


@pytest.mark.parametrize("case", PAGES)
def test_thumbnails_labels_and_masks_are_not_the_picture(case):
    np.testing.assert_array_equal(read(of_pages(*PAGES[case])).pixels, SHARP)


def test_a_file_whose_pages_are_all_reduced_copies_has_its_picture_elsewhere():
    """As raw files of cameras: read by its first page it would be a thumbnail."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        how = {"photometric": "minisblack", "metadata": None}
        writer.write(SMALL, subifds=1, subfiletype=1, **how)
        writer.write(SHARP, **how)
    assert "holds only reduced copies of its image" in refused(file.getvalue())


def test_a_metamorph_stack_of_one_directory_is_not_its_first_plane():
    """Its planes lie behind one another, and its private tags alone say how many."""
    data = bytearray(tiff(SHARP, extratags=[(33629, "I", 12, tuple(range(12)), True)]))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tag = file.pages.first.tags[33629]
        struct.pack_into("<HI", data, tag.offset + 2, 5, 2)  # of 48 bytes, two planes
    assert "is a stack of 2 planes by MetaMorph" in refused(bytes(data) + SHARP.tobytes())


# --- Micro-Manager ------------------------------------------------------------------------------

PLACED = {"XPositionUm": 100.5, "YPositionUm": -20.0, "ZPositionUm": 3.0}
ONE = {"PixelSizeUm": 0.65} | PLACED


def test_what_micro_manager_says_of_a_page_is_used():
    """NDTiff has no other description."""
    times = {
        "2026-11-30 10:00:00.123 +0100": datetime(2026, 11, 30, 9, 0, 0, 123000, UTC),
        "2026-11-30 10:00:00": datetime(2026, 11, 30, 1, tzinfo=UTC),
        "yesterday": None,
    }
    for text, at in times.items():
        picture = read(tiff(SHARP, told=[ONE | {"ReceivedTime": text}]))
        assert picture.pixel_size_um == 0.65
        assert picture.stage == StagePosition(100.5, -20.0, 3.0)
        assert picture.acquired_at == at


@pytest.mark.parametrize("size", [0, -1, "many", None, 1e9])
def test_a_pixel_size_that_cannot_be_one_is_none(size):
    assert read(tiff(SHARP, told=[{"PixelSizeUm": size}])).pixel_size_um is None


@pytest.mark.parametrize(
    ("axis", "says"),
    [
        ("position", "holds 3 positions"),
        ("time", "holds 3 time points"),
        ("row", "holds 3 rows"),
        ("column", "holds 3 columns"),
        ("angle", "holds 3 positions along the axis 'angle'"),
    ],
)
@pytest.mark.parametrize("named", [False, True])
def test_an_ndtiff_of_several_is_refused(axis, says, named):
    told = [ONE | {"Axes": {axis: f"A{n}-Site_0" if named else n}} for n in range(3)]
    assert says in refused(tiff(SHARP, DULL, SHARP, told=told))


def test_an_ndtiff_of_heights_and_channels_gives_the_sharpest_of_one():
    told = [
        PLACED | {"PixelSizeUm": 0.65, "ZPositionUm": z, "Axes": {"channel": c, "z": z}}
        for c in ("DAPI", "Phase")
        for z in range(2)
    ]
    data = tiff(DULL // 2, SHARP // 2, SHARP, DULL, told=told)
    np.testing.assert_array_equal(read(data).pixels, SHARP)
    assert read(data).stage == StagePosition(100.5, -20.0, 0.0)
    np.testing.assert_array_equal(read(data, channel="DAPI").pixels, SHARP // 2)
    assert read(data, channel="DAPI").stage == StagePosition(100.5, -20.0, 1.0)


def test_numbers_tell_what_pages_are_where_axes_do_not():
    told = [ONE | {"SliceIndex": n, "ChannelIndex": 0, "PositionIndex": 0} for n in range(2)]
    np.testing.assert_array_equal(read(tiff(DULL, SHARP, told=told)).pixels, SHARP)
    told = [ONE | {"PositionIndex": n} for n in range(2)]
    assert "holds 2 positions" in refused(tiff(DULL, SHARP, told=told))


def test_pages_of_which_nobody_says_what_they_are_are_refused():
    assert "does not say which of its 2 pages" in refused(tiff(SHARP, DULL, told=[ONE, ONE]))
    moved = ONE | {"XPositionUm": 1100.5}
    assert "holds 2 stage positions" in refused(tiff(SHARP, DULL, told=[ONE, moved]))


def test_micro_manager_says_what_its_ome_xml_leaves_out():
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="128" SizeY="96" '
        'SizeZ="1" SizeC="1" SizeT="1"><TiffData/></Pixels></Image></OME>'
    )
    picture = read(tiff(SHARP, told=[ONE], description=xml))
    assert (picture.pixel_size_um, picture.format) == (0.65, "OME-TIFF")
    assert picture.stage == StagePosition(100.5, -20.0, 3.0)
    sized = xml.replace('SizeT="1"', 'SizeT="1" PhysicalSizeX="0.5"')
    assert read(tiff(SHARP, told=[ONE], description=sized)).pixel_size_um == 0.5


# --- NIS-Elements -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value", "size_um"),
    [("d", 0.8708, 0.8708), ("d", 0.0, None), ("d", -1.0, None), ("d", 1e9, None), ("I", 2, None)],
)
def test_nikons_private_tag_is_the_pixel_size(kind, value, size_um):
    data = tiff(SHARP, extratags=[(65326, kind, 1, value, True)])
    assert read(data).pixel_size_um == size_um


@pytest.mark.parametrize(
    ("description", "size_um"),
    [
        ("NIS-Elements", 0.8708),
        ("ImageJ=1.53t\nimages=1", 0.8708),
        ("ImageJ=1.53t\nimages=1\nunit=um", 0.5),
    ],
)
def test_nikons_tag_gives_way_to_a_description_that_says_a_size(description, size_um):
    how = {"description": description, "resolution": (2.0, 2.0)}
    data = tiff(SHARP, extratags=[(65326, "d", 1, 0.8708, True)], **how)
    assert read(data).pixel_size_um == size_um


# --- how a picture lies -------------------------------------------------------------------------


def exif_block(orientation: int, order: str = "<") -> bytes:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    body = struct.pack(order + "IHHHIHHI", 8, 1, 274, 3, 1, orientation, 0, 0)
    return mark + body


def jpeg(orientation: int, order: str = "<", *, next_one: bytes = bytes(4)) -> bytes:
    """next_one : where the directory after the first should be"""
    data = imagecodecs.jpeg_encode(SHARP, level=90)
    body = b"Exif\0\0" + exif_block(orientation, order)[:-4] + next_one
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


def png(orientation: int) -> bytes:
    data = imagecodecs.png_encode(SHARP)
    block = exif_block(orientation)
    section = b"eXIf" + block
    crc = struct.pack(">I", zlib.crc32(section))
    return data[:33] + struct.pack(">I", len(block)) + section + crc + data[33:]


WRITERS = {
    "jpeg": jpeg,
    "jpeg, big endian": lambda orientation: jpeg(orientation, ">"),
    "jpeg, a directory that leads nowhere": lambda orientation: jpeg(orientation, next_one=b"!!!!"),
    "png": png,
    "tiff": lambda orientation: tiff(SHARP, extratags=[(274, "H", 1, orientation, True)]),
    "imagej": lambda orientation: tiff(
        SHARP, description="ImageJ=1.53\nunit=um", extratags=[(274, "H", 1, orientation, True)]
    ),
}


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("kind", WRITERS)
def test_a_picture_that_some_programs_turn_is_refused(kind, orientation):
    """Places in it would be of one program's picture or of another's."""
    said = refused(WRITERS[kind](orientation))
    assert f"(EXIF orientation {orientation})" in said
    assert "save it upright (orientation 1)" in said


@pytest.mark.parametrize("orientation", [0, 1, 9, 65535])
@pytest.mark.parametrize("kind", WRITERS)
def test_an_upright_picture_is_read_and_a_number_that_means_nothing_is_no_reason(kind, orientation):
    assert read(WRITERS[kind](orientation)).pixels.shape == SHARP.shape
