"""Removal plans on record: what became of each, and who decided it.

Where a plan may stand, and what follows from where, is drawn in `plan_moves`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from monitor.culture import (
    LIVE_PLANS,
    PickOutcome,
    PlanStatus,
    Reading,
    RegionVerdict,
    RemovalCheck,
    RemovalPlan,
)
from monitor.errors import UsageError
from monitor.record.audit import append, entries
from monitor.record.database import Database
from monitor.record.plan_documents import detail_of, plan_of
from monitor.record.plan_moves import (
    US,
    TakeBack,
    end_plan,
    fates_of,
    move,
    plan_as_told,
    plan_row,
    refuse_old,
    refuse_overlap,
    send_to_picker,
    take_away,
    write_audit,
    write_note,
)
from monitor.record.plan_reports import PickReport, counts_of_checks, counts_of_fates, news_of, tell
from monitor.record.tables import (
    DishRow,
    ReadingRow,
    RecordRow,
    RegionFateRow,
    RemovalPlanRow,
)


@dataclass(frozen=True)
class PlanEvent:
    """One line of a plan's audit trail."""

    at: datetime
    who: str
    what: str
    note: str | None


class PlanRecord:
    """take_back : called with each plan that ends, before that is on record"""

    def __init__(self, database: Database, *, take_back: TakeBack | None = None) -> None:
        self._database = database
        self._take_back = take_back

    # --- looking -------------------------------------------------------------------------------

    def all(self, statuses: Collection[PlanStatus] | None = None) -> list[RemovalPlan]:
        """Newest first; `statuses` : only those that stand there."""
        with self._database.reading() as session:
            query = (
                select(RemovalPlanRow, DishRow)
                .join(DishRow, DishRow.id == RemovalPlanRow.dish_id)
                .order_by(RemovalPlanRow.created_at.desc(), RemovalPlanRow.id)
            )
            if statuses is not None:
                query = query.where(RemovalPlanRow.status.in_(list(statuses)))
            rows = session.execute(query).all()
            fates = fates_of(session, None if statuses is None else [row.id for row, _ in rows])
            return [plan_of(row, dish, fates.get(row.id, ())) for row, dish in rows]

    def plan(self, plan_id: str) -> RemovalPlan:
        """Raises UsageError where there is none of this id."""
        with self._database.reading() as session:
            return plan_as_told(session, plan_row(session, plan_id))

    def for_reading(self, reading_id: int) -> RemovalPlan | None:
        with self._database.reading() as session:
            return plan_of_reading(session, reading_id)

    def to_check(self, dish: str) -> tuple[RemovalPlan, ...]:
        """Plans of a dish with regions that were picked and of which nothing certain is known."""
        with self._database.reading() as session:
            return _to_check(session, session.scalars(_PICKED_OF, {"name": dish}).all())

    def events(self, plan_id: str) -> list[PlanEvent]:
        """Who did what with the plan, oldest first."""
        with self._database.reading() as session:
            return [
                PlanEvent(entry.at, entry.who, entry.what, entry.why)
                for entry in entries(session, about=plan_id)
                if entry.what.startswith("plan ")
            ]

    # --- deciding ------------------------------------------------------------------------------

    def approve(
        self,
        plan_id: str,
        *,
        who: str,
        now: datetime,
        note: str | None = None,
        instead: RemovalPlan | None = None,
    ) -> RemovalPlan:
        """A draft becomes approved and, in the same transaction, due for the picker.

        instead : the same plan with some of its regions switched off; that is approved

        Of two people who decide at once, one wins. Raises UsageError where it is no draft any
        more, has expired, or aims at the same cells as another plan that is out.
        """
        with self._database.writing() as session:
            row = plan_row(session, plan_id, lock=True)
            refuse_old(row, now)
            if row.status == PlanStatus.DRAFT:
                if instead is not None:
                    _switch_off(session, row, instead, who, now)
                refuse_overlap(session, row)
            move(session, row, PlanStatus.APPROVED, who=who, now=now, why=note)
            row.approved_by, row.approved_at = who, now
            send_to_picker(session, row.id, now)
            session.flush()
            return plan_as_told(session, row)

    def reject(
        self, plan_id: str, *, who: str, now: datetime, note: str | None = None
    ) -> RemovalPlan:
        """A plan that is not carried out yet will not be; it leaves the picker's folder.

        Raises UsageError where it was carried out or has ended already.
        """
        with self._database.writing() as session:
            row = plan_row(session, plan_id, lock=True)
            end_plan(session, row, PlanStatus.REJECTED, now, self._take_back, who=who, why=note)
            return plan_as_told(session, row)

    def supersede(self, plan_id: str, *, now: datetime, why: str) -> bool:
        """What a plan rests on does not hold any more: it ends. False where it had ended before."""
        with self._database.writing() as session:
            row = plan_row(session, plan_id, lock=True)
            if row.status not in LIVE_PLANS:
                return False
            end_plan(session, row, PlanStatus.SUPERSEDED, now, self._take_back, why=why)
            return True

    def expire(self, now: datetime) -> list[str]:
        """Plans whose time is over become expired, and leave the picker's folder."""
        old = RemovalPlanRow.status.in_(LIVE_PLANS), RemovalPlanRow.expires_at <= now
        with self._database.reading() as session:
            if session.scalar(_OLD, {"now": now}) is None:
                return []
        with self._database.writing() as session:
            rows = session.scalars(select(RemovalPlanRow).where(*old).with_for_update()).all()
            for row in rows:
                end_plan(session, row, PlanStatus.EXPIRED, now, self._take_back)
            return [row.id for row in rows]

    # --- handing out ---------------------------------------------------------------------------

    def hand_out(
        self,
        plan_id: str,
        *,
        to: str,
        token: str,
        now: datetime,
        unwritten: Mapping[str, str] | None = None,
    ) -> RemovalPlan:
        """An approved plan becomes exported: given to one picker, and to nobody else.

        to : "folder" or "sila"
        token : of this hand-over; the same one again changes nothing and is answered the same, so
            that one who did not hear the answer may ask again
        unwritten : why a format is not among the files, by its name

        Raises UsageError where the plan is not approved any more, has expired, or was given to
        another token.
        """
        with self._database.writing() as session:
            row = plan_row(session, plan_id, lock=True)
            if row.status == PlanStatus.EXPORTED and row.handover is not None:
                if row.handover["token"] == token:
                    refuse_old(row, now)
                    return plan_as_told(session, row)
                raise UsageError(f"{plan_id}: was handed out already ({row.handover['to']})")
            if row.status != PlanStatus.APPROVED:
                raise UsageError(f"{plan_id}: is {row.status}, not approved")
            refuse_old(row, now)
            missing = "".join(
                f"; {name} not written: {why}" for name, why in (unwritten or {}).items()
            )
            why = f"handed to the {to}{missing}"
            move(session, row, PlanStatus.EXPORTED, who=US, now=now, why=why)
            row.handover = {"to": to, "token": token, "at": now.isoformat()}
            if unwritten:
                row.handover = {**row.handover, "unwritten": dict(unwritten)}
            session.flush()
            return plan_as_told(session, row)

    def show(self, plan_id: str, *, publish: Callable[[RemovalPlan], None], now: datetime) -> None:
        """Make the files of an exported plan visible while nobody else can end it.

        publish : shows what is not visible yet
        Raises UsageError where the plan has ended meanwhile; what `publish` raises goes through.
        """
        with self._database.writing() as session:
            row = plan_row(session, plan_id, lock=True)
            if row.status != PlanStatus.EXPORTED:
                raise UsageError(f"{plan_id}: is {row.status}, not exported")
            refuse_old(row, now)
            publish(plan_as_told(session, row))

    def show_late(
        self,
        plan_id: str,
        *,
        publish: Callable[[RemovalPlan], Mapping[str, str]],
        now: datetime,
    ) -> None:
        """Show what of an exported plan could not be written before, while nobody can end it.

        publish : shows it, and says which formats cannot be written still, and why
        """
        with self._database.writing() as session:
            row = plan_row(session, plan_id, lock=True)
            if row.status != PlanStatus.EXPORTED or row.expires_at <= now or row.handover is None:
                return
            before = row.handover.get("unwritten", {})
            left = dict(publish(plan_as_told(session, row)))
            if left != before:
                row.handover = {**row.handover, "unwritten": left}
            for name in before:
                if name not in left:
                    write_audit(
                        session,
                        row.id,
                        US,
                        f"plan exported, {name} not missing any more",
                        None,
                        now,
                    )

    # --- closing the loop ----------------------------------------------------------------------

    def acknowledge(
        self,
        plan_id: str,
        reports: Sequence[PickReport],
        *,
        who: str,
        now: datetime,
        picked_at: datetime | None = None,
        note: str | None = None,
    ) -> RemovalPlan:
        """Write down what was done of a plan, also of one that ended after it was handed out.

        picked_at : when; not later than `now`, which is taken where it is not told
        The same told again changes nothing. Regions that nothing was told of can be told later.
        A plan that is out and of which every region failed counts as rejected by the picker.
        Plans of the dish that rest on an older scan end, since they aim at what is gone.

        Raises UsageError where a region is not in the plan, where the plan was never handed out,
        and where something else was told of a region before.
        """
        at = min(picked_at or now, now)
        with self._database.writing() as session:
            row = plan_row(session, plan_id, lock=True)
            told = plan_as_told(session, row)
            news = news_of(told, reports)
            if not news:
                return told
            status = PlanStatus(row.status)
            if told.handover is None:
                raise UsageError(
                    f"{plan_id}: is {status} and was never handed to a picker; nothing can "
                    "have been picked with it"
                )
            if status is PlanStatus.VERIFIED:
                raise UsageError(
                    f"{plan_id}: was checked by a scan already, and now something else is told of "
                    f"{', '.join(one.region_id for one in news)}"
                )
            for one in news:
                tell(session, plan_id, one, now)
            session.flush()
            told = plan_as_told(session, row)
            picked = [fate for fate in told.fates if fate.outcome is not PickOutcome.FAILED]
            why = "; ".join(filter(None, [counts_of_fates(told), note]))
            if picked and status is not PlanStatus.PICKED:
                if status is PlanStatus.EXPORTED:
                    take_away(session, row, now, self._take_back)
                move(session, row, PlanStatus.PICKED, who=who, now=now, why=why)
                row.picked_at = at
                write_note(session, row, at, who, f"picked: {counts_of_fates(told)}", now)
                self._end_older(session, row, at, now)
            elif status is PlanStatus.EXPORTED and len(told.fates) == len(told.targets):
                end_plan(session, row, PlanStatus.REJECTED, now, self._take_back, who=who, why=why)
            else:
                write_audit(session, row.id, who, f"plan {status} told", why, now)
            session.flush()
            return plan_as_told(session, row)

    def _end_older(
        self, session: Session, row: RemovalPlanRow, picked_at: datetime, now: datetime
    ) -> None:
        older = session.scalars(
            select(RemovalPlanRow)
            .join(ReadingRow, ReadingRow.id == RemovalPlanRow.reading_id)
            .where(
                RemovalPlanRow.dish_id == row.dish_id,
                RemovalPlanRow.status.in_(LIVE_PLANS),
                ReadingRow.at <= picked_at,
            )
        ).all()
        for one in older:
            why = f"plan {row.id} was carried out after its scan"
            end_plan(session, one, PlanStatus.SUPERSEDED, now, self._take_back, why=why)


