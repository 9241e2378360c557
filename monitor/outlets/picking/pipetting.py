"""Protocols for robots that pipette, ready to run: Python files for Opentrons and for PyLabRobot.

Each hit is an offset from the centre of its well, x right and y to the row above. Where wells lie
the robot knows by its own definition of the plate, and definitions of one plate differ by tenths of
a millimetre. So the plan's own geometry stands in the file, which compares it with the robot's
before anything moves, and stops where they differ by more than the plan has room for.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from monitor.config.outlets import PipetteConfig
from monitor.culture import Hit, RemovalPlan, Target, ToolKind
from monitor.culture.plates import WELL
from monitor.errors import OutletError
from monitor.outlets.picking.handout import Contents, Handout, refuse_other_vessel
from monitor.stage.vessels import Vessel, well_of

# Definitions of labware are rounded to a hundredth of a millimetre along each axis.
_ROUNDING_UM = 20.0


def opentrons_protocol(handout: Handout) -> Contents:
    """A protocol for the robot's own software. Raises OutletError where that cannot be."""
    return {"": opentrons_text([handout])}


def pylabrobot_protocol(handout: Handout) -> Contents:
    """A script for PyLabRobot. Raises OutletError where it cannot be carried out."""
    return {"": pylabrobot_text([handout])}


def opentrons_text(handouts: Sequence[Handout]) -> bytes:
    """One protocol for the plans of one plate, in this order."""
    settings = handouts[0].opentrons
    if settings.labware is None:
        raise OutletError(
            "set outlets.removal.opentrons.labware: the plate's load name", permanent=True
        )
    flex = settings.robot == "Flex"
    robot = {
        "plate": settings.labware,
        "plate_slot": settings.plate_of_robot,
        "tip_rack": settings.tip_rack
        or ("opentrons_flex_96_tiprack_50ul" if flex else "opentrons_96_tiprack_20ul"),
        "tip_rack_slots": list(settings.tip_racks_of_robot),
        "trash_slot": (settings.trash_slot or "A3") if flex else None,
        "pipette": settings.pipette or ("flex_1channel_50" if flex else "p20_single_gen2"),
        "mount": settings.mount,
    }
    return _filled(
        "opentrons_protocol.py.in",
        METADATA={
            "protocolName": f"Removal plan {' '.join(one.plan.id for one in handouts)}",
            "author": "colonywatch",
            "description": "Takes up cells that have differentiated; made for one plate, once.",
        },
        REQUIREMENTS={"robotType": settings.robot, "apiLevel": settings.api_level},
        PLAN=_plan(handouts, settings) | {"robot": robot},
    )


def pylabrobot_text(handouts: Sequence[Handout]) -> bytes:
    """One script for the plans of one plate, in this order."""
    settings = handouts[0].pylabrobot
    if settings.plate is None:
        raise OutletError(
            "set outlets.removal.pylabrobot.plate: its name in pylabrobot.resources",
            permanent=True,
        )
    robot = {"plate": settings.plate, "tip_rack": settings.tip_rack}
    return _filled("pylabrobot_protocol.py.in", PLAN=_plan(handouts, settings) | {"robot": robot})


def _filled(template: str, **values: Any) -> bytes:
    text = (files("monitor.outlets.picking") / template).read_text("utf-8")
    for name, value in values.items():
        text = text.replace(f"__{name}__", _literal(value))
    return text.encode()


def _literal(value: dict[str, Any]) -> str:
    """The dict as Python, to be read by people: a line an entry, and a line an element of lists of
    dicts.
    """
    lines = ["{"]
    for key, one in value.items():
        if isinstance(one, list) and one and isinstance(one[0], dict):
            lines += [f"    {key!r}: [", *(f"        {element!r}," for element in one), "    ],"]
        else:
            lines.append(f"    {key!r}: {one!r},")
    return "\n".join([*lines, "}"])


def _plan(handouts: Sequence[Handout], settings: PipetteConfig) -> dict[str, Any]:
    first = handouts[0]
    if first.vessel is None or first.vessel.config.kind == "dish":
        raise _refusal(first.plan, "the source's vessel must be a plate, so that hits have wells")
    for one in handouts:
        refuse_other_vessel(one)
    hits = [_hit(handout, target, hit) for handout in handouts for target, hit in handout.visits]
    errors_um = [
        one.plan.targeting.positional_error_um for one in handouts if one.plan.targeting is not None
    ]
    touches_um = [
        one.plan.targeting.touches_um for one in handouts if one.plan.targeting is not None
    ]
    return {
        "plans": [one.plan.id for one in handouts],
        "expires_at": min(one.plan.expires_at for one in handouts).isoformat(timespec="seconds"),
        "volume_ul": settings.volume_ul,
        "height_mm": settings.height_mm,
        "flow_rate_ul_s": settings.flow_rate_ul_s,
        "hits_per_tip": settings.hits_per_tip,
        "tool_touches_mm": max(touches_um, default=0.0) / 1000,
        "geometry": _geometry(
            first.plan, first.vessel, settings, max(_ROUNDING_UM, min(errors_um, default=0.0))
        ),
        "hits": hits,
    }


def _geometry(
    plan: RemovalPlan, vessel: Vessel, settings: PipetteConfig, tolerance_um: float
) -> dict[str, Any]:
    corner = vessel.config.a1_from_corner_mm or vessel.kind.a1_from_corner_mm
    if settings.aligned_at == "corner" and corner is None:
        raise _refusal(
            plan,
            f"the position of A1 of a {vessel.config.kind} plate differs between manufacturers, by "
            f"half a millimetre: set a1_from_corner_mm in the source's vessel (from the "
            f"manufacturer's drawing), or "
            "check the robot's position at A1 and set aligned_at: A1",
        )
    return {
        "rows": vessel.kind.rows,
        "columns": vessel.kind.columns,
        "pitch_mm": vessel.pitch_um / 1000,
        "aligned_at": settings.aligned_at,
        "a1_from_corner_mm": None if corner is None else list(corner),
        "tolerance_mm": tolerance_um / 1000,
    }


def _hit(handout: Handout, target: Target, hit: Hit) -> dict[str, Any]:
    plan = handout.plan
    well = WELL.fullmatch(well_of(plan.place) or "")
    if well is None or hit.well_x_um is None or hit.well_y_um is None:
        raise _refusal(
            plan,
            "its hits have no position in a well; set the source's vessel, the next scan's will",
        )
    if plan.targeting is not None and plan.targeting.kind is not ToolKind.TIP:
        raise _refusal(plan, f"it is made for a {plan.targeting.kind}, and a pipette has a tip")
    return {
        "plan": plan.id,
        "name": handout.label(target, hit),
        "well": f"{well[1]}{int(well[2])}",
        "x_mm": round(hit.well_x_um / 1000, 4),
        "y_mm": round(hit.well_y_um / 1000, 4),
    }


def _refusal(plan: RemovalPlan, why: str) -> OutletError:
    return OutletError(f"removal plan {plan.id} of {plan.dish}: {why}", permanent=True)
