"""The published contract: every plan that goes out keeps to it, and it lets nothing else pass."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest
from jsonschema import Draft202012Validator

from monitor.culture import (
    Handover,
    PickOutcome,
    PlanStatus,
    RefusedRegion,
    RegionFate,
    RemovalCheck,
)
from monitor.outlets.picking import plan_as_json
from monitor.outlets.picking.json_plan import SCHEMA, schema_as_json
from tests.monitor.outlets.plans import HIT, NOW, PLAN, TARGET, TARGETING

CONTRACT = json.loads(schema_as_json())
VALIDATOR = Draft202012Validator(CONTRACT)

FULL = replace(
    PLAN,
    status=PlanStatus.VERIFIED,
    targeting=TARGETING,
    picker_calibration_id="picker-1",
    handover=Handover("sila", "a secret token", NOW),
    picked_at=NOW,
    targets=(
        replace(
            TARGET,
            uncertainty=0.2,
            removable_um2=9_000.0,
            covered_um2=8_000.0,
            hits=(replace(HIT, picker_x_um=1.0, picker_y_um=2.0, well_x_um=3.0, well_y_um=4.0),),
        ),
    ),
    fates=(
        RegionFate(TARGET.region_id, PickOutcome.PARTLY_PICKED, "1 of 2 hits",
                   RemovalCheck.PARTLY_GONE, 0.51234, 18, (2,)),
    ),
    refused=(RefusedRegion("aaaaaaaaaaaa-9", "a" * 64, "too thin", "too thin for tip-100", ()),),
)  # fmt: skip


def document(plan):
    return json.loads(plan_as_json(plan, calibration_rms_um=2.0))


def test_the_schema_is_a_schema_and_names_its_version():
    Draft202012Validator.check_schema(CONTRACT)
    assert CONTRACT["properties"]["schema"]["const"] == SCHEMA
    assert CONTRACT["$id"].endswith(SCHEMA.rpartition("/")[2])


@pytest.mark.parametrize("plan", [PLAN, FULL], ids=["what must be", "all that can be"])
def test_every_plan_keeps_to_it(plan):
    VALIDATOR.validate(document(plan))


@pytest.mark.parametrize("status", PlanStatus)
def test_every_status_is_in_it(status):
    VALIDATOR.validate(document(replace(PLAN, status=status)))


@pytest.mark.parametrize("outcome", PickOutcome)
@pytest.mark.parametrize("check", [None, *RemovalCheck])
def test_every_fate_is_in_it(outcome, check):
    fate = RegionFate(TARGET.region_id, outcome, None, check)
    VALIDATOR.validate(document(replace(FULL, fates=(fate,))))


def test_what_became_of_a_region_stands_beside_it():
    (target,) = document(FULL)["targets"]
    assert target["fate"] == {
        "outcome": "partly picked",
        "reason": "1 of 2 hits",
        "hits": [2],
        "check": "partly gone",
        "gone_share": 0.512,
        "checked_by_reading": 18,
    }
    assert document(PLAN)["targets"][0]["fate"] is None


def test_the_token_of_the_hand_over_stays_with_the_picker():
    text = plan_as_json(FULL)
    assert "a secret token" not in text
    assert json.loads(text)["handover"] == {
        "to": "sila",
        "at": "2026-11-03T09:30:00Z",
        "not_written": [],
    }


def objects(value, path=()):
    """(path, object) of each object in a document."""
    if isinstance(value, dict):
        yield path, value
        for key, inner in value.items():
            yield from objects(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from objects(inner, (*path, number))


def at(value, path):
    for key in path:
        value = value[key]
    return value


def test_nothing_can_be_left_out_or_slipped_in_anywhere():
    """A picker that checks a plan against the schema may rely on each field of it."""
    whole = document(FULL)
    places = list(objects(whole))
    assert len(places) > 10
    for path, fields in places:
        more = copy.deepcopy(whole)
        at(more, path)["surprise"] = 1
        assert not VALIDATOR.is_valid(more), path
        for name in fields:
            less = copy.deepcopy(whole)
            del at(less, path)[name]
            assert not VALIDATOR.is_valid(less), (*path, name)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), "colonywatch/removal-plan/2"),
        (("status",), "perhaps"),
        (("expires_at",), "2026-11-03 09:30"),
        (("model_sha256",), "m" * 64),
        (("area_um2",), -1),
        (("targets",), []),
        (("targets", 0, "hits"), []),
        (("targets", 0, "mean_probability"), 1.5),
        (("targets", 0, "hits", 0, "pick_stage_um", "x"), "5200"),
        (("tool", "touches_um"), 0),
    ],
)
def test_what_cannot_be_is_no_plan(path, value):
    wrong = document(FULL)
    at(wrong, path[:-1])[path[-1]] = value
    assert not VALIDATOR.is_valid(wrong)
