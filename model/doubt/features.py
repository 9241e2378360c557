"""What the network's layers say of an image as a whole, summed up while it is segmented."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Vector: TypeAlias = NDArray[np.float32]
"""(D,) float32, length 1: an image as the network's layers see it."""

LEAST: Final = 1e-12


class WindowPool:
    """Mean and spread of each channel of the layers over an image's windows, tile by tile.

    A window counts once, in the one tile that runs it, and the sums are of double precision: in
    how many tiles an image was cut does not show, nor with how many threads it was run.
    """

    def __init__(self) -> None:
        self._sums: list[NDArray[np.float64]] = []
        self._windows = 0.0

    def add(self, layers: Sequence[Tensor], counted: NDArray[np.bool_] | None = None) -> None:
        """The windows of one tile.

        layers : each (1, C, h, w): what is seen in the middle of each window
        counted : (h, w), False where the middle lies outside the vessel; None: all count
        """
        rows, columns = layers[0].shape[2:]
        weights = torch.ones((rows, 1, columns))
        if counted is not None:
            weights = torch.from_numpy(counted.astype(np.float32))[:, None]
        self._windows += float(weights.sum())
        for place, layer in enumerate(layers):
            lines = layer[0].permute(1, 2, 0)
            # Line by line: each product runs on one thread, so that the order of sums is fixed.
            sums = torch.cat([torch.bmm(weights, lines), torch.bmm(weights, lines * lines)], dim=1)
            found = sums.double().numpy().sum(axis=0)
            if place == len(self._sums):
                self._sums.append(found)
            else:
                self._sums[place] += found

    def vector(self) -> Vector | None:
        """Of each layer the means and the spreads, each brought to one length; None where no
        window counted.
        """
        if self._windows < 1:
            return None
        parts = []
        for total, squares in self._sums:
            mean = total / self._windows
            spread = np.sqrt(np.maximum(squares / self._windows - mean**2, 0))
            parts += [_unit(mean), _unit(spread)]
        return (np.concatenate(parts) / math.sqrt(len(parts))).astype(np.float32)


def vector_length(channels: Sequence[int]) -> int:
    """Numbers in the vector of a network whose layers have so many channels."""
    return 2 * sum(channels)


def _unit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values / max(float(np.linalg.norm(values)), LEAST)
