from __future__ import annotations

import os
import socket
from datetime import timedelta

import pytest
from sqlalchemy import update

from monitor.culture import CaptureState
from monitor.record.tables import ProcessRow
from tests.monitor.facts import NOW, hours, minutes, take


def pretend(store, **values):
    with store.database.writing() as session:
        session.execute(update(ProcessRow).values(**values))


def test_a_program_that_signs_in_is_alive(store):
    owner = store.processes.begin("daemon", NOW)
    store.processes.beat(owner, NOW + minutes(5), {"in_work": 2})
    (life,) = store.processes.living("daemon", NOW + minutes(5.5))
    assert (life.owner, life.pid, life.alive) == (owner, os.getpid(), True)
    assert life.host == socket.gethostname()
    assert (life.started_at, life.beat_at) == (NOW, NOW + minutes(5))
    assert life.detail == {"in_work": 2}
    assert store.processes.living("process", NOW) == []


def test_two_programs_of_one_machine_claim_under_names_of_their_own(store):
    first = store.processes.begin("process", NOW)
    assert store.processes.begin("process", NOW + timedelta(microseconds=1)) != first


DEAD = {
    "its process is gone": ({"pid": 2**22 + 7}, NOW, True),
    "elsewhere and silent for long": ({"host": "another"}, NOW + minutes(2), True),
    "here and silent for long": ({}, NOW + minutes(2), True),
    "elsewhere, heard of just now": ({"host": "another", "pid": 2**22 + 7}, NOW, False),
    "here, heard of just now": ({}, NOW, False),
    "of another user": ({"pid": 1}, NOW, False),
}


@pytest.mark.parametrize("case", DEAD)
def test_the_dead_are_told_from_the_living(store, case):
    values, now, dead = DEAD[case]
    owner = store.processes.begin("daemon", NOW)
    take(store, "/in/a.tif")
    store.captures.claim_due(owner, NOW, limit=1)
    if values:
        pretend(store, **values)
    (life,) = store.processes.living("daemon", now)
    assert life.alive is not dead
    assert store.processes.bury_dead(now) == int(dead)
    assert len(store.processes.living("daemon", now)) == int(not dead)


def test_captures_whose_owner_nobody_knows_are_given_back(store):
    take(store, "/in/a.tif")
    store.captures.claim_due("long gone", NOW, limit=1)
    assert store.processes.bury_dead(NOW) == 1
    assert store.processes.bury_dead(NOW) == 0


def test_what_a_killed_program_held_is_tried_later_each_time_and_never_blamed(store):
    """Kills from outside are no capture's fault; one that takes the whole program along must not
    hold up the next."""
    capture = take(store, "/in/a.tif")
    now, waits = NOW, []
    for _ in range(5):
        assert store.captures.claim_due("long gone", now, limit=1)
        assert store.processes.bury_dead(now) == 1
        (found,) = store.captures.find([capture.id])
        assert (found.state, found.crashes) == (CaptureState.WAITING, 0)
        waits.append((found.next_try_at - now).total_seconds())
        now = found.next_try_at
    assert waits == [0, 5, 10, 20, 40]
    assert found.reason == "program-died"
    assert "a.tif: the program that was measuring it was killed; it was tried 5 times" in (
        found.message or ""
    )


def test_signing_out_gives_back_what_was_claimed(store):
    owner = store.processes.begin("daemon", NOW)
    take(store, "/in/a.tif")
    store.captures.claim_due(owner, NOW, limit=1)
    store.processes.end(owner)
    assert store.processes.living("daemon", NOW) == []
    assert len(store.captures.claim_due("another", NOW, limit=1)) == 1


def test_a_program_that_was_thought_dead_signs_in_again_with_its_next_beat(store):
    """A machine that slept for an hour: its own upkeep may run before its sign of life."""
    owner = store.processes.begin("daemon", NOW)
    store.processes.bury_dead(NOW + hours(1))
    assert store.processes.living("daemon", NOW + hours(1)) == []
    store.processes.beat(owner, NOW + hours(1), {"in_work": 0})
    (life,) = store.processes.living("daemon", NOW + hours(1))
    assert (life.owner, life.kind, life.alive) == (owner, "daemon", True)
    assert life.started_at == NOW
    assert life.detail == {"in_work": 0}


def test_a_program_that_signed_out_stays_away(store):
    owner = store.processes.begin("daemon", NOW)
    store.processes.end(owner)
    store.processes.beat(owner, NOW, {})
    assert store.processes.living("daemon", NOW) == []
