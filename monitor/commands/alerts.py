"""`alerts`: list, acknowledge, snooze, and a trial of the whole way to a person."""

from __future__ import annotations

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
    person,
    print_json,
    say,
    show_table,
    shown,
)
from monitor.config import Config, RecipientConfig
from monitor.culture import Alert, AlertTopic, Message, Severity
from monitor.errors import MonitorError, UsageError
from monitor.host.clock import utc_now
from monitor.record.alert_rows import WITHDRAWN

app = typer.Typer(
    no_args_is_help=True, help="Alerts: list, acknowledge, snooze, test; what was sent."
)


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
        found = store.alerts.alerts(open_only=not everything)
    if as_json:
        print_json([alert_document(alert) for alert in found])
        return
    if not found:
        say("no open alerts" if not everything else "no alerts on record")
        return
    table = Table("alert", "about", "what", "at (UTC)", "differentiated", "acknowledged", "note")
    for alert in found:
        table.add_row(
            str(alert.id),
            cell(alert.about),
            f"{_what(alert)}{_rest(alert)}",
            f"{alert.at:%Y-%m-%d %H:%M}",
            percent(alert.fraction),
            cell(alert.acknowledged_by or "–"),
            cell(alert.note or ""),
        )
    show_table(table)


def _what(alert: Alert) -> str:
    """``critical raised``, ``no-new-capture cleared``"""
    words = [] if alert.topic is AlertTopic.DIFFERENTIATION else [str(alert.topic)]
    words += ["critical"] if alert.severity is Severity.CRITICAL else []
    return " ".join([*words, str(alert.kind)])


@app.command()
def ack(
    alert: Annotated[int, typer.Argument(metavar="ALERT", help="Number, as `list` shows it.")],
    note: Annotated[str | None, typer.Option("--note", help="What was done.")] = None,
    who: Annotated[str | None, typer.Option("--who", help="Default: the user's name.")] = None,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Acknowledge an alert: somebody knows.

    Example: colonywatch alerts ack 3 --note "removed by hand"
    """
    begin_logging()
    with open_store(open_config(config, state)) as store:
        done = store.alerts.acknowledge(alert, who=person(who), note=note, now=utc_now())
    say(f"alert {done.id} on {shown(done.about)} acknowledged by {done.acknowledged_by}")


@app.command()
def snooze(
    alert: Annotated[int, typer.Argument(metavar="ALERT", help="Number, as `list` shows it.")],
    hours: Annotated[
        float, typer.Option("--hours", min=0, max=24 * 31, help="0 ends the snooze.")
    ] = 12.0,
    who: Annotated[str | None, typer.Option("--who", help="Default: the user's name.")] = None,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Send no mails about an alert's dish or source for a while, unless critical.

    What was held back is mailed with the first scan after that, if it still holds.

    Example: colonywatch alerts snooze 3 --hours 24
    """
    begin_logging()
    now = utc_now()
    with open_store(open_config(config, state)) as store:
        done = store.alerts.snooze(
            alert, until=now + timedelta(hours=hours), who=person(who), now=now
        )
    if hours == 0:
        say(f"alert {done.id} on {shown(done.about)} is mailed as usual again")
        return
    rests = f"is snoozed until {done.snoozed_until:%Y-%m-%d %H:%M} UTC"
    say(f"alert {done.id} on {shown(done.about)} {rests}")


@app.command("log")
def log_(
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="So many.")] = 50,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """What was sent to whom, what is waiting and what was given up, newest first.

    Example: colonywatch alerts log --limit 20
    """
    begin_logging()
    with open_store(open_config(config, state)) as store:
        messages = store.outbox.log(limit=limit)
    if as_json:
        print_json([_message_document(message) for message in messages])
        return
    if not messages:
        say("nothing has been sent")
        return
    table = Table("message", "what", "to", "written (UTC)", "state", "tries", "where, or why not")
    for message in messages:
        table.add_row(
            str(message.id),
            cell(_subject(message)),
            cell(message.recipient or message.channel),
            f"{message.created_at:%Y-%m-%d %H:%M}",
            _delivery(message),
            str(message.attempts),
            cell(message.delivered_to or _why_not(message)),
        )
    show_table(table)


def _subject(message: Message) -> str:
    if message.subject_id.startswith("digest:"):
        return "daily digest"
    kinds = {"removal": "plan", "withdrawal": "withdrawal of plan"}
    return f"{kinds.get(message.channel, 'alert')} {message.subject_id}"


