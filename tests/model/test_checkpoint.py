"""A model on disk: what is written comes back, and what does not match is refused."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save

from model.checkpoint import (
    WEIGHTS,
    Manifest,
    Model,
    load_model,
    save_model,
)
from model.manifest import CARD, MANIFEST, ModelError
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


ABSURD: dict[str, dict[str, Any]] = {
    "a window of a billion": {"network": {**NETWORK, "window_px": 8 * 10**9}},
    "a window of ten thousand": {"network": {**NETWORK, "window_px": 10_240}},
    "a window below nothing": {"network": {**NETWORK, "window_px": -64}},
    "half a window": {"network": {**NETWORK, "window_px": 64.5}},
    "no number": {"network": {**NETWORK, "window_px": float("nan")}},
    "yes": {"network": {**NETWORK, "stride_px": True}},
    "a grid of a billion": {"network": {**NETWORK, "grids": [8, 10**9], "voting_grids": [8]}},
    "a million grids": {"network": {**NETWORK, "grids": [8] * 10**6}},
    "a grid of nothing": {"network": {**NETWORK, "grids": [0, 8]}},
    "a billion channels": {"network": {**NETWORK, "context_channels": 10**9}},
    "many views": {"network": {**NETWORK, "view_channels": 10**12}},
    "wide": {"network": {**NETWORK, "widths": [2048, 2048, 2048]}},
    "channels below nothing": {"network": {**NETWORK, "widths": [4, -6, 8]}},
    "channels of nothing": {"network": {**NETWORK, "widths": [0, 0, 0]}},
    "a margin of a billion": {"network": {**NETWORK, "vote_margin_px": 10**9}},
    "a canary without end": {"canary": [0.5] * 10**6},
    "a canary that is a text": {"canary": "0.5" * 10},
    "a background of kilometres": {
        "normalisation": {**RULE, "block_px": 16, "background_um": 9_999.0}, "um_per_pixel": 0.25,
    },
    "texture of thousands": {"normalisation": {**RULE, "block_px": 16, "texture_px": 9_999}},
    "far too fine": {"um_per_pixel": 0.01},
    "assumed far too coarse": {"assumed_pixel_size_um": 900.0},
}  # fmt: skip


@pytest.mark.parametrize("name", ABSURD)
def test_absurd_sizes_are_refused_before_anything_is_built_of_them(folder: Path, name: str) -> None:
    """Their hashes are right. What was allocated is bounded, whatever they say."""
    forge(folder, **ABSURD[name])
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match="manifest"):
            load_model(folder)
        assert tracemalloc.get_traced_memory()[1] < 300_000_000
    finally:
        tracemalloc.stop()


def header_of(tensors: dict[str, Any], **more: Any) -> bytes:
    text = json.dumps(tensors | more).encode()
    return len(text).to_bytes(8, "little") + text


def test_weights_of_other_sizes_than_the_manifests_are_refused_by_their_head(
    folder: Path,
) -> None:
    """Not a byte of the numbers is read: a file may be larger than the memory."""
    content = (folder / WEIGHTS).read_bytes()
    length = int.from_bytes(content[:8], "little")
    head = json.loads(content[8 : 8 + length])
    name = next(one for one in head if one.endswith("weight"))
    more = {**head, "extra": {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4 * 10**9]}}
    other = {**head, name: {**head[name], "shape": [10**6, 10**6]}}
    halves = {**head, name: {**head[name], "dtype": "F16"}}
    for wrong in (
        header_of(more),
        header_of(other),
        header_of(halves),
        header_of({}),
        content + b"\0" * 1000,
        (10**8).to_bytes(8, "little") + b"{" * 1000,
        (8).to_bytes(8, "little") + b"[[[[[[[[",
    ):
        forge(folder, wrong)
        with pytest.raises(ModelError, match="do not fit the sizes"):
            load_model(folder)


def test_weights_larger_than_the_memory_are_not_read(folder: Path) -> None:
    with (folder / WEIGHTS).open("r+b") as file:
        file.truncate(1 << 40)  # sparse: it takes no room on the disk
    with pytest.raises(ModelError, match="do not fit the sizes"):
        load_model(folder)


@pytest.mark.parametrize("name", [WEIGHTS, MANIFEST])
def test_what_is_no_file_is_refused_and_not_waited_for(folder: Path, name: str) -> None:
    """A named pipe would be read for ever."""
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(ModelError, match=name):
        load_model(folder)


def test_a_manifest_larger_than_any_is_not_read(folder: Path) -> None:
    with (folder / MANIFEST).open("r+b") as file:
        file.truncate(1 << 36)
    with pytest.raises(ModelError, match="far more than any manifest"):
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
