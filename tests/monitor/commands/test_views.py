"""`status`, `dishes`, `history`, `alerts`, `removals`: what is on record, in every form."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sqlite3
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from monitor.commands.common import person
from monitor.culture import Doubt, DoubtReason
from monitor.errors import UsageError
from monitor.record.doubt_documents import doubt_document
from monitor.record.store import Store
from tests.monitor.commands.calls import DONE, FAILED, LIMIT_S, MISUSED, call, command, spawn
from tests.monitor.facts import add_message


def is_aware_utc(text: str) -> bool:
    return datetime.fromisoformat(text).tzinfo == UTC


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# --- status ----------------------------------------------------------------------------------


def test_status_gives_what_was_promised(state, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("sources: [{name: incubator, path: captures}]\n")
    answer = call("status", "--json", "--state", state, "--config", config)
    assert answer.code == DONE
    found = answer.document
    assert found["daemon"]["alive"] is False
    assert found["captures"] == {"recorded": 2, "unreadable": 0, "waiting": 0}
    (source,) = found["sources"]
    assert source["name"] == "incubator"
    assert source["path"] == str(tmp_path / "captures")
    assert source["watched_by"] in ("events", "polling")
    assert source["present"] is False
    assert (found["dishes"], found["alerts_open"], found["outbox_pending"]) == (1, 1, 0)


def test_status_of_nothing_is_all_zero_and_no_fault(tmp_path):
    found = call("status", "--json", "--state", tmp_path / "state", folder=tmp_path).document
    assert found["captures"] == {"recorded": 0, "unreadable": 0, "waiting": 0}
    assert (found["dishes"], found["alerts_open"], found["outbox_pending"]) == (0, 0, 0)
    assert found["sources"] == []


def test_status_in_words_says_how_to_start_the_daemon(state):
    answer = call("status", "--state", state)
    assert answer.code == DONE
    assert "daemon not running; start it with: colonywatch run" in answer.out
    assert "2 recorded, 0 waiting, 0 unreadable; 1 dish\n" in answer.out


# --- dishes and history ----------------------------------------------------------------------


def test_dishes_as_json_have_their_latest_reading(state):
    (dish,) = call("dishes", "--json", "--state", state).document
    assert (dish["dish"], dish["status"], dish["scans"]) == ("dish-07", "differentiating", 2)
    assert dish["last"]["at"] == "2026-11-02T09:00:00+00:00"


def test_no_dish_is_an_empty_list_in_json_and_a_hint_in_words(tmp_path):
    assert call("dishes", "--json", "--state", tmp_path).document == []
    words = call("dishes", "--state", tmp_path)
    assert words.out == ""
    assert "colonywatch process FOLDER" in words.err


def test_history_as_json_gives_what_was_promised(state):
    answer = call("history", "dish-07", "--format", "json", "--state", state)
    assert answer.code == DONE
    found = answer.document["readings"]
    assert [one["at"] for one in found] == [
        "2026-11-02T03:00:00+00:00",
        "2026-11-02T09:00:00+00:00",
    ]
    for one in found:
        assert is_aware_utc(one["at"])
        assert (one["dish"], one["captures"], one["pixel_size_um"]) == ("dish-07", 1, 2.0)
        areas = [
            one[f"{name}_um2"] for name in ("background", "undifferentiated", "differentiated")
        ]
        assert all(map(is_number, areas))
        assert sum(areas) == pytest.approx(256 * 256 * 4)
        cells = areas[1] + areas[2]
        assert one["differentiated_fraction"] == pytest.approx(areas[2] / cells)
        assert one["confluence"] == pytest.approx(cells / sum(areas))
        assert len(one["model_sha256"]) == 64
        assert one["look_at_it"] is (one["uncertainty"] >= 0.35)


def at_of(*words, state):
    readings = call("history", "dish-07", *words, "--format", "json", "--state", state).document[
        "readings"
    ]
    return [one["at"][:16] for one in readings]


def test_history_can_be_cut_to_a_time(state):
    """The scans are of 03:00 and 09:00."""
    last = ["2026-11-02T09:00"]
    assert at_of("--days", "0.2", state=state) == last
    assert at_of("--since", "2026-11-02 09:00", state=state) == last
    assert at_of("--since", "2026-11-02T12:30+09:00", state=state) == last
    assert len(at_of("--all", state=state)) == len(at_of("--days", "0.25", state=state)) == 2
    assert at_of("--since", "2026-11-03", state=state) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--since", "yesterday"], "--since yesterday: is not a time"),
        (["--since", "2026-11-02", "--all"], "one of --days, --since and --all"),
        (["--days", "0"], "--days"),
    ],
)
def test_history_refuses_a_time_that_is_none(words, said, state):
    answer = call("history", "dish-07", *words, "--state", state)
    assert answer.code == MISUSED
    assert said in answer.err


def test_history_as_json_tells_the_life_of_the_dish(state, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(state, copy)
    note = ["annotate", "dish-07", "medium <b>changed", "--at", "2026-11-02 05:00", "--who", "a"]
    assert call("dishes", *note, "--state", copy).code == DONE
    found = call("history", "dish-07", "--format", "json", "--state", copy).document
    assert found["annotations"] == [
        {"at": "2026-11-02T05:00:00+00:00", "text": "medium <b>changed", "who": "a"}
    ]
    assert (found["dish"], found["ended_at"], found["since"]) == ("dish-07", None, None)
    assert [one["dish"] for one in found["alerts"]] == ["dish-07"]
    end = ["end", "dish-07", "--at", "2026-11-02 10:00"]
    assert call("dishes", *end, "--state", copy).code == DONE
    found = call("history", "dish-07", "--format", "json", "--state", copy).document
    assert found["ended_at"] == "2026-11-02T10:00:00+00:00"


def test_the_table_tells_what_happened_between_the_scans(state, tmp_path):
    """Who reads a series wants to see beside it what was done to the cells."""
    copy = tmp_path / "copy"
    shutil.copytree(state, copy)
    note = ["annotate", "dish-07", "medium [b]changed", "--at", "2026-11-02 05:00", "--who", "a"]
    assert call("dishes", *note, "--state", copy).code == DONE
    passage = ["passage", "dish-07", "--to", "dish-90", "--at", "2026-11-02 10:00"]
    assert call("dishes", *passage, "--state", copy).code == DONE
    table = call("history", "dish-07", "--state", copy).out
    for text in ("“medium [b]changed” (a)", "alert raised", "passaged to dish-90"):
        assert text in table
    assert table.index("medium") < table.index("passaged to")
    assert "passaged from dish-07" in call("history", "dish-90", "--state", copy).out


def test_history_as_csv_says_the_same_as_json(state):
    rows = list(
        csv.DictReader(
            io.StringIO(call("history", "dish-07", "--format", "csv", "--state", state).out)
        )
    )
    found = call("history", "dish-07", "--format", "json", "--state", state).document["readings"]
    for row, one in zip(rows, found, strict=True):
        assert row["at"] == one["at"]
        assert float(row["differentiated_um2"]) == one["differentiated_um2"]


def test_history_as_csv_speaks_the_spreadsheets_tongue(state):
    """A point is no decimal mark everywhere; what the file is for can be said."""
    how = ("--format", "csv", "--separator", ";", "--decimal-mark", ",")
    table = call("history", "dish-07", *how, "--state", state).out
    rows = list(csv.DictReader(io.StringIO(table), delimiter=";"))
    found = call("history", "dish-07", "--format", "json", "--state", state).document["readings"]
    for row, one in zip(rows, found, strict=True):
        assert "." not in row["differentiated_um2"]
        assert float(row["differentiated_um2"].replace(",", ".")) == one["differentiated_um2"]
    wrong = call("history", "dish-07", "--decimal-mark", ",", "--state", state)
    assert wrong.code == MISUSED
    assert "--separator is one of" in wrong.err


def uncertain(state, *of_scans):
    """The network's uncertainty about each scan on record, whatever it was."""
    with sqlite3.connect(state / "colonywatch.sqlite") as database:
        for (row,), value in zip(
            database.execute("SELECT id FROM reading ORDER BY id").fetchall(), of_scans, strict=True
        ):
            database.execute("UPDATE reading SET uncertainty = ? WHERE id = ?", (value, row))


