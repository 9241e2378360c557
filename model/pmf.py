"""The method: windows, cells, class histograms and votes.

A window of P x P pixels is cut into an r x r grid of cells. The class histogram of a cell,
over its labelled pixels only and scaled to sum 1, is the cell's pmf. The network learns the
pmfs of all cells of several grids at once; when it predicts, windows overlap and each cell's pmf
is a vote for every pixel that the cell covers. The map is the mean vote.

Shapes. A stack of cells is (B, r * r, C, h, w): B images, the grid's cells row by row, C classes,
h x w window positions; window (y, x) has its top left pixel at (y * S, x * S) for stride S.

Two forms of each rule stand side by side: a slow one that cuts windows out one by one and is
easy to believe, and the one that is used. Tests hold them equal.

Source of the idea: patch-wise class histograms in place of centre-pixel classes, for iPS colony
images (Hiroshima University, KAKENHI report; see also arXiv 1909.12612 for the mean of overlapping
windows).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor

from model.classes import NOT_DIFFERENTIATED, CellClass, has_class

CLASSES = len(CellClass)


@dataclass(frozen=True)
class Windows:
    """How an image is cut: windows of ``size_px`` at every ``stride_px``, in the grids ``grids``.

    Raises ValueError where a grid does not divide the window, or cells would leave gaps.
    """

    size_px: int
    stride_px: int
    grids: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.size_px < 1 or self.stride_px < 1 or not self.grids:
            raise ValueError(f"{self}: size, stride and at least one grid must be positive")
        for grid in self.grids:
            if grid < 1 or self.size_px % grid:
                raise ValueError(
                    f"{self}: a {grid} x {grid} grid does not divide {self.size_px} pixels"
                )
            cell = self.size_px // grid
            if self.stride_px > self.size_px or (self.stride_px > cell and self.stride_px % cell):
                raise ValueError(
                    f"{self}: at stride {self.stride_px} the cells of the {grid} x {grid} grid "
                    "leave gaps; the stride may be at most a cell's side, or a multiple of it"
                )

    def cell_px(self, grid: int) -> int:
        """Side of a cell of the grid in pixels."""
        return self.size_px // grid

    def positions(self, length_px: int) -> int:
        """Number of window positions along a side of ``length_px`` pixels."""
        return max(0, (length_px - self.size_px) // self.stride_px + 1)

    def covered_px(self, positions: int) -> int:
        """Length that ``positions`` windows cover together."""
        return (positions - 1) * self.stride_px + self.size_px if positions > 0 else 0

    def block_px(self, grids: Sequence[int]) -> int:
        """Side of the largest square that no cell border of these grids ever cuts."""
        return math.gcd(self.stride_px, *(self.cell_px(grid) for grid in grids))


# ---------------------------------------------------------------------------------- targets


def one_hot(labels: Tensor, classes: int = CLASSES) -> Tensor:
    """Label maps as one map a class; a pixel whose class is not known is 0 in all of them.

    labels : (B, H, W) uint8, classes, 254 or 255
    Returns (B, C, H, W) float32.
    """
    return _maps_of(labels, range(classes))


def _maps_of(labels: Tensor, wanted: Sequence[int]) -> Tensor:
    values = torch.tensor(wanted, device=labels.device, dtype=labels.dtype)
    return (labels[:, None] == values[None, :, None, None]).to(torch.float32)


def _block_shares(labels: Tensor, block_px: int, wanted: Sequence[int]) -> Tensor:
    """Share of each block's pixels that has each wanted value: (B, len(wanted), H', W')."""
    return functional.avg_pool2d(_maps_of(labels, wanted), block_px, block_px)


def _cell_shares(
    blocks: Tensor,
    block_px: int,
    windows: Windows,
    grid: int,
    positions: tuple[int, int],
    cells: range | None = None,
) -> Tensor:
    """As `_block_shares` for the cells of a grid: (B, n * n, len(wanted), h, w).

    block_px : side of the blocks; no cell border of the grid cuts one
    positions : of the windows, (h, w)
    cells : n rows, equally columns, of the grid; all r by default
    """
    rows = range(grid) if cells is None else cells
    step, jump = windows.stride_px // block_px, windows.cell_px(grid) // block_px
    shares = (functional.avg_pool2d(blocks, jump, 1) if jump > 1 else blocks).contiguous()
    batch, values = shares.shape[:2]
    image, value, row, column = shares.stride()
    # Cells and windows are steps over the same blocks: views, copied once.
    views = shares.as_strided(
        (batch, len(rows), len(rows), values, *positions),
        (image, jump * row, jump * column, value, step * row, step * column),
        rows.start * jump * (row + column),
    )
    return views.reshape(batch, len(rows) ** 2, values, *positions)


