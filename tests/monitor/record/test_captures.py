from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from monitor.culture import CaptureState, Doubt, DoubtReason
from monitor.record.capture_states import retry_after
from monitor.record.intake import TakenIn
from monitor.record.store import Store
from tests.monitor.facts import (
    DISH,
    MODEL,
    NOW,
    OTHER_MODEL,
    hours,
    measure,
    measurement,
    minutes,
    place,
    read,
    reopen,
    seen,
    sha256_of,
    take,
)


def state_of(store, capture_id):
    (capture,) = store.captures.find([capture_id])
    return capture.state


def claim(store, now=NOW, *, owner="me", limit=100, only=None):
    return store.captures.claim_due(owner, now, limit=limit, only=only)


def all_captures(store):
    return store.captures.find(range(1, 1000))


# --- first sight --------------------------------------------------------------------------------


def test_a_new_file_waits_for_its_turn_at_once(store):
    outcome, capture = store.captures.take_in(seen("/in/a.tif"), NOW)
    assert outcome is TakenIn.NEW
    assert capture.state is CaptureState.WAITING
    assert capture.next_try_at == NOW
    assert capture.first_seen_at == NOW
    assert capture.path == Path("/in/a.tif")
    assert capture.sha256 == sha256_of("/in/a.tif")


def test_the_same_bytes_under_two_names_are_one_capture(store):
    _, first = store.captures.take_in(seen("/in/a.tif", "same"), NOW)
    outcome, second = store.captures.take_in(seen("/in/b.tif", "same"), NOW)
    assert outcome is TakenIn.KNOWN
    assert second.id == first.id
    paths = [Path("/in/a.tif"), Path("/in/b.tif")]
    assert store.captures.looks(paths) == dict.fromkeys(paths, (4, 1_000))


def test_looking_at_the_same_file_again_adds_nothing(store):
    _, first = store.captures.take_in(seen("/in/a.tif"), NOW)
    outcome, again = store.captures.take_in(seen("/in/a.tif", mtime_ns=2_000), NOW + hours(1))
    assert (outcome, again.id) == (TakenIn.KNOWN, first.id)
    assert again.next_try_at == NOW
    a = Path("/in/a.tif")
    assert store.captures.looks([a]) == {a: (9, 2_000)}


@pytest.mark.parametrize("overwritten", ["a", "b"])
def test_one_of_two_copies_is_written_over_and_the_bytes_of_the_other_stay(store, overwritten):
    """Nothing is lost: the other file is known as it is and would not be hashed again."""
    take(store, "/in/a.tif", "same")
    take(store, "/in/b.tif", "same")
    new = take(store, f"/in/{overwritten}.tif", "new")
    other = "b" if overwritten == "a" else "a"
    lie = {one.sha256: one.path for one in all_captures(store)}
    assert lie == {
        sha256_of("same"): Path(f"/in/{other}.tif"),
        sha256_of("new"): Path(f"/in/{overwritten}.tif"),
    }
    assert (
        store.captures.known_among([Path(f"/in/{overwritten}.tif")])[new.path].capture_id == new.id
    )


@pytest.mark.parametrize("seed", range(10))
def test_files_taken_in_together_are_what_they_are_one_by_one(seed, make_record):
    """Copies, files written over, half files and new ones: the quick way for many new ones must not
    know better.
    """
    chance = random.Random(seed)

    def file():
        path = f"/in/{chance.choice('ab')}/{chance.randrange(9)}.tif"
        one = seen(path, chance.choice([None, "one", "two", "three", f"{chance.random()}"]))
        if chance.random() < 0.2:
            return replace(one, sha256=None, problem=("empty", "is empty"), transient=True)
        return replace(one, mtime_ns=chance.randrange(3), source=chance.choice(["x", "y"]))

    portions = [[seen("/in/a/x.tif"), seen("/in/b/x.tif")]]
    portions += [[file() for _ in range(chance.randrange(2, 14))] for _ in range(3)]
    told = []
    for way in ("together", "one by one"):
        with Store(make_record()) as store:
            outcomes = []
            for portion in portions:
                if way == "together":
                    taken = store.captures.take_in_all(portion, NOW)
                else:
                    taken = [store.captures.take_in(one, NOW) for one in portion]
                outcomes += [(outcome, replace(one, id=0)) for outcome, one in taken]
            paths = {one.path for portion in portions for one in portion}
            known = {
                path: replace(one, capture_id=0)
                for path, one in store.captures.known_among(paths).items()
            }
            on_record = sorted(str(replace(one, id=0)) for one in all_captures(store))
            told.append((outcomes, known, on_record))
    assert told[0] == told[1]


