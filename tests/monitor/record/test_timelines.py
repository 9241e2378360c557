from __future__ import annotations

import pytest

from monitor.culture import AlertKind, DishStatus, NewAlert, ScanDecision
from monitor.errors import UsageError
from tests.monitor.facts import DISH, NOW, hours, measure, measurement, place, read, seen


def scan(store, number, decision=None):
    at = NOW + hours(number)
    scan_id = measure(store, f"/{number}", place(key=f"s{number}"), measurement(acquired_at=at))
    return read(store, scan_id, decision, at=at)


def unreadable(store, number, *, dish=DISH):
    problem = ("truncated", "half a file")
    file = seen(f"/bad-{number}-{dish}", problem=problem, dish=dish)
    store.captures.take_in(file, NOW + hours(number))


def after(story_times):
    return [round((at - NOW).total_seconds() / 3600) for at in story_times]


def test_a_story_holds_all_that_happened_in_its_time(store):
    """A picture of two weeks must not tell of an annotation of last year, nor leave one out."""
    raised = ScanDecision(DishStatus.DIFFERENTIATING, (NewAlert(AlertKind.RAISED),))
    for number in range(6):
        scan(store, number, raised if number in (1, 3) else None)
        unreadable(store, number)
        note = f"note {number}"
        store.lines.annotate(DISH, note, at=NOW + hours(number), who="mika", now=NOW + hours(9))
    told = store.timelines.of(DISH, since=NOW + hours(2), until=NOW + hours(4))
    assert after(one.at for one in told.readings) == [2, 3, 4]
    assert [one.text for one in told.annotations] == ["note 2", "note 3", "note 4"]
    assert after(one.at for one in told.alerts) == [3]
    assert after(one.at for one in told.unreadable) == [2, 3, 4]
    assert {one.reason for one in told.unreadable} == {"truncated"}
    whole = store.timelines.of(DISH)
    assert list(whole.readings) == store.dishes.history(DISH)
    assert [len(part) for part in (whole.annotations, whole.alerts, whole.unreadable)] == [6, 2, 6]


def test_what_could_not_be_read_belongs_to_the_line_that_lived_then(store):
    for number in range(4):
        scan(store, number)
        unreadable(store, number)
        unreadable(store, number, dish="another")
    store.lines.passage(DISH, (), at=NOW + hours(1.5), who="mika", note=None, now=NOW + hours(9))
    assert after(one.at for one in store.timelines.of(f"{DISH}#1").unreadable) == [0, 1]
    assert after(one.at for one in store.timelines.of(DISH).unreadable) == [2, 3]
    assert store.timelines.of(DISH).line.parent == f"{DISH}#1"


def test_a_dish_that_is_not_known_has_no_story(store):
    with pytest.raises(UsageError, match="no dish of this name"):
        store.timelines.of("nowhere")
