"""Which capture a file holds: its bytes together with what its name says.

The same bytes under a name that says the same, or nothing, are a copy. Under another field, time or
dish they are a capture of its own: the imager says that it looked there. A file that was renamed is
the capture that it was, under what its new name says. Path, source and name of a capture are always
those of one look at one file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from monitor.culture import UNLISTED, CaptureState, FieldIdentity
from monitor.record.files import file_at, folder_at
from monitor.record.leaving import leave_scan
from monitor.record.plan_moves import TakeBack
from monitor.record.tables import CaptureRow, halves_of

# Reasons that lie in a capture's name alone.
BAD_NAMES = ("no-name-match", "bad-name", "left-out")


@dataclass(frozen=True)
class SeenFile:
    """A settled file. sha256 is None where it could not be hashed, and `problem` says why.

    identity : what its name says; None where that says no dish
    problem : (reason, message); the file waits if `transient`, else it is unreadable
    """

    path: Path
    source: str
    size: int
    mtime_ns: int
    sha256: str | None
    problem: tuple[str, str] | None = None
    transient: bool = False
    identity: FieldIdentity | None = None

    @property
    def dish(self) -> str | None:
        return None if self.identity is None else self.identity.dish


def digest_of(identity: FieldIdentity | None) -> str | None:
    """As the column of a capture holds it; without the source, which has a column of its own."""
    if identity is None:
        return None
    said = list(asdict(replace(identity, source="")).values())
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


def sighted(session: Session, seen: SeenFile) -> CaptureRow | None:
    """The capture on record that the file is a sighting of; None where it is a new one."""
    if seen.sha256 is None:
        return None
    head, tail = halves_of(seen.sha256)
    same = session.scalars(
        select(CaptureRow)
        .where(CaptureRow.sha256_head == head, CaptureRow.sha256_tail == tail)
        .order_by(CaptureRow.id)
    ).all()
    if not same:
        return None
    here = [one for one in same if one.path == seen.path and not is_overwritten(session, one)]
    equal = [one for one in same if _says_the_same(one, seen)]
    nameless = [one for one in same if seen.identity is None or lacks_a_dish(one)]
    by_hand = [one for one in same if _differs_by_hand_alone(one, seen)]
    moved = [one for one in same if _was_moved(session, one, seen)]
    return next(iter([*here, *equal, *by_hand, *moved, *nameless]), None)


def follow(
    session: Session, row: CaptureRow, seen: SeenFile, now: datetime, take_back: TakeBack | None
) -> bool:
    """Known bytes were seen at `seen.path`: where they were, moved, renamed, or a copy.

    True where the capture is from now on what this file says it is.
    """
    if row.path == seen.path:
        if _says_the_same(row, seen) and row.source == seen.source:
            return False
        if not (was_never_read(row) or _is_unlisted_now_listed(row, seen)):
            return False
    elif _says_the_same(row, seen):
        if not _is_gone(session, row):
            return False
        if seen.identity is not None:
            lay(session, row, seen.path)  # says the same
            return False
        if not was_never_read(row):
            lay(session, row, seen.path)
            row.source = seen.source
            return False
    elif seen.identity is None:
        if not (was_never_read(row) and _is_gone(session, row)):
            return False
    elif not (
        lacks_a_dish(row) or _is_unlisted_now_listed(row, seen) or _was_moved(session, row, seen)
    ):
        return False
    lay(session, row, seen.path)
    row.source, row.named_dish, row.identity = seen.source, seen.dish, digest_of(seen.identity)
    row.claimed_by = None
    if row.scan_id is not None:
        leave_scan(session, row, now, take_back)
    return True


def lay(session: Session, row: CaptureRow, path: Path) -> None:
    """Note where a capture lies. A file where it lay before is a copy from now on."""
    if row.id is not None and row.path != path:
        before = file_at(session, row.path)
        if before is not None and before.capture_id == row.id:
            before.is_copy = True
    row.folder, row.name = folder_at(session, path.parent), Path(path.name)


def was_never_read(row: CaptureRow) -> bool:
    """Nothing was ever measured of it."""
    return (
        row.scan_id is None
        and row.acquired_at is None
        and row.state in (CaptureState.WAITING, CaptureState.UNREADABLE)
    )


def lacks_a_dish(row: CaptureRow) -> bool:
    waits = row.state == CaptureState.WAITING and row.scan_id is None
    return is_badly_named(row) or (waits and row.named_dish is None)


def is_badly_named(row: CaptureRow) -> bool:
    return row.state == CaptureState.UNREADABLE and row.reason in BAD_NAMES


def _says_the_same(row: CaptureRow, seen: SeenFile) -> bool:
    if row.identity != digest_of(seen.identity):
        return False
    return seen.identity is None or row.source == seen.source


def _is_gone(session: Session, row: CaptureRow) -> bool:
    return is_overwritten(session, row) or not row.path.exists()


def is_overwritten(session: Session, row: CaptureRow) -> bool:
    """Its path holds another capture by now."""
    file = file_at(session, row.path)
    return file is not None and file.capture_id != row.id


def _was_moved(session: Session, row: CaptureRow, seen: SeenFile) -> bool:
    """Its file is gone, and this one is as old: it was renamed. What an imager writes anew has a
    new time, also where the file before it was cleared away. Where its path holds other bytes by
    now, names were exchanged.
    """
    if row.identity is None:
        return False
    file = file_at(session, row.path)
    if file is not None and file.capture_id != row.id:
        return True
    return file is not None and file.mtime_ns == seen.mtime_ns and not row.path.exists()


def _differs_by_hand_alone(row: CaptureRow, seen: SeenFile) -> bool:
    """The same file, given to a command from outside any source, and found in a source."""
    if seen.identity is None or (row.source == UNLISTED) == (seen.source == UNLISTED):
        return False
    return row.identity == digest_of(seen.identity)


def _is_unlisted_now_listed(row: CaptureRow, seen: SeenFile) -> bool:
    return (
        row.source == UNLISTED
        and seen.source != UNLISTED
        and seen.identity is not None
        and (row.path == seen.path or _differs_by_hand_alone(row, seen))
    )


__all__: Sequence[str] = [
    "SeenFile",
    "digest_of",
    "follow",
    "is_badly_named",
    "is_overwritten",
    "lacks_a_dish",
    "lay",
    "sighted",
    "was_never_read",
]  # fmt: skip