def test_half_a_file_becomes_the_whole_file_without_a_second_row(store):
    half = take(store, "/in/a.tif", "half")
    claim(store)
    store.captures.record_unreadable(half.id, "me", "truncated", "half of it", NOW)
    outcome, whole = store.captures.take_in(seen("/in/a.tif", "the whole"), NOW + minutes(5))
    assert (outcome, whole.id) == (TakenIn.NEW, half.id)
    assert whole.sha256 == sha256_of("the whole")
    assert (whole.state, whole.reason, whole.attempts) == (CaptureState.WAITING, None, 0)
    assert len(all_captures(store)) == 1


def test_a_file_that_cannot_be_opened_waits_and_takes_on_its_bytes_later(store):
    locked = seen(
        "/in/a.tif", sha256=None, problem=("no-permission", "a.tif: locked"), transient=True
    )
    _, capture = store.captures.take_in(locked, NOW)
    assert (capture.state, capture.reason) == (CaptureState.WAITING, "no-permission")
    assert capture.next_try_at == NOW + timedelta(seconds=5)
    _, opened = store.captures.take_in(seen("/in/a.tif", "bytes"), NOW + minutes(1))
    assert (opened.id, opened.reason) == (capture.id, None)
    assert opened.next_try_at == NOW + minutes(1)


def test_a_file_that_is_none_is_unreadable_with_its_reason(store):
    _, capture = store.captures.take_in(
        seen("/in/a.tif", sha256=None, problem=("not-a-file", "a.tif: is not a regular file")), NOW
    )
    assert (capture.state, capture.reason) == (CaptureState.UNREADABLE, "not-a-file")
    assert store.unfinished.troubled()[0].message == "a.tif: is not a regular file"


def test_a_recorded_file_that_is_written_over_is_a_capture_of_its_own(store):
    scan = measure(store, "/in/a.tif", place(), content="first")
    read(store, scan)
    outcome, second = store.captures.take_in(seen("/in/a.tif", "second"), NOW + hours(1))
    assert outcome is TakenIn.NEW
    assert [(capture.sha256, capture.state) for capture in all_captures(store)] == [
        (sha256_of("first"), CaptureState.RECORDED),
        (sha256_of("second"), CaptureState.WAITING),
    ]
    assert second.path == Path("/in/a.tif")


def test_a_recorded_file_that_cannot_be_opened_for_a_while_leaves_no_trace(store):
    scan = measure(store, "/in/a.tif", place(), content="first")
    read(store, scan)
    gone = seen("/in/a.tif", sha256=None, problem=("io-error", "a.tif: share"), transient=True)
    store.captures.take_in(gone, NOW + minutes(1))
    assert store.captures.counts() == {"recorded": 1, "unreadable": 0, "waiting": 1}
    store.captures.take_in(seen("/in/a.tif", "first"), NOW + minutes(2))
    assert store.captures.counts() == {"recorded": 1, "unreadable": 0, "waiting": 0}


def test_a_moved_file_is_looked_for_where_it_is_now(store, tmp_path):
    old, new = tmp_path / "a.tif", tmp_path / "kept" / "a.tif"
    old.write_text("x")
    take(store, str(old), "same")
    assert take(store, str(new), "same").path == old  # a copy: the first name is as good
    old.unlink()
    assert take(store, str(new), "same").path == new


def test_bytes_whose_old_name_holds_others_by_now_are_looked_for_under_the_new_name(
    store, tmp_path
):
    path = tmp_path / "latest.tif"
    path.write_text("x")
    scan = measure(store, str(path), place(), content="first")
    read(store, scan)
    take(store, str(path), "second")
    _, moved = store.captures.take_in(seen("/in/kept.tif", "first", dish=DISH), NOW)
    assert moved.path == Path("/in/kept.tif")


