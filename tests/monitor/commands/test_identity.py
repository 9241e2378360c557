"""Which dish and field a file is of, as a person sees it who processes folders."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import yaml

from model.simulation.fields import simulate_field
from monitor.culture import DoubtReason
from tests.monitor.commands.calls import BAD_CONFIG, DONE, MISUSED, call, spawn


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two different pictures."""
    folder = tmp_path_factory.mktemp("fields")
    paths = [folder / f"{number}.tif" for number in range(2)]
    for path, seed in zip(paths, (10, 24), strict=True):
        picture = simulate_field(seed, shape=(256, 256), pixel_size_um=2.0, modality="phase")
        tifffile.imwrite(path, picture.image, metadata=None)
    return paths


def of_quality(reading: dict[str, object]) -> list[str]:
    """What speaks against the images themselves, and not against the model that reads them."""
    doubts = reading["doubts"]
    assert isinstance(doubts, list)
    return [one for one in doubts if one not in set(DoubtReason)]


def put(source: Path, path: Path, *, mtime_s: int | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, path)
    if mtime_s is not None:
        os.utime(path, (mtime_s, mtime_s))
    return path


def config_of(folder: Path, **sources: Path) -> Path:
    path = folder / f"{'-'.join(sources)}.yaml"
    listed = [{"name": name, "path": str(where)} for name, where in sources.items()]
    path.write_text(yaml.safe_dump({"sources": listed, "compute": {"threads": 1}}))
    return path


def dishes(state: Path) -> dict[str, dict]:
    found = call("dishes", "--json", "--state", state).document
    return {one["dish"]: one for one in found}


def alerts(state: Path) -> list[tuple[str, str]]:
    found = call("alerts", "list", "--json", "--state", state).document
    return [(one["topic"], one["kind"]) for one in found]


def troubled(state: Path) -> dict[str, str]:
    found = call("status", "--json", "--state", state).document
    return {Path(one["file"]).name: one["reason"] for one in found["troubled"]}


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_one_dish_name_in_two_sources_is_two_dishes(fields, tmp_path, order):
    name = "dish-07_20261129T030000Z_f1.tif"
    folders = {source: tmp_path / source for source in "ab"}
    for source, field in zip("ab", fields, strict=True):
        put(field, folders[source] / name)
    config, state = config_of(tmp_path, **folders), tmp_path / "state"
    for source in order:
        answer = spawn("process", folders[source], "--config", config, "--state", state)
        assert answer.code == DONE, answer.err
    assert sorted(dishes(state)) == ["a:dish-07", "b:dish-07"]
    for source in "ab":
        history = call("history", f"{source}:dish-07", "--format", "json", "--state", state)
        (reading,) = history.document["readings"]
        assert reading["captures"] == 1
    answer = call("history", "dish-07", "--state", state)
    assert answer.code == MISUSED
    assert "use a:dish-07 or b:dish-07" in answer.err


@pytest.mark.parametrize("new_bytes", [False, True])
def test_one_frame_for_three_wells_is_read_for_none_and_alerted(fields, tmp_path, new_bytes):
    """A camera that is stuck. Also where each file has bytes of its own."""
    pixels = tifffile.imread(fields[0])
    for number in (1, 2, 3):
        path = tmp_path / "in" / f"plate-A{number}_20261129T03000{number}Z_f1.tif"
        put(fields[0], path)
        if new_bytes:
            tifffile.imwrite(path, pixels, description=f"A{number}", metadata=None)
    state = tmp_path / "state"
    spawn("process", tmp_path / "in", "--state", state)
    wells = [f"plate-A{number}" for number in (1, 2, 3)]
    assert {name: one["scans"] for name, one in dishes(state).items()} == dict.fromkeys(wells, 0)
    assert set(troubled(state).values()) == {"equal-pictures"}
    assert alerts(state) == [("equal-pictures", "raised")]
    (mail,) = (state / "mailbox").glob("*.eml")
    text = mail.read_text()
    assert "equal images" in text.lower()
    assert all(well in text for well in wells)


TWO_FILES = {
    "JPEG": lambda picture, path: cv2.imwrite(f"{path}.jpg", picture),
    "PNG": lambda picture, path: cv2.imwrite(f"{path}.png", picture),
    "plain TIFF": lambda picture, path: tifffile.imwrite(f"{path}.tiff", picture),
}


@pytest.mark.parametrize("case", TWO_FILES)
def test_one_picture_in_two_formats_counts_once_and_the_other_is_said(fields, tmp_path, case):
    stem = "dish-07_20261129T030000Z"
    put(fields[0], tmp_path / "in" / f"{stem}.ome.tif")
    picture = tifffile.imread(fields[0])
    if picture.dtype != np.uint8:
        picture = (picture / 257).astype(np.uint8) if case == "JPEG" else picture
    TWO_FILES[case](picture, tmp_path / "in" / stem)
    state = tmp_path / "state"
    answer = spawn("process", tmp_path / "in", "--state", state, "--json")
    assert answer.code == DONE
    assert (answer.document["recorded"], answer.document["left_out"]) == (1, 1)
    (said,) = answer.document["not_recorded"]
    assert f"{stem}.ome.tif counts for its field" in said["message"]
    history = call("history", "dish-07", "--format", "json", "--state", state).document
    (reading,) = history["readings"]
    assert (reading["captures"], of_quality(reading)) == (1, [])


