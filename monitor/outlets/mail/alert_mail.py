"""Mails on alerts: HTML and plain text. Pure but for reading the overlay."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from enum import IntEnum
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from monitor.config import DifferentiationConfig
from monitor.culture import (
    Alert,
    AlertKind,
    AlertTopic,
    DishLine,
    DishStory,
    PlanStatus,
    Reading,
    RemovalPlan,
    Severity,
)
from monitor.decisions.alert_rules import ALERT_RULES, notice_words
from monitor.decisions.status import considered
from monitor.errors import OutletError
from monitor.outlets.figures.series import plot_story
from monitor.outlets.mail.smtp import POLICY, wire_address
from monitor.outlets.wording import (
    change,
    clean,
    counted,
    local,
    percent,
    plain_id,
    removal_area,
    shown_name,
    square_mm,
    well_and_plate,
    where_of,
)

_PICTURE_WIDTH_PX, _JPEG_QUALITY = 1200, 82
_SMALL_WIDTH_PX, _SMALL_QUALITY = 480, 60
# Of several alerts in one mail, so many come with pictures and all the facts.
_MOST_SHOWN = 6
_LONGEST_SUBJECT = 140
_COLOURS = {
    AlertKind.RAISED: "#b45309",
    AlertKind.WORSENED: "#b91c1c",
    AlertKind.CLEARED: "#15803d",
}
_TEST_COLOUR = "#475569"


class MailSize(IntEnum):
    """How much a mail may weigh: servers and mailboxes have limits. In the order to try them."""

    FULL = 0
    ONE_PICTURE = 1
    NO_PICTURES = 2
    SHORT = 3

    @property
    def next_is(self) -> str:
        """What comes after it, in words."""
        return ("with one small picture", "without pictures", "in a few lines", "not at all")[self]


def size_note(size: MailSize) -> str | None:
    """What a mail says of itself where it had to be smaller."""
    left_out = {
        MailSize.ONE_PICTURE: "one small picture in place of all",
        MailSize.NO_PICTURES: "no pictures",
        MailSize.SHORT: "only what matters most",
    }
    if size is MailSize.FULL:
        return None
    return (
        f"The mail server takes no larger mails, so this one holds {left_out[size]}. The rest is "
        "on the pages (colonywatch serve) and in colonywatch history."
    )


@dataclass(frozen=True)
class Links:
    """Addresses of the dashboard.

    act : page of this alert alone, good for a while: acknowledge, snooze
    look : page of the dish, or the overview
    every : page of all open alerts
    """

    act: str
    look: str
    every: str


@dataclass(frozen=True)
class AlertStory:
    """Everything that a mail on one alert tells.

    readings : the dish's series, oldest first; the last is the one that the alert rests on
    zone : of the lab; times are told in it
    overlay : picture of the field to show; None or a missing file: the mail goes without it
    plan : removal plan of the same scan
    source : name of the source that the dish belongs to
    links : None = no dashboard is to be reached; commands are given instead
    test : marked in the subject and at the top, so that nobody runs
    plan_picture : the plan drawn, as PNG
    told : what else the plot shows of that time: annotations, unreadable captures, the line
    """

    alert: Alert
    readings: tuple[Reading, ...]
    limits: DifferentiationConfig
    zone: ZoneInfo
    overlay: Path | None
    plan: RemovalPlan | None
    source: str
    links: Links | None = None
    test: bool = False
    plan_picture: bytes | None = None
    told: DishStory | None = None


@dataclass(frozen=True)
class AlarmStory:
    """Everything that a mail about a silence tells.

    zone : of the lab
    links, test : as in an alert's story
    """

    alert: Alert
    zone: ZoneInfo
    links: Links | None = None
    test: bool = False


Story = AlertStory | AlarmStory


def compose(
    stories: Sequence[Story],
    *,
    sender: str,
    recipients: Sequence[str],
    message_id: str,
    earlier: Sequence[str] = (),
    size: MailSize = MailSize.FULL,
) -> EmailMessage:
    """One mail on one alert, or on several that belong together: HTML and plain text.

    Alerts on dishes come with an overlay and a plot of the series; of many, the worst few do.
    message_id : the same for each try, so that a mail that went twice can be told from two mails
    earlier : ids of the mails that it follows on, oldest first
    size : smaller where the server takes no more; the mail says so

    Raises OutletError (permanent) where there is nobody to send it to.
    """
    ordered = sorted(stories, key=_rank)
    cards, pictures = [], []
    for number, story in enumerate(ordered):
        shown = len(ordered) == 1 or number < _MOST_SHOWN
        first = story.alert.dish not in {one.alert.dish for one in ordered[:number]}
        card, found = _card(story, number, drawn=shown and first, size=size)
        cards.append(card | {"shown": shown})
        pictures += found
    facts: dict[str, Any] = {"card": cards[0], "subject": cards[0]["subject"]}
    name = "alert"
    if len(cards) > 1:
        name = "alerts"
        facts = _together(ordered, cards)
    elif isinstance(ordered[0], AlarmStory):
        name = "alarm"
    facts["size_note"] = size_note(size)
    return mail_of(
        name,
        facts,
        pictures,
        subject=facts["subject"],
        at=ordered[0].alert.created_at.astimezone(ordered[0].zone),
        sender=sender,
        recipients=recipients,
        message_id=message_id,
        earlier=earlier,
        urgent=any(one.alert.kind is not AlertKind.CLEARED and not one.test for one in ordered),
        text_alone=compose_short(stories)[1] if size is MailSize.SHORT else None,
    )


def compose_short(stories: Sequence[Story]) -> tuple[str, str]:
    """The same as (title, text) for a chat or a telephone: no pictures, what and where, and the
    page to answer.
    """
    ordered = sorted(stories, key=_rank)
    cards = [
        _card(story, number, drawn=False, size=MailSize.SHORT)[0]
        for number, story in enumerate(ordered)
    ]
    subject = cards[0]["subject"] if len(cards) == 1 else _together(ordered, cards)["subject"]
    lines = []
    for card in cards[:_MOST_SHOWN]:
        if len(cards) > 1:
            lines.append(f"{card['where']}: {card['plain_headline']}")
        lines.append(card["reason"])
        if card["act"] or card["look"]:
            lines.append(card["act"] or card["look"])
    if len(cards) > _MOST_SHOWN:
        lines.append(f"and {len(cards) - _MOST_SHOWN} more")
    return str(subject), "\n".join(lines)


Picture = tuple[bytes, str, str, str]  # content, kind, id, file name


def mail_of(
    name: str,
    facts: dict[str, Any],
    pictures: Sequence[Picture],
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


def _rank(story: Story) -> tuple[int, float, str]:
    """Worst first."""
    alert = story.alert
    place = 2 if alert.kind is AlertKind.CLEARED else 0 if alert.severity == "critical" else 1
    return place, -(alert.fraction or 0.0), alert.about


def _together(stories: Sequence[Story], cards: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What a mail on several alerts prints. Worst first."""
    dishes = list(dict.fromkeys(one.alert.dish for one in stories))
    plates = {well_and_plate(shown_name(dish))[1] for dish in dishes}
    headlines = {card["headline"] for card in cards}
    plate = next(iter(plates)) if len(plates) == 1 and "" not in dishes else None
    if len(dishes) == 1:
        where, told = cards[0]["where"], [card["plain_headline"] for card in cards]
    else:
        count = counted(len(dishes), "dish", "dishes")
        if "" in dishes:
            count = f"{len(cards)} alerts"
        source = next((one.alert.source or getattr(one, "source", "") for one in stories), "")
        where = f"{count} of {plate or clean(source) or 'several sources'}"
        if len(headlines) == 1 and len(cards) == len(dishes):
            told = [cards[0]["plain_headline"]]
        else:
            told = [f"{_short_where(one, plate)} {_brief(one, card)}" for one, card in
                    zip(stories, cards, strict=True)]  # fmt: skip
    subject = f"{where}: {told[0]}"
    for number, text in enumerate(told[1:], start=1):
        if len(subject) + len(text) > _LONGEST_SUBJECT:
            subject += f" and {len(told) - number} more"
            break
        subject += f", {text}"
    test = any(one.test for one in stories)
    return {
        "subject": f"[test] {subject}" if test else subject,
        "is_test": test,
        "where": where[:1].upper() + where[1:],
        "colour": cards[0]["colour"],
        "cards": cards,
        "hidden": sum(not card["shown"] for card in cards),
        "look": stories[0].links and stories[0].links.every,
    }


