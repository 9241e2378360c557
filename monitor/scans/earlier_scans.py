"""What earlier scans of a dish show: asked when a later one is decided on.

Label maps are large and lie on disks that may be slow. They are read before the transaction in
which a scan is decided on, so that nobody waits for them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from monitor.config import Config, DifferentiationConfig
from monitor.culture import (
    Aim,
    Calibration,
    FieldMeasurement,
    Reading,
    RemovalPlan,
    Ring,
    ScanFacts,
    ScanField,
)
from monitor.decisions.removal import EarlierField
from monitor.decisions.status import can_be_judged
from monitor.record.store import Store
from monitor.scans.registration import STEP_UM, register
from monitor.segmentation.label_maps import read_label_map
from monitor.segmentation.laying import lay_hits
from monitor.segmentation.request import EarlierCapture
from monitor.segmentation.uncertainty_maps import read_doubts, read_sure_labels
from monitor.stage.calibration import why_other_pixels

log = logging.getLogger(__name__)

_Labels = NDArray[np.uint8]
# Simulated dishes 12 h apart: 0.65 at least; two dishes: 0.38 at most.
_ALIKE = 0.4
# Scans in a row that cannot be judged and are looked past.
_PASSED_OVER = 12


class LookingBack:
    """Used by one thread."""

    def __init__(self, config: Config, store: Store) -> None:
        self._config = config
        self._store = store
        self._read: dict[tuple[str | None, bool], _Labels | None] = {}
        self._laid: dict[tuple[object, ...], tuple[Aim, ...]] = {}

    def forget(self) -> None:
        """What was read and laid so far."""
        self._read, self._laid = {}, {}

    def prepare(
        self,
        fields: Sequence[ScanField],
        dish: str | None,
        label: str = "",
        *,
        camera: Callable[[str], Calibration | None],
    ) -> None:
        """Read and work out ahead what the decision on a scan will ask for, as far as can be
        foreseen.
        """
        if dish is None or not fields:
            return
        for plan in self._store.plans.to_check(dish):
            self.labels_of([one.measurement for one in fields])
            self.labels_of(self.made_from(plan).values())
        if any(aim.points for one in fields for aim in one.measurement.aims):
            self.labels_of([one.measurement for one in fields])
            limits = self._config.decisions.limits_for(dish, fields[0].source, label)
            readings = self._store.earlier.newest_readings(
                dish,
                limit=self._config.decisions.removal.earlier_scans + _PASSED_OVER,
                before=min(one.measurement.acquired_at for one in fields),
            )
            earlier = self._scans(readings[::-1], limits)
            self.aimed_by(fields, earlier, camera(fields[0].source))

    def scans_before(
        self, facts: ScanFacts, reading: Reading, limits: DifferentiationConfig
    ) -> list[list[EarlierField]]:
        """The label maps of the dish's last scans before a reading that could be judged, newest
        first. By when they were taken, whenever they came.
        """
        return self._scans([one for one in facts.history if one.at < reading.at], limits)

    def aimed_by(
        self,
        fields: Sequence[ScanField],
        earlier: Sequence[Sequence[EarlierField]],
        camera: Calibration | None,
    ) -> list[ScanField]:
        """The captures with their hits laid by what earlier scans show.

        As they are where nothing is to be hit, where the rules ask for no earlier scans or there
        are too few, and where places or label maps are not known: what such hits rest on is asked
        once more when the plan is made.
        """
        limits = self._config.decisions.removal
        if camera is None or not limits.earlier_scans or len(earlier) < limits.earlier_scans:
            return list(fields)
        return [
            replace(one, measurement=replace(one.measurement, aims=aims))
            if (aims := self._laid_by(one, earlier[: limits.earlier_scans], camera)) is not None
            else one
            for one in fields
        ]

    def _laid_by(
        self,
        field: ScanField,
        earlier: Sequence[Sequence[EarlierField]],
        camera: Calibration,
    ) -> tuple[Aim, ...] | None:
        measured = field.measurement
        settings = next(
            (one for one in self._config.sources if one.name == field.source),
            self._config.unlisted,
        )
        if (
            measured.stage is None
            or measured.pixel_size_um is None
            or not any(aim.points for aim in measured.aims)
            or measured.aiming != self._config.decisions.removal.aiming
        ):
            return None
        scans = [
            [
                (one, labels)
                for one, labels in _placed(scan)
                if why_other_pixels(camera, settings, one.pixel_size_um) is None
            ]
            for scan in earlier
        ]
        key = (
            measured.label_map,
            *(tuple(one.measurement.label_map for one, _ in scan) for scan in scans),
            camera.pixel_to_stage,
        )
        if key not in self._laid:
            here = self.labels_of([measured])
            doubts = read_doubts(self._config.record.folder, measured)
            if not here or doubts is None or here[0].labels.shape != measured.shape:
                return None
            self._laid[key] = lay_hits(
                measured,
                here[0].labels,
                doubts,
                scans,
                camera.pixel_to_stage,
                self._config.decisions.removal,
            )
        return self._laid[key]

    def _scans(
        self, history: Sequence[Reading], limits: DifferentiationConfig
    ) -> list[list[EarlierField]]:
        wanted = self._config.decisions.removal.earlier_scans
        judged = [one for one in history if can_be_judged(one, limits)]
        return [
            self.labels_of(
                [one.measurement for one in self._store.dishes.scan_fields(reading.id)], sure=True
            )
            for reading in reversed(judged[-wanted:] if wanted else [])
        ]

    def labels_of(
        self, measured: Collection[FieldMeasurement], *, sure: bool = False
    ) -> list[EarlierField]:
        """Those whose label map is there.

        sure : what may be undifferentiated after all is shown as that
        """
        folder = self._config.record.folder
        limit = self._config.decisions.removal.max_undifferentiated
        fields = []
        for one in measured:
            key = one.label_map, sure
            if key not in self._read:
                self._read[key] = (
                    read_sure_labels(folder, one, limit) if sure else read_label_map(folder, one)
                )
            labels = self._read[key]
            if labels is not None:
                fields.append(EarlierField(one, labels))
        return fields

    def made_from(self, plan: RemovalPlan) -> dict[str, FieldMeasurement]:
        """The captures that a plan was made from, by SHA-256."""
        return {
            one.capture_sha256: one.measurement
            for one in self._store.dishes.scan_fields(plan.reading_id)
        }

    def shift_since(
        self,
        plan: RemovalPlan,
        made_from: Mapping[str, FieldMeasurement],
        fields: Sequence[EarlierField],
        camera: Calibration | None,
    ) -> tuple[float, float] | None:
        """How far the dish lies from where it lay when the plan was made, um on the stage; None
        where it lies too far off, or looks like another one.
        """
        limit_um = self._config.decisions.verification.most_shift_um
        if camera is None or not limit_um:
            return 0.0, 0.0
        outlines: dict[str, list[tuple[Ring, ...]]] = {}
        for target in plan.targets:
            outlines.setdefault(target.capture_sha256, []).append(
                (target.polygon_px, *target.holes_px)
            )
        before = [
            (capture, labels, outlines.get(sha256, []))
            for sha256, measured in made_from.items()
            for capture, labels in _placed(self.labels_of([measured]))
        ]
        found = register(
            before, _placed(fields), camera.pixel_to_stage, reach_um=2 * limit_um + STEP_UM
        )
        if found is None:
            return 0.0, 0.0
        log.info(
            "plan=%s: the dish lies %.0f um from where it lay (likeness %.2f)",
            plan.id, found.length_um, found.likeness,
        )  # fmt: skip
        if found.length_um > limit_um or found.likeness < _ALIKE:
            return None
        return found.shift_um

    def moved_since(
        self,
        earlier: Sequence[Sequence[EarlierField]],
        fields: Sequence[EarlierField],
        camera: Calibration | None,
    ) -> float | None:
        """How far the dish was moved between earlier scans and `fields`, um; None where that is no
        more than the margins of the hits allow for, or cannot be told.

        Asked before hits are believed that earlier scans allow: of a dish that was put back
        elsewhere they show other cells at the same place of the stage.
        """
        verification = self._config.decisions.verification
        if camera is None or not verification.most_shift_um:
            return None
        aiming = self._config.decisions.removal.aiming
        allowed_um = aiming.positional_error_um + aiming.border_um
        reach_um = 2 * max(verification.most_shift_um, allowed_um) + STEP_UM
        for scan in earlier:
            before = [(capture, labels, ()) for capture, labels in _placed(scan)]
            found = register(before, _placed(fields), camera.pixel_to_stage, reach_um=reach_um)
            if found is None or found.likeness < _ALIKE:
                continue
            if found.length_um > allowed_um:
                return found.length_um
        return None


def _placed(fields: Sequence[EarlierField]) -> list[tuple[EarlierCapture, _Labels]]:
    return [
        (EarlierCapture(one.measurement, one.measurement.stage, one.measurement.pixel_size_um),
         one.labels)
        for one in fields
        if one.measurement.stage is not None and one.measurement.pixel_size_um
    ]  # fmt: skip
