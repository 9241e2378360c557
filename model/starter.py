"""The starter model that ships with the program: how it is made, in one resumable command.

    python -m model.train starter --out model/weights/starter --minutes 60 --real DATA

It learns from simulated fields (`model.simulate`), whose truth is exact, and, where the folder is
given, from real fields that may be used for it: hiPSC phase contrast with labels, single spread
cells (as differentiated-like cells), and a plate imager's brightfield fields whose labels are made
here by a local-contrast threshold. Some of each are held back for measuring; the model card names
them.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import math
import multiprocessing
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from model.checkpoint import Manifest, Model, ModelError, load_model, save_model
from model.classes import UNKNOWN, CellClass
from model.dataset import (
    DataError,
    LabelledImage,
    TrainingField,
    prepare,
    read_folder,
    read_image,
    read_labels,
    read_pixel_sizes,
)
from model.evaluate import Evaluation, evaluate
from model.metrics import differentiated_fraction
from model.network import PmfCNN, PmfCNNConfig, multiply_adds_per_pixel
from model.predict import Segmenter
from model.preparation import Normalisation, at_working_scale, normalise, working_shape
from model.simulate import simulate_field
from model.train import FieldGroup, Progress, TrainingSettings, fit, held_out_score, steps_in

UM_PER_PIXEL: Final = 2.5
STARTER_CONFIG: Final = PmfCNNConfig(
    window_px=128,
    stride_px=8,
    grids=(1, 4, 8, 16),
    voting_grids=(16,),
    vote_margin_px=40,
    widths=(32, 64, 128),
    context_channels=128,
    view_channels=64,
)
STARTER_SETTINGS: Final = TrainingSettings(crop_px=184, batch=8)

FIELD_PX: Final = 384
"""Side of a simulated field at the working scale: 960 um, a few colonies."""

FIRST_TEST_SEED: Final = 1000
LAST_TEST_SEED: Final = 9999
"""Simulated fields of these seeds are for measuring and are never trained on."""

TESTED_SEEDS: Final = (1000, 3000)
"""Where the two hundreds of simulated fields begin that the card's scores are of."""

NOISE_PICTURES: Final = 40

EMPTY_DISHES: Final = 64
EMPTY_SHARE: Final = 0.05

FIRST_VALIDATION_SEED: Final = 6000
"""Those from here on are for choosing while training; those before are for the final scores."""

FIRST_TRAINING_SEED: Final = 100_000
HELD_EVERY: Final = 4
SPREAD_CELLS_PIXEL_SIZE_UM: Final = 0.5
"""Not stated by its source; such cells are 30 to 60 um long."""

IPS_FIELDS_PIXEL_SIZE_UM: Final = 3.0
"""Not stated by its source; from the size of the cells."""

REACH_UM: Final = 12.0
"""About a cell: the neighbourhood whose roughness tells cells from the empty dish."""

WELL_DIAMETER_UM: Final = 6400.0
WALL_UM: Final = 150.0


# -------------------------------------------------------------------------------- simulation


def pixel_size_of(seed: int) -> float:
    """The pixel size in um that a seed's field is drawn at: 0.6 to 4.6, log-uniform."""
    chance = np.random.default_rng([seed, 1])
    return float(math.exp(chance.uniform(math.log(0.6), math.log(4.6))))


def simulated(seed: int, side_px: int = FIELD_PX) -> LabelledImage:
    """One simulated field that covers ``side_px`` pixels of the working scale."""
    size = pixel_size_of(seed)
    side = max(32, round(side_px * UM_PER_PIXEL / size))
    drawn = simulate_field(seed, shape=(side, side), pixel_size_um=size)
    return LabelledImage(f"simulated {seed}", drawn.image, drawn.labels, size)


