"""What a mail server's refusal means, and which setting cures it. Pure: no line to a server here.

Servers say the same thing with many codes: a missing login is 530, 550 or 554, a sender that is not
allowed is often refused only when the first recipient is named. So code, enhanced code (RFC 3463)
and words are looked at together, whatever was being said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto

from monitor.config import EmailConfig
from monitor.errors import OutletError
from monitor.outlets.wording import clean

BY_ITSELF = "what is waiting is then sent by itself"


class Stage(Enum):
    """What the server was asked when it refused."""

    GREETING = "greeting"
    ENCRYPTION = "STARTTLS"
    LOGIN = "login"
    SENDER = "sender"
    RECIPIENT = "recipient"
    MAIL = "mail"


class Kind(Enum):
    """Why a server refuses."""

    ENCRYPTION_WANTED = auto()
    LOGIN_WANTED = auto()
    LOGIN_REFUSED = auto()
    TOO_LARGE = auto()
    MAILBOX_FULL = auto()
    NO_RELAY = auto()
    SENDER_REFUSED = auto()
    MACHINE_REFUSED = auto()
    RECIPIENT_REFUSED = auto()
    MAIL_REFUSED = auto()
    GREYLISTED = auto()
    LATER = auto()


@dataclass(frozen=True)
class Answer:
    """code : of the server's answer; text : what it said, enhanced code and all, in one line"""

    code: int
    text: str

    @classmethod
    def of(cls, code: int, said: bytes | str) -> Answer:
        text = said.decode(errors="replace") if isinstance(said, bytes) else said
        return cls(code, clean(text))

    @property
    def enhanced(self) -> str:
        found = re.match(r"\s*([245]\.\d{1,3}\.\d{1,3})\b", self.text)
        return found[1] if found else ""

    def __str__(self) -> str:
        return f"{self.code} {self.text}".strip()


