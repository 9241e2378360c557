"""Teaching in seconds: the last layer alone, on frozen features, from labels that may be strokes.

The layers that see stay as they are. Only what turns their features into the classes of a cell is
learnt, by one change for all cells that vote: what is added to the old logits is linear in the
features of the place and of the window around it. The change is then folded into the heads, so the
result is a network like any other, as fast as the old one.

This is multinomial logistic regression with the old logits as offset and a quadratic price on the
change. It is convex: there is one answer, whatever the order of fields and strokes, and without
evidence it is the old model. Each class of a field weighs the same, since strokes say what things
are and not how often they occur, and each field weighs the same. Fields of the kinds that were
learnt before are rehearsed beside them, with their classes as often as they occur.

Source of the offset: transfer as a prior around the old weights, Chelba and Acero, Adaptation of a
maximum entropy capitalizer, EMNLP 2004.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor, nn

from model.classes import NOT_DIFFERENTIATED, UNKNOWN, CellClass
from model.dataset import TrainingField
from model.network import PmfCNN
from model.pmf import cell_shares, voting_cells
from model.preprocessing import bend
from model.tuning.kinds import kind_of

PRICE: Final = 10.0
"""Of the change, in nats for one standard deviation of each feature; docs/fine-tuning.md."""
MOST_CELLS: Final = 24_000
"""That are learnt from, over all fields and classes, and as many that are rehearsed."""
LEAST_LABELLED: Final = 0.15
"""Share of a cell's pixels that must have a label."""
STEPS: Final = 80
STRIP: Final = 40
"""Rows of windows that go through the network together."""


@dataclass(frozen=True)
class _Cells:
    """Labelled cells and what the network sees there.

    features : (N, F) float32, of the place and then of the window
    logits : (N, C) of the old model
    shares : (N, C + 1): the weight of each class in a cell; last that of "not differentiated"
    """

    features: Tensor
    logits: Tensor
    shares: Tensor


def taught(
    network: PmfCNN,
    fields: Sequence[TrainingField],
    practice: Sequence[TrainingField] = (),
    practice_share: float = 0.5,
    um_per_pixel: float = 2.5,
) -> PmfCNN:
    """A copy of a network whose last layer has learnt from the labels of these fields.

    practice : fields of the kinds learnt before, and their weight beside the others; dishes of each
        kind (`kind_of`) weigh the same, since those that differ most from these are harmed first
    um_per_pixel : of all fields
    Raises ValueError where no cell is labelled.
    """
    twin = PmfCNN(network.config)
    twin.load_state_dict(network.state_dict())
    twin.eval()
    for grid in network.config.voting_grids:
        cells = _labelled_cells(twin, grid, _in_a_fixed_order(fields), balanced=True)
        if practice:
            before = _practised_cells(twin, grid, practice, um_per_pixel)
            cells = _together(cells, before, practice_share)
        _teach(twin, grid, cells)
    return twin


def _together(cells: _Cells, others: _Cells, share: float) -> _Cells:
    """share : weight of the others"""
    return _Cells(
        torch.cat([cells.features, others.features]),
        torch.cat([cells.logits, others.logits]),
        torch.cat([cells.shares * (1 - share), others.shares * share]),
    )


def _in_a_fixed_order(fields: Sequence[TrainingField]) -> list[TrainingField]:
    """By what is in them: sums of floating numbers depend on their order."""

    def content(one: TrainingField) -> bytes:
        digest = hashlib.sha256(np.ascontiguousarray(one.labels).tobytes())
        digest.update(np.ascontiguousarray(one.flat).tobytes())
        return digest.digest()

    return sorted(fields, key=content)


@torch.no_grad()
def _fold(network: PmfCNN, grid: int, change: Tensor, bias: Tensor) -> None:
    """Add a change of the logits, linear in the features, to the heads of a grid.

    change : (F, C); bias : (C,)
    """
    local = cast(nn.Conv2d, network.local_heads[str(grid)])
    whole = cast(nn.Conv2d, network.context_heads[str(grid)])
    here, around = change[: local.in_channels], change[local.in_channels :]
    parts, cells = network.parts[grid] ** 2, grid * grid
    local.weight += here.T.repeat(parts, 1)[..., None, None]
    whole.weight += around.T.repeat(cells, 1)[..., None, None]
    cast(Tensor, whole.bias).add_(bias.repeat(cells))


