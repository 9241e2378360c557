"""What a command loads before it begins. A start is slow because of what it imports, so that is
what is looked at here; how long it takes is `make bench-start`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from monitor.commands.listing import COMMANDS
from monitor.commands.loading import LoadedWhenCalled
from monitor.record.store import Store
from tests.monitor.facts import DISH, measure, place, read

PICTURES = {"cv2", "matplotlib", "scipy", "shapely", "tifffile", "torch"}
HEAVY = PICTURES | {"alembic", "apscheduler", "numpy", "pydantic", "sqlalchemy", "yaml"}

_RUN = """
import sys
from monitor.__main__ import main
try:
    main()
except SystemExit as end:
    code = end.code
import json
print(json.dumps([code, sorted({name.split(".")[0] for name in sys.modules})]), file=sys.stderr)
"""


def loaded_by(*words: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", _RUN, *words], capture_output=True, text=True, check=True, timeout=60
    )
    code, packages = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr
    return set(packages)


@pytest.mark.parametrize("words", [("--help",), ("--version",)], ids=" ".join)
def test_the_list_of_commands_loads_none_of_what_they_need(words):
    assert not loaded_by(*words) & HEAVY


@pytest.mark.parametrize(
    "words",
    [("status",), ("dishes",), ("alerts", "list"), ("history", DISH)],
    ids=" ".join,
)
def test_what_looks_at_the_record_loads_nothing_that_looks_at_images(words, tmp_path):
    """Nor what brings a record to another form, as long as this one is in the present form."""
    state = tmp_path / "state"
    with Store(f"sqlite:///{state / 'colonywatch.sqlite'}") as store:
        read(store, measure(store, "/in/a.tif", place()))
    loaded = loaded_by(*words, "--state", str(state))
    assert not loaded & (PICTURES | {"alembic", "apscheduler", "numpy"})


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_the_list_says_of_a_command_what_its_own_help_says(entry):
    real = LoadedWhenCalled(entry).load()
    assert real.name == entry.name
    assert " ".join(real.help.split("\n\n")[0].split()) == entry.summary


def test_a_command_that_does_not_exist_is_misuse_and_a_near_one_is_named():
    done = subprocess.run(
        [sys.executable, "-m", "monitor", "statsu"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "status" in done.stderr


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("colonywatch st", "status"),
        ("colonywatch dishes en", "end"),
        ("colonywatch dishes end --no", "--note"),
    ],
)
def test_a_shell_completes_commands_that_are_not_loaded_yet(typed, completed):
    """Completion walks the commands by itself, without calling them."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv[0] = 'colonywatch'\n" + _RUN],
        env={
            **os.environ,
            "_COLONYWATCH_COMPLETE": "complete_bash",
            "COMP_WORDS": typed,
            "COMP_CWORD": str(typed.count(" ")),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == [completed]
