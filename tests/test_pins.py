"""The pinned versions are there for each Python that is promised, as ready packages."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13")


def everything_declared() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    return [
        one
        for some in (project["dependencies"], *extras)
        for one in some
        if not one.startswith("colonywatch[")
    ]


def pip(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    # A busy index is given less time to answer than the test has.
    settings = {**os.environ, "PIP_DEFAULT_TIMEOUT": "20", "PIP_RETRIES": "1"}
    return subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)],
        env=settings, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=280,
    )  # fmt: skip


@pytest.fixture(scope="module")
def _package_index():
    found = pip("download", "--quiet", "--dest", os.devnull, "--no-deps", "colonywatch-none-such")
    if "No matching distribution" not in found.stderr or "connection" in found.stderr.lower():
        pytest.skip("no package index answers from here")


@pytest.mark.pins
@pytest.mark.usefixtures("_package_index")
@pytest.mark.parametrize("python", PYTHONS)
def test_the_pins_resolve(python, tmp_path):
    """Debian 12 has Python 3.11, Ubuntu 24.04 has 3.12, Debian 13 has 3.13 only."""
    found = pip(
        "install", "--quiet", "--dry-run", "--ignore-installed", "--only-binary=:all:",
        "--python-version", python, "--target", tmp_path,
        "--constraint", ROOT / "constraints.txt", *everything_declared(),
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
