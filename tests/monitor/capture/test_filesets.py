"""Captures that are many files: OME-Zarr folders and OIF."""

from __future__ import annotations

import io
import os
import shutil
import threading
from datetime import UTC, datetime
from pathlib import Path, PurePath
from zoneinfo import ZoneInfo

import cv2
import numpy as np
import pytest
import tifffile

from monitor.capture import filesets
from monitor.capture.filesets import fileset_of, hash_file, look_at_file, read_file
from monitor.capture.formats.reading import read_picture
from monitor.capture.names.patterns import parse_name
from monitor.capture.watching import Watcher, list_captures
from monitor.config import SourceConfig
from monitor.errors import CaptureError
from monitor.jobs.take_in import look_at
from tests.monitor.capture.pictures import colonies

ZONE = ZoneInfo("Asia/Tokyo")
SHARP = colonies((96, 128))
DULL = cv2.GaussianBlur(SHARP, (0, 0), 3)
NAME = "dish-07_20261102T030000Z_f1"


def zarr_folder(path: Path, planes: np.ndarray, *, inner: str = "") -> Path:
    """(Z, Y, X) as a folder of chunks."""
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(path, mode="w", zarr_format=2)
    if inner:
        group.attrs["bioformats2raw.layout"] = 3
        group = group.create_group(inner)
    array = group.create_array("0", shape=planes.shape, chunks=(1, 48, 64), dtype=planes.dtype)
    array[:] = planes
    unit = {"type": "space", "unit": "micrometer"}
    scale = {"type": "scale", "scale": [2.0, 0.65, 0.65]}
    group.attrs["multiscales"] = [
        {
            "axes": [{"name": axis, **unit} for axis in "zyx"],
            "datasets": [{"path": "0", "coordinateTransformations": [scale]}],
        }
    ]
    return path


def oif(path: Path, planes: np.ndarray, *, declared: int | None = None) -> Path:
    """(Z, Y, X) as Olympus writes it: settings in UTF-16, and a TIFF a plane in a folder."""
    depth, rows, columns = planes.shape
    axes = {"X": columns, "Y": rows, "Z": declared or depth}
    lines = ["[ProfileSaveInfo]", 'Name="OIF"', 'Version="1.0.0.0"']
    lines += ["[Axis Parameter Common]", 'AxisOrder="XYZ"']
    for number in range(8):
        code = "XYZCTLPR"[number]
        lines += [f"[Axis {number} Parameters Common]", f'AxisCode="{code}"']
        lines += [f"MaxSize={axes.get(code, 0)}"]
    lines += ["[Reference Image Parameter]", "ValidBitCounts=8"]
    for side in ("Width", "Height"):
        lines += [f"{side}ConvertValue=0.65", f'{side}Unit="um"']
    lines += ["[Acquisition Parameters Common]", "ImageCaputreDate='2026-11-02 12:00:00'"]
    path.write_bytes(b"\xff\xfe" + "\r\n".join(lines).encode("utf-16-le"))
    folder = path.with_name(path.name + ".files")
    folder.mkdir()
    for z, plane in enumerate(planes, 1):
        tifffile.imwrite(folder / f"s_Z{z:03d}.tif", plane)
    (folder / "s_Z001.pty").write_text("[Axis]")
    return path


def test_a_folder_of_chunks_is_one_capture_and_gives_its_sharpest_plane(tmp_path):
    path = zarr_folder(tmp_path / f"{NAME}.ome.zarr", np.stack([DULL, SHARP]))
    (tmp_path / "other").mkdir()
    assert list(list_captures(tmp_path)) == [path]
    picture = read_picture(path, zone=ZONE)
    np.testing.assert_array_equal(picture.pixels, SHARP)
    assert (picture.pixel_size_um, picture.format) == (0.65, "OME-Zarr")
    assert parse_name(path, "auto", ZONE).dish == "dish-07"


