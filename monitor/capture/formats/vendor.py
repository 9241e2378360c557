"""What the readers of microscopes' own formats give back. They are extras, each in its module.

Their libraries fill what is missing with zeros here and there; so the readers take single planes,
and whoever reads them checks every plane's shape.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy.typing as npt

from monitor.capture.formats.image import ONE_EACH
from monitor.culture import StagePosition


class VendorRefusedError(Exception):
    """A file of a microscope's own format that is not read; `reason` as in CaptureError.

    now : what a person can do, where that is more than the reason says by itself
    """

    def __init__(self, reason: str, what: str, now: str | None = None) -> None:
        super().__init__(what)
        self.reason, self.now = reason, now


@dataclass(frozen=True, eq=False)
class Stack:
    """One field of view with its heights and channels, not decoded yet.

    shape : (rows, columns)
    plane : (z, c) -> (H, W) grey or (H, W, 3) RGB
    pixel_size_um : (x, y)
    acquired_at : aware UTC
    """

    shape: tuple[int, int]
    bytes_a_pixel: int
    heights: int
    channels: tuple[str, ...]
    plane: Callable[[int, int], npt.NDArray[Any]]
    pixel_size_um: tuple[float | None, float | None] = (None, None)
    acquired_at: datetime | None = None
    stage: StagePosition | None = None


def refuse_more_than_one(images: int, times: int) -> None:
    if images != 1:
        raise VendorRefusedError(
            "unsupported", f"holds {images} images; one field of view per file is read", ONE_EACH
        )
    if times != 1:
        raise VendorRefusedError(
            "unsupported", f"holds {times} time points; one per file is read", ONE_EACH
        )
