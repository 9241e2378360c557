"""MetaMorph and VisiView stage list (``.stg``, version 6.0). Stage frame, um, lines end with CR LF.

The format has no public description; this is the form that programs in the field write. Every
position has a height, so a plan without heights cannot be written: a made-up one could drive an
objective into the plate.
"""

from __future__ import annotations

from collections.abc import Sequence

from monitor.errors import OutletError
from monitor.outlets.picking.handout import Contents, Handout

_HEAD = ('"Stage Memory List", Version 6.0', '0, 0, 0, 0, 0, 0, 0, "um", "um"', "0")


def metamorph_stage_list(handout: Handout) -> Contents:
    """One line a hit, in the order in which to set them.

    Raises OutletError where a target has no height.
    """
    return {"": joined_stage_lists([handout])}


def joined_stage_lists(handouts: Sequence[Handout]) -> bytes:
    """The same for several plans at once."""
    visits = [(handout, *visit) for handout in handouts for visit in handout.visits]
    lines = [*_HEAD, str(len(visits))]
    for handout, target, hit in visits:
        if hit.pick_z_um is None:
            raise OutletError(
                f"removal plan {handout.plan.id}: region {target.region_id} has no height, and a "
                ".stg list needs one; have the imager write stage heights, or leave stg out of "
                "outlets.removal.formats",
                permanent=True,
            )
        x_um, y_um, z_um = hit.pick_x_um, hit.pick_y_um, hit.pick_z_um
        lines.append(
            f'"{handout.label(target, hit)}", {x_um:.3f}, {y_um:.3f}, {z_um:.3f}, 0, {z_um:.3f}, '
            'FALSE, -9999, TRUE, TRUE, 0, -1, ""'
        )
    return ("\r\n".join(lines) + "\r\n").encode("ascii", "replace")
