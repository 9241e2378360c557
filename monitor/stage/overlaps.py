"""Do two plans aim at the same place of the stage?"""

from __future__ import annotations

import math

from monitor.culture import RemovalPlan


def why_overlapping(plan: RemovalPlan, other: RemovalPlan) -> str | None:
    """Why two plans that are both handed out would aim at the same cells; None where they do not.

    Two dishes may stand on the same spot of the stage one after the other, two wells of one plate
    may not.
    """
    if plan.dish == other.dish:
        return f"plan {other.id} of the same dish is {other.status}"
    plate, slash, _ = plan.dish.rpartition("/")
    if not slash or other.dish.rpartition("/")[0] != plate:
        return None
    for region, one in plan.visits:
        for other_region, two in other.visits:
            away = math.hypot(one.pick_x_um - two.pick_x_um, one.pick_y_um - two.pick_y_um)
            if away < max(one.clearance_um, two.clearance_um):
                return (
                    f"region {region.region_id} lies on region {other_region.region_id} of plan "
                    f"{other.id} "
                    f"({other.dish}, {other.status}): stage positions of two wells cannot be the "
                    "same"
                )
    return None
