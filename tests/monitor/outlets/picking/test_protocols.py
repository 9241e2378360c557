"""Protocols for robots that pipette, run by the robots' own packages."""

import ast
import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from monitor.config import RemovalOutletConfig, VesselConfig
from monitor.config.outlets import OpentronsConfig, PylabrobotConfig
from monitor.culture import ToolKind
from monitor.errors import OutletError
from monitor.outlets.picking import FORMATS, Handout
from monitor.stage.vessels import Vessel
from tests.monitor.outlets.plans import NOW, PLAN, TARGET, TARGETING, aimed

ROOT = Path(__file__).parents[4]
LIMIT_S = 120
LATER = datetime(2099, 1, 1, tzinfo=UTC)
PLATE_96 = VesselConfig(kind="96-well", centre_um=(14_380.0, 11_240.0))
# By its maker's drawing as Opentrons has it; PyLabRobot has A1 elsewhere.
PLATE_24 = VesselConfig(
    kind="24-well", centre_um=(17_480.0, 13_800.0), a1_from_corner_mm=(17.48, 13.80)
)
OFFSETS_UM = ((1_200.4, -800.2), (-500.0, 300.0), (0.0, 2_000.0))


def handout(
    vessel=PLATE_96, dish="3500003816/B3", offsets_um=OFFSETS_UM, error_um=10.0, **settings
):
    """A plan whose hits lie at such places in the well, x right and y up."""
    lies = Vessel(vessel)
    x_um, y_um = lies.centre_um(dish)
    hits = [
        aimed(
            replace(TARGET, region_id=f"aaaaaaaaaaaa-{order}"),
            order=order,
            pick_x_um=x_um + right,
            pick_y_um=y_um - up,
            well_x_um=right,
            well_y_um=up,
        )
        for order, (right, up) in enumerate(offsets_um, start=1)
    ]
    plan = replace(
        PLAN,
        dish=dish,
        targets=tuple(hits),
        expires_at=LATER,
        targeting=replace(TARGETING, positional_error_um=error_um),
    )
    return Handout(plan, vessel=lies, **settings)


def opentrons(robot="OT-2", **settings):
    return OpentronsConfig(
        **{"robot": robot, "labware": "corning_96_wellplate_360ul_flat"} | settings
    )


def pylabrobot(**settings):
    return PylabrobotConfig(**{"plate": "cor_96_wellplate_360uL_Fb"} | settings)


def values(content):
    """What stands at the top of a protocol, without running it."""
    found = {}
    for node in ast.parse(content).body:
        if isinstance(node, ast.Assign):
            found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


def written(form, one):
    (content,) = FORMATS[form].write(one).values()
    return content


# --- what stands in the file --------------------------------------------------------------------


@pytest.mark.parametrize("form", ["opentrons", "pylabrobot"])
def test_a_protocol_has_every_hit_in_its_order_and_the_geometry_that_it_rests_on(form):
    one = handout(opentrons=opentrons(), pylabrobot=pylabrobot())
    plan = values(written(form, one))["PLAN"]
    assert [(hit["well"], hit["x_mm"], hit["y_mm"]) for hit in plan["hits"]] == [
        ("B3", 1.2004, -0.8002),
        ("B3", -0.5, 0.3),
        ("B3", 0.0, 2.0),
    ]
    assert plan["hits"][0]["name"] == "01 aaaaaaaaaaaa-1"
    assert written(form, one) == written(form, one)
    assert plan["geometry"] == {
        "rows": 8,
        "columns": 12,
        "pitch_mm": 9.0,
        "aligned_at": "corner",
        "a1_from_corner_mm": [14.38, 11.24],
        "tolerance_mm": 0.02,
    }
    assert plan["expires_at"] == "2099-01-01T00:00:00+00:00"
    assert plan["plans"] == [PLAN.id]


def test_the_api_level_is_pinned_and_the_robot_named():
    found = values(written("opentrons", handout(opentrons=opentrons("Flex"))))
    assert found["requirements"] == {"robotType": "Flex", "apiLevel": "2.20"}
    assert PLAN.id in found["metadata"]["protocolName"]


@pytest.mark.parametrize("form", ["opentrons", "pylabrobot"])
def test_names_of_dishes_cannot_become_code(form):
    dish = '"""\nimport os\n\'); __import__("os").abort() #/B3'
    content = written(form, handout(dish=dish, opentrons=opentrons(), pylabrobot=pylabrobot()))
    plain = written(form, handout(opentrons=opentrons(), pylabrobot=pylabrobot()))
    assert ast.dump(ast.parse(content)) == ast.dump(ast.parse(plain))


