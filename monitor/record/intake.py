"""Files that were seen -> captures: which are known, and what became of those that are new."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from sqlalchemy import Table, bindparam, insert, select
from sqlalchemy.orm import Session

from monitor.culture import Capture, CaptureState
from monitor.record.capture_states import make_unreadable, retry_after
from monitor.record.files import by_folder, file_at, files_of, folder_at
from monitor.record.leaving import EQUAL_PICTURES, SET_ASIDE
from monitor.record.plan_moves import TakeBack
from monitor.record.sightings import (
    SeenFile,
    digest_of,
    follow,
    is_badly_named,
    lay,
    sighted,
    was_never_read,
)
from monitor.record.tables import CaptureRow, FileRow, halves_of

# SQLite takes at most some 32,000 values in one statement.
MANY = 10_000


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


def plain_new(session: Session, seen: Sequence[SeenFile]) -> dict[int, SeenFile]:
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
    for first in range(0, len(heads), MANY):
        known |= set(session.scalars(_KNOWN_HEADS, {"heads": heads[first : first + MANY]}))
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


def add_new(
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
        number: (TakenIn.NEW, _waiting(id_, one, now))
        for (number, one), id_ in zip(fresh.items(), ids, strict=True)
    }


def _waiting(id_: int, seen: SeenFile, now: datetime) -> Capture:
    """As its row says: new, and due at once."""
    return Capture(
        id=id_,
        path=seen.path,
        source=seen.source,
        sha256=seen.sha256,
        state=CaptureState.WAITING,
        attempts=0,
        crashes=0,
        reason=None,
        message=None,
        next_try_at=now,
        first_seen_at=now,
        field=None,
        scan_id=None,
    )


_KNOWN_HEADS = select(CaptureRow.sha256_head).where(
    CaptureRow.sha256_head.in_(bindparam("heads", expanding=True))
)
_KNOWN_NAMES = select(FileRow.name).where(
    FileRow.folder_id == bindparam("folder"), FileRow.name.in_(bindparam("names", expanding=True))
)
_CAPTURE_TABLE: Table = CaptureRow.__table__  # type: ignore[assignment]
_ADD_CAPTURES = insert(_CAPTURE_TABLE).returning(_CAPTURE_TABLE.c.id, sort_by_parameter_order=True)
_ADD_FILES = insert(FileRow.__table__)  # type: ignore[arg-type]


def take_in_file(
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
            set_fate(row, seen, now)  # the new name may say what the old one did not
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
        set_fate(row, seen, now)
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
        forget_if_replaced(session, before)
    return outcome, row


def forget_if_replaced(session: Session, row: CaptureRow) -> None:
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


def set_fate(row: CaptureRow, seen: SeenFile, now: datetime) -> None:
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
        make_unreadable(row, reason, message, now)
