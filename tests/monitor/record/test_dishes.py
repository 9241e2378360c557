from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from sqlalchemy import select, text

from monitor.culture import (
    AlertKind,
    CaptureState,
    DishStatus,
    Doubt,
    DoubtReason,
    NewAlert,
    PlanStatus,
    ScanDecision,
    Severity,
)
from monitor.decisions.mailing import told
from monitor.errors import RecordError, UsageError
from monitor.record.store import Store
from monitor.record.tables import AuditRow
from tests.monitor.facts import (
    DISH,
    MODEL,
    NOW,
    OTHER_MODEL,
    SETTINGS,
    facts_on,
    hours,
    measure,
    measurement,
    minutes,
    new_reading,
    place,
    read,
    removal_plan,
    reopen,
    seen,
)

RAISED = ScanDecision(
    DishStatus.DIFFERENTIATING,
    (NewAlert(AlertKind.RAISED, mail_to=("a@localhost", "b@localhost")),),
)
CLEARED = ScanDecision(
    DishStatus.UNDIFFERENTIATED, (NewAlert(AlertKind.CLEARED, mail_to=("a@localhost",)),)
)


def scans_ready(store, now=NOW, *, quiet_s=20.0, expected=None):
    return store.scans.scans_to_read(now, {"incubator": quiet_s}, {"incubator": expected})


def states(store):
    return [str(capture.state) for capture in store.captures.find(range(1, 1000))]


def audited(store):
    with store.database.reading() as session:
        rows = session.scalars(select(AuditRow).order_by(AuditRow.number))
        return [(row.who, row.what, row.about) for row in rows]


# --- which captures make one scan ---------------------------------------------------------------


def test_captures_of_one_key_make_one_scan_however_far_apart(store):
    first = measure(store, "/1", place(key="s1", field="a"))
    late = measurement(acquired_at=NOW + hours(5))
    assert measure(store, "/2", place(key="s1", field="b"), late) == first
    assert measure(store, "/3", place(key="s2", field="a")) != first
    assert measure(store, "/4", place("other", key="s1", field="a")) != first


GAPS = {
    "at the same time": ([0, 0], 1),
    "within the gap": ([0, 15], 1),
    "just past the gap": ([0, 15.1], 2),
    "a chain longer than the gap": ([0, 10, 20, 30], 1),
    "backwards": ([30, 20, 10, 0], 1),
    "two visits": ([0, 5, 60, 65], 2),
}


@pytest.mark.parametrize("case", GAPS)
def test_captures_without_a_key_go_by_time(store, case):
    at, count = GAPS[case]
    scans = {
        measure(
            store,
            f"/{number}",
            place(field=str(number), gap_s=900),
            measurement(acquired_at=NOW + minutes(minute)),
        )
        for number, minute in enumerate(at)
    }
    assert len(scans) == count


def test_the_same_field_twice_is_two_visits_however_close(store):
    first = measure(store, "/1", place(field="a"))
    assert (
        measure(store, "/2", place(field="b"), measurement(acquired_at=NOW + minutes(1))) == first
    )
    second = measure(store, "/3", place(field="a"), measurement(acquired_at=NOW + minutes(2)))
    assert second != first
    assert (
        measure(store, "/4", place(field="b"), measurement(acquired_at=NOW + minutes(3))) == second
    )


def test_captures_that_name_no_field_are_visits_of_their_own(store):
    first = measure(store, "/1", place())
    assert measure(store, "/2", place(), measurement(acquired_at=NOW + minutes(2))) != first


def test_a_dish_by_key_and_a_dish_by_time_do_not_mix(store):
    by_key = measure(store, "/1", place(key="s1", field="a"))
    assert measure(store, "/2", place(field="b")) != by_key


# --- when a scan is complete --------------------------------------------------------------------


