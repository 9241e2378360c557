"""The console script ``colonywatch``, same as ``python -m monitor``."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from monitor.commands import alerts, benchmark, models, overview, removals, settings, upkeep
from monitor.commands.common import FAILED, exit_code, say_error
from monitor.commands.demo import demo
from monitor.commands.process import process
from monitor.commands.segment import segment
from monitor.errors import MonitorError

app = typer.Typer(
    name="colonywatch",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Watches iPS cell cultures: segments colonies, follows differentiation, alerts people, "
    "plans removals.",
)


def _say_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(version("colonywatch"))
        except PackageNotFoundError:
            typer.echo("unknown (not installed)")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


app.command()(demo)
app.command()(upkeep.run)
app.command()(process)
app.command()(segment)
app.command()(overview.status)
app.command()(overview.dishes)
app.command()(overview.history)
app.add_typer(alerts.app, name="alerts")
app.add_typer(removals.app, name="removals")
app.command()(settings.check_config)
app.command()(settings.name_test)
app.command()(settings.doctor)
app.command()(models.train)
app.command()(models.evaluate)
app.add_typer(models.app, name="models")
app.add_typer(benchmark.app, name="benchmark")
app.command()(upkeep.simulate)
app.command()(upkeep.backup)
app.command()(upkeep.retry)
app.command()(upkeep.reprocess)


def main() -> None:
    """Run a command. Errors meant for people are printed; exits with 0, 1, 2 or 78."""
    try:
        app()
    except MonitorError as problem:
        say_error(problem)
        sys.exit(exit_code(problem))
    except BrokenPipeError:
        # Somebody closed the pipe, as `head` does; that is no fault.
        sys.stderr.close()
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
