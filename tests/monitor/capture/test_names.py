from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import PurePath, PurePosixPath
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.capture.names import (
    PRESETS,
    best_preset,
    find_pattern,
    parse_name,
    shown_name,
)
from monitor.culture import StagePosition
from monitor.errors import CaptureError, ConfigError

SEATTLE = ZoneInfo("America/Los_Angeles")
FIELD = "3500003816_Scan_2-11-2020-11-59-54-AM_Well_A1_Xmm-0.990_Ymm2.975_Ch1_1um.tiff"
WELL = "3500002779_Scan_2-25-2019-8-08-35-AM_Well_B12_Ch1_-1um_resized.tiff"


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


def test_a_plate_imagers_field_name_says_everything():
    parts = parse_name(PurePath(FIELD), "auto", SEATTLE)
    assert parts.pattern == "celigo-field"
    assert parts.dish == "3500003816/A1"
    assert parts.acquired_at == utc(2020, 2, 11, 19, 59, 54)
    assert parts.stage == StagePosition(-990.0, 2975.0)
    assert parts.pixel_size_um == 1.0
    assert parts.channel == "Ch1"


def test_fields_of_one_visit_share_the_scan_but_not_the_field():
    one = parse_name(PurePath(FIELD), "auto", SEATTLE)
    other = parse_name(PurePath(FIELD.replace("0.990", "2.968")), "auto", SEATTLE)
    later = parse_name(PurePath(FIELD.replace("AM", "PM")), "auto", SEATTLE)
    assert one.scan == other.scan and one.field != other.field
    assert one.scan != later.scan and one.field == later.field


def test_a_whole_well_gives_no_pixel_size_since_minus_one_is_none():
    parts = parse_name(PurePath(WELL), "auto", SEATTLE)
    assert (parts.pattern, parts.dish) == ("celigo-well", "3500002779/B12")
    assert parts.pixel_size_um is None and parts.stage is None and parts.field is None
    assert PRESETS["celigo-well"].whole_well and not PRESETS["celigo-field"].whole_well


@pytest.mark.parametrize(
    ("name", "dish", "field", "at"),
    [
        ("dish-07_20261102T030000Z_f1.ome.tif", "dish-07", "1", utc(2026, 11, 2, 3)),
        ("dish-07_20261102T030000Z.ome.tiff", "dish-07", None, utc(2026, 11, 2, 3)),
        ("dish-07_20261102T030000-0800_f12.TIF", "dish-07", "12", utc(2026, 11, 2, 11)),
        ("dish-07_20261102T0300+09:00.png", "dish-07", None, utc(2026, 11, 1, 18)),
        ("dish-07_2026-11-02_03-00.tif", "dish-07", None, utc(2026, 11, 2, 11)),
        ("dish-07_2026-11-02_03-00-59.jpg", "dish-07", None, utc(2026, 11, 2, 11, 0, 59)),
        ("dish-07_20261102_0300_2.png", "dish-07", "2", utc(2026, 11, 2, 11)),
        ("dish-07_20261102_030005_s2.png", "dish-07", "2", utc(2026, 11, 2, 11, 0, 5)),
        ("my dish 7 20261102 0300.tif", "my dish 7", None, utc(2026, 11, 2, 11)),
        ("皿_七_20261102_0300.tif", "皿_七", None, utc(2026, 11, 2, 11)),
    ],
)
def test_plain_dish_date_time_names(name, dish, field, at):
    parts = parse_name(PurePath("2026", "November", name), "auto", SEATTLE)
    assert parts.pattern == "dish-time"
    assert (parts.dish, parts.field, parts.acquired_at) == (dish, field, at)


def test_an_incucyte_name_gives_prefix_and_well_as_the_dish():
    name = PurePath("VID123_Phase_B02_1_2026y11m02d_03h00m.tif")
    parts = parse_name(name, "auto", ZoneInfo("Asia/Tokyo"))
    assert (parts.pattern, parts.dish, parts.field) == ("incucyte", "VID123_Phase/B2", "1")
    assert parts.acquired_at == utc(2026, 11, 1, 18)
    assert parts.pixel_size_um is None


