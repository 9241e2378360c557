"""How the camera stands on the stage, and the stage before the picker."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class CalibrationKind(StrEnum):
    CAMERA = "camera"  # image pixels -> stage um
    PICKER = "picker"  # stage um -> picker um


@dataclass(frozen=True)
class Calibration:
    """How one frame lies in another, fitted from taught points.

    matrix : 2 x 3, the last column a shift. Camera: (column, row) in pixels -> (x, y) in um;
        only its left 2 x 2 part is used, since each capture says where its centre stands.
        Picker: stage (x, y) in um -> picker (x, y) in um
    pixel_size_um, binning : camera: what `matrix` was taught with. None: `matrix` counts in pixels
        on both sides, and any pixel size goes with it
    max_age_days : None = does not grow old
    points : the taught points, four numbers each: row, column, x, y or x, y, picker x, picker y
    """

    id: str
    kind: CalibrationKind
    source: str
    matrix: tuple[tuple[float, float, float], tuple[float, float, float]]
    made_at: datetime | None = None
    made_by: str | None = None
    objective: str | None = None
    pixel_size_um: float | None = None
    binning: int = 1
    max_age_days: float | None = None
    rms_um: float | None = None
    residuals_um: tuple[float, ...] = ()
    points: tuple[tuple[float, float, float, float], ...] = ()

    @property
    def pixel_to_stage(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Of a camera: (column, row) step -> (x, y) step, both in pixels."""
        (a, b, _), (c, d, _) = self.matrix
        unit = self.pixel_size_um or 1.0
        return (a / unit, b / unit), (c / unit, d / unit)

    @property
    def mirrored(self) -> bool:
        """One of the two frames is the other's mirror image."""
        (a, b, _), (c, d, _) = self.matrix
        return a * d - b * c < 0