def plan_standing(plan: RemovalPlan) -> str:
    """Changes with each step of the plan, and where other regions are in it."""
    return f"{plan.status}/{len(plan.targets)}/{len(plan.fates)}"


def _switch_off(
    session: Session, row: RemovalPlanRow, instead: RemovalPlan, who: str, now: datetime
) -> None:
    """Raises UsageError where the other plan holds what the plan does not."""
    before = {one.region_id: one for one in plan_as_told(session, row).targets}
    kept = {one.region_id for one in instead.targets}
    if instead.id != row.id or not kept or not kept < before.keys():
        raise UsageError(f"{row.id}: has changed since; look at it again")
    row.detail = detail_of(instead)
    off = sorted(before.keys() - kept)
    append(
        session, now=now, who=who, what="plan regions switched off", about=row.id,
        before=sorted(before), after=sorted(kept), why=", ".join(off),
    )  # fmt: skip


def add_plan(
    session: Session, dish: DishRow, reading: Reading, plan: RemovalPlan, now: datetime
) -> None:
    """Put a new plan on record; none where something was picked since its scan."""
    picked = session.scalar(
        select(RemovalPlanRow)
        .where(RemovalPlanRow.dish_id == dish.id, RemovalPlanRow.picked_at >= reading.at)
        .limit(1)
    )
    if picked is not None:
        why = f"plan {picked.id} was carried out after this scan; the next scan makes a new one"
        write_audit(session, plan.id, US, "plan not made", why, now)
        return
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
            _refuse_unsure(session, reading)
            refuse_overlap(session, row)
        except UsageError as problem:
            # What a rule would approve blindly, a person may look at.
            note = str(problem)
            row.status, row.approved_by, row.approved_at = PlanStatus.DRAFT, None, None
    write_audit(session, plan.id, row.approved_by or US, f"plan made, {row.status}", note, now)
    if row.status == PlanStatus.APPROVED:
        send_to_picker(session, plan.id, now)