def test_a_file_renamed_to_a_name_that_fits_is_tried_again(store):
    wrong = take(store, "/in/oops.tif", "same")
    claim(store)
    store.captures.record_unreadable(wrong.id, "me", "no-name-match", "rename it", NOW)
    outcome, renamed = store.captures.take_in(
        seen("/in/d_20261103T0930.tif", "same", dish="d"), NOW + minutes(1)
    )
    assert (outcome, renamed.id) == (TakenIn.KNOWN, wrong.id)
    assert (renamed.state, renamed.next_try_at) == (CaptureState.WAITING, NOW + minutes(1))
    assert renamed.path == Path("/in/d_20261103T0930.tif")


def test_an_unreadable_copy_under_another_name_is_not_tried_again(store, tmp_path):
    first = tmp_path / "a.tif"
    first.write_text("x")
    broken = take(store, str(first), "same")
    claim(store)
    store.captures.record_unreadable(broken.id, "me", "truncated", "broken", NOW)
    assert take(store, str(tmp_path / "b.tif"), "same").state is CaptureState.UNREADABLE


def test_a_capture_that_was_never_read_goes_with_the_source_it_belongs_to_now(store):
    """A folder is tried by hand first; then it becomes a source with a pattern of its own."""
    _, tried = store.captures.take_in(seen("/in/a.tif", source="unlisted"), NOW)
    claim(store)
    store.captures.record_unreadable(tried.id, "me", "no-name-match", "no dish", NOW)
    _, capture = store.captures.take_in(seen("/in/a.tif", source="incubator"), NOW + minutes(1))
    assert (capture.id, capture.source) == (tried.id, "incubator")
    assert (capture.state, capture.next_try_at) == (CaptureState.WAITING, NOW + minutes(1))


def test_half_a_file_that_turns_out_to_be_known_leaves_no_row(store):
    whole = take(store, "/in/b.tif", "the whole")
    take(store, "/in/a.tif", "half")
    outcome, found = store.captures.take_in(seen("/in/a.tif", "the whole"), NOW)
    assert (outcome, found.id) == (TakenIn.KNOWN, whole.id)
    assert [capture.id for capture in all_captures(store)] == [whole.id]


def test_bytes_that_live_on_under_another_name_are_looked_for_there(store):
    first = take(store, "/in/a.tif", "one")
    take(store, "/in/b.tif", "one")
    take(store, "/in/c.tif", "two")
    take(store, "/in/a.tif", "two")  # `one` is only in b.tif now
    (found,) = store.captures.find([first.id])
    assert (found.path, found.state) == (Path("/in/b.tif"), CaptureState.WAITING)


# --- the path of a claimed capture holds something else -------------------------------------------


def test_bytes_that_changed_while_they_were_claimed_are_taken_on(store):
    half = take(store, "/in/a.tif", "half")
    claim(store)
    found = store.captures.look_again(half.id, "me", seen("/in/a.tif", "whole"), NOW)
    assert found is not None
    assert (found.id, found.sha256) == (half.id, sha256_of("whole"))
    assert found.state is CaptureState.WAITING


def test_half_a_file_that_was_claimed_when_the_whole_came_is_forgotten(store):
    """The whole bytes were noticed first and have their own row; the half must not wait."""
    half = take(store, "/in/a.tif", "half")
    claim(store)
    whole = take(store, "/in/a.tif", "whole")
    assert whole.id != half.id
    found = store.captures.look_again(half.id, "me", seen("/in/a.tif", "whole"), NOW)
    assert found is not None
    assert found.id == whole.id
    assert [capture.id for capture in all_captures(store)] == [whole.id]


def test_a_recorded_capture_whose_file_was_written_over_keeps_its_reading(store):
    scan = measure(store, "/in/a.tif", place(), content="first")
    read(store, scan)
    (again,) = reopen(store, OTHER_MODEL)
    claim(store)
    found = store.captures.look_again(again, "me", seen("/in/a.tif", "second"), NOW)
    assert found is not None
    assert found.id != again
    assert state_of(store, again) is CaptureState.RECORDED
    assert [capture.id for capture in claim(store)] == [found.id]


