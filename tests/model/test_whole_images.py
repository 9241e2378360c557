"""Labels for whole images: read, held against outlines, learnt from and measured by."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from model.checkpoint import Manifest, Model
from model.classes import NOT_DIFFERENTIATED, UNKNOWN
from model.dataset import LabelledImage, TrainingField, prepare, read_labelled
from model.evaluate import evaluate
from model.labelled_files import DataError
from model.network import PmfCNN, PmfCNNConfig
from model.pmf_segmenter import PmfSegmenter
from model.preprocessing import Normalisation, bend
from model.train import TrainingSettings, balanced_group, draw_crop, fit
from model.whole_images import Says, read_whole_images

SMALL = PmfCNNConfig(widths=(4, 6, 8), context_channels=8)


def image(folder: Path, name: str) -> None:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    grey = np.random.default_rng(0).integers(0, 255, (40, 60)).astype(np.uint8)
    assert cv2.imwrite(str(folder / "images" / name), grey)


def label(folder: Path, name: str, values: np.ndarray) -> None:
    (folder / "labels").mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(folder / "labels" / name), values.astype(np.uint8))


def halves(left: int, right: int) -> np.ndarray:
    values = np.full((40, 60), left)
    values[:, 30:] = right
    return values


def table(folder: Path, *lines: str) -> Path:
    path = folder / "whole_images.csv"
    path.write_text("\n".join(("file,says", *lines)) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images with outlines of all three classes, three without any."""
    for name in ("a.png", "b.png", "c.png", "d.png", "e.png"):
        image(tmp_path, name)
    label(tmp_path, "a.png", halves(0, 1))
    label(tmp_path, "b.png", halves(0, 2))
    return tmp_path


def test_images_without_outlines_join_with_what_is_said_of_them(folder: Path) -> None:
    table(folder, "c.png,nothing differentiated", "d.png,no cells")
    found = read_labelled(folder)
    by_name = {one.name: one.labels for one in found.images}
    assert list(by_name) == ["a.png", "b.png", "c.png", "d.png"]
    assert (by_name["c.png"] == NOT_DIFFERENTIATED).all()
    assert (by_name["d.png"] == 0).all()
    assert by_name["a.png"].tolist() == halves(0, 1).tolist()
    assert found.without_labels == ("e.png",)
    assert found.notes == (
        "whole_images.csv: of whole images: 'nothing differentiated' of 1, 'no cells' of 1",
    )


def test_what_outlines_leave_unknown_is_filled_by_what_is_said(folder: Path) -> None:
    """And only that: what was drawn stays."""
    label(folder, "a.png", halves(1, UNKNOWN))
    label(folder, "d.png", halves(UNKNOWN, 0))
    table(folder, "a.png,nothing differentiated", "d.png,no cells")
    by_name = {one.name: one.labels for one in read_labelled(folder).images}
    assert by_name["a.png"].tolist() == halves(1, NOT_DIFFERENTIATED).tolist()
    assert by_name["d.png"].tolist() == halves(0, 0).tolist()


@pytest.mark.parametrize(
    "line",
    [
        "c.png,Nothing  Differentiated ",
        "images/c.png,nothing differentiated",
        r"images\c.png,nothing differentiated",
        " c.png , nothing differentiated",
    ],
)
def test_how_people_write_the_table(folder: Path, line: str) -> None:
    path = table(folder, line, "", ",")
    assert read_whole_images(path) == {"c.png": Says.NOTHING_DIFFERENTIATED}


def test_a_spreadsheets_byte_order_mark_and_further_columns_do_no_harm(folder: Path) -> None:
    path = folder / "whole_images.csv"
    path.write_text("says,file,by\nno cells,c.png,somebody,and more\n", encoding="utf-8-sig")
    assert read_whole_images(path) == {"c.png": Says.NO_CELLS}


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["c.png,healthy"], r"line 2: 'healthy' of 'c\.png'; say 'nothing differentiated' or"),
        (["c.png,"], r"line 2: '' of 'c\.png'; say"),
        ([",no cells"], r"line 2: 'no cells' of no file; name the image"),
        (["c.png,differentiated"], r"line 2: 'differentiated'"),
        (["x.png,no cells"], r"no image x\.png in images/; correct the name"),
        (["c.tif,no cells"], r"no image c\.tif in images/; is it c\.png\?"),
        (["c,no cells"], r"no image c in images/; is it c\.png\?"),
        (
            ["c.png,no cells", "c.png,nothing differentiated"],
            r"line 3: c\.png: nothing differentiated, and no cells further up; keep one",
        ),
        (
            ["b.png,nothing differentiated"],
            r"labels.b\.png: holds 1,200 px of differentiated, but whole_images\.csv says "
            r"'nothing differentiated' of the whole image",
        ),
        (["a.png,no cells"], r"a\.png: holds 1,200 px of undifferentiated, but .* 'no cells'"),
        (["b.png,no cells"], r"b\.png: holds 1,200 px of differentiated, but .* 'no cells'"),
    ],
)
def test_what_is_wrong_is_told_with_its_line_or_its_file(
    folder: Path, lines: list[str], told: str
) -> None:
    table(folder, *lines)
    with pytest.raises(DataError, match=told):
        read_labelled(folder)


