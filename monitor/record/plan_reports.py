"""What is told of a plan's regions: by the picker, and by later scans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.orm import Session

from monitor.culture import PickOutcome, RemovalCheck, RemovalPlan
from monitor.errors import UsageError
from monitor.record.tables import RegionFateRow

_WORTH = {PickOutcome.FAILED: 0, PickOutcome.PARTLY_PICKED: 1, PickOutcome.PICKED: 2}


@dataclass(frozen=True)
class PickReport:
    """What is told of one region of a plan.

    hits : of a region that is partly picked, the numbers within it, from 1, of those that were set;
        None = not known
    """

    region_id: str
    outcome: PickOutcome
    reason: str | None = None
    hits: tuple[int, ...] | None = None


def news_of(plan: RemovalPlan, reports: Sequence[PickReport]) -> list[PickReport]:
    """What is not known yet. Raises UsageError where it cannot be, or contradicts what was told."""
    known = {target.region_id for target in plan.targets}
    strangers = [one.region_id for one in reports if one.region_id not in known]
    if strangers:
        raise UsageError(
            f"{plan.id}: has no region {', '.join(strangers)}; its regions: "
            f"{', '.join(sorted(known))}"
        )
    before = {fate.region_id: fate.outcome for fate in plan.fates}
    hits = {fate.region_id: fate.hits for fate in plan.fates}
    counts = {target.region_id: len(target.hits) for target in plan.targets}
    news = []
    for report in reports:
        one = _with_hits_before(report, hits.get(report.region_id), counts[report.region_id])
        told = before.get(one.region_id)
        if told is not None and _WORTH[one.outcome] < _WORTH[told]:
            raise UsageError(
                f"{plan.id}: region {one.region_id} is now said to be {one.outcome}, and was said "
                f"to be {told} before"
            )
        if told is not one.outcome or (one.hits or None) != hits.get(one.region_id):
            news.append(one)
    return news


def _with_hits_before(report: PickReport, before: tuple[int, ...] | None, count: int) -> PickReport:
    """Hits that were told of before are set, too; with all of them the region is picked."""
    if report.outcome is not PickOutcome.PARTLY_PICKED:
        return replace(report, hits=None)
    if not before and not report.hits:
        return replace(report, hits=None)
    hits = tuple(sorted({*(before or ()), *(report.hits or ())}))
    if len(hits) == count:
        return PickReport(report.region_id, PickOutcome.PICKED)
    return replace(report, hits=hits)


def tell(session: Session, plan_id: str, report: PickReport, now: datetime) -> None:
    row = session.get(RegionFateRow, (plan_id, report.region_id))
    if row is None:
        row = RegionFateRow(plan_id=plan_id, region_id=report.region_id)
        session.add(row)
    row.outcome, row.reason, row.told_at = report.outcome, report.reason, now
    row.hits = None if report.hits is None else list(report.hits)


def counts_of_fates(plan: RemovalPlan) -> str:
    """``of 4 regions 3 picked, 1 failed``"""
    outcomes = [fate.outcome for fate in plan.fates]
    parts = [f"{outcomes.count(kind)} {kind}" for kind in PickOutcome if kind in outcomes]
    untold = len(plan.targets) - len(outcomes)
    if untold:
        parts.append(f"{untold} without a word")
    return f"of {_regions(len(plan.targets))} {', '.join(parts)}"


def counts_of_checks(plan: RemovalPlan) -> str:
    """``of 3 regions 2 gone, 1 still there``"""
    checks = [fate.check for fate in plan.fates if fate.check is not None]
    parts = [f"{checks.count(kind)} {kind}" for kind in RemovalCheck if kind in checks]
    unseen = len(plan.to_check) - checks.count(RemovalCheck.CANNOT_TELL)
    if unseen:
        parts.append(f"{unseen} not seen")
    return f"of {_regions(len(checks) + unseen)} {', '.join(parts)}"


def _regions(count: int) -> str:
    return "1 region" if count == 1 else f"{count} regions"
