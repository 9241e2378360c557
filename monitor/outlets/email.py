"""Mail: composes alerts and hands them to a server or a mailbox folder. Only user of smtplib.

Composing is pure but for reading the overlay; sending says whether trying again can help.
"""

from __future__ import annotations

import re
import shlex
import smtplib
import socket
import ssl
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, getaddresses, parsedate_to_datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from monitor.config import DifferentiationConfig, EmailConfig
from monitor.culture import Alert, AlertKind, AlertTopic, PlanStatus, Reading, RemovalPlan, Severity
from monitor.errors import OutletError
from monitor.outlets.plots import plot_series
from monitor.whole_files import write_whole

_PICTURE_WIDTH_PX = 1200
_JPEG_QUALITY = 82
_LONGEST_NAME = 80
_COMPARE_WITH = timedelta(hours=12)
_OVERLAY_ID = "overlay@colonywatch"
_PLOT_ID = "series@colonywatch"
_COLOURS = {
    AlertKind.RAISED: "#b45309",
    AlertKind.WORSENED: "#b91c1c",
    AlertKind.CLEARED: "#15803d",
}
# Subjects are longer than the usual 78, and folding would put a blank before them.
_POLICY = SMTP.clone(max_line_length=240)
_TEST_COLOUR = "#475569"


@dataclass(frozen=True)
class AlertStory:
    """Everything that a mail on one alert tells.

    readings : the dish's series, oldest first; the last is the one that the alert rests on
    zone : of the lab; times are told in it
    overlay : picture of the field to show; None or a missing file: the mail goes without it
    plan : removal plan of the same scan
    source : name of the source that the dish belongs to
    test : marked in the subject and at the top, so that nobody runs
    """

    alert: Alert
    readings: tuple[Reading, ...]
    limits: DifferentiationConfig
    zone: ZoneInfo
    overlay: Path | None
    plan: RemovalPlan | None
    source: str
    test: bool = False


@dataclass(frozen=True)
class AlarmStory:
    """Everything that a mail about a silence tells.

    zone : of the lab
    test : as in an alert's story
    """

    alert: Alert
    zone: ZoneInfo
    test: bool = False


def compose_alarm(
    story: AlarmStory, *, sender: str, recipients: Sequence[str], message_id: str
) -> EmailMessage:
    """The mail about what does not come, or comes again: HTML and plain text, no pictures.

    Raises OutletError (permanent) where there is nobody to send it to.
    """
    alert = story.alert
    begun, over, step = _ALARMS[alert.topic]
    is_over = alert.kind is AlertKind.CLEARED
    where = _name(alert.about)
    headline = over if is_over else begun
    subject = f"{where}: {headline}"
    steps: list[tuple[str, str | None]] = [("Nothing.", None)]
    if not is_over:
        steps = [
            (step, None),
            ("To see what the daemon sees:", "colonywatch status"),
            ("When you have seen to it, say so:", f"colonywatch alerts ack {alert.id}"),
            (
                "To hear no more for a day:",
                f"colonywatch alerts snooze {alert.id} --hours 24",
            ),
        ]
    colour = _COLOURS[AlertKind.WORSENED if alert.severity is Severity.CRITICAL else alert.kind]
    facts = {
        "subject": f"[test] {subject}" if story.test else subject,
        "is_test": story.test,
        "where": where[:1].upper() + where[1:] if not alert.dish else where,
        "headline": headline[:1].upper() + headline[1:],
        "colour": _COLOURS[AlertKind.CLEARED] if is_over else colour,
        "reason": _clean(alert.text or ""),
        "steps": steps,
        "alert_id": alert.id,
        "at": _local(alert.at, story.zone),
    }
    message = _envelope(
        alert,
        facts["subject"],
        story.zone,
        sender=sender,
        recipients=recipients,
        message_id=message_id,
        urgent=not is_over and not story.test,
    )
    message.set_content(_templates().get_template("alarm.txt.j2").render(facts))
    message.add_alternative(_templates().get_template("alarm.html.j2").render(facts), "html")
    return message


