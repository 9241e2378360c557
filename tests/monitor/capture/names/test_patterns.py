from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePath, PurePosixPath
from typing import get_type_hints
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.capture.names.parts import WallClock
from monitor.capture.names.patterns import (
    PRESETS,
    best_preset,
    find_pattern,
    left_out,
    parse_name,
    shown_name,
)
from monitor.config import SourceSettings
from monitor.culture import NamedParts, StagePosition
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
    assert (parts.pattern, parts.dish, parts.field) == ("incucyte", "VID123/B2", "1")
    assert parts.channel == "Phase"
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


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: preset.name)
def test_every_presets_function_takes_and_gives_what_a_preset_does(preset):
    """It is found by its name in a table, where no type checker looks."""
    hints = get_type_hints(preset.read)
    assert hints == {"path": PurePath, "clock": WallClock, "return": NamedParts | None}


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


BERLIN = ZoneInfo("Europe/Berlin")
HARMONY = "dish7__2026-11-02T03_00_00-Measurement 1/Images"


@pytest.mark.parametrize(
    ("name", "pattern", "expected"),
    [
        (
            "A172_Phase_A7_1_00d04h00m_1.tif",
            "incucyte-elapsed",
            {
                "dish": "A172/A7",
                "channel": "Phase",
                "field": "1-1",
                "scan": "/00d04h00m",
                "elapsed_s": 14_400.0,
            },
        ),
        ("B02_3_12d23h59m.tif", "incucyte-elapsed", {"dish": "B2", "field": "3"}),
        (
            "/mnt/EssenFiles/ScanData/2611/02/0300/1012/A1-4-Ph.tif",
            "incucyte-raw",
            {
                "dish": "1012/A1",
                "field": "4",
                "channel": "Ph",
                "scan": "2026-11-02T03-00",
                "acquired_at": utc(2026, 11, 2, 2),
            },
        ),
        (
            "P1/TimePoint_3/ips_B02_s4_w2A1B2C3D4-0123-4567-89AB-CDEF01234567.tif",
            "imagexpress",
            {"dish": "ips/B2", "field": "4", "channel": "w2", "scan": "P1/t3", "plane": None},
        ),
        (
            "P1/TimePoint_1/ZStep_2/ips_B02_s4_w1.TIF",
            "imagexpress",
            {"dish": "ips/B2", "scan": "P1/t1", "plane": 2},
        ),
        ("ips_run_H12_w1.tif", "imagexpress", {"dish": "ips_run/H12", "field": None}),
        (
            "P1/timepoint0/ips_t2_C05_s1_w0_z4.tif",
            "imagexpress-hcs",
            {"dish": "ips/C5", "field": "1", "channel": "w0", "scan": "P1/t2", "plane": 5},
        ),
        (
            f"{HARMONY}/r02c11f003p02-ch2sk1fk1fl1.tiff",
            "operetta",
            {
                "dish": "dish7/B11",
                "field": "3",
                "channel": "ch2",
                "plane": 2,
                "acquired_at": utc(2026, 11, 2, 2),
            },
        ),
        (f"{HARMONY}/r01c01f01p01-ch1sk9fk1fl1.tiff", "operetta", {"acquired_at": None}),
        ("r27c01f01p01-ch1sk1fk1fl1.tiff", "operetta", {"dish": "AA1", "scan": "/t1"}),
        (
            "261102_plate7/A1_-1_1_2_Bright Field_003.tif",
            "gen5",
            {"dish": "261102_plate7/A1", "field": "2", "channel": "Bright Field"},
        ),
        ("p/H12_02_1_1_Phase Contrast_001.tif", "gen5", {"dish": "p/H12", "scan": "p/t1"}),
        ("p/A1_-1Z2_Bright Field_4_1_001.tif", "gen5", {"field": "4", "plane": 2}),
        (
            "p/F2_03_1_1Z0_Bright Field_002.tif",
            "gen5",
            {"dish": "p/F2", "field": "1", "plane": 1, "channel": "Bright Field", "scan": "p/t2"},
        ),
        ("p/F2_03_1_12Z4_Bright Field_002.tif", "gen5", {"field": "12", "plane": 5}),
        ("p/A1ROI1_02_1_3Z5_GFP_001.tif", "gen5", {"field": "roi1-3", "plane": 5}),
        (
            "p/A - 01(fld 1 wv UV - DAPI z 3 time 2 - 2636ms).tif",
            "incell",
            {"dish": "p/A1", "field": "1", "channel": "UV - DAPI", "plane": 3, "scan": "p/t2"},
        ),
        ("p/H - 12(fld 04 wv TL-Brightfield).tif", "incell", {"dish": "p/H12", "field": "04"}),
        (
            "p/A_01_f2_c1_xUV_mDAPI_z3_t2.tif",
            "incell",
            {"dish": "p/A1", "field": "2", "channel": "DAPI", "plane": 3, "scan": "p/t2"},
        ),
        (
            "out/run7_B11_T0002F013L01A01Z03C02.tif",
            "yokogawa",
            {"dish": "run7/B11", "field": "13", "channel": "C02", "plane": 3, "scan": "out/t2"},
        ),
        ("dish-07_3_MMStack_Pos0.ome.tif", "micro-manager", {"dish": "dish-07", "field": "Pos0"}),
        (
            "dish-07_12_MMStack_1-Pos_000_001.ome.tif",
            "micro-manager",
            {"dish": "dish-07", "field": "1-Pos_000_001"},
        ),
        ("p7_1_MMStack_B2-Site_3.ome.tif", "micro-manager", {"dish": "p7/B2", "field": "3"}),
        ("dish_MMStack.ome.tif", "micro-manager", {"dish": "dish", "field": None}),
    ],
)
def test_what_each_imagers_names_say(name, pattern, expected):
    parts = parse_name(PurePosixPath(name), "auto", BERLIN)
    assert parts.pattern == pattern
    assert {key: getattr(parts, key) for key in expected} == expected
    claims = [
        one.name
        for one in PRESETS.values()
        if one.automatic and one.parse(PurePosixPath(name), BERLIN)
    ]
    assert claims == [pattern], "a name that two presets claim says nothing certain"


