"""Each format is read back by its own library where there is one."""

import csv
import io
import json
import re
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from pkgutil import resolve_name
from typing import get_args, get_type_hints

import geojson
import numpy as np
import pytest
import roifile
import yaml
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import Point, shape

from monitor.config import ColumnConfig, ExportFormat, PickValue, VesselConfig
from monitor.config.outlets import CsvConfig, EchoConfig
from monitor.culture import RefusedRegion, StagePosition
from monitor.errors import OutletError
from monitor.outlets.picking import FORMATS, Handout, PlanImage, write_formats
from monitor.outlets.picking.handout import Contents
from monitor.outlets.picking.mapped_csv import values_of
from monitor.stage.vessels import Vessel
from tests.monitor.commands.calls import MISUSED, call
from tests.monitor.outlets.plans import PLAN, TARGET, TARGETING, aimed

A, B = "a" * 64, "b" * 64
# A region of the second capture, with no height.
OTHER = aimed(
    replace(
        TARGET,
        region_id="bbbbbbbbbbbb-1",
        capture_sha256=B,
        centroid_px=(10.0, 20.0),
        polygon_px=((0.0, 10.0), (0.0, 30.0), (20.0, 30.0), (20.0, 10.0)),
    ),
    order=2,
    pick_px=(10.0, 20.0),
    pick_x_um=-300.25,
    pick_y_um=7.5,
)
LAST = aimed(replace(TARGET, region_id="aaaaaaaaaaaa-2"), order=3, pick_x_um=5300.0)
TWO_CAPTURES = replace(PLAN, targets=(LAST, OTHER, TARGET))
PICTURES = {
    A: PlanImage("plate_A1_f1.tif", (1536, 2048), 2.0, StagePosition(5000.0, -1000.0, 250.0)),
    B: PlanImage("plate\x00_A1_f2 <&>.tif", (1000, 1200)),
}
HANDOUT = Handout(TWO_CAPTURES, PICTURES)


def written(name, handout=HANDOUT):
    return FORMATS[name].write(handout)


def only(name, handout=HANDOUT):
    (content,) = written(name, handout).values()
    return content


def rows(name, handout):
    return list(csv.reader(io.StringIO(only(name, handout).decode(), newline="")))


def in_well(plan, x_um=120.4, y_um=-80.6):
    return replace(
        plan,
        targets=tuple(aimed(one, well_x_um=x_um, well_y_um=y_um) for one in plan.targets),
    )


def in_picker(plan):
    targets = tuple(aimed(one, picker_x_um=11.0, picker_y_um=22.0) for one in plan.targets)
    return replace(plan, targets=targets, picker_calibration_id="picker-1")


# --- all formats --------------------------------------------------------------------------------


def test_every_format_of_the_configuration_has_its_writer_and_can_be_asked_for():
    wrong = call("removals", "export", "x", "--format", "nope", "--out", "y")
    assert wrong.code == MISUSED
    offered = set(re.findall(r"'([a-z-]+)'", wrong.err)) - {"nope", "--format"}
    assert set(FORMATS) == set(get_args(ExportFormat)) == offered


def test_every_writer_takes_a_handout_and_gives_contents():
    """It is found by its name in a table, where no type checker looks."""
    for one in FORMATS.values():
        writer = resolve_name(f"monitor.outlets.picking.{one.writer}")
        assert get_type_hints(writer) == {"handout": Handout, "return": Contents}
        if one.plate is not None:
            joined = resolve_name(f"monitor.outlets.picking.{one.plate}")
            assert get_type_hints(joined) == {"handouts": Sequence[Handout], "return": bytes}


@pytest.mark.parametrize("page", ["config.yaml", "docs/geometry.md"])
def test_every_format_stands_where_people_look_for_it(page):
    text = (Path(__file__).parents[4] / page).read_text(encoding="utf-8")
    if page == "config.yaml":
        (text,) = re.findall(r"((?:^ *#.*\n)+) *formats: ", text, re.MULTILINE)
    words = set(re.findall(r"[a-z]+(?:-[a-z]+)*", text))
    assert set(FORMATS) - words == set()


