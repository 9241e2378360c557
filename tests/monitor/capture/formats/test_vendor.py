"""Microscopes' own formats. OIB is only tried on damaged bytes: nothing free writes it."""

from __future__ import annotations

import importlib.util
import io
import random
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import cv2
import numpy as np
import pytest

from monitor.capture.formats.reading import read_picture
from monitor.culture import StagePosition
from monitor.errors import CaptureError
from tests.monitor.capture.foreign_files import STAGE, czi, lif, nd2
from tests.monitor.capture.pictures import colonies

ZONE = ZoneInfo("UTC")
SHARP = colonies((96, 128))
DULL = cv2.GaussianBlur(SHARP, (0, 0), 3)
LIBRARIES = {"czi": "czifile", "lif": "liffile", "nd2": "nd2", "oib": "oiffile", "zarr": "zarr"}
MAGIC = {
    "czi": b"ZISRAWFILE",
    "lif": b"\x70\0\0\0",
    "nd2": b"\xda\xce\xbe\x0a",
    "oib": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    "zarr": b"PK\x03\x04",
}


def needs(extra: str) -> None:
    if importlib.util.find_spec(LIBRARIES[extra]) is None:
        pytest.skip(f'needs pip install "colonywatch[{extra}]"')


def read(data: bytes, **how):
    return read_picture(Path("dish-1.xyz"), **({"zone": ZONE, "data": data} | how))


def reason_of(data: bytes, **how) -> str:
    with pytest.raises(CaptureError) as refused:
        read(data, **how)
    return refused.value.reason


@pytest.mark.parametrize("extra", LIBRARIES)
def test_without_the_extra_its_name_is_said(extra, monkeypatch):
    monkeypatch.setitem(sys.modules, LIBRARIES[extra], None)
    monkeypatch.delitem(sys.modules, f"monitor.capture.{extra}_format", raising=False)
    with pytest.raises(CaptureError, match=rf'pip install "colonywatch\[{extra}\]"') as refused:
        read(MAGIC[extra] + bytes(100))
    assert refused.value.reason == "needs-extra"


@pytest.mark.parametrize("extra", LIBRARIES)
def test_what_only_begins_like_such_a_file_is_refused(extra):
    needs(extra)
    chance = random.Random(7)
    for size in (0, 1, 8, 40, 600, 5000):
        for junk in (bytes(size), chance.randbytes(size)):
            assert reason_of(MAGIC[extra] + junk) in {"corrupt", "truncated", "unsupported"}


def test_a_lif_file_gives_its_sharpest_plane_its_size_and_its_time():
    needs("lif")
    picture = read(lif(np.stack([[DULL, SHARP, DULL]]), pixel_size_um=0.65))
    np.testing.assert_array_equal(picture.pixels, SHARP)
    assert picture.pixel_size_um == pytest.approx(0.65, rel=1e-6)
    assert picture.acquired_at is not None and picture.acquired_at.tzinfo == UTC
    assert picture.format == "Leica LIF"


def test_a_lif_file_gives_the_channel_that_is_asked_for():
    needs("lif")
    data = lif(np.stack([[DULL], [SHARP]]))
    np.testing.assert_array_equal(read(data).pixels, DULL)
    np.testing.assert_array_equal(read(data, channel="2").pixels, SHARP)
    assert reason_of(data, channel="3") == "unsupported"


def test_a_lif_file_of_several_fields_is_refused():
    needs("lif")
    assert reason_of(lif(SHARP[None, None], images=2)) == "unsupported"


def test_a_czi_file_gives_its_sharpest_plane_its_size_and_its_time():
    needs("czi")
    data = czi([({"Z": z, "C": 0}, plane) for z, plane in enumerate([DULL, SHARP, DULL])])
    picture = read(data)
    np.testing.assert_array_equal(picture.pixels, SHARP)
    assert picture.pixel_size_um == 0.65
    assert picture.acquired_at == datetime(2026, 11, 2, 3, 0, 0, 123456, tzinfo=UTC)


COLOURS = np.dstack([SHARP, np.roll(SHARP, 3, 0), np.roll(SHARP, 5, 1)])


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("packing", ["plain", "lzw", "zstd0", "zstd1", "zstd1, short header"])
def test_a_czi_file_is_read_however_its_tiles_are_packed(packing, kind):
    """Its library does not know ZSTD, which ZEN and libCZI write."""
    needs("czi")
    pixels = SHARP.astype(kind) * (257 if kind == "uint16" else 1)
    np.testing.assert_array_equal(read(czi([({}, pixels)], packing=packing)).pixels, pixels)


