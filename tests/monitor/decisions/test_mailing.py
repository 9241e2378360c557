from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.culture import AlertKind, HeldBack, Severity
from monitor.decisions.mailing import MailHistory, Mailing, mailing

NOW = datetime(2026, 11, 3, 9, 30, tzinfo=UTC)
RAISED, WORSENED, CLEARED = AlertKind
_, WARNING, CRITICAL = Severity


def hours(count):
    return timedelta(hours=count)


NEVER = MailHistory()
JUST_TOLD = MailHistory(raised_at=NOW - hours(2))
TOLD_LONG_AGO = MailHistory(raised_at=NOW - hours(12))
ASLEEP = MailHistory(snoozed_until=NOW + hours(1))
AWAKE = MailHistory(snoozed_until=NOW)

CASES = {
    # name: (kind, severity, history, mailing)
    "the first mail": (RAISED, WARNING, NEVER, Mailing()),
    "raised again within the cooldown": (RAISED, WARNING, JUST_TOLD, Mailing(HeldBack.COOLING)),
    "raised again after it": (RAISED, WARNING, TOLD_LONG_AGO, Mailing()),
    "critical within the cooldown": (RAISED, CRITICAL, JUST_TOLD, Mailing()),
    "worse within the cooldown": (WORSENED, WARNING, JUST_TOLD, Mailing()),
    "cleared within it: told when over": (CLEARED, WARNING, JUST_TOLD, Mailing(None, hours(10))),
    "cleared after it": (CLEARED, WARNING, TOLD_LONG_AGO, Mailing()),
    "cleared, and nobody had been told": (CLEARED, WARNING, NEVER, Mailing()),
    "raised while snoozed": (RAISED, WARNING, ASLEEP, Mailing(HeldBack.SNOOZED)),
    "worse while snoozed": (WORSENED, WARNING, ASLEEP, Mailing(HeldBack.SNOOZED)),
    "critical while snoozed": (WORSENED, CRITICAL, ASLEEP, Mailing()),
    "cleared while snoozed": (CLEARED, CRITICAL, ASLEEP, Mailing(HeldBack.SNOOZED)),
    "the snooze is over": (RAISED, WARNING, AWAKE, Mailing()),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_mailed_and_what_is_held_back(case):
    kind, severity, history, expected = CASES[case]
    assert mailing(kind, severity, history, at=NOW, now=NOW, cooldown=hours(12)) == expected


moments = st.none() | st.integers(-100, 100).map(lambda count: NOW + hours(count))


@given(st.sampled_from([RAISED, WORSENED]), moments, moments, st.integers(0, 100))
def test_nothing_critical_is_ever_held_back(kind, snoozed_until, raised_at, cooldown):
    history = MailHistory(snoozed_until, raised_at)
    got = mailing(kind, CRITICAL, history, at=NOW, now=NOW, cooldown=hours(cooldown))
    assert got == Mailing()


@pytest.mark.parametrize("severity", [WARNING, CRITICAL])
def test_an_alert_on_a_scan_of_long_ago_is_only_put_on_record(severity):
    """A backfill of last year's captures alerts nobody."""
    old = NOW - hours(200)
    week = hours(168)
    held = mailing(
        AlertKind.RAISED, severity, MailHistory(), at=old, now=NOW, cooldown=hours(12), oldest=week
    )
    assert held == Mailing(held_back="old scan")
    new = mailing(
        AlertKind.RAISED, severity, MailHistory(), at=NOW, now=NOW, cooldown=hours(12), oldest=week
    )
    assert new == Mailing()
