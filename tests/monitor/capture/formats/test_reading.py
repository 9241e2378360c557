from __future__ import annotations

import io
import os
import random
import struct
import tracemalloc
import zlib
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.capture.formats.reading import read_picture
from monitor.culture import StagePosition
from monitor.errors import CaptureError

UTC_ZONE = ZoneInfo("UTC")
TOKYO = ZoneInfo("Asia/Tokyo")
NAME = Path("dish-1.tif")


def drawn(dtype=np.uint8, shape=(61, 83)) -> np.ndarray:
    """A smooth picture with noise; every value of it matters to the tests below."""
    noise = np.random.default_rng(7).integers(0, 256, shape).astype(np.uint8)
    picture = cv2.GaussianBlur(noise, (0, 0), 1.5)
    if dtype == np.uint16:
        return picture.astype(np.uint16) * 257
    return picture.astype(dtype)


def tiff(pixels: np.ndarray, **how) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **({"photometric": "minisblack"} | how))
    return file.getvalue()


def read(data: bytes, **how):
    return read_picture(NAME, **({"zone": UTC_ZONE, "data": data} | how))


def reason_of(data: bytes, **how) -> str:
    with pytest.raises(CaptureError) as refused:
        read(data, **how)
    assert str(refused.value).isprintable() and "dish-1.tif" in str(refused.value)
    return refused.value.reason


GREY, GREY16 = drawn(), drawn(np.uint16)
RGB = np.dstack([GREY, np.roll(GREY, 3, 0), np.roll(GREY, 5, 1)])
LOSSLESS = {
    "plain": (GREY, {}),
    "lzw": (GREY, {"compression": "lzw", "predictor": True}),
    "deflate 16 bit": (GREY16, {"compression": "zlib", "predictor": True}),
    "zstd": (GREY, {"compression": "zstd"}),
    "packbits": (GREY, {"compression": "packbits"}),
    "strips": (GREY16, {"compression": "lzw", "rowsperstrip": 7}),
    "tiles": (GREY16, {"compression": "zlib", "tile": (32, 16)}),
    "plain tiles": (GREY, {"tile": (32, 16)}),
    "big endian": (GREY16, {"byteorder": ">", "compression": "lzw"}),
    "BigTIFF": (GREY, {"bigtiff": True}),
    "float": (drawn(np.float32), {"compression": "zlib", "predictor": 3}),
    "one pixel": (GREY[:1, :1], {}),
}


@pytest.mark.parametrize(("pixels", "how"), LOSSLESS.values(), ids=LOSSLESS)
def test_tiff_of_every_kind_gives_exactly_its_pixels(pixels, how):
    picture = read(tiff(pixels, **how))
    assert picture.pixels.dtype == pixels.dtype and picture.pixels.dtype.isnative
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert (picture.pixel_size_um, picture.acquired_at, picture.stage) == (None, None, None)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (GREY > 127, (GREY > 127).astype(np.uint8) * 255),
        (drawn(np.float64), drawn(np.float32)),
        (GREY.astype(np.int16), GREY.astype(np.uint16)),
        (GREY.astype(np.int16) - 100, GREY.astype(np.float32) - 100),
        (GREY.astype(np.uint32), GREY.astype(np.float32)),
    ],
    ids=["bilevel", "float64", "int16", "negative", "uint32"],
)
def test_other_kinds_of_pixels_become_one_of_three(pixels, expected):
    picture = read(tiff(pixels))
    assert picture.pixels.dtype == expected.dtype
    np.testing.assert_array_equal(picture.pixels, expected)


def test_white_as_zero_is_turned_round():
    np.testing.assert_array_equal(read(tiff(GREY, photometric="miniswhite")).pixels, 255 - GREY)


@pytest.mark.parametrize("values", [257, 1], ids=["16-bit values", "8-bit values"])
def test_a_grey_palette_gives_its_greys(values):
    ramp = np.arange(256, dtype=np.uint16) * values
    data = tiff(GREY, photometric="palette", colormap=np.stack([ramp] * 3), compression="lzw")
    picture = read(data)
    assert picture.pixels.dtype == np.uint8
    np.testing.assert_array_equal(picture.pixels, GREY)


def test_a_colour_palette_gives_luminance():
    colours = np.zeros((3, 256), np.uint16)
    colours[1] = np.arange(256) * 257
    picture = read(tiff(GREY, photometric="palette", colormap=colours))
    assert np.abs(picture.pixels - GREY * 0.587).max() <= 1