def test_a_capture_that_no_reading_holds_and_whose_file_was_written_over_is_unreadable(store):
    """It was measured by a former model alone, and cannot be measured again."""
    scan = measure(store, "/in/a.tif", place(key="s", field="a"), content="first")
    measure(store, "/in/b.tif", place(key="s", field="b"), measurement(model_sha256=OTHER_MODEL))
    read(store, scan)
    (claimed,) = claim(store)
    store.captures.look_again(claimed.id, "me", seen("/in/a.tif", "second"), NOW)
    (found,) = store.captures.find([claimed.id])
    assert (found.state, found.reason) == (CaptureState.UNREADABLE, "changed")
    assert [capture.sha256 for capture in claim(store)] == [sha256_of("second")]


def test_looking_again_needs_the_claim(store):
    capture = take(store, "/in/a.tif")
    claim(store, owner="another")
    seen_now = seen("/in/a.tif", "whole")
    assert store.captures.look_again(capture.id, "me", seen_now, NOW) is None
    assert state_of(store, capture.id) is CaptureState.WORKING


# --- claims -------------------------------------------------------------------------------------


def test_claims_come_oldest_first_and_no_more_than_asked_for(store):
    for number in range(5):
        take(store, f"/in/{number}.tif", at=NOW + minutes(-number))
    claimed = claim(store, limit=2)
    assert [capture.path.name for capture in claimed] == ["4.tif", "3.tif"]
    assert {capture.state for capture in claimed} == {CaptureState.WORKING}
    assert [capture.attempts for capture in claimed] == [1, 1]
    assert len(claim(store)) == 3
    assert claim(store) == []


def test_what_is_not_due_is_not_claimed(store):
    capture = take(store, "/in/a.tif")
    claim(store)
    again = store.captures.record_waiting(capture.id, "me", "io-error", "share", NOW)
    assert again == NOW + timedelta(seconds=5)
    assert not store.captures.any_due(NOW)
    assert claim(store, NOW + timedelta(seconds=4.9)) == []
    assert store.captures.any_due(again)
    assert len(claim(store, again)) == 1


@pytest.mark.parametrize("back", [timedelta(hours=1), timedelta(days=400)])
def test_a_clock_that_is_set_back_puts_no_capture_off(store, back):
    """What waited when it was set back would else wait until that time comes again."""
    capture = take(store, "/in/a.tif")
    assert store.captures.any_due(NOW - back)
    assert [one.id for one in claim(store, NOW - back)] == [capture.id]
    assert claim(store, NOW - back) == []


def test_a_program_may_claim_only_its_own(store):
    take(store, "/in/a.tif")
    mine = take(store, "/in/b.tif")
    assert [capture.id for capture in claim(store, only=[mine.id, 999])] == [mine.id]