def cell_shares(
    labels: Tensor, windows: Windows, grid: int, values: Sequence[int], cells: range
) -> Tensor:
    """What share of the pixels of each cell has each of these values: (B, n * n, values, h, w).

    labels : (B, H, W) uint8
    cells : n rows, equally columns, of the grid
    """
    block = windows.block_px([grid])
    blocks = _block_shares(labels, block, values)
    return _cell_shares(blocks, block, windows, grid, _positions(labels, windows), cells)


def _positions(labels: Tensor, windows: Windows) -> tuple[int, int]:
    rows, columns = (windows.positions(length) for length in labels.shape[-2:])
    return rows, columns


def cell_pmfs(
    labels: Tensor, windows: Windows, grid: int, classes: int = CLASSES
) -> tuple[Tensor, Tensor]:
    """Targets of one grid for all windows of a batch of crops, by average pooling.

    labels : (B, H, W) uint8, classes, 254 or 255
    Returns the pmfs (B, r * r, C, h, w), 0 where no pixel of a cell has a class, and the cells'
    weights (B, r * r, h, w): the share of their pixels that has one, 0..1.
    """
    block = windows.block_px([grid])
    blocks = _block_shares(labels, block, range(classes))
    cells = _cell_shares(blocks, block, windows, grid, _positions(labels, windows))
    weight = cells.sum(dim=2)
    return cells / weight.clamp_min(1e-12)[:, :, None], weight


