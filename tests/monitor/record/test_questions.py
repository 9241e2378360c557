"""A record of years has millions of captures: what is asked all day must not read all of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy import event

from monitor.culture import CaptureState
from tests.monitor.facts import DISH, NOW, hours, measure, measurement, place, read, seen

# Plans as SQLite tells them; PostgreSQL reads tables of a few rows whole, whatever their indices.
pytestmark = pytest.mark.usefixtures("database_file")

QUESTIONS = {
    "is a capture due": lambda store: store.captures.any_due(NOW),
    "what is in hand": lambda store: store.unfinished.in_hand(NOW),
    "claim": lambda store: store.captures.claim_due("me", NOW, limit=2),
    "what is in trouble": lambda store: store.unfinished.troubled(),
    "what waits": lambda store: store.unfinished.first_waiting_for("missing"),
    "are files known": lambda store: store.captures.looks([Path("/in/a.tif"), Path("/in/b.tif")]),
    "what of known files": lambda store: store.captures.known_among([Path("/in/a.tif")]),
    "take in": lambda store: store.captures.take_in(seen("/in/new.tif"), NOW),
    "scans to read": lambda store: store.scans.scans_to_read(NOW, {}, {}),
    "read a scan": lambda store: read(
        store, measure(store, "/in/c.tif", place(), measurement(acquired_at=NOW + hours(9)))
    ),
    "history": lambda store: store.dishes.history(DISH, since=NOW),
    "history of a model": lambda store: store.dishes.history(DISH, model_sha256="b" * 64),
    "story": lambda store: store.timelines.of(DISH, since=NOW),
    "colonies": lambda store: store.colonies.series(DISH, since=NOW),
    "newest reading": lambda store: store.dishes.newest_at(DISH),
    "dishes": lambda store: store.dishes.dishes(),
    "signs of life": lambda store: store.dishes.signs(),
    "the dead": lambda store: store.processes.bury_dead(NOW),
    "retry": lambda store: store.captures.retry(NOW),
}
GROWN = "scan|capture|file|measurement|reading|reading_measurement|reading_colonies"
# An index alone may be read whole to count what is in it; with the rows that it points at, only one
# that leaves out what is done with.
COUNTED = re.compile(r"SCAN \w+ USING COVERING INDEX")
OF_WHAT_IS_OPEN = re.compile(
    r"SCAN \w+ USING INDEX (ix_scan_dirty|ix_scan_without_reading|"
    "ix_capture_state_next_try_at)"
)
WHOLE_TABLE = re.compile(rf"SCAN ({GROWN})\b")


@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)
def test_no_question_reads_a_table_whole(store, ask):
    for number in range(3):
        at = NOW + hours(number)
        read(store, measure(store, f"/in/{number}", place(), measurement(acquired_at=at)))
    asked = []

    @event.listens_for(store.database.engine, "before_cursor_execute")
    def note(connection, cursor, statement, parameters, context, executemany):
        if statement.split()[0] in ("SELECT", "UPDATE", "DELETE"):
            asked.append((statement, parameters))

    ask(store)
    event.remove(store.database.engine, "before_cursor_execute", note)
    assert asked
    for statement, parameters in asked:
        with store.database.engine.connect() as connection:
            steps = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            for step in steps.all():
                if COUNTED.match(step.detail) or OF_WHAT_IS_OPEN.match(step.detail):
                    continue
                assert not WHOLE_TABLE.match(step.detail), (step.detail, statement)


def test_a_capture_that_waits_is_found_among_those_that_are_done(store):
    """The index that the questions use leaves recorded captures out."""
    read(store, measure(store, "/in/1", place(), measurement()))
    store.captures.take_in(seen("/in/2.tif"), NOW)
    assert store.captures.any_due(NOW)
    assert store.captures.counts() == {"recorded": 1, "unreadable": 0, "waiting": 1}
    (claimed,) = store.captures.claim_due("me", NOW, limit=5)
    assert claimed.state is CaptureState.WORKING
