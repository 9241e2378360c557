"""The starter model that ships with the program: how it is made, in one resumable command.

    python -m model.starter --out model/weights/starter --real DATA --fields 5000

In two stages (`model.starter.settings`): the second goes on from what the first has learnt, with
`--from MODEL` from what that model has. It learns from simulated fields (`model.simulation`), whose
truth is exact, and, where the folder is given, from real fields that may be used for it: hiPSC
phase contrast with labels, healthy cultures after a passage, single spread cells (as
differentiated-like cells), and a plate imager's brightfield fields whose labels are made here by a
local-contrast threshold. Whole lines, plates and sequences are held back for measuring
(`model.starter.held_out`); the model card names them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch

from model.checkpoint import Manifest, Model, load_model, save_model
from model.classes import CellClass
from model.dataset import LabelledImage, TrainingField, prepare
from model.evaluate import evaluate
from model.metrics import Confusion, confusion, fraction_error
from model.network import PmfCNN, PmfCNNConfig, multiply_adds_per_pixel
from model.pmf_segmenter import PmfSegmenter
from model.preprocessing import Normalisation, bend
from model.segmentation import Segmenter, label_map
from model.simulation.labelled import FIRST_TRAINING_SEED, simulated
from model.starter.card import card, short
from model.starter.doubting import doubting_of, with_section
from model.starter.failures import show_failures
from model.starter.measuring import scores_of, table_of
from model.starter.progress import say, tell
from model.starter.real_fields import real_groups
from model.starter.settings import ODDS, STAGES, STARTER_CONFIG, UM_PER_PIXEL, Stage
from model.starter.training_fields import (
    EMPTY_DISHES,
    TESTED_SEEDS,
    empty_dishes,
    simulated_fields,
    simulation_version,
)
from model.train import FieldGroup, fit, held_out_score

FIRST_VALIDATION_SEED: Final = 6000
"""Those from here on are for choosing while training; those before are for the final scores."""


@dataclass(frozen=True)
class Extent:
    """On how many pictures the starter is measured.

    validated : simulated fields, while training and to choose the temperature
    tested : simulated fields from each of `TESTED_SEEDS` on
    noise : pictures of white noise
    known, judged : simulated fields that the model is told to know, and others that say how far it
        may be trusted
    """

    validated: int = 40
    tested: int = 100
    noise: int = 40
    known: int = 240
    judged: int = 200


USUAL_EXTENT: Final = Extent()


def make_starter(
    out: Path,
    *,
    real: Path | None,
    work: Path,
    count: int,
    jobs: int = 1,
    seed: int = 0,
    stages: Sequence[Stage] = STAGES,
    config: PmfCNNConfig = STARTER_CONFIG,
    base: Path | None = None,
    extent: Extent = USUAL_EXTENT,
) -> Manifest:
    """Train the starter model, stage by stage, and write it. Long by what its manifest tells.

    real : folder of real fields, a folder each kind (`model.starter.held_out`)
    work : folder in which the simulated fields and the state of the training are kept
    count : simulated fields
    base : model whose layers are taken over where name and size fit; the others begin at random
    """
    fields = simulated_fields(count, work, jobs)
    empty = empty_dishes()
    torch.manual_seed(seed)
    network = PmfCNN(config)
    before = take_layers(network, base) if base else None
    say(f"{multiply_adds_per_pixel(config) * 2e-3:.1f} GFLOP per megapixel at the working scale")
    past: list[dict[str, Any]] = []
    names: dict[str, list[str]] = {}
    held: dict[str, list[TrainingField]] = {}
    for number, stage in enumerate(stages, 1):
        say(f"stage {number} of {len(stages)}: {stage.steps} steps")
        groups, held = real_groups(real, stage.shares) if real else ([], {})
        names = {group.name: [one.name for one in group.fields] for group in groups}
        groups.append(FieldGroup("empty", empty, stage.shares["empty"], 0.1))
        rest = 1.0 - sum(group.share for group in groups)
        groups.append(FieldGroup("simulated", fields, rest))
        shares = {group.name: round(group.share, 3) for group in groups}
        told = {"shares": shares, "steps": stage.steps, "settings": stage.training.to_json()}
        run = json.dumps([simulation_version(), count, names, told, before, past])
        network = fit(
            network,
            groups,
            stage.training,
            steps=stage.steps,
            seed=seed,
            work=work / f"stage-{number}",
            progress=tell,
            measure=_validation(held, extent.validated),
            run=run,
        )
        past.append(told)
    facts = {
        "simulated_fields": count,
        "first_simulation_seed": FIRST_TRAINING_SEED,
        "real": names,
        "empty_dishes": EMPTY_DISHES,
        "simulation": simulation_version(),
        "held_back": {kind: [one.name for one in some] for kind, some in held.items()},
        "stages": past,
        "seed": seed,
        "begun_with": before,
    }
    return publish(out, network, facts, real, extent)


def _validation(
    held: Mapping[str, Sequence[TrainingField]], fields: int
) -> Callable[[PmfCNN], float]:
    """Score on simulated fields that is kept while training; real kinds are told beside it."""
    manifest = Manifest("starter", STARTER_CONFIG, UM_PER_PIXEL)
    drawn = [
        prepare(simulated(FIRST_VALIDATION_SEED + i), UM_PER_PIXEL, Normalisation())
        for i in range(fields)
    ]

    def validate(network: PmfCNN) -> float:
        own = replace(manifest, network=network.config)
        score = held_out_score(network, own, drawn)
        say(f"held out: simulated: mean Jaccard {score:.3f}")
        for kind, some in held.items():
            if some:
                say(f"held out: {kind}: {_told(network, own, some)}")
        return score

    return validate


def _told(network: PmfCNN, manifest: Manifest, held: Sequence[TrainingField]) -> str:
    """Jaccard by class, and how wrong the differentiated fraction is, on prepared fields."""
    segmenter = PmfSegmenter(Model(network, manifest))
    counts = np.zeros((len(CellClass), len(CellClass)), dtype=np.int64)
    errors = []
    for one in held:
        flat = bend(np.asarray(one.flat, dtype=np.float32))
        shape = (one.labels.shape[0], one.labels.shape[1])
        labels = label_map(segmenter.probabilities(flat), shape)
        counts += confusion(one.labels, labels).counts
        errors.append(fraction_error(one.labels, labels))
    known = [error for error in errors if error is not None]
    pooled = Confusion(counts)
    by_class = ", ".join(
        f"{c.name.lower()} {pooled.jaccard[int(c)]:.3f}" for c in CellClass if counts[int(c)].any()
    )
    if not known:
        return by_class
    return f"{by_class}; fraction wrong by {np.mean(known):.3f}, worst {max(known):.3f}"


def take_layers(network: PmfCNN, base: Path) -> dict[str, Any]:
    """Start from a model's layers where name and size fit. Returns which model that is."""
    start = load_model(base)
    own = network.state_dict()
    fitting = {
        name: value
        for name, value in start.network.state_dict().items()
        if name in own and own[name].shape == value.shape
    }
    network.load_state_dict({**own, **fitting})
    say(f"{len(fitting)} of {len(own)} tensors taken from {base}")
    kept = ("stages", "shares", "steps", "seed", "simulation", "simulated_fields", "settings")
    learnt = {key: start.manifest.training[key] for key in kept if key in start.manifest.training}
    return {"sha256": start.manifest.sha256, "training": learnt}