def _refuse_unsure(session: Session, reading: Reading) -> None:
    """Raises UsageError where the record was restored after the scan, and so may have forgotten
    that these regions were removed.
    """
    record = session.get(RecordRow, 1)
    if record is not None and record.restored_at is not None and reading.at <= record.restored_at:
        raise UsageError(
            f"the record was restored from a backup at {record.restored_at:%Y-%m-%d %H:%M} UTC, "
            "after this scan; see whether these regions were removed before you approve it"
        )


def supersede_plans(
    session: Session, dish: DishRow, now: datetime, take_back: TakeBack | None
) -> None:
    """The live plans of a dish aim at where its cells were: they end."""
    for row in session.scalars(_LIVE, {"dish": dish.id}).all():
        end_plan(session, row, PlanStatus.SUPERSEDED, now, take_back, why="a newer scan")


_ALL_PICKED = (
    select(RemovalPlanRow)
    .where(RemovalPlanRow.status == PlanStatus.PICKED)
    .order_by(RemovalPlanRow.picked_at, RemovalPlanRow.id)
)
_PICKED = _ALL_PICKED.where(RemovalPlanRow.dish_id == bindparam("dish"))
_PICKED_OF = _ALL_PICKED.join(DishRow, DishRow.id == RemovalPlanRow.dish_id).where(
    DishRow.name == bindparam("name")
)
_OLD = (
    select(RemovalPlanRow.id)
    .where(RemovalPlanRow.status.in_(LIVE_PLANS), RemovalPlanRow.expires_at <= bindparam("now"))
    .limit(1)
)
_LIVE = select(RemovalPlanRow).where(
    RemovalPlanRow.dish_id == bindparam("dish"), RemovalPlanRow.status.in_(LIVE_PLANS)
)


