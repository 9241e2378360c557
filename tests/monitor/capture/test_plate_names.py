"""Names that leave to their folders, or put into their prefix, what else a picture is of."""

from __future__ import annotations

from pathlib import PurePosixPath
from zoneinfo import ZoneInfo

import pytest

from monitor.capture.names.patterns import PRESETS, left_out, parse_name
from monitor.config import SourceSettings
from monitor.culture import NamedParts
from tests.monitor.capture.names.test_patterns import utc

UTC_ZONE = ZoneInfo("UTC")
AT = "1_2026y11m29d_03h00m.tif"
GUID = "EFB0F53A-F40F-46D8-A61A-51C2BE61E460"
HARMONY = "P__2026-11-29T03_00_00-Measurement"
PICTURE = "r01c01f01p01-ch1sk1fk1fl1.tiff"


def read(path: str) -> NamedParts:
    return parse_name(PurePosixPath(path), "auto", UTC_ZONE)


@pytest.mark.parametrize(
    ("path", "dish", "channel"),
    [
        # The prefix may be left out: then the folder is the vessel.
        (f"plateA/B2_{AT}", "plateA/B2", None),
        (f"plateB/b02_{AT}", "plateB/B2", None),
        (f"plateA/2026-11-29/B2_{AT}", "plateA/B2", None),
        (f"2026-11-29/plateA/B2_{AT}", "plateA/B2", None),
        (f"plateA/B2/B2_{AT}", "plateA/B2", None),
        (f"B2_{AT}", "B2", None),
        # It may hold the channel, after the vessel or alone.
        (f"VID123_Phase_B2_{AT}", "VID123/B2", "Phase"),
        (f"VID123_Green_B2_{AT}", "VID123/B2", "Green"),
        (f"VID123_NIR_B2_{AT}", "VID123/B2", "NIR"),
        (f"VID123_far_red_B2_{AT}", "VID123/B2", "far_red"),
        (f"VID123_Phase Contrast_B2_{AT}", "VID123/B2", "Phase Contrast"),
        (f"iPS_run_7_of May_Orange_B2_{AT}", "iPS_run_7_of May/B2", "Orange"),
        (f"plateA/Phase_B2_{AT}", "plateA/B2", "Phase"),
        (f"plateA/Green_B2_{AT}", "plateA/B2", "Green"),
        # A vessel may be called like a channel where the channel is said as well.
        (f"Green_Phase_B2_{AT}", "Green/B2", "Phase"),
        (f"Green_Red_B2_{AT}", "Green/B2", "Red"),
        (f"Greenhouse_B2_{AT}", "Greenhouse/B2", None),
        (f"my_Redox_B2_{AT}", "my_Redox/B2", None),
        (f"Phase2_B2_{AT}", "Phase2/B2", None),
        # Several of one colour are numbered, and what is made of a channel says so.
        (f"VID123_Green_1_B2_{AT}", "VID123/B2", "Green_1"),
        (f"VID123_Red Image 2_B2_{AT}", "VID123/B2", "Red Image 2"),
        (f"VID123_Near_IR_B2_{AT}", "VID123/B2", "Near_IR"),
        (f"VID123_Color1_B2_{AT}", "VID123/B2", "Color1"),
        (f"VID123_Green Object Confluence_B2_{AT}", "VID123/B2", "Green Object Confluence"),
        (f"plateA/Phase_Confluence_B2_{AT}", "plateA/B2", "Phase_Confluence"),
        (f"Green_12_B2_{AT}", "Green_12/B2", None),
        # Exports of several channels under one prefix lie in a folder each.
        (f"export/Green/VID123_B2_{AT}", "VID123/B2", "Green"),
        (f"plateA/Phase/B2_{AT}", "plateA/B2", "Phase"),
        (f"plateA/Phase/VID123_Green_B2_{AT}", "VID123/B2", "Green"),
    ],
)
def test_the_vessel_and_the_channel_of_an_incucyte_export(path, dish, channel):
    """Two plates must not be one dish, and a channel no dish of its own."""
    parts = read(path)
    assert (parts.pattern, parts.dish, parts.channel) == ("incucyte", dish, channel)
    assert parts.acquired_at == utc(2026, 11, 29, 3)
    elapsed = read(path.replace("2026y11m29d_03h00m", "01d03h00m"))
    assert (elapsed.pattern, elapsed.dish, elapsed.channel) == ("incucyte-elapsed", dish, channel)


@pytest.mark.parametrize(
    "prefix",
    ["Green_1", "Red Image 2", "Near_IR", "Color1", "Colour 2", "Green Object Confluence", "NIR"],
)
def test_a_fluorescent_channel_in_an_incucyte_prefix_is_left_out(prefix):
    """Taken for a vessel it would be a second dish with a number of its own."""
    settings = SourceSettings()
    assert left_out(read(f"VID123_{prefix}_B2_{AT}"), settings) == f"channel {prefix}"
    assert left_out(read(f"VID123_Phase_B2_{AT}"), settings) is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        # One site and one wavelength: neither is said, and the folders tell whose name it is.
        ("9987_Plate_3420/TimePoint_1/9987_B02.TIF", {"dish": "9987/B2", "field": None}),
        ("9987_Plate_3420/9987_b02.tif", {"dish": "9987/B2", "scan": None}),
        ("exp7/2026-11-29/1697/exp7_B02.tif", {"dish": "exp7/B2", "channel": None}),
        # Older exports: an identifier in brackets.
        (f"101210Plt1_C16_w2_[{GUID}].tif", {"dish": "101210Plt1/C16", "channel": "w2"}),
        (f"p/101210Plt1_c16_s3_w2_[{GUID.lower()}].TIF", {"dish": "101210Plt1/C16", "field": "3"}),
        (f"ips_B02_w1{GUID}.tif", {"dish": "ips/B2", "channel": "w1"}),
        ("ips_B02_s1_w12.tif", {"channel": "w12", "field": "1"}),
        (f"ips_B02_s1_w1{GUID.replace('EF', '12')}.tif", {"channel": "w1"}),
        # Projections lie in ZStep_0; the planes count from 1.
        (
            "9987_Plate_3434/TimePoint_1/ZStep_0/9987_B02_s1_w1.TIF",
            {"dish": "9987/B2", "plane": None, "projection": "projection"},
        ),
        ("p/TimePoint_1/ZStep_1/e_E07_s1_w1.tif", {"plane": 1, "projection": None}),
        ("p/TimePoint_1/e_E07_s1_w1.tif", {"plane": None, "projection": None}),
    ],
)
def test_names_of_a_metaxpress_export(path, expected):
    parts = read(path)
    assert parts.pattern == "imagexpress"
    assert {key: getattr(parts, key) for key in expected} == expected


