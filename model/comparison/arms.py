"""The arms of the comparison: each learns from labelled fields and then gives class probabilities.

Networks of our own arms share encoder, crops, augmentation, optimiser, schedule and processor time;
only the supervision differs, and what it asks of the last layers.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeAlias

import cv2
import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor, nn

from model.classes import UNKNOWN
from model.comparison.networks import FullyConvolutional, pyramid_loss
from model.dataset import TrainingField
from model.network import PmfCNN, PmfCNNConfig, VotingNetwork
from model.pmf import pmf_loss, votes
from model.train import FieldGroup, TrainingSettings, draw_batch

Labeller: TypeAlias = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""(H, W) standardised grey levels -> (C, H, W) probabilities."""

VOTE_MARGIN_SHARE: Final = 0.17
"""Of a window's side: cells nearer to its edge do not vote."""


MORE_THAN_A_WINDOW_PX: Final = 64
CROPS: Final = 8
"""Crops in a step and how much wider than a window they are: at a stride of 8 pixels each holds
81 windows."""


class Arm(Protocol):
    """How one way of learning is run."""

    def __call__(self, fields: Sequence[TrainingField], task: Task) -> tuple[Labeller, int]:
        """Learn; returns the labeller and the number of steps taken."""


@dataclass(frozen=True)
class Task:
    """What an arm is asked to do.

    cpu_s : processor time for learning, all threads together
    alone : learn from windows drawn one by one, as the method's report does, and not from all the
        overlapping windows of a crop at once; as many pixels a step
    """

    classes: int
    window_px: int
    stride_px: int
    cpu_s: float
    seed: int
    widths: tuple[int, ...] = (24, 48, 96)
    context_channels: int = 128
    alone: bool = False


