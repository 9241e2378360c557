"""The fields of a scan: what was measured of its captures, and which of them count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session, joinedload

from monitor.culture import CaptureState, FieldAreas, ScanField, place_of
from monitor.culture.field_files import (
    ANOTHER_PICTURE,
    FieldChoice,
    FieldFile,
    one_of_each,
    told_apart,
)
from monitor.record.capture_states import wait_again
from monitor.record.leaving import FILLED_TWICE, OTHER_COUNTS, SET_ASIDE
from monitor.record.measurements import measurement_of
from monitor.record.session_cache import remembered
from monitor.record.sightings import is_overwritten
from monitor.record.tables import CaptureRow, MeasurementRow, ReadingMeasurementRow

_READABLE = (CaptureState.MEASURED, CaptureState.RECORDED)
Measured = Sequence[tuple[MeasurementRow, CaptureRow]]
RESTED_ON = (
    select(MeasurementRow, CaptureRow)
    .join(ReadingMeasurementRow, ReadingMeasurementRow.measurement_id == MeasurementRow.id)
    .join(CaptureRow, CaptureRow.id == MeasurementRow.capture_id)
    .where(ReadingMeasurementRow.reading_id == bindparam("reading"))
    .order_by(MeasurementRow.differentiated_px.desc(), CaptureRow.name, CaptureRow.id)
    .options(joinedload(MeasurementRow.analysis), joinedload(CaptureRow.folder))
)
_MEASURED = (
    select(MeasurementRow, CaptureRow)
    .join(CaptureRow, CaptureRow.id == MeasurementRow.capture_id)
    .where(CaptureRow.scan_id.in_(bindparam("scans", expanding=True)))
    .order_by(CaptureRow.first_seen_at, CaptureRow.id, MeasurementRow.id)
    .options(joinedload(MeasurementRow.analysis), joinedload(CaptureRow.folder))
)


def fetch_measured(session: Session, scan_ids: Sequence[int]) -> None:
    """As `measured_of`, asked for in one go."""
    measured = session.execute(_MEASURED, {"scans": scan_ids}).all()
    for scan_id in scan_ids:
        rows = [(one, capture) for one, capture in measured if capture.scan_id == scan_id]
        remembered(session)[_MEASURED, scan_id] = rows


def measured_of(session: Session, scan_id: int) -> Measured:
    """All that was ever measured of the scan."""
    known, key = remembered(session), (_MEASURED, scan_id)
    found: Measured | None = known.get(key)
    if found is None:
        rows = session.execute(_MEASURED, {"scans": [scan_id]})
        found = known[key] = [(measurement, capture) for measurement, capture in rows]
    return found


def choices_of(session: Session, measured: Measured) -> list[FieldChoice]:
    """Of each field the file that counts, whatever model measured it."""
    files = {}
    paths = {capture.id: capture.path for _, capture in measured}
    held = Counter(paths.values())
    for measurement, capture in measured:
        if capture.state not in (*_READABLE, CaptureState.WAITING, CaptureState.WORKING) and not (
            capture.state == CaptureState.UNREADABLE and capture.reason in SET_ASIDE
        ):
            continue
        detail = measurement.detail
        files[capture.id] = FieldFile(
            number=capture.id,
            path=paths[capture.id],
            field=capture.field,
            areas=FieldAreas(
                measurement.background_px,
                measurement.undifferentiated_px,
                measurement.differentiated_px,
            ),
            channel=capture.channel,
            plane=capture.plane,
            projection=capture.projection,
            knows_scale=detail["pixel_size_from"] in ("metadata", "sidecar"),
            knows_place=measurement.stage_x_um is not None,
            fingerprint=capture.fingerprint,
            in_transmitted_light=detail.get("in_transmitted_light", False),
            lies_there=held[paths[capture.id]] == 1 or not is_overwritten(session, capture),
        )
    return one_of_each(list(files.values()))


def latest_of(
    rows: Measured, choices: Sequence[FieldChoice]
) -> list[tuple[MeasurementRow, CaptureRow]]:
    """Of the captures that count what was measured last, under the model used last.

    Not by the number alone: under settings that were changed and changed back, a measurement of
    before is the last one again.
    """
    if not rows:
        return []
    by_use = sorted(rows, key=lambda row: (row[0].created_at, row[0].id))
    model = by_use[-1][0].analysis.model_sha256
    order = {choice.file.number: place for place, choice in enumerate(choices)}
    found = {
        order[capture.id]: (measurement, capture)
        for measurement, capture in by_use
        if capture.id in order and measurement.analysis.model_sha256 == model
    }
    return [found[place] for place in sorted(found)]


def _doubts_of(choices: Sequence[FieldChoice]) -> dict[int, tuple[str, ...]]:
    """Doubts that lie in the scan, by the capture that counts."""
    return {choice.file.number: choice.doubts for choice in choices if choice.doubts}


def finish_others(
    session: Session,
    measured: Measured,
    rows: Measured,
    choices: Sequence[FieldChoice],
    now: datetime,
) -> tuple[str, ...]:
    """Captures of the scan that the reading does not hold: replaced ones, files for which another
    counts, or such of a former model.

    Those of a former model wait to be measured again. Where that fails they stay as they are.
    Returns what was set aside, as sentences.
    """
    held = {capture.id for _, capture in rows}
    counting = {choice.file.number for choice in choices}
    instead = {file.number: (choice.file, why) for choice in choices for file, why in choice.others}
    said = []
    for capture in {capture.id: capture for _, capture in measured}.values():
        if capture.id in held or capture.state not in _READABLE:
            continue
        if capture.id in counting:
            wait_again(session, capture, now)
            continue
        counts = instead.get(capture.id)
        if counts is None:
            capture.state = CaptureState.RECORDED  # was written over
            continue
        file, why = counts
        shown, shown_other = told_apart(capture.path, file.path)
        message = f"{shown}: {shown_other} counts for its field in its place (this is {why})"
        is_other = why == ANOTHER_PICTURE
        capture.state, capture.finished_at = CaptureState.UNREADABLE, now
        capture.reason = FILLED_TWICE if is_other else OTHER_COUNTS
        capture.message = message
        said.append(message)
    return tuple(said)


def fields_rested_on(session: Session, reading_id: int) -> list[ScanField]:
    """The fields that a reading rests on, with the most differentiated first."""
    rows = session.execute(RESTED_ON, {"reading": reading_id})
    return [_scan_field(measurement, capture) for measurement, capture in rows]


def scan_fields(session: Session, measured: Measured) -> tuple[ScanField, ...]:
    choices = choices_of(session, measured)
    return in_place(latest_of(measured, choices), choices)


def in_place(rows: Measured, choices: Sequence[FieldChoice]) -> tuple[ScanField, ...]:
    doubts = _doubts_of(choices)
    fields = [_scan_field(one, capture, doubts.get(capture.id, ())) for one, capture in rows]
    return tuple(sorted(fields, key=place_of))


def _scan_field(
    measurement: MeasurementRow, capture: CaptureRow, doubts: Sequence[str] = ()
) -> ScanField:
    """doubts : that lie in its scan, not in the picture"""
    measured = measurement_of(measurement, capture)
    if doubts:
        measured = replace(measured, doubts=(*measured.doubts, *doubts))
    return ScanField(
        capture_sha256=capture.sha256 or "",
        capture_name=capture.name.name,
        source=capture.source,
        measurement=measured,
        field=capture.field or "",
    )