@pytest.mark.parametrize(
    ("local", "at"),
    [
        # The night the clocks go back 01:30 comes twice: the first is taken.
        ("20261101_0130", utc(2026, 11, 1, 8, 30)),
        ("20261101_0300", utc(2026, 11, 1, 11)),
        # The night they go forward 02:30 never comes: the offset before the change is taken.
        ("20260308_0230", utc(2026, 3, 8, 10, 30)),
        ("20260308_0330", utc(2026, 3, 8, 10, 30)),
    ],
)
def test_local_times_follow_daylight_saving(local, at):
    assert parse_name(PurePath(f"d_{local}.tif"), "auto", SEATTLE).acquired_at == at


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: preset.name)
def test_every_preset_reads_its_own_example(preset):
    parts = preset.parse(PurePath(preset.example), SEATTLE)
    assert parts is not None and parts.pattern == preset.name


@pytest.mark.parametrize("preset", [one for one in PRESETS.values() if one.automatic])
def test_no_other_automatic_preset_reads_it_too(preset):
    fits = [
        one.name
        for one in PRESETS.values()
        if one.automatic and one.parse(PurePath(preset.example), SEATTLE)
    ]
    assert fits == [preset.name]


@pytest.mark.parametrize(
    "name",
    [
        "3500003816_Scan_2-31-2020-11-59-54-AM_Well_A1_Xmm-0.990_Ymm2.975_Ch1_1um.tiff",
        "3500003816_Scan_2-11-2020-13-59-54-PM_Well_A1_Xmm-0.990_Ymm2.975_Ch1_1um.tiff",
        "dish_20261131_0300.tif",
        "dish_20261102_2561.tif",
        "dish_20261102T0300+99:00.tif",
        "dish_00010101T0000+14:00.tif",
        "VID_B2_1_2026y13m02d_03h00m.tif",
        "a\u200b_20261102_0300.tif",
        os.fsdecode(b"dish\xff_20261102_0300.tif"),
        "x" * 201 + "_20261102_0300.tif",
    ],
)
def test_impossible_names_are_refused_with_their_reason(name):
    with pytest.raises(CaptureError) as refused:
        parse_name(PurePath(name), "auto", SEATTLE)
    assert refused.value.reason == "bad-name" and not refused.value.transient
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", ["holiday.png", "dish-07.tif", "20261102_0300.tif", "a\nb.tif"])
def test_a_name_that_nothing_fits_says_what_was_tried(name):
    with pytest.raises(CaptureError, match=r"celigo-field, .*dish-time.*`names`") as refused:
        parse_name(PurePath("/data/dish-1", name), "auto", SEATTLE)
    assert refused.value.reason == "no-name-match"
    assert str(refused.value).isprintable()


def test_a_named_preset_is_not_replaced_by_another_that_fits():
    with pytest.raises(CaptureError, match="incucyte"):
        parse_name(PurePath(FIELD), "incucyte", SEATTLE)


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(ConfigError, match=r"'incucite'.*celigo-field, celigo-well, incucyte"):
        find_pattern("incucite")


def test_auto_is_no_pattern_of_its_own():
    assert find_pattern("auto") is None


