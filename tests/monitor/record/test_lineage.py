from __future__ import annotations

import pytest
from sqlalchemy import select

from monitor.culture import AlertKind, DishStatus, NewAlert, PlanStatus, ScanDecision
from monitor.errors import UsageError
from monitor.record.tables import AuditRow
from tests.monitor.facts import DISH, NOW, hours, measure, measurement, place, read, removal_plan

RAISED = ScanDecision(DishStatus.DIFFERENTIATING, (NewAlert(AlertKind.RAISED),))
LATER = NOW + hours(100)


def scan(store, number, *, dish=DISH, after_h=None, decision=None):
    at = NOW + hours(number if after_h is None else after_h)
    scan_id = measure(
        store, f"/{dish}/{number}", place(dish, key=f"s{number}"), measurement(acquired_at=at)
    )
    return read(store, scan_id, decision)


def series(store, name):
    return [round((one.at - NOW).total_seconds() / 3600) for one in store.dishes.history(name)]


def names(store):
    return {dish.name: dish.scans for dish in store.dishes.dishes()}


def audited(store):
    with store.database.reading() as session:
        rows = session.scalars(select(AuditRow).order_by(AuditRow.number))
        return [(row.who, row.what, row.about, row.why, row.after) for row in rows]


def end(store, name=DISH, *, after_h, note=None):
    return store.lines.end(name, at=NOW + hours(after_h), who="mika", note=note, now=LATER)


def passage(store, *to, name=DISH, after_h):
    return store.lines.passage(name, to, at=NOW + hours(after_h), who="mika", note=None, now=LATER)


def test_a_passage_begins_a_new_line_under_the_same_name(store):
    """The imager goes on to call the well A1; the cells in it are others."""
    for number in range(3):
        scan(store, number)
    done = passage(store, after_h=2.5)
    assert (done.parent.name, done.parent.label) == (f"{DISH}#1", DISH)
    (child,) = done.children
    assert (child.name, child.parent, child.passage) == (DISH, f"{DISH}#1", 1)
    scan(store, 4)
    assert series(store, f"{DISH}#1") == [0, 1, 2]
    assert series(store, DISH) == [4]
    assert passage(store, after_h=5).children[0].passage == 2
    assert set(names(store)) == {DISH, f"{DISH}#1", f"{DISH}#2"}


def test_a_late_capture_belongs_to_the_line_that_was_alive_when_it_was_taken(store):
    scan(store, 0)
    passage(store, after_h=2.5)
    scan(store, 3)
    outcome = scan(store, 1)
    assert outcome is not None
    assert outcome.reading.dish == f"{DISH}#1"
    assert series(store, f"{DISH}#1") == [0, 1]
    assert series(store, DISH) == [3]


def test_what_is_told_late_moves_the_scans_since_then(store):
    """A passage of two o'clock is often entered in the evening."""
    for number in range(5):
        scan(store, number)
    passage(store, after_h=2.5)
    assert series(store, f"{DISH}#1") == [0, 1, 2]
    assert series(store, DISH) == [3, 4]
    # They are read once more, so that the new line is judged by itself.
    ready = store.scans.scans_to_read(LATER, {"incubator": 0.0}, {})
    assert len(ready) == 2
    outcome = read(store, ready[1])
    assert outcome is not None
    assert outcome.reading.dish == DISH
    assert outcome.status_before is DishStatus.UNKNOWN


@pytest.mark.parametrize("scans", [1, 4])
def test_what_is_told_late_moves_what_was_written_since_then(store, scans):
    for number in range(scans):
        scan(store, number)
    for after_h, text in ((1, "medium changed"), (3, "attached well")):
        store.lines.annotate(DISH, text, at=NOW + hours(after_h), who="mika", now=LATER)
    passage(store, after_h=2)
    assert [one.text for one in store.lines.annotations(f"{DISH}#1")] == ["medium changed"]
    assert [one.text for one in store.lines.annotations(DISH)] == ["attached well"]