def grids(window_px: int, finest_px: int) -> tuple[int, ...]:
    """1 and, from the finest on, each half as fine: 1, 2, 4, 8 for 64 pixels and cells of 8."""
    found = [window_px // finest_px]
    while found[-1] % 2 == 0 and found[-1] > 2:
        found.append(found[-1] // 2)
    return tuple(sorted({1, *found}))


# ------------------------------------------------------------------------- learning, all alike


def learn(
    network: nn.Module,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    fields: Sequence[TrainingField],
    task: Task,
    settings: TrainingSettings,
) -> int:
    """Train a network for the task's processor time; returns the number of steps.

    loss_of : images (B, 1, side, side), labels (B, side, side) -> loss
    """
    network.train()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    group = FieldGroup("set", fields, 1.0)
    average = {name: value.detach().clone() for name, value in network.state_dict().items()}
    began, step = time.process_time(), 0
    while (spent := (time.process_time() - began) / task.cpu_s) < 1:
        rate = min(1.0, spent / settings.warmup_share, 0.5 * (1 + math.cos(math.pi * spent)))
        for part in optimiser.param_groups:
            part["lr"] = settings.learning_rate * max(rate, 0.01)
        images, labels = draw_batch([group], settings, np.random.default_rng([task.seed, step]))
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.short_floats):
            loss = loss_of(images.contiguous(memory_format=torch.channels_last), labels)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        step += 1
        share = max(1 / settings.average_over_steps, 1 / (step + 1))
        with torch.no_grad():
            for name, value in network.state_dict().items():
                if value.dtype.is_floating_point:
                    average[name].lerp_(value, share)
                else:
                    average[name].copy_(value)
    network.load_state_dict(average)
    network.eval()
    return step


def settings_of(task: Task) -> TrainingSettings:
    """Settings that all networks of ours share."""
    crop_px, batch = task.window_px + MORE_THAN_A_WINDOW_PX, CROPS
    if task.alone:
        batch = round(batch * (crop_px / task.window_px) ** 2)
        crop_px = task.window_px
    return TrainingSettings(
        crop_px=crop_px,
        batch=batch,
        learning_rate=3e-3,
        scale_spread=0.15,
        paste_share=0.0,
        average_over_steps=60,
    )


def config_of(
    task: Task, wanted: tuple[int, ...], voting: tuple[int, ...], margin_px: int = 0
) -> PmfCNNConfig:
    """Sizes of a network for the task that learns the grids wanted."""
    return PmfCNNConfig(
        window_px=task.window_px,
        stride_px=task.stride_px,
        grids=wanted,
        voting_grids=voting,
        vote_margin_px=margin_px,
        widths=task.widths if task.stride_px == 8 else task.widths[:2],
        context_channels=task.context_channels,
        classes=task.classes,
    )


# ----------------------------------------------------------------------------------- our arms


def centre_loss(logits: Tensor, labels: Tensor, config: PmfCNNConfig) -> Tensor:
    """Cross-entropy of each window's class against the class of its centre pixel.

    logits : (B, 1, C, h, w) of the grid of one cell
    """
    rows, columns = logits.shape[-2:]
    middle, stride = config.window_px // 2, config.stride_px
    centres = labels[:, middle::stride, middle::stride][:, :rows, :columns]
    return functional.cross_entropy(logits[:, 0].float(), centres.long(), ignore_index=UNKNOWN)


def patch_classification(fields: Sequence[TrainingField], task: Task) -> tuple[Labeller, int]:
    """Target: the class of the window's centre pixel."""
    config = config_of(task, (1,), (1,))
    torch.manual_seed(task.seed)
    network = PmfCNN(config)

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        return centre_loss(network(images)[1], labels, config)

    steps = learn(network, loss, fields, task, settings_of(task))

    def centres(image: Tensor) -> Tensor:
        return torch.softmax(network(image)[1][:, 0], dim=1)

    return shifted(centres, (config.window_px - config.stride_px) // 2, config), steps


def pmf_arm(pick: Callable[[tuple[int, ...]], tuple[int, ...]] = lambda every: every) -> Arm:
    """Target: the pmfs of all cells of the grids picked; the finest of them votes.

    Coarser grids are learnt from and do not vote, and neither do cells close to a window's edge:
    both blur the map.
    """

    def run(fields: Sequence[TrainingField], task: Task) -> tuple[Labeller, int]:
        wanted = pick(grids(task.window_px, task.stride_px))
        cell = task.window_px // max(wanted)
        margin = round(VOTE_MARGIN_SHARE * task.window_px / cell) * cell
        config = config_of(task, wanted, (max(wanted),), margin)
        torch.manual_seed(task.seed)
        network = PmfCNN(config)
        settings = settings_of(task)
        weights = settings.weights_of(wanted)

        def loss(images: Tensor, labels: Tensor) -> Tensor:
            logits = {grid: values.float() for grid, values in network(images).items()}
            return pmf_loss(logits, labels, config.windows, weights)

        steps = learn(network, loss, fields, task, settings)

        voting = VotingNetwork(network)

        def voted(image: Tensor) -> Tensor:
            total, count = votes(voting(image), config.windows, config.vote_margin_px)
            return total / count.clamp_min(1)

        return shifted(voted, 0, config), steps

    return run


def fully_convolutional(fields: Sequence[TrainingField], task: Task) -> tuple[Labeller, int]:
    """Target: the class of each pixel."""

    def pixel_loss(every: Sequence[Tensor], labels: Tensor) -> Tensor:
        return functional.cross_entropy(every[-1].float(), labels.long(), ignore_index=UNKNOWN)

    return _to_pixels(fields, task, pixel_loss)


def pmf_pyramid(fields: Sequence[TrainingField], task: Task) -> tuple[Labeller, int]:
    """Target: pmfs of cells of S, S / 2 ... 1 pixels, each learnt at its level of the decoder, and
    once more those of S pixels from the window alone.
    """
    return _to_pixels(fields, task, pyramid_loss)


def _to_pixels(
    fields: Sequence[TrainingField],
    task: Task,
    loss_of: Callable[[Sequence[Tensor], Tensor], Tensor],
) -> tuple[Labeller, int]:
    config = config_of(task, (1,), (1,))
    torch.manual_seed(task.seed)
    network = FullyConvolutional(config)
    border = network.border_px

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        every = network.by_level(images)
        rows, columns = (n * task.stride_px for n in every[0].shape[-2:])
        return loss_of(every, labels[:, border : border + rows, border : border + columns])

    steps = learn(network, loss, fields, task, settings_of(task))

    def pixels(image: Tensor) -> Tensor:
        return torch.softmax(network(image), dim=1)

    return shifted(pixels, border, config), steps


def shifted(
    probabilities: Callable[[Tensor], Tensor], border_px: int, config: PmfCNNConfig
) -> Labeller:
    """Mean over four passes, moved by half a stride: the same for every network of ours.

    probabilities : (1, 1, H, W) -> (1, C, h, w), whose first value belongs to the square of pixels
        that begins at (border_px, border_px)
    """
    half, stride = config.stride_px // 2, config.stride_px

    def label(image: NDArray[np.float32]) -> NDArray[np.float32]:
        height, width = image.shape
        around = config.window_px // 2 + stride
        total = np.zeros((config.classes, height, width), dtype=np.float32)
        for down, right in itertools.product((0, half), repeat=2):
            # Whole strides, and a border of reflected pixels that every window fits in.
            below = around + (-(height + around + around - down)) % stride
            after = around + (-(width + around + around - right)) % stride
            padded = cv2.copyMakeBorder(
                image, around - down, below, around - right, after, cv2.BORDER_REFLECT_101
            )
            with torch.inference_mode():
                found = probabilities(torch.from_numpy(padded)[None, None])[0].float().numpy()
            covered = (
                config.windows.covered_px(config.windows.positions(padded.shape[0]))
                - 2 * border_px,
                config.windows.covered_px(config.windows.positions(padded.shape[1]))
                - 2 * border_px,
            )
            top, left = around - down - border_px, around - right - border_px
            for value, plane in enumerate(found):
                whole = cv2.resize(plane, (covered[1], covered[0]), interpolation=cv2.INTER_LINEAR)
                total[value] += whole[top : top + height, left : left + width]
        return np.asarray(total / 4, dtype=np.float32)

    return label


def alone(arm: Arm) -> Arm:
    """The arm, learning from windows drawn one by one."""

    def run(fields: Sequence[TrainingField], task: Task) -> tuple[Labeller, int]:
        return arm(fields, replace(task, alone=True))

    return run


ARMS: Final[dict[str, Arm]] = {
    "patch": patch_classification,
    "fcn": fully_convolutional,
    "pmf-coarse": pmf_arm(lambda every: every[:1]),
    "pmf-half": pmf_arm(lambda every: every[-2:-1]),
    "pmf-fine": pmf_arm(lambda every: every[-1:]),
    "pmf": pmf_arm(),
    "pyramid": pmf_pyramid,
    "patch-alone": alone(patch_classification),
    "pmf-alone": alone(pmf_arm()),
}
"""Arms on our own encoder."""
