"""Files of other channels and heights: no captures of ours, and said so."""

from __future__ import annotations

import json
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from monitor.__main__ import app
from monitor.config import Config, SourceConfig, UnlistedSettings
from monitor.culture import CaptureState, FieldMeasurement
from monitor.errors import LeftOutError
from monitor.pipeline import Pipeline
from monitor.segmentation.request import FieldRequest
from tests.monitor.capture.corpus import tiff
from tests.monitor.facts import NOW, measurement


class Worker:
    """Measures everything at once."""

    def submit(self, request: FieldRequest) -> Future[FieldMeasurement]:
        future: Future[FieldMeasurement] = Future()
        future.set_result(measurement())
        return future

    def died_with(self, future: Future[FieldMeasurement], request_sha256: str) -> bool:
        return False


def line(store, folder: Path, **settings: object) -> Pipeline:
    source = SourceConfig(name="incubator", path=folder, **settings)
    config = Config(sources=(source,))
    return Pipeline(config, store, Worker(), owner="me", clock=lambda: NOW)


def field(folder: Path, channel: int, plane: int = 1) -> Path:
    path = folder / f"p7_A01_T0001F001L01A01Z{plane:02}C{channel:02}.tif"
    path.write_bytes(tiff() + bytes([channel, plane]))
    return path


@pytest.mark.parametrize(
    ("settings", "ours"),
    [
        ({}, {(1, 1)}),
        ({"channel": "2"}, {(2, 1)}),
        ({"channel": "C01", "plane": 2}, {(1, 2)}),
    ],
)
def test_only_the_configured_channel_and_height_are_ours(store, tmp_path, settings, ours):
    pipeline = line(store, tmp_path, **settings)
    found = {
        (channel, plane)
        for channel in (1, 2)
        for plane in (1, 2)
        if pipeline.left_out(field(tmp_path, channel, plane), "incubator") is None
    }
    assert found == ours


def test_a_capture_taken_in_before_the_setting_changed_is_no_number(store, tmp_path):
    path = field(tmp_path, 2)
    before = line(store, tmp_path)
    taken = before.take_in(path, "incubator")
    assert taken is not None
    after = line(store, tmp_path, channel="1")
    assert after.start_due(5) == []
    assert store.captures.find([taken[1].id]) == []
    assert list(after.left_out_late) == [(path, "incubator", "channel C02")]
    again = line(store, tmp_path, channel="2")
    assert again.take_in(path, "incubator") is not None
    assert len(again.start_due(5)) == 1, "the setting takes effect without anything to undo"


class Sees:
    """A worker to whom every file says that it is fluorescence."""

    def submit(self, request: FieldRequest) -> Future[FieldMeasurement]:
        future: Future[FieldMeasurement] = Future()
        future.set_exception(LeftOutError("is of channel DAPI", "channel DAPI"))
        return future

    def died_with(self, future: Future[FieldMeasurement], request_sha256: str) -> bool:
        return False


def test_what_the_worker_leaves_out_is_neither_unreadable_nor_on_record(store, tmp_path):
    """Formats that only the worker opens say their channel late. Copies of it go as well."""
    paths = [tmp_path / folder / "d_20261129_0300.tif" for folder in ("a", "b")]
    source = SourceConfig(name="incubator", path=tmp_path)
    pipeline = Pipeline(Config(sources=(source,)), store, Sees(), owner="me", clock=lambda: NOW)
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(tiff())
        taken = pipeline.take_in(path, "incubator")
    (work,) = pipeline.start_due(5)
    assert pipeline.finish(work) is None
    assert taken is not None and store.captures.find([taken[1].id]) == []
    assert store.captures.counts() == {"recorded": 0, "unreadable": 0, "waiting": 0}
    assert store.captures.known_among(paths) == {}
    assert sorted(pipeline.left_out_late) == [(p, "incubator", "channel DAPI") for p in paths]


