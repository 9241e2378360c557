"""Opening the database: pragmas, transactions, migrations."""

from __future__ import annotations

import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session

from monitor.culture import Reading
from monitor.errors import RecordError, RecordGoneError
from monitor.record import postgres
from monitor.record.audit import AuditedSession
from monitor.record.in_place import (
    NOW,
    existing,
    forget_note,
    leave_note,
    refuse_to_begin_anew,
    why_not_ours,
)
from monitor.record.session_cache import KNOWN, MOST_READINGS, OWN
from monitor.record.tables import RecordRow

# The form that the tables have: the newest of the migrations.
REVISION = "0.2.0_tokens"
BUSY_S = 30
WAL_S = 5


@dataclass(eq=False)
class _Transaction:
    """That a thread is in. is_spoilt : a part of it failed, so none of it may be written"""

    session: Session
    writes: bool
    durable: bool = False
    is_spoilt: bool = False


class _InPlace:
    """Whether the file of a SQLite record is still the one that a program has opened.

    A program that has a file open does not notice that it was deleted or replaced: it goes on
    writing to what nobody will ever see again. So each transaction looks at the file's name, before
    and after.

    path : of the record's file, which is there
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._identity = self._look()

    def check(self) -> None:
        """Raises RecordGoneError where another file, or none, is there by now."""
        try:
            identity = self._look()
        except (FileNotFoundError, NotADirectoryError) as problem:
            raise RecordGoneError(
                f"{self.path}: the record is gone, deleted or moved away while in use. {NOW}"
            ) from problem
        except OSError as problem:
            raise RecordGoneError(
                f"{self.path}: the record cannot be seen any more ({problem.strerror}). {NOW}"
            ) from problem
        if identity != self._identity:
            raise RecordGoneError(
                f"{self.path}: another file has replaced the record while in use. {NOW}"
            )

    def _look(self) -> tuple[int, int]:
        about = self.path.stat()
        return about.st_dev, about.st_ino


class Database:
    """An engine whose schema is up to date, and the two kinds of transaction.

    What a thread reads or writes inside a transaction of its own is part of that one: it sees what
    was written so far, and is written with it or not at all.

    follows : where its file is replaced by a backup of the same record, go on with that. For
        programs that keep nothing of it in hand

    begins_anew : make an empty record also where a daemon has noted that there was one and it is
        gone

    Raises RecordError where the database cannot be opened, migrated or written, and RecordGoneError
    where its file was deleted or replaced.
    """

    def __init__(self, url: str, *, follows: bool = False, begins_anew: bool = False) -> None:
        self.url = parsed(url)
        self._here = threading.local()
        self._readings: dict[int, Reading] = {}
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        if not self.is_sqlite:
            self.url = postgres.completed(self.url)
        file = self.file
        if file is not None:
            if begins_anew:
                forget_note(file)
            else:
                refuse_to_begin_anew(file)
        if self.is_sqlite:
            if self.url.database and self.url.database != ":memory:":
                folder = Path(self.url.database).parent
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                except OSError as problem:
                    raise RecordError(
                        f"{folder}: cannot be created for the database ({problem.strerror}); "
                        "choose another with record.folder or --state DIR"
                    ) from problem
            if "timeout" not in self.url.query:
                self.url = self.url.update_query_dict({"timeout": str(BUSY_S)})
        # A connection that a server has forgotten is noticed before it is used.
        self.engine = new_engine(self.url, pool_pre_ping=not self.is_sqlite)
        self._reading_engine = self.engine
        self._in_place: _InPlace | None = None
        self._follows = follows
        self._following = threading.Lock()
        if self.is_sqlite:
            _prepare_sqlite(self.engine)
            event.listen(self.engine, "do_connect", self._connect)
        else:
            postgres.prepare(self.engine, float(self._busy_s))
            self._reading_engine = postgres.for_reading(self.engine)
        try:
            with as_record_error(self._where, self._busy_s):
                self._migrate()
                self.key = self._name_it()
        except BaseException:
            self.engine.dispose()
            raise
        if file is not None:
            self._in_place = _InPlace(file)

    @property
    def file(self) -> Path | None:
        """Of a SQLite record; None where it is somewhere else."""
        path = self.url.database
        if not self.is_sqlite or not path or path == ":memory:" or path.startswith("file:"):
            return None
        return Path(path)

    def _connect(self, _: Any, __: Any, words: list[Any], settings: dict[str, Any]) -> Any:
        """Once it was opened, no connection makes an empty file where the record was deleted."""
        if self._in_place is None:
            return None
        return sqlite3.connect(existing(words[0]), **{**settings, "uri": True})

    def _name_it(self) -> str:
        """The key by which this record is told from others; made here if it has none."""
        with self.reading() as session:
            row = session.get(RecordRow, 1)
            if row is not None:
                return row.key
        with self.writing() as session:
            row = session.get(RecordRow, 1)
            if row is None:
                row = RecordRow(number=1, key=str(uuid.uuid4()), made_at=datetime.now(UTC))
                session.add(row)
            return row.key

    def refuse_gone(self) -> None:
        """Raises RecordGoneError where the file is not the one that was opened."""
        if self._in_place is None:
            return
        try:
            self._in_place.check()
        except RecordGoneError:
            if not self._follows or self.why_not_back() is not None:
                raise
            self._take_up()

    def note_gone(self, text: str) -> None:
        """For other programs, which would make an empty record in its place."""
        if self._in_place is not None:
            leave_note(self._in_place.path, text)

    def why_not_back(self) -> str | None:
        """Why what lies in the record's place now cannot be gone on with; None where it can."""
        if self._in_place is None:
            return None
        return why_not_ours(self._in_place.path, revision=REVISION, key=self.key)

    def _take_up(self) -> None:
        with self._following:
            assert self._in_place is not None
            self.engine.dispose()
            self._readings = {}
            self._in_place = _InPlace(self._in_place.path)

    @property
    def _where(self) -> str:
        return postgres.shown(self.url)

    @property
    def _busy_s(self) -> str:
        return str(self.url.query.get("timeout", BUSY_S))

    def _migrate(self) -> None:
        with self.engine.connect() as connection:
            if not self.is_sqlite:
                postgres.refuse_unfit(connection, self._where)
            if revision_of(connection) == REVISION:
                return
        # With Alembic, which most starts need not wait for.
        from monitor.record.migrating import migrate

        migrate(self.engine, self._where)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that only reads."""
        around = self._around()
        if around is not None:
            with as_record_error(self._where, self._busy_s):
                yield around.session
            return
        self.refuse_gone()
        with (
            as_record_error(self._where, self._busy_s),
            self._session(self._reading_engine) as session,
            self._inside(_Transaction(session, writes=False)),
        ):
            yield session
            self._keep_readings(session)

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[Session]:
        """A transaction that writes: all or nothing, one at a time on SQLite.

        durable : False where a power cut may take it back, since it only says what can be found
            out again from the captures: it then waits for no disk. A durable one that comes later
            takes all before it along.
        """
        around = self._around()
        if around is not None and around.writes:
            assert around.durable or not durable, "it would not be as durable as it has to be"
            with as_record_error(self._where, self._busy_s), _spoiling(around):
                yield around.session
                around.session.flush()
            return
        self.refuse_gone()
        engine = self.engine.execution_options(writes=True, durable=durable)
        with (
            as_record_error(self._where, self._busy_s),
            self._session(engine) as session,
        ):
            transaction = _Transaction(session, writes=True, durable=durable)
            with session.begin():
                with self._inside(transaction):
                    yield session
                if transaction.is_spoilt:
                    raise RuntimeError("a part of a transaction failed and nobody ended the whole")
            self._keep_readings(session)
        # What went into a file that was deleted meanwhile was not recorded.
        self.refuse_gone()

    def _session(self, engine: Engine) -> Session:
        return AuditedSession(engine, info={KNOWN: self._readings})

    def _keep_readings(self, session: Session) -> None:
        """Those that were read in a transaction that has ended well: they never change."""
        own = session.info.get(OWN, {})
        if len(self._readings) + len(own) > MOST_READINGS:
            self._readings.clear()
        self._readings.update(own)

    def _around(self) -> _Transaction | None:
        """The transaction that this thread is in."""
        return getattr(self._here, "transaction", None)

    @contextmanager
    def _inside(self, transaction: _Transaction) -> Iterator[None]:
        before = self._around()
        self._here.transaction = transaction
        try:
            yield
        finally:
            self._here.transaction = before

    @property
    def shown_url(self) -> str:
        """The URL without its password."""
        return self._where

    def is_sound(self) -> bool:
        """SQLite's own check of the file; other databases look after themselves."""
        if not self.is_sqlite:
            return True
        with as_record_error(self._where, self._busy_s), self.engine.connect() as connection:
            try:
                return connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
            except DatabaseError as problem:
                if "malformed" in str(problem.orig):
                    return False
                raise

    def back_up(self, target: Path) -> None:
        """Copy the database to a file while others go on using it.

        Raises RecordError, also where the database is no SQLite file.
        """
        if not self.is_sqlite:
            raise RecordError(
                f"{self._where}: is not SQLite; use the server's own: pg_dump --format=custom"
            )
        temporary = target.with_name(f".{target.name}.tmp")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.unlink(missing_ok=True)
            with (
                closing(sqlite3.connect(str(self.url.database))) as source,
                closing(sqlite3.connect(temporary)) as copy,
            ):
                source.backup(copy)
            temporary.replace(target)
        except (OSError, sqlite3.Error) as problem:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise RecordError(f"{target}: the backup failed: {problem}") from problem

    def close(self) -> None:
        self.engine.dispose()