@pytest.mark.parametrize(
    "name",
    [
        "A172_A7_1_00d24h00m.tif",
        "A172_A7_1_00d04h60m.tif",
        "ScanData/2613/02/0300/1012/A1-1-Ph.tif",
        "ScanData/2611/02/2500/1012/A1-1-Ph.tif",
        "r00c01f01p01-ch1sk1fk1fl1.tiff",
        "r01c01f01p00-ch1sk1fk1fl1.tiff",
        "p_A01_T0001F001L01A01Z00C01.tif",
        "big_1_MMStack_Pos0_1.ome.tif",
        "big_1_MMStack_1.ome.tif",
    ],
)
def test_names_of_an_imager_that_say_something_impossible_are_refused(name):
    with pytest.raises(CaptureError) as refused:
        parse_name(PurePosixPath(name), "auto", BERLIN)
    assert refused.value.reason == "bad-name"


def test_the_time_since_the_start_needs_a_start():
    name = PurePath("A172_A7_1_01d04h30m.tif")
    assert parse_name(name, "auto", BERLIN).acquired_at is None
    started = utc(2026, 10, 24, 12)
    timed = parse_name(name, "auto", BERLIN, started)
    assert timed.acquired_at == utc(2026, 10, 25, 16, 30)
    later = parse_name(name, "auto", BERLIN, utc(2026, 11, 24, 12))
    assert timed.scan != later.scan, "the same hour of two experiments is two visits"
    folders = [parse_name(PurePath(folder) / name, "auto", BERLIN).scan for folder in ("a", "b")]
    assert folders[0] != folders[1]


def test_an_own_pattern_understands_the_time_since_the_start():
    spec = r"(?P<dish>\w+)_(?P<elapsed>[^_]+)"
    for text, hours in (("36h", 36), ("1d12h", 36), ("2160m", 36), ("00d04h00m", 4)):
        parts = parse_name(PurePath(f"d1_{text}.tif"), spec, BERLIN, utc(2026, 11, 1))
        assert parts.acquired_at == utc(2026, 11, 1) + timedelta(hours=hours)
    with pytest.raises(CaptureError, match="not a time since the start"):
        parse_name(PurePath("d1_36.tif"), spec, BERLIN)


