"""A source that is called otherwise, and its dishes."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.culture import Calibration, CalibrationKind
from monitor.errors import RecordError
from monitor.record.sources import ConfiguredSource
from tests.monitor.facts import NOW, hours, measure, measurement, place, read, seen


def source(name="old", path="/in", **changes) -> ConfiguredSource:
    return ConfiguredSource(**({"name": name, "path": Path(path), "host": "scope"} | changes))


def scan(store, source, dish="d", hour=0):
    at = NOW + hours(hour)
    where = place(dish, source=source)
    return read(
        store, measure(store, f"/{source}/{dish}/{hour}", where, measurement(acquired_at=at), at=at)
    )


def told(changes):
    return [(one.old, one.new, one.dishes) for one in changes]


RENAMED = {
    "the same folder": source("new"),
    "as its setting says": source("new", "/elsewhere", formerly=("old",)),
    "both": source("new", formerly=("old",)),
}


@pytest.mark.parametrize("case", RENAMED)
def test_the_dishes_of_a_source_go_on_under_its_new_name(store, case):
    store.sources.settle([source()], NOW)
    scan(store, "old")
    store.calibrations.add(
        Calibration(
            "c1", CalibrationKind.CAMERA, "old", ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)), made_at=NOW,
            made_by="mika",
        )
    )  # fmt: skip
    assert told(store.sources.changes([RENAMED[case]])) == [("old", "new", 1)]
    assert told(store.sources.settle([RENAMED[case]], NOW)) == [("old", "new", 1)]
    assert store.sources.settle([RENAMED[case]], NOW) == []
    scan(store, "new", hour=1)
    assert len(store.dishes.history("d")) == 2
    assert store.lines.line("d").source == "new"
    assert [one.id for one in store.calibrations.of("new", CalibrationKind.CAMERA)] == ["c1"]
    (capture, _) = store.captures.find(range(1, 9))
    assert capture.source == "new"


def test_a_copy_is_a_copy_also_after_its_source_has_a_new_name(store):
    store.sources.settle([source()], NOW)
    scan(store, "old")
    store.sources.settle([source("new")], NOW)
    file = seen("/copy", "/old/d/0", source="new", dish="d")
    assert store.captures.take_in(file, NOW)[1].id == 1
    assert len(store.captures.find(range(1, 9))) == 1


def test_a_source_that_is_gone_is_said_and_nothing_else_done(store):
    store.sources.settle([source()], NOW)
    scan(store, "old")
    (change,) = store.sources.settle([source("new", "/elsewhere")], NOW)
    assert (change.old, change.new) == ("old", None)
    assert "add formerly: [old]" in change.text
    assert store.lines.line("d").source == "old"


def test_a_folder_of_the_same_path_on_another_machine_is_another_source(store):
    store.sources.settle([source()], NOW)
    scan(store, "old")
    assert store.sources.settle([source("new", host="other")], NOW) == []
    assert store.lines.line("d").source == "old"


def test_a_source_whose_folder_moved_is_the_same_source(store):
    store.sources.settle([source()], NOW)
    scan(store, "old")
    assert store.sources.settle([source(path="/elsewhere")], NOW) == []
    assert store.lines.line("d").source == "old"


def test_a_name_that_is_in_use_takes_nothing_over_by_its_folder(store):
    """Two sources that changed folders are two sources."""
    store.sources.settle([source("a", "/a"), source("b", "/b")], NOW)
    scan(store, "a")
    scan(store, "b")
    assert store.sources.settle([source("a", "/b"), source("b", "/a")], NOW) == []
    assert store.lines.line("a:d").source == "a"


def test_dishes_that_were_begun_under_the_new_name_already_follow_those_of_the_old(store):
    """Somebody ran it before saying what the source was called."""
    store.sources.settle([source()], NOW)
    scan(store, "old")
    store.sources.settle([source("new", "/elsewhere")], NOW)
    scan(store, "new", hour=5)
    assert [dish.name for dish in store.dishes.dishes()] == ["new:d", "old:d"]
    store.sources.settle([source("new", "/elsewhere", formerly=("old",))], NOW)
    assert [(dish.name, dish.scans) for dish in store.dishes.dishes()] == [("d", 1), ("d#1", 1)]
    assert store.lines.line("d#1").ended_at == store.lines.line("d").began_at == NOW + hours(5)


def test_two_sources_that_were_at_work_together_are_not_made_one(store):
    store.sources.settle([source("a", "/a"), source("b", "/b")], NOW)
    for hour in range(2):
        scan(store, "a", hour=hour)
        scan(store, "b", hour=hour)
    with pytest.raises(RecordError, match="remove the name from formerly"):
        store.sources.settle([source("b", "/b", formerly=("a",))], NOW)
    assert [dish.name for dish in store.dishes.dishes()] == ["a:d", "b:d"]


def test_what_was_tried_by_hand_can_be_taken_over_too(store):
    scan(store, "unlisted")
    store.sources.settle([source("new", formerly=("unlisted",))], NOW)
    assert store.lines.line("d").source == "new"


def test_names_that_say_the_source_say_the_new_one(store):
    store.sources.settle([source("a", "/a"), source("b", "/b")], NOW)
    scan(store, "a")
    scan(store, "b")
    store.lines.rename("a:d", "mine", who="mika", now=NOW)
    scan(store, "a", "e")
    scan(store, "b", "e")
    store.sources.settle([source("c", "/a"), source("b", "/b")], NOW)
    assert [dish.name for dish in store.dishes.dishes()] == ["b:d", "b:e", "c:e", "mine"]