def cell_pmfs_slow(
    labels: NDArray[np.uint8], windows: Windows, grid: int, classes: int = CLASSES
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """As ``cell_pmfs`` for one label map (H, W), counting pixel by pixel."""
    rows, columns = (windows.positions(length) for length in labels.shape)
    cell = windows.cell_px(grid)
    pmfs = np.zeros((grid * grid, classes, rows, columns))
    weight = np.zeros((grid * grid, rows, columns))
    for y in range(rows):
        for x in range(columns):
            for i in range(grid):
                for j in range(grid):
                    top = y * windows.stride_px + i * cell
                    left = x * windows.stride_px + j * cell
                    inside = labels[top : top + cell, left : left + cell]
                    known = int(np.count_nonzero(has_class(inside)))
                    weight[i * grid + j, y, x] = known / inside.size
                    for value in range(classes):
                        count = int(np.count_nonzero(inside == value))
                        pmfs[i * grid + j, value, y, x] = count / known if known else 0.0
    return pmfs, weight


# ------------------------------------------------------------------------------------- loss


def pmf_loss(
    logits: Mapping[int, Tensor],
    labels: Tensor,
    windows: Windows,
    grid_weights: Mapping[int, float],
    wanted: Mapping[int, range] | None = None,
) -> Tensor:
    """Cross-entropy of the predicted pmfs against those of the labels.

    Mean over the cells of a grid by labelled share, then the weighted mean over the grids: the
    Kullback-Leibler distance plus a constant. 0 where nothing is labelled.

    Pixels of which it is only known that they are not differentiated say nothing of the other
    classes: they ask for -log(1 - p(differentiated)), which is least where the cell's probability
    of that class is the share of its labelled pixels that have it. (Cross-entropy of the pooled
    alternatives: Cour et al., Learning from partial labels, JMLR 12, 2011.)

    logits : grid -> (B, n * n, C, h, w)
    labels : (B, H, W) uint8
    wanted : the n rows (equally columns) of a grid that the logits are of; of grids not named, all
    """
    first = logits[next(iter(logits))]
    total, classes = first.new_zeros(()), first.shape[2]
    weight_sum = sum(grid_weights[grid] for grid in logits)
    partly = bool((labels == NOT_DIFFERENTIATED).any())
    counted = [*range(classes), NOT_DIFFERENTIATED] if partly else range(classes)
    block, positions = windows.block_px(list(logits)), _positions(labels, windows)
    blocks = _block_shares(labels, block, counted)
    for grid, values in logits.items():
        cells = (wanted or {}).get(grid)
        shares = _cell_shares(blocks, block, windows, grid, positions, cells)
        said = functional.log_softmax(values, dim=2)
        surprise = -(shares[:, :, :classes] * said).sum(dim=2)
        if partly:
            surprise = surprise - shares[:, :, classes] * _log_not_differentiated(said)
        mean = surprise.sum() / shares.sum().clamp_min(1e-6)
        total = total + mean * (grid_weights[grid] / weight_sum)
    return total


def _log_not_differentiated(said: Tensor) -> Tensor:
    """Logarithm of the probability of all other classes together, without loss of digits.

    said : (B, r * r, C, h, w), logarithms of probabilities
    """
    others = [c for c in range(said.shape[2]) if c != CellClass.DIFFERENTIATED]
    total = said[:, :, others[0]]
    for one in others[1:]:
        total = torch.logaddexp(total, said[:, :, one])
    return total


# ------------------------------------------------------------------------------------ votes


def voting_cells(windows: Windows, grid: int, margin_px: int) -> list[int]:
    """Rows (equally columns) of the grid whose cells vote.

    Cells that begin within ``margin_px`` of the window's edge see little of their surroundings;
    they are learnt from but may be kept from voting. 0: all vote.
    """
    cell = windows.cell_px(grid)
    return [
        i
        for i in range(grid)
        if i * cell >= margin_px and (i + 1) * cell <= windows.size_px - margin_px
    ]


def votes(
    pmfs: Mapping[int, Tensor], windows: Windows, margin_px: int = 0
) -> tuple[Tensor, Tensor]:
    """Sum and number of the votes for each block of pixels, by shifts and box sums.

    A block is ``windows.block_px(grids)`` pixels wide: the votes are the same for all its pixels.

    pmfs : grid -> (B, v * v, C, h, w), probabilities of the v voting rows and columns of cells
    Returns the sum (B, C, H / block, W / block) and the count (H / block, W / block) over the
    area that the windows cover. The mean vote is sum / count where count > 0.
    """
    grids = list(pmfs)
    first = pmfs[grids[0]]
    batch, classes, rows, columns = first.shape[0], first.shape[2], *first.shape[3:]
    block = windows.block_px(grids)
    step = windows.stride_px // block
    height, width = (windows.covered_px(n) // block for n in (rows, columns))
    total = first.new_zeros((batch, classes, height, width))
    count = first.new_zeros((height, width))
    for grid, values in pmfs.items():
        side = windows.cell_px(grid) // block
        # Votes of a grid meet at their cells' top left blocks; one box sum then spreads them.
        corner = first.new_zeros((batch, classes, height - side + 1, width - side + 1))
        voters = voting_cells(windows, grid, margin_px)
        if values.shape[1] != len(voters) ** 2:
            raise ValueError(f"grid {grid} has {len(voters)}^2 voting cells, not {values.shape[1]}")
        for cell, (i, j) in enumerate(itertools.product(voters, voters)):
            corner[
                :,
                :,
                i * side : i * side + (rows - 1) * step + 1 : step,
                j * side : j * side + (columns - 1) * step + 1 : step,
            ] += values[:, cell]
        total += _spread(corner, side)
    for along_rows, along_columns in vote_counts(windows, grids, (rows, columns), margin_px):
        count += torch.outer(along_rows, along_columns).to(count)
    return total, count


def vote_counts(
    windows: Windows, grids: Sequence[int], positions: tuple[int, int], margin_px: int = 0
) -> list[tuple[Tensor, Tensor]]:
    """Number of votes for each row and each column of blocks, grid by grid.

    Rows and columns vote alike, so that a block's votes are the sum over the grids of their
    products.
    """
    block = windows.block_px(grids)
    step = windows.stride_px // block
    counts = []
    for grid in grids:
        voters = voting_cells(windows, grid, margin_px)
        side = windows.cell_px(grid) // block
        along_rows, along_columns = (
            _votes_along(voters, side, step, number, windows.covered_px(number) // block)
            for number in positions
        )
        counts.append((along_rows, along_columns))
    return counts


def _votes_along(
    voters: Sequence[int], side: int, step: int, positions: int, length: int
) -> Tensor:
    """Number of voting cells that cover each block along one side of the image, (length,)."""
    count = torch.zeros(length)
    for voter in voters:
        for inner in range(side):
            begin = voter * side + inner
            count[begin : begin + (positions - 1) * step + 1 : step] += 1
    return count


def _spread(corner: Tensor, side: int) -> Tensor:
    """Each value spread over the side x side blocks right of and below it, and summed there."""
    if side == 1:
        return corner
    padded = functional.pad(corner, (side - 1,) * 4)
    rows = functional.avg_pool2d(padded, (side, 1), 1) * side
    return functional.avg_pool2d(rows, (1, side), 1) * side


def votes_slow(
    pmfs: Mapping[int, Tensor], windows: Windows, margin_px: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """As ``votes`` for one image, pixel by pixel and window by window.

    Returns the sum (C, H, W) and the count (H, W), in pixels.
    """
    first = next(iter(pmfs.values()))
    classes, rows, columns = first.shape[2], *first.shape[3:]
    height, width = windows.covered_px(rows), windows.covered_px(columns)
    total = np.zeros((classes, height, width))
    count = np.zeros((height, width))
    for grid, values in pmfs.items():
        cell = windows.cell_px(grid)
        voters = voting_cells(windows, grid, margin_px)
        numbers = values[0].double().numpy()
        for y in range(rows):
            for x in range(columns):
                for i in voters:
                    for j in voters:
                        top = y * windows.stride_px + i * cell
                        left = x * windows.stride_px + j * cell
                        vote = numbers[i * grid + j, :, y, x][:, None, None]
                        total[:, top : top + cell, left : left + cell] += vote
                        count[top : top + cell, left : left + cell] += 1
    return total, count
