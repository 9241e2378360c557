"""Where the real images of a kind lie, and where a scale bar is burnt into one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.classes import UNKNOWN

IMAGE_SUFFIXES: Final = (".jpg", ".png", ".tiff")
_THICKER_THAN_OUTLINES_PX: Final = 41


def pictures_in(folder: Path) -> list[Path]:
    """Image files by name; none where there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)


def images_of(data: Path, kind: str) -> list[Path]:
    """The image files of a kind, in images/ or in the folder itself."""
    inner = data / kind / "images"
    return pictures_in(inner if inner.is_dir() else data / kind)


def burnt_in(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a scale bar stands: the unknown block in the bottom right corner of a label map."""
    unknown = (labels == UNKNOWN).astype(np.uint8)
    kernel = np.ones((_THICKER_THAN_OUTLINES_PX, _THICKER_THAN_OUTLINES_PX), np.uint8)
    _, parts = cv2.connectedComponents(cv2.morphologyEx(unknown, cv2.MORPH_OPEN, kernel))
    corner = int(parts[-1, -1])
    return np.asarray(parts == corner) if corner else np.zeros(labels.shape, dtype=bool)
