"""Captures from first sight to their reading or their reason. Every change of state is here.

waiting -> working -> measured -> recorded
   ^          |-> waiting (later), unreadable
   `- retry, or the same path holds other bytes now
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Table,
    and_,
    bindparam,
    exists,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.orm import Session, joinedload

from monitor.culture import (
    DATED_AHEAD,
    DATED_LONG_AGO,
    Capture,
    CaptureState,
    Colony,
    EqualPicture,
    FieldAreas,
    FieldIdentity,
    FieldMeasurement,
    PixelSize,
    PixelSizeSource,
    Region,
    StagePosition,
)
from monitor.culture.local_times import moved
from monitor.record.database import Database
from monitor.record.files import analysis_of, by_folder, file_at, files_of, folder_at
from monitor.record.lookup import line_for_capture
from monitor.record.plan_documents import aim_of, aiming_of, rings_of
from monitor.record.plans import TakeBack
from monitor.record.scans import EQUAL_PICTURES, LEFT_OUT, SET_ASIDE, leave_scan
from monitor.record.session_cache import hold
from monitor.record.sightings import (
    SeenFile,
    digest_of,
    follow,
    is_badly_named,
    is_overwritten,
    lay,
    sighted,
    was_never_read,
)
from monitor.record.tables import (
    AnalysisRow,
    CaptureRow,
    DishRow,
    FileRow,
    MeasurementRow,
    ReadingMeasurementRow,
    ReadingRow,
    ScanRow,
    halves_of,
)
from monitor.scans.fields import same_but_format

FIRST_RETRY_S = 5.0
LONGEST_RETRY_S = 600.0
# SQLite takes at most some 32,000 values in one statement.
_MANY = 10_000
# Decimals of what is recorded of colonies, regions and aims: more than a segmentation knows.
_PLACES = {"centroid": 1, "polygon": 1, "holes": 1, "mean_probability": 4, "uncertainty": 4}
_OTHER_PLACES = 2
# Files of one picture that a message names.
_LISTED = 3


# The kind of program that measures recorded captures once more.
AGAIN = "reprocess"


class TakenIn(StrEnum):
    """What became of a file that was shown to the record."""

    NEW = "new"
    KNOWN = "known"


@dataclass(frozen=True)
class KnownFile:
    """A file as it was last seen, and the capture that it holds."""

    size: int
    mtime_ns: int
    capture_id: int
    source: str
    state: CaptureState


@dataclass(frozen=True)
class ScanPlace:
    """Which scan a measured capture belongs to: by the name's key, else by time.

    named : what its name says
    gap_s : fields of one scan without a key are at most so far apart
    ahead_s : dated so much after it was first seen, a capture is misdated; None = never
    """

    named: FieldIdentity
    key: str | None
    gap_s: float
    ahead_s: float | None = None


@dataclass(frozen=True, eq=False)
class NewMeasurement:
    """What was measured of a claimed capture, and where it belongs."""

    capture_id: int
    place: ScanPlace
    measured: FieldMeasurement


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
            fresh = _plain_new(session, seen) if len(seen) > 1 else {}
            found = _add_new(session, fresh, now)
            for number, one in enumerate(seen):
                if number not in found:
                    outcome, row = _take_in(session, one, now, self._take_back)
                    found[number] = outcome, capture_of(row)
            return [found[number] for number in range(len(seen))]

    def forget(self, capture_id: int, owner: str) -> bool:
        """A claimed file that never held a byte that could be read is gone: it was no capture."""
        with self._database.writing() as session:
            row = _claimed(session, capture_id, owner)
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
            row = _claimed(session, capture_id, owner)
            if row is None:
                return []
            if row.scan_id is not None:
                leave_scan(session, row, now, self._take_back)
                _make_unreadable(
                    row,
                    LEFT_OUT,
                    f"{row.path.name}: was measured, and is of {why}, which is not looked at; if "
                    "it is to be, correct the source's settings, then colonywatch retry",
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
            claimed = _claimed(session, capture_id, owner)
            if claimed is None:
                return None
            if _is_in_a_reading(session, claimed):
                _keep_reading(claimed)
            elif claimed.scan_id is not None or claimed.acquired_at is not None:
                gone = f"{claimed.path.name}: was written over before a reading held it"
                _make_unreadable(claimed, "changed", gone, now)
            else:
                claimed.state, claimed.claimed_by = CaptureState.WAITING, None
                claimed.next_try_at = now
            _, row = _take_in(session, seen, now, self._take_back)
            if row is not claimed:
                _forget_if_replaced(session, claimed)
            elif row.state == CaptureState.UNREADABLE and row.reason == "changed":
                _set_fate(row, seen, now)  # it is what it was after all
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
            elif len(only) <= _MANY:
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
                    _keep_reading(row)
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
            hold(session, session.scalars(_CAPTURES, {"ids": ids}))
            twins = _twins(session, measurements)
            return [
                _record(session, one, owner, now, twins, self._take_back) for one in measurements
            ]

    def record_unreadable(
        self, capture_id: int, owner: str, reason: str, message: str, now: datetime
    ) -> None:
        with self._database.writing() as session:
            row = _claimed(session, capture_id, owner)
            if row is None:
                return
            if is_again(owner) or _is_in_a_reading(session, row):
                _keep_reading(row)
            else:
                _make_unreadable(row, reason, message, now)

    def record_waiting(
        self, capture_id: int, owner: str, reason: str, message: str, now: datetime
    ) -> datetime | None:
        """Try again later; the wait doubles with each attempt. Returns when."""
        with self._database.writing() as session:
            row = _claimed(session, capture_id, owner)
            if row is None:
                return None
            if is_again(owner) or _is_in_a_reading(session, row):
                _keep_reading(row)
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
            row = _claimed(session, capture_id, owner)
            if row is None:
                return False
            row.crashes += 1
            if is_again(owner):
                _keep_reading(row)
                return False
            if row.crashes >= limit:
                if _is_in_a_reading(session, row):
                    _keep_reading(row)
                    return False
                _make_unreadable(
                    row,
                    "kills-worker",
                    f"{row.path.name}: the segmentation process died {row.crashes} times with "
                    "this capture; look at the file, then colonywatch retry",
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
        if ids is not None and len(ids) <= _MANY:
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

    def reopen(self, now: datetime, *, model_sha256: str, dish: str | None = None) -> list[int]:
        """Let recorded captures that this model has not measured yet be analysed again.

        Their readings stay; the new measurement makes a new version. Returns the captures.
        """
        measured = (
            select(MeasurementRow.id)
            .where(
                MeasurementRow.capture_id == CaptureRow.id,
                MeasurementRow.analysis_id.in_(
                    select(AnalysisRow.id).where(AnalysisRow.model_sha256 == model_sha256)
                ),
            )
            .exists()
        )
        query = select(CaptureRow).where(CaptureRow.state == CaptureState.RECORDED, ~measured)
        if dish is not None:
            query = (
                query.join(ScanRow, ScanRow.id == CaptureRow.scan_id)
                .join(DishRow, DishRow.id == ScanRow.dish_id)
                .where(DishRow.name == dish)
            )
        with self._database.writing() as session:
            rows = session.scalars(query).all()
            for row in rows:
                wait_again(session, row, now)
                row.crashes = 0
            return [row.id for row in rows]

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

    def equal_pictures(self, since: datetime) -> list[EqualPicture]:
        """Captures that show what captures of other dishes show, found since then, by their dishes;
        only of dishes that live and have no later reading.
        """
        later = exists().where(
            ScanRow.dish_id == DishRow.id,
            ScanRow.reading_id.is_not(None),
            ScanRow.first_at > CaptureRow.acquired_at,
        )
        with self._database.reading() as session:
            rows = session.execute(
                select(CaptureRow.source, DishRow.name, CaptureRow.acquired_at)
                .join(
                    DishRow,
                    and_(
                        DishRow.label == CaptureRow.named_dish,
                        DishRow.source == CaptureRow.source,
                        DishRow.ended_at.is_(None),
                    ),
                )
                .where(
                    unfinished(CaptureState.UNREADABLE),
                    CaptureRow.reason == EQUAL_PICTURES,
                    CaptureRow.finished_at >= since,
                    ~later,
                )
                .order_by(DishRow.name, CaptureRow.acquired_at)
            )
            return [EqualPicture(source, dish, at) for source, dish, at in rows if at]

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

    def troubled(self, *, limit: int = 100) -> list[Capture]:
        """Captures that wait with a reason or are unreadable, newest first."""
        with self._database.reading() as session:
            rows = session.scalars(
                select(CaptureRow)
                .where(
                    unfinished(CaptureState.WAITING, CaptureState.UNREADABLE),
                    CaptureRow.reason.is_not(None),
                )
                .order_by(CaptureRow.id.desc())
                .limit(limit)
            )
            return [capture_of(row) for row in rows]

    def troubled_by_reason(self) -> dict[tuple[CaptureState, str], int]:
        """How many captures wait or are unreadable for which reason, the most first."""
        count = func.count()
        with self._database.reading() as session:
            rows = session.execute(
                select(CaptureRow.state, CaptureRow.reason, count)
                .where(
                    CaptureRow.state.in_([CaptureState.WAITING, CaptureState.UNREADABLE]),
                    CaptureRow.reason.is_not(None),
                )
                .group_by(CaptureRow.state, CaptureRow.reason)
                .order_by(count.desc(), CaptureRow.reason)
            )
            return {(CaptureState(state), str(reason)): many for state, reason, many in rows}

    def in_hand(self, now: datetime) -> frozenset[tuple[str, str | None]]:
        """Source and label of what is due, in work, or measured and not read yet.

        The label is None where the capture's name does not say it.
        """
        due = unfinished(CaptureState.WAITING) & is_due(now)
        at_work = unfinished(CaptureState.WORKING, CaptureState.MEASURED)
        label = func.coalesce(DishRow.label, CaptureRow.named_dish)
        with self._database.reading() as session:
            return frozenset(
                (source, named)
                for one in (at_work, due)
                for source, named in session.execute(
                    select(CaptureRow.source, label)
                    .outerjoin(ScanRow, ScanRow.id == CaptureRow.scan_id)
                    .outerjoin(DishRow, DishRow.id == ScanRow.dish_id)
                    .where(one)
                    .distinct()
                )
            )

    def first_waiting_for(self, reason: str) -> Capture | None:
        """The oldest capture that waits for this reason."""
        with self._database.reading() as session:
            row = session.scalar(
                select(CaptureRow)
                .where(unfinished(CaptureState.WAITING), CaptureRow.reason == reason)
                .order_by(CaptureRow.id)
                .limit(1)
            )
            return None if row is None else capture_of(row)

    def find(self, ids: Collection[int]) -> list[Capture]:
        found: list[Capture] = []
        wanted = sorted(ids)
        with self._database.reading() as session:
            for first in range(0, len(wanted), _MANY):
                some = wanted[first : first + _MANY]
                rows = session.scalars(select(CaptureRow).where(CaptureRow.id.in_(some)))
                found += [capture_of(row) for row in rows]
        return found

    def any_due(self, now: datetime) -> bool:
        """Does a capture wait whose time has come?"""
        with self._database.reading() as session:
            times = {"now": now, "far": now + timedelta(seconds=2 * LONGEST_RETRY_S)}
            return session.scalar(_DUE, times) is not None


def wait_again(session: Session, row: CaptureRow, now: datetime) -> None:
    """Let what was measured be measured once more; its dish's scans are not read meanwhile."""
    scan = session.get_one(ScanRow, row.scan_id)
    row.named_dish = session.get_one(DishRow, scan.dish_id).label
    row.state, row.next_try_at, row.attempts = CaptureState.WAITING, now, 0


