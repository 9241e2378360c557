import csv
import io
import json
import os
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.culture import PlanStatus
from monitor.errors import OutletError
from monitor.outlets.picking import (
    Handout,
    file_stem,
    plan_as_csv,
    plan_as_json,
    stage_plan,
    withdraw_plan,
)
from monitor.outlets.picking.csv_list import COLUMNS
from tests.monitor.outlets.plans import NOW, PLAN


def write_plan(plan, folder, *, now):
    """As the delivery does, but for the record between the two steps."""
    return stage_plan(Handout(plan), folder, now=now, token="t").publish()


def lines(plan=PLAN, **settings):
    return list(csv.DictReader(io.StringIO(plan_as_csv(plan, **settings), newline="")))


def test_the_list_has_one_line_a_target_in_the_order_of_the_visit():
    assert [(line["order"], line["region_id"]) for line in lines()] == [
        ("1", "aaaaaaaaaaaa-1"),
        ("2", "aaaaaaaaaaaa-2"),
    ]


def test_a_line_says_everything_that_a_picker_can_ask():
    line = lines(calibration_rms_um=4.2)[0]
    assert tuple(line) == COLUMNS
    assert line == {
        "schema_version": "1",
        "export_id": "20261103T093000-17",
        "dish_id": "3500003816/A1",
        "vessel_type": "plate",
        "well": "A1",
        "capture_sha256": "a" * 64,
        "acquired_at_utc": "2026-11-03T09:20:00Z",
        "region_id": "aaaaaaaaaaaa-1",
        "action": "remove",
        "class": "differentiated",
        "mean_probability": "90%",
        "area_um2": "14400",
        "equiv_diameter_um": "135",
        "centroid_x_px": "300",  # x is the column
        "centroid_y_px": "151",
        "pick_x_px": "300",
        "pick_y_px": "150",
        "pick_x_um": "5200",
        "pick_y_um": "-1100",
        "pick_z_um": "250",
        "frame": "stage",
        "calibration_id": "scope-1",
        "calibration_rms_um": "5",
        "order": "1",
        "approved_by": "A. Person, lab 3",
        "approved_at_utc": "2026-11-03T09:29:00Z",
        "expires_at_utc": "2026-11-03T21:30:00Z",
        "stage_x_um": "5200",
        "stage_y_um": "-1100",
        "well_x_um": "",
        "well_y_um": "",
        "picker_calibration_id": "",
        "hit": "1",
        "hits": "1",
        "clearance_um": "60",
        "tool": "",
        "whole_colony": "false",
        "snap_um": "",
        "visit": "1",
    }


def test_what_is_not_known_is_empty_and_not_zero():
    line = lines()[1]
    assert (line["pick_z_um"], line["calibration_rms_um"]) == ("", "")


def test_the_document_names_its_schema_units_and_frames():
    document = json.loads(plan_as_json(PLAN, calibration_rms_um=4.2))
    assert document["schema"] == "colonywatch/removal-plan/1"
    assert (document["dish"], document["well"], document["frame"]) == (
        "3500003816/A1",
        "A1",
        "stage",
    )
    assert document["calibration"] == {"id": "scope-1", "rms_um": 4.2}
    assert document["area_um2"] == 34_400.0
    assert document["left_out"] == ["3 regions are too small (below 10000 µm²)."]
    first = document["targets"][0]
    (hit,) = first["hits"]
    assert hit["pick_stage_um"] == {"x": 5200.0, "y": -1100.5, "z": 250.0}
    assert hit["pick_px"] == {"row": 150.0, "column": 300.0}
    assert first["polygon_row_column_px"][1] == [120.0, 330.0]
    assert [target["order"] for target in document["targets"]] == [1, 2]


