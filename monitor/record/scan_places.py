"""The dish and the scan that a measured capture belongs to; pictures that several dishes share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import bindparam, insert, select
from sqlalchemy.orm import Session, joinedload

from monitor.culture import CaptureState, FieldIdentity, FieldMeasurement
from monitor.culture.field_files import same_but_format
from monitor.culture.local_times import moved
from monitor.record.capture_states import claimed_row, make_unreadable
from monitor.record.leaving import EQUAL_PICTURES, SET_ASIDE, leave_scan
from monitor.record.lookup import line_for_capture
from monitor.record.measurements import is_misdated, store_measurement
from monitor.record.plan_moves import TakeBack
from monitor.record.scales import note_scale
from monitor.record.sightings import digest_of, is_overwritten
from monitor.record.tables import CaptureRow, DishRow, ScanRow

# Files of one picture that a message names.
_LISTED = 3


@dataclass(frozen=True)
class ScanPlace:
    """Which scan a measured capture belongs to: by the name's key, else by time.

    named : what its name says
    gap_s : fields of one scan without a key are at most so far apart
    ahead_s : dated so much after it was first seen, a capture is misdated; None = never
    root : of one that belongs to no source, the folder that was given to the command
    """

    named: FieldIdentity
    key: str | None
    gap_s: float
    ahead_s: float | None = None
    root: Path | None = None


@dataclass(frozen=True, eq=False)
class NewMeasurement:
    """What was measured of a claimed capture, and where it belongs."""

    capture_id: int
    place: ScanPlace
    measured: FieldMeasurement


CAPTURES = (
    select(CaptureRow)
    .where(CaptureRow.id.in_(bindparam("ids", expanding=True)))
    .options(joinedload(CaptureRow.folder))
)
_Twins = dict[str | None, list[CaptureRow]]


def twins_of(session: Session, new: Sequence[NewMeasurement]) -> _Twins:
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


def put_on_record(
    session: Session,
    new: NewMeasurement,
    owner: str,
    now: datetime,
    twins: _Twins,
    take_back: TakeBack | None,
) -> int | None:
    row = claimed_row(session, new.capture_id, owner)
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
    note_scale(session, row, measured, place.named.dish, place.root, now)
    store_measurement(session, row.id, measured, now, again=was_measured)
    same = twins.setdefault(row.fingerprint, []) if row.fingerprint is not None else []
    elsewhere = [one for one in same if one is not row and _shows_another(session, one, dish)]
    for one in elsewhere[:]:
        if one.sha256 == row.sha256 and is_overwritten(session, one):
            # Names were exchanged: these bytes lie under this capture's name now.
            elsewhere.remove(one)
            one.named_dish = _place_of(session, one)[1]
            if one.scan_id is not None:
                leave_scan(session, one, now, take_back)
            make_unreadable(one, "renamed", f"{one.path.name}: is now called {row.path.name}", now)
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
    make_unreadable(
        row,
        EQUAL_PICTURES,
        f"{row.path.name}: shows the very same image as {listed}; it cannot belong to both, "
        "so it is read for neither. Is the camera or the stage stuck, or was a file copied? "
        "Remove the "
        "wrong file, then run colonywatch retry",
        now,
    )


def _shown_place(session: Session, row: CaptureRow) -> str:
    source, label = _place_of(session, row)
    return f"{label} ({source})"


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