def plan_of_reading(session: Session, reading_id: int) -> RemovalPlan | None:
    """The plan that was made from a reading."""
    row = session.scalar(select(RemovalPlanRow).where(RemovalPlanRow.reading_id == reading_id))
    return None if row is None else plan_as_told(session, row)


def plans_to_check(session: Session, dish: DishRow) -> tuple[RemovalPlan, ...]:
    """Plans of the dish with regions that were picked and not looked at since."""
    return _to_check(session, session.scalars(_PICKED, {"dish": dish.id}).all())


def _to_check(session: Session, rows: Sequence[RemovalPlanRow]) -> tuple[RemovalPlan, ...]:
    plans = [plan_as_told(session, row) for row in rows if row.picked_at is not None]
    return tuple(plan for plan in plans if plan.to_check)


def write_verdicts(
    session: Session, verdicts: Sequence[RegionVerdict], reading: Reading, now: datetime
) -> None:
    """What a scan says of regions that were picked. With the last of them a plan is verified; one
    of which a region was not checked in time stays picked for good.
    """
    for plan_id in dict.fromkeys(verdict.plan_id for verdict in verdicts):
        row = plan_row(session, plan_id, lock=True)
        for verdict in verdicts:
            if verdict.plan_id == plan_id:
                fate = session.get_one(RegionFateRow, (plan_id, verdict.region_id))
                fate.check_result, fate.gone_share = verdict.check, verdict.gone_share
                fate.checked_by = reading.id
        session.flush()
        told = plan_as_told(session, row)
        why = f"scan of {reading.at:%Y-%m-%d %H:%M} UTC: {counts_of_checks(told)}"
        write_note(session, row, reading.at, US, f"looked at again: {counts_of_checks(told)}", now)
        if told.to_check:
            write_audit(session, plan_id, US, "plan partly verified", why, now)
        elif any(fate.check is RemovalCheck.NOT_CHECKED for fate in told.fates):
            write_audit(session, plan_id, US, "plan not verified in time", why, now)
        else:
            move(session, row, PlanStatus.VERIFIED, who=US, now=now, why=why)