def _simulate_into(job: tuple[int, Path, Path, int, int]) -> int:
    place, flats, labels, seed, count = job
    cv2.setNumThreads(1)
    one = prepare(simulated(seed), UM_PER_PIXEL, Normalisation())
    shape = (count, FIELD_PX, FIELD_PX)
    size = (FIELD_PX, FIELD_PX)
    if one.labels.shape != size:
        raise AssertionError(one.labels.shape)
    flat_map = np.memmap(flats, np.float16, "r+", shape=shape)
    label_map = np.memmap(labels, np.uint8, "r+", shape=shape)
    flat_map[place] = np.clip(one.flat, -1000, 1000)
    label_map[place] = one.labels
    return place


def simulated_fields(count: int, work: Path, jobs: int = 1) -> list[TrainingField]:
    """Simulated fields for training, drawn once and then kept in the work folder."""
    work.mkdir(parents=True, exist_ok=True)
    flats, labels = work / f"simulated-{count}.f16", work / f"simulated-{count}.u8"
    done = work / f"simulated-{count}.done"
    shape = (count, FIELD_PX, FIELD_PX)
    if not done.exists():
        np.memmap(flats, np.float16, "w+", shape=shape).flush()
        np.memmap(labels, np.uint8, "w+", shape=shape).flush()
        tasks = [(i, flats, labels, FIRST_TRAINING_SEED + i, count) for i in range(count)]
        # Forking a process whose libraries hold threads is how programs come to hang.
        fresh = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=fresh) as workers:
            for number in workers.map(_simulate_into, tasks, chunksize=8):
                if number % 200 == 199:
                    _say(f"simulated {number + 1} of {count} fields")
        done.touch()
    flat_map = np.memmap(flats, np.float16, "r", shape=shape)
    label_map = np.memmap(labels, np.uint8, "r", shape=shape)
    return [
        TrainingField(f"simulated {FIRST_TRAINING_SEED + i}", flat_map[i], label_map[i])
        for i in range(count)
    ]


# ------------------------------------------------------------------------------- real fields


def local_contrast_labels(
    flat: NDArray[np.float32],
    um_per_pixel: float,
    *,
    inside: NDArray[np.bool_] | None = None,
    band_um: float = 8.0,
) -> NDArray[np.uint8]:
    """Background and cells of a healthy field, by its local contrast; 255 along their borders.

    Cells are rough and the empty dish is smooth. The threshold is set between the two by Otsu's
    rule on the logarithm of the local spread; small islands (debris) and small holes are dropped.

    flat : (H, W) float32, normalised, at the working scale
    inside : (H, W) bool, False outside the vessel
    """
    spread = local_spread(flat, um_per_pixel)
    known = np.ones(flat.shape, dtype=bool) if inside is None else inside
    rough = np.asarray(spread > otsu(spread[known])) & known
    # The spread is felt about one reach outside of a colony: the outline lies that far inside.
    rough = opened_and_closed(rough, um_per_pixel)
    reach = max(1, round(REACH_UM / um_per_pixel))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    rough = np.asarray(cv2.erode(rough.astype(np.uint8), disc) > 0)
    rough = opened_and_closed(rough, um_per_pixel, island_um2=3000.0)
    labels = np.where(rough, CellClass.UNDIFFERENTIATED, CellClass.BACKGROUND).astype(np.uint8)
    width = round(band_um / um_per_pixel)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
    border = cv2.dilate(rough.astype(np.uint8), kernel) - cv2.erode(rough.astype(np.uint8), kernel)
    labels[border > 0] = UNKNOWN
    labels[~known] = UNKNOWN
    return labels


def local_spread(flat: NDArray[np.float32], um_per_pixel: float) -> NDArray[np.float32]:
    """(H, W) logarithm of the spread of grey within about a cell's reach of each pixel."""
    bent = np.clip(flat, -3, 3)
    fine = bent - cv2.GaussianBlur(bent, (0, 0), REACH_UM / um_per_pixel)
    power = cv2.GaussianBlur(fine * fine, (0, 0), REACH_UM / um_per_pixel)
    return np.asarray(0.5 * np.log(np.maximum(power, 1e-6)), dtype=np.float32)


