"""How far a dish was shifted between two scans that are looked at beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from monitor.config import Config
from monitor.culture import ScanField, StagePosition
from monitor.host.clock import utc_now
from monitor.jobs.calibration_in_use import CalibrationsNow
from monitor.outlets.viewing.canvas import Shift
from monitor.record.store import Store
from monitor.scans.registration import register
from monitor.segmentation.label_maps import read_label_map
from monitor.stage.frames import Matrix
from monitor.stage.labelled_field import LabelledField

REACH_UM = 1500.0
# Below it two scans show hardly the same cells; see `scans.earlier_scans`.
ALIKE = 0.4
_FIELDS = 6
_STRAIGHT: Matrix = ((1.0, 0.0), (0.0, 1.0))


def shift_between(
    first: int, second: int, field: str | None, store: Store, config: Config
) -> Shift | None:
    """The shift between the scans of two readings, by their cells; None where it cannot be told.

    field : of one field alone, by its name; its place on the stage need not be known
    """
    before, after = (_fields_of(store, reading, field) for reading in (first, second))
    if not before or not after:
        return None
    camera = CalibrationsNow(config, store, utc_now()).of(before[0].source).camera
    matrix: Matrix = _STRAIGHT if camera is None else camera.pixel_to_stage
    is_placed = camera is not None and all(
        one.measurement.stage is not None for one in (*before, *after)
    )
    if not is_placed:
        if len(before) > 1 or len(after) > 1:
            return None
        matrix = _STRAIGHT
        before, after = ([_in_the_middle(one) for one in fields] for fields in (before, after))
    some = sorted(before, key=lambda one: -one.measurement.areas.cells_px)[:_FIELDS]
    found = register(
        [(one, ()) for one in _labelled(some, config)],
        _labelled(_near(after, some), config),
        matrix,
        reach_um=REACH_UM,
    )
    if found is None or found.likeness < ALIKE:
        return None
    across, down = np.linalg.solve(np.asarray(matrix, np.float64), np.asarray(found.shift_um))
    return Shift(float(across), float(down), found.likeness)


def _fields_of(store: Store, reading: int, field: str | None) -> list[ScanField]:
    fields = store.scans.scan_fields(reading)
    return [one for one in fields if field is None or field in (one.field, one.capture_name)]


def _in_the_middle(field: ScanField) -> ScanField:
    """As if taken where all are: of one field the camera's own shift is all that counts."""
    return replace(field, measurement=replace(field.measurement, stage=StagePosition(0.0, 0.0)))


def _near(fields: Sequence[ScanField], others: Sequence[ScanField]) -> list[ScanField]:
    """Those that could show something of the others after any shift within reach."""
    found = []
    for one in fields:
        stage, size = one.measurement.stage, one.measurement.pixel_size_um
        if stage is None or size is None:
            continue
        reach = REACH_UM + max(one.measurement.shape) * size * 1.5
        if any(
            other.measurement.stage is not None
            and abs(other.measurement.stage.x_um - stage.x_um) < reach
            and abs(other.measurement.stage.y_um - stage.y_um) < reach
            for other in others
        ):
            found.append(one)
    return found


def _labelled(fields: Sequence[ScanField], config: Config) -> list[LabelledField]:
    found = []
    for one in fields:
        labels = read_label_map(config.record.folder, one.measurement)
        if labels is not None:
            found.append(LabelledField(one.measurement, labels))
    return found
