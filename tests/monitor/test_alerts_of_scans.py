"""From scans to alerts and their mails."""

from __future__ import annotations

from datetime import timedelta

from monitor.config import (
    DecisionsConfig,
    DifferentiationConfig,
    OverrideConfig,
)
from monitor.culture import (
    AlertKind,
    Severity,
)
from tests.monitor.line import CALIBRATED, TWO_OF_THREE, series


def test_a_dish_that_differentiates_alerts_once_and_everybody_is_told(make_line, store):
    line = make_line(**CALIBRATED)
    outcomes = series(line, 0.01, 0.2, 0.21, 0.22, 0.2)
    assert [outcome.decision.alert for outcome in outcomes] == [
        None,
        None,
        AlertKind.RAISED,
        None,
        None,
    ]
    (alert,) = store.alerts.alerts()
    assert alert.reading_id == outcomes[2].reading.id
    mails = [one for one in store.outbox.undelivered() if one.channel == "email"]
    assert [one.recipient for one in mails] == list(line.config.outlets.email.addresses)


def test_a_dish_that_gets_worse_is_told_at_each_step(make_line, store):
    outcomes = series(make_line(), 0.2, 0.2, 0.31, 0.32, 0.33, 0.1, 0.1)
    assert [outcome.decision.alert for outcome in outcomes] == [
        None,
        AlertKind.RAISED,
        None,
        AlertKind.WORSENED,
        None,
        None,
        None,
    ]
    assert [outcome.decision.severity for outcome in outcomes[3:]] == [
        Severity.CRITICAL,
        Severity.CRITICAL,
        Severity.CRITICAL,
        Severity.WARNING,
    ]
    newest, _ = store.alerts.alerts()
    assert newest.severity is Severity.CRITICAL


def mails(store):
    """The alerts that go out now, as (topic, kind)."""
    due = [one for one in store.outbox.undelivered() if one.failed_at is None]
    now = max(one.created_at for one in due) if due else None
    found = [store.alerts.alert(int(one.subject_id)) for one in due if one.next_try_at <= now]
    return [(str(one.topic), str(one.kind)) for one in found]


RAISED_MAIL = ("differentiation", "raised")


def test_a_dish_that_comes_and_goes_within_the_cooldown_makes_one_mail(make_line, store):
    line = make_line()
    series(line, 0.2, 0.2, 0.01, 0.01, 0.2, 0.2, 0.01, 0.01, 0.2, 0.2)
    kinds = [(str(one.kind), one.held_back) for one in reversed(store.alerts.alerts())]
    assert kinds == [
        ("raised", None),
        ("cleared", "cooldown"),
        ("raised", "cooldown"),
        ("cleared", "cooldown"),
        ("raised", "cooldown"),
    ]
    assert mails(store) == [RAISED_MAIL]


def test_the_all_clear_waits_for_the_cooldown_to_end(make_line, store):
    line = make_line()
    series(line, 0.2, 0.2, 0.01, 0.01)
    _, cleared = store.outbox.undelivered()
    assert store.alerts.alert(int(cleared.subject_id)).kind is AlertKind.CLEARED
    # Raised by the scan of hour 2, cleared by that of hour 4; the cooldown is 12 h.
    assert cleared.next_try_at - cleared.created_at == timedelta(hours=10)
    assert mails(store) == [RAISED_MAIL]


def test_while_a_dish_is_snoozed_only_what_is_critical_is_mailed(make_line, store):
    line = make_line()
    series(line, 0.2, 0.2)
    (alert,) = store.alerts.alerts()
    store.alerts.snooze(
        alert.id, until=line.clock.now + timedelta(days=2), who="a", now=line.clock.now
    )
    series(line, 0.12, 0.12, 0.24, 0.24, first_hour=3)
    series(line, 0.5, 0.5, first_hour=7)
    story = [(str(one.kind), str(one.severity), one.held_back) for one in store.alerts.alerts()]
    assert story == [
        ("worsened", "critical", None),
        ("raised", "warning", None),
    ]


def test_what_a_snooze_held_back_is_mailed_when_it_is_over(make_line, store):
    line = make_line()
    series(line, 0.12, 0.12)
    (alert,) = store.alerts.alerts()
    store.alerts.snooze(
        alert.id, until=line.clock.now + timedelta(hours=5), who="a", now=line.clock.now
    )
    series(line, 0.24, 0.24, first_hour=3)
    assert store.alerts.alerts()[0].held_back == "snoozed"
    series(line, 0.24, first_hour=5)
    assert len(store.alerts.alerts()) == 2
    line.clock.passes(timedelta(hours=6))
    series(line, 0.24, 0.24, first_hour=6)
    newest, held, _ = store.alerts.alerts()
    assert (newest.kind, newest.held_back) == (AlertKind.WORSENED, None)
    assert (held.kind, held.held_back) == (AlertKind.WORSENED, "snoozed")
    assert mails(store) == [RAISED_MAIL, ("differentiation", "worsened")]


def test_a_dish_that_cannot_be_judged_for_a_day_is_told_once_and_its_end_too(make_line, store):
    limits = DifferentiationConfig(doubtful_for_h=3.0)
    line = make_line(decisions=DecisionsConfig(differentiation=limits))
    series(line, 0.01)
    series(line, *[0.01] * 5, first_hour=2, doubts=("out of focus",))
    series(line, 0.01, first_hour=7)
    story = [(str(one.topic), str(one.kind)) for one in store.alerts.alerts()]
    assert story == [("doubtful", "cleared"), ("doubtful", "raised")]
    assert store.alerts.alerts(open_only=True) == []


def test_a_dish_has_the_limits_of_the_first_override_that_fits_it(make_line, store):
    override = OverrideConfig(dishes="dish-0?", limits={"raise_above": 0.5})
    line = make_line(decisions=DecisionsConfig(differentiation=TWO_OF_THREE, overrides=(override,)))
    outcomes = series(line, 0.2, 0.3, 0.6, 0.6)
    assert [outcome.decision.alert for outcome in outcomes] == [None, None, None, AlertKind.RAISED]
