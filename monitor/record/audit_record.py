"""The audit trail as others see it: read, checked, and told of acts that have no other place."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import select

from monitor.culture import AuditEntry, Head, Verdict
from monitor.record import audit
from monitor.record.database import Database
from monitor.record.tables import AuditRow


class AuditRecord:
    def __init__(self, database: Database) -> None:
        self._database = database

    def entries(
        self, *, about: str | None = None, newest: int | None = None
    ) -> Iterator[AuditEntry]:
        """Oldest first. about : only what was done to it; newest : only so many, the last ones"""
        with self._database.reading() as session:
            yield from audit.entries(session, about=about, newest=newest)

    def head(self) -> Head | None:
        """The newest entry; None where there is none."""
        with self._database.reading() as session:
            return audit.head(session)

    def has(self, head: Head) -> bool:
        """Is this entry in the trail, as it was when its head was kept?"""
        with self._database.reading() as session:
            found = session.scalar(select(AuditRow.hash).where(AuditRow.number == head.number))
            return found == head.hash

    def verify(self, kept: Collection[Head] = ()) -> Verdict:
        """Is the trail whole? kept : heads that were noted earlier"""
        with self._database.reading() as session:
            return audit.verify(session, kept)

    def tell(
        self,
        *,
        now: datetime,
        who: str,
        what: str,
        about: str,
        why: str | None = None,
        before: Any = None,
        after: Any = None,
    ) -> None:
        """An entry on an act that is no other part of the record; see `audit.append`."""
        with self._database.writing() as session:
            audit.append(
                session, now=now, who=who, what=what, about=about, why=why, before=before,
                after=after,
            )  # fmt: skip
