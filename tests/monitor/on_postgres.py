"""Records for tests on a PostgreSQL server. To make a database takes long, so that each test gets
one which is emptied after it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from sqlalchemy import Engine, create_engine, inspect, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from monitor.record.store import Store


class Server:
    """url : of a database of the server, by whose user others are made"""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self._engine = create_engine(url, isolation_level="AUTOCOMMIT")
        self._names = (f"record_{os.getpid()}_{number}" for number in count())
        self._fresh = next(self._names)
        self._free: list[str] = []
        self._emptying = ""

    def __enter__(self) -> Server:
        self.do(f"CREATE DATABASE {self._fresh} TEMPLATE template0 ENCODING 'UTF8'")
        Store(self.url_of(self._fresh)).close()
        engine = create_engine(self.url_of(self._fresh), poolclass=NullPool)
        self._emptying = _emptying(engine)
        return self

    def __exit__(self, *_: object) -> None:
        for name in (*self._free, self._fresh):
            self.drop(name)
        self._engine.dispose()

    def do(self, statement: str) -> None:
        with self._engine.connect() as connection:
            connection.execute(text(statement))

    def url_of(self, name: str) -> str:
        return self.url.set(database=name).render_as_string(hide_password=False)

    def new(self, settings: str = "") -> str:
        """The name of a new database, in which nothing is."""
        name = next(self._names)
        self.do(f"CREATE DATABASE {name} TEMPLATE template0 {settings}")
        return name

    @contextmanager
    def records(self) -> Iterator[Callable[[], str]]:
        """make(): the URL of an empty record, for as long as the block lasts."""
        made: list[str] = []

        def make() -> str:
            if self._free:
                made.append(self._free.pop())
            else:
                made.append(next(self._names))
                self.do(f"CREATE DATABASE {made[-1]} TEMPLATE {self._fresh}")
            return self.url_of(made[-1])

        try:
            yield make
        finally:
            for name in reversed(made):
                if self._empty(name):
                    self._free.append(name)
                else:
                    self.drop(name)

    def _empty(self, name: str) -> bool:
        engine = create_engine(self.url_of(name), poolclass=NullPool)
        try:
            with engine.begin() as connection:
                connection.exec_driver_sql(self._emptying)
        except DBAPIError:  # somebody is still at it
            return False
        return True

    def drop(self, name: str) -> None:
        self.do(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _emptying(engine: Engine) -> str:
    about = inspect(engine)
    rows = [f"DELETE FROM {one}" for one in about.get_table_names() if one != "alembic_version"]
    numbers = [f"ALTER SEQUENCE {one} RESTART" for one in about.get_sequence_names()]
    settings = ("SET lock_timeout = '2s'", "SET session_replication_role = replica")
    return "; ".join((*settings, *rows, *numbers))
