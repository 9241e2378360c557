"""Which line lives where: from names and labels to rows of `dish`.

A place is a source and a label: what the source's names call the dish. Two sources that use one
label mean two places. A line's plain name is its label; where several sources use it, each of them
stands before it, ``incubator-2:dish-07``, whoever came first. A label with a colon always has its
source before it, so that no plain name can be taken for another dish's full one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from monitor.errors import UsageError
from monitor.record.tables import DishRow, SourceRow

BETWEEN = ":"
_LISTED = 8
_CALLED = select(DishRow).where(DishRow.name == bindparam("name"))
_LABELLED = select(DishRow).where(DishRow.label == bindparam("label"))
_ALIVE = (
    select(DishRow)
    .where(
        DishRow.label == bindparam("label"),
        DishRow.source == bindparam("source"),
        DishRow.began_at.is_(None) | (DishRow.began_at <= bindparam("at")),
        DishRow.ended_at.is_(None) | (DishRow.ended_at > bindparam("at")),
    )
    .order_by(DishRow.began_at.desc(), DishRow.id.desc())
    .limit(1)
)


def dish_called(session: Session, name: str) -> DishRow:
    """A full name is understood also where the plain one is enough.

    Raises UsageError for a name that is not known, or that is a label of several sources.
    """
    row = session.scalar(_CALLED, {"name": name})
    if row is not None:
        return row
    source, between, rest = name.partition(BETWEEN)
    if between:
        row = session.scalar(_CALLED.where(DishRow.source == source), {"name": rest})
        if row is not None:
            return row
    called = session.scalars(_LABELLED.order_by(DishRow.name), {"label": name}).all()
    if between and len(called) == 1:
        return called[0]
    if called:
        names = " or ".join(one.name for one in called[:_LISTED])
        raise UsageError(f"{name}: is the label in file names; use {names}")
    known = session.scalars(select(DishRow.name).order_by(DishRow.name).limit(_LISTED + 1)).all()
    listed = ", ".join(known[:_LISTED]) + (", ..." if len(known) > _LISTED else "")
    raise UsageError(
        f"{name}: there is no dish of this name on record; "
        + (f"known: {listed}" if known else "nothing is on record yet")
    )


def place_called(session: Session, text: str, source: str) -> tuple[str, str]:
    """(source, label) of a place that a person names: a label of `source`, or one of another with
    that before it.
    """
    named, between, label = text.partition(BETWEEN)
    if between and label and session.get(SourceRow, named) is not None:
        return named, label
    return source, text


def line_for_capture(
    session: Session, source: str, label: str, at: datetime, now: datetime
) -> DishRow:
    """The line that lived in a place at a time; begun here where there was none.

    Cells that nobody has told of are watched all the same: what is taken after a line's end begins
    a new one.
    """
    found = alive(session, source, label, at)
    return found if found is not None else begin(session, source, label, at, now)


def alive(session: Session, source: str, label: str, at: datetime) -> DishRow | None:
    """The line that lived in a place at a time."""
    return session.scalar(_ALIVE, {"source": source, "label": label, "at": at})


def begin(session: Session, source: str, label: str, at: datetime, now: datetime) -> DishRow:
    """A new line in the gap that `at` lies in, between what lived before and after."""
    same_label = session.scalars(_LABELLED, {"label": label}).all()
    others = [one for one in same_label if one.source == source]
    before = [one for one in others if one.ended_at is not None and one.ended_at <= at]
    after = [one for one in others if one.began_at is not None and one.began_at > at]
    began_at = max((one.ended_at for one in before if one.ended_at), default=None)
    ended_at = min((one.began_at for one in after if one.began_at), default=None)
    elsewhere = [one for one in same_label if one.source != source]
    for one in elsewhere:
        _say_source(session, one)
    base = full_name(source, label) if elsewhere or BETWEEN in label else label
    if ended_at is None:
        # The plain name is for the line that lives now.
        for one in others:
            if one.name == base:
                one.name = _numbered(session, base)
                session.flush()
        if base == label and _is_taken(session, base):
            base = full_name(source, label)  # a person has called another dish so
        name = _numbered(session, base) if _is_taken(session, base) else base
    else:
        name = _numbered(session, base)
    row = DishRow(
        name=name, label=label, source=source, status="unknown", created_at=now,
        began_at=began_at, ended_at=ended_at, passage=0,
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row


def full_name(source: str, label: str) -> str:
    """What tells a dish from those that other sources call the same."""
    return f"{source}{BETWEEN}{label}"


def name_anew(session: Session, label: str, sources: Sequence[str]) -> None:
    """Names of the lines of a label, after one of these sources took over what another had."""
    lines = session.scalars(_LABELLED.order_by(DishRow.id), {"label": label}).all()
    several = len({one.source for one in lines}) > 1 or BETWEEN in label
    given = re.compile(
        rf"(?:(?:{'|'.join(map(re.escape, (*sources, *(one.source for one in lines))))})"
        rf"{BETWEEN})?{re.escape(label)}(?:#\d+)?"
    )
    ours = [one for one in lines if given.fullmatch(one.name)]
    for one in ours:
        one.name = f"{one.id}{BETWEEN}{BETWEEN}"  # out of the way
    session.flush()
    # The plain name is for the line that lives now.
    for one in sorted(ours, key=lambda line: (line.ended_at is not None, line.id)):
        base = full_name(one.source, label) if several else label
        if base == label and one.ended_at is None and _is_taken(session, base):
            base = full_name(one.source, label)
        is_former = one.ended_at is not None
        one.name = _numbered(session, base) if is_former or _is_taken(session, base) else base
        session.flush()


def _say_source(session: Session, row: DishRow) -> None:
    """Put its source before a line's name, unless a person gave it that name."""
    if re.fullmatch(rf"{re.escape(row.label)}(#\d+)?", row.name):
        row.name = full_name(row.source, row.name)
        session.flush()


def _is_taken(session: Session, name: str) -> bool:
    return session.scalar(select(DishRow.id).where(DishRow.name == name)) is not None


def _numbered(session: Session, name: str) -> str:
    taken = set(
        session.scalars(select(DishRow.name).where(DishRow.name.startswith(name, autoescape=True)))
    )
    number = 1
    while f"{name}#{number}" in taken:
        number += 1
    return f"{name}#{number}"
