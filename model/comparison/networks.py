"""The rivals' networks on the pmf-CNN's own encoder, so that what differs is the supervision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch.nn.functional as functional
from torch import Tensor, nn

from model.network import ConvUnit, PmfCNN, PmfCNNConfig
from model.pmf import one_hot


class FullyConvolutional(nn.Module):
    """The encoder, then class scores brought up to pixels with skips from each finer level.

    Long, Shelhamer and Darrell 2015. Scores of a level are added to those of the next coarser one
    after these were enlarged twofold; the last enlargement brings them to pixels.
    Unpadded, so that what a pixel's score rests on is the same everywhere.
    """

    def __init__(self, config: PmfCNNConfig) -> None:
        super().__init__()
        self.config = config
        encoder = PmfCNN(config)
        self.local, self.context = encoder.local, encoder.context
        self.taps: list[int] = []  # the last unit of each stride
        self.levels: list[tuple[int, int, int]] = []  # stride, reach, channels
        reach, step, channels = 1, 1, 1
        for number, unit in enumerate(self.local):
            convolution = cast(nn.Conv2d, cast(ConvUnit, unit)[0])
            reach += (convolution.kernel_size[0] - 1) * step
            if convolution.stride[0] > 1:
                if self.levels:
                    self.taps.append(number - 1)
                self.levels.append((0, 0, 0))
            step *= convolution.stride[0]
            channels = convolution.out_channels
            self.levels[-1] = (step, reach, channels)
        self.taps.append(len(self.local) - 1)
        self.scores = nn.ModuleList(
            nn.Conv2d(width, config.classes, 3, padding=1) for _, _, width in self.levels
        )
        deepest = cast(nn.Conv2d, cast(ConvUnit, self.context[-1])[0]).out_channels
        self.whole = nn.Conv2d(deepest, config.classes, 1)

    @property
    def border_px(self) -> int:
        """Pixels that the scores lack at the image's top and left."""
        return (self.config.window_px - self.config.stride_px) // 2

    def forward(self, image: Tensor) -> Tensor:
        """Scores of pixels.

        image : (B, 1, H, W)
        Returns (B, C, h * S, w * S): those from ``border_px`` on, for h x w windows.
        """
        return self.by_level(image)[-1]

    def by_level(self, image: Tensor) -> list[Tensor]:
        """Scores of ever smaller squares: twice of S pixels a side, then of S / 2 and so on to 1.

        The first are what the windows say as wholes, before anything is added to it.
        """
        features: list[Tensor] = []
        here = image
        for number, unit in enumerate(self.local):
            here = unit(here)
            if number in self.taps:
                features.append(here)
        scores = self.whole(self.context(here))  # (B, C, h, w)
        every = [scores]
        length = [n * self.config.stride_px for n in scores.shape[-2:]]
        for (stride, reach, _), values, score in reversed(
            list(zip(self.levels, features, self.scores, strict=True))
        ):
            if stride < self.config.stride_px:
                scores = enlarged(scores, 2)
            # The feature whose view has its middle nearest to the middle of a score's pixels.
            first = round((self.border_px + (stride - 1) / 2 - (reach - 1) / 2) / stride)
            rows, columns = (n // stride for n in length)
            scores = scores + score(values)[:, :, first : first + rows, first : first + columns]
            every.append(scores)
        return [*every, enlarged(scores, self.levels[0][0])]


def enlarged(scores: Tensor, times: int) -> Tensor:
    """Scores on a grid so many times finer."""
    return functional.interpolate(scores, scale_factor=times, mode="bilinear", align_corners=False)


def pyramid_loss(every: Sequence[Tensor], labels: Tensor) -> Tensor:
    """Cross-entropy of the pmfs of squares of pixels, at every level of the decoder.

    Half of it is the windows' own, which would else learn little while finer levels make up for
    what they do not say; of the decoder's levels each weighs half as much as the next finer.

    every : as from ``FullyConvolutional.by_level``
    labels : (B, H, W), classes or 255
    """
    windows, *levels = every
    weights = [0.5**rank for rank in range(len(levels))]
    total = sum(
        weight * _pmf_entropy(scores, labels)
        for weight, scores in zip(weights, reversed(levels), strict=True)
    )
    return 0.5 * (_pmf_entropy(windows, labels) + total / sum(weights))


def _pmf_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of squares' pmfs by labelled share.

    scores : (B, C, h, w), each for a square of as many pixels as the labels have more
    """
    side = labels.shape[-1] // scores.shape[-1]
    shares = functional.avg_pool2d(one_hot(labels, scores.shape[1]), side)
    known = shares.sum(dim=1)
    pmfs = shares / known.clamp_min(1e-6)[:, None]
    entropy = -(pmfs * functional.log_softmax(scores.float(), dim=1)).sum(dim=1)
    return (entropy * known).sum() / known.sum().clamp_min(1e-6)
