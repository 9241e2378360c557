"""One list for all wells of a plate."""

import ast
import csv
import io
import json
import warnings
from dataclasses import replace
from datetime import timedelta
from typing import get_args

import pytest
import yaml

from monitor.config import ColumnConfig, ExportFormat
from monitor.config.outlets import CsvConfig, EchoConfig
from monitor.culture import Handover, PlanStatus
from monitor.errors import OutletError
from monitor.outlets.picking import FORMATS, Handout, PlanImage
from monitor.outlets.picking.whole_plate import plans_of_plate, whole_plate
from tests.monitor.outlets.picking.test_protocols import handout, opentrons, pylabrobot
from tests.monitor.outlets.plans import NOW, PLAN

SETTINGS = {
    "columns": (
        ColumnConfig(header="No", value="order"),
        ColumnConfig(header="Plan", value="export_id"),
    ),
    "echo": EchoConfig(volume_nl=2.5),
    "opentrons": opentrons(),
    "pylabrobot": pylabrobot(),
}


def of_well(number, well, hits=2):
    """A plan of one well, from a capture of its own."""
    offsets = [(100.0 * step, 50.0) for step in range(hits)]
    one = handout(dish=f"plate/{well}", offsets_um=offsets, **SETTINGS)
    sha256 = f"{number:x}" * 64
    targets = tuple(
        replace(target, region_id=f"{sha256[:12]}-{place}", capture_sha256=sha256)
        for place, target in enumerate(one.plan.targets, start=1)
    )
    plan = replace(one.plan, id=f"p{number}", targets=targets)
    return replace(one, plan=plan, pictures={sha256: PlanImage(f"{well}.tif", (400, 400), 2.0)})


WELLS = [of_well(1, "A1"), of_well(2, "A12", hits=3), of_well(3, "B2", hits=1)]


def text(form, handouts=WELLS):
    (content,) = whole_plate(handouts, form).values()
    return content.decode()


def table(form, handouts=WELLS, **how):
    return list(csv.DictReader(io.StringIO(text(form, handouts), newline=""), **how))


@pytest.mark.parametrize("form", sorted(get_args(ExportFormat)))
def test_every_format_can_hold_a_plate_and_one_plan_of_it_as_before(form):
    assert whole_plate(WELLS, form)
    alone = whole_plate(WELLS[:1], form)
    assert alone == whole_plate([WELLS[0]], form)


@pytest.mark.parametrize("form", sorted(get_args(ExportFormat)))
def test_no_well_is_lost_whatever_the_format(form):
    """A format that had no file for a whole plate would write the last well over the others."""
    contents = whole_plate(WELLS, form)
    if "" in contents:
        assert FORMATS[form].plate is not None
        assert len(contents[""]) > len(whole_plate(WELLS[-1:], form)[""])
    else:
        assert len(contents) == len(WELLS)


def test_files_of_plans_that_would_be_written_over_one_another_are_refused():
    with pytest.raises(OutletError, match="geojson cannot hold several plans in one file; export"):
        whole_plate([WELLS[0], WELLS[0]], "geojson")


def test_each_line_names_its_plan_and_visits_count_over_the_plate():
    found = [
        (line["visit"], line["export_id"], line["well"], line["order"]) for line in table("csv")
    ]
    assert found == [
        ("1", "p1", "A1", "1"),
        ("2", "p1", "A1", "2"),
        ("3", "p2", "A12", "1"),
        ("4", "p2", "A12", "2"),
        ("5", "p2", "A12", "3"),
        ("6", "p3", "B2", "1"),
    ]


def test_lists_of_ones_own_form_and_of_a_dispenser_have_one_heading():
    assert [line["Plan"] for line in table("csv-mapped")] == ["p1"] * 2 + ["p2"] * 3 + ["p3"]
    assert [line["Destination Well"] for line in table("csv-echo")] == ["A1"] * 2 + ["A12"] * 3 + [
        "B2"
    ]
    semicolons = [replace(one, csv=CsvConfig(separator=";", decimal_mark=",")) for one in WELLS]
    assert len(table("csv", semicolons, delimiter=";")) == 6


