"""Hands a mail to a server, or puts it into a mailbox folder. Only it speaks with smtplib.

What a server refuses, and which setting cures it, is told by `refusals`.
"""

from __future__ import annotations

import hashlib
import json
import smtplib
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, getaddresses, parsedate_to_datetime
from pathlib import Path
from uuid import uuid4

from monitor.config import EmailConfig
from monitor.errors import OutletError
from monitor.host.atomic_files import write_whole
from monitor.outlets.mail.no_connection import no_connection
from monitor.outlets.mail.refusals import BY_ITSELF, Answer, Refused, Stage, refusal
from monitor.outlets.wording import clean, plain_id

# Subjects are longer than the usual 78, and folding would put a blank before them. Some servers
# still take seven bits only.
POLICY = SMTP.clone(max_line_length=240, cte_type="7bit")
_UTF8_POLICY = POLICY.clone(utf8=True)
_MECHANISMS = ("CRAM-MD5", "PLAIN", "LOGIN")


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
    tls : for a server with a certificate of the lab's own; None = as `ca_file` says
    Returns where it went. Where the server refused some of several addresses, the others have the
    mail; the text then names the refused ones, and trying again would send it twice.

    Raises OutletError; permanent where the server refused the message, its sender, the login or
    every address for good (5xx), else it is worth trying again. Its `setting` is what cures it.
    """
    if email.server is None:
        return _write_to_mailbox(message, mailbox)
    recipients = [wire_address(one) for one in to or _addresses(message, "To", "Cc", "Bcc")]
    sender = next(iter(_addresses(message, "From")), None)
    with _server(email, tls, sender=sender) as server:
        return _hand_over(message, server, recipients)


def knock(email: EmailConfig) -> None:
    """Is somebody there? Costs little beside a mail's pictures, drawn for a server that is down.

    Raises OutletError.
    """
    if email.server is None:
        return
    try:
        socket.create_connection((email.server, email.port), timeout=email.timeout_s).close()
    except OSError as problem:
        raise no_connection(problem, email) from problem


@dataclass(frozen=True)
class TryOut:
    """What a server says to all but the mail itself.

    largest_bytes : of mails, as it says; None where it does not
    problems : of single recipients
    """

    where: str
    largest_bytes: int | None
    problems: tuple[OutletError, ...]


def try_out(email: EmailConfig, *, tls: ssl.SSLContext | None = None) -> TryOut:
    """Talk with the server as for a mail to every recipient, and hang up before there is one.

    Raises OutletError for what would keep every mail.
    """
    assert email.server is not None
    with _server(email, tls) as server:
        server.name_sender(None, utf8=server.takes_utf8)
        problems = []
        for one in email.addresses:
            try:
                server.name_recipient(wire_address(one))
            except OutletError as problem:
                problems.append(problem)
        return TryOut(server.where, server.largest_bytes, tuple(problems))


def settings_fingerprint(email: EmailConfig) -> str:
    """Changes with whatever may cure a refusal: settings of mail, and the files that they name.

    Of the password's file only how it lies there counts, so that the record says nothing of it.
    """
    values = email.model_dump(
        mode="json",
        include={"server", "port", "security", "username", "password_file", "ca_file", "sender"},
    )
    files = [_lies_as(one) for one in (email.password_file, email.ca_file)]
    text = json.dumps([values, sorted(email.addresses), files], sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _lies_as(path: Path | None) -> list[int] | None:
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns, found.st_mode]


def plain_mail(
    subject: str, text: str, *, at: datetime, sender: str, recipient: str
) -> EmailMessage:
    """A mail of text alone, such as one on a service that is down."""
    message = EmailMessage(policy=POLICY)
    message["Subject"] = clean(subject)
    message["From"] = wire_address(clean(sender))
    message["To"] = wire_address(clean(recipient))
    message["Date"] = format_datetime(at)
    message["Message-ID"] = f"<{plain_id(uuid4().hex)}>"
    message["Auto-Submitted"] = "auto-generated"
    message["Importance"] = "high"
    message.set_content(text)
    return message


def wire_address(address: str) -> str:
    """The address with its domain in plain letters (IDNA); what precedes it is left alone."""
    front, at, domain = address.rpartition("@")
    tail = ">" if domain.endswith(">") else ""
    name = domain.removesuffix(">")
    if not at or name.isascii():
        return address
    try:
        return f"{front}@{name.encode('idna').decode()}{tail}"
    except UnicodeError:
        return address


def _write_to_mailbox(message: EmailMessage, mailbox: Path) -> str:
    """One file a mail; the same mail again replaces its file."""
    at = parsedate_to_datetime(str(message["Date"])) if message["Date"] else datetime.now(UTC)
    name = plain_id(str(message["Message-ID"] or "no-id")).replace("@", "_at_")[:120]
    path = mailbox / f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}_{name}.eml"
    plain = all(one.isascii() for one in _parties(message))
    try:
        write_whole(path, message.as_bytes(policy=POLICY if plain else _UTF8_POLICY))
    except OSError as problem:
        raise OutletError(
            f"{path}: the mail cannot be written ({problem.strerror or problem}); make room or "
            "give the folder to this user; it is tried again"
        ) from problem
    return str(path)


def _addresses(message: EmailMessage, *names: str) -> list[str]:
    headers = [str(value) for name in names for value in message.get_all(name, [])]
    return [address for _, address in getaddresses(headers) if address]


def _parties(message: EmailMessage) -> list[str]:
    return _addresses(message, "From", "To", "Cc")


# --- the conversation -----------------------------------------------------------------------------


class _Server:
    """A server that has greeted us, and taken our login where there is one. Each step raises
    OutletError that says what is wrong.
    """

    def __init__(self, connection: smtplib.SMTP, email: EmailConfig, sender: str) -> None:
        self._connection = connection
        self._email = email
        self._sender = wire_address(sender)
        self.where = f"{email.server}:{email.port}"
        self.said = ""  # what it answered last, where that was a refusal

    @property
    def takes_utf8(self) -> bool:
        return self._connection.has_extn("smtputf8")

    @property
    def largest_bytes(self) -> int | None:
        said = str(self._connection.esmtp_features.get("size", "")).split()
        return int(said[0]) if said and said[0].isdecimal() and int(said[0]) > 0 else None

    def open(self, context: ssl.SSLContext | None) -> None:
        connection, email = self._connection, self._email
        connection.ehlo_or_helo_if_needed()
        if email.security == "starttls":
            if not connection.has_extn("starttls"):
                raise self._wrong(
                    "it offers no encryption (STARTTLS) here; set outlets.email.security to tls, "
                    "with the port for it (usually 465), or to none if the connection is safe",
                    "outlets.email.security",
                )
            try:
                connection.starttls(context=context)
            except smtplib.SMTPResponseException as problem:
                raise self.refused(
                    Stage.ENCRYPTION, problem.smtp_code, problem.smtp_error
                ) from problem
            connection.ehlo_or_helo_if_needed()
        if email.username is not None:
            self._log_in(email.username)

    def _log_in(self, username: str) -> None:
        password = _password(self._email)
        for value, key in ((username, "username"), (password, "password_file")):
            if not value.isascii():
                raise self._wrong(
                    f"the login can only have ASCII letters; check outlets.email.{key}",
                    f"outlets.email.{key}",
                )
        offered = str(self._connection.esmtp_features.get("auth", "")).upper().split()
        if not self._connection.has_extn("auth"):
            raise self._wrong(
                "it offers no login here; remove outlets.email.username and password_file "
                "if it needs none, else set outlets.email.port to the one for programs that send "
                "(usually 587, or 465 with security: tls)",
                "outlets.email.username",
            )
        if not set(offered) & set(_MECHANISMS):
            raise self._wrong(
                f"it offers logins of the kinds {' '.join(offered) or 'none'} only, here are "
                f"{', '.join(_MECHANISMS)}; ask those who run it for a login by password, or set "
                "outlets.email.server to a server that takes one",
                "outlets.email.server",
            )
        try:
            self._connection.login(username, password)
        except smtplib.SMTPAuthenticationError as problem:
            raise self.refused(Stage.LOGIN, problem.smtp_code, problem.smtp_error) from problem
        except ValueError as problem:
            raise self._wrong(
                f"the login cannot be made ({problem}); check outlets.email.username",
                "outlets.email.username",
            ) from problem

    def name_sender(self, size: int | None, *, utf8: bool = False) -> None:
        if not self._sender.isascii() and not self.takes_utf8:
            raise self._wrong(
                f"it accepts only ASCII addresses, not the sender {self._sender}; "
                "set outlets.email.sender to such an address",
                "outlets.email.sender",
            )
        options = []
        if size is not None and self._connection.has_extn("size"):
            options.append(f"SIZE={size}")
        if utf8:
            options += ["BODY=8BITMIME", "SMTPUTF8"]
        code, said = self._connection.mail(self._sender, options)
        if code != 250:
            raise self.refused(Stage.SENDER, code, said)

    def name_recipient(self, address: str) -> None:
        if not address.isascii() and not self.takes_utf8:
            self.said = "not in ASCII"
            raise OutletError(
                f"{self.where}: it accepts only ASCII addresses, not {address}; "
                f"correct outlets.email.recipients; {BY_ITSELF}",
                permanent=True,
                setting="outlets.email.recipients",
                of_recipient=True,
            )
        code, said = self._connection.rcpt(address)
        if code not in (250, 251):
            raise self.refused(Stage.RECIPIENT, code, said, address)

    def take(self, content: bytes, address: str) -> None:
        try:
            code, said = self._connection.data(content)
        except smtplib.SMTPDataError as problem:
            raise self.refused(Stage.MAIL, problem.smtp_code, problem.smtp_error, address) from (
                problem
            )
        if code != 250:
            raise self.refused(Stage.MAIL, code, said, address)

    def refused(
        self, stage: Stage, code: int, said: bytes | str, recipient: str = ""
    ) -> OutletError:
        if code < 0:
            return OutletError(
                f"{self.where}: no connection (its answer is not SMTP); it is tried again",
                unreachable=True,
            )
        answer = Answer.of(code, said)
        self.said = str(answer)
        return refusal(self.where, Refused(stage, answer, self._email, self._sender, recipient))

    def _wrong(self, what: str, setting: str) -> OutletError:
        return OutletError(f"{self.where}: {what}; {BY_ITSELF}", unreachable=True, setting=setting)


@contextmanager
def _server(
    email: EmailConfig, tls: ssl.SSLContext | None, *, sender: str | None = None
) -> Iterator[_Server]:
    """A server, ready for a sender. Whatever goes wrong with the line is told as OutletError."""
    assert email.server is not None
    context = tls or _context(email)
    if email.username is not None:
        _password(email)  # before anybody is called
    try:
        connection = (
            smtplib.SMTP_SSL(email.server, email.port, timeout=email.timeout_s, context=context)
            if email.security == "tls"
            else smtplib.SMTP(email.server, email.port, timeout=email.timeout_s)
        )
    except (smtplib.SMTPException, OSError, UnicodeError) as problem:
        raise no_connection(problem, email, connecting=True) from problem
    server = _Server(connection, email, sender or next(iter(_split(email.sender)), email.sender))
    try:
        server.open(context)
        yield server
    except smtplib.SMTPResponseException as problem:
        raise server.refused(Stage.GREETING, problem.smtp_code, problem.smtp_error) from problem
    except (smtplib.SMTPException, OSError) as problem:
        raise no_connection(problem, email) from problem
    finally:
        _say_goodbye(connection)


def _hand_over(message: EmailMessage, server: _Server, to: Sequence[str]) -> str:
    utf8 = server.takes_utf8 and not all(one.isascii() for one in (*_parties(message), *to))
    content = message.as_bytes(policy=_UTF8_POLICY if utf8 else POLICY)
    largest = server.largest_bytes
    if largest is not None and len(content) > largest:
        raise OutletError(
            f"{server.where}: the mail is too large: {len(content)} bytes, it accepts {largest}",
            permanent=True,
            too_large=True,
        )
    server.name_sender(len(content), utf8=utf8)
    taken: list[str] = []
    refused: dict[str, tuple[OutletError, str]] = {}
    for address in to:
        try:
            server.name_recipient(address)
            taken.append(address)
        except OutletError as problem:
            refused[address] = problem, server.said
    if not taken:
        raise _nobody_taken([problem for problem, _ in refused.values()])
    server.take(content, taken[0] if len(taken) == 1 else "")
    where = f"{', '.join(taken)} through {server.where}"
    told = ", ".join(f"{address} ({said})" for address, (_, said) in refused.items())
    return f"{where}; refused: {told}" if refused else where


def _nobody_taken(problems: Sequence[OutletError]) -> OutletError:
    if len(problems) == 1:
        return problems[0]
    return OutletError(
        "; ".join(str(one) for one in problems),
        permanent=all(one.permanent for one in problems),
        unreachable=all(one.unreachable for one in problems),
        setting=next((one.setting for one in problems if one.setting), None),
        of_recipient=all(one.of_recipient for one in problems),
    )


def _split(sender: str) -> list[str]:
    return [address for _, address in getaddresses([clean(sender)]) if address]


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
            f"outlets.email.password_file; {BY_ITSELF}",
            unreachable=True,
            setting="outlets.email.password_file",
        ) from problem


def _context(email: EmailConfig) -> ssl.SSLContext | None:
    if email.security == "none":
        return None
    try:
        context = ssl.create_default_context()
        if email.ca_file is not None:  # beside the machine's authorities
            context.load_verify_locations(cafile=email.ca_file)
        return context
    except (OSError, ssl.SSLError) as problem:
        raise OutletError(
            f"{email.ca_file}: holds no certificates that can be read "
            f"({getattr(problem, 'strerror', None) or problem}); correct outlets.email.ca_file; "
            f"{BY_ITSELF}",
            unreachable=True,
            setting="outlets.email.ca_file",
        ) from problem