def test_history_as_a_table_has_a_line_a_scan(state):
    uncertain(state, 0.1, 0.1)
    answer = call("history", "dish-07", "--state", state)
    assert [line for line in answer.out.splitlines() if "2026-11-02 03:00" in line]
    assert [line for line in answer.out.splitlines() if "2026-11-02 09:00" in line]
    assert "look at it" not in answer.out


def test_history_points_at_what_the_network_was_unsure_about(state, tmp_path):
    copy = shutil.copytree(state, tmp_path / "copy")
    uncertain(copy, 0.5, 0.1)
    answer = call("history", "dish-07", "--state", copy)
    assert answer.out.count("unsure: look at it") == 1


def with_doubt(state, to, first, last=None):
    """A copy of the record in which the model has said this of the first and the last reading."""
    copy = shutil.copytree(state, to)
    with sqlite3.connect(copy / "colonywatch.sqlite") as database:
        for which, doubt in (("min", first), ("max", last)):
            database.execute(
                f"UPDATE reading SET doubt = ? WHERE id = (SELECT {which}(id) FROM reading)",
                (None if doubt is None else json.dumps(doubt_document(doubt)),),
            )
    return copy


SURE = Doubt((), (0.8, 0.985), "ips 4x", calibrated=True)
STRANGE = Doubt((DoubtReason.UNFAMILIAR, DoubtReason.UNCLEAR), (0.0316, 0.0849))