def retry_after(attempts: int) -> timedelta:
    """Growing waits: 5 s, 10 s, 20 s ... up to 10 minutes, for as long as it takes."""
    return timedelta(seconds=min(FIRST_RETRY_S * 2 ** max(attempts - 1, 0), LONGEST_RETRY_S))


def unfinished(*states: CaptureState) -> ColumnElement[bool]:
    """Captures in one of these states, none of them *recorded*; without any: in all such states.

    It says that twice: recorded captures are by far the most, and the index of the others is only
    used where a question has its condition word for word.
    """
    not_recorded = CaptureRow.state != literal_column("'recorded'")
    if not states:
        return not_recorded
    if len(states) == 1:
        return and_(not_recorded, CaptureRow.state == states[0])
    return and_(not_recorded, CaptureRow.state.in_(states))


def is_due(now: datetime) -> ColumnElement[bool]:
    """Whether a waiting capture's time has come.

    No wait is longer than the longest: one that is was begun before the clock was set back.
    """
    return (CaptureRow.next_try_at <= now) | (
        CaptureRow.next_try_at > now + timedelta(seconds=2 * LONGEST_RETRY_S)
    )


_DUE = (
    select(CaptureRow.id)
    .where(
        unfinished(CaptureState.WAITING),
        (CaptureRow.next_try_at <= bindparam("now")) | (CaptureRow.next_try_at > bindparam("far")),
    )
    .limit(1)
)


