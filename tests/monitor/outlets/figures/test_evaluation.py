"""The report on a model: it says what the numbers say, and stands alone."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from model.checkpoint import Manifest, Model
from model.dataset import LabelledImage
from model.evaluate import evaluate
from model.network import PmfCNN, PmfCNNConfig
from model.pmf_segmenter import PmfSegmenter
from monitor.outlets.figures.evaluation import (
    FieldImages,
    draw_differences,
    summary,
    write_report,
)

SMALL = PmfCNNConfig(widths=(4, 6, 8), context_channels=8)


def labelled(name: str, classes: tuple[int, int]) -> LabelledImage:
    image = np.random.default_rng(0).normal(100, 5, (120, 140))
    labels = np.full((120, 140), classes[0], np.uint8)
    labels[:, 70:] = classes[1]
    return LabelledImage(name, image, labels, 2.0)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    torch.manual_seed(0)
    segmenter = PmfSegmenter(Model(PmfCNN(SMALL).eval(), Manifest("untrained", SMALL, 2.5)))
    images = [labelled("a <b>.png", (0, 1)), labelled("c.png", (1, 2)), labelled("d.png", (0, 0))]
    images.append(labelled("none.png", (255, 255)))
    return evaluate(segmenter, images).to_json()


def test_the_page_stands_alone_and_names_every_field(
    document: dict[str, Any], tmp_path: Path
) -> None:
    dot = cv2.imencode(".jpg", np.zeros((4, 4, 3), np.uint8))[1].tobytes()
    pictures = {one["name"]: FieldImages(dot, dot, dot) for one in document["fields"][:2]}
    page = write_report(tmp_path, document, pictures).read_text()
    assert "a &lt;b&gt;.png" in page
    assert "<b>.png" not in page
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', page)
    assert len(sources) == 3 + 2 * 3
    assert all(one.startswith("data:image/") for one in sources)
    assert "2 better fields are not shown" in page
    assert json.loads((tmp_path / "report.json").read_text()) == document
    rows = list(csv.DictReader((tmp_path / "fields.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == [one["name"] for one in document["fields"]]
    assert rows[3]["pixel_error"] == ""


def test_worst_fields_come_first_and_unmeasured_ones_last(
    document: dict[str, Any], tmp_path: Path
) -> None:
    page = write_report(tmp_path, document, {}).read_text()
    table = page[page.index("Field by field") :]
    order = sorted(document["fields"], key=lambda one: -(one["pixel_error"] or -1))
    places = [table.index(one["name"].replace("<", "&lt;").replace(">", "&gt;")) for one in order]
    assert places == sorted(places)
    assert order[-1]["name"] == "none.png"


def numbers(counts: list[list[int]], **more: Any) -> dict[str, Any]:
    from model.metrics import Confusion

    found = Confusion(np.array(counts))
    names = ("background", "undifferentiated", "differentiated")
    scores = [None if np.isnan(v) else float(v) for v in found.jaccard]
    return {
        "images": 12,
        "mean_jaccard": found.mean_jaccard,
        "mean_jaccard_interval": [0.5, 0.9],
        "jaccard": dict(zip(names, scores, strict=True)),
        "confusion": counts,
        "mean_fraction_error": None,
        "expected_calibration_error": 0.1,
        "reliability": {"confidence": [0.9, None], "accuracy": [0.8, None], "pixels": [10, 0]},
        "uncertainty_tells_error": 0.8,
        "fields": [],
        **more,
    }


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (
            numbers([[90, 10, 0], [0, 100, 0], [10, 30, 60]]),
            "The weakest class is differentiated (60%): 40% of its true area is missed, mostly as "
            "undifferentiated, and 0% of what is called that",
        ),
        (
            numbers([[90, 0, 10], [0, 100, 0], [0, 0, 0]]),
            "No image has differentiated regions; 5.0%",
        ),
        (numbers([[9, 0, 0], [0, 9, 0], [9, 0, 0]]), "nothing at all was called that"),
        (numbers([[9, 0, 0], [0, 9, 0], [0, 0, 9]]), "it is surer than it should be"),
        (
            numbers(
                [[9, 0, 0], [0, 9, 0], [0, 0, 9]],
                reliability={"confidence": [0.7], "accuracy": [0.9], "pixels": [10]},
            ),
            "it is less sure than it should be",
        ),
        (numbers([[9, 0, 0], [0, 9, 0], [0, 0, 9]]), "also more often wrong"),
        (numbers([[0] * 3] * 3, mean_jaccard=None), "nothing could be measured"),
    ],
)
def test_the_summary_says_what_the_numbers_say(document: dict[str, Any], said: str) -> None:
    assert said in " ".join(summary(document))


def test_differences_are_drawn_in_the_colour_of_what_was_found() -> None:
    truth, said = np.zeros((10, 10), np.uint8), np.zeros((10, 10), np.uint8)
    said[:, :3] = 2
    truth[:, 8:] = 255
    picture = draw_differences(np.full((20, 20, 3), 100, np.uint8), truth, said)
    assert picture[5, 2].tolist() == [0x00, 0x5E, 0xD5]
    assert picture[5, 10].tolist() == [200, 200, 200]
    assert picture[5, 18].tolist() == [215, 215, 215]


def test_where_only_differentiated_is_ruled_out_nothing_else_is_wrong() -> None:
    truth, said = np.full((10, 10), 254, np.uint8), np.zeros((10, 10), np.uint8)
    said[:, :3] = 2
    said[:, 3:6] = 1
    picture = draw_differences(np.full((20, 20, 3), 100, np.uint8), truth, said)
    assert picture[5, 2].tolist() == [0x00, 0x5E, 0xD5]
    assert picture[5, 8].tolist() == [215, 215, 215]
    assert picture[5, 18].tolist() == [215, 215, 215]


def test_images_that_are_labelled_as_a_whole_are_reported_by_their_fraction(tmp_path: Path) -> None:
    torch.manual_seed(0)
    segmenter = PmfSegmenter(Model(PmfCNN(SMALL).eval(), Manifest("untrained", SMALL, 2.5)))
    found = evaluate(segmenter, [labelled("whole.png", (254, 254))])
    document = found.to_json()
    wrong = found.fields[0].fraction_error
    assert wrong is not None
    first = summary(document)[0]
    assert "only the differentiated fraction could be measured" in first
    dot = cv2.imencode(".jpg", np.zeros((4, 4, 3), np.uint8))[1].tobytes()
    shown = {"whole.png": FieldImages(dot, dot, dot)}
    page = write_report(tmp_path, document, shown).read_text()
    assert "<h3>whole.png: differentiated 0.0 % labelled" in page
    document["fields"].insert(0, document["fields"][0] | {"name": "right.png"})
    document["fields"][0]["fraction_error"] = 0.0
    document["fields"][1]["fraction_error"] = 0.5
    page = write_report(tmp_path, document, {}).read_text()
    table = page[page.index("Field by field") :]
    assert table.index("whole.png") < table.index("right.png")