def test_a_scan_is_complete_when_nothing_new_came_for_its_quiet_time(store):
    scan = measure(store, "/1", place(key="s1"))
    assert scans_ready(store, NOW + minutes(0.3)) == []
    assert scans_ready(store, NOW + minutes(0.34)) == [scan]
    read(store, scan)
    assert scans_ready(store, NOW + hours(9)) == []


def test_a_scan_is_complete_with_as_many_fields_as_expected(store):
    scan = measure(store, "/1", place(key="s1", field="a"))
    assert scans_ready(store, expected=2) == []
    measure(store, "/2", place(key="s1", field="b"))
    assert scans_ready(store, expected=2) == [scan]


def test_a_scan_waits_for_captures_of_its_dish_that_are_due_or_in_work(store):
    scan = measure(store, "/1", place(key="s1", field="a"))
    late = NOW + minutes(5)
    take_named(store, "/2", DISH)
    assert scans_ready(store, late) == []
    (claimed,) = store.captures.claim_due("me", late, limit=1)
    assert scans_ready(store, late) == []
    store.captures.record_waiting(claimed.id, "me", "io-error", "share gone", late)
    assert scans_ready(store, late) == [scan]  # its next try may be far away


def test_a_scan_does_not_wait_for_other_dishes(store):
    scan = measure(store, "/1", place(key="s1"))
    take_named(store, "/2", "another dish")
    assert scans_ready(store, NOW + minutes(5)) == [scan]


def take_named(store, path, dish):
    return store.captures.take_in(seen(path, dish=dish), NOW)[1]


def test_complete_scans_come_in_the_order_of_time(store):
    scans = [
        measure(
            store, f"/{day}", place(key=f"s{day}"), measurement(acquired_at=NOW + hours(24 * day))
        )
        for day in (3, 1, 2)
    ]
    assert scans_ready(store, NOW + minutes(5)) == [scans[1], scans[2], scans[0]]


def test_unread_scans_of_given_captures_come_in_the_order_of_time(store):
    scans = {
        day: measure(
            store, f"/{day}", place(key=f"s{day}"), measurement(acquired_at=NOW + hours(24 * day))
        )
        for day in (3, 1, 2)
    }
    ids = [capture.id for capture in store.captures.find(range(99))]
    assert store.scans.unread_scans(ids) == [scans[1], scans[2], scans[3]]
    read(store, scans[2])
    assert store.scans.unread_scans(ids) == [scans[1], scans[3]]
    assert store.scans.unread_scans(ids[:1]) == [scans[3]]
    assert store.scans.unread_scans([]) == []


def test_a_capture_analysed_again_is_waited_for_before_its_scan_is_read_again(store):
    for field in "ab":
        scan = measure(store, f"/{field}", place(key="s1", field=field))
    read(store, scan)
    reopen(store, OTHER_MODEL)
    (first,) = store.captures.claim_due("me", NOW, limit=1)
    measured = measurement(model_sha256=OTHER_MODEL)
    store.captures.record_measurement(first.id, "me", place(key="s1", field="a"), measured, NOW)
    assert scans_ready(store, NOW + minutes(5), expected=2) == []
    (second,) = store.captures.claim_due("me", NOW, limit=1)
    store.captures.record_measurement(second.id, "me", place(key="s1", field="b"), measured, NOW)
    assert scans_ready(store, NOW, expected=2) == [scan]


# --- readings -----------------------------------------------------------------------------------


def test_a_scan_becomes_a_reading_that_names_all_it_rests_on(store):
    scan = measure(store, "/1", place(key="s1", field="a"), measurement(600, 300, 100))
    later = measurement(600, 100, 300, acquired_at=NOW + minutes(1))
    measure(store, "/2", place(key="s1", field="b"), later)
    outcome = read(store, scan)
    assert outcome is not None
    reading = outcome.reading
    assert (reading.dish, reading.scan_id, reading.version, reading.at) == (DISH, scan, 1, NOW)
    assert (reading.captures, reading.colonies) == (2, 2)
    assert (reading.background_um2, reading.undifferentiated_um2) == (4800.0, 1600.0)
    assert reading.differentiated_fraction == 0.5
    assert reading.confluence == 0.4
    assert (reading.model_sha256, reading.settings_sha256) == (MODEL, SETTINGS)
    assert reading.pixel_size_um == 2.0
    assert states(store) == ["recorded", "recorded"]
    assert store.dishes.history(DISH) == [reading]
    assert [field.capture_name for field in store.scans.scan_fields(reading.id)] == ["2", "1"]
    assert store.scans.dish_names([scan]) == [DISH]


