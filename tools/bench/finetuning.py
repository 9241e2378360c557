"""What fine-tuning on a lab's own few fields gives: writes docs/fine-tuning.md.

Each labelled field is held out in turn; `colonywatch train` learns from the others, as a lab would,
and both models are asked about the field that neither has seen. Then it learns from all of them;
where that makes a model, it is held against the starter on the real fields of every kind on the
starter's card, of which `train` itself sees none.

    python -m tools.bench.finetuning --minutes 10
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.checkpoint import load_model
from model.dataset import LabelledImage, read_labelled
from model.evaluate import Evaluation, FieldScore, evaluate
from model.finetune import train
from model.metrics import Confusion
from model.pmf_segmenter import PmfSegmenter
from model.predict import STARTER
from model.starter.measuring import scores_of, table_of
from model.tuning.settings import USUAL_SETTINGS, NoGainError, TuningProgress

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("COLONYWATCH_DATA", ROOT / ".." / "shared" / "data")) / "ips_fields"


@dataclass(frozen=True)
class Turn:
    """One field held out: how each model does on it."""

    held: str
    starter: FieldScore
    tuned: FieldScore
    share: float
    wall_s: float
    steps: int


def turn(images: list[LabelledImage], held: int, minutes: float, seed: int, work: Path) -> Turn:
    """Fine-tune on all but one and measure on that one."""
    one = images[held]
    out = work / f"without-{held}-{seed}"
    began = time.monotonic()
    try:
        training = train(
            [image for i, image in enumerate(images) if i != held],
            out,
            minutes=minutes,
            seed=seed,
            progress=tell(f"without {one.name}, seed {seed}"),
        ).training
    except NoGainError as kept:
        training, out = kept.training, STARTER
    spent = time.monotonic() - began
    return Turn(
        one.name,
        measured(STARTER, one).fields[0],
        measured(out, one).fields[0],
        float(training["share_of_new_weights"]),
        spent,
        int(training["steps"]),
    )


@dataclass(frozen=True)
class OfAll:
    """What learning from all fields gave.

    by_share : mean Jaccard on what was held out in turns, by the share of the new weights
    model : its folder; None where nothing was written, for the reason that is said
    """

    by_share: dict[str, float]
    model: Path | None
    said: str


def learnt_from_all(
    images: list[LabelledImage], minutes: float, work: Path, *, halves: bool
) -> OfAll:
    """Learn from all fields. halves : hold out halves of each field, else whole fields"""
    settings = USUAL_SETTINGS
    if halves:
        settings = replace(settings, least_images=len(images) + 1, most_unproved_share=1.0)
    what = "halves held out" if halves else "whole fields held out"
    out = work / what.replace(" ", "-")
    by_share = "mean_jaccard_by_share_of_new_weights"
    try:
        made = train(images, out, minutes=minutes, settings=settings, progress=tell(what))
    except NoGainError as kept:
        return OfAll(kept.scores[by_share], None, f"`train` says: *{kept}.*")
    share = float(made.training["share_of_new_weights"])
    told = f"`train` takes {share:.0%} of the new weights."
    return OfAll(made.scores["held out in turns"][by_share], out, told)


def on_the_cards_kinds(model: Path) -> str:
    """A table: the starter and a model on real fields of each kind that were never learnt from."""
    tables = [
        table_of(scores_of(PmfSegmenter(load_model(one)), DATA.parent)) for one in (STARTER, model)
    ]
    lines = [
        "| real fields, never learnt from | fields | mean Jaccard, starter | fine-tuned | "
        "fraction error, starter | fine-tuned |",
        "|---|---|---|---|---|---|",
    ]
    for kind, before in tables[0].items():
        after = tables[1][kind]
        values = [
            one[key] for key in ("mean_jaccard", "fraction_error_mean") for one in (before, after)
        ]
        shown = " | ".join("-" if value is None else f"{value:.3f}" for value in values)
        lines.append(f"| {kind} | {before['fields']} | {shown} |")
    return "\n".join(lines)


def measured(model: Path, one: LabelledImage) -> Evaluation:
    """A model on one field."""
    return evaluate(PmfSegmenter(load_model(model)), [one])


def tell(what: str) -> Any:
    """Says now and then how far it is."""
    said = 0.0

    def show(now: TuningProgress) -> None:
        nonlocal said
        if time.monotonic() - said > 30:
            said = time.monotonic()
            print(f"{what}: {now.doing}, {now.steps_done} of {now.steps_in_all} steps", flush=True)

    return show


def pooled(scores: list[FieldScore]) -> Confusion:
    """Counts of several fields together."""
    return Confusion(np.sum([score.confusion.counts for score in scores], axis=0))


def row(name: str, confusion: Confusion, errors: list[float]) -> str:
    """A line of the table."""
    values = [confusion.mean_jaccard, *confusion.jaccard, statistics.mean(errors)]
    return f"| {name} | " + " | ".join(f"{value:.3f}" for value in values) + " |"


def _threads(number: int) -> str:
    return f"{number} thread{'' if number == 1 else 's'}"


def page(
    turns: list[Turn], held: dict[str, dict[str, float]], said: str, kinds: str, minutes: float
) -> str:
    """The document. held : what was held out -> mean Jaccard by share of the new weights"""
    shares = list(next(iter(held.values())))
    learnt = [
        "| held out | " + " | ".join(f"{float(share):.0%}" for share in shares) + " |",
        "|---" * (1 + len(shares)) + "|",
        *(
            f"| {what} | " + " | ".join(f"{scores[share]:.3f}" for share in shares) + " |"
            for what, scores in held.items()
        ),
    ]
    lines = [
        "| field held out | mean Jaccard | background | undifferentiated | differentiated |"
        " fraction error |",
        "|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(one.held for one in turns):
        here = [one for one in turns if one.held == name]
        for model, which in (("starter", "starter"), ("fine-tuned", "tuned")):
            scores = [getattr(one, which) for one in here]
            errors = [score.fraction_error or 0.0 for score in scores]
            lines.append(row(f"{name}, {model}", pooled(scores), errors))
    for model, which in (("starter", "starter"), ("fine-tuned", "tuned")):
        scores = [getattr(one, which) for one in turns]
        errors = [score.fraction_error or 0.0 for score in scores]
        lines.append(row(f"**all, {model}**", pooled(scores), errors))
    seeds = len({one.held for one in turns})
    text = (Path(__file__).parent / "fine-tuning.md.in").read_text(encoding="utf-8")
    return (
        text.replace("@TABLE@", "\n".join(lines))
        .replace("@BY_SHARE@", "\n".join(learnt))
        .replace("@SAID@", said)
        .replace("@KINDS@", kinds)
        .replace("@SEEDS@", str(len(turns) // seeds))
        .replace("@MINUTES@", f"{minutes:g}")
        .replace("@TOOK@", f"{max(one.wall_s for one in turns) / 60:.1f}")
        .replace("@STEPS@", ", ".join(str(one.steps) for one in turns))
        .replace("@SHARES@", ", ".join(f"{one.share:g}" for one in turns))
        .replace("@THREADS@", _threads(torch.get_num_threads()))
    )


def main() -> int:
    """Measure and write."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=10.0)
    options.add_argument("--seeds", type=int, default=1)
    options.add_argument("--out", type=Path, default=ROOT / "docs" / "fine-tuning.md")
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    if not DATA.is_dir():
        print(f"no labelled fields in {DATA}; set COLONYWATCH_DATA", file=sys.stderr)
        return 2
    images = list(read_labelled(DATA).images)
    work = Path(tempfile.mkdtemp(prefix="colonywatch-fine-tuning-"))
    try:
        turns = [
            turn(images, held, chosen.minutes, seed, work)
            for seed in range(chosen.seeds)
            for held in range(len(images))
        ]
        by_what = {
            what: learnt_from_all(images, chosen.minutes, work, halves=halves)
            for what, halves in (("whole fields", False), ("halves of each field", True))
        }
        whole = by_what["whole fields"]
        kinds = on_the_cards_kinds(whole.model) if whole.model else ""
    finally:
        shutil.rmtree(work, ignore_errors=True)
    held = {what: one.by_share for what, one in by_what.items()}
    text = page(turns, held, whole.said, kinds, chosen.minutes)
    chosen.out.write_text(text, encoding="utf-8")
    if chosen.json:
        rows = [
            {"held": one.held, "starter": one.starter.to_json(), "tuned": one.tuned.to_json()}
            for one in turns
        ]
        chosen.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    print(f"{chosen.out} written")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