def test_people_choose_from_the_plain_lists_first():
    assert get_args(ExportFormat)[0] == "csv"
    assert list(FORMATS)[-1] == "csv"


def test_the_endings_differ():
    assert len({one.suffix for one in FORMATS.values()}) == len(FORMATS)


# Protocols need a plate and a robot: test_protocols.py.
@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"opentrons", "pylabrobot"}))
def test_the_same_plan_gives_the_same_bytes(name):
    columns = (ColumnConfig(header="X", value="pick_x_um"),)
    handout = Handout(in_well(TWO_CAPTURES), PICTURES, columns=columns)
    assert written(name, handout) == written(name, handout)


def test_files_come_in_the_order_of_writing_whatever_the_order_asked_for():
    endings = list(write_formats(HANDOUT, ["csv", "pos", "geojson", "json"]))
    assert endings == [".aaaaaaaaaaaa.geojson", ".bbbbbbbbbbbb.geojson", ".pos", ".json", ".csv"]


# --- the picker's and the well's frame ----------------------------------------------------------


def test_lists_for_the_picker_name_the_frame_that_they_are_in():
    line = dict(zip(*rows("csv", Handout(in_picker(in_well(PLAN))))[:2], strict=True))
    assert (line["pick_x_um"], line["pick_y_um"], line["frame"]) == ("11", "22", "picker")
    assert (line["stage_x_um"], line["stage_y_um"]) == ("5200", "-1100")
    assert (line["well_x_um"], line["well_y_um"]) == ("120", "-81")
    # The stage's height is not the picker's.
    assert (line["pick_z_um"], line["picker_calibration_id"]) == ("", "picker-1")


def test_the_document_has_all_frames_by_name():
    document = json.loads(only("json", Handout(in_picker(in_well(PLAN)))))
    target = document["targets"][0]
    assert (document["frame"], document["picker_calibration"]) == ("picker", {"id": "picker-1"})
    target = target["hits"][0]
    assert target["pick_stage_um"] == {"x": 5200.0, "y": -1100.5, "z": 250.0}
    assert target["pick_picker_um"] == {"x": 11.0, "y": 22.0}
    assert target["pick_well_um"] == {"x": 120.4, "y": -80.6}


def test_a_target_without_a_place_in_the_pickers_frame_is_not_aimed_at_on_the_stage_instead():
    with pytest.raises(OutletError, match="no position in the picker's frame") as raised:
        only("csv", Handout(replace(PLAN, picker_calibration_id="picker-1")))
    assert raised.value.permanent


@pytest.mark.parametrize("name", ["pos", "stg", "useq"])
def test_stage_lists_stay_in_the_stages_frame(name):
    plan = replace(PLAN, targets=(TARGET,))
    assert written(name, Handout(plan)) == written(name, Handout(in_picker(plan)))


# --- columns of one's own -----------------------------------------------------------------------


def test_an_importer_gets_its_own_columns_and_units():
    columns = (
        ColumnConfig(header="Plate", value="plate"),
        ColumnConfig(header="Tool", text="tip, 200 µm"),
        ColumnConfig(header="X (mm)", value="pick_x_um", unit="mm", decimals=4),
        ColumnConfig(header="Y (mm)", value="pick_y_um", unit="mm", decimals=4),
        ColumnConfig(header="Z", value="pick_z_um", decimals=0),
        ColumnConfig(header="No", value="order"),
    )
    assert rows("csv-mapped", Handout(PLAN, columns=columns)) == [
        ["Plate", "Tool", "X (mm)", "Y (mm)", "Z", "No"],
        ["3500003816", "tip, 200 µm", "5.2000", "-1.1005", "250", "1"],
        ["3500003816", "tip, 200 µm", "5.2000", "-1.1005", "", "2"],
    ]


def test_every_value_that_the_configuration_allows_is_known():
    assert set(values_of(PLAN, TARGET, TARGET.hits[0])) == set(get_args(PickValue))


