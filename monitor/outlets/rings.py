"""Outlines with holes, as programs want them that know holes, and as those that do not. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import shapely
from shapely.geometry import Polygon

from monitor.culture import Ring


def turned(shell: Ring, holes: Sequence[Ring]) -> tuple[Ring, ...]:
    """The outer outline as it is, and the holes so that they run against it: by whichever rule a
    program tells inside from outside, they are holes.
    """
    outer = _runs(shell)
    return (shell, *(tuple(reversed(ring)) if _runs(ring) is outer else ring for ring in holes))


def _runs(ring: Ring) -> bool:
    """Which way round."""
    pairs = zip(ring, (*ring[1:], ring[0]), strict=True)
    return sum(one[0] * two[1] - two[0] * one[1] for one, two in pairs) > 0


def parts_without_holes(shell: Ring, holes: Sequence[Ring]) -> tuple[Ring, ...]:
    """The same area as outlines side by side, none of which has a hole: cut through the holes.

    Cuts run between pixel centres, so that each centre lies in exactly one part.
    """
    if not holes:
        return (shell,)
    left = _polygons(shapely.make_valid(Polygon(shell, holes)))
    done: list[Ring] = []
    while left:
        one = left.pop()
        if not one.interiors:
            points = shapely.get_coordinates(one.exterior)[:-1].round(2)
            done.append(tuple((row, column) for row, column in points.tolist()))
            continue
        # Through the middle one of its holes: of many, half lie on either side.
        spans = sorted((ring.bounds[0], ring.bounds[2]) for ring in one.interiors)
        top, bottom = spans[len(spans) // 2]
        at = math.floor((top + bottom) / 2) + 0.35
        at = at if top < at < bottom else (top + bottom) / 2
        low, near, high, far = one.bounds
        for first, last in ((low, at), (at, high)):
            left += _polygons(one.intersection(shapely.box(first, near, last, far)))
    return tuple(sorted(done))


def _polygons(shape: shapely.Geometry) -> list[Polygon]:
    parts = shapely.get_parts(shape).tolist()
    return [one for one in parts if isinstance(one, Polygon) and one.area > 0]
