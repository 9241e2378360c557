"""Outbox -> outlets: mails to people, plans to the picker's folder. Comes after the facts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from monitor.config import Config
from monitor.culture import LIVE_PLANS, Alert, DishStatus, Message, RemovalPlan, Severity
from monitor.decisions.recipients import mail_to
from monitor.decisions.silence import SILENCES
from monitor.errors import OutletError
from monitor.jobs.daily_digest import digest_mail
from monitor.outlets.picking import withdraw_plan
from monitor.record.outbox import HELD
from monitor.record.store import Store

if TYPE_CHECKING:
    from email.message import EmailMessage

    from monitor.outlets.mail.stories import Links, MailSize, Story
from monitor.jobs.picker_folder import hand_to_picker
from monitor.jobs.plan_views import picture_of

log = logging.getLogger(__name__)

_PICKER = ("removal", "withdrawal")
# What the plot in a mail shows.
TOLD = timedelta(days=14)


def deliver_due(
    store: Store,
    config: Config,
    clock: Callable[[], datetime],
    *,
    stopping: Callable[[], bool],
    is_trial: bool = False,
    ahead: timedelta = timedelta(),
    without: Collection[str] = (),
) -> int:
    """Deliver what is due, one message after the other. Returns how many went out.

    is_trial : mails say that they are a test
    ahead : what is due within that time counts as due; nobody comes after us
    without : channels to leave alone

    What could not be delivered stays in the outbox with its error and its next try. A server that
    cannot be reached is asked once in a round; when it is back, what waited for it goes at once.
    """
    count = 0
    blocked: set[str] = set(without)
    settings = settings_of(config)
    # A slow server may use its whole time at each step of the conversation.
    held = max(HELD, timedelta(seconds=10 * config.outlets.email.timeout_s))
    while not stopping():
        message = store.outbox.take_due(clock(), held=held, ahead=ahead, without=blocked)
        if message is None:
            return count
        try:
            where = _deliver(message, store, config, clock(), is_trial=is_trial)
        except OutletError as problem:
            again = _not_delivered(message, store, problem, settings, clock())
            what_now = f"next try {again:%H:%M:%S} UTC" if again else "given up"
            if problem.setting is not None:
                what_now = f"waits for {problem.setting}, {what_now}"
            log.error(
                "%s %s not delivered, %s: %s",
                message.channel,
                _subjects(message),
                what_now,
                problem,
            )
            if problem.unreachable:
                blocked.add(message.channel)
        except Exception as problem:
            # A fault in one message must not hold up the others.
            fault = OutletError(f"unexpected error: {problem!r}")
            if message.shares:
                fault.permanent = True
            _not_delivered(message, store, fault, settings, clock())
            log.exception("%s %s: unexpected error", message.channel, _subjects(message))
        else:
            now = clock()
            store.outbox.delivered(message.id, where, now)
            log.info("%s %s delivered to %s", message.channel, _subjects(message), where)
            if message.channel not in _PICKER:
                store.outbox.hurry([message.channel], now)
            count += 1 + len(message.shares)
    return count


def settings_of(config: Config) -> dict[str, str]:
    """A fingerprint a channel of the settings that may have to do with what is refused there."""
    from monitor.outlets.mail.smtp import settings_fingerprint
    from monitor.outlets.push import channels_fingerprint

    return {
        "email": settings_fingerprint(config.outlets.email),
        "channel": channels_fingerprint(config.outlets.channels),
    }


def release_cured(
    store: Store,
    config: Config,
    now: datetime,
    *,
    known: Mapping[str, str] | None = None,
    whatever: bool = False,
) -> dict[str, str]:
    """Let go what was refused with other settings than those of now. To be called when a program
    starts, and after that with what it returned: nothing is looked for while that is still so.

    whatever : also what was refused with the same ones, since we know that they are right
    """
    settings = settings_of(config)
    if settings == known:
        return settings
    # Also what found nobody: at a wrong port, say, or before the machine had its network.
    store.outbox.hurry(list(settings), now)
    for channel, fingerprint in settings.items():
        released = store.outbox.release(channel, None if whatever else fingerprint, now)
        if released:
            log.info("the settings have changed: %d messages are tried again", len(released))
        for message, source in released:
            if channel == "email" and message.recipient not in config.outlets.email.addresses:
                _readdress(message, source, store, config, now)
    return settings


def _readdress(
    message: Message, source: str | None, store: Store, config: Config, now: datetime
) -> None:
    """Whoever is to get it is written otherwise now."""
    if message.subject_id.isdecimal():
        alert = store.alerts.alert(int(message.subject_id))
        wanted = mail_to(config, alert.kind, alert.severity, source or None)
    else:
        wanted = tuple(one.address for one in config.outlets.email.digest_readers)
    to = store.outbox.readdress(message.id, wanted, now)
    log.info(
        "%s %s: %s is no longer a recipient; it goes to %s",
        message.channel,
        message.subject_id,
        message.recipient,
        ", ".join(to) or "nobody",
    )


def _not_delivered(
    message: Message,
    store: Store,
    problem: OutletError,
    settings: Mapping[str, str],
    now: datetime,
) -> datetime | None:
    """Keep it for its next try, which is told. What cannot go together goes alone, at once; what a
    setting cures waits for that, and with it what would be refused for the same reason.
    """
    if problem.permanent and message.shares and problem.setting is None:
        store.outbox.part(message.id, now)
        return now
    waits = problem.setting is not None and not problem.of_recipient
    permanent = problem.permanent and not waits
    refused_with = settings.get(message.channel) if waits or permanent else None
    again = store.outbox.failed(
        message.id,
        str(problem),
        now,
        permanent=permanent,
        unreachable=problem.unreachable,
        refused_with=refused_with,
        waits=waits,
    )
    if waits and problem.unreachable and again is not None:
        store.outbox.hold(message.channel, str(problem), refused_with, again, now)
    return again


def _subjects(message: Message) -> str:
    return ", ".join(one.subject_id for one in (message, *message.shares))


def _deliver(
    message: Message, store: Store, config: Config, now: datetime, *, is_trial: bool
) -> str:
    if message.channel == "email":
        return _send_mail(message, store, config, now, is_trial=is_trial)
    if message.channel == "channel":
        return _push(message, store, config, now, is_trial=is_trial)
    if message.channel == "removal":
        return hand_to_picker(message, store, config, now)
    if message.channel == "withdrawal":
        withdraw_plan(store.plans.plan(message.subject_id), config.removal_folder)
        return str(config.removal_folder)
    raise OutletError(f"there is no outlet {message.channel!r}", permanent=True)


def _send_mail(
    message: Message, store: Store, config: Config, now: datetime, *, is_trial: bool
) -> str:
    # With the mail comes matplotlib, which takes a second to load: only when there is a mail.
    from monitor.outlets.mail.alert_mail import compose
    from monitor.outlets.mail.smtp import knock

    if message.attempts > 1:
        knock(config.outlets.email)
    span = store.digests.span(message.subject_id)
    if span is not None:
        return _send_small_enough(
            lambda size: digest_mail(
                message.recipient, span, config, store, message_id=message.mail_id, size=size
            ),
            config,
        )
    stories = [
        _story(int(one.subject_id), store, config, now, is_trial=is_trial)
        for one in (message, *message.shares)
    ]
    earlier = () if message.shares else store.outbox.thread(message)
    return _send_small_enough(
        lambda size: compose(
            stories,
            sender=config.outlets.email.sender,
            recipients=[message.recipient],
            # The same id at each try, so that a mail that went twice can be told from a second one.
            message_id=message.mail_id,
            earlier=earlier,
            size=size,
        ),
        config,
    )


def _send_small_enough(make: Callable[[MailSize], EmailMessage], config: Config) -> str:
    """A mail as large as the server takes it: with fewer and smaller pictures where it must be."""
    from monitor.outlets.mail.smtp import send
    from monitor.outlets.mail.stories import MailSize

    for size in MailSize:
        try:
            return send(make(size), config.outlets.email, config.mailbox)
        except OutletError as problem:
            if not problem.too_large or size is MailSize.SHORT:
                raise
            log.warning("%s; it is sent again, %s", problem, size.next_is)
    raise AssertionError("the last size returns or raises")


def _push(message: Message, store: Store, config: Config, now: datetime, *, is_trial: bool) -> str:
    from monitor.outlets.mail.alert_mail import compose_short
    from monitor.outlets.push import push

    for channel in config.outlets.channels:
        if channel.name == message.recipient:
            break
    else:
        raise OutletError(f"there is no longer a channel {message.recipient!r}", permanent=True)
    stories = [
        _story(int(one.subject_id), store, config, now, is_trial=is_trial, drawn=False)
        for one in (message, *message.shares)
    ]
    title, text = compose_short(stories)
    found = {one.alert.severity for one in stories}
    worst = next(one for one in reversed(Severity) if one in found)
    return push(channel, title, text, severity=worst, timeout_s=config.outlets.email.timeout_s)


def _story(
    alert_id: int,
    store: Store,
    config: Config,
    now: datetime,
    *,
    is_trial: bool,
    drawn: bool = True,
) -> Story:
    """Everything that a mail tells of an alert."""
    from monitor.outlets.mail.stories import AlertStory, SilenceStory

    with store.looking():
        alert = store.alerts.alert(alert_id)
        # A trial alert is on no record that a page could show.
        links = None if is_trial else _links_for(alert, config, now)
        if alert.topic in SILENCES:
            return SilenceStory(alert, config.zone_of(alert.source), links=links, test=is_trial)
        told = store.timelines.of(alert.dish, since=alert.at - TOLD, until=alert.at)
        overlay, source, plan, judged_from = None, "", None, None
        if alert.status is DishStatus.FRESHLY_PASSAGED:
            judged_from = store.dishes.judged_from(alert.dish)
        if alert.reading_id is not None:
            source, worst = store.scans.overlay_of(alert.reading_id)
            overlay = config.record.folder / worst if worst else None
            plan = store.plans.for_reading(alert.reading_id)
    return AlertStory(
        alert=alert,
        readings=told.readings,
        told=told,
        limits=config.decisions.limits_for(alert.dish, source, told.line.label),
        zone=config.zone_of(source),
        overlay=overlay,
        plan=plan,
        source=source,
        links=links,
        test=is_trial,
        plan_picture=_drawn(plan, store, config) if drawn else None,
        judged_from=judged_from,
    )


def _links_for(alert: Alert, config: Config, now: datetime) -> Links | None:
    """None where no dashboard is to be reached; a fault of the secret must not keep the mail."""
    from monitor.outlets.answer_links import AnswerLinks, dish_page
    from monitor.outlets.mail.stories import Links

    dashboard = config.outlets.dashboard
    if dashboard.url is None:
        return None
    try:
        signed = AnswerLinks(config.secret_file, good_for=timedelta(days=dashboard.link_days))
    except OutletError as problem:
        log.error("%s; the mail goes without links", problem)
        return None
    return Links(
        act=f"{dashboard.url}/answer/{signed.token_for(alert, now)}",
        look=dish_page(dashboard.url, alert.dish) if alert.dish else f"{dashboard.url}/",
        every=f"{dashboard.url}/alerts",
    )


def _drawn(plan: RemovalPlan | None, store: Store, config: Config) -> bytes | None:
    """A plan that waits or is under way; a fault in drawing must not keep the mail."""
    if plan is None or plan.status not in LIVE_PLANS:
        return None
    try:
        return picture_of(plan, store, config)
    except Exception:
        log.exception("plan=%s: cannot be drawn; the mail goes without", plan.id)
        return None
