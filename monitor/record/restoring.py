"""A backup made the record again: looked at, made ready beside it, and put in its place at once."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import delete, make_url, select, update
from sqlalchemy.exc import ArgumentError

from monitor.culture import LIVE_PLANS, CaptureState, PlanStatus
from monitor.errors import RecordError
from monitor.host.atomic_files import sync_folder
from monitor.record.audit import append
from monitor.record.in_place import existing, forget_note
from monitor.record.migrating import is_known_revision
from monitor.record.plan_moves import US, end_plan
from monitor.record.store import Store
from monitor.record.tables import AuditRow, CaptureRow, ProcessRow, RecordRow, RemovalPlanRow

_BESIDE = ("", "-wal", "-shm")
# What people would miss, how it is called for one and for many, and by what a row is known.
_COUNTED = (
    ("capture", "capture", "captures", "sha256_head"),
    ("reading", "reading", "readings", "scan_id || '/' || version"),
    ("alert", "alert", "alerts", "id || '/' || created_at"),
    ("removal_plan", "removal plan", "removal plans", "id"),
    ("audit", "decision or note in the audit trail", "decisions and notes in the audit trail",
     "CASE what WHEN 'record restored' THEN NULL ELSE hash END"),
    ("calibration", "calibration", "calibrations", "id"),
)  # fmt: skip


@dataclass(frozen=True)
class Ready:
    """A backup that is sound, in the present form, and only to be put in place.

    made_ready : its copy
    newest : when the last thing in it happened
    is_same : it is a backup of the record that is there now; None where there is none to tell by
    lost : what that record has and it has not: (what, how many)
    """

    backup: Path
    made_ready: Path
    newest: datetime | None
    is_same: bool | None
    lost: tuple[tuple[str, int], ...]


def file_of(url: str) -> Path:
    """Where the record lies. Raises RecordError where that is not a file of SQLite."""
    try:
        made = make_url(url)
    except ArgumentError as problem:
        raise RecordError(f"{url}: is not a database URL (record.database)") from problem
    if made.get_backend_name() != "sqlite" or not made.database or made.database == ":memory:":
        shown = made.render_as_string(hide_password=True)
        raise RecordError(
            f"{shown}: is not SQLite; use the server's own pg_restore, with no program at work"
        )
    return Path(made.database).absolute()


def who_has(file: Path) -> list[int]:
    """Processes of this machine that have the record's file open, as far as they can be seen."""
    try:
        about = file.stat()
    except OSError:
        return []
    found = set()
    for handles in Path("/proc").glob("[0-9]*/fd"):
        with suppress(OSError):
            for handle in handles.iterdir():
                with suppress(OSError):
                    one = handle.stat()
                    if (one.st_dev, one.st_ino) == (about.st_dev, about.st_ino):
                        found.add(int(handles.parent.name))
    return sorted(found - {os.getpid()})


@contextmanager
def made_ready(
    backup: Path, file: Path, now: datetime, *, is_out: Callable[[str], bool], who: str = US
) -> Iterator[Ready]:
    """A copy of the backup beside the record, brought to the present form. Removed at the end where
    it was not put in place.

    is_out : whether the files of a plan are in the picker's folder
    who : restores it, for the audit trail

    Raises RecordError where the file is no backup, is damaged, or is of a newer version.
    """
    if not backup.is_file():
        raise RecordError(f"{backup}: there is no such file; give a copy that `backup` made")
    if file.exists() and backup.samefile(file):
        raise RecordError(f"{backup}: is the record itself; give a backup of it")
    copy = file.with_name(f".{file.name}.restored-{os.getpid()}")
    try:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            _remove(copy)
            shutil.copyfile(backup, copy)
            log = backup.with_name(f"{backup.name}-wal")
            if log.exists():  # copied by hand, with what was not yet in the file itself
                shutil.copyfile(log, copy.with_name(f"{copy.name}-wal"))
        except OSError as problem:
            raise RecordError(
                f"{backup}: cannot be copied to {file.parent} ({problem.strerror})"
            ) from problem
        _refuse_unsound(copy, backup)
        newest = _newest(copy)
        is_same, lost = _compare(copy, file)
        _settle(copy, backup, now, is_out=is_out, former=_newest_entry(file), who=who)
        _close(copy)
        yield Ready(backup, copy, newest, is_same, lost)
    finally:
        _remove(copy)


def put_in_place(ready: Ready, file: Path, now: datetime) -> Path | None:
    """The backup is the record from now on. Returns where the former one is kept, if there was one.

    Raises RecordError, and then the former one is the record still.
    """
    aside = file.with_name(f"{file.stem}-before-restore-{now:%Y%m%dT%H%M%SZ}{file.suffix}")
    try:
        kept = _keep(file, aside)
        ready.made_ready.replace(file)
        forget_note(file)
        sync_folder(file.parent)
    except OSError as problem:
        raise RecordError(
            f"{file}: the backup cannot be put in its place ({problem.strerror}); the record is "
            f"as it was, or lies at {aside}"
        ) from problem
    return aside if kept else None


