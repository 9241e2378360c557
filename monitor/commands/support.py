"""`support`: what somebody who helps needs to know of an installation, in one file."""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from monitor.commands.common import (
    ConfigOption,
    StateOption,
    begin_logging,
    open_config,
    open_store,
    say,
    shown,
)
from monitor.commands.settings import as_documents, look_over
from monitor.commands.status import describe
from monitor.config import Config, find_config
from monitor.errors import MonitorError, UsageError
from monitor.host.clock import utc_now

REMOVED = "[removed]"
_JOURNAL_LINES = 2000
_JOURNAL_S = 30
# What looks like a secret, wherever it stands.
_LOOKS_SECRET = (
    (re.compile(r"(?i)(\b[a-z][a-z0-9+.-]*://)[^\s/@]*@"), rf"\1{REMOVED}@"),
    (
        re.compile(
            r"(?i)\b(password|passwd|secret|token|api[_-]?key|authorization)"
            r"(['\"]?\s*[=:]\s*['\"]?)(?:bearer\s+)?[^\s,;\"'}\]]+"
        ),
        rf"\1\2{REMOVED}",
    ),
    (re.compile(r"/answer/[\w.~=-]+"), f"/answer/{REMOVED}"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.S),
     REMOVED),
    (re.compile(r"\b[\w.+-]+@((?:[\w-]+\.)+[\w-]+)\b"), rf"{REMOVED}@\1"),
)  # fmt: skip
_SHORTEST = 6


def support(
    target: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", show_default=False, help="The file to write (.zip)."),
    ] = None,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Write what helps to find a fault into one file, without secrets or pictures.

    What doctor and status say, the configuration, versions, and the end of the journal. What files
    of secrets hold, passwords in addresses, tokens and the names in mail addresses are
    removed; names of dishes, folders and machines stay. Look into it before you send it.

    Example: colonywatch support /tmp/support.zip
    """
    begin_logging()
    settings = open_config(config, state)
    target = target or Path(f"colonywatch-support-{utc_now():%Y%m%dT%H%M%SZ}.zip")
    secrets = sorted(_secrets(settings), key=len, reverse=True)
    count = 0
    try:
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as bundle:
            for name, text in _parts(settings, find_config(config)):
                bundle.writestr(name, without_secrets(text, secrets))
                count += 1
        target.chmod(0o600)
    except OSError as problem:
        raise UsageError(f"{shown(target)}: cannot be written ({problem.strerror})") from problem
    say(f"{shown(target)}: {count} files, no pictures, secrets removed; look into it, then send it")


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """secrets : texts that must not be in it, the longest first"""
    for secret in secrets:
        text = text.replace(secret, REMOVED)
    for pattern, instead in _LOOKS_SECRET:
        text = pattern.sub(instead, text)
    return text


def _secrets(config: Config) -> Iterator[str]:
    """What the files hold that the configuration names as secret."""
    outlets = config.outlets
    files = [
        outlets.email.password_file,
        outlets.check_in.url_file,
        outlets.metrics.token_file,
        config.secret_file,
        *(channel.url_file for channel in outlets.channels),
    ]
    for file in files:
        if file is None:
            continue
        with suppress(OSError):
            held = file.read_bytes().decode("utf-8", "replace").strip()
            for text in (held, *held.split()):
                if len(text) >= _SHORTEST:
                    yield text
    if outlets.email.username and len(outlets.email.username) >= _SHORTEST:
        yield outlets.email.username


def _parts(config: Config, file: Path | None) -> Iterator[tuple[str, str]]:
    yield "machine.json", _json(_machine(config))
    yield "doctor.json", _json(as_documents(look_over(config)))
    try:
        with open_store(config) as store:
            yield "status.json", _json(describe(store, config))
    except MonitorError as problem:
        yield "status.txt", str(problem)
    if file is not None:
        with suppress(OSError):
            yield "config.yaml", file.read_text(encoding="utf-8", errors="replace")
    yield "config-in-use.yaml", yaml.safe_dump(config.model_dump(mode="json"), allow_unicode=True)
    yield (
        "packages.txt",
        "".join(sorted(f"{one.metadata['Name']}=={one.version}\n" for one in distributions())),
    )
    for name, words in _COMMANDS.items():
        yield name, _said(words)


_COMMANDS = {
    "journal.txt": ["journalctl", "--no-pager", f"--lines={_JOURNAL_LINES}", "--output=short-iso",
                    "--unit=colonywatch*"],
    "units.txt": ["systemctl", "cat", "--no-pager", "colonywatch*"],
    "timers.txt": ["systemctl", "list-timers", "--no-pager", "colonywatch*"],
    "disks.txt": ["df", "-hT"],
    "mounts.txt": ["findmnt", "--noheadings", "--output", "TARGET,FSTYPE,OPTIONS"],
    "memory.txt": ["free", "-m"],
}  # fmt: skip


def _said(words: list[str]) -> str:
    if shutil.which(words[0]) is None:
        return f"{words[0]} is not on this machine\n"
    try:
        # The words are those above, and nobody else's.
        done = subprocess.run(  # nosec B603
            words, capture_output=True, timeout=_JOURNAL_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        return f"{words[0]}: {problem}\n"
    return (done.stdout + done.stderr).decode("utf-8", "replace")


def _machine(config: Config) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for path in (config.record.database_file, config.record.folder):
        with suppress(OSError):
            record[str(path)] = {"bytes": path.stat().st_size, "mode": oct(path.stat().st_mode)}
    return {
        "written_at": utc_now().isoformat(timespec="seconds"),
        "colonywatch": version("colonywatch"),
        "python": sys.version,
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "record": record,
    }


def _json(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"
