"""Fine-tuning: a model made better on a lab's own few labelled fields.

A few fields say much about what cells look like under that microscope and little about how often
anything occurs, and a network soon knows them by heart. So only what joins up the local features is
learnt anew, slowly; each class has its turn equally often; and simulated fields, of the kind that
the starter learnt from, are mixed in, so that nothing is forgotten.

How good that is cannot be asked of the fields that were learnt from. So fields take turns at being
held out (`folds_of`): for each turn a network is trained on the others and asked about those held
out. What was said about all of them together gives the score, the share of the new weights that is
best mixed with the old ones, and the temperature. One network is trained on all fields: that is
the model, if it harms no other kind of dish (`model.tuning.guard`); else a smaller share of it is
tried. Where no share of new weights helps without harm, nothing is written: the old model stays.

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
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import torch

from model.checkpoint import Manifest, Model, load_model, save_model
from model.classes import NOT_DIFFERENTIATED, CellClass, has_class
from model.dataset import LabelledImage, TrainingField, prepare, read_labelled
from model.labelled_files import DataError
from model.manifest import MANIFEST, ModelError
from model.network import PmfCNN
from model.pmf_segmenter import PmfSegmenter
from model.predict import STARTER
from model.scale import estimate_scale
from model.train import FieldGroup, Progress, balanced_group, fit, steps_in
from model.tuning.card import card
from model.tuning.choice import Choice, choose, mixture
from model.tuning.folds import Fold, folds_of, outlined
from model.tuning.guard import LARGEST_LOSS, Guard, Kind
from model.tuning.head import taught
from model.tuning.held import score_of
from model.tuning.kinds import simulated_kinds, without
from model.tuning.settings import USUAL_SETTINGS, NoGainError, TuningProgress, TuningSettings

WORK: Final = ".training"
"""Folder within the model's, for what a run needs to go on."""
Kinds: TypeAlias = Mapping[str, Sequence[LabelledImage]]
"""Labelled images by the kind of picture that they are."""

