"""Where a capture may hold undifferentiated cells after all: kept beside its label map, and asked
when a later scan of the dish is aimed at.

A label map says which class is the most probable. A remnant of good cells amid differentiated ones
often shows as a place where that is not quite so sure, and differently in each scan.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from model.classes import UNKNOWN, CellClass
from monitor.culture import FieldMeasurement, StagePosition
from monitor.errors import CalibrationError
from monitor.segmentation.label_maps import read_label_map
from monitor.stage.frames import Matrix, field_to_stage
from monitor.stage.labelled_field import LabelledField

Labels = NDArray[np.uint8]
_STRIP = 512
# OpenCV moves no larger pictures.
_LARGEST_SIDE = 32_000


def doubt_map_name(label_map: str) -> str:
    """The file beside a label map: ``labels/a/b.png`` -> ``labels/a/b.doubt.png``."""
    return str(PurePosixPath(label_map).with_suffix(".doubt.png"))


def doubts_of(probabilities: NDArray[np.float32]) -> Labels:
    """(3, h, w) -> (h, w) uint8: how probably undifferentiated, of 255, rounded up."""
    plane = probabilities[int(CellClass.UNDIFFERENTIATED)]
    return np.asarray(np.ceil(np.clip(plane, 0, 1) * 255), np.uint8)


def probability_map_name(label_map: str) -> str:
    """The file beside a label map: ``labels/a/b.png`` -> ``labels/a/b.probabilities.png``."""
    return str(PurePosixPath(label_map).with_suffix(".probabilities.png"))


def probability_planes(probabilities: NDArray[np.float32]) -> Labels:
    """(3, h, w) -> (h, w, 3) uint8: how probable each class is, of 255."""
    planes = np.rint(np.clip(probabilities, 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(planes, 0, -1))


def read_sure_labels(
    state_folder: Path, measurement: FieldMeasurement, max_undifferentiated: float
) -> Labels | None:
    """(H, W) the label map, in which whatever is more probably undifferentiated than
    `max_undifferentiated` is undifferentiated; None where there is no label map.

    Measurements of earlier versions have no doubt map: then the label map is all there is.
    """
    labels = read_label_map(state_folder, measurement)
    if labels is None or max_undifferentiated >= 1:
        return labels
    if not _doubt_map(state_folder, measurement).is_file():
        return labels
    doubts = read_doubts(state_folder, measurement)
    return None if doubts is None else with_doubts(labels, doubts, max_undifferentiated)


def read_doubts(state_folder: Path, measurement: FieldMeasurement) -> Labels | None:
    """(h, w) as `doubts_of` made it; None where there is none that can be read."""
    try:
        content = np.frombuffer(_doubt_map(state_folder, measurement).read_bytes(), np.uint8)
    except OSError:
        return None
    doubts = cv2.imdecode(content, cv2.IMREAD_UNCHANGED) if content.size else None
    if doubts is None or doubts.ndim != 2 or doubts.dtype != np.uint8:
        return None
    return np.asarray(doubts, np.uint8)


def _doubt_map(state_folder: Path, measurement: FieldMeasurement) -> Path:
    return state_folder / doubt_map_name(measurement.label_map or "none.png")


def with_doubts(labels: Labels, doubts: Labels, max_undifferentiated: float) -> Labels:
    """The label map with its doubtful cells taken for undifferentiated ones.

    doubts : (h, w), spread evenly over the picture
    """
    sure = labels.copy()
    height, width = labels.shape
    columns = ((np.arange(width) + 0.5) * doubts.shape[1] / width - 0.5).astype(np.float32)
    for top in range(0, height, _STRIP):
        rows = np.arange(top, min(top + _STRIP, height))
        across = ((rows + 0.5) * doubts.shape[0] / height - 0.5).astype(np.float32)
        strip = cv2.remap(
            doubts,
            np.broadcast_to(columns, (len(rows), width)).copy(),
            np.broadcast_to(across[:, None], (len(rows), width)).copy(),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        part = sure[top : top + len(rows)]
        part[(part == CellClass.DIFFERENTIATED) & (strip > max_undifferentiated * 255)] = (
            CellClass.UNDIFFERENTIATED
        )
    return sure


def laid_on(
    shape: tuple[int, int],
    pixel_size_um: float,
    stage: StagePosition,
    earlier: Sequence[LabelledField],
    pixel_to_stage: Matrix,
) -> Labels:
    """Label maps of one earlier scan as the camera sees them from a later place.

    shape, pixel_size_um, stage : of the later capture
    earlier : where a place is not known, nothing is shown
    Returns (H, W), 255 where none of them shows anything.
    """
    laid = np.full(shape, np.uint8(UNKNOWN))
    if max(shape) > _LARGEST_SIDE:
        return laid
    try:
        here = field_to_stage(
            shape=shape, pixel_size_um=pixel_size_um, pixel_to_stage=pixel_to_stage, centre=stage
        )
        for one in earlier:
            labels, measured = one.labels, one.measurement
            if measured.stage is None or not measured.pixel_size_um:
                continue
            there = field_to_stage(
                shape=(labels.shape[0], labels.shape[1]),
                pixel_size_um=measured.pixel_size_um,
                pixel_to_stage=pixel_to_stage,
                centre=measured.stage,
            ).inverse()
            if max(labels.shape) > _LARGEST_SIDE or not _meet(here.shift, there.shift):
                continue
            seen = cv2.warpAffine(
                labels,
                np.array(here.then(there).matrix),
                (shape[1], shape[0]),
                flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_CONSTANT,
                borderValue=int(UNKNOWN),
            )
            # Of two fields that show a place, the more doubtful one counts.
            np.minimum(laid, seen, out=laid)
    except CalibrationError:
        return np.full(shape, np.uint8(UNKNOWN))
    return laid


def _meet(*shifts: NDArray[np.float64]) -> bool:
    """Numbers beyond these would wrap around on their way through OpenCV."""
    return all(math.isfinite(value) and abs(value) < 1e9 for shift in shifts for value in shift)