@pytest.mark.parametrize(
    ("spec", "path", "expected"),
    [
        (
            r"(?P<plate>\w+)-(?P<well>[A-H]\d+)-(?P<date>\d{8})-(?P<time>\d{4})-(?P<field>\d)",
            "P1-A01-20261102-0300-3.tif",
            {"dish": "P1/A1", "field": "3", "acquired_at": utc(2026, 11, 2, 11)},
        ),
        (
            r"(?P<date>[\dymd]+_[\dhm]+)_(?P<dish>.+)\.tif",
            "2026y11m02d_03h00m_d1.tif",
            {"dish": "d1", "acquired_at": utc(2026, 11, 2, 11)},
        ),
        (
            r"(?P<dish>[^/]+)/(?P<date>[\d-]+)/img(?P<time>[\dZ]+)",
            "room/d1/2026-11-02/img030000Z.ome.tif",
            {"dish": "d1", "acquired_at": utc(2026, 11, 2, 3)},
        ),
        (
            r"(?P<dish>.+)_(?P<scan>s\d+)_x(?P<x_mm>[-\d.]+)y(?P<y_mm>[-\d.]+)p(?P<pixel_size_um>.+)",
            "d1_s12_x-1.5y2p0.65.png",
            {
                "dish": "d1",
                "scan": "s12",
                "stage": StagePosition(-1500.0, 2000.0),
                "pixel_size_um": 0.65,
                "acquired_at": None,
            },
        ),
        (
            r"(?P<well>[A-H]\d+)_(?P<elapsed>\d+d\d+h\d+m)_(?P<x_um>-?\d+)_(?P<y_um>\d+)",
            "B3_00d04h00m_-10_20.tif",
            {"dish": "B3", "scan": "00d04h00m", "stage": StagePosition(-10.0, 20.0)},
        ),
        (r"dish(?P<dish>\d+)_", "old_dish12_a.tif", {"dish": "12"}),
    ],
)
def test_a_labs_own_pattern(spec, path, expected):
    parts = parse_name(PurePath(path), spec, SEATTLE)
    assert parts.pattern == "own"
    assert {name: getattr(parts, name) for name in expected} == expected


@pytest.mark.parametrize(
    "name",
    [
        "d1_2026-02-30T0300_p1.tif",
        "d1_11-02-2026T0300_p1.tif",  # November in one country, February in the next
        "d1_2026-11-02T0300_p0.tif",
    ],
)
def test_a_labs_own_pattern_refuses_what_it_cannot_understand(name):
    spec = r"(?P<dish>d\d)_(?P<date>[\dT-]+)_p(?P<pixel_size_um>\d)"
    with pytest.raises(CaptureError) as refused:
        parse_name(PurePath(name), spec, SEATTLE)
    assert refused.value.reason == "bad-name"


def test_a_folder_a_dish_is_never_chosen_by_itself():
    path = PurePosixPath("plate-1/dish-2/IMG_0001.png")
    assert parse_name(path, "dish-folder", SEATTLE).dish == "plate-1/dish-2"
    assert parse_name(PurePosixPath("/data/dish-2/a.png"), "dish-folder", SEATTLE).dish == "dish-2"
    with pytest.raises(CaptureError):
        parse_name(path, "auto", SEATTLE)
    with pytest.raises(CaptureError):
        parse_name(PurePosixPath("IMG_0001.png"), "dish-folder", SEATTLE)


def test_the_preset_of_a_folder_is_the_one_that_fits_the_most_names():
    paths = [PurePath(FIELD.replace("A1", f"A{n}")) for n in range(1, 4)]
    best = best_preset([*paths, PurePath(WELL), PurePath("notes.png")], SEATTLE)
    assert best is not None
    assert (best[0].name, best[1]) == ("celigo-field", 3)
    assert best_preset([PurePath("notes.png")], SEATTLE) is None
    assert best_preset([], SEATTLE) is None


@given(st.text(min_size=1, max_size=60))
def test_no_name_brings_anything_but_a_capture_error(text):
    for name in (text, f"{text}_20261102_0300.tif", f"{FIELD[:40]}{text}"):
        try:
            parts = parse_name(PurePosixPath(name), "auto", SEATTLE)
        except CaptureError as refused:
            assert refused.reason in {"no-name-match", "bad-name"}
            assert str(refused).isprintable()
        else:
            assert parts.dish.isprintable()


def test_a_shown_name_keeps_every_byte_recognisable():
    assert shown_name(PurePath(os.fsdecode(b"a\xffb\nc.tif"))) == "a\\xffb\\nc.tif"
    assert shown_name(PurePath("皿.tif")) == "皿.tif"