# No imager that writes files is older; a clock whose battery is empty begins before.
_OLDEST = datetime(1990, 1, 1, tzinfo=UTC)


def is_misdated(acquired_at: datetime, first_seen_at: datetime, ahead_s: float) -> bool:
    """Can a capture not have been taken when it says, going by when it arrived?"""
    return acquired_at < _OLDEST or acquired_at > first_seen_at + timedelta(seconds=ahead_s)


def doubts_on_date(capture: CaptureRow) -> tuple[str, ...]:
    if not capture.is_misdated or capture.acquired_at is None:
        return ()
    return (DATED_LONG_AGO if capture.acquired_at < _OLDEST else DATED_AHEAD,)


def _pixel_size(known_um: float | None, detail: dict[str, Any]) -> PixelSize:
    if known_um is None:
        return PixelSize().or_assumed(detail["assumed_pixel_size_um"])
    source = detail["pixel_size_from"]
    return PixelSize(known_um, None if source is None else PixelSizeSource(source))


def measurement_of(row: MeasurementRow, capture: CaptureRow) -> FieldMeasurement:
    """The row as a value of the field."""
    detail = row.detail
    stage = (
        StagePosition(row.stage_x_um, row.stage_y_um or 0.0, row.stage_z_um)
        if row.stage_x_um is not None
        else None
    )
    return FieldMeasurement(
        shape=tuple(detail["shape"]),
        areas=FieldAreas(row.background_px, row.undifferentiated_px, row.differentiated_px),
        colonies=tuple(
            Colony(
                label=one["label"],
                area_px=one["area_px"],
                differentiated_px=one["differentiated_px"],
                centroid=tuple(one["centroid"]),
                bounds=tuple(one["bounds"]),
            )
            for one in detail["colonies"]
        ),
        regions=tuple(
            Region(
                label=one["label"],
                area_px=one["area_px"],
                polygon=tuple((point[0], point[1]) for point in one["polygon"]),
                pick_point=tuple(one["pick_point"]),
                inscribed_radius_px=one["inscribed_radius_px"],
                mean_probability=one["mean_probability"],
                colony=one["colony"],
                holes=rings_of(one.get("holes", ())),
            )
            for one in detail["regions"]
        ),
        uncertainty=row.uncertainty,
        model_name=row.analysis.model_name,
        model_sha256=row.analysis.model_sha256,
        settings_sha256=row.analysis.settings_sha256,
        acquired_at=capture.acquired_at or row.created_at,
        acquired_at_from=detail["acquired_at_from"],
        pixel_size=_pixel_size(row.pixel_size_um, detail),
        stage=stage,
        overlay=detail.get("overlay"),
        label_map=detail.get("label_map"),
        quality=detail["quality"],
        doubts=(*detail["doubts"], *doubts_on_date(capture)),
        took_s=detail["took_s"],
        fingerprint=capture.fingerprint,
        aims=tuple(aim_of(one) for one in detail.get("aims", ())),
        aiming=aiming_of(detail.get("aiming")),
        beside=row.beside,
        in_transmitted_light=detail.get("in_transmitted_light", False),
    )