def test_a_reading_without_cells_has_no_fraction(store):
    outcome = read(store, measure(store, "/1", place(), measurement(1000, 0, 0)))
    assert outcome is not None
    assert outcome.reading.differentiated_fraction is None
    assert outcome.reading.confluence == 0.0


def test_a_reading_carries_the_doubt_of_its_fields(store):
    sure = Doubt((), (0.25, 0.5), "ips 4x", calibrated=True)
    unsure = Doubt((DoubtReason.UNFAMILIAR,), (0.5, 1.0))
    scan = measure(store, "/1", place(key="s1", field="a"), measurement(600, 300, 100, doubt=sure))
    measure(store, "/2", place(key="s1", field="b"), measurement(600, 100, 300, doubt=unsure))
    outcome = read(store, scan)
    assert outcome is not None
    expected = Doubt((DoubtReason.UNFAMILIAR,), (0.375, 0.75), "ips 4x", calibrated=False)
    assert outcome.reading.doubt == expected
    assert store.dishes.history(DISH)[0].doubt == expected


def test_a_reading_whose_model_says_nothing_of_doubt_has_nothing_on_record(store):
    """Not that it is sure: nobody looked."""
    outcome = read(store, measure(store, "/1", place()))
    assert outcome is not None
    assert outcome.reading.doubt == Doubt()
    with store.database.reading() as session:
        assert session.execute(text("SELECT doubt FROM reading")).scalar_one() is None


def test_a_late_field_makes_a_second_version_and_nothing_is_overwritten(store):
    scan = measure(store, "/1", place(key="s1", field="a"))
    first = read(store, scan)
    measure(store, "/2", place(key="s1", field="b"), at=NOW + hours(1))
    assert states(store) == ["recorded", "measured"]
    second = read(store, scan, at=NOW + hours(1))
    assert first is not None
    assert second is not None
    assert (second.reading.version, second.reading.captures) == (2, 2)
    assert store.dishes.history(DISH) == [second.reading]
    assert len(store.scans.scan_fields(first.reading.id)) == 1
    assert states(store) == ["recorded", "recorded"]


def test_a_scan_without_news_is_not_read_again(store):
    scan = measure(store, "/1", place())
    assert read(store, scan) is not None
    assert read(store, scan) is None
    assert [reading.version for reading in store.dishes.history(DISH)] == [1]


@pytest.mark.parametrize("field", ["a", None])
def test_a_field_that_was_written_over_counts_once(store, field):
    """Also where a picture is the whole scan, so that its name has no field."""
    scan = measure(store, "/1", place(key="s1", field=field), content="first")
    measure(store, "/1", place(key="s1", field=field), measurement(0, 0, 1000), content="second")
    outcome = read(store, scan)
    assert outcome is not None
    assert outcome.reading.captures == 1
    assert outcome.reading.differentiated_fraction == 1.0
    assert states(store) == ["recorded", "recorded"]


def test_pictures_of_one_scan_that_name_no_field_all_count(store):
    scan = measure(store, "/1", place(key="s1"))
    measure(store, "/2", place(key="s1"))
    outcome = read(store, scan)
    assert outcome is not None
    assert outcome.reading.captures == 2


