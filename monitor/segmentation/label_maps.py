"""Label maps and overlays as they lie in the state folder: read again to compare and to draw."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from monitor.culture import FieldMeasurement
from monitor.segmentation.overlay import encode_labels, field_of_view

log = logging.getLogger(__name__)

LARGE_PIXELS = 64_000_000
"""Larger label maps are tiled TIFFs, which viewers of large pictures open in part."""

_TILE = 512


def label_map_suffix(labels: NDArray[np.uint8]) -> str:
    """How the file of a label map ends, by its size."""
    return ".tif" if labels.size > LARGE_PIXELS else ".png"


def encode_label_map(labels: NDArray[np.uint8]) -> bytes:
    """(H, W) uint8 -> the content of its file: PNG, or of large maps a tiled TIFF."""
    if label_map_suffix(labels) == ".png":
        return encode_labels(labels)
    content = io.BytesIO()
    tifffile.imwrite(
        content,
        labels,
        tile=(_TILE, _TILE),
        compression="deflate",
        compressionargs={"level": 2},
        photometric="minisblack",
        metadata=None,
        maxworkers=1,
    )
    return content.getvalue()


def decoded_label_map(path: Path) -> NDArray[np.uint8] | None:
    """As it lies there; None where it is no picture. Raises OSError."""
    content = path.read_bytes()
    if path.suffix == ".tif":
        try:
            return np.asarray(tifffile.imread(io.BytesIO(content), maxworkers=1))
        except Exception:  # decoders raise whatever they like on broken bytes
            return None
    found = (
        cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if content else None
    )
    return None if found is None else np.asarray(found)


def read_label_map(state_folder: Path, measurement: FieldMeasurement) -> NDArray[np.uint8] | None:
    """(H, W) uint8 of a measured capture; None where the file is gone or is not what was measured.

    A map that is missing proves nothing: who compares by it must take the place as not seen.
    """
    if measurement.label_map is None:
        return None
    path = state_folder / measurement.label_map
    try:
        labels = decoded_label_map(path)
    except OSError as problem:
        log.warning("%s: cannot be read (%s); the scan is not compared", path, problem.strerror)
        return None
    if labels is None or labels.dtype != np.uint8 or labels.shape != measurement.shape:
        log.warning("%s: is not a label map of its capture; the scan is not compared", path)
        return None
    return np.asarray(labels, np.uint8)


def read_overlay(state_folder: Path, measurement: FieldMeasurement) -> NDArray[np.uint8] | None:
    """(h, w, 3) uint8, RGB: the field of view as the overlay shows it, without its strips; None
    where it is gone.
    """
    if measurement.overlay is None:
        return None
    try:
        content = np.frombuffer((state_folder / measurement.overlay).read_bytes(), np.uint8)
    except OSError:
        return None
    overlay = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    if overlay is None:
        return None
    seen = field_of_view(np.asarray(overlay, np.uint8), measurement.shape)
    return np.ascontiguousarray(seen[..., ::-1])
