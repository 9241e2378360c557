"""The digest of the day: when it is due, what it tells, who gets it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from monitor.config import Config, RecipientConfig
from monitor.culture import Alert, PlanStatus
from monitor.decisions.hours import last_moment
from monitor.errors import OutletError
from monitor.record.store import Store

if TYPE_CHECKING:
    from email.message import EmailMessage

    from monitor.outlets.mail.digest_mail import DigestStory, DishDay, SourceDay
    from monitor.outlets.mail.stories import MailSize

log = logging.getLogger(__name__)

_MOST_DISHES, _MOST_ALERTS, _POINTS = 400, 4000, 400
_PLOTTED = timedelta(days=14)


def write_due_digest(config: Config, store: Store, now: datetime) -> bool:
    """Put the digest of the day into the outbox once its hour has come; once a day.

    A record that is new gets its first one at the next such hour. After days without a daemon there
    is one, on all of them.
    """
    at = config.outlets.email.digest.at
    readers = config.outlets.email.digest_readers
    if at is None or not readers:
        return False
    due_at = last_moment(now, at, config.zone_of())
    if not store.digests.is_due(due_at, now):
        return False

    def to(since: datetime) -> Sequence[str]:
        if config.outlets.email.digest.when_quiet:
            return [one.address for one in readers]
        return [
            one.address
            for one in readers
            if not digest_for(one, config, store, since, due_at, plots=0).is_quiet
        ]

    return store.digests.write(due_at, to, now)


def digest_mail(
    recipient: str,
    span: tuple[datetime, datetime],
    config: Config,
    store: Store,
    *,
    message_id: str,
    size: MailSize | None = None,
) -> EmailMessage:
    """The digest of a time as a mail to one of its readers.

    Raises OutletError (permanent) for somebody who is none any more.
    """
    from monitor.outlets.mail.digest_mail import MOST_DRAWN, compose_digest
    from monitor.outlets.mail.stories import MailSize

    for reader in config.outlets.email.digest_readers:
        if reader.address == recipient:
            return compose_digest(
                digest_for(reader, config, store, *span, plots=MOST_DRAWN),
                sender=config.outlets.email.sender,
                recipient=recipient,
                message_id=message_id,
                size=size or MailSize.FULL,
            )
    raise OutletError(f"{recipient}: no longer gets the digest", permanent=True)


def digest_for(
    reader: RecipientConfig,
    config: Config,
    store: Store,
    since: datetime,
    until: datetime,
    *,
    plots: int,
) -> DigestStory:
    """What happened after `since`, up to `until`, to what the reader follows.

    plots : of so many dishes that need a look, the worst first
    """
    from monitor.outlets.mail.digest_mail import DigestStory, worst_first

    came = store.overviews.alerts(limit=_MOST_ALERTS, since=since, until=until)
    holding = store.overviews.alerts(limit=_MOST_ALERTS, is_open=True)
    dishes = sorted(
        (one for one in _dish_days(config, store, since, until, came, holding)
         if reader.follows(one.source)),
        key=worst_first,
    )  # fmt: skip
    for place, dish in enumerate(dishes[:plots]):
        if dish.needs_a_look:
            told = store.timelines.of(dish.name, since=until - _PLOTTED, until=until)
            dishes[place] = replace(dish, told=told)
    followed = {one.name for one in dishes}
    return DigestStory(
        since=since,
        until=until,
        zone=config.zone_of(),
        dishes=tuple(dishes),
        sources=tuple(
            one
            for one in _source_days(config, store, since, until, dishes)
            if reader.follows(one.name)
        ),
        silences=tuple(
            one
            for one in _newest_of_each([*came, *holding])
            if not one.dish and reader.follows(one.source)
        ),
        plans=tuple(plan for plan in store.plans.all([PlanStatus.DRAFT]) if plan.dish in followed),
        dashboard=config.outlets.dashboard.url,
        every_day=config.outlets.email.digest.when_quiet,
        trail=store.audit.head(),
    )


def _dish_days(
    config: Config,
    store: Store,
    since: datetime,
    until: datetime,
    came: Sequence[Alert],
    holding: Sequence[Alert],
) -> list[DishDay]:
    from monitor.outlets.answer_links import dish_page
    from monitor.outlets.mail.digest_mail import DishDay

    before = min(since, until - timedelta(hours=48))
    url = config.outlets.dashboard.url
    found = []
    for one in store.overviews.dishes(limit=_MOST_DISHES, since=before, points=_POINTS):
        series = tuple(point for point in one.series if point.at <= until)
        news = [point for point in series if point.at > since]
        found.append(
            DishDay(
                name=one.name,
                source=one.source,
                status=one.status,
                severity=one.severity,
                series=series,
                scans=len(news),
                doubtful=sum(point.is_doubtful for point in news),
                confluence=None if one.last is None else one.last.confluence,
                last_at=None if one.last is None else one.last.at,
                limits=config.decisions.limits_for(one.name, one.source, one.label),
                alerts=tuple(reversed([alert for alert in came if alert.dish == one.name])),
                open=tuple(reversed([alert for alert in holding if alert.dish == one.name])),
                notes=tuple(
                    f"{note.text} ({note.who})"
                    for note in store.lines.annotations(one.name)
                    if since < note.at <= until
                ),
                judged_from=one.judged_from,
                page=None if url is None else dish_page(url, one.name),
            )
        )
    return found


def _source_days(
    config: Config, store: Store, since: datetime, until: datetime, dishes: Sequence[DishDay]
) -> list[SourceDay]:
    from monitor.outlets.mail.digest_mail import SourceDay

    unreadable = store.overviews.unreadable(since, until)
    names = {one.name for one in config.sources} | {one.source for one in dishes}
    names |= {source for source, _, _ in unreadable}
    return [
        SourceDay(
            name,
            scans=sum(one.scans for one in dishes if one.source == name),
            last_at=max(
                (one.last_at for one in dishes if one.source == name and one.last_at),
                default=None,
            ),
            unreadable=tuple((reason, count) for source, reason, count in unreadable
                             if source == name),
        )
        for name in sorted(names)
    ]  # fmt: skip


def _newest_of_each(alerts: Sequence[Alert]) -> list[Alert]:
    """Of each topic of a source or the machine, the newest."""
    newest: dict[tuple[str | None, str], Alert] = {}
    for alert in sorted(alerts, key=lambda one: one.id):
        newest[alert.source, alert.topic] = alert
    return list(newest.values())