def test_a_dish_on_record_by_no_name_is_an_error_that_lists_the_known(store):
    with pytest.raises(UsageError, match="nothing is on record yet"):
        store.dishes.history("x")
    for number in range(12):
        measure(store, f"/{number}", place(f"dish-{number:02}"))
    with pytest.raises(
        UsageError, match=r"x: there is no dish .* known: dish-00, .*dish-07, \.\.\.$"
    ):
        store.dishes.history("x")


def test_dishes_show_their_first_and_last_reading(store):
    for day, differentiated in enumerate((0, 50, 100)):
        at = NOW + hours(24 * day)
        measured = measurement(600, 300, differentiated, acquired_at=at)
        read(store, measure(store, f"/{day}", place(key=f"s{day}"), measured))
    measure(store, "/x", place("A dish", key="s"))
    summaries = {summary.name: summary for summary in store.dishes.dishes()}
    dish, unread = summaries[DISH], summaries["A dish"]
    assert (dish.scans, dish.status, dish.source) == (3, DishStatus.UNKNOWN, "incubator")
    assert dish.first is not None
    assert dish.last is not None
    assert (dish.first.differentiated_fraction, dish.last.differentiated_fraction) == (0.0, 0.25)
    assert dish.last_capture_at == NOW + hours(48)
    assert (unread.scans, unread.first, unread.last) == (0, None, None)


# --- another model ------------------------------------------------------------------------------


def measure_again(store, capture_path, where, model, *, at=NOW):
    """Claim the capture that waits at `capture_path` and measure it with a model."""
    waiting = [
        capture.id
        for capture in store.captures.find(range(1, 1000))
        if str(capture.path) == capture_path and capture.state is CaptureState.WAITING
    ]
    (claimed,) = store.captures.claim_due("me", at, limit=1, only=waiting)
    measured = measurement(model_sha256=model)
    return store.captures.record_measurement(claimed.id, "me", where, measured, at)


def test_analysing_again_adds_a_version_under_the_new_model(store):
    scan = measure(store, "/1", place(key="s1", field="a"))
    first = read(store, scan)
    reopen(store, OTHER_MODEL)
    measure_again(store, "/1", place(key="s1", field="a"), OTHER_MODEL)
    second = read(store, scan)
    assert first is not None
    assert second is not None
    assert (second.reading.version, second.reading.model_sha256) == (2, OTHER_MODEL)
    assert store.dishes.history(DISH) == [second.reading]
    assert store.dishes.history(DISH, model_sha256=MODEL) == [first.reading]
    assert store.dishes.history(DISH, model_sha256=OTHER_MODEL) == [second.reading]
    assert store.dishes.history(DISH, model_sha256="c" * 64) == [second.reading]


def test_a_model_changed_in_the_middle_of_a_scan_measures_the_others_again(store):
    where = {field: place(key="s1", field=field) for field in "ab"}
    scan = measure(store, "/a", where["a"])
    measure(store, "/b", where["b"], measurement(model_sha256=OTHER_MODEL))
    first = read(store, scan)
    assert first is not None
    assert (first.reading.captures, first.reading.model_sha256) == (1, OTHER_MODEL)
    assert states(store) == ["waiting", "recorded"]
    measure_again(store, "/a", where["a"], OTHER_MODEL)
    second = read(store, scan)
    assert second is not None
    assert (second.reading.captures, second.reading.version) == (2, 2)
    assert states(store) == ["recorded", "recorded"]


def test_a_late_field_under_a_new_model_lets_the_recorded_ones_be_measured_again(store):
    """Else the newest version would rest on the late field alone."""
    where = {field: place(key="s1", field=field) for field in "abc"}
    for field in "ab":
        scan = measure(store, f"/{field}", where[field])
    read(store, scan)
    measure(store, "/c", where["c"], measurement(model_sha256=OTHER_MODEL))
    read(store, scan)
    assert states(store) == ["waiting", "waiting", "recorded"]
    for field in "ab":
        measure_again(store, f"/{field}", where[field], OTHER_MODEL)
    last = read(store, scan)
    assert last is not None
    assert (last.reading.captures, last.reading.version) == (3, 3)


