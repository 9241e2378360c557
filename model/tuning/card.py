"""The model card of a fine-tuned model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model.checkpoint import Manifest
from model.classes import CellClass


def card(manifest: Manifest) -> str:
    """The model card as Markdown."""
    training, scores = manifest.training, manifest.scores.get("held out in turns")
    images = "\n".join(
        f"| {one['name']} | {one['pixel_size_um'] or 'not stated'} | {_labelled(one)} | "
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
        f"| image | um/px | labelled | {heads} |",
        f"|---|---|---|{'---|' * len(CellClass)}",
        images + "\n",
    ]
    if assumed:
        told.append(
            f"If no pixel size is given, {assumed:g} um was assumed, and will be for images of "
            "which none is known. State it: areas in um2 need it.\n"
        )
    told.append(
        f"{_learnt(training)}; {training['share_of_new_weights']:.0%} of the new weights, the rest "
        "of the old ones; "
        f"temperature {manifest.temperature:g}.\n"
    )
    told.append("## How good it is\n")
    if scores is None:
        told.append(
            "Not measured: the images were too few and too small to hold any part out. Measure it "
            "with `colonywatch evaluate` on images that were not used here, before relying on it.\n"
        )
        return "\n".join(told + _other_kinds(manifest))
    kind = (
        "Whole images were held out in turns"
        if training["held_out"] == "whole images"
        else "Halves of the images were held out in turns (neighbours of what was learnt from: "
        "expect less on new dishes)"
    )
    told += [
        f"{kind}, {training['turns']} networks trained on the others and tested on these; the "
        "model itself then learnt from all.\n",
        f"| | mean Jaccard | {heads} | fraction error | ECE |",
        f"|---|---|{'---|' * len(CellClass)}---|---|",
        _row("before", scores["before"]),
        _row("fine-tuned", scores) + "\n",
    ]
    told.append(
        "The same fields chose the share and the temperature, so this is slightly optimistic. "
        "Measure "
        "it with `colonywatch evaluate` on images that were not used here, before relying on it.\n"
    )
    return "\n".join(told + _other_kinds(manifest))


def _learnt(training: Mapping[str, Any]) -> str:
    if training.get("learnt") == "the last layer":
        return "The last layer alone was learnt, on the features of the other layers as they were"
    return f"{training['steps']} steps, seed {training['seed']}"


def _other_kinds(manifest: Manifest) -> list[str]:
    """What became of kinds of images that were not learnt from."""
    kinds = manifest.scores.get("other kinds")
    if not kinds:
        return []
    told = [
        "## Other kinds of images\n",
        "None of them may come out worse, or less of the new weights is taken. Jaccard is the mean "
        "of the classes that a kind has. Simulated fields stand for kinds of which there is no "
        "image here: on real ones of another microscope, measure it.\n",
        "| kind | fields | mean Jaccard before | after | fraction error before | after |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in kinds.items():
        values = (
            one["mean_jaccard_before"],
            one["mean_jaccard"],
            one["mean_fraction_error_before"],
            one["mean_fraction_error"],
        )
        shown = " | ".join("-" if value is None else f"{value:.3f}" for value in values)
        told.append(f"| {name} | {one['fields']} | {shown} |")
    harmed = manifest.training["kinds_harmed_by_share_of_new_weights"]
    for share, kinds_harmed in harmed.items():
        told.append(f"\n{float(share):.0%} of the new weights: worse on {'; '.join(kinds_harmed)}.")
    return [*told, ""]


def _labelled(one: Mapping[str, Any]) -> str:
    """How much of an image has labels, and of how much only differentiated cells are ruled out."""
    told = f"{one['labelled_share']:.0%}"
    ruled_out = one["not_differentiated_share"]
    return f"{told}, {ruled_out:.0%} not differentiated" if ruled_out else told


def _row(name: str, scores: Mapping[str, Any]) -> str:
    values = [
        scores["mean_jaccard"],
        *scores["jaccard"].values(),
        scores["mean_fraction_error"],
        scores["expected_calibration_error"],
    ]
    return f"| {name} | " + " | ".join("-" if v is None else f"{v:.3f}" for v in values) + " |"
