from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import update

from monitor.record.outbox import retry_after
from monitor.record.store import Store
from monitor.record.tables import OutboxRow
from tests.monitor.facts import NOW, add_message, hours, minutes


def seconds(count):
    return timedelta(seconds=count)


@pytest.fixture
def outbox(store):
    return store.outbox


def test_a_message_is_due_at_once(outbox, store):
    id_ = add_message(store, "email", "7", "lab@localhost", NOW)
    message = outbox.take_due(NOW)
    assert message is not None
    assert (message.id, message.channel, message.subject_id) == (id_, "email", "7")
    assert (message.recipient, message.attempts) == ("lab@localhost", 1)


def test_messages_go_in_their_order(outbox, store):
    for number in range(3):
        add_message(store, "email", str(number), "lab@localhost", NOW)
    assert [outbox.take_due(NOW).subject_id for _ in range(3)] == ["0", "1", "2"]
    assert outbox.take_due(NOW) is None


def test_a_message_in_hand_is_held_and_due_again_if_its_taker_dies(outbox, store):
    add_message(store, "email", "7", "lab@localhost", NOW)
    assert outbox.take_due(NOW) is not None
    assert outbox.take_due(NOW + seconds(119)) is None
    again = outbox.take_due(NOW + seconds(120))
    assert again is not None
    assert again.attempts == 2


def test_a_delivered_message_is_done(outbox, store):
    id_ = add_message(store, "email", "7", "lab@localhost", NOW)
    outbox.take_due(NOW)
    outbox.delivered(id_, "lab@localhost through mail:25", NOW)
    assert outbox.take_due(NOW + hours(99)) is None
    assert outbox.undelivered() == []
    assert (outbox.counts().pending, outbox.counts().failed) == (0, 0)
    assert outbox.log(limit=1)[0].delivered_to == "lab@localhost through mail:25"


def test_waits_grow_and_never_end():
    waits = [retry_after(attempt).total_seconds() for attempt in (0, 1, 2, 3, 7, 8, 500)]
    assert waits == [15, 15, 30, 60, 960, 1800, 1800]


def test_a_failed_message_backs_off_and_is_tried_for_ever(outbox, store):
    id_ = add_message(store, "email", "7", "lab@localhost", NOW)
    now, waits = NOW, []
    for _ in range(12):
        assert outbox.take_due(now) is not None
        again = outbox.failed(id_, "no connection", now, permanent=False)
        waits.append((again - now).total_seconds())
        assert outbox.take_due(again - seconds(1)) is None
        now = again
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (15, 1800)
    (kept,) = outbox.undelivered()
    assert (kept.last_error, kept.failed_at) == ("no connection", None)
    assert outbox.counts().pending == 1


def test_a_message_that_can_never_go_is_given_up_and_kept(outbox, store):
    id_ = add_message(store, "email", "7", "lab@localhost", NOW)
    outbox.take_due(NOW)
    assert outbox.failed(id_, "550 no such user", NOW, permanent=True) is None
    assert outbox.take_due(NOW + hours(99)) is None
    (kept,) = outbox.undelivered()
    assert (kept.last_error, kept.failed_at) == ("550 no such user", NOW)
    assert (outbox.counts().pending, outbox.counts().failed) == (0, 1)


def test_retry_tries_all_that_failed_at_once_also_what_was_given_up(outbox, store):
    given_up = add_message(store, "email", "1", "a@localhost", NOW)
    backing_off = add_message(store, "email", "2", "b@localhost", NOW)
    done = add_message(store, "email", "3", "c@localhost", NOW)
    for _ in range(3):
        outbox.take_due(NOW)
    outbox.failed(given_up, "550", NOW, permanent=True)
    outbox.failed(backing_off, "451", NOW, permanent=False)
    outbox.delivered(done, "there", NOW)
    assert outbox.retry(NOW + seconds(1)) == 2
    due = [outbox.take_due(NOW + seconds(1)) for _ in range(3)]
    assert {message.id for message in due if message} == {given_up, backing_off}


def test_one_message_does_not_hold_up_the_next(outbox, store):
    stuck = add_message(store, "email", "1", "a@localhost", NOW)
    add_message(store, "email", "2", "b@localhost", NOW)
    outbox.take_due(NOW)
    outbox.failed(stuck, "no", NOW, permanent=False)
    assert outbox.take_due(NOW).subject_id == "2"


def test_two_programs_never_take_the_same_message(database_url):
    with Store(database_url) as first, Store(database_url) as second:
        for number in range(20):
            add_message(first, "email", str(number), "lab@localhost", NOW)
        taken: list[str] = []
        barrier = threading.Barrier(2)

        def race(store: Store) -> None:
            barrier.wait()
            while (message := store.outbox.take_due(NOW + minutes(1))) is not None:
                taken.append(message.subject_id)

        threads = [threading.Thread(target=race, args=(store,)) for store in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(taken, key=int) == [str(number) for number in range(20)]


def test_an_error_that_is_no_text_is_kept_as_far_as_it_can_be_read(outbox, store):
    id_ = add_message(store, "removal", "p", "picker", NOW)
    outbox.failed(id_, "broken-\udcff: no", NOW, permanent=True)
    assert outbox.undelivered()[0].last_error == "broken-\\udcff: no"


def after_failing(store, times):
    """A message that failed so often; returns when it is due again."""
    id_, due = add_message(store, "email", "7", "lab@localhost", NOW), NOW
    for _ in range(times):
        assert store.outbox.take_due(due) is not None
        due = store.outbox.failed(id_, "no connection", due, permanent=False)
    return due


def test_a_clock_set_back_keeps_no_message_waiting_for_its_old_time(outbox, store):
    add_message(store, "email", "7", "lab@localhost", NOW)
    assert outbox.take_due(NOW - minutes(4)) is None  # another machine's clock may differ
    assert outbox.take_due(NOW - hours(24)) is not None


def test_a_message_that_failed_backs_off_also_after_the_clock_was_set_back(outbox, store):
    due = after_failing(store, 3)
    assert outbox.take_due(due - minutes(1)) is None
    earlier = due - hours(5)
    message = outbox.take_due(earlier)
    assert message is not None
    again = outbox.failed(message.id, "no connection", earlier, permanent=False)
    assert outbox.take_due(earlier) is None
    assert outbox.take_due(again) is not None


def test_a_message_in_hand_when_the_clock_was_set_back_is_due_again_if_its_taker_died(
    outbox, store
):
    add_message(store, "email", "7", "lab@localhost", NOW)
    assert outbox.take_due(NOW) is not None
    assert outbox.take_due(NOW - hours(24)) is not None
    assert outbox.take_due(NOW - hours(24) + seconds(60)) is None


def test_what_waits_for_its_cooldown_goes_on_waiting(outbox, store):
    """Only what was made in the time to come is hurried."""
    add_message(store, "email", "7", "lab@localhost", NOW)
    with store.database.writing() as session:
        session.execute(update(OutboxRow).values(next_try_at=NOW + hours(12)))
    assert outbox.take_due(NOW + hours(11)) is None
    assert outbox.take_due(NOW + hours(12)) is not None
