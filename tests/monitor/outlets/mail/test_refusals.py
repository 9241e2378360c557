"""Answers as servers of all makes give them, and the setting that each calls for."""

from __future__ import annotations

import pytest

from monitor.config import EmailConfig
from monitor.outlets.mail.refusals import Answer, Kind, Refused, Stage, kind_of, refusal

SENDER, RECIPIENT = "colonywatch@localhost", "lab@clinic.example"

ANSWERS: dict[str, tuple[Stage, int, str, Kind]] = {
    # Encryption
    "postfix wants TLS": (
        Stage.SENDER,
        530,
        "5.7.0 Must issue a STARTTLS command first",
        Kind.ENCRYPTION_WANTED,
    ),
    "exchange wants TLS": (
        Stage.SENDER,
        451,
        "5.7.3 STARTTLS is required to send mail",
        Kind.ENCRYPTION_WANTED,
    ),
    "login only when encrypted": (
        Stage.LOGIN,
        538,
        "5.7.11 Encryption required for requested authentication mechanism",
        Kind.ENCRYPTION_WANTED,
    ),
    "TLS for now not there": (
        Stage.ENCRYPTION,
        454,
        "4.7.0 TLS not available due to local problem",
        Kind.LATER,
    ),
    # Login
    "aiosmtpd wants a login": (
        Stage.SENDER,
        530,
        "5.7.0 Authentication required",
        Kind.LOGIN_WANTED,
    ),
    "exchange wants a login": (
        Stage.SENDER,
        530,
        "5.7.57 Client not authenticated to send mail.",
        Kind.LOGIN_WANTED,
    ),
    "a login at the recipient": (
        Stage.RECIPIENT,
        550,
        "5.7.1 Authentication is required for relay",
        Kind.LOGIN_WANTED,
    ),
    "wrong password": (
        Stage.LOGIN,
        535,
        "5.7.8 Authentication credentials invalid",
        Kind.LOGIN_REFUSED,
    ),
    "a password for programs": (
        Stage.LOGIN,
        534,
        "5.7.9 Application-specific password required.",
        Kind.LOGIN_REFUSED,
    ),
    "login put off": (Stage.LOGIN, 454, "4.7.0 Temporary authentication failure", Kind.LATER),
    # Size
    "postfix: size": (
        Stage.SENDER,
        552,
        "5.3.4 Message size exceeds fixed limit",
        Kind.TOO_LARGE,
    ),
    "aiosmtpd: size by SIZE": (
        Stage.SENDER,
        552,
        "Error: message size exceeds fixed maximum message size",
        Kind.TOO_LARGE,
    ),
    "aiosmtpd: size by DATA": (Stage.MAIL, 552, "Error: Too much mail data", Kind.TOO_LARGE),
    "exchange: size": (
        Stage.MAIL,
        550,
        "5.3.4 ROUTING.SizeLimit; message size exceeds fixed maximum size for route",
        Kind.TOO_LARGE,
    ),
    "size for one recipient": (
        Stage.RECIPIENT,
        552,
        "5.2.3 Message length exceeds administrative limit",
        Kind.TOO_LARGE,
    ),
    "552 alone": (Stage.MAIL, 552, "Requested action aborted", Kind.TOO_LARGE),
    "mailbox full": (Stage.RECIPIENT, 552, "5.2.2 Mailbox full", Kind.MAILBOX_FULL),
    "over quota": (
        Stage.RECIPIENT,
        452,
        "4.2.2 The email account is over quota",
        Kind.MAILBOX_FULL,
    ),
    # Sender
    "sender at MAIL": (Stage.SENDER, 550, "who are you", Kind.SENDER_REFUSED),
    "postfix: sender at RCPT": (
        Stage.RECIPIENT,
        553,
        "5.7.1 <colonywatch@localhost>: Sender address rejected: not owned by user watch",
        Kind.SENDER_REFUSED,
    ),
    "sender's domain at RCPT": (
        Stage.RECIPIENT,
        554,
        "5.7.1 <colonywatch@localhost>: no such domain",
        Kind.SENDER_REFUSED,
    ),
    "exim: sender verify": (Stage.RECIPIENT, 550, "Sender verify failed", Kind.SENDER_REFUSED),
    "exchange: send as": (
        Stage.MAIL,
        554,
        "5.2.252 SendAsDenied; watch not allowed to send as colonywatch@localhost",
        Kind.SENDER_REFUSED,
    ),
    "exchange: permission": (
        Stage.MAIL,
        550,
        "5.7.60 SMTP; Client does not have permissions to send as this sender",
        Kind.SENDER_REFUSED,
    ),
    # Relay
    "postfix: relay": (
        Stage.RECIPIENT,
        554,
        "5.7.1 <lab@clinic.example>: Relay access denied",
        Kind.NO_RELAY,
    ),
    "exchange: relay": (Stage.RECIPIENT, 550, "5.7.54 SMTP; Unable to relay", Kind.NO_RELAY),
    # Machine
    "client host": (
        Stage.RECIPIENT,
        554,
        "5.7.1 <unknown[10.0.0.7]>: Client host rejected: Access denied",
        Kind.MACHINE_REFUSED,
    ),
    "turned away": (Stage.GREETING, 554, "go away", Kind.MACHINE_REFUSED),
    "block list": (
        Stage.RECIPIENT,
        550,
        "5.7.1 Service unavailable; blocked using zen.spamhaus.org",
        Kind.MACHINE_REFUSED,
    ),
    # Recipient, or nothing to set
    "no such user": (
        Stage.RECIPIENT,
        550,
        "5.1.1 <lab@clinic.example>: Recipient address rejected: User unknown",
        Kind.RECIPIENT_REFUSED,
    ),
    "exchange: no such user": (
        Stage.RECIPIENT,
        550,
        "5.1.10 RESOLVER.ADR.RecipientNotFound",
        Kind.RECIPIENT_REFUSED,
    ),
    "postgrey": (
        Stage.RECIPIENT,
        450,
        "4.2.0 <lab@clinic.example>: Recipient address rejected: Greylisted, see postgrey",
        Kind.GREYLISTED,
    ),
    "busy": (Stage.RECIPIENT, 451, "4.3.2 later", Kind.LATER),
    "spam": (Stage.MAIL, 554, "5.7.1 This looks like spam", Kind.MAIL_REFUSED),
}

