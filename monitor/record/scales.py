"""Scales of images that come without a pixel size: one a setup of a source.

open -> settled          by the images of several dishes
open, settled -> set     by a person
settled, set -> open     by a person: estimated anew

Whenever a scale changes, what was measured at another one waits to be measured again, in the same
transaction: a series never mixes scales in silence. Readings stay until then.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import ColumnElement, Select, delete, func, select
from sqlalchemy.orm import Session

from model.setups import Setup
from monitor.culture import (
    UNLISTED,
    AssumedScale,
    Capture,
    CaptureState,
    FieldMeasurement,
    ScaleEvidence,
    ScaleInUse,
    ScaleState,
)
from monitor.culture.scales import CHECKED_EVERY, OF_A_DISH, OF_A_SCALE
from monitor.errors import UsageError
from monitor.record.audit import append
from monitor.record.capture_states import wait_again
from monitor.record.database import Database
from monitor.record.tables import (
    CaptureRow,
    DishRow,
    ScaleEvidenceRow,
    ScaleRow,
    ScanRow,
)

_HELD = (CaptureState.RECORDED, CaptureState.MEASURED)
KEPT_CHECKS = 8
"""Of later captures the newest so many are asked whether the scale is still right."""


@dataclass(frozen=True)
class ScaleChange:
    """before_um : um/px that it was

    reopened : captures that wait to be measured again, for it
    """

    scale: AssumedScale
    before_um: float
    reopened: tuple[int, ...] = ()


class ScaleRecord:
    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self, source: str | None = None) -> list[AssumedScale]:
        """By source and setup. source : only its"""
        query = select(ScaleRow).order_by(
            ScaleRow.source, ScaleRow.magnification, ScaleRow.rows, ScaleRow.id
        )
        if source is not None:
            query = query.where(ScaleRow.source == source)
        with self._database.reading() as session:
            return [_scale_of(session, row) for row in session.scalars(query)]

    def in_use(self, capture: Capture, dish: str) -> tuple[ScaleInUse, ...]:
        """The scales that a capture may be measured at, if nothing says its pixel size.

        dish : that it shows, by its name
        """
        with self._database.reading() as session:
            rows = session.scalars(
                select(ScaleRow).where(ScaleRow.source == capture.source).order_by(ScaleRow.id)
            ).all()
            near = [row for row in rows if row.place is None or _lies_in(capture.path, row.place)]
            near.sort(key=lambda row: -len(row.place.parts) if row.place is not None else 0)
            return tuple(_in_use(session, row, capture.id, dish) for row in near)

    def evidence(self, scale_id: int, *, checks: bool = False) -> list[ScaleEvidence]:
        """What its images say, oldest first. checks : of those that were asked afterwards"""
        with self._database.reading() as session:
            return _evidence(session, scale_id, checks=checks)

    def estimate(
        self,
        scale_id: int,
        um: float,
        *,
        between_um: tuple[float, float],
        settled: bool,
        now: datetime,
        reopens: bool = True,
    ) -> ScaleChange | None:
        """What the images say by now, where nobody has said otherwise. None: nothing changed.

        between_um : how far the estimate moves where any one image is left out
        """
        with self._database.writing(durable=False) as session:
            row = session.get(ScaleRow, scale_id)
            if row is None or row.state != ScaleState.OPEN:
                return None
            row.low_um, row.high_um = between_um
            if settled:
                row.state = ScaleState.SETTLED
            if not settled and row.um == um:
                return None
            images = _scale_of(session, row).images
            note = f"{um:g} um/px for {_setup(row)}, estimated from {images} images"
            what = "scale settled" if settled else "scale estimated"
            return _change(session, row, um, now, "colonywatch", what, note, reopens=reopens)

    def checked(self, scale_id: int, looks_like_um: float | None) -> None:
        """What images say that were asked afterwards; None: that the scale is right."""
        with self._database.writing(durable=False) as session:
            row = session.get(ScaleRow, scale_id)
            if row is not None:
                row.looks_like_um = looks_like_um

    def set(self, scale_id: int, um: float, who: str, now: datetime) -> ScaleChange:
        """A person says the scale. Raises UsageError where there is none of this number."""
        with self._database.writing() as session:
            row = _row(session, scale_id)
            row.state, row.set_by, row.low_um, row.high_um = ScaleState.SET, who, um, um
            _forget_checks(session, row)
            note = f"{um:g} um/px for {_setup(row)}"
            return _change(session, row, um, now, who, "scale set", note)

    def estimate_anew(self, scale_id: int, who: str, now: datetime) -> None:
        """Forget what was set or estimated; the next images say it. Until then it holds.

        Raises UsageError where there is none of this number.
        """
        with self._database.writing() as session:
            row = _row(session, scale_id)
            row.state, row.set_by, row.since = ScaleState.OPEN, None, now
            row.looks_like_um = None
            session.execute(delete(ScaleEvidenceRow).where(ScaleEvidenceRow.scale_id == row.id))
            append(
                session,
                now=now,
                who=who,
                what="scale estimated anew",
                about=f"source {row.source}",
                why=_setup(row),
                before=row.um,
            )

    def reopen(self, ids: Collection[int], now: datetime) -> list[int]:
        """Of these captures those that were measured at what is not their scale any more: let them
        be measured again. Returns them.
        """
        with self._database.writing(durable=False) as session:
            return _reopen(session, now, CaptureRow.id.in_(sorted(ids)))

    def not_measured_again(self, scale_id: int) -> int:
        """How many of its captures rest on what it was before, and do not wait either."""
        query = _outdated().where(CaptureRow.scale_id == scale_id)
        with self._database.reading() as session:
            return session.scalar(select(func.count()).select_from(query.subquery())) or 0

    def outdated(
        self, *, dish: str | None = None, sources: Collection[str] | None = None
    ) -> list[int]:
        """Measured captures that rest on what is not their scale any more."""
        query = _outdated().order_by(CaptureRow.id)
        if dish is not None:
            query = (
                query.join(ScanRow, ScanRow.id == CaptureRow.scan_id)
                .join(DishRow, DishRow.id == ScanRow.dish_id)
                .where(DishRow.name == dish)
            )
        if sources is not None:
            query = query.where(CaptureRow.source.in_(sorted(sources)))
        with self._database.reading() as session:
            return [row.id for row in session.scalars(query)]


# --- as part of writing a measurement -----------------------------------------------------------


def note_scale(
    session: Session,
    capture: CaptureRow,
    measured: FieldMeasurement,
    dish: str,
    root: Path | None,
    now: datetime,
) -> None:
    """At which scale a capture was measured, and what it says of it.

    root : of captures that belong to no source, the folder that was given
    """
    capture.assumed_um = measured.pixel_size.assumed_um
    if measured.at_scale is None or capture.assumed_um is None:
        capture.scale_id = None
        return
    row = _row_for(session, capture, measured, root, now)
    capture.scale_id = row.id
    evidence = measured.at_scale.evidence
    if evidence is None:
        return
    is_check = measured.at_scale.is_check
    session.merge(
        ScaleEvidenceRow(
            scale_id=row.id,
            capture_id=capture.id,
            dish=dish,
            at=now,
            is_check=is_check,
            detail=asdict(evidence),
        )
    )
    if is_check:
        session.flush()
        _keep_newest_checks(session, row.id)


def _row_for(
    session: Session,
    capture: CaptureRow,
    measured: FieldMeasurement,
    root: Path | None,
    now: datetime,
) -> ScaleRow:
    assert measured.at_scale is not None
    setup = Setup(measured.at_scale.magnification, measured.shape)
    known = session.scalars(
        select(ScaleRow)
        .where(ScaleRow.source == capture.source, ScaleRow.magnification == setup.magnification)
        .order_by(ScaleRow.id)
    ).all()
    alike = [
        row
        for row in known
        if setup.is_like(Setup(row.magnification, (row.rows, row.columns)))
        and (row.place is None or _lies_in(capture.path, row.place))
    ]
    if alike:
        return max(alike, key=lambda row: len(row.place.parts) if row.place is not None else 0)
    um = measured.pixel_size.assumed_um or 0.0
    place = None
    if capture.source == UNLISTED:
        inside = root is not None and _lies_in(capture.path, root)
        place = root if inside else capture.path.parent
    row = ScaleRow(
        source=capture.source,
        place=place,
        magnification=setup.magnification,
        rows=setup.shape[0],
        columns=setup.shape[1],
        um=um,
        low_um=um,
        high_um=um,
        state=ScaleState.OPEN,
        since=now,
    )
    session.add(row)
    session.flush()
    return row


def _keep_newest_checks(session: Session, scale_id: int) -> None:
    old = session.scalars(
        select(ScaleEvidenceRow)
        .where(ScaleEvidenceRow.scale_id == scale_id, ScaleEvidenceRow.is_check)
        .order_by(ScaleEvidenceRow.at.desc(), ScaleEvidenceRow.capture_id.desc())
        .offset(KEPT_CHECKS)
    ).all()
    for row in old:
        session.delete(row)


# --- rows and values ----------------------------------------------------------------------------


def _lies_in(path: Path, folder: Path) -> bool:
    return path.is_relative_to(folder)


def _setup(row: ScaleRow) -> str:
    return f"{row.columns} x {row.rows} px" + (
        f" at {row.magnification}" if row.magnification else ""
    )


def _row(session: Session, scale_id: int) -> ScaleRow:
    row = session.get(ScaleRow, scale_id)
    if row is None:
        raise UsageError(f"there is no scale {scale_id}; colonywatch scale lists them")
    return row


def _scale_of(session: Session, row: ScaleRow) -> AssumedScale:
    images, dishes = session.execute(
        select(func.count(), func.count(ScaleEvidenceRow.dish.distinct())).where(
            ScaleEvidenceRow.scale_id == row.id, ~ScaleEvidenceRow.is_check
        )
    ).one()
    return AssumedScale(
        id=row.id,
        source=row.source,
        magnification=row.magnification,
        shape=(row.rows, row.columns),
        um=row.um,
        state=ScaleState(row.state),
        low_um=row.low_um,
        high_um=row.high_um,
        images=images,
        dishes=dishes,
        since=row.since,
        place=row.place,
        set_by=row.set_by,
        looks_like_um=row.looks_like_um,
    )


def _evidence(session: Session, scale_id: int, *, checks: bool) -> list[ScaleEvidence]:
    rows = session.scalars(
        select(ScaleEvidenceRow.detail)
        .where(ScaleEvidenceRow.scale_id == scale_id, ScaleEvidenceRow.is_check.is_(checks))
        .order_by(ScaleEvidenceRow.capture_id)
    )
    return [ScaleEvidence(tuple(one["doubts"]), one["side_px"], one["grain_px"]) for one in rows]


def _in_use(session: Session, row: ScaleRow, capture_id: int, dish: str) -> ScaleInUse:
    evidence: tuple[ScaleEvidence, ...] | None = None
    is_settled = row.state == ScaleState.SETTLED
    if row.state == ScaleState.OPEN:
        counted = session.execute(
            select(ScaleEvidenceRow.capture_id, ScaleEvidenceRow.dish).where(
                ScaleEvidenceRow.scale_id == row.id, ~ScaleEvidenceRow.is_check
            )
        ).all()
        of_dish = sum(one == dish for _, one in counted)
        if (
            len(counted) < OF_A_SCALE
            and of_dish < OF_A_DISH
            and all(one != capture_id for one, _ in counted)
        ):
            evidence = tuple(_evidence(session, row.id, checks=False))
    return ScaleInUse(
        row.magnification,
        (row.rows, row.columns),
        row.um,
        evidence,
        is_set=row.state == ScaleState.SET,
        is_checked=is_settled and capture_id % CHECKED_EVERY == 0,
    )


def _change(
    session: Session,
    row: ScaleRow,
    um: float,
    now: datetime,
    who: str,
    what: str,
    note: str,
    *,
    reopens: bool = True,
) -> ScaleChange:
    before, row.um, row.since = row.um, um, now
    append(
        session, now=now, who=who, what=what, about=f"source {row.source}", why=note,
        before=before, after=um,
    )  # fmt: skip
    session.flush()
    reopened = _reopen(session, now, CaptureRow.scale_id == row.id) if reopens else []
    return ScaleChange(_scale_of(session, row), before, tuple(reopened))


def _forget_checks(session: Session, row: ScaleRow) -> None:
    row.looks_like_um = None
    session.execute(
        delete(ScaleEvidenceRow).where(
            ScaleEvidenceRow.scale_id == row.id, ScaleEvidenceRow.is_check
        )
    )


def _outdated() -> Select[CaptureRow]:
    return (
        select(CaptureRow)
        .join(ScaleRow, ScaleRow.id == CaptureRow.scale_id)
        .where(
            CaptureRow.state.in_(_HELD),
            CaptureRow.scan_id.is_not(None),
            CaptureRow.assumed_um != ScaleRow.um,
        )
    )


def _reopen(session: Session, now: datetime, which: ColumnElement[bool]) -> list[int]:
    found: Sequence[CaptureRow] = session.scalars(_outdated().where(which)).all()
    for row in found:
        wait_again(session, row, now)
        row.crashes = 0
    return [row.id for row in found]