def test_everything_that_is_wrong_is_told_at_once(folder: Path) -> None:
    table(folder, "x.png,no cells", "b.png,nothing differentiated")
    with pytest.raises(DataError) as caught:
        read_labelled(folder)
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("text", ["name,word\nc.png,no cells\n", "", "file;says\nc.png;no cells\n"])
def test_a_table_with_other_columns_is_refused(folder: Path, text: str) -> None:
    (folder / "whole_images.csv").write_text(text)
    with pytest.raises(DataError, match="not a table with the columns file,says"):
        read_labelled(folder)


def test_bytes_that_are_no_text_are_refused(folder: Path) -> None:
    (folder / "whole_images.csv").write_bytes(b"\xff\xfe\x00file,says\n")
    with pytest.raises(DataError, match="cannot be read as a table"):
        read_labelled(folder)


def test_whole_images_alone_do_not_show_what_cells_are(tmp_path: Path) -> None:
    image(tmp_path, "a.png")
    table(tmp_path, "a.png,nothing differentiated")
    with pytest.raises(DataError, match=r"whole_images\.csv alone does not show what cells are"):
        read_labelled(tmp_path)
    (one,) = read_labelled(tmp_path, least_classes=1).images
    assert (one.labels == NOT_DIFFERENTIATED).all()


def test_empty_dishes_alone_are_one_class(tmp_path: Path) -> None:
    image(tmp_path, "a.png")
    table(tmp_path, "a.png,no cells")
    with pytest.raises(DataError, match="all labelled pixels are background"):
        read_labelled(tmp_path)


def test_a_second_raters_outlines_are_not_mixed_with_what_the_first_said(folder: Path) -> None:
    table(folder, "c.png,nothing differentiated")
    other = folder / "labels_2"
    (folder / "labels").rename(other)
    label(folder, "a.png", halves(0, 1))
    names = [one.name for one in read_labelled(folder, least_classes=1, labels=other).images]
    assert names == ["a.png", "b.png"]


def whole(value: int = NOT_DIFFERENTIATED) -> LabelledImage:
    grey = np.random.default_rng(1).normal(100, 5, (200, 200))
    return LabelledImage("whole", grey, np.full((200, 200), value, np.uint8), 2.0)


def test_a_whole_image_is_measured_by_its_fraction_alone() -> None:
    torch.manual_seed(0)
    segmenter = PmfSegmenter(Model(PmfCNN(SMALL).eval(), Manifest("untrained", SMALL, 2.5)))
    (field,) = evaluate(segmenter, [whole()]).fields
    assert field.true_fraction == 0.0
    assert field.fraction_error == (field.found_fraction or 0.0)
    assert field.confusion.counts.sum() == 0
    assert field.to_json()["mean_jaccard"] is None
    assert field.known_share == 0.0


def test_whole_images_have_their_turn_among_the_crops() -> None:
    """As each class has; a lab with many of them learns from its few outlines no less."""
    drawn = LabelledImage("drawn", whole().image, np.repeat([[0, 1]], 200, 0).repeat(100, 1), 2.0)
    drawn = LabelledImage("drawn", drawn.image, drawn.labels.astype(np.uint8), 2.0)
    fields = [prepare(one, 2.5, Normalisation()) for one in (drawn, *[whole()] * 5)]
    group = balanced_group("lab", fields, 1.0)
    settings = TrainingSettings(crop_px=72, scale_spread=0.0)
    chance = np.random.default_rng(0)
    crops = [draw_crop(group, settings, chance)[1] for _ in range(60)]
    partly = sum(bool((one == NOT_DIFFERENTIATED).any()) for one in crops)
    assert 8 < partly < 34


def texture(seed: int, blur: float, side: int = 192) -> np.ndarray:
    grain = np.random.default_rng(seed).normal(0, 1, (side, side)).astype(np.float32)
    grain = cv2.GaussianBlur(grain, (0, 0), blur) if blur else grain
    return np.asarray(grain / grain.std(), dtype=np.float32)


def called_differentiated(fields: list[TrainingField]) -> float:
    """Probability of differentiated that a network that has learnt these gives a coarse texture."""
    torch.manual_seed(0)
    group = balanced_group("lab", fields, 1.0)
    settings = TrainingSettings(crop_px=72, batch=4, learning_rate=5e-3, average_over_steps=10)
    network = fit(PmfCNN(SMALL), [group], settings, steps=60, seed=0)
    segmenter = PmfSegmenter(Model(network, Manifest("tried", SMALL, 2.5)))
    return float(segmenter.probabilities(bend(texture(7, 1.5)))[2].mean())


def test_a_network_learns_from_what_is_said_of_a_whole_image() -> None:
    """Smooth is background, rough differentiated; what looks between the two, and is called
    differentiated without, is so no longer once an image of it is said to be nothing of the kind.
    """
    flat = np.where(np.arange(192) < 96, 0.1 * texture(0, 0), texture(1, 1.0)).astype(np.float32)
    drawn = TrainingField("drawn", flat, np.where(np.arange(192) < 96, 0, 2) * np.ones((192, 1)))
    drawn = TrainingField("drawn", flat, drawn.labels.astype(np.uint8))
    healthy = TrainingField("whole", texture(2, 1.5), np.full((192, 192), 254, np.uint8))
    assert called_differentiated([drawn]) > 0.6
    assert called_differentiated([drawn, healthy]) < 0.42
