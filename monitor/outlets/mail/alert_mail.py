"""Mails on alerts: HTML and plain text. Pure but for reading the overlay."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from email.message import EmailMessage
from typing import Any

from monitor.culture import AlertKind, AlertTopic, DishLine, DishTimeline, Severity
from monitor.decisions.alert_rules import ALERT_RULES
from monitor.outlets.figures.series import plot_story
from monitor.outlets.mail.alert_facts import alert_facts, silence_facts
from monitor.outlets.mail.envelope import MailImage, mail_of
from monitor.outlets.mail.pictures import picture_for_mail
from monitor.outlets.mail.stories import MailSize, SilenceStory, Story, size_note
from monitor.outlets.wording import clean, counted, percent, shown_name, well_and_plate

# Of several alerts in one mail, so many come with pictures and all the facts.
_MOST_SHOWN = 6
_LONGEST_SUBJECT = 140


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
    elif isinstance(ordered[0], SilenceStory):
        name = "silence"
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
        urgent=any(_is_urgent(one) for one in ordered),
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
        lines += [card["reason"], card["trust"]]
        if card["act"] or card["look"]:
            lines.append(card["act"] or card["look"])
    if len(cards) > _MOST_SHOWN:
        lines.append(f"and {len(cards) - _MOST_SHOWN} more")
    return str(subject), "\n".join(line for line in lines if line)


def _is_urgent(story: Story) -> bool:
    alert = story.alert
    is_calm = alert.severity is Severity.NOTICE
    return not (is_calm or story.test or alert.kind is AlertKind.CLEARED)


def _rank(story: Story) -> tuple[int, float, str]:
    """Worst first."""
    alert = story.alert
    places = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.NOTICE: 2}
    place = 3 if alert.kind is AlertKind.CLEARED else places[alert.severity]
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
) -> tuple[dict[str, Any], list[MailImage]]:
    """What a mail says about one alert, and its pictures as (content, kind, id, file name)."""
    if isinstance(story, SilenceStory):
        return silence_facts(story), []
    drawn = drawn and (size is MailSize.FULL or (size is MailSize.ONE_PICTURE and number == 0))
    small = size is MailSize.ONE_PICTURE
    overlay = None
    if story.overlay is not None and drawn:
        overlay = picture_for_mail(story.overlay, small=small)
    facts = alert_facts(
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
        story.told or DishTimeline(DishLine(name, name, story.source)),
        readings=story.readings,
        alerts=() if story.alert.topic in ALERT_RULES else (story.alert,),
    )
    plot = plot_story(told, story.limits, zone=story.zone)
    pictures.append((plot, "png", facts["plot_id"], f"{stem}_series.png"))
    return facts, pictures
