"""Measuring a model: what is known is scored, what is undefined is null."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from model.checkpoint import Manifest, Model
from model.dataset import LabelledImage
from model.evaluate import evaluate, evaluate_simulated
from model.labelled_files import DataError
from model.network import PmfCNN, PmfCNNConfig
from model.pmf_segmenter import PmfSegmenter

SMALL = PmfCNNConfig(widths=(4, 6, 8), context_channels=8)


def untrained() -> PmfSegmenter:
    torch.manual_seed(0)
    return PmfSegmenter(Model(PmfCNN(SMALL).eval(), Manifest("untrained", SMALL, 2.5)))


def labelled(name: str, known: bool = True) -> LabelledImage:
    image = np.random.default_rng(0).normal(100, 5, (120, 140))
    labels = np.zeros((120, 140), np.uint8)
    labels[:, 70:] = 1
    if not known:
        labels[:] = 255
    return LabelledImage(name, image, labels, 2.0)


def test_every_known_pixel_is_scored_once() -> None:
    found = evaluate(untrained(), [labelled("a"), labelled("b"), labelled("c", known=False)])
    assert found.confusion.counts.sum() == 2 * 120 * 140
    assert [one.name for one in found.fields] == ["a", "b", "c"]
    assert found.fields[2].fraction_error is None


def test_the_json_form_is_plain_and_has_no_nan() -> None:
    values = evaluate(untrained(), [labelled("a"), labelled("b")]).to_json()
    text = json.dumps(values, allow_nan=False)
    again = json.loads(text)
    assert again["images"] == 2
    assert set(again["jaccard"]) == {"background", "undifferentiated", "differentiated"}
    low, high = again["mean_jaccard_interval"]
    assert low <= again["mean_jaccard"] <= high


def test_labels_are_shown_to_whoever_asks() -> None:
    seen: list[tuple[str, tuple[int, ...]]] = []
    evaluate(
        untrained(),
        [labelled("a")],
        lambda one, found, score: seen.append((score.name, found.labels.shape)),
    )
    assert seen == [("a", (120, 140))]


def test_simulated_fields_are_measured_by_their_seeds() -> None:
    measured = evaluate_simulated(untrained(), 1, 1004)
    assert [one.name for one in measured.fields] == ["simulated 1004"]


def test_nothing_to_measure_on_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no image to measure on"):
        evaluate(untrained(), [])


def test_uncertainty_is_held_against_error_over_the_images() -> None:
    found = evaluate(untrained(), [labelled(name) for name in "abc"])
    assert np.isnan(found.uncertainty_tells_error)  # the same image thrice does not vary
    assert found.to_json()["uncertainty_tells_error"] is None


def test_an_image_without_a_known_pixel_has_no_error() -> None:
    values = evaluate(untrained(), [labelled("a", known=False)]).to_json()
    assert values["fields"][0]["pixel_error"] is None
    assert values["mean_jaccard"] is None
    assert values["mean_boundary_f_score"] is None
