"""`reprocess`: after another model, tool, limit or pixel size."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import update

from model.checkpoint import load_model, save_model
from model.predict import STARTER
from monitor.record.store import Store
from monitor.record.tables import CaptureRow, DishRow
from tests.monitor.commands.calls import DONE, FAILED, MISUSED, call, spawn


@pytest.fixture(scope="session")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starter with one threshold moved a little: another model, as good as the first."""
    folder = tmp_path_factory.mktemp("models") / "line-7"
    model = load_model(STARTER)
    manifest = replace(model.manifest, name="line-7", temperature=model.manifest.temperature * 1.01)
    save_model(folder, replace(model, manifest=manifest), "# line 7\n")
    return folder


def readings(state: Path) -> list[dict[str, Any]]:
    document = call("history", "dish-07", "--format", "json", "--state", state).document
    return list(document["readings"])


def changed(config: Path, target: Path, **sections: Any) -> Path:
    settings = yaml.safe_load(config.read_text())
    for name, values in sections.items():
        settings[name] = settings.get(name, {}) | values
    target.write_text(yaml.safe_dump(settings))
    return target


def test_by_another_model_every_reading_is_that_models(config, state, other_model):
    before = readings(state)
    answer = spawn("reprocess", "--model", other_model, "--config", config, "--state", state)
    assert answer.code == DONE, answer.err
    assert "2 measured again by line-7, 0 could not be" in answer.out
    after = readings(state)
    assert len(after) == len(before)
    assert {one["model_sha256"] for one in after}.isdisjoint(one["model_sha256"] for one in before)
    again = spawn("reprocess", "--model", other_model, "--config", config, "--state", state)
    (told,) = call("audit", "list", "--state", state, "--json").document["entries"][-1:]
    assert (told["what"], told["about"]) == ("captures measured again", "all dishes")
    assert (told["after"]["model"], told["after"]["captures"]) == ("line-7", 2)
    assert again.code == DONE
    assert "nothing to measure again: all 2 recorded captures" in again.out


SETTINGS = {
    "another tool": {
        "decisions": {"removal": {"tools": {"spot": {"kind": "laser", "diameter_um": 9.0}}}}
    },
    "another limit of regions": {"decisions": {"removal": {"min_region_um2": 2.0}}},
    "another pixel size": {"unlisted": {"pixel_size_um": 1.9}},
    "another channel": {"unlisted": {"channel": "BF"}},
}


@pytest.mark.parametrize("case", SETTINGS)
def test_after_another_setting_what_is_recorded_is_measured_again(config, state, tmp_path, case):
    """It said "0 recorded", and the plans went on without the new tool."""
    settings = changed(config, tmp_path / "config.yaml", **SETTINGS[case])
    answer = spawn("reprocess", "--config", settings, "--state", state, "--json")
    assert answer.code == DONE, answer.err
    assert (answer.document["recorded"], answer.document["not_recorded"]) == (2, [])


def test_what_cannot_be_measured_again_is_said_and_keeps_its_reading(
    config, captures, state, other_model, tmp_path
):
    folder = Path(shutil.copytree(captures, tmp_path / "captures"))
    own = tmp_path / "own"
    assert spawn("process", folder, "--config", config, "--state", own).code == DONE
    before = readings(own)
    gone = sorted(folder.iterdir())[0]
    gone.unlink()
    answer = spawn("reprocess", "--model", other_model, "--config", config, "--state", own)
    assert answer.code == FAILED
    assert "1 measured again by line-7, 1 could not be" in answer.out
    assert (
        "not measured again, its previous reading stands" in answer.err and gone.name in answer.err
    )
    after = readings(own)
    assert len(after) == len(before)
    assert sum(one["model_sha256"] == before[0]["model_sha256"] for one in after) == 1


def test_a_model_that_is_none_is_refused_and_changes_nothing(config, state, tmp_path):
    before = readings(state)
    answer = spawn("reprocess", "--model", tmp_path, "--config", config, "--state", state)
    assert answer.code == FAILED
    assert "Traceback" not in answer.err and str(tmp_path) in answer.err
    assert readings(state) == before


def test_dishes_of_a_source_that_the_configuration_does_not_name_stay_as_they_are(
    config, state, other_model, tmp_path
):
    """A forgotten --config: the settings of another source would give other sizes."""
    # As if a daemon had watched the folder.
    url = f"sqlite:///{state / 'colonywatch.sqlite'}"
    with Store(url) as store, store.database.writing() as session:
        session.execute(update(DishRow).values(source="incubator"))
        session.execute(update(CaptureRow).values(source="incubator"))
    before = readings(state)
    for words in (["dish-07"], []):
        answer = call(
            "reprocess", *words, "--model", other_model, "--config", config, "--state", state
        )
        assert answer.code == MISUSED
        assert "not in this configuration: incubator; give the daemon's with --config" in answer.err
    assert readings(state) == before