SETTINGS = {
    Kind.ENCRYPTION_WANTED: "outlets.email.security",
    Kind.LOGIN_WANTED: "outlets.email.username",
    Kind.LOGIN_REFUSED: "outlets.email.password_file",
    Kind.NO_RELAY: "outlets.email.username",
    Kind.SENDER_REFUSED: "outlets.email.sender",
    Kind.MACHINE_REFUSED: "outlets.email.server",
    Kind.RECIPIENT_REFUSED: "outlets.email.recipients",
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_means_what_its_server_meant(name):
    stage, code, text, kind = ANSWERS[name]
    assert kind_of(stage, Answer.of(code, text), SENDER, RECIPIENT) is kind


@pytest.mark.parametrize("name", ANSWERS)
def test_what_a_setting_cures_names_it_and_what_passes_is_tried_again(name):
    stage, code, text, kind = ANSWERS[name]
    one = Refused(stage, Answer.of(code, text), EmailConfig(), SENDER, RECIPIENT)
    error = refusal("mail.clinic.example:25", one)
    assert error.setting == SETTINGS.get(kind)
    if error.setting is not None:
        assert error.setting in str(error)
    passes = kind in (Kind.LATER, Kind.GREYLISTED, Kind.MAILBOX_FULL)
    assert error.permanent is (code >= 500 and not passes)
    assert ("tried again" in str(error)) is passes
    assert error.too_large is (kind is Kind.TOO_LARGE)
    assert error.of_recipient is (kind is Kind.RECIPIENT_REFUSED)
    assert text in str(error)


def test_an_address_is_not_read_as_words():
    """A recipient may be called as a refusal of senders is worded."""
    answer = Answer.of(550, "5.1.1 <bad-sender@clinic.example>: User unknown")
    kind = kind_of(Stage.RECIPIENT, answer, SENDER, "bad-sender@clinic.example")
    assert kind is Kind.RECIPIENT_REFUSED


def test_whoever_logs_in_already_is_not_told_to_do_so(tmp_path):
    email = EmailConfig(username="watch", password_file=tmp_path / "password")
    one = Refused(Stage.RECIPIENT, Answer.of(554, "relaying denied"), email, SENDER, RECIPIENT)
    assert refusal("x", one).setting == "outlets.email.server"


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("4.7.1 <watch@lab.example>: Sender address rejected: Domain not found", "sender"),
        ("4.1.8 <watch@lab.example>: Sender address rejected: Domain not found", "sender"),
        ("4.7.1 Client host rejected: cannot find your reverse hostname, [10.0.0.2]", "server"),
        ("4.1.2 <lab@clinic.example>: Recipient address rejected: Domain not found", "recipients"),
    ],
)
def test_what_is_put_off_for_a_reason_that_stays_is_no_greylisting(text, setting):
    """Postfix puts such mail off (450) where it means a refusal: it would be waited for in vain."""
    one = Refused(Stage.RECIPIENT, Answer.of(450, text), EmailConfig(), SENDER, RECIPIENT)
    error = refusal("mail.clinic.example:25", one)
    assert not error.permanent
    assert "greylisting" not in str(error)
    assert f"if that goes on, check outlets.email.{setting}" in str(error)
