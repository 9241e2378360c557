"""The lives of dishes: when a line begins and ends, what it came from, what people wrote about it.

A line is one dish from its seeding to its end. `label` is what its source's names call the place;
several lines can follow one another there. `name` is what people call the line and is unique: the
label, for the line that lives there now, ``label#1``, ``label#2`` ... for those before it, or
whatever it was renamed to; where two sources use a label, the source stands before it. A capture
belongs to the line that was alive when it was taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from monitor.culture import AlertKind, Annotation, DishLine, DishStatus
from monitor.errors import UsageError
from monitor.record.audit import append
from monitor.record.database import Database
from monitor.record.lookup import BETWEEN, alive, begin, dish_called, place_called
from monitor.record.plan_moves import TakeBack
from monitor.record.plans import supersede_plans
from monitor.record.tables import AlertRow, AnnotationRow, DishRow, ReadingRow, ScanRow

LONGEST_TEXT = 500


@dataclass(frozen=True)
class Passage:
    """What a passage did: the line that ended, and the lines that began."""

    parent: DishLine
    children: tuple[DishLine, ...]


class LineRecord:
    """take_back : called with each plan that ends, before that is on record"""

    def __init__(self, database: Database, *, take_back: TakeBack | None = None) -> None:
        self._database = database
        self._take_back = take_back

    def line(self, name: str) -> DishLine:
        """Raises UsageError for a name that is not known."""
        with self._database.reading() as session:
            return line_of(session, dish_called(session, name))

    def status(self, name: str) -> DishStatus:
        """Raises UsageError."""
        with self._database.reading() as session:
            return DishStatus(dish_called(session, name).status)

    def standing(self, name: str) -> str:
        """Changes when the line ends, is resumed or stands otherwise, and where another line has
        its name. Raises UsageError.
        """
        with self._database.reading() as session:
            row = dish_called(session, name)
            ended = "" if row.ended_at is None else row.ended_at.isoformat()
            return f"{row.id}/{row.status}/{row.severity or ''}/{ended}"

    def annotations(self, name: str) -> list[Annotation]:
        """What people wrote about a line, oldest first. Raises UsageError."""
        with self._database.reading() as session:
            dish = dish_called(session, name)
            rows = session.scalars(
                select(AnnotationRow)
                .where(AnnotationRow.dish_id == dish.id)
                .order_by(AnnotationRow.at, AnnotationRow.id)
            )
            return [Annotation(row.id, dish.name, row.at, row.text, row.who) for row in rows]

    def annotate(
        self, name: str, text: str, *, at: datetime, who: str, now: datetime
    ) -> Annotation:
        """Write something down beside a line's series.

        Raises UsageError for an empty or very long text, and for a time at which the line was not
        alive.
        """
        text = " ".join(text.split())
        if not text:
            raise UsageError("an annotation needs a text, for example: medium changed")
        if len(text) > LONGEST_TEXT:
            raise UsageError(f"the text has {len(text)} letters; {LONGEST_TEXT} is the most")
        with self._database.writing() as session:
            dish = dish_called(session, name)
            _refuse_future(at, now)
            if (dish.began_at is not None and at < dish.began_at) or (
                dish.ended_at is not None and at > dish.ended_at
            ):
                raise UsageError(
                    f"{name}: did not exist at {_at(at)} ({_life(dish)}); give "
                    f"another --at, or the dish that did: see colonywatch dishes --all"
                )
            row = AnnotationRow(dish_id=dish.id, at=at, text=text, who=who, created_at=now)
            session.add(row)
            session.flush()
            append(session, now=now, who=who, what="dish annotated", about=dish.name, after=text)
            return Annotation(row.id, dish.name, at, text, who)

    def rename(self, name: str, new: str, *, who: str, now: datetime) -> DishLine:
        """Give a line another name. Captures go on to be found by the label in their names.

        Raises UsageError where the new name is taken.
        """
        new = " ".join(new.split())
        if not new or len(new) > 100:
            raise UsageError("a dish's name has 1 to 100 letters")
        with self._database.writing() as session:
            dish = dish_called(session, name)
            if place_called(session, new, dish.source)[0] != dish.source or new.startswith(
                f"{dish.source}{BETWEEN}"
            ):
                raise UsageError(
                    f"{new}: that is how full names of that source's dishes begin; choose another"
                )
            taken = session.scalar(
                select(DishRow.name).where(
                    DishRow.id != dish.id, (DishRow.name == new) | (DishRow.label == new)
                )
            )
            if taken is not None:
                raise UsageError(
                    f"{new}: is the name or the label of {taken} already; choose another"
                )
            former, dish.name = dish.name, new
            append(
                session, now=now, who=who, what="dish renamed", about=new, before=former, after=new
            )
            return line_of(session, dish)

    def end(
        self, name: str, *, at: datetime, who: str, note: str | None, now: datetime
    ) -> DishLine:
        """End a line. Nothing is alerted for it or missed of it any more; its plans are withdrawn.

        What was taken since then belongs to a line of its own that begins there.
        Raises UsageError where it has ended already, or was not alive at that time.
        """
        with self._database.writing() as session:
            dish = dish_called(session, name)
            self._cut(session, dish, at, now)
            append(
                session, now=now, who=who, what="dish ended", about=dish.name, why=note,
                after={"ended_at": at.isoformat()},
            )  # fmt: skip
            return line_of(session, dish)

    def resume(self, name: str, *, who: str, now: datetime) -> DishLine:
        """Take an end back; the alerts that it closed are open again.

        Raises UsageError where another line follows it.
        """
        with self._database.writing() as session:
            dish = dish_called(session, name)
            if dish.ended_at is None:
                raise UsageError(f"{name}: has not ended")
            after = session.scalar(
                select(DishRow).where(
                    DishRow.source == dish.source,
                    DishRow.label == dish.label,
                    DishRow.began_at >= dish.ended_at,
                )
            )
            if after is not None:
                raise UsageError(
                    f"{name}: {after.name} follows it under the label {dish.label}; two "
                    "dishes cannot be in one place"
                )
            append(
                session, now=now, who=who, what="dish resumed", about=dish.name,
                before={"ended_at": dish.ended_at.isoformat()},
            )  # fmt: skip
            dish.ended_at = None
            _open_again(session, dish)
            return line_of(session, dish)

    def passage(
        self,
        name: str,
        to: Sequence[str],
        *,
        at: datetime,
        who: str,
        note: str | None,
        now: datetime,
    ) -> Passage:
        """End a line and begin one or several that came from it, linked to it.

        to : labels that the new lines' captures carry, with another source and a colon before those
            that another source scans; none = the same place again
        Raises UsageError where the line is not alive at that time, or a target is in use.
        """
        with self._database.writing() as session:
            dish = dish_called(session, name)
            here = dish.source, dish.label
            places = [place_called(session, one, dish.source) for one in to] or [here]
            if len(set(places)) != len(places):
                raise UsageError("the same --to is given twice")
            for one in places:
                if one != here:
                    _refuse_in_use(session, *one, at)
            self._cut(session, dish, at, now)
            children = []
            for one in places:
                child = alive(session, *one, at) or begin(session, *one, at, now)
                child.began_at, child.parent_id, child.passage = at, dish.id, dish.passage + 1
                if one == here:
                    _move_annotations(session, dish, child, at)
                children.append(child)
            session.flush()
            append(
                session, now=now, who=who, what="dish passaged", about=dish.name, why=note,
                after={"at": at.isoformat(), "to": [child.name for child in children]},
            )  # fmt: skip
            begun = tuple(line_of(session, child) for child in children)
            return Passage(line_of(session, dish), begun)

    def _cut(self, session: Session, dish: DishRow, at: datetime, now: datetime) -> None:
        """End a line at a time; its scans since then go to a line that begins there."""
        if dish.ended_at is not None:
            raise UsageError(f"{dish.name}: ended at {_at(dish.ended_at)} already")
        _refuse_future(at, now)
        first = session.scalar(
            select(ScanRow.first_at)
            .where(ScanRow.dish_id == dish.id)
            .order_by(ScanRow.first_at)
            .limit(1)
        )
        begins = min((one for one in (first, dish.began_at) if one is not None), default=None)
        if begins is not None and at < begins:
            raise UsageError(f"{dish.name}: begins only at {_at(begins)}; give a later --at")
        dish.ended_at = at
        session.execute(
            update(AlertRow)
            .where(AlertRow.dish_id == dish.id, AlertRow.closed_at.is_(None))
            .values(closed_at=now)
        )
        supersede_plans(session, dish, now, self._take_back)
        later = session.scalars(
            select(ScanRow).where(ScanRow.dish_id == dish.id, ScanRow.first_at >= at)
        ).all()
        if not later:
            return
        after = begin(session, dish.source, dish.label, at, now)
        session.flush()
        _move_annotations(session, dish, after, at)
        for scan in later:
            # Read once more, so that the new line is judged by its own scans alone.
            scan.dish_id, scan.dirty = after.id, True
            moved = select(ReadingRow.id).where(ReadingRow.scan_id == scan.id)
            session.execute(
                update(ReadingRow).where(ReadingRow.scan_id == scan.id).values(dish_id=after.id)
            )
            session.execute(
                update(AlertRow).where(AlertRow.reading_id.in_(moved)).values(dish_id=after.id)
            )


def _move_annotations(session: Session, dish: DishRow, after: DishRow, since: datetime) -> None:
    session.execute(
        update(AnnotationRow)
        .where(AnnotationRow.dish_id == dish.id, AnnotationRow.at >= since)
        .values(dish_id=after.id)
    )


def _open_again(session: Session, dish: DishRow) -> None:
    """Alerts that nothing cleared: the end closed them."""
    settled: set[str] = set()
    rows = session.scalars(
        select(AlertRow).where(AlertRow.dish_id == dish.id).order_by(AlertRow.id.desc())
    )
    for alert in rows:
        if alert.kind == AlertKind.CLEARED:
            settled.add(alert.topic)
        elif alert.topic not in settled:
            alert.closed_at = None


def _refuse_in_use(session: Session, source: str, label: str, at: datetime) -> None:
    label = label.strip()
    if not label:
        raise UsageError("--to needs the name in the new dish's captures")
    there = alive(session, source, label, at)
    if there is None:
        return
    first = session.scalar(
        select(ScanRow.first_at)
        .where(ScanRow.dish_id == there.id)
        .order_by(ScanRow.first_at)
        .limit(1)
    )
    begins = min((one for one in (first, there.began_at) if one is not None), default=None)
    if begins is not None and begins < at:
        raise UsageError(
            f"{label}: {there.name} has been there since {_at(begins)}; end it first (colonywatch "
            f"dishes end), or give a --at before that"
        )


def _refuse_future(at: datetime, now: datetime) -> None:
    if at > now:
        raise UsageError(f"{_at(at)} is in the future; times without a zone are the source's")


def line_of(session: Session, row: DishRow) -> DishLine:
    """The row as a value of the field."""
    parent = None if row.parent_id is None else session.get_one(DishRow, row.parent_id).name
    children = session.scalars(
        select(DishRow.name).where(DishRow.parent_id == row.id).order_by(DishRow.name)
    )
    return DishLine(
        name=row.name,
        label=row.label,
        source=row.source,
        passage=row.passage,
        began_at=row.began_at,
        ended_at=row.ended_at,
        parent=parent,
        children=tuple(children),
    )


def _life(dish: DishRow) -> str:
    began = "from its first scan" if dish.began_at is None else f"from {_at(dish.began_at)}"
    return began if dish.ended_at is None else f"{began} to {_at(dish.ended_at)}"


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