def test_a_plan_arrives_with_its_list_and_its_checksums_last(tmp_path):
    paths = write_plan(PLAN, tmp_path / "removal", now=NOW)
    assert [path.name for path in paths] == [
        "3500003816_A1_20261103T093000-17.json",
        "3500003816_A1_20261103T093000-17.csv",
        "3500003816_A1_20261103T093000-17.sha256",
    ]
    assert sorted(path.name for path in (tmp_path / "removal").iterdir()) == sorted(
        path.name for path in paths
    )
    assert paths[1].read_bytes().startswith(b"schema_version,export_id,")
    assert paths[1].read_bytes().count(b"\r\n") == 3


def test_writing_a_plan_again_replaces_its_files(tmp_path):
    write_plan(PLAN, tmp_path, now=NOW)
    exported = replace(PLAN, status=PlanStatus.EXPORTED)
    write_plan(exported, tmp_path, now=NOW)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_withdrawn_plan_leaves_nothing_behind_and_others_alone(tmp_path):
    other = replace(PLAN, id="other")
    write_plan(PLAN, tmp_path, now=NOW)
    write_plan(other, tmp_path, now=NOW)
    gone = withdraw_plan(PLAN, tmp_path)
    assert [path.suffix for path in gone] == [".sha256", ".csv", ".json"]
    assert {path.stem for path in tmp_path.iterdir()} == {file_stem(other)}
    assert withdraw_plan(PLAN, tmp_path) == []
    assert withdraw_plan(PLAN, tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"status": PlanStatus.DRAFT}, "is draft"),
        ({"status": PlanStatus.REJECTED}, "is rejected"),
        ({"status": PlanStatus.SUPERSEDED}, "is superseded"),
        ({"status": PlanStatus.EXPIRED}, "is expired"),
        ({"status": PlanStatus.PICKED}, "is picked"),
        ({"expires_at": NOW}, "expired at 2026-11-03 09:30 UTC"),
        ({"expires_at": NOW - timedelta(days=2)}, "expired at 2026-11-01"),
        ({"targets": ()}, "no target"),
    ],
)
def test_a_plan_that_may_not_be_carried_out_never_reaches_the_picker(tmp_path, change, text):
    with pytest.raises(OutletError, match=text) as raised:
        write_plan(replace(PLAN, **change), tmp_path, now=NOW)
    assert raised.value.permanent
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_tried_again_later(tmp_path):
    (tmp_path / "removal").write_text("a file, not a folder")
    with pytest.raises(OutletError, match="cannot be written") as raised:
        write_plan(PLAN, tmp_path / "removal", now=NOW)
    assert not raised.value.permanent


def test_where_the_list_cannot_be_written_the_rest_of_the_set_goes_too(tmp_path):
    # A folder stands where the list should go, so that its rename fails.
    (tmp_path / f"{file_stem(PLAN)}.csv").mkdir()
    with pytest.raises(OutletError):
        write_plan(PLAN, tmp_path, now=NOW)
    assert not (tmp_path / f"{file_stem(PLAN)}.json").exists()


@given(dish=st.text(min_size=1, max_size=300), plan_id=st.text(min_size=1, max_size=100))
def test_a_file_stem_is_safe_whatever_the_dish_is_called(dish, plan_id):
    stem = file_stem(replace(PLAN, dish=dish, id=plan_id))
    assert os.sep not in stem
    assert not stem.startswith(".")
    assert len(stem.encode()) < 200
    assert stem.isascii()


def test_dishes_whose_names_look_the_same_keep_their_own_files(tmp_path):
    write_plan(replace(PLAN, dish="plate/A1", id="p1"), tmp_path, now=NOW)
    write_plan(replace(PLAN, dish="plate_A1", id="p2"), tmp_path, now=NOW)
    assert len(list(tmp_path.glob("*.csv"))) == 2


def test_a_dish_name_with_commas_and_newlines_stays_one_field():
    (first, _) = lines(replace(PLAN, dish='a,"b"\nc'))
    assert first["dish_id"] == 'a,"b"\nc'
