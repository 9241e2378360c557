"""Removal plans: what became of each, and who decided it. The only place that changes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from monitor.culture import PlanStatus, Reading, RemovalPlan
from monitor.errors import UsageError
from monitor.geometry import why_overlapping
from monitor.record.database import Database
from monitor.record.plan_documents import detail_of, plan_of
from monitor.record.tables import AuditRow, DishRow, OutboxRow, RemovalPlanRow

LIVE_PLANS = (PlanStatus.DRAFT, PlanStatus.APPROVED, PlanStatus.EXPORTED)
TakeBack = Callable[[RemovalPlan], None]


class PlanRecord:
    """take_back : called with each plan that ends, before that is on record"""

    def __init__(self, database: Database, *, take_back: TakeBack | None = None) -> None:
        self._database = database
        self._take_back = take_back

    def all(self) -> list[RemovalPlan]:
        """Newest first."""
        with self._database.reading() as session:
            rows = session.execute(
                select(RemovalPlanRow, DishRow.name)
                .join(DishRow, DishRow.id == RemovalPlanRow.dish_id)
                .order_by(RemovalPlanRow.created_at.desc(), RemovalPlanRow.id)
            )
            return [plan_of(row, name) for row, name in rows]

    def plan(self, plan_id: str) -> RemovalPlan:
        with self._database.reading() as session:
            row = _plan_row(session, plan_id)
            return plan_of(row, session.get_one(DishRow, row.dish_id).name)

    def for_reading(self, reading_id: int) -> RemovalPlan | None:
        with self._database.reading() as session:
            row = session.scalar(
                select(RemovalPlanRow).where(RemovalPlanRow.reading_id == reading_id)
            )
            if row is None:
                return None
            return plan_of(row, session.get_one(DishRow, row.dish_id).name)

    def move(
        self,
        plan_id: str,
        *,
        allowed: Sequence[PlanStatus],
        to: PlanStatus,
        who: str,
        now: datetime,
        note: str | None = None,
    ) -> RemovalPlan:
        """Change a plan's status, compare-and-set: of two people who decide, one wins.

        An approval puts the plan into the outbox for the picker in the same transaction.
        Raises UsageError where the plan stands elsewhere by now or has expired.
        """
        with self._database.writing() as session:
            row = _plan_row(session, plan_id, lock=True)
            status = PlanStatus(row.status)
            if status not in allowed:
                raise UsageError(
                    f"{plan_id}: is {status}; only a plan that is "
                    f"{' or '.join(allowed)} can become {to}"
                )
            if to in (PlanStatus.APPROVED, PlanStatus.EXPORTED) and row.expires_at <= now:
                raise UsageError(
                    f"{plan_id}: expired at {row.expires_at:%Y-%m-%d %H:%M} UTC; the dish's next "
                    "scan makes a new plan"
                )
            if to is PlanStatus.APPROVED:
                _refuse_overlap(session, row)
            ends = to in (PlanStatus.REJECTED, PlanStatus.DONE) and status is not PlanStatus.DRAFT
            if ends and self._take_back is not None:
                self._take_back(plan_of(row, session.get_one(DishRow, row.dish_id).name))
            row.status = to
            if to is PlanStatus.APPROVED:
                row.approved_by, row.approved_at = who, now
                _send_to_picker(session, row.id, now)
            if ends:
                _withdraw(session, row.id, now)
            session.add(AuditRow(at=now, who=who, what=f"plan {to}", subject=plan_id, note=note))
            return plan_of(row, session.get_one(DishRow, row.dish_id).name)

    def export(
        self, plan_id: str, *, publish: Callable[[RemovalPlan], None], now: datetime
    ) -> RemovalPlan:
        """An approved plan becomes exported, and its files visible, in one transaction.

        publish : shows the files; called while nobody else can end the plan
        Raises UsageError where the plan is not approved any more or has expired; what `publish`
        raises leaves the plan approved.
        """
        with self._database.writing() as session:
            row = _plan_row(session, plan_id, lock=True)
            if row.status != PlanStatus.APPROVED:
                raise UsageError(f"{plan_id}: is {row.status}, not approved")
            if row.expires_at <= now:
                raise UsageError(f"{plan_id}: expired at {row.expires_at:%Y-%m-%d %H:%M} UTC")
            publish(plan_of(row, session.get_one(DishRow, row.dish_id).name))
            row.status = PlanStatus.EXPORTED
            session.add(AuditRow(at=now, who="colonywatch", what="plan exported", subject=plan_id))
            return plan_of(row, session.get_one(DishRow, row.dish_id).name)

    def expire(self, now: datetime) -> list[str]:
        """Plans whose time is over become expired, and leave the picker's folder."""
        with self._database.writing() as session:
            rows = session.scalars(
                select(RemovalPlanRow).where(
                    RemovalPlanRow.status.in_(LIVE_PLANS), RemovalPlanRow.expires_at <= now
                )
            ).all()
            for row in rows:
                end_plan(session, row, PlanStatus.EXPIRED, now, self._take_back)
            return [row.id for row in rows]


