"""What a map of class probabilities says of itself: its fraction, and how clear it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.classes import CellClass
from model.preprocessing import resample_rows
from model.segmentation import COUNTED_BLOCKS, classes_of, entropy_of
from model.strips import Rows, in_strips


@dataclass(frozen=True)
class MapReading:
    """A probability map in a few numbers.

    fraction : differentiated share of the blocks that are called cells; None where none is
    cells : share of the counted blocks that are called cells
    mixture : 0..0.25, mean of q (1 - q) over the cells' probability, q the differentiated share of
        a block's cell probability: 0 where each cell is surely of one class
    entropy : 0..1, mean entropy of the classes where cells are called
    """

    fraction: float | None
    cells: float
    mixture: float
    entropy: float


def reading_of(probabilities: NDArray[np.float32], inside: Rows | None) -> MapReading:
    """probabilities : (3, h, w); inside : False outside the vessel"""
    shape = (probabilities.shape[1], probabilities.shape[2])
    counted = cells = differentiated = 0
    mass = mixed = entropy = 0.0
    for top, bottom in in_strips(*shape, COUNTED_BLOCKS):
        strip = probabilities[:, top:bottom]
        counts = np.ones(strip.shape[1:], dtype=bool)
        if inside is not None:
            counts = resample_rows(inside, shape, top, bottom) >= 0.5
        found = classes_of(strip)
        counted += int(np.count_nonzero(counts))
        called = counts & (found != CellClass.BACKGROUND)
        cells += int(np.count_nonzero(called))
        entropy += float(entropy_of(strip)[called].sum(dtype=np.float64))
        differentiated += int(np.count_nonzero(counts & (found == CellClass.DIFFERENTIATED)))
        good = strip[CellClass.UNDIFFERENTIATED][counts].astype(np.float64)
        gone = strip[CellClass.DIFFERENTIATED][counts].astype(np.float64)
        both = good + gone
        mass += float(both.sum())
        mixed += float((good * gone / np.maximum(both, 1e-9)).sum())
    return MapReading(
        fraction=differentiated / cells if cells else None,
        cells=cells / counted if counted else 0.0,
        mixture=mixed / mass if mass > 1e-9 else 0.0,
        entropy=entropy / cells if cells else 0.0,
    )
