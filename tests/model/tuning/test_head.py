"""Teaching the last layer: it helps, no order matters, what is folded in is exact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from model.checkpoint import Manifest, Model, load_model, save_model
from model.dataset import LabelledImage, TrainingField, prepare
from model.evaluate import evaluate
from model.finetune import train
from model.labelled_files import DataError
from model.network import PmfCNN, PmfCNNConfig
from model.pmf_segmenter import PmfSegmenter
from model.preprocessing import Normalisation
from model.tuning import head
from model.tuning.head import taught

CONFIG = PmfCNNConfig(
    grids=(1, 8, 16),
    voting_grids=(16,),
    vote_margin_px=24,
    widths=(8, 8, 12),
    context_channels=12,
)


@pytest.fixture(scope="module")
def network() -> PmfCNN:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return PmfCNN(CONFIG).eval()


def two_textures(seed: int, side: int = 160, kind: int = 1) -> LabelledImage:
    """Smooth on the left, rough on the right; two strokes of labels; at 2.5 um/px."""
    chance = np.random.default_rng(seed)
    flat = chance.normal(0, 0.2, (side, side))
    flat[:, side // 2 :] += chance.normal(0, 1, (side, side - side // 2))
    labels = np.full((side, side), 255, np.uint8)
    labels[30:38, 10:60] = 0
    labels[90:98, 100:150] = kind
    image = np.clip(flat * 30 + 128, 0, 255).astype(np.uint8)
    return LabelledImage(f"{seed}.png", image, labels, 2.5)


def whole(one: LabelledImage, kind: int = 1) -> LabelledImage:
    """The same with all that is true of it."""
    labels = np.zeros_like(one.labels)
    labels[:, labels.shape[1] // 2 :] = kind
    return LabelledImage(one.name, one.image, labels, one.pixel_size_um)


def prepared(one: LabelledImage) -> TrainingField:
    return prepare(one, 2.5, Normalisation())


def weights(network: PmfCNN) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_a_few_strokes_teach_what_the_features_tell_apart(network: PmfCNN) -> None:
    made = taught(network, [prepared(two_textures(0)), prepared(two_textures(1))])
    new = [whole(two_textures(seed)) for seed in (5, 6)]

    def score(one: PmfCNN) -> float:
        segmenter = PmfSegmenter(Model(one, Manifest("a", CONFIG, 2.5)))
        return evaluate(segmenter, new).confusion.mean_jaccard

    assert score(made) > max(0.75, score(network) + 0.2)


def test_the_order_of_fields_and_of_their_copies_does_not_change_the_model(
    network: PmfCNN,
) -> None:
    some = [prepared(two_textures(seed)) for seed in (0, 1, 2)]
    first, second = weights(taught(network, some)), weights(taught(network, some[::-1]))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_only_the_heads_of_the_grids_that_vote_change(network: PmfCNN) -> None:
    old, new = weights(network), weights(taught(network, [prepared(two_textures(0))]))
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed == {"local_heads.16.weight", "context_heads.16.weight", "context_heads.16.bias"}


def test_what_is_folded_in_is_the_change_of_the_logits(network: PmfCNN) -> None:
    """With the whole change known, new logits are the old ones and the features times it."""
    chance = torch.Generator().manual_seed(3)
    change, bias = torch.randn(24, 3, generator=chance), torch.randn(3, generator=chance)
    twin = PmfCNN(CONFIG)
    twin.load_state_dict(network.state_dict())
    head._fold(twin.eval(), 16, change, bias)
    field = prepared(two_textures(0))
    before = list(head._cells_of(network, 16, field, 100, balanced=True))
    after = list(head._cells_of(twin, 16, field, 100, balanced=True))
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(
            new.logits, old.logits + old.features @ change + bias, rtol=1e-4, atol=1e-3
        )


def test_strips_change_nothing(network: PmfCNN, monkeypatch: pytest.MonkeyPatch) -> None:
    field = prepared(two_textures(0, 240))
    one = head._labelled_cells(network, 16, [field], balanced=True)
    monkeypatch.setattr(head, "STRIP", 3)
    other = head._labelled_cells(network, 16, [field], balanced=True)
    key = [torch.cat([c.features, c.shares], 1).double() for c in (one, other)]
    assert len(key[0]) == len(key[1])
    torch.testing.assert_close(key[0].sum(0), key[1].sum(0), rtol=1e-4, atol=1e-3)


def test_what_is_known_not_to_be_differentiated_counts_against_that_alone(
    network: PmfCNN,
) -> None:
    field = prepared(two_textures(0, kind=254))
    before = head._labelled_cells(network, 16, [field], balanced=True)
    after = head._labelled_cells(taught(network, [field]), 16, [field], balanced=True)
    ruled_out = before.shares[:, 3] > 0
    differentiated = [c.logits.softmax(1)[ruled_out, 2].mean() for c in (before, after)]
    assert differentiated[1] < differentiated[0]


def test_without_a_label_there_is_nothing_to_learn(network: PmfCNN) -> None:
    one = two_textures(0)
    nothing = LabelledImage("a", one.image, np.full_like(one.labels, 255), 2.5)
    with pytest.raises(ValueError, match="no cell is labelled"):
        taught(network, [prepared(nothing)])


def test_strokes_too_thin_to_fill_a_cell_are_told_of(network: PmfCNN, tmp_path: Path) -> None:
    save_model(tmp_path / "base", Model(network, Manifest("base", CONFIG, 2.5)), "")
    images = []
    for seed in (0, 1, 2):
        one = two_textures(seed)
        thin = np.full_like(one.labels, 255)
        thin[30, 10], thin[90, 100] = 0, 1
        images.append(LabelledImage(one.name, one.image, thin, 2.5))
    with pytest.raises(DataError, match="wider strokes"):
        train(images, tmp_path / "t", base=tmp_path / "base", quick=True, rehearsal=lambda _: [])


def test_a_model_taught_quickly_is_a_model_like_any_other(network: PmfCNN, tmp_path: Path) -> None:
    save_model(tmp_path / "base", Model(network, Manifest("base", CONFIG, 2.5)), "")
    manifest = train(
        [two_textures(seed) for seed in (0, 1, 2)],
        tmp_path / "taught",
        base=tmp_path / "base",
        quick=True,
        rehearsal=lambda _: [whole(two_textures(9))],
        kinds=dict,
    )
    assert manifest.training["learnt"] == "the last layer"
    assert load_model(tmp_path / "taught").manifest.sha256 == manifest.sha256
    card = (tmp_path / "taught" / "card.md").read_text(encoding="utf-8")
    assert "The last layer alone was learnt" in card
    assert not (tmp_path / "taught" / ".training").exists()
