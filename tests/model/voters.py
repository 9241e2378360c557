"""Which of all cells of a grid vote, by the full list: what the network leaves out."""

from __future__ import annotations

import itertools

from torch import Tensor

from model.pmf import Windows, voting_cells


def of_voters(values: Tensor, windows: Windows, grid: int, margin_px: int) -> Tensor:
    """Of all cells (B, r * r, ...) of a grid those that vote: (B, v * v, ...)."""
    voters = voting_cells(windows, grid, margin_px)
    return values[:, [i * grid + j for i, j in itertools.product(voters, voters)]]
