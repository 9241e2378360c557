"""Files in which a picker said what it did: each content once, with what could not be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from sqlalchemy import func, select

from monitor.record.database import Database
from monitor.record.tables import PickLogRow


class PickLogState(StrEnum):
    READ = "read"
    PARTLY_READ = "partly read"  # of some of its plans, or of some of their regions
    REFUSED = "refused"


@dataclass(frozen=True)
class PickLog:
    """A log as it was read.

    reason : short machine-readable code of the first thing that could not be used
    plans : ids of the plans of which it was used
    """

    sha256: str
    path: Path
    state: PickLogState
    reason: str | None = None
    message: str | None = None
    plans: tuple[str, ...] = ()


class PickLogRecord:
    def __init__(self, database: Database) -> None:
        self._database = database

    def knows(self, sha256: str, path: Path) -> bool:
        """Whether these bytes were read before; then `path` is where they lie now."""
        with self._database.writing() as session:
            row = session.scalar(select(PickLogRow).where(PickLogRow.sha256 == sha256))
            if row is None:
                return False
            row.path = path
            return True

    def add(self, pick_log: PickLog, now: datetime) -> None:
        """Write down what became of a log; nothing where its bytes are on record already."""
        with self._database.writing() as session:
            known = select(PickLogRow.id).where(PickLogRow.sha256 == pick_log.sha256)
            if session.scalar(known) is None:
                session.add(
                    PickLogRow(
                        sha256=pick_log.sha256,
                        path=pick_log.path,
                        state=pick_log.state,
                        reason=pick_log.reason,
                        message=pick_log.message,
                        plans=list(pick_log.plans),
                        first_seen_at=now,
                        finished_at=now,
                    )
                )

    def latest(self, states: Sequence[PickLogState] = tuple(PickLogState)) -> list[PickLog]:
        """The newest content of each path, where its state is one of `states`, newest first."""
        newest = select(func.max(PickLogRow.id)).group_by(PickLogRow.path)
        with self._database.reading() as session:
            rows = session.scalars(
                select(PickLogRow)
                .where(PickLogRow.id.in_(newest), PickLogRow.state.in_(list(states)))
                .order_by(PickLogRow.id.desc())
            )
            return [
                PickLog(
                    row.sha256,
                    row.path,
                    PickLogState(row.state),
                    row.reason,
                    row.message,
                    tuple(row.plans),
                )
                for row in rows
            ]
