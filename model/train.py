"""Training: crops of labelled fields, varied at random, and the pmf loss.

What chance does in a step depends on the seed and the step's number alone. A run that was cut off
and resumed therefore ends with the same weights as one that was not (on the same machine with the
same number of threads).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.checkpoint import Manifest, Model
from model.classes import NOT_DIFFERENTIATED, UNKNOWN, CellClass
from model.dataset import TrainingField
from model.metrics import Confusion, confusion
from model.network import PmfCNN, PmfCNNConfig
from model.pmf import pmf_loss, voting_cells
from model.pmf_segmenter import PmfSegmenter
from model.preprocessing import bend
from model.segmentation import label_map

Crop: TypeAlias = tuple[NDArray[np.float32], NDArray[np.uint8]]

STATE: Final = "training.safetensors"
_NOT_ENOUGH_MINUTES: Final = 20


def has_matrix_units() -> bool:
    """Does this processor multiply matrices of bfloat16 in units of their own (Intel's AMX)?"""
    return bool(torch.cpu._is_amx_tile_supported())


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained.

    crop_px : side of the crops at the working scale
    grid_weights : weight of each grid in the loss; by default the finest weighs most and each
        coarser one half as much as the next finer
    scale_spread : standard deviation of the logarithm of the random change of scale
    paste_share : share of the crops into which a part of another crop is pasted
    average_over_steps : the weights kept are a running mean over about so many steps
    short_floats : multiply in bfloat16: twice as fast on processors with matrix units (AMX), and
        slower than single precision on those without (`make bench-training`)
    frozen : parts of the network ("local", "context") whose weights stay as they are
    keep_statistics : batch normalisation goes on with the statistics that it has
    voters_only : of the grids that vote, learn the cells that do and no others. That is what counts
        in use, and in fine grids a fraction of the work; what has learnt nothing yet learns more
        from all of them
    """

    crop_px: int = 128
    batch: int = 12
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    warmup_share: float = 0.03
    grid_weights: Mapping[int, float] | None = None
    scale_spread: float = 0.22
    paste_share: float = 0.2
    average_over_steps: int = 500
    short_floats: bool = field(default_factory=has_matrix_units)
    frozen: tuple[str, ...] = ()
    keep_statistics: bool = False
    voters_only: bool = False

    def weights_of(self, grids: Sequence[int]) -> Mapping[int, float]:
        """The weight of each of a network's grids."""
        if self.grid_weights is not None:
            return self.grid_weights
        return {grid: 0.5**rank for rank, grid in enumerate(sorted(grids, reverse=True))}

    def cells_of(self, config: PmfCNNConfig) -> Mapping[int, range]:
        """Rows (equally columns) of each grid that are learnt, where these are not all."""
        if not self.voters_only:
            return {}
        voters = {
            grid: voting_cells(config.windows, grid, config.vote_margin_px)
            for grid in config.voting_grids
        }
        return {grid: range(cells[0], cells[-1] + 1) for grid, cells in voters.items()}

    def to_json(self) -> dict[str, Any]:
        """The settings as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Progress:
    """Where training stands: told to whoever asked for it, a few times a minute.

    loss : mean since the last report
    score : mean Jaccard on the held-out part when it was measured last; None before
    """

    step: int
    steps: int
    loss: float
    score: float | None
    elapsed_s: float


Spots: TypeAlias = Sequence[Sequence[tuple[int, NDArray[np.int32]]]]
"""For each class that occurs (and for what is only known not to be differentiated): numbers of the
fields that have it, and pixels (n, 2) of it there."""

_SPOTS_A_FIELD: Final = 4096


@dataclass(frozen=True, eq=False)
class FieldGroup:
    """Fields of one kind and the share of the crops that come from them.

    spots : where crops are taken, so that each class has its turn equally often; None: anywhere
    """

    name: str
    fields: Sequence[TrainingField]
    share: float
    scale_spread: float | None = None
    spots: Spots | None = None


def balanced_group(name: str, fields: Sequence[TrainingField], share: float) -> FieldGroup:
    """A group whose crops show each class equally often, and each field that has the class.

    A lab's few fields seldom hold the classes in the shares of its dishes; what is rare in them
    must not be taken for rare. What is only known not to be differentiated has its turn as well.
    """
    spots: list[list[tuple[int, NDArray[np.int32]]]] = []
    for value in (*CellClass, NOT_DIFFERENTIATED):
        here: list[tuple[int, NDArray[np.int32]]] = []
        for number, one in enumerate(fields):
            places = np.argwhere(one.labels == int(value)).astype(np.int32)
            if len(places):
                here.append((number, places[:: -(-len(places) // _SPOTS_A_FIELD)]))
        if here:
            spots.append(here)
    return FieldGroup(name, fields, share, spots=spots)


# ------------------------------------------------------------------------------------- crops


def draw_crop(group: FieldGroup, settings: TrainingSettings, chance: np.random.Generator) -> Crop:
    """A square piece of a random field of the group, turned, scaled and varied in grey."""
    chosen, spot = _draw_place(group, chance)
    side = settings.crop_px
    spread = settings.scale_spread if group.scale_spread is None else group.scale_spread
    factor = math.exp(float(np.clip(chance.normal(0, spread), -0.7, 0.7)))
    wanted = max(16, round(side * factor))
    for _ in range(4):
        image, labels = _cut(chosen, wanted, chance, spot)
        if (labels != UNKNOWN).mean() > 0.1:
            break
    shrinks = wanted >= side
    image = cast(
        NDArray[np.float32],
        cv2.resize(
            image, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        ),
    )
    labels = cast(
        NDArray[np.uint8],
        cv2.resize(labels, (side, side), interpolation=cv2.INTER_NEAREST_EXACT),
    )
    turns, mirrored = int(chance.integers(4)), bool(chance.random() < 0.5)
    image, labels = np.rot90(image, turns), np.rot90(labels, turns)
    if mirrored:
        image, labels = image[:, ::-1], labels[:, ::-1]
    return vary_grey(np.ascontiguousarray(image), chance), np.ascontiguousarray(labels)


def _draw_place(
    group: FieldGroup, chance: np.random.Generator
) -> tuple[TrainingField, tuple[int, int] | None]:
    if not group.spots:
        return group.fields[int(chance.integers(len(group.fields)))], None
    having = group.spots[int(chance.integers(len(group.spots)))]
    number, places = having[int(chance.integers(len(having)))]
    row, column = places[int(chance.integers(len(places)))]
    return group.fields[number], (int(row), int(column))


def _cut(
    chosen: TrainingField,
    side: int,
    chance: np.random.Generator,
    spot: tuple[int, int] | None,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    last = tuple(max(0, length - side) for length in chosen.labels.shape)
    if spot is None:
        top, left = (int(chance.integers(end + 1)) for end in last)
    else:
        top, left = (
            min(max(0, place - int(chance.integers(side))), end)
            for place, end in zip(spot, last, strict=True)
        )
    image = np.asarray(chosen.flat[top : top + side, left : left + side], dtype=np.float32)
    labels = np.asarray(chosen.labels[top : top + side, left : left + side])
    short = ((0, side - image.shape[0]), (0, side - image.shape[1]))
    if any(after for _, after in short):
        image = np.pad(image, short, mode="symmetric")
        labels = np.pad(labels, short, constant_values=UNKNOWN)
    return image, labels


def vary_grey(image: NDArray[np.float32], chance: np.random.Generator) -> NDArray[np.float32]:
    """Contrast, offset, skew, shading, blur and grain at random, far more than looks right."""
    size = (image.shape[1], image.shape[0])
    grey: NDArray[Any] = image * math.exp(chance.normal(0, 0.3)) + chance.normal(0, 0.12)
    if chance.random() < 0.5:
        grey = grey + chance.normal(0, 0.08) * np.clip(grey, -4, 4) ** 2
    if chance.random() < 0.35:
        coarse = chance.normal(0, 1, (4, 4)).astype(np.float32)
        shade = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
        grey = grey + abs(chance.normal(0, 0.3)) * shade
    if chance.random() < 0.4:
        grey = cv2.GaussianBlur(grey, (0, 0), float(chance.uniform(0.3, 1.3)))
    elif chance.random() < 0.25:
        soft = cv2.GaussianBlur(grey, (0, 0), 1.5)
        grey = grey + chance.uniform(0.2, 0.9) * (grey - soft)
    if chance.random() < 0.5:
        grain: NDArray[Any] = chance.normal(0, 1, image.shape).astype(np.float32)
        if chance.random() < 0.4:
            grain = cv2.GaussianBlur(grain, (0, 0), 0.8) * 2.2
        grey = grey + abs(chance.normal(0, 0.3)) * grain
    return grey.astype(np.float32)


def paste(first: Crop, second: Crop, chance: np.random.Generator) -> Crop:
    """A part of the second crop, with a winding outline, over the first."""
    side = first[1].shape[0]
    coarse = chance.normal(0, 1, (5, 5)).astype(np.float32)
    hills = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    over = hills > chance.normal(0, 0.4)
    soft = cv2.GaussianBlur(over.astype(np.float32), (0, 0), float(chance.uniform(0.5, 2.0)))
    image = first[0] * (1 - soft) + second[0] * soft
    return cast(NDArray[np.float32], image), np.where(over, second[1], first[1])


def draw_batch(
    groups: Sequence[FieldGroup], settings: TrainingSettings, chance: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """A batch of crops: images (B, 1, side, side) float32, labels (B, side, side) uint8."""
    shares = np.array([group.share for group in groups], dtype=float)
    shares /= shares.sum()
    crops: list[Crop] = []
    for _ in range(settings.batch):
        crop = draw_crop(groups[int(chance.choice(len(groups), p=shares))], settings, chance)
        if chance.random() < settings.paste_share:
            other = draw_crop(groups[int(chance.choice(len(groups), p=shares))], settings, chance)
            crop = paste(crop, other, chance)
        crops.append(crop)
    images = np.stack([bend(image) for image, _ in crops])[:, None]
    labels = np.stack([label for _, label in crops])
    return torch.from_numpy(images), torch.from_numpy(labels)


# -------------------------------------------------------------------------------------- loop


def _begun(network: PmfCNN, settings: TrainingSettings) -> tuple[PmfCNN, PmfCNN, torch.optim.AdamW]:
    """(network to train, the running mean of its weights, optimiser), the frozen parts frozen"""
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.train()
    average = PmfCNN(network.config)
    average.load_state_dict(network.state_dict())
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not name.startswith(tuple(f"{part}." for part in settings.frozen)))
    optimiser = torch.optim.AdamW(
        [one for one in network.parameters() if one.requires_grad],
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
    )
    return network, average, optimiser


def _loss(
    network: PmfCNN,
    images: Tensor,
    labels: Tensor,
    settings: TrainingSettings,
    grid_weights: Mapping[int, float],
) -> Tensor:
    cells = settings.cells_of(network.config)
    with torch.autocast("cpu", torch.bfloat16, enabled=settings.short_floats):
        logits = network(images.contiguous(memory_format=torch.channels_last), wanted=cells)
    logits = {grid: values.float() for grid, values in logits.items()}
    return pmf_loss(logits, labels, network.config.windows, grid_weights, cells)


def fit(
    network: PmfCNN,
    groups: Sequence[FieldGroup],
    settings: TrainingSettings,
    *,
    steps: int,
    seed: int,
    work: Path | None = None,
    run: str = "",
    progress: Callable[[Progress], None] | None = None,
    measure: Callable[[PmfCNN], float] | None = None,
    report_every_s: float = 15.0,
    keep_every_s: float = 60.0,
) -> PmfCNN:
    """Train a network and return one with the running mean of its weights.

    steps : of gradient descent in all, those of a resumed run included
    work : folder in which the state is kept and from which a run of the same name is resumed
    run : what makes this run another one, beside network, seed and steps (data, settings)
    measure : score of a network on held-out data, asked for a few times
    """
    config = network.config
    if settings.crop_px < config.window_px:
        raise ValueError(
            f"crops of {settings.crop_px} pixels are smaller than a window of {config.window_px}"
        )
    grid_weights = settings.weights_of(config.grids)
    network, average, optimiser = _begun(network, settings)
    learning = [one for one in network.parameters() if one.requires_grad]
    name_of_run = _run_name(network, seed, steps, run)
    first = _resume(work, network, average, optimiser, name_of_run) if work else 0
    started = reported = saved = time.monotonic()
    losses: list[float] = []
    score: float | None = None
    for step in range(first, steps):
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * _rate(step / steps, settings.warmup_share)
        if settings.keep_statistics:
            _keep_statistics(network)
        images, labels = draw_batch(groups, settings, np.random.default_rng([seed, step]))
        loss = _loss(network, images, labels, settings, grid_weights)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(learning, 5.0)
        optimiser.step()
        _follow(average, network, min(1 / settings.average_over_steps, 1.0), step)
        losses.append(loss.item())
        now = time.monotonic()
        if measure is not None and 4 * (step + 1) // steps > 4 * step // steps:
            score = measure(average)
        if work is not None and (now - saved > keep_every_s or step + 1 == steps):
            _keep(work, network, average, optimiser, name_of_run, step + 1)
            saved = now
        if progress is not None and (now - reported > report_every_s or step + 1 == steps):
            progress(Progress(step + 1, steps, float(np.mean(losses)), score, now - started))
            reported, losses = now, []
    average.eval()
    return average


def _keep_statistics(network: PmfCNN) -> None:
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()


def _rate(share: float, warmup: float) -> float:
    if share < warmup:
        return (share + 1e-3) / warmup
    return 0.5 * (1 + math.cos(math.pi * (share - warmup) / (1 - warmup))) + 1e-3


@torch.no_grad()
def _follow(average: PmfCNN, network: PmfCNN, part: float, step: int) -> None:
    # Early on the mean is over all steps so far, or it would remember the random start.
    part = max(part, 1 / (step + 2))
    new = network.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(new[name], part)
        else:
            value.copy_(new[name])


def _keep(
    work: Path,
    network: PmfCNN,
    average: PmfCNN,
    optimiser: torch.optim.Optimizer,
    run: str,
    step: int,
) -> None:
    work.mkdir(parents=True, exist_ok=True)
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.state_dict().items()}
    for name, parameter in network.named_parameters():
        for key, value in optimiser.state.get(parameter, {}).items():
            tensors[f"optimiser.{name}.{key}"] = torch.as_tensor(value)
    tensors = {name: value.detach().contiguous().clone() for name, value in tensors.items()}
    # Step and name ride in the same file: two files could be of two moments after a crash.
    part = work / f".{STATE}.part"
    save_file(tensors, part, metadata={"step": str(step), "run": run})
    part.replace(work / STATE)


def _run_name(network: PmfCNN, seed: int, steps: int, run: str) -> str:
    return json.dumps(
        {"network": network.config.to_json(), "seed": seed, "steps": steps, "run": run}
    )


def _resume(
    work: Path,
    network: PmfCNN,
    average: PmfCNN,
    optimiser: torch.optim.Optimizer,
    run: str,
) -> int:
    try:
        with safe_open(work / STATE, "pt") as kept:
            note = kept.metadata() or {}
            if note.get("run") != run:
                return 0
            step = int(note["step"])
            tensors = {name: kept.get_tensor(name) for name in kept.keys()}  # noqa: SIM118
    except (OSError, ValueError, KeyError, SafetensorError):
        return 0

    def part(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    network.load_state_dict(part("network."))
    average.load_state_dict(part("average."))
    for name, parameter in network.named_parameters():
        state = part(f"optimiser.{name}.")
        if state:
            optimiser.state[parameter] = state
    return step


def steps_in(
    minutes: float,
    network: PmfCNN,
    groups: Sequence[FieldGroup],
    settings: TrainingSettings,
) -> int:
    """How many steps fit into so many minutes on this machine, measured over a few of them."""
    trial = PmfCNN(network.config)
    fit(trial, groups, settings, steps=2, seed=0)
    started = time.monotonic()
    fit(trial, groups, settings, steps=6, seed=0)
    each = (time.monotonic() - started) / 6
    return max(_NOT_ENOUGH_MINUTES, int(minutes * 60 * 0.95 / each))


def held_out_score(network: PmfCNN, manifest: Manifest, held: Sequence[TrainingField]) -> float:
    """Mean Jaccard over held-out tiles; NaN where there are none."""
    segmenter = PmfSegmenter(Model(network, manifest))
    counts: list[Confusion] = []
    for one in held:
        flat = bend(np.asarray(one.flat, dtype=np.float32))
        found = segmenter.probabilities(flat)
        counts.append(confusion(one.labels, label_map(found, one.labels.shape)))
    if not counts:
        return float("nan")
    return sum(counts[1:], counts[0]).mean_jaccard
