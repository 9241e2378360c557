"""What only a record on a PostgreSQL server does."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import create_engine, inspect, make_url, select, text

from monitor.errors import RecordError
from monitor.record import postgres as of_postgres
from monitor.record.database import Database
from monitor.record.server_look import look_at_server
from monitor.record.store import Store
from monitor.record.tables import DishRow
from tests.monitor.facts import DISH, NOW, measure, measurement, place, seen, take

PROGRAMS = 4


def in_programs(work):
    """work(number) in as many threads; raises what any of them raises."""
    barrier = threading.Barrier(PROGRAMS)

    def begin(number):
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(PROGRAMS) as threads:
        return list(threads.map(begin, range(PROGRAMS)))


@pytest.fixture
def empty(postgres):
    """The URL of a database without any table, and its name."""
    name = postgres.new()
    yield postgres.url_of(name)
    postgres.drop(name)


def test_programs_that_open_an_empty_database_at_once_make_one_record(empty):
    databases = in_programs(lambda _: Database(empty))
    assert len({one.key for one in databases}) == 1
    for one in databases:
        one.close()


def test_programs_that_take_in_the_same_files_of_one_dish_never_trip_over_one_another(
    postgres, store, database_url
):
    """Folder, dish, analysis and scan are new to all of them: whose row is it?"""
    names = [f"/in/{number}.tif" for number in range(12)]

    def one_program(number):
        with Store(database_url) as mine:
            owner = mine.processes.begin("daemon", NOW + timedelta(seconds=number))
            took = mine.captures.take_in_all([seen(name) for name in names[number:]], NOW)
            done = []
            while claimed := mine.captures.claim_due(owner, NOW, limit=2):
                for capture in claimed:
                    done.append(
                        mine.captures.record_measurement(
                            capture.id, owner, place(), measurement(), NOW
                        )
                    )
            return len(took), done

    results = in_programs(one_program)
    assert [took for took, _ in results] == [12 - number for number in range(PROGRAMS)]
    assert sum(len(done) for _, done in results) == 12
    assert all(scan is not None for _, done in results for scan in done)
    assert [dish.name for dish in store.dishes.dishes()] == [DISH]


def test_who_reads_sees_the_record_as_it_was_when_it_began(postgres, store, database_url):
    with Store(database_url) as other, store.looking():
        assert store.captures.counts()["waiting"] == 0
        take(other, "/in/a.tif")
        assert store.captures.counts()["waiting"] == 0
    assert store.captures.counts()["waiting"] == 1


def test_what_only_reads_cannot_write(postgres, store):
    with pytest.raises(RecordError, match="read-only"), store.database.reading() as session:
        session.add(DishRow(name="d", source="s", status="unknown", created_at=NOW))
        session.flush()


def test_only_a_transaction_that_may_be_lost_does_not_wait_for_the_servers_disk(postgres, store):
    for durable, setting in ((False, "off"), (True, "on"), (False, "off")):
        with store.database.writing(durable=durable) as session:
            assert session.scalar(text("SHOW synchronous_commit")) == setting


def test_a_record_that_another_program_holds_is_said_and_then_gone_on_with(
    postgres, store, database_url
):
    with Store(f"{database_url}&timeout=0.05") as other:
        with store.database.writing() as session:
            session.scalar(text("SELECT 1"))
            with pytest.raises(RecordError, match=r"another program has held it for over 0\.05 s"):
                take(other, "/in/a.tif")
        take(other, "/in/a.tif")
        assert store.captures.counts()["waiting"] == 1


def test_connections_that_the_server_has_cut_are_made_anew(postgres, store):
    take(store, "/in/a.tif")
    postgres.do(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        f"WHERE datname = '{store.database.url.database}'"
    )
    assert store.captures.counts()["waiting"] == 1


def test_a_transaction_that_is_cut_off_writes_nothing_and_says_what_becomes_of_it(postgres, store):
    with pytest.raises(RecordError, match="it is tried again"), store.database.writing() as session:
        session.add(DishRow(name="d", source="s", status="unknown", created_at=NOW))
        session.flush()
        own = session.scalar(text("SELECT pg_backend_pid()"))
        postgres.do(f"SELECT pg_terminate_backend({own})")
        session.scalar(text("SELECT 1"))
    assert store.dishes.dishes() == []


def test_texts_with_what_postgres_takes_in_no_text_are_kept(postgres, store):
    with store.database.writing() as session:
        session.add(DishRow(name="a\0b", source="s", status="unknown", created_at=NOW))
    with store.database.reading() as session:
        assert session.scalars(select(DishRow.name)).one() == "a\\x00b"


def test_names_are_in_the_order_that_sqlite_has(postgres, store):
    with store.database.writing() as session:
        for name in ("b", "B", "a b", "ab", "é", "10", "9"):
            session.add(DishRow(name=name, source="s", status="unknown", created_at=NOW))
    names = [dish.name for dish in store.dishes.dishes()]
    assert names == sorted(names)


# --- before a record is there ---------------------------------------------------------------------


def test_a_look_at_an_empty_database_makes_nothing_there(empty):
    look = look_at_server(empty)
    assert (look.has_record, look.version.partition(".")[0].isdecimal()) == (False, True)
    engine = create_engine(empty)
    assert inspect(engine).get_table_names() == []
    engine.dispose()


def test_a_look_finds_the_record(postgres, store, database_url):
    assert look_at_server(database_url).has_record


def test_no_file_is_looked_at_as_a_server(tmp_path):
    assert look_at_server(f"sqlite:///{tmp_path}/a.sqlite") is None
    assert not list(tmp_path.iterdir())


@pytest.fixture
def guest(postgres, empty):
    """The URL of the empty database for somebody who owns nothing there."""
    name = "guest"
    postgres.do(f"CREATE ROLE {name} LOGIN")
    yield empty.replace("colonywatch@", f"{name}@")
    postgres.do(f"DROP ROLE {name}")


def test_somebody_who_may_make_no_tables_is_told_how(guest):
    with pytest.raises(RecordError, match="GRANT CREATE, USAGE ON SCHEMA public"):
        look_at_server(guest)
    with pytest.raises(RecordError, match="GRANT CREATE, USAGE ON SCHEMA public"):
        Database(guest)


def test_a_database_that_cannot_hold_every_text_is_refused(postgres):
    name = postgres.new("ENCODING 'SQL_ASCII' LOCALE 'C'")
    for look in (look_at_server, Database):
        with pytest.raises(RecordError, match=r"SQL_ASCII.*--encoding=UTF8"):
            look(postgres.url_of(name))
    postgres.drop(name)


def test_each_way_of_not_getting_in_is_said_with_what_to_do(postgres, empty):
    elsewhere = make_url(empty).update_query_dict({"host": "/nowhere"})
    ways = {
        str(elsewhere): "is PostgreSQL running, and its socket",
        "postgresql+psycopg://u@127.0.0.1:1/name": "is PostgreSQL running, and host and port right",
        "postgresql+psycopg://u@no.such.host.invalid/name": "is the host's name right",
        empty.replace("/record_", "/none_"): "createdb makes a database",
        empty.replace("colonywatch@", "nobody-such@"): "right name and user",
    }
    for url, says in ways.items():
        with pytest.raises(RecordError, match=says):
            look_at_server(url)


# --- without a server ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql+psycopg2://u@h/n", "is reached with psycopg only"),
        ("postgresql+asyncpg://u@h/n", "is reached with psycopg only"),
        ("mysql+pymysql://u:secret@h/n", r"mysql\+pymysql://u:\*\*\*@h/n: records are kept in"),
        ("mariadb://u@h/n", "records are kept in SQLite or PostgreSQL"),
        ("mssql://u@h/n", "records are kept in SQLite or PostgreSQL"),
    ],
)
def test_other_databases_and_drivers_are_refused(url, says):
    with pytest.raises(RecordError, match=says):
        Database(url)


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ('FATAL: password authentication failed for user "u"', "correct the user"),
        ("fe_sendauth: no password supplied", "passfile="),
        ("cannot execute INSERT in a read-only transaction", "standby"),
        ("could not extend file: No space left on device", "free some space on the server"),
        ("something that nobody has heard of", None),
    ],
)
def test_what_the_server_says_is_followed_by_what_to_do(said, advice):
    found = of_postgres.advice(said, "30")
    assert found == advice if advice is None else advice in found


def test_two_scans_of_one_dish_by_two_programs_at_once_are_both_there(postgres, database_url):
    """Each makes the dish, as far as it can see: the other must wait and then find it."""

    def one_program(number):
        with Store(database_url) as mine:
            hour = replace(measurement(), acquired_at=NOW.replace(hour=number))
            return measure(mine, f"/in/{number}.tif", place(), hour)

    scans = in_programs(one_program)
    with Store(database_url) as store:
        assert len(set(scans)) == PROGRAMS
        assert len(store.dishes.dishes()) == 1
