"""What is taken for the pixel size of images that come without one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

OF_A_DISH = 4
"""Images of one dish that count as evidence: more of them would say the same again."""
OF_A_SCALE = 12
"""Images that count as evidence in all; from then on the scale stays."""
DISHES = 3
"""Dishes that a settled scale rests on at least."""
CHECKED_EVERY = 30
"""Of captures of a settled scale one in so many is asked whether it agrees, at about twice the cost
of segmenting it."""


@dataclass(frozen=True)
class ScaleEvidence:
    """What one image says of its own pixel size, as `model.scale` has it.

    doubts : 0..1 for each pixel size that it was read at
    side_px : square root of its pixels
    grain_px : mean wavelength of its fine structure; None where it has none
    """

    doubts: tuple[float, ...]
    side_px: float
    grain_px: float | None


class ScaleState(StrEnum):
    """How far the scale of a source's images may still move."""

    OPEN = "open"  # estimated from the images so far; more may move it
    SETTLED = "settled"  # estimated, and kept until a person says otherwise
    SET = "set"  # a person said it


@dataclass(frozen=True)
class AssumedScale:
    """One scale for all images of one setup of a source that come without a pixel size.

    place : of captures that belong to no source, the folder that they lie below
    magnification : as in "10x", where their names say it; else empty
    shape : (rows, columns) of the first of them; others differ by little
    um : um/px
    low_um, high_um : how far the estimate moves where any one image is left out
    images, dishes : that it rests on
    since : when it was last changed
    set_by : the person who said it
    looks_like_um : what later images say, where they clearly contradict it
    """

    id: int
    source: str
    magnification: str
    shape: tuple[int, int]
    um: float
    state: ScaleState
    low_um: float
    high_um: float
    images: int
    dishes: int
    since: datetime
    place: Path | None = None
    set_by: str | None = None
    looks_like_um: float | None = None

    @property
    def setup(self) -> str:
        """The images that it is of, to be shown: "470 x 472 px at 10x"."""
        rows, columns = self.shape
        at = f" at {self.magnification}" if self.magnification else ""
        return f"{columns} x {rows} px{at}"

    @property
    def grounds(self) -> str:
        """What it rests on, to be shown."""
        if self.state is ScaleState.SET:
            return f"set by {self.set_by}"
        images = "1 image" if self.images == 1 else f"{self.images} images"
        dishes = "1 dish" if self.dishes == 1 else f"{self.dishes} dishes"
        more = "" if self.state is ScaleState.SETTLED else "; more images may move it"
        return f"estimated from {images} of {dishes}{more}"


@dataclass(frozen=True)
class ScaleInUse:
    """A scale as the segmentation of a capture needs it.

    evidence : of the images so far, where the capture's own is to be added to it; None: the scale
        holds as it is
    is_set : by a person, and so before what the model itself goes by
    is_checked : the capture is also asked whether it agrees
    """

    magnification: str
    shape: tuple[int, int]
    um: float
    evidence: tuple[ScaleEvidence, ...] | None = None
    is_set: bool = False
    is_checked: bool = False