def _envelope(
    alert: Alert,
    subject: object,
    zone: ZoneInfo,
    *,
    sender: str,
    recipients: Sequence[str],
    message_id: str,
    urgent: bool,
) -> EmailMessage:
    if not recipients:
        raise OutletError(
            f"alert {alert.id} on {_clean(alert.about)}: no recipient; set "
            "outlets.email.recipients",
            permanent=True,
        )
    message = EmailMessage(policy=_POLICY)
    message["Subject"] = subject
    message["From"] = _clean(sender)
    message["To"] = ", ".join(_clean(recipient) for recipient in recipients)
    message["Date"] = format_datetime(alert.created_at.astimezone(zone))
    message["Message-ID"] = f"<{_plain_id(message_id)}>"
    # Keeps holiday notices from answering (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    if urgent:
        message["Importance"] = "high"
    return message


_ALARMS = {
    # topic: (while it lasts, when it is over, what to do)
    AlertTopic.NO_CAPTURE: (
        "no new captures",
        "new captures again",
        "Is the dish still in the incubator, and does the imager still visit it?",
    ),
    AlertTopic.SAME_PICTURE: (
        "the same picture again and again",
        "pictures differ again",
        "Look at the imager: is it stuck, or does it write one frame under new names?",
    ),
    AlertTopic.SOURCE_SILENT: (
        "no new captures",
        "new captures again",
        "Look at the imager: does it run, and does it write where colonywatch looks?",
    ),
    AlertTopic.SOURCE_GONE: (
        "folder gone",
        "folder back",
        "Is the share mounted, and does the machine that serves it run?",
    ),
    AlertTopic.DISK_FULL: (
        "disk nearly full",
        "room on the disk again",
        "Make room on the disk that holds the record.",
    ),
    AlertTopic.MODEL_REFUSED: (
        "model refused, captures wait",
        "model accepted again",
        "Put the model's folder right or name another in segmentation.model, then restart.",
    ),
    AlertTopic.CLOCK_JUMPED: (
        "the clock jumped",
        "the clock runs evenly",
        "Check the machine's time and its time server.",
    ),
}


def compose(
    story: AlertStory, *, sender: str, recipients: Sequence[str], message_id: str
) -> EmailMessage:
    """The mail on an alert: HTML and plain text, with the overlay and the plot of the series.

    message_id : the same for each try, so that a mail that went twice can be told from two mails

    Raises OutletError (permanent) where there is nobody to send it to.
    """
    overlay = None if story.overlay is None else _picture_for_mail(story.overlay)
    plot = plot_series(
        story.readings,
        story.limits,
        dish=_name(story.alert.dish),
        zone=story.zone,
        alerts=() if story.alert.topic in _NOTICES else (story.alert,),
    )
    facts = _facts(story, has_overlay=overlay is not None)

    message = _envelope(
        story.alert,
        facts["subject"],
        story.zone,
        sender=sender,
        recipients=recipients,
        message_id=message_id,
        urgent=story.alert.kind is not AlertKind.CLEARED and not story.test,
    )
    message.set_content(_templates().get_template("alert.txt.j2").render(facts))
    message.add_alternative(_templates().get_template("alert.html.j2").render(facts), "html")
    (_, html) = message.iter_parts()
    assert isinstance(html, EmailMessage)
    stem = re.sub(r"[^A-Za-z0-9.-]+", "_", story.alert.dish).strip("._") or "dish"
    if overlay is not None:
        html.add_related(
            overlay,
            "image",
            "jpeg",
            cid=f"<{_OVERLAY_ID}>",
            filename=f"{stem[:60]}_overlay.jpg",
            disposition="inline",
        )
    html.add_related(
        plot,
        "image",
        "png",
        cid=f"<{_PLOT_ID}>",
        filename=f"{stem[:60]}_series.png",
        disposition="inline",
    )
    return message


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


# --- what the mail says -------------------------------------------------------------------------


