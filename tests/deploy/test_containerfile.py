"""The image's recipe, as far as it can be tried without an engine: its form, and its steps in a
scratch folder.
"""

from __future__ import annotations

import fnmatch
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "deploy" / "Containerfile"
KNOWN = {"FROM", "ARG", "ENV", "LABEL", "COPY", "RUN", "USER", "WORKDIR", "VOLUME", "EXPOSE",
         "HEALTHCHECK", "STOPSIGNAL", "ENTRYPOINT", "CMD"}  # fmt: skip


def instructions() -> list[tuple[str, str]]:
    """(instruction, the rest), with lines that go on joined."""
    text = re.sub(r"(?m)^\s*#.*\n", "", RECIPE.read_text(encoding="utf-8"))
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [
        (word, rest) for line in lines if line.strip() for word, _, rest in [line.partition(" ")]
    ]


def stages() -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    for word, rest in instructions():
        if word == "FROM":
            found.append([])
        found[-1].append((word, rest))
    return found


def of(stage: list[tuple[str, str]], wanted: str) -> list[str]:
    return [rest for word, rest in stage if word == wanted]


def test_the_recipe_has_the_form_that_engines_read() -> None:
    assert {word for word, _ in instructions()} <= KNOWN
    for (base,) in [of(stage, "FROM") for stage in stages()]:
        image = base.split()[0]
        assert re.fullmatch(r"[\w.]+/[\w./-]+:[\w.-]+", image), f"{image}: of where?"
        assert not image.endswith(":latest")
    for stage in stages():
        for run in of(stage, "RUN"):
            done = subprocess.run(
                ["sh", "-n", "-c", run], capture_output=True, text=True, timeout=9
            )
            assert done.returncode == 0, (run, done.stderr)


def test_the_image_runs_as_nobody_in_particular_and_starts_what_there_is() -> None:
    last = stages()[-1]
    assert of(last, "USER")[-1] not in ("root", "0")
    words = [word for word, _ in last]
    assert words.index("USER") > words.index("RUN"), "accounts are made before it is one of them"
    entry, command = json.loads(of(last, "ENTRYPOINT")[0]), json.loads(of(last, "CMD")[0])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert entry == list(project["scripts"])
    listing = (ROOT / "monitor/commands/listing.py").read_text(encoding="utf-8")
    assert f'"{command[0]}",' in listing
    health = of(last, "HEALTHCHECK")[0]
    assert "/healthz" in json.loads(health[health.index("CMD") + 4 :])[-1]
    assert any("/opt/colonywatch" in copied for copied in of(last, "COPY"))


def is_in_context(name: str) -> bool:
    """Whether .containerignore leaves a file of the checkout in; the last rule that fits counts."""
    inside = True
    for rule in (ROOT / ".containerignore").read_text(encoding="utf-8").split():
        pattern = rule.removeprefix("!").removeprefix("**/")
        if any(fnmatch.fnmatch(part, pattern) for part in (name, *name.split("/"))):
            inside = rule.startswith("!")
    return inside


def test_the_context_holds_what_is_built_and_no_more() -> None:
    copied = [one for line in of(stages()[0], "COPY") for one in line.split()[:-1]]
    assert copied and all((ROOT / one).exists() and is_in_context(one) for one in copied)
    for left in (".git", ".venv", "docs", "tests", "state", "monitor/__pycache__"):
        assert not is_in_context(left), left


@pytest.mark.slow
def test_the_steps_of_the_first_stage_build_the_program_from_what_they_copy(tmp_path: Path) -> None:
    """The packages that it needs are those of this environment: they are downloaded by nobody."""
    source = tmp_path / "src"
    source.mkdir()
    for line in of(stages()[0], "COPY"):
        *copied, target = line.split()
        for one in copied:
            if (ROOT / one).is_dir():
                shutil.copytree(
                    ROOT / one, source / target, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                shutil.copy(ROOT / one, source / target)
    (install,) = [run for run in of(stages()[0], "RUN") if run.split()[-1].startswith('".[')]
    assert "--constraint constraints.txt" in install
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index",
         "--no-build-isolation", "--disable-pip-version-check", "--wheel-dir", tmp_path, "."],
        cwd=source, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("colonywatch-*.whl")
    with zipfile.ZipFile(wheel) as made:
        names = set(made.namelist())
    assert {"monitor/config.default.yaml", "model/weights/starter/manifest.json"} <= names
    assert not [name for name in names if name.startswith(("tests", "docs", "deploy"))]
