"""`train` and `evaluate`, as a person calls them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from model.checkpoint import Manifest, Model, save_model
from model.finetune import train as fine_tune
from model.network import PmfCNN, PmfCNNConfig
from tests.model.test_finetune import BOLD, practised, two_textures
from tests.model.test_finetune import SMALL as LARGER
from tests.monitor.commands.calls import DONE, FAILED, MISUSED, call

SMALL = PmfCNNConfig(widths=(4, 6, 8), context_channels=8)


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Two images, one labelled by a map and one in QuPath, and one without labels."""
    data = tmp_path / "lab"
    for part in ("images", "labels"):
        (data / part).mkdir(parents=True)
    chance = np.random.default_rng(0)
    for stem in ("a", "b", "spare"):
        image = chance.normal(120, 5, (240, 240))
        image[:, 120:] += chance.normal(0, 25, (240, 120))
        cv2.imwrite(str(data / "images" / f"{stem}.png"), image.clip(0, 255).astype(np.uint8))
    labels = np.zeros((240, 240), np.uint8)
    labels[:, 120:] = 1
    cv2.imwrite(str(data / "labels" / "a.png"), labels)
    ring = [[120, 0], [240, 0], [240, 240], [120, 240], [120, 0]]
    region = [[0, 0], [240, 0], [240, 240], [0, 240], [0, 0]]
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [points]},
            "properties": {"classification": {"name": name}},
        }
        for name, points in (("Undifferentiated", ring), ("Region*", region))
    ]
    document = {"type": "FeatureCollection", "features": features}
    (data / "labels" / "b.geojson").write_text(json.dumps(document))
    (data / "pixel_size_um.csv").write_text("file,pixel_size_um\na.png,2.5\nb.png,2.5\n")
    return data


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_model(tmp_path / "base", Model(PmfCNN(SMALL), Manifest("base", SMALL, 2.5)), "")
    return tmp_path / "base"


