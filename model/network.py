"""The network: unpadded convolutions, so that one pass over an image equals all its windows.

Every layer is local and unpadded and the strides multiply to the windows' stride S. Output
(y, x) therefore depends on exactly the P x P pixels at (y * S, x * S): the whole image goes through
once and gives what each window alone would give. Nothing looks at the whole image or at the batch
(batch normalisation is folded into the convolutions for inference).

A cell's logits are the sum of two parts: what the whole window says about that cell, and what
stands right there. The second is one small map shared by all the windows that hold the place, so
fine grids cost next to nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, cast

import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model.pmf import CLASSES, Windows, voting_cells
from model.runners.convolutions import Convolutions, Runner
from model.runners.torch_runner import TorchRunner

STRIP_ROWS: Final = 64
"""Rows of local features worked out together: the first layers' wide maps then stay near the
processor, which saves a tenth of the network's time (`make bench`)."""


@dataclass(frozen=True)
class PmfCNNConfig:
    """Sizes of the network; stored with its weights.

    window_px : side P of a window at the working scale, a multiple of stride_px
    stride_px : 4 or 8
    grids : the grids that are learnt
    voting_grids : those of them that vote; coarse cells blur, so they may serve as supervision
    vote_margin_px : cells nearer than this to the window's edge do not vote
    widths : channels at strides 2, 4 (and 8)
    context_channels : channels of what a window says as a whole
    view_channels : channels of the layers that widen the view from a place to the window; 0: those
        of the last of widths. What these layers see is most of a window, so that windows share
        little of their work: they are where a dense pass saves least
    Raises ValueError for sizes that do not fit each other.
    """

    window_px: int = 64
    stride_px: int = 8
    grids: tuple[int, ...] = (1, 2, 4, 8)
    voting_grids: tuple[int, ...] = (8,)
    vote_margin_px: int = 0
    widths: tuple[int, ...] = (24, 48, 96)
    context_channels: int = 128
    view_channels: int = 0
    classes: int = CLASSES
    windows: Windows = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "windows", Windows(self.window_px, self.stride_px, tuple(self.grids))
        )
        for name in ("grids", "voting_grids", "widths"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.stride_px not in (4, 8) or self.window_px % 8 or self.window_px < 40:
            raise ValueError(
                f"{self}: the stride must be 4 or 8 and the window a multiple of 8, at least 40"
            )
        if len(self.widths) != {4: 2, 8: 3}[self.stride_px]:
            raise ValueError(f"{self}: one width is needed for each halving of the resolution")
        if not set(self.voting_grids) <= set(self.grids) or not self.voting_grids:
            raise ValueError(f"{self}: voting_grids must be some of grids")
        for grid in self.voting_grids:
            voters = voting_cells(self.windows, grid, self.vote_margin_px)
            if len(voters) * self.windows.cell_px(grid) < self.stride_px:
                raise ValueError(f"{self}: vote_margin_px leaves too few voters in grid {grid}")

    def to_json(self) -> dict[str, Any]:
        """The settings as plain values."""
        values = asdict(self)
        del values["windows"]
        if not self.view_channels:
            del values["view_channels"]  # models from before it was a setting keep their identity
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PmfCNNConfig:
        """Settings from plain values. Raises ValueError or TypeError if they do not fit."""
        plain: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return cls(**plain)


class ConvUnit(nn.Sequential):
    """Unpadded convolution, batch normalisation, ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, dilation=dilation, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )

    def folded(self) -> nn.Sequential:
        """The same with the normalisation inside the convolution, for inference."""
        convolution = fuse_conv_bn_eval(cast(nn.Conv2d, self[0]), cast(nn.BatchNorm2d, self[1]))
        return nn.Sequential(convolution, nn.ReLU(inplace=True))


class PmfCNN(nn.Module):
    """Pmfs of all cells of all windows of an image."""

    def __init__(self, config: PmfCNNConfig) -> None:
        # In one piece: the size of each unit follows from those before it.
        super().__init__()
        self.config = config
        units: list[nn.Module] = []
        side, reach, step = config.window_px, 1, 1  # positions in a window; pixels seen; pixels

        def unit(
            inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1
        ) -> ConvUnit:
            nonlocal side, reach, step
            span = (kernel - 1) * dilation
            if (side - 1 - span) % stride:
                raise ValueError(f"{config}: the window does not divide into strides")
            side = (side - 1 - span) // stride + 1
            reach += span * step
            step *= stride
            return ConvUnit(inputs, outputs, kernel, stride, dilation)

        units.append(unit(1, config.widths[0], 4, 2))
        units.append(unit(config.widths[0], config.widths[0], 3))
        units.append(unit(config.widths[0], config.widths[1], 3, 2))
        units.append(unit(config.widths[1], config.widths[1], 3))
        units.append(unit(config.widths[1], config.widths[1], 3))
        if config.stride_px == 8:
            units.append(unit(config.widths[1], config.widths[2], 4, 2))
        wide = config.widths[-1]
        units.append(unit(wide, wide, 1))
        self.local = nn.Sequential(*units)  # (B, wide, h + n - 1, w + n - 1)
        self.local_side, self.local_reach_px = side, reach

        units = []
        view = config.view_channels or wide
        if view != wide:
            units.append(unit(wide, view, 1))
        first = side
        while side > 3:
            # Wider steps as the view grows; they must leave a whole position over.
            dilation = 2 if side < first and side >= 6 else 1
            units.append(unit(view, view, 3, dilation=dilation))
        if side > 1:
            units.append(unit(view, config.context_channels, side))
            view = config.context_channels
        units.append(unit(view, config.context_channels, 1))
        self.context = nn.Sequential(*units)  # (B, context, h, w)

        # Where cells are finer than the stride, a place speaks for several of them.
        self.parts = {
            r: max(1, config.stride_px // config.windows.cell_px(r)) for r in config.grids
        }
        self.local_heads = nn.ModuleDict(
            {
                str(r): nn.Conv2d(wide, parts * parts * config.classes, 1)
                for r, parts in self.parts.items()
            }
        )
        self.context_heads = nn.ModuleDict(
            {
                str(r): nn.Conv2d(config.context_channels, r * r * config.classes, 1)
                for r in config.grids
            }
        )
        for module in self.modules():
            # On "meta" there is nothing to fill, and trying to would load torch's whole compiler.
            if isinstance(module, nn.Conv2d) and module.bias is None and not module.weight.is_meta:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    @property
    def seen_channels(self) -> tuple[int, ...]:
        """Channels of what `VotingNetwork` gives as seen, layer by layer."""
        units = (cast(nn.Sequential, unit) for unit in self.context)
        return tuple(cast(nn.Conv2d, unit[0]).out_channels for unit in units)

    def place_of_cell(self, grid: int) -> list[int]:
        """For each row of the grid: which of a window's rows of local features lies nearest."""
        cell = self.config.windows.cell_px(grid)
        nearest = (
            round(((i + 0.5) * cell - self.local_reach_px / 2) / self.config.stride_px)
            for i in range(grid)
        )
        return [min(max(place, 0), self.local_side - 1) for place in nearest]

    def forward(
        self,
        image: Tensor,
        grids: tuple[int, ...] | None = None,
        wanted: Mapping[int, range] | None = None,
    ) -> dict[int, Tensor]:
        """Logits of the cells.

        image : (B, 1, H, W) float32, normalised
        grids : those wanted; all by default
        wanted : rows (equally columns) of a grid whose cells are; of grids not named, all
        Returns grid -> (B, n * n, C, h, w) for the n rows that are wanted, r by default.
        """
        local = self.local(image)  # (B, wide, h + n - 1, w + n - 1)
        context = self.context(local)  # (B, context, h, w)
        return {
            grid: self.cells_of(local, context, grid, (wanted or {}).get(grid, range(grid)))
            for grid in grids or self.config.grids
        }

    def cells_of(self, local: Tensor, context: Tensor, grid: int, cells: range) -> Tensor:
        """Logits of some rows (equally columns) of a grid, (B, n * n, C, h, w), from what the
        layers `local` and `context` gave."""
        batch, _, rows, columns = context.shape
        whole = self._of_window(context, grid, cells)
        whole = whole.reshape(batch, len(cells) ** 2, self.config.classes, rows, columns)
        here = self.local_heads[str(grid)](local)
        return whole + self._at_cells(here, grid, cells, rows, columns)

    def _of_window(self, context: Tensor, grid: int, cells: range) -> Tensor:
        """What the whole window says of some rows and columns of a grid: (B, n * n * C, h, w)."""
        head = cast(nn.Conv2d, self.context_heads[str(grid)])
        if len(cells) == grid:
            return cast(Tensor, head(context))
        shape, some = (grid, grid, self.config.classes), slice(cells.start, cells.stop)
        weight = head.weight.view(*shape, -1)[some, some].flatten(0, 2)[..., None, None]
        bias = cast(Tensor, head.bias).view(shape)[some, some].flatten()
        return functional.conv2d(context, weight, bias)

    def _at_cells(self, here: Tensor, grid: int, cells: range, rows: int, columns: int) -> Tensor:
        """What stands where each wanted cell of each window lies: (B, n * n, C, h, w).

        here : (B, parts * parts * C, h + n - 1, w + n - 1)
        """
        parts, classes = self.parts[grid], self.config.classes
        batch, _, height, width = here.shape
        # Finer parts lie between the places: (B, C, height * parts, width * parts).
        here = here.view(batch, parts, parts, classes, height, width).permute(0, 3, 4, 1, 5, 2)
        here = here.reshape(batch, classes, height * parts, width * parts)
        places = self.place_of_cell(grid)[cells.start : cells.stop]
        place = torch.tensor(places, device=here.device)
        part = torch.arange(cells.start, cells.stop, device=here.device) % parts

        def along(number: int) -> Tensor:
            windows = torch.arange(number, device=here.device)
            return ((place[:, None] + windows) * parts + part[:, None]).reshape(-1)

        here = here.index_select(2, along(rows)).index_select(3, along(columns))
        number = len(cells)
        here = here.view(batch, classes, number, rows, number, columns).permute(0, 2, 4, 1, 3, 5)
        return here.reshape(batch, number * number, classes, rows, columns)

    def folded(self) -> PmfCNN:
        """A copy for inference: normalisation folded in, channels last, no gradients."""
        twin = PmfCNN(self.config)
        twin.load_state_dict(self.state_dict())
        twin.eval()
        for name in ("local", "context"):
            units = cast(nn.Sequential, getattr(twin, name))
            setattr(twin, name, nn.Sequential(*(cast(ConvUnit, unit).folded() for unit in units)))
        for parameter in twin.parameters():
            parameter.requires_grad_(False)
        return cast(PmfCNN, twin.to(memory_format=torch.channels_last))  # type: ignore[call-overload]


class VotingNetwork(nn.Module):
    """A network ready for use: the pmfs of those cells that vote, and no others.

    Normalisation is folded into the convolutions, the temperature into the last ones.

    temperature : what logits are divided by before the softmax
    runner : what runs the convolutions; all else is done here. torch in float32 to begin with
    """

    runner: Runner

    def __init__(self, network: PmfCNN, temperature: float = 1.0) -> None:
        super().__init__()
        config = self.config = network.config
        twin = network.folded()
        self.local, self.context = twin.local, twin.context
        self._local_reach_px = network.local_reach_px
        self.cells = {
            grid: voting_cells(config.windows, grid, config.vote_margin_px)
            for grid in config.voting_grids
        }
        self._places = {grid: network.place_of_cell(grid) for grid in config.voting_grids}
        self._parts = {grid: network.parts[grid] for grid in config.voting_grids}
        self.local_heads, self.context_heads = nn.ModuleDict(), nn.ModuleDict()
        for grid, cells in self.cells.items():
            local = cast(nn.Conv2d, twin.local_heads[str(grid)])
            whole = cast(nn.Conv2d, twin.context_heads[str(grid)])
            inputs = whole.weight.shape[1]
            chosen = [i * grid + j for i, j in itertools.product(cells, cells)]
            # Class by class, so that a softmax runs over whole planes.
            weight = whole.weight.reshape(grid * grid, config.classes, inputs)[chosen]
            bias = cast(Tensor, whole.bias).reshape(grid * grid, config.classes)[chosen]
            head = nn.Conv2d(inputs, len(chosen) * config.classes, 1)
            head.weight.data = weight.transpose(0, 1).reshape(head.weight.shape) / temperature
            head.bias = nn.Parameter(bias.T.reshape(-1) / temperature)
            local.weight.data = local.weight / temperature
            local.bias = nn.Parameter(cast(Tensor, local.bias) / temperature)
            self.context_heads[str(grid)], self.local_heads[str(grid)] = head, local
        for parameter in self.parameters():
            parameter.requires_grad_(False)
        self.eval()
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.runner = TorchRunner(self.convolutions())

    def convolutions(self) -> Convolutions:
        """All that a runner is given."""
        local_heads, context_heads = (
            {int(grid): cast(nn.Conv2d, head) for grid, head in heads.items()}
            for heads in (self.local_heads, self.context_heads)
        )
        return Convolutions(
            tuple(cast(nn.Sequential, unit) for unit in self.local),
            tuple(cast(nn.Sequential, unit) for unit in self.context),
            local_heads,
            context_heads,
        )

    def forward(self, image: Tensor, seen: list[Tensor] | None = None) -> dict[int, Tensor]:
        """Pmfs of the voting cells.

        image : (B, 1, H, W) float32, normalised
        seen : to be filled with what the layers of `context` say in the middle of each window,
            each (B, channels, h, w)
        Returns grid -> (B, v * v, C, h, w) for the v voting rows and columns of the grid.
        """
        local = self._local_features(image)  # (B, wide, h + n - 1, w + n - 1)
        said = self.runner.rest(local, every=seen is not None)
        batch, _, rows, columns = said.layers[-1].shape  # (B, context, h, w)
        if seen is not None:
            for layer in said.layers:
                top, left = (layer.shape[2] - rows) // 2, (layer.shape[3] - columns) // 2
                seen.append(layer[:, :, top : top + rows, left : left + columns])
        pmfs: dict[int, Tensor] = {}
        for grid, cells in self.cells.items():
            count = len(cells) ** 2
            logits = said.whole[grid].contiguous()
            logits = logits.view(batch, self.config.classes, count, rows, columns)
            parts = self._parts[grid]
            here = said.here[grid].contiguous()
            here = here.view(batch, parts, parts, self.config.classes, *here.shape[-2:])
            places = [(self._places[grid][cell], cell % parts) for cell in cells]
            for cell, ((y, down), (x, along)) in enumerate(itertools.product(places, places)):
                logits[:, :, cell] += here[:, down, along, :, y : y + rows, x : x + columns]
            pmfs[grid] = _softmax_of_classes(logits).transpose(1, 2)
        return pmfs

    def _local_features(self, image: Tensor) -> Tensor:
        """What `local` gives for the image, strip by strip."""
        step, reach = self.config.stride_px, self._local_reach_px
        rows, columns = ((length - reach) // step + 1 for length in image.shape[-2:])
        if rows <= STRIP_ROWS:
            return self.runner.local(image)
        features = None
        for top in range(0, rows, STRIP_ROWS):
            bottom = min(top + STRIP_ROWS, rows)
            strip = self.runner.local(image[:, :, top * step : (bottom - 1) * step + reach])
            if features is None:
                shape = (len(image), self.config.widths[-1], rows, columns)
                last = strip.is_contiguous(memory_format=torch.channels_last)
                order = torch.channels_last if last else torch.contiguous_format
                features = strip.new_empty(shape).contiguous(memory_format=order)
            features[:, :, top:bottom] = strip
        return cast(Tensor, features)

    def multiply_adds(self, shape: tuple[int, int]) -> float:
        """Multiplications with addition that one pass over so many pixels takes, all counted."""
        total = 0.0
        rows, columns = shape
        for unit in itertools.chain(self.local, self.context):
            layer = cast(nn.Conv2d, cast(nn.Sequential, unit)[0])
            rows, columns = (
                (length - 1 - layer.dilation[0] * (layer.kernel_size[0] - 1)) // layer.stride[0] + 1
                for length in (rows, columns)
            )
            total += layer.weight.numel() * rows * columns
            if unit is self.local[-1]:
                for head in self.local_heads.values():
                    total += cast(nn.Conv2d, head).weight.numel() * rows * columns
        for head in self.context_heads.values():
            total += cast(nn.Conv2d, head).weight.numel() * rows * columns
        return total


def _softmax_of_classes(logits: Tensor) -> Tensor:
    """In place, over the second axis. torch's own gives other last bits with other threads."""
    logits -= logits.amax(dim=1, keepdim=True)
    logits.exp_()
    total = logits[:, :1].clone()
    for later in range(1, logits.shape[1]):
        total += logits[:, later : later + 1]
    logits /= total
    return logits


def pmfs_window_by_window(
    network: PmfCNN, image: Tensor, grids: tuple[int, ...] | None = None
) -> dict[int, Tensor]:
    """As ``network(image)`` for one image, every window cut out and run alone: the slow reference.

    image : (1, 1, H, W) float32
    """
    windows = network.config.windows
    rows, columns = (windows.positions(length) for length in image.shape[-2:])
    found = {
        grid: torch.empty((1, grid * grid, network.config.classes, rows, columns))
        for grid in grids or network.config.grids
    }
    for y in range(rows):
        for x in range(columns):
            top, left = y * windows.stride_px, x * windows.stride_px
            window = image[:, :, top : top + windows.size_px, left : left + windows.size_px]
            for grid, logits in network(window, tuple(found)).items():
                found[grid][..., y, x] = logits[..., 0, 0]
    return found


def multiply_adds_per_pixel(config: PmfCNNConfig) -> float:
    """Multiplications with addition that use takes for each pixel deep inside a large image."""
    network = VotingNetwork(PmfCNN(config))
    total, step = 0.0, 1
    for unit in itertools.chain(network.local, network.context):
        layer = cast(nn.Conv2d, cast(nn.Sequential, unit)[0])
        step *= layer.stride[0]
        total += layer.weight.numel() / step**2
    for head in itertools.chain(network.local_heads.values(), network.context_heads.values()):
        total += cast(nn.Conv2d, head).weight.numel() / step**2
    return total
