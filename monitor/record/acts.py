"""What people do on pages, each once: a form that is sent twice, by a double click or after going
back, does nothing the second time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError

from monitor.record.database import Database
from monitor.record.tables import ActRow

# Nobody sends a form of an older page again.
_KEPT = timedelta(days=7)


class ActRecord:
    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def once(self, key: str, *, now: datetime) -> Iterator[bool]:
        """One transaction for all that an act writes; False where it was done already.

        key : of the form that it was sent by. Where the act fails, the form can be sent again
        """
        with self._database.writing() as session:
            session.execute(delete(ActRow).where(ActRow.at < now - _KEPT))
            try:
                with session.begin_nested():
                    session.add(ActRow(key=key, at=now))
            except IntegrityError:
                yield False
                return
            yield True
