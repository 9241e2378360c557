"""Captures from first sight to their reading or their reason. Every change of state is asked here.

waiting -> working -> measured -> recorded
   ^          |-> waiting (later), unreadable
   `- retry, or the same path holds other bytes now

How a file becomes a capture is in `intake`, how a measured one comes into its scan in
`scan_places`, and what both change of a row in `capture_states`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import bindparam, func, select, update

from monitor.culture import Capture, CaptureState, FieldMeasurement
from monitor.record.capture_states import (
    LONGEST_RETRY_S,
    capture_of,
    claimed_row,
    is_again,
    is_due,
    is_in_a_reading,
    keep_reading,
    make_unreadable,
    retry_after,
    unfinished,
)
from monitor.record.database import Database
from monitor.record.files import by_folder, files_of
from monitor.record.intake import (
    MANY,
    KnownFile,
    TakenIn,
    add_new,
    forget_if_replaced,
    plain_new,
    set_fate,
    take_in_file,
)
from monitor.record.leaving import LEFT_OUT, leave_scan
from monitor.record.plan_moves import TakeBack
from monitor.record.scan_places import CAPTURES, NewMeasurement, ScanPlace, put_on_record, twins_of
from monitor.record.session_cache import hold
from monitor.record.sightings import SeenFile
from monitor.record.tables import CaptureRow, FileRow, MeasurementRow


class CaptureRecord:
    """take_back : called with each plan that ends, before that is on record"""

    def __init__(self, database: Database, *, take_back: TakeBack | None = None) -> None:
        self._database = database
        self._take_back = take_back

    # --- first sight ---------------------------------------------------------------------------

    def looks(self, paths: Collection[Path]) -> dict[Path, tuple[int, int]]:
        """(size, mtime_ns) as last seen of those of these files that were taken in."""
        found: dict[Path, tuple[int, int]] = {}
        with self._database.reading() as session:
            for folder, names in by_folder(session, paths):
                rows = session.execute(
                    select(FileRow.name, FileRow.size, FileRow.mtime_ns).where(
                        FileRow.folder_id == folder.id, FileRow.name.in_(names)
                    )
                )
                found |= {folder.path / name: (size, mtime_ns) for name, size, mtime_ns in rows}
        return found

    def known_among(self, paths: Collection[Path]) -> dict[Path, KnownFile]:
        """What is known of those of these files that were taken in."""
        found: dict[Path, KnownFile] = {}
        with self._database.reading() as session:
            for folder, names in by_folder(session, paths):
                rows = session.execute(
                    select(
                        FileRow.name,
                        FileRow.size,
                        FileRow.mtime_ns,
                        CaptureRow.id,
                        CaptureRow.source,
                        CaptureRow.state,
                    )
                    .join(CaptureRow, CaptureRow.id == FileRow.capture_id)
                    .where(FileRow.folder_id == folder.id, FileRow.name.in_(names))
                )
                for name, size, mtime_ns, id_, source, state in rows:
                    found[folder.path / name] = KnownFile(
                        size, mtime_ns, id_, source, CaptureState(state)
                    )
        return found

    def take_in(self, seen: SeenFile, now: datetime) -> tuple[TakenIn, Capture]:
        """Make a file's content known. The same bytes under names that say the same, or nothing,
        are one capture.

        A row that could never be read takes on the new bytes of its path: the old ones were half
        a file, no capture of their own.
        """
        return self.take_in_all([seen], now)[0]

    def take_in_all(self, seen: Sequence[SeenFile], now: datetime) -> list[tuple[TakenIn, Capture]]:
        """As `take_in`, in one transaction; in the order given."""
        # Lost with the power, they are found again where they lie.
        with self._database.writing(durable=False) as session:
            fresh = plain_new(session, seen) if len(seen) > 1 else {}
            found = add_new(session, fresh, now)
            for number, one in enumerate(seen):
                if number not in found:
                    outcome, row = take_in_file(session, one, now, self._take_back)
                    found[number] = outcome, capture_of(row)
            return [found[number] for number in range(len(seen))]

    def forget(self, capture_id: int, owner: str) -> bool:
        """A claimed file that never held a byte that could be read is gone: it was no capture."""
        with self._database.writing() as session:
            row = claimed_row(session, capture_id, owner)
            if row is None or row.sha256 is not None or row.scan_id is not None:
                return False
            for file in files_of(session, row):
                session.delete(file)
            session.delete(row)
            return True

    def leave_out(self, capture_id: int, owner: str, why: str, now: datetime) -> list[Path]:
        """A claimed file turned out to show what is not looked at: it was no capture.

        Nothing stays of it where it was never measured; else its scan is read anew without it, and
        it stays with that reason. Returns the files that held its bytes, where nothing stays.
        """
        with self._database.writing() as session:
            row = claimed_row(session, capture_id, owner)
            if row is None:
                return []
            if row.scan_id is not None:
                leave_scan(session, row, now, self._take_back)
                make_unreadable(
                    row,
                    LEFT_OUT,
                    f"{row.path.name}: was measured, and is of {why}, which is not analysed; "
                    "if it should be, correct the source's settings, then run colonywatch retry",
                    now,
                )
                return []
            files = files_of(session, row)
            paths = [file.path for file in files]
            for file in files:
                session.delete(file)
            session.delete(row)
            return paths

    def look_again(
        self, capture_id: int, owner: str, seen: SeenFile, now: datetime
    ) -> Capture | None:
        """The path of a claimed capture holds something else by now: undo the claim, take it in.

        What the old bytes were is forgotten where they were half a file, and kept where a reading
        rests on them. Returns the capture that the path holds now; None where the claim was lost.
        """
        with self._database.writing() as session:
            claimed = claimed_row(session, capture_id, owner)
            if claimed is None:
                return None
            if is_in_a_reading(session, claimed):
                keep_reading(claimed)
            elif claimed.scan_id is not None or claimed.acquired_at is not None:
                gone = f"{claimed.path.name}: was overwritten before a reading held it"
                make_unreadable(claimed, "changed", gone, now)
            else:
                claimed.state, claimed.claimed_by = CaptureState.WAITING, None
                claimed.next_try_at = now
            _, row = take_in_file(session, seen, now, self._take_back)
            if row is not claimed:
                forget_if_replaced(session, claimed)
            elif row.state == CaptureState.UNREADABLE and row.reason == "changed":
                set_fate(row, seen, now)  # it is what it was after all
            return capture_of(row)

    # --- claims --------------------------------------------------------------------------------

    def claim_due(
        self, owner: str, now: datetime, *, limit: int, only: Collection[int] | None = None
    ) -> list[Capture]:
        """Take up to `limit` waiting captures whose time has come; oldest first.

        Compare-and-set: two programs on one database never get the same capture.
        """
        with self._database.writing(durable=False) as session:
            due = (
                select(CaptureRow.id)
                .where(unfinished(CaptureState.WAITING), is_due(now))
                .order_by(CaptureRow.next_try_at, CaptureRow.id)
            )
            if only is None:
                ids = list(session.scalars(due.limit(limit)))
            elif len(only) <= MANY:
                ids = list(session.scalars(due.where(CaptureRow.id.in_(only)).limit(limit)))
            else:
                wanted = set(only)
                ids = [id_ for id_ in session.scalars(due) if id_ in wanted][:limit]
            claimed = session.scalars(
                update(CaptureRow)
                .where(CaptureRow.id.in_(ids), CaptureRow.state == CaptureState.WAITING)
                .values(
                    state=CaptureState.WORKING,
                    claimed_by=owner,
                    attempts=CaptureRow.attempts + 1,
                )
                .returning(CaptureRow)
            )
            by_id = {row.id: capture_of(row) for row in claimed}
            return [by_id[id_] for id_ in ids if id_ in by_id]

    def release(self, owner: str, now: datetime, *, keep: Collection[int] = ()) -> int:
        """Give back what `owner` claimed and is not working on."""
        with self._database.writing() as session:
            held = session.scalars(
                select(CaptureRow).where(
                    unfinished(CaptureState.WORKING), CaptureRow.claimed_by == owner
                )
            )
            count = 0
            for row in held:
                if row.id not in keep and is_again(owner):
                    keep_reading(row)
                    count += 1
                elif row.id not in keep:
                    row.state, row.claimed_by, row.next_try_at = CaptureState.WAITING, None, now
                    count += 1
            return count

    # --- outcomes ------------------------------------------------------------------------------

    def record_measurement(
        self,
        capture_id: int,
        owner: str,
        place: ScanPlace,
        measured: FieldMeasurement,
        now: datetime,
    ) -> int | None:
        """The capture's field is measured: store it and put it into its scan.

        Returns the scan's id, or None where the claim was lost meanwhile (nothing is written).
        """
        measurement = NewMeasurement(capture_id, place, measured)
        return self.record_measurements([measurement], owner, now)[0]

    def record_measurements(
        self, measurements: Sequence[NewMeasurement], owner: str, now: datetime
    ) -> list[int | None]:
        """As `record_measurement`, in one transaction; in the order given."""
        # Lost with the power, they are measured again.
        with self._database.writing(durable=False) as session, session.no_autoflush:
            ids = [one.capture_id for one in measurements]
            hold(session, session.scalars(CAPTURES, {"ids": ids}))
            twins = twins_of(session, measurements)
            return [
                put_on_record(session, one, owner, now, twins, self._take_back)
                for one in measurements
            ]

    def record_unreadable(
        self, capture_id: int, owner: str, reason: str, message: str, now: datetime
    ) -> None:
        with self._database.writing() as session:
            row = claimed_row(session, capture_id, owner)
            if row is None:
                return
            if is_again(owner) or is_in_a_reading(session, row):
                keep_reading(row)
            else:
                make_unreadable(row, reason, message, now)

    def record_waiting(
        self, capture_id: int, owner: str, reason: str, message: str, now: datetime
    ) -> datetime | None:
        """Try again later; the wait doubles with each attempt. Returns when."""
        with self._database.writing() as session:
            row = claimed_row(session, capture_id, owner)
            if row is None:
                return None
            if is_again(owner) or is_in_a_reading(session, row):
                keep_reading(row)
                return None
            row.state, row.claimed_by = CaptureState.WAITING, None
            row.reason, row.message = reason, message
            row.next_try_at = now + retry_after(row.attempts)
            return row.next_try_at

    def record_crash(self, capture_id: int, owner: str, now: datetime, *, limit: int) -> bool:
        """The worker died with this capture. True: it is now set aside as unreadable.

        Where it died over a capture that was recorded before, its reading stands.
        """
        with self._database.writing() as session:
            row = claimed_row(session, capture_id, owner)
            if row is None:
                return False
            row.crashes += 1
            if is_again(owner):
                keep_reading(row)
                return False
            if row.crashes >= limit:
                if is_in_a_reading(session, row):
                    keep_reading(row)
                    return False
                make_unreadable(
                    row,
                    "kills-worker",
                    f"{row.path.name}: the segmentation process died {row.crashes} times with "
                    "this capture; check the file, then run colonywatch retry",
                    now,
                )
                return True
            row.state, row.claimed_by, row.next_try_at = CaptureState.WAITING, None, now
            return False

    def retry(
        self, now: datetime, *, ids: Collection[int] | None = None, unreadable: bool = True
    ) -> int:
        """Let waiting and (unless told otherwise) unreadable captures be tried at once.

        ids : only these; None = all. Returns how many.
        """
        states = [CaptureState.WAITING, *([CaptureState.UNREADABLE] if unreadable else [])]
        chosen = select(CaptureRow).where(unfinished(*states))
        if ids is not None and len(ids) <= MANY:
            chosen = chosen.where(CaptureRow.id.in_(ids))
        with self._database.writing() as session:
            count = 0
            for row in session.scalars(chosen):
                if ids is None or row.id in ids:
                    row.state, row.next_try_at = CaptureState.WAITING, now
                    row.attempts = row.crashes = 0
                    row.finished_at = None
                    count += 1
            return count

    def next_try_of(self, ids: Collection[int], *, blameless: Collection[str]) -> datetime | None:
        """When the first of these is due that waits without a reason or for a blameless one."""
        with self._database.reading() as session:
            due = session.execute(
                select(CaptureRow.id, CaptureRow.next_try_at)
                .where(
                    unfinished(CaptureState.WAITING),
                    CaptureRow.reason.is_(None) | CaptureRow.reason.in_(blameless),
                )
                .order_by(CaptureRow.next_try_at)
            )
            wanted = set(ids)
            return next((when for id_, when in due if id_ in wanted), None)

    def last_looks(
        self, source: str, *, limit: int
    ) -> list[tuple[tuple[int, int], dict[str, float]]]:
        """Shape and measured quality of the source's last measured captures, oldest first."""
        with self._database.reading() as session:
            details = session.scalars(
                select(MeasurementRow.detail)
                .join(CaptureRow, CaptureRow.id == MeasurementRow.capture_id)
                .where(CaptureRow.source == source)
                .order_by(MeasurementRow.id.desc())
                .limit(limit)
            ).all()
            return [
                ((one["shape"][0], one["shape"][1]), one["quality"]) for one in reversed(details)
            ]

    # --- questions -----------------------------------------------------------------------------

    def counts(self) -> dict[str, int]:
        """Captures by what a person wants to know: recorded, unreadable, waiting."""
        with self._database.reading() as session:
            found = {
                str(state): int(count)
                for state, count in session.execute(
                    select(CaptureRow.state, func.count())
                    .where(unfinished())
                    .group_by(CaptureRow.state)
                )
            }
            everything = session.scalar(select(func.count(CaptureRow.id))) or 0
        waiting = (CaptureState.WAITING, CaptureState.WORKING, CaptureState.MEASURED)
        return {
            "recorded": everything - sum(found.values()),
            "unreadable": found.get(CaptureState.UNREADABLE, 0),
            "waiting": sum(found.get(state, 0) for state in waiting),
        }

    def find(self, ids: Collection[int]) -> list[Capture]:
        found: list[Capture] = []
        wanted = sorted(ids)
        with self._database.reading() as session:
            for first in range(0, len(wanted), MANY):
                some = wanted[first : first + MANY]
                chosen = select(CaptureRow).where(CaptureRow.id.in_(some))
                rows = session.scalars(chosen.order_by(CaptureRow.id))
                found += [capture_of(row) for row in rows]
        return found

    def any_due(self, now: datetime) -> bool:
        """Does a capture wait whose time has come?"""
        with self._database.reading() as session:
            times = {"now": now, "far": now + timedelta(seconds=2 * LONGEST_RETRY_S)}
            return session.scalar(_DUE, times) is not None


_DUE = (
    select(CaptureRow.id)
    .where(
        unfinished(CaptureState.WAITING),
        (CaptureRow.next_try_at <= bindparam("now")) | (CaptureRow.next_try_at > bindparam("far")),
    )
    .limit(1)
)
