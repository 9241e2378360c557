"""The starter model that ships with the program: how it is made, in one resumable command.

    python -m model.starter --out model/weights/starter --minutes 60 --real DATA

It learns from simulated fields (`model.simulation`), whose truth is exact, and, where the folder is
given, from real fields that may be used for it: hiPSC phase contrast with labels, single spread
cells (as differentiated-like cells), and a plate imager's brightfield fields whose labels are made
here by a local-contrast threshold. Some of each are held back for measuring; the model card names
them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from model.checkpoint import Manifest, Model, load_model, save_model
from model.classes import UNKNOWN, CellClass
from model.dataset import LabelledImage, prepare
from model.evaluate import evaluate
from model.labelled_files import read_image
from model.metrics import differentiated_fraction
from model.network import PmfCNN, PmfCNNConfig, multiply_adds_per_pixel
from model.pmf_segmenter import PmfSegmenter
from model.preprocessing import Normalisation
from model.segmentation import Segmenter
from model.simulation.labelled import FIRST_TRAINING_SEED, simulated
from model.starter.card import card, short
from model.starter.local_contrast import reference_labels, well_of
from model.starter.progress import say, tell
from model.starter.real_fields import held_names, labelled_pictures, pictures_in, real_groups
from model.starter.settings import (
    IPS_FIELDS_PIXEL_SIZE_UM,
    STARTER_CONFIG,
    STARTER_SETTINGS,
    UM_PER_PIXEL,
    WELL_DIAMETER_UM,
)
from model.starter.training_fields import (
    EMPTY_DISHES,
    EMPTY_SHARE,
    TESTED_SEEDS,
    empty_dishes,
    simulated_fields,
)
from model.train import FieldGroup, TrainingSettings, fit, held_out_score, steps_in

NOISE_PICTURES: Final = 40
FIRST_VALIDATION_SEED: Final = 6000
"""Those from here on are for choosing while training; those before are for the final scores."""


def _steps(note: Path, fitting: Callable[[], int]) -> int:
    """A resumed run must go on towards the same number of steps."""
    if not note.exists():
        note.write_text(str(fitting()), encoding="utf-8")
    return int(note.read_text(encoding="utf-8"))


def make_starter(
    out: Path,
    *,
    minutes: float,
    real: Path | None,
    work: Path,
    count: int,
    jobs: int = 1,
    seed: int = 0,
    steps: int | None = None,
    config: PmfCNNConfig | None = None,
    settings: TrainingSettings | None = None,
    base: Path | None = None,
) -> Manifest:
    """Train the starter model and write it to a folder. Long by what its manifest tells.

    base : model whose layers are taken over where name and size fit; the others begin at random
    """
    config = config or STARTER_CONFIG
    settings = settings or STARTER_SETTINGS
    fields = simulated_fields(count, work, jobs)
    groups, held = real_groups(real) if real else ([], {})
    names = {group.name: [one.name for one in group.fields] for group in groups}
    groups.append(FieldGroup("empty", empty_dishes(), EMPTY_SHARE, 0.1))
    share = 1.0 - sum(group.share for group in groups)
    groups.append(FieldGroup("simulated", fields, share))
    torch.manual_seed(seed)
    network = PmfCNN(config)
    started_from = take_layers(network, base) if base else None
    say(f"{multiply_adds_per_pixel(config) * 2e-3:.1f} GFLOP per megapixel at the working scale")
    if steps is None:
        steps = _steps(work / "steps", lambda: steps_in(minutes, network, groups, settings))
    manifest = Manifest("starter", config, UM_PER_PIXEL)
    tests = [
        prepare(simulated(FIRST_VALIDATION_SEED + i), UM_PER_PIXEL, Normalisation())
        for i in range(40)
    ]

    def validate(one: PmfCNN) -> float:
        score = held_out_score(one, manifest, tests)
        parts = {kind: held_out_score(one, manifest, some) for kind, some in held.items()}
        told = " ".join(f"{kind}={value:.3f}" for kind, value in parts.items())
        say(f"held out: simulated={score:.3f} {told}")
        return score

    trained = fit(
        network,
        groups,
        settings,
        steps=steps,
        seed=seed,
        work=work,
        progress=tell,
        measure=validate,
    )
    facts = {
        "simulated_fields": count,
        "first_simulation_seed": FIRST_TRAINING_SEED,
        "real": names,
        "empty_dishes": EMPTY_DISHES,
        "held_back": {kind: [one.name for one in some] for kind, some in held.items()},
        "shares": {group.name: round(group.share, 3) for group in groups},
        "steps": steps,
        "seed": seed,
        "settings": settings.to_json(),
        "layers_from": started_from,
    }
    return publish(out, trained, facts, real)


def take_layers(network: PmfCNN, base: Path) -> str:
    """Start from a model's layers where name and size fit. Returns the model's identity."""
    start = load_model(base)
    own = network.state_dict()
    fitting = {
        name: value
        for name, value in start.network.state_dict().items()
        if name in own and own[name].shape == value.shape
    }
    network.load_state_dict({**own, **fitting})
    say(f"{len(fitting)} of {len(own)} tensors taken from {base}")
    return start.manifest.sha256


def publish(out: Path, trained: PmfCNN, facts: Mapping[str, Any], real: Path | None) -> Manifest:
    """Calibrate and measure a trained network and write it with its card."""
    bare = Model(trained, Manifest("starter", trained.config, UM_PER_PIXEL))
    validation = [simulated(FIRST_VALIDATION_SEED + i) for i in range(40)]
    temperature = best_temperature(bare, validation)
    bare = Model(trained, replace(bare.manifest, temperature=temperature))
    say(f"temperature {temperature}; measuring")
    scores = measure(PmfSegmenter(bare), real)
    manifest = replace(bare.manifest, training=facts, scores=scores)
    return save_model(out, Model(trained, manifest), card(manifest))


def best_temperature(model: Model, fields: Sequence[LabelledImage]) -> float:
    """The temperature whose probabilities are best calibrated on these fields."""
    errors: dict[float, float] = {}
    for temperature in (0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.85, 1.0, 1.2, 1.5):
        manifest = replace(model.manifest, temperature=temperature)
        measured = evaluate(PmfSegmenter(Model(model.network, manifest)), fields)
        errors[temperature] = measured.reliability.expected_calibration_error
    return min(errors, key=lambda temperature: errors[temperature])


def measure(segmenter: Segmenter, real: Path | None) -> dict[str, Any]:
    """The scores that stand in the manifest and on the card."""
    scores: dict[str, Any] = {}
    for first in TESTED_SEEDS:
        seeds = range(first, first + 100)
        drawn = evaluate(segmenter, (simulated(seed) for seed in seeds))
        scores[f"simulated, seeds {seeds[0]} to {seeds[-1]}"] = short(drawn)
    scores["white noise"] = noise_called_cells(segmenter)
    if real is None:
        return scores
    held = held_names(real)
    pictures = labelled_pictures(real / "hipsc_phase")
    hipsc = [one for one in pictures if one.name in held["hipsc_phase"]]
    if hipsc:
        scores["hipsc_phase, held back"] = short(evaluate(segmenter, hipsc))
    ips = labelled_pictures(real / "ips_fields")
    if ips:
        assumed = [replace(one, pixel_size_um=IPS_FIELDS_PIXEL_SIZE_UM) for one in ips]
        scores["ips_fields, never trained on"] = short(evaluate(segmenter, assumed))
    for kind, well in (("incubator_6well", False), ("incubator_96well", True)):
        rows = []
        for path in pictures_in(real / kind):
            if path.name not in held[kind]:
                continue
            image = read_image(path)
            inside, size = None, 1.0
            if well:
                inside, diameter = well_of(image)
                size = WELL_DIAMETER_UM / diameter
            found = segmenter.segment(image, size, inside=inside).labels
            reference = reference_labels(image, size, inside)
            known = (found != UNKNOWN) & (reference != UNKNOWN)
            rows.append(
                (
                    differentiated_fraction(found) or 0.0,
                    float((found[known] != 0).mean()),
                    float((reference[known] != 0).mean()),
                )
            )
        if rows:
            table = np.array(rows)
            scores[f"{kind}, held back"] = {
                "images": len(rows),
                "differentiated_fraction_mean": round(float(table[:, 0].mean()), 4),
                "differentiated_fraction_worst": round(float(table[:, 0].max()), 4),
                "confluence_error_mean": round(float(abs(table[:, 1] - table[:, 2]).mean()), 4),
                "confluence_error_worst": round(float(abs(table[:, 1] - table[:, 2]).max()), 4),
            }
    return scores


def noise_called_cells(segmenter: Segmenter) -> dict[str, Any]:
    """How much of pictures of white noise, at 0.7 to 4 um/px, is called cells."""
    shares = []
    for number in range(NOISE_PICTURES):
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