def test_a_name_that_only_ends_like_a_well_is_no_metaxpress_name():
    """Any lab's ``notes_B02.tif`` would be a dish, were it not for the folders."""
    assert PRESETS["imagexpress"].parse(PurePosixPath("plates/notes_B02.tif"), UTC_ZONE) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # Only the number of the acquisition, the day, or the visit tells them apart.
        ("exp7/2026-11-29/1697/TimePoint_1/", "exp7/2026-11-30/1698/TimePoint_1/"),
        ("2026-11-29/exp7/TimePoint_1/", "2026-11-30/exp7/TimePoint_1/"),
        ("exp7/2026-11-29/TimePoint_1/", "exp7/2026-11-30/TimePoint_1/"),
        ("visit 1/exp7/TimePoint_1/", "visit 2/exp7/TimePoint_1/"),
        ("exp7/TimePoint_1/", "exp7/TimePoint_2/"),
    ],
)
def test_two_visits_to_a_plate_are_two_scans_of_the_same_dish(one, other):
    name = "exp7_B02_s1_w1.tif"
    first, second = read(one + name), read(other + name)
    assert first.dish == second.dish == "exp7/B2"
    assert first.scan != second.scan
    assert first.scan == read(one + name.replace("_s1", "_s2")).scan
    assert first.scan == read(f"{one}ZStep_3/{name}").scan


@pytest.mark.parametrize(
    "name", ["A - 01(fld 1 wv TL z 1 time 2 - 2636ms).tif", "A1_-1_1_1_Bright Field_002.tif"]
)
@pytest.mark.parametrize(
    "folders", ["plate7/{day}", "{day}/plate7", "plate7/{day}_03-00", "rig/plate7/{day}/A01"]
)
def test_a_plate_goes_on_from_day_to_day(name, folders):
    """A folder of a day is no plate: its dish would never have a series, or two plates one."""
    first, second = (read(f"{folders.format(day=d)}/{name}") for d in ("2026-11-29", "2026-11-30"))
    assert first.dish == second.dish == "plate7/A1"
    assert first.scan != second.scan
    assert read(f"2026-11-29/plate8/{name}").dish == "plate8/A1"
    assert read(f"20261129/{name}").dish == "20261129/A1", "better than no plate at all"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("A - 13(fld 2).tif", {"dish": "plate7/A13", "field": "2", "channel": None}),
        ("A - 13(fld 2 z 3).tif", {"dish": "plate7/A13", "plane": 3, "channel": None}),
        ("A - 13(fld 02 time 1 - 0ms).tif", {"scan": "plate7/t1", "channel": None}),
        ("A - 13(fld 2 wv Green - dsRed).tif", {"channel": "Green - dsRed"}),
        ("A_13_f2.tif", {"dish": "plate7/A13", "field": "2", "channel": None}),
        ("A_13_f2_c1_xTL_mDAPI.tif", {"channel": "TL - DAPI"}),
        ("A_13_f2_c2_xUV_mDAPI.tif", {"channel": "DAPI"}),
    ],
)
def test_names_of_an_in_cell(name, expected):
    parts = read(f"plate7/{name}")
    assert parts.pattern == "incell"
    assert {key: getattr(parts, key) for key in expected} == expected


@pytest.mark.parametrize(
    ("folders", "dish", "hour"),
    [
        (f"{HARMONY} 1/Images/", "P/A1", 3),
        (f"{HARMONY} 1/", "P/A1", 3),
        # Harmony 7 puts each well into a folder of its own.
        (f"{HARMONY} 1/A1/", "P/A1", 3),
        (f"{HARMONY} 12/Images/a01/", "P/A1", 3),
        (f"2026-11-29/{HARMONY} 1/Images/", "P/A1", 3),
        ("copied/A1/", "copied/A1", None),
        ("copied/Images/", "copied/A1", None),
    ],
)
def test_the_plate_and_the_start_of_a_harmony_measurement(folders, dish, hour):
    parts = read(folders + PICTURE)
    assert (parts.pattern, parts.dish) == ("operetta", dish)
    assert parts.acquired_at == (None if hour is None else utc(2026, 11, 29, hour))


def test_measurements_of_one_plate_are_scans_of_it():
    first, second = read(f"{HARMONY} 1/A1/{PICTURE}"), read(f"{HARMONY} 2/A1/{PICTURE}")
    assert first.dish == second.dish and first.scan != second.scan


def test_a_projection_of_gen5_is_one_of_its_channel():
    parts = read("p/A1_02_1_1_ZProj[Bright Field]_001.tif")
    assert (parts.pattern, parts.channel, parts.projection) == (
        "gen5",
        "Bright Field",
        "projection",
    )