def _facts(story: AlertStory, *, has_overlay: bool) -> dict[str, Any]:
    """Everything that the templates print. Text from captures is escaped there, cleaned here."""
    alert, zone = story.alert, story.zone
    reading = story.readings[-1] if story.readings else None
    fraction = alert.fraction
    if fraction is None and reading is not None:
        fraction = reading.differentiated_fraction
    change = _change(story.readings)
    headline = _headline(story, fraction)
    well, plate = _well_and_plate(_name(alert.dish))
    where = f"{well} of {plate}" if plate else well
    subject = f"{where}: {headline}" + (f", {change}" if change else "")
    return {
        "subject": f"[test] {subject}" if story.test else subject,
        "is_test": story.test,
        "where": where,
        "headline": headline[:1].upper() + headline[1:],
        "change": change,
        "colour": _TEST_COLOUR if story.test else _COLOURS[alert.kind],
        "reason": _reason(story),
        "rows": _rows(story, reading, fraction),
        "doubts": [_clean(doubt) for doubt in reading.doubts] if reading else [],
        "steps": _steps(story),
        "plan": None if story.plan is None else _plan_facts(story.plan, zone),
        "overlay_id": _OVERLAY_ID if has_overlay else None,
        "overlay_missing": story.overlay is not None and not has_overlay,
        "overlay_alt": f"Field of {where}: undifferentiated cells outlined in blue, "
        "differentiated cells in orange",
        "plot_id": _PLOT_ID,
        "plot_alt": f"Series of {where}: differentiated fraction and confluence over time, last "
        f"{_percent(fraction)}",
        "model": reading.model_sha256[:12] if reading else "unknown",
        "settings": reading.settings_sha256[:12] if reading else "unknown",
        "alert_id": alert.id,
    }


_NOTICES = {
    # topic: (while it lasts, when it is over)
    AlertTopic.RISING: ("rises fast", "does not rise fast any more"),
    AlertTopic.CONFLUENT: ("confluent", "not confluent any more"),
    AlertTopic.GROWTH_STOPPED: ("hardly grows", "grows again"),
    AlertTopic.DOUBTFUL: ("cannot be judged", "can be judged again"),
}


_NEXT_STEP = {
    AlertTopic.RISING: "Look at the picture below before the limit is passed.",
    AlertTopic.CONFLUENT: "Passage the dish, or raise confluence_above for it.",
    AlertTopic.GROWTH_STOPPED: "Look at the cells and their medium.",
    AlertTopic.DOUBTFUL: "Look at the dish and at the imager: focus, light, lid, condensation.",
}


def _headline(story: AlertStory, fraction: float | None) -> str:
    alert = story.alert
    amount = "no cells to judge" if fraction is None else f"{_percent(fraction)} differentiated"
    if alert.topic in _NOTICES:
        begun, over = _NOTICES[alert.topic]
        word = over if alert.kind is AlertKind.CLEARED else begun
        return word if fraction is None else f"{word}, {amount}"
    if alert.severity is Severity.CRITICAL and alert.kind is not AlertKind.CLEARED:
        amount = f"critical, {amount}"
    return {
        AlertKind.RAISED: amount,
        AlertKind.WORSENED: f"getting worse, {amount}",
        AlertKind.CLEARED: f"back to {amount}" if fraction is not None else amount,
    }[alert.kind]


def _reason(story: AlertStory) -> str:
    alert, limits = story.alert, story.limits
    if alert.topic in _NOTICES:
        return _clean(alert.text or "")
    scans = _scans(limits)
    worse = "It has gone on rising since it was last reported."
    limit = limits.raise_above
    if alert.severity is Severity.CRITICAL and limits.critical_above is not None:
        limit = max(limit, limits.critical_above)
        worse = f"Above the critical limit of {_percent(limit)}, or still rising there."
    counted = [one for one in story.readings if one.differentiated_fraction is not None]
    above = [
        one
        for one in counted[-limits.scans_considered :]
        if (one.differentiated_fraction or 0.0) > limit and not one.doubts
    ]
    seen = scans
    if len(above) < limits.scans_needed:
        seen = "the last scan, at the end of a series that surely rises"
    reason = {
        AlertKind.RAISED: f"Above the limit of {_percent(limit)} in {seen}.",
        AlertKind.WORSENED: worse,
        AlertKind.CLEARED: f"Below the lower limit of {_percent(limits.clear_below)} in {scans}; "
        "the alert is closed.",
    }[alert.kind]
    return f"{reason} {_clean(alert.text)}" if alert.text else reason


def _scans(limits: DifferentiationConfig) -> str:
    if limits.scans_considered == 1:
        return "the last scan"
    return f"{limits.scans_needed} of the last {limits.scans_considered} scans"


