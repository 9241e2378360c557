"""Why there is no line to a mail server, or none any more, and which setting cures it."""

from __future__ import annotations

import smtplib
import socket
import ssl

from monitor.config import EmailConfig
from monitor.errors import OutletError
from monitor.outlets.mail.refusals import BY_ITSELF, Answer, Refused, Stage, refusal

_PROBE_S = 5.0
_HOST_NAME_ERRORS = (62, 63, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, EMAIL_, IP_ADDRESS_
_EXPIRED, _NOT_YET_VALID = 10, 9


def no_connection(
    problem: Exception, email: EmailConfig, *, connecting: bool = False
) -> OutletError:
    """Why there is no line to the server, or none any more.

    connecting : a server that says nothing may wait for us to speak TLS
    """
    said, setting = _why_no_connection(problem, email)
    silent = connecting and _is_silence(problem) and email.security != "tls"
    if silent and _speaks_tls(email):
        said = "it speaks TLS from the start; set outlets.email.security to tls"
        setting = "outlets.email.security"
    tail = f"; {BY_ITSELF}" if setting else ""
    return OutletError(
        f"{email.server}:{email.port}: {said}{tail}", unreachable=True, setting=setting
    )


def _why_no_connection(problem: Exception, email: EmailConfig) -> tuple[str, str | None]:
    if isinstance(problem, ssl.SSLCertVerificationError):
        return _why_not_trusted(problem)
    if isinstance(problem, ssl.SSLError):
        if email.security == "tls" and _greets_in_the_open(email):
            return (
                "it does not speak TLS from the start; set outlets.email.security to starttls "
                "(usual "
                "on port 587), or to none if the connection is safe",
                "outlets.email.security",
            )
        reason = (problem.reason or str(problem)).replace("_", " ").lower()
        return (
            f"no connection (no agreement on encryption: {reason}); it is tried again",
            None,
        )
    if _is_silence(problem):
        return (
            "no answer in time; it is tried again (if it stays so: check outlets.email.server, "
            "port and timeout_s, and that no firewall blocks the port)"
        ), None
    if isinstance(problem, socket.gaierror | UnicodeError):
        return "no such host; check outlets.email.server; it is tried again", None
    if isinstance(problem, smtplib.SMTPResponseException):
        if problem.smtp_code < 0:
            return (
                "what answers there is not a mail server; check outlets.email.server and port",
                None,
            )
        one = Refused(Stage.GREETING, Answer.of(problem.smtp_code, problem.smtp_error), email)
        error = refusal("", one)
        return str(error).removeprefix(": ").removesuffix(f"; {BY_ITSELF}"), error.setting
    if isinstance(problem, ConnectionRefusedError):
        return (
            f"no connection (nobody listens on port {email.port}); check outlets.email.server and "
            "port; it is tried again"
        ), None
    return f"no connection ({problem}); it is tried again", None


def _why_not_trusted(problem: ssl.SSLCertVerificationError) -> tuple[str, str | None]:
    untrusted = f"its certificate is not trusted ({problem.verify_message}); nothing was sent"
    if problem.verify_code in _HOST_NAME_ERRORS:
        return (
            f"{untrusted}; set outlets.email.server to the name that the certificate is for",
            "outlets.email.server",
        )
    if problem.verify_code == _EXPIRED:
        return f"{untrusted}; those who run it must renew it; it is tried again", None
    if problem.verify_code == _NOT_YET_VALID:
        return f"{untrusted}; is this machine's clock right? It is tried again", None
    return (
        f"{untrusted}; if it is one of your own, set outlets.email.ca_file to the "
        "certificate of its signer",
        "outlets.email.ca_file",
    )


def _is_silence(problem: Exception) -> bool:
    # smtplib tells a silent server and one that hangs up apart by the text alone.
    return isinstance(problem, TimeoutError) or "timed out" in str(problem)


def _speaks_tls(email: EmailConfig) -> bool:
    """Does it answer to a TLS handshake? Whom the certificate is for does not matter here."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    wait_s = min(email.timeout_s, _PROBE_S)
    try:
        with (
            socket.create_connection((email.server or "", email.port), timeout=wait_s) as line,
            context.wrap_socket(line),
        ):
            return True
    except OSError:
        return False


def _greets_in_the_open(email: EmailConfig) -> bool:
    wait_s = min(email.timeout_s, _PROBE_S)
    try:
        with socket.create_connection((email.server or "", email.port), timeout=wait_s) as line:
            return line.recv(4).startswith(b"220")
    except OSError:
        return False
