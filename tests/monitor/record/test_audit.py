from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from datetime import datetime

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from monitor.culture import Head
from monitor.errors import RecordError
from monitor.record import audit
from monitor.record.migrating import MIGRATIONS
from monitor.record.store import Store
from monitor.record.tables import DishRow
from tests.monitor.facts import NOW


def tell(session, number=1, **changes):
    said = {"now": NOW, "who": "A. Person", "what": "alert acknowledged", "why": "seen"}
    audit.append(session, **{**said, "about": str(number), **changes})


@pytest.fixture
def trail(store):
    """Five entries."""
    with store.database.writing() as session:
        for number in range(1, 6):
            tell(session, number, before={"snoozed": None}, after=[1, "ä"])
    return store


def verdict(store, *kept):
    with store.database.reading() as session:
        return audit.verify(session, kept)


def entries(store, **which):
    with store.database.reading() as session:
        return list(audit.entries(session, **which))


def test_an_entry_says_who_did_what_about_what_why_and_what_was_so(trail):
    first, *_, last = entries(trail)
    assert (first.number, first.at, first.who, first.what) == (
        1, NOW, "A. Person", "alert acknowledged",
    )  # fmt: skip
    assert (first.about, first.why) == ("1", "seen")
    assert (first.before, first.after) == ('{"snoozed":null}', '[1,"\\u00e4"]')
    assert last.number == 5
    assert verdict(trail) == audit.Verdict(5, (), last.head)


def test_the_newest_and_those_about_one_thing_can_be_asked_for(trail):
    assert [one.number for one in entries(trail, newest=2)] == [4, 5]
    assert [one.number for one in entries(trail, about="3")] == [3]


def test_an_empty_trail_is_whole(store):
    assert verdict(store) == audit.Verdict(0, (), None)


def test_an_entry_is_on_record_only_with_its_act(store):
    with pytest.raises(ZeroDivisionError), store.database.writing() as session:
        tell(session)
        _ = 1 / 0
    assert entries(store) == []
    with store.database.writing() as session:
        tell(session, 1)
        savepoint = session.begin_nested()
        tell(session, 2)
        savepoint.rollback()
        with session.begin_nested():
            tell(session, 3)
    assert [one.about for one in entries(store)] == ["1", "3"]
    assert verdict(store).problems == ()


def test_what_no_database_keeps_is_written_readably(store):
    with store.database.writing() as session:
        tell(session, who="a\x00b", why="broken-\udcff.tif\r\nsecond line")
    (one,) = entries(store)
    assert (one.who, one.why) == ("a\\x00b", "broken-\\udcff.tif\r\nsecond line")
    assert verdict(store).problems == ()


def test_outside_of_the_record_or_without_a_zone_nothing_is_told(store):

    with Session() as stranger, pytest.raises(TypeError, match="transaction of the record"):
        tell(stranger)
    with pytest.raises(TypeError, match="zone"), store.database.writing() as session:
        tell(session, now=datetime(2026, 11, 3))  # noqa: DTZ001


