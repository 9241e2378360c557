"""Fine-tuning: a model made better on a lab's own few labelled fields.

A few fields say much about what cells look like under that microscope and little about how often
anything occurs, and a network soon knows them by heart. So only what joins up the local features is
learnt anew, slowly; each class has its turn equally often; and simulated fields, of the kind that
the starter learnt from, are mixed in, so that nothing is forgotten.

How good that is cannot be asked of the fields that were learnt from. So fields take turns at being
held out (`folds_of`): for each turn a network is trained on the others and asked about those held
out. What was said about all of them together gives the score, the share of the new weights that is
best mixed with the old ones, and the temperature. Then one network is trained on all fields: that
is the model. Where no share of new weights helps, nothing is written.

Everything is kept in a folder beside the model until it is done, so that a run that was cut off
goes on. Chance depends on the seed alone: the same fields, seed and steps give the same model, cut
off or not, on the same machine with the same number of threads.

Sources: mixing old and new weights: Wortsman et al., Robust fine-tuning of zero-shot models, CVPR
2022. Temperature: Guo et al., On calibration of modern neural networks, ICML 2017.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.checkpoint import MANIFEST, Manifest, Model, ModelError, load_model, save_model
from model.classes import UNKNOWN, CellClass
from model.dataset import LabelledImage, TrainingField, prepare, read_labelled
from model.metrics import Confusion, Reliability, confusion, fraction_error, reliability
from model.network import PmfCNN
from model.predict import STARTER, Segmenter, label_map
from model.preprocessing import bend, spread_evenly
from model.train import FieldGroup, Progress, TrainingSettings, balanced_group, fit, steps_in

WORK: Final = ".training"
"""Folder within the model's, for what a run needs to go on."""

