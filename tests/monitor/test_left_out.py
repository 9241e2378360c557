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
        ({}, {(1, 1), (2, 1)}),
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
    (capture,) = store.captures.find([taken[1].id])
    assert (capture.state, capture.reason) == (CaptureState.UNREADABLE, "left-out")
    assert "channel C02" in (capture.message or "")


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
    assert answer.exit_code == 0, answer.output
    document = json.loads(answer.stdout)
    assert document["left_out"] == 3
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
