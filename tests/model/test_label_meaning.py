"""Labels that are meant otherwise than we read them are asked about, and right ones never."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from model.dataset import read_labelled
from model.labelled_files import DataError, DoubtfulLabelsError

DATA = Path(__file__).parents[3] / "shared" / "data"
SHAPE = (96, 128)


def classes(seed: int) -> NDArray[np.uint8]:
    """A field as it should be labelled: two colonies, a part of one differentiated."""
    labels = np.zeros(SHAPE, np.uint8)
    shift = 4 * (seed % 4)
    cv2.circle(labels, (30 + shift, 40), 22, 1, -1)
    cv2.circle(labels, (95, 60 - shift), 24, 1, -1)
    cv2.circle(labels, (95, 60 - shift), 12, 2, -1)
    return labels


def photographed(cells: NDArray[np.bool_], seed: int) -> NDArray[np.uint8]:
    chance = np.random.default_rng(seed)
    rough = np.where(cells, 20.0, 2.0)
    return (chance.normal(0, 1, SHAPE) * rough + 120).clip(0, 255).astype(np.uint8)


def folder_of(
    folder: Path,
    *maps: NDArray[Any],
    ending: str = ".png",
    truth: list[NDArray[np.uint8]] | None = None,
) -> Path:
    """Fields f0, f1 ... whose images show `truth`, labelled by `maps`."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for number, labels in enumerate(maps):
        cells = (truth[number] if truth else classes(number)) > 0
        cv2.imwrite(str(folder / "images" / f"f{number}.png"), photographed(cells, number))
        path = folder / "labels" / f"f{number}{ending}"
        if ending == ".tif":
            tifffile.imwrite(path, labels)
        else:
            Image.fromarray(labels).save(path)
    return folder


def three(change: Any) -> list[NDArray[Any]]:
    return [change(classes(number)) for number in range(3)]


