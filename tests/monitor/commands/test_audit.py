"""The audit trail as a person or an auditor meets it."""

from __future__ import annotations

import getpass
import json
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from monitor.record import audit
from monitor.record.store import Store
from tests.monitor.commands.calls import DONE, FAILED, MISUSED, call
from tests.monitor.facts import NOW


@pytest.fixture
def state(fresh_database, tmp_path) -> Path:
    """Of a lab with three entries, one of which a spreadsheet would take for a formula."""
    folder = tmp_path / "state"
    folder.mkdir()
    shutil.copy(fresh_database, folder / "colonywatch.sqlite")
    with Store(f"sqlite:///{folder / 'colonywatch.sqlite'}") as store:
        tell(store, "dish ended", "=HYPERLINK(evil)", after={"ended_at": "2026-11-03"})
        tell(store, "dish renamed", "d2", before="d1", after="d2")
        tell(store, "alert acknowledged", "7", why="seen;=1+1\nand -2")
    return folder


def tell(store, what, about, **more):
    store.audit.tell(now=NOW, who="mika", what=what, about=about, **more)


def meddle(state: Path, *statements: str) -> None:
    """As somebody does who can write the file."""
    with closing(sqlite3.connect(state / "colonywatch.sqlite")) as connection, connection:
        for trigger in audit.TRIGGERS["sqlite"]:
            connection.execute(f"DROP TRIGGER {trigger}")
        for statement in statements:
            connection.execute(statement)
        for statement in audit.protection("sqlite"):
            connection.execute(statement)


def exported(state: Path, folder: Path) -> Path:
    target = folder / "trail.csv"
    assert call("audit", "export", target, "--state", state).code == DONE
    return target


def test_the_list_tells_who_did_what_and_why(state):
    told = call("audit", "list", "--state", state, "--json").document["entries"]
    assert [(one["who"], one["what"], one["before"], one["after"]) for one in told] == [
        ("mika", "dish ended", None, {"ended_at": "2026-11-03"}),
        ("mika", "dish renamed", "d1", "d2"),
        ("mika", "alert acknowledged", None, None),
    ]
    answer = call("audit", "list", "--about", "d2", "--state", state)
    assert "dish renamed" in answer.out
    assert "dish ended" not in answer.out


def test_a_whole_trail_is_said_to_be_whole(state):
    answer = call("audit", "verify", "--state", state)
    assert (answer.code, "3 entries, the chain is whole" in answer.err) == (DONE, True)


def test_an_edit_is_found_and_named(state):
    meddle(state, "UPDATE audit SET who = 'nobody' WHERE number = 2")
    answer = call("audit", "verify", "--state", state, "--json")
    assert answer.code == FAILED
    assert answer.document["whole"] is False
    assert answer.document["problems"] == ["entry 2: was changed after it was written"]


def test_a_missing_end_is_found_by_the_head_that_was_noted_when_it_was_last_looked_at(state):
    assert call("audit", "verify", "--state", state).code == DONE
    meddle(state, "DELETE FROM audit WHERE number = 3")
    for _ in range(2):  # a failed look notes nothing
        answer = call("audit", "verify", "--state", state)
        assert answer.code == FAILED
        assert "ends with entry 2, but had 3" in answer.err


def test_a_missing_end_is_found_by_an_earlier_export(state, tmp_path):
    """Also where what was noted beside the record was removed with it."""
    kept = exported(state, tmp_path)
    meddle(state, "DELETE FROM audit WHERE number = 3")
    (state / "audit-head.json").unlink()
    assert call("audit", "verify", "--state", state).code == DONE  # nothing tells of it
    answer = call("audit", "verify", "--kept", kept, "--state", state)
    assert (answer.code, "1 are missing at its end" in answer.err) == (FAILED, True)


def test_a_head_that_cannot_be_read_is_no_reason_to_trust_the_trail(state):
    (state / "audit-head.json").write_text("{}")
    answer = call("audit", "verify", "--state", state)
    assert (answer.code, "audit-head.json" in answer.err) == (FAILED, True)


def test_an_export_is_checked_without_the_record(state, tmp_path):
    file = exported(state, tmp_path / "elsewhere")
    key = shutil.copy(state / "audit-key.pub.pem", tmp_path / "key.pem")
    answer = call("audit", "check", file, "--key", key, "--json")
    assert (answer.code, answer.document["entries"]) == (DONE, 3)
    assert (state / "audit-key.pem").stat().st_mode & 0o077 == 0