_CAPTURES = (
    select(CaptureRow)
    .where(CaptureRow.id.in_(bindparam("ids", expanding=True)))
    .options(joinedload(CaptureRow.folder))
)


_Twins = dict[str | None, list[CaptureRow]]


def _twins(session: Session, new: Sequence[NewMeasurement]) -> _Twins:
    """Captures that show the very same pictures, by fingerprint."""
    found: _Twins = {}
    wanted = {_short_print(one.measured.fingerprint) for one in new} - {None}
    if wanted:
        for row in session.scalars(_SHOWING, {"prints": sorted(filter(None, wanted))}):
            found.setdefault(row.fingerprint, []).append(row)
    return found


def _short_print(fingerprint: str | None) -> str | None:
    """As the column gives it back."""
    return None if fingerprint is None else fingerprint[:16]


_SHOWING = (
    select(CaptureRow)
    .where(CaptureRow.fingerprint.in_(bindparam("prints", expanding=True)))
    .order_by(CaptureRow.id)
    .options(joinedload(CaptureRow.folder))
)


def _record(
    session: Session,
    new: NewMeasurement,
    owner: str,
    now: datetime,
    twins: _Twins,
    take_back: TakeBack | None,
) -> int | None:
    row = _claimed(session, new.capture_id, owner)
    if row is None:
        return None
    place, measured = new.place, new.measured
    dish = _line_of(session, row, place, measured.acquired_at, now)
    row.is_local = measured.zone is not None
    if measured.zone is not None:
        dish.zone = dish.zone or measured.zone
        if dish.zone != measured.zone:
            # Another program goes by another setting; a dish has one, which can be put right.
            at = moved(measured.acquired_at, measured.zone, dish.zone)
            measured = replace(measured, acquired_at=at)
    was_measured = row.acquired_at is not None
    row.finished_at, row.acquired_at = now, measured.acquired_at
    row.is_misdated = place.ahead_s is not None and is_misdated(
        measured.acquired_at, row.first_seen_at, place.ahead_s
    )
    row.fingerprint = _short_print(measured.fingerprint)
    row.identity = digest_of(place.named)
    row.field, row.channel = place.named.field, place.named.channel
    row.plane, row.projection = place.named.plane, place.named.projection
    row.reason = row.message = row.claimed_by = row.next_try_at = None
    _store_measurement(session, row.id, measured, now, again=was_measured)
    same = twins.setdefault(row.fingerprint, []) if row.fingerprint is not None else []
    elsewhere = [one for one in same if one is not row and _shows_another(session, one, dish)]
    for one in elsewhere[:]:
        if one.sha256 == row.sha256 and is_overwritten(session, one):
            # Names were exchanged: these bytes lie under this capture's name now.
            elsewhere.remove(one)
            one.named_dish = _place_of(session, one)[1]
            if one.scan_id is not None:
                leave_scan(session, one, now, take_back)
            _make_unreadable(one, "renamed", f"{one.path.name}: is called {row.path.name} now", now)
    if row not in same:
        same.append(row)
    if elsewhere:
        row.named_dish = place.named.dish
        for one in [row, *elsewhere]:
            _set_equal_aside(session, one, [row, *elsewhere], now, take_back)
        return None
    scan_id = _put_into_scan(session, row, dish, place, measured.acquired_at, now)
    if row.scan_id is not None and row.scan_id != scan_id:
        leave_scan(session, row, now, take_back)
    row.state = CaptureState.MEASURED
    row.scan_id, row.named_dish = scan_id, None
    return scan_id