def test_what_is_hashed_is_what_is_read_and_a_copy_is_the_same_capture(tmp_path):
    path = zarr_folder(tmp_path / "a.zarr", SHARP[None])
    copy = tmp_path / "b.zarr"
    shutil.copytree(path, copy)
    for file in copy.rglob("*"):
        os.utime(file, (1.0, 1.0))
    assert hash_file(path) == hash_file(copy)
    np.testing.assert_array_equal(read_picture(path, zone=ZONE, data=read_file(path)).pixels, SHARP)
    (copy / "0" / "0.0.0").write_bytes((copy / "0" / "0.0.1").read_bytes())
    assert hash_file(path) != hash_file(copy)


def test_one_picture_within_a_group_of_pictures_is_read(tmp_path):
    """As bioformats2raw writes it."""
    path = zarr_folder(tmp_path / "a.zarr", SHARP[None], inner="0")
    np.testing.assert_array_equal(read_picture(path, zone=ZONE).pixels, SHARP)


def test_a_folder_that_is_still_being_written_changes_and_is_no_picture(tmp_path):
    path = zarr_folder(tmp_path / "a.zarr", SHARP[None])
    chunk = path / "0" / "0.1.1"
    data = chunk.read_bytes()
    chunk.unlink()
    before = look_at_file(path)
    with pytest.raises(CaptureError) as refused:
        read_picture(path, zone=ZONE)
    assert refused.value.reason == "truncated"
    chunk.write_bytes(data)
    after = look_at_file(path)
    assert after.size == before.size + len(data)
    assert read_picture(path, zone=ZONE).pixels.shape == SHARP.shape


def test_a_link_or_a_pipe_within_a_folder_is_not_followed(tmp_path):
    path = zarr_folder(tmp_path / "a.zarr", SHARP[None])
    secret = tmp_path / "secret"
    secret.write_bytes(b"of somebody else")
    (path / "0" / "0.0.0").unlink()
    (path / "0" / "0.0.0").symlink_to(secret)
    seen = look_at(path, "incubator")
    assert seen is not None and seen.problem is not None
    assert (seen.problem[0], seen.sha256) == ("not-a-file", None)
    with pytest.raises(CaptureError):
        read_picture(path, zone=ZONE)


def test_too_many_parts_are_no_field_of_view(tmp_path, monkeypatch):
    monkeypatch.setattr(filesets, "MAX_FILES", 3)
    path = zarr_folder(tmp_path / "a.zarr", SHARP[None])
    seen = look_at(path, "incubator")
    assert seen is not None and seen.problem is not None and seen.problem[0] == "too-large"
    assert "more than 3 files" in seen.problem[1]


PARTS = {
    "a.zarr": "a.zarr",
    "plate/a.ome.zarr/0/0.0": "plate/a.ome.zarr",
    "a.zarr/labels/b.zarr/0": "a.zarr",
    "day/x.oif.files/s_C001.tif": "day/x.oif",
    "x.OIF.files": "x.OIF",
    "day/a.tif": None,
    "x.oif": None,
}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_tells_of_its_capture(name):
    found = fileset_of(PurePath(name))
    assert (None if found is None else found.as_posix()) == PARTS[name]


@pytest.mark.filterwarnings("ignore:Callback with id:RuntimeWarning")
def test_an_event_within_a_folder_tells_of_the_capture(tmp_path):
    source = SourceConfig(name="s", path=tmp_path, watch="events")
    heard, told = threading.Event(), set()

    def notice(path: Path) -> None:
        told.add(path.name)
        if {"a.zarr", "x.oif"} <= told:
            heard.set()

    watcher = Watcher(source, notice)
    watcher.start()
    try:
        zarr_folder(tmp_path / "a.zarr", SHARP[None])
        oif(tmp_path / "x.oif", SHARP[None])
        assert heard.wait(20), told
    finally:
        watcher.stop()
    assert told == {"a.zarr", "x.oif"}


