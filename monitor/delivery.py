"""Outbox -> outlets: mails to people, plans to the picker's folder. Comes after the facts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

from monitor.config import Config
from monitor.culture import Message, PlanStatus, RemovalPlan
from monitor.decisions.silence import SILENCES
from monitor.errors import OutletError, UsageError
from monitor.outlets.picking import Handout, Picture, StagedPlan, stage_plan, withdraw_plan
from monitor.record.store import Store

log = logging.getLogger(__name__)


def deliver_due(
    store: Store,
    config: Config,
    clock: Callable[[], datetime],
    *,
    stopping: Callable[[], bool],
    rehearsal: bool = False,
) -> int:
    """Deliver what is due, one message after the other. Returns how many went out.

    rehearsal : mails say that they are a test
    What could not be delivered stays in the outbox with its error and its next try.
    """
    count = 0
    while not stopping():
        message = store.outbox.take_due(clock())
        if message is None:
            return count
        try:
            where = _deliver(message, store, config, clock(), rehearsal=rehearsal)
        except OutletError as problem:
            again = store.outbox.failed(
                message.id, str(problem), clock(), permanent=problem.permanent
            )
            log.error(
                "%s %s not delivered, %s: %s",
                message.channel,
                message.subject_id,
                f"next try {again:%H:%M:%S} UTC" if again else "given up",
                problem,
            )
        except Exception as problem:
            # A fault in one message must not hold up the others.
            store.outbox.failed(
                message.id, f"unexpected fault: {problem!r}", clock(), permanent=False
            )
            log.exception("%s %s: unexpected fault", message.channel, message.subject_id)
        else:
            store.outbox.delivered(message.id, where, clock())
            log.info("%s %s delivered to %s", message.channel, message.subject_id, where)
            count += 1
    return count


def _deliver(
    message: Message, store: Store, config: Config, now: datetime, *, rehearsal: bool
) -> str:
    if message.channel == "email":
        return _send_mail(message, store, config, rehearsal=rehearsal)
    if message.channel == "removal":
        return _hand_to_picker(message, store, config, now)
    if message.channel == "withdrawal":
        withdraw_plan(store.plans.plan(message.subject_id), config.removal_folder)
        return str(config.removal_folder)
    raise OutletError(f"no outlet is called {message.channel!r}", permanent=True)


def _send_mail(message: Message, store: Store, config: Config, *, rehearsal: bool) -> str:
    # With the mail comes matplotlib, which takes a second to load: only when there is a mail.
    from monitor.outlets.email import AlarmStory, AlertStory, compose, compose_alarm, send

    alert = store.dishes.alert(int(message.subject_id))
    if alert.topic in SILENCES:
        mail = compose_alarm(
            AlarmStory(alert, _zone_of(alert.source, config), test=rehearsal),
            sender=config.outlets.email.sender,
            recipients=[message.recipient],
            message_id=f"alert-{alert.id}-{message.id}",
        )
        return send(mail, config.outlets.email, config.mailbox)
    readings = [reading for reading in store.dishes.history(alert.dish) if reading.at <= alert.at]
    overlay, source, plan = None, "", None
    if alert.reading_id is not None:
        fields = store.dishes.scan_fields(alert.reading_id)
        if fields:
            source = fields[0].source
            worst = fields[0].measurement.overlay
            overlay = config.record.folder / worst if worst else None
        plan = store.plans.for_reading(alert.reading_id)
    story = AlertStory(
        alert=alert,
        readings=tuple(readings),
        limits=config.decisions.limits_for(alert.dish, source),
        zone=_zone_of(source, config),
        overlay=overlay,
        plan=plan,
        source=source,
        test=rehearsal,
    )
    mail = compose(
        story,
        sender=config.outlets.email.sender,
        recipients=[message.recipient],
        # The same id at each try, so that a mail that went twice can be told from a second one.
        message_id=f"alert-{alert.id}-{message.id}",
    )
    return send(mail, config.outlets.email, config.mailbox)


def take_back_from(config: Config) -> Callable[[RemovalPlan], None]:
    """What a store calls with a plan that ends: its files leave the picker's folder at once.

    A folder out of reach stops nothing; the withdrawal stays in the outbox until it succeeds.
    """

    def take_back(plan: RemovalPlan) -> None:
        try:
            gone = withdraw_plan(plan, config.removal_folder)
        except OutletError as problem:
            log.error("%s", problem)
        else:
            log.info("plan=%s dish=%s: withdrawn, %d files", plan.id, plan.dish, len(gone))

    return take_back


def handout_of(plan: RemovalPlan, store: Store, config: Config) -> Handout:
    """A plan with all that its formats need."""
    wanted = config.outlets.removal
    return Handout(
        plan,
        pictures={
            field.capture_sha256: Picture(
                name=field.capture_name,
                shape=field.measurement.shape,
                pixel_size_um=field.measurement.pixel_size_um,
                stage=field.measurement.stage,
            )
            for field in store.dishes.scan_fields(plan.reading_id)
        },
        calibration_rms_um=_rms_of(plan, store, config),
        columns=wanted.columns,
        xy_device=wanted.xy_device,
        z_device=wanted.z_device,
    )


def _zone_of(source: str | None, config: Config) -> ZoneInfo:
    """The source's zone; for what is of no source, the one that all sources share."""
    zones = {one.zone for one in config.sources if source in (None, one.name)}
    return zones.pop() if len(zones) == 1 else ZoneInfo("UTC")


def _hand_to_picker(message: Message, store: Store, config: Config, now: datetime) -> str:
    plan = store.plans.plan(message.subject_id)
    if plan.status is PlanStatus.EXPORTED:
        # It was written, and we died before we could say so. The picker may have it by now: writing
        # it once more could remove the same regions twice.
        return str(config.removal_folder)
    if plan.status is not PlanStatus.APPROVED:
        raise OutletError(f"{plan.id}: is {plan.status}, not approved", permanent=True)
    staged = stage_plan(
        handout_of(plan, store, config),
        config.removal_folder,
        now=now,
        formats=config.outlets.removal.formats,
    )
    try:
        # Shown while nobody can end the plan: what has ended is never to be seen.
        store.plans.export(plan.id, publish=lambda _: _show(staged), now=now)
    except UsageError as problem:
        # It was rejected, superseded or expired while it was being written.
        staged.discard()
        raise OutletError(str(problem), permanent=True) from problem
    except BaseException:
        # The record could not be written: not exported, so not to be seen.
        staged.discard()
        withdraw_plan(plan, config.removal_folder)
        raise
    return ", ".join(str(path) for _, path in staged.files)


def _show(staged: StagedPlan) -> None:
    staged.publish()


def _rms_of(plan: RemovalPlan, store: Store, config: Config) -> float | None:
    """The residual of the plan's calibration, while it is still known."""
    for source in (*config.sources, config.unlisted):
        if source.calibration is not None and source.calibration.id == plan.calibration_id:
            return source.calibration.rms_um
    for made in store.calibrations.all():
        if made.id == plan.calibration_id:
            return made.rms_um
    return None
