"""Scans: which are complete, what their readings rest on, and the transaction that reads one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from sqlalchemy import bindparam, func, insert, select
from sqlalchemy.orm import Session

from monitor.culture import (
    Asked,
    Basis,
    CaptureState,
    ColonyScan,
    DishStatus,
    NewReading,
    PickedPlan,
    Reading,
    ScanDecision,
    ScanFacts,
    ScanField,
    ScanOutcome,
    place_of,
)
from monitor.record.capture_states import is_due, unfinished
from monitor.record.carrying_out import carry_out, note_what_is_new
from monitor.record.colonies import add_colonies, colonies_before
from monitor.record.database import Database
from monitor.record.doubt_documents import doubt_document
from monitor.record.files import analysis_of
from monitor.record.plan_moves import TakeBack
from monitor.record.plans import plan_of_reading
from monitor.record.scan_facts import facts_of, with_course
from monitor.record.scan_fields import (
    RESTED_ON,
    choices_of,
    fetch_measured,
    fields_rested_on,
    finish_others,
    in_place,
    latest_of,
    measured_of,
    scan_fields,
)
from monitor.record.series import reading_of
from monitor.record.session_cache import hold
from monitor.record.tables import (
    CaptureRow,
    DishRow,
    ReadingMeasurementRow,
    ReadingRow,
    ScanRow,
)


class ScanRecord:
    """take_back : called with each plan that ends, before that is on record"""

    def __init__(self, database: Database, *, take_back: TakeBack | None = None) -> None:
        self._database = database
        self._take_back = take_back

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
                    .where(_IN_WORK | (_WAITING & is_due(now)), _UNFINISHED)
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

    @contextmanager
    def open(self, scan_id: int, now: datetime) -> Iterator[OpenScan | None]:
        """The transaction that turns a scan's fields into a reading, with all that follows: it is
        opened, asked for the facts, and told what these mean.

            with store.scans.open(scan_id, now) as scan:
                reading = scan.add_reading(...)
                scan.carry_out(decide(scan.facts, ...))

        It is written whole when its block ends, or not at all where that raises. None where there
        is nothing new to read.
        """
        # Lost with the power, the scan is read again. Whatever leaves for a person or the picker is
        # first taken from the outbox, and that takes all that was written before it to the disk.
        with self._database.writing(durable=False) as session:
            with session.no_autoflush:
                opened = OpenScan.of(session, scan_id, now, self._take_back)
            yield opened
            if opened is not None and not opened.is_carried_out:
                raise RuntimeError(f"scan {scan_id} was opened and nobody said what it means")

    def fields_of_scan(self, scan_id: int) -> list[ScanField]:
        """What a reading of the scan would rest on, as it stands now."""
        with self._database.reading() as session:
            return list(scan_fields(session, measured_of(session, scan_id)))

    def fetch(self, scan_ids: Sequence[int]) -> None:
        """Ask in one go for what the rest of this transaction asks of each of these scans."""
        with self._database.reading() as session:
            for row in session.execute(_SCANS, {"scans": scan_ids}):
                hold(session, row)
            fetch_measured(session, scan_ids)

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
            return fields_rested_on(session, reading_id)

    def overlay_of(self, reading_id: int) -> tuple[str, str | None]:
        """(source, overlay) of the field with the most differentiated cells; ("", None) where the
        reading rests on none any more.
        """
        with self._database.reading() as session:
            found = session.execute(RESTED_ON, {"reading": reading_id}).first()
            if found is None:
                return "", None
            measurement, capture = found
            return capture.source, measurement.detail.get("overlay")


class OpenScan:
    """A scan inside the transaction that reads it.

    One reading rests on one model. Where the model was changed in the middle of a scan, the
    fields of the former one are measured again and make the next version.

    fields : those that count, in their places
    is_carried_out : it was told what they mean
    """

    # Each part writes the rows that a later one looks for; nothing else is written before a
    # question, which would cost as much as all the rest: so no question flushes by itself.

    def __init__(
        self, session: Session, scan: ScanRow, now: datetime, take_back: TakeBack | None
    ) -> None:
        self._session, self._scan, self._now, self._take_back = session, scan, now, take_back
        self._dish = session.get_one(DishRow, scan.dish_id)
        self._measured = measured_of(session, scan.id)
        self._choices = choices_of(session, self._measured)
        self._rows = latest_of(self._measured, self._choices)
        self.fields = in_place(self._rows, self._choices)
        self._before = DishStatus(self._dish.status)
        self._facts: ScanFacts | None = None
        self._reading: Reading | None = None
        self._set_aside: tuple[str, ...] = ()
        self.is_carried_out = False

    @classmethod
    def of(
        cls, session: Session, scan_id: int, now: datetime, take_back: TakeBack | None
    ) -> OpenScan | None:
        """None where there is nothing new to read."""
        scan = session.get_one(ScanRow, scan_id)
        if not scan.dirty:
            return None
        opened = cls(session, scan, now, take_back)
        if not opened.fields:
            scan.dirty = False  # what it held was written over
            return None
        return opened

    @property
    def facts(self) -> ScanFacts:
        """All that a decision may rest on, the new reading in its place."""
        assert self._facts is not None, "its reading comes first"
        return self._facts

    def colonies_before(self, at: datetime) -> tuple[ColonyScan | None, int]:
        """Those of the dish's scan before that time, and the number for the next new one."""
        with self._session.no_autoflush:
            known = colonies_before(self._session, self._dish, self._scan, at)
        return known, self._dish.next_colony

    def add_reading(self, new: NewReading, colonies: ColonyScan | None = None) -> Reading:
        """colonies : by their numbers; None = they are not known"""
        session, scan, dish = self._session, self._scan, self._dish
        with session.no_autoflush:
            facts, others = facts_of(session, scan, dish, self.fields)
            former = None
            if scan.reading_id is not None:
                former = session.get_one(ReadingRow, scan.reading_id).at
            row = self._new_row(new, facts)
            if colonies is not None:
                add_colonies(session, dish, row, colonies)
            scan.reading_id, scan.dirty, scan.stand = row.id, False, None
            scan.is_misdated = any(capture.is_misdated for _, capture in self._rows)
            for _, capture in self._rows:
                capture.state = CaptureState.RECORDED
            self._set_aside = finish_others(
                session, self._measured, self._rows, self._choices, self._now
            )
            self._reading = reading_of(row, dish.name)
            self._facts = with_course(session, scan, dish, facts, others, self._reading, former)
        return self._reading

    def _new_row(self, new: NewReading, facts: ScanFacts) -> ReadingRow:
        session = self._session
        values = {
            **vars(new),
            "doubts": list(new.doubts),
            "doubt": doubt_document(new.doubt),
        }
        del values["model_sha256"], values["settings_sha256"], values["runner"]
        row = ReadingRow(
            dish_id=self._dish.id,
            scan_id=self._scan.id,
            version=facts.next_version,
            created_at=self._now,
            analysis=analysis_of(
                session,
                new.model_sha256,
                new.settings_sha256,
                facts.fields[0].measurement.model_name,
                new.runner,
            ),
            **values,
        )
        session.add(row)
        session.flush()
        session.execute(
            _RESTS_ON,
            [
                {"reading_id": row.id, "measurement_id": measurement.id}
                for measurement, _ in self._rows
            ],
        )
        return row

    def basis(self, asked: Asked) -> Basis:
        """The captures that have to be looked at, as they count now."""
        with self._session.no_autoflush:
            planned = () if asked.planned_by is None else self._fields_of(asked.planned_by)
            picked = tuple(
                PickedPlan(plan, tuple(fields_rested_on(self._session, plan.reading_id)))
                for plan in asked.picked
            )
            # Earlier scans matter only to what is to be hit.
            hits = any(one.measurement.aims for one in planned)
            return Basis(
                dish=self._dish.name,
                shown=self.facts.fields if picked else (),
                picked=picked,
                planned=planned,
                earlier=tuple(
                    tuple(fields_rested_on(self._session, one.id))
                    for one in (asked.earlier if hits else ())
                ),
                on_record=None
                if asked.plan_of is None
                else plan_of_reading(self._session, asked.plan_of.id),
            )

    def _fields_of(self, reading: Reading) -> tuple[ScanField, ...]:
        assert self._reading is not None
        if reading.id == self._reading.id:
            return self.fields
        latest = self.facts.latest
        if latest is not None and reading.id == latest.reading.id:
            return latest.facts.fields
        return tuple(sorted(fields_rested_on(self._session, reading.id), key=place_of))

    def carry_out(self, decision: ScanDecision) -> ScanOutcome:
        """Write what follows from the reading."""
        assert self._reading is not None, "its reading comes first"
        session, facts, reading = self._session, self.facts, self._reading
        with session.no_autoflush:
            if facts.is_newest:
                note_what_is_new(session, self._dish, facts, reading, self._now)
            elif self._scan.is_misdated:
                # It says that something comes, whenever that was taken.
                self._dish.repeats, self._dish.last_new_at = 0, self._now
            session.flush()
        about = reading if facts.latest is None else facts.latest.reading
        carry_out(session, self._dish, about, decision, self._now, self._take_back)
        self.is_carried_out = True
        return ScanOutcome(reading, self._before, decision, self._set_aside)


_RESTS_ON = insert(ReadingMeasurementRow.__table__)  # type: ignore[arg-type]


_NAMES = (
    select(DishRow.name)
    .join(ScanRow, ScanRow.dish_id == DishRow.id)
    .where(ScanRow.id.in_(bindparam("scans", expanding=True)))
    .distinct()
)


_UNFINISHED = unfinished()
_IN_WORK = unfinished(CaptureState.WORKING)
_WAITING = unfinished(CaptureState.WAITING)
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
        .where(CaptureRow.scan_id == ScanRow.id, _IN_WORK)
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
