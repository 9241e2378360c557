"""Two raters, and two models, in words: what is said is what the numbers say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from model.raters import RaterAgreement
from monitor.outlets.figures.raters import comparison_in_words, raters_in_words
from tests.model.test_raters import agreement, halves, rated


def measured(found: RaterAgreement | None, images: int = 12) -> dict[str, Any]:
    return {"images": images, "raters": None if found is None else found.to_json()}


@pytest.mark.parametrize(
    ("found", "images", "said"),
    [
        (agreement(0.05), 12, "That is as much as they share with each other"),
        (agreement(0.6), 12, "That is less than they share with each other: a better model can be"),
        (agreement(0.05), 12, "Two raters labelled these images."),
        (agreement(0.05), 15, "Two raters labelled 12 of these 15 images."),
        (agreement(0.05, images=1), 1, "Two raters labelled this image."),
        (agreement(0.05, images=1), 1, "One image does not say how much"),
        (agreement(0.05), 12, "no limit for alerts can be sharper than people are"),
        (
            RaterAgreement((rated("a", halves(0, 1), halves(0, 1), halves(0, 2)),)),
            1,
            "is one a copy of the other?",
        ),
        (
            RaterAgreement((rated("a", halves(0, 255), halves(255, 1), halves(0, 2)),)),
            1,
            "no pixel has a class by both",
        ),
    ],
)
def test_what_two_raters_say_of_a_model(found: RaterAgreement, images: int, said: str) -> None:
    assert said in " ".join(raters_in_words(measured(found, images)))


def test_copies_are_only_told_of_copies() -> None:
    assert "copy" not in " ".join(raters_in_words(measured(agreement(0.05))))


def test_nothing_is_said_where_nobody_else_rated() -> None:
    assert raters_in_words(measured(None)) == []
    assert comparison_in_words({"compared": None}) == []


def test_a_model_that_is_behind_with_one_rater_only_is_told_so() -> None:
    """It learnt from the first: with the second it is behind, which the sentence must not hide."""
    fields = []
    for one in agreement(0.05).fields:
        swapped = one.model_and_second.counts.copy()
        swapped[0, 1:] += swapped[0, 0]
        swapped[0, 0] = 0
        changed = type(one)(
            one.name,
            one.between_raters,
            one.model_and_first,
            type(one.model_and_second)(swapped),
            one.compared_share,
        )
        fields.append(changed)
    told = " ".join(raters_in_words(measured(RaterAgreement(tuple(fields)))))
    assert "With the second that is less than the two share with each other" in told


def other(**values: Any) -> dict[str, Any]:
    usual = {
        "model": {"name": "starter", "sha256": "5fcfff7e52df2e88"},
        "mean_jaccard_ahead": 0.031,
        "mean_jaccard_ahead_interval": [0.01, 0.052],
        "fraction_error_ahead": -0.02,
        "fraction_error_ahead_interval": [-0.03, -0.01],
    }
    return {"compared": usual | values}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (other(), "Beside starter (5fcfff7e52df), image by image: mean Jaccard +3.1 points (95 % "),
        (other(), "interval +1.0 to +5.2): better."),
        (other(), "2.0 percentage points larger (95 % interval -3.0 to -1.0): worse."),
        (other(mean_jaccard_ahead_interval=[-0.01, 0.07]), "no difference that these images could"),
        (other(mean_jaccard_ahead_interval=[None, None]), "mean Jaccard +3.1 points."),
        (other(fraction_error_ahead=0.01, fraction_error_ahead_interval=[0.0, 0.02]), "smaller"),
    ],
)
def test_a_model_beside_another(document: dict[str, Any], said: str) -> None:
    assert said in " ".join(comparison_in_words(document))


def test_a_fraction_that_no_image_has_is_not_compared() -> None:
    told = comparison_in_words(other(fraction_error_ahead=None))
    assert len(told) == 1
    assert np.all(["share" not in line for line in told])
