"""The console script ``colonywatch``, same as ``python -m monitor``."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Annotated

import typer

from monitor.commands.common import (
    DONE,
    FAILED,
    MISUSED,
    exit_code,
    print_json,
    say,
    say_error,
    shown_lines,
)
from monitor.commands.listing import COMMANDS
from monitor.commands.loading import group_of
from monitor.errors import MonitorError

app = typer.Typer(
    name="colonywatch",
    cls=group_of(COMMANDS),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Watches iPS cell cultures: segments colonies, follows differentiation, alerts people, "
    "plans removals.",
)


def _say_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

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


STOPPED = 130  # what Typer makes of Ctrl-C


def main() -> None:
    """Run a command. Errors meant for people are printed; exits with 0, 1, 2 or 78, and with 130
    after Ctrl-C. With --json, a call that fails gives {"error": ..., "exit_code": ...}.
    """
    if sys.stdout is None:  # closed by the caller
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a letter gets its code.
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run()
        sys.stdout.flush()
    except OSError as problem:
        # What Python itself would write at its end, it shall not try again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
        if problem.errno != errno.EPIPE:  # a closed pipe, as `head` does, is no fault
            say_error(f"{problem.filename or 'the output'}: {problem.strerror}")
    sys.exit(code)


def _run() -> int:
    try:
        app()
    except MonitorError as problem:
        say_error(problem)
        code, text = exit_code(problem), shown_lines(str(problem))
    except SystemExit as end:
        if end.code == STOPPED:
            say("stopped")
        if end.code != MISUSED:
            return end.code if isinstance(end.code, int) else DONE
        code, text = MISUSED, "misused: see standard error, or --help"
    else:
        return DONE
    if "--json" in sys.argv:
        print_json({"error": text, "exit_code": code})
    return code


if __name__ == "__main__":
    main()
