"""A model on disk: what is written comes back, and what does not match is refused."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save

from model.checkpoint import (
    CARD,
    MANIFEST,
    WEIGHTS,
    Manifest,
    Model,
    ModelError,
    load_model,
    save_model,
)
from model.network import PmfCNN, PmfCNNConfig
from model.pmf import CLASSES

SMALL = PmfCNNConfig(widths=(4, 6, 8), context_channels=8)


def small_model(seed: int = 0) -> Model:
    torch.manual_seed(seed)
    return Model(PmfCNN(SMALL).eval(), Manifest("small", SMALL, 2.5))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path / "small", small_model(), "# small\n")
    return tmp_path / "small"


def change(folder: Path, **values: object) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest.update(values)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_a_model_comes_back_as_it_was_written(folder: Path) -> None:
    written = small_model()
    loaded = load_model(folder)
    image = torch.randn(1, 1, 72, 80)
    with torch.inference_mode():
        for grid, logits in loaded.network(image).items():
            torch.testing.assert_close(logits, written.network.eval()(image)[grid])
    assert sorted(p.name for p in folder.iterdir()) == sorted([CARD, MANIFEST, WEIGHTS])


def test_a_window_wider_than_the_usual_canary_has_one_that_fills_it(tmp_path: Path) -> None:
    config = PmfCNNConfig(
        window_px=128,
        grids=(1, 16),
        voting_grids=(16,),
        vote_margin_px=40,
        widths=(4, 4, 6),
        context_channels=6,
        view_channels=4,
    )
    model = Model(PmfCNN(config).eval(), Manifest("wide", config, 2.5))
    kept = save_model(tmp_path / "wide", model, "")
    assert load_model(tmp_path / "wide").manifest == kept
    assert len(kept.canary) > CLASSES


def test_identity_follows_weights_and_meaning_but_not_scores(folder: Path, tmp_path: Path) -> None:
    first = load_model(folder).manifest.sha256
    model = small_model()
    scored = Manifest("other name", SMALL, 2.5, scores={"mean_jaccard": 0.9})
    assert save_model(tmp_path / "scored", Model(model.network, scored), "").sha256 == first
    scaled = Manifest("small", SMALL, 2.0)
    assert save_model(tmp_path / "scaled", Model(model.network, scaled), "").sha256 != first
    assert save_model(tmp_path / "seed", small_model(1), "").sha256 != first


@pytest.mark.parametrize("name", [WEIGHTS, MANIFEST])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelError, match=name):
        load_model(folder)


def test_one_flipped_byte_in_the_weights_is_found(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-7] ^= 1
    (folder / WEIGHTS).write_bytes(data)
    with pytest.raises(ModelError, match=r"weights.safetensors: hash .* instead of"):
        load_model(folder)


def test_weights_of_another_model_are_refused(folder: Path, tmp_path: Path) -> None:
    save_model(tmp_path / "other", small_model(3), "")
    (folder / WEIGHTS).write_bytes((tmp_path / "other" / WEIGHTS).read_bytes())
    with pytest.raises(ModelError, match="of another model"):
        load_model(folder)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"format": 99}, "format 99 is unknown"),
        ({"classes": {"background": 0, "cells": 1}}, "its classes are"),
        ({"um_per_pixel": 1.0}, "do not match its own hash"),
        ({"network": {"stride_px": 7}}, "not a complete manifest"),
        ({"normalisation": {"name": "other", "quantile": 0.5}}, "needs the normalisation"),
        ({"canary": []}, "canary"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_manifest_that_does_not_match_is_refused(
    folder: Path, values: dict[str, object], said: str
) -> None:
    change(folder, **values)
    with pytest.raises(ModelError, match=said):
        load_model(folder)


def test_a_manifest_that_is_no_json_is_refused(folder: Path) -> None:
    (folder / MANIFEST).write_text("{")
    with pytest.raises(ModelError, match="not a JSON text"):
        load_model(folder)


def test_a_machine_that_computes_something_else_is_found_out(folder: Path) -> None:
    canary = json.loads((folder / MANIFEST).read_text())["canary"]
    change(folder, canary=[canary[0] + 0.1, *canary[1:]])
    with pytest.raises(ModelError, match=r"canary .* are off by 0\.1"):
        load_model(folder)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(ModelError, match="cannot be written"):
        save_model(tmp_path / "taken", small_model(), "")


# ------------------------------------------------------------------ manifests made to deceive


def forge(folder: Path, weights: bytes | None = None, **values: Any) -> None:
    """Change a model as somebody would who knows how the hashes are made."""
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest.update(values)
    if weights is not None:
        (folder / WEIGHTS).write_bytes(weights)
        manifest["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    known = ["format", "classes", "network", "um_per_pixel", "normalisation", "temperature"]
    known += ["weights_sha256", "assumed_pixel_size_um"]
    functional = {name: manifest[name] for name in known if name in manifest}
    text = json.dumps(functional, sort_keys=True, separators=(",", ":"))
    manifest["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest))


NETWORK = json.loads(json.dumps(SMALL.to_json()))
RULE = {"name": "flat-background-1", "background_um": 200.0, "texture_px": 11, "quantile": 0.9}


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": 0.0},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"temperature": None},
        {"um_per_pixel": float("nan")},
        {"um_per_pixel": -2.5},
        {"assumed_pixel_size_um": float("nan")},
        {"assumed_pixel_size_um": 1e9},
        {"name": "\x1b[31m"},
        {"name": None},
        {"training": 7},
        {"network": []},
        {"network": {**NETWORK, "widths": [4, 6, 10**6]}},
        {"network": {**NETWORK, "classes": 2}},
        {"network": {**NETWORK, "window_px": "64"}},
        {"normalisation": {**RULE, "block_px": 0}},
        {"normalisation": {**RULE, "block_px": 1.5}},
        {"normalisation": {**RULE, "block_px": 16, "quantile": 9}},
        {"canary": [True]},
    ],
    ids=str,
)
def test_a_forged_manifest_is_refused(folder: Path, values: dict[str, Any]) -> None:
    """Its hashes are right; what it says cannot be."""
    forge(folder, **values)
    with pytest.raises(ModelError):
        load_model(folder)


def test_a_manifest_nested_without_end_is_refused(folder: Path) -> None:
    (folder / MANIFEST).write_text("[" * 100_000)
    with pytest.raises(ModelError, match="not a JSON text"):
        load_model(folder)


def test_a_pickle_in_disguise_is_refused_and_never_run(folder: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    for weights in (pickle.dumps(Trap()), (2**62).to_bytes(8, "little") + b"{}", b""):
        forge(folder, weights)
        with pytest.raises(ModelError, match="do not fit the sizes"):
            load_model(folder)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("part", ["other weights", "no number"])
def test_forged_weights_are_found_out_by_the_canary(folder: Path, part: str) -> None:
    """Hash and manifest agree with each other; what is computed does not agree with the canary."""
    tensors = load_file(folder / WEIGHTS)
    name = "context_heads.8.weight"
    tensors[name] = tensors[name] * (float("nan") if part == "no number" else -1)
    forge(folder, save(tensors))
    with pytest.raises(ModelError, match="canary"):
        load_model(folder)