def otsu(values: NDArray[np.float32]) -> float:
    """Threshold that separates two heaps of numbers best (Otsu 1979)."""
    counts, edges = np.histogram(values, bins=256)
    centre = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * centre)
    with np.errstate(invalid="ignore", divide="ignore"):
        distance = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(centre[int(np.nanargmax(distance))])


def opened_and_closed(
    mask: NDArray[np.bool_],
    um_per_pixel: float,
    *,
    island_um2: float = 6000.0,
    hole_um2: float = 8000.0,
) -> NDArray[np.bool_]:
    """The mask with its small holes filled and its small islands gone."""
    result = mask.astype(np.uint8)
    for value, least_um2 in ((1, island_um2), (0, hole_um2)):
        number, parts, numbers, _ = cv2.connectedComponentsWithStats(
            (result == value).astype(np.uint8), connectivity=4
        )
        small = numbers[:, cv2.CC_STAT_AREA] * um_per_pixel**2 < least_um2
        small[0] = False
        if number > 1:
            result[small[parts]] = 1 - value
    return np.asarray(result.astype(bool))


def well_of(image: NDArray[Any]) -> tuple[NDArray[np.bool_], float]:
    """Where the round well is and its diameter in pixels, from an image dark outside of it."""
    bright = cv2.GaussianBlur((image > 20).astype(np.float32), (0, 0), 3) > 0.5
    _, parts, numbers, _ = cv2.connectedComponentsWithStats(bright.astype(np.uint8))
    largest = 1 + int(np.argmax(numbers[1:, cv2.CC_STAT_AREA]))
    area = float(numbers[largest, cv2.CC_STAT_AREA])
    return np.asarray(parts == largest), 2 * math.sqrt(area / math.pi)


def empty_dishes(count: int = EMPTY_DISHES) -> list[TrainingField]:
    """Pictures of nothing but the camera's grain and uneven light: all background.

    Contrast is scaled by that of the picture itself, so that grain is all there is to see in them.
    """
    found = []
    for number in range(count):
        chance = np.random.default_rng([number, 9])
        size = math.exp(chance.uniform(math.log(0.6), math.log(4.6)))
        side = round(FIELD_PX * UM_PER_PIXEL / size)
        grain: NDArray[Any] = chance.normal(0, 1, (side, side)).astype(np.float32)
        if chance.random() < 0.3:
            grain = cv2.GaussianBlur(grain, (0, 0), float(chance.uniform(0.3, 0.6)))
        light = cv2.resize(
            chance.normal(0, 1, (3, 3)).astype(np.float32),
            (side, side),
            interpolation=cv2.INTER_CUBIC,
        )
        picture = 120 + chance.uniform(1, 8) * grain / grain.std() + chance.uniform(0, 12) * light
        nothing = np.zeros((side, side), dtype=np.uint8)
        image = np.clip(picture, 0, 255).astype(np.uint8)
        one = LabelledImage(f"empty {number}", image, nothing, size)
        found.append(prepare(one, UM_PER_PIXEL, Normalisation()))
    return found


def real_groups(data: Path) -> tuple[list[FieldGroup], dict[str, list[TrainingField]]]:
    """Real fields to train on by kind, and those held back. Kinds that are missing are left out."""
    groups: list[FieldGroup] = []
    held: dict[str, list[TrainingField]] = {}

    def take(name: str, fields: Sequence[TrainingField], share: float, spread: float) -> None:
        kept = [one for i, one in enumerate(fields) if i % HELD_EVERY != 1]
        held[name] = [one for i, one in enumerate(fields) if i % HELD_EVERY == 1]
        if kept:
            groups.append(FieldGroup(name, kept, share, spread))
        _say(f"{name}: {len(kept)} fields to train on, {len(held[name])} held back")

    take("hipsc_phase", _hipsc(data / "hipsc_phase"), 0.1, 0.3)
    take("incubator_6well", _plate_imager(data / "incubator_6well"), 0.08, 0.25)
    take("incubator_96well", _whole_wells(data / "incubator_96well"), 0.05, 0.2)
    take("spread_cells_phase", _spread_cells(data / "spread_cells_phase"), 0.07, 0.35)
    return groups, held


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        _say(f"{folder}: not there; done without it")
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in (".jpg", ".png", ".tiff"))