def _shows_another(session: Session, row: CaptureRow, dish: DishRow) -> bool:
    """Is the capture one of another dish, and was its picture taken for one that says something?"""
    if row.state not in (CaptureState.MEASURED, CaptureState.RECORDED) and not (
        row.state == CaptureState.UNREADABLE and row.reason in (EQUAL_PICTURES, *SET_ASIDE)
    ):
        return False
    return _place_of(session, row) != (dish.source, dish.label)


def _place_of(session: Session, row: CaptureRow) -> tuple[str, str | None]:
    """(source, label)"""
    if row.scan_id is None:
        return row.source, row.named_dish
    shown = session.get_one(DishRow, session.get_one(ScanRow, row.scan_id).dish_id)
    return shown.source, shown.label


def _set_equal_aside(
    session: Session,
    row: CaptureRow,
    equal: Sequence[CaptureRow],
    now: datetime,
    take_back: TakeBack | None,
) -> None:
    """One picture cannot show several dishes: it says nothing of any of them."""
    _, label = _place_of(session, row)
    others = sorted(
        f"{one.path.name} of {_shown_place(session, one)}" for one in equal if one is not row
    )
    listed = ", ".join(others[:_LISTED]) + (", ..." if len(others) > _LISTED else "")
    row.named_dish = label if row.scan_id is not None else row.named_dish
    if row.scan_id is not None:
        leave_scan(session, row, now, take_back)
    _make_unreadable(
        row,
        EQUAL_PICTURES,
        f"{row.path.name}: shows the very same picture as {listed}; it cannot be of both, so it is "
        "read for neither. Is the camera or the stage stuck, or was a file copied? Take the wrong "
        "file away, then colonywatch retry",
        now,
    )


def _shown_place(session: Session, row: CaptureRow) -> str:
    source, label = _place_of(session, row)
    return f"{label} ({source})"


