"""A real server for each way of refusing: the right setting is named, and right is then right."""

from __future__ import annotations

import os

import pytest
from aiosmtpd.smtp import AuthResult

from monitor.errors import OutletError
from monitor.outlets.mail.smtp import plain_mail, send, settings_fingerprint, try_out
from tests.monitor.facts import NOW
from tests.monitor.outlets.mail_servers import (
    Opinions,
    certificate_for,
    mail_server,
    mail_settings,
    only_with,
)


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """(certificate, context) of a server whose certificate the lab signed itself."""
    return certificate_for(tmp_path_factory.mktemp("ours"), "127.0.0.1")


@pytest.fixture
def password(tmp_path):
    file = tmp_path / "password"
    file.write_text("right\n")
    return file


def mail(sender="watch@lab.example", recipient="a@lab.example"):
    return plain_mail("Hello", "A line. Ein Grüß.", at=NOW, sender=sender, recipient=recipient)


def refused(email, tmp_path, **parties) -> OutletError:
    with pytest.raises(OutletError) as raised:
        send(mail(**parties), email, tmp_path)
    assert "127.0.0.1" in str(raised.value)
    return raised.value


def test_a_server_that_wants_encryption_calls_for_security_not_for_another_sender(tmp_path, ours):
    certificate, context = ours
    opinions = Opinions()
    with mail_server(opinions, tls_context=context, require_starttls=True) as port:
        problem = refused(mail_settings(port), tmp_path)
        assert problem.setting == "outlets.email.security"
        assert "security to starttls" in str(problem)
        assert "sender" not in str(problem)
        send(mail(), mail_settings(port, security="starttls", ca_file=certificate), tmp_path)
    assert len(opinions.taken) == 1


def test_a_server_without_starttls_calls_for_security(tmp_path):
    with mail_server(Opinions()) as port:
        problem = refused(mail_settings(port, security="starttls"), tmp_path)
    assert problem.setting == "outlets.email.security"
    assert problem.unreachable


def test_tls_from_the_start_and_starttls_are_told_apart_both_ways(tmp_path, ours):
    """The commonest mistake: port 465 with starttls, or 587 with tls."""
    certificate, context = ours
    opinions = Opinions()
    with mail_server(opinions, ssl_context=context) as port:
        for security in ("starttls", "none"):
            problem = refused(mail_settings(port, security=security, timeout_s=0.5), tmp_path)
            assert problem.setting == "outlets.email.security"
            assert "security to tls" in str(problem)
        send(mail(), mail_settings(port, security="tls", ca_file=certificate), tmp_path)
    with mail_server(Opinions(), tls_context=context) as port:
        problem = refused(mail_settings(port, security="tls", ca_file=certificate), tmp_path)
        assert problem.setting == "outlets.email.security"
        assert "security to starttls" in str(problem)
    assert len(opinions.taken) == 1


def test_a_certificate_that_nobody_here_knows_calls_for_ca_file(tmp_path, ours):
    certificate, context = ours
    opinions = Opinions()
    with mail_server(opinions, tls_context=context) as port:
        problem = refused(mail_settings(port, security="starttls"), tmp_path)
        assert problem.setting == "outlets.email.ca_file"
        assert opinions.taken == []
        send(mail(), mail_settings(port, security="starttls", ca_file=certificate), tmp_path)
    assert len(opinions.taken) == 1


def test_a_certificate_for_another_name_calls_for_server(tmp_path):
    certificate, context = certificate_for(tmp_path / "other", "mail.lab.example")
    with mail_server(Opinions(), tls_context=context) as port:
        settings = mail_settings(port, security="starttls", ca_file=certificate)
        problem = refused(settings, tmp_path)
    assert problem.setting == "outlets.email.server"
    assert "not trusted" in str(problem)


def test_a_certificate_that_has_ended_is_said_and_tried_again(tmp_path):
    certificate, context = certificate_for(tmp_path / "old", "127.0.0.1", days=-1)
    with mail_server(Opinions(), tls_context=context) as port:
        problem = refused(mail_settings(port, security="starttls", ca_file=certificate), tmp_path)
    assert (problem.setting, problem.permanent) == (None, False)
    assert "renew" in str(problem)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_cannot_be_used_is_named(tmp_path, content):
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(OutletError, match=r"ca\.pem") as raised:
        send(mail(), mail_settings(9, security="starttls", ca_file=file), tmp_path)
    assert raised.value.setting == "outlets.email.ca_file"


def test_a_server_that_wants_a_login_calls_for_username(tmp_path, ours, password):
    certificate, context = ours
    opinions = Opinions()
    manners = {
        "tls_context": context,
        "authenticator": only_with("watch", "right"),
        "auth_required": True,
    }
    with mail_server(opinions, **manners) as port:
        line = {"security": "starttls", "ca_file": certificate}
        problem = refused(mail_settings(port, **line), tmp_path)
        assert problem.setting == "outlets.email.username"
        login = {"username": "watch", "password_file": password}
        send(mail(), mail_settings(port, **line, **login), tmp_path)
        password.write_text("wrong")
        problem = refused(mail_settings(port, **line, **login), tmp_path)
        assert problem.setting == "outlets.email.password_file"
        assert "outlets.email.username" in str(problem)
        password.write_text("pässword")
        problem = refused(mail_settings(port, **line, **login), tmp_path)
        assert problem.setting == "outlets.email.password_file"
        assert "ASCII" in str(problem)
    assert len(opinions.taken) == 1