def test_an_oif_gives_its_sharpest_plane_its_size_and_its_time(tmp_path):
    pytest.importorskip("oiffile")
    path = oif(tmp_path / "x.oif", np.stack([DULL, SHARP, DULL]))
    assert list(list_captures(tmp_path)) == [path]
    picture = read_picture(path, zone=ZONE)
    np.testing.assert_array_equal(picture.pixels, SHARP)
    assert (picture.pixel_size_um, picture.format) == (0.65, "Olympus OIF")
    assert picture.acquired_at == datetime(2026, 11, 2, 3, 0, tzinfo=UTC)


def test_an_oif_whose_planes_are_not_all_there_is_no_picture(tmp_path):
    pytest.importorskip("oiffile")
    short = oif(tmp_path / "short.oif", np.stack([DULL, SHARP]), declared=3)
    alone = oif(tmp_path / "alone.oif", SHARP[None])
    shutil.rmtree(tmp_path / "alone.oif.files")
    cut = oif(tmp_path / "cut.oif", SHARP[None])
    plane = tmp_path / "cut.oif.files" / "s_Z001.tif"
    plane.write_bytes(plane.read_bytes()[:-2000])
    for path in (short, alone, cut):
        with pytest.raises(CaptureError) as refused:
            read_picture(path, zone=ZONE)
        assert refused.value.reason in {"truncated", "corrupt"}, path
    assert io.BytesIO(read_file(cut)).read(2) == b"PK"


def labels_in(folder: Path) -> None:
    shutil.copytree(folder / "0", folder / "labels" / "cells" / "0")
    (folder / "labels" / ".zattrs").write_text('{"labels": ["cells"]}')


WRITTEN_LATER = {
    "labels": labels_in,
    "tables": lambda folder: shutil.copytree(folder / "0", folder / "tables" / "wells"),
    "a preview": lambda folder: (folder / "thumbnail.png").write_bytes(b"x"),
    "all metadata once more": lambda folder: (folder / ".zmetadata").write_text("{}"),
    "what a file manager leaves": lambda folder: (folder / ".DS_Store").write_bytes(b"x"),
    "nothing": lambda folder: None,
}


@pytest.mark.parametrize("case", WRITTEN_LATER)
def test_what_is_written_about_a_picture_later_makes_no_other_picture_of_it(tmp_path, case):
    """Without a time in its name it would else be a second scan of the same pixels."""
    folder = zarr_folder(tmp_path / f"{NAME}.zarr", SHARP[None])
    before = look_at_file(folder), hash_file(folder), read_file(folder)
    WRITTEN_LATER[case](folder)
    os.utime(folder)
    assert (look_at_file(folder), hash_file(folder), read_file(folder)) == before


def test_metadata_that_is_gathered_later_is_no_other_picture_and_no_later_time(tmp_path):
    """Zarr 3 writes the copies of all metadata into the file that has the picture's own."""
    folder = tmp_path / f"{NAME}.zarr"
    folder.mkdir()
    own = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"version": "0.5"}}}
    (folder / "c").mkdir()
    (folder / "c" / "0").write_bytes(b"pixels")
    os.utime(folder / "c" / "0", (1000, 1000))
    gathered = {"kind": "inline", "metadata": {"labels/cells": {}}}
    hashes = set()
    for more in ({}, {"consolidated_metadata": None}, {"consolidated_metadata": gathered}):
        (folder / "zarr.json").write_text(filesets.json.dumps(own | more))
        hashes.add(hash_file(folder))
        assert filesets.written_ns(folder, look_at_file(folder)) == 1000 * 10**9
    assert len(hashes) == 1
    (folder / "zarr.json").write_text(filesets.json.dumps(own | {"attributes": {}}))
    assert hash_file(folder) not in hashes


def test_a_picture_whose_pixels_change_is_another_picture(tmp_path):
    folder = zarr_folder(tmp_path / f"{NAME}.zarr", SHARP[None])
    before = hash_file(folder)
    zarr_folder(folder, DULL[None])
    assert hash_file(folder) != before
