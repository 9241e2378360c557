"""Programs at work on the database and their signs of life. What a dead one held is given back.

That a program was killed is no capture's fault: nothing is counted against what it held. But a
capture that takes the whole program along, as where a system ends all its processes together when
memory runs out, must not hold up the next: from the second time on it waits, longer each time.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from monitor.culture import CaptureState
from monitor.record.capture_states import is_again, retry_after, unfinished
from monitor.record.database import Database
from monitor.record.tables import CaptureRow, ProcessRow

SILENT_S = 60.0
PROGRAM_DIED = "program-died"


@dataclass(frozen=True)
class ProcessLife:
    """One program and when it was last heard of.

    detail : what the daemon says of itself (sources, queue)
    """

    owner: str
    kind: str
    host: str
    pid: int
    started_at: datetime
    beat_at: datetime
    alive: bool
    detail: dict[str, Any]


class Processes:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._begun: dict[str, ProcessLife] = {}

    def begin(self, kind: str, now: datetime) -> str:
        """Sign in. Returns the name under which this program claims captures."""
        host, pid = socket.gethostname(), os.getpid()
        owner = f"{kind}@{host[:60]}:{pid}:{now:%Y%m%dT%H%M%S.%f}"
        life = ProcessLife(owner, kind, host, pid, now, now, True, {})
        with self._database.writing() as session:
            session.add(_row(life, now, {}))
        self._begun[owner] = life
        return owner

    def beat(self, owner: str, now: datetime, detail: dict[str, Any]) -> None:
        """A sign of life. Signs in again where it was buried: a machine may have slept."""
        with self._database.writing() as session:
            row = session.get(ProcessRow, owner)
            if row is not None:
                row.beat_at, row.detail = now, detail
            elif owner in self._begun:
                session.add(_row(self._begun[owner], now, detail))

    def end(self, owner: str) -> None:
        """Sign out; what is still claimed is given back."""
        with self._database.writing() as session:
            _give_back(session, owner)
            session.execute(delete(ProcessRow).where(ProcessRow.owner == owner))
        self._begun.pop(owner, None)

    def bury_dead(self, now: datetime) -> int:
        """Give back what dead programs held. Returns how many captures that were."""
        with self._database.writing() as session:
            rows = session.scalars(select(ProcessRow)).all()
            count = 0
            for row in rows:
                if not _is_alive(row, now):
                    count += _take_from_dead(session, row.owner, now)
                    session.delete(row)
            orphans = session.scalars(
                select(CaptureRow.claimed_by)
                .where(
                    unfinished(CaptureState.WORKING),
                    CaptureRow.claimed_by.not_in(select(ProcessRow.owner)),
                )
                .distinct()
            ).all()
            for owner in orphans:
                count += _take_from_dead(session, owner or "", now)
            return count

    def living(self, kind: str, now: datetime) -> list[ProcessLife]:
        """Programs of a kind, those last heard of first, dead ones too."""
        with self._database.reading() as session:
            rows = session.scalars(
                select(ProcessRow)
                .where(ProcessRow.kind == kind)
                .order_by(ProcessRow.beat_at.desc())
            )
            return [
                ProcessLife(
                    owner=row.owner,
                    kind=row.kind,
                    host=row.host,
                    pid=row.pid,
                    started_at=row.started_at,
                    beat_at=row.beat_at,
                    alive=_is_alive(row, now),
                    detail=row.detail,
                )
                for row in rows
            ]


def _row(life: ProcessLife, now: datetime, detail: dict[str, Any]) -> ProcessRow:
    return ProcessRow(
        owner=life.owner,
        kind=life.kind,
        host=life.host,
        pid=life.pid,
        started_at=life.started_at,
        beat_at=now,
        detail=detail,
    )


def _is_alive(row: ProcessRow, now: datetime) -> bool:
    if row.host == socket.gethostname() and not _pid_exists(row.pid):
        return False
    return row.beat_at + timedelta(seconds=SILENT_S) > now


def _pid_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it exists and belongs to somebody else
    return True


def _take_from_dead(session: Session, owner: str, now: datetime) -> int:
    held = session.scalars(
        select(CaptureRow).where(unfinished(CaptureState.WORKING), CaptureRow.claimed_by == owner)
    ).all()
    for row in held:
        if is_again(owner):
            # What was read of it stands; a daemon with a former model is not to measure it.
            row.state, row.claimed_by = CaptureState.RECORDED, None
            continue
        row.state, row.claimed_by, row.next_try_at = CaptureState.WAITING, None, now
        if row.attempts > 1:
            row.next_try_at = now + retry_after(row.attempts - 1)
            row.reason = PROGRAM_DIED
            row.message = (
                f"{row.path.name}: the program that was measuring it "
                f"was killed; it was tried {row.attempts} times"
            )
    return len(held)


def _give_back(session: Session, owner: str) -> int:
    changed = session.execute(
        update(CaptureRow)
        .where(unfinished(CaptureState.WORKING), CaptureRow.claimed_by == owner)
        .values(
            state=CaptureState.RECORDED if is_again(owner) else CaptureState.WAITING,
            claimed_by=None,
        )
    )
    return int(changed.rowcount)  # type: ignore[attr-defined]