def _rows(
    story: AlertStory, reading: Reading | None, fraction: float | None
) -> list[tuple[str, str]]:
    rows = [("Dish", _name(story.alert.dish))]
    if source := _clean(story.source):
        rows.append(("Source", source))
    if reading is None:
        return rows
    rows.append(("Scanned", _local(reading.at, story.zone)))
    cells = "no cells" if fraction is None else f"{_percent(fraction)} of the cells"
    area = _square_mm(reading.differentiated_um2)
    rows.append(("Differentiated", f"{cells} ({area})" if area else cells))
    confluence = "unknown" if reading.confluence is None else _percent(reading.confluence)
    rows.append(("Confluence", confluence))
    rows.append(
        (
            "Seen in",
            f"{_counted(reading.captures, 'field')}, "
            f"{_counted(reading.colonies, 'colony', 'colonies')}",
        )
    )
    if reading.pixel_size_um is None:
        rows.append(("Pixel size", "unknown; areas cannot be given"))
    return rows


def _steps(story: AlertStory) -> list[tuple[str, str | None]]:
    """What to do next: sentence and, where there is one, the command for it."""
    kind, plan = story.alert.kind, story.plan
    history = f"colonywatch history {shlex.quote(_clean(story.alert.dish))}"
    if story.test:
        return [("Nothing. This mail shows what an alert looks like and that it arrives.", None)]
    if kind is AlertKind.CLEARED:
        return [("Nothing. To see the whole series:", history)]
    if story.alert.topic in _NOTICES:
        return [
            (_NEXT_STEP[story.alert.topic], None),
            ("To see the whole series:", history),
            ("When you have seen to it, say so:", f"colonywatch alerts ack {story.alert.id}"),
        ]
    steps: list[tuple[str, str | None]] = [
        ("Look at the picture below: are the cells outlined in orange really differentiated?", None)
    ]
    if plan is None:
        by_hand = (
            "If so, remove them by hand: this scan has no removal plan, since no region can be "
            "aimed at with certainty."
        )
        steps.append((by_hand, None))
    elif plan.status is PlanStatus.DRAFT:
        until = _local(plan.expires_at, story.zone)
        approve = f"colonywatch removals approve {shlex.quote(_clean(plan.id))}"
        steps.append((f"If so, approve the removal plan before {until}:", approve))
    elif plan.status in (PlanStatus.APPROVED, PlanStatus.EXPORTED):
        stop = (
            "The removal plan is approved already and goes to the picker. If they are not "
            "differentiated, stop it:"
        )
        steps.append((stop, f"colonywatch removals reject {shlex.quote(_clean(plan.id))}"))
    else:
        steps.append((f"This scan's removal plan is {plan.status}; the next makes its own.", None))
    if kind is AlertKind.WORSENED:
        steps.append(("Consider whether the dish is worth keeping.", None))
    steps.append(("When you have seen to it, say so:", f"colonywatch alerts ack {story.alert.id}"))
    return steps


def _plan_facts(plan: RemovalPlan, zone: ZoneInfo) -> dict[str, Any]:
    count = len(plan.targets)
    status = {
        PlanStatus.DRAFT: "waits for a person's approval",
        PlanStatus.APPROVED: f"approved by {_clean(plan.approved_by or 'somebody')}",
        PlanStatus.EXPORTED: "handed to the picker",
    }.get(plan.status, plan.status.value)
    return {
        "id": _clean(plan.id),
        "summary": f"{_counted(count, 'region')}, {_square_mm(plan.area_um2)} in all; {status}; "
        f"ends {_local(plan.expires_at, zone)}",
        "left_out": [_clean(sentence) for sentence in plan.left_out],
    }


def _change(readings: Sequence[Reading]) -> str | None:
    """``+6 points in 12 h``, against the reading nearest to 12 h before the last one."""
    known = [one for one in readings if one.differentiated_fraction is not None]
    if len(known) < 2 or readings[-1] is not known[-1]:
        return None
    last = known[-1]
    earlier = min(known[:-1], key=lambda one: abs(last.at - one.at - _COMPARE_WITH))
    passed = last.at - earlier.at
    if passed <= timedelta():
        return None
    assert last.differentiated_fraction is not None
    assert earlier.differentiated_fraction is not None
    rise = last.differentiated_fraction - earlier.differentiated_fraction
    if abs(rise) < 0.0005:
        return f"unchanged in {_duration(passed)}"
    return f"{'+' if rise > 0 else '−'}{_points(abs(rise))} in {_duration(passed)}"


