"""Label maps as they lie in the state folder: read again where a plan compares two scans."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from monitor.culture import FieldMeasurement

log = logging.getLogger(__name__)


def read_label_map(state_folder: Path, measurement: FieldMeasurement) -> NDArray[np.uint8] | None:
    """(H, W) uint8 of a measured capture; None where the file is gone or is not what was measured.

    A map that is missing proves nothing: who compares by it must take the place as not seen.
    """
    if measurement.label_map is None:
        return None
    path = state_folder / measurement.label_map
    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as problem:
        log.warning("%s: cannot be read (%s); the scan is not compared", path, problem.strerror)
        return None
    labels = cv2.imdecode(content, cv2.IMREAD_UNCHANGED) if content.size else None
    if labels is None or labels.dtype != np.uint8 or labels.shape != measurement.shape:
        log.warning("%s: is no label map of its capture; the scan is not compared", path)
        return None
    return np.asarray(labels, np.uint8)
