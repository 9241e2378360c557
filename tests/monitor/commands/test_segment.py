"""`segment`: one image of any kind, no database."""

from __future__ import annotations

import json
import shutil
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile

from model.simulation.fields import simulate_field
from monitor.capture.filesets import hash_file
from monitor.capture.naming import name_capture
from monitor.config import UnlistedSettings
from monitor.segmentation.measuring import load_segmenter, measure
from monitor.segmentation.request import FieldRequest
from tests.monitor.commands.calls import DONE, FAILED, MISUSED, as_ordinary_user, call, spawn

ROWS, COLUMNS = 200, 260


@pytest.fixture(scope="session")
def grey() -> np.ndarray:
    """A field of (200, 260) uint8."""
    image = simulate_field(
        3, shape=(ROWS, COLUMNS), pixel_size_um=1.5, modality="phase"
    ).image.astype(np.float64)
    return ((image - image.min()) / np.ptp(image) * 255).astype(np.uint8)


def colours(grey: np.ndarray) -> np.ndarray:
    return np.dstack([grey] * 3)


def with_alpha(grey: np.ndarray) -> np.ndarray:
    return np.dstack([grey, grey, grey, np.full_like(grey, 255)])


def wide(grey: np.ndarray) -> np.ndarray:
    return grey.astype(np.uint16) * 200


KINDS = {
    "8-bit.tif": lambda grey: grey,
    "16-bit.tif": wide,
    "float.tif": lambda grey: grey.astype(np.float32) / 255,
    "colour.tif": colours,
    "colour-16.tif": lambda grey: colours(wide(grey)),
    "pages.tif": lambda grey: np.stack([grey, grey]),
    "8-bit.ome.tif": lambda grey: grey,
    "16-bit.ome.tif": wide,
    "8-bit.png": lambda grey: grey,
    "16-bit.png": wide,
    "colour.png": colours,
    "alpha.png": with_alpha,
    "8-bit.jpg": lambda grey: grey,
    "colour.jpeg": colours,
}


def write(path: Path, image: np.ndarray) -> Path:
    if path.suffix in (".tif", ".tiff"):
        colour = image.ndim == 3 and image.shape[2] == 3
        tifffile.imwrite(
            path,
            image,
            photometric="rgb" if colour else "minisblack",
            ome=path.name.endswith(".ome.tif"),
        )
    else:
        assert cv2.imwrite(str(path), image)
    return path


def check_contract(found: dict[str, Any], shape: tuple[int, int]) -> None:
    assert found["shape"] == list(shape)
    assert found["pixel_size_um"] is None or found["pixel_size_um"] > 0
    assert set(found["fractions"]) == {"background", "undifferentiated", "differentiated"}
    assert sum(found["fractions"].values()) == pytest.approx(1)
    cells = found["fractions"]["undifferentiated"] + found["fractions"]["differentiated"]
    assert found["confluence"] == pytest.approx(cells)
    if cells:
        share = found["fractions"]["differentiated"] / cells
        assert found["differentiated_fraction"] == pytest.approx(share)
    else:
        assert found["differentiated_fraction"] is None
    assert isinstance(found["colonies"], int)
    assert found["model"]["name"]
    assert len(found["model"]["sha256"]) == 64


def check_files(folder: Path, stem: str, found: dict[str, Any]) -> np.ndarray:
    labels = cv2.imread(str(folder / f"{stem}_labels.png"), cv2.IMREAD_UNCHANGED)
    assert list(labels.shape) == found["shape"]
    assert labels.dtype == np.uint8
    assert set(np.unique(labels)) <= {0, 1, 2, 255}
    imaged = np.count_nonzero(labels != 255)
    for value, name in enumerate(("background", "undifferentiated", "differentiated")):
        share = np.count_nonzero(labels == value) / imaged
        assert found["fractions"][name] == pytest.approx(share)
    overlay = cv2.imread(str(folder / f"{stem}_overlay.png"))
    assert overlay is not None
    assert overlay.std() > 0
    return np.asarray(labels)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_image_gives_labels_an_overlay_and_numbers(name, grey, tmp_path):
    image = write(tmp_path / name, KINDS[name](grey))
    answer = call("segment", image, "--out", tmp_path / "result", "--json")
    assert answer.code == DONE, answer.err
    assert answer.document["image"] == str(image)
    check_contract(answer.document, (ROWS, COLUMNS))
    check_files(tmp_path / "result", image.stem, answer.document)


def test_a_burnt_in_bar_is_told_with_its_area_and_cut_out_of_the_label_map(grey, tmp_path):
    bare = call("segment", write(tmp_path / "bare.png", grey), "--out", tmp_path, "--json")
    assert bare.document["burnt_in"] is None
    burnt = grey.copy()
    burnt[-20:-14, -90:-15] = 0
    image = write(tmp_path / "bar.png", burnt)
    answer = call("segment", image, "--out", tmp_path, "--json", "--pixel-size-um", "2")
    found = answer.document["burnt_in"]
    labels = check_files(tmp_path, "bar", answer.document)
    assert "bar" in [item["kind"] for item in found["items"]]
    assert found["area_px"] == np.count_nonzero(labels == 255)
    assert found["area_um2"] == 4 * found["area_px"]
    top, left, bottom, right = found["items"][0]["box_row_column"]
    assert (labels[top:bottom, left:right] == 255).all()
    shown = call("segment", image, "--out", tmp_path)
    assert "burnt in (bar" in shown.err
    assert "counts as not imaged" in shown.err
    assert "burnt in" not in call("segment", tmp_path / "bare.png", "--out", tmp_path).err


