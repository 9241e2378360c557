"""Convolutions by torch: in float32, which is the reference, and in bfloat16."""

from __future__ import annotations

from copy import deepcopy
from typing import Final, TypeVar, cast

import torch
from torch import Tensor, nn

from model.runners.convolutions import Convolutions, RunnerName, Said

_Part = TypeVar("_Part", bound=nn.Module)

LEAST_PLACES: Final = 4
"""Where a layer would give fewer rows or columns than that, bfloat16 is not used: with AMX, torch
2.13 computes strided convolutions whose output is one column wide wrongly, without a word."""


class TorchRunner:
    """float32: the reference for all others. How a layer is cut up for threads may show in the last
    bits.
    """

    same_bits = False

    def __init__(self, convolutions: Convolutions) -> None:
        self.name = RunnerName("torch", _version(), "float32")
        self._convolutions = convolutions

    def local(self, image: Tensor) -> Tensor:
        for unit in self._convolutions.local:
            image = unit(image)
        return image

    def rest(self, features: Tensor, *, every: bool) -> Said:
        return _rest(self._convolutions, features, every)


class BFloat16Runner:
    """Numbers of 16 bits between the layers; sums are of float32.

    The first layer stays in float32: with one channel in it gains nothing, and pixels are taken as
    they are. So do images so small that a layer has next to nothing to give.
    """

    same_bits = False

    def __init__(self, convolutions: Convolutions) -> None:
        self.name = RunnerName("torch", _version(), "bfloat16")
        self._exact = TorchRunner(convolutions)
        self._layers = [cast(nn.Conv2d, unit[0]) for unit in convolutions.local]
        self._first = convolutions.local[0]
        self._short = Convolutions(
            local=tuple(_shortened(unit) for unit in convolutions.local[1:]),
            context=tuple(_shortened(unit) for unit in convolutions.context),
            local_heads={r: _shortened(head) for r, head in convolutions.local_heads.items()},
            context_heads={r: _shortened(head) for r, head in convolutions.context_heads.items()},
        )

    def local(self, image: Tensor) -> Tensor:
        if min(places_of(self._layers, image.shape[-2:])) < LEAST_PLACES:
            return self._exact.local(image)
        features = cast(Tensor, self._first(image)).to(torch.bfloat16)
        for unit in self._short.local:
            features = unit(features)
        return features

    def rest(self, features: Tensor, *, every: bool) -> Said:
        if features.dtype == torch.float32:
            return self._exact.rest(features, every=every)
        return _rest(self._short, features, every)


def places_of(layers: list[nn.Conv2d], sides: tuple[int, ...]) -> tuple[int, ...]:
    """How many rows and columns the last of some unpadded layers gives for such an image."""
    for layer in layers:
        reach = layer.dilation[0] * (layer.kernel_size[0] - 1)
        sides = tuple((length - 1 - reach) // layer.stride[0] + 1 for length in sides)
    return sides


def _rest(convolutions: Convolutions, features: Tensor, every: bool) -> Said:
    context, layers = features, list[Tensor]()
    for unit in convolutions.context:
        context = unit(context)
        if every:
            layers.append(context.float())
    return Said(
        layers or [context.float()],
        {grid: head(context).float() for grid, head in convolutions.context_heads.items()},
        {grid: head(features).float() for grid, head in convolutions.local_heads.items()},
    )


def _shortened(part: _Part) -> _Part:
    return deepcopy(part).to(torch.bfloat16)


def _version() -> str:
    return torch.__version__.partition("+")[0]