def test_a_server_without_a_login_or_with_other_kinds_of_it_is_said(tmp_path, ours, password):
    certificate, context = ours
    settings = {
        "security": "starttls",
        "ca_file": certificate,
        "username": "watch",
        "password_file": password,
    }
    with mail_server(
        Opinions(), tls_context=context, auth_exclude_mechanism=["LOGIN", "PLAIN"]
    ) as port:
        problem = refused(mail_settings(port, **settings), tmp_path)
    assert problem.setting in ("outlets.email.username", "outlets.email.server")
    assert "login" in str(problem)

    class OtherLogins(Opinions):
        async def auth_XOAUTH2(self, server, arguments):  # noqa: N802
            return AuthResult(success=False)

    manners = {"tls_context": context, "auth_exclude_mechanism": ["LOGIN", "PLAIN"]}
    with mail_server(OtherLogins(), **manners) as port:
        problem = refused(mail_settings(port, **settings), tmp_path)
    assert problem.setting == "outlets.email.server"
    assert "XOAUTH2" in str(problem)


def test_a_sender_refused_with_the_first_recipient_calls_for_sender(tmp_path):
    answer = "553 5.7.1 <watch@lab.example>: Sender address rejected: not owned by user"
    with mail_server(Opinions(rcpt={"a@lab.example": answer})) as port:
        problem = refused(mail_settings(port), tmp_path)
    assert problem.setting == "outlets.email.sender"
    assert not problem.of_recipient


def test_letters_beyond_ascii_are_taken_where_the_server_can_else_the_setting_is_named(tmp_path):
    with mail_server(opinions := Opinions(), enable_SMTPUTF8=False) as port:
        problem = refused(mail_settings(port), tmp_path, recipient="jürgen@lab.example")
        assert (problem.setting, problem.of_recipient) == ("outlets.email.recipients", True)
        problem = refused(mail_settings(port), tmp_path, sender="wächter@lab.example")
        assert (problem.setting, problem.of_recipient) == ("outlets.email.sender", False)
        # A domain has a form in plain letters.
        send(mail(recipient="a@müller.example"), mail_settings(port), tmp_path)
    ((recipients, content),) = opinions.taken
    assert recipients == ["a@xn--mller-kva.example"]
    assert content.isascii()
    with mail_server(opinions := Opinions(), enable_SMTPUTF8=True) as port:
        send(mail(recipient="jürgen@lab.example"), mail_settings(port), tmp_path)
    assert opinions.taken[0][0] == ["jürgen@lab.example"]


def test_a_mail_larger_than_the_server_says_is_not_sent_to_it(tmp_path):
    with mail_server(opinions := Opinions(), data_size_limit=300) as port:
        problem = refused(mail_settings(port), tmp_path)
    assert (problem.too_large, problem.setting) == (True, None)
    assert opinions.taken == []


def test_a_server_may_say_only_afterwards_that_a_mail_is_too_large(tmp_path):
    with mail_server(Opinions(data="552 5.3.4 Message too big for system")) as port:
        assert refused(mail_settings(port), tmp_path).too_large


def test_trying_out_says_all_but_sends_nothing(tmp_path):
    opinions = Opinions(rcpt={"gone@lab.example": "550 5.1.1 User unknown"})
    with mail_server(opinions, data_size_limit=1_000_000) as port:
        found = try_out(mail_settings(port, recipients=("a@lab.example", "gone@lab.example")))
    assert found.largest_bytes == 1_000_000
    (problem,) = found.problems
    assert problem.setting == "outlets.email.recipients"
    assert opinions.taken == []


def test_the_fingerprint_follows_all_that_may_cure_a_refusal_and_keeps_no_secret(
    tmp_path, password
):
    plain = mail_settings(25, security="tls", username="watch", password_file=password)
    before = settings_fingerprint(plain)
    assert before == settings_fingerprint(plain.model_copy(update={"gather_s": 7.0}))
    others = [
        plain.model_copy(update={key: value})
        for key, value in {
            "server": "mail",
            "port": 26,
            "security": "none",
            "sender": "x@y",
            "username": "w",
            "ca_file": password,
        }.items()
    ]
    others.append(mail_settings(25, security="tls", username="watch", password_file=password,
                                recipients=("b@lab.example",)))  # fmt: skip
    prints = {settings_fingerprint(one) for one in others}
    assert len(prints | {before}) == len(others) + 1
    password.write_text("right")  # another, where the file stays the same one
    os.utime(password, ns=(1, 1))
    assert settings_fingerprint(plain) != before
