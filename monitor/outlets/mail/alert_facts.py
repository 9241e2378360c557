"""What a mail says about one alert: everything that the templates print."""

from __future__ import annotations

import shlex
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from monitor.culture import Alert, AlertKind, AlertTopic, PlanStatus, Reading, RemovalPlan, Severity
from monitor.culture.doubt_words import IN_DOUBT, calibration_words, named_interval
from monitor.decisions.alert_rules import ALERT_RULES
from monitor.decisions.status import considered
from monitor.outlets.mail.stories import AlertStory, Links, SilenceStory
from monitor.outlets.wording import (
    change,
    clean,
    counted,
    judged_from,
    local,
    notice_headline,
    percent,
    pixel_size_words,
    removal_area,
    shown_name,
    square_mm,
    where_of,
)

_COLOURS = {
    AlertKind.RAISED: "#b45309",
    AlertKind.WORSENED: "#b91c1c",
    AlertKind.CLEARED: "#15803d",
}
_CALM_COLOUR = "#1d4ed8"
_TEST_COLOUR = "#475569"
Step = tuple[str, str | None, str | None]  # sentence, command, address


def silence_facts(story: SilenceStory) -> dict[str, Any]:
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
        "trust": "",
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


def alert_facts(story: AlertStory, *, overlay_id: str | None, pictured: bool) -> dict[str, Any]:
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
        "colour": _TEST_COLOUR if story.test else _colour(alert),
        "reason": _reason(story),
        "rows": _rows(story, reading, fraction),
        "doubts": [clean(why) for why in reading.why_in_doubt] if reading else [],
        "trust": _trust(reading, fraction),
        "steps": _steps(story, pictured=pictured),
        "plan": None if story.plan is None else _plan_facts(story.plan, zone),
        "overlay_id": overlay_id,
        "overlay_alt": f"Field of {where}: undifferentiated cells outlined in blue, "
        "differentiated cells in orange, uncertain area striped",
        "plot_alt": f"Series of {where}: differentiated fraction and confluence over time, last "
        f"{percent(fraction)}",
        "model": reading.model_sha256[:12] if reading else "unknown",
        "settings": reading.settings_sha256[:12] if reading else "unknown",
        "alert_id": alert.id,
        "at": local(alert.at, zone),
        "act": story.links.act if story.links and alert.kind is not AlertKind.CLEARED else None,
        "look": story.links and story.links.look,
    }


def _colour(alert: Alert) -> str:
    is_calm = alert.severity is Severity.NOTICE and alert.kind is not AlertKind.CLEARED
    return _CALM_COLOUR if is_calm else _COLOURS[alert.kind]


def _headline(story: AlertStory, fraction: float | None) -> str:
    alert = story.alert
    amount = "no cells to judge" if fraction is None else f"{percent(fraction)} differentiated"
    word = notice_headline(alert.topic, fraction, is_over=alert.kind is AlertKind.CLEARED)
    if word is not None:
        return word
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
        seen = "the last scan, at the end of a series that clearly rises"
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
    if fresh := judged_from(story.judged_from, story.zone):
        rows.append(("Passage", fresh))
    within = _interval(reading, fraction)
    amount = f"{percent(fraction)} ({within})" if within else percent(fraction)
    cells = "no cells" if fraction is None else f"{amount} of the cells"
    area = square_mm(reading.differentiated_um2)
    rows.append(("Differentiated", f"{cells} ({area})" if area else cells))
    if within and (calibration := calibration_words(reading.doubt)):
        rows.append(("Interval", f"{calibration}: it is the model's own estimate"))
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
        rows.append(("Pixel size", pixel_size_words(reading) or "unknown; areas cannot be given"))
    if reading.look_at_it and not reading.doubt.in_doubt:
        rows.append(("Network", "unsure here: look at the image before you act"))
    return rows


def _interval(reading: Reading, fraction: float | None) -> str | None:
    """The interval of what is told; None where that is not of this reading, or there is none."""
    return named_interval(reading.doubt) if fraction == reading.differentiated_fraction else None


def _trust(reading: Reading | None, fraction: float | None) -> str:
    """How far the number may be trusted, in a line; empty where nothing is known of it."""
    if reading is None:
        return ""
    told = [_interval(reading, fraction)]
    if reading.in_doubt:
        told.append(f"{IN_DOUBT}: {clean(', '.join(reading.why_in_doubt))}")
    text = "; ".join(one for one in told if one)
    return text[:1].upper() + text[1:]


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
            step = step.replace("the image below", "its picture")
        return [(step, None, None), *_passage(story), history, *answers]
    which = "the image below"
    if not pictured:
        which = "the dish's image" if story.overlay is None else clean(str(story.overlay))
    steps: list[Step] = [
        (f"Look at {which}: are the cells outlined in orange really differentiated?", None, None)
    ]
    if plan is None:
        by_hand = (
            "If so, remove them by hand: this scan has no removal plan, since no region "
            "can be targeted with certainty."
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


def _passage(story: AlertStory) -> list[Step]:
    """How to say that a dish was passaged, at the time from which it looks so."""
    fresh_for_h = story.limits.fresh_for_h
    if (
        story.alert.topic is not AlertTopic.PASSAGE_SEEN
        or story.judged_from is None
        or fresh_for_h is None
    ):
        return []
    at = (story.judged_from - timedelta(hours=fresh_for_h)).astimezone(story.zone)
    name = shlex.quote(clean(story.alert.dish))
    command = f"colonywatch dishes passage {name} --at {at.isoformat(timespec='seconds')}"
    return [("If it was passaged, say so:", command, None)]


def _ways_to_answer(alert: Alert, links: Links | None) -> list[Step]:
    if links is not None:
        return [("When you have dealt with it, say so, or snooze it:", None, links.act)]
    return [
        ("When you have dealt with it, say so:", f"colonywatch alerts ack {alert.id}", None),
        ("To hear no more for a day:", f"colonywatch alerts snooze {alert.id} --hours 24", None),
    ]


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