def test_threads_and_programs_that_write_at_once_make_one_chain(make_record):
    url = make_record()
    stores = [Store(url) for _ in range(2)]

    def write(store):
        for number in range(15):
            with store.database.writing(durable=False) as session:
                tell(session, number)

    threads = [threading.Thread(target=write, args=[store]) for store in stores * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = verdict(stores[0])
    assert (found.entries, found.problems) == (60, ())
    for store in stores:
        store.close()


CHANGES = {
    "UPDATE audit SET why = 'never seen' WHERE number = 3",
    "DELETE FROM audit WHERE number = 3",
    "DELETE FROM audit",
}


@pytest.mark.parametrize("statement", sorted(CHANGES))
def test_the_database_refuses_to_change_an_entry(trail, statement):
    refused = pytest.raises(RecordError, match="only ever added to")
    with refused, trail.database.writing() as session:
        session.execute(text(statement))
    assert verdict(trail).problems == ()


TAMPERED = {
    "edited": (
        "UPDATE audit SET why = 'never seen' WHERE number = 3",
        ["entry 3: was changed after it was written"],
    ),
    "dated back": (
        "UPDATE audit SET at = '2020-01-01 00:00:00.000000' WHERE number = 2",
        ["entry 2: was changed after it was written"],
    ),
    "edited with its hash": (
        "UPDATE audit SET hash = (SELECT hash FROM audit WHERE number = 1) WHERE number = 3",
        ["entry 3: was changed", "entry 4: does not follow from entry 3"],
    ),
    "removed": (
        "DELETE FROM audit WHERE number = 3",
        ["entry 4 stands where 3 is due: 1 before it are missing"],
    ),
    "the first removed": (
        "DELETE FROM audit WHERE number = 1",
        ["entry 2 stands where 1 is due: 1 before it are missing"],
    ),
    "removed and numbered anew": (
        "DELETE FROM audit WHERE number = 3; UPDATE audit SET number = number - 1 WHERE number > 3",
        ["entry 3: does not follow from entry 2", "entry 3: was changed", "entry 4: was changed"],
    ),
    "reordered": (
        "UPDATE audit SET number = 9 WHERE number = 3; "
        "UPDATE audit SET number = 3 WHERE number = 4; "
        "UPDATE audit SET number = 4 WHERE number = 9",
        ["entry 3: does not follow", "entry 3: was changed"],
    ),
    "the end removed": (
        "DELETE FROM audit WHERE number > 3",
        ["the trail ends with entry 3, but had 5 when its head was kept: 2 are missing"],
    ),
    "all removed": (
        "DELETE FROM audit",
        ["the trail ends with entry 0, but had 5 when its head was kept: 5 are missing"],
    ),
}


@pytest.mark.parametrize(("statements", "found"), TAMPERED.values(), ids=list(TAMPERED))
def test_whatever_is_done_behind_the_programs_back_is_found(
    trail, database_file, statements, found
):
    kept = verdict(trail).head
    with closing(sqlite3.connect(database_file)) as connection, connection:
        for trigger in audit.TRIGGERS["sqlite"]:
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.executescript(statements)
    problems = verdict(trail, kept).problems
    for beginning in found:
        assert any(problem.startswith(beginning) for problem in problems), problems
    assert "the database does not protect the table audit any more" in problems[-1]


def test_sqlite_replaces_no_entry_by_putting_in_another(trail, database_file):
    """Which asks no trigger on deletion."""
    replacing = (
        "INSERT OR REPLACE INTO audit SELECT 3, at, who, what, about, why, before, after, 'x', hash"
        " FROM audit WHERE number = 3"
    )
    refused = pytest.raises(RecordError, match="only ever added to")
    with refused, trail.database.writing() as session:
        session.execute(text(replacing))


def test_behind_the_back_of_postgresql_it_is_found_too(postgres, make_record):
    with Store(make_record()) as store:
        with store.database.writing() as session:
            for number in range(1, 4):
                tell(session, number)
        with store.database.writing() as session:
            session.execute(text("ALTER TABLE audit DISABLE TRIGGER ALL"))
            session.execute(text("UPDATE audit SET why = 'never seen' WHERE number = 2"))
        try:
            changed, unprotected = verdict(store).problems
        finally:
            with store.database.writing() as session:
                session.execute(text("ALTER TABLE audit ENABLE TRIGGER ALL"))
        assert changed == "entry 2: was changed after it was written"
        assert "missing: audit_no_change, audit_no_truncate" in unprotected


def test_postgresql_refuses_to_empty_the_trail(postgres, trail):
    refused = pytest.raises(RecordError, match="only ever added to")
    with refused, trail.database.writing() as session:
        session.execute(text("TRUNCATE audit"))


def test_a_trail_that_was_made_anew_is_found_by_the_head_that_was_kept(trail, database_file):
    """Whoever may write the file can also make all hashes anew."""
    head = verdict(trail).head
    trail.close()
    database_file.unlink()
    with Store(f"sqlite:///{database_file}") as forged:
        with forged.database.writing() as session:
            for number in range(1, 7):
                tell(session, number, why="never seen")
        assert verdict(forged).problems == ()
        (problem,) = verdict(forged, head).problems
        assert problem.startswith("entry 5: another one stood there when its head was kept")


def test_a_trail_of_another_record_is_not_taken_for_this_ones(trail):
    with trail.database.writing() as session:
        session.execute(text("UPDATE record SET key = 'another'"))
    assert verdict(trail).problems == ("entry 1: is not the first entry of this record",)


def test_a_head_that_is_in_the_chain_is_found_again(trail):
    third = entries(trail)[2].head
    assert verdict(trail, third).problems == ()
    assert verdict(trail, Head(3, "0" * 64)).problems != ()


def test_a_trail_from_before_the_chain_is_carried_over(tmp_path):
    """Chained as it stands, with nothing lost."""
    file = tmp_path / "old.sqlite"
    script = Config()
    script.set_main_option("script_location", str(MIGRATIONS))
    url = f"sqlite:///{file}"
    engine = create_engine(url)
    with engine.connect() as connection, connection.begin():
        script.attributes["connection"] = connection
        command.upgrade(script, "0.1.0")
        connection.execute(
            text("INSERT INTO record (number, key, made_at) VALUES (1, 'k', '2026-01-01 00:00:00')")
        )
        for number, note in ((1, None), (2, "seen\x01")):
            connection.execute(
                text("INSERT INTO audit (id, at, who, what, subject, note) VALUES "
                     "(:id, '2026-11-03 08:00:00.123456', 'mika', 'dish ended', 'd', :note)"),
                {"id": number, "note": note},
            )  # fmt: skip
    engine.dispose()
    with Store(url) as store:
        assert [(one.number, one.about, one.why) for one in entries(store)] == [
            (1, "d", None), (2, "d", "seen\\x01"),
        ]  # fmt: skip
        assert verdict(store).problems == ()


def test_what_was_told_is_written_before_the_transaction_ends(store):
    """So that nothing of an act is on record of which the trail does not tell."""
    with store.database.writing() as session:
        tell(session)
        session.add(DishRow(name="d", source="s", status="unknown", created_at=NOW))
    assert len(entries(store)) == len(store.dishes.dishes()) == 1
