"""A mail put together: who, when, what it belongs to, its two forms and its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from monitor.errors import OutletError
from monitor.outlets.mail.smtp import POLICY, wire_address
from monitor.outlets.wording import clean, plain_id

MailImage = tuple[bytes, str, str, str]  # content, kind, id, file name


def mail_of(
    name: str,
    facts: dict[str, Any],
    pictures: Sequence[MailImage],
    *,
    subject: str,
    at: datetime,
    sender: str,
    recipients: Sequence[str],
    message_id: str,
    earlier: Sequence[str] = (),
    urgent: bool = False,
    text_alone: str | None = None,
) -> EmailMessage:
    """A mail from the templates of a name, HTML and plain text, with its pictures in it.

    text_alone : the whole mail, in place of the templates
    Raises OutletError (permanent) where there is nobody to send it to.
    """
    message = _envelope(
        subject, at, sender=sender, recipients=recipients, message_id=message_id, urgent=urgent
    )
    if earlier:
        message["In-Reply-To"] = f"<{plain_id(earlier[-1])}>"
        message["References"] = " ".join(f"<{plain_id(one)}>" for one in earlier)
    if text_alone is not None:
        message.set_content(f"{text_alone}\n\n{facts['size_note']}\n")
        return message
    message.set_content(templates().get_template(f"{name}.txt.j2").render(facts))
    message.add_alternative(templates().get_template(f"{name}.html.j2").render(facts), "html")
    (_, html) = message.iter_parts()
    assert isinstance(html, EmailMessage)
    for content, kind, cid, filename in pictures:
        html.add_related(
            content, "image", kind, cid=f"<{cid}>", filename=filename, disposition="inline"
        )
    return message


def _envelope(
    subject: str,
    at: datetime,
    *,
    sender: str,
    recipients: Sequence[str],
    message_id: str,
    urgent: bool,
) -> EmailMessage:
    if not recipients:
        raise OutletError(f"{subject}: no recipient; set outlets.email.recipients", permanent=True)
    message = EmailMessage(policy=POLICY)
    message["Subject"] = subject
    message["From"] = wire_address(clean(sender))
    message["To"] = ", ".join(wire_address(clean(recipient)) for recipient in recipients)
    message["Date"] = format_datetime(at)
    message["Message-ID"] = f"<{plain_id(message_id)}>"
    # Keeps holiday notices from answering (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    if urgent:
        message["Importance"] = "high"
    return message


@lru_cache(maxsize=1)
def templates() -> Environment:
    return Environment(
        loader=PackageLoader("monitor.outlets"),
        autoescape=select_autoescape(("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
