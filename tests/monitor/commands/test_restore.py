"""`restore`: what is refused, what is lost and said, and what the picker has afterwards."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from monitor.config import Config, RecordConfig
from monitor.culture import PlanStatus
from monitor.host.clock import utc_now
from monitor.jobs.deliver import deliver_due
from monitor.jobs.stray_plans import withdraw_strays
from monitor.jobs.withdrawal import take_back_from
from monitor.record.in_place import leave_note
from monitor.record.store import Store
from tests.monitor.commands.calls import BAD_CONFIG, DONE, FAILED, call
from tests.monitor.facts import hours, removal_plan, take
from tests.monitor.jobs.test_picker_queue import with_plan

KNOWN, LATER = "20261103-00000001", "20261104-0000000a"


@pytest.fixture
def state(tmp_path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


def opened(state: Path) -> Store:
    config = Config(record=RecordConfig(folder=state))
    return Store(config.record.database_url, take_back=take_back_from(config))


def plan(store: Store, plan_id: str, *, handed_out: bool, dish: str = "dish-1") -> None:
    now = utc_now()
    made = removal_plan(plan_id, created_at=now, expires_at=now + hours(12))
    with_plan(store, plan_id, plan=made, approved=False, dish=dish)
    if handed_out:
        store.plans.approve(plan_id, who="Ada", now=now)
        config = Config(record=RecordConfig(folder=Path(store.database.file).parent))
        deliver_due(store, config, utc_now, stopping=lambda: False)


def backup(state: Path, target: Path) -> Path:
    assert call("backup", target, "--state", state).code == DONE
    return target


def in_picker(state: Path) -> set[str]:
    folder = state / "removal"
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def statuses(state: Path) -> dict[str, str]:
    with opened(state) as store:
        return {one.id: str(one.status) for one in store.plans.all()}


def test_a_backup_is_the_record_again_and_the_former_one_is_kept(state, tmp_path):
    with opened(state) as store:
        take(store, "/in/a.tif")
    copy = backup(state, tmp_path / "copy.sqlite")
    with opened(state) as store:
        take(store, "/in/b.tif")
        take(store, "/in/c.tif")
    looked = call("restore", copy, "--dry-run", "--state", state)
    assert (
        looked.code == DONE and "2 captures" in looked.err and "nothing was changed" in looked.err
    )
    answer = call("restore", copy, "--json", "--state", state)
    assert answer.code == DONE, answer.err
    assert answer.document["lost"] == {"captures": 2}
    assert answer.document["same_record"] is True
    assert call("status", "--json", "--state", state).document["captures"]["waiting"] == 1
    with closing(sqlite3.connect(answer.document["former_kept_as"])) as former:
        assert former.execute("SELECT count(*) FROM capture").fetchone() == (3,)
    again = call("restore", copy, "--dry-run", "--json", "--state", state).document
    assert (again["restored"], again["lost"]) == (False, {})
    left = {path.name for path in state.iterdir()} - {"removal", "withdrawn", "audit-head.json"}
    assert left == {"colonywatch.sqlite", Path(answer.document["former_kept_as"]).name}
    assert copy.exists()


def not_there(path: Path, good: Path) -> None:
    del path, good


def no_database(path: Path, good: Path) -> None:
    del good
    path.write_text("this is no database at all, but long enough to look like one " * 50)


def empty(path: Path, good: Path) -> None:
    del good
    path.touch()


def cut_off(path: Path, good: Path) -> None:
    path.write_bytes(good.read_bytes()[: good.stat().st_size // 2])


def damaged(path: Path, good: Path) -> None:
    content = bytearray(good.read_bytes())
    content[12_000:90_000] = b"\xff" * 78_000
    path.write_bytes(content)


def of_another_program(path: Path, good: Path) -> None:
    del good
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE notes (text TEXT)")
        connection.commit()


def of_a_newer_version(path: Path, good: Path) -> None:
    shutil.copy(good, path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9.9.9'")
        connection.commit()


def a_folder(path: Path, good: Path) -> None:
    del good
    path.mkdir()


REFUSED = {
    not_there: "there is no such file",
    a_folder: "there is no such file",
    no_database: "is damaged",
    empty: "is not a colonywatch record",
    cut_off: "is damaged",
    damaged: "is damaged",
    of_another_program: "is not a colonywatch record",
    of_a_newer_version: "revision 9.9.9",
}


@pytest.mark.parametrize("make", REFUSED, ids=lambda make: make.__name__)
def test_what_is_no_sound_backup_is_refused_and_nothing_is_changed(state, tmp_path, make):
    with opened(state) as store:
        for number in range(50):
            take(store, f"/in/{number}.tif")
    good = backup(state, tmp_path / "good.sqlite")
    path = tmp_path / "given.sqlite"
    make(path, good)
    answer = call("restore", path, "--state", state)
    assert answer.code == FAILED
    assert REFUSED[make] in answer.err and str(path) in answer.err
    assert "Traceback" not in answer.err
    assert [one.name for one in state.iterdir()] == ["colonywatch.sqlite"]
    assert call("status", "--json", "--state", state).document["captures"]["waiting"] == 50


def test_the_record_is_no_backup_of_itself(state):
    opened(state).close()
    answer = call("restore", state / "colonywatch.sqlite", "--state", state)
    assert answer.code == FAILED and "is the record itself" in answer.err


@pytest.mark.parametrize("kind", ["daemon", "process", "reprocess"])
def test_it_is_refused_while_somebody_is_at_work_on_the_record(state, tmp_path, kind):
    with opened(state) as store:
        copy = backup(state, tmp_path / "copy.sqlite")
        take(store, "/in/a.tif")
        owner = store.processes.begin(kind, utc_now())
        answer = call("restore", copy, "--state", state)
        assert answer.code == FAILED
        assert f"a {kind} (pid " in answer.err and "stop it first" in answer.err
        assert store.captures.counts()["waiting"] == 1
        store.processes.end(owner)
    assert call("restore", copy, "--state", state).code == DONE


def test_a_database_server_has_a_way_of_its_own(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text('record: {database: "postgresql+psycopg://lab@db/colonies"}')
    answer = call("restore", tmp_path / "copy.sqlite", "--config", config)
    assert answer.code == FAILED and "server's own pg_restore" in answer.err
    config.write_text("record: {database: 7}")
    assert call("restore", tmp_path / "copy.sqlite", "--config", config).code == BAD_CONFIG


def test_a_deleted_state_folder_is_made_anew(state, tmp_path):
    with opened(state) as store:
        take(store, "/in/a.tif")
    copy = backup(state, tmp_path / "copy.sqlite")
    shutil.rmtree(state)
    leave_note(state / "colonywatch.sqlite", "the record is gone")  # as a daemon that waits does
    answer = call("restore", copy, "--state", state)
    assert answer.code == DONE
    assert "there is no present record" in answer.err
    left = {one.name for one in state.iterdir()}
    assert left == {"colonywatch.sqlite", "audit-head.json"}
    assert call("status", "--json", "--state", state).document["captures"]["waiting"] == 1


def test_a_damaged_record_is_replaced_and_kept(state, tmp_path):
    with opened(state) as store:
        take(store, "/in/a.tif")
    copy = backup(state, tmp_path / "copy.sqlite")
    (state / "colonywatch.sqlite").write_bytes(b"\xff" * 100_000)
    answer = call("restore", copy, "--json", "--state", state)
    assert answer.code == DONE, answer.err
    assert Path(answer.document["former_kept_as"]).read_bytes() == b"\xff" * 100_000
    assert call("status", "--json", "--state", state).document["captures"]["waiting"] == 1


def test_a_copy_made_by_hand_with_its_log_beside_it_is_whole(state, tmp_path):
    with opened(state) as store:
        take(store, "/in/a.tif")
        for name in ("", "-wal"):
            shutil.copy(state / f"colonywatch.sqlite{name}", tmp_path / f"by-hand.sqlite{name}")
    assert (tmp_path / "by-hand.sqlite-wal").stat().st_size
    assert call("restore", tmp_path / "by-hand.sqlite", "--state", state).code == DONE
    assert call("status", "--json", "--state", state).document["captures"]["waiting"] == 1


def test_a_record_that_knows_nothing_of_this_one_takes_its_place_with_a_word(state, tmp_path):
    """A daemon that was started again after its folder was deleted has made an empty one."""
    with opened(state) as store:
        take(store, "/in/a.tif")
    copy = backup(state, tmp_path / "copy.sqlite")
    shutil.rmtree(state)
    state.mkdir()
    opened(state).close()
    answer = call("restore", copy, "--state", state)
    assert answer.code == DONE and "a backup of a different record" in answer.err


# --- plans ----------------------------------------------------------------------------------------


def test_a_plan_that_the_restored_record_does_not_know_is_withdrawn_and_said(state, tmp_path):
    """It stayed with the picker, and the next scan planned the same regions once more."""
    with opened(state) as store:
        plan(store, KNOWN, handed_out=True)
    copy = backup(state, tmp_path / "copy.sqlite")
    with opened(state) as store:
        plan(store, LATER, handed_out=True, dish="dish-2")
    assert any(LATER in name for name in in_picker(state))
    answer = call("restore", copy, "--state", state, "--json")
    assert answer.code == DONE, answer.err
    ((stray),) = answer.document["withdrawn_plans"]
    assert (stray["plan"], stray["why"]) == (LATER, "the record knows no such plan")
    assert f"removal plan {LATER}: withdrawn from the picker's folder" in answer.err
    assert not any(LATER in name for name in in_picker(state))
    kept = {path.name for path in Path(stray["kept_in"]).iterdir()}
    assert any(name.endswith(".csv") for name in kept)
    # What was out then and is out now is the same plan still.
    assert any(KNOWN in name for name in in_picker(state))
    assert statuses(state) == {KNOWN: "exported"}


@pytest.mark.parametrize("then", ["draft", "approved"])
def test_a_plan_that_went_to_the_picker_after_the_backup_does_not_go_there_again(
    state, tmp_path, then
):
    with opened(state) as store:
        plan(store, KNOWN, handed_out=False)
        if then == "approved":
            store.plans.approve(KNOWN, who="Ada", now=utc_now())
    copy = backup(state, tmp_path / "copy.sqlite")
    config = Config(record=RecordConfig(folder=state))
    with opened(state) as store:
        if then == "draft":
            store.plans.approve(KNOWN, who="Ada", now=utc_now())
        deliver_due(store, config, utc_now, stopping=lambda: False)
        assert store.plans.plan(KNOWN).status is PlanStatus.EXPORTED
    assert call("restore", copy, "--state", state).code == DONE
    with opened(state) as store:
        deliver_due(store, config, utc_now, stopping=lambda: False)
    assert statuses(state) == {KNOWN: "superseded"}
    assert not any(KNOWN in name for name in in_picker(state))


def test_a_plan_that_was_carried_out_after_the_backup_is_not_out_again(state, tmp_path):
    with opened(state) as store:
        plan(store, KNOWN, handed_out=True)
    copy = backup(state, tmp_path / "copy.sqlite")
    assert call("removals", "done", KNOWN, "--who", "Ada", "--state", state).code == DONE
    assert in_picker(state) == set()
    assert call("restore", copy, "--state", state).code == DONE
    assert statuses(state) == {KNOWN: "superseded"}
    assert in_picker(state) == set()


def test_what_a_rule_would_approve_of_a_scan_before_the_restore_a_person_looks_at(state, tmp_path):
    """Its regions may have been removed, which the restored record has forgotten."""
    opened(state).close()
    copy = backup(state, tmp_path / "copy.sqlite")
    assert call("restore", copy, "--state", state).code == DONE
    with opened(state) as store:
        now = utc_now()
        by_rule = removal_plan(
            LATER, created_at=now, expires_at=now + hours(12), status=PlanStatus.APPROVED
        )
        with_plan(store, LATER, plan=by_rule, approved=False)
        (event,) = store.plans.events(LATER)
    assert statuses(state) == {LATER: "draft"}
    assert "restored from a backup" in (event.note or "")


def test_by_hand_or_by_command_a_daemon_withdraws_what_its_record_does_not_know(state):
    """A backup that was only copied over the record."""
    folder = state / "removal"
    folder.mkdir()
    ours = [f"dish-2_{LATER}{ending}" for ending in (".sha256", ".csv", ".json", ".useq.yaml")]
    ours.append(f"dish-2_{LATER}.{'a' * 12}.roi.zip")
    others = ["notes.csv", f"{LATER}.csv", f"dish-2_{LATER}.docx", "dish_20261103.csv", ".hidden"]
    for name in (*ours, *others):
        (folder / name).write_text(name)
    config = Config(record=RecordConfig(folder=state))
    with opened(state) as store:
        plan(store, KNOWN, handed_out=True)
        known = {name for name in in_picker(state) if KNOWN in name}
        (stray,) = withdraw_strays(store, config, utc_now())
        assert withdraw_strays(store, config, utc_now()) == []
    assert (stray.plan_id, set(stray.files)) == (LATER, set(ours))
    assert stray.files[0].endswith(".sha256")
    assert in_picker(state) == {*others, *known}
    assert {path.name for path in stray.kept_in.iterdir()} == set(ours)
