"""What was measured of a capture, as a row and as a value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from monitor.culture import (
    DATED_AHEAD,
    DATED_LONG_AGO,
    Aim,
    AimPoint,
    Colony,
    FieldAreas,
    FieldMeasurement,
    PixelSize,
    PixelSizeSource,
    Region,
    Ring,
    StagePosition,
    Targeting,
    ToolKind,
)
from monitor.record.doubt_documents import doubt_document, doubt_of
from monitor.record.files import analysis_of
from monitor.record.tables import AnalysisRow, CaptureRow, MeasurementRow

# Decimals of what is recorded of colonies, regions and aims: more than a segmentation knows.
_PLACES = {"centroid": 1, "polygon": 1, "holes": 1, "mean_probability": 4, "uncertainty": 4}
_OTHER_PLACES = 2
# No imager that writes files is older; a clock whose battery is empty begins before.
_OLDEST = datetime(1990, 1, 1, tzinfo=UTC)


def is_misdated(acquired_at: datetime, first_seen_at: datetime, ahead_s: float) -> bool:
    """Can a capture not have been taken when it says, going by when it arrived?"""
    return acquired_at < _OLDEST or acquired_at > first_seen_at + timedelta(seconds=ahead_s)


def doubts_on_date(capture: CaptureRow) -> tuple[str, ...]:
    if not capture.is_misdated or capture.acquired_at is None:
        return ()
    return (DATED_LONG_AGO if capture.acquired_at < _OLDEST else DATED_AHEAD,)


def _pixel_size(row: MeasurementRow) -> PixelSize:
    if row.pixel_size_um is None:
        return PixelSize().or_assumed(row.assumed_um or None)
    source = row.detail["pixel_size_from"]
    return PixelSize(row.pixel_size_um, None if source is None else PixelSizeSource(source))


def measurement_of(row: MeasurementRow, capture: CaptureRow) -> FieldMeasurement:
    """The row as a value of the field."""
    detail = row.detail
    stage = (
        StagePosition(row.stage_x_um, row.stage_y_um or 0.0, row.stage_z_um)
        if row.stage_x_um is not None
        else None
    )
    return FieldMeasurement(
        shape=tuple(detail["shape"]),
        areas=FieldAreas(row.background_px, row.undifferentiated_px, row.differentiated_px),
        colonies=tuple(
            Colony(
                label=one["label"],
                area_px=one["area_px"],
                differentiated_px=one["differentiated_px"],
                centroid=tuple(one["centroid"]),
                bounds=tuple(one["bounds"]),
            )
            for one in detail["colonies"]
        ),
        regions=tuple(
            Region(
                label=one["label"],
                area_px=one["area_px"],
                polygon=tuple((point[0], point[1]) for point in one["polygon"]),
                pick_point=tuple(one["pick_point"]),
                inscribed_radius_px=one["inscribed_radius_px"],
                mean_probability=one["mean_probability"],
                colony=one["colony"],
                holes=rings_of(one.get("holes", ())),
            )
            for one in detail["regions"]
        ),
        uncertainty=row.uncertainty,
        model_name=row.analysis.model_name,
        model_sha256=row.analysis.model_sha256,
        settings_sha256=row.analysis.settings_sha256,
        runner=row.analysis.runner,
        acquired_at=capture.acquired_at or row.created_at,
        acquired_at_from=detail["acquired_at_from"],
        pixel_size=_pixel_size(row),
        stage=stage,
        overlay=detail.get("overlay"),
        label_map=detail.get("label_map"),
        quality=detail["quality"],
        doubts=(*detail["doubts"], *doubts_on_date(capture)),
        took_s=detail["took_s"],
        fingerprint=capture.fingerprint,
        aims=tuple(_aim_of(one) for one in detail.get("aims", ())),
        targeting=targeting_of(detail.get("aiming")),
        beside=row.beside,
        in_transmitted_light=detail.get("in_transmitted_light", False),
        doubt=doubt_of(detail.get("doubt")),
    )


def _aim_of(detail: dict[str, Any]) -> Aim:
    """An aim as it stands in a measurement's document."""
    return Aim(
        **{
            **detail,
            "polygon": points_of(detail["polygon"]),
            "holes": rings_of(detail.get("holes", ())),
            "points": tuple(AimPoint(**one) for one in detail["points"]),
        }
    )


def targeting_of(detail: dict[str, Any] | None) -> Targeting | None:
    return None if detail is None else Targeting(**{**detail, "kind": ToolKind(detail["kind"])})


def rings_of(detail: Iterable[list[list[float]]]) -> tuple[Ring, ...]:
    """Outlines as they stand in a document."""
    return tuple(points_of(ring) for ring in detail)


def points_of(detail: list[list[float]]) -> Ring:
    """An outline as it stands in a document."""
    return tuple((row, column) for row, column in detail)


def _rests_on(session: Session, measured: FieldMeasurement) -> AnalysisRow:
    return analysis_of(
        session,
        measured.model_sha256,
        measured.settings_sha256,
        measured.model_name,
        measured.runner,
    )


def store_measurement(
    session: Session, capture_id: int, measured: FieldMeasurement, now: datetime, *, again: bool
) -> None:
    analysis = _rests_on(session, measured)
    assumed_um = measured.pixel_size.assumed_um or 0.0
    row = None
    if again:
        row = session.scalar(
            select(MeasurementRow).where(
                MeasurementRow.capture_id == capture_id,
                MeasurementRow.analysis_id == analysis.id,
                MeasurementRow.beside == measured.beside,
                MeasurementRow.assumed_um == assumed_um,
            )
        )
    if row is not None:
        # The same bytes under the same model and settings, with the same beside them, say the
        # same; but it is the model in use now, and a reading rests on the one used last.
        row.created_at = now
        return
    source = measured.pixel_size.source
    detail: dict[str, Any] = {
        "shape": measured.shape,
        "colonies": [_short(vars(colony)) for colony in measured.colonies],
        "regions": [_short(vars(region)) for region in measured.regions],
        "acquired_at_from": measured.acquired_at_from,
        "pixel_size_from": None if source is None else source.value,
        "quality": measured.quality,
        "doubts": measured.doubts,
        "took_s": round(measured.took_s, 3),
        "aims": [_short(asdict(aim)) for aim in measured.aims],
        "aiming": None if measured.targeting is None else asdict(measured.targeting),
        "overlay": measured.overlay,
        "label_map": measured.label_map,
        "in_transmitted_light": measured.in_transmitted_light,
    }
    doubt = doubt_document(measured.doubt)
    if doubt is not None:
        detail["doubt"] = doubt
    stage = measured.stage
    session.add(
        MeasurementRow(
            capture_id=capture_id,
            analysis_id=analysis.id,
            background_px=measured.areas.background_px,
            undifferentiated_px=measured.areas.undifferentiated_px,
            differentiated_px=measured.areas.differentiated_px,
            pixel_size_um=measured.pixel_size_um,
            stage_x_um=stage.x_um if stage else None,
            stage_y_um=stage.y_um if stage else None,
            stage_z_um=stage.z_um if stage else None,
            uncertainty=measured.uncertainty,
            beside=measured.beside,
            assumed_um=assumed_um,
            detail=detail,
            created_at=now,
        )
    )


def _short(node: Any, key: str = "") -> Any:
    """Its numbers to as many decimals as are recorded of them."""
    if isinstance(node, float):
        return round(node, _PLACES.get(key, _OTHER_PLACES))
    if isinstance(node, dict):
        return {inner: _short(value, inner) for inner, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_short(one, key) for one in node]
    return node