def test_a_model_that_is_taken_back_in_the_middle_of_a_scan_comes_to_an_end(store):
    where = {field: place(key="s1", field=field) for field in "ab"}
    scan = measure(store, "/a", where["a"])
    measure(store, "/b", where["b"], measurement(model_sha256=OTHER_MODEL))
    read(store, scan)  # the first field is to be measured again, but with its own model
    measure_again(store, "/a", where["a"], MODEL, at=NOW + minutes(1))
    read(store, scan)
    measure_again(store, "/b", where["b"], MODEL, at=NOW + minutes(2))
    last = read(store, scan)
    assert last is not None
    assert (last.reading.captures, last.reading.model_sha256) == (2, MODEL)
    assert states(store) == ["recorded", "recorded"]
    assert read(store, scan) is None


def test_settings_that_were_changed_and_changed_back_count_as_they_are_now(store):
    """The measurement of before is used again, and has a lower number than the one between."""
    where = place(key="s1", field="a")
    small, large = (
        measurement(settings_sha256=sha, pixel_size_um=size)
        for sha, size in ((SETTINGS, 1.0), ("6" * 64, 2.0))
    )
    scan = measure(store, "/1", where, small)
    found = [read(store, scan)]
    for minute, measured in enumerate((large, small), 1):
        at = NOW + minutes(minute)
        (claimed,) = store.again.claim([1], "reprocess@here:1")
        store.captures.record_measurement(claimed.id, "reprocess@here:1", where, measured, at)
        found.append(read(store, scan))
    assert [
        (one.reading.version, one.reading.settings_sha256, one.reading.pixel_size_um)
        for one in found
    ] == [(1, SETTINGS, 1.0), (2, "6" * 64, 2.0), (3, SETTINGS, 1.0)]


def test_a_field_of_the_former_model_that_is_gone_is_not_called_recorded(store):
    """No reading holds it, so it is unreadable or waits: never lost."""
    scan = measure(store, "/a", place(key="s1", field="a"))
    measure(store, "/b", place(key="s1", field="b"), measurement(model_sha256=OTHER_MODEL))
    read(store, scan)
    (claimed,) = store.captures.claim_due("me", NOW, limit=1)
    assert store.captures.record_waiting(claimed.id, "me", "missing", "gone", NOW) is not None
    assert states(store) == ["waiting", "recorded"]
    store.captures.claim_due("me", NOW + hours(1), limit=1)
    store.captures.record_unreadable(claimed.id, "me", "truncated", "broken", NOW)
    assert states(store) == ["unreadable", "recorded"]


# --- facts, decisions and messages in one transaction ---------------------------------------------


def test_a_decision_sees_the_other_scans_oldest_first(store):
    scans = [
        measure(store, f"/{day}", place(key=f"s{day}"), measurement(acquired_at=NOW + hours(day)))
        for day in (2, 0, 1)
    ]
    for scan in scans[:2]:
        read(store, scan)
    facts = facts_on(store, scans[2])
    assert [reading.at for reading in facts.history] == [NOW, NOW + hours(2)]
    assert not facts.is_newest
    assert (facts.dish, facts.status, facts.next_version) == (DISH, DishStatus.UNKNOWN, 1)
    assert [field.capture_name for field in facts.fields] == ["1"]


def test_a_second_version_does_not_see_the_first_in_its_history(store):
    scan = measure(store, "/1", place(key="s1", field="a"))
    read(store, scan)
    measure(store, "/2", place(key="s1", field="b"))
    facts = facts_on(store, scan)
    assert (facts.history, facts.next_version, facts.is_newest) == ((), 2, True)


