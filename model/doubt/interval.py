"""How far off a differentiated fraction may be: split conformal prediction, by groups.

The error of an image is divided by how hard the image looks; a factor is then chosen so that nine
in ten new images lie within factor * hardness. Fields of one dish or line err alike, so that
each group counts once, however many fields it has, and a new field may be of a new group: weights
1 / (groups + 1), spread evenly over a group's fields, and the last of them on infinity (Lee, Barber
and Willett, Distribution-free inference with hierarchical data, 2023; for single fields: Vovk et
al., Algorithmic learning in a random world, 2005). Fewer than nine groups therefore give no finite
90 % interval. With nine or more the coverage is 90 % on average over calibration sets; for it to be
at least 90 % with 90 % certainty, 22 are needed, and then the largest error counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

COVERAGE: Final = 0.9
LEAST_GROUPS: Final = 9


def conformal_factor(
    scores: Mapping[str, Sequence[float]], coverage: float = COVERAGE
) -> float | None:
    """The factor that covers a field of a new group so often; None where there are too few groups.

    scores : by group, error over hardness of each of its fields
    """
    groups = {name: some for name, some in scores.items() if len(some)}
    weighed = sorted(
        (score, 1 / (len(some) * (len(groups) + 1))) for some in groups.values() for score in some
    )
    reached = 0.0
    for score, weight in weighed:
        reached += weight
        if reached >= coverage - 1e-9:
            return score if math.isfinite(score) else None
    return None


def interval_about(fraction: float, half_width: float) -> tuple[float, float]:
    """(low, high) about a fraction, within 0..1."""
    return max(0.0, fraction - half_width), min(1.0, fraction + half_width)
