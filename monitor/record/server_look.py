"""What a look at a record's database server shows, before anything is written there."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import Connection, inspect, text
from sqlalchemy.pool import NullPool

from monitor.errors import RecordError
from monitor.record import postgres
from monitor.record.database import REVISION, as_record_error, new_engine, parsed, revision_of


@dataclass(frozen=True)
class ServerLook:
    """shown_url : without its password

    has_record : in the present form; without one it is made when a program first opens it
    round_trip_s : of one question, the quickest of some
    has_password : the URL itself holds it
    """

    shown_url: str
    version: str
    has_record: bool
    round_trip_s: float
    has_password: bool


def look_at_server(url: str) -> ServerLook | None:
    """None where the record is a file. Nothing is written.

    Raises RecordError where there is no server, it lets nobody in, it is not fit for a record, or
    nothing may be made or written there.
    """
    address = parsed(url)
    if not postgres.is_postgres(address):
        return None
    address = postgres.completed(address)
    where = postgres.shown(address)
    engine = new_engine(address, poolclass=NullPool)
    try:
        with as_record_error(where, "0"), engine.connect() as connection:
            postgres.refuse_unfit(connection, where)
            times = []
            for _ in range(5):
                began = time.perf_counter()
                connection.execute(text("SELECT 1"))
                times.append(time.perf_counter() - began)
            revision = revision_of(connection)
            if revision is None:
                _refuse_without_rights(connection, where)
            elif not _may_write(connection):
                raise RecordError(
                    f"{where}: {address.username or 'its user'} may not write the record there; it "
                    "must own the record's tables, or be granted SELECT, INSERT, UPDATE and DELETE "
                    "on all of them and USAGE on their sequences"
                )
            version = connection.exec_driver_sql("SHOW server_version").scalar()
            return ServerLook(
                where,
                str(version).split()[0],
                revision == REVISION,
                min(times),
                address.password is not None,
            )
    finally:
        engine.dispose()


def _refuse_without_rights(connection: Connection, where: str) -> None:
    may = connection.exec_driver_sql(
        "SELECT current_schema() IS NOT NULL AND has_schema_privilege(current_schema(), 'CREATE')"
    ).scalar()
    if not may:
        raise RecordError(
            f"{where}: the user may make no tables there; make it the owner of the database, or "
            "GRANT CREATE, USAGE ON SCHEMA public TO it"
        )
    if inspect(connection).has_table("capture"):
        raise RecordError(f"{where}: holds tables of another program; give the record its own")


def _may_write(connection: Connection) -> bool:
    return bool(
        connection.exec_driver_sql("SELECT has_table_privilege('capture', 'INSERT')").scalar()
    )
