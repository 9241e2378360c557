"""Two rivals from outside, trained the way their own programs do it. Both are extras for measuring.

nnU-Net's way: MONAI's DynUNet at nnU-Net's default width, Dice and cross-entropy, deep supervision,
its augmentations and their probabilities, stochastic gradient descent with its schedule (Isensee et
al. 2021). ilastik's way: intensity, edge and texture features at several scales and a random forest
(Berg et al. 2019).
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor

from model.classes import UNKNOWN
from model.comparison.arms import Labeller, Task
from model.dataset import TrainingField

PATCH_PX: Final = 192
BATCH: Final = 2
WIDTHS: Final = (32, 64, 128, 256, 512, 512)
FEATURES_UP_TO_PX: Final = 16.0
FOREST_TREES: Final = 100
FOREST_PIXELS: Final = 60_000


def dynunet(fields: Sequence[TrainingField], task: Task) -> tuple[Labeller, int]:
    """U-Net as nnU-Net trains it."""
    nets = importlib.import_module("monai.networks.nets")
    torch.manual_seed(task.seed)
    levels = len(WIDTHS)
    network = nets.DynUNet(
        spatial_dims=2,
        in_channels=1,
        out_channels=task.classes,
        kernel_size=[3] * levels,
        strides=[1] + [2] * (levels - 1),
        upsample_kernel_size=[2] * (levels - 1),
        filters=list(WIDTHS),
        deep_supervision=True,
        deep_supr_num=3,
    ).to(memory_format=torch.channels_last)
    change = _augmentation(task.seed)
    first_rate = 1e-2
    optimiser = torch.optim.SGD(
        network.parameters(), lr=first_rate, momentum=0.99, nesterov=True, weight_decay=3e-5
    )
    network.train()
    chance = np.random.default_rng([task.seed, 5])
    began, step = time.process_time(), 0
    while (spent := (time.process_time() - began) / task.cpu_s) < 1:
        for part in optimiser.param_groups:
            part["lr"] = first_rate * (1 - spent) ** 0.9
        images, labels = _batch(fields, change, chance)
        with torch.autocast("cpu", torch.bfloat16):
            heads = network(images.contiguous(memory_format=torch.channels_last))
        # (B, heads, C, H, W): MONAI brings the deeper heads up to full size.
        weights = [0.5**rank for rank in range(heads.shape[1])]
        loss = torch.stack(
            [
                weight * _dice_and_entropy(heads[:, rank].float(), labels)
                for rank, weight in enumerate(weights)
            ]
        ).sum() / sum(weights)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 12.0)
        optimiser.step()
        step += 1
    network.eval()

    def label(image: NDArray[np.float32]) -> NDArray[np.float32]:
        height, width = image.shape
        down, right = -height % 32, -width % 32
        padded = np.pad(image, ((0, down), (0, right)), mode="reflect")
        total = np.zeros((task.classes, height, width), dtype=np.float32)
        with torch.inference_mode():
            # Mirrored along each axis, as nnU-Net does by default.
            for axes in ((), (2,), (3,), (2, 3)):
                tensor = torch.from_numpy(padded)[None, None].flip(axes)
                found = torch.softmax(network(tensor), dim=1).flip(axes)[0]
                total += found[:, :height, :width].numpy()
        return np.asarray(total / 4, dtype=np.float32)

    return label, step


def _dice_and_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    classes = scores.shape[1]
    known = (labels != UNKNOWN)[:, None].to(scores.dtype)
    truth = functional.one_hot(labels.long().clamp(max=classes), classes + 1)[..., :classes]
    truth = truth.permute(0, 3, 1, 2).to(scores.dtype)
    said = torch.softmax(scores, dim=1) * known
    # Over the batch and without the background, as nnU-Net's two-dimensional default.
    both = (said * truth).sum(dim=(0, 2, 3))
    dice = (2 * both + 1e-5) / (said.sum(dim=(0, 2, 3)) + truth.sum(dim=(0, 2, 3)) + 1e-5)
    entropy = functional.cross_entropy(scores, labels.long(), ignore_index=UNKNOWN)
    return entropy - dice[1:].mean()


def _augmentation(seed: int) -> Any:
    """nnU-Net's changes and how often it makes them, by MONAI's transforms."""
    make = importlib.import_module("monai.transforms")
    both = ["image", "label"]
    chain = make.Compose(
        [
            make.RandRotated(
                both,
                range_x=np.pi,
                prob=0.2,
                mode=["bilinear", "nearest"],
                padding_mode="reflection",
            ),
            make.RandZoomd(
                both,
                prob=0.2,
                min_zoom=0.7,
                max_zoom=1.4,
                mode=["bilinear", "nearest"],
                padding_mode="reflect",
            ),
            make.RandGaussianNoised(["image"], prob=0.1, std=0.3),
            make.RandGaussianSmoothd(["image"], prob=0.2, sigma_x=(0.5, 1.0), sigma_y=(0.5, 1.0)),
            make.RandScaleIntensityd(["image"], factors=0.25, prob=0.15),
            make.RandAdjustContrastd(["image"], prob=0.3, gamma=(0.7, 1.5), retain_stats=True),
            make.RandFlipd(both, prob=0.5, spatial_axis=0),
            make.RandFlipd(both, prob=0.5, spatial_axis=1),
        ]
    )
    chain.set_random_state(seed)
    return chain


def _batch(
    fields: Sequence[TrainingField], change: Any, chance: np.random.Generator
) -> tuple[Tensor, Tensor]:
    images, labels = [], []
    for number in range(BATCH):
        field = fields[int(chance.integers(len(fields)))]
        image, truth = np.asarray(field.flat, dtype=np.float32), field.labels
        short = [(0, max(0, PATCH_PX - length)) for length in truth.shape]
        image = np.pad(image, short, mode="reflect")
        truth = np.pad(truth, short, constant_values=UNKNOWN)
        places = [int(chance.integers(length - PATCH_PX + 1)) for length in truth.shape]
        if number % 3 == 2 or (BATCH == 2 and number == 1):
            # A share of the patches is laid on a class that is not the background.
            wanted = np.argwhere((truth > 0) & (truth != UNKNOWN))
            if len(wanted):
                middle = wanted[int(chance.integers(len(wanted)))]
                places = [
                    int(np.clip(m - PATCH_PX // 2, 0, length - PATCH_PX))
                    for m, length in zip(middle, truth.shape, strict=True)
                ]
        cut = tuple(slice(place, place + PATCH_PX) for place in places)
        changed = change({"image": image[cut][None], "label": truth[cut][None].astype(np.float32)})
        images.append(torch.as_tensor(np.asarray(changed["image"]), dtype=torch.float32))
        labels.append(torch.as_tensor(np.asarray(changed["label"])).round().to(torch.uint8)[0])
    return torch.stack(images), torch.stack(labels)


def random_forest(fields: Sequence[TrainingField], task: Task) -> tuple[Labeller, int]:
    """Pixel classification: multiscale features, a random forest."""
    features = importlib.import_module("skimage.feature").multiscale_basic_features
    ensemble = importlib.import_module("sklearn.ensemble")
    chance = np.random.default_rng([task.seed, 9])

    def columns(image: NDArray[np.float32]) -> NDArray[np.float32]:
        found = features(np.asarray(image, dtype=np.float32), sigma_max=FEATURES_UP_TO_PX)
        return np.asarray(found, dtype=np.float32)

    rows, truths = [], []
    each = FOREST_PIXELS // len(fields)
    for field in fields:
        known = np.flatnonzero(field.labels != UNKNOWN)
        chosen = chance.choice(known, min(each, len(known)), replace=False)
        values = columns(np.asarray(field.flat, dtype=np.float32))
        rows.append(values.reshape(-1, values.shape[-1])[chosen])
        truths.append(field.labels.reshape(-1)[chosen])
    forest = ensemble.RandomForestClassifier(
        n_estimators=FOREST_TREES, min_samples_leaf=2, n_jobs=1, random_state=task.seed
    )
    forest.fit(np.concatenate(rows), np.concatenate(truths))

    def label(image: NDArray[np.float32]) -> NDArray[np.float32]:
        values = columns(image)
        said = forest.predict_proba(values.reshape(-1, values.shape[-1]))
        total = np.zeros((task.classes, *image.shape), dtype=np.float32)
        for place, value in enumerate(forest.classes_):
            total[int(value)] = said[:, place].reshape(image.shape)
        return total

    return label, FOREST_TREES
