"""Where a removal plan stands, and from where it may go where. The only place that changes it.

    draft --a person or a rule--> approved --handed to the picker--> exported --told--> picked
                                                                                          |
                                                                          a later scan looked
                                                                                          v
                                                                                      verified

    draft, approved, exported --rejected by a person---------> rejected
                              --its time is over-------------> expired
                              --a newer scan or calibration--> superseded

A plan that was handed out and then ended may have been carried out all the same: what the picker
says it did is a fact, so rejected, expired and superseded can still become picked. Each change is
compare-and-set on the status, with a line in the audit trail.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from monitor.culture import PickOutcome, PlanStatus, RegionFate, RemovalCheck, RemovalPlan
from monitor.errors import UsageError
from monitor.record.audit import append
from monitor.record.plan_documents import plan_of
from monitor.record.tables import (
    AnnotationRow,
    DishRow,
    OutboxRow,
    RegionFateRow,
    RemovalPlanRow,
)
from monitor.stage.overlaps import why_overlapping

_ENDED = (PlanStatus.REJECTED, PlanStatus.EXPIRED, PlanStatus.SUPERSEDED)
MOVES: Mapping[PlanStatus, frozenset[PlanStatus]] = {
    PlanStatus.DRAFT: frozenset({PlanStatus.APPROVED, *_ENDED}),
    PlanStatus.APPROVED: frozenset({PlanStatus.EXPORTED, *_ENDED}),
    PlanStatus.EXPORTED: frozenset({PlanStatus.PICKED, *_ENDED}),
    PlanStatus.PICKED: frozenset({PlanStatus.VERIFIED}),
    PlanStatus.VERIFIED: frozenset(),
    # Only where it was handed out before it ended.
    **dict.fromkeys(_ENDED, frozenset({PlanStatus.PICKED})),
}
US = "colonywatch"
TakeBack = Callable[[RemovalPlan], None]


def end_plan(
    session: Session,
    row: RemovalPlanRow,
    status: PlanStatus,
    now: datetime,
    take_back: TakeBack | None,
    *,
    who: str = US,
    why: str | None = None,
) -> None:
    """A plan that may not be carried out any more leaves the picker's folder.

    At once, before anybody can read that it ended; and once more from the outbox, should the
    folder be out of reach now. Raises UsageError where it was carried out or has ended already.
    """
    before = PlanStatus(row.status)
    if status in MOVES[before] and before in (PlanStatus.APPROVED, PlanStatus.EXPORTED):
        take_away(session, row, now, take_back)
    move(session, row, status, who=who, now=now, why=why)


def move(
    session: Session,
    row: RemovalPlanRow,
    to: PlanStatus,
    *,
    who: str,
    now: datetime,
    why: str | None = None,
) -> None:
    """Compare-and-set, with its line in the audit trail. Raises UsageError."""
    before = PlanStatus(row.status)
    if to not in MOVES[before]:
        before_that = " or ".join(status for status, ways in MOVES.items() if to in ways)
        raise UsageError(
            f"{row.id}: is {before}; only a plan that is {before_that} can become {to}"
        )
    changed = session.execute(
        update(RemovalPlanRow)
        .where(RemovalPlanRow.id == row.id, RemovalPlanRow.status == before)
        .values(status=to)
    )
    if changed.rowcount != 1:  # type: ignore[attr-defined]
        raise UsageError(f"{row.id}: was changed by somebody else at this moment; look again")
    append(
        session, now=now, who=who, what=f"plan {before} -> {to}", about=row.id, why=why,
        before=before, after=to,
    )  # fmt: skip


def take_away(
    session: Session, row: RemovalPlanRow, now: datetime, take_back: TakeBack | None
) -> None:
    if take_back is not None:
        take_back(plan_as_told(session, row))
    _withdraw(session, row.id, now)


def write_audit(
    session: Session, plan_id: str, who: str, what: str, note: str | None, now: datetime
) -> None:
    append(session, now=now, who=who, what=what, about=plan_id, why=note)


def write_note(
    session: Session, row: RemovalPlanRow, at: datetime, who: str, text: str, now: datetime
) -> None:
    """What the dish's series tells of the plan."""
    note = f"removal plan {row.id} {text}"
    session.add(AnnotationRow(dish_id=row.dish_id, at=at, text=note, who=who, created_at=now))


