"""What earlier scans of a dish show: gathered before a later one is decided on.

Label maps are large and lie on disks that may be slow. They are read before the transaction in
which a scan is decided on, so that nobody waits for them: `look`, then `evidence` inside it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from monitor.config import Config
from monitor.culture import (
    Aim,
    Basis,
    Calibration,
    FieldMeasurement,
    PickedPlan,
    RemovalPlan,
    Ring,
    ScanField,
)
from monitor.decisions.evidence import Calibrations, CheckEvidence, Evidence, PlanEvidence
from monitor.scans.registration import STEP_UM, register
from monitor.segmentation.label_maps import read_label_map
from monitor.segmentation.laying import lay_hits
from monitor.segmentation.uncertainty_maps import read_doubts, read_sure_labels
from monitor.stage.calibration import why_other_pixels
from monitor.stage.labelled_field import LabelledField

log = logging.getLogger(__name__)

_Labels = NDArray[np.uint8]
_Key = tuple[object, ...]
# Simulated dishes 12 h apart: 0.65 at least; two dishes: 0.38 at most.
_ALIKE = 0.4


class EarlierScans:
    """Used by one thread. What was seen is known by the captures that show it, so that it also
    serves a decision that is begun anew, and none that looks at others.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._read: dict[tuple[str | None, bool], _Labels | None] = {}
        self._laid: dict[_Key, tuple[Aim, ...]] = {}
        self._plans: dict[_Key, PlanEvidence | None] = {}
        self._checks: dict[_Key, CheckEvidence | None] = {}

    def forget(self) -> None:
        """What was read and seen so far."""
        self._read, self._laid, self._plans, self._checks = {}, {}, {}, {}

    def look(self, basis: Basis, calibrations: Calibrations) -> None:
        """Read and work out all that a decision on this basis needs. A fault is said, and then
        nothing was seen: the reading and its alert matter more.
        """
        camera = calibrations.camera
        if basis.planned and (key := _plan_key(basis, camera)) not in self._plans:
            try:
                self._plans[key] = self._plan_evidence(basis, camera)
            except Exception:
                log.exception("dish=%s: no removal plan: unexpected error", basis.dish)
                self._plans[key] = None
        for picked in basis.picked:
            key = _check_key(basis, picked, camera)
            if key in self._checks:
                continue
            try:
                self._checks[key] = self._check_evidence(basis, picked, camera)
            except Exception:
                log.exception(
                    "dish=%s: what was picked is not checked: unexpected error", basis.dish
                )
                self._checks[key] = None

    def evidence(self, basis: Basis, calibrations: Calibrations) -> Evidence | None:
        """What was seen; None where not all that the basis names was looked at."""
        camera, plan = calibrations.camera, None
        if basis.planned:
            key = _plan_key(basis, camera)
            if key in self._plans:
                plan = self._plans[key]
            elif any(one.measurement.aims for one in basis.planned):
                return None
            else:
                plan = PlanEvidence(basis.planned, [])  # no picture is asked
        checks = []
        for picked in basis.picked:
            key = _check_key(basis, picked, camera)
            if key not in self._checks:
                return None
            seen = self._checks[key]
            if seen is not None:
                # The same pictures, and what is known of its regions by now.
                checks.append(replace(seen, plan=picked.plan))
        return Evidence(calibrations, plan, tuple(checks), basis.on_record)

    # --- for a plan ----------------------------------------------------------------------------

    def _plan_evidence(self, basis: Basis, camera: Calibration | None) -> PlanEvidence:
        earlier = [
            self._labels_of([one.measurement for one in fields], sure=True)
            for fields in basis.earlier
        ]
        moved_um = self._moved_um(basis.planned, earlier, camera)
        fields = self._aimed_by(basis.planned, earlier, camera) if moved_um is None else []
        return PlanEvidence(fields, earlier, moved_um)

    def _moved_um(
        self,
        planned: Sequence[ScanField],
        earlier: Sequence[Sequence[LabelledField]],
        camera: Calibration | None,
    ) -> float | None:
        """How far off the dish was put back since a scan that its hits are laid by."""
        if not earlier or not any(aim.points for one in planned for aim in one.measurement.aims):
            return None
        # In an order of their own: sums in another one may differ in the last digit.
        ordered = sorted(planned, key=lambda one: one.capture_sha256)
        return self._moved_since(
            earlier, self._labels_of([one.measurement for one in ordered]), camera
        )

    def _aimed_by(
        self,
        fields: Sequence[ScanField],
        earlier: Sequence[Sequence[LabelledField]],
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
        earlier: Sequence[Sequence[LabelledField]],
        camera: Calibration,
    ) -> tuple[Aim, ...] | None:
        measured = field.measurement
        settings = self._config.settings_of(field.source)
        if (
            measured.stage is None
            or measured.pixel_size_um is None
            or not any(aim.points for aim in measured.aims)
            or measured.targeting != self._config.decisions.removal.targeting
        ):
            return None
        scans = [
            [
                one
                for one in scan
                if one.measurement.stage is not None
                and (size := one.measurement.pixel_size_um)
                and why_other_pixels(camera, settings, size) is None
            ]
            for scan in earlier
        ]
        key = (
            measured.label_map,
            *(tuple(one.measurement.label_map for one in scan) for scan in scans),
            camera.pixel_to_stage,
        )
        if key not in self._laid:
            here = self._labels_of([measured])
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

    def _labels_of(
        self, measured: Collection[FieldMeasurement], *, sure: bool = False
    ) -> list[LabelledField]:
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
                fields.append(LabelledField(one, labels))
        return fields

    # --- for what was picked -------------------------------------------------------------------

    def _check_evidence(
        self, basis: Basis, picked: PickedPlan, camera: Calibration | None
    ) -> CheckEvidence:
        fields = self._labels_of([one.measurement for one in basis.shown])
        made_from = {one.capture_sha256: one.measurement for one in picked.made_from}
        shift_um = self._shift_since(picked.plan, made_from, fields, camera)
        return CheckEvidence(picked.plan, made_from, fields, shift_um)

    def _shift_since(
        self,
        plan: RemovalPlan,
        made_from: Mapping[str, FieldMeasurement],
        fields: Sequence[LabelledField],
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
            (one, outlines.get(sha256, []))
            for sha256, measured in made_from.items()
            for one in self._labels_of([measured])
        ]
        found = register(before, fields, camera.pixel_to_stage, reach_um=2 * limit_um + STEP_UM)
        if found is None:
            return 0.0, 0.0
        log.info(
            "plan=%s: the dish is %.0f um from where it was (likeness %.2f)",
            plan.id, found.length_um, found.likeness,
        )  # fmt: skip
        if found.length_um > limit_um or found.likeness < _ALIKE:
            return None
        return found.shift_um

    def _moved_since(
        self,
        earlier: Sequence[Sequence[LabelledField]],
        fields: Sequence[LabelledField],
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
        targeting = self._config.decisions.removal.targeting
        allowed_um = targeting.positional_error_um + targeting.border_um
        reach_um = 2 * max(verification.most_shift_um, allowed_um) + STEP_UM
        for scan in earlier:
            before = [(one, ()) for one in scan]
            found = register(before, fields, camera.pixel_to_stage, reach_um=reach_um)
            if found is None or found.likeness < _ALIKE:
                continue
            if found.length_um > allowed_um:
                return found.length_um
        return None


def _plan_key(basis: Basis, camera: Calibration | None) -> _Key:
    return (_shown_by(basis.planned), *map(_shown_by, basis.earlier), _frame(camera))


def _check_key(basis: Basis, picked: PickedPlan, camera: Calibration | None) -> _Key:
    return picked.plan.id, _shown_by(basis.shown), _shown_by(picked.made_from), _frame(camera)


def _shown_by(fields: Sequence[ScanField]) -> _Key:
    return tuple(
        (
            one.capture_sha256,
            one.measurement.label_map,
            one.measurement.model_sha256,
            one.measurement.settings_sha256,
            one.measurement.acquired_at,
            one.measurement.stage,
            one.measurement.pixel_size_um,
        )
        for one in fields
    )


def _frame(camera: Calibration | None) -> object:
    return None if camera is None else (camera.id, camera.pixel_to_stage)