def test_no_cell_of_an_export_is_a_formula(state, tmp_path):
    for line in exported(state, tmp_path).read_text().splitlines()[1:]:
        for cell in line.replace(";", ",").split(","):
            assert not cell.lstrip('" ').startswith(("=", "+", "-", "@")), line


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("mika", "nobody", "was changed since it was signed"),
        ("mika", "nobody", "its columns say something else than what was hashed"),
        ("dish renamed", "dish removed", "entry 2: was changed after it was written"),
    ],
)
def test_a_change_of_an_export_is_found(state, tmp_path, old, new, says):
    file = exported(state, tmp_path)
    text = file.read_text()
    count = 1 if "columns" in says else -1
    file.write_text(text.replace(old, new, count))
    answer = call("audit", "check", file, "--state", state)
    assert answer.code == FAILED
    assert says in answer.err


def test_an_export_that_somebody_else_signed_is_found(state, tmp_path):
    file = exported(state, tmp_path)
    (state / "audit-key.pem").unlink()
    exported(state, tmp_path / "other")
    answer = call("audit", "check", file, "--state", state)
    assert (answer.code, "signed with another key" in answer.err) == (FAILED, True)


def test_openssl_finds_the_signature_right(state, tmp_path):
    """So that nobody has to believe this program."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    file = exported(state, tmp_path)
    words = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", state / "audit-key.pub.pem",
             "-rawin", "-in", file, "-sigfile", f"{file}.sig"]  # fmt: skip
    assert subprocess.run(words, capture_output=True, check=False).returncode == 0
    file.write_text(file.read_text() + "\n")
    assert subprocess.run(words, capture_output=True, check=False).returncode != 0


def test_an_export_into_a_folder_has_a_name_of_its_own(state, tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    document = call("audit", "export", folder, "--state", state, "--json").document
    assert sorted(map(str, folder.iterdir())) == [document["file"], document["signature"]]


def test_an_export_that_cannot_be_written_leaves_the_former_one_as_it_was(state, tmp_path):
    file = exported(state, tmp_path)
    former = file.read_bytes()
    signature = file.with_name(f"{file.name}.sig")
    signature.unlink()
    signature.mkdir()  # in the way
    with Store(f"sqlite:///{state / 'colonywatch.sqlite'}") as store:
        tell(store, "dish ended", "d3")
    answer = call("audit", "export", file, "--state", state)
    assert (answer.code, "cannot be written" in answer.err) == (FAILED, True)
    assert file.read_bytes() == former
    assert {one.name for one in tmp_path.iterdir()} == {"state", file.name, signature.name}


def test_a_head_that_an_export_kept_is_looked_for(state, tmp_path):
    exported(state, tmp_path)
    meddle(state, "DELETE FROM audit WHERE number = 3")
    assert call("audit", "verify", "--state", state).code == FAILED


BAD = {
    "no such file": (lambda folder: folder / "missing.csv", "cannot be read"),
    "no signature": (lambda folder: write(folder / "a.csv", "number,at"), "signature has to lie"),
    "no export": (lambda folder: write(folder / "a.csv", "a,b\n", signed=True), "no export of an"),
    "nested too deep": (
        lambda folder: write(
            folder / "a.csv",
            "number,at,who,what,about,why,before,after,content,hash\n,,,,,,,,"
            + "[" * 10_000
            + ",x",
            signed=True,
        ),
        "no export of an",
    ),
}


def write(path: Path, text: str, *, signed: bool = False) -> Path:
    path.write_text(text)
    if signed:
        path.with_name(f"{path.name}.sig").write_bytes(b"x" * 64)
    return path


@pytest.mark.parametrize(("make", "says"), BAD.values(), ids=list(BAD))
def test_what_is_no_export_is_one_clear_error(state, tmp_path, make, says):
    exported(state, tmp_path)
    answer = call("audit", "check", make(tmp_path), "--state", state)
    assert (answer.code, says in answer.err) == (MISUSED, True), answer.err


def test_a_key_of_another_kind_is_refused(state, tmp_path):
    file = exported(state, tmp_path)
    answer = call("audit", "check", file, "--key", write(tmp_path / "key.pem", "no key"))
    assert (answer.code, "is no public Ed25519 key" in answer.err) == (MISUSED, True)


def test_a_restored_backup_says_which_entries_it_lost_and_is_whole(state, tmp_path):
    backup = tmp_path / "backup.sqlite"
    assert call("backup", backup, "--state", state).code == DONE
    with Store(f"sqlite:///{state / 'colonywatch.sqlite'}") as store:
        tell(store, "dish ended", "d3")
    assert call("audit", "verify", "--state", state).code == DONE
    kept = exported(state, tmp_path)
    assert call("restore", backup, "--state", state).code == DONE
    assert call("audit", "verify", "--state", state).code == DONE
    last = call("audit", "list", "--newest", "1", "--state", state, "--json").document["entries"][0]
    assert (last["what"], last["before"]["newest_entry"]) == ("record restored", 4)
    assert last["who"] == getpass.getuser()
    answer = call("audit", "verify", "--kept", kept, "--state", state)
    assert (answer.code, "another one stood there" in answer.err) == (FAILED, True)
    assert json.loads((state / "audit-head.json").read_text())["number"] == 4
