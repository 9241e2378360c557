"""The classes a pixel can have; their values are the order of the network's channels."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class CellClass(IntEnum):
    """What stands at a pixel. The value is the channel of the network and the grey level of a
    label map."""

    BACKGROUND = 0
    UNDIFFERENTIATED = 1
    DIFFERENTIATED = 2


UNKNOWN: Final = 255
"""Grey level of pixels that carry no class: experts could not tell, or they lie outside the
vessel. Never trained on, never scored, never counted."""
