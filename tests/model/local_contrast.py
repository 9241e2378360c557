"""A second kind of network behind `model.predict`: two thresholds on local contrast, no torch.

Cells are rougher than the empty dish, differentiated ones here rougher still. Small enough to be
read at a glance, and real: it has a folder with numbers, a manifest, a hash and a refusal.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from model.classes import CellClass
from model.manifest import CARD, MANIFEST, ModelError, ModelSummary, read_json
from model.preprocessing import to_grey
from model.segmentation import Segmentation, uncertainty_of
from model.strips import Rows, as_rows

KIND = "local-contrast"
WEIGHTS = "thresholds.safetensors"
ASSUMED_UM = 2.0
BLOCK_PX = 4


def save_local_contrast(folder: Path, *, thresholds: tuple[float, float], reach_um: float) -> str:
    """Write a model: spread of grey from which on there are cells, and differentiated ones.

    Returns its SHA-256.
    """
    numbers = {
        "thresholds": np.array(thresholds, np.float32),
        "reach_um": np.array([reach_um], np.float32),
    }
    content = save_tensors(numbers)
    folder.mkdir(parents=True)
    (folder / WEIGHTS).write_bytes(content)
    (folder / CARD).write_text("# Two thresholds on local contrast\n")
    sha256 = hashlib.sha256(KIND.encode() + content).hexdigest()
    manifest = {"kind": KIND, "name": "two thresholds", "sha256": sha256}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return sha256


class LocalContrast:
    runner = "OpenCV float32"

    def __init__(self, name: str, sha256: str, numbers: dict[str, NDArray[np.float32]]) -> None:
        self.name, self.sha256 = name, sha256
        self._thresholds = numbers["thresholds"]
        self._reach_um = float(numbers["reach_um"][0])
        self.window_um = 4 * self._reach_um

    def segment(
        self,
        image: NDArray[Any] | Rows,
        pixel_size_um: float | None,
        *,
        inside: NDArray[np.bool_] | Rows | None = None,
    ) -> Segmentation:
        source = as_rows(to_grey(image) if isinstance(image, np.ndarray) else image)
        mask = None if inside is None else as_rows(inside)
        height, width = source.shape
        sigma = self._reach_um / (pixel_size_um or ASSUMED_UM)
        grey = np.asarray(source.rows(0, height), np.float32)
        fine = grey - cv2.GaussianBlur(grey, (0, 0), sigma)
        spread = np.sqrt(cv2.GaussianBlur(fine * fine, (0, 0), sigma))
        coarse = (-(-width // BLOCK_PX), -(-height // BLOCK_PX))
        found = np.digitize(
            cv2.resize(spread, coarse, None, 0, 0, cv2.INTER_AREA), self._thresholds
        )
        sure = [np.where(found == value, 0.9, 0.05) for value in CellClass]
        probabilities = np.stack(sure).astype(np.float32)
        assumed = ASSUMED_UM if pixel_size_um is None else None
        uncertainty = uncertainty_of(probabilities, mask)
        return Segmentation(probabilities, source.shape, mask, pixel_size_um, assumed, uncertainty)


def summary(folder: Path) -> ModelSummary:
    manifest = read_json(folder)
    return ModelSummary(manifest["name"], manifest["sha256"], None)


def load(folder: Path, threads: int | None, runner: str) -> LocalContrast:
    about = summary(folder)
    content = (folder / WEIGHTS).read_bytes()
    if hashlib.sha256(KIND.encode() + content).hexdigest() != about.sha256:
        raise ModelError(f"{folder / WEIGHTS}: is not what the manifest says; take it anew")
    if threads is not None:
        cv2.setNumThreads(threads)
    return LocalContrast(about.name, about.sha256, load_tensors(content))
