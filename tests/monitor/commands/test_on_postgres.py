"""The commands on a record that a PostgreSQL server keeps."""

from __future__ import annotations

import pytest
import yaml

from monitor.record.store import Store
from tests.monitor.commands.calls import BAD_CONFIG, DONE, FAILED, MISUSED, call
from tests.monitor.conftest import POSTGRES
from tests.monitor.facts import NOW, take


@pytest.fixture
def config(tmp_path):
    """config(URL): a configuration file that names this database."""

    def write(url):
        path = tmp_path / "config.yaml"
        (tmp_path / "in").mkdir(exist_ok=True)
        document = {
            "sources": [{"name": "incubator", "path": "in"}],
            "record": {"folder": "state", "database": url},
        }
        path.write_text(yaml.safe_dump(document))
        return path

    return write


only_there = pytest.mark.skipif(not POSTGRES, reason="a record on a PostgreSQL server alone")


@pytest.fixture
def empty(postgres):
    name = postgres.new()
    yield postgres.url_of(name)
    postgres.drop(name)


def test_a_configuration_is_checked_to_the_server_and_nothing_is_made_there(config, empty):
    for _ in range(2):
        answer = call("check-config", "--config", config(empty))
        assert answer.code == DONE, answer.err
        assert "is ready for a new record" in answer.err
    Store(empty).close()
    assert "holds the record" in call("check-config", "--config", config(empty)).err


def test_a_server_that_is_not_there_is_a_problem_of_the_configuration(config):
    answer = call("check-config", "--config", config("postgresql+psycopg://u:secret@127.0.0.1:1/n"))
    assert answer.code == BAD_CONFIG
    assert "record.database: postgresql+psycopg://u:***@127.0.0.1:1/n" in answer.err
    assert "is PostgreSQL running" in answer.err


@only_there
def test_status_and_doctor_tell_of_the_record_there(config, database_url):
    with Store(database_url) as store:
        take(store, "/in/a.tif", at=NOW)
    path = config(database_url)
    assert call("status", "--json", "--config", path).document["captures"]["waiting"] == 1
    answer = call("doctor", "--json", "--config", path)
    (found,) = [one for one in answer.document if one["what"] == "database"]
    assert found["ok"] is not False
    assert "PostgreSQL" in found["text"] and "0 captures recorded" in found["text"]


@only_there
def test_backup_and_restore_name_the_servers_own_tools(config, database_url, tmp_path):
    path = config(database_url)
    answer = call("backup", tmp_path / "copy", "--config", path)
    assert (answer.code, "pg_dump" in answer.err) == (FAILED, True)
    answer = call("restore", tmp_path / "copy", "--config", path)
    assert (answer.code, "pg_restore" in answer.err) == (FAILED, True)


@only_there
def test_a_demo_takes_no_database_that_is_in_use(config, database_url, tmp_path):
    answer = call("demo", "--dir", tmp_path / "demo", "--database", database_url)
    assert (answer.code, "holds a record already" in answer.err) == (MISUSED, True)
    assert not (tmp_path / "demo").exists()