def _hipsc(folder: Path) -> list[TrainingField]:
    sizes = read_pixel_sizes(folder / "pixel_size_um.csv")
    found = []
    for path in _pictures(folder / "images"):
        labels = read_labels(folder / "labels" / f"{path.stem}.png")
        one = LabelledImage(path.name, read_image(path), labels, sizes[path.name])
        found.append(prepare(one, UM_PER_PIXEL, Normalisation()))
    return found


def _plate_imager(folder: Path) -> list[TrainingField]:
    found = []
    for path in _pictures(folder):
        nothing = np.zeros(read_image(path).shape, dtype=np.uint8)
        one = prepare(
            LabelledImage(path.name, read_image(path), nothing, 1.0), UM_PER_PIXEL, Normalisation()
        )
        flat = cast(NDArray[np.float32], one.flat)
        found.append(TrainingField(path.name, flat, local_contrast_labels(flat, UM_PER_PIXEL)))
    return found


def _whole_wells(folder: Path) -> list[TrainingField]:
    found = []
    for path in _pictures(folder):
        image = read_image(path)
        inside, diameter = well_of(image)
        size = WELL_DIAMETER_UM / diameter
        height, width = (round(n * size / UM_PER_PIXEL / 8) * 8 for n in image.shape)
        levels, share = at_working_scale(image, (height, width), inside)
        flat = normalise(levels, share, UM_PER_PIXEL, Normalisation())
        # The wall's shadow looks as rough as cells do: a strip along it is nobody's.
        strip = round(WALL_UM / UM_PER_PIXEL)
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * strip + 1, 2 * strip + 1))
        wide = (np.asarray(share, dtype=np.float32) > 0.5).astype(np.uint8)
        well = np.asarray(cv2.erode(wide, disc, borderValue=0) > 0)
        labels = local_contrast_labels(flat, UM_PER_PIXEL, inside=well)
        found.append(TrainingField(path.name, flat, labels))
    return found


def _spread_cells(folder: Path) -> list[TrainingField]:
    found = []
    for path in _pictures(folder / "images"):
        cells = read_labels(folder / "labels" / f"{path.stem}.png") > 0
        # Single cells are outlined here; in a culture the gaps between neighbours belong to
        # their region, and what lies near a lone cell is nobody's.
        near = cv2.GaussianBlur(cells.astype(np.float32), (0, 0), 18) > 0.3
        far = ~(cv2.dilate(cells.astype(np.uint8), np.ones((41, 41), np.uint8)) > 0)
        labels = np.full(cells.shape, UNKNOWN, dtype=np.uint8)
        labels[far] = CellClass.BACKGROUND
        labels[near | cells] = CellClass.DIFFERENTIATED
        one = LabelledImage(path.name, read_image(path), labels, SPREAD_CELLS_PIXEL_SIZE_UM)
        found.append(prepare(one, UM_PER_PIXEL, Normalisation()))
    return found