def _keep(file: Path, aside: Path) -> bool:
    if not file.exists():
        for name in _BESIDE[1:]:
            file.with_name(file.name + name).unlink(missing_ok=True)
        return False
    # What is still in its log goes into the file, where it is sound enough for that.
    with suppress(sqlite3.Error), closing(_open(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    try:
        os.link(file, aside)
    except OSError:  # shares that know no second names
        shutil.copyfile(file, aside)
    log = file.with_name(f"{file.name}-wal")
    # It belongs to the former file alone; beside the new one it would be taken for its own.
    if log.exists():
        log.rename(aside.with_name(f"{aside.name}-wal"))
    file.with_name(f"{file.name}-shm").unlink(missing_ok=True)
    return True


def _open(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(existing(str(file)), uri=True, timeout=5, isolation_level=None)


def _remove(file: Path) -> None:
    for name in _BESIDE:
        with suppress(OSError):
            file.with_name(file.name + name).unlink(missing_ok=True)


def check_backup(file: Path) -> None:
    """Raises RecordError where a file is not a sound record."""
    _refuse_unsound(file, file)
    for name in _BESIDE[1:]:
        with suppress(OSError):
            file.with_name(file.name + name).unlink(missing_ok=True)


def _refuse_unsound(copy: Path, backup: Path) -> None:
    try:
        with closing(_open(copy)) as connection:
            verdict = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if verdict != "ok":
                raise RecordError(f"{backup}: is damaged ({verdict}); take an older backup")
            wrong = connection.execute("PRAGMA foreign_key_check").fetchone()
            if wrong is not None:
                raise RecordError(
                    f"{backup}: is damaged (a row of {wrong[0]} points at none of {wrong[2]}); "
                    "take an older backup"
                )
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as problem:
        what = "is not a colonywatch record" if "no such table" in str(problem) else "is damaged"
        raise RecordError(
            f"{backup}: {what} ({problem}); give a copy that `backup` made"
        ) from problem
    revision = None if row is None else row[0]
    if not is_known_revision(revision):
        raise RecordError(
            f"{backup}: was written by another version of colonywatch (revision {revision}); "
            "install that version to restore it"
        )


def _newest(copy: Path) -> datetime | None:
    with Store(f"sqlite:///{copy}") as store, store.database.reading() as session:
        times = [
            session.scalar(select(column).order_by(column.desc()).limit(1))
            for column in (CaptureRow.first_seen_at, AuditRow.at, ProcessRow.beat_at)
        ]
        return max((at for at in times if at is not None), default=None)


def _compare(copy: Path, file: Path) -> tuple[bool | None, tuple[tuple[str, int], ...]]:
    """Whether both are the same record, and what the present one has that the copy has not."""
    if not file.exists():
        return None, ()
    lost = []
    try:
        with closing(_open(copy)) as connection:
            connection.execute("ATTACH ? AS present", (existing(str(file)),))
            (is_same,) = connection.execute(
                "SELECT (SELECT key FROM present.record) = (SELECT key FROM main.record)"
            ).fetchone()
            for table, one, many, key in _COUNTED:
                # Of names that stand above, not of what anybody says.
                (count,) = connection.execute(
                    f"SELECT count(*) FROM present.{table} WHERE {key} IS NOT NULL AND {key} NOT "  # nosec B608
                    f"IN (SELECT {key} FROM main.{table} WHERE {key} IS NOT NULL)"
                ).fetchone()
                if count:
                    lost.append((one if count == 1 else many, int(count)))
    except sqlite3.Error:
        return None, ()  # the present one cannot be read: that is why a backup is wanted
    return bool(is_same), tuple(lost)


def _newest_entry(file: Path) -> dict[str, Any] | None:
    """Of the audit trail of the record that is there now, as far as it can be read."""
    if not file.exists():
        return None
    with suppress(sqlite3.Error), closing(_open(file)) as connection:
        query = "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1"
        row = connection.execute(query).fetchone()
        return None if row is None else {"newest_entry": row[0], "hash": row[1]}
    return None


def _settle(
    copy: Path,
    backup: Path,
    now: datetime,
    *,
    is_out: Callable[[str], bool],
    former: dict[str, Any] | None,
    who: str,
) -> None:
    """In the copy: nobody is at work on it, and no plan is live whose fate since is not known."""
    why = f"the record was restored from a backup, {backup.name}; what became of it is not known"
    with Store(f"sqlite:///{copy}") as store, store.database.writing() as session:
        session.execute(delete(ProcessRow))
        session.execute(
            update(CaptureRow)
            .where(CaptureRow.state == CaptureState.WORKING)
            .values(state=CaptureState.WAITING, claimed_by=None, next_try_at=now)
        )
        live = select(RemovalPlanRow).where(RemovalPlanRow.status.in_(LIVE_PLANS))
        for row in session.scalars(live).all():
            if not (row.status == PlanStatus.EXPORTED and is_out(row.id)):
                end_plan(session, row, PlanStatus.SUPERSEDED, now, None, why=why)
        record = session.get_one(RecordRow, 1)
        record.restored_at, record.restored_from = now, str(backup)
        append(
            session, now=now, who=who, what="record restored", about="record",
            before=former, after={"from": str(backup)},
        )  # fmt: skip


def _close(copy: Path) -> None:
    """All of it in the one file, and on the disk."""
    with closing(_open(copy)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with copy.open("rb") as file:
        os.fsync(file.fileno())
    for name in _BESIDE[1:]:
        copy.with_name(copy.name + name).unlink(missing_ok=True)
