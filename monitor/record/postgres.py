"""A record on a PostgreSQL server: how its transactions begin, and what its errors mean.

One transaction writes at a time, as on SQLite: each begins with one lock that all of them want.
So none is ever refused because of another, and none has to be tried again. Those that only read
see the record as it was when they began, and wait for nobody.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Connection, Engine, event

from monitor.errors import RecordError

OLDEST = 13
# Known to nobody else who may use the same database: "colonywa" as a number.
WRITING = int.from_bytes(b"colonywa", "big")
# A program that holds the lock and has died without a word, or hangs, is cut off after that.
IDLE_S = 300
CONNECT_S = 10
# How a server that has gone without a word is noticed.
DEFAULTS = {
    "connect_timeout": str(CONNECT_S),
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "application_name": "colonywatch",
    "client_encoding": "utf8",
}
_LOCK = f"SELECT pg_advisory_xact_lock({WRITING})"


def is_postgres(url: URL) -> bool:
    return url.get_backend_name() == "postgresql"


def completed(url: URL) -> URL:
    """With the driver and what it needs to notice a server that is away.

    Raises RecordError for another driver than psycopg.
    """
    if url.drivername not in ("postgresql", "postgresql+psycopg"):
        raise RecordError(
            f"{url.render_as_string(hide_password=True)}: PostgreSQL is reached with psycopg only; "
            "write postgresql+psycopg:// (record.database)"
        )
    url = url.set(drivername="postgresql+psycopg")
    return url.update_query_dict({key: DEFAULTS[key] for key in DEFAULTS if key not in url.query})


def shown(url: URL) -> str:
    """As a person wrote it, without its password."""
    return url.difference_update_query(["timeout", *DEFAULTS]).render_as_string(hide_password=True)


def for_reading(engine: Engine) -> Engine:
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def prepare(engine: Engine, busy_s: float) -> None:
    """busy_s : how long a transaction waits for those who write before it"""

    @event.listens_for(engine, "connect")
    def _settings(connection: Any, _: Any) -> None:
        connection.execute(
            f"SET lock_timeout = {round(busy_s * 1000)};"
            f"SET idle_in_transaction_session_timeout = {IDLE_S * 1000};"
            "SET timezone = 'UTC'"
        )
        connection.commit()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if not options.get("writes", False):
            return
        # The lock has to come before anything is seen: what others wrote meanwhile counts.
        durable = "" if options.get("durable", True) else "SET LOCAL synchronous_commit = off; "
        connection.exec_driver_sql(durable + _LOCK)


def refuse_unfit(connection: Connection, where: str) -> None:
    """Raises RecordError where the server is too old, or its database is not made for all texts."""
    version = int(connection.exec_driver_sql("SHOW server_version_num").scalar_one()) // 10_000
    if version < OLDEST:
        raise RecordError(f"{where}: is PostgreSQL {version}; colonywatch needs {OLDEST} or newer")
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar()
    if encoding != "UTF8":
        raise RecordError(
            f"{where}: its texts are {encoding}, which cannot hold every dish's label; make "
            "the database with createdb --template=template0 --encoding=UTF8"
        )
    if connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar():
        raise RecordError(
            f"{where}: is a standby, which takes nothing in; name the primary (record.database)"
        )


# A part of what the server says, and what to do about it.
_ADVICE = (
    ("lock timeout", "another program has held it for over {busy_s} s"),
    ("password authentication failed", "correct the user or the password in record.database"),
    (
        "no password supplied",
        "name a file with it: ?passfile=/etc/colonywatch/pgpass, with lines "
        "host:port:database:user:password",
    ),
    ("Peer authentication failed", "name the account that colonywatch runs under as its user"),
    ("no pg_hba.conf entry", "let this machine in, in the server's pg_hba.conf"),
    ("does not exist", "has record.database the right name and user? createdb makes a database"),
    (
        "permission denied for schema",
        "let the user make tables there: GRANT CREATE, USAGE ON SCHEMA public TO the user, or make "
        "the user the owner of the database",
    ),
    ("permission denied", "the user in record.database must own the record's tables"),
    ("read-only transaction", "the server takes nothing in: is it a standby, or its disk full?"),
    ("could not extend file", "free some space on the server: nothing is lost, work goes on then"),
    ("No space left", "free some space on the server: nothing is lost, work goes on then"),
    ("remaining connection slots", "the server has too many clients: raise its max_connections"),
    ("too many clients", "raise the server's max_connections"),
    ("Connection refused", "is PostgreSQL running, and host and port right (record.database)?"),
    ("No such file or directory", "is PostgreSQL running, and its socket's folder right?"),
    ("could not translate host name", "is the host's name right (record.database)?"),
    ("failed to resolve host", "is the host's name right (record.database)?"),
    ("timeout expired", "the server does not answer: is it up, and is the way to it open?"),
    ("the database system is starting up", "it is tried again"),
    ("terminating connection", "the server was restarted or has cut us off; it is tried again"),
    ("server closed the connection", "the server was restarted or has gone; it is tried again"),
    ("consuming input failed", "the server was restarted or has gone; it is tried again"),
    ("the connection is closed", "the server was restarted or has gone; it is tried again"),
)


def advice(text: str, busy_s: str) -> str | None:
    """What to do about an error of the server, in words; None where only it knows."""
    for part, what in _ADVICE:
        if part in text:
            return what.format(busy_s=busy_s)
    return None