def test_a_better_channel_that_came_before_its_turn_is_taken_in_its_place(store, tmp_path):
    """Of w2 alone w2 is looked at; w1 comes while it waits, and never shares its field with it."""
    second, first = (tmp_path / f"e_B02_s1_w{number}.tif" for number in (2, 1))
    pipeline = line(store, tmp_path)
    second.write_bytes(tiff() + b"2")
    assert pipeline.left_out(second, "incubator") is None
    assert pipeline.take_in(second, "incubator") is not None
    first.write_bytes(tiff() + b"1")
    assert pipeline.left_out(first, "incubator") is None
    assert pipeline.take_in(first, "incubator") is not None
    (work,) = pipeline.start_due(5)
    assert work.capture.path == first
    assert list(pipeline.left_out_late) == [(second, "incubator", "channel w2 (light not known)")]


def test_a_name_that_cannot_be_read_is_taken_in_and_gets_its_reason(store, tmp_path):
    """Nothing is left out only because it is not understood."""
    path = tmp_path / "holiday.tif"
    path.write_bytes(tiff())
    assert line(store, tmp_path, channel="1").left_out(path, "incubator") is None


def test_process_counts_what_it_leaves_out(tmp_path):
    folder = tmp_path / "plate" / "2611" / "02" / "0300" / "7"
    folder.mkdir(parents=True)
    for name in ("A1-1-C1.tif", "A1-1-C2.tif", "A2-1-C1.tif"):
        (folder / name).write_bytes(tiff() + name.encode())
    config = tmp_path / "config.yaml"
    config.write_text("unlisted: {names: auto}\n")
    words = ["process", str(folder), "--config", str(config), "--state", str(tmp_path / "state")]
    answer = CliRunner().invoke(app, [*words, "--json"])
    assert answer.exit_code == 1, "a source of which all is left out is no success"
    document = json.loads(answer.stdout)
    assert document["left_out"] == 3
    assert document["left_out_of"] == {"channel C1": 2, "channel C2": 1}
    assert document["recorded"] == document["unreadable"] == document["waiting"] == 0
    assert "2 of channel C1" in CliRunner().invoke(app, words).output


def test_name_test_says_which_preset_fits_a_folder(tmp_path):
    for well in ("A1", "A2"):
        (tmp_path / f"VID_{well}_1_00d04h00m.tif").write_bytes(b"x")
    (tmp_path / "notes.png").write_bytes(b"x")
    (tmp_path / "VID_A1_1_thumb.tif").write_bytes(b"x")
    config = tmp_path / "config.yaml"
    config.write_text("unlisted: {experiment_start: '2026-11-02 03:00', timezone: Asia/Tokyo}\n")
    words = ["name-test", str(tmp_path), "--config", str(config), "--json"]
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == 1, "one name is not understood"
    (row,) = json.loads(answer.stdout)
    assert (row["preset"], row["fits"], row["captures"]) == ("incucyte-elapsed", 2, 3)
    assert row["first_dishes"] == ["VID/A1", "VID/A2"]
    assert row["not_understood"] == 1
    words[1] = "VID_A1_1_00d04h00m.tif"
    (row,) = json.loads(CliRunner().invoke(app, words).stdout)
    assert datetime.fromisoformat(row["acquired_at"]).isoformat() == "2026-11-01T22:00:00+00:00"


def test_unlisted_settings_have_the_start_too():
    assert UnlistedSettings(experiment_start="2026-11-02 03:00").start is not None


def test_what_was_measured_and_is_left_out_since_is_no_number_any_more(store, tmp_path):
    """The setting was changed, or a sidecar that came late says that it is fluorescence."""
    path = field(tmp_path, 1)
    before = line(store, tmp_path)
    taken = before.take_in(path, "incubator")
    assert taken is not None
    (work,) = before.start_due(5)
    scan = before.finish(work)
    assert scan is not None and before.read_scan(scan) is not None
    assert len(store.dishes.history("p7/A1")) == 1
    after = line(store, tmp_path, channel="2")
    after.take_over(store.again.claim({taken[1].id}, "me"))
    assert after.start_due(5, only=()) == []
    (capture,) = store.captures.find([taken[1].id])
    assert (capture.state, capture.reason) == (CaptureState.UNREADABLE, "left-out")
    assert "channel C01" in (capture.message or "")
    assert store.dishes.history("p7/A1") == []
