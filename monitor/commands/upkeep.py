"""`run`, `retry`, `reprocess`, `simulate`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from monitor.commands.common import (
    ConfigOption,
    JsonOption,
    RunnerOption,
    StateOption,
    begin_logging,
    err,
    open_config,
    open_store,
    print_json,
    say,
    with_runner,
)
from monitor.commands.models import ModelOption
from monitor.commands.reprocess import analyse_again
from monitor.daemon import run_daemon
from monitor.errors import ConfigError, ModelRefusedError, UsageError
from monitor.host.clock import utc_now


def run(
    runner: RunnerOption = None, config: ConfigOption = None, state: StateOption = None
) -> None:
    """The daemon: watch the sources until SIGTERM or Ctrl-C.

    Example: colonywatch run --config /etc/colonywatch/config.yaml
    """
    begin_logging()
    settings = with_runner(open_config(config, state), runner)
    if not settings.sources:
        raise UsageError(
            "no source is configured: there is nothing to watch. Add one to config.yaml, for "
            "example sources: [{name: incubator, path: captures}]"
        )
    for source in settings.sources:
        if settings.record.folder.is_relative_to(source.path):
            raise ConfigError(
                f"record.folder: {settings.record.folder} is inside the folder "
                f"of source {source.name}, so our own overlays would be taken for captures; "
                f"choose a folder outside"
            )
    gone_since = None
    while True:
        with open_store(settings, begins_anew=True) as store:
            try:
                gone_since = run_daemon(settings, store, gone_since=gone_since)
            except ModelRefusedError as problem:
                # Starting again does not help: for a service manager it is a matter of settings.
                raise ConfigError(f"segmentation.model: {problem}") from problem
        if gone_since is None:
            return


def retry(
    as_json: JsonOption = False, config: ConfigOption = None, state: StateOption = None
) -> None:
    """Retry waiting and unreadable captures and undelivered messages now.

    The daemon does the work; without one, run `process`.

    Example: colonywatch retry
    """
    begin_logging()
    with open_store(open_config(config, state)) as store:
        captures = store.captures.retry(utc_now())
        messages = store.outbox.retry(utc_now())
        alive = any(life.alive for life in store.processes.living("daemon", utc_now()))
    if as_json:
        print_json({"captures": captures, "messages": messages, "daemon_alive": alive})
        return
    say(f"{captures} captures and {messages} messages are due now")
    if captures + messages and not alive:
        say("the daemon is not running; start it, or use: colonywatch process FOLDER")


def reprocess(
    dish: Annotated[
        str | None, typer.Argument(metavar="[DISH]", help="Only this dish; default: all.")
    ] = None,
    model: ModelOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Measure recorded captures again that another model, or other settings, measured: after a
    change of model, tool, limits of regions, channel or pixel size; and those that a sidecar or
    a companion, new or changed since, describes differently. Adds readings, overwrites none.

    May run beside the daemon, which leaves alone what is in hand here. Exits 1 where a capture
    could not be measured, and says why; its previous reading stands.

    Example: colonywatch reprocess 3500003816/A1 --model models/line-7
    """
    begin_logging()
    settings = open_config(config, state)
    if model is not None:
        named = settings.segmentation.model_copy(update={"model": str(model)})
        settings = settings.model_copy(update={"segmentation": named})
    analyse_again(settings, dish, as_json=as_json)


def simulate(
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the captures.")],
    dishes: Annotated[int, typer.Option("--dishes", min=1, max=384)] = 4,
    hours: Annotated[float, typer.Option("--hours", min=0, max=24 * 60)] = 96,
    interval_h: Annotated[float, typer.Option("--interval-h", min=0.1, max=240)] = 6,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 1,
    start: Annotated[
        str, typer.Option("--start", metavar="TIME", help="ISO 8601, with its zone.")
    ] = "2026-01-05T06:00:00+00:00",
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """The virtual incubator alone: captures as OME-TIFF, the exact truth beside them in OUT-truth.

    Example: colonywatch simulate /tmp/incubator --dishes 4 --hours 96
    """
    # Drawing needs scipy and OpenCV, which the other commands here do without.
    from model.simulation.incubator import simulate_incubator

    begin_logging()
    open_config(config, state)  # it needs none, but a wrong one is worth hearing of
    try:
        at = datetime.fromisoformat(start)
    except ValueError as problem:
        raise UsageError(
            f"{start}: is not a time; write it like 2026-01-05T06:00:00+00:00"
        ) from problem
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    count = 0
    for scan in simulate_incubator(
        target, dishes=dishes, hours=hours, interval_h=interval_h, seed=seed, start=at
    ):
        count += 1
        if err.is_terminal:
            err.print(f"{count}  {scan.capture.name}", end="\r")
    say(f"{count} captures in {target}, their truth in {target.name}-truth beside it")