@pytest.mark.parametrize("form", ["opentrons", "pylabrobot"])
@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("no vessel", {"vessel": None}, "vessel must be a plate"),
        ("another vessel", {"vessel": Vessel(PLATE_24)}, "set a1_from_corner_mm|was changed since"),
        (
            "moved",
            {"vessel": Vessel(PLATE_96.model_copy(update={"centre_um": (14_400.0, 11_240.0)}))},
            "was changed since it was made",
        ),
        ("no plate named", {"opentrons": OpentronsConfig(), "pylabrobot": PylabrobotConfig()},
         r"set outlets\.removal"),
    ],
)  # fmt: skip
def test_what_cannot_be_carried_out_is_not_written(form, name, changes, said):
    one = handout(opentrons=opentrons(), pylabrobot=pylabrobot())
    with pytest.raises(OutletError, match=said) as raised:
        written(form, replace(one, **changes))
    assert raised.value.permanent


@pytest.mark.parametrize("form", ["opentrons", "pylabrobot"])
def test_a_plan_for_a_laser_is_none_for_a_pipette(form):
    one = handout(opentrons=opentrons(), pylabrobot=pylabrobot())
    plan = replace(one.plan, targeting=replace(TARGETING, kind=ToolKind.LASER))
    with pytest.raises(OutletError, match="made for a laser"):
        written(form, replace(one, plan=plan))


@pytest.mark.parametrize("form", ["opentrons", "pylabrobot"])
def test_where_a1_lies_is_asked_for_where_makers_differ(form):
    vessel = PLATE_24.model_copy(update={"a1_from_corner_mm": None})
    one = handout(vessel, "p/B3", opentrons=opentrons(), pylabrobot=pylabrobot())
    with pytest.raises(OutletError, match="set a1_from_corner_mm in the source's vessel"):
        written(form, one)
    at_a1 = handout(
        vessel,
        "p/B3",
        opentrons=opentrons(aligned_at="A1"),
        pylabrobot=pylabrobot(aligned_at="A1"),
    )
    assert values(written(form, at_a1))["PLAN"]["geometry"]["aligned_at"] == "A1"


@pytest.mark.parametrize(
    "given",
    [
        {"formats": ["opentrons"]},
        {"formats": ["pylabrobot"]},
        {"opentrons": {"api_level": "2.13"}},
        {"opentrons": {"api_level": "3"}},
        {"opentrons": {"labware": "a b"}},
        {"opentrons": {"robot": "OT-2", "plate_slot": "1", "tip_rack_slots": ["1"]}},
        {"opentrons": {"robot": "OT-2", "plate_slot": "D2"}},
        {"opentrons": {"robot": "Flex", "tip_rack_slots": ["2"]}},
        {"opentrons": {"robot": "Flex", "plate_slot": "A3"}},
        {"opentrons": {"volume_ul": 0.0}},
        {"pylabrobot": {"plate": "os.system('x')"}},
        {"pylabrobot": {"hits_per_tip": 0}},
    ],
)
def test_settings_that_make_no_protocol_are_refused(given):
    with pytest.raises(ValueError):
        RemovalOutletConfig(**given)


# --- run by Opentrons' own simulator ------------------------------------------------------------

# Prints, for each step of the run log, what it says and where: the well, and how far from the
# middle of its bottom, in mm.
_OPENTRONS = """
import json, sys
from opentrons.simulate import simulate
with open(sys.argv[1]) as file:
    steps, _ = simulate(file, sys.argv[1])
for step in steps:
    told, well, off = step["payload"], None, None
    place = told.get("location")
    if hasattr(place, "labware") and place.labware.is_well:
        well = place.labware.as_well()
        point = place.point - well.bottom().point
        well, off = well.well_name, [point.x, point.y, point.z]
    print(json.dumps({"text": told.get("text", ""), "well": well, "off": off}))
"""


def simulator():
    """The Python of the environment that has Opentrons' package."""
    python = Path(os.environ.get("OPENTRONS_PYTHON", ROOT / ".venv-opentrons" / "bin" / "python"))
    if not python.exists():
        pytest.skip("no environment with the package opentrons: `make simulators` makes one")
    return python