def test_a_passage_to_other_wells_links_them_all(store):
    scan(store, 0)
    scan(store, 3, dish="plate/B1")  # seen before anybody told of the passage
    done = passage(store, "plate/B1", "plate/B2", after_h=2)
    assert [child.name for child in done.children] == ["plate/B1", "plate/B2"]
    assert {child.parent for child in done.children} == {DISH}
    assert store.lines.line(DISH).children == ("plate/B1", "plate/B2")
    assert series(store, "plate/B1") == [3]
    scan(store, 4, dish="plate/B2")
    assert series(store, "plate/B2") == [4]
    assert store.lines.line(DISH).ended_at == NOW + hours(2)


def test_a_passage_into_a_dish_that_lives_is_refused(store):
    scan(store, 0)
    scan(store, 1, dish="plate/B1")
    with pytest.raises(UsageError, match=r"plate/B1 has been there since .*end it first"):
        passage(store, "plate/B1", after_h=2)
    assert store.lines.line(DISH).ended_at is None
    assert audited(store) == []


def test_an_ended_dish_is_quiet_and_its_plan_is_withdrawn(store):
    """A picker must not go for cells that were discarded."""
    plan = removal_plan(status=PlanStatus.DRAFT)
    scan(store, 0, decision=ScanDecision(RAISED.status, RAISED.alerts, plan))
    assert [sign.dish for sign in store.dishes.signs()] == [DISH]
    end(store, after_h=1, note="discarded")
    assert store.dishes.signs() == []
    assert store.alerts.alerts(open_only=True) == []
    with store.database.reading() as session:
        from monitor.record.tables import RemovalPlanRow

        assert session.get_one(RemovalPlanRow, plan.id).status == PlanStatus.SUPERSEDED
    assert audited(store)[-1] == (
        "mika", "dish ended", DISH, "discarded", '{"ended_at":"2026-11-03T10:30:00+00:00"}',
    )  # fmt: skip


def test_what_is_taken_after_an_end_is_a_dish_of_its_own(store):
    """Cells that nobody told of are watched all the same."""
    scan(store, 0)
    end(store, after_h=1)
    scan(store, 2)
    assert names(store) == {DISH: 1, f"{DISH}#1": 1}
    assert store.lines.line(DISH).parent is None
    assert [sign.dish for sign in store.dishes.signs()] == [DISH]


def test_an_end_can_be_taken_back_until_something_follows(store):
    scan(store, 0)
    end(store, after_h=1)
    assert store.lines.resume(DISH, who="mika", now=LATER).ended_at is None
    end(store, after_h=1)
    scan(store, 2)
    with pytest.raises(UsageError, match="follows it under the label"):
        store.lines.resume(f"{DISH}#1", who="mika", now=LATER)
    with pytest.raises(UsageError, match="has not ended"):
        store.lines.resume(DISH, who="mika", now=LATER)


def test_an_end_that_was_a_mistake_leaves_no_alert_closed(store):
    """A dish that differentiates is not raised once more: its alert must stand again."""
    scan(store, 0, decision=RAISED)
    cleared = ScanDecision(DishStatus.UNDIFFERENTIATED, (NewAlert(AlertKind.CLEARED),))
    scan(store, 1, decision=cleared)
    scan(store, 2, decision=RAISED)
    scan(store, 3, decision=ScanDecision(RAISED.status, (NewAlert(AlertKind.WORSENED),)))
    before = store.alerts.alerts(open_only=True)
    end(store, after_h=4)
    store.lines.resume(DISH, who="mika", now=LATER)
    assert store.alerts.alerts(open_only=True) == before
    assert [alert.id for alert in before] == [4, 3]