@pytest.mark.parametrize("kind", ["tiff", "tiff planes", "png", "tiff jpeg", "jpeg"])
def test_equal_colours_are_grey(kind):
    same = np.dstack([GREY] * 3)
    data = {
        "tiff": lambda: tiff(same, photometric="rgb", compression="lzw"),
        "tiff planes": lambda: tiff(
            np.moveaxis(same, -1, 0), photometric="rgb", planarconfig="separate"
        ),
        "png": lambda: imagecodecs.png_encode(np.dstack([same, GREY])),
        "tiff jpeg": lambda: tiff(same, photometric="rgb", compression="jpeg"),
        "jpeg": lambda: imagecodecs.jpeg_encode(same, level=100),
    }[kind]()
    picture = read(data)
    assert np.abs(picture.pixels.astype(int) - GREY).max() <= (3 if "jpeg" in kind else 0)


@pytest.mark.parametrize("count", [3, 4])
def test_grey_pictures_that_were_written_as_the_colours_of_one_are_refused(count):
    """A library's default for an array of three or four pictures; their mean shows none of them."""
    planes = {"photometric": "rgb", "planarconfig": "separate"}
    pictures = np.stack([np.roll(GREY, 7 * number, 1) for number in range(count)])
    for data in (tiff(pictures, **planes), tiff(pictures, metadata=None, **planes)):
        with pytest.raises(CaptureError, match="red, green and blue that show different"):
            read(data)
    alike = np.stack([np.maximum(GREY, number) for number in range(count)])
    assert np.abs(read(tiff(alike, **planes)).pixels.astype(int) - GREY).max() <= 3
    empty = np.stack([GREY, GREY, np.zeros_like(GREY)])
    assert read(tiff(empty, **planes)).pixels.shape == GREY.shape


def test_colours_weigh_as_the_eye_sees_them():
    expected = RGB @ [0.299, 0.587, 0.114]
    assert np.abs(read(tiff(RGB, photometric="rgb")).pixels - expected).max() <= 1


@pytest.mark.parametrize("pixels", [GREY, GREY16], ids=["8 bit", "16 bit"])
def test_png_gives_exactly_its_pixels(pixels):
    picture = read(imagecodecs.png_encode(pixels))
    assert picture.format == "PNG" and picture.pixels.dtype == pixels.dtype
    np.testing.assert_array_equal(picture.pixels, pixels)


@pytest.mark.parametrize("progressive", [0, 1])
def test_jpeg(progressive):
    _, data = cv2.imencode(".jpg", GREY, [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive])
    picture = read(data.tobytes())
    assert picture.format == "JPEG"
    assert np.abs(picture.pixels.astype(int) - GREY).mean() < 3


# --- metadata -----------------------------------------------------------------------------------


def ome(pixels=GREY, *, plane=None, axes="YX", **settings_):
    metadata = {"axes": axes, **settings_}
    if plane:
        metadata["Plane"] = plane
    return tiff(pixels, ome=True, metadata=metadata, compression="zlib")


def test_ome_tiff_says_size_time_and_place():
    data = ome(
        PhysicalSizeX=0.65,
        PhysicalSizeXUnit="µm",
        PhysicalSizeY=0.65,
        AcquisitionDate="2026-11-02T03:00:00Z",
        plane={
            "PositionX": [1.5],
            "PositionXUnit": ["mm"],
            "PositionY": [-250.0],
            "PositionYUnit": ["µm"],
            "DeltaT": [1500.0],
            "DeltaTUnit": ["ms"],
        },
    )
    picture = read(data, zone=TOKYO)
    assert picture.format == "OME-TIFF"
    assert picture.pixel_size_um == 0.65
    assert picture.acquired_at == datetime(2026, 11, 2, 3, 0, 1, 500_000, UTC)
    assert picture.stage == StagePosition(1500.0, -250.0)


@pytest.mark.parametrize(
    ("size", "unit", "expected"),
    [
        (650, "nm", 0.65),
        (0.00124, "mm", 1.24),
        (1, "pixel", None),
        (500, "µm", None),
        (0, "µm", None),
    ],
)
def test_pixel_size_needs_a_length_that_a_pixel_can_have(size, unit, expected):
    # The unit of X holds for Y too: writers leave the second one out.
    data = ome(PhysicalSizeX=size, PhysicalSizeXUnit=unit, PhysicalSizeY=size)
    assert read(data).pixel_size_um == expected