@pytest.mark.parametrize(
    "column",
    [
        {"header": "X"},
        {"header": "X", "value": "pick_x_um", "text": "both"},
        {"header": "", "text": "a"},
        {"header": "X", "value": "pick_x"},
        {"header": "P", "value": "mean_probability", "unit": "mm"},
        {"header": "X", "value": "pick_x_um", "unit": "inch"},
        {"header": "X", "value": "pick_x_um", "decimals": -1},
    ],
)
def test_a_column_that_says_nothing_clear_is_refused(column):
    with pytest.raises(ValueError):
        ColumnConfig(**column)


def test_a_dispenser_gets_wells_and_whole_micrometres_from_their_centres():
    table = rows("csv-echo", Handout(in_well(PLAN, 120.4, -0.3)))
    line = dict(zip(table[0], table[1], strict=True))
    assert (line["Destination Plate Name"], line["Destination Well"]) == ("3500003816", "A1")
    assert line["Destination Well X Offset"] == "120"
    assert line["Destination Well Y Offset"] == "0"


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (PLAN, "needs well_x_um, which is not known"),
        (in_well(replace(PLAN, dish="dish-07")), "wel"),
    ],
)
def test_a_dispenser_gets_nothing_where_the_well_or_its_centre_is_not_known(plan, said):
    with pytest.raises(OutletError, match=said) as raised:
        only("csv-echo", Handout(plan))
    assert raised.value.permanent


def test_no_columns_are_no_list():
    with pytest.raises(OutletError, match=r"set outlets\.removal\.columns"):
        only("csv-mapped", Handout(PLAN))


# --- microscopes --------------------------------------------------------------------------------


def plain(entry):
    """A Micro-Manager property map as plain values."""
    if isinstance(entry, dict) and "type" in entry:
        values = entry.get("array", [entry.get("scalar")])
        found = [plain(value) for value in values]
        return found if "array" in entry else found[0]
    if isinstance(entry, dict):
        return {key: plain(value) for key, value in entry.items()}
    return entry


def test_micro_manager_finds_positions_with_its_own_device_names():
    handout = replace(HANDOUT, plan=PLAN, xy_device="XY", z_device="PIZ")
    document = json.loads(only("pos", handout))
    assert document["format"] == "Micro-Manager Property Map"
    assert (document["major_version"], document["encoding"]) == (2, "UTF-8")
    first, second = plain(document["map"])["StagePositions"]
    assert (first["Label"], first["DefaultXYStage"]) == ("01 aaaaaaaaaaaa-1", "XY")
    assert first["DevicePositions"] == [
        {"Device": "XY", "Position_um": [5200.0, -1100.5]},
        {"Device": "PIZ", "Position_um": [250.0]},
    ]
    assert first["Properties"]["region_id"] == "aaaaaaaaaaaa-1"
    # The second has no height: it must not move the focus.
    assert second["DevicePositions"] == [{"Device": "XY", "Position_um": [5200.0, -1100.5]}]
    assert second["DefaultZStage"] == ""


def test_a_stage_list_has_its_head_its_count_and_a_line_a_target():
    content = only("stg").decode("ascii")
    assert content.endswith("\r\n")
    assert "\n" not in content.replace("\r\n", "")
    lines = content.split("\r\n")[:-1]
    assert lines[:4] == [
        '"Stage Memory List", Version 6.0',
        '0, 0, 0, 0, 0, 0, 0, "um", "um"',
        "0",
        "3",
    ]
    fields = [next(csv.reader([line], skipinitialspace=True)) for line in lines[4:]]
    assert [line[:4] for line in fields] == [
        ["01 aaaaaaaaaaaa-1", "5200.000", "-1100.500", "250.000"],
        ["02 bbbbbbbbbbbb-1", "-300.250", "7.500", "250.000"],
        ["03 aaaaaaaaaaaa-2", "5300.000", "-1100.500", "250.000"],
    ]
    assert {len(line) for line in fields} == {13}