def test_the_same_picture_says_the_same_in_8_bit_16_bit_and_colour(grey, tmp_path):
    results = []
    for name in ("8-bit.tif", "16-bit.tif", "float.tif", "colour.png", "alpha.png"):
        image = write(tmp_path / name, KINDS[name](grey))
        found = call("segment", image, "--out", tmp_path / name[:-4], "--json").document
        results.append(check_files(tmp_path / name[:-4], image.stem, found))
    for labels in results[1:]:
        assert np.mean(labels == results[0]) > 0.999


@pytest.mark.parametrize("shape", [(7, 3), (3, 7), (31, 33), (5000, 40)], ids=str)
def test_every_size_of_image_is_segmented(shape, grey, tmp_path):
    times = (-(-shape[0] // ROWS), -(-shape[1] // COLUMNS))
    image = write(tmp_path / "odd.tif", np.tile(grey, times)[: shape[0], : shape[1]])
    answer = call("segment", image, "--out", tmp_path, "--json")
    assert answer.code == DONE, answer.err
    check_contract(answer.document, shape)
    check_files(tmp_path, "odd", answer.document)


def test_the_option_beats_the_pixel_size_of_the_file(captures, tmp_path):
    image = next(captures.iterdir())
    from_file = call("segment", image, "--out", tmp_path, "--json").document
    given = call("segment", image, "--out", tmp_path, "--pixel-size-um", "1", "--json").document
    assert from_file["pixel_size_um"] == pytest.approx(2.0)
    assert given["pixel_size_um"] == 1.0


KNOWN_BY = {
    "its name": (
        "3500003816_Scan_2-11-2020-11-59-54-AM_Well_A1_Xmm-1_Ymm-2_Ch1_1um.tiff",
        {},
        "name",
    ),
    "its sidecar": ("p7_A01_T0001F001L01A01Z01C01.tif", {}, "sidecar"),
    "the settings": ("dish-07_20261102T030000Z.png", {"pixel_size_um": 1.25}, "source"),
    "nothing": ("dish-07_20261102T030000Z.png", {}, None),
}
SIDE_CAR = (
    '<m xmlns:bts="http://www.yokogawa.co.jp/BTS/BTSSchema/1.0">'
    '<bts:MeasurementChannel bts:HorizontalPixelDimension="1.5"/></m>'
)


@pytest.mark.parametrize("case", KNOWN_BY)
def test_segment_says_what_the_daemons_worker_says(case, grey, tmp_path):
    """To the last digit, whatever the pixel size is known by: it is one measuring."""
    name, unlisted, size_from = KNOWN_BY[case]
    image = write(tmp_path / name, grey)
    (tmp_path / "MeasurementDetail.mrf").write_text(SIDE_CAR)
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"unlisted": unlisted, "compute": {"threads": 1}}))
    answer = call("segment", image, "--out", tmp_path / "out", "--config", config, "--json")
    assert answer.code == DONE, answer.err
    found = answer.document

    settings = UnlistedSettings(**unlisted)
    named = name_capture(image, settings.names, settings.zone, settings.start)
    request = FieldRequest(image, hash_file(image), named, settings, "5" * 64, tmp_path / "state")
    measured = measure(load_segmenter("starter", 1), request)
    size = measured.pixel_size
    assert found["pixel_size_from"] == size.source == size_from
    assert found["pixel_size_um"] == size.known_um
    assert found["assumed_pixel_size_um"] == size.assumed_um
    assert found["areas_px"] == {
        "background": measured.areas.background_px,
        "undifferentiated": measured.areas.undifferentiated_px,
        "differentiated": measured.areas.differentiated_px,
    }
    assert [(one["area_px"], one["centroid_row_column"]) for one in found["colony_list"]] == [
        (one.area_px, list(one.centroid)) for one in measured.colonies
    ]
    assert found["differentiated_regions"] == len(measured.regions)
    assert found["uncertainty"] == measured.uncertainty
    doubt = measured.doubt
    assert found["doubts"] == [*measured.doubts, *doubt.reasons]
    assert found["in_doubt"] == bool(found["doubts"])
    assert found["differentiated_interval"] == (doubt.interval and list(doubt.interval))
    assert found["interval_calibrated"] == doubt.calibrated
    assert found["image_kind"] == doubt.kind
    labels, theirs = (
        cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        for path in (found["labels"], tmp_path / "state" / str(measured.label_map))
    )
    np.testing.assert_array_equal(labels, theirs)


