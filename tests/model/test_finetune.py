"""Fine-tuning: it helps or says that it does not, goes on when cut off, and tells what it did."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model.checkpoint import Manifest, Model, load_model, save_model
from model.dataset import LabelledImage, TrainingField
from model.evaluate import evaluate_folder
from model.finetune import train
from model.labelled_files import DataError
from model.manifest import ModelError
from model.network import PmfCNN, PmfCNNConfig
from model.pmf_segmenter import PmfSegmenter
from model.train import TrainingSettings
from model.tuning.choice import mixed
from model.tuning.folds import folds_of
from model.tuning.settings import USUAL_SETTINGS, NoGainError, TuningProgress, TuningSettings

SMALL = PmfCNNConfig(widths=(8, 8, 12), context_channels=12)
QUICK = TuningSettings(
    training=TrainingSettings(batch=4, learning_rate=5e-3, average_over_steps=10),
    margin_px=8,
    # What a network of noise calls differentiated at first says nothing.
    fraction_error_may_rise=1.0,
)

BOLD = replace(QUICK, training=replace(QUICK.training, learning_rate=3e-2))
"""So much is learnt in a few steps that half of the new weights, over chance's, are a model."""


def two_textures(seed: int, side: int = 136, rough: int = 1) -> LabelledImage:
    """Smooth on the left, rough on the right, a strip between them unknown; at 2.5 um/px."""
    chance = np.random.default_rng(seed)
    flat = chance.normal(0, 0.2, (side, side))
    flat[:, side // 2 :] += chance.normal(0, 1, (side, side - side // 2))
    labels = np.zeros((side, side), np.uint8)
    labels[:, side // 2 :] = rough
    labels[:, side // 2 - 3 : side // 2 + 3] = 255
    image = np.clip(flat * 30 + 128, 0, 255).astype(np.uint8)
    return LabelledImage(f"{seed}.png", image, labels, 2.5)


def practised(number: int) -> list[LabelledImage]:
    """Stands for the simulated fields, which take longer to draw than this network to train."""
    return [two_textures(90, 120)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "base"
    save_model(folder, Model(PmfCNN(SMALL), Manifest("base", SMALL, 2.5)), "")
    return folder


def tuned(
    out: Path, base: Path, images: list[LabelledImage] | None = None, **options: object
) -> Manifest:
    torch.set_num_threads(1)
    some = images or [two_textures(0), two_textures(1), two_textures(2)]
    given = {"steps": 8, "settings": QUICK, "rehearsal": practised, "kinds": dict, **options}
    return train(some, out, base=base, seed=1, **given)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------- what it does


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab's folder: two images, smooth and rough halves."""
    data = tmp_path_factory.mktemp("lab")
    for part in ("images", "labels"):
        (data / part).mkdir()
    for seed in (0, 1):
        one = two_textures(seed, 208)
        Image.fromarray(one.image).save(data / "images" / one.name)
        Image.fromarray(one.labels).save(data / "labels" / one.name)
    (data / "pixel_size_um.csv").write_text("file,pixel_size_um\n0.png,2.5\n1.png,2.5\n")
    return data


@pytest.fixture(scope="module")
def better(base: Path, lab: Path) -> tuple[Path, Manifest, list[TuningProgress]]:
    """The model that 50 steps on the lab's folder make of the base, and what was told meanwhile."""
    torch.set_num_threads(1)
    out, told = lab.parent / "better", list[TuningProgress]()
    options = {"steps": 50, "settings": BOLD, "rehearsal": practised, "progress": told.append}
    manifest = train(lab, out, base=base, seed=1, kinds=dict, **options)  # type: ignore[arg-type]
    return out, manifest, told


def test_fine_tuning_on_a_folder_makes_a_better_model(
    base: Path, lab: Path, better: tuple[Path, Manifest, list[TuningProgress]]
) -> None:
    out, manifest, told = better
    before = evaluate_folder(PmfSegmenter.load(base), lab).confusion.mean_jaccard
    after = evaluate_folder(PmfSegmenter.load(out), lab).confusion.mean_jaccard
    assert after > max(0.8, before + 0.3)
    assert load_model(out).manifest.sha256 == manifest.sha256
    assert sorted(p.name for p in out.iterdir()) == [
        "card.md",
        "manifest.json",
        "weights.safetensors",
    ]
    assert told[0].doing == "preparing"
    assert {one.doing for one in told} >= {"turn 1 of 2", "turn 2 of 2", "all fields"}
    assert told[-1].steps_done == told[-1].steps_in_all == 150
    assert max(one.score or 0 for one in told) > 0.7


def test_of_what_few_images_vouch_for_half_is_kept_at_most(
    better: tuple[Path, Manifest, list[TuningProgress]],
) -> None:
    """Two images: each was held out once, by a network that learnt from the other alone."""
    assert better[1].training["held_out"] == "whole images"
    training, scores = better[1].training, better[1].scores["held out in turns"]
    assert training["share_of_new_weights"] == 0.5
    assert set(scores["mean_jaccard_by_share_of_new_weights"]) == {"0", "0.25", "0.5"}


def test_weights_that_do_not_help_are_not_taken(
    better: tuple[Path, Manifest, list[TuningProgress]], tmp_path: Path
) -> None:
    """Steps so large that they wreck the network: the old model stays, to the byte. Another
    temperature would be another model, with other plans.
    """
    before = {path.name: path.read_bytes() for path in better[0].iterdir()}
    wild = replace(QUICK, training=replace(QUICK.training, learning_rate=3.0))
    with pytest.raises(NoGainError, match="did not help") as raised:
        tuned(tmp_path / "tuned", better[0], settings=wild)
    scores, training = raised.value.scores, raised.value.training
    assert training["share_of_new_weights"] == 0
    assert scores["mean_jaccard_by_share_of_new_weights"]["1"] < scores["mean_jaccard"] - 0.1
    assert scores["mean_jaccard"] == scores["before"]["mean_jaccard"]
    assert raised.value.start.weights_sha256 == better[1].weights_sha256
    assert raised.value.start.sha256 == better[1].sha256
    assert not (tmp_path / "tuned").exists()
    assert {path.name: path.read_bytes() for path in better[0].iterdir()} == before


def test_weights_that_harm_another_kind_are_not_taken(
    better: tuple[Path, Manifest, list[TuningProgress]], tmp_path: Path
) -> None:
    """The new fields call differentiated what the model rightly calls undifferentiated in fields of
    another kind: what is learnt helps on its like, and the old model stays, to the byte.
    """
    before = {path.name: path.read_bytes() for path in better[0].iterdir()}
    known = {"known": [two_textures(seed, 208) for seed in (7, 8)]}
    new = [two_textures(seed, 208, rough=2) for seed in (4, 5, 6)]
    options = {"steps": 50, "rehearsal": lambda number: [], "settings": BOLD}
    with pytest.raises(NoGainError, match="harms other kinds of images") as raised:
        tuned(tmp_path / "tuned", better[0], new, kinds=lambda: known, **options)
    by_share = raised.value.scores["mean_jaccard_by_share_of_new_weights"]
    assert max(by_share.values()) > by_share["0"] + 0.1
    assert "known (mean Jaccard" in str(raised.value)
    assert raised.value.training["share_of_new_weights"] == 0
    assert not (tmp_path / "tuned").exists()
    assert {path.name: path.read_bytes() for path in better[0].iterdir()} == before


def test_what_harms_nothing_tells_of_the_other_kinds(base: Path, tmp_path: Path) -> None:
    known = {"alike": [two_textures(seed) for seed in (7, 8)]}
    manifest = tuned(tmp_path / "tuned", base, kinds=lambda: known, steps=40)
    told = manifest.scores["other kinds"]["alike"]
    assert told["mean_jaccard"] > told["mean_jaccard_before"]
    assert told["harmed"] is False
    assert manifest.training["kinds_harmed_by_share_of_new_weights"] == {}


def test_a_folder_that_was_there_before_is_left_as_it_was(
    better: tuple[Path, Manifest, list[TuningProgress]], tmp_path: Path
) -> None:
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "notes.txt").write_text("mine")
    wild = replace(QUICK, training=replace(QUICK.training, learning_rate=3.0))
    with pytest.raises(NoGainError):
        tuned(tmp_path / "tuned", better[0], settings=wild)
    assert [path.name for path in (tmp_path / "tuned").iterdir()] == ["notes.txt"]


def test_the_manifest_and_the_card_tell_everything(base: Path, tmp_path: Path) -> None:
    manifest = tuned(tmp_path / "tuned", base)
    told = json.loads((tmp_path / "tuned" / "manifest.json").read_text())
    assert told["training"]["from"]["sha256"] == load_model(base).manifest.sha256
    assert [one["name"] for one in told["training"]["images"]] == ["0.png", "1.png", "2.png"]
    assert told["training"]["images"][0]["shares"]["differentiated"] == 0
    assert told["training"]["steps"] == 8
    assert told["training"]["settings"]["training"]["crop_px"] == SMALL.window_px + 8
    scores = told["scores"]["held out in turns"]
    assert set(scores["jaccard"]) == {"background", "undifferentiated", "differentiated"}
    assert 0 <= scores["before"]["mean_jaccard"] <= scores["mean_jaccard"] <= 1
    assert manifest.temperature > 0
    card = (tmp_path / "tuned" / "card.md").read_text()
    assert "| 0.png | 2.5 | 96% | 50% | 50% | 0% |" in card
    assert "Whole images were held out in turns" in card


def test_without_a_pixel_size_one_is_assumed_for_training_and_use(
    base: Path, tmp_path: Path
) -> None:
    images = [replace(two_textures(seed), pixel_size_um=None) for seed in range(3)]
    manifest = tuned(tmp_path / "tuned", base, images)
    assumed = manifest.training["assumed_pixel_size_um"]
    assert assumed is not None
    found = PmfSegmenter.load(tmp_path / "tuned").segment(two_textures(7).image, None)
    assert found.assumed_pixel_size_um == assumed
    assert found.pixel_size_um is None
    assert load_model(tmp_path / "tuned").manifest.sha256 == manifest.sha256


# ---------------------------------------------------------------------------------- resuming


class PowerFailedError(Exception):
    """Stands for a kill at some moment."""


def test_a_run_that_is_cut_off_anywhere_ends_with_the_same_model(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off three times at other places, in the middle of turns and between them."""
    monkeypatch.setattr("model.finetune.KEEP_EVERY_S", 0.0)
    monkeypatch.setattr("model.finetune.REPORT_EVERY_S", 0.0)
    whole = tuned(tmp_path / "whole" / "model", base)
    assert whole.sha256 == tuned(tmp_path / "again" / "model", base).sha256

    def cut_off_at(step: int) -> None:
        def stop(now: TuningProgress) -> None:
            if now.steps_done >= step:
                raise PowerFailedError

        with pytest.raises(PowerFailedError):
            tuned(tmp_path / "cut" / "model", base, progress=stop)

    for step in (3, 9, 30):
        cut_off_at(step)
        assert not (tmp_path / "cut" / "model" / "manifest.json").exists()
    resumed: list[TuningProgress] = []
    found = tuned(tmp_path / "cut" / "model", base, progress=resumed.append)
    assert found.sha256 == whole.sha256
    assert found.scores == whole.scores
    assert min(one.steps_done for one in resumed if one.steps_done) > 29


def test_another_run_in_the_same_folder_begins_anew(base: Path, tmp_path: Path) -> None:
    def stop(now: TuningProgress) -> None:
        if now.doing == "turn 2 of 3":
            raise PowerFailedError

    with pytest.raises(PowerFailedError):
        tuned(tmp_path / "model", base, progress=stop)
    resumed: list[TuningProgress] = []
    others = [two_textures(5), two_textures(6), two_textures(7)]
    tuned(tmp_path / "model", base, others, progress=resumed.append)
    assert min(one.steps_done for one in resumed if one.steps_done) <= 8


def test_a_model_is_never_written_over(base: Path, tmp_path: Path) -> None:
    """A daemon may be running on it."""
    with pytest.raises(ModelError, match="already holds a model"):
        tuned(base, base)
    (tmp_path / "file").write_text("")
    with pytest.raises((ModelError, DataError), match="cannot be used to train in"):
        tuned(tmp_path / "file", base)


# ------------------------------------------------------------------------------- holding out


def field(name: str, shape: tuple[int, int], *classes: int) -> TrainingField:
    labels = np.zeros(shape, np.uint8)
    for i, value in enumerate(classes):
        labels[:, i * shape[1] // len(classes) :] = value
    return TrainingField(name, np.zeros(shape, np.float32), labels)


def test_whole_images_are_held_out_where_there_are_enough() -> None:
    fields = [field(str(i), (100, 100), 0, 1, 2) for i in range(6)]
    folds = folds_of(fields, USUAL_SETTINGS, 64)
    assert len(folds) == 4
    for fold in folds:
        assert not {one.name for one in fold.learn} & {one.name for one in fold.held}
    assert sorted(one.name for fold in folds for one in fold.held) == list("012345")


def test_halves_are_held_out_a_window_apart_where_images_are_few() -> None:
    whole = field("a", (150, 300), 0, 1, 0, 1)
    first, second = folds_of([whole], USUAL_SETTINGS, 64)
    learnt = np.flatnonzero((first.learn[0].labels != 255).any(axis=0))
    held = np.flatnonzero((first.held[0].labels != 255).any(axis=0))
    assert held.min() - learnt.max() > 32
    assert (first.learn[0].labels == second.held[0].labels).all()
    assert first.held[0].labels.shape == whole.labels.shape


def test_a_turn_that_leaves_one_class_to_learn_is_left_out() -> None:
    fields = [field("a", (99, 99), 0, 1), field("b", (99, 99), 0), field("c", (99, 99), 0)]
    assert [fold.held[0].name for fold in folds_of(fields, USUAL_SETTINGS, 64)] == ["b", "c"]
    assert folds_of([field("small", (99, 99), 0, 1)], USUAL_SETTINGS, 64) == []


def test_a_model_of_small_images_says_that_it_was_not_measured(base: Path, tmp_path: Path) -> None:
    manifest = tuned(tmp_path / "tuned", base, [two_textures(0, 120)])
    assert manifest.scores == {}
    assert "Not measured" in (tmp_path / "tuned" / "card.md").read_text()


def test_two_images_are_held_out_whole() -> None:
    """Halves of what is learnt from flatter: what had learnt from two fields was worse on a third
    than the model begun with, though their halves spoke for it.
    """
    fields = [field("a", (300, 300), 0, 1), field("b", (300, 300), 0, 2)]
    folds = folds_of(fields, USUAL_SETTINGS, 64)
    assert [(fold.learn[0].name, fold.held[0].name) for fold in folds] == [("b", "a"), ("a", "b")]
    assert not any(fold.of_halves for fold in folds)


def test_images_labelled_as_a_whole_take_turns_beside_the_outlined_ones() -> None:
    """Each turn holds out some of both, and two outlined images to learn from remain."""
    fields = [field(f"said {i}", (100, 100), 254) for i in range(5)]
    fields[2:2] = [field(f"drawn {i}", (100, 100), 0, 1, 2) for i in range(3)]
    folds = folds_of(fields, USUAL_SETTINGS, 64)
    assert [sorted(one.name for one in fold.held) for fold in folds] == [
        ["drawn 0", "said 0", "said 3"],
        ["drawn 1", "said 1", "said 4"],
        ["drawn 2", "said 2"],
    ]
    assert all(len(fold.learn) + len(fold.held) == len(fields) for fold in folds)
    assert not any(fold.of_halves for fold in folds)


def test_images_labelled_as_a_whole_do_not_make_up_for_outlined_ones() -> None:
    """With one outlined image its halves are held out, however many others there are and however
    small."""
    said = [field(f"said {i}", (70, 70), 254) for i in range(3)]
    folds = folds_of([field("drawn", (150, 300), 0, 1, 0, 1), *said], USUAL_SETTINGS, 64)
    assert all(fold.of_halves for fold in folds)
    assert [[one.name for one in fold.held] for fold in folds] == [
        ["drawn", "said 0", "said 2"],
        ["drawn", "said 1"],
    ]


def test_the_card_says_of_which_images_differentiated_cells_are_ruled_out(
    base: Path, tmp_path: Path
) -> None:
    whole = two_textures(9)
    whole = replace(whole, name="whole.png", labels=np.full_like(whole.labels, 254))
    manifest = tuned(tmp_path / "tuned", base, [two_textures(0), two_textures(1), whole])
    assert [one["not_differentiated_share"] for one in manifest.training["images"]] == [0, 0, 1]
    assert manifest.training["turns"] == 2
    card = (tmp_path / "tuned" / "card.md").read_text()
    assert "| whole.png | 2.5 | 0%, 100% not differentiated | 0% | 0% | 0% |" in card


def test_halves_are_held_out_where_no_image_alone_can_be_learnt_from() -> None:
    fields = [field("a", (300, 300), 1), field("b", (300, 300), 0)]
    assert folds_of(fields, USUAL_SETTINGS, 64) != []
    assert all(fold.of_halves for fold in folds_of(fields, USUAL_SETTINGS, 64))


def test_weights_are_mixed_between_old_and_new() -> None:
    old = {"a": torch.tensor([0.0, 2.0]), "n": torch.tensor(3)}
    new = {"a": torch.tensor([4.0, 4.0]), "n": torch.tensor(5)}
    assert mixed(old, new, 0.25)["a"].tolist() == [1.0, 2.5]
    assert torch.equal(mixed(old, new, 0.0)["a"], old["a"])
    assert torch.equal(mixed(old, new, 1.0)["a"], new["a"])
