"""A decision on a scan becomes rows: alerts, plans, verdicts, and where its dish stands."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from monitor.culture import (
    COURSE_TOPICS,
    AlertKind,
    HeldBack,
    Reading,
    ScanDecision,
    ScanFacts,
    Stand,
)
from monitor.record.alert_rows import CHANGE, REPLACED, add_alert, hold_waiting
from monitor.record.plan_moves import TakeBack
from monitor.record.plans import add_plan, supersede_plans, write_verdicts
from monitor.record.stands import in_short
from monitor.record.tables import (
    AlertRow,
    CaptureRow,
    DishRow,
    MeasurementRow,
    ReadingMeasurementRow,
    ScanRow,
)


def carry_out(
    session: Session,
    dish: DishRow,
    reading: Reading,
    decision: ScanDecision,
    now: datetime,
    take_back: TakeBack | None,
) -> None:
    if decision.status != dish.status:
        dish.status, dish.status_since = decision.status, now
    dish.severity = decision.severity
    if decision.replaces_plans:
        supersede_plans(session, dish, now, take_back)
    if decision.stand is not None:
        dish.undecided_since, dish.judged_from = None, decision.judged_from
        for scan_id, stand in decision.stands.items():
            # By its number: most often the scan that was just read, which is at hand.
            session.get_one(ScanRow, scan_id).stand = in_short(stand)
    _put_right(session, decision, now)
    for new in decision.alerts:
        shows = new.reading or reading
        after = decision.stands.get(shows.scan_id)
        about = AlertRow(
            dish_id=dish.id,
            reading_id=shows.id,
            status=decision.status if after is None else after.status,
            at=shows.at,
            fraction=shows.differentiated_fraction,
        )
        add_alert(session, new, about, now)
    if decision.stand is not None and (decision.kept or decision.replaced):
        _open_and_close(session, dish, decision.stand, now)
    write_verdicts(session, decision.verdicts, reading, now)
    if decision.plan is not None:
        add_plan(session, dish, decision.planned_by or reading, decision.plan, now)


def _put_right(session: Session, decision: ScanDecision, now: datetime) -> None:
    """What a late scan makes of the alerts of before: some are about another scan, some do not
    hold any more. What was told of them stays told.
    """
    for kept in decision.kept:
        row = session.get_one(AlertRow, kept.alert_id)
        if row.reading_id != kept.reading.id:
            row.reading_id, row.at = kept.reading.id, kept.reading.at
            row.fraction = kept.reading.differentiated_fraction
        after = decision.stands.get(kept.reading.scan_id)
        if after is not None:
            row.status = after.status
    replaced = [session.get_one(AlertRow, id_) for id_ in decision.replaced]
    hold_waiting(session, replaced, HeldBack.OVERTAKEN, now)
    for row in replaced:
        row.role, row.closed_at = REPLACED, row.closed_at or now
    session.flush()


def _open_and_close(session: Session, dish: DishRow, stand: Stand, now: datetime) -> None:
    """Alerts since the last time a topic was cleared are open while it is; all others are not."""
    rows = session.scalars(
        select(AlertRow)
        .where(AlertRow.dish_id == dish.id, AlertRow.role != REPLACED)
        .order_by(AlertRow.at, AlertRow.id)
    ).all()
    cleared = {
        row.topic: place
        for place, row in enumerate(rows)
        if row.role == CHANGE and row.kind == AlertKind.CLEARED
    }
    for place, row in enumerate(rows):
        if row.source is not None or row.reading_id is None:
            continue  # a silence, which has an end of its own
        since = place > cleared.get(row.topic, -1)
        if row.topic in stand.is_open and since and row.kind != AlertKind.CLEARED:
            row.closed_at = None
        elif row.topic in COURSE_TOPICS:
            row.closed_at = row.closed_at or now


_SHOWN = (
    select(CaptureRow.fingerprint)
    .join(MeasurementRow, MeasurementRow.capture_id == CaptureRow.id)
    .join(ReadingMeasurementRow, ReadingMeasurementRow.measurement_id == MeasurementRow.id)
    .where(ReadingMeasurementRow.reading_id == bindparam("reading"))
)


def note_what_is_new(
    session: Session, dish: DishRow, facts: ScanFacts, reading: Reading, now: datetime
) -> None:
    """Does the newest scan show something else than the one before? Bytes alone do not say."""
    shown = {field.measurement.fingerprint for field in facts.fields}
    before: set[str | None] = set()
    if facts.history:
        before = set(session.scalars(_SHOWN, {"reading": facts.history[-1].id}))
    if shown == before and None not in shown:
        # A late field or another model reads the same scan again: it repeats nothing.
        dish.repeats += 1 if facts.next_version == 1 else 0
        return
    # An imager whose clock runs ahead must not make its silence to come unheard.
    dish.repeats, dish.last_new_at = 0, min(reading.at, now)
