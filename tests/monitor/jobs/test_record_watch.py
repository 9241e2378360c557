"""That the record is gone is told at once, and when it is back."""

from __future__ import annotations

import email
import email.policy
import shutil
from datetime import timedelta

import pytest

from monitor.config import Config, EmailConfig, OutletsConfig, RecordConfig
from monitor.daemon import Daemon
from monitor.jobs.record_watch import RecordWatch, say_back
from monitor.record.store import Store
from tests.monitor.commands.calls import DONE, FAILED, call
from tests.monitor.facts import NOW, take


@pytest.fixture
def config(tmp_path):
    mailbox = OutletsConfig(email=EmailConfig(mailbox=tmp_path / "mailbox"))
    return Config(record=RecordConfig(folder=tmp_path / "state"), outlets=mailbox)


def mails(config):
    found = []
    for path in sorted(config.mailbox.glob("*.eml")):
        mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        found.append((mail["Subject"], mail.get_content()))
    return found


def test_a_record_that_goes_is_told_once_and_its_return_is_seen(store, database_file, config):
    watch = RecordWatch(config, store, lambda: NOW)
    assert watch.look() is False and not watch.is_gone
    kept = database_file.with_name("kept")
    store.database.back_up(kept)
    database_file.unlink()
    assert watch.look() is False and watch.gone_since == NOW
    assert watch.look() is False
    ((subject, text),) = mails(config)
    assert "the record is GONE on" in subject
    assert str(database_file) in text and "colonywatch restore FILE" in text
    kept.rename(database_file)
    assert watch.look() is True
    say_back(config, NOW, NOW + timedelta(hours=1))
    assert [("is back" in subject) for subject, _ in mails(config)] == [False, True]


def test_another_record_in_its_place_is_not_gone_on_with(store, database_file, config, caplog):
    watch = RecordWatch(config, store, lambda: NOW)
    database_file.unlink()
    shutil.rmtree(database_file.parent)
    Store(f"sqlite:///{database_file}").close()
    assert watch.look() is False and watch.is_gone
    assert "another record" in caplog.text
    assert watch.look() is False
    assert caplog.text.count("another record") == 1


def test_no_command_makes_an_empty_record_in_its_place(store, database_file, config):
    """`status` would, and the daemon would then wait beside it for ever."""
    watch = RecordWatch(config, store, lambda: NOW)
    shutil.rmtree(database_file.parent)
    watch.look()
    answer = call("status", "--state", database_file.parent)
    assert answer.code == FAILED
    assert "the record is gone" in answer.err and "start the daemon again" in answer.err
    assert not database_file.exists()
    # Who starts the daemon again has decided to begin anew.
    Store(f"sqlite:///{database_file}", begins_anew=True).close()
    assert call("status", "--state", database_file.parent).code == DONE
    assert {one.name for one in database_file.parent.iterdir()} == {database_file.name}


def test_where_nobody_could_be_told_it_is_tried_again(store, database_file, config, tmp_path):
    now = [NOW]
    watch = RecordWatch(config, store, lambda: now[0])
    (tmp_path / "mailbox").write_text("in the way")
    database_file.unlink()
    watch.look()
    (tmp_path / "mailbox").unlink()
    watch.look()
    assert mails(config) == []
    now[0] += timedelta(minutes=1)
    watch.look()
    watch.look()
    assert len(mails(config)) == 1


def test_the_daemon_neither_claims_nor_delivers_while_it_is_gone(store, database_file, config):
    daemon = Daemon(config, store)
    take(store, "/in/a.tif")
    database_file.unlink()
    ran = []
    daemon._guarded(daemon._deliver)
    assert daemon._record.is_gone
    daemon._guarded(ran.append, "a job")
    assert ran == []
    assert "the record is gone" in daemon._what_is_wrong()
    daemon._delivery_at -= 10_000
    daemon._stopping.set()
    daemon._wait_for_record()
    assert not daemon._delivery_hangs()
