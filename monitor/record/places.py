"""Which line lives where: from names and labels to rows of `dish`."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from monitor.errors import UsageError
from monitor.record.tables import DishRow

_LISTED = 8
_CALLED = select(DishRow).where(DishRow.name == bindparam("name"))
_ALIVE = (
    select(DishRow)
    .where(
        DishRow.label == bindparam("label"),
        DishRow.began_at.is_(None) | (DishRow.began_at <= bindparam("at")),
        DishRow.ended_at.is_(None) | (DishRow.ended_at > bindparam("at")),
    )
    .order_by(DishRow.began_at.desc(), DishRow.id.desc())
    .limit(1)
)


def dish_called(session: Session, name: str) -> DishRow:
    """Raises UsageError for a name that is not known."""
    row = session.scalar(_CALLED, {"name": name})
    if row is not None:
        return row
    known = session.scalars(select(DishRow.name).order_by(DishRow.name).limit(_LISTED + 1)).all()
    listed = ", ".join(known[:_LISTED]) + (", ..." if len(known) > _LISTED else "")
    raise UsageError(
        f"{name}: no dish of this name is on record; "
        + (f"known: {listed}" if known else "nothing is on record yet")
    )


def line_for_capture(
    session: Session, label: str, source: str, at: datetime, now: datetime
) -> DishRow:
    """The line that lived under a label at a time; begun here where there was none.

    Cells that nobody has told of are watched all the same: what is taken after a line's end begins
    a new one.
    """
    found = alive(session, label, at)
    return found if found is not None else begin(session, label, source, at, now)


def alive(session: Session, label: str, at: datetime) -> DishRow | None:
    """The line that lived under a label at a time."""
    return session.scalar(_ALIVE, {"label": label, "at": at})


def begin(session: Session, label: str, source: str, at: datetime, now: datetime) -> DishRow:
    """A new line in the gap that `at` lies in, between what lived before and after."""
    others = session.scalars(select(DishRow).where(DishRow.label == label)).all()
    before = [one for one in others if one.ended_at is not None and one.ended_at <= at]
    after = [one for one in others if one.began_at is not None and one.began_at > at]
    began_at = max((one.ended_at for one in before if one.ended_at), default=None)
    ended_at = min((one.began_at for one in after if one.began_at), default=None)
    if ended_at is None:
        # The plain name is for the line that lives now.
        for one in others:
            if one.name == label:
                one.name = _numbered(session, label)
                session.flush()
        taken = session.scalar(select(DishRow.id).where(DishRow.name == label))
        name = label if taken is None else _numbered(session, label)
    else:
        name = _numbered(session, label)
    row = DishRow(
        name=name, label=label, source=source, status="unknown", created_at=now,
        began_at=began_at, ended_at=ended_at, passage=0,
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row


def _numbered(session: Session, label: str) -> str:
    taken = set(
        session.scalars(select(DishRow.name).where(DishRow.name.startswith(label, autoescape=True)))
    )
    number = 1
    while f"{label}#{number}" in taken:
        number += 1
    return f"{label}#{number}"
