"""`report-failure`: tells people that a service is down. Called by systemd when it is."""

from __future__ import annotations

import logging
import socket
import sys
from datetime import datetime
from typing import Annotated

import typer

from monitor.commands.common import ConfigOption, begin_logging, say
from monitor.config import find_config
from monitor.config.partial import PartialConfig, partial_config
from monitor.errors import MonitorError, OutletError
from monitor.host.clock import utc_now
from monitor.jobs.emergency import tell_everybody

_LONGEST_LOG = 20_000


def report_failure(
    unit: Annotated[str, typer.Argument(metavar="UNIT", help="What is down.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, if known.")] = "",
    config: ConfigOption = None,
) -> None:
    """Tell everybody who gets alerts that a service is down and will not restart by itself.

    The end of its log is read from standard input. Works if only other parts of the
    configuration than its mail settings are broken, and then says what is wrong.

    Example: colonywatch report-failure colonywatch.service --reason "exit status 78"
    """
    begin_logging(logging.WARNING)
    now = utc_now()
    lines = "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read()[-_LONGEST_LOG:]
    found = partial_config(find_config(config))
    text = _text(unit, reason, lines, found)
    subject = f"{unit} is DOWN on {socket.gethostname()}"
    if found.outlets is None:
        raise MonitorError(
            f"nobody was told that {unit} is down: the mail settings cannot be used.\n"
            f"{found.problem}"
        )
    told, problems = _tell(found, subject, text, now)
    for problem in problems:
        say(problem)
    if not told:
        raise MonitorError(f"nobody was told that {unit} is down")
    say(f"told: {', '.join(told)}")


def _text(unit: str, reason: str, lines: str, found: PartialConfig) -> str:
    parts = [
        f"{unit} is down on {socket.gethostname()} and will not start again by itself.",
        "Until it does, no culture is watched and no alert is sent.",
    ]
    if reason:
        parts.append(reason)
    if found.problem is not None:
        parts.append(
            "The configuration cannot be used. This mail was sent with the part that could be "
            "read:\n" + found.problem
        )
        parts.append(
            "Correct it, check it with `colonywatch check-config`, then: systemctl restart " + unit
        )
    else:
        parts.append(
            f"When the cause is fixed: systemctl reset-failed {unit}, systemctl start {unit}"
        )
    if lines.strip():
        parts.append(f"The end of its log:\n\n{lines.rstrip()}")
    return "\n\n".join(parts) + "\n"


def _tell(
    found: PartialConfig, subject: str, text: str, now: datetime
) -> tuple[list[str], list[str]]:
    """Every recipient, every channel, the check-in. Returns who was told, and what went wrong."""
    from monitor.outlets.heartbeat import call

    assert found.outlets is not None
    # A mail in a folder would be read by nobody.
    mailbox = None if found.outlets.email.server is None else found.mailbox
    told, problems = tell_everybody(
        found.outlets,
        mailbox,
        subject,
        text,
        now,
        short=text.split("The end of its log")[0],
    )
    url_file = found.outlets.check_in.url_file
    if url_file is not None:
        try:
            call(url_file, "/fail", text, timeout_s=found.outlets.check_in.timeout_s)
            told.append("the check-in")
        except OutletError as problem:
            problems.append(str(problem))
    return told, list(dict.fromkeys(problems))