def test_history_and_dishes_as_json_say_how_far_a_reading_may_be_trusted(state, tmp_path):
    copy = with_doubt(state, tmp_path / "copy", SURE, STRANGE)
    found = call("history", "dish-07", "--format", "json", "--state", copy).document["readings"]
    wanted = "in_doubt", "doubts", "differentiated_interval", "interval_calibrated", "image_kind"
    assert [[one[name] for name in wanted] for one in found] == [
        [False, [], [0.8, 0.985], True, "ips 4x"],
        [True, ["unfamiliar", "unclear"], [0.0316, 0.0849], False, None],
    ]
    (dish,) = call("dishes", "--json", "--state", copy).document
    assert dish["last"] == found[-1]


def test_status_names_the_dishes_whose_last_scan_is_in_doubt(state, tmp_path):
    earlier = with_doubt(state, tmp_path / "earlier", STRANGE, SURE)
    assert call("status", "--json", "--state", earlier).document["dishes_in_doubt"] == []
    last = with_doubt(state, tmp_path / "last", SURE, STRANGE)
    why = ["unlike the images the model has learnt from", "cells cannot be told apart here"]
    found = call("status", "--json", "--state", last).document["dishes_in_doubt"]
    assert found == [{"dish": "dish-07", "doubts": why}]
    said = call("status", "--state", last).err
    assert f"dish-07: last scan in doubt: {', '.join(why)}\n" in said


def test_history_as_csv_has_the_interval_as_two_numbers(state, tmp_path):
    copy = with_doubt(state, tmp_path / "copy", SURE, STRANGE)
    answer = call("history", "dish-07", "--format", "csv", "--state", copy)
    first, last = csv.DictReader(io.StringIO(answer.out))
    wanted = "differentiated_low", "differentiated_high", "in_doubt", "interval_calibrated"
    assert [first[name] for name in wanted] == ["0.8", "0.9850", "False", "True"]
    assert [last[name] for name in wanted] == ["0.0316", "0.0849", "True", "False"]
    assert [one["doubts"] for one in (first, last)] == ["", "unfamiliar unclear"]


def test_history_and_dishes_in_words_say_interval_and_doubt(state, tmp_path):
    copy = with_doubt(state, tmp_path / "copy", SURE, STRANGE)
    first, last = [
        line
        for line in call("history", "dish-07", "--state", copy).out.splitlines()
        if "mm2" in line
    ]
    assert "80 to 99 %" in first
    assert "not calibrated" not in first
    assert "3.1 to 8.5 %, not calibrated" in last
    why = "unlike the images the model has learnt from, cells cannot be told apart here"
    assert why in last
    dishes = call("dishes", "--state", copy).out
    assert f"(in doubt: {why})" in dishes
    assert "3.1 to 8.5 %, not calibrated" in dishes


def test_of_a_model_that_cannot_tell_its_doubt_nothing_is_said(state, tmp_path):
    """Not that it is sure of itself: nobody knows. Hence no column, and null in JSON."""
    copy = with_doubt(state, tmp_path / "copy", None)
    for words in (["history", "dish-07"], ["dishes"]):
        text = call(*words, "--state", copy).out
        assert "interval" not in text
        assert "calibrated" not in text
        assert "doubt:" not in text
    for one in call("history", "dish-07", "--format", "json", "--state", copy).document["readings"]:
        assert one["in_doubt"] is one["differentiated_interval"] is one["image_kind"] is None
        assert one["interval_calibrated"] is None
        assert one["doubts"] == []