def test_pixels_that_are_not_square_are_refused():
    assert reason_of(ome(PhysicalSizeX=0.5, PhysicalSizeY=0.6)) == "unsupported"


def test_a_metadata_time_without_zone_is_the_sources():
    picture = read(ome(AcquisitionDate="2026-11-02T12:00:00"), zone=TOKYO)
    assert picture.acquired_at == datetime(2026, 11, 2, 3, tzinfo=UTC)


@pytest.mark.parametrize("unit", [None, "reference frame"])
def test_a_position_in_an_unknown_frame_is_no_stage_position(unit):
    plane = {"PositionX": [1.0], "PositionY": [2.0]}
    if unit:
        plane |= {"PositionXUnit": [unit], "PositionYUnit": [unit]}
    assert read(ome(plane=plane)).stage is None


def test_the_date_of_the_file_is_not_the_time_of_the_picture():
    assert read(tiff(GREY, datetime="2020:08:17 10:29:00")).acquired_at is None


@pytest.mark.parametrize("dpi", [72, 96, 300])
def test_dots_per_inch_are_no_calibration(dpi):
    assert read(tiff(GREY, resolution=(dpi, dpi), resolutionunit="INCH")).pixel_size_um is None
    imagej = tiff(GREY, imagej=True, resolution=(dpi, dpi), metadata={"unit": "inch"})
    assert read(imagej).pixel_size_um is None


IMAGEJ_UNITS = [("um", 1), ("micron", 1), ("Microns", 1), ("\\u00B5m", 1), ("micrometres", 1)]
IMAGEJ_UNITS += [("mm", 1e3), ("nm", 1e-3), ("cm", 1e4)]


@pytest.mark.parametrize(("unit", "factor"), IMAGEJ_UNITS)
def test_imagej_calibration(unit, factor):
    resolution = factor / 0.65
    data = tiff(GREY, imagej=True, resolution=(resolution, resolution), metadata={"unit": unit})
    picture = read(data)
    assert picture.format == "ImageJ TIFF"
    assert picture.pixel_size_um == pytest.approx(0.65, rel=1e-5)


def test_imagej_writes_the_micro_sign_as_one_byte():
    data = tiff(
        GREY,
        description=b"ImageJ=1.53t\nimages=1\nunit=\xb5m\n",
        metadata=None,
        resolution=(1 / 0.65, 1 / 0.65),
    )
    assert read(data).pixel_size_um == pytest.approx(0.65, rel=1e-5)


@pytest.mark.parametrize("unit", ["pixel", "pixels", "", "Mm", "furlong"])
def test_imagej_without_a_unit_of_length_is_not_calibrated(unit):
    data = tiff(GREY, imagej=True, resolution=(1 / 0.65, 1 / 0.65), metadata={"unit": unit})
    assert read(data).pixel_size_um is None


def not_square(kind: str) -> bytes:
    sides = (1 / 0.65, 1 / 1.3)
    if kind == "ImageJ":
        return tiff(GREY, imagej=True, resolution=sides, metadata={"unit": "um"})
    if kind == "ImageJ, units differ":
        metadata = {"unit": "um", "yunit": "mm"}
        return tiff(GREY, imagej=True, resolution=(1 / 0.65, 1 / 0.002), metadata=metadata)
    if kind == "MetaMorph":
        text = metamorph(
            spatial_calibration_x="0.65",
            spatial_calibration_y="1.3",
            spatial_calibration_units="um",
        )
    elif kind == "Gen5":
        height = "<ImageHeightMicrons>1389.0</ImageHeightMicrons><PixelHeight>1000</PixelHeight>"
        text = gen5("Phase").replace("<PixelWidth>", f"{height}<PixelWidth>")
    else:
        return ome(PhysicalSizeX=0.65, PhysicalSizeY=1.3)
    return tiff(GREY, description=text, metadata=None)


@pytest.mark.parametrize("kind", ["ImageJ", "ImageJ, units differ", "MetaMorph", "Gen5", "OME-XML"])
def test_no_areas_come_from_pixels_that_are_not_square(kind):
    """By one side alone they were halved."""
    with pytest.raises(CaptureError, match="not square; correct its calibration") as refused:
        read(not_square(kind))
    assert refused.value.reason == "unsupported"


def test_a_calibration_of_one_side_holds_for_both():
    data = ome(PhysicalSizeY=650.0, PhysicalSizeYUnit="nm")
    assert read(data).pixel_size_um == 0.65
    assert read(ome(PhysicalSizeX=0.65)).pixel_size_um == 0.65