def _points(share: float) -> str:
    points = share * 100
    number = f"{points:.0f}" if points >= 0.95 else f"{points:.1f}"
    return f"{number} point" if number == "1" else f"{number} points"


def _duration(passed: timedelta) -> str:
    hours = passed.total_seconds() / 3600
    if hours < 0.95:
        return f"{max(1, round(hours * 60))} min"
    return f"{hours:.0f} h" if hours < 47.5 else f"{hours / 24:.0f} days"


def _percent(fraction: float | None) -> str:
    if fraction is None:
        return "undefined"
    percent = fraction * 100
    return f"{percent:.1f} %" if 0 < percent < 9.95 and percent % 1 else f"{percent:.0f} %"


def _square_mm(area_um2: float | None) -> str:
    if area_um2 is None:
        return ""
    area_mm2 = area_um2 / 1e6
    return f"{area_mm2:.1f} mm²" if area_mm2 >= 9.95 else f"{area_mm2:.2g} mm²"


def _counted(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one}" if number == 1 else f"{number} {many or one + 's'}"


def _local(moment: datetime, zone: ZoneInfo) -> str:
    local = moment.astimezone(zone)
    return f"{local:%a} {local.day} {local:%b %Y, %H:%M} ({zone.key})"


def _well_and_plate(dish: str) -> tuple[str, str | None]:
    plate, slash, well = dish.rpartition("/")
    return (well, plate) if slash and plate and well else (dish, None)


def _name(dish: str) -> str:
    text = _clean(dish)
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"


def _clean(text: str) -> str:
    """One line without control, invisible or broken characters.

    Dish names come from file names: a newline in one would add headers to the mail, and marks that
    turn the direction of writing would disguise it.
    """
    letters = (
        " " if unicodedata.category(letter) in ("Cc", "Zl", "Zp") else letter
        for letter in text
        if unicodedata.category(letter) not in ("Cf", "Cs", "Cn", "Co")
    )
    return " ".join("".join(letters).split())


def _plain_id(message_id: str) -> str:
    text = re.sub(r"[^A-Za-z0-9.@_+-]+", "-", message_id.strip().strip("<>"))
    return text if "@" in text else f"{text}@colonywatch"


def _picture_for_mail(path: Path) -> bytes | None:
    """The overlay small enough for a mailbox, or None where it cannot be read."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if not content:
        return None
    try:
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    if picture is None:
        return None
    rows, columns = picture.shape[:2]
    if columns > _PICTURE_WIDTH_PX:
        size = _PICTURE_WIDTH_PX, max(1, round(rows * _PICTURE_WIDTH_PX / columns))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    done, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return jpeg.tobytes() if done else None


@lru_cache(maxsize=1)
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("monitor.outlets"),
        autoescape=select_autoescape(("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


# --- where it goes ------------------------------------------------------------------------------


def _write_to_mailbox(message: EmailMessage, mailbox: Path) -> str:
    """One file a mail; the same mail again replaces its file."""
    at = parsedate_to_datetime(str(message["Date"])) if message["Date"] else datetime.now(UTC)
    name = _plain_id(str(message["Message-ID"] or "no-id")).replace("@", "_at_")[:120]
    path = mailbox / f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}_{name}.eml"
    try:
        write_whole(path, message.as_bytes(policy=_POLICY))
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
    context = tls or ssl.create_default_context()
    password = _password(email)
    try:
        connection = (
            smtplib.SMTP_SSL(host, email.port, timeout=email.timeout_s, context=context)
            if email.security == "tls"
            else smtplib.SMTP(host, email.port, timeout=email.timeout_s)
        )
    except (smtplib.SMTPException, OSError) as problem:
        raise OutletError(f"{server}: {_no_connection(problem)}") from problem
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
        raise OutletError(f"{server}: {_no_connection(problem)}") from problem
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
    return _clean(text)
