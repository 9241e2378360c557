from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import event, inspect, select, text

from monitor.errors import RecordError
from monitor.record.database import REVISION, Database
from monitor.record.files import folder_at
from monitor.record.migrating import MIGRATIONS, migrate, newest_revision
from monitor.record.store import Store
from monitor.record.tables import Base, CaptureRow, DishRow, FileRow
from tests.monitor.facts import NOW, seen, take


def test_the_migrations_make_exactly_the_tables_that_the_program_uses(store):
    with store.database.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, Base.metadata) == []


def test_opening_it_again_changes_nothing(database_url):
    with Store(database_url) as first:
        take(first, "/in/a.tif")
    with Store(database_url) as second:
        assert second.captures.counts()["waiting"] == 1


@pytest.mark.usefixtures("database_file")
@pytest.mark.parametrize(
    ("pragma", "value"), [("journal_mode", "wal"), ("foreign_keys", 1), ("synchronous", 2)]
)
def test_every_connection_is_set_up_to_lose_nothing(store, pragma, value):
    for session in (store.database.reading, store.database.writing):
        with session() as opened:
            assert opened.scalar(text(f"PRAGMA {pragma}")) == value


@pytest.mark.usefixtures("database_file")
def test_only_a_transaction_that_may_be_lost_does_not_wait_for_the_disk(store):
    """Both kinds share their connections."""
    for durable, level in ((False, 1), (True, 2), (False, 1), (True, 2)):
        with store.database.writing(durable=durable) as session:
            assert session.scalar(text("PRAGMA synchronous")) == level


def test_transactions_inside_one_see_one_another_and_are_written_as_one(store):
    """A backlog is written in few transactions, of which all or nothing is on record."""
    with store.at_once():
        take(store, "/in/a.tif")
        assert store.captures.counts()["waiting"] == 1
    assert store.captures.counts()["waiting"] == 1
    with pytest.raises(ZeroDivisionError), store.at_once():
        take(store, "/in/b.tif")
        raise ZeroDivisionError
    assert store.captures.counts()["waiting"] == 1


def test_a_part_that_failed_takes_the_whole_transaction_with_it(store):
    """Whoever goes on after a fault must not write half of something."""
    with pytest.raises(RuntimeError, match="a part of a transaction"), store.at_once():
        take(store, "/in/a.tif")
        with suppress(ZeroDivisionError), store.database.writing(durable=False):
            raise ZeroDivisionError
    assert store.captures.counts()["waiting"] == 0


def test_a_thread_sees_nothing_of_what_another_has_not_written_yet(store):
    seen_there: list[int] = []
    with store.at_once():
        take(store, "/in/a.tif")
        other = threading.Thread(
            target=lambda: seen_there.append(store.captures.counts()["waiting"])
        )
        other.start()
        other.join()
    assert seen_there == [0]


def test_a_row_that_points_nowhere_is_refused(store):
    with pytest.raises(RecordError, match=r"(?i)foreign key"), store.database.writing() as session:
        session.add(FileRow(folder_id=99, name=Path("a.tif"), size=1, mtime_ns=1, capture_id=1))


def test_an_unheard_of_state_is_refused(store):
    with (
        pytest.raises(RecordError, match=r"(?i)check constraint"),
        store.database.writing() as session,
    ):
        session.add(
            CaptureRow(
                folder=folder_at(session, Path("/in")),
                name=Path("a.tif"),
                source="s",
                state="lost",
                first_seen_at=NOW,
            )
        )


def test_times_come_back_as_the_same_moment_in_utc(store):
    tokyo = timezone(timedelta(hours=9))
    moment = datetime(2026, 11, 3, 8, 0, 0, 123456, tokyo)
    with store.database.writing() as session:
        session.add(DishRow(name="d", source="s", status="unknown", created_at=moment))
    with store.database.reading() as session:
        found = session.scalars(select(DishRow)).one().created_at
    assert found == moment
    assert found.tzinfo is UTC
    assert found.hour == 23


def test_a_time_without_a_zone_is_refused(store):
    with pytest.raises(RecordError, match="without a zone"), store.database.writing() as session:
        session.add(
            DishRow(name="d", source="s", status="unknown", created_at=datetime(2026, 11, 3))  # noqa: DTZ001
        )
    assert store.dishes.dishes() == []


