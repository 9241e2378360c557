"""Dishes, their scans, readings and alerts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.orm import Session, joinedload

from monitor.culture import (
    Alert,
    AlertKind,
    AlertTopic,
    CaptureState,
    DishStatus,
    FieldAreas,
    LatestScan,
    NewAlert,
    NewReading,
    Reading,
    ScanDecision,
    ScanFacts,
    ScanField,
    ScanOutcome,
    Severity,
    place_of,
)
from monitor.culture.course import COURSE_TOPICS, LOOK_BACK, Course, Stand
from monitor.errors import UsageError
from monitor.record.capture_states import is_due, unfinished, wait_again
from monitor.record.colonies import Follow, follow_colonies
from monitor.record.database import Database
from monitor.record.files import analysis_of
from monitor.record.lookup import dish_called
from monitor.record.measurements import measurement_of
from monitor.record.notifications import CHANNEL, MAIL, OVERTAKEN, SNOOZED, hold_waiting, send_out
from monitor.record.plan_moves import TakeBack
from monitor.record.plans import add_plan, plans_to_check, supersede_plans, write_verdicts
from monitor.record.scans import FILLED_TWICE, OTHER_COUNTS, SET_ASIDE
from monitor.record.series import (
    THAT_COUNTS,
    last_taken_at,
    newest_reading,
    reading_of,
    readings_numbered,
    scans_read,
    series_of,
)
from monitor.record.session_cache import hold, remember, remembered
from monitor.record.sightings import is_overwritten
from monitor.record.stands import in_short, stand_of
from monitor.record.tables import (
    AlertRow,
    AuditRow,
    CaptureRow,
    DishRow,
    MeasurementRow,
    ReadingMeasurementRow,
    ReadingRow,
    ScanRow,
)
from monitor.scans.fields import ANOTHER_PICTURE, FieldChoice, FieldFile, one_of_each, told_apart

_ALERTS = 100
CHANGE, REPLACED = "change", "replaced"
_READABLE = (CaptureState.MEASURED, CaptureState.RECORDED)


Decide = Callable[[ScanFacts, Reading], ScanDecision]
SumUp = Callable[[Sequence[ScanField]], NewReading]


@dataclass(frozen=True)
class DishSummary:
    """A dish at a glance. label, passage, ended_at : as of `DishLine`"""

    name: str
    source: str
    status: DishStatus
    scans: int
    first: Reading | None
    last: Reading | None
    last_capture_at: datetime | None
    label: str = ""
    passage: int = 0
    ended_at: datetime | None = None
    parent: str | None = None


class DishRecord:
    """take_back : called with each plan that ends, before that is on record"""

    def __init__(self, database: Database, *, take_back: TakeBack | None = None) -> None:
        self._database = database
        self._take_back = take_back

    # --- scans and readings --------------------------------------------------------------------

    def scans_to_read(
        self, now: datetime, quiet_s: dict[str, float], expected: dict[str, int | None]
    ) -> list[int]:
        """Scans with fields that no reading holds yet and that count as complete.

        Complete: as many fields as the source expects, or nothing new for its quiet time while
        no capture of its dish is due or in work. `quiet_s`, `expected` : by source name.
        """
        with self._database.reading() as session:
            rows = session.execute(_UNREAD).all()
            if not rows:
                return []
            busy = {
                (named_source, named)
                for named_source, named in session.execute(
                    select(CaptureRow.source, CaptureRow.named_dish)
                    .where(
                        unfinished(CaptureState.WORKING)
                        | (unfinished(CaptureState.WAITING) & is_due(now)),
                        unfinished(),
                    )
                    .distinct()
                )
            }
            ready = []
            for scan_id, last_taken_at, source, label, count in rows:
                wanted = expected.get(source)
                quiet = timedelta(seconds=quiet_s.get(source, 0.0))
                if (wanted is not None and count >= wanted) or (
                    # A time to come is of before the clock was set back.
                    (source, label) not in busy and not now - quiet < last_taken_at <= now
                ):
                    ready.append(scan_id)
            return ready

    def unread_scans(self, capture_ids: Collection[int]) -> list[int]:
        """Scans that hold one of these captures and have news, oldest first."""
        wanted = set(capture_ids)
        with self._database.reading() as session:
            rows = session.execute(
                select(ScanRow.id, CaptureRow.id)
                .join(CaptureRow, CaptureRow.scan_id == ScanRow.id)
                .where(ScanRow.dirty)
                .order_by(ScanRow.first_at, ScanRow.id)
            )
            return list(dict.fromkeys(scan for scan, capture in rows if capture in wanted))

    def read_scan(
        self,
        scan_id: int,
        *,
        sum_up: SumUp,
        decide: Decide,
        now: datetime,
        follow: Follow | None = None,
    ) -> ScanOutcome | None:
        """Turn a scan's fields into a reading, with all that follows, in one transaction.

        One reading rests on one model. Where the model was changed in the middle of a scan, the
        fields of the former one are measured again and make the next version.

        None where there is nothing new to read.
        """
        # Lost with the power, the scan is read again. Whatever leaves for a person or the picker is
        # first taken from the outbox, and that takes all that was written before it to the disk.
        with self._database.writing(durable=False) as session:
            # Each part writes the rows that a later one looks for; nothing else is written before
            # a question, which would cost as much as all the rest.
            with session.no_autoflush:
                scan = session.get_one(ScanRow, scan_id)
                if not scan.dirty:
                    return None
                dish = session.get_one(DishRow, scan.dish_id)
                measured = _measured(session, scan_id)
                choices = _choices(session, measured)
                rows = _latest(measured, choices)
                if not rows:
                    scan.dirty = False  # what it held was written over
                    return None
                facts, others = _facts(session, scan, dish, rows, choices)
                former = None
                if scan.reading_id is not None:
                    former = session.get_one(ReadingRow, scan.reading_id).at
                new = sum_up(facts.fields)
                values = {**vars(new), "doubts": list(new.doubts)}
                del values["model_sha256"], values["settings_sha256"]
                row = ReadingRow(
                    dish_id=dish.id,
                    scan_id=scan.id,
                    version=facts.next_version,
                    created_at=now,
                    analysis=analysis_of(
                        session,
                        new.model_sha256,
                        new.settings_sha256,
                        facts.fields[0].measurement.model_name,
                    ),
                    **values,
                )
                session.add(row)
                session.flush()
                session.execute(
                    _RESTS_ON,
                    [
                        {"reading_id": row.id, "measurement_id": measurement.id}
                        for measurement, _ in rows
                    ],
                )
                if follow is not None:
                    follow_colonies(session, dish, scan, row, follow)
                scan.reading_id, scan.dirty, scan.stand = row.id, False, None
                scan.is_misdated = any(capture.is_misdated for _, capture in rows)
                for _, capture in rows:
                    capture.state = CaptureState.RECORDED
                set_aside = _finish_others(session, measured, rows, choices, now)
                reading = reading_of(row, dish.name)
                before = DishStatus(dish.status)
                facts = _with_course(session, scan, dish, facts, others, reading, former)
                decision = decide(facts, reading)
                if facts.is_newest:
                    _note_what_is_new(session, dish, facts, reading, now)
                elif scan.is_misdated:
                    # It says that something comes, whenever that was taken.
                    dish.repeats, dish.last_new_at = 0, now
                session.flush()
            about = reading if facts.latest is None else facts.latest.reading
            _carry_out(session, dish, about, decision, now, self._take_back)
            return ScanOutcome(reading, before, decision, set_aside)

    def newest_at(self, dish: str) -> datetime | None:
        """When its last reading was taken. Raises UsageError for a dish that is not known."""
        with self._database.reading() as session:
            row = dish_called(session, dish)
            newest = newest_reading(session, row)
            return None if newest is None else newest.at

    def history(
        self,
        dish: str,
        *,
        model_sha256: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[Reading]:
        """The dish's series, oldest first: one reading a scan, its latest version.

        since, until : only what was taken in that time, both included; None = no bound
        model_sha256 : where a scan has readings under this model, the latest of these counts
        Raises UsageError for a dish that is not known.
        """
        with self._database.reading() as session:
            row = dish_called(session, dish)
            return series_of(session, row, model_sha256=model_sha256, since=since, until=until)

    def dishes(self) -> list[DishSummary]:
        """Every dish with its first and last reading, by name."""
        with self._database.reading() as session:
            found = []
            scans = scans_read(session)
            rows = session.execute(
                select(DishRow, last_taken_at().scalar_subquery()).order_by(DishRow.name)
            )
            for dish, last_capture_at in rows.all():
                series = (
                    select(ReadingRow)
                    .join(ScanRow, THAT_COUNTS)
                    .where(ReadingRow.dish_id == dish.id)
                )
                first = session.scalar(series.order_by(ReadingRow.at).limit(1))
                last = newest_reading(session, dish)
                found.append(
                    DishSummary(
                        name=dish.name,
                        source=dish.source,
                        status=DishStatus(dish.status),
                        scans=scans.get(dish.id, 0),
                        first=reading_of(first, dish.name) if first else None,
                        last=reading_of(last, dish.name) if last else None,
                        last_capture_at=last_capture_at,
                        label=dish.label,
                        passage=dish.passage,
                        ended_at=dish.ended_at,
                        parent=None
                        if dish.parent_id is None
                        else session.get_one(DishRow, dish.parent_id).name,
                    )
                )
            return found

    def fields_of_scan(self, scan_id: int) -> list[ScanField]:
        """What a reading of the scan would rest on, as it stands now."""
        with self._database.reading() as session:
            return list(_scan_fields(session, _measured(session, scan_id)))

    def fetch(self, scan_ids: Sequence[int]) -> None:
        """Ask in one go for what the rest of this transaction asks of each of these scans."""
        with self._database.reading() as session:
            for row in session.execute(_SCANS, {"scans": scan_ids}):
                hold(session, row)
            measured = session.execute(_MEASURED, {"scans": scan_ids}).all()
            for scan_id in scan_ids:
                rows = [(one, capture) for one, capture in measured if capture.scan_id == scan_id]
                remember(session, (_MEASURED, scan_id), rows)

    def dish_of_scan(self, scan_id: int) -> tuple[str | None, str]:
        """(name, label) of the dish that was scanned; (None, "") where there is no such scan."""
        with self._database.reading() as session:
            scan = session.get(ScanRow, scan_id)
            if scan is None:
                return None, ""
            dish = session.get_one(DishRow, scan.dish_id)
            return dish.name, dish.label

    def dish_names(self, scan_ids: Sequence[int]) -> list[str]:
        with self._database.reading() as session:
            names = session.scalars(_NAMES, {"scans": scan_ids})
            return sorted(names)

    def scan_fields(self, reading_id: int) -> list[ScanField]:
        """The fields that a reading rests on, with the most differentiated first."""
        with self._database.reading() as session:
            rows = session.execute(_RESTED_ON, {"reading": reading_id})
            return [_scan_field(measurement, capture) for measurement, capture in rows]

    # --- alerts --------------------------------------------------------------------------------

    def alerts(self, *, open_only: bool = False, dish: str | None = None) -> list[Alert]:
        """Newest first. dish : only what is about it"""
        with self._database.reading() as session:
            query = (
                select(AlertRow, DishRow.name)
                .outerjoin(DishRow, DishRow.id == AlertRow.dish_id)
                .order_by(AlertRow.id.desc())
            )
            if open_only:
                query = query.where(AlertRow.closed_at.is_(None))
            if dish is not None:
                query = query.where(AlertRow.dish_id == dish_called(session, dish).id)
            return [alert_of(row, name) for row, name in session.execute(query)]

    def alert(self, alert_id: int) -> Alert:
        with self._database.reading() as session:
            return alert_told(session, alert_row(session, alert_id))

    def acknowledge(self, alert_id: int, *, who: str, note: str | None, now: datetime) -> Alert:
        with self._database.writing() as session:
            row = alert_row(session, alert_id)
            row.acknowledged_at, row.acknowledged_by, row.note = now, who, note
            session.add(
                AuditRow(
                    at=now, who=who, what="alert acknowledged", subject=str(alert_id), note=note
                )
            )
            return alert_told(session, row)

    def snooze(self, alert_id: int, *, until: datetime, who: str, now: datetime) -> Alert:
        """No mails about what the alert is about until then, unless critical.

        The last word counts: it takes the place of what was said with other alerts on the same.
        """
        with self._database.writing() as session:
            row = alert_row(session, alert_id)
            rest_until(session, row, until, now)
            session.add(
                AuditRow(
                    at=now,
                    who=who,
                    what="alert snoozed",
                    subject=str(alert_id),
                    note=until.isoformat(),
                )
            )
            return alert_told(session, row)

    def source_of(self, dish: str) -> str:
        """The source that the dish was first seen in. Raises UsageError."""
        with self._database.reading() as session:
            return dish_called(session, dish).source


_RESTED_ON = (
    select(MeasurementRow, CaptureRow)
    .join(ReadingMeasurementRow, ReadingMeasurementRow.measurement_id == MeasurementRow.id)
    .join(CaptureRow, CaptureRow.id == MeasurementRow.capture_id)
    .where(ReadingMeasurementRow.reading_id == bindparam("reading"))
    .order_by(MeasurementRow.differentiated_px.desc(), CaptureRow.name, CaptureRow.id)
    .options(joinedload(MeasurementRow.analysis), joinedload(CaptureRow.folder))
)
_RESTS_ON = insert(ReadingMeasurementRow.__table__)  # type: ignore[arg-type]


_NAMES = (
    select(DishRow.name)
    .join(ScanRow, ScanRow.dish_id == DishRow.id)
    .where(ScanRow.id.in_(bindparam("scans", expanding=True)))
    .distinct()
)


def _carry_out(
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
        dish.undecided_since = None
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
    replaced = [session.get_one(AlertRow, id_) for id_ in decision.replaced]
    hold_waiting(session, replaced, OVERTAKEN, now)
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


def _note_what_is_new(
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


def add_alert(session: Session, new: NewAlert, about: AlertRow, now: datetime) -> int:
    """Write an alert and its messages. A topic that is cleared closes its open alerts; what still
    waits to be sent on the topic is overtaken.

    about : the alert's subject and reading; the rest is filled in
    Returns the alert's number.
    """
    same = (
        AlertRow.topic == new.topic,
        AlertRow.dish_id.is_not_distinct_from(about.dish_id),
        AlertRow.source.is_not_distinct_from(about.source),
    )
    # What comes late overtakes nothing that is newer.
    earlier = session.scalars(
        select(AlertRow)
        .where(*same, AlertRow.at <= about.at)
        .order_by(AlertRow.id.desc())
        .limit(_ALERTS)
    ).all()
    if new.kind is AlertKind.CLEARED:
        session.execute(
            update(AlertRow).where(*same, AlertRow.closed_at.is_(None)).values(closed_at=now)
        )
        about.closed_at = now
    about.kind, about.topic, about.severity = new.kind, new.topic, new.severity
    about.text, about.held_back, about.created_at = new.text, new.held_back, now
    about.role = new.role
    session.add(about)
    session.flush()
    to = [(MAIL, address) for address in new.mail_to]
    to += [(CHANNEL, name) for name in new.channels]
    send_out(session, about, earlier, to=to, wait=new.wait, now=now)
    return about.id


_Measured = Sequence[tuple[MeasurementRow, CaptureRow]]


_UNREAD = (
    select(
        ScanRow.id,
        ScanRow.last_taken_at,
        DishRow.source,
        DishRow.label,
        select(func.count())
        .where(
            CaptureRow.scan_id == ScanRow.id,
            CaptureRow.state.in_([CaptureState.MEASURED, CaptureState.RECORDED]),
        )
        .correlate(ScanRow)
        .scalar_subquery(),
    )
    .join(DishRow, ScanRow.dish_id == DishRow.id)
    .where(
        ScanRow.dirty,
        # A reading rests on one model: not while the other fields are being measured once more.
        ~select(CaptureRow.id)
        .where(CaptureRow.scan_id == ScanRow.id, unfinished(CaptureState.WORKING))
        .correlate(ScanRow)
        .exists(),
    )
    .order_by(ScanRow.first_at)
)
_SCANS = (
    select(ScanRow, DishRow)
    .join(DishRow, DishRow.id == ScanRow.dish_id)
    .where(ScanRow.id.in_(bindparam("scans", expanding=True)))
)
_MEASURED = (
    select(MeasurementRow, CaptureRow)
    .join(CaptureRow, CaptureRow.id == MeasurementRow.capture_id)
    .where(CaptureRow.scan_id.in_(bindparam("scans", expanding=True)))
    .order_by(CaptureRow.first_seen_at, CaptureRow.id, MeasurementRow.id)
    .options(joinedload(MeasurementRow.analysis), joinedload(CaptureRow.folder))
)


def _measured(session: Session, scan_id: int) -> _Measured:
    """All that was ever measured of the scan."""
    return remembered(
        session,
        (_MEASURED, scan_id),
        lambda: [
            (measurement, capture)
            for measurement, capture in session.execute(_MEASURED, {"scans": [scan_id]})
        ],
    )


def _choices(session: Session, measured: _Measured) -> list[FieldChoice]:
    """Of each field the file that counts, whatever model measured it."""
    files = {}
    paths = Counter({capture.id: capture.path for _, capture in measured}.values())
    for measurement, capture in measured:
        if capture.state not in (*_READABLE, CaptureState.WAITING, CaptureState.WORKING) and not (
            capture.state == CaptureState.UNREADABLE and capture.reason in SET_ASIDE
        ):
            continue
        detail = measurement.detail
        files[capture.id] = FieldFile(
            number=capture.id,
            path=capture.path,
            field=capture.field,
            areas=FieldAreas(
                measurement.background_px,
                measurement.undifferentiated_px,
                measurement.differentiated_px,
            ),
            channel=capture.channel,
            plane=capture.plane,
            projection=capture.projection,
            knows_scale=detail["pixel_size_from"] in ("metadata", "side-car"),
            knows_place=measurement.stage_x_um is not None,
            fingerprint=capture.fingerprint,
            in_transmitted_light=detail.get("in_transmitted_light", False),
            lies_there=paths[capture.path] == 1 or not is_overwritten(session, capture),
        )
    return one_of_each(list(files.values()))


def _latest(
    rows: _Measured, choices: Sequence[FieldChoice]
) -> list[tuple[MeasurementRow, CaptureRow]]:
    """Of the captures that count what was measured last, under the model used last.

    Not by the number alone: under settings that were changed and changed back, a measurement of
    before is the last one again.
    """
    if not rows:
        return []
    by_use = sorted(rows, key=lambda row: (row[0].created_at, row[0].id))
    model = by_use[-1][0].analysis.model_sha256
    order = {choice.file.number: place for place, choice in enumerate(choices)}
    found = {
        order[capture.id]: (measurement, capture)
        for measurement, capture in by_use
        if capture.id in order and measurement.analysis.model_sha256 == model
    }
    return [found[place] for place in sorted(found)]


def _doubts_of(choices: Sequence[FieldChoice]) -> dict[int, tuple[str, ...]]:
    """Doubts that lie in the scan, by the capture that counts."""
    return {choice.file.number: choice.doubts for choice in choices if choice.doubts}


def _finish_others(
    session: Session,
    measured: _Measured,
    rows: _Measured,
    choices: Sequence[FieldChoice],
    now: datetime,
) -> tuple[str, ...]:
    """Captures of the scan that the reading does not hold: replaced ones, files for which another
    counts, or such of a former model.

    Those of a former model wait to be measured again. Where that fails they stay as they are.
    Returns what was set aside, as sentences.
    """
    held = {capture.id for _, capture in rows}
    counting = {choice.file.number for choice in choices}
    instead = {file.number: (choice.file, why) for choice in choices for file, why in choice.others}
    said = []
    for capture in {capture.id: capture for _, capture in measured}.values():
        if capture.id in held or capture.state not in _READABLE:
            continue
        if capture.id in counting:
            wait_again(session, capture, now)
            continue
        counts = instead.get(capture.id)
        if counts is None:
            capture.state = CaptureState.RECORDED  # was written over
            continue
        file, why = counts
        shown, shown_other = told_apart(capture.path, file.path)
        message = f"{shown}: {shown_other} counts for its field in its place (this is {why})"
        is_other = why == ANOTHER_PICTURE
        capture.state, capture.finished_at = CaptureState.UNREADABLE, now
        capture.reason = FILLED_TWICE if is_other else OTHER_COUNTS
        capture.message = message
        said.append(message)
    return tuple(said)


# Readings that count, of scans whose time is known.
_TIMED = (
    select(
        ReadingRow.id,
        ReadingRow.at,
        ReadingRow.differentiated_fraction,
        ScanRow.id.label("scan_id"),
        ScanRow.key,
        ScanRow.stand,
    )
    .join(ScanRow, THAT_COUNTS)
    .where(ReadingRow.dish_id == bindparam("dish"), ~ScanRow.is_misdated)
)
_LAST = (
    _TIMED.where(ScanRow.id != bindparam("scan"))
    .order_by(ReadingRow.at.desc(), ReadingRow.id.desc())
    .limit(LOOK_BACK)
)
_SINCE = _TIMED.where(
    ScanRow.id != bindparam("scan"), ReadingRow.at >= bindparam("since")
).order_by(ReadingRow.at, ReadingRow.id)
_UNTIL = (
    _TIMED.where(ScanRow.id != bindparam("scan"), ReadingRow.at < bindparam("since"))
    .order_by(ReadingRow.at.desc(), ReadingRow.id.desc())
    .limit(LOOK_BACK)
)
_LAST_ALERTS = (
    select(AlertRow)
    .where(AlertRow.dish_id == bindparam("dish"))
    .order_by(AlertRow.id.desc())
    .limit(_ALERTS)
)
_COURSE_ALERTS = (
    select(AlertRow)
    .where(
        AlertRow.dish_id == bindparam("dish"),
        AlertRow.at >= bindparam("since"),
        AlertRow.role == CHANGE,
        AlertRow.topic.in_(COURSE_TOPICS),
    )
    .order_by(AlertRow.at, AlertRow.id)
)


@dataclass(frozen=True)
class _Timed:
    """A scan in its place in the series. Scans of one time stand in an order that does not depend
    on which of them came first.
    """

    reading_id: int
    scan_id: int
    order: tuple[datetime, str, float, int]
    stand: str | None

    @property
    def at(self) -> datetime:
        return self.order[0]


def _timed(row: Any) -> _Timed:
    share = -1.0 if row.differentiated_fraction is None else row.differentiated_fraction
    return _Timed(row.id, row.scan_id, (row.at, row.key or "", share, row.id), row.stand)


def _facts(
    session: Session,
    scan: ScanRow,
    dish: DishRow,
    rows: Sequence[tuple[MeasurementRow, CaptureRow]],
    choices: Sequence[FieldChoice],
) -> tuple[ScanFacts, list[_Timed]]:
    """The facts on a scan, and the dish's other scans of known time, oldest first."""
    meant = {"dish": dish.id, "scan": scan.id}
    others = sorted((_timed(row) for row in session.execute(_LAST, meant)), key=_place)
    alerts = session.scalars(_LAST_ALERTS, {"dish": dish.id}).all()
    # Also of a scan whose reading was taken back: its versions stay on record.
    version = session.scalar(
        select(func.max(ReadingRow.version)).where(ReadingRow.scan_id == scan.id)
    )
    facts = ScanFacts(
        scan_id=scan.id,
        dish=dish.name,
        status=DishStatus(dish.status),
        fields=_in_place(rows, choices),
        history=_readings(session, others, dish),
        next_version=(version or 0) + 1,
        is_newest=True,
        severity=None if dish.severity is None else Severity(dish.severity),
        alerts=tuple(alert_of(row, dish.name) for row in reversed(alerts)),
        has_ended=dish.ended_at is not None,
        label=dish.label,
        picked=plans_to_check(session, dish),
    )
    return facts, others


