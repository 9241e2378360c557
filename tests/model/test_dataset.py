"""Labelled folders: what fits is read, what does not is said with its file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from model.classes import NOT_DIFFERENTIATED
from model.dataset import LabelledImage, prepare, read_folder
from model.labelled_files import DataError, read_labels
from model.preprocessing import Normalisation


def write_pair(
    folder: Path, stem: str = "a", image: np.ndarray | None = None, labels: np.ndarray | None = None
) -> None:
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    if image is None:
        image = np.random.default_rng(0).integers(0, 255, (40, 60)).astype(np.uint8)
    if labels is None:
        labels = np.zeros((40, 60), np.uint8)
        labels[:, 30:] = 2
        labels[:5] = 255
    cv2.imwrite(str(folder / "images" / f"{stem}.png"), image)
    cv2.imwrite(str(folder / "labels" / f"{stem}.png"), labels)


def test_images_come_with_their_labels_and_pixel_sizes(tmp_path: Path) -> None:
    write_pair(tmp_path, "a")
    write_pair(tmp_path, "b")
    (tmp_path / "images" / "unlabelled.png").write_bytes((tmp_path / "images/a.png").read_bytes())
    (tmp_path / "pixel_size_um.csv").write_text("file,pixel_size_um\nimages/a.png,1.25\n")
    first, second = read_folder(tmp_path)
    assert (first.name, first.pixel_size_um) == ("a.png", 1.25)
    assert (second.name, second.pixel_size_um) == ("b.png", None)
    assert sorted(np.unique(first.labels)) == [0, 2, 255]


def test_sixteen_bits_colour_tiff_and_palette_are_read(tmp_path: Path) -> None:
    write_pair(tmp_path, "grey16", np.full((40, 60), 40_000, np.uint16))
    write_pair(tmp_path, "colour", np.full((40, 60, 3), 90, np.uint8))
    write_pair(tmp_path, "stack")
    (tmp_path / "images/stack.png").unlink()
    tifffile.imwrite(tmp_path / "images/stack.tif", np.full((40, 60), 7, np.uint16))
    palette = Image.fromarray(np.tile(np.array([0, 1, 2, 255] * 15, np.uint8), (40, 1)), mode="P")
    palette.putpalette([3, 90, 7] * 256)
    palette.save(tmp_path / "labels/grey16.png")
    found = {one.name: one for one in read_folder(tmp_path)}
    assert found["grey16.png"].image.max() == 40_000
    assert sorted(np.unique(found["grey16.png"].labels)) == [0, 1, 2, 255]
    assert found["colour.png"].image.shape == (40, 60)
    assert found["stack.tif"].image.max() == 7


WRONG: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "labels of another size": ({"labels": np.zeros((40, 61), np.uint8)}, r"40 x 61 pixels"),
    "a class that is none": ({"labels": np.full((40, 60), 7, np.uint8)}, r"value\(s\) 7"),
    "colour labels": ({"labels": np.zeros((40, 60, 3), np.uint8)}, r"is a colour image"),
    "a single class": ({"labels": np.ones((40, 60), np.uint8)}, r"are undifferentiated"),
    "nothing known": ({"labels": np.full((40, 60), 255, np.uint8)}, r"255 \(unknown\)"),
}


@pytest.mark.parametrize("name", WRONG)
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, name: str) -> None:
    values, said = WRONG[name]
    write_pair(tmp_path, **values)
    with pytest.raises(DataError, match=said):
        read_folder(tmp_path)


def test_missing_parts_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        read_folder(tmp_path)
    write_pair(tmp_path)
    (tmp_path / "labels/a.png").rename(tmp_path / "labels/other.png")
    with pytest.raises(DataError, match=r"no image other\.\*"):
        read_folder(tmp_path)
    (tmp_path / "labels/other.png").unlink()
    with pytest.raises(DataError, match="no label map"):
        read_folder(tmp_path)


@pytest.mark.parametrize("part", ["images", "labels"])
def test_a_file_that_is_no_picture_is_named(tmp_path: Path, part: str) -> None:
    write_pair(tmp_path)
    (tmp_path / part / "a.png").write_text("no picture")
    with pytest.raises(DataError, match=rf"{part}/a\.png: cannot be read"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    "text", ["name,size\na.png,1\n", "file,pixel_size_um\na.png,one\n", "file,pixel_size_um\na,0\n"]
)
def test_a_malformed_table_of_pixel_sizes_is_refused(tmp_path: Path, text: str) -> None:
    write_pair(tmp_path)
    (tmp_path / "pixel_size_um.csv").write_text(text)
    with pytest.raises(DataError, match=r"pixel_size_um\.csv"):
        read_folder(tmp_path)


def test_labels_stay_labels_at_the_working_scale() -> None:
    labels = np.zeros((200, 300), np.uint8)
    labels[:, 150:] = 2
    labels[:20] = 255
    image = np.random.default_rng(0).normal(100, 5, (200, 300))
    field = prepare(LabelledImage("a", image, labels, 1.25), 2.5, Normalisation())
    assert field.labels.shape == field.flat.shape == (96, 152)
    assert sorted(np.unique(field.labels)) == [0, 2, 255]
    assert np.mean(field.labels == 2) == pytest.approx(np.mean(labels == 2), abs=0.01)


def test_what_training_says_of_half_known_pixels_is_no_value_of_a_label_map(
    tmp_path: Path,
) -> None:
    """254 has a meaning within the program; in a map from outside it is a mistake, such as an
    object's number or a grey level."""
    values = np.zeros((4, 4), np.uint8)
    values[:2] = NOT_DIFFERENTIATED
    Image.fromarray(values).save(tmp_path / "map.png")
    with pytest.raises(DataError, match=r"holds the value\(s\) 254"):
        read_labels(tmp_path / "map.png")


def test_what_is_burnt_in_is_neither_learnt_nor_scored(tmp_path: Path) -> None:
    """Whatever the labels say of it: a scale bar is no background."""
    image = np.random.default_rng(0).normal(128, 12, (240, 320)).astype(np.uint8)
    image[210:217, 190:300] = 255
    write_pair(tmp_path, "bar", image, np.zeros((240, 320), np.uint8))
    write_pair(tmp_path, "none", np.full_like(image, 128), np.ones((240, 320), np.uint8))
    bar, none = read_folder(tmp_path)
    assert (bar.labels[206:221, 186:304] == 255).all()
    assert np.count_nonzero(bar.labels == 255) < 0.03 * bar.labels.size
    assert bar.inside is not None
    assert np.array_equal(bar.inside, bar.labels != 255)
    assert none.inside is None
    assert not (none.labels == 255).any()