def jpeg_with_exif(entries: dict[int, str]) -> bytes:
    """A JPEG with an EXIF block made by hand: IFD0 -> EXIF IFD -> ASCII tags."""
    values, directory = b"", b""
    start = 8 + 18 + 2 + 12 * len(entries) + 4
    for tag, text in entries.items():
        raw = text.encode() + b"\0"
        directory += struct.pack("<HHII", tag, 2, len(raw), start + len(values))
        values += raw + b"\0" * (len(raw) % 2)
    block = b"II*\0" + struct.pack("<IHHHIII", 8, 1, 0x8769, 4, 1, 26, 0)
    block += struct.pack("<H", len(entries)) + directory + bytes(4) + values
    jpeg = imagecodecs.jpeg_encode(GREY, level=90)
    body = b"Exif\0\0" + block
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ({0x9003: "2026:11:02 12:00:00"}, datetime(2026, 11, 2, 3, tzinfo=UTC)),
        ({0x9003: "2026:11:02 12:00:00", 0x9011: "+01:00"}, datetime(2026, 11, 2, 11, tzinfo=UTC)),
        ({0x9003: "0000:00:00 00:00:00"}, None),
        ({0x9004: "2026:11:02 12:00:00"}, None),
    ],
)
def test_exif_time_of_exposure(entries, expected):
    assert read(jpeg_with_exif(entries), zone=TOKYO).acquired_at == expected


# --- several planes -----------------------------------------------------------------------------


def blurred(sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(GREY, (0, 0), sigma)


@pytest.mark.parametrize("best", [0, 1, 3])
@pytest.mark.parametrize("kind", ["ome", "imagej", "plain"])
def test_a_z_stack_gives_its_sharpest_plane(best, kind):
    stack = np.stack([GREY if z == best else blurred(1.0 + z) for z in range(4)])
    if kind == "ome":
        plane = {
            "PositionX": [10.0] * 4,
            "PositionY": [20.0] * 4,
            "PositionZ": [0.0, 1.0, 2.0, 3.0],
            **{f"Position{axis}Unit": ["µm"] * 4 for axis in "XYZ"},
        }
        picture = read(ome(stack, axes="ZYX", plane=plane))
        assert picture.stage == StagePosition(10.0, 20.0, float(best))
    elif kind == "imagej":
        picture = read(tiff(stack, imagej=True, metadata={"axes": "ZYX"}))
    else:
        picture = read(tiff(stack))
    np.testing.assert_array_equal(picture.pixels, stack[best])


def test_several_channels_give_the_configured_one_or_the_one_with_transmitted_light():
    stack = np.stack([blurred(3.0), GREY, 255 - GREY])
    data = ome(stack, axes="CYX", Channel={"Name": ["DAPI", "Phase contrast", "GFP"]})
    np.testing.assert_array_equal(read(data).pixels, GREY)
    np.testing.assert_array_equal(read(data, channel="gfp").pixels, 255 - GREY)
    np.testing.assert_array_equal(read(data, channel="3").pixels, 255 - GREY)
    assert reason_of(data, channel="Cy5") == "unsupported"


def test_unnamed_channels_give_the_first():
    stack = np.stack([GREY, 255 - GREY])
    for data in (ome(stack, axes="CYX"), tiff(stack, imagej=True, metadata={"axes": "CYX"})):
        np.testing.assert_array_equal(read(data).pixels, GREY)
        np.testing.assert_array_equal(read(data, channel="Ch2").pixels, 255 - GREY)


def test_a_channel_setting_does_not_matter_to_a_file_with_one():
    np.testing.assert_array_equal(read(ome(), channel="Brightfield").pixels, GREY)


def test_channel_and_height_together():
    stack = np.stack([[blurred(2.0), blurred(4.0)], [blurred(3.0), GREY]])  # Z, C
    for data in (ome(stack, axes="ZCYX"), tiff(stack, imagej=True, metadata={"axes": "ZCYX"})):
        np.testing.assert_array_equal(read(data, channel="2").pixels, GREY)


@pytest.mark.parametrize("kind", ["ome", "imagej"])
def test_a_film_is_not_one_capture(kind):
    stack = np.stack([GREY, GREY])
    how = {"imagej": True} if kind == "imagej" else {"ome": True}
    assert reason_of(tiff(stack, metadata={"axes": "TYX"}, **how)) == "unsupported"


def test_thumbnails_and_pyramids_are_not_planes():
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(blurred(2.0), photometric="minisblack", metadata=None)
        writer.write(GREY[::2, ::2], photometric="minisblack", subfiletype=1, metadata=None)
    np.testing.assert_array_equal(read(file.getvalue()).pixels, blurred(2.0))


def test_planes_that_were_declared_and_never_written_are_missed():
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" '
        'SizeX="83" SizeY="61" SizeZ="5" SizeC="1" SizeT="1"><TiffData/></Pixels></Image></OME>'
    )
    assert reason_of(tiff(GREY, description=xml, metadata=None)) == "truncated"