# ----------------------------------------------------------------------------------- command


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
    """Train the starter model and write it to a folder.

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
    _say(f"{multiply_adds_per_pixel(config) * 2e-3:.1f} GFLOP a megapixel at the working scale")
    steps_file = work / "steps"
    if steps is None:
        # A resumed run must go on towards the same number of steps.
        if steps_file.exists():
            steps = int(steps_file.read_text(encoding="utf-8"))
        else:
            steps = steps_in(minutes, network, groups, settings)
            steps_file.write_text(str(steps), encoding="utf-8")
    manifest = Manifest("starter", config, UM_PER_PIXEL)
    tests = [
        prepare(simulated(FIRST_VALIDATION_SEED + i), UM_PER_PIXEL, Normalisation())
        for i in range(40)
    ]

    def validate(one: PmfCNN) -> float:
        score = held_out_score(one, manifest, tests)
        parts = {kind: held_out_score(one, manifest, some) for kind, some in held.items()}
        told = " ".join(f"{kind}={value:.3f}" for kind, value in parts.items())
        _say(f"held out: simulated={score:.3f} {told}")
        return score

    trained = fit(
        network,
        groups,
        settings,
        steps=steps,
        seed=seed,
        work=work,
        progress=_tell,
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
    _say(f"{len(fitting)} of {len(own)} tensors taken from {base}")
    return start.manifest.sha256


def publish(out: Path, trained: PmfCNN, facts: Mapping[str, Any], real: Path | None) -> Manifest:
    """Calibrate and measure a trained network and write it with its card."""
    bare = Model(trained, Manifest("starter", trained.config, UM_PER_PIXEL))
    validation = [simulated(FIRST_VALIDATION_SEED + i) for i in range(40)]
    temperature = best_temperature(bare, validation)
    bare = Model(trained, replace(bare.manifest, temperature=temperature))
    _say(f"temperature {temperature}; measuring")
    scores = measure(Segmenter(bare), real)
    manifest = replace(bare.manifest, training=facts, scores=scores)
    return save_model(out, Model(trained, manifest), card(manifest))


def best_temperature(model: Model, fields: Sequence[LabelledImage]) -> float:
    """The temperature whose probabilities are best calibrated on these fields."""
    errors: dict[float, float] = {}
    for temperature in (0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.85, 1.0, 1.2, 1.5):
        manifest = replace(model.manifest, temperature=temperature)
        measured = evaluate(Segmenter(Model(model.network, manifest)), fields)
        errors[temperature] = measured.reliability.expected_calibration_error
    return min(errors, key=lambda temperature: errors[temperature])


def measure(segmenter: Segmenter, real: Path | None) -> dict[str, Any]:
    """The scores that stand in the manifest and on the card."""
    scores: dict[str, Any] = {}
    for first in TESTED_SEEDS:
        seeds = range(first, first + 100)
        drawn = evaluate(segmenter, (simulated(seed) for seed in seeds))
        scores[f"simulated, seeds {seeds[0]} to {seeds[-1]}"] = _short(drawn)
    scores["white noise"] = noise_called_cells(segmenter)
    if real is None:
        return scores
    held = _held_names(real)
    hipsc = [one for one in _labelled(real / "hipsc_phase") if one.name in held["hipsc_phase"]]
    if hipsc:
        scores["hipsc_phase, held back"] = _short(evaluate(segmenter, hipsc))
    ips = _labelled(real / "ips_fields")
    if ips:
        assumed = [replace(one, pixel_size_um=IPS_FIELDS_PIXEL_SIZE_UM) for one in ips]
        scores["ips_fields, never trained on"] = _short(evaluate(segmenter, assumed))
    for kind, well in (("incubator_6well", False), ("incubator_96well", True)):
        rows = []
        for path in _pictures(real / kind):
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
    """How much of pictures of white noise, at 0.7 to 4 um a pixel, is called cells."""
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


def reference_labels(
    image: NDArray[Any], pixel_size_um: float, inside: NDArray[np.bool_] | None
) -> NDArray[np.uint8]:
    """Cells and background by local contrast at the image's own size, without a band."""
    height, width = image.shape
    shape = working_shape((height, width), pixel_size_um, UM_PER_PIXEL, 8)
    levels, share = at_working_scale(image, shape, inside)
    flat = normalise(levels, share, UM_PER_PIXEL, Normalisation())
    vessel = None if share is None else share > 0.5
    labels = local_contrast_labels(flat, UM_PER_PIXEL, inside=vessel, band_um=0.0)
    return cast(
        NDArray[np.uint8], cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
    )


def _labelled(folder: Path) -> list[LabelledImage]:
    return read_folder(folder) if folder.is_dir() else []


