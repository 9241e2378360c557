"""Positions as YAML for useq-schema (pymmcore-plus and others). Stage frame, um.

Where the height is not known it is left out, and the stage stays at its height.
"""

from __future__ import annotations

import yaml

from monitor.outlets.picking.handout import Contents, Handout, utc_text


def useq_sequence(handout: Handout) -> Contents:
    """A sequence whose positions are the hits, in the order in which to set them."""
    plan = handout.plan
    positions = []
    for target, hit in handout.visits:
        position: dict[str, str | float] = {
            "name": handout.label(target, hit),
            "x": round(hit.pick_x_um, 3),
            "y": round(hit.pick_y_um, 3),
        }
        if hit.pick_z_um is not None:
            position["z"] = round(hit.pick_z_um, 3)
        positions.append(position)
    document = {
        "metadata": {
            "export_id": plan.id,
            "dish_id": plan.dish,
            "calibration_id": plan.calibration_id,
            "expires_at_utc": utc_text(plan.expires_at),
        },
        "axis_order": "tpgzc",
        "stage_positions": positions,
    }
    return {"": yaml.safe_dump(document, sort_keys=False, allow_unicode=True).encode()}