def _store_measurement(
    session: Session, capture_id: int, measured: FieldMeasurement, now: datetime, *, again: bool
) -> None:
    analysis = analysis_of(
        session, measured.model_sha256, measured.settings_sha256, measured.model_name
    )
    row = None
    if again:
        row = session.scalar(
            select(MeasurementRow).where(
                MeasurementRow.capture_id == capture_id,
                MeasurementRow.analysis_id == analysis.id,
                MeasurementRow.beside == measured.beside,
            )
        )
    if row is not None:
        # The same bytes under the same model and settings, with the same beside them, say the
        # same; but it is the model in use now, and a reading rests on the one used last.
        row.created_at = now
        return
    source = measured.pixel_size.source
    detail: dict[str, Any] = {
        "shape": measured.shape,
        "colonies": [_short(vars(colony)) for colony in measured.colonies],
        "regions": [_short(vars(region)) for region in measured.regions],
        "acquired_at_from": measured.acquired_at_from,
        "pixel_size_from": None if source is None else source.value,
        "assumed_pixel_size_um": measured.pixel_size.assumed_um,
        "quality": measured.quality,
        "doubts": measured.doubts,
        "took_s": round(measured.took_s, 3),
        "aims": [_short(asdict(aim)) for aim in measured.aims],
        "aiming": None if measured.aiming is None else asdict(measured.aiming),
        "overlay": measured.overlay,
        "label_map": measured.label_map,
        "in_transmitted_light": measured.in_transmitted_light,
    }
    stage = measured.stage
    session.add(
        MeasurementRow(
            capture_id=capture_id,
            analysis_id=analysis.id,
            background_px=measured.areas.background_px,
            undifferentiated_px=measured.areas.undifferentiated_px,
            differentiated_px=measured.areas.differentiated_px,
            pixel_size_um=measured.pixel_size_um,
            stage_x_um=stage.x_um if stage else None,
            stage_y_um=stage.y_um if stage else None,
            stage_z_um=stage.z_um if stage else None,
            uncertainty=measured.uncertainty,
            beside=measured.beside,
            detail=detail,
            created_at=now,
        )
    )


def _short(node: Any, key: str = "") -> Any:
    """Its numbers to as many decimals as are recorded of them."""
    if isinstance(node, float):
        return round(node, _PLACES.get(key, _OTHER_PLACES))
    if isinstance(node, dict):
        return {inner: _short(value, inner) for inner, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_short(one, key) for one in node]
    return node


def _line_of(
    session: Session, row: CaptureRow, place: ScanPlace, at: datetime, now: datetime
) -> DishRow:
    """The dish that a capture shows; what is measured once more stays where it is."""
    named = place.named
    if row.scan_id is not None:
        dish = session.get_one(DishRow, session.get_one(ScanRow, row.scan_id).dish_id)
        if (dish.source, dish.label) == (named.source, named.dish):
            return dish
    return line_for_capture(session, named.source, named.dish, at, now)


_SCAN_OF_KEY = select(ScanRow).where(
    ScanRow.dish_id == bindparam("dish"), ScanRow.key == bindparam("key")
)
_SCANS_NEAR = (
    select(ScanRow)
    .where(
        ScanRow.dish_id == bindparam("dish"),
        ScanRow.key.is_(None),
        ScanRow.is_misdated == bindparam("misdated"),
        ScanRow.first_at <= bindparam("latest"),
        ScanRow.last_at >= bindparam("earliest"),
    )
    .order_by(ScanRow.first_at)
)


_NEW_SCAN = insert(ScanRow.__table__)  # type: ignore[arg-type]


def _put_into_scan(
    session: Session,
    row: CaptureRow,
    dish: DishRow,
    place: ScanPlace,
    at: datetime,
    now: datetime,
) -> int:
    """Into the scan that a capture belongs to: by the key in its name, else by time. Its number."""
    found: ScanRow | None
    if place.key is not None:
        found = session.scalar(_SCAN_OF_KEY, {"dish": dish.id, "key": place.key})
    else:
        gap = timedelta(seconds=place.gap_s)
        near: Sequence[ScanRow] = session.scalars(
            _SCANS_NEAR,
            {
                "dish": dish.id,
                "latest": at + gap,
                "earliest": at - gap,
                "misdated": row.is_misdated,
            },
        ).all()
        if near:
            session.flush()  # what was measured in this transaction before
        # The same field twice is two visits, however close in time.
        found = next((scan for scan in near if not _holds_field(session, scan, row, at)), None)
    if found is None:
        new = session.execute(
            _NEW_SCAN,
            {
                "dish_id": dish.id,
                "key": place.key,
                "first_at": at,
                "last_at": at,
                "last_taken_at": now,
                "dirty": True,
                "is_misdated": row.is_misdated,
            },
        )
        return int(new.inserted_primary_key[0])  # type: ignore[attr-defined]
    found.first_at, found.last_at = min(found.first_at, at), max(found.last_at, at)
    found.last_taken_at, found.dirty = now, True
    return found.id


