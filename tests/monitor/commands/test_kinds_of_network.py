"""A network of another kind in a model's folder: nothing of the monitor knows that it is one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.manifest import MANIFEST, PMF_CNN
from model.predict import KINDS, STARTER, load_segmenter
from tests.model.local_contrast import KIND, WEIGHTS, save_local_contrast
from tests.monitor.commands.calls import DONE, FAILED, LIMIT_S, Answer, call, spawn

# What a program has that knows one kind more: a row. The worker's process, which is spawned, reads
# this file again and so has it too.
PROGRAM = f"""
from model.predict import KINDS

KINDS[{KIND!r}] = "tests.model.local_contrast"

from monitor.__main__ import main

if __name__ == "__main__":
    main()
"""
SIDE, RADIUS = 400, 70


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("program") / "program.py"
    path.write_text(PROGRAM)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "contrast"
    save_local_contrast(folder, thresholds=(10.0, 28.0), reach_um=8.0)
    return folder


def sha256_of(model: Path) -> str:
    return str(json.loads((model / MANIFEST).read_text())["sha256"])


def run(program: Path, *words: str | Path) -> Answer:
    done = subprocess.run(
        [sys.executable, str(program), *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        timeout=LIMIT_S,
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def draw(path: Path) -> Path:
    """A smooth dish with a rough disc and a rougher one, each of 15,394 pixels of 160,000."""
    chance = np.random.default_rng(5)
    row, column = np.mgrid[:SIDE, :SIDE]
    image = np.full((SIDE, SIDE), 128.0) + chance.normal(0, 1, (SIDE, SIDE))
    for centre, rough in ((110, 14.0), (290, 45.0)):
        disc = np.hypot(row - centre, column - centre) < RADIUS
        image[disc] += chance.normal(0, rough, int(disc.sum()))
    assert cv2.imwrite(str(path), np.clip(image, 0, 255).astype(np.uint8))
    return path


def test_segment_takes_a_network_of_another_kind(program, model, tmp_path):
    image = draw(tmp_path / "dish-07.png")
    words = ("segment", image, "--out", tmp_path / "out", "--model", model)
    answer = run(program, *words, "--pixel-size-um", "2", "--json")
    assert answer.code == DONE, answer.err
    found = answer.document
    assert found["model"] == {"name": "two thresholds", "sha256": sha256_of(model)}
    disc = np.pi * RADIUS**2 / SIDE**2
    # The rim of the rougher disc is in between, and so counts there.
    assert found["fractions"]["undifferentiated"] == pytest.approx(disc, rel=0.2)
    assert found["fractions"]["differentiated"] == pytest.approx(disc, rel=0.15)
    assert found["colonies"] == 2
    labels = cv2.imread(found["labels"], cv2.IMREAD_UNCHANGED)
    assert [labels[110, 110], labels[290, 290], labels[20, 380]] == [1, 2, 0]


def test_without_a_pixel_size_it_may_assume_one_that_no_area_rests_on(program, model, tmp_path):
    image = draw(tmp_path / "dish-07.png")
    answer = run(program, "segment", image, "--out", tmp_path, "--model", model, "--json")
    assert answer.code == DONE, answer.err
    found = answer.document
    assert (found["pixel_size_um"], found["pixel_size_from"]) == (None, None)
    assert (found["assumed_pixel_size_um"], found["areas_um2"]) == (2.0, None)


def test_the_pipeline_and_its_worker_measure_with_it(program, model, tmp_path):
    folder = tmp_path / "captures"
    folder.mkdir()
    for hour in (3, 9):
        draw(folder / f"dish-07_20261103T{hour:02}0000Z.png")
    config = tmp_path / "config.yaml"
    config.write_text(
        json.dumps(
            {
                "segmentation": {"model": str(model)},
                "unlisted": {"pixel_size_um": 2.0},
                "compute": {"threads": 1},
            }
        )
    )
    places = ("--config", config, "--state", tmp_path / "state")
    answer = run(program, "process", folder, *places, "--json")
    assert answer.code == DONE, answer.err
    assert (answer.document["recorded"], answer.document["unreadable"]) == (2, 0)
    history = call("history", "dish-07", "--format", "json", *places).document
    assert {one["model_sha256"] for one in history["readings"]} == {sha256_of(model)}
    for reading in history["readings"]:
        assert reading["differentiated_fraction"] == pytest.approx(0.5, abs=0.05)
    listed = run(program, "models", "list", *places, "--json").document
    assert listed[1]["which"] == "configured"
    assert (listed[1]["name"], listed[1]["sha256"]) == ("two thresholds", sha256_of(model))
    verified = run(program, "models", "verify", *places)
    assert verified.code == DONE
    assert "Two thresholds" in run(program, "models", "show", *places).out


def test_its_own_refusal_is_told_as_any_models(program, model, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(model, damaged)
    content = bytearray((damaged / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (damaged / WEIGHTS).write_bytes(content)
    image = draw(tmp_path / "dish-07.png")
    answer = run(program, "segment", image, "--out", tmp_path, "--model", damaged)
    assert (answer.code, answer.out) == (FAILED, "")
    assert answer.err.startswith("error: ") and "is not what the manifest says" in answer.err


# --- kinds that are unknown here ---------------------------------------------------------------

KINDS_REFUSED = {
    "one of a later program": ("unet", "kind 'unet', which is unknown here (known: pmf-cnn)"),
    "other letters": ("PMF-CNN", "kind 'PMF-CNN', which is unknown here"),
    "a module's name": ("tests.model.local_contrast", "which is unknown here"),
    "a number": (5, "its kind is 5, which is not the name"),
    "nothing": (None, "its kind is None, which is not the name"),
    "an empty name": ("", "its kind is '', which is not the name"),
    "a list": (["pmf-cnn"], "which is not the name"),
    "two lines": ("pmf\ncnn", "its kind is 'pmf\\ncnn', which is not the name"),
    "a book": ("x" * 100_000, "which is not the name"),
}


def of_kind(kind: object, folder: Path) -> Path:
    shutil.copytree(STARTER, folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, "kind": kind}))
    return folder


@pytest.mark.parametrize("case", KINDS_REFUSED)
def test_a_kind_that_is_unknown_is_refused_in_words(case, tmp_path):
    kind, said = KINDS_REFUSED[case]
    folder = of_kind(kind, tmp_path / "model")
    image = draw(tmp_path / "dish-07.png")
    for words in (
        ("segment", image, "--out", tmp_path / "out", "--model", folder),
        ("models", "verify", "--model", folder),
    ):
        answer = call(*words)
        assert (answer.code, answer.out) == (FAILED, "")
        assert said in answer.err
        (line,) = answer.err.splitlines()
        assert "manifest.json" in line and len(line) < 500
    assert not (tmp_path / "out").exists()


def test_the_daemons_worker_refuses_it_in_the_same_words(tmp_path, captures):
    config = tmp_path / "config.yaml"
    config.write_text(f"segmentation: {{model: {of_kind('unet', tmp_path / 'model')}}}\n")
    answer = spawn("process", captures, "--config", config, "--state", tmp_path / "state")
    assert answer.code == FAILED
    assert "kind 'unet', which is unknown here (known: pmf-cnn)" in answer.err
    assert "Traceback" not in answer.err


def test_only_a_pmf_cnn_can_be_fine_tuned(program, model, tmp_path):
    for part in ("images", "labels"):
        (tmp_path / "lab" / part).mkdir(parents=True)
    draw(tmp_path / "lab" / "images" / "a.png")
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[40:180, 40:180], labels[220:360, 220:360] = 1, 2
    cv2.imwrite(str(tmp_path / "lab" / "labels" / "a.png"), labels)
    words = ("train", tmp_path / "lab", "--out", tmp_path / "new", "--from", model)
    answer = run(program, *words, "--pixel-size-um", "2", "--labels-are-right")
    assert answer.code == FAILED
    assert f"kind {KIND!r}, where only one of kind {PMF_CNN!r} will do" in answer.err
    assert not (tmp_path / "new").exists()


def test_a_manifest_that_names_no_kind_is_a_pmf_cnns(tmp_path):
    """Those that were made before there was a second kind; to name it changes no identity."""
    assert list(KINDS) == [PMF_CNN]
    folder = of_kind(PMF_CNN, tmp_path / "model")
    named = load_segmenter(folder, threads=1).sha256
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["kind"]
    (folder / MANIFEST).write_text(json.dumps(manifest))
    assert load_segmenter(folder, threads=1).sha256 == named


NO_TORCH = """
import sys
from pathlib import Path
from model.predict import KINDS
import monitor.segmentation.measuring
import monitor.commands.segment

KINDS["local-contrast"] = "tests.model.local_contrast"
monitor.segmentation.measuring.load_segmenter(sys.argv[1], 1)
assert "torch" not in sys.modules
"""


def test_what_needs_no_torch_loads_none(model):
    """It takes seconds and hundreds of MB; only the kind of network that computes with it pays."""
    subprocess.run(
        [sys.executable, "-c", NO_TORCH, str(model)],
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        timeout=LIMIT_S,
    )
