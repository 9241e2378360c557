"""How far a dish that was put back lies from where it lay, by its cells in label maps of two scans.

Normalised cross-correlation of cells against background, where both scans show something (Padfield,
Masked object registration in the Fourier domain, 2012), over all fields together. What was to be
removed does not count: it is meant to have changed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from model.classes import UNKNOWN, CellClass
from monitor.culture import Ring
from monitor.segmentation.uncertainty_maps import laid_on
from monitor.stage.frames import Matrix
from monitor.stage.labelled_field import LabelledField

_Floats = NDArray[np.float64]
Labels = NDArray[np.uint8]
# An outer outline and those of its holes.
Outlined = Sequence[Ring]

# Cells move and divide by more than this between two scans.
STEP_UM = 8.0
# A shift that explains hardly more than none does is not believed.
_WORTH = 0.02
# Of what two scans show in common without a shift, so much must be left with it.
_LEAST_COMMON = 0.25
_NOTHING = 1e-6


@dataclass(frozen=True)
class Registration:
    """shift_um : on the stage, from the earlier scan to the later one

    likeness : correlation of the cells after that shift, at most 1
    """

    shift_um: tuple[float, float]
    likeness: float

    @property
    def length_um(self) -> float:
        return math.hypot(*self.shift_um)


def register(
    before: Sequence[tuple[LabelledField, Sequence[Outlined]]],
    after: Sequence[LabelledField],
    pixel_to_stage: Matrix,
    *,
    reach_um: float,
) -> Registration | None:
    """The shift that brings the cells of two scans together best; None where there is nothing to
    go by, such as a dish that is empty or full.

    before : captures, and the regions in them that do not count; what has no place says nothing
    reach_um : no farther shift is looked for
    """
    reach = math.ceil(reach_um / STEP_UM)
    side = 2 * reach + 1
    sums = np.zeros((6, side, side))
    matrix = None
    for field, outlines in before:
        labels = field.labels
        stage, pixel_size_um = field.measurement.stage, field.measurement.pixel_size_um
        if stage is None or not pixel_size_um:
            continue
        shape = (labels.shape[0], labels.shape[1])
        laid = laid_on(shape, pixel_size_um, stage, after, pixel_to_stage)
        counted = labels != UNKNOWN
        for outline in outlines:
            hidden = np.zeros(shape, np.uint8)
            cv2.fillPoly(hidden, [_whole(ring) for ring in outline], 1)
            counted &= hidden == 0
        factor = STEP_UM / pixel_size_um
        sums += _sums(
            _coarse(labels, counted, factor), _coarse(laid, laid != UNKNOWN, factor), reach
        )
        matrix = np.asarray(pixel_to_stage) * STEP_UM
    common, first, second, first_2, second_2, both = sums
    if matrix is None or common.max() < 1:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = (first_2 - first**2 / common) * (second_2 - second**2 / common)
        likeness = (both - first * second / common) / np.sqrt(spread)
    likeness[(common < _LEAST_COMMON * common[reach, reach]) | (spread < _NOTHING)] = np.nan
    if not np.isfinite(likeness[reach, reach]):
        return None
    best = np.unravel_index(int(np.nanargmax(likeness)), likeness.shape)
    if likeness[best] - likeness[reach, reach] < _WORTH:
        best = (np.intp(reach), np.intp(reach))
    rows, columns = (int(place) - reach for place in best)
    x_um, y_um = (matrix @ (columns, rows)).tolist()
    return Registration((x_um, y_um), float(likeness[best]))


def _whole(ring: Ring) -> NDArray[np.int32]:
    """Its points as OpenCV draws them, (N, 2) (x, y)."""
    return np.rint([[column, row] for row, column in ring]).astype(np.int32)


def _coarse(labels: Labels, counted: NDArray[np.bool_], factor: float) -> tuple[_Floats, _Floats]:
    """(cells, how much of it counts), 0..1 both, in squares of `STEP_UM`."""
    size = [max(1, round(length / factor)) for length in labels.shape[::-1]]
    cells = (labels == CellClass.UNDIFFERENTIATED) | (labels == CellClass.DIFFERENTIATED)
    maps = []
    for one in (cells & counted, counted):
        coarse = cv2.resize(
            one.astype(np.uint8) * np.uint8(255), size, interpolation=cv2.INTER_AREA
        )
        maps.append(coarse.astype(np.float64) / 255)
    return maps[0], maps[1]


def _sums(
    before: tuple[_Floats, _Floats], after: tuple[_Floats, _Floats], reach: int
) -> NDArray[np.float64]:
    """(6, 2 reach + 1, 2 reach + 1): sums over what both show, for each shift: how much that is, of
    the first, of the second, of their squares, of their product.
    """
    (one, shown), (other, seen) = before, after
    size = [length + reach for length in one.shape]

    def spectrum(values: _Floats) -> NDArray[np.complex128]:
        return np.fft.rfft2(values, size)

    shown_, one_, one_2 = (spectrum(values).conj() for values in (shown, one, one**2))
    seen_, other_, other_2 = (spectrum(values) for values in (seen, other, other**2))
    products = (
        shown_ * seen_, one_ * seen_, shown_ * other_, one_2 * seen_, shown_ * other_2,
        one_ * other_,
    )  # fmt: skip
    shifts = np.arange(-reach, reach + 1)
    return np.stack([np.fft.irfft2(product, size)[np.ix_(shifts, shifts)] for product in products])