def parsed(url: str) -> URL:
    """Raises RecordError where it is none, or of a database that holds no records."""
    try:
        made = make_url(url)
    except ArgumentError as problem:
        raise RecordError(
            f"{url}: is not a database URL; use for example sqlite:////var/lib/colonywatch/"
            "colonywatch.sqlite (record.database)"
        ) from problem
    if made.get_backend_name() not in ("sqlite", "postgresql"):
        raise RecordError(
            f"{postgres.shown(made)}: records are kept in SQLite or PostgreSQL; use "
            "sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME (record.database)"
        )
    return made


def new_engine(url: URL, **settings: Any) -> Engine:
    """Raises RecordError where its driver is not installed."""
    if url.get_backend_name() != "sqlite":
        url = url.difference_update_query(["timeout"])
    try:
        return create_engine(url, **settings)
    except (NoSuchModuleError, ModuleNotFoundError) as problem:
        raise RecordError(
            f"{postgres.shown(url)}: its driver is not installed; "
            "pip install 'colonywatch[postgres]'"
        ) from problem


@contextmanager
def _spoiling(transaction: _Transaction) -> Iterator[None]:
    try:
        yield
    except BaseException:
        transaction.is_spoilt = True
        raise


@contextmanager
def as_record_error(where: str, busy_s: str) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as problem:
        cause = getattr(problem, "orig", None) or problem
        text = " ".join(str(cause).split())
        if "disk is full" in text:
            text += "; free some space: nothing is lost, work goes on from there"
        elif "disk I/O error" in text:
            text += "; is the disk full, or its share gone?"
        elif "readonly" in text:
            text += "; its folder and files must be writable for this account (or --state DIR)"
        elif "locked" in text:
            text += f"; another program has held it for over {busy_s} s"
        elif (advice := postgres.advice(text, busy_s)) is not None:
            text += f"; {advice}"
        raise RecordError(f"{where}: {text}") from problem


def revision_of(connection: Connection) -> str | None:
    """The form that a record is in; None where it is empty, or does not name one form."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all()
    return found[0] if len(found) == 1 else None


def _use_wal(cursor: sqlite3.Cursor) -> None:
    """Two programs that open a new database at once can both want to switch it, and SQLite then
    refuses one of them without waiting.
    """
    until = time.monotonic() + WAL_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as problem:
            if "locked" not in str(problem) or time.monotonic() > until:
                raise
            time.sleep(0.02)


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _: Any) -> None:
        # The driver's own transaction handling would begin too late for BEGIN IMMEDIATE.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys=ON")
        _use_wal(cursor)
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A writer takes its lock at once: a reader that upgrades later can fail with "locked"
        # no matter how long it waits.
        options = connection.get_execution_options()
        if not options.get("writes", False):
            connection.exec_driver_sql("BEGIN")
            return
        level = "FULL" if options.get("durable", True) else "NORMAL"
        connection.exec_driver_sql(f"PRAGMA synchronous={level}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
