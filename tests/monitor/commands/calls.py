"""Calling the command line as a person or a script does, and what came back."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from monitor.__main__ import main

DONE, FAILED, MISUSED, BAD_CONFIG, STOPPED = 0, 1, 2, 78, 130
LIMIT_S = 120.0


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """What `--json` gave; fails where standard output holds anything but one document."""
        return json.loads(self.out)


def call(*words: str | Path, folder: Path | None = None) -> Answer:
    """Run the command in this process, in `folder` if given."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    argv = ["colonywatch", *map(str, words)]
    with (
        patch.object(sys, "argv", argv),
        redirect_stdout(out),
        redirect_stderr(err),
        chdir(folder or Path.cwd()),
    ):
        try:
            main()
            code = DONE
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else DONE
    return Answer(code, _text(out), _text(err))


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    return stream.buffer.getvalue().decode()  # type: ignore[attr-defined]


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "monitor", *map(str, words)]


def spawn(
    *words: str | Path,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    before: Sequence[str] = (),
) -> Answer:
    """Run the command in a process of its own. before : what it is started by."""
    answer = subprocess.run(
        [*before, *command(*words)],
        capture_output=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), **(environment or {})},
        timeout=LIMIT_S,
        check=False,
    )
    return Answer(answer.returncode, answer.stdout.decode(), answer.stderr.decode())


def as_ordinary_user() -> list[str] | None:
    """What to start a command by, so that permissions hold for it; None where that cannot be."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        return None
    rights = "-dac_override,-dac_read_search,-fowner"
    return ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"]