def add_plan(
    session: Session, dish: DishRow, reading: Reading, plan: RemovalPlan, now: datetime
) -> None:
    row = RemovalPlanRow(
        id=plan.id,
        dish_id=dish.id,
        reading_id=reading.id,
        status=plan.status,
        created_at=plan.created_at,
        expires_at=plan.expires_at,
        approved_by=plan.approved_by,
        approved_at=plan.approved_at,
        detail=detail_of(plan),
    )
    session.add(row)
    session.flush()
    note = None
    if plan.status is PlanStatus.APPROVED:
        try:
            _refuse_overlap(session, row)
        except UsageError as problem:
            # What a rule would approve blindly, a person may look at.
            note = str(problem)
            row.status, row.approved_by, row.approved_at = PlanStatus.DRAFT, None, None
    who = row.approved_by or "colonywatch"
    session.add(AuditRow(at=now, who=who, what=f"plan {row.status}", subject=plan.id, note=note))
    if row.status == PlanStatus.APPROVED:
        _send_to_picker(session, plan.id, now)


def supersede_plans(
    session: Session, dish: DishRow, now: datetime, take_back: TakeBack | None
) -> None:
    """The live plans of a dish aim at where its cells were: they end."""
    live = session.scalars(
        select(RemovalPlanRow).where(
            RemovalPlanRow.dish_id == dish.id, RemovalPlanRow.status.in_(LIVE_PLANS)
        )
    )
    for row in live:
        end_plan(session, row, PlanStatus.SUPERSEDED, now, take_back)


def end_plan(
    session: Session,
    row: RemovalPlanRow,
    status: PlanStatus,
    now: datetime,
    take_back: TakeBack | None,
) -> None:
    """A plan that may not be carried out any more leaves the picker's folder.

    At once, before anybody can read that it ended; and once more from the outbox, should the
    folder be out of reach now.
    """
    if row.status in (PlanStatus.APPROVED, PlanStatus.EXPORTED):
        if take_back is not None:
            take_back(plan_of(row, session.get_one(DishRow, row.dish_id).name))
        _withdraw(session, row.id, now)
    row.status = status
    session.add(AuditRow(at=now, who="colonywatch", what=f"plan {status}", subject=row.id))


def _send_to_picker(session: Session, plan_id: str, now: datetime) -> None:
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


def _refuse_overlap(session: Session, row: RemovalPlanRow) -> None:
    """Raises UsageError where a plan that the picker may be at work on aims at the same cells."""
    dish = session.get_one(DishRow, row.dish_id)
    plan = plan_of(row, dish.name)
    others = session.execute(
        select(RemovalPlanRow, DishRow.name)
        .join(DishRow, DishRow.id == RemovalPlanRow.dish_id)
        .where(
            RemovalPlanRow.status.in_([PlanStatus.APPROVED, PlanStatus.EXPORTED]),
            RemovalPlanRow.id != row.id,
            DishRow.source == dish.source,
        )
    )
    for other, name in others:
        why = why_overlapping(plan, plan_of(other, name))
        if why is not None:
            raise UsageError(f"{row.id}: {why}; say that {other.id} is done, or reject it, first")


def _plan_row(session: Session, plan_id: str, *, lock: bool = False) -> RemovalPlanRow:
    row = session.get(RemovalPlanRow, plan_id, with_for_update=lock or None)
    if row is None:
        raise UsageError(f"{plan_id}: there is no removal plan of this id; see removals list")
    return row
