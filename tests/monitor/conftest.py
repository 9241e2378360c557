from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from monitor.record.store import Store
from tests.monitor import on_postgres

# Names a server's database: the records of all tests are then made on that server.
POSTGRES = os.environ.get("COLONYWATCH_POSTGRES")


def pytest_collection_modifyitems(config, items):
    """What is about the file of a SQLite record has no meaning on a server, and the other way."""
    unfit = {"fresh_database", "database_file"} if POSTGRES else {"postgres"}
    left_out = [item for item in items if unfit & set(getattr(item, "fixturenames", ()))]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def fresh_database(tmp_path_factory) -> Path:
    """An empty record made by the migrations, to be copied."""
    path = tmp_path_factory.mktemp("record") / "fresh.sqlite"
    Store(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def database_file(fresh_database, tmp_path) -> Path:
    """Of the test's record, where it is SQLite's."""
    path = tmp_path / "state" / "colonywatch.sqlite"
    path.parent.mkdir()
    shutil.copy(fresh_database, path)
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[on_postgres.Server]:
    """A server, and on it an empty record to be copied."""
    with on_postgres.Server(POSTGRES) as made:
        yield made


@pytest.fixture
def make_record(request, tmp_path) -> Iterator[Callable[[], str]]:
    """make_record(): the URL of a further record, which is empty."""
    if POSTGRES:
        with request.getfixturevalue("postgres").records() as make:
            yield make
        return
    fresh, made = request.getfixturevalue("fresh_database"), []

    def make() -> str:
        made.append(tmp_path / "records" / f"{len(made)}.sqlite")
        made[-1].parent.mkdir(exist_ok=True)
        shutil.copy(fresh, made[-1])
        return f"sqlite:///{made[-1]}"

    yield make


@pytest.fixture
def database_url(request) -> str:
    """Of the test's record."""
    if POSTGRES:
        return request.getfixturevalue("make_record")()
    return f"sqlite:///{request.getfixturevalue('database_file')}"


@pytest.fixture
def store(database_url) -> Iterator[Store]:
    with Store(database_url) as opened:
        yield opened


@pytest.fixture
def make_line(store, tmp_path):
    from tests.monitor.line import line_maker  # for the few tests that ask for it

    return line_maker(store, tmp_path)


@pytest.fixture
def line(make_line):
    return make_line()