SHARES: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the new weights that are tried."""

TEMPERATURE_FACTORS: Final = (0.6, 0.75, 0.9, 1.0, 1.15, 1.35, 1.6, 2.0, 2.5)

ALIKE: Final = 0.01
"""Of mean Jaccard: of shares that score alike, and no worse than the old weights, the largest is
taken, since the model learns from more fields than the networks that were asked."""

FEWEST_STEPS: Final = 20

REPORT_EVERY_S: Final = 2.0
KEEP_EVERY_S: Final = 20.0


@dataclass(frozen=True)
class TuningSettings:
    """How a model is fine-tuned. What was tried, and how it did: docs/fine-tuning.md.

    training : of one network; the crop follows from the model's window
    margin_px : how far a crop is wider than the window
    most_steps : more were not better
    rehearsal_share, rehearsal_fields : share of the crops from simulated fields; number of those
    least_images : from so many on whole images are held out, else halves of images
    most_folds : turns of holding out
    most_unproved_share : most of the new weights that are kept where no whole image could be held
        out: halves of the images that were learnt from flatter
    """

    training: TrainingSettings = field(
        default_factory=lambda: TrainingSettings(
            batch=8,
            learning_rate=1e-3,
            warmup_share=0.05,
            average_over_steps=40,
            frozen=("local",),
            keep_statistics=True,
        )
    )
    margin_px: int = 64
    most_steps: int = 300
    rehearsal_share: float = 0.5
    rehearsal_fields: int = 32
    least_images: int = 3
    most_folds: int = 4
    most_unproved_share: float = 0.5

    def to_json(self) -> dict[str, Any]:
        """The settings as plain values."""
        return {**vars(self), "training": self.training.to_json()}


USUAL_SETTINGS: Final = TuningSettings()


class NoGainError(Exception):
    """Fine-tuning did not help on what was held out. Nothing was written: the model begun with is
    the better one, as it is, its temperature included.

    start : manifest of that model
    training : from what, with what, for how long
    scores : on what was held out, by the share of the new weights
    """

    def __init__(
        self, start: Manifest, training: Mapping[str, Any], scores: Mapping[str, Any]
    ) -> None:
        by_share = scores["mean_jaccard_by_share_of_new_weights"]
        best = max(score for share, score in by_share.items() if share != "0")
        super().__init__(
            f"fine-tuning did not help on what was held out: mean Jaccard {by_share['0']:.3f} "
            f"before, {best:.3f} at best after. Nothing was written; the model {start.name} "
            f"{start.sha256[:12]} stays as it is. More fields, or more varied ones, may help"
        )
        self.start = start
        self.training = training
        self.scores = scores


@dataclass(frozen=True)
class TuningProgress:
    """Where fine-tuning stands.

    doing : "preparing", "turn 1 of 3", "all fields", "choosing"
    steps_done, steps_in_all : over all turns; 0 while that is not known
    loss : mean since the last report; NaN where there is none
    score, score_before : mean Jaccard on what is held out in this turn, now and of the model begun
        with; None where not measured
    """

    doing: str
    steps_done: int = 0
    steps_in_all: int = 0
    loss: float = math.nan
    score: float | None = None
    score_before: float | None = None
    elapsed_s: float = 0.0


@dataclass(frozen=True, eq=False)
class Fold:
    """What one turn learns from and what it holds out."""

    learn: tuple[TrainingField, ...]
    held: tuple[TrainingField, ...]


def train(
    data: Path | Sequence[LabelledImage],
    out: Path,
    *,
    base: Path | None = None,
    minutes: float = 10.0,
    steps: int | None = None,
    seed: int = 0,
    threads: int | None = None,
    settings: TuningSettings = USUAL_SETTINGS,
    progress: Callable[[TuningProgress], None] | None = None,
    rehearsal: Callable[[int], Sequence[LabelledImage]] | None = None,
) -> Manifest:
    """Fine-tune a model on labelled images and write it to a folder.

    data : folder with images/ and labels/ (`model.dataset`), or labelled images
    base : model to start from; the starter model by default
    minutes : most wall time; this machine's speed says how many steps fit, up to the settings' most
    steps : of each turn instead, so that a run can be repeated exactly
    threads : for arithmetic in this process; None leaves it to the library
    rehearsal : so many fields of the kinds learnt before; simulated ones by default
    Raises DataError, ModelError, or NoGainError where nothing is written since it did not help.
    """
    started = time.monotonic()
    if threads is not None:
        torch.set_num_threads(threads)
    tell = progress or (lambda _: None)
    labelled = list(read_labelled(data).images if isinstance(data, Path) else data)
    if (out / MANIFEST).exists():
        raise ModelError(f"{out}: holds a model already; choose another folder, or delete that one")
    start = load_model(STARTER if base is None else base)
    settings = replace(
        settings,
        training=replace(
            settings.training, crop_px=start.network.config.window_px + settings.margin_px
        ),
    )
    tell(TuningProgress("preparing"))
    assumed = assume_pixel_size(start, labelled)
    fields = [_prepared(one, start.manifest, assumed) for one in labelled]
    run = _identity(start, labelled, assumed, seed, settings)
    work = out / WORK
    made_here = work.exists() or not out.exists()
    _begin(work, run)
    practice = [
        _prepared(one, start.manifest, None)
        for one in (rehearsal or _simulated)(settings.rehearsal_fields)
    ]
    folds = folds_of(fields, settings, start.network.config.window_px)

    def groups(learn: Sequence[TrainingField]) -> list[FieldGroup]:
        lab = balanced_group("labelled", learn, 1 - settings.rehearsal_share)
        if not practice:
            return [lab]
        return [lab, FieldGroup("simulated", practice, settings.rehearsal_share)]

    steps = _steps(work, steps, minutes, started, start, groups(fields), settings, len(folds))
    in_all = steps * (len(folds) + 1)

    def tune(
        number: int, doing: str, learn: Sequence[TrainingField], held: Sequence[TrainingField]
    ) -> PmfCNN:
        before = _score(start.network, start.manifest, held)

        def show(now: Progress) -> None:
            done = number * steps + now.step
            elapsed = time.monotonic() - started
            tell(TuningProgress(doing, done, in_all, now.loss, now.score, before, elapsed))

        network = PmfCNN(start.network.config)
        network.load_state_dict(start.network.state_dict())
        return fit(
            network,
            groups(learn),
            settings.training,
            steps=steps,
            seed=seed,
            work=work / f"turn-{number}",
            run=f"{run} {number}",
            progress=show,
            measure=(lambda one: _score(one, start.manifest, held) or math.nan) if held else None,
            report_every_s=REPORT_EVERY_S,
            keep_every_s=KEEP_EVERY_S,
        )

    turns = [
        tune(i, f"turn {i + 1} of {len(folds)}", fold.learn, fold.held)
        for i, fold in enumerate(folds)
    ]
    whole = tune(len(folds), "all fields", fields, ())
    tell(TuningProgress("choosing", in_all, in_all, elapsed_s=time.monotonic() - started))
    proved = len(fields) >= settings.least_images
    choice = _choose(start, folds, turns, 1.0 if proved else settings.most_unproved_share)
    training = {
        "from": {"name": start.manifest.name, "sha256": start.manifest.sha256},
        "images": [_facts(one) for one in labelled],
        "steps": steps,
        "turns": len(folds),
        "seed": seed,
        "settings": settings.to_json(),
        "share_of_new_weights": choice.share,
        "assumed_pixel_size_um": assumed,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    if choice.share == 0:
        _clear_away(work, with_parent=made_here)
        raise NoGainError(start.manifest, training, choice.scores)
    tuned = PmfCNN(start.network.config)
    tuned.load_state_dict(mixed(start.network.state_dict(), whole.state_dict(), choice.share))
    tuned.eval()
    made = replace(
        start.manifest,
        name=out.name,
        temperature=choice.temperature,
        assumed_pixel_size_um=assumed or start.manifest.assumed_pixel_size_um,
        training=training,
        scores={"held out in turns": choice.scores} if folds else {},
    )
    result = save_model(out, Model(tuned, made), card(made))
    shutil.rmtree(work, ignore_errors=True)
    return result


def _clear_away(work: Path, *, with_parent: bool) -> None:
    """The work folder, and the model's own if we made it and it holds nothing else."""
    shutil.rmtree(work, ignore_errors=True)
    if with_parent:
        with suppress(OSError):
            work.parent.rmdir()