def test_an_image_out_of_focus_is_in_doubt_whatever_the_model_can_tell(state, tmp_path):
    copy = with_doubt(state, tmp_path / "copy", None)
    with sqlite3.connect(copy / "colonywatch.sqlite") as database:
        database.execute("UPDATE reading SET doubts = '[\"out-of-focus\"]'")
    found = call("history", "dish-07", "--format", "json", "--state", copy).document["readings"]
    assert [(one["in_doubt"], one["doubts"]) for one in found] == [(True, ["out-of-focus"])] * 2


def test_colonies_are_cut_to_the_same_time_as_the_table(state):
    """Growth of colonies of years ago is not what somebody who says --days 1 wants to see."""
    said = "since 2026-11-02 08:00 UTC"
    late = call("history", "dish-07", "--colonies", "--since", "2026-11-02 08:00", "--state", state)
    everything = call("history", "dish-07", "--colonies", "--all", "--state", state)
    assert said in late.err
    assert said not in everything.err
    assert "2026-11-02 03:00" in everything.out
    assert "2026-11-02 03:00" not in late.out
    assert "2026-11-02 09:00" in late.out


def test_history_as_a_picture_goes_into_a_pipe(state, tmp_path):
    target = tmp_path / "a1.png"
    assert (
        call("history", "dish-07", "--format", "png", "--out", target, "--state", state).code == 0
    )
    picture = cv2.imread(str(target))
    assert picture is not None
    assert min(picture.shape[:2]) > 200
    piped = call_bytes("history", "dish-07", "--format", "png", "--state", str(state))
    assert piped.startswith(b"\x89PNG")


def call_bytes(*words: str) -> bytes:
    return subprocess.run(
        command(*words), stdout=subprocess.PIPE, timeout=LIMIT_S, check=True
    ).stdout


@pytest.mark.parametrize("form", ["table", "csv", "json", "png"])
def test_history_goes_into_a_file_and_leaves_standard_output_empty(form, state, tmp_path):
    target = tmp_path / "new" / f"history.{form}"
    answer = call("history", "dish-07", "--format", form, "--out", target, "--state", state)
    assert (answer.code, answer.out) == (DONE, "")
    assert f"written to {target}" in answer.err
    content = target.read_bytes()
    assert {
        "table": lambda: "┃ differentiated ┃" in content.decode(),
        "csv": lambda: content.startswith(b"at,dish,captures,"),
        "json": lambda: len(json.loads(content)["readings"]) == 2,
        "png": lambda: content.startswith(b"\x89PNG"),
    }[form]()


def test_history_says_where_it_could_not_be_written(state, tmp_path):
    answer = call("history", "dish-07", "--format", "csv", "--out", tmp_path, "--state", state)
    assert answer.code == FAILED
    assert f"{tmp_path}: cannot be written" in answer.err


# --- alerts ----------------------------------------------------------------------------------


def test_alerts_as_json(state):
    (alert,) = call("alerts", "list", "--json", "--state", state).document
    assert (alert["dish"], alert["kind"]) == ("dish-07", "raised")
    assert isinstance(alert["id"], int)
    assert is_aware_utc(alert["created_at"])
    assert 0 <= alert["differentiated_fraction"] <= 1
    assert alert["acknowledged_at"] is None


def test_an_alert_is_acknowledged_and_rests(state):
    (alert,) = call("alerts", "list", "--json", "--state", state).document
    number = str(alert["id"])
    done = call("alerts", "ack", number, "--who", "Ada", "--note", "[cut] out", "--state", state)
    assert done.code == DONE
    assert "acknowledged by Ada" in done.err
    assert call("alerts", "snooze", number, "--hours", "2", "--state", state).code == DONE
    (after,) = call("alerts", "list", "--json", "--state", state).document
    assert (after["acknowledged_by"], after["note"]) == ("Ada", "[cut] out")
    assert is_aware_utc(after["snoozed_until"])
    table = call("alerts", "list", "--state", state).out
    assert "[cut] out" in table
    assert "snoozed until" in table


