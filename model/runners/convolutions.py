"""What a runner is given, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Convolutions:
    """The convolutions of a network that is ready for use. float32, channels last, no gradients.

    local : units of convolution and ReLU, from the image to a place's features
    context : the same from there to what a window says as a whole
    local_heads, context_heads : grid -> convolution of 1 x 1, on the last of each
    """

    local: tuple[nn.Sequential, ...]
    context: tuple[nn.Sequential, ...]
    local_heads: dict[int, nn.Conv2d]
    context_heads: dict[int, nn.Conv2d]


@dataclass(frozen=True)
class RunnerName:
    """What did the arithmetic, as a reading names it: "torch 2.13.0 float32"."""

    library: str
    version: str
    precision: str

    def __str__(self) -> str:
        return f"{self.library} {self.version} {self.precision}"


@dataclass(frozen=True, eq=False)
class Said:
    """What the layers behind the local ones say. float32.

    layers : each of `context`, (B, channels, ...); only the last one where not all were asked for
    whole : grid -> logits of the context heads, (B, channels, h, w)
    here : grid -> logits of the local heads, (B, channels, h + n - 1, w + n - 1)
    """

    layers: list[Tensor]
    whole: dict[int, Tensor]
    here: dict[int, Tensor]


class Runner(Protocol):
    """The convolutions of one network, run in one way. One serves one thread at a time.

    same_bits : whether results are the same to the bit with any number of threads
    """

    name: RunnerName
    same_bits: bool

    def local(self, image: Tensor) -> Tensor:
        """Features of an image or of a strip of one.

        image : (B, 1, H, W) float32, normalised; at least a window
        Returns (B, wide, h, w) in whatever numbers and order of memory `rest` wants them.
        """
        ...

    def rest(self, features: Tensor, *, every: bool) -> Said:
        """All that comes behind the features of the whole image.

        every : give all layers of `context`; else the last one
        """
        ...