def _delivery(message: Message) -> str:
    if message.delivered_at is not None:
        return f"delivered {message.delivered_at:%Y-%m-%d %H:%M:%S}"
    if message.waits_for_setting and message.failed_at is None:
        return "waits for a setting"
    if message.failed_at is not None:
        return WITHDRAWN if message.last_error == WITHDRAWN else "given up"
    return f"waits until {message.next_try_at:%Y-%m-%d %H:%M:%S}"


def _why_not(message: Message) -> str:
    if message.last_error == WITHDRAWN:
        return "overtaken before it was sent"
    return message.last_error or ""


def _message_document(message: Message) -> dict[str, object]:
    def iso(moment: datetime | None) -> str | None:
        return None if moment is None else moment.isoformat()

    state = "waiting"
    if message.delivered_at is not None:
        state = "delivered"
    elif message.failed_at is not None:
        state = WITHDRAWN if message.last_error == WITHDRAWN else "given up"
    return {
        "id": message.id,
        "channel": message.channel,
        "subject": message.subject_id,
        "recipient": message.recipient,
        "state": state,
        "attempts": message.attempts,
        "created_at": iso(message.created_at),
        "next_try_at": iso(message.next_try_at) if state == "waiting" else None,
        "delivered_at": iso(message.delivered_at),
        "delivered_to": message.delivered_to,
        "last_error": message.last_error,
    }


@app.command()
def test(
    recipient: Annotated[
        str | None, typer.Option("--to", metavar="ADDRESS", help="Instead of the configured ones.")
    ] = None,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Send a test alert through the real rule, template, outbox and mail server.

    Its dish is made up and kept in a separate record; yours is not touched.

    Example: colonywatch alerts test --to me@lab.example
    """
    # The trial draws and plots; the other alert commands do without those libraries.
    from monitor.commands.trial_alert import send_trial_alert

    begin_logging(logging.ERROR)  # the made-up dish's story would look like a real one's
    configured = settings = open_config(config, state)
    if recipient is not None:
        if "@" not in recipient:
            raise UsageError(f"{recipient}: is not a mail address (name@host)")
        only = (RecipientConfig(address=recipient),)
        email = settings.outlets.email.model_copy(update={"recipients": only})
        settings = settings.model_copy(
            update={"outlets": settings.outlets.model_copy(update={"email": email, "channels": ()})}
        )
    with tempfile.TemporaryDirectory(prefix="colonywatch-trial-") as folder:
        where, problem = send_trial_alert(settings, Path(folder))
    if problem is not None:
        raise MonitorError(f"the test alert was not delivered: {problem}")
    say(f"the test alert went to {where}")
    _send_what_waited(configured)


def _send_what_waited(config: Config) -> None:
    """The way is open now: what was refused before goes, too."""
    from monitor.jobs.deliver import deliver_due, release_cured

    if config.record.database is None and not config.record.database_file.exists():
        return
    with open_store(config) as store:
        before = store.outbox.counts()
        if not before.pending + before.failed:
            return
        release_cured(store, config, utc_now(), whatever=True)
        sent = deliver_due(
            store, config, utc_now, stopping=lambda: False, without=("removal", "withdrawal")
        )
    if sent:
        say(
            f"{sent} that had waited was sent, too"
            if sent > 1
            else "1 that had waited was sent, too"
        )


def _rest(alert: Alert) -> str:
    if alert.role == "replaced":
        return " (taken back: scans that came late show otherwise)"
    if alert.closed_at is not None:
        return f" (closed{', ' if alert.held_back else ''}{_held(alert)})"
    if alert.snoozed_until is not None and alert.snoozed_until > utc_now():
        return f", snoozed until {alert.snoozed_until:%Y-%m-%d %H:%M}"
    return f" ({_held(alert)})" if alert.held_back else ""


def _held(alert: Alert) -> str:
    return f"mail held back: {alert.held_back}" if alert.held_back else ""


def alert_document(alert: Alert) -> dict[str, object]:
    """The JSON form of an alert."""

    def iso(moment: datetime | None) -> str | None:
        return None if moment is None else moment.isoformat()

    return {
        "id": alert.id,
        "dish": alert.dish or None,
        "source": alert.source,
        "topic": str(alert.topic),
        "kind": str(alert.kind),
        "severity": str(alert.severity),
        "text": alert.text,
        "held_back": alert.held_back,
        "role": alert.role,
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