@pytest.mark.parametrize("pixels", [SHARP.astype(np.uint16) * 257, COLOURS.astype(np.uint16) * 257])
def test_a_czi_tile_whose_low_and_high_bytes_lie_apart_is_put_together(pixels):
    needs("czi")
    data = czi([({}, pixels)], packing="zstd1, halves apart")
    np.testing.assert_array_equal(read(data).pixels, read(czi([({}, pixels)])).pixels)


@pytest.mark.parametrize("packing", ["plain", "zstd0", "jpeg xr"])
def test_the_colours_of_a_czi_file_are_not_exchanged(packing):
    """It has blue first; a JPEG XR within has red first."""
    needs("czi")
    picture = read(czi([({}, COLOURS)], packing=packing))
    assert np.abs(picture.pixels - COLOURS @ [0.299, 0.587, 0.114]).max() <= 1


@pytest.mark.parametrize("packing", ["of a camera", "zstd1, unknown header"])
def test_a_czi_file_packed_in_another_way_is_refused_by_name(packing):
    needs("czi")
    with pytest.raises(CaptureError, match=r"number 100|ZSTD header") as refused:
        read(czi([({}, SHARP)], packing=packing))
    assert refused.value.reason == "unsupported"


def test_a_czi_tile_that_unpacks_to_too_little_is_missed():
    needs("czi")
    for packing in ("zstd0", "zstd1", "zstd1, halves apart"):
        whole = bytearray(czi([({}, SHARP.astype(np.uint16))], packing=packing))
        at = whole.index(b"\x28\xb5\x2f\xfd")
        whole[at + 8 : at + 60] = bytes(52)
        assert reason_of(bytes(whole)) in {"corrupt", "truncated"}


def test_a_czi_file_gives_transmitted_light_or_the_channel_that_is_asked_for():
    needs("czi")
    data = czi([({"C": 0}, DULL), ({"C": 1}, SHARP)], channels=("DAPI", "Phase"))
    np.testing.assert_array_equal(read(data).pixels, SHARP)
    np.testing.assert_array_equal(read(data, channel="dapi").pixels, DULL)


def test_a_czi_mosaic_is_put_together_and_must_be_whole():
    needs("czi")
    tiles = [
        ({"Y": row, "X": column, "M": number}, SHARP[row : row + 48, column : column + 64])
        for number, (row, column) in enumerate([(0, 0), (0, 64), (48, 0), (48, 64)])
    ]
    np.testing.assert_array_equal(read(czi(tiles)).pixels, SHARP)
    assert reason_of(czi([tiles[0], tiles[3]])) == "truncated"


@pytest.mark.parametrize("axis", ["S", "T"])
def test_a_czi_file_of_several_fields_or_times_is_refused(axis):
    needs("czi")
    assert reason_of(czi([({axis: n}, SHARP) for n in range(2)])) == "unsupported"


def test_an_nd2_file_gives_its_sharpest_plane_its_size_and_its_place():
    needs("nd2")
    picture = read(nd2([DULL, SHARP, DULL]))
    np.testing.assert_array_equal(picture.pixels, SHARP)
    assert picture.pixel_size_um == 0.65
    assert picture.stage == StagePosition(STAGE["X"], STAGE["Y"], None)
    assert read(nd2([SHARP])).stage == StagePosition(STAGE["X"], STAGE["Y"], STAGE["Z"])
    assert picture.format == "Nikon ND2"


JULIAN_DAYS = {
    # name: (what the file says, the time). The first: NIS-Elements wrote 9/28/2021 9:41:27 AM, four
    # hours behind UTC, when it saved the run three minutes later.
    "as a microscope wrote it": (2459486.0682717753, datetime(2021, 9, 28, 13, 38, 18, tzinfo=UTC)),
    "nothing": (None, None),
    "zero": (0.0, None),
    "a clock that was never set": (2887693.53, None),
    "beyond all calendars": (1e300, None),
    "no number": (float("nan"), None),
}


@pytest.mark.parametrize("case", JULIAN_DAYS)
def test_an_nd2_file_gives_its_time_in_utc(case):
    needs("nd2")
    day, at = JULIAN_DAYS[case]
    assert read(nd2([SHARP], julian_day=day)).acquired_at == at


def test_an_nd2_file_without_calibration_has_no_size():
    """The library says 1 um then."""
    needs("nd2")
    assert read(nd2([SHARP], pixel_size_um=None)).pixel_size_um is None


