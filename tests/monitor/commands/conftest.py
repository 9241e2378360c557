from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from model.simulation.fields import simulate_field
from model.simulation.incubator import write_capture
from tests.monitor.commands.calls import DONE, spawn

FIRST_SCAN = datetime(2026, 11, 2, 3, tzinfo=UTC)
# Fields of which about half of the cells are differentiated.
SEEDS = (210, 408)


@pytest.fixture(scope="session")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two scans of dish-07, six hours apart. To be copied, not written into."""
    folder = tmp_path_factory.mktemp("captures")
    for visit, seed in enumerate(SEEDS):
        at = FIRST_SCAN + timedelta(hours=6 * visit)
        stem = f"dish-07_{at:%Y%m%dT%H%M%S}Z_f1"
        write_capture(
            simulate_field(seed, shape=(256, 256), pixel_size_um=2.0, modality="phase"),
            folder / f"{stem}.ome.tif",
            acquired_at=at,
            stage_x_um=1000.0,
            stage_y_um=2000.0,
            name=stem,
        )
    return folder


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that alerts and plans at the least sign, so that no test hangs on the model's skill."""
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "unlisted": {"calibration": {"id": "bench"}},
                "decisions": {
                    "differentiation": {
                        "raise_above": 0.001,
                        "clear_below": 0.0005,
                        "scans_needed": 1,
                        "scans_considered": 1,
                    },
                    "removal": {
                        "min_region_um2": 1.0,
                        "min_probability": 0.0,
                        "max_uncertainty": 1.0,
                        "max_undifferentiated": 1.0,
                        "border_um": 0.0,
                        "safe_distance_um": 0.0,
                        "positional_error_um": 0.0,
                        "tools": {"spot": {"kind": "laser", "diameter_um": 8.0}},
                        "earlier_scans": 0,
                        "expires_h": 1e6,  # the captures bear a date of the past
                    },
                },
                "compute": {"threads": 1},
            }
        )
    )
    return path


@pytest.fixture(scope="session")
def processed(tmp_path_factory: pytest.TempPathFactory, captures: Path, config: Path) -> Path:
    """The state folder of `captures`, processed. To be copied, not written into."""
    state = tmp_path_factory.mktemp("processed") / "state"
    answer = spawn("process", captures, "--config", config, "--state", state, "--json")
    assert answer.code == DONE, answer.err
    assert answer.document["recorded"] == len(SEEDS), answer.out
    return state


@pytest.fixture
def state(processed: Path, tmp_path: Path) -> Path:
    """A record of its own with two scans of dish-07, an open alert and a removal plan."""
    return Path(shutil.copytree(processed, tmp_path / "state"))