@pytest.mark.parametrize(
    ("zone", "local", "at"),
    [
        # Clocks go forward: 02:30 never comes and is read with the offset before the change.
        ("Europe/Berlin", "20260329_0159", utc(2026, 3, 29, 0, 59)),
        ("Europe/Berlin", "20260329_0230", utc(2026, 3, 29, 1, 30)),
        ("Europe/Berlin", "20260329_0300", utc(2026, 3, 29, 1)),
        # They go back: 02:30 comes twice, and the first is taken.
        ("Europe/Berlin", "20261025_0230", utc(2026, 10, 25, 0, 30)),
        ("Europe/Berlin", "20261025_0300", utc(2026, 10, 25, 2)),
        ("America/Los_Angeles", "20260308_0159", utc(2026, 3, 8, 9, 59)),
        ("America/Los_Angeles", "20260308_0300", utc(2026, 3, 8, 10)),
        ("America/Los_Angeles", "20261101_0159", utc(2026, 11, 1, 8, 59)),
        ("America/Los_Angeles", "20261101_0200", utc(2026, 11, 1, 10)),
        ("Asia/Tokyo", "20261025_0230", utc(2026, 10, 24, 17, 30)),
    ],
)
def test_the_hour_that_the_clocks_skip_or_repeat(zone, local, at):
    for name in (
        f"d_{local}.tif",
        f"VID_B2_1_{local[:4]}y{local[4:6]}m{local[6:8]}d_{local[9:11]}h{local[11:]}m.tif",
        f"{local[2:6]}/{local[6:8]}/{local[9:]}/7/B2-1-Ph.tif",
    ):
        assert parse_name(PurePosixPath(name), "auto", ZoneInfo(zone)).acquired_at == at, name


@pytest.mark.parametrize(
    ("name", "settings", "why"),
    [
        ("2611/02/0300/7/A1-1-Ph.tif", {}, None),
        ("2611/02/0300/7/A1-1-C1.tif", {}, "channel C1"),
        ("2611/02/0300/7/A1-1-C1.tif", {"channel": "c1"}, None),
        ("2611/02/0300/7/A1-1-Ph.tif", {"channel": "C1"}, "channel Ph"),
        ("p/A1_-1_1_1_Bright Field_001.tif", {}, None),
        ("p/A1_-1_1_1_Bright Field_001.tif", {"channel": "brightfield"}, None),
        ("p/A1_-1_1_1_GFP_001.tif", {}, "channel GFP"),
        ("p/A1_-1_1_1_Tsf[Phase Contrast]_001.tif", {"channel": "Phase Contrast"}, None),
        ("p_A01_T0001F001L01A01Z01C01.tif", {"channel": "1"}, None),
        ("p_A01_T0001F001L01A01Z01C01.tif", {"channel": "ch1"}, None),
        ("p_A01_T0001F001L01A01Z01C02.tif", {"channel": "1"}, "channel C02"),
        ("p_A01_T0001F001L01A01Z02C01.tif", {}, "plane 2"),
        ("p_A01_T0001F001L01A01Z02C01.tif", {"plane": 2}, None),
        ("dish_20261102_0300.tif", {"channel": "phase", "plane": 3}, None),
        (FIELD, {}, None),
        (FIELD, {"channel": "Ch2"}, "channel Ch1"),
    ],
)
def test_files_of_other_channels_and_heights_are_left_out(name, settings, why):
    named = parse_name(PurePosixPath(name), "auto", BERLIN)
    assert left_out(named, SourceSettings(**settings)) == why


def test_the_start_of_an_experiment_is_in_the_sources_zone():
    for text in ("2026-10-24 12:00", "2026-10-24T12:00:00+02:00", "2026-10-24 10:00Z"):
        settings = SourceSettings(timezone="Europe/Berlin", experiment_start=text)
        assert settings.start == utc(2026, 10, 24, 10), text
    for text in ("2026-10-24", "yesterday", 7):
        with pytest.raises(ValueError, match="time of day"):
            SourceSettings(experiment_start=text)


EXAMPLES = [preset.example for preset in PRESETS.values()]


@given(
    st.sampled_from(EXAMPLES),
    st.lists(
        st.tuples(
            st.integers(0, 120), st.integers(0, 3), st.text("0123456789/_-. aZ\n\u0663", max_size=9)
        ),
        max_size=4,
    ),
    st.sampled_from([None, utc(2026, 11, 2), datetime.max.replace(tzinfo=UTC)]),
)
@settings(max_examples=400, deadline=None)
def test_names_like_an_imagers_bring_nothing_but_a_capture_error(name, changes, start):
    """Names that nearly fit reach deeper than random text does."""
    for at, removed, added in changes:
        name = name[:at] + added + name[at + removed :]
    try:
        parts = parse_name(PurePosixPath(name), "auto", BERLIN, start)
    except CaptureError as refused:
        assert refused.reason in {"no-name-match", "bad-name"}
        assert str(refused).isprintable()
    else:
        assert parts.dish.isprintable() and parts.dish.strip()
        assert parts.acquired_at is None or parts.acquired_at.tzinfo == UTC
        assert parts.plane is None or parts.plane >= 1
        left_out(parts, SourceSettings())


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: preset.name)
def test_every_preset_stands_in_the_documentation(preset):
    text = (Path(__file__).parents[4] / "docs" / "formats.md").read_text(encoding="utf-8")
    assert f"| `{preset.name}` | `{preset.example}`" in text