def _short_where(story: Story, plate: str | None) -> str:
    name = shown_name(story.alert.about)
    return well_and_plate(name)[0] if plate else name


def _brief(story: Story, card: dict[str, Any]) -> str:
    """``14 %``, or what it is where that says less than all."""
    alert = story.alert
    if alert.topic is not AlertTopic.DIFFERENTIATION or alert.fraction is None:
        return str(card["plain_headline"])
    if alert.kind is AlertKind.CLEARED:
        return f"back to {percent(alert.fraction)}"
    words = "critical, " if alert.severity is Severity.CRITICAL else ""
    return f"{words}{percent(alert.fraction)} differentiated"


def _card(
    story: Story, number: int, *, drawn: bool, size: MailSize
) -> tuple[dict[str, Any], list[Picture]]:
    """What a mail says about one alert, and its pictures as (content, kind, id, file name)."""
    if isinstance(story, AlarmStory):
        return _alarm_facts(story), []
    drawn = drawn and (size is MailSize.FULL or (size is MailSize.ONE_PICTURE and number == 0))
    small = size is MailSize.ONE_PICTURE
    overlay = None
    if story.overlay is not None and drawn:
        overlay = _picture_for_mail(story.overlay, small=small)
    facts = _facts(
        story,
        overlay_id=f"overlay-{number}@colonywatch" if overlay else None,
        pictured=size in (MailSize.FULL, MailSize.ONE_PICTURE),
    )
    facts["overlay_missing"] = drawn and story.overlay is not None and overlay is None
    facts["plot_id"] = f"series-{number}@colonywatch" if drawn and not small else None
    facts["plan_picture_id"] = None
    if not drawn:
        return facts, []
    stem = re.sub(r"[^A-Za-z0-9.-]+", "_", story.alert.dish).strip("._")[:60] or "dish"
    pictures = []
    if overlay is not None:
        pictures.append((overlay, "jpeg", facts["overlay_id"], f"{stem}_overlay.jpg"))
    if small:
        return facts, pictures
    if story.plan_picture is not None:
        facts["plan_picture_id"] = f"plan-{number}@colonywatch"
        pictures.append((story.plan_picture, "png", facts["plan_picture_id"], f"{stem}_plan.png"))
    name = shown_name(story.alert.dish)
    told = replace(
        story.told or DishStory(DishLine(name, name, story.source)),
        readings=story.readings,
        alerts=() if story.alert.topic in ALERT_RULES else (story.alert,),
    )
    plot = plot_story(told, story.limits, zone=story.zone)
    pictures.append((plot, "png", facts["plot_id"], f"{stem}_series.png"))
    return facts, pictures