def test_an_image_without_pixel_size_says_so_and_gives_no_um(grey, tmp_path):
    image = write(tmp_path / "plain.png", grey)
    answer = call("segment", image, "--out", tmp_path)
    assert answer.code == DONE
    assert "no pixel size in the file or its name" in answer.err
    assert "--pixel-size-um" in answer.err
    assert " px" in answer.out
    assert " mm2" not in answer.out


def test_a_name_with_brackets_spaces_and_accents_is_no_fault(grey, tmp_path):
    image = write(tmp_path / "plain.png", grey).rename(tmp_path / "Würfel [red] 1%.png")
    answer = call("segment", image, "--out", tmp_path / "result")
    assert answer.code == DONE, answer.err
    assert image.name in answer.out
    assert (tmp_path / "result" / "Würfel [red] 1%_labels.png").is_file()


# --- what cannot be judged -------------------------------------------------------------------

BAD_IMAGES = {
    "text": (b"hello\n", "is not a TIFF, PNG or JPEG"),
    "empty": (b"", "is empty"),
    "only a head": (b"II*\0\x08\0\0\0", "image directory"),
    "half a PNG": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", ""),
}


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_a_file_that_is_no_image_is_one_clear_line(kind, tmp_path):
    content, said = BAD_IMAGES[kind]
    image = tmp_path / "field.tif"
    image.write_bytes(content)
    answer = call("segment", image, "--out", tmp_path / "result")
    assert (answer.code, answer.out) == (FAILED, "")
    assert answer.err.startswith("error: field.tif: ")
    assert said in answer.err
    assert len(answer.err.splitlines()) == 1
    assert not (tmp_path / "result").exists()


def test_a_truncated_image_is_refused(captures, tmp_path):
    whole = next(captures.iterdir()).read_bytes()
    image = tmp_path / "half.tif"
    image.write_bytes(whole[: len(whole) // 2])
    answer = call("segment", image, "--out", tmp_path)
    assert answer.code == FAILED
    assert "half.tif: should have" in answer.err


@pytest.mark.parametrize(
    "image",
    [
        np.full((1, 1), 98, np.uint8),
        np.full((300, 300), 90, np.uint8),
        np.full((300, 300), np.nan, np.float32),
    ],
    ids=["one pixel", "blank", "no numbers"],
)
def test_a_picture_without_anything_in_it_gives_no_number(image, tmp_path):
    path = write(tmp_path / "field.tif", image)
    answer = call("segment", path, "--out", tmp_path / "result")
    assert (answer.code, answer.out) == (FAILED, "")
    assert "field.tif: " in answer.err


def test_a_missing_image_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "missing.tif", tmp_path):
        answer = call("segment", path, "--out", tmp_path / "result")
        assert answer.code == FAILED
        assert path.name in answer.err


def test_an_image_that_may_not_be_read_is_said(grey, tmp_path):
    before = as_ordinary_user()
    if before is None:
        pytest.skip("setpriv is not installed: root may read everything")
    image = write(tmp_path / "field.tif", grey)
    image.chmod(0)
    answer = spawn("segment", image, "--out", tmp_path / "result", before=before)
    assert answer.code == FAILED
    assert "field.tif: may not be read" in answer.err


def test_a_result_folder_that_is_a_file_is_refused(grey, tmp_path):
    image = write(tmp_path / "field.tif", grey)
    answer = call("segment", image, "--out", image)
    assert answer.code == MISUSED
    assert "--out needs a folder" in answer.err
    assert tifffile.imread(image).shape == (ROWS, COLUMNS)


def test_a_result_folder_that_cannot_be_made_is_said(grey, tmp_path):
    image = write(tmp_path / "field.tif", grey)
    answer = call("segment", image, "--out", image / "result")
    assert answer.code == FAILED
    assert "cannot be written to" in answer.err
    assert "--out DIR" in answer.err


# --- the model -------------------------------------------------------------------------------


def test_a_model_folder_that_is_not_there_is_said(grey, tmp_path):
    image = write(tmp_path / "field.tif", grey)
    answer = call("segment", image, "--out", tmp_path, "--model", tmp_path / "nowhere")
    assert answer.code == FAILED
    assert "manifest.json: cannot be read" in answer.err


def test_a_model_with_one_wrong_byte_is_refused_everywhere(grey, captures, tmp_path):
    model = tmp_path / "damaged"
    with resources.as_file(resources.files("model") / "weights" / "starter") as starter:
        shutil.copytree(starter, model)
    weights = model / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    image = write(tmp_path / "field.tif", grey)
    config = tmp_path / "config.yaml"
    config.write_text("segmentation: {model: damaged}\ncompute: {threads: 1}\n")
    segmented = call("segment", image, "--out", tmp_path / "result", "--model", model)
    verified = call("models", "verify", "--model", model)
    words = ("process", captures, "--config", config, "--state", tmp_path / "state")
    for answer in (segmented, verified, spawn(*words)):
        assert answer.code == FAILED
        assert "weights.safetensors: hash " in answer.err
        assert "Traceback" not in answer.err
    after = call("status", "--json", "--state", tmp_path / "state").document
    assert after["captures"] == {"recorded": 0, "unreadable": 0, "waiting": 2}
