"""Micro-Manager position list (``.pos``, property map 2.0). Stage frame, um.

Device labels must be those of the hardware configuration. Where the height is not known the
position has none, and the stage stays at its height.
"""

from __future__ import annotations

import json
from typing import Any

from monitor.culture import Hit, Target
from monitor.outlets.picking.handout import Contents, Handout


def micromanager_positions(handout: Handout) -> Contents:
    """One position a hit, in the order in which to set them."""
    document = {
        "encoding": "UTF-8",
        "format": "Micro-Manager Property Map",
        "major_version": 2,
        "minor_version": 0,
        "map": {
            "VERSION": _integer(2),
            "StagePositions": {
                "type": "PROPERTY_MAP",
                "array": [_position(handout, *visit) for visit in handout.visits],
            },
        },
    }
    return {"": (json.dumps(document, indent=2, allow_nan=False) + "\n").encode()}


def _position(handout: Handout, target: Target, hit: Hit) -> dict[str, Any]:
    devices = [_device(handout.xy_device, hit.pick_x_um, hit.pick_y_um)]
    if hit.pick_z_um is not None:
        devices.append(_device(handout.z_device, hit.pick_z_um))
    return {
        "Label": _string(handout.label(target, hit)),
        "DefaultXYStage": _string(handout.xy_device),
        "DefaultZStage": _string("" if hit.pick_z_um is None else handout.z_device),
        "GridRow": _integer(0),
        "GridCol": _integer(0),
        "Properties": {
            "type": "PROPERTY_MAP",
            "scalar": {
                "export_id": _string(handout.plan.id),
                "dish_id": _string(handout.plan.dish),
                "region_id": _string(target.region_id),
            },
        },
        "DevicePositions": {"type": "PROPERTY_MAP", "array": devices},
    }


def _device(name: str, *position_um: float) -> dict[str, Any]:
    return {
        "Device": _string(name),
        "Position_um": {"type": "DOUBLE", "array": [round(one, 3) for one in position_um]},
    }


def _string(value: str) -> dict[str, Any]:
    return {"type": "STRING", "scalar": value}


def _integer(value: int) -> dict[str, Any]:
    return {"type": "INTEGER", "scalar": value}