def simulated(content, folder):
    (folder / "protocol.py").write_bytes(content)
    (folder / "run.py").write_text(_OPENTRONS)
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    done = subprocess.run(
        [simulator(), "run.py", "protocol.py"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    return done, [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.mark.slow
@pytest.mark.parametrize("robot", ["OT-2", "Flex"])
def test_opentrons_goes_to_each_hit_from_above_and_throws_its_tips_away(robot, tmp_path):
    done, steps = simulated(written("opentrons", handout(opentrons=opentrons(robot))), tmp_path)
    assert done.returncode == 0, done.stderr
    taken = [step for step in steps if step["text"].startswith("Aspirating 5.0 uL")]
    assert [step["well"] for step in taken] == ["B3", "B3", "B3"]
    for step, (x_um, y_um) in zip(taken, OFFSETS_UM, strict=True):
        assert step["off"] == pytest.approx([x_um / 1000, y_um / 1000, 0.5], abs=1e-4)
    assert sum(step["text"].startswith("Picking up tip") for step in steps) == 3
    assert sum(step["text"].startswith("Dropping tip") for step in steps) == 3
    for before, step, after in zip(steps, steps[1:], steps[2:], strict=False):
        if step["text"].startswith("Aspirating"):
            # Sideways only above the well: at the bottom lie good cells.
            for one in (before, after):
                assert one["text"].startswith("Moving to")
                assert one["off"][:2] == pytest.approx(step["off"][:2])
                assert one["off"][2] > 10
    assert any("Wells lie within 0.010 mm" in step["text"] for step in steps)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "one", "said"),
    [
        (
            "a definition whose A1 lies elsewhere",
            lambda: handout(
                PLATE_24.model_copy(update={"a1_from_corner_mm": (17.78, 13.47)}),
                "p/B3",
                opentrons=opentrons(labware="corning_24_wellplate_3.4ml_flat"),
            ),
            "x -0.300, y -0.330 mm from where the plan has it",
        ),
        (
            "another pitch",
            lambda: handout(
                PLATE_24.model_copy(update={"well_pitch_mm": 19.0}),
                "p/B3",
                opentrons=opentrons(labware="corning_24_wellplate_3.4ml_flat"),
            ),
            "Well B3 of corning_24_wellplate_3.4ml_flat lies x +0.600, y -0.300",
        ),
        (
            "another plate",
            lambda: handout(opentrons=opentrons(labware="corning_24_wellplate_3.4ml_flat")),
            "has 4 rows and 6 columns",
        ),
        (
            "a tip that is too small",
            lambda: handout(opentrons=opentrons(hits_per_tip=3, volume_ul=8.0)),
            "3 hits of 8 ul go with one tip",
        ),
        (
            "too few tips",
            lambda: handout(
                offsets_um=[(float(10 * step), 0.0) for step in range(97)], opentrons=opentrons()
            ),
            "needs 97 tips and there are 96",
        ),
        (
            "a hit on the wall",
            lambda: handout(offsets_um=[(3_400.0, 0.0)], opentrons=opentrons()),
            "lies on the wall of B3",
        ),
    ],
)
def test_opentrons_stops_before_anything_moves(name, one, said, tmp_path):
    done, steps = simulated(written("opentrons", one()), tmp_path)
    assert done.returncode != 0
    assert said in " ".join(done.stderr.split())
    assert steps == []


@pytest.mark.slow
def test_opentrons_takes_the_same_plate_where_its_drawing_is_known(tmp_path):
    one = handout(
        PLATE_24,
        "p/D6",
        opentrons=opentrons(labware="corning_24_wellplate_3.4ml_flat", hits_per_tip=2),
    )
    done, steps = simulated(written("opentrons", one), tmp_path)
    assert done.returncode == 0, done.stderr
    assert sum(step["text"].startswith("Picking up tip") for step in steps) == 2
    assert [step["well"] for step in steps if step["text"].startswith("Aspirating")] == ["D6"] * 3


@pytest.mark.slow
def test_opentrons_does_not_run_a_plan_that_has_expired(tmp_path):
    one = handout(opentrons=opentrons())
    done, steps = simulated(
        written("opentrons", replace(one, plan=replace(one.plan, expires_at=NOW))), tmp_path
    )
    assert "The plan expired at 2026-11-03T09:30:00+00:00" in done.stderr
    assert steps == []


# --- run by PyLabRobot --------------------------------------------------------------------------

# A deck whose robot says exactly where it is sent: the well, its middle on the plate, the offset.
_MACHINE = """
import json
from pylabrobot import resources
from pylabrobot.liquid_handling import LiquidHandler
from pylabrobot.liquid_handling.backends import LiquidHandlerChatterboxBackend
from pylabrobot.resources.opentrons import OTDeck

class Robot(LiquidHandlerChatterboxBackend):
    async def aspirate(self, ops, use_channels, **settings):
        for op in ops:
            well = op.resource
            told = {"well": well.name, "off": [op.offset.x, op.offset.y, op.liquid_height]}
            print(json.dumps(told | {"volume": op.volume}))

async def machine():
    deck = OTDeck()
    plate = resources.PLATE(name="mine")
    tips = resources.hamilton_96_tiprack_50uL(name="tips")
    deck.assign_child_at_slot(plate, 5)
    deck.assign_child_at_slot(tips, 6)
    return LiquidHandler(backend=Robot(num_channels=1), deck=deck), plate, [tips]
"""


def run_script(content, folder, *arguments, plate="cor_96_wellplate_360uL_Fb"):
    pytest.importorskip("pylabrobot", reason="the package pylabrobot is not installed")
    (folder / "protocol.py").write_bytes(content)
    (folder / "machine.py").write_text(_MACHINE.replace("PLATE", plate))
    done = subprocess.run(
        [sys.executable, "protocol.py", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    lines = done.stdout.splitlines()
    return done, [json.loads(line) for line in lines if line.startswith("{")]


@pytest.mark.slow
def test_pylabrobot_goes_through_every_step_in_a_dry_run(tmp_path):
    one = handout(error_um=100.0, pylabrobot=pylabrobot())
    done, _ = run_script(written("pylabrobot", one), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Wells lie within 0.089 mm of the plan's" in done.stdout
    assert done.stdout.count("Aspirating:") == 3
    assert done.stdout.count("Picking up tips:") == done.stdout.count("Dropping tips:") == 3
    assert "plate_well_B3" in done.stdout


@pytest.mark.slow
def test_pylabrobot_goes_to_each_hit_with_a_machine_of_ones_own(tmp_path):
    one = handout(error_um=100.0, pylabrobot=pylabrobot(volume_ul=7.5, hits_per_tip=2))
    done, steps = run_script(written("pylabrobot", one), tmp_path, "machine.py")
    assert done.returncode == 0, done.stderr
    assert [step["well"] for step in steps] == ["mine_well_B3"] * 3
    assert {step["volume"] for step in steps} == {7.5}
    for step, (x_um, y_um) in zip(steps, OFFSETS_UM, strict=True):
        assert step["off"] == pytest.approx([x_um / 1000, y_um / 1000, 0.5], abs=1e-4)
    assert done.stdout.count("Picking up tips:") == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "one", "said"),
    [
        (
            "a definition whose A1 lies elsewhere",
            lambda: handout(
                PLATE_24, "p/B3", pylabrobot=pylabrobot(plate="cor_cos_24_wellplate_3470uL_Fb")
            ),
            "x +0.300, y +0.330 mm from where the plan has it",
        ),
        ("no room for a tenth", lambda: handout(pylabrobot=pylabrobot()), "x -0.080, y -0.040 mm"),
        (
            "another plate",
            lambda: handout(pylabrobot=pylabrobot(plate="cor_cos_24_wellplate_3470uL_Fb")),
            "has 4 rows and 6 columns",
        ),
        (
            "a tip that is too small",
            lambda: handout(error_um=100.0, pylabrobot=pylabrobot(volume_ul=70.0)),
            "A tip holds 65 ul",
        ),
        (
            "a hit on the wall",
            lambda: handout(offsets_um=[(0.0, -3_400.0)], error_um=100.0, pylabrobot=pylabrobot()),
            "lies on the wall of B3",
        ),
    ],
)
def test_pylabrobot_stops_before_anything_moves(name, one, said, tmp_path):
    """A1 of one 24-well plate lies 0.45 mm apart in PyLabRobot and in Opentrons."""
    done, _ = run_script(written("pylabrobot", one()), tmp_path)
    assert done.returncode != 0
    assert said in " ".join(done.stderr.split())
    assert "Picking up" not in done.stdout


@pytest.mark.slow
def test_pylabrobot_takes_a_plate_whose_position_was_checked_at_a1(tmp_path):
    one = handout(
        PLATE_24,
        "p/B3",
        pylabrobot=pylabrobot(plate="cor_cos_24_wellplate_3470uL_Fb", aligned_at="A1"),
    )
    done, _ = run_script(written("pylabrobot", one), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Wells lie within 0.000 mm of the plan's (aligned at A1)" in done.stdout


@pytest.mark.slow
def test_pylabrobot_does_not_run_a_plan_that_has_expired(tmp_path):
    one = handout(error_um=100.0, pylabrobot=pylabrobot())
    plan = replace(one.plan, expires_at=NOW)
    done, _ = run_script(written("pylabrobot", replace(one, plan=plan)), tmp_path)
    assert "The plan expired" in done.stderr
    assert "Picking up" not in done.stdout