def _words(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_ENCRYPTION = _words(
    r"(must|should|please)\b.{0,30}\b(starttls|tls|ssl|encrypt)",
    r"(starttls|tls|ssl|encryption|encrypted|secure)\b.{0,40}\b(required|needed|mandatory|first)",
    r"requir\w*.{0,30}\b(starttls|tls|ssl|encrypt)",
    r"\bneed\w*\b.{0,20}\b(starttls|encrypt)",
)
_LOGIN = _words(
    r"authenticat\w*.{0,40}\b(required|needed|necessary|first|mandatory)",
    r"\bauth\b.{0,20}\b(required|needed|first)",
    r"requir\w*.{0,30}\b(auth|login)",
    r"\bnot (been )?(authenticated|logged in)\b",
    r"\bunauthenticated\b",
    r"(must|please|need to)\b.{0,20}\b(authenticate|auth|log ?in)\b",
)
_SIZE = _words(
    r"\b(size|message|mail|data|content|length|body)\b.{0,60}\b(exceed|too (large|big|long|much))",
    r"\btoo (large|big|much|long)\b.{0,20}\b(message|mail|data)",
    r"exceed\w*.{0,40}\bsize",
    r"\bsize (limit|exceed)",
)
_FULL = _words(r"quota", r"(mailbox|inbox|storage).{0,30}\bfull\b", r"insufficient.{0,20}storage")
_RELAY = _words(r"\brelay", r"rcpthosts", r"not (a )?local (domain|recipient)")
_SENDER = _words(
    r"\bsender\b(?!.{0,20}whitelist).{0,60}\b(reject|denied|refus|not |no |unknown|block|invalid|"
    r"bad|fail|must|does|doesn|mismatch|unverified|verif)",
    r"\b(invalid|bad|unknown|unverified|illegal|forged)\b.{0,20}\bsender",
    r"\bsend(ing)?\b.{0,20}\b(as|on behalf)\b",
    r"\bfrom[ :-]?(address|header|domain)",
    r"\bmail from\b",
    r"not owned by",
    r"\b(spf|dmarc|return.?path|envelope.from|originator)\b",
)
_MACHINE = _words(
    r"client host",
    r"\byour (ip|host|server|network|domain)\b",
    r"\b(helo|ehlo)\b",
    r"black ?list|block ?list|\brbl\b|dnsbl|spamhaus",
    r"reverse (dns|lookup|hostname)|\bptr\b",
)
_NO_DOMAIN = _words(r"(domain|host)\b.{0,20}\b(not found|unknown|no(t)? exist)")
_APP_PASSWORD = _words(r"app\w*[ -](specific[ -])?password")
_GREYLISTED = _words(r"gr[ae]y.?list")
_GREY = _words(r"gr[ae]y.?list", r"try again (later|in)", r"4\.7\.1")
_SENDER_CODES = frozenset({"5.1.7", "5.1.8", "5.7.60", "5.7.27"})


def kind_of(stage: Stage, answer: Answer, sender: str = "", recipient: str = "") -> Kind:
    """Why a server refuses. sender, recipient : their addresses, which answers may quote"""
    code, text, enhanced = answer.code, answer.text, answer.enhanced
    if code == 538 or enhanced == "5.7.11" or _ENCRYPTION.search(text):
        return Kind.ENCRYPTION_WANTED
    if stage is Stage.LOGIN and code >= 500:
        return Kind.LOGIN_REFUSED
    if code == 530 or (stage is not Stage.LOGIN and _LOGIN.search(text)):
        return Kind.LOGIN_WANTED
    full = enhanced in ("5.2.2", "4.2.2") or bool(_FULL.search(text))
    if not full and code >= 500 and _is_too_large(stage, answer):
        return Kind.TOO_LARGE
    if full or code == 552:
        return Kind.MAILBOX_FULL
    if code < 500:
        grey = stage is Stage.RECIPIENT and _GREY.search(text)
        # "4.7.1" is said of what waiting does not cure, too.
        named = _GREYLISTED.search(text) or not _why_for_long(answer, recipient)
        return Kind.GREYLISTED if grey and named else Kind.LATER
    if enhanced == "5.7.54" or _RELAY.search(text):
        return Kind.NO_RELAY
    if stage in (Stage.GREETING, Stage.ENCRYPTION) or enhanced == "5.7.25":
        return Kind.MACHINE_REFUSED
    return _person_refused(stage, answer, sender, recipient)


def _is_too_large(stage: Stage, answer: Answer) -> bool:
    if answer.enhanced in ("5.3.4", "5.2.3") or _SIZE.search(answer.text):
        return True
    return answer.code == 552 and stage in (Stage.SENDER, Stage.MAIL)


def _person_refused(stage: Stage, answer: Answer, sender: str, recipient: str) -> Kind:
    text = answer.text.lower()
    quoted = sender and sender.lower() in text and recipient.lower() not in text
    if answer.enhanced in _SENDER_CODES or quoted or _SENDER.search(_without(text, recipient)):
        return Kind.SENDER_REFUSED
    if _MACHINE.search(text):
        return Kind.MACHINE_REFUSED
    return {
        Stage.SENDER: Kind.SENDER_REFUSED,
        Stage.RECIPIENT: Kind.RECIPIENT_REFUSED,
    }.get(stage, Kind.MAIL_REFUSED)


def _without(text: str, address: str) -> str:
    """An address must not be read as words: no-sender@lab.org is one."""
    return text.replace(address.lower(), "") if address else text


def _why_for_long(answer: Answer, recipient: str) -> str:
    """The setting to look at where a server puts mail off for a reason that may stay; else "".

    Postfix says 450 where a domain is not known, since it may be the name service's fault.
    """
    text = _without(answer.text.lower(), recipient)
    if _SENDER.search(text):
        return "outlets.email.sender"
    if _MACHINE.search(text):
        return "outlets.email.server"
    return "outlets.email.recipients" if _NO_DOMAIN.search(text) else ""


@dataclass(frozen=True)
class Refused:
    """What was asked, and what came back.

    sender, recipient : addresses; empty where none was named yet
    """

    stage: Stage
    answer: Answer
    email: EmailConfig
    sender: str = ""
    recipient: str = ""


def refusal(where: str, one: Refused) -> OutletError:
    """A server's refusal as an error that names the setting, or says that waiting helps.

    where : the server, host:port
    """
    stage, answer = one.stage, one.answer
    kind = kind_of(stage, answer, one.sender, one.recipient)
    said, setting = _SAYS[kind](one)
    return OutletError(
        f"{where}: {said}" + (f"; {BY_ITSELF}" if setting else ""),
        permanent=kind not in _PASSING and answer.code >= 500,
        unreachable=kind in _OF_ALL
        or answer.code == 421
        or stage in (Stage.GREETING, Stage.ENCRYPTION),
        setting=setting,
        of_recipient=kind is Kind.RECIPIENT_REFUSED,
        too_large=kind is Kind.TOO_LARGE,
    )


_PASSING = frozenset({Kind.LATER, Kind.GREYLISTED, Kind.MAILBOX_FULL})
# What every mail would meet with, whoever gets it.
_OF_ALL = frozenset(
    {Kind.ENCRYPTION_WANTED, Kind.LOGIN_WANTED, Kind.LOGIN_REFUSED, Kind.MACHINE_REFUSED}
)

Said = tuple[str, str | None]  # what is wrong and what to do, the setting that cures it


def _encryption_wanted(one: Refused) -> Said:
    value = "tls, with the port for it (usually 465)" if one.email.security == "starttls" else (
        "starttls"
    )  # fmt: skip
    return (
        f"it accepts mail only over an encrypted connection ({one.answer}); set "
        f"outlets.email.security to "
        f"{value}",
        "outlets.email.security",
    )


def _login_wanted(one: Refused) -> Said:
    what = "set outlets.email.username and outlets.email.password_file"
    if one.email.username is not None:
        what = "check outlets.email.username, and whether it may send through this server and port"
    elif one.email.security == "none":
        what += ", and outlets.email.security to starttls or tls"
    return f"it accepts mail only after a login ({one.answer}); {what}", "outlets.email.username"


def _login_refused(one: Refused) -> Said:
    hint = ""
    answer = one.answer
    if answer.enhanced == "5.7.9" or _APP_PASSWORD.search(answer.text):
        hint = " (it wants an app password)"
    return (
        f"the login was refused; check outlets.email.username and outlets.email.password_file"
        f"{hint}: {answer}",
        "outlets.email.password_file",
    )


def _too_large(one: Refused) -> Said:
    return f"the mail was refused as too large: {one.answer}", None


def _mailbox_full(one: Refused) -> Said:
    whose = f"of {one.recipient}" if one.recipient else "there"
    return f"no room {whose} ({one.answer}); it is tried again", None


def _no_relay(one: Refused) -> Said:
    what = "set outlets.email.server to one that may"
    if one.email.username is None:
        what = "set outlets.email.username and password_file for a login, or " + what[4:]
    return (
        f"it does not relay mail to {one.recipient or 'others'} ({one.answer}); {what}",
        "outlets.email.username" if one.email.username is None else "outlets.email.server",
    )


def _sender_refused(one: Refused) -> Said:
    return (
        f"the sender {one.sender} was refused; set outlets.email.sender to an address that this "
        f"server accepts: {one.answer}",
        "outlets.email.sender",
    )


def _machine_refused(one: Refused) -> Said:
    return (
        f"not accepting mail from this machine: {one.answer}; have it allowed there, or "
        "set outlets.email.server to a server that accepts its mail",
        "outlets.email.server",
    )


def _recipient_refused(one: Refused) -> Said:
    return (
        f"the recipient was refused: {one.recipient} ({one.answer}); correct "
        "outlets.email.recipients",
        "outlets.email.recipients",
    )


def _mail_refused(one: Refused) -> Said:
    return (
        f"the mail was refused: {one.answer}; ask those who run it, or set outlets.email.server to "
        "another",
        None,
    )


def _later(one: Refused) -> Said:
    what = {
        Stage.GREETING: "not accepting mail",
        Stage.ENCRYPTION: "no encryption for now",
        Stage.LOGIN: "no login for now",
        Stage.SENDER: f"the sender {one.sender} is deferred",
        Stage.RECIPIENT: f"deferred: {one.recipient}",
        Stage.MAIL: "the mail was refused",
    }[one.stage]
    setting = _why_for_long(one.answer, one.recipient)
    if one.stage is Stage.SENDER:
        setting = setting or "outlets.email.sender"
    hint = f"; if that goes on, check {setting}" if setting else ""
    if one.stage is Stage.RECIPIENT:
        return f"{what} ({one.answer}); it is tried again{hint}", None
    return f"{what}: {one.answer}; it is tried again{hint}", None


def _greylisted(one: Refused) -> Said:
    return (
        f"deferred: {one.recipient} ({one.answer}); many servers defer a first mail "
        "(greylisting), and it is tried again",
        None,
    )


_SAYS = {
    Kind.ENCRYPTION_WANTED: _encryption_wanted,
    Kind.LOGIN_WANTED: _login_wanted,
    Kind.LOGIN_REFUSED: _login_refused,
    Kind.TOO_LARGE: _too_large,
    Kind.MAILBOX_FULL: _mailbox_full,
    Kind.NO_RELAY: _no_relay,
    Kind.SENDER_REFUSED: _sender_refused,
    Kind.MACHINE_REFUSED: _machine_refused,
    Kind.RECIPIENT_REFUSED: _recipient_refused,
    Kind.MAIL_REFUSED: _mail_refused,
    Kind.GREYLISTED: _greylisted,
    Kind.LATER: _later,
}