def objects(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each connected object a number of its own."""
    return np.asarray(cv2.connectedComponents((labels > 0).astype(np.uint8))[1], np.uint8)


def second_as_background(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.array([2, 0, 1], np.uint8)[labels]


ASKED: dict[str, tuple[list[NDArray[Any]], str]] = {
    "background 1, cells 2": (three(lambda labels: (labels > 0) + np.uint8(1)), "no field has"),
    "numbers of objects": (three(objects), "one connected component in every field"),
    "a mask of 0 and 255": (three(lambda labels: (labels > 0) * np.uint8(255)), "no cell is lab"),
    "2 is the background": (three(second_as_background), "is 2 the background"),
    "1 is the background, 0 cells": (
        three(lambda labels: (labels == 0).astype(np.uint8)),
        "is 1 the background",
    ),
    "a mask among class maps": (
        [classes(0), classes(1), (classes(2) > 0) * np.uint8(255)],
        r"f2.png: no cell is labelled",
    ),
    "counted from 1 in one field": (
        [classes(0), classes(1), (classes(2) > 0) + np.uint8(1)],
        r"f2.png: there is no background in it",
    ),
}


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("least_classes", [1, 2], ids=["evaluate", "train"])
def test_strange_labels_are_asked_about(tmp_path: Path, name: str, least_classes: int) -> None:
    maps, says = ASKED[name]
    data = folder_of(tmp_path / "data", *maps)
    with pytest.raises(DoubtfulLabelsError, match=says):
        read_labelled(data, least_classes=least_classes)


def test_whoever_is_sure_is_asked_nothing(tmp_path: Path) -> None:
    data = folder_of(tmp_path / "data", *ASKED["background 1, cells 2"][0])
    assert len(read_labelled(data, sure=True).images) == 3


def without_cells(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.zeros_like(labels)


RIGHT: dict[str, list[NDArray[np.uint8]]] = {
    "as they should be": three(lambda labels: labels),
    "cells of one class": three(lambda labels: np.minimum(labels, 1)),
    "all differentiated": three(lambda labels: (labels > 0) * np.uint8(2)),
    "one colony with a part differentiated": [
        np.where(np.arange(SHAPE[1]) > 62, classes(number), 0).astype(np.uint8)
        for number in range(2)
    ],
    "much unknown": three(lambda labels: np.where(np.eye(*SHAPE) > 0, 255, labels)),
    "an empty dish with an unknown rim among others": [
        classes(0),
        np.pad(np.zeros((86, 118), np.uint8), 5, constant_values=255),
    ],
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_labels_are_taken_without_a_question(tmp_path: Path, name: str) -> None:
    maps = [np.asarray(one, np.uint8) for one in RIGHT[name]]
    truth = [np.where(one == 255, 0, one).astype(np.uint8) for one in maps]
    data = folder_of(tmp_path / "data", *maps, truth=truth)
    assert len(read_labelled(data).images) == len(maps)


@pytest.mark.parametrize("name", ["ips_fields", "hipsc_phase", "spread_cells_phase", "passage"])
def test_real_labelled_fields_raise_no_question(name: str) -> None:
    if not (DATA / name / "labels").is_dir():
        pytest.skip(f"no labelled fields in {DATA / name}")
    assert read_labelled(DATA / name, least_classes=1).images


REFUSED: dict[str, tuple[NDArray[Any], str, str]] = {
    "numbers of many objects": (
        np.arange(96 * 128, dtype=np.uint16).reshape(SHAPE) // 300,
        ".png",
        r"41 different values up to 40: numbers of objects",
    ),
    "sixteen bits, as cellpose writes": (
        classes(0).astype(np.uint16) * 300,
        ".tif",
        r"value\(s\) 300, 600",
    ),
    "stretched for the eye": (classes(0) * np.uint8(127), ".png", "stretched over the grey levels"),
    "counted from 1": (classes(0) + np.uint8(1), ".png", "counted from 1"),
    "more classes": (
        np.where(np.eye(*SHAPE) > 0, 4, classes(0)).astype(np.uint8),
        ".png",
        r"value\(s\) 4",
    ),
    "probabilities": (
        np.random.default_rng(0).random(SHAPE, np.float32),
        ".tif",
        "numbers with fractions",
    ),
    "not a number": (np.full(SHAPE, np.nan, np.float32), ".tif", "fractions"),
    "a mask of sixteen bits": (
        (classes(0) > 0) * np.uint16(65535),
        ".tif",
        r"value\(s\) 65535",
    ),
    "coloured": (
        np.array([[0, 0, 0], [0, 0, 255], [255, 0, 0]], np.uint8)[classes(0)],
        ".png",
        r"colour image, its colours are rgb\(0, 0, 0\) \d\d%, rgb\(0, 0, 255\)",
    ),
    "grey saved as colour": (np.dstack([classes(0)] * 3), ".png", "channels are all the same"),
    "a stack": (np.stack([classes(0)] * 5), ".tif", "not a single plane"),
    "half the size": (classes(0)[::2, ::2].copy(), ".png", "48 x 64 pixels, its image has 96 x"),
    "all unknown": (np.full(SHAPE, 255, np.uint8), ".png", r"255 \(unknown\)"),
    "complex": (np.full(SHAPE, 1j, np.complex64), ".tif", "no numbers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_class_map_is_refused_with_its_file_its_values_and_what_to_do(
    tmp_path: Path, name: str
) -> None:
    labels, ending, says = REFUSED[name]
    data = folder_of(tmp_path / "data", labels, ending=ending)
    for least_classes in (1, 2):
        with pytest.raises(DataError, match=says) as raised:
            read_labelled(data, least_classes=least_classes)
        assert not isinstance(raised.value, DoubtfulLabelsError)
        assert f"f0{ending}" in str(raised.value) or "f0.png" in str(raised.value)


def test_objects_numbered_in_some_fields_are_found_among_class_maps(tmp_path: Path) -> None:
    numbered = np.asarray(np.arange(96 * 128).reshape(SHAPE) // 2000, np.uint8)
    data = folder_of(tmp_path / "data", classes(0), numbered)
    with pytest.raises(DataError, match=r"f1.png: holds the value.*numbers of objects"):
        read_labelled(data)


def test_fractional_numbers_that_are_whole_are_taken(tmp_path: Path) -> None:
    data = folder_of(tmp_path / "data", classes(0).astype(np.float32), ending=".tif")
    assert np.array_equal(read_labelled(data).images[0].labels, classes(0))


def test_maps_named_as_cellpose_does_are_recognised(tmp_path: Path) -> None:
    data = folder_of(tmp_path / "data", classes(0))
    (data / "labels" / "f0.png").rename(data / "labels" / "f0_cp_masks.png")
    with pytest.raises(DataError, match=r"segmentation program found in f0.png"):
        read_labelled(data)


def test_labels_as_jpeg_or_numpy_are_not_passed_over_in_silence(tmp_path: Path) -> None:
    data = folder_of(tmp_path / "data", classes(0))
    cv2.imwrite(str(data / "labels" / "f1.jpg"), classes(1))
    np.save(data / "labels" / "f1_seg.npy", classes(1))
    notes = read_labelled(data).notes
    assert [Path(note.split(":")[0]).name for note in notes] == ["f1.jpg", "f1_seg.npy"]
    (data / "labels" / "f0.png").unlink()
    with pytest.raises(DataError, match=r"f1.jpg: ignored: JPEG changes values"):
        read_labelled(data)


def png_that_claims(rows: int, columns: int) -> bytes:
    """The head of a PNG of that size, and next to nothing in it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        whole = kind + content
        return struct.pack(">I", len(content)) + whole + struct.pack(">I", zlib.crc32(whole))

    head = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [12_000, 60_000, 2**31 - 1])
def test_a_label_map_that_claims_an_absurd_size_is_refused_before_it_is_read(
    tmp_path: Path, side: int
) -> None:
    data = folder_of(tmp_path / "data", classes(0))
    (data / "labels" / "f0.png").write_bytes(png_that_claims(side, side))
    with pytest.raises(DataError, match=r"f0\.png: "):
        read_labelled(data)


def test_a_tiff_label_map_that_claims_an_absurd_size_is_refused(tmp_path: Path) -> None:
    data = folder_of(tmp_path / "data", classes(0))
    (data / "labels" / "f0.png").unlink()
    path = data / "labels" / "f0.tif"
    tifffile.imwrite(path, classes(0))
    content = path.read_bytes()
    with tifffile.TiffFile(path) as tiff:
        places = [tiff.pages[0].tags[name].valueoffset for name in ("ImageWidth", "ImageLength")]
        width = tiff.pages[0].tags["ImageWidth"].dtype_name
    changed = bytearray(content)
    for place in places:
        size = 4 if width == "LONG" else 2
        changed[place : place + size] = (60_000).to_bytes(size, "little")
    path.write_bytes(changed)
    with pytest.raises(DataError, match=r"f0\.tif: "):
        read_labelled(data)
