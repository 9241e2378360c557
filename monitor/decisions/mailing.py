"""Which alerts become a mail at once, and which are held back. Of the present, nothing that is
critical is held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.culture import Alert, AlertKind, AlertTopic, HeldBack, Severity


@dataclass(frozen=True)
class MailHistory:
    """What people were told before, on one topic of one dish, source or machine.

    snoozed_until : of the whole dish or source
    raised_at : when the last mail that it was raised went; scan time for a dish, else our own
    """

    snoozed_until: datetime | None = None
    raised_at: datetime | None = None


@dataclass(frozen=True)
class Mailing:
    """held_back : why there is no mail; None = there is one
    wait : for so long after now; what is raised again meanwhile ends the mail
    """

    held_back: HeldBack | None = None
    wait: timedelta = timedelta()


def mailing(
    kind: AlertKind,
    severity: Severity,
    history: MailHistory,
    *,
    at: datetime,
    now: datetime,
    cooldown: timedelta,
    oldest: timedelta | None = None,
    not_before: datetime | None = None,
) -> Mailing:
    """Is this alert mailed, and when?

    at : time of the alert, in the frame of `history.raised_at`
    oldest : alerts of longer ago are on record only; a backfill of last year alerts nobody
    not_before : what is not critical waits till then, for others or for the end of a rest

    Snoozed: only what is critical. Else: worsening and what is critical always. A topic that is
    raised again within the cooldown is held back. That it was cleared is told when the cooldown is
    over, so that a dish which comes and goes makes one mail.
    """
    if oldest is not None and now - at > oldest:
        return Mailing(held_back=HeldBack.OLD)
    snoozed = history.snoozed_until is not None and history.snoozed_until > now
    if severity is Severity.CRITICAL and kind is not AlertKind.CLEARED:
        return Mailing()
    if snoozed:
        return Mailing(held_back=HeldBack.SNOOZED)
    patience = timedelta() if not_before is None else max(not_before - now, timedelta())
    if kind is AlertKind.WORSENED or history.raised_at is None:
        return Mailing(wait=patience)
    left = history.raised_at + cooldown - at
    if left <= timedelta():
        return Mailing(wait=patience)
    if kind is AlertKind.RAISED:
        return Mailing(held_back=HeldBack.COOLING)
    return Mailing(wait=max(left, patience))


def open_topics(alerts: Sequence[Alert]) -> frozenset[AlertTopic]:
    return frozenset(alert.topic for alert in alerts if alert.closed_at is None)


def told(alerts: Sequence[Alert], topic: AlertTopic) -> MailHistory:
    """What people know of a topic.

    alerts : all of one dish, source or machine, oldest first
    """
    snoozes = [alert.snoozed_until for alert in alerts if alert.snoozed_until is not None]
    raised = [
        alert.at
        for alert in alerts
        if alert.topic is topic and alert.kind is not AlertKind.CLEARED and not alert.held_back
    ]
    return MailHistory(max(snoozes, default=None), raised[-1] if raised else None)


def due_again(alerts: Sequence[Alert], now: datetime) -> tuple[Alert, ...]:
    """The newest open alert of each topic that was held back by a snooze which is over."""
    newest = {alert.topic: alert for alert in alerts if alert.closed_at is None}
    return tuple(
        alert
        for topic, alert in newest.items()
        if alert.held_back is HeldBack.SNOOZED
        and (until := told(alerts, topic).snoozed_until) is not None
        and until <= now
    )