def _held_names(real: Path) -> dict[str, set[str]]:
    kinds = ("hipsc_phase", "incubator_6well", "incubator_96well", "spread_cells_phase")
    held = {}
    for kind in kinds:
        folder = real / kind / "images" if (real / kind / "images").is_dir() else real / kind
        held[kind] = {p.name for i, p in enumerate(_pictures(folder)) if i % HELD_EVERY == 1}
    return held


def _short(measured: Evaluation) -> dict[str, Any]:
    full = measured.to_json()
    keys = (
        "images",
        "mean_jaccard",
        "mean_jaccard_interval",
        "jaccard",
        "mean_fraction_error",
        "expected_calibration_error",
    )
    return {key: full[key] for key in keys}


def card(manifest: Manifest) -> str:
    """The model card as Markdown."""
    training = manifest.training
    rows = []
    for kind, score in manifest.scores.items():
        if "jaccard" in score:
            low, high = score["mean_jaccard_interval"]
            classes = ", ".join(
                f"{name} {'-' if value is None else format(value, '.3f')}"
                for name, value in score["jaccard"].items()
            )
            error = score["mean_fraction_error"]
            told = f"{error:.3f}" if error is not None else "-"
            rows.append(
                f"| {kind} | {score['images']} | {score['mean_jaccard']:.3f} "
                f"({low:.3f} to {high:.3f}) | {classes} | {told} | "
                f"{score['expected_calibration_error']:.3f} |"
            )
    plate = [
        f"| {kind} | {score['images']} | {score['differentiated_fraction_mean']:.3f} | "
        f"{score['differentiated_fraction_worst']:.3f} | {score['confluence_error_mean']:.3f} | "
        f"{score['confluence_error_worst']:.3f} |"
        for kind, score in manifest.scores.items()
        if "confluence_error_mean" in score
    ]
    config = manifest.network
    noise = manifest.scores["white noise"]
    before = training.get("layers_from")
    origin = f"begun with layers of the model `{before[:12]}`" if before else "from random weights"
    held = "\n".join(
        f"- {kind}: {', '.join(names)}" for kind, names in training["held_back"].items() if names
    )
    return f"""# Starter model

A pmf-CNN that tells background, undifferentiated and differentiated iPS cells apart in phase
contrast and brightfield images. It is a start: a lab's own 3 to 10 labelled fields make it much
better (fine-tuning), and nobody should decide about a dish by it alone before having measured it on
images of that microscope.

- Network: windows of {config.window_px} x {config.window_px} pixels at {manifest.um_per_pixel} um a
  pixel ({config.window_px * manifest.um_per_pixel:.0f} um), stride {config.stride_px}, grids
  {", ".join(str(r) for r in config.grids)} learnt, {", ".join(str(r) for r in config.voting_grids)}
  voting; {2e-3 * multiply_adds_per_pixel(config):.0f} GFLOP a megapixel at the working scale.
- Normalisation: {manifest.normalisation.name}; temperature {manifest.temperature}.
- Identity: the `sha256` in manifest.json, over the weights and all that gives them a meaning.

## What it learnt from

- {training["simulated_fields"]} simulated fields (`model.simulate`, seeds from
  {training["first_simulation_seed"]} on) with exact truth: phase contrast and brightfield, 0.6 to
  4.6 um a pixel.
- {training["empty_dishes"]} pictures of empty dishes: white noise at these scales and uneven light.
- hiPSC colonies in phase contrast (allen-cell-animated/cell-catalog; repository MIT), labels by
  local contrast, checked by eye: background and undifferentiated only.
- Single spread cells in phase contrast (oist/Usiigaci; MIT), taken as a stand-in for
  differentiated cells at an assumed {SPREAD_CELLS_PIXEL_SIZE_UM} um a pixel.
- A plate imager's brightfield fields and whole wells of hiPSC colonies
  (AllenInstitute/aics-automated-cell-culture-workflow; Allen Institute Software License), without
  labels: pseudo-labels made by a local-contrast threshold (`model.starter.local_contrast_labels`).

Share of the crops: {", ".join(f"{k} {v}" for k, v in training["shares"].items())}.
{training["steps"]} steps, seed {training["seed"]}, made with
`python -m model.train starter --steps {training["steps"]} --fields {training["simulated_fields"]}`
({origin}).

## How good it is

Jaccard index, pixels pooled over images; 95 % interval by drawing the images anew. Fraction error:
mean absolute error of the differentiated fraction of an image. ECE: expected calibration error.

| images | number | mean Jaccard | by class | fraction error | ECE |
|---|---|---|---|---|---|
{chr(10).join(rows)}

The intervals of the simulated fields are wide because a few of these are noise or cells from edge
to edge, which nothing tells apart. `hipsc_phase` has no differentiated cells: pixels called so make
that class 0 and pull the mean down; its other two classes are what counts there.

Healthy brightfield fields, against a local-contrast threshold (a differentiated fraction above 0 is
an error there):

| images | number | differentiated, mean | worst | confluence error, mean | worst |
|---|---|---|---|---|---|
{chr(10).join(plate)}

Held back from training and used for these tables:

{held}

The fields of `ips_fields` (real iPS colonies with differentiated regions) were never trained on;
their labels are another network's and their pixel size is a guess
({IPS_FIELDS_PIXEL_SIZE_UM} um).

## Limits

- No real differentiated iPS cells were learnt from: what counts as differentiated comes from
  simulation and from other spread cells. Expect it to miss kinds that look like neither.
- Contrast is scaled by that of the image itself: in an empty dish grain is all there is to see.
  Of {noise["pictures"]} pictures of white noise the median had {noise["called_cells_median"]:.1%}
  called cells, the worst {noise["called_cells_worst"]:.0%}; grain as coarse as cells is called
  cells.
- The dark wall of a round well may be called cells: leave a strip of 100 um along it outside.
- Very dense differentiated sheets and colonies out of focus are often taken for each other.
- Clumps of dead cells and thick colony centres may be called either class of cells.
- Made for 0.6 to 4.6 um a pixel. With an unknown pixel size one is assumed, and the result says so.
- Not a medical device.
"""