def _teach(network: PmfCNN, grid: int, cells: _Cells) -> None:
    spread, middle = torch.std_mean(cells.features, dim=0)
    # What never varies where there are labels tells nothing there.
    scale = torch.where(spread > 1e-3, spread, torch.inf)
    seen = ((cells.features - middle) / scale).double()
    offset, shares = cells.logits.double(), cells.shares.double()
    count = seen.shape[1]
    change = torch.zeros(count, offset.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(offset.shape[1], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [change, bias], max_iter=STEPS, line_search_fn="strong_wolfe", tolerance_change=1e-9
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = _surprise(offset + seen @ change + bias, shares)
        value = value + PRICE * (change.square().sum() / count + 0.01 * bias.square().sum())
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    plain = change.detach() / scale[:, None]
    _fold(network, grid, plain.float(), (bias.detach() - middle.double() @ plain).float())


def _surprise(logits: Tensor, shares: Tensor) -> Tensor:
    """Cross-entropy; of "not differentiated" that of the other classes together."""
    said = functional.log_softmax(logits, dim=1)
    others = [c for c in range(said.shape[1]) if c != CellClass.DIFFERENTIATED]
    known = (shares[:, :-1] * said).sum()
    return -known - (shares[:, -1] * said[:, others].logsumexp(dim=1)).sum()


def _practised_cells(
    network: PmfCNN, grid: int, practice: Sequence[TrainingField], um_per_pixel: float
) -> _Cells:
    """Of fields to be rehearsed, each kind of dish with the same weight."""
    kinds: dict[str, list[TrainingField]] = {}
    for one in practice:
        kinds.setdefault(kind_of(np.asarray(one.labels), um_per_pixel), []).append(one)
    parts = [
        _labelled_cells(network, grid, kinds[kind], balanced=False, most=MOST_CELLS // len(kinds))
        for kind in sorted(kinds)
    ]
    joined = [torch.cat(some) for some in zip(*(vars(one).values() for one in parts), strict=True)]
    joined[-1] /= len(parts)
    return _Cells(*joined)


def _labelled_cells(
    network: PmfCNN,
    grid: int,
    fields: Sequence[TrainingField],
    *,
    balanced: bool,
    most: int = MOST_CELLS,
) -> _Cells:
    """Of all fields. Raises ValueError where there are none."""
    found = [
        part
        for one in fields
        for part in _cells_of(network, grid, one, most // max(1, len(fields)), balanced=balanced)
    ]
    if not found:
        raise ValueError("no cell is labelled")
    joined = [torch.cat(some) for some in zip(*(vars(one).values() for one in found), strict=True)]
    joined[-1] /= joined[-1].sum()
    return _Cells(*joined)


@torch.no_grad()
def _cells_of(
    network: PmfCNN, grid: int, field: TrainingField, most: int, *, balanced: bool
) -> Iterator[_Cells]:
    """The labelled cells of a field, strip by strip; its weights have the sum 1.

    most : cells; of more, some at equal steps
    balanced : each of its classes weighs the same, however much of it is labelled
    """
    config = network.config
    windows = config.windows
    voters = voting_cells(windows, grid, config.vote_margin_px)
    rows = range(voters[0], voters[-1] + 1)
    # Windows reach over the edge as far as those cells lie inside that vote.
    edge = -(-config.vote_margin_px // windows.stride_px) * windows.stride_px
    flat = bend(np.asarray(field.flat, dtype=np.float32))
    image = torch.from_numpy(_widened(flat, edge, windows.size_px))[None, None]
    labels = _labels_widened(np.asarray(field.labels), edge, image.shape[-2:])
    values = [*CellClass, NOT_DIFFERENTIATED]
    shares = cell_shares(torch.from_numpy(labels)[None], windows, grid, values, rows)[0]
    chosen = _chosen(shares, most, balanced=balanced)
    if not len(chosen):
        return
    weight = shares[chosen[:, 0], :, chosen[:, 1], chosen[:, 2]]
    totals = weight.sum(dim=0)
    if balanced:
        weight = weight / totals.clamp_min(1e-9) / int((totals > 0).sum())
    else:
        weight = weight / totals.sum()
    place = torch.tensor(network.place_of_cell(grid))
    for top in range(0, shares.shape[2], STRIP):
        here = (chosen[:, 1] >= top) & (chosen[:, 1] < top + STRIP)
        if not here.any():
            continue
        cell, y, x = chosen[here].T
        y = y - top
        bottom = min(top + STRIP, shares.shape[2])
        last = (bottom - 1) * windows.stride_px + windows.size_px
        local = network.local(image[:, :, top * windows.stride_px : last])
        context = network.context(local)
        logits = network.cells_of(local, context, grid, rows)[0]
        down, along = cell // len(rows) + rows.start, cell % len(rows) + rows.start
        near = local[0][:, y + place[down], x + place[along]].T
        yield _Cells(
            torch.cat([near, context[0][:, y, x].T], dim=1),
            logits[cell, :, y, x],
            weight[here],
        )


def _chosen(shares: Tensor, most: int, *, balanced: bool) -> Tensor:
    """Cells with enough labels, (N, 3): cell, row and column of the window.

    shares : (cells, classes, h, w)
    balanced : of each class as many
    """
    enough = shares.sum(dim=1) > LEAST_LABELLED
    if not balanced:
        places = torch.nonzero(enough)
        return places[:: max(1, math.ceil(len(places) / most))]
    main = shares.argmax(dim=1)
    there = [value for value in range(shares.shape[1]) if bool((enough & (main == value)).any())]
    chosen = []
    for value in there:
        places = torch.nonzero(enough & (main == value))
        step = max(1, math.ceil(len(places) * len(there) / most))
        chosen.append(places[::step])
    return torch.cat(chosen) if chosen else torch.empty((0, 3), dtype=torch.int64)


def _widened(flat: NDArray[np.float32], edge: int, least: int) -> NDArray[np.float32]:
    sides = [(edge, max(edge, least - length - edge)) for length in flat.shape]
    return np.pad(flat, sides, mode="symmetric")


def _labels_widened(
    labels: NDArray[np.uint8], edge: int, shape: Sequence[int]
) -> NDArray[np.uint8]:
    wide = np.full(tuple(shape), UNKNOWN, dtype=np.uint8)
    wide[edge : edge + labels.shape[0], edge : edge + labels.shape[1]] = labels
    return wide
