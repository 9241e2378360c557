"""Who is told of an alert, and not before when: the settings of the outlets put to it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from monitor.config import Config
from monitor.config.mail import RecipientConfig
from monitor.config.outlets import ChannelConfig
from monitor.culture import AlertKind, Severity
from monitor.decisions.hours import quiet_until

_Listed = TypeVar("_Listed", RecipientConfig, ChannelConfig)


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


def reached(
    ones: Sequence[_Listed], kind: AlertKind, severity: Severity, source: str | None
) -> list[_Listed]:
    """Recipients or channels that an alert goes to. Whoever follows the source may have been told
    what is now cleared.
    """
    return [
        one
        for one in ones
        if (one.follows(source) if kind is AlertKind.CLEARED else one.wants(severity, source))
    ]


def mail_to(
    config: Config, kind: AlertKind, severity: Severity, source: str | None
) -> tuple[str, ...]:
    """Addresses."""
    reads = reached(config.outlets.email.recipients, kind, severity, source)
    return tuple(one.address for one in reads)


def channels_to(
    config: Config, kind: AlertKind, severity: Severity, source: str | None
) -> tuple[str, ...]:
    """Names of the other channels, chosen as addresses are."""
    return tuple(one.name for one in reached(config.outlets.channels, kind, severity, source))