def _alarm_facts(story: AlarmStory) -> dict[str, Any]:
    alert = story.alert
    rule = ALERT_RULES[alert.topic]
    is_over = alert.kind is AlertKind.CLEARED
    where = where_of(alert.dish) if alert.dish else shown_name(alert.about)
    headline = rule.over if is_over else rule.begun
    subject = f"{where}: {headline}"
    steps: list[Step] = [("Nothing.", None, None)]
    if not is_over:
        steps = [(rule.next_step, None, None)]
        steps.append(("To see what the daemon sees:", "colonywatch status", None))
        steps += _ways_to_answer(alert, story.links)
    colour = _COLOURS[AlertKind.WORSENED if alert.severity is Severity.CRITICAL else alert.kind]
    return {
        "subject": f"[test] {subject}" if story.test else subject,
        "is_test": story.test,
        "where": where[:1].upper() + where[1:] if not alert.dish else where,
        "headline": headline[:1].upper() + headline[1:],
        "plain_headline": headline,
        "change": None,
        "colour": _COLOURS[AlertKind.CLEARED] if is_over else colour,
        "reason": clean(alert.text or ""),
        "steps": steps,
        "rows": [],
        "doubts": [],
        "plan": None,
        "overlay_id": None,
        "overlay_missing": False,
        "plan_picture_id": None,
        "plot_id": None,
        "act": None if story.links is None or is_over else story.links.act,
        "look": story.links and story.links.look,
        "alert_id": alert.id,
        "at": local(alert.at, story.zone),
    }


