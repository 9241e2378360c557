"""Tells people what cannot wait for the record, or has no place in it: straight, by every way.

No outbox and no rests: whoever gets alerts at all is told at once.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from monitor.config import OutletsConfig
from monitor.culture import Severity
from monitor.errors import OutletError


def tell_everybody(
    outlets: OutletsConfig,
    mailbox: Path | None,
    subject: str,
    text: str,
    now: datetime,
    *,
    short: str | None = None,
) -> tuple[list[str], list[str]]:
    """Every recipient and every channel. Returns where it went, and what went wrong.

    mailbox : for mails where no server is configured; None = such a mail reaches nobody
    short : for channels, which are no place for long texts
    """
    from monitor.outlets.mail.smtp import plain_mail, send
    from monitor.outlets.push import push

    email, told, problems = outlets.email, [], []
    for address in email.addresses:
        if mailbox is None:
            problems.append("outlets.email.server: no mail server is configured")
            break
        mail = plain_mail(
            f"[colonywatch] {subject}", text, at=now, sender=email.sender, recipient=address
        )
        try:
            told.append(send(mail, email, mailbox))
        except OutletError as problem:
            problems.append(str(problem))
    for channel in outlets.channels:
        try:
            told.append(
                push(
                    channel,
                    subject,
                    short or text,
                    severity=Severity.CRITICAL,
                    timeout_s=email.timeout_s,
                )
            )
        except OutletError as problem:
            problems.append(str(problem))
    return told, list(dict.fromkeys(problems))
