"""One capture with what it shows at each pixel, to be laid on others by its place on the stage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitor.culture import FieldMeasurement


@dataclass(frozen=True, eq=False)
class LabelledField:
    """labels : (H, W) uint8, values of CellClass, 255 outside the vessel"""

    measurement: FieldMeasurement
    labels: NDArray[np.uint8]
