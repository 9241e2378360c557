"""`alerts`: list, acknowledge, snooze, and a rehearsal of the whole way to a person."""

from __future__ import annotations

import getpass
import logging
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from monitor.commands.common import (
    ConfigOption,
    JsonOption,
    StateOption,
    begin_logging,
    cell,
    open_config,
    open_store,
    percent,
    print_json,
    say,
    show_table,
)
from monitor.culture import Alert
from monitor.errors import MonitorError, UsageError
from monitor.pipeline import utc_now

app = typer.Typer(no_args_is_help=True, help="Alerts: list, acknowledge, snooze, test.")


@app.command("list")
def list_(
    everything: Annotated[bool, typer.Option("--all", help="Closed ones too.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Open alerts, newest first.

    Example: colonywatch alerts list --all
    """
    begin_logging()
    with open_store(open_config(config, state)) as store:
        found = store.dishes.alerts(open_only=not everything)
    if as_json:
        print_json([_document(alert) for alert in found])
        return
    if not found:
        say("no open alerts" if not everything else "no alerts on record")
        return
    table = Table("alert", "dish", "what", "scan (UTC)", "differentiated", "acknowledged", "note")
    for alert in found:
        table.add_row(
            str(alert.id),
            cell(alert.dish),
            f"{alert.kind}{_rest(alert)}",
            f"{alert.at:%Y-%m-%d %H:%M}",
            percent(alert.fraction),
            cell(alert.acknowledged_by or "–"),
            cell(alert.note or ""),
        )
    show_table(table)


@app.command()
def ack(
    alert: Annotated[int, typer.Argument(metavar="ALERT", help="Number, as `list` shows it.")],
    note: Annotated[str | None, typer.Option("--note", help="What was done.")] = None,
    who: Annotated[str | None, typer.Option("--who", help="Default: the user's name.")] = None,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Say that somebody knows.

    Example: colonywatch alerts ack 3 --note "removed by hand"
    """
    begin_logging()
    with open_store(open_config(config, state)) as store:
        done = store.dishes.acknowledge(
            alert, who=who or getpass.getuser(), note=note, now=utc_now()
        )
    say(f"alert {done.id} of {done.dish} acknowledged by {done.acknowledged_by}")


@app.command()
def snooze(
    alert: Annotated[int, typer.Argument(metavar="ALERT", help="Number, as `list` shows it.")],
    hours: Annotated[float, typer.Option("--hours", min=0.01, max=24 * 31)] = 12.0,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Let an alert rest for a while.

    Example: colonywatch alerts snooze 3 --hours 24
    """
    begin_logging()
    now = utc_now()
    with open_store(open_config(config, state)) as store:
        done = store.dishes.snooze(
            alert, until=now + timedelta(hours=hours), who=getpass.getuser(), now=now
        )
    say(f"alert {done.id} of {done.dish} rests until {done.snoozed_until:%Y-%m-%d %H:%M} UTC")


@app.command()
def test(
    recipient: Annotated[
        str | None, typer.Option("--to", metavar="ADDRESS", help="Instead of the configured ones.")
    ] = None,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Send a test alert through the real rule, template, outbox and mail server.

    The dish it speaks of is made up and kept in a record of its own; yours is not touched.

    Example: colonywatch alerts test --to me@lab.example
    """
    # The rehearsal draws and plots; the other alert commands do without those libraries.
    from monitor.rehearsal import rehearse_alert

    begin_logging(logging.ERROR)  # the made-up dish's story would look like a real one's
    settings = open_config(config, state)
    if recipient is not None:
        if "@" not in recipient:
            raise UsageError(f"{recipient}: is no mail address (name@host)")
        email = settings.outlets.email.model_copy(update={"recipients": (recipient,)})
        settings = settings.model_copy(
            update={"outlets": settings.outlets.model_copy(update={"email": email})}
        )
    with tempfile.TemporaryDirectory(prefix="colonywatch-rehearsal-") as folder:
        where, problem = rehearse_alert(settings, Path(folder))
    if problem is not None:
        raise MonitorError(f"the test alert was not delivered: {problem}")
    say(f"the test alert went to {where}")


def _rest(alert: Alert) -> str:
    if alert.closed_at is not None:
        return " (closed)"
    if alert.snoozed_until is not None and alert.snoozed_until > utc_now():
        return f", rests until {alert.snoozed_until:%Y-%m-%d %H:%M}"
    return ""


def _document(alert: Alert) -> dict[str, object]:
    def iso(moment: datetime | None) -> str | None:
        return None if moment is None else moment.isoformat()

    return {
        "id": alert.id,
        "dish": alert.dish,
        "kind": str(alert.kind),
        "status": str(alert.status),
        "at": iso(alert.at),
        "differentiated_fraction": alert.fraction,
        "created_at": iso(alert.created_at),
        "closed_at": iso(alert.closed_at),
        "acknowledged_at": iso(alert.acknowledged_at),
        "acknowledged_by": alert.acknowledged_by,
        "note": alert.note,
        "snoozed_until": iso(alert.snoozed_until),
    }
