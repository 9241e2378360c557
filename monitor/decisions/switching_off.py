"""A plan with some of its regions switched off by a person."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from shapely.geometry import Point
from shapely.ops import unary_union

from monitor.culture import Hit, RefusedRegion, RemovalPlan, Target
from monitor.errors import UsageError

SWITCHED_OFF = "switched off"


def without_regions(plan: RemovalPlan, off: Collection[str], *, who: str) -> RemovalPlan:
    """The same plan, with the regions `off` (by their ids) among those that are refused.

    The other hits keep their order, numbered anew from 1.
    Raises UsageError where a region is not in the plan, and where none would be left.
    """
    known = {target.region_id for target in plan.targets}
    unknown = sorted(set(off) - known)
    if unknown:
        raise UsageError(f"{plan.id}: has no region {', '.join(unknown)}")
    kept = [target for target in plan.targets if target.region_id not in off]
    if not kept:
        raise UsageError(f"{plan.id}: every region is switched off; reject the plan instead")
    gone = [target for target in plan.targets if target.region_id in off]
    if not gone:
        return plan
    count = "1 region is" if len(gone) == 1 else f"{len(gone)} regions are"
    return replace(
        plan,
        targets=_numbered_anew(kept),
        refused=(*plan.refused, *(_refused(target, who) for target in gone)),
        left_out=(*plan.left_out, f"{count} switched off by {who}."),
        covered_um2=_covered_um2(plan, kept),
    )


def _numbered_anew(targets: Collection[Target]) -> tuple[Target, ...]:
    orders = sorted(hit.order for target in targets for hit in target.hits)
    numbers = {order: number for number, order in enumerate(orders, start=1)}

    def anew(hit: Hit) -> Hit:
        return replace(hit, order=numbers[hit.order])

    return tuple(replace(one, hits=tuple(anew(hit) for hit in one.hits)) for one in targets)


def _refused(target: Target, who: str) -> RefusedRegion:
    return RefusedRegion(
        region_id=target.region_id,
        capture_sha256=target.capture_sha256,
        reason=SWITCHED_OFF,
        text=f"switched off by {who}",
        polygon_px=target.polygon_px,
        area_um2=target.area_um2,
        holes_px=target.holes_px,
    )


def _covered_um2(plan: RemovalPlan, kept: Collection[Target]) -> float | None:
    """What the hits that are left remove, once where they overlap."""
    if plan.covered_um2 is None or plan.targeting is None:
        return None
    radius_um = plan.targeting.removes_um / 2
    hits = [hit for target in kept for hit in target.hits]
    discs = [Point(hit.pick_x_um, hit.pick_y_um).buffer(radius_um) for hit in hits]
    return float(unary_union(discs).area)