def test_a_test_alert_lands_in_the_mailbox_and_nowhere_else(state):
    answer = call("alerts", "test", "--to", "me@lab.example", "--state", state)
    assert answer.code == DONE
    # Mails of the processing lie there too; this one speaks of a made-up dish.
    mails = [path.read_text() for path in (state / "mailbox").glob("*.eml")]
    assert sum("To: me@lab.example" in mail for mail in mails) == 1
    assert [dish["dish"] for dish in call("dishes", "--json", "--state", state).document] == [
        "dish-07"
    ]


# --- removals --------------------------------------------------------------------------------


@pytest.fixture
def plan(state: Path) -> dict[str, Any]:
    """The plan of the newest scan, which waits for a yes."""
    plans = call("removals", "list", "--json", "--state", state).document
    drafts = [one for one in plans if one["status"] == "draft"]
    assert len(drafts) == 1, plans
    found: dict[str, Any] = drafts[0]
    return found


def test_removals_as_json_give_what_was_promised(plan):
    assert isinstance(plan["id"], str)
    assert plan["dish"] == "dish-07"
    assert is_aware_utc(plan["created_at"])
    assert is_aware_utc(plan["expires_at"])
    assert plan["created_at"] < plan["expires_at"]
    assert isinstance(plan["targets"], int)
    assert plan["targets"] >= 1
    assert is_number(plan["area_um2"])
    assert plan["area_um2"] > 0


def test_no_plan_is_an_empty_list(tmp_path):
    assert call("removals", "list", "--json", "--state", tmp_path).document == []


def test_a_plan_is_shown_in_words_and_as_json(plan, state):
    words = call("removals", "show", plan["id"], "--state", state)
    assert words.code == DONE
    assert f"plan {plan['id']} of dish-07" in words.out
    shown = call("removals", "show", plan["id"], "--json", "--state", state).document
    assert isinstance(shown, dict)


def test_a_plan_that_nobody_approved_is_not_exported(plan, state, tmp_path):
    target = tmp_path / "picks.csv"
    answer = call("removals", "export", plan["id"], "--out", target, "--state", state)
    assert answer.code == MISUSED
    assert f"colonywatch removals approve {plan['id']}" in answer.err
    assert not target.exists()


def test_an_approved_plan_reaches_the_picker_and_a_file_of_ones_own(plan, state, tmp_path):
    before = {path.name for path in (state / "removal").glob("*")}
    approved = call("removals", "approve", plan["id"], "--who", "Ada", "--state", state)
    assert approved.code == DONE, approved.err
    assert f"plan {plan['id']} of dish-07 approved by Ada" in approved.err
    assert {path.name for path in (state / "removal").glob("*")} - before
    target = tmp_path / "picks.json"
    answer = call(
        "removals", "export", plan["id"], "--format", "json", "--out", target, "--state", state
    )
    assert answer.code == DONE, answer.err
    json.loads(target.read_text())
    assert call("removals", "done", plan["id"], "--state", state).code == DONE
    again = call("removals", "approve", plan["id"], "--state", state)
    assert again.code != DONE
    assert plan["id"] in again.err


def test_a_rejected_plan_stays_away_from_the_picker(plan, state):
    answer = call("removals", "reject", plan["id"], "--note", "dead cells", "--state", state)
    assert answer.code == DONE
    assert call("removals", "approve", plan["id"], "--state", state).code != DONE


# --- upkeep ----------------------------------------------------------------------------------


def test_a_backup_can_be_used_as_a_record(state, tmp_path):
    copy = tmp_path / "copy" / "colonywatch.sqlite"
    assert call("backup", copy, "--state", state).code == DONE
    assert call("dishes", "--json", "--state", copy.parent).document[0]["dish"] == "dish-07"


def test_a_backup_that_cannot_be_written_is_said(state, tmp_path):
    (tmp_path / "file").write_text("")
    answer = call("backup", tmp_path / "file" / "copy.sqlite", "--state", state)
    assert answer.code == FAILED
    assert "the backup failed" in answer.err


def test_retry_says_what_is_due(state):
    found = call("retry", "--json", "--state", state).document
    assert found == {"captures": 0, "messages": 0, "daemon_alive": False}


def test_simulate_writes_captures_with_their_truth_beside_them(tmp_path):
    answer = call("simulate", tmp_path / "out", "--dishes", "1", "--hours", "0")
    assert answer.code == DONE, answer.err
    (capture,) = (tmp_path / "out").rglob("*.ome.tif")
    (truth,) = (tmp_path / "out-truth").rglob("*.png")
    labels = cv2.imread(str(truth), cv2.IMREAD_UNCHANGED)
    assert set(np.unique(labels)) <= {0, 1, 2, 255}
    assert capture.name.split(".")[0] == truth.stem


