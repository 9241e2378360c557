"""What a transaction remembers, so that a backlog does not ask the same again for each capture.

Rows that are few and asked for all the time stay with the transaction that has read them. Readings
never change once they are written: they stay with the program, those of a transaction from its end
on, since what it takes back was never there.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from sqlalchemy.orm import Session

from monitor.culture import Reading

MOST_READINGS = 20_000
_ROWS, _HELD = "rows", "held"
# In a session's `info`: the readings that its transaction has read, and those of the program.
OWN, KNOWN = "own", "known"


def remembered(session: Session) -> dict[Hashable, Any]:
    """What was asked for before in this transaction, by what was asked; to be added to."""
    rows: dict[Hashable, Any] = session.info.setdefault(_ROWS, {})
    return rows


def hold(session: Session, rows: Iterable[object]) -> None:
    """Keep rows that are asked for by their numbers later in this transaction."""
    session.info.setdefault(_HELD, []).extend(rows)


def known_readings(session: Session) -> tuple[Mapping[int, Reading], dict[int, Reading]]:
    """Those of the program, and those that this transaction has read, which may be added to."""
    return session.info.get(KNOWN, {}), session.info.setdefault(OWN, {})


def forget_readings(session: Session) -> None:
    """After the one thing that changes readings: their times were put right."""
    session.info.get(KNOWN, {}).clear()
    session.info.get(OWN, {}).clear()


__all__ = [
    "KNOWN",
    "MOST_READINGS",
    "OWN",
    "forget_readings",
    "hold",
    "known_readings",
    "remembered",
]