def _place(one: _Timed) -> tuple[datetime, str, float, int]:
    return one.order


def _readings(session: Session, scans: Sequence[_Timed], dish: DishRow) -> tuple[Reading, ...]:
    return tuple(readings_numbered(session, [one.reading_id for one in scans], dish.name))


def _with_course(
    session: Session,
    scan: ScanRow,
    dish: DishRow,
    facts: ScanFacts,
    others: list[_Timed],
    reading: Reading,
    former: datetime | None,
) -> ScanFacts:
    """The facts with what is to be decided: the scan in its place, and all that comes after it.

    former : where the scan stood before it was read anew
    """
    times = [dish.undecided_since, former, None if scan.is_misdated else reading.at]
    known = [at for at in times if at is not None]
    if not known:
        return replace(facts, is_newest=False)
    since = dish.undecided_since = min(known)
    if len(others) == LOOK_BACK and others[LOOK_BACK // 2].at >= since:
        meant = {"dish": dish.id, "scan": scan.id, "since": since}
        found = [*session.execute(_UNTIL, meant), *session.execute(_SINCE, meant)]
        others = sorted((_timed(row) for row in found), key=_place)
    series = others
    if not scan.is_misdated:
        share = -1.0 if reading.differentiated_fraction is None else reading.differentiated_fraction
        own = _Timed(reading.id, scan.id, (reading.at, scan.key or "", share, reading.id), None)
        series = sorted([*others, own], key=_place)
    if not series:
        return replace(facts, is_newest=False)
    first = next((place for place, one in enumerate(series) if one.at >= since), len(series) - 1)
    while first and series[first - 1].stand is None:
        first -= 1
    readings = _readings(session, series, dish)
    before = stand_of(series[first - 1].stand) if first else None
    alerts = session.scalars(_COURSE_ALERTS, {"dish": dish.id, "since": series[first].at})
    course = Course(
        settled=readings[max(0, first - LOOK_BACK) : first],
        before=before or Stand(),
        undecided=readings[first:],
        known=tuple(stand_of(one.stand) for one in series[first:]),
        alerts=tuple(alert_of(row, dish.name) for row in alerts),
    )
    if series[-1].scan_id == scan.id:
        return replace(facts, course=course, history=readings[:-1][-LOOK_BACK:])
    newest = series[-1].scan_id
    latest = replace(
        facts,
        scan_id=newest,
        fields=_scan_fields(session, _measured(session, newest)),
        history=readings[:-1][-LOOK_BACK:],
        course=course,
    )
    return replace(facts, is_newest=False, latest=LatestScan(latest, readings[-1]))


def _scan_fields(session: Session, measured: _Measured) -> tuple[ScanField, ...]:
    choices = _choices(session, measured)
    return _in_place(_latest(measured, choices), choices)


def _in_place(rows: _Measured, choices: Sequence[FieldChoice]) -> tuple[ScanField, ...]:
    doubts = _doubts_of(choices)
    fields = [_scan_field(one, capture, doubts.get(capture.id, ())) for one, capture in rows]
    return tuple(sorted(fields, key=place_of))


def _scan_field(
    measurement: MeasurementRow, capture: CaptureRow, doubts: Sequence[str] = ()
) -> ScanField:
    """doubts : that lie in its scan, not in the picture"""
    measured = measurement_of(measurement, capture)
    if doubts:
        measured = replace(measured, doubts=(*measured.doubts, *doubts))
    return ScanField(
        capture_sha256=capture.sha256 or "",
        capture_name=capture.path.name,
        source=capture.source,
        measurement=measured,
        field=capture.field or "",
    )


def alert_row(session: Session, alert_id: int) -> AlertRow:
    """Raises UsageError where there is none of this number."""
    row = session.get(AlertRow, alert_id)
    if row is None:
        raise UsageError(f"{alert_id}: there is no alert of this number; see alerts list --all")
    return row


def rest_until(session: Session, row: AlertRow, until: datetime | None, now: datetime) -> None:
    """Snooze what an alert is about, whatever other alerts on it said; None = not any more.

    Mails that wait for others, or for the morning, are held back too.
    """
    same = (
        AlertRow.dish_id == row.dish_id
        if row.dish_id is not None
        else AlertRow.dish_id.is_(None) & AlertRow.source.is_not_distinct_from(row.source)
    )
    session.execute(
        update(AlertRow)
        .where(same, AlertRow.id != row.id, AlertRow.snoozed_until.is_not(None))
        .values(snoozed_until=None)
    )
    row.snoozed_until = until
    if until is not None and until > now:
        told = select(AlertRow).where(same, AlertRow.severity != Severity.CRITICAL)
        newest = told.order_by(AlertRow.id.desc()).limit(_ALERTS)
        hold_waiting(session, session.scalars(newest).all(), SNOOZED, now)


def alert_told(session: Session, row: AlertRow) -> Alert:
    """The row as a value, with the name of its dish."""
    dish = None if row.dish_id is None else session.get_one(DishRow, row.dish_id).name
    return alert_of(row, dish)


def alert_of(row: AlertRow, dish: str | None) -> Alert:
    """The row as a value of the field."""
    return Alert(
        id=row.id,
        dish=dish or "",
        kind=AlertKind(row.kind),
        status=DishStatus(row.status),
        reading_id=row.reading_id,
        at=row.at,
        fraction=row.fraction,
        created_at=row.created_at,
        closed_at=row.closed_at,
        acknowledged_at=row.acknowledged_at,
        acknowledged_by=row.acknowledged_by,
        note=row.note,
        snoozed_until=row.snoozed_until,
        topic=AlertTopic(row.topic),
        severity=Severity(row.severity),
        source=row.source,
        text=row.text,
        held_back=row.held_back,
        role=row.role,
    )
