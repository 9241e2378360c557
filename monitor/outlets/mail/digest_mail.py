"""The digest of the day: one mail on all dishes. Pure; HTML and plain text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import EmailMessage
from typing import Any
from zoneinfo import ZoneInfo

from monitor.config import DifferentiationConfig
from monitor.culture import (
    Alert,
    AlertKind,
    AlertTopic,
    DishStatus,
    DishTimeline,
    Head,
    HeldBack,
    PlanStatus,
    RemovalPlan,
    Severity,
)
from monitor.culture.doubt_words import (
    IN_DOUBT,
    calibration_words,
    interval_words,
    named_interval,
    reason_words,
)
from monitor.decisions.alert_rules import silence_words, words_of
from monitor.outlets.figures.series import plot_story
from monitor.outlets.mail.envelope import MailImage, mail_of
from monitor.outlets.mail.stories import MailSize, size_note
from monitor.outlets.wording import (
    ago,
    brief,
    change,
    clean,
    counted,
    judged_from,
    percent,
    removal_area,
    shown_name,
    where_of,
)
from monitor.record.overviews import SeriesPoint

MOST_DRAWN = 6
_MOST_LISTED = 400
_DAY = timedelta(hours=24)
_RED, _AMBER, _GREEN = "#b91c1c", "#b45309", "#15803d"


@dataclass(frozen=True)
class DishDay:
    """A dish over the time that a digest tells of.

    series : the last scans, oldest first, also of before
    scans, doubtful : of that time; last_at : of its newest scan
    alerts : written in that time, oldest first; open : that still hold
    told : what its plot shows; None = there is none
    judged_from : of a dish that is freshly passaged
    page : on the dashboard
    """

    name: str
    source: str
    status: DishStatus
    severity: Severity | None
    series: tuple[SeriesPoint, ...]
    scans: int
    doubtful: int
    confluence: float | None
    last_at: datetime | None
    limits: DifferentiationConfig
    alerts: tuple[Alert, ...] = ()
    open: tuple[Alert, ...] = ()
    notes: tuple[str, ...] = ()
    told: DishTimeline | None = None
    page: str | None = None
    judged_from: datetime | None = None

    @property
    def needs_a_look(self) -> bool:
        return self.status.needs_a_look or bool(self.open)

    @property
    def has_news(self) -> bool:
        told = self.alerts or self.notes or self.judged_from is not None
        return self.needs_a_look or bool(told) or self.doubtful > 0


@dataclass(frozen=True)
class SourceDay:
    """A source over that time. last_at : its newest scan; unreadable : (reason, how many)"""

    name: str
    scans: int
    last_at: datetime | None
    unreadable: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class DigestStory:
    """Everything that a digest tells.

    silences : on sources and the machine, that hold or came in that time, newest first
    dashboard : its address
    every_day : it comes where all is quiet, too
    trail : the newest entry of the audit trail, which a mail keeps out of everybody's reach
    """

    since: datetime
    until: datetime
    zone: ZoneInfo
    dishes: tuple[DishDay, ...]
    sources: tuple[SourceDay, ...] = ()
    silences: tuple[Alert, ...] = ()
    plans: tuple[RemovalPlan, ...] = ()
    dashboard: str | None = None
    every_day: bool = True
    trail: Head | None = None

    @property
    def is_quiet(self) -> bool:
        """Is there nothing to tell but that?"""
        return not (
            self.silences
            or self.plans
            or any(one.has_news for one in self.dishes)
            or any(one.unreadable for one in self.sources)
        )


def worst_first(dish: DishDay) -> tuple[int, float]:
    """Dishes that need a look, then those with news, then the others."""
    last = dish.series[-1].differentiated_fraction if dish.series else None
    if dish.status.needs_a_look:
        place = 0 if dish.severity is Severity.CRITICAL else 1
    else:
        place = 2 if dish.open else 3 if dish.has_news else 4
    return place, -(last or 0.0) if place < 4 else 0.0


def compose_digest(
    story: DigestStory,
    *,
    sender: str,
    recipient: str,
    message_id: str,
    size: MailSize = MailSize.FULL,
) -> EmailMessage:
    """The digest as a mail. Of the dishes that need a look, the worst few come with their plot.

    size : smaller where the server takes no more; the mail says so
    """
    zone = story.zone
    ordered = sorted(story.dishes, key=worst_first)
    cards: list[dict[str, Any]] = []
    pictures: list[MailImage] = []
    drawn = {MailSize.FULL: MOST_DRAWN, MailSize.ONE_PICTURE: 1}.get(size, 0)
    for dish in ordered:
        if not dish.has_news:
            break
        card = _card(dish, zone)
        if dish.told is not None and dish.needs_a_look and len(pictures) < drawn:
            card["plot_id"] = f"series-{len(pictures)}@colonywatch"
            plot = plot_story(dish.told, dish.limits, zone=zone)
            pictures.append((plot, "png", card["plot_id"], f"series-{len(pictures)}.png"))
        cards.append(card)
    subject, headline = _subject(story)
    facts = {
        "subject": subject,
        "headline": headline,
        "span": f"{brief(story.since, zone)} to {brief(story.until, zone)} ({zone.key})",
        "colour": _colour(story),
        "cards": cards,
        "silences": [_silence(one, zone) for one in story.silences],
        "plans": [_plan(one, story) for one in story.plans],
        "sources": [_source(one, story) for one in story.sources],
        "rows": [_row(one) for one in ordered[:_MOST_LISTED]],
        "left_out": max(0, len(ordered) - _MOST_LISTED),
        "dashboard": story.dashboard,
        "every_day": story.every_day,
        "trail": story.trail,
        "size_note": size_note(size),
    }
    return mail_of(
        "digest",
        facts,
        pictures,
        subject=subject,
        at=story.until.astimezone(zone),
        sender=sender,
        recipients=[recipient],
        message_id=message_id,
        text_alone=_in_short(facts) if size is MailSize.SHORT else None,
    )


def _in_short(facts: dict[str, Any]) -> str:
    lines = [f"Digest, {facts['span']}", facts["headline"], ""]
    lines += [f"{one['where']}: {one['text']}" for one in facts["silences"][:MOST_DRAWN]]
    lines += [f"{one['where']}: {one['amount']}" for one in facts["cards"][:MOST_DRAWN]]
    more = len(facts["silences"]) + len(facts["cards"]) - len(lines) + 3
    return "\n".join(lines) + (f"\nand {more} more" if more > 0 else "")


def _subject(story: DigestStory) -> tuple[str, str]:
    day = story.until.astimezone(story.zone)
    date = f"{day:%a} {day.day} {day:%b}"
    dishes = counted(len(story.dishes), "dish", "dishes")
    parts = []
    worse = [one for one in story.dishes if one.status is DishStatus.DIFFERENTIATING]
    critical = sum(one.severity is Severity.CRITICAL for one in worse)
    if worse:
        verb = "differentiates" if len(worse) == 1 else "differentiate"
        parts.append(
            f"{len(worse)} of {dishes} {verb}" + (f" ({critical} critical)" if critical else "")
        )
    above = [one for one in story.dishes if one.status is DishStatus.ABOVE_LIMIT]
    if above:
        is_are = "is" if len(above) == 1 else "are"
        parts.append(f"{len(above)} {is_are} above the limit, not yet confirmed")
    silent = [one for one in story.dishes if one.open and one not in worse and one not in above]
    if silent:
        verb = "needs" if len(silent) == 1 else "need"
        parts.append(f"{counted(len(silent), 'other dish', 'other dishes')} {verb} a look")
    wrong = [one for one in story.silences if one.closed_at is None]
    if wrong:
        parts.append(counted(len(wrong), "silence alert"))
    if story.plans:
        parts.append(f"{counted(len(story.plans), 'plan')} to approve")
    told = ", ".join(parts) or f"all quiet, {dishes}"
    return f"Digest of {date}: {told}", told[:1].upper() + told[1:]


def _colour(story: DigestStory) -> str:
    alerts = [*story.silences, *(alert for dish in story.dishes for alert in dish.open)]
    is_open = [one for one in alerts if one.closed_at is None]
    if any(one.severity is Severity.CRITICAL for one in is_open):
        return _RED
    worse = any(one.status.needs_a_look for one in story.dishes)
    return _AMBER if is_open or worse or story.plans else _GREEN


def _dish_colour(dish: DishDay) -> str:
    if dish.severity is Severity.CRITICAL or any(
        one.severity is Severity.CRITICAL for one in dish.open
    ):
        return _RED
    return _AMBER if dish.needs_a_look else "#64748b"


def _card(dish: DishDay, zone: ZoneInfo) -> dict[str, Any]:
    return {
        "where": where_of(dish.name),
        "amount": _amount(dish),
        "change": change(dish.series, _DAY),
        "colour": _dish_colour(dish),
        "lines": [
            *_trust(dish),
            *_life(dish, zone),
            *(f"Note: {clean(note)}" for note in dish.notes),
        ],
        "plot_id": None,
        "plot_alt": f"Series of {where_of(dish.name)}",
        "page": dish.page,
    }


def _amount(dish: DishDay) -> str:
    if not dish.series:
        return "not scanned yet"
    last = dish.series[-1]
    if last.differentiated_fraction is None:
        return "no cells"
    told = f"{percent(last.differentiated_fraction)} differentiated"
    within = named_interval(last.doubt)
    return f"{told} ({within})" if within else told


def _amount_cell(dish: DishDay) -> str:
    """The same for the table of all dishes: as short as can be."""
    last = dish.series[-1] if dish.series else None
    if last is None or last.differentiated_fraction is None:
        return _amount(dish)
    within = interval_words(last.doubt)
    told = percent(last.differentiated_fraction) + (f" ({within})" if within else "")
    return f"{told}, {IN_DOUBT}" if last.is_doubtful else told


def _trust(dish: DishDay) -> list[str]:
    """Why the newest scan is in doubt, and what its interval is worth."""
    if not dish.series:
        return []
    last = dish.series[-1]
    lines = []
    if last.is_doubtful:
        why = ", ".join((*last.doubts, *reason_words(last.doubt)))
        lines.append(f"The last scan is in doubt: {clean(why)}.")
    calibration = calibration_words(last.doubt)
    if calibration is not None:
        lines.append(f"Its interval is {calibration}.")
    return lines


def _life(dish: DishDay, zone: ZoneInfo) -> list[str]:
    """What happened to a dish, a sentence each topic, however often it came and went."""
    fresh = judged_from(dish.judged_from, zone)
    lines = [] if fresh is None else [f"{fresh[:1].upper()}{fresh[1:]}."]
    topics = dict.fromkeys(one.topic for one in (*dish.alerts, *dish.open))
    for topic in topics:
        alerts = [one for one in dish.alerts if one.topic is topic]
        holds = [one for one in dish.open if one.topic is topic]
        lines.append(_topic_sentence(topic, alerts, holds, zone))
    held = Counter(one.held_back for one in dish.alerts if one.held_back)
    if held:
        reasons = ", ".join(
            f"{count} {_HELD.get(reason, f'({reason})')}" for reason, count in held.most_common()
        )
        lines.append(f"Not mailed: {reasons}.")
    for alert in dish.open:
        if alert.acknowledged_by is not None:
            note = f": {clean(alert.note)}" if alert.note else ""
            lines.append(f"{clean(alert.acknowledged_by)} knows about it{note}.")
        if alert.snoozed_until is not None:
            lines.append(f"No mails until {brief(alert.snoozed_until, zone)}, unless critical.")
    if dish.doubtful:
        lines.append(f"{dish.doubtful} of {counted(dish.scans, 'scan')} in doubt.")
    return list(dict.fromkeys(lines))


_HELD = {
    HeldBack.SNOOZED: "while it was snoozed",
    HeldBack.COOLING: "within the cooldown",
    HeldBack.OLD: "on a scan of long ago",
    HeldBack.OVERTAKEN: "that something newer overtook",
    HeldBack.NOBODY_TOLD: "all-clears of which nobody was told the beginning",
}


def _topic_sentence(
    topic: AlertTopic, alerts: Sequence[Alert], holds: Sequence[Alert], zone: ZoneInfo
) -> str:
    words = words_of(topic)
    name = "above its limit" if words is None else words
    if holds and holds[0].severity is Severity.CRITICAL and words is None:
        name = "critical"
    rose = sum(one.kind is AlertKind.RAISED for one in alerts)
    fell = sum(one.kind is AlertKind.CLEARED for one in alerts)
    if holds:
        since = brief(min(one.at for one in holds), zone)
        told = f"{name[:1].upper()}{name[1:]} since {since}"
        return f"{told}, after it had come and gone {_times(fell)}." if fell else f"{told}."
    last = brief(alerts[-1].at, zone)
    if rose > 1 or fell > 1:
        return f"Was {name} {_times(max(rose, fell))} and no longer since {last}."
    return f"Was {name} and no longer since {last}."


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _silence(alert: Alert, zone: ZoneInfo) -> dict[str, Any]:
    is_over = alert.closed_at is not None
    words = silence_words(alert.topic, is_over=alert.kind is AlertKind.CLEARED) or str(alert.topic)
    when = f"since {brief(alert.at, zone)}"
    if is_over:
        when = f"{brief(alert.at, zone)}, over"
    held = f"; not mailed: {alert.held_back}" if alert.held_back else ""
    return {
        "where": shown_name(alert.about),
        "text": f"{words}, {when}{held}",
        "detail": "" if is_over else clean(alert.text or ""),
        "colour": _GREEN if is_over else _RED if alert.severity is Severity.CRITICAL else _AMBER,
    }


def _plan(plan: RemovalPlan, story: DigestStory) -> dict[str, Any]:
    waits = plan.status is PlanStatus.DRAFT
    return {
        "where": where_of(plan.dish),
        "summary": f"{counted(len(plan.targets), 'region')}, {removal_area(plan)}; valid "
        f"until {brief(plan.expires_at, story.zone)}",
        "command": f"colonywatch removals approve {clean(plan.id)}" if waits else None,
    }


def _source(source: SourceDay, story: DigestStory) -> str:
    name, scans = clean(source.name), counted(source.scans, "scan")
    last = "nothing yet" if source.last_at is None else f"last {ago(story.until - source.last_at)}"
    unreadable = ", ".join(f"{count} {clean(reason)}" for reason, count in source.unreadable)
    count = sum(count for _, count in source.unreadable)
    told = f"{name}: {scans}, {last}"
    return f"{told}; {counted(count, 'capture')} unreadable ({unreadable})" if count else told


def _row(dish: DishDay) -> dict[str, Any]:
    return {
        "where": where_of(dish.name),
        "amount": _amount_cell(dish),
        "change": (change(dish.series, _DAY) or "–").split(" in ")[0],
        "confluence": "–" if dish.confluence is None else percent(dish.confluence),
        "scans": dish.scans,
        "colour": _dish_colour(dish) if dish.needs_a_look else None,
        "page": dish.page,
    }
