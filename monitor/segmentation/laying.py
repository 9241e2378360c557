"""Hits laid by what earlier scans of the dish show.

When a scan is decided on, not when its captures are measured: so hits rest on what was taken
before, and not on what happened to be known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from model.classes import CellClass
from monitor.config import RemovalConfig
from monitor.culture import Aim, FieldMeasurement
from monitor.segmentation.targeting import aim_at
from monitor.segmentation.uncertainty_maps import laid_on
from monitor.stage.frames import Matrix
from monitor.stage.labelled_field import LabelledField

Labels = NDArray[np.uint8]


def lay_hits(
    measurement: FieldMeasurement,
    labels: Labels,
    doubts: Labels,
    earlier: Sequence[Sequence[LabelledField]],
    pixel_to_stage: Matrix,
    limits: RemovalConfig,
) -> tuple[Aim, ...]:
    """The aims of a capture, with hits only where each of the earlier scans allows them.

    measurement : of the capture; with its pixel size and its place on the stage
    labels : (H, W), its label map
    doubts : (h, w), of 255, how probably its places are undifferentiated; spread evenly over it
    earlier : of each scan its captures; in their label maps what is not sure is undifferentiated
    """
    stage, pixel_size_um = measurement.stage, measurement.pixel_size_um
    assert stage is not None
    assert pixel_size_um is not None
    hit = {(aim.whole_colony, aim.label) for aim in measurement.aims if aim.points}
    whole = {label for is_whole, label in hit if is_whole}
    probabilities = np.zeros((len(CellClass), *doubts.shape), np.float32)
    probabilities[int(CellClass.UNDIFFERENTIATED)] = doubts.astype(np.float32) / 255
    laid = aim_at(
        labels,
        probabilities,
        [one for one in measurement.regions if (False, one.label) in hit],
        [one for one in measurement.colonies if one.label in whole],
        pixel_size_um=pixel_size_um,
        targeting=limits.targeting,
        min_probability=limits.min_probability,
        min_region_um2=limits.min_region_um2,
        max_undifferentiated=limits.max_undifferentiated,
        whole_colony_above=limits.whole_colony_above,
        before=[
            laid_on(measurement.shape, pixel_size_um, stage, scan, pixel_to_stage)
            for scan in earlier
        ],
    )
    again = {(aim.whole_colony, aim.label): aim for aim in laid}
    return tuple(
        # What the network thought of the region does not rest on the scans before.
        replace(again[key], mean_probability=aim.mean_probability, uncertainty=aim.uncertainty)
        if (key := (aim.whole_colony, aim.label)) in again
        else aim
        for aim in measurement.aims
    )