Step = tuple[str, str | None, str | None]  # sentence, command, address


def _ways_to_answer(alert: Alert, links: Links | None) -> list[Step]:
    if links is not None:
        return [("When you have seen to it, say so, or snooze it:", None, links.act)]
    return [
        ("When you have seen to it, say so:", f"colonywatch alerts ack {alert.id}", None),
        ("To hear no more for a day:", f"colonywatch alerts snooze {alert.id} --hours 24", None),
    ]


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


# --- what the mail says -------------------------------------------------------------------------


def _facts(story: AlertStory, *, overlay_id: str | None, pictured: bool) -> dict[str, Any]:
    """Everything that the templates print. Text from captures is escaped there, cleaned here."""
    alert, zone = story.alert, story.zone
    reading = story.readings[-1] if story.readings else None
    fraction = alert.fraction
    if fraction is None and reading is not None:
        fraction = reading.differentiated_fraction
    moved = change(story.readings)
    headline = _headline(story, fraction)
    where = where_of(alert.dish)
    subject = f"{where}: {headline}" + (f", {moved}" if moved else "")
    return {
        "subject": f"[test] {subject}" if story.test else subject,
        "is_test": story.test,
        "where": where,
        "headline": headline[:1].upper() + headline[1:],
        "plain_headline": headline,
        "change": moved,
        "colour": _TEST_COLOUR if story.test else _COLOURS[alert.kind],
        "reason": _reason(story),
        "rows": _rows(story, reading, fraction),
        "doubts": [clean(doubt) for doubt in reading.doubts] if reading else [],
        "steps": _steps(story, pictured=pictured),
        "plan": None if story.plan is None else _plan_facts(story.plan, zone),
        "overlay_id": overlay_id,
        "overlay_alt": f"Field of {where}: undifferentiated cells outlined in blue, "
        "differentiated cells in orange",
        "plot_alt": f"Series of {where}: differentiated fraction and confluence over time, last "
        f"{percent(fraction)}",
        "model": reading.model_sha256[:12] if reading else "unknown",
        "settings": reading.settings_sha256[:12] if reading else "unknown",
        "alert_id": alert.id,
        "at": local(alert.at, zone),
        "act": story.links.act if story.links and alert.kind is not AlertKind.CLEARED else None,
        "look": story.links and story.links.look,
    }


def _headline(story: AlertStory, fraction: float | None) -> str:
    alert = story.alert
    amount = "no cells to judge" if fraction is None else f"{percent(fraction)} differentiated"
    word = notice_words(alert.topic, is_over=alert.kind is AlertKind.CLEARED)
    if word is not None:
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
    if alert.topic in ALERT_RULES or (alert.kind is AlertKind.CLEARED and alert.text):
        return clean(alert.text or "")
    votes, needed = considered(story.readings, limits)
    scans = _scans(needed, max(len(votes), limits.scans_considered))
    worse = "It has gone on rising since it was last reported."
    limit = limits.raise_above
    if alert.severity is Severity.CRITICAL and limits.critical_above is not None:
        limit = max(limit, limits.critical_above)
        worse = f"Above the critical limit of {percent(limit)}, or still rising there."
    above = [one for one in votes if (one.differentiated_fraction or 0.0) > limit]
    seen = scans
    if len(above) < needed:
        seen = "the last scan, at the end of a series that surely rises"
    reason = {
        AlertKind.RAISED: f"Above the limit of {percent(limit)} in {seen}.",
        AlertKind.WORSENED: worse,
        AlertKind.CLEARED: f"Below the lower limit of {percent(limits.clear_below)} in {scans}; "
        "the alert is closed.",
    }[alert.kind]
    return f"{reason} {clean(alert.text)}" if alert.text else reason


def _scans(needed: int, of: int) -> str:
    return "the last scan" if of == 1 else f"{needed} of the last {of} scans"