def publish(
    out: Path,
    trained: PmfCNN,
    facts: Mapping[str, Any],
    real: Path | None,
    extent: Extent = USUAL_EXTENT,
) -> Manifest:
    """Calibrate and measure a trained network and write it with its card."""
    bare = Model(trained, Manifest("starter", trained.config, UM_PER_PIXEL))
    validation = [simulated(FIRST_VALIDATION_SEED + i) for i in range(extent.validated)]
    temperature = best_temperature(bare, validation)
    favour_differentiated(trained, temperature, ODDS)
    facts = {**facts, "odds_of_differentiated": ODDS}
    bare = Model(trained, replace(bare.manifest, temperature=temperature))
    say(f"temperature {temperature}; measuring")
    scores = measure(PmfSegmenter(bare), real, extent)
    say("how far it may be trusted")
    doubting = doubting_of(bare, real, extent.known, extent.judged)
    scores |= doubting.scores
    manifest = replace(bare.manifest, training=facts, scores=scores)
    text = with_section(card(manifest, extent.tested), doubting.table)
    manifest = save_model(out, Model(trained, manifest, doubting.judge), text)
    show_failures(out, extent.tested)
    return manifest


@torch.no_grad()
def favour_differentiated(network: PmfCNN, temperature: float, odds: float) -> None:
    """Multiply the odds of differentiated cells in all that votes, by the bias of the last layer.

    temperature : that logits will be divided by
    """
    for grid in network.config.voting_grids:
        bias = cast(torch.Tensor, network.context_heads[str(grid)].bias)
        by_cell = bias.view(grid * grid, network.config.classes)
        by_cell[:, CellClass.DIFFERENTIATED] += temperature * math.log(odds)


def best_temperature(model: Model, fields: Sequence[LabelledImage]) -> float:
    """The temperature whose probabilities are best calibrated on these fields."""
    errors: dict[float, float] = {}
    for temperature in (0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.85, 1.0, 1.2, 1.5):
        manifest = replace(model.manifest, temperature=temperature)
        measured = evaluate(PmfSegmenter(Model(model.network, manifest)), fields)
        errors[temperature] = measured.reliability.expected_calibration_error
    return min(errors, key=lambda temperature: errors[temperature])


def measure(
    segmenter: Segmenter, real: Path | None, extent: Extent = USUAL_EXTENT
) -> dict[str, Any]:
    """The scores that stand in the manifest and on the card."""
    scores: dict[str, Any] = {}
    for first in TESTED_SEEDS:
        seeds = range(first, first + extent.tested)
        drawn = evaluate(segmenter, (simulated(seed) for seed in seeds))
        scores[f"simulated, seeds {seeds[0]} to {seeds[-1]}"] = short(drawn)
    scores["white noise"] = noise_called_cells(segmenter, extent.noise)
    if real is not None:
        scores["real"] = table_of(scores_of(segmenter, real))
    return scores


def noise_called_cells(segmenter: Segmenter, pictures: int) -> dict[str, Any]:
    """How much of pictures of white noise, at 0.7 to 4 um/px, is called cells."""
    shares = []
    for number in range(pictures):
        chance = np.random.default_rng([number, 5])
        size = math.exp(chance.uniform(math.log(0.7), math.log(4.0)))
        grain = np.clip(128 + 3 * chance.normal(0, 1, (600, 600)), 0, 255).astype(np.uint8)
        labels = segmenter.segment(grain, size).labels
        shares.append(float((labels != CellClass.BACKGROUND).mean()))
    return {
        "pictures": len(shares),
        "called_cells_median": round(float(np.median(shares)), 4),
        "called_cells_worst": round(max(shares), 4),
    }
