"""Hands a mail to a server, or puts it into a mailbox folder. Only user of smtplib.

Says whether trying again can help, and whether it is the server that is out of reach.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, getaddresses, parsedate_to_datetime
from pathlib import Path

from monitor.config import EmailConfig
from monitor.errors import OutletError
from monitor.outlets.wording import clean, plain_id
from monitor.whole_files import write_whole

# Subjects are longer than the usual 78, and folding would put a blank before them.
POLICY = SMTP.clone(max_line_length=240)


def send(
    message: EmailMessage,
    email: EmailConfig,
    mailbox: Path,
    *,
    to: Sequence[str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> str:
    """Hand a mail to the server, or write it into `mailbox` where no server is configured.

    to : addresses that get it; None = those in its header
    tls : for a server with a certificate of the lab's own; None = the machine's authorities
    Returns where it went. Where the server refused some of several addresses, the others have the
    mail; the text then names the refused ones, and trying again would send it twice.

    Raises OutletError; permanent where the server refused the message, its sender, the login or
    every address for good (5xx), else it is worth trying again.
    """
    if email.server is None:
        return _write_to_mailbox(message, mailbox)
    return _send_by_smtp(message, email, email.server, to or _addresses(message), tls)


def knock(email: EmailConfig) -> None:
    """Is somebody there? Costs little beside a mail's pictures, drawn for a server that is down.

    Raises OutletError.
    """
    if email.server is None:
        return
    try:
        socket.create_connection((email.server, email.port), timeout=email.timeout_s).close()
    except OSError as problem:
        where = f"{email.server}:{email.port}"
        raise OutletError(f"{where}: {_no_connection(problem)}", unreachable=True) from problem


def plain_mail(
    subject: str, text: str, *, at: datetime, sender: str, recipient: str
) -> EmailMessage:
    """A mail of text alone, such as one on a service that is down."""
    message = EmailMessage(policy=POLICY)
    message["Subject"] = clean(subject)
    message["From"] = clean(sender)
    message["To"] = clean(recipient)
    message["Date"] = format_datetime(at)
    message["Message-ID"] = f"<{plain_id(f'down-{at:%Y%m%dT%H%M%S.%f}-{clean(recipient)}')}>"
    message["Auto-Submitted"] = "auto-generated"
    message["Importance"] = "high"
    message.set_content(text)
    return message


def _write_to_mailbox(message: EmailMessage, mailbox: Path) -> str:
    """One file a mail; the same mail again replaces its file."""
    at = parsedate_to_datetime(str(message["Date"])) if message["Date"] else datetime.now(UTC)
    name = plain_id(str(message["Message-ID"] or "no-id")).replace("@", "_at_")[:120]
    path = mailbox / f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}_{name}.eml"
    try:
        write_whole(path, message.as_bytes(policy=POLICY))
    except OSError as problem:
        raise OutletError(
            f"{path}: the mail cannot be written ({problem.strerror or problem}); make room or "
            "give the folder to this user; it is tried again"
        ) from problem
    return str(path)


def _addresses(message: EmailMessage) -> list[str]:
    headers = [str(value) for name in ("To", "Cc", "Bcc") for value in message.get_all(name, [])]
    return [address for _, address in getaddresses(headers) if address]


def _send_by_smtp(
    message: EmailMessage,
    email: EmailConfig,
    host: str,
    to: Sequence[str],
    tls: ssl.SSLContext | None,
) -> str:
    server = f"{host}:{email.port}"
    context = tls
    if context is None and email.security != "none":
        context = ssl.create_default_context()
    password = _password(email)
    try:
        connection = (
            smtplib.SMTP_SSL(host, email.port, timeout=email.timeout_s, context=context)
            if email.security == "tls"
            else smtplib.SMTP(host, email.port, timeout=email.timeout_s)
        )
    except (smtplib.SMTPException, OSError) as problem:
        raise OutletError(f"{server}: {_no_connection(problem)}", unreachable=True) from problem
    try:
        if email.security == "starttls":
            connection.starttls(context=context)
        if email.username is not None:
            connection.login(email.username, password)
        refused = connection.send_message(message, to_addrs=list(to))
    except smtplib.SMTPRecipientsRefused as problem:
        raise OutletError(
            f"{server}: every recipient was refused: {_refusals(problem.recipients)}; correct "
            "outlets.email.recipients",
            permanent=all(code >= 500 for code, _ in problem.recipients.values()),
        ) from problem
    except smtplib.SMTPResponseException as problem:
        raise OutletError(
            f"{server}: {_what_was_refused(problem)}: {problem.smtp_code} "
            f"{_decoded(problem.smtp_error)}",
            permanent=problem.smtp_code >= 500,
        ) from problem
    except smtplib.SMTPNotSupportedError as problem:
        raise OutletError(
            f"{server}: {problem}; set outlets.email.security to what the server offers"
        ) from problem
    except (smtplib.SMTPException, OSError) as problem:
        raise OutletError(f"{server}: {_no_connection(problem)}", unreachable=True) from problem
    except UnicodeError as problem:
        raise OutletError(
            f"{server}: an address cannot be sent in plain letters: {', '.join(to)}; correct "
            "outlets.email.recipients",
            permanent=True,
        ) from problem
    finally:
        _say_goodbye(connection)
    delivered = [address for address in to if address not in refused]
    where = f"{', '.join(delivered)} through {server}"
    return f"{where}; refused: {_refusals(refused)}" if refused else where


def _say_goodbye(connection: smtplib.SMTP) -> None:
    # The server has the mail, or has said why not: a failing farewell must not send it twice.
    with suppress(smtplib.SMTPException, OSError):
        if connection.sock is not None:
            connection.quit()
    connection.close()


def _password(email: EmailConfig) -> str:
    if email.username is None or email.password_file is None:
        return ""
    try:
        return email.password_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise OutletError(
            f"{email.password_file}: the mail password cannot be read "
            f"({getattr(problem, 'strerror', None) or problem}); correct "
            "outlets.email.password_file"
        ) from problem


def _what_was_refused(problem: smtplib.SMTPResponseException) -> str:
    if isinstance(problem, smtplib.SMTPAuthenticationError):
        return "the login was refused; check outlets.email.username and password_file"
    if isinstance(problem, smtplib.SMTPSenderRefused):
        return f"the sender {problem.sender} was refused; check outlets.email.sender"
    return "the mail was refused"


def _no_connection(problem: Exception) -> str:
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"its certificate is not to be trusted ({problem.verify_message}); nothing was sent"
    # smtplib tells a silent server and one that hangs up apart by the text alone.
    if isinstance(problem, TimeoutError) or "timed out" in str(problem):
        return "no answer in time; it is tried again"
    if isinstance(problem, socket.gaierror):
        return "no such host; check outlets.email.server"
    if isinstance(problem, smtplib.SMTPResponseException):
        if problem.smtp_code < 0:
            return "what answers there is no mail server; check outlets.email.server and port"
        return f"not accepting mail: {problem.smtp_code} {_decoded(problem.smtp_error)}"
    return f"no connection ({problem}); it is tried again"


def _refusals(refused: Mapping[str, tuple[int, bytes]]) -> str:
    return ", ".join(
        f"{address} ({code} {_decoded(answer)})" for address, (code, answer) in refused.items()
    )


def _decoded(answer: bytes | str) -> str:
    text = answer.decode(errors="replace") if isinstance(answer, bytes) else answer
    return clean(text)