@pytest.mark.parametrize("order", [("x", "y"), ("y", "x"), ("x y",)])
def test_two_pictures_of_one_field_are_doubtful_whatever_came_first(fields, tmp_path, order):
    """One by one in either order, and in one call."""
    name = "dish-07_20261129T030000Z_f1.tif"
    for folder, field in zip("xy", fields, strict=True):
        put(field, tmp_path / folder / name)
    state = tmp_path / "state"
    for folders in order:
        spawn("process", *(tmp_path / one for one in folders.split()), "--state", state)
    history = call("history", "dish-07", "--format", "json", "--state", state).document
    (reading,) = history["readings"]
    assert (reading["captures"], of_quality(reading)) == (1, ["field-filled-twice"])
    found = call("status", "--json", "--state", state).document["troubled"]
    assert [(Path(one["file"]).parent.name, one["reason"]) for one in found] == [
        ("y", "field-twice")
    ]


def test_labels_written_into_a_zarr_later_make_no_second_scan(fields, tmp_path):
    zarr = pytest.importorskip("zarr")
    pixels = tifffile.imread(fields[0])
    folder = tmp_path / "in" / "dish-07" / "a.zarr"
    group = zarr.open_group(folder, mode="w", zarr_format=2)
    array = group.create_array("0", shape=pixels.shape, chunks=(128, 128), dtype=pixels.dtype)
    array[:] = pixels
    axes = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "yx"]
    scale = {"type": "scale", "scale": [2.0, 2.0]}
    datasets = [{"path": "0", "coordinateTransformations": [scale]}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"unlisted": {"names": "dish-folder"}}))
    state = tmp_path / "state"
    options = ("--config", config, "--state", state, "--json")
    assert spawn("process", tmp_path / "in", *options).document["recorded"] == 1
    shutil.copytree(folder / "0", folder / "labels" / "cells" / "0")
    (folder / "labels" / ".zattrs").write_text(json.dumps({"labels": ["cells"]}))
    again = spawn("process", tmp_path / "in", *options).document
    assert (again["recorded"], again["known"]) == (0, 1)
    assert [one["scans"] for one in dishes(state).values()] == [1]


def test_a_source_with_a_new_name_keeps_its_dishes(fields, tmp_path):
    folder, state = tmp_path / "in", tmp_path / "state"
    for hour, field in enumerate(fields):
        put(field, folder / f"dish-07_20261129T0{hour}0000Z_f1.tif")
    old, new = config_of(tmp_path, old=folder), config_of(tmp_path, new=folder)
    spawn("process", folder, "--config", old, "--state", state)
    said = call("check-config", "--config", new, "--state", state)
    assert "source old is now called new (the same folder); 1 dish of it goes on" in said.err
    put(fields[0], folder / "dish-07_20261129T060000Z_f1.tif")
    answer = spawn("process", folder, "--config", new, "--state", state, "--json")
    assert (answer.document["known"], answer.document["recorded"]) == (2, 1)
    assert {name: (one["scans"], one["source"]) for name, one in dishes(state).items()} == {
        "dish-07": (3, "new")
    }


def test_a_source_that_is_gone_from_the_configuration_is_said(fields, tmp_path):
    folder, state = tmp_path / "in", tmp_path / "state"
    put(fields[0], folder / "dish-07_20261129T030000Z_f1.tif")
    spawn("process", folder, "--config", config_of(tmp_path, old=folder), "--state", state)
    (tmp_path / "other").mkdir()
    new = config_of(tmp_path, new=tmp_path / "other")
    said = call("check-config", "--config", new, "--state", state)
    assert said.code == DONE
    assert "add formerly: [old]" in said.err


REFUSED = {
    "two sources in one folder": ([("a", "x", []), ("b", "x", [])], "two sources have the folder"),
    "a former name in use": ([("a", "x", ["b"]), ("b", "y", [])], "'b' is a source's present name"),
    "one former name twice": ([("a", "x", ["o"]), ("b", "y", ["o"])], "of another source, too"),
    "the name of no source": ([("unlisted", "x", [])], "what belongs to no source"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_sources_that_cannot_be_told_apart_are_refused(tmp_path, case):
    sources, text = REFUSED[case]
    path = tmp_path / "config.yaml"
    listed = [
        {"name": name, "path": str(tmp_path / where), "formerly": formerly}
        for name, where, formerly in sources
    ]
    path.write_text(yaml.safe_dump({"sources": listed}))
    answer = call("check-config", "--config", path)
    assert answer.code == BAD_CONFIG
    assert text in answer.err