def test_an_nd2_file_gives_transmitted_light_or_the_channel_that_is_asked_for():
    needs("nd2")
    data = nd2([np.dstack([DULL, SHARP])], channels=("DAPI", "Phase"))
    np.testing.assert_array_equal(read(data).pixels, SHARP)
    np.testing.assert_array_equal(read(data, channel="DAPI").pixels, DULL)


def test_a_frame_that_an_interrupted_run_never_wrote_is_missed():
    """The library gives zeros for it."""
    needs("nd2")
    assert reason_of(nd2([SHARP, None])) == "truncated"


def whole_file(extra: str) -> bytes:
    if extra == "lif":
        return lif(SHARP[None, None])
    return czi([({"C": 0}, SHARP)]) if extra == "czi" else nd2([SHARP])


@pytest.mark.parametrize("extra", ["lif", "czi", "nd2"])
def test_no_picture_comes_from_such_a_file_cut_anywhere(extra):
    needs(extra)
    data = whole_file(extra)
    for cut in {*range(0, len(data), len(data) // 50), *range(len(data) - 8, len(data))}:
        assert reason_of(data[:cut]) in {"corrupt", "truncated", "empty", "not-an-image"}, cut


@pytest.mark.parametrize("extra", ["lif", "czi", "nd2"])
def test_damage_brings_nothing_but_a_capture_error(extra):
    needs(extra)
    whole = whole_file(extra)
    for seed in range(80):
        chance = random.Random(seed)
        data = bytearray(whole)
        for _ in range(chance.choice([1, 4, 20])):
            data[chance.randrange(1500) * chance.choice([1, -1])] = chance.randrange(256)
        try:
            assert read(bytes(data)).pixels.ndim == 2
        except CaptureError as refused:
            assert not refused.transient


# --- OME-Zarr -----------------------------------------------------------------------------------


def ozx(pixels: np.ndarray, folder: Path, *, version=2, labels=("DAPI", "Phase"), drop=None, **how):
    """(C, Z, Y, X) as a zipped OME-Zarr; `drop` leaves out parts whose name holds it."""
    import zarr
    from zarr.storage import ZipStore

    path = folder / "whole.zip"
    path.unlink(missing_ok=True)
    store = ZipStore(path, mode="w")
    group = zarr.create_group(store, zarr_format=version)
    array = group.create_array(
        "0", shape=pixels.shape, chunks=(1, 1, 48, 64), dtype=pixels.dtype, **how
    )
    array[:] = pixels
    unit = {"type": "space", "unit": "micrometer"}
    axes = [{"name": "c", "type": "channel"}, *({"name": axis, **unit} for axis in "zyx")]
    scale = {"type": "scale", "scale": [1.0, 2.0, 0.65, 0.65]}
    about = {
        "multiscales": [
            {
                "axes": axes,
                "datasets": [{"path": "0", "coordinateTransformations": [scale]}],
            }
        ],
        "omero": {"channels": [{"label": label} for label in labels]},
    }
    group.attrs.update(about if version == 2 else {"ome": about})
    store.close()
    parts: dict[str, bytes] = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():  # the last of a name counts
            parts[member.filename] = archive.read(member)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in parts.items():
            if drop is None or drop not in name:
                archive.writestr(name, data)
    return file.getvalue()


BOTH = np.stack([[DULL, DULL, DULL], [DULL, SHARP, DULL]])


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_a_zipped_ome_zarr_gives_size_channel_and_sharpest_plane(tmp_path, version):
    needs("zarr")
    data = ozx(BOTH, tmp_path, version=version)
    picture = read(data)
    np.testing.assert_array_equal(picture.pixels, SHARP)
    assert (picture.pixel_size_um, picture.format) == (0.65, "OME-Zarr")
    np.testing.assert_array_equal(read(data, channel="DAPI").pixels, DULL)


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_a_zarr_with_parts_that_are_not_there_is_no_picture(tmp_path):
    """They would be read as zeros: a dish without cells."""
    needs("zarr")
    assert reason_of(ozx(BOTH, tmp_path, drop="0/1.1.0.0")) == "truncated"
    whole = ozx(BOTH, tmp_path)
    for cut in range(4, len(whole), len(whole) // 20):
        assert reason_of(whole[:cut]) in {"truncated", "corrupt"}


def test_other_archives_are_no_pictures():
    needs("zarr")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("notes.txt", "well A1")
    assert reason_of(file.getvalue()) == "unsupported"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(".zattrs", bytes(100 * 2**20))
    assert reason_of(file.getvalue()) == "too-large"