# ------------------------------------------------------------------------------- preparation


def assume_pixel_size(start: Model, labelled: Sequence[LabelledImage]) -> float | None:
    """One pixel size in um for all images that come without one; None where all have theirs.

    They come from one microscope, so what the model finds likeliest image by image is pooled.
    """
    without = [one for one in labelled if one.pixel_size_um is None]
    if not without:
        return None
    segmenter = Segmenter(start)
    return statistics.median_high(
        segmenter.assume_pixel_size(one.image, one.inside) for one in without
    )


def _prepared(one: LabelledImage, manifest: Manifest, assumed: float | None) -> TrainingField:
    stride = manifest.network.stride_px
    return prepare(one, manifest.um_per_pixel, manifest.normalisation, stride, assumed)


def _simulated(number: int) -> Sequence[LabelledImage]:
    from model.starter.training_fields import FIRST_TRAINING_SEED, simulated

    return [simulated(FIRST_TRAINING_SEED + i) for i in range(number)]


def _identity(
    start: Model,
    labelled: Sequence[LabelledImage],
    assumed: float | None,
    seed: int,
    settings: TuningSettings,
) -> str:
    """Hash over all that decides the result but the steps."""
    digest = hashlib.sha256()
    facts = [start.manifest.sha256, assumed, seed, settings.to_json(), torch.get_num_threads()]
    digest.update(json.dumps([*facts, [_facts(one) for one in labelled]]).encode())
    return digest.hexdigest()


def _facts(one: LabelledImage) -> dict[str, Any]:
    known = max(1, int(np.count_nonzero(one.labels != UNKNOWN)))
    digest = hashlib.sha256(np.ascontiguousarray(one.image).tobytes())
    digest.update(np.ascontiguousarray(one.labels).tobytes())
    return {
        "name": one.name,
        "sha256_of_pixels_and_labels": digest.hexdigest(),
        "shape": list(one.labels.shape),
        "pixel_size_um": one.pixel_size_um,
        "labelled_share": round(float((one.labels != UNKNOWN).mean()), 4),
        "shares": {
            c.name.lower(): round(np.count_nonzero(one.labels == int(c)) / known, 4)
            for c in CellClass
        },
    }


def _begin(work: Path, run: str) -> None:
    """Make the work folder, or go on in that of the same run."""
    note = work / "run.json"
    try:
        kept = json.loads(note.read_text(encoding="utf-8")) if note.exists() else {}
        if kept.get("run") != run:
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True, exist_ok=True)
            _write(note, {"run": run})
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(
            f"{work}: cannot be used to train in ({error}); choose another folder, or delete it"
        ) from error


def _write(path: Path, values: Mapping[str, Any]) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(values), encoding="utf-8")
    part.replace(path)


def _steps(
    work: Path,
    steps: int | None,
    minutes: float,
    started: float,
    start: Model,
    groups: Sequence[FieldGroup],
    settings: TuningSettings,
    folds: int,
) -> int:
    """Steps of each turn. A run that goes on keeps the number that it began with."""
    note = work / "run.json"
    kept = json.loads(note.read_text(encoding="utf-8"))
    if steps is None:
        if "steps" in kept:
            return int(kept["steps"])
        left = max(0.0, minutes - (time.monotonic() - started) / 60)
        # A tenth is for measuring what is held out and for choosing.
        fitting = steps_in(0.9 * left / (folds + 1), start.network, groups, settings.training)
        steps = min(settings.most_steps, max(FEWEST_STEPS, fitting))
    _write(note, {**kept, "steps": steps})
    return steps


