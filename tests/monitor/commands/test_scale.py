"""Captures without a pixel size: one scale for a source, asked for, shown, and set by a person."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.simulation.fields import simulate_field
from monitor.record.store import Store
from tests.monitor.commands.calls import DONE, FAILED, MISUSED, Answer, call, spawn
from tests.monitor.facts import measure, measurement, place, read

# Each for itself would be taken for another scale: these are of three.
SIZES_UM = {"A": 1.2, "B": 2.0, "C": 3.0}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three dishes at 200 x 200 pixels that say no pixel size. Not to be written into."""
    folder = tmp_path_factory.mktemp("unsized")
    for number, (dish, um) in enumerate(SIZES_UM.items()):
        field = simulate_field(10 + number, shape=(200, 200), pixel_size_um=um, modality="phase")
        grey = field.image.astype(np.float64)
        grey = ((grey - grey.min()) / np.ptp(grey) * 255).astype(np.uint8)
        assert cv2.imwrite(str(folder / f"dish-{dish}_20261102T030000Z_f1.png"), grey)
    return folder


@pytest.fixture(scope="module")
def config(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab")
    path = folder / "config.yaml"
    source = {"name": "lab", "path": str(pictures)}
    path.write_text(
        json.dumps(
            {
                "sources": [source],
                "record": {"folder": str(folder / "state")},
                "compute": {"threads": 1},
            }
        )
    )
    return path


@pytest.fixture(scope="module")
def processed(pictures: Path, config: Path) -> Answer:
    answer = spawn("process", pictures, "--config", config, "--json")
    assert answer.code == DONE, answer.err
    return answer


def scales(config: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = call("scale", "--json", "--config", config).document["scales"]
    return found


def readings(config: Path, dish: str) -> list[dict[str, object]]:
    answer = call("history", dish, "--format", "json", "--config", config)
    found: list[dict[str, object]] = answer.document["readings"]
    return found


def test_all_captures_of_a_source_are_read_at_one_scale(processed, config):
    assert processed.document["recorded"] == len(SIZES_UM)
    (scale,) = scales(config)
    assert (scale["source"], scale["shape"], scale["state"]) == ("lab", [200, 200], "open")
    assert (scale["images"], scale["dishes"], scale["not_measured_again"]) == (3, 3, 0)
    newest = [readings(config, f"dish-{dish}")[-1] for dish in SIZES_UM]
    assert {one["assumed_pixel_size_um"] for one in newest} == {scale["um_per_pixel"]}
    assert {one["pixel_size_um"] for one in newest} == {None}
    assert {one["differentiated_um2"] for one in newest} == {None}


def test_doctor_asks_for_the_pixel_size_and_says_what_is_assumed(processed, config):
    found = call("doctor", "--json", "--config", config).document
    (asked,) = [one for one in found if "without a pixel size" in one["text"]]
    assert (asked["what"], asked["ok"]) == ("source lab", None)
    assert "estimated from 3 images of 3 dishes" in asked["text"]
    assert "sources[0].pixel_size_um" in asked["text"]


def test_history_says_that_it_is_assumed(processed, config):
    answer = call("history", "dish-A", "--config", config)
    assert "um/px assumed" in answer.err


def test_what_a_person_sets_holds_for_what_is_on_record_too(processed, config, pictures):
    answer = call("scale", "lab", "--um", "1.5", "--who", "Rin", "--config", config)
    assert answer.code == DONE, answer.err
    assert "3 captures wait to be measured again" in answer.err
    assert spawn("process", pictures, "--config", config).code == DONE
    for dish in SIZES_UM:
        newest = readings(config, f"dish-{dish}")[-1]
        assert newest["assumed_pixel_size_um"] == 1.5
    (scale,) = scales(config)
    assert (scale["state"], scale["set_by"], scale["um_per_pixel"]) == ("set", "Rin", 1.5)
    assert "set by Rin" in call("scale", "--config", config).out


def test_doctor_asks_before_anything_is_on_record(pictures, tmp_path):
    config = tmp_path / "config.yaml"
    source = {"name": "lab", "path": str(pictures)}
    config.write_text(json.dumps({"sources": [source], "record": {"folder": "state"}}))
    found = call("doctor", "--json", "--config", config).document
    (asked,) = [one for one in found if "says no pixel size" in one["text"]]
    assert "sources[0].pixel_size_um" in asked["text"]
    config.write_text(json.dumps({"sources": [source | {"pixel_size_um": 2.0}]}))
    found = call("doctor", "--json", "--config", config, "--state", tmp_path / "other").document
    assert not [one for one in found if "no pixel size" in one["text"]]


WRONG = {
    # name: (words, what is said)
    "both": (("lab", "--um", "2", "--estimate"), "give one of them"),
    "no source": (("--um", "2"), "give the source"),
    "an unknown source": (("elsewhere", "--um", "2"), "no capture of this source"),
    "an unknown number": (("--number", "99", "--um", "2"), "there is no scale 99"),
    "which of two": (("lab", "--um", "2"), "choose one with --number"),
    "an absurd scale": (("lab", "--um", "-1"), "--um"),
}


@pytest.fixture
def two_scales(tmp_path) -> Path:
    """A record of a source with two setups."""
    from tests.monitor.jobs.test_settle_scales import at, saying

    state = tmp_path / "state"
    with Store(f"sqlite:///{state / 'colonywatch.sqlite'}") as store:
        for number, magnification in enumerate(("4x", "10x")):
            measured = at(3.0, saying(3.0), magnification=magnification)
            where = place(key=str(number), source="lab")
            read(store, measure(store, f"/in/{number}.png", where, measured))
    return state


@pytest.mark.parametrize("case", WRONG)
def test_a_scale_is_set_for_what_is_meant_alone(case, two_scales):
    words, says = WRONG[case]
    answer = call("scale", *words, "--state", two_scales)
    assert answer.code == MISUSED
    assert says in answer.err


def test_one_of_several_scales_is_set_by_its_number(two_scales):
    answer = call("scale", "--number", "2", "--um", "1.4", "--json", "--state", two_scales)
    (scale,) = answer.document["scales"]
    assert (scale["magnification"], scale["um_per_pixel"]) == ("10x", 1.4)
    anew = call("scale", "lab", "--number", "2", "--estimate", "--json", "--state", two_scales)
    assert anew.document["scales"][0]["state"] == "open"


def test_without_such_captures_there_is_nothing_to_list(tmp_path):
    state = tmp_path / "state"
    with Store(f"sqlite:///{state / 'colonywatch.sqlite'}") as store:
        read(store, measure(store, "/in/a.tif", place(), measurement()))
    answer = call("scale", "--state", state)
    assert (answer.code, "no capture without a pixel size" in answer.out) == (DONE, True)


# --- segment ------------------------------------------------------------------------------------


def test_images_that_are_segmented_together_are_read_at_one_scale(pictures, tmp_path):
    images = sorted(pictures.iterdir())
    answer = call("segment", *images, "--out", tmp_path / "out", "--json")
    assert answer.code == DONE, answer.err
    found = answer.document["images"]
    assert [Path(one["image"]).name for one in found] == [image.name for image in images]
    assert len({one["assumed_pixel_size_um"] for one in found}) == 1
    assert [one["assumed_from_images"] for one in found] == [3, 3, 3]
    assert answer.document["not_segmented"] == []
    assert len(list((tmp_path / "out").iterdir())) == 6


def test_one_bad_image_does_not_keep_the_others_from_being_segmented(pictures, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    image = sorted(pictures.iterdir())[0]
    answer = call("segment", bad, image, "--out", tmp_path / "out", "--json")
    assert answer.code == FAILED
    assert [one["image"] for one in answer.document["not_segmented"]] == [str(bad)]
    assert len(answer.document["images"]) == 1


def test_images_of_one_name_would_overwrite_each_other(pictures, tmp_path):
    image = sorted(pictures.iterdir())[0]
    answer = call("segment", image, image, "--out", tmp_path / "out")
    assert answer.code == MISUSED
    assert "would overwrite each other" in answer.err
