"""A fine-tuned model never harms what the old one could do: it is asked, and then not taken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.checkpoint import Manifest, Model
from model.dataset import LabelledImage, TrainingField
from model.labelled_files import DataError
from model.metrics import Confusion, Reliability
from model.network import PmfCNN, PmfCNNConfig
from model.tuning.card import card
from model.tuning.choice import _helpful, _unharming
from model.tuning.guard import Guard, Kind, KindChange
from model.tuning.held import Held
from model.tuning.kinds import (
    ALL_DIFFERENTIATED,
    FRESH,
    HEALTHY,
    NO_CELLS,
    PARTLY,
    given_kinds,
    kind_of,
    simulated_kinds,
    without,
)

SMALL = PmfCNNConfig(widths=(4, 6, 8), context_channels=8)


def model(seed: int = 0) -> Model:
    torch.manual_seed(seed)
    return Model(PmfCNN(SMALL).eval(), Manifest("some", SMALL, 2.5))


def field(name: str, classes: tuple[int, ...], side: int = 128) -> TrainingField:
    chance = np.random.default_rng(len(name))
    labels = np.zeros((side, side), np.uint8)
    for i, value in enumerate(classes):
        labels[:, i * side // len(classes) :] = value
    return TrainingField(name, chance.normal(0, 1, (side, side)).astype(np.float32), labels)


# --------------------------------------------------------------------------------- the kinds


def dish(*discs: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Label map of 400 x 400 pixels with discs (row, column, radius, class)."""
    labels = np.zeros((400, 400), np.uint8)
    for row, column, radius, value in discs:
        cv2.circle(labels, (column, row), radius, value, -1)
    return labels


SINGLE_CELLS = [(20 + 40 * i, 20 + 40 * j, 8, 1) for i in range(9) for j in range(9)]


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (dish(), NO_CELLS),
        (dish((200, 200, 5, 2)), NO_CELLS),  # a speck is no dish of cells
        (dish((200, 200, 120, 1)), HEALTHY),
        (dish(*SINGLE_CELLS), FRESH),
        (dish((200, 200, 120, 1), *SINGLE_CELLS[:5]), HEALTHY),
        (dish((200, 200, 120, 2)), ALL_DIFFERENTIATED),
        (dish((100, 100, 90, 1), (300, 300, 90, 2)), PARTLY),
        (np.full((400, 400), 255, np.uint8), NO_CELLS),
    ],
)
def test_kinds_are_told_by_the_truth(labels: NDArray[np.uint8], kind: str) -> None:
    assert kind_of(labels, 2.5) == kind


def test_small_clumps_are_small_in_um() -> None:
    assert kind_of(dish(*SINGLE_CELLS), 2.5) == FRESH
    assert kind_of(dish(*SINGLE_CELLS), 10.0) == HEALTHY


def test_the_same_simulated_fields_come_each_time() -> None:
    first, again = simulated_kinds(10), simulated_kinds(10)
    assert list(first) == list(again)
    assert first
    for kind, some in first.items():
        assert len(some) >= 4
        for one, other in zip(some, again[kind], strict=True):
            assert (one.image == other.image).all()
            assert (one.labels == other.labels).all()


def folder(path: Path, value: int = 1) -> Path:
    for part in ("images", "labels"):
        (path / part).mkdir(parents=True)
    chance = np.random.default_rng(value)
    image = chance.normal(120, 5, (60, 60))
    image[20:40, 20:40] += chance.normal(0, 40, (20, 20))
    labels = np.zeros((60, 60), np.uint8)
    labels[20:40, 20:40] = value
    cv2.imwrite(str(path / "images" / "a.png"), image.clip(0, 255).astype(np.uint8))
    cv2.imwrite(str(path / "labels" / "a.png"), labels)
    return path


def test_fields_of_ones_own_are_a_kind_by_the_folders_name(tmp_path: Path) -> None:
    folder(tmp_path / "day-3")
    folder(tmp_path / "feeders", 2)
    (tmp_path / "notes").mkdir()
    assert list(given_kinds(tmp_path / "day-3")) == ["day-3"]
    found = given_kinds(tmp_path)
    assert sorted(found) == ["day-3", "feeders"]
    assert (found["feeders"][0].labels == 2).any()


def test_single_cells_of_the_data_folder_are_read_as_what_they_stand_for(tmp_path: Path) -> None:
    """Their label 1 is a cell, and such cells stand for differentiated ones: by the plain rule a
    guard would hold the model to the opposite.
    """
    made = folder(tmp_path / "spread_cells_phase")
    for part in ("images", "labels"):
        (made / part / "a.png").rename(made / part / "train_set21.png")
    (one,) = given_kinds(tmp_path)["spread_cells_phase"]
    assert set(np.unique(one.labels)) == {0, 2}
    assert one.pixel_size_um == pytest.approx(0.8708)