def folds_of(
    fields: Sequence[TrainingField], settings: TuningSettings, window_px: int
) -> list[Fold]:
    """Turns of holding out: whole images where there are enough of them, else halves of each.

    Between halves a band as wide as half a window is neither learnt from nor measured on, since
    windows reach over it. A turn must leave at least two classes to learn; none at all remain
    where images are too few and too small.
    """
    folds: list[Fold] = []
    if len(fields) >= settings.least_images:
        count = min(len(fields), settings.most_folds)
        for turn in range(count):
            held = tuple(one for i, one in enumerate(fields) if i % count == turn)
            learn = tuple(one for i, one in enumerate(fields) if i % count != turn)
            folds.append(Fold(learn, held))
    elif all(max(one.labels.shape) >= 3 * window_px for one in fields):
        for side in (0, 1):
            pairs = [_halves(one, side, window_px // 2) for one in fields]
            folds.append(Fold(tuple(a for a, _ in pairs), tuple(b for _, b in pairs)))
    return [fold for fold in folds if len(_classes(fold.learn)) > 1 and _classes(fold.held)]


def _classes(fields: Sequence[TrainingField]) -> set[int]:
    return {int(v) for one in fields for v in np.unique(one.labels)} - {UNKNOWN}


def _halves(one: TrainingField, side: int, band_px: int) -> tuple[TrainingField, TrainingField]:
    """A field with one half unknown, and one with the other, a band apart."""
    axis = int(np.argmax(one.labels.shape))
    middle = one.labels.shape[axis] // 2
    place = np.arange(one.labels.shape[axis])
    first, last = place < middle - band_px // 2, place >= middle + band_px // 2
    kept = (first, last) if side == 0 else (last, first)
    pair = []
    for some in kept:
        mask = some[:, None] if axis == 0 else some[None, :]
        labels = np.where(mask, one.labels, np.uint8(UNKNOWN))
        pair.append(TrainingField(one.name, one.flat, labels))
    return pair[0], pair[1]


# ------------------------------------------------------------------------------------ choice


@dataclass(frozen=True, eq=False)
class Choice:
    """What held-out fields speak for."""

    share: float
    temperature: float
    scores: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class _Held:
    """What networks said of the fields held out from each of them, pooled."""

    confusion: Confusion
    reliability: Reliability
    surprise: float
    fraction_errors: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        errors = self.fraction_errors
        return {
            "mean_jaccard": round(self.confusion.mean_jaccard, 4),
            "jaccard": {
                c.name.lower(): _plain(float(self.confusion.jaccard[int(c)])) for c in CellClass
            },
            "mean_fraction_error": round(statistics.fmean(errors), 4) if errors else None,
            "expected_calibration_error": _plain(self.reliability.expected_calibration_error),
        }


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def mixed(old: Mapping[str, Tensor], new: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Weights between two networks of one shape: old for share 0, new for 1."""
    if share in (0.0, 1.0):
        # A network that training has wrecked may hold what is not a number: 0 times that is none.
        return dict(new if share else old)
    return {
        name: torch.lerp(value, new[name], share) if value.is_floating_point() else new[name]
        for name, value in old.items()
    }


def _choose(
    start: Model, folds: Sequence[Fold], turns: Sequence[PmfCNN], most_share: float
) -> Choice:
    base = start.manifest
    if not folds:
        return Choice(most_share, base.temperature, {})

    def measured(share: float, temperature: float) -> _Held:
        manifest = replace(base, temperature=temperature)
        parts = []
        for fold, tuned in zip(folds, turns, strict=True):
            network = PmfCNN(base.network)
            network.load_state_dict(mixed(start.network.state_dict(), tuned.state_dict(), share))
            parts.append(_measure(network.eval(), manifest, fold.held))
        return _pooled(parts)

    by_share = {share: measured(share, base.temperature) for share in SHARES if share <= most_share}
    scores = {share: one.confusion.mean_jaccard for share, one in by_share.items()}
    enough = max(scores[0.0], max(scores.values()) - ALIKE)
    share = max(share for share, score in scores.items() if score >= enough)
    told = {
        "before": by_share[0.0].to_json(),
        "mean_jaccard_by_share_of_new_weights": {
            f"{share:g}": round(one.confusion.mean_jaccard, 4) for share, one in by_share.items()
        },
    }
    if share == 0:
        return Choice(0.0, base.temperature, by_share[0.0].to_json() | told)
    by_temperature = {
        base.temperature * factor: measured(share, base.temperature * factor)
        for factor in TEMPERATURE_FACTORS
    }
    temperature = min(by_temperature, key=lambda one: by_temperature[one].surprise)
    return Choice(share, round(temperature, 4), by_temperature[temperature].to_json() | told)


def _measure(network: PmfCNN, manifest: Manifest, held: Sequence[TrainingField]) -> _Held:
    segmenter = Segmenter(Model(network, manifest))
    parts = []
    for one in held:
        found = segmenter.probabilities(bend(np.asarray(one.flat, dtype=np.float32)))
        shape = cast(tuple[int, int], one.labels.shape)
        labels = label_map(found, shape)
        planes = spread_evenly(found, shape, 0, shape[0])
        error = fraction_error(one.labels, labels)
        parts.append(
            _Held(
                confusion(one.labels, labels),
                reliability(one.labels, planes),
                _surprise(one.labels, planes),
                () if error is None else (error,),
            )
        )
    return _pooled(parts)


def _pooled(parts: Sequence[_Held]) -> _Held:
    return _Held(
        sum((one.confusion for one in parts[1:]), parts[0].confusion),
        sum((one.reliability for one in parts[1:]), parts[0].reliability),
        sum(one.surprise for one in parts),
        tuple(error for one in parts for error in one.fraction_errors),
    )


def _surprise(truth: NDArray[np.uint8], planes: NDArray[np.float32]) -> float:
    """Sum of -log of the probability given to the true class, over the known pixels."""
    known = truth != UNKNOWN
    said = np.take_along_axis(planes[:, known], truth[known][None].astype(np.intp), axis=0)
    return float(-np.log(np.maximum(said, 1e-4)).sum())


def _score(network: PmfCNN, manifest: Manifest, held: Sequence[TrainingField]) -> float | None:
    if not held:
        return None
    return _measure(network, manifest, held).confusion.mean_jaccard


# -------------------------------------------------------------------------------------- card


def card(manifest: Manifest) -> str:
    """The model card as Markdown."""
    training, scores = manifest.training, manifest.scores.get("held out in turns")
    images = "\n".join(
        f"| {one['name']} | {one['pixel_size_um'] or 'not stated'} | {one['labelled_share']:.0%} | "
        + " | ".join(f"{share:.0%}" for share in one["shares"].values())
        + " |"
        for one in training["images"]
    )
    heads = " | ".join(c.name.lower() for c in CellClass)
    assumed = training["assumed_pixel_size_um"]
    told = [
        f"# {manifest.name}\n",
        f"Fine-tuned from the model {training['from']['name']} "
        f"(`{training['from']['sha256'][:12]}`) on:\n",
        f"| image | um a pixel | labelled | {heads} |",
        f"|---|---|---|{'---|' * len(CellClass)}",
        images + "\n",
    ]
    if assumed:
        told.append(
            f"Where no pixel size is stated, {assumed:g} um was assumed, and will be for images of "
            "which none is known. State it: areas in um2 need it.\n"
        )
    told.append(
        f"{training['steps']} steps, seed {training['seed']}; "
        f"{training['share_of_new_weights']:.0%} of the new weights, the rest of the old ones; "
        f"temperature {manifest.temperature:g}.\n"
    )
    told.append("## How good it is\n")
    if scores is None:
        told.append(
            "Not measured: the images were too few and too small to hold any part out. Measure it "
            "with `colonywatch evaluate` on images that were not used here, before relying on it.\n"
        )
        return "\n".join(told)
    kind = (
        "Whole images were held out in turns"
        if len(training["images"]) >= training["settings"]["least_images"]
        else "Halves of the images were held out in turns (neighbours of what was learnt from: "
        "expect less on new dishes)"
    )
    told += [
        f"{kind}, {training['turns']} networks trained on the others and asked about these; the "
        "model itself then learnt from all.\n",
        f"| | mean Jaccard | {heads} | fraction error | ECE |",
        f"|---|---|{'---|' * len(CellClass)}---|---|",
        _row("before", scores["before"]),
        _row("fine-tuned", scores) + "\n",
    ]
    told.append(
        "The same fields chose the share and the temperature, so this is a little hopeful. Measure "
        "it with `colonywatch evaluate` on images that were not used here, before relying on it.\n"
    )
    return "\n".join(told)


def _row(name: str, scores: Mapping[str, Any]) -> str:
    values = [
        scores["mean_jaccard"],
        *scores["jaccard"].values(),
        scores["mean_fraction_error"],
        scores["expected_calibration_error"],
    ]
    return f"| {name} | " + " | ".join("-" if v is None else f"{v:.3f}" for v in values) + " |"