def test_reading_status_alert_plan_and_messages_come_together(store):
    approved = removal_plan(status=PlanStatus.APPROVED, approved_by="rule", approved_at=NOW)
    outcome = read(store, measure(store, "/1", place()), replace(RAISED, plan=approved))
    assert outcome is not None
    assert (outcome.status_before, outcome.decision.status) == (
        DishStatus.UNKNOWN,
        DishStatus.DIFFERENTIATING,
    )
    (alert,) = store.alerts.alerts(open_only=True)
    assert (alert.dish, alert.kind, alert.reading_id) == (
        DISH,
        AlertKind.RAISED,
        outcome.reading.id,
    )
    assert (alert.at, alert.fraction, alert.status) == (NOW, 0.25, DishStatus.DIFFERENTIATING)
    assert store.alerts.alert(alert.id) == alert
    assert store.dishes.dishes()[0].status is DishStatus.DIFFERENTIATING
    stored = replace(approved, reading_id=outcome.reading.id)
    assert store.plans.all() == [stored]
    assert store.plans.plan(approved.id) == stored
    assert store.plans.for_reading(outcome.reading.id) == stored
    assert [(one.channel, one.subject_id, one.recipient) for one in store.outbox.undelivered()] == [
        ("email", str(alert.id), "a@localhost"),
        ("email", str(alert.id), "b@localhost"),
        ("removal", approved.id, "picker"),
    ]
    assert audited(store) == [("rule", "plan made, approved", approved.id)]


def test_a_draft_goes_to_nobody(store):
    read(store, measure(store, "/1", place()), replace(RAISED, plan=removal_plan()))
    assert {message.channel for message in store.outbox.undelivered()} == {"email"}


@pytest.mark.parametrize(
    "fault", [ZeroDivisionError, RecordError("another transaction"), KeyboardInterrupt]
)
def test_a_decision_that_fails_writes_nothing_and_the_scan_stays_to_be_read(store, fault):
    scan = measure(store, "/1", place())

    with pytest.raises(BaseException) as caught, store.scans.open(scan, NOW) as opened:
        opened.add_reading(new_reading(opened.fields))
        raise fault
    assert caught.type is (fault if isinstance(fault, type) else type(fault))
    assert store.dishes.history(DISH) == []
    assert states(store) == ["measured"]
    assert scans_ready(store, NOW + minutes(5)) == [scan]
    outcome = read(store, scan, RAISED)
    assert outcome is not None
    assert outcome.reading.version == 1


def test_a_scan_that_is_opened_and_left_without_a_decision_stays_to_be_read(store):
    """A reading never stands without what it means."""
    scan = measure(store, "/1", place())
    with pytest.raises(RuntimeError, match="nobody said"), store.scans.open(scan, NOW) as opened:
        opened.add_reading(new_reading(opened.fields))
    assert store.dishes.history(DISH) == []
    assert states(store) == ["measured"]
    assert read(store, scan).reading.version == 1


def test_a_scan_without_news_is_not_opened(store):
    scan = measure(store, "/1", place())
    read(store, scan)
    with store.scans.open(scan, NOW) as opened:
        assert opened is None
    assert len(store.dishes.history(DISH)) == 1


def test_a_plan_that_cannot_be_stored_takes_its_alert_along(store):
    """The alert is written first; it must not stand alone."""
    read(
        store,
        measure(store, "/1", place(key="1")),
        ScanDecision(DishStatus.UNKNOWN, plan=removal_plan()),
    )
    scan = measure(store, "/2", place(key="2"), measurement(acquired_at=NOW + hours(1)))
    with pytest.raises(RecordError, match=r"(?i)unique"):
        read(store, scan, replace(RAISED, plan=removal_plan()))
    assert store.alerts.alerts() == []
    assert store.outbox.undelivered() == []
    assert store.dishes.dishes()[0].status is DishStatus.UNKNOWN
    assert len(store.dishes.history(DISH)) == 1


