"""Removal plans: what became of each, and who decided it. The only place that changes them.

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

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from monitor.culture import (
    PickOutcome,
    PlanStatus,
    Reading,
    RegionFate,
    RegionVerdict,
    RemovalCheck,
    RemovalPlan,
)
from monitor.errors import UsageError
from monitor.record.database import Database
from monitor.record.plan_documents import detail_of, plan_of
from monitor.record.tables import (
    AnnotationRow,
    AuditRow,
    DishRow,
    OutboxRow,
    ReadingRow,
    RecordRow,
    RegionFateRow,
    RemovalPlanRow,
)
from monitor.stage.frames import why_overlapping

LIVE_PLANS = (PlanStatus.DRAFT, PlanStatus.APPROVED, PlanStatus.EXPORTED)
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
_WORTH = {PickOutcome.FAILED: 0, PickOutcome.PARTLY_PICKED: 1, PickOutcome.PICKED: 2}
US = "colonywatch"
TakeBack = Callable[[RemovalPlan], None]


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
            fates = _fates(session, None if statuses is None else [row.id for row, _ in rows])
            return [plan_of(row, dish, fates.get(row.id, ())) for row, dish in rows]

    def plan(self, plan_id: str) -> RemovalPlan:
        """Raises UsageError where there is none of this id."""
        with self._database.reading() as session:
            return _told(session, _plan_row(session, plan_id))

    def for_reading(self, reading_id: int) -> RemovalPlan | None:
        with self._database.reading() as session:
            row = session.scalar(
                select(RemovalPlanRow).where(RemovalPlanRow.reading_id == reading_id)
            )
            return None if row is None else _told(session, row)

    def to_check(self, dish: str) -> tuple[RemovalPlan, ...]:
        """Plans of a dish with regions that were picked and of which nothing certain is known."""
        with self._database.reading() as session:
            return _to_check(session, session.scalars(_PICKED_OF, {"name": dish}).all())

    def events(self, plan_id: str) -> list[PlanEvent]:
        """Who did what with the plan, oldest first."""
        with self._database.reading() as session:
            rows = session.scalars(
                select(AuditRow)
                .where(AuditRow.subject == plan_id, AuditRow.what.startswith("plan "))
                .order_by(AuditRow.id)
            )
            return [PlanEvent(row.at, row.who, row.what, row.note) for row in rows]

    # --- deciding ------------------------------------------------------------------------------

    def approve(
        self, plan_id: str, *, who: str, now: datetime, note: str | None = None
    ) -> RemovalPlan:
        """A draft becomes approved and, in the same transaction, due for the picker.

        Of two people who decide at once, one wins. Raises UsageError where it is no draft any
        more, has expired, or aims at the same cells as another plan that is out.
        """
        with self._database.writing() as session:
            row = _plan_row(session, plan_id, lock=True)
            _refuse_old(row, now)
            if row.status == PlanStatus.DRAFT:
                _refuse_overlap(session, row)
            _move(session, row, PlanStatus.APPROVED, who=who, now=now, why=note)
            row.approved_by, row.approved_at = who, now
            _send_to_picker(session, row.id, now)
            session.flush()
            return _told(session, row)

    def reject(
        self, plan_id: str, *, who: str, now: datetime, note: str | None = None
    ) -> RemovalPlan:
        """A plan that is not carried out yet will not be; it leaves the picker's folder.

        Raises UsageError where it was carried out or has ended already.
        """
        with self._database.writing() as session:
            row = _plan_row(session, plan_id, lock=True)
            end_plan(session, row, PlanStatus.REJECTED, now, self._take_back, who=who, why=note)
            return _told(session, row)

    def supersede(self, plan_id: str, *, now: datetime, why: str) -> bool:
        """What a plan rests on does not hold any more: it ends. False where it had ended before."""
        with self._database.writing() as session:
            row = _plan_row(session, plan_id, lock=True)
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
            row = _plan_row(session, plan_id, lock=True)
            if row.status == PlanStatus.EXPORTED and row.handover is not None:
                if row.handover["token"] == token:
                    _refuse_old(row, now)
                    return _told(session, row)
                raise UsageError(f"{plan_id}: was handed out already ({row.handover['to']})")
            if row.status != PlanStatus.APPROVED:
                raise UsageError(f"{plan_id}: is {row.status}, not approved")
            _refuse_old(row, now)
            missing = "".join(
                f"; {name} not written: {why}" for name, why in (unwritten or {}).items()
            )
            why = f"handed to the {to}{missing}"
            _move(session, row, PlanStatus.EXPORTED, who=US, now=now, why=why)
            row.handover = {"to": to, "token": token, "at": now.isoformat()}
            if unwritten:
                row.handover = {**row.handover, "unwritten": dict(unwritten)}
            session.flush()
            return _told(session, row)

    def show(self, plan_id: str, *, publish: Callable[[RemovalPlan], None], now: datetime) -> None:
        """Make the files of an exported plan visible while nobody else can end it.

        publish : shows what is not visible yet
        Raises UsageError where the plan has ended meanwhile; what `publish` raises goes through.
        """
        with self._database.writing() as session:
            row = _plan_row(session, plan_id, lock=True)
            if row.status != PlanStatus.EXPORTED:
                raise UsageError(f"{plan_id}: is {row.status}, not exported")
            _refuse_old(row, now)
            publish(_told(session, row))

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
            row = _plan_row(session, plan_id, lock=True)
            if row.status != PlanStatus.EXPORTED or row.expires_at <= now or row.handover is None:
                return
            before = row.handover.get("unwritten", {})
            left = dict(publish(_told(session, row)))
            if left != before:
                row.handover = {**row.handover, "unwritten": left}
            for name in before:
                if name not in left:
                    _audit(
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
            row = _plan_row(session, plan_id, lock=True)
            told = _told(session, row)
            news = _news(told, reports)
            if not news:
                return told
            status = PlanStatus(row.status)
            if told.handover is None:
                raise UsageError(
                    f"{plan_id}: is {status} and was never handed to a picker; nothing can have "
                    "been picked by it"
                )
            if status is PlanStatus.VERIFIED:
                raise UsageError(
                    f"{plan_id}: was checked by a scan already, and now something else is told of "
                    f"{', '.join(one.region_id for one in news)}"
                )
            for one in news:
                _tell(session, plan_id, one, now)
            session.flush()
            told = _told(session, row)
            picked = [fate for fate in told.fates if fate.outcome is not PickOutcome.FAILED]
            why = "; ".join(filter(None, [counts_of_fates(told), note]))
            if picked and status is not PlanStatus.PICKED:
                if status is PlanStatus.EXPORTED:
                    _take_away(session, row, now, self._take_back)
                _move(session, row, PlanStatus.PICKED, who=who, now=now, why=why)
                row.picked_at = at
                _note(session, row, at, who, f"picked: {counts_of_fates(told)}", now)
                self._end_older(session, row, at, now)
            elif status is PlanStatus.EXPORTED and len(told.fates) == len(told.targets):
                end_plan(session, row, PlanStatus.REJECTED, now, self._take_back, who=who, why=why)
            else:
                _audit(session, row.id, who, f"plan {status} told", why, now)
            session.flush()
            return _told(session, row)

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
        _audit(session, plan.id, US, "plan not made", why, now)
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
            _refuse_overlap(session, row)
        except UsageError as problem:
            # What a rule would approve blindly, a person may look at.
            note = str(problem)
            row.status, row.approved_by, row.approved_at = PlanStatus.DRAFT, None, None
    _audit(session, plan.id, row.approved_by or US, f"plan made, {row.status}", note, now)
    if row.status == PlanStatus.APPROVED:
        _send_to_picker(session, plan.id, now)


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
        _take_away(session, row, now, take_back)
    _move(session, row, status, who=who, now=now, why=why)


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


def plans_to_check(session: Session, dish: DishRow) -> tuple[RemovalPlan, ...]:
    """Plans of the dish with regions that were picked and not looked at since."""
    return _to_check(session, session.scalars(_PICKED, {"dish": dish.id}).all())


def _to_check(session: Session, rows: Sequence[RemovalPlanRow]) -> tuple[RemovalPlan, ...]:
    plans = [_told(session, row) for row in rows if row.picked_at is not None]
    return tuple(plan for plan in plans if plan.to_check)


def write_verdicts(
    session: Session, verdicts: Sequence[RegionVerdict], reading: Reading, now: datetime
) -> None:
    """What a scan says of regions that were picked. With the last of them a plan is verified; one
    of which a region was not checked in time stays picked for good.
    """
    for plan_id in dict.fromkeys(verdict.plan_id for verdict in verdicts):
        row = _plan_row(session, plan_id, lock=True)
        for verdict in verdicts:
            if verdict.plan_id == plan_id:
                fate = session.get_one(RegionFateRow, (plan_id, verdict.region_id))
                fate.check_result, fate.gone_share = verdict.check, verdict.gone_share
                fate.checked_by = reading.id
        session.flush()
        told = _told(session, row)
        why = f"scan of {reading.at:%Y-%m-%d %H:%M} UTC: {counts_of_checks(told)}"
        _note(session, row, reading.at, US, f"looked at again: {counts_of_checks(told)}", now)
        if told.to_check:
            _audit(session, plan_id, US, "plan partly verified", why, now)
        elif any(fate.check is RemovalCheck.NOT_CHECKED for fate in told.fates):
            _audit(session, plan_id, US, "plan not verified in time", why, now)
        else:
            _move(session, row, PlanStatus.VERIFIED, who=US, now=now, why=why)


# --- changes of status ----------------------------------------------------------------------------


def _move(
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
    _audit(session, row.id, who, f"plan {before} -> {to}", why, now)


def _take_away(
    session: Session, row: RemovalPlanRow, now: datetime, take_back: TakeBack | None
) -> None:
    if take_back is not None:
        take_back(_told(session, row))
    _withdraw(session, row.id, now)


def _audit(
    session: Session, plan_id: str, who: str, what: str, note: str | None, now: datetime
) -> None:
    session.add(AuditRow(at=now, who=who, what=what, subject=plan_id, note=note))


def _note(
    session: Session, row: RemovalPlanRow, at: datetime, who: str, text: str, now: datetime
) -> None:
    """What the dish's series tells of the plan."""
    note = f"removal plan {row.id} {text}"
    session.add(AnnotationRow(dish_id=row.dish_id, at=at, text=note, who=who, created_at=now))


def _refuse_old(row: RemovalPlanRow, now: datetime) -> None:
    if row.expires_at <= now:
        raise UsageError(
            f"{row.id}: expired at {row.expires_at:%Y-%m-%d %H:%M} UTC; the dish's next scan makes "
            "a new plan"
        )


# --- what is told of regions ----------------------------------------------------------------------


def _news(plan: RemovalPlan, reports: Sequence[PickReport]) -> list[PickReport]:
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


def _tell(session: Session, plan_id: str, report: PickReport, now: datetime) -> None:
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


def _fates(session: Session, plan_ids: Sequence[str] | None) -> dict[str, tuple[RegionFate, ...]]:
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


def _told(session: Session, row: RemovalPlanRow) -> RemovalPlan:
    dish = session.get_one(DishRow, row.dish_id)
    return plan_of(row, dish, _fates(session, [row.id]).get(row.id, ()))


# --- the picker's outbox --------------------------------------------------------------------------


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


def _plan_row(session: Session, plan_id: str, *, lock: bool = False) -> RemovalPlanRow:
    row = session.get(RemovalPlanRow, plan_id, with_for_update=lock or None)
    if row is None:
        raise UsageError(f"{plan_id}: there is no removal plan of this id; see removals list")
    return row