@pytest.mark.parametrize(
    "name",
    [b"plain.tif", "皿 07.tif".encode(), b"broken-\xff\xfe.tif", b"bytes%ff:.tif", b"a'b\"c.tif"],
)
def test_any_file_name_comes_back_byte_for_byte(store, name):
    path = Path(os.fsdecode(b"/in/" + name))
    take_in = store.captures.take_in
    capture = take_in(seen(path), NOW)[1]
    assert os.fsencode(capture.path) == b"/in/" + name
    assert store.captures.looks([path]) == {path: (len(str(path)), 1_000)}
    assert list(store.captures.known_among([path])) == [path]
    assert take_in(seen(path), NOW)[1].id == capture.id


@pytest.mark.parametrize("reason", ["no\udcffgood", "surrogate \ud800"])
def test_a_message_that_is_no_text_is_kept_as_far_as_it_can_be_read(store, reason):
    """Messages name files, and a file's name may be any bytes."""
    path = Path("/in/broken-\udcff.tif")
    capture = store.captures.take_in(
        seen(path, sha256=None, problem=("empty", f"{path.name}: is empty, {reason}")), NOW
    )[1]
    (found,) = store.captures.find([capture.id])
    assert found.message is not None
    assert found.message.startswith("broken-\\udcff.tif: is empty")


def test_the_tables_form_is_the_newest_of_the_migrations():
    """A record that is in it is opened without asking the migrations."""
    assert newest_revision() == REVISION


def test_a_database_of_a_newer_version_is_left_alone(database_file):
    with closing(sqlite3.connect(database_file)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(RecordError, match=r"newer colonywatch \(revision 9999\); install"):
        Store(f"sqlite:///{database_file}")
    with closing(sqlite3.connect(database_file)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)


@pytest.mark.parametrize("revision", ["0001", "0008"])
def test_a_record_from_before_the_first_release_is_refused_with_what_to_do(database_file, revision):
    with closing(sqlite3.connect(database_file)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [revision])
    before = database_file.read_bytes()
    with pytest.raises(RecordError, match=r"before the first release.*colonywatch process FOLDER"):
        Store(f"sqlite:///{database_file}")
    assert database_file.read_bytes() == before


def test_a_change_of_form_that_leaves_a_row_without_its_match_is_taken_back(
    database_file, tmp_path
):
    """Tables are replaced with the looking after references off; then every one is looked at."""
    migrations = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, migrations, ignore=shutil.ignore_patterns("__pycache__"))
    (migrations / "versions" / "next.py").write_text(
        "from alembic import op\n"
        f"revision, down_revision, branch_labels, depends_on = 'next', '{REVISION}', None, None\n"
        "def upgrade() -> None:\n"
        "    op.execute('DELETE FROM folder')\n"
    )
    with Store(f"sqlite:///{database_file}") as store:
        take(store, "/in/a.tif")
        with pytest.raises(RecordError, match=r"points at a row of folder that is not there"):
            migrate(store.database.engine, "the record", migrations)
        assert store.captures.counts()["waiting"] == 1
    with closing(sqlite3.connect(database_file)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (
            REVISION,
        )
        assert connection.execute("SELECT count(*) FROM folder").fetchone() == (1,)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("colonywatch.sqlite", "is not a database URL"),
        ("nosuchdb://host/name", "kept in SQLite or PostgreSQL"),
        ("sqlite:////proc/nowhere/colonywatch.sqlite", "cannot be created for the database"),
    ],
)
def test_an_impossible_database_is_one_clear_error(url, says):
    with pytest.raises(RecordError, match=says):
        Database(url)


def test_a_file_that_is_no_database_is_one_clear_error(tmp_path):
    path = tmp_path / "colonywatch.sqlite"
    path.write_bytes(b"this is a text and not a database, and a long one " * 100)
    with pytest.raises(RecordError, match=r"colonywatch\.sqlite: file is not a database"):
        Database(f"sqlite:///{path}")


def test_a_damaged_database_is_not_sound(store, database_file):
    assert store.database.is_sound()
    for number in range(40):
        take(store, f"/in/{number}.tif", "x" * 200 + str(number))
    store.close()
    content = bytearray(database_file.read_bytes())
    content[-4096:] = b"\xa5" * 4096  # its last page
    database_file.write_bytes(content)
    with Store(f"sqlite:///{database_file}") as damaged:
        assert not damaged.database.is_sound()


