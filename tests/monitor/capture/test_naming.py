"""Captures whose well stands in their OME-XML, as plate writers lay them out."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path, PurePath
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import tifffile

from monitor.capture.naming import name_capture
from monitor.errors import CaptureError

ZONE = ZoneInfo("UTC")
PICTURE = np.arange(12, dtype=np.uint8).reshape(3, 4)
NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


def plate_xml(
    this: int,
    places: dict[int, tuple[int, int]],
    *,
    conventions: str = "",
    companion: str | None = None,
) -> str:
    """places : number of the image -> (row, column) from 0"""
    wells = "".join(
        f'<Well ID="Well:{row}_{column}" Row="{row}" Column="{column}">'
        + "".join(
            f'<WellSample ID="WellSample:{image}" Index="{image}">'
            f'<ImageRef ID="Image:{image}"/></WellSample>'
            for image, place in places.items()
            if place == (row, column)
        )
        + "</Well>"
        for row, column in dict.fromkeys(places.values())
    )
    images = "".join(
        f'<Image ID="Image:{image}"><Pixels ID="Pixels:{image}" DimensionOrder="XYZCT" '
        'Type="uint8" SizeX="4" SizeY="3" SizeZ="1" SizeC="1" SizeT="1" PhysicalSizeX="0.65">'
        f'<TiffData PlaneCount="1"><UUID>urn:uuid:{image}</UUID></TiffData></Pixels></Image>'
        for image in places
    )
    whole = (
        f'<OME xmlns="{NAMESPACE}" UUID="urn:uuid:{this}"><Plate ID="Plate:0"{conventions}>{wells}'
        f"</Plate>{images}</OME>"
    )
    if companion is None:
        return whole
    return (
        f'<OME xmlns="{NAMESPACE}" UUID="urn:uuid:{this}"><BinaryOnly MetadataFile="{companion}" '
        f'UUID="urn:uuid:{this}"/></OME>'
    )


def write(path: Path, xml: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, PICTURE, description=xml, metadata=None)
    return path


PLACES = {0: (0, 0), 1: (1, 2), 2: (1, 2), 3: (26, 11)}
WELLS = {0: ("A1", "1"), 1: ("B3", "1"), 2: ("B3", "2"), 3: ("AA12", "1")}


@pytest.mark.parametrize("image", PLACES)
def test_the_well_of_the_xml_and_the_run_are_the_dish(tmp_path, image):
    path = write(tmp_path / "run" / f"run_p{image:03d}.ome.tiff", plate_xml(image, PLACES))
    named = name_capture(path, "auto", ZONE)
    well, field = WELLS[image]
    assert (named.dish, named.field, named.pattern) == (f"run/{well}", field, "ome-xml")


NAMES = {
    # name of the file: (names setting, dish, field)
    "plate7/p000.ome.tif": ("auto", "plate7/B3", "1"),
    "plate7/visit_s12.ome.tif": ("auto", "visit/B3", "1"),
    "plate7/anything.ome.tif": ("auto", "anything/B3", "1"),
    "plate7/anything.tif": ("auto", "anything/B3", "1"),
    "hips_20261129T030000Z_p001.ome.tiff": ("auto", "hips/B3", "001"),
    "hips_20261129T030000Z_f4.ome.tiff": ("auto", "hips/B3", "4"),
    "hips_20261129T030000Z_f4.tif": ("auto", "hips/B3", "4"),
    "plate7/IMG_1.ome.tif": (r"(?P<plate>[^/]+)/IMG_(?P<field>\d+)", "plate7/B3", "1"),
    "P7_B03.ome.tif": (r"(?P<plate>P\d)_(?P<well>[A-H]\d\d)", "P7/B3", "1"),
}


@pytest.mark.parametrize("name", NAMES)
def test_the_plate_is_what_name_and_folder_say(tmp_path, name):
    spec, dish, field = NAMES[name]
    path = write(tmp_path / name, plate_xml(1, PLACES))
    named = name_capture(path, spec, ZONE)
    assert (named.dish, named.field) == (dish, field)
    if "2026" in name:
        assert named.acquired_at == datetime(2026, 11, 29, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("conventions", "well"),
    [
        (' RowNamingConvention="letter" ColumnNamingConvention="number"', "B3"),
        (' RowNamingConvention="number" ColumnNamingConvention="letter"', "2C"),
    ],
)
def test_wells_are_called_as_the_plate_calls_them(tmp_path, conventions, well):
    path = write(tmp_path / "run_p001.ome.tif", plate_xml(1, PLACES, conventions=conventions))
    assert name_capture(path, "auto", ZONE).dish == f"run/{well}"


def test_a_name_and_an_xml_that_say_two_wells_are_refused(tmp_path):
    path = write(tmp_path / "P7_C3.ome.tif", plate_xml(1, PLACES))
    with pytest.raises(CaptureError, match="gives the well C3, and its OME-XML B3"):
        name_capture(path, r"(?P<plate>P\d)_(?P<well>[A-H]\d)", ZONE)


def test_a_description_that_lies_in_a_companion_says_the_well_once_it_is_there(tmp_path):
    xml = plate_xml(1, PLACES, companion="run.companion.ome")
    path = write(tmp_path / "run_p001.ome.tif", xml)
    with pytest.raises(CaptureError, match=r"run\.companion\.ome, which is not there") as refused:
        name_capture(path, "auto", ZONE)
    assert refused.value.reason == "no-companion"
    (tmp_path / "run.companion.ome").write_text(plate_xml(1, PLACES))
    assert name_capture(path, "auto", ZONE).dish == "run/B3"


@pytest.mark.parametrize("kind", ["no file", "no tiff", "no plate", "another pattern"])
def test_a_name_that_says_nothing_is_refused_where_the_file_says_nothing_either(tmp_path, kind):
    path: PurePath = tmp_path / "run_p001.ome.tif"
    if kind == "no tiff":
        (tmp_path / "run_p001.ome.tif").write_bytes(b"II*\0 and no more")
    elif kind == "no plate":
        write(tmp_path / "run_p001.ome.tif", plate_xml(1, {1: (0, 0)}).replace("ImageRef", "Other"))
    elif kind == "another pattern":
        write(tmp_path / "run_p001.ome.tif", plate_xml(1, PLACES))
    spec = r"(?P<plate>P\d)_(?P<well>[A-H]\d)" if kind == "another pattern" else "auto"
    with pytest.raises(CaptureError) as refused:
        name_capture(path, spec, ZONE)
    assert refused.value.reason == "no-name-match"


def test_a_file_without_a_plate_is_named_as_its_name_says(tmp_path):
    path = write(tmp_path / "hips_20261129T030000Z_f4.ome.tif", "no xml")
    assert name_capture(path, "auto", ZONE).dish == "hips"