def test_two_programs_never_claim_the_same_capture(database_url):
    with Store(database_url) as first, Store(database_url) as second:
        for number in range(60):
            take(first, f"/in/{number}.tif")
        claimed: dict[str, list[int]] = {"one": [], "two": [], "three": [], "four": []}
        barrier = threading.Barrier(4)
        problems: list[Exception] = []

        def race(store: Store, owner: str) -> None:
            try:
                for _ in range(15):
                    barrier.wait(20)
                    found = store.captures.claim_due(owner, NOW, limit=1)
                    claimed[owner] += [capture.id for capture in found]
            except Exception as problem:
                problems.append(problem)

        stores = {"one": first, "two": second, "three": first, "four": second}
        threads = [
            threading.Thread(target=race, args=(store, owner)) for owner, store in stores.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert problems == []
        together = [id_ for ids in claimed.values() for id_ in ids]
        assert sorted(together) == sorted(capture.id for capture in all_captures(first))


def test_only_the_owner_of_a_claim_writes_its_outcome(store):
    capture = take(store, "/in/a.tif")
    claim(store, owner="another")
    measured = measurement()
    assert store.captures.record_measurement(capture.id, "me", place(), measured, NOW) is None
    assert store.captures.record_waiting(capture.id, "me", "x", "x", NOW) is None
    assert not store.captures.record_crash(capture.id, "me", NOW, limit=1)
    store.captures.record_unreadable(capture.id, "me", "x", "x", NOW)
    assert state_of(store, capture.id) is CaptureState.WORKING
    assert store.dishes.dishes() == []


def test_a_claim_that_was_taken_over_ends_in_one_measurement(store):
    """A program that was thought dead comes back with its answer: too late, nothing is doubled."""
    capture = take(store, "/in/a.tif")
    claim(store, owner="first")
    assert store.captures.release("first", NOW) == 1
    claim(store, owner="second")
    record = store.captures.record_measurement
    assert record(capture.id, "first", place(), measurement(), NOW) is None
    assert record(capture.id, "second", place(), measurement(), NOW) is not None
    assert record(capture.id, "second", place(), measurement(), NOW) is None


def test_release_gives_back_all_but_what_is_kept(store):
    kept = take(store, "/in/a.tif")
    take(store, "/in/b.tif")
    take(store, "/in/c.tif")
    claim(store, only=[kept.id, kept.id + 1])
    claim(store, owner="another")
    assert store.captures.release("me", NOW, keep=[kept.id]) == 1
    assert store.captures.release("me", NOW) == 1
    assert len(claim(store)) == 2


def claim_and_wait(url: str, ready) -> None:
    store = Store(url)
    owner = store.processes.begin("process", NOW)
    store.captures.claim_due(owner, NOW, limit=2)
    ready.set()
    signal.pause()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_a_killed_program_held_is_given_back_at_once(database_url, number):
    with Store(database_url) as store:
        for name in "abc":
            take(store, f"/in/{name}.tif")
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    child = context.Process(target=claim_and_wait, args=(database_url, ready))
    child.start()
    try:
        assert ready.wait(20)
        with Store(database_url) as store:
            mine = store.processes.begin("daemon", NOW)
            assert store.processes.bury_dead(NOW) == 0  # both live
            assert len(claim(store, owner=mine)) == 1
            assert child.pid is not None
            os.kill(child.pid, number)
            child.join(20)
            assert store.processes.bury_dead(NOW) == 2
            given_back = claim(store)
            assert [capture.path.name for capture in given_back] == ["a.tif", "b.tif"]
            assert store.processes.living("process", NOW) == []
    finally:
        child.kill()
        child.join()
        child.close()


# --- outcomes -----------------------------------------------------------------------------------


def test_waits_grow_and_never_end():
    waits = [retry_after(attempt).total_seconds() for attempt in (0, 1, 2, 3, 7, 8, 9, 500)]
    assert waits == [5, 5, 10, 20, 320, 600, 600, 600]


def test_a_capture_that_kills_the_worker_twice_is_set_aside(store):
    capture = take(store, "/in/a.tif")
    claim(store)
    assert not store.captures.record_crash(capture.id, "me", NOW, limit=2)
    assert [found.crashes for found in claim(store)] == [1]
    assert store.captures.record_crash(capture.id, "me", NOW, limit=2)
    (found,) = store.captures.find([capture.id])
    assert (found.state, found.reason) == (CaptureState.UNREADABLE, "kills-worker")
    assert found.message is not None
    assert "died 2 times" in found.message
    assert claim(store, NOW + hours(99)) == []


def test_retry_starts_afresh(store):
    broken, locked = take(store, "/in/a.tif"), take(store, "/in/b.tif")
    claim(store)
    store.captures.record_crash(broken.id, "me", NOW, limit=1)
    store.captures.record_waiting(locked.id, "me", "io-error", "share", NOW)
    assert store.captures.counts() == {"recorded": 0, "unreadable": 1, "waiting": 1}
    assert store.captures.retry(NOW) == 2
    claimed = claim(store)
    assert [(capture.attempts, capture.crashes) for capture in claimed] == [(1, 0), (1, 0)]


def test_retry_can_be_told_which(store):
    broken, locked = take(store, "/in/a.tif"), take(store, "/in/b.tif")
    claim(store)
    store.captures.record_unreadable(broken.id, "me", "blank", "blank", NOW)
    store.captures.record_waiting(locked.id, "me", "io-error", "share", NOW)
    assert store.captures.retry(NOW, unreadable=False) == 1
    assert store.captures.retry(NOW, ids=[broken.id]) == 1
    assert store.captures.retry(NOW, ids=[12345]) == 0


def test_retry_leaves_recorded_and_claimed_captures_alone(store):
    scan = measure(store, "/in/a.tif", place())
    read(store, scan)
    take(store, "/in/b.tif")
    claim(store)
    assert store.captures.retry(NOW) == 0


def test_the_troubled_are_listed_newest_first(store):
    for name in "abc":
        capture = take(store, f"/in/{name}.tif")
        claim(store, only=[capture.id])
        store.captures.record_unreadable(capture.id, "me", "blank", f"{name} is blank", NOW)
    take(store, "/in/fine.tif")
    assert [one.message for one in store.unfinished.troubled(limit=2)] == [
        "c is blank",
        "b is blank",
    ]


def test_a_measurement_comes_back_as_it_was_stored(store):
    measured = measurement(doubts=("out of focus",), took_s=1.25)
    scan = measure(store, "/in/a.tif", place(field="f1"), measured)
    outcome = read(store, scan)
    assert outcome is not None
    (field,) = store.scans.scan_fields(outcome.reading.id)
    assert field.measurement == replace(measured, quality={"sharpness": 0.5})
    assert field.capture_sha256 == sha256_of("/in/a.tif")
    assert (field.capture_name, field.source) == ("a.tif", "incubator")


def test_a_measurement_without_scale_and_place_comes_back_so(store):
    measured = measurement(
        pixel_size_um=None, pixel_size_from=None, assumed_pixel_size_um=1.9, stage=None
    )
    scan = measure(store, "/in/a.tif", place(), measured)
    outcome = read(store, scan)
    assert outcome is not None
    assert store.scans.scan_fields(outcome.reading.id)[0].measurement == measured


@pytest.mark.parametrize(
    "doubt",
    [
        Doubt(),
        Doubt(kind="ips 4x"),
        Doubt((DoubtReason.UNFAMILIAR, DoubtReason.UNCLEAR), None, None),
        Doubt((), (0.0, 0.1 + 0.2), "ips 4x", calibrated=True),
    ],
)
def test_what_the_model_says_of_its_doubt_comes_back_to_the_last_digit(store, doubt):
    measured = measurement(doubt=doubt)
    outcome = read(store, measure(store, "/in/a.tif", place(), measured))
    assert outcome is not None
    (field,) = store.scans.scan_fields(outcome.reading.id)
    assert field.measurement.doubt == doubt


def test_finding_copes_with_more_captures_than_a_statement_takes(store):
    capture = take(store, "/in/a.tif")
    assert [one.id for one in store.captures.find(range(70_000))] == [capture.id]


# --- analysing again ----------------------------------------------------------------------------


def test_only_captures_that_the_model_has_not_measured_are_reopened(store):
    read(store, measure(store, "/in/a.tif", place(key="1")))
    read(store, measure(store, "/in/b.tif", place("other", key="1")))
    waiting = take(store, "/in/c.tif")
    assert reopen(store, MODEL) == []
    assert len(reopen(store, OTHER_MODEL, dish=DISH)) == 1
    assert len(reopen(store, OTHER_MODEL)) == 1
    assert state_of(store, waiting.id) is CaptureState.WAITING


FAILURES = {
    "unreadable": lambda store, id_: store.captures.record_unreadable(id_, "me", "x", "x", NOW),
    "missing": lambda store, id_: store.captures.record_waiting(id_, "me", "x", "x", NOW),
    "crash": lambda store, id_: store.captures.record_crash(id_, "me", NOW, limit=1),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_reading_stands_where_analysing_again_fails(store, failure):
    scan = measure(store, "/in/a.tif", place())
    read(store, scan)
    (again,) = reopen(store, OTHER_MODEL)
    claim(store)
    FAILURES[failure](store, again)
    assert state_of(store, again) is CaptureState.RECORDED
    assert len(store.dishes.history(DISH)) == 1
    assert claim(store, NOW + hours(99)) == []


def test_crashes_of_long_ago_do_not_count_when_it_is_analysed_again(store):
    capture = take(store, "/in/a.tif")
    claim(store)
    store.captures.record_crash(capture.id, "me", NOW, limit=2)
    claim(store)
    scan = store.captures.record_measurement(capture.id, "me", place(), measurement(), NOW)
    assert scan is not None
    read(store, scan)
    reopen(store, OTHER_MODEL)
    (again,) = claim(store)
    assert again.crashes == 0