def refuse_old(row: RemovalPlanRow, now: datetime) -> None:
    if row.expires_at <= now:
        raise UsageError(
            f"{row.id}: expired at {row.expires_at:%Y-%m-%d %H:%M} UTC; the dish's next scan makes "
            "a new plan"
        )


def fates_of(session: Session, plan_ids: Sequence[str] | None) -> dict[str, tuple[RegionFate, ...]]:
    query = select(RegionFateRow).order_by(RegionFateRow.plan_id, RegionFateRow.region_id)
    if plan_ids is not None:
        query = query.where(RegionFateRow.plan_id.in_(plan_ids))
    found: dict[str, list[RegionFate]] = {}
    for row in session.scalars(query):
        fate = RegionFate(
            region_id=row.region_id,
            outcome=PickOutcome(row.outcome),
            reason=row.reason,
            check=None if row.check_result is None else RemovalCheck(row.check_result),
            gone_share=row.gone_share,
            checked_by=row.checked_by,
            hits=None if row.hits is None else tuple(row.hits),
        )
        found.setdefault(row.plan_id, []).append(fate)
    return {plan_id: tuple(fates) for plan_id, fates in found.items()}


def plan_as_told(session: Session, row: RemovalPlanRow) -> RemovalPlan:
    dish = session.get_one(DishRow, row.dish_id)
    return plan_of(row, dish, fates_of(session, [row.id]).get(row.id, ()))


def send_to_picker(session: Session, plan_id: str, now: datetime) -> None:
    session.add(
        OutboxRow(
            channel="removal",
            subject_id=plan_id,
            recipient="picker",
            created_at=now,
            next_try_at=now,
            attempts=0,
        )
    )


def _withdraw(session: Session, plan_id: str, now: datetime) -> None:
    session.execute(
        update(OutboxRow)
        .where(
            OutboxRow.channel == "removal",
            OutboxRow.subject_id == plan_id,
            OutboxRow.delivered_at.is_(None),
            OutboxRow.failed_at.is_(None),
        )
        .values(failed_at=now, last_error="withdrawn")
    )
    session.add(
        OutboxRow(
            channel="withdrawal",
            subject_id=plan_id,
            recipient="picker",
            created_at=now,
            next_try_at=now,
            attempts=0,
        )
    )


def refuse_overlap(session: Session, row: RemovalPlanRow) -> None:
    """Raises UsageError where a plan that the picker may be at work on aims at the same cells."""
    dish = session.get_one(DishRow, row.dish_id)
    plan = plan_of(row, dish)
    others = session.execute(
        select(RemovalPlanRow, DishRow)
        .join(DishRow, DishRow.id == RemovalPlanRow.dish_id)
        .where(
            RemovalPlanRow.status.in_([PlanStatus.APPROVED, PlanStatus.EXPORTED]),
            RemovalPlanRow.id != row.id,
            DishRow.source == dish.source,
        )
    )
    for other, its_dish in others:
        why = why_overlapping(plan, plan_of(other, its_dish))
        if why is not None:
            raise UsageError(f"{row.id}: {why}; say that {other.id} is done, or reject it, first")


def plan_row(session: Session, plan_id: str, *, lock: bool = False) -> RemovalPlanRow:
    row = session.get(RemovalPlanRow, plan_id, with_for_update=lock or None)
    if row is None:
        raise UsageError(f"{plan_id}: there is no removal plan with this id; see removals list")
    return row