def _rows(
    story: AlertStory, reading: Reading | None, fraction: float | None
) -> list[tuple[str, str]]:
    rows = [("Dish", shown_name(story.alert.dish))]
    if source := clean(story.source):
        rows.append(("Source", source))
    if reading is None:
        return rows
    rows.append(("Scanned", local(reading.at, story.zone)))
    cells = "no cells" if fraction is None else f"{percent(fraction)} of the cells"
    area = square_mm(reading.differentiated_um2)
    rows.append(("Differentiated", f"{cells} ({area})" if area else cells))
    confluence = "unknown" if reading.confluence is None else percent(reading.confluence)
    rows.append(("Confluence", confluence))
    rows.append(
        (
            "Seen in",
            f"{counted(reading.captures, 'field')}, "
            f"{counted(reading.colonies, 'colony', 'colonies')}",
        )
    )
    if reading.pixel_size_um is None:
        rows.append(("Pixel size", "unknown; areas cannot be given"))
    if reading.look_at_it:
        rows.append(("Network", "unsure here: look at the picture before you act"))
    return rows


def _steps(story: AlertStory, *, pictured: bool) -> list[Step]:
    """What to do next: sentence and, where there is one, the command or the page for it."""
    kind, plan, links = story.alert.kind, story.plan, story.links
    history: Step = (
        "To see the whole series:",
        None if links else f"colonywatch history {shlex.quote(clean(story.alert.dish))}",
        links.look if links else None,
    )
    if story.test:
        return [
            ("Nothing. This mail shows what an alert looks like and that it arrives.", None, None)
        ]
    if kind is AlertKind.CLEARED:
        return [("Nothing. " + history[0], *history[1:])]
    answers = _ways_to_answer(story.alert, links)[:1]
    if story.alert.topic in ALERT_RULES:
        step = ALERT_RULES[story.alert.topic].next_step
        if not pictured:
            step = step.replace("the picture below", "its picture")
        return [(step, None, None), history, *answers]
    which = "the picture below"
    if not pictured:
        which = "the dish's picture" if story.overlay is None else clean(str(story.overlay))
    steps: list[Step] = [
        (f"Look at {which}: are the cells outlined in orange really differentiated?", None, None)
    ]
    if plan is None:
        by_hand = (
            "If so, remove them by hand: this scan has no removal plan, since no region can be "
            "aimed at with certainty."
        )
        steps.append((by_hand, None, None))
    elif plan.status is PlanStatus.DRAFT:
        until = local(plan.expires_at, story.zone)
        approve = f"colonywatch removals approve {shlex.quote(clean(plan.id))}"
        steps.append((f"If so, approve the removal plan before {until}:", approve, None))
    elif plan.status in (PlanStatus.APPROVED, PlanStatus.EXPORTED):
        stop = (
            "The removal plan is approved already and goes to the picker. If they are not "
            "differentiated, stop it:"
        )
        steps.append((stop, f"colonywatch removals reject {shlex.quote(clean(plan.id))}", None))
    else:
        ended = f"This scan's removal plan is {plan.status}; the next makes its own."
        steps.append((ended, None, None))
    if kind is AlertKind.WORSENED:
        steps.append(("Consider whether the dish is worth keeping.", None, None))
    return [*steps, *answers, *([history] if links else [])]


def _plan_facts(plan: RemovalPlan, zone: ZoneInfo) -> dict[str, Any]:
    count = len(plan.targets)
    status = {
        PlanStatus.DRAFT: "waits for a person's approval",
        PlanStatus.APPROVED: f"approved by {clean(plan.approved_by or 'somebody')}",
        PlanStatus.EXPORTED: "handed to the picker",
    }.get(plan.status, plan.status.value)
    return {
        "id": clean(plan.id),
        "summary": f"{counted(count, 'region')}, {removal_area(plan)}; {status}; "
        f"ends {local(plan.expires_at, zone)}",
        "left_out": [clean(sentence) for sentence in plan.left_out],
    }


def _picture_for_mail(path: Path, *, small: bool = False) -> bytes | None:
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
    width, quality = _PICTURE_WIDTH_PX, _JPEG_QUALITY
    if small:
        width, quality = _SMALL_WIDTH_PX, _SMALL_QUALITY
    if columns > width:
        size = width, max(1, round(rows * width / columns))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    done, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return jpeg.tobytes() if done else None


@lru_cache(maxsize=1)
def templates() -> Environment:
    return Environment(
        loader=PackageLoader("monitor.outlets"),
        autoescape=select_autoescape(("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
