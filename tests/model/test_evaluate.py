"""Measuring a model: what is known is scored, what is undefined is null."""

from __future__ import annotations

import json
from dataclasses import replace
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


def test_a_second_rater_is_reported_where_there_is_one() -> None:
    images = [labelled("a"), labelled("b"), labelled("c")]
    second = {"a": images[0].labels, "c": np.full((120, 140), 255, np.uint8)}
    values = evaluate(untrained(), images, second_rater=second).to_json()
    assert [one["name"] for one in values["raters"]["fields"]] == ["a", "c"]
    assert values["raters"]["labelled_by_one_only"] == ["b"]
    assert values["raters"]["between_raters"]["kappa"] == 1.0
    assert (
        values["raters"]["model_and_first"]["jaccard"]
        == values["raters"]["model_and_second"]["jaccard"]
        == values["fields"][0]["jaccard"]
    )
    assert evaluate(untrained(), images).to_json()["raters"] is None


def test_two_models_are_compared_image_by_image() -> None:
    images = [labelled("a"), labelled("b"), labelled("c")]
    ours = evaluate(untrained(), images)
    told = ours.to_json(evaluate(untrained(), images))["compared"]
    assert told["mean_jaccard_ahead"] == 0
    assert told["mean_jaccard_ahead_interval"] == [0, 0]
    assert told["fraction_error_ahead"] == 0
    assert told["model"]["name"] == "untrained"
    assert ours.to_json()["compared"] is None
    with pytest.raises(ValueError, match="the same images only"):
        ours.ahead_of(evaluate(untrained(), images[:2]))


def test_the_nearer_fraction_is_ahead() -> None:
    """Differences of errors are turned round: less error is better."""
    images = [labelled("a"), labelled("b"), labelled("c")]
    images = [replace(one, labels=one.labels * np.uint8(2)) for one in images]
    wrong = evaluate(untrained(), images)
    right = replace(wrong, fields=tuple(replace(one, fraction_error=0.0) for one in wrong.fields))
    assert wrong.fields[0].fraction_error
    told = right.ahead_of(wrong)
    assert told["fraction_error_ahead"] == pytest.approx(wrong.fields[0].fraction_error, abs=1e-4)
    assert told["fraction_error_ahead_interval"][0] > 0