def _holds_field(session: Session, scan: ScanRow, row: CaptureRow, at: datetime) -> bool:
    """Does a scan hold the field already, by a picture of another time?

    One that was written in two formats is one picture, also where both tell another time.
    """
    field = row.field
    taken = select(CaptureRow.name).where(
        CaptureRow.scan_id == scan.id,
        CaptureRow.id != row.id,
        CaptureRow.field.is_(None) if field is None else CaptureRow.field == field,
        CaptureRow.acquired_at != at,
    )
    return any(not same_but_format(row.name, name) for name in session.scalars(taken))


def _claimed(session: Session, capture_id: int, owner: str) -> CaptureRow | None:
    row = session.get(CaptureRow, capture_id)
    if row is None or row.state != CaptureState.WORKING or row.claimed_by != owner:
        return None
    return row


def _plain_new(session: Session, seen: Sequence[SeenFile]) -> dict[int, SeenFile]:
    """Of these files those of which there is nothing to think about, by their places: they can be
    read, and neither their path nor their bytes are on record or come a second time.
    """
    hashes = Counter(one.sha256 for one in seen)
    paths = Counter(one.path for one in seen)
    plain = {
        number: one
        for number, one in enumerate(seen)
        if one.problem is None
        and one.sha256 is not None
        and hashes[one.sha256] == paths[one.path] == 1
    }
    heads = [halves_of(one.sha256)[0] for one in plain.values()]
    known: set[str | None] = set()
    for first in range(0, len(heads), _MANY):
        known |= set(session.scalars(_KNOWN_HEADS, {"heads": heads[first : first + _MANY]}))
    there = {
        folder.path / name
        for folder, names in by_folder(session, [one.path for one in plain.values()])
        for name in session.scalars(_KNOWN_NAMES, {"folder": folder.id, "names": names})
    }
    return {
        number: one
        for number, one in plain.items()
        if halves_of(one.sha256)[0] not in known and one.path not in there
    }


def _add_new(
    session: Session, fresh: dict[int, SeenFile], now: datetime
) -> dict[int, tuple[TakenIn, Capture]]:
    """Rows of captures and files, all at once."""
    if not fresh:
        return {}
    parents = dict.fromkeys(one.path.parent for one in fresh.values())
    folders = {path: folder_at(session, path) for path in parents}
    rows = []
    for one in fresh.values():
        head, tail = halves_of(one.sha256)
        rows.append(
            {
                "sha256_head": head,
                "sha256_tail": tail,
                "folder_id": folders[one.path.parent].id,
                "name": Path(one.path.name),
                "source": one.source,
                "identity": digest_of(one.identity),
                "named_dish": one.dish,
                "state": CaptureState.WAITING,
                "attempts": 0,
                "crashes": 0,
                "next_try_at": now,
                "first_seen_at": now,
            }
        )
    ids = list(session.scalars(_ADD_CAPTURES, rows))
    session.execute(
        _ADD_FILES,
        [
            {
                "folder_id": row["folder_id"],
                "name": row["name"],
                "size": one.size,
                "mtime_ns": one.mtime_ns,
                "capture_id": id_,
                "is_copy": False,
            }
            for one, row, id_ in zip(fresh.values(), rows, ids, strict=True)
        ],
    )
    return {
        number: (
            TakenIn.NEW,
            Capture(
                id=id_,
                path=one.path,
                source=one.source,
                sha256=one.sha256,
                state=CaptureState.WAITING,
                attempts=0,
                crashes=0,
                reason=None,
                message=None,
                next_try_at=now,
                first_seen_at=now,
                field=None,
                scan_id=None,
            ),
        )
        for (number, one), id_ in zip(fresh.items(), ids, strict=True)
    }


_KNOWN_HEADS = select(CaptureRow.sha256_head).where(
    CaptureRow.sha256_head.in_(bindparam("heads", expanding=True))
)
_KNOWN_NAMES = select(FileRow.name).where(
    FileRow.folder_id == bindparam("folder"), FileRow.name.in_(bindparam("names", expanding=True))
)
_CAPTURE_TABLE: Table = CaptureRow.__table__  # type: ignore[assignment]
_ADD_CAPTURES = insert(_CAPTURE_TABLE).returning(_CAPTURE_TABLE.c.id, sort_by_parameter_order=True)
_ADD_FILES = insert(FileRow.__table__)  # type: ignore[arg-type]