def test_names_of_hits_sort_over_the_whole_plate():
    names = [one["name"] for one in yaml.safe_load(text("useq"))["stage_positions"]]
    assert [name[:2] for name in names] == ["01", "02", "03", "04", "05", "06"]
    assert names == sorted(names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own
        from useq import MDASequence
    assert len(MDASequence.model_validate(yaml.safe_load(text("useq"))).stage_positions) == 6
    positions = json.loads(text("pos"))["map"]["StagePositions"]["array"]
    assert [one["Label"]["scalar"] for one in positions] == names
    lines = text("stg").splitlines()
    assert (lines[3], len(lines)) == ("6", 10)


def test_the_document_of_a_plate_has_the_documents_of_its_plans():
    document = json.loads(text("json"))
    assert (document["schema"], document["plate"]) == ("colonywatch/removal-plate/1", "plate")
    assert [one["id"] for one in document["plans"]] == ["p1", "p2", "p3"]
    assert document["plans"][0]["schema"] == "colonywatch/removal-plan/1"


def test_pictures_of_a_plate_are_a_file_a_capture_and_one_of_all_in_ome():
    assert sorted(whole_plate(WELLS, "geojson")) == [f"{n}" * 12 for n in (1, 2, 3)]
    from ome_types import from_xml

    document = from_xml(text("ome-xml"))
    assert [len(image.roi_refs) for image in document.images] == [2, 3, 1]
    assert [roi.name[:2] for roi in document.rois] == ["01", "02", "03", "04", "05", "06"]


@pytest.mark.parametrize("form", ["opentrons", "pylabrobot"])
def test_a_protocol_goes_from_well_to_well_until_the_first_of_its_plans_expires(form):
    early = replace(WELLS[1].plan, expires_at=NOW)
    handouts = [WELLS[0], replace(WELLS[1], plan=early), WELLS[2]]
    (assigned,) = (
        node
        for node in ast.parse(text(form, handouts)).body
        if isinstance(node, ast.Assign) and node.targets[0].id == "PLAN"
    )
    plan = ast.literal_eval(assigned.value)
    assert [hit["well"] for hit in plan["hits"]] == ["A1", "A1", "A12", "A12", "A12", "B2"]
    assert plan["plans"] == ["p1", "p2", "p3"]
    assert plan["expires_at"] == NOW.isoformat()


def test_plans_of_two_frames_are_no_one_list():
    """An importer reads a column in one frame."""
    targets = tuple(
        replace(one, hits=tuple(replace(hit, picker_x_um=1.0, picker_y_um=2.0) for hit in one.hits))
        for one in WELLS[0].plan.targets
    )
    other = replace(WELLS[0].plan, targets=targets, picker_calibration_id="picker-1")
    with pytest.raises(OutletError, match="do not aim in the same frame"):
        whole_plate([replace(WELLS[0], plan=other), WELLS[1]], "csv")


# --- which plans --------------------------------------------------------------------------------


def plan(well, status=PlanStatus.APPROVED, plate="plate", **changes):
    return replace(
        PLAN, **{"id": f"{well}-{status}", "dish": f"{plate}/{well}", "status": status} | changes
    )


def test_wells_are_visited_row_by_row_to_and_fro():
    wells = ["C1", "B1", "A10", "B12", "A2", "C12"]
    found = plans_of_plate([plan(well) for well in wells], "plate", NOW)
    assert [one.dish for one in found.plans] == [
        f"plate/{well}" for well in ("A2", "A10", "B12", "B1", "C1", "C12")
    ]
    assert found.left_out == ()


def test_what_may_not_be_carried_out_is_left_out_and_said():
    late = PLAN.expires_at
    plans = [
        plan("A1", PlanStatus.EXPORTED, handover=Handover("folder", "t", NOW)),
        plan("A2", PlanStatus.DRAFT),
        plan("A3", expires_at=NOW),
        plan("A4", PlanStatus.PICKED),
        plan("A5", PlanStatus.EXPORTED, handover=Handover("sila", "t", NOW)),
        plan("A6", PlanStatus.DRAFT, id="newer"),
        plan("A6", PlanStatus.SUPERSEDED, id="older"),
        plan("A7", PlanStatus.SUPERSEDED),
        plan("A7", PlanStatus.APPROVED),
        plan("A1", plate="other"),
        replace(plan("A8"), dish="plate"),
    ]
    found = plans_of_plate(plans, "plate", late - timedelta(hours=1))
    assert [one.dish for one in found.plans] == ["plate/A1", "plate/A7"]
    assert found.left_out == (
        "A2: plan A2-draft is a draft (colonywatch removals approve A2-draft)",
        "A3: plan A3-approved expired at 2026-11-03 09:30 UTC",
        "A4: plan A4-picked is picked",
        "A5: plan A5-exported was taken by a SiLA 2 client",
        "A6: plan newer is a draft (colonywatch removals approve newer)",
    )


def test_a_handout_of_one_plan_counts_its_own_visits():
    assert Handout(PLAN).visit(PLAN.visits[1][1]) == 2