def test_simulate_refuses_a_time_that_is_none(tmp_path):
    answer = call("simulate", tmp_path / "out", "--start", "yesterday")
    assert answer.code == MISUSED
    assert "yesterday: is not a time" in answer.err


# --- models ----------------------------------------------------------------------------------


def test_the_model_of_the_record_is_the_one_that_models_lists(state):
    (starter,) = call("models", "list", "--json").document
    reading = call("history", "dish-07", "--format", "json", "--state", state).document["readings"][
        0
    ]
    assert reading["model_sha256"] == starter["sha256"]


def test_a_model_that_is_whole_is_verified():
    assert call("models", "verify").code == DONE


def test_the_card_of_the_model_is_shown():
    assert "#" in call("models", "show").out


def test_the_command_runs_as_a_module_and_tells_its_version():
    answer = spawn("--version")
    assert answer.code == DONE
    assert answer.out.strip()


# --- what was sent ---------------------------------------------------------------------------


def test_the_log_says_what_went_where_and_what_waits_and_why(tmp_path):
    now = datetime(2026, 11, 3, 9, tzinfo=UTC)
    with Store(f"sqlite:///{tmp_path / 'colonywatch.sqlite'}") as store:
        for subject in ("1", "2", "3", "digest:2026-11-03T08:00:00+00:00"):
            add_message(store, "email", subject, "a@lab.org", now)
            store.outbox.take_due(now)
        store.outbox.delivered(1, "a@lab.org through mail:587", now)
        store.outbox.failed(2, "mail:587: 550 nobody [here]", now, permanent=True)
        store.outbox.failed(3, "mail:587: no answer in time", now, permanent=False)
    answer = call("alerts", "log", "--json", "--state", tmp_path)
    states = {one["id"]: one["state"] for one in answer.document}
    assert states == {1: "delivered", 2: "given up", 3: "waiting", 4: "waiting"}
    assert [one["id"] for one in answer.document] == [4, 3, 2, 1]
    assert is_aware_utc(answer.document[1]["next_try_at"])
    table = call("alerts", "log", "--state", tmp_path).out
    for text in (
        "550 nobody [here]",
        "no answer in time",
        "daily digest",
        "a@lab.org through",
    ):
        assert text in table
    assert "digest" not in call("alerts", "log", "--limit", "0", "--state", tmp_path).out


def test_a_record_from_which_nothing_was_sent_says_so(tmp_path):
    answer = call("alerts", "log", "--state", tmp_path / "new")
    assert (answer.code, answer.out) == (DONE, "")
    assert "nothing has been sent" in answer.err
    assert call("alerts", "log", "--json", "--state", tmp_path / "new").document == []


def test_an_account_without_a_name_is_asked_who_it_is(monkeypatch):
    """As in a container that runs under a number."""

    def nobody():
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert person(" A.  Person ") == "A. Person"
    for who in (None, " "):
        with pytest.raises(UsageError, match="--who NAME"):
            person(who)


def test_status_tells_what_is_mounted_in_a_source_and_how_it_is_watched(tmp_path):
    source = tmp_path / "captures"
    (source / "disk").mkdir(parents=True)
    (source / "again").mkdir()
    (source / "plate").mkdir()
    (tmp_path / "config.yaml").write_text("sources: [{name: incubator, path: captures}]")
    for words in (
        ["-t", "tmpfs", "tmpfs", source / "disk"],
        ["--bind", source / "plate", source / "again"],
    ):
        made = subprocess.run(["mount", *map(str, words)], check=False, capture_output=True)
        if made.returncode != 0:
            pytest.skip("this account may not mount")
    try:
        answer = call("status", "--state", tmp_path / "state", folder=tmp_path)
        document = call("status", "--json", "--state", tmp_path / "state", folder=tmp_path).document
    finally:
        for name in ("disk", "again"):
            subprocess.run(["umount", "-l", str(source / name)], check=True)
    (told,) = document["sources"]
    assert [(Path(one["path"]).name, one["watched_by"]) for one in told["mounts_below"]] == [
        ("again", "not"),
        ("disk", "events"),
    ]
    assert f"incubator: {source}/disk is a mount in it (tmpfs), watched by events" in answer.err
    assert "is a mount in it, and left out: it repeats what is in" in answer.err
