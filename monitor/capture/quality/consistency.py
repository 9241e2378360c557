"""Is a capture like those that came before it from the same source? Pure.

A picture of another size comes of another objective, binning or export; one whose light is the
other way round comes of another modality. Neither is what the model's reading can be compared with.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Fewer earlier captures say nothing of what is usual.
ENOUGH = 5
KEPT = 20
# Steps of the tilt (-1 .. 1): at least so far from the usual, and so many times its spread.
OTHER_TILT = 0.35
OTHER_TILT_SPREADS = 6.0
OTHER_MEDIAN = 60.0
OTHER_MEDIAN_SPREADS = 6.0


@dataclass(frozen=True)
class ImageStats:
    """shape : (rows, columns); measures : as of `image_quality.judge`"""

    shape: tuple[int, int]
    measures: Mapping[str, float]


def unlike(new: ImageStats, earlier: Sequence[ImageStats]) -> tuple[str, ...]:
    """What tells a capture from the source's earlier ones: "other-size", "other-modality"."""
    if len(earlier) < ENOUGH:
        return ()
    found = []
    shapes = {look.shape for look in earlier}
    # Stitched pictures differ from one to the next; only a source with one size has a usual one.
    if len(shapes) == 1 and new.shape not in shapes:
        found.append("other-size")
    if _far(new, earlier, "tilt", OTHER_TILT, OTHER_TILT_SPREADS) or _far(
        new, earlier, "median", OTHER_MEDIAN, OTHER_MEDIAN_SPREADS
    ):
        found.append("other-modality")
    return tuple(found)


def _far(
    new: ImageStats, earlier: Sequence[ImageStats], name: str, least: float, spreads: float
) -> bool:
    values = [look.measures[name] for look in earlier if name in look.measures]
    if name not in new.measures or len(values) < ENOUGH:
        return False
    usual = statistics.median(values)
    spread = 1.4826 * statistics.median(abs(value - usual) for value in values)
    return abs(new.measures[name] - usual) > max(least, spreads * spread)