def test_two_programs_read_a_scan_once(database_url):
    with Store(database_url) as first, Store(database_url) as second:
        scan = measure(first, "/1", place())
        barrier = threading.Barrier(2)
        outcomes = []

        def race(store):
            barrier.wait()
            outcomes.append(read(store, scan, RAISED))

        threads = [threading.Thread(target=race, args=(store,)) for store in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(outcome is not None for outcome in outcomes) == 1
        assert len(first.alerts.alerts()) == 1


def test_clearing_closes_the_open_alert(store):
    for hour, decision in enumerate((RAISED, CLEARED)):
        measured = measurement(acquired_at=NOW + hours(hour))
        scan = measure(store, f"/{hour}", place(key=str(hour)), measured)
        read(store, scan, decision, at=NOW + hours(hour))
    cleared, raised = store.alerts.alerts()
    assert (cleared.kind, cleared.closed_at) == (AlertKind.CLEARED, NOW + hours(1))
    assert (raised.kind, raised.closed_at) == (AlertKind.RAISED, NOW + hours(1))
    assert store.alerts.alerts(open_only=True) == []


def test_the_last_word_on_a_rest_counts_whichever_alert_it_was_said_with(store):
    """A rest of a day with one alert must not outlast the hour that was asked for with the next."""
    worse = ScanDecision(DishStatus.DIFFERENTIATING, (NewAlert(AlertKind.WORSENED),))
    for hour, decision in enumerate((RAISED, worse)):
        measured = measurement(acquired_at=NOW + hours(hour))
        read(store, measure(store, f"/{hour}", place(key=str(hour)), measured), decision)
    other = replace(measurement(), acquired_at=NOW)
    read(store, measure(store, "/other", place("other", key="1"), other), RAISED)
    elsewhere, second, first = store.alerts.alerts()
    long, short = NOW + hours(24), NOW + hours(1)
    for alert in (first, elsewhere):
        store.alerts.snooze(alert.id, until=long, who="a", now=NOW)
    store.alerts.snooze(second.id, until=short, who="a", now=NOW)
    assert [one.snoozed_until for one in store.alerts.alerts()] == [long, short, None]
    store.alerts.snooze(first.id, until=NOW, who="a", now=NOW)
    resting = told(store.alerts.alerts(dish=DISH)[::-1], first.topic).snoozed_until
    assert resting == NOW


@pytest.mark.parametrize(
    ("severity", "until_h", "goes"),
    [(Severity.WARNING, 24, False), (Severity.CRITICAL, 24, True), (Severity.WARNING, 0, True)],
)
def test_a_rest_holds_back_what_waits_unless_it_is_critical(store, severity, until_h, goes):
    alert = NewAlert(AlertKind.RAISED, severity=severity, mail_to=("a@lab.org",), wait=hours(8))
    read(store, measure(store, "/1", place()), ScanDecision(DishStatus.DIFFERENTIATING, (alert,)))
    store.alerts.snooze(1, until=NOW + hours(until_h), who="a", now=NOW)
    assert (store.outbox.take_due(NOW + hours(9)) is not None) is goes
    assert store.alerts.alert(1).held_back == (None if goes else "snoozed")


def test_alerts_are_acknowledged_and_snoozed_by_name(store):
    read(store, measure(store, "/1", place()), RAISED)
    (alert,) = store.alerts.alerts()
    store.alerts.acknowledge(alert.id, who="A. Person", note="seen", now=NOW)
    known = store.alerts.snooze(alert.id, until=NOW + hours(8), who="A. Person", now=NOW)
    assert (known.acknowledged_by, known.note, known.acknowledged_at) == ("A. Person", "seen", NOW)
    assert known.snoozed_until == NOW + hours(8)
    assert [what for _, what, _ in audited(store)] == ["alert acknowledged", "alert snoozed"]
    for act in (
        lambda: store.alerts.alert(99),
        lambda: store.alerts.acknowledge(99, who="x", note=None, now=NOW),
        lambda: store.alerts.snooze(99, until=NOW, who="x", now=NOW),
    ):
        with pytest.raises(UsageError, match="99: there is no alert with this number"):
            act()
