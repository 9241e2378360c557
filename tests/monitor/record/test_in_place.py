"""A record whose file is deleted or replaced under the program that uses it."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from monitor.errors import RecordError, RecordGoneError
from monitor.record.store import Store
from tests.monitor.facts import NOW, take


def deleted(file: Path) -> None:
    for name in ("", "-wal", "-shm"):
        file.with_name(file.name + name).unlink(missing_ok=True)


def folder_deleted(file: Path) -> None:
    shutil.rmtree(file.parent)


def folder_is_a_file(file: Path) -> None:
    shutil.rmtree(file.parent)
    file.parent.write_text("")


def moved(file: Path) -> None:
    file.rename(file.with_name("kept"))


def replaced(file: Path) -> None:
    shutil.copy(file, file.with_name("copy"))
    file.with_name("copy").replace(file)


def replaced_by_an_empty_one(file: Path) -> None:
    deleted(file)
    sqlite3.connect(file).close()
    file.touch()


TROUBLES = (
    *(deleted, folder_deleted, folder_is_a_file, moved, replaced),
    *(replaced_by_an_empty_one,),
)


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.__name__)
def test_nothing_is_claimed_read_or_recorded_in_a_file_that_is_gone(store, database_file, trouble):
    """The open file can still be written to, and nobody would ever see it."""
    take(store, "/in/a.tif")
    trouble(database_file)
    for use in (
        lambda: take(store, "/in/b.tif"),
        lambda: store.captures.claim_due("me", NOW, limit=1),
        lambda: store.captures.counts(),
        lambda: store.processes.begin("daemon", NOW),
    ):
        with pytest.raises(RecordGoneError, match="colonywatch restore FILE"):
            use()


def test_what_went_into_a_file_that_was_deleted_meanwhile_is_not_called_recorded(
    store, database_file
):
    def deletes() -> None:
        with store.database.writing() as session:
            session.connection()
            deleted(database_file)

    with pytest.raises(RecordGoneError):
        deletes()


def test_no_empty_record_is_made_in_place_of_one_that_is_gone(store, database_file):
    deleted(database_file)
    store.database.engine.dispose()  # the next transaction opens the file anew
    with pytest.raises(RecordGoneError):
        store.captures.counts()
    assert not database_file.exists()


BACK = {
    "as it was": (lambda kept, file: shutil.copy(kept, file), None),
    "of another record": (lambda kept, file: Store(f"sqlite:///{file}").close(), "another record"),
    "empty": (lambda kept, file: file.touch(), "not a complete record"),
    "cut off": (
        lambda kept, file: file.write_bytes(kept.read_bytes()[:5000]),
        "not a complete record",
    ),
    "no database": (lambda kept, file: file.write_text("x" * 9000), "not a complete record"),
    "not there": (lambda kept, file: None, "not a complete record"),
}


@pytest.mark.parametrize("case", BACK)
def test_only_the_same_record_whole_and_sound_can_be_gone_on_with(store, database_file, case):
    """An empty one in its place knows nothing of plans that are out and mails that were sent."""
    put, says = BACK[case]
    kept = database_file.with_name("kept")
    take(store, "/in/a.tif")
    store.database.back_up(kept)
    deleted(database_file)
    put(kept, database_file)
    why = store.database.why_not_back()
    assert (why is None) if says is None else (why is not None and says in why)
    assert case != "not there" or not database_file.exists()


def test_a_damaged_file_is_not_gone_on_with(store, database_file):
    for number in range(50):
        take(store, f"/in/{number}.tif")
    kept = database_file.with_name("kept")
    store.database.back_up(kept)
    deleted(database_file)
    content = bytearray(kept.read_bytes())
    content[8192:40960] = b"\0" * (40960 - 8192)
    database_file.write_bytes(content)
    assert store.database.why_not_back() is not None


def test_a_program_that_keeps_nothing_in_hand_goes_on_with_what_was_put_back(database_file):
    url = f"sqlite:///{database_file}"
    with Store(url) as writer, Store(url, follows=True) as pages:
        take(writer, "/in/a.tif")
        kept = database_file.with_name("kept")
        writer.database.back_up(kept)
        take(writer, "/in/b.tif")
        assert pages.captures.counts()["waiting"] == 2
        deleted(database_file)
        with pytest.raises(RecordGoneError):
            pages.captures.counts()
        kept.rename(database_file)
        assert pages.captures.counts()["waiting"] == 1
        with pytest.raises(RecordError):
            writer.captures.counts()


def test_each_record_has_a_key_of_its_own_that_its_backups_share(store, database_file, tmp_path):
    store.database.back_up(tmp_path / "copy.sqlite")
    with (
        Store(f"sqlite:///{tmp_path}/copy.sqlite") as copy,
        Store(f"sqlite:///{tmp_path}/other.sqlite") as other,
        Store(f"sqlite:///{database_file}") as again,
    ):
        assert copy.database.key == again.database.key == store.database.key
        assert other.database.key != store.database.key