def test_a_password_is_never_shown():
    database = Database("sqlite:///:memory:")
    database.url = database.url.set(username="lab", password="open sesame")
    assert "open sesame" not in database.shown_url
    database.close()


def test_a_database_that_another_program_holds_is_said_to_be_locked(database_file):
    url = f"sqlite:///{database_file}?timeout=0.05"
    with Store(url) as store, closing(sqlite3.connect(database_file)) as other:
        other.isolation_level = None
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RecordError, match=r"locked; another program has held it for over 0\.0"):
            take(store, "/in/a.tif")
        other.execute("ROLLBACK")
        take(store, "/in/a.tif")  # and it goes on as soon as the other lets go
        assert store.captures.counts()["waiting"] == 1


def test_reading_goes_on_while_another_program_writes(store, database_file):
    take(store, "/in/a.tif")
    with closing(sqlite3.connect(database_file)) as other:
        other.isolation_level = None
        other.execute("BEGIN IMMEDIATE")
        assert store.captures.counts()["waiting"] == 1


@pytest.mark.usefixtures("database_file")
def test_a_full_disk_is_said_and_passes(store):
    """SQLite's own limit on pages gives the very error that a full disk gives."""
    limited = True

    @event.listens_for(store.database.engine, "checkout")
    def limit(connection, *_):
        pages = connection.execute("PRAGMA page_count").fetchone()[0] if limited else 2**30
        connection.execute(f"PRAGMA max_page_count={pages}")

    with pytest.raises(RecordError, match="disk is full; free some space"):
        for number in range(500):
            take(store, f"/in/{number}.tif", "x" * 400 + str(number))
    before = store.captures.counts()["waiting"]
    limited = False
    take(store, "/in/afterwards.tif")
    assert store.captures.counts()["waiting"] == before + 1
    assert store.database.is_sound()


def test_two_programs_may_open_a_new_database_at_once(tmp_path):
    url = f"sqlite:///{tmp_path / 'new.sqlite'}"
    barrier = threading.Barrier(4)
    problems: list[Exception] = []

    def open_it() -> None:
        barrier.wait()
        try:
            Database(url).close()
        except Exception as problem:
            problems.append(problem)

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    database = Database(url)
    assert inspect(database.engine).has_table("capture")
    database.close()


def test_a_transaction_that_fails_writes_nothing(store):
    with pytest.raises(ZeroDivisionError), store.database.writing() as session:
        session.add(DishRow(name="d", source="s", status="unknown", created_at=NOW))
        session.flush()
        _ = 1 / 0
    assert store.dishes.dishes() == []


@pytest.mark.usefixtures("database_file")
def test_a_backup_is_whole_while_others_write(store, tmp_path):
    take(store, "/in/a.tif")
    target = tmp_path / "safe" / "copy.sqlite"
    with store.database.writing() as session:
        session.add(DishRow(name="unfinished", source="s", status="unknown", created_at=NOW))
        session.flush()
        store.database.back_up(target)
    with Store(f"sqlite:///{target}") as copy:
        assert copy.database.is_sound()
        assert copy.captures.counts()["waiting"] == 1
        assert copy.dishes.dishes() == []
    assert [dish.name for dish in store.dishes.dishes()] == ["unfinished"]


@pytest.mark.usefixtures("database_file")
def test_a_second_backup_replaces_the_first(store, tmp_path):
    target = tmp_path / "copy.sqlite"
    store.database.back_up(target)
    take(store, "/in/a.tif")
    store.database.back_up(target)
    with Store(f"sqlite:///{target}") as copy:
        assert copy.captures.counts()["waiting"] == 1
    assert not list(tmp_path.glob(".copy*"))


@pytest.mark.usefixtures("database_file")
def test_a_backup_that_cannot_be_written_leaves_nothing_behind(store, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RecordError, match="the backup failed"):
        store.database.back_up(tmp_path / "file" / "copy.sqlite")
    (tmp_path / "folder").mkdir()
    with pytest.raises(RecordError, match="the backup failed"):
        store.database.back_up(tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "state"]
