"""What the commands share: options, opening the parts, showing people numbers and errors."""

from __future__ import annotations

import getpass
import json
import logging
import os
import sys
from datetime import datetime
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.measure import measure_renderables
from rich.table import Table

from model.runners.names import RUNNER_NAMES
from monitor.errors import ConfigError, MonitorError, UsageError
from monitor.host.json_log import JsonLines

if TYPE_CHECKING:
    from monitor.config import Config
    from monitor.culture import DishLine
    from monitor.record.sources import ConfiguredSource
    from monitor.record.store import Store

DONE, FAILED, MISUSED, BAD_CONFIG = 0, 1, 2, 78

# A pipe or a file has no width: cut or folded lines would be lost on the program that reads them.
NO_WIDTH = 10_000
LOG_FORMAT = "COLONYWATCH_LOG"


def _console() -> Console:
    # A dish called `p:x:1` is no picture of a cross.
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    return Console(highlight=False, emoji=False, width=None if on_terminal else NO_WIDTH)


out = _console()
err = Console(stderr=True, highlight=False, emoji=False)

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        readable=False,  # said by us, with the exit code of a bad configuration
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

RunnerOption = Annotated[
    str | None,
    typer.Option(
        "--runner",
        metavar="NAME",
        show_default=False,
        help=f"What does the network's arithmetic: {', '.join(RUNNER_NAMES)}; default: the "
        "configured one.",
    ),
]


def with_runner(config: Config, runner: str | None) -> Config:
    """The same configuration with another runner, if one was named. Raises UsageError."""
    if runner is None:
        return config
    if runner not in RUNNER_NAMES:
        raise UsageError(f"--runner: {runner!r} is none; choose one of {', '.join(RUNNER_NAMES)}")
    compute = config.compute.model_copy(update={"runner": runner})
    return config.model_copy(update={"compute": compute})


def open_config(config: Path | None, state: Path | None) -> Config:
    """The configuration that holds for this call. Raises ConfigError."""
    from monitor.config import find_config, load_config
    from monitor.config.on_this_machine import written_inside_a_source

    path = find_config(config)
    found = load_config(path)
    if state is None:
        inside = list(written_inside_a_source(found))
        if inside:
            text = "\n".join(f"{path or 'the built-in defaults'}: {line}" for line in inside)
            raise ConfigError(text, rest=found)
        return found
    if state.exists() and not state.is_dir():
        raise UsageError(f"{state}: is a file; --state needs a folder")
    found = found.with_state(state)
    if any(True for _ in written_inside_a_source(found)):
        raise UsageError(f"{state}: is inside a source's folder; choose another with --state DIR")
    return found


def open_store(config: Config, *, begins_anew: bool = False) -> Store:
    """The record, its schema up to date. Raises RecordError.

    begins_anew : an empty one also in place of one that is gone
    """
    from monitor.jobs.withdrawal import take_back_from
    from monitor.record.store import Store

    return Store(
        config.record.database_url, take_back=take_back_from(config), begins_anew=begins_anew
    )


def settle_sources(store: Store, config: Config, now: datetime) -> list[str]:
    """Note the sources as they are configured; one that has a new name takes over its dishes.

    Returns what a person should hear of it. Raises RecordError; UsageError where a daemon that is
    at work watches another folder under a source's name: zone and settings would be taken for its.
    """
    if any(life.alive for life in store.processes.living("daemon", now)):
        for source in config.sources:
            known = store.sources.place_of(source.name)
            if known is not None and known[1].resolve() != source.path.resolve():
                raise UsageError(
                    f"source {source.name} is {known[1]} to the daemon that is running, and "
                    f"{source.path} in this configuration; give the daemon's with --config FILE, "
                    "or start the daemon with this one"
                )
    return [one.text for one in store.sources.settle(configured(config), now)]


def configured(config: Config) -> list[ConfiguredSource]:
    """The sources as the record knows them."""
    from monitor.record.sources import ConfiguredSource

    return [ConfiguredSource(one.name, one.path, one.formerly) for one in config.sources]


def begin_logging(level: int = logging.INFO) -> None:
    """Log to stderr; under systemd the journal adds the time itself. With COLONYWATCH_LOG=json each
    line is a JSON object.
    """
    clock = "" if "JOURNAL_STREAM" in os.environ else "%(asctime)s "
    logging.basicConfig(
        level=level, stream=sys.stderr, format=clock + "%(levelname)s %(name)s %(message)s"
    )
    if os.environ.get(LOG_FORMAT, "").lower() == "json":
        for handler in logging.getLogger().handlers:
            handler.setFormatter(JsonLines())
    logging.getLogger("apscheduler").setLevel(logging.ERROR)  # a job that overlaps is no news
    for noisy in ("alembic", "tifffile", "matplotlib", "watchdog", "PIL"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def print_json(document: Any) -> None:
    coded = sys.stdout.encoding.lower().replace("-", "")
    text = json.dumps(document, ensure_ascii=coded != "utf8", indent=2, allow_nan=False)
    sys.stdout.write(text + "\n")


def show_table(table: Table) -> None:
    """Print a table, lines folded between words where the terminal is narrow, never within one.

    Where it is too narrow even so, the rows come as blocks of `heading  value`.
    """
    unbounded = out.options.update(max_width=NO_WIDTH)
    sizes = [
        measure_renderables(out, unbounded, [str(column.header), *column.cells])
        for column in table.columns
    ]
    spare = out.width - (3 * len(sizes) + 1) - sum(size.minimum for size in sizes)
    if spare >= 0:
        for column, size in zip(table.columns, sizes, strict=True):
            more = min(spare, size.maximum - size.minimum)
            column.width = size.minimum + more
            spare -= more
        out.print(table)
        return
    names = [str(column.header) for column in table.columns]
    longest = max(len(name) for name in names)
    for row in zip(*(column.cells for column in table.columns), strict=True):
        for name, value in zip(names, row, strict=True):
            room = max(12, out.width - longest - 2)
            folded = wrap(str(value), room, break_long_words=False, break_on_hyphens=False)
            text = f"\n{'':{longest}}  ".join(folded)
            out.print(f"{name:<{longest}}  {text}", soft_wrap=True)
        out.print()


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
    return escape(shown_lines(text))


def cell(text: Path | str) -> str:
    """`shown`, and fit for a table: square brackets are letters there, not colours."""
    return escape(shown(text))


def shown_lines(text: str) -> str:
    return "\n".join(shown(line) for line in text.split("\n"))


def moment(text: str, option: str, line: DishLine, config: Config) -> datetime:
    """A time that a person wrote; without an offset, in the zone of the line's source."""
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError as problem:
        raise UsageError(
            f"{option} {text}: is not a time; write it like 2026-11-03 14:00 or "
            "2026-11-03T14:00+09:00"
        ) from problem
    if at.tzinfo is None:
        zones = {source.name: source.zone for source in config.sources}
        at = at.replace(tzinfo=zones.get(line.source, config.unlisted.zone))
    return at


def person(who: str | None) -> str:
    """Who does it: as `--who` says, else the account's name. Raises UsageError without either."""
    if who and who.strip():
        return " ".join(who.split())
    try:
        return getpass.getuser()
    except (KeyError, OSError) as problem:
        raise UsageError("this account has no name; say who you are with --who NAME") from problem


def account() -> str:
    """Who calls, for the audit trail, where nobody is asked: the name, or else the number."""
    try:
        return person(None)
    except UsageError:
        return f"account {os.getuid()}"
