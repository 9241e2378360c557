"""What is measured once more, and that nobody else has it meanwhile."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from monitor.culture import CaptureState
from monitor.record.capture_states import AGAIN
from monitor.record.tables import ProcessRow
from tests.monitor.facts import (
    DISH,
    MODEL,
    NOW,
    OTHER_MODEL,
    SETTINGS,
    hours,
    measure,
    measurement,
    minutes,
    place,
    read,
    take,
)


def same_settings(source: str) -> str:
    del source
    return SETTINGS


def state_of(store, id_: int) -> CaptureState:
    (capture,) = store.captures.find([id_])
    return capture.state


@pytest.fixture
def two(store) -> list[list[int]]:
    """A scan with two fields, recorded, and a later one of another dish."""
    measure(store, "/in/a.tif", place(key="1", field="a"))
    read(store, measure(store, "/in/b.tif", place(key="1", field="b")))
    later = measurement(acquired_at=NOW + hours(1))
    read(store, measure(store, "/in/c.tif", place("other", key="1"), later))
    return [[1, 2], [3]]


WANTED = {
    # name: (model, hash of the settings by source, the scans that are to be measured again)
    "as they are": (MODEL, same_settings, []),
    "another model": (OTHER_MODEL, same_settings, [[1, 2], [3]]),
    "another tool, limit or pixel size": (MODEL, lambda source: "6" * 64, [[1, 2], [3]]),
    "another setting of another source": (
        MODEL, lambda source: SETTINGS if source == "incubator" else "6" * 64, [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WANTED)
def test_what_another_model_or_other_settings_measured_is_measured_again(store, two, case):
    model, settings_of, expected = WANTED[case]
    assert store.again.outdated(model, settings_of) == expected
    of_one = store.again.outdated(model, settings_of, dish=DISH)
    assert of_one == [scan for scan in expected if scan == [1, 2]]
    missed = store.again.not_measured([1, 2, 3], model, settings_of)
    assert [one.id for one in missed] == [id_ for scan in expected for id_ in scan]


def test_what_waits_for_its_first_time_is_left_to_the_daemon(store, two):
    waiting = take(store, "/in/new.tif")
    assert [waiting.id] not in store.again.outdated(OTHER_MODEL, same_settings)
    assert store.again.claim([waiting.id], "reprocess@here") == []


def test_what_is_measured_and_not_read_yet_is_measured_again_too(store):
    """The daemon, whose model is another one, has just measured it."""
    measure(store, "/in/a.tif", place(key="1"))
    assert store.again.outdated(OTHER_MODEL, same_settings) == [[1]]


def test_nobody_else_has_what_is_in_hand_and_its_scan_is_not_read(store, two):
    owner = store.processes.begin(AGAIN, NOW)
    other = store.processes.begin(AGAIN, NOW + minutes(0.01))
    assert [one.id for one in store.again.claim([1, 2], owner)] == [1, 2]
    assert store.again.claim([1, 2, 3], other)[0].id == 3
    assert store.captures.claim_due("daemon@here", NOW + hours(99), limit=10) == []
    new = measurement(model_sha256=OTHER_MODEL)
    store.captures.record_measurement(1, owner, place(key="1", field="a"), new, NOW)
    # Also where as many fields as the source expects are there.
    assert store.scans.scans_to_read(NOW + hours(1), {}, {"incubator": 1}) == []
    store.captures.record_measurement(2, owner, place(key="1", field="b"), new, NOW)
    assert store.scans.scans_to_read(NOW + hours(1), {}, {"incubator": 1}) == [1]
    read(store, 1)
    assert [one.model_sha256 for one in store.dishes.history(DISH)] == [OTHER_MODEL]
    assert store.again.outdated(OTHER_MODEL, same_settings, dish=DISH) == []


ENDS = {
    "it ends": lambda store, owner: store.processes.end(owner),
    "it dies": lambda store, owner: store.processes.bury_dead(NOW + minutes(5)),
    "it gives back": lambda store, owner: store.captures.release(owner, NOW),
    "the file is gone": lambda store, owner: store.captures.record_waiting(
        1, owner, "missing", "gone", NOW
    ),
    "it cannot be read": lambda store, owner: store.captures.record_unreadable(
        1, owner, "broken", "half a file", NOW
    ),
    "the worker dies with it": lambda store, owner: store.captures.record_crash(
        1, owner, NOW, limit=2
    ),
}


@pytest.mark.parametrize("case", ENDS)
def test_however_it_ends_early_no_daemon_measures_it_by_its_own_model(store, two, case):
    owner = store.processes.begin(AGAIN, NOW)
    store.again.claim([1], owner)
    with store.database.writing() as session:
        session.execute(update(ProcessRow).values(host="another"))
    ENDS[case](store, owner)
    assert state_of(store, 1) is CaptureState.RECORDED
    assert store.captures.claim_due("daemon@here", NOW + hours(99), limit=10) == []
    assert [one.model_sha256 for one in store.dishes.history(DISH)] == [MODEL]
    assert store.again.outdated(OTHER_MODEL, same_settings, dish=DISH) == [[1, 2]]
