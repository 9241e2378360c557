from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.record.store import Store


@pytest.fixture(scope="session")
def fresh_database(tmp_path_factory) -> Path:
    """An empty record made by the migrations, to be copied."""
    path = tmp_path_factory.mktemp("record") / "fresh.sqlite"
    Store(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def database_file(fresh_database, tmp_path) -> Path:
    path = tmp_path / "state" / "colonywatch.sqlite"
    path.parent.mkdir()
    shutil.copy(fresh_database, path)
    return path


@pytest.fixture
def store(database_file) -> Iterator[Store]:
    with Store(f"sqlite:///{database_file}") as opened:
        yield opened


@pytest.fixture
def make_line(store, tmp_path):
    from tests.monitor.line import line_maker  # for the few tests that ask for it

    return line_maker(store, tmp_path)


@pytest.fixture
def line(make_line):
    return make_line()
