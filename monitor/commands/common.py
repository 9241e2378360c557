"""What the commands share: options, opening the parts, showing people numbers and errors."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from monitor.config import Config, find_config, load_config
from monitor.errors import ConfigError, MonitorError, UsageError
from monitor.record.store import Store

DONE, FAILED, MISUSED, BAD_CONFIG = 0, 1, 2, 78

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        show_default=False,
        help="Configuration; default: config.yaml here, then /etc/colonywatch/config.yaml.",
    ),
]
StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="DIR",
        show_default=False,
        help="Put database, overlays, exports and mails here instead of where the "
        "configuration says.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON document on standard output, nothing else.")
]


def open_config(config: Path | None, state: Path | None) -> Config:
    """The configuration that holds for this call. Raises ConfigError."""
    found = load_config(find_config(config))
    if state is None:
        return found
    if state.exists() and not state.is_dir():
        raise UsageError(f"{state}: is a file; --state wants a folder")
    return found.with_state(state)


def open_store(config: Config) -> Store:
    """The record, its schema up to date. Raises RecordError."""
    return Store(config.record.database_url)


def begin_logging(level: int = logging.INFO) -> None:
    """Log to stderr; under systemd the journal adds the time itself."""
    clock = "" if "JOURNAL_STREAM" in os.environ else "%(asctime)s "
    logging.basicConfig(
        level=level, stream=sys.stderr, format=clock + "%(levelname)s %(name)s %(message)s"
    )
    for noisy in ("apscheduler", "alembic", "tifffile", "matplotlib", "watchdog", "PIL"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def print_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def exit_code(problem: MonitorError) -> int:
    if isinstance(problem, ConfigError):
        return BAD_CONFIG
    return MISUSED if isinstance(problem, UsageError) else FAILED


def say_error(problem: MonitorError | str) -> None:
    for line in str(problem).splitlines():
        err.print(f"[bold red]error:[/] {_escape(line)}", soft_wrap=True)


def say(text: str) -> None:
    err.print(_escape(text), soft_wrap=True)


def shown(path: Path | str) -> str:
    """A path or name fit for a terminal, whatever bytes it holds."""
    text = str(path).encode("utf-8", "backslashreplace").decode()
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def _escape(text: str) -> str:
    return shown_lines(text).replace("[", r"\[")


def shown_lines(text: str) -> str:
    return "\n".join(shown(line) for line in text.split("\n"))
