"""The fields of a scan put together: what it says as a whole, and which colony is which."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import pi, prod
from pathlib import Path

from monitor.config import SourceConfig, SourceSettings
from monitor.culture import (
    Calibration,
    ColonyScan,
    FieldMeasurement,
    NewReading,
    PixelSizeSource,
    ScanField,
    Tracking,
)
from monitor.errors import CalibrationError
from monitor.scans.comparison import carry, compare
from monitor.scans.mosaic import FieldPlace, Mosaic, lay_out
from monitor.scans.summary import sum_up
from monitor.scans.tracking import follow
from monitor.segmentation.colonies import MIN_COLONY_UM2
from monitor.segmentation.label_maps import read_label_map
from monitor.stage.calibration import why_other_pixels
from monitor.stage.frames import Affine, field_to_stage
from monitor.stage.vessels import Vessel


@dataclass(frozen=True, eq=False)
class AssembledScan:
    """A scan's fields put together once: before the transaction, which is then a short one.

    reading, mosaic : None where the scan has no fields
    """

    fields: tuple[ScanField, ...]
    mosaic: Mosaic | None = None
    reading: NewReading | None = None

    @property
    def pixels(self) -> int:
        return sum(prod(field.measurement.shape) for field in self.fields)

    def is_of(self, fields: Sequence[ScanField]) -> bool:
        """Are these its fields, or has one come in between?"""
        return _identity(fields) == _identity(self.fields)

    def follow(self, before: ColonyScan | None, next_number: int) -> ColonyScan | None:
        """Its colonies by their numbers; None where these are not known.

        before : those of the scan before it; next_number : for the next colony that is new
        """
        mosaic = self.mosaic
        if mosaic is None or mosaic.colonies is None:
            return None
        known = before or ColonyScan(Tracking(()))
        found = compare(known.maps, mosaic.maps)
        following = follow(
            known.following.colonies, mosaic.colonies, found.shared, found.sizes, next_number
        )
        maps = carry(known.maps, mosaic.maps, dict(following.kept), found.shifts)
        return ColonyScan(following, maps)


def assemble(
    fields: Sequence[ScanField],
    settings: SourceSettings,
    camera: Calibration | None,
    state_folder: Path,
) -> AssembledScan:
    """Put a scan's fields together, by their places on the stage where these are known.

    camera : how the camera stands on the stage; None = not known
    """
    if not fields:
        return AssembledScan(())
    mosaic = lay_out(
        [
            FieldPlace(
                field.field or field.capture_name if len(fields) > 1 else "",
                field.measurement,
                None if camera is None else _to_stage(field.measurement, camera, settings),
            )
            for field in fields
        ],
        lambda measured: read_label_map(state_folder, measured),
        min_area_um2=MIN_COLONY_UM2,
    )
    return AssembledScan(tuple(fields), mosaic, _new_reading(fields, mosaic, settings))


def _new_reading(
    fields: Sequence[ScanField], mosaic: Mosaic, settings: SourceSettings
) -> NewReading:
    measured = [field.measurement for field in fields]
    summary = sum_up(
        measured,
        areas=mosaic.areas,
        colonies=mosaic.colonies,
        joined=mosaic.joined,
        vessel_um2=_vessel_um2(settings, measured),
    )
    return NewReading(
        **vars(summary),
        model_sha256=measured[0].model_sha256,
        settings_sha256=_common_hash({field.settings_sha256 for field in measured}),
        runner=", ".join(sorted({field.runner for field in measured if field.runner}))[:80],
    )


def _identity(fields: Sequence[ScanField]) -> list[tuple[object, ...]]:
    return [
        (field.capture_sha256, one.label_map, one.settings_sha256, one.acquired_at, one.doubts)
        for field in fields
        for one in [field.measurement]
    ]


def _to_stage(
    measured: FieldMeasurement, camera: Calibration, settings: SourceSettings
) -> Affine | None:
    size, stage = measured.pixel_size_um, measured.stage
    if size is None or stage is None or why_other_pixels(camera, settings, size) is not None:
        return None
    try:
        return field_to_stage(
            shape=measured.shape,
            pixel_size_um=size,
            pixel_to_stage=camera.pixel_to_stage,
            centre=stage,
        )
    except CalibrationError:
        return None


def _vessel_um2(settings: SourceSettings, fields: Sequence[FieldMeasurement]) -> float | None:
    """Area of the bottom of the vessel; None where nobody has said what the cells live in."""
    if isinstance(settings, SourceConfig) and settings.vessel is not None:
        return Vessel(settings.vessel).area_um2
    if isinstance(settings, SourceConfig) and settings.well_diameter_mm is not None:
        return pi / 4 * (1000 * settings.well_diameter_mm) ** 2
    if len(fields) == 1 and fields[0].pixel_size.source is PixelSizeSource.WELL:
        # The picture shows the well whole; its scale was taken from that.
        size = fields[0].pixel_size_um or 0.0
        return fields[0].areas.imaged_px * size**2
    return None


def _common_hash(hashes: Collection[str]) -> str:
    """The fields' settings; where they were changed between two fields, a hash of all of them."""
    if len(hashes) == 1:
        return next(iter(hashes))
    return hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest()