def test_a_stage_list_makes_up_no_height():
    with pytest.raises(OutletError, match="has no height, and a") as raised:
        only("stg", Handout(PLAN))
    assert raised.value.permanent


def test_useq_reads_its_positions_back(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own
        from useq import MDASequence
    path = tmp_path / "plan.useq.yaml"
    path.write_bytes(only("useq", Handout(PLAN)))
    sequence = MDASequence.from_file(path)
    assert [(one.name, one.x, one.y, one.z) for one in sequence.stage_positions] == [
        ("01 aaaaaaaaaaaa-1", 5200.0, -1100.5, 250.0),
        ("02 aaaaaaaaaaaa-2", 5200.0, -1100.5, None),
    ]
    assert sequence.metadata["export_id"] == PLAN.id
    assert [event.pos_name for event in sequence] == ["01 aaaaaaaaaaaa-1", "02 aaaaaaaaaaaa-2"]
    assert yaml.safe_load(path.read_text())["metadata"]["calibration_id"] == "scope-1"


# --- regions on pictures ------------------------------------------------------------------------


def test_qupath_gets_one_file_a_capture():
    assert list(written("geojson")) == ["a" * 12, "b" * 12]


def test_qupath_reads_closed_rings_with_the_point_to_aim_at_inside():
    for content in written("geojson").values():
        collection = geojson.loads(content)
        assert collection.is_valid
        for region, pick in zip(
            collection["features"][::2], collection["features"][1::2], strict=True
        ):
            ring = region["geometry"]["coordinates"][0]
            assert ring[0] == ring[-1]
            assert shape(region["geometry"]).contains(Point(pick["geometry"]["coordinates"]))
            assert region["properties"]["objectType"] == "annotation"
            assert isinstance(region["properties"]["measurements"], dict)
            for feature in (region, pick):
                assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", feature["id"])


def test_qupath_has_x_to_the_right_and_counts_from_the_pictures_corner():
    features = json.loads(written("geojson")["a" * 12])["features"]
    # Row 150, column 300: the middle of that pixel is half a pixel from its corner.
    assert features[1]["geometry"]["coordinates"] == [300.5, 150.5]
    assert features[0]["geometry"]["coordinates"][0][1] == [330.5, 120.5]
    assert features[0]["properties"]["measurements"]["Area um^2"] == 14_400.0
    assert features[0]["properties"]["metadata"]["capture_sha256"] == A


def test_ome_reads_an_image_a_capture_with_its_regions():
    from ome_types import from_xml

    document = from_xml(only("ome-xml").decode())
    first, second = document.images
    assert (first.pixels.size_x, first.pixels.size_y) == (2048, 1536)
    assert (first.pixels.physical_size_x, first.pixels.physical_size_y) == (2.0, 2.0)
    plane = first.pixels.planes[0]
    assert (plane.position_x, plane.position_y, plane.position_z) == (5000.0, -1000.0, 250.0)
    assert plane.position_x_unit.value == "µm"
    assert second.name == "plate\N{REPLACEMENT CHARACTER}_A1_f2 <&>.tif"
    assert second.pixels.physical_size_x is None
    held = [[ref.id for ref in image.roi_refs] for image in document.images]
    assert held == [["ROI:0", "ROI:1"], ["ROI:2"]]
    assert [roi.name for roi in document.rois] == [
        "01 aaaaaaaaaaaa-1",
        "03 aaaaaaaaaaaa-2",
        "02 bbbbbbbbbbbb-1",
    ]
    polygon, point = document.rois[2].union
    assert polygon.points == "10.50,0.50 30.50,0.50 30.50,20.50 10.50,20.50"
    assert (point.x, point.y) == (20.5, 10.5)
    assert (polygon.the_z, polygon.the_c, polygon.the_t) == (None, None, None)


def test_ome_says_nothing_of_a_capture_whose_size_is_not_known():
    with pytest.raises(OutletError, match="the size of capture aaaaaaaaaaaa is not known"):
        only("ome-xml", Handout(PLAN))


def test_imagej_reads_polygons_and_points(tmp_path):
    path = tmp_path / "plan.roi.zip"
    path.write_bytes(written("imagej-roi")["a" * 12])
    rois = roifile.roiread(path)
    assert [roi.name for roi in rois] == [
        "01 aaaaaaaaaaaa-1 region",
        "01 aaaaaaaaaaaa-1 pick",
        "03 aaaaaaaaaaaa-2 region",
        "03 aaaaaaaaaaaa-2 pick",
    ]
    assert [roi.roitype for roi in rois[:2]] == [roifile.ROI_TYPE.POLYGON, roifile.ROI_TYPE.POINT]
    corners = np.array([[270.5, 120.5], [330.5, 120.5], [330.5, 180.5], [270.5, 180.5]])
    assert np.array_equal(rois[0].coordinates(), corners)
    assert rois[1].coordinates().tolist() == [[300.5, 150.5]]
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert len(set(archive.namelist())) == 4


# --- regions with several hits ------------------------------------------------------------------

FIRST, SECOND, THIRD = (
    replace(TARGET.hits[0], order=order, pick_px=(150.0, column), pick_x_um=5200.0 + offset)
    for order, column, offset in ((1, 280.0, 0.0), (3, 300.0, 40.0), (2, 320.0, 900.0))
)
MANY = replace(
    PLAN,
    targeting=TARGETING,
    targets=(
        replace(TARGET, hits=(FIRST, SECOND), removable_um2=12_000.0, covered_um2=11_000.0),
        replace(TARGET, region_id="aaaaaaaaaaaa-2", hits=(THIRD,)),
    ),
    refused=(
        RefusedRegion(
            "aaaaaaaaaaaa-3", A, "too thin", "is too thin", TARGET.polygon_px, area_um2=9_000.0
        ),
    ),
)


def test_lists_have_a_line_a_hit_in_the_order_in_which_to_set_them():
    table = csv.DictReader(io.StringIO(only("csv", Handout(MANY)).decode(), newline=""))
    assert [
        (line["order"], line["region_id"], line["hit"], line["hits"], line["pick_x_um"])
        for line in table
    ] == [
        ("1", "aaaaaaaaaaaa-1", "1", "2", "5200"),
        ("2", "aaaaaaaaaaaa-2", "1", "1", "6100"),
        ("3", "aaaaaaaaaaaa-1", "2", "2", "5240"),
    ]
    for name in ("pos", "stg", "useq"):
        text = only(name, Handout(MANY, PICTURES)).decode()
        places = [text.index(f"0{order} aaaaaaaaaaaa") for order in (1, 2, 3)]
        assert places == sorted(places)


def test_the_document_says_tool_hits_and_what_was_refused():
    document = json.loads(only("json", Handout(MANY)))
    assert document["tool"]["name"] == "tip-100"
    assert (document["tool"]["removes_um"], document["tool"]["touches_um"]) == (100.0, 120.0)
    first, second = document["targets"]
    assert [hit["order"] for hit in first["hits"]] == [1, 3]
    assert (first["removable_um2"], first["covered_um2"]) == (12_000.0, 11_000.0)
    assert second["covered_um2"] is None
    (refused,) = document["refused"]
    assert (refused["region_id"], refused["reason"]) == ("aaaaaaaaaaaa-3", "too thin")


def test_pictures_have_each_region_once_with_all_its_hits(tmp_path):
    handout = Handout(MANY, PICTURES)
    features = json.loads(written("geojson", handout)["a" * 12])["features"]
    kinds = [one["geometry"]["type"] for one in features]
    assert kinds == ["Polygon", "Point", "Point", "Polygon", "Point"]
    assert len({one["id"] for one in features}) == 5
    path = tmp_path / "plan.roi.zip"
    path.write_bytes(written("imagej-roi", handout)["a" * 12])
    assert [roi.name for roi in roifile.roiread(path)] == [
        "01 aaaaaaaaaaaa-1 region",
        "01 aaaaaaaaaaaa-1 pick",
        "03 aaaaaaaaaaaa-1 pick",
        "02 aaaaaaaaaaaa-2 region",
        "02 aaaaaaaaaaaa-2 pick",
    ]
    from ome_types import from_xml

    rois = from_xml(only("ome-xml", handout).decode()).rois
    assert [len(roi.union) for roi in rois] == [3, 2]


# --- in other countries -------------------------------------------------------------------------


def german(cell):
    """The number that a German spreadsheet makes of a cell; None where it is a text to it."""
    plain = cell.replace(".", "")
    if cell.endswith("%"):
        return float(plain[:-1]) / 100
    return float(plain.replace(",", ".")) if re.fullmatch(r"-?\d+(,\d+)?", plain) else None


@given(
    x_um=st.floats(-1e5, 1e5),
    y_um=st.floats(-1e5, 1e5),
    probability=st.floats(0, 1),
    area_um2=st.floats(1, 1e8),
)
def test_no_default_list_is_misread_where_the_comma_is_the_decimal_mark(
    x_um, y_um, probability, area_um2
):
    """23326.543 was read as 23326543, and a tool sent there."""
    target = aimed(
        replace(TARGET, mean_probability=probability, area_um2=area_um2),
        pick_x_um=x_um,
        pick_y_um=y_um,
        well_x_um=x_um / 30,
        well_y_um=y_um / 30,
    )
    plan = replace(PLAN, targeting=TARGETING, targets=(target,))
    names = ("pick_x_um", "pick_y_um", "well_x_um", "area_um2", "mean_probability")
    columns = tuple(ColumnConfig(header=name, value=name) for name in names)
    values = values_of(plan, target, target.hits[0])
    for form in ("csv", "csv-mapped"):
        heading, line = rows(form, Handout(plan, columns=columns))
        for name, cell in zip(heading, line, strict=True):
            assert not re.search(r"[.,]\d{3}$", cell)
            if name in names:
                tolerance = 0.0051 if name == "mean_probability" else 0.501
                assert german(cell) == pytest.approx(values[name], abs=tolerance)
                if not cell.endswith("%"):
                    assert float(cell) == german(cell)


def test_separator_and_decimal_mark_are_settings():
    plan = in_well(PLAN)
    columns = (
        ColumnConfig(header="X", value="well_x_um"),
        ColumnConfig(header="Y mm", value="well_y_um", unit="mm"),
    )
    handout = Handout(plan, columns=columns, csv=CsvConfig(separator=";", decimal_mark=","))
    assert only("csv-mapped", handout).decode().splitlines()[:2] == ["X;Y mm", "120,40;-0,0806"]
    table = list(
        csv.DictReader(io.StringIO(only("csv", handout).decode(), newline=""), delimiter=";")
    )
    line = table[0]
    assert (line["pick_x_um"], line["pick_y_um"]) == ("5200,00", "-1100,50")
    assert (line["mean_probability"], line["area_um2"]) == ("0,9000", "14400,0")
    tabs = replace(handout, csv=CsvConfig(separator="tab", decimal_mark="."))
    assert only("csv-mapped", tabs).decode().splitlines()[1] == "120.40\t-0.0806"


@pytest.mark.parametrize(
    "given",
    [
        {"separator": ",", "decimal_mark": ","},
        {"decimal_mark": ","},
        {"separator": " "},
        {"decimal_mark": "'"},
    ],
)
def test_marks_that_cannot_be_told_apart_are_refused(given):
    with pytest.raises(ValueError):
        CsvConfig(**given)


@pytest.mark.parametrize("name", ["csv", "csv-mapped", "csv-echo"])
@pytest.mark.parametrize("dish", ["=HYPERLINK(1)", "+1", "-1+1", "@a", "\t=1", "x;=1"])
def test_a_dish_is_a_text_whatever_it_is_called(name, dish):
    plan = in_well(replace(PLAN, dish=f"{dish}/A1", approved_by="=cmd|' /C calc'!A0"))
    values = ("dish_id", "plate", "approved_by")
    columns = tuple(ColumnConfig(header="=H", value=value) for value in values)
    content = only(name, Handout(plan, columns=columns)).decode()
    for separator in ",;\t|":
        for row in csv.reader(io.StringIO(content, newline=""), delimiter=separator):
            for cell in row:
                number = re.fullmatch(r"[+-]?\d+", cell)
                assert number or not cell.strip(' "').startswith(("=", "+", "-", "@"))


def test_names_of_hits_sort_in_the_order_of_the_visits():
    """10 and 100 came before 2 in every program that sorts by name."""
    hits = tuple(replace(TARGET.hits[0], order=order) for order in range(1, 121))
    handout = Handout(replace(PLAN, targets=(replace(TARGET, hits=hits),)), PICTURES)
    names = [one["name"] for one in yaml.safe_load(only("useq", handout))["stage_positions"]]
    assert (names[0], names[-1]) == ("001 aaaaaaaaaaaa-1", "120 aaaaaaaaaaaa-1")
    assert names == sorted(names)
    features = json.loads(written("geojson", handout)["a" * 12])["features"]
    assert [one["properties"]["name"] for one in features][1:] == [f"{one} pick" for one in names]


# --- what a dispenser is to transfer ------------------------------------------------------------


def test_a_dispenser_is_told_what_to_take_from_where():
    echo = EchoConfig(
        source_plate="Dye",
        source_barcode="0012",
        source_type="384PP_AQ_BP",
        source_well="B3",
        destination_barcode="0013",
        volume_nl=12.5,
    )
    table = rows("csv-echo", Handout(in_well(PLAN, 120.4, -80.6), echo=echo))
    assert dict(zip(table[0], table[1], strict=True)) == {
        "Source Plate Name": "Dye",
        "Source Plate Barcode": "0012",
        "Source Plate Type": "384PP_AQ_BP",
        "Source Well": "B3",
        "Destination Plate Name": "3500003816",
        "Destination Plate Barcode": "0013",
        "Destination Well": "A1",
        "Transfer Volume": "12.5",
        "Destination Well X Offset": "120",
        "Destination Well Y Offset": "-81",
        "Region": "aaaaaaaaaaaa-1",
    }
    empty = rows("csv-echo", Handout(in_well(PLAN)))
    assert dict(zip(empty[0], empty[1], strict=True))["Transfer Volume"] == ""


def test_a_dispenser_gets_no_places_by_a_vessel_that_is_not_there_any_more():
    vessel = VesselConfig(kind="96-well", centre_um=(5_079.6, -1_019.9), rows_run="-y")
    plan = in_well(PLAN)
    assert rows("csv-echo", Handout(plan, vessel=Vessel(vessel)))[1:]
    moved = Vessel(vessel.model_copy(update={"centre_um": (5_090.0, -1_019.9)}))
    with pytest.raises(OutletError, match="vessel was changed since it was made") as raised:
        only("csv-echo", Handout(plan, vessel=moved))
    assert raised.value.permanent


@pytest.mark.parametrize("volume_nl", [0.0, 1.0, 3.0, 12.4, -2.5, float("inf"), float("nan")])
def test_a_volume_that_is_no_number_of_droplets_is_refused(volume_nl):
    with pytest.raises(ValueError):
        EchoConfig(volume_nl=volume_nl)
    assert EchoConfig(volume_nl=2.5).volume_nl == 2.5


@pytest.mark.parametrize("dish", ["a:3500003816/A1", "donor 7"])
def test_a_picker_reads_the_plates_own_barcode_whatever_people_call_the_dish(dish):
    """Where two sources use a name, the dish is called by both; the plate in the picker is not."""
    plan = replace(PLAN, dish=dish, source="a", label="3500003816/A1")
    said = values_of(plan, TARGET, TARGET.hits[0])
    assert (said["dish_id"], said["plate"], said["well"]) == (dish, "3500003816", "A1")
