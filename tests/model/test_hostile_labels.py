"""Files of labels that ask for more time or memory than any label takes, and what is no file."""

from __future__ import annotations

import base64
import io
import json
import math
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from model import annotations
from model.annotations import AnnotationError, read_annotations, read_class_names
from model.labelled_files import MOST_PAGES, DataError, read_image, read_labels
from model.manifest import LARGEST_CARD_BYTES
from model.whole_images import read_whole_images
from monitor.commands.models import show
from monitor.errors import ModelRefusedError

SHAPE = (200, 300)


def outlines(*rings: Any) -> str:
    def one(ring: Any) -> dict[str, Any]:
        said = {"classification": {"name": "Differentiated"}}
        return {"type": "Feature", "properties": said,
                "geometry": {"type": "Polygon", "coordinates": [ring]}}  # fmt: skip

    return json.dumps({"type": "FeatureCollection", "features": [one(ring) for ring in rings]})


def star(corners: int) -> list[list[float]]:
    """Each edge crosses nearly all others: half a square of crossings."""
    turns = [2 * math.pi * ((corners // 2) * i % corners) / corners for i in range(corners + 1)]
    return [[150 + 90 * math.cos(turn), 100 + 90 * math.sin(turn)] for turn in turns]


def comb(teeth: int) -> list[list[float]]:
    return [[i / teeth * 300, 200.0 * (i % 2)] for i in range(teeth)] + [[0.0, 0.0]]


def painted(mask: np.ndarray) -> dict[str, Any]:
    content = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(content, "PNG")
    return {"label": "differentiated", "shape_type": "mask", "points": [[0, 0], [9, 9]],
            "mask": base64.b64encode(content.getvalue()).decode()}  # fmt: skip


def read(folder: Path, text: str) -> np.ndarray:
    (folder / "a.json").write_text(text)
    return read_annotations(folder / "a.json", SHAPE)


def test_an_outline_that_crosses_itself_millions_of_times_is_drawn(tmp_path: Path) -> None:
    """To make it a valid one, as others do, takes minutes and gigabytes."""
    labels = read(tmp_path, outlines(star(4001)))
    assert 0 < np.count_nonzero(labels == 2) < math.pi * 90**2 + 500


def test_a_mask_of_single_pixels_is_drawn(tmp_path: Path) -> None:
    """Each of its pixels is an outline of its own."""
    board = np.indices(SHAPE).sum(axis=0) % 2 == 1
    labels = read(tmp_path, json.dumps({"shapes": [painted(board)]}))
    assert np.array_equal(labels == 2, board)


TOO_MUCH = {
    "rows": ({"MOST_CROSSINGS": 50_000}, outlines(comb(400)), "more than people draw"),
    "one outline": ({"MOST_CROSSINGS_OF_ONE": 50_000}, outlines(comb(400)), "one of them"),
    "areas": (
        {"LEAST_AREA_PX": 0, "MOST_TIMES_OVER": 3},
        outlines(*[comb(3)] * 5),
        "many times the whole image",
    ),
    "masks": (
        {"LEAST_PAINTED_PX": 0, "MOST_TIMES_PAINTED": 2},
        json.dumps({"shapes": [painted(np.ones(SHAPE, bool))] * 4}),
        "first 3 shapes are painted on 180,000 pixels",
    ),
    "bytes": ({"LARGEST_FILE_BYTES": 1000}, outlines(comb(400)), "more than 1,000 bytes"),
}


@pytest.mark.parametrize(("limits", "text", "says"), TOO_MUCH.values(), ids=list(TOO_MUCH))
def test_what_takes_more_than_labels_take_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: dict[str, int], text: str, says: str
) -> None:
    """With small limits, so that it costs nothing; the same text is drawn with the real ones."""
    assert read(tmp_path, text).shape == SHAPE
    for name, value in limits.items():
        monkeypatch.setattr(annotations, name, value)
    with pytest.raises(AnnotationError, match=says):
        read(tmp_path, text)


NO_FILES = {
    "outlines": (lambda path: read_annotations(path, SHAPE), AnnotationError),
    "table of names": (read_class_names, AnnotationError),
    "table of whole images": (read_whole_images, DataError),
}


@pytest.mark.parametrize(("call", "error"), NO_FILES.values(), ids=list(NO_FILES))
def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path, call: Any, error: Any) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(error, match="not a regular file"):
        call(tmp_path / "pipe")


@pytest.mark.parametrize("call", [read_class_names, read_whole_images])
def test_a_table_without_end_is_not_read(tmp_path: Path, call: Any) -> None:
    with (tmp_path / "table.csv").open("wb") as file:
        file.write(b"name,class,file,says\n")
        file.truncate(1 << 34)
    with pytest.raises((AnnotationError, DataError), match="more than 16,777,216 bytes"):
        call(tmp_path / "table.csv")


def test_a_card_without_end_is_not_shown(tmp_path: Path) -> None:
    with (tmp_path / "card.md").open("wb") as file:
        file.truncate(LARGEST_CARD_BYTES + 1)
    with pytest.raises(ModelRefusedError, match="is no card of a model"):
        show(model=tmp_path)


def test_a_file_of_endless_pages_is_refused_and_not_looked_through(tmp_path: Path) -> None:
    """To look at all of them takes time by the square of their number."""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for _ in range(MOST_PAGES + 1):
            file.write(np.zeros((4, 5), np.uint8), contiguous=False)
    for call in (read_labels, read_image):
        with pytest.raises(DataError, match="more than 64 pages"):
            call(path)


def test_a_chain_of_pages_that_bites_its_tail_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.ones((4, 5), np.uint8))
    content = bytearray(path.read_bytes())
    (first,) = struct.unpack_from("<I", content, 4)
    (tags,) = struct.unpack_from("<H", content, first)
    struct.pack_into("<I", content, first + 2 + 12 * tags, first)
    path.write_bytes(content)
    with pytest.raises(DataError, match="more than 64 pages"):
        read_labels(path)


def test_a_picture_that_another_program_would_have_to_draw_is_refused(tmp_path: Path) -> None:
    """Pillow hands PostScript to Ghostscript, whatever the file is called."""
    path = tmp_path / "a.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    for call in (read_labels, read_image):
        with pytest.raises(DataError, match="cannot identify"):
            call(path)