def one_of_a_set(file: int) -> bytes:
    """One of two files of an OME-TIFF set; each holds one channel of one height."""
    planes = "".join(
        f'<TiffData FirstC="{c}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="part{c}.ome.tif">urn:uuid:{c}</UUID></TiffData>'
        for c in range(2)
    )
    xml = (
        f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{file}">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="83" '
        'SizeY="61" SizeZ="1" SizeC="2" SizeT="1" PhysicalSizeX="0.5"><Channel Name="GFP"/>'
        f'<Channel Name="Phase"/>{planes}</Pixels></Image></OME>'
    )
    return tiff(GREY + np.uint8(file), description=xml, metadata=None)


def test_a_file_of_a_set_gives_its_own_plane():
    for file in range(2):
        picture = read(one_of_a_set(file))
        np.testing.assert_array_equal(picture.pixels, GREY + np.uint8(file))
        assert picture.pixel_size_um == 0.5
    np.testing.assert_array_equal(read(one_of_a_set(1), channel="phase").pixels, GREY + np.uint8(1))
    assert reason_of(one_of_a_set(0), channel="phase") == "unsupported"


# --- what must be refused -----------------------------------------------------------------------

WHOLE = {name: tiff(pixels, **how) for name, (pixels, how) in LOSSLESS.items()} | {
    "rgb": tiff(RGB, photometric="rgb", compression="lzw"),
    "jpeg in tiff": tiff(GREY, compression="jpeg", rowsperstrip=16),
    "jpeg tiles": tiff(RGB, photometric="rgb", compression="jpeg", tile=(32, 32)),
    "ome": ome(np.stack([GREY, GREY]), axes="ZYX", PhysicalSizeX=1.2),
    "imagej": tiff(np.stack([GREY16, GREY16]), imagej=True, metadata={"unit": "um"}),
    "png": imagecodecs.png_encode(GREY),
    "png 16 bit rgb": imagecodecs.png_encode(RGB.astype(np.uint16)),
    "jpeg": imagecodecs.jpeg_encode(RGB, level=80),
    "progressive jpeg": cv2.imencode(".jpg", RGB, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes(),
}


@pytest.mark.parametrize("data", WHOLE.values(), ids=WHOLE)
def test_no_picture_comes_from_a_file_cut_anywhere(data):
    cuts = {*range(0, len(data), max(1, len(data) // 60)), *range(len(data) - 24, len(data))}
    for cut in cuts:
        assert reason_of(data[:cut]) in {"truncated", "empty", "corrupt"}, cut


PACKED = {
    # compression: what is told of a strip whose end is zeros
    "zstd": {"corrupt", "truncated"},
    "lerc": {"corrupt"},
    "lzma": {"corrupt"},
    "png": {"corrupt"},
    "jpegxl": {"corrupt"},
    "jpeg2000": {"truncated"},
    "jpegxr": {"truncated"},
    "webp": {"truncated"},
}
PHOTO = cv2.resize(np.dstack([GREY, GREY, GREY]), None, fx=5, fy=5, interpolation=cv2.INTER_NEAREST)


@pytest.mark.parametrize("compression", PACKED)
def test_a_strip_that_was_not_written_to_its_end_is_missed(compression):
    """The decoders of JPEG 2000, JPEG XR and WebP go on with grey."""
    data = bytearray(tiff(PHOTO, photometric="rgb", compression=compression, rowsperstrip=305))
    np.testing.assert_allclose(read(bytes(data)).pixels, PHOTO[:, :, 0], atol=1)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        (start,), (count,) = file.pages[0].dataoffsets, file.pages[0].databytecounts
    for share in (0.3, 0.6, 0.9):
        cut = start + int(count * share)
        damaged = bytes(data[:cut]) + bytes(start + count - cut) + bytes(data[start + count :])
        assert reason_of(damaged) in PACKED[compression]


@pytest.mark.parametrize(
    "name", [name for name in WHOLE if name not in ("plain", "plain tiles", "BigTIFF", "one pixel")]
)
def test_no_picture_comes_from_a_file_that_ends_in_zeros(name):
    """A file that was given its full length before it was written.

    Of uncompressed TIFF whose directory comes first only the pixels could tell.
    """
    data = WHOLE[name]
    for cut in range(0, len(data) - 300, max(1, len(data) // 40)):
        if any(data[cut:]):
            reason = reason_of(data[:cut] + bytes(len(data) - cut))
            assert reason in {"truncated", "empty", "corrupt"}, cut


@given(st.sampled_from(sorted(WHOLE)), st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_damaged_bytes_bring_nothing_but_a_capture_error(name, seed):
    chance = random.Random(seed)
    data = bytearray(WHOLE[name])
    for _ in range(chance.choice([1, 2, 8, 40])):
        data[chance.randrange(min(len(data), chance.choice([40, 400, 10**9])))] = chance.randrange(
            256
        )
    try:
        picture = read(bytes(data))
    except CaptureError as refused:
        assert not refused.transient and str(refused).isprintable()
    else:
        assert picture.pixels.ndim == 2
        assert picture.pixels.dtype in (np.uint8, np.uint16, np.float32)


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"II*\0", b"MM\0+", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"]),
)
@settings(deadline=None)
def test_random_bytes_bring_nothing_but_a_capture_error(data, magic):
    reason_of(magic + data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (bytes(5000), "empty"),
        (b"well A1 looks fine today", "not-an-image"),
        (b"\x89PN", "truncated"),
        (b"GIF89a" + bytes(50), "unsupported"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "unsupported"),
    ],
)
def test_what_is_no_picture_is_named(data, reason):
    assert reason_of(data) == reason


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers_are_refused(value):
    pixels = drawn(np.float32)
    pixels[3, 4] = value
    assert reason_of(tiff(pixels)) == "corrupt"


def test_numbers_too_large_for_our_pixels_are_refused():
    assert reason_of(tiff(drawn(np.float64) * 1e300)) == "corrupt"


def png_of(width: int, height: int, pixels: bytes = b"\0" * 1000) -> bytes:
    def section(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + section(b"IHDR", header)
        + section(b"IDAT", zlib.compress(pixels))
        + section(b"IEND", b"")
    )


def lying_tiff(width: int, height: int) -> bytes:
    """A small LZW TIFF whose directory declares another size."""
    data = bytearray(tiff(GREY, compression="lzw", metadata=None))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        for tag, value in ((256, width), (257, height), (278, height)):
            entry = file.pages[0].tags[tag]
            struct.pack_into("<HHII", data, entry.offset, tag, 4, 1, value)
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        png_of(60_000, 60_000),
        png_of(9000, 9000),
        lying_tiff(60_000, 60_000),
        lying_tiff(9000, 9000),
    ],
    ids=["png, absurd", "png, bomb", "tiff, absurd", "tiff, bomb"],
)
def test_absurd_sizes_are_refused_before_memory_is_taken(data):
    tracemalloc.start()
    try:
        assert reason_of(data) == "too-large"
        assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    finally:
        tracemalloc.stop()


def test_a_png_with_too_few_pixels_is_refused():
    assert reason_of(png_of(100, 100)) in {"corrupt", "truncated"}


def test_image_directories_in_a_circle_are_refused():
    data = bytearray(tiff(GREY, metadata=None))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        struct.pack_into("<I", data, page.offset + 2 + 12 * len(page.tags), page.offset)
    assert reason_of(bytes(data)) == "corrupt"


def test_entities_in_ome_xml_are_not_expanded():
    doctype = '<!DOCTYPE OME [<!ENTITY a "ha">]>'
    image = '<Image Name="&a;"/>'
    for xml in (
        f"<OME>{doctype}{image}</OME>",
        f"<?xml version='1.0'?>{doctype}<OME>{image}</OME>",
    ):
        assert reason_of(tiff(GREY, description=xml, metadata=None)) == "corrupt"


@pytest.mark.parametrize(
    "xml", ["<OME><Image></OME>", "<OME></OME>", "<OME><Image/></OME>", "<OME><Image>"]
)
def test_damaged_ome_xml_is_refused_instead_of_losing_the_pixel_size(xml):
    reason = reason_of(tiff(GREY, description=xml, metadata=None))
    assert reason in {"corrupt", "unsupported", "truncated"}


# --- from disk ----------------------------------------------------------------------------------


def test_a_file_is_read_from_disk(tmp_path):
    path = tmp_path / os.fsdecode(b"d\xff\n.tif")
    path.write_bytes(tiff(GREY))
    np.testing.assert_array_equal(read_picture(path, zone=UTC_ZONE).pixels, GREY)


def test_what_is_not_there_or_no_file_is_named(tmp_path):
    os.mkfifo(tmp_path / "fifo.tif")
    (tmp_path / "folder.tif").mkdir()
    (tmp_path / "circle.tif").symlink_to(tmp_path / "circle.tif")
    (tmp_path / "nowhere.tif").symlink_to(tmp_path / "missing.tif")
    expected = {
        "fifo.tif": ("not-an-image", False),
        "folder.tif": ("not-an-image", False),
        "missing.tif": ("missing", True),
        "nowhere.tif": ("missing", True),
        "circle.tif": ("io-error", True),
    }
    for name, (reason, transient) in expected.items():
        with pytest.raises(CaptureError, match=name) as refused:
            read_picture(tmp_path / name, zone=UTC_ZONE)
        assert (refused.value.reason, refused.value.transient) == (reason, transient), name


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_that_may_not_be_read_is_tried_again_later(tmp_path):
    path = tmp_path / "locked.tif"
    path.write_bytes(tiff(GREY))
    path.chmod(0)
    with pytest.raises(CaptureError) as refused:
        read_picture(path, zone=UTC_ZONE)
    assert (refused.value.reason, refused.value.transient) == ("no-permission", True)


# --- descriptions of instruments ----------------------------------------------------------------


def gen5(channel: str, *, transmitted: bool = False, size: str = "1389.0") -> str:
    kind = "<BrightField>TRUE</BrightField>" if transmitted else ""
    return (
        '<?xml version="1.0" encoding="utf-16"?><BTIImageMetaData><ImageReference>'
        "<Date>11/02/26</Date><Time>04:00:00</Time></ImageReference><ImageAcquisition>"
        f'<Channel Color="{channel}">{kind}</Channel><PixelWidth>1992</PixelWidth>'
        f"<ImageWidthMicrons>{size}</ImageWidthMicrons></ImageAcquisition></BTIImageMetaData>"
    )


def test_gen5_says_size_and_local_time():
    data = tiff(GREY, description=gen5("Bright Field", transmitted=True), metadata=None)
    picture = read(data, zone=ZoneInfo("Europe/Berlin"))
    assert picture.pixel_size_um == pytest.approx(1389 / 1992)
    assert picture.acquired_at == datetime(2026, 11, 2, 3, tzinfo=UTC)


def test_gen5_pages_are_channels_not_heights():
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for sharp, text in ((0.0, gen5("GFP 469,525")), (3.0, gen5("Phase", transmitted=True))):
            plane = blurred(sharp) if sharp else GREY
            writer.write(plane, photometric="minisblack", description=text, metadata=None)
    data = file.getvalue()
    np.testing.assert_array_equal(read(data).pixels, blurred(3.0))
    np.testing.assert_array_equal(read(data, channel="GFP 469,525").pixels, GREY)
    assert reason_of(data, channel="DAPI") == "unsupported"


@pytest.mark.parametrize("size", ["nan", "", "-5", "1e9", "<x/>"])
def test_an_impossible_size_of_gen5_is_none(size):
    data = tiff(GREY, description=gen5("Phase", size=size), metadata=None)
    assert read(data).pixel_size_um is None


def metamorph(**said: str) -> str:
    props = "".join(
        f'<prop id="{key.replace("_", "-")}" type="x" value="{value}"/>'
        for key, value in said.items()
    )
    return f"<MetaData><PlaneInfo>{props}</PlaneInfo></MetaData>"


def test_metamorph_says_size_place_and_local_time():
    text = metamorph(
        spatial_calibration_state="on",
        spatial_calibration_x="0.65",
        spatial_calibration_y="0.65",
        spatial_calibration_units="um",
        stage_position_x="73296.5",
        stage_position_y="-25554.2",
        acquisition_time_local="20261102 04:00:00.500",
    )
    data = tiff(GREY, description=text, metadata=None)
    picture = read(data, zone=ZoneInfo("Europe/Berlin"))
    assert picture.pixel_size_um == 0.65
    assert picture.stage == StagePosition(73296.5, -25554.2)
    assert picture.acquired_at == datetime(2026, 11, 2, 3, 0, 0, 500_000, tzinfo=UTC)
    off = text.replace('value="on"', 'value="off"')
    assert read(tiff(GREY, description=off, metadata=None)).pixel_size_um is None
    pixels = text.replace('value="um"', 'value="pixel"')
    assert read(tiff(GREY, description=pixels, metadata=None)).pixel_size_um is None


def test_entities_in_instruments_xml_are_not_expanded():
    for text in (gen5("&a;"), metamorph(x="&a;")):
        hostile = '<!DOCTYPE x [<!ENTITY a "ha">]>' + text.partition("?>")[2]
        data = tiff(GREY, description=hostile or text, metadata=None)
        try:
            assert read(data).pixel_size_um is None
        except CaptureError as refused:
            assert refused.reason == "corrupt"


# --- sets of OME-TIFF files ---------------------------------------------------------------------


def set_of_fields(tmp_path, *, main: str) -> list[Path]:
    """Two fields in two files; what both show stands in a companion, or in the first file."""
    namespace = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
    images = "".join(
        f'<Image ID="Image:{n}"><Pixels ID="Pixels:{n}" DimensionOrder="XYZCT" Type="uint8" '
        f'SizeX="83" SizeY="61" SizeZ="1" SizeC="1" SizeT="1" PhysicalSizeX="0.{n + 5}">'
        f'<TiffData IFD="0" PlaneCount="1"><UUID FileName="f{n}.ome.tif">urn:uuid:{n}</UUID>'
        "</TiffData></Pixels></Image>"
        for n in range(2)
    )
    paths = []
    for n in range(2):
        text = (
            f'<OME {namespace} UUID="urn:uuid:{n}"><BinaryOnly MetadataFile="{main}" '
            f'UUID="urn:uuid:{n}"/></OME>'
        )
        if n == 0 and main == "f0.ome.tif":
            text = f'<OME {namespace} UUID="urn:uuid:0">{images}</OME>'
        path = tmp_path / f"f{n}.ome.tif"
        path.write_bytes(tiff(GREY + np.uint8(n), description=text, metadata=None))
        paths.append(path)
    if main.endswith(".companion.ome"):
        (tmp_path / main).write_text(f'<?xml version="1.0"?><OME {namespace}>{images}</OME>')
    return paths


@pytest.mark.parametrize("main", ["set.companion.ome", "f0.ome.tif"])
def test_a_file_of_a_set_finds_its_field_in_the_description_of_all(tmp_path, main):
    for n, path in enumerate(set_of_fields(tmp_path, main=main)):
        picture = read_picture(path, zone=UTC_ZONE)
        np.testing.assert_array_equal(picture.pixels, GREY + np.uint8(n))
        assert picture.pixel_size_um == pytest.approx(0.5 + n / 10)


def test_a_description_that_is_not_there_is_missed_by_name(tmp_path):
    first, _ = set_of_fields(tmp_path, main="set.companion.ome")
    (tmp_path / "set.companion.ome").unlink()
    with pytest.raises(CaptureError, match=r"set\.companion\.ome, which is not there") as refused:
        read_picture(first, zone=UTC_ZONE)
    assert refused.value.reason == "no-companion"


@pytest.mark.parametrize(
    "main", ["../set.companion.ome", "/etc/passwd", "..", "", "fifo.companion.ome", "self.ome.tif"]
)
def test_a_picture_does_not_make_us_read_anything_else(tmp_path, main):
    os.mkfifo(tmp_path / "fifo.companion.ome")
    text = f'<OME><BinaryOnly MetadataFile="{main}" UUID="u"/></OME>'
    path = tmp_path / "self.ome.tif"
    path.write_bytes(tiff(GREY, description=text, metadata=None))
    with pytest.raises(CaptureError) as refused:
        read_picture(path, zone=UTC_ZONE)
    assert refused.value.reason == "unsupported"


@pytest.mark.parametrize("suffix", [".vsi", ".OIR"])
def test_formats_of_many_files_are_refused_with_what_to_do(tmp_path, suffix):
    """A VSI is a TIFF that holds previews only: read as one it would give a false number."""
    path = tmp_path / f"dish-07_20261102T030000Z{suffix}"
    tifffile.imwrite(path, np.full((40, 50), 7, np.uint8))
    with pytest.raises(
        CaptureError, match=f"{suffix[1:].upper()}, which .* as OME-TIFF"
    ) as refused:
        read_picture(path, zone=ZoneInfo("UTC"))
    assert refused.value.reason == "unsupported"
