"""How far a scan may be trusted: the doubts and intervals of its fields -> those of the scan.

Why it is done so: docs/decisions/0032-a-scans-doubt.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from monitor.culture import Doubt, DoubtReason

MOST_IN_DOUBT: Final = 0.2
"""Share of the cells' area that may lie in fields in doubt before the whole scan is: so far, at
most, can the fraction be off by them, whatever they show.
"""
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Part:
    """What a field adds to its scan. Areas in one unit for all fields, overlaps counted once."""

    imaged: float
    cells: float
    doubt: Doubt


def doubt_of_scan(parts: Sequence[Part], fraction: float | None) -> Doubt:
    """The doubt of a scan of these fields.

    fraction : the scan's differentiated fraction; None where no cells were found

    In doubt where the fields in doubt hold more than `MOST_IN_DOUBT` of the cells. Of what such a
    field shows nothing is taken for granted, not even that it is empty: it holds the cells that
    were found in it, and at least as many for its area as the other fields. Where there are no
    cells anywhere, imaged area takes the place of the cells' area.

    The interval is the mean of the fields' lows and of their highs, weighted by the cells' area.
    That is wider than if fields erred independently, which those of one dish do not: they share
    cells, light and focus. A field without an interval counts as 0 to 1 if another one has one.
    So does a field in doubt where the scan as a whole is not in doubt; where it is, no decision
    rests on the interval, which is then what the model said.
    """
    weights = _weights(parts)
    share = sum(w for w, part in zip(weights, parts, strict=True) if part.doubt.in_doubt)
    in_doubt = share > MOST_IN_DOUBT * sum(weights) + _ROUNDING
    reasons = {
        reason
        for weight, part in zip(weights, parts, strict=True)
        if weight and in_doubt
        for reason in part.doubt.reasons
    }
    interval, calibrated = None, False
    if fraction is not None:
        interval, calibrated = _interval(parts, weights, fraction, in_doubt=in_doubt)
    return Doubt(
        reasons=tuple(reason for reason in DoubtReason if reason in reasons),
        interval=interval,
        kind=_kind(parts),
        calibrated=calibrated,
    )


def _weights(parts: Sequence[Part]) -> list[float]:
    """How much each field has to say, for telling whether the scan is in doubt."""
    sure = [part for part in parts if not part.doubt.in_doubt]
    imaged = sum(part.imaged for part in sure)
    confluence = sum(part.cells for part in sure) / imaged if imaged else 0.0
    weights = [
        max(part.cells, confluence * part.imaged) if part.doubt.in_doubt else part.cells
        for part in parts
    ]
    if not any(weights):
        weights = [part.imaged for part in parts]
    return weights if any(weights) else [1.0] * len(parts)


def _interval(
    parts: Sequence[Part], weights: Sequence[float], fraction: float, *, in_doubt: bool
) -> tuple[tuple[float, float] | None, bool]:
    """The scan's interval, and whether all that it is made of is calibrated."""
    anything = (0.0, 1.0)
    counted: list[tuple[float, tuple[float, float]]] = []
    calibrated = True
    is_known = False
    for part, weight in zip(parts, weights, strict=True):
        if part.doubt.in_doubt and not in_doubt:
            counted.append((weight, anything))
        elif part.cells:
            counted.append((part.cells, part.doubt.interval or anything))
            calibrated &= part.doubt.calibrated
            is_known |= part.doubt.interval is not None
    total = sum(weight for weight, _ in counted)
    if not is_known or not total:
        return None, False
    low = sum(weight * ends[0] for weight, ends in counted) / total
    high = sum(weight * ends[1] for weight, ends in counted) / total
    # What a field shows outside its overlaps can be other than what its interval is of.
    return (max(0.0, min(low, fraction)), min(1.0, max(high, fraction))), calibrated


def _kind(parts: Sequence[Part]) -> str | None:
    """The kind of image that most of the cells' area is of, or of the imaged area without cells."""
    by_cells = any(part.cells for part in parts)
    areas: dict[str | None, float] = {}
    for part in parts:
        kind = part.doubt.kind
        areas[kind] = areas.get(kind, 0.0) + (part.cells if by_cells else part.imaged)
    return max(areas, key=lambda kind: (areas[kind], kind or ""))
