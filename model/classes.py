"""The classes a pixel can have; their values are the order of the network's channels."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray


class CellClass(IntEnum):
    """What stands at a pixel. The value is the channel of the network and the grey level of a
    label map."""

    BACKGROUND = 0
    UNDIFFERENTIATED = 1
    DIFFERENTIATED = 2


UNKNOWN: Final = 255
"""Grey level of pixels that carry no class: experts could not tell, or they lie outside the
vessel. Never trained on, never scored, never counted."""

NOT_DIFFERENTIATED: Final = 254
"""In labels to learn from: background or undifferentiated, nobody said which. It comes from what is
said of a whole image ("nothing here is differentiated") or of the border of a healthy colony, never
from a label map's file. It is learnt from, but no class, so no pixel is ever scored by it."""


def has_class(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Where a label map says which class a pixel has: neither unknown nor only partly known."""
    return np.asarray((labels != UNKNOWN) & (labels != NOT_DIFFERENTIATED))