def _say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()


def _tell(now: Progress) -> None:
    _say(f"step {now.step}/{now.steps} loss={now.loss:.4f} {now.elapsed_s:.0f} s")


def main() -> None:
    """Command line of `python -m model.train`."""
    parser = argparse.ArgumentParser(prog="python -m model.train", description=__doc__)
    commands = parser.add_subparsers(required=True)
    starter = commands.add_parser("starter", help="make the model that ships with the program")
    starter.add_argument("--out", type=Path, required=True)
    starter.add_argument("--minutes", type=float, default=60.0)
    starter.add_argument("--steps", type=int, help="instead of --minutes, to repeat a run exactly")
    starter.add_argument("--real", type=Path, help="folder of real fields; without it none")
    starter.add_argument("--work", type=Path, default=Path(".starter"), help="for resuming")
    starter.add_argument("--fields", type=int, default=2000, help="simulated fields to train on")
    starter.add_argument("--jobs", type=int, default=1, help="processes that simulate")
    starter.add_argument("--threads", type=int, default=1)
    starter.add_argument("--from", dest="base", type=Path, help="model to take layers from")
    starter.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    torch.set_num_threads(wanted.threads)
    cv2.setNumThreads(1)
    try:
        manifest = make_starter(
            wanted.out,
            minutes=wanted.minutes,
            steps=wanted.steps,
            real=wanted.real,
            work=wanted.work,
            count=wanted.fields,
            jobs=wanted.jobs,
            seed=wanted.seed,
            base=wanted.base,
        )
    except (DataError, ModelError) as error:
        _say(str(error))
        raise SystemExit(1) from None
    _say(f"{wanted.out}: {manifest.sha256[:12]} {manifest.scores}")
