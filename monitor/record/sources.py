"""Sources by their names: a dish belongs to one, and goes on where that is called otherwise."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from monitor.errors import RecordError
from monitor.record.audit import append
from monitor.record.database import Database
from monitor.record.lookup import name_anew
from monitor.record.tables import (
    AlertRow,
    CalibrationRow,
    CaptureRow,
    DishRow,
    OutboxRow,
    ScaleRow,
    ScanRow,
    SourceRow,
)


@dataclass(frozen=True)
class ConfiguredSource:
    """formerly : what it was called before"""

    name: str
    path: Path
    formerly: tuple[str, ...] = ()
    host: str = field(default_factory=socket.gethostname)

    @property
    def where(self) -> tuple[str, Path]:
        return self.host, self.path


@dataclass(frozen=True)
class SourceChange:
    """old : a name on record; new : what takes its dishes over; None = nothing does

    dishes : how many that live
    """

    old: str
    new: str | None
    dishes: int
    by_path: bool = False

    @property
    def text(self) -> str:
        counted = "1 dish" if self.dishes == 1 else f"{self.dishes} dishes"
        if self.new is None:
            return (
                f"source {self.old} is on record with {counted} but no longer configured: "
                f"if it has another name now, add formerly: [{self.old}] to it; else end them "
                "(colonywatch dishes end)"
            )
        goes = "goes" if self.dishes == 1 else "go"
        why = " (the same folder)" if self.by_path else ""
        return f"source {self.old} is now called {self.new}{why}; {counted} of it {goes} on"


@dataclass(frozen=True)
class _Known:
    """What is on record of sources: their machines and folders, and how many dishes live."""

    paths: dict[str, tuple[str, Path]]
    dishes: dict[str, int] = field(default_factory=dict)


class SourceRecord:
    def __init__(self, database: Database) -> None:
        self._database = database

    def changes(self, sources: Sequence[ConfiguredSource]) -> list[SourceChange]:
        """What `settle` would find, without a change of the record."""
        with self._database.reading() as session:
            return _changes(sources, _known(session))

    def place_of(self, name: str) -> tuple[str, Path] | None:
        """(machine, folder) of a source as it was watched last; None for one never seen."""
        with self._database.reading() as session:
            row = session.get(SourceRow, name)
            return None if row is None else (row.host, row.path)

    def settle(self, sources: Sequence[ConfiguredSource], now: datetime) -> list[SourceChange]:
        """Note the sources as they are configured now. One whose folder another name had before, or
        that says so (`formerly`), takes over the dishes, captures, calibrations and alerts of that
        name.

        Raises RecordError where both names have a dish of one label at the same time.
        """
        with self._database.writing() as session:
            known = _known(session)
            found = _changes(sources, known)
            for one in found:
                if one.new is not None:
                    _take_over(session, one.old, one.new, now)
            for source in sources:
                if known.paths.get(source.name) != source.where:
                    session.merge(SourceRow(name=source.name, host=source.host, path=source.path))
            return found


def _known(session: Session) -> _Known:
    rows = session.execute(
        select(DishRow.source, func.count())
        .where(DishRow.ended_at.is_(None))
        .group_by(DishRow.source)
    )
    return _Known(
        {row.name: (row.host, row.path) for row in session.scalars(select(SourceRow))},
        {source: count for source, count in rows},  # noqa: C416 (rows are no pairs to mypy)
    )


def _changes(sources: Sequence[ConfiguredSource], known: _Known) -> list[SourceChange]:
    configured = {source.name for source in sources}
    found: dict[str, SourceChange] = {}
    for source in sources:
        for old in source.formerly:
            if old not in configured and (old in known.paths or old in known.dishes):
                found[old] = SourceChange(old, source.name, known.dishes.get(old, 0))
    for source in sources:
        if source.name in known.paths or source.name in known.dishes:
            continue  # it had its name before; its folder may move
        for old, where in known.paths.items():
            if old not in configured and old not in found and where == source.where:
                count = known.dishes.get(old, 0)
                found[old] = SourceChange(old, source.name, count, by_path=True)
    hosts = {source.host for source in sources}
    for old, (host, _) in known.paths.items():
        if host not in hosts:
            continue  # of a program on another machine
        count = known.dishes.get(old, 0)
        if sources and old not in configured and old not in found and count:
            found[old] = SourceChange(old, None, count)
    return list(found.values())


def _take_over(session: Session, old: str, new: str, now: datetime) -> None:
    lines = session.scalars(select(DishRow).where(DishRow.source == old).order_by(DishRow.id)).all()
    for line in lines:
        _put_before(session, line, new, now)
    for column in (
        DishRow.source, CaptureRow.source, AlertRow.source, CalibrationRow.source, ScaleRow.source,
        OutboxRow.about,
    ):  # fmt: skip
        session.execute(update(column.class_).where(column == old).values({column: new}))
    row = session.get(SourceRow, old)
    if row is not None:
        session.delete(row)
    session.flush()
    session.expire_all()
    for label in dict.fromkeys(line.label for line in lines):
        name_anew(session, label, (old, new))
    append(
        session, now=now, who="colonywatch", what="source renamed", about=new, before=old, after=new
    )


def _put_before(session: Session, line: DishRow, new: str, now: datetime) -> None:
    """A line of the former name ends where one of the new name began under the same label."""
    if line.ended_at is not None:
        return
    after = session.scalars(
        select(DishRow).where(DishRow.source == new, DishRow.label == line.label)
    ).all()
    if not after:
        return
    first = select(func.min(ScanRow.first_at)).where(ScanRow.dish_id.in_([one.id for one in after]))
    last = select(func.max(ScanRow.last_at)).where(ScanRow.dish_id == line.id)
    begins, ends = session.scalar(first), session.scalar(last)
    if begins is None or (ends is not None and ends >= begins):
        raise RecordError(
            f"source {new} was formerly {line.source}, and both have scans of {line.label} at "
            f"the same time: they were two sources; remove the name from formerly"
        )
    line.ended_at = begins
    for one in after:
        if one.began_at is None:
            one.began_at = begins
