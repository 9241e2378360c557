"""What a network says of an image, and what every kind of network offers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from model.classes import UNKNOWN, CellClass
from model.preprocessing import between, resample_rows, spread_evenly
from model.strips import Rows, as_rows, in_strips

_STRIP_PIXELS: Final = 65_536
COUNTED_BLOCKS: Final = 100_000


class Segmenter(Protocol):
    """A model ready for use, whatever kind of network it is. One serves one thread at a time.

    name : how people call the model
    sha256 : its identity: over everything that decides what it says of an image
    window_um : side of the part of an image that it judges by
    runner : what does its arithmetic, with version and precision: "torch 2.13.0 float32"
    """

    name: str
    sha256: str
    window_um: float
    runner: str

    def segment(
        self,
        image: NDArray[Any] | Rows,
        pixel_size_um: float | None,
        *,
        inside: NDArray[np.bool_] | Rows | None = None,
    ) -> Segmentation:
        """Classes of an image's pixels.

        image : (H, W) of any real dtype and range, or (H, W, 3) colour; any size
        pixel_size_um : None if unknown: the network then assumes one, and says which
        inside : (H, W) bool, False outside the vessel
        Raises ValueError for an empty image, a pixel size that is none, or a mask of another shape.
        """
        ...


class DoubtReason(StrEnum):
    """Why a segmentation may not be trusted."""

    UNFAMILIAR = "unfamiliar"  # the image is of a kind that the model does not know
    DISAGREEMENT = "disagreement"  # readings of the same image disagree
    UNCLEAR = "unclear"  # the class distributions themselves are too flat for a number


@dataclass(frozen=True)
class Doubt:
    """How far a segmentation may be trusted.

    reasons : why it is in doubt; empty where it is not
    interval : 90 % interval of the differentiated fraction, (low, high) in 0..1; None where there
        are no cells or the model gives none
    kind : kind of image that it is most like, as the model's card names it; None if of none
    calibrated : whether the interval was calibrated on images of that kind (at least 9 independent
        dishes or lines)
    """

    reasons: tuple[DoubtReason, ...] = ()
    interval: tuple[float, float] | None = None
    kind: str | None = None
    calibrated: bool = False

    @property
    def in_doubt(self) -> bool:
        return bool(self.reasons)


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What stands where in an image.

    probabilities : (3, h, w) float32 at the model's coarser grid; rows and columns are spread
        evenly over the image
    shape : (H, W) of the image
    inside : False outside the vessel; None where all of the image counts
    pixel_size_um : as it was given
    assumed_pixel_size_um : the pixel size that was assumed when none was given, else None
    uncertainty : 0..1, mean entropy of the class distribution over the cells' area (over all of it
        where there are no cells), 1 where all classes are equally likely
    doubt : how far it may be trusted, where the model can tell
    """

    probabilities: NDArray[np.float32]
    shape: tuple[int, int]
    inside: Rows | None
    pixel_size_um: float | None
    assumed_pixel_size_um: float | None
    uncertainty: float
    doubt: Doubt = Doubt()

    @cached_property
    def labels(self) -> NDArray[np.uint8]:
        """(H, W) uint8 at the image's own size, values of CellClass; 255 outside the vessel."""
        return self.label_rows(0, self.shape[0])

    def label_rows(self, top: int, bottom: int) -> NDArray[np.uint8]:
        """Rows ``top`` to ``bottom`` of the labels, without making the others."""
        return label_rows(self.probabilities, self.shape, top, bottom, self.inside)

    def probability(self, cell_class: CellClass) -> NDArray[np.float32]:
        """(H, W) float32: probability of a class at the image's own size."""
        return self.probability_rows(cell_class, 0, self.shape[0])

    def probability_rows(self, cell_class: CellClass, top: int, bottom: int) -> NDArray[np.float32]:
        """Rows ``top`` to ``bottom`` of a class's probability."""
        plane = self.probabilities[int(cell_class)]
        return np.asarray(spread_evenly(plane[None], self.shape, top, bottom)[0])

    def probability_at(
        self, cell_class: CellClass, rows: NDArray[np.intp], columns: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """(len(rows), len(columns)): probability of a class at some pixels, without the others."""
        plane = self.probabilities[int(cell_class)]
        (above, below, down), (left, right, across) = (
            between(place, full, length)
            for place, full, length in zip((rows, columns), self.shape, plane.shape, strict=True)
        )
        strip = plane[above] * (1 - down)[:, None] + plane[below] * down[:, None]
        return np.asarray(strip[:, left] * (1 - across) + strip[:, right] * across)


def label_map(
    probabilities: NDArray[np.float32],
    shape: tuple[int, int],
    inside: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """The class of each pixel: background where that is likelier than cells of either kind, else
    the likelier kind; 255 where ``inside`` is False.

    The most probable of three would lose small cells of whose kind a model is unsure: their two
    kinds share what speaks against background.

    probabilities : (C, h, w) float32, spread evenly over the image
    shape : (H, W) of the image
    """
    mask = None if inside is None else as_rows(inside)
    return label_rows(probabilities, shape, 0, shape[0], mask)


def label_rows(
    probabilities: NDArray[np.float32],
    shape: tuple[int, int],
    top: int,
    bottom: int,
    inside: Rows | None = None,
) -> NDArray[np.uint8]:
    """Rows ``top`` to ``bottom`` of `label_map`: (bottom - top, W) uint8."""
    labels = np.empty((bottom - top, shape[1]), dtype=np.uint8)
    for first, last in in_strips(bottom - top, shape[1], _STRIP_PIXELS):
        first, last = first + top, last + top
        strip = spread_evenly(probabilities, shape, first, last)
        winner = labels[first - top : last - top]
        winner[:] = classes_of(strip)
        if inside is not None:
            np.putmask(winner, ~inside.rows(first, last), UNKNOWN)
    return labels


def classes_of(probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(h, w) uint8: background where that is likelier than cells of any kind, else the likeliest
    kind; of two that are equally likely the first.

    probabilities : (C, h, w) float32, sum 1; background first
    """
    best = probabilities[1].copy()
    classes = np.ones(best.shape, dtype=np.uint8)
    for value in range(2, len(probabilities)):
        # Later classes are higher numbers.
        np.maximum(classes, (probabilities[value] > best) * np.uint8(value), out=classes)
        np.maximum(best, probabilities[value], out=best)
    classes *= probabilities[CellClass.BACKGROUND] < 0.5
    return classes


def entropy_of(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w): 0 where one class is certain, 1 where all are equally likely."""
    entropy = -(probabilities * np.log(np.maximum(probabilities, 1e-9))).sum(axis=0)
    return np.asarray(entropy / math.log(probabilities.shape[0]), dtype=np.float32)


def uncertainty_of(probabilities: NDArray[np.float32], inside: Rows | None) -> float:
    shape = (probabilities.shape[1], probabilities.shape[2])
    # Sum of the entropy and number of blocks: of cells, and of all that counts.
    sums, numbers = np.zeros(2), np.zeros(2)
    for top, bottom in in_strips(*shape, COUNTED_BLOCKS):
        strip = probabilities[:, top:bottom]
        entropy = entropy_of(strip)
        counted = np.ones(entropy.shape, dtype=bool)
        if inside is not None:
            counted = resample_rows(inside, shape, top, bottom) >= 0.5
        cells = counted & (classes_of(strip) != CellClass.BACKGROUND)
        for index, area in enumerate((cells, counted)):
            sums[index] += entropy[area].sum(dtype=np.float64)
            numbers[index] += np.count_nonzero(area)
    index = 0 if numbers[0] else 1
    return float(np.clip(sums[index] / numbers[index], 0.0, 1.0)) if numbers[index] else 0.0