@pytest.mark.parametrize("inner", ["", "empty"])
def test_a_folder_without_labelled_fields_is_told(tmp_path: Path, inner: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no labelled fields there"):
        given_kinds(tmp_path / inner)
    with pytest.raises(DataError, match="no such folder"):
        given_kinds(tmp_path / "nowhere")


def test_what_is_learnt_from_guards_nothing() -> None:
    """It would speak for the new weights."""
    image = np.random.default_rng(0).integers(0, 255, (40, 40)).astype(np.uint8)
    labels = np.zeros((40, 40), np.uint8)
    learnt = LabelledImage("a", image, labels, 1.0)
    other = LabelledImage("b", image.T.copy(), labels, 1.0)
    copy = LabelledImage("renamed", image.copy(), labels, None)
    found = without({"some": [copy, other], "only copies": [copy]}, [learnt])
    assert {kind: [one.name for one in some] for kind, some in found.items()} == {"some": ["b"]}


# ---------------------------------------------------------------------------------- the guard


def test_a_model_does_not_harm_itself() -> None:
    one = model()
    kinds = [Kind("a", (field("x", (0, 1)), field("yy", (0, 2)))), Kind("none", ())]
    (change,) = Guard(one, kinds).changes(one.network, one.manifest)
    assert not change.is_harmed
    assert change.jaccard == (0, 0, 0)
    assert change.jaccard_before == change.jaccard_after


def saying(value: int) -> PmfCNN:
    """A network that calls every pixel one class."""
    network = model().network
    with torch.no_grad():
        for heads in (network.local_heads, network.context_heads):
            for head in heads.values():
                head.weight.zero_()
                head.bias.zero_()
                head.bias.view(-1, 3)[:, value] = 20
    return network


def test_kinds_are_judged_each_by_its_own_classes() -> None:
    """From "all undifferentiated" to "all differentiated": healthy fields lose, others gain, and
    one without cells stays as wrong as it was.
    """
    start = replace_network(model(), saying(1))
    healthy = Kind("healthy", tuple(field("x" * i, (1,)) for i in range(1, 5)))
    turned = Kind("turned", tuple(field("y" * i, (2,)) for i in range(1, 5)))
    empty = Kind("empty", (field("e", (0,)),))
    changes = Guard(start, [healthy, turned, empty]).changes(saying(2), start.manifest)
    told = {one.name: (one.jaccard_before, one.jaccard_after, one.is_harmed) for one in changes}
    assert told == {
        "healthy": (1.0, 0.0, True),
        "turned": (0.0, 1.0, False),
        "empty": (0.0, 0.0, False),
    }
    assert [one.error_after for one in changes[:2]] == [1.0, 0.0]
    assert np.isnan(changes[2].error_after)


def replace_network(one: Model, network: PmfCNN) -> Model:
    return Model(network, one.manifest)


def change(
    jaccard: tuple[float, float, float] = (0, 0, 0),
    error: tuple[float, float, float] = (0, 0, 0),
) -> KindChange:
    return KindChange("fresh", 9, 0.9, 0.9 + jaccard[0], jaccard, 0.1, 0.1 - error[0], error)


NOTHING = float("nan")


@pytest.mark.parametrize(
    ("one", "harmed"),
    [
        (change(), False),
        (change((0.05, 0.04, 0.06)), False),
        (change((-0.02, -0.05, 0.01)), True),  # more than a little, though it may be chance
        (change((-0.005, -0.008, -0.001)), True),  # a little, and surely
        (change((-0.005, -0.02, 0.01)), False),  # a little, and perhaps chance
        (change((-0.001, -0.002, -0.0005)), False),  # surely, and too small to matter
        (change(error=(-0.02, -0.05, 0.01)), True),
        (change((0.05, 0.04, 0.06), (-0.005, -0.008, -0.001)), True),  # outlines better, share not
        (change(error=(NOTHING, NOTHING, NOTHING)), False),  # no cells, no fraction
        (change((-0.02, NOTHING, NOTHING)), True),  # a single field
    ],
)
def test_harm_is_what_is_sure_or_large(one: KindChange, harmed: bool) -> None:
    assert one.is_harmed is harmed


def test_harm_is_told_in_numbers() -> None:
    assert str(change((-0.02, -0.03, -0.01))) == "fresh (mean Jaccard 0.900 to 0.880)"
    told = str(change((-0.02, -0.03, -0.01), (-0.05, -0.06, -0.04)))
    assert told == "fresh (mean Jaccard 0.900 to 0.880, fraction error 0.100 to 0.150)"


# --------------------------------------------------------------------------------- the choice


class Weighed:
    """Stands for a guard whose only kind is harmed by more than so much of the new weights."""

    def __init__(self, most: float) -> None:
        self.most = most
        self.asked: list[float] = []

    def changes(self, network: PmfCNN, manifest: Manifest) -> list[KindChange]:
        """All weights of the network are the share, since they are mixed of noughts and ones."""
        share = float(next(iter(network.parameters())).detach().mean())
        self.asked.append(round(share, 2))
        return [change((-0.1, -0.2, -0.05)) if share > self.most else change()]


def filled(value: float) -> PmfCNN:
    network = PmfCNN(SMALL).eval()
    with torch.no_grad():
        for one in network.parameters():
            one.fill_(value)
    return network


@pytest.mark.parametrize(
    ("most", "helpful", "taken", "asked"),
    [
        (1.0, [0.0, 0.25, 0.5, 0.75, 1.0], 1.0, [1.0]),
        (0.6, [0.0, 0.25, 0.5, 0.75, 1.0], 0.5, [1.0, 0.75, 0.5]),
        (0.6, [0.0, 0.25, 0.75], 0.25, [0.75, 0.25]),  # 0.5 did not help
        (0.1, [0.0, 0.25, 0.5], 0.0, [0.5, 0.25]),
        (1.0, [0.0], 0.0, []),
    ],
)
def test_the_largest_share_that_helps_and_harms_nothing_is_taken(
    most: float, helpful: list[float], taken: float, asked: list[float]
) -> None:
    start = Model(filled(0.0), Manifest("some", SMALL, 2.5))
    guard = Weighed(most)
    share, kinds, against = _unharming(start, filled(1.0), guard, helpful)  # type: ignore[arg-type]
    assert share == taken
    assert guard.asked == asked
    assert [float(one) for one in against] == [one for one in asked if one > taken]
    assert bool(kinds) is (taken > 0)


def held(jaccard: float, error: float | None = 0.1) -> Held:
    """Pixels of two classes, so many of each right that the mean Jaccard comes out."""
    right = round(1000 * jaccard)
    wrong = 1000 - right
    counts = np.array([[right, wrong // 2, 0], [wrong - wrong // 2, right, 0], [0, 0, 0]])
    nothing = np.zeros(15)
    reliable = Reliability(nothing.astype(np.int64), nothing, nothing.astype(np.int64))
    return Held(Confusion(counts), reliable, 0.0, () if error is None else (error,))


@pytest.mark.parametrize(
    ("scores", "helpful"),
    [
        ({0.0: held(0.7), 0.5: held(0.75), 1.0: held(0.8)}, [0.0, 0.5, 1.0]),
        ({0.0: held(0.7), 0.5: held(0.8), 1.0: held(0.6)}, [0.0, 0.5]),
        ({0.0: held(0.7), 0.5: held(0.69), 1.0: held(0.6)}, [0.0]),
        # Outlines better, the fraction that alerts rest on worse.
        ({0.0: held(0.7), 0.5: held(0.75, 0.104), 1.0: held(0.8, 0.15)}, [0.0, 0.5]),
        ({0.0: held(0.7, None), 1.0: held(0.8, None)}, [0.0, 1.0]),
    ],
)
def test_what_helps_is_no_worse_by_either_measure(
    scores: dict[float, Held], helpful: list[float]
) -> None:
    assert _helpful(scores, 0.005) == helpful


def test_the_card_tells_of_the_other_kinds() -> None:
    training = {
        "from": {"name": "starter", "sha256": "5fcfff7e52df"},
        "images": [],
        "assumed_pixel_size_um": None,
        "steps": 9,
        "seed": 0,
        "turns": 3,
        "held_out": "whole images",
        "share_of_new_weights": 0.5,
        "settings": {},
        "kinds_harmed_by_share_of_new_weights": {"1": [str(change((-0.02, -0.03, -0.01)))]},
    }
    told = card(
        replace(
            model().manifest,
            training=training,
            scores={"other kinds": {"fresh": change((0.01, 0, 0.02)).to_json()}},
        )
    )
    assert "| fresh | 9 | 0.900 | 0.910 | 0.100 | 0.100 |" in told
    assert "100% of the new weights: worse on fresh (mean Jaccard 0.900 to 0.880)." in told
