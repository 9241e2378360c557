"""Who is told of an alert, and not before when: the settings of the outlets put to it."""

from __future__ import annotations

from datetime import datetime, timedelta

from monitor.config import Config
from monitor.culture import AlertKind, Severity
from monitor.decisions.hours import quiet_until


def not_before(config: Config, source: str | None, now: datetime) -> datetime:
    """When a mail on what is not critical may go: the rest is over, and others had time to join."""
    email = config.outlets.email
    moment = now + timedelta(seconds=email.gather_s)
    quiet = email.quiet_hours
    if quiet is None:
        return moment
    zone = config.zone_of(source)
    ends = quiet_until(moment, begin=quiet.begin, end=quiet.end, zone=zone)
    return moment if ends is None else ends


def mail_to(
    config: Config, kind: AlertKind, severity: Severity, source: str | None
) -> tuple[str, ...]:
    """Addresses. Whoever follows the source may have been told what is now cleared."""
    return tuple(
        one.address
        for one in config.outlets.email.recipients
        if (one.follows(source) if kind is AlertKind.CLEARED else one.wants(severity, source))
    )


def channels_to(
    config: Config, kind: AlertKind, severity: Severity, source: str | None
) -> tuple[str, ...]:
    """Names of the other channels, chosen as addresses are."""
    return tuple(
        one.name
        for one in config.outlets.channels
        if (one.follows(source) if kind is AlertKind.CLEARED else one.wants(severity, source))
    )