def test_a_model_is_trained_and_measured(
    lab: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.finetune._simulated", lambda number: [])
    monkeypatch.setattr("model.finetune.guarded_kinds", lambda quick: {})
    out = tmp_path / "tuned"
    answer = call("train", lab, "--out", out, "--from", model, "--steps", "5", "--json")
    assert answer.code == DONE, answer.err
    assert answer.document["training"]["turns"] == 2
    assert "1 image has no labels and is left out: spare.png" in answer.err
    assert "turn 1 of 2" in answer.err
    again = call("train", lab, "--out", out, "--from", model, "--steps", "5")
    assert again.code == FAILED
    assert "already holds a model" in again.err
    report = tmp_path / "report"
    answer = call("evaluate", lab, "--model", out, "--out", report, "--json")
    assert answer.code == DONE, answer.err
    assert answer.document["images"] == 2
    assert sorted(p.name for p in report.iterdir()) == ["fields.csv", "report.html", "report.json"]
    assert (report / "report.html").read_text().count("data:image/jpeg") == 6


def test_training_that_does_not_help_writes_nothing_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third field is labelled the other way round: what is learnt with it is wrong for the
    others, and what is learnt from them is wrong for it.
    """
    monkeypatch.setattr("model.finetune._simulated", lambda number: [])
    monkeypatch.setattr("model.finetune.guarded_kinds", lambda quick: {})
    torch.set_num_threads(1)
    torch.manual_seed(0)
    blank = tmp_path / "blank"
    save_model(blank, Model(PmfCNN(LARGER), Manifest("blank", LARGER, 2.5)), "")
    base = tmp_path / "base"
    fields = [two_textures(seed, 208) for seed in range(3)]
    options = {"settings": BOLD, "rehearsal": practised, "kinds": dict}
    fine_tune(fields[:2], base, base=blank, steps=50, seed=1, **options)  # type: ignore[arg-type]
    before = {path.name: path.read_bytes() for path in base.iterdir()}
    data = tmp_path / "lab"
    for part in ("images", "labels"):
        (data / part).mkdir(parents=True)
    for number, one in enumerate(fields):
        labels = one.labels if number < 2 else np.array([1, 0] + [255] * 254, np.uint8)[one.labels]
        cv2.imwrite(str(data / "images" / one.name), one.image)
        cv2.imwrite(str(data / "labels" / one.name), labels)
    rows = "".join(f"{one.name},2.5\n" for one in fields)
    (data / "pixel_size_um.csv").write_text("file,pixel_size_um\n" + rows)
    out = tmp_path / "tuned"
    words = ("train", data, "--out", out, "--from", base, "--steps", "30", "--labels-are-right")
    answer = call(*words, "--json")
    assert answer.code == FAILED, answer.out
    assert "did not help" in answer.err
    assert "Nothing was written" in answer.err
    assert (answer.document["model"], answer.document["helped"]) == (None, False)
    assert not out.exists()
    assert {path.name: path.read_bytes() for path in base.iterdir()} == before


def test_wrong_calls_are_answered_with_what_to_do(lab: Path, model: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(lab / "labels" / "a.png"), np.full((240, 240), 9, np.uint8))
    (lab / "labels" / "b.geojson").write_text("{")
    answer = call("train", lab, "--out", tmp_path / "x", "--from", model)
    assert answer.code == FAILED
    assert "holds the value(s) 9" in answer.err
    assert "not a complete JSON text" in answer.err
    assert not (tmp_path / "x").exists()
    (tmp_path / "file").write_text("")
    assert call("train", lab, "--out", tmp_path / "file").code == MISUSED
    assert call("evaluate", lab, "--out", tmp_path / "file").code == MISUSED
    answer = call("evaluate", tmp_path / "nowhere", "--model", model)
    assert answer.code == FAILED
    assert "no such folder" in answer.err


def test_the_last_layer_alone_is_taught_and_the_model_is_used_like_any_other(
    lab: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.finetune._simulated", lambda number: [])
    monkeypatch.setattr("model.finetune.guarded_kinds", lambda quick: {})
    out = tmp_path / "taught"
    answer = call("train", lab, "--quick", "--out", out, "--from", model, "--json")
    assert answer.code == DONE, answer.err
    assert answer.document["training"]["learnt"] == "the last layer"
    asked = call("evaluate", lab, "--model", out, "--json")
    assert asked.document["model"]["sha256"] == answer.document["sha256"]


def test_fields_given_as_a_guard_are_measured_and_told(
    lab: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is a kind by the name of its folder; what is learnt from is none."""
    monkeypatch.setattr("model.finetune._simulated", lambda number: [])
    monkeypatch.setattr("model.finetune.guarded_kinds", lambda quick: {})
    shutil.copytree(lab, tmp_path / "other-days")
    image = cv2.imread(str(lab / "images" / "a.png"), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(tmp_path / "other-days" / "images" / "a.png"), image[::-1])
    words = ("train", lab, "--out", tmp_path / "tuned", "--from", model, "--steps", "5")
    answer = call(*words, "--guard", tmp_path / "other-days", "--guard", lab, "--json")
    told = answer.document["scores"]["other kinds"]
    assert {kind: one["fields"] for kind, one in told.items()} == {"other-days": 1}
    assert "| other-days | 1 |" in (tmp_path / "tuned" / "card.md").read_text()


def test_a_guard_that_is_none_is_told(lab: Path, model: Path, tmp_path: Path) -> None:
    words = ("train", lab, "--out", tmp_path / "tuned", "--from", model, "--steps", "2", "--guard")
    for folder, said in (
        (tmp_path / "nowhere", "no such folder"),
        (lab / "images", "no labelled fields there"),
    ):
        answer = call(*words, folder)
        assert answer.code == FAILED
        assert "--guard" in answer.err
        assert said in answer.err
        assert not (tmp_path / "tuned").exists()


# -------------------------------------------------------------------------------- two raters


def second_labels(folder: Path, stem: str, labels: np.ndarray) -> Path:
    folder.mkdir(exist_ok=True)
    cv2.imwrite(str(folder / f"{stem}.png"), labels)
    return folder


def other_labels() -> np.ndarray:
    """As the first rater's of image a, but the border 20 pixels further right."""
    labels = np.zeros((240, 240), np.uint8)
    labels[:, 140:] = 1
    return labels


def test_a_second_raters_labels_are_found_and_reported(
    lab: Path, model: Path, tmp_path: Path
) -> None:
    second_labels(lab / "labels_2", "a", other_labels())
    report = tmp_path / "report"
    answer = call("evaluate", lab, "--model", model, "--out", report, "--json")
    assert answer.code == DONE, answer.err
    found = answer.document["raters"]
    assert found["images"] == 1
    assert found["labelled_by_one_only"] == ["b.png"]
    assert "labelled by the first rater only, and not compared: b.png" in answer.err
    assert found["between_raters"]["confusion"][1] == [240 * 20, 240 * 100, 0]
    assert found["between_raters"]["jaccard"]["undifferentiated"] == pytest.approx(100 / 120, 1e-4)
    page = (report / "report.html").read_text()
    assert "<h2>Two raters</h2>" in page
    assert "model and second rater" in page
    table = call("evaluate", lab, "--model", model)
    assert "rater and rater" in table.out
    assert "Two raters labelled 1 of these 2 images" in table.out


def test_without_a_second_rater_none_is_reported(lab: Path, model: Path, tmp_path: Path) -> None:
    answer = call("evaluate", lab, "--model", model, "--out", tmp_path / "report", "--json")
    assert (answer.document["raters"], answer.document["compared"]) == (None, None)
    assert "Two raters" not in (tmp_path / "report" / "report.html").read_text()


@pytest.mark.parametrize(
    ("stem", "labels", "said"),
    [
        ("a", np.zeros((99, 240), np.uint8), "its image has 240 x 240"),
        ("a", np.full((240, 240), 7, np.uint8), "holds the value(s) 7"),
        ("a", np.full((240, 240), 255, np.uint8), "is 255 (unknown)"),
        ("nobody", np.zeros((240, 240), np.uint8), "no image nobody.*"),
        ("spare", other_labels(), "two raters can be compared on the same images only"),
    ],
    ids=["other shape", "other values", "all unknown", "no image", "no image in common"],
)
def test_labels_of_a_second_rater_that_cannot_be_used_are_told(
    lab: Path, model: Path, stem: str, labels: np.ndarray, said: str
) -> None:
    """Which rater's is said too: the same file name is there twice."""
    folder = second_labels(lab.parent / "hers", stem, labels)
    answer = call("evaluate", lab, "--model", model, "--second-rater", folder)
    assert answer.code == FAILED
    assert said in answer.err
    assert str(folder) in answer.err.replace("\n", "")


def test_a_second_rater_that_is_none_is_told(lab: Path, model: Path) -> None:
    answer = call("evaluate", lab, "--model", model, "--second-rater", lab / "nowhere")
    assert answer.code == FAILED
    assert "no such folder" in answer.err
    answer = call("evaluate", lab, "--model", model, "--second-rater", lab / "pixel_size_um.csv")
    assert answer.code == FAILED
    assert "is a file" in answer.err
    answer = call("evaluate", lab, "--model", model, "--second-rater", lab / "labels")
    assert answer.code == MISUSED
    assert "those of another person" in answer.err.replace("\n", " ")
    (lab / "labels_2").mkdir()
    answer = call("evaluate", lab, "--model", model)
    assert answer.code == FAILED
    assert "no label map in labels_2/" in answer.err


def test_two_models_are_compared_on_the_same_images(lab: Path, model: Path, tmp_path: Path) -> None:
    answer = call("evaluate", lab, "--model", model, "--compare", model, "--json")
    assert answer.code == DONE, answer.err
    assert answer.document["compared"]["mean_jaccard_ahead"] == 0
    told = call("evaluate", lab, "--model", model, "--compare", model, "--out", tmp_path / "r")
    assert "no difference that these images could show" in told.out.replace("\n", " ")
    assert "Beside base" in (tmp_path / "r" / "report.html").read_text()
    missing = call("evaluate", lab, "--model", model, "--compare", tmp_path / "none")
    assert missing.code == FAILED