FEWEST_STEPS: Final = 20
QUICK_GUARD_FIELDS: Final = 56
QUICK_LOSS: Final = 0.03
"""What another kind may lose by a last layer that was taught for one source."""
REPORT_EVERY_S: Final = 2.0
KEEP_EVERY_S: Final = 20.0


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
    quick: bool = False,
    progress: Callable[[TuningProgress], None] | None = None,
    rehearsal: Callable[[int], Sequence[LabelledImage]] | None = None,
    kinds: Callable[[], Kinds] | None = None,
) -> Manifest:
    """Fine-tune a model on labelled images and write it to a folder.

    data : folder with images/ and labels/ (`model.dataset`), or labelled images
    base : model to start from; the starter model by default
    minutes : most wall time; this machine's speed says how many steps fit, up to the settings' most
    steps : of each turn instead, so that a run can be repeated exactly
    threads : for arithmetic in this process; None leaves it to the library
    quick : learn the last layer alone, in seconds (`model.tuning.head`); minutes, steps and seed
        are then of no matter
    rehearsal : so many fields of the kinds learnt before; simulated ones by default
    kinds : fields of other kinds that must not come out worse; simulated ones by default
    Raises DataError, ModelError, or NoGainError where nothing is written since it did not help, or
        harmed another kind.
    """
    # Long by all that a manifest tells of a training; the order of the steps is the method.
    started = time.monotonic()
    if threads is not None:
        torch.set_num_threads(threads)
    tell = progress or (lambda _: None)
    labelled = list(read_labelled(data).images if isinstance(data, Path) else data)
    if (out / MANIFEST).exists():
        raise ModelError(f"{out}: already holds a model; choose another folder, or delete that one")
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
    guarded = (kinds or partial(guarded_kinds, quick=quick))()
    guard = _guard(start, labelled, guarded, QUICK_LOSS if quick else LARGEST_LOSS)
    folds = folds_of(fields, settings, start.network.config.window_px)
    groups = partial(_groups, practice=practice, settings=settings)
    if quick:
        steps = 0
        turns, whole = _taught_in_turns(start, folds, fields, practice, settings, tell, started)
    else:
        steps = _steps(work, steps, minutes, started, start, groups(fields), settings, len(folds))
        in_all = steps * (len(folds) + 1)
        turning = _Turning(start, settings, groups, steps, seed, work, run, tell, in_all, started)
        turns = [
            turning.tune(i, f"turn {i + 1} of {len(folds)}", fold.learn, fold.held)
            for i, fold in enumerate(folds)
        ]
        whole = turning.tune(len(folds), "all fields", fields, ())
    in_all = steps * (len(folds) + 1)
    tell(TuningProgress("choosing", in_all, in_all, elapsed_s=time.monotonic() - started))
    proved = len(outlined(fields)) >= settings.least_proving_images
    choice = choose(
        start,
        folds,
        turns,
        whole,
        guard,
        most_share=1.0 if proved else settings.most_unproved_share,
        error_may_rise=settings.fraction_error_may_rise,
    )
    training = {
        "from": {"name": start.manifest.name, "sha256": start.manifest.sha256},
        "images": [_facts(one) for one in labelled],
        "learnt": "the last layer" if quick else "the network",
        "steps": steps,
        "turns": len(folds),
        "held_out": "halves" if any(fold.of_halves for fold in folds) else "whole images",
        "seed": seed,
        "settings": settings.to_json(),
        "share_of_new_weights": choice.share,
        "kinds_harmed_by_share_of_new_weights": choice.harmed,
        "assumed_pixel_size_um": assumed,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    if choice.share == 0:
        _clear_away(work, with_parent=made_here)
        raise NoGainError(start.manifest, training, choice.scores)
    result = _save(out, start, whole, choice, training, is_measured=bool(folds))
    shutil.rmtree(work, ignore_errors=True)
    return result


def _groups(
    learn: Sequence[TrainingField], *, practice: Sequence[TrainingField], settings: TuningSettings
) -> list[FieldGroup]:
    lab = balanced_group("labelled", learn, 1 - settings.rehearsal_share)
    if not practice:
        return [lab]
    return [lab, FieldGroup("simulated", practice, settings.rehearsal_share)]


def guarded_kinds(*, quick: bool) -> Kinds:
    """Simulated fields of several kinds; fewer where an answer is wanted in seconds."""
    return simulated_kinds(QUICK_GUARD_FIELDS) if quick else simulated_kinds()


def _taught_in_turns(
    start: Model,
    folds: Sequence[Fold],
    fields: Sequence[TrainingField],
    practice: Sequence[TrainingField],
    settings: TuningSettings,
    tell: Callable[[TuningProgress], None],
    started: float,
) -> tuple[list[PmfCNN], PmfCNN]:
    """A network for each turn of holding out, and one that learnt from all fields."""
    networks = []
    for number, learn in enumerate([*(fold.learn for fold in folds), fields]):
        doing = f"turn {number + 1} of {len(folds)}" if number < len(folds) else "all fields"
        tell(TuningProgress(doing, elapsed_s=time.monotonic() - started))
        try:
            um_per_pixel, share = start.manifest.um_per_pixel, settings.rehearsal_share
            networks.append(taught(start.network, learn, practice, share, um_per_pixel))
        except ValueError as error:
            raise DataError(
                f"{', '.join(one.name for one in learn)}: {error}; paint wider strokes, at least "
                f"{2 * start.manifest.um_per_pixel:g} um, or more of them"
            ) from error
    return networks[:-1], networks[-1]


@dataclass(frozen=True, eq=False)
class _Turning:
    """What all turns have in common.

    groups : fields to learn from -> these and what is rehearsed, in their shares
    steps, in_all : of one turn, of all
    started : by the monotonic clock
    """

    start: Model
    settings: TuningSettings
    groups: Callable[[Sequence[TrainingField]], list[FieldGroup]]
    steps: int
    seed: int
    work: Path
    run: str
    tell: Callable[[TuningProgress], None]
    in_all: int
    started: float

    def tune(
        self, number: int, doing: str, learn: Sequence[TrainingField], held: Sequence[TrainingField]
    ) -> PmfCNN:
        """Train a copy of the network from the first step on, or from where it was cut off."""
        start = self.start
        before = score_of(start.network, start.manifest, held)

        def show(now: Progress) -> None:
            done = number * self.steps + now.step
            elapsed = time.monotonic() - self.started
            self.tell(
                TuningProgress(doing, done, self.in_all, now.loss, now.score, before, elapsed)
            )

        network = PmfCNN(start.network.config)
        network.load_state_dict(start.network.state_dict())
        return fit(
            network,
            self.groups(learn),
            self.settings.training,
            steps=self.steps,
            seed=self.seed,
            work=self.work / f"turn-{number}",
            run=f"{self.run} {number}",
            progress=show,
            measure=(lambda one: score_of(one, start.manifest, held) or math.nan) if held else None,
            report_every_s=REPORT_EVERY_S,
            keep_every_s=KEEP_EVERY_S,
        )


def _save(
    out: Path,
    start: Model,
    whole: PmfCNN,
    choice: Choice,
    training: dict[str, Any],
    *,
    is_measured: bool,
) -> Manifest:
    """The chosen mixture of old and new weights, with its card."""
    tuned = mixture(start, whole, choice.share)
    made = replace(
        start.manifest,
        name=out.name,
        temperature=choice.temperature,
        assumed_pixel_size_um=training["assumed_pixel_size_um"]
        or start.manifest.assumed_pixel_size_um,
        training=training,
        scores={
            **({"held out in turns": choice.scores} if is_measured else {}),
            **({"other kinds": choice.kinds} if choice.kinds else {}),
        },
    )
    return save_model(out, Model(tuned, made), card(made))


def _clear_away(work: Path, *, with_parent: bool) -> None:
    """The work folder, and the model's own if we made it and it holds nothing else."""
    shutil.rmtree(work, ignore_errors=True)
    if with_parent:
        with suppress(OSError):
            work.parent.rmdir()


def assume_pixel_size(start: Model, labelled: Sequence[LabelledImage]) -> float | None:
    """One pixel size in um for all images that come without one; None where all have theirs.

    They come from one microscope, so what they say of it is pooled.
    """
    without = [one for one in labelled if one.pixel_size_um is None]
    if not without:
        return None
    segmenter = PmfSegmenter(start)
    if segmenter.assumed_pixel_size_um is not None:
        return segmenter.assumed_pixel_size_um
    return estimate_scale([segmenter.scale_evidence(one.image, one.inside) for one in without]).um


def _prepared(one: LabelledImage, manifest: Manifest, assumed: float | None) -> TrainingField:
    stride = manifest.network.stride_px
    return prepare(one, manifest.um_per_pixel, manifest.normalisation, stride, assumed)


def _guard(
    start: Model, labelled: Sequence[LabelledImage], kinds: Kinds, largest_loss: float
) -> Guard:
    """Without what is learnt from. Images of a kind that say no pixel size get one together."""
    prepared = []
    manifest = start.manifest
    seen: dict[int, TrainingField] = {}
    for name, some in without(kinds, labelled).items():
        assumed = assume_pixel_size(start, some)
        for one in some:
            if id(one) not in seen:
                seen[id(one)] = _prepared(one, manifest, assumed)
        prepared.append(Kind(name, tuple(seen[id(one)] for one in some)))
    return Guard(start, prepared, largest_loss)


def _simulated(number: int) -> Sequence[LabelledImage]:
    from model.simulation.labelled import FIRST_TRAINING_SEED, simulated

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
    known = max(1, int(np.count_nonzero(has_class(one.labels))))
    digest = hashlib.sha256(np.ascontiguousarray(one.image).tobytes())
    digest.update(np.ascontiguousarray(one.labels).tobytes())
    return {
        "name": one.name,
        "sha256_of_pixels_and_labels": digest.hexdigest(),
        "shape": list(one.labels.shape),
        "pixel_size_um": one.pixel_size_um,
        "labelled_share": round(float(has_class(one.labels).mean()), 4),
        "not_differentiated_share": round(float((one.labels == NOT_DIFFERENTIATED).mean()), 4),
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