def test_a_renamed_dish_is_still_found_by_its_captures(store):
    scan(store, 0)
    store.lines.rename(DISH, " donor 7,  clone 3 ", who="mika", now=LATER)
    scan(store, 1)
    assert names(store) == {"donor 7, clone 3": 2}
    passage(store, name="donor 7, clone 3", after_h=2)
    assert set(names(store)) == {"donor 7, clone 3", DISH}
    assert store.lines.line(DISH).parent == "donor 7, clone 3"


def test_a_name_that_is_taken_is_refused(store):
    scan(store, 0)
    scan(store, 1, dish="other")
    store.lines.rename(DISH, "mine", who="mika", now=LATER)
    for taken in ("mine", DISH):
        with pytest.raises(UsageError, match="is the name or the label of mine already"):
            store.lines.rename("other", taken, who="mika", now=LATER)
    # Back to its own label is no conflict.
    assert store.lines.rename("mine", DISH, who="mika", now=LATER).name == DISH


def test_annotations_come_back_by_time(store):
    scan(store, 0)
    for after_h, text in ((3, "medium  changed"), (1, "seeded")):
        store.lines.annotate(DISH, text, at=NOW + hours(after_h), who="mika", now=LATER)
    assert [one.text for one in store.lines.annotations(DISH)] == ["seeded", "medium changed"]
    assert [entry[1:3] for entry in audited(store)] == [("dish annotated", DISH)] * 2


REFUSED = {
    "no such dish": (lambda store: end(store, "nobody", after_h=1), "no dish of this name"),
    "in the future": (lambda store: end(store, after_h=101), "is in the future"),
    "before it began": (lambda store: end(store, after_h=-1), "begins only at 2026-11-03 09:30"),
    "twice the same target": (
        lambda store: passage(store, "a", "a", after_h=1),
        "given twice",
    ),
    "an empty note": (
        lambda store: store.lines.annotate(DISH, "  ", at=NOW, who="mika", now=LATER),
        "needs a text",
    ),
    "a novel": (
        lambda store: store.lines.annotate(DISH, "x" * 501, at=NOW, who="mika", now=LATER),
        "501 letters",
    ),
    "an empty name": (
        lambda store: store.lines.rename(DISH, " ", who="mika", now=LATER),
        "1 to 100 letters",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_with_its_reason(store, case):
    scan(store, 0)
    call, reason = REFUSED[case]
    with pytest.raises(UsageError, match=reason):
        call(store)
    assert audited(store) == []


def test_ending_twice_is_refused(store):
    scan(store, 0)
    end(store, after_h=1)
    with pytest.raises(UsageError, match="ended at 2026-11-03 10:30 UTC already"):
        end(store, after_h=2)
    with pytest.raises(UsageError, match="did not exist at"):
        store.lines.annotate(DISH, "late", at=NOW + hours(2), who="mika", now=LATER)


def test_captures_of_before_a_line_began_do_not_join_it(store):
    """Whatever stood in the well before the passage is no part of the new line."""
    scan(store, 0)
    passage(store, "plate/B1", after_h=2)
    scan(store, 3, dish="plate/B1")
    scan(store, 1, dish="plate/B1")
    assert series(store, "plate/B1") == [3]
    assert series(store, "plate/B1#1") == [1]
    assert store.lines.line("plate/B1#1").ended_at == NOW + hours(2)


def test_a_capture_that_is_measured_once_more_stays_with_its_line(store):
    scan(store, 0)
    passage(store, after_h=0.5)
    store.captures.retry(LATER)
    (capture,) = store.captures.find([1])
    with store.database.writing() as session:
        from monitor.record.tables import CaptureRow

        session.get_one(CaptureRow, capture.id).state = "waiting"
        session.get_one(CaptureRow, capture.id).next_try_at = NOW
    (claimed,) = store.captures.claim_due("me", LATER, limit=1)
    # Another clock says that it was taken after the passage.
    moved = measurement(acquired_at=NOW + hours(0.6), model_sha256="c" * 64)
    store.captures.record_measurement(claimed.id, "me", place(DISH, key="s0"), moved, LATER)
    assert names(store)[f"{DISH}#1"] == 1