def _take_in(
    session: Session, seen: SeenFile, now: datetime, take_back: TakeBack | None
) -> tuple[TakenIn, CaptureRow]:
    file = file_at(session, seen.path)
    before = session.get(CaptureRow, file.capture_id) if file else None
    same = sighted(session, seen)
    if same is not None:
        row, outcome = same, TakenIn.KNOWN
        broken = row.state == CaptureState.UNREADABLE and not (
            is_badly_named(row) or row.reason in (EQUAL_PICTURES, *SET_ASIDE)
        )
        had_source = row.source
        if follow(session, row, seen, now, take_back) and not (broken and row.source == had_source):
            _set_fate(row, seen, now)  # the new name may say what the old one did not
    elif (
        before is not None
        and was_never_read(before)
        # Other files that hold its bytes still do.
        and all(one is file for one in files_of(session, before))
    ):
        row, outcome = before, TakenIn.NEW
    else:
        row = CaptureRow(
            folder=folder_at(session, seen.path.parent),
            name=Path(seen.path.name),
            source=seen.source,
            first_seen_at=now,
            state=CaptureState.WAITING,
            attempts=0,
            crashes=0,
        )
        session.add(row)
        outcome = TakenIn.NEW
    if outcome is TakenIn.NEW:
        lay(session, row, seen.path)
        row.source, row.sha256 = seen.source, seen.sha256
        row.named_dish, row.identity = seen.dish, digest_of(seen.identity)
        _set_fate(row, seen, now)
    session.flush()
    if file is None:
        file = FileRow(
            folder=row.folder if row.path == seen.path else folder_at(session, seen.path.parent),
            name=Path(seen.path.name),
            size=0,
            mtime_ns=0,
            capture_id=row.id,
        )
        session.add(file)
    file.size, file.mtime_ns, file.capture_id = seen.size, seen.mtime_ns, row.id
    file.is_copy = row.path != seen.path
    session.flush()
    if before is not None and before is not row:
        _forget_if_replaced(session, before)
    return outcome, row


def _forget_if_replaced(session: Session, row: CaptureRow) -> None:
    """The path of a capture that was never read holds another one now.

    It lives on under another name that its bytes have; without one it was half a file.
    """
    if not was_never_read(row):
        return
    left = files_of(session, row)
    if not left:
        session.delete(row)
    elif left[0].path != row.path:
        row.folder, row.name = left[0].folder, left[0].name
        left[0].is_copy = False


def _is_in_a_reading(session: Session, row: CaptureRow) -> bool:
    """Most often in one of the scan that it was last measured for; else it is looked for in all."""
    if row.scan_id is None:
        return False
    held = exists().where(
        ReadingMeasurementRow.reading_id == ReadingRow.id,
        ReadingMeasurementRow.measurement_id == MeasurementRow.id,
        MeasurementRow.capture_id == row.id,
    )
    return bool(session.scalar(select(held.where(ReadingRow.scan_id == row.scan_id)))) or bool(
        session.scalar(select(held))
    )


def _set_fate(row: CaptureRow, seen: SeenFile, now: datetime) -> None:
    if seen.problem is None:
        row.attempts = row.crashes = 0
        row.reason = row.message = row.finished_at = None
        row.state, row.next_try_at = CaptureState.WAITING, now
        return
    reason, message = seen.problem
    if seen.transient:
        row.state, row.reason, row.message = CaptureState.WAITING, reason, message
        row.next_try_at = now + retry_after(row.attempts)
    else:
        _make_unreadable(row, reason, message, now)


def is_again(owner: str) -> bool:
    """Whether that program measures once more what was measured before."""
    return owner.startswith(f"{AGAIN}@")


def _keep_reading(row: CaptureRow) -> None:
    """Analysing it again failed; what was recorded of it before stands."""
    row.state, row.claimed_by, row.next_try_at = CaptureState.RECORDED, None, None


def _make_unreadable(row: CaptureRow, reason: str, message: str, now: datetime) -> None:
    row.state, row.reason, row.message = CaptureState.UNREADABLE, reason, message
    row.claimed_by, row.next_try_at, row.finished_at = None, None, now


def capture_of(row: CaptureRow) -> Capture:
    return Capture(
        id=row.id,
        path=row.path,
        source=row.source,
        sha256=row.sha256,
        state=CaptureState(row.state),
        attempts=row.attempts,
        crashes=row.crashes,
        reason=row.reason,
        message=row.message,
        next_try_at=row.next_try_at,
        first_seen_at=row.first_seen_at,
        field=row.field,
        scan_id=row.scan_id,
    )
