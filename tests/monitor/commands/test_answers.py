"""What holds for every command: exit codes, the two outputs, help, narrow and missing terminals."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer

from monitor.__main__ import app
from tests.monitor.commands.calls import (
    BAD_CONFIG,
    DONE,
    FAILED,
    LIMIT_S,
    MISUSED,
    as_ordinary_user,
    call,
    command,
    spawn,
)


def every_command(group: Any, before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    words: list[tuple[str, ...]] = []
    for name, one in group.commands.items():
        below = every_command(one, (*before, name)) if getattr(one, "commands", None) else []
        words += below or [(*before, name)]
    return words


COMMANDS = every_command(typer.main.get_command(app))


def named(words: tuple[str, ...]) -> str:
    return " ".join(words)


# --- help ------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", COMMANDS, ids=named)
def test_every_help_has_an_example_as_a_paragraph_of_its_own(words):
    answer = call(*words, "--help")
    assert answer.code == DONE
    lines = [line.strip() for line in answer.out.splitlines()]
    examples = [
        place for place, line in enumerate(lines) if line.startswith("Example: colonywatch")
    ]
    assert len(examples) == 1, answer.out
    assert lines[examples[0]].startswith(f"Example: colonywatch {' '.join(words)}")
    assert lines[examples[0] - 1] == ""


@pytest.mark.parametrize("words", COMMANDS, ids=named)
def test_the_help_does_not_break_lines_where_the_code_does(words):
    lines = [line.strip() for line in call(*words, "--help").out.split("╭")[0].splitlines()]
    for line, following in pairwise(lines):
        if line and following:
            # A line ends only where the next word would not have fitted any more.
            assert len(line) + 1 + len(following.split()[0]) >= 77, line


def test_calling_nothing_shows_what_there_is_to_call():
    answer = call()
    assert answer.code == MISUSED
    for name in ("demo", "run", "process", "segment", "status", "history"):
        assert name in answer.out


# --- misuse ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nonsense"], "No such command"),
        (["status", "--nonsense"], "No such option"),
        (["process"], "Missing argument"),
        (["segment", "field.tif"], "Missing option"),
        (["history", "dish-07", "--format", "xml"], "'table', 'csv', 'json', 'png'"),
        (["demo", "--hours", "1"], "72"),
        (["demo", "--hours", "soon"], "--hours"),
        (["alerts", "ack", "first"], "ALERT"),
        (["alerts", "snooze", "1", "--hours", "-1"], "--hours"),
        (["alerts", "snooze", "1", "--hours", "nan"], "--hours"),
        (["segment", "field.tif", "--out", "result", "--pixel-size-um", "0"], "0.01"),
        (["simulate", "out", "--dishes", "0"], "--dishes"),
        (["removals", "export", "x", "--out", "y", "--format", "xml"], "--format"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_call_says_what_is_wrong_and_ends_with_2(words, said):
    answer = call(*words)
    assert answer.code == MISUSED
    assert answer.out == ""
    assert said in " ".join(answer.err.replace("│", " ").split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["history", "nobody"], "nobody: there is no dish of this name on record"),
        (["alerts", "ack", "99"], "99: there is no alert"),
        (["alerts", "snooze", "99"], "99: there is no alert"),
        (["alerts", "test", "--to", "somebody"], "somebody: is not a mail address"),
        (["removals", "show", "20990101-00000000"], "20990101-00000000"),
        (["removals", "approve", "20990101-00000000"], "20990101-00000000"),
        (["removals", "export", "20990101-00000000", "--out", "x.csv"], "20990101-00000000"),
        (["reprocess", "nobody"], "nobody: there is no dish of this name"),
        (["name-test", "a.tif", "--names", "nonsense"], "there is no name pattern 'nonsense'"),
        (["name-test", "a.tif", "--names", "(?P<dish>"], "is not a regular expression"),
        (["run"], "no source is configured"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_not_there_is_named_and_the_call_ends_with_2(words, said, tmp_path):
    answer = call(*words, "--state", tmp_path / "state", folder=tmp_path)
    assert (answer.code, answer.out) == (MISUSED, "")
    assert said in answer.err
    assert "Traceback" not in answer.err


def test_a_state_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "state").write_text("")
    answer = call("status", "--state", tmp_path / "state")
    assert answer.code == MISUSED
    assert "is a file; --state needs a folder" in answer.err


def test_a_state_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    answer = call("status", "--state", tmp_path / "file" / "state")
    assert answer.code == FAILED
    assert "cannot be created for the database" in answer.err


def test_a_state_folder_that_may_not_be_written_is_said(tmp_path):
    before = as_ordinary_user()
    if before is None:
        pytest.skip("setpriv is not installed: root may write everywhere")
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked").chmod(0o555)
    answer = spawn("status", "--state", tmp_path / "locked" / "state", before=before)
    assert answer.code == FAILED
    assert "Permission denied" in answer.err
    assert "--state DIR" in answer.err


# --- configuration ---------------------------------------------------------------------------

MANY_FAULTS = """
sources:
  - {name: "a b", path: captures, pixel_size_um: -1, timezone: Mars/Base, colour: red}
  - {path: captures}
decisions: {differentiation: {raise_above: 0.1, clear_below: 0.2}}
outlets: {email: {recipients: [nobody], port: 99999999}}
compute: {threads: 0}
bogus: 1
"""
FAULTY_KEYS = (
    "sources[0].name",
    "sources[0].pixel_size_um",
    "sources[0].timezone",
    "sources[0].colour",
    "sources[1].name",
    "decisions.differentiation",
    "outlets.email.recipients[0].address",
    "outlets.email.port",
    "compute.threads",
    "bogus",
)


@pytest.mark.parametrize(
    "words", [["check-config"], ["status"], ["run"], ["process", "."]], ids=lambda words: words[0]
)
def test_all_faults_of_a_configuration_come_at_once_with_78(words, tmp_path):
    path = tmp_path / "faulty.yaml"
    path.write_text(MANY_FAULTS)
    answer = call(*words, "--config", path, folder=tmp_path)
    assert (answer.code, answer.out) == (BAD_CONFIG, "")
    for key in FAULTY_KEYS:
        assert f"faulty.yaml: {key}: " in answer.err, key
    assert "allowed here: " in answer.err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"- a\n- b\n", "must be a mapping of sections"),
        (b"sources: [", "is not valid YAML"),
        (b"\xff\xfe\x00\x80", "is not UTF-8"),
        (b"record: {}\nrecord: {}\n", "is given twice"),
    ],
    ids=["a list", "broken", "binary", "a key twice"],
)
def test_a_file_that_is_no_configuration_ends_with_78(content, said, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    answer = call("check-config", "--config", path)
    assert (answer.code, answer.out) == (BAD_CONFIG, "")
    assert said in answer.err


def test_a_configuration_that_is_not_there_or_is_a_folder_ends_with_78(tmp_path):
    for path in (tmp_path, tmp_path / "missing.yaml"):
        answer = call("check-config", "--config", path)
        assert answer.code == BAD_CONFIG
        assert f"{path}: cannot be read" in answer.err


def test_a_configuration_that_may_not_be_read_ends_with_78(tmp_path):
    before = as_ordinary_user()
    if before is None:
        pytest.skip("setpriv is not installed: root may read everything")
    path = tmp_path / "config.yaml"
    path.write_text("")
    path.chmod(0)
    answer = spawn("check-config", "--config", path, before=before)
    assert answer.code == BAD_CONFIG
    assert "cannot be read (Permission denied)" in answer.err


def test_what_is_missing_on_the_machine_comes_with_what_is_wrong_in_the_file(tmp_path):
    path = tmp_path / "faulty.yaml"
    path.write_text(
        "sources: [{name: a, path: ., watch: often}]\n"
        "segmentation: {model: gone}\n"
        "outlets: {email: {server: h, port: 0, username: u, password_file: nowhere}}\n"
    )
    answer = call("check-config", "--config", path, folder=tmp_path)
    assert (answer.code, answer.out) == (BAD_CONFIG, "")
    for key in (
        "sources[0].watch", "outlets.email.port", "segmentation.model",
        "outlets.email.password_file", "outlets.email.recipients", "record.folder",
    ):  # fmt: skip
        assert answer.err.count(f"faulty.yaml: {key}: ") == 1, (key, answer.err)


@pytest.mark.parametrize(
    "together",
    [
        "decisions: {overrides: [{source: nobody, limits: {raise_above: 2}}]}",
        "unlisted: {names: auto}\nsources: [{name: a, path: in}, {name: a, path: in}]",
    ],
    ids=["overrides", "two sources of one name and folder"],
)
def test_what_sections_say_together_hides_nothing_that_is_missing_on_the_machine(
    together, tmp_path
):
    path = tmp_path / "faulty.yaml"
    sources = "" if "sources" in together else "sources: [{name: a, path: in}]\n"
    path.write_text(
        f"{sources}{together}\nsegmentation: {{model: gone}}\nrecord: {{folder: in/state}}\n"
        "compute: {threads: 0}\n"
    )
    answer = call("check-config", "--config", path, folder=tmp_path)
    assert answer.code == BAD_CONFIG
    for key in ("the file", "segmentation.model", "record.folder", "compute.threads"):
        assert f"faulty.yaml: {key}: " in answer.err, (key, answer.err)


def test_a_name_with_colons_is_shown_as_it_is(tmp_path):
    """Rich would draw a cross for `:x:`."""
    answer = call("history", "p:x:1", "--state", tmp_path / "state")
    assert "p:x:1" in answer.err


@pytest.mark.parametrize("words", [["run"], ["process", "."], ["status"]])
def test_nothing_runs_on_a_record_inside_a_source(words, tmp_path):
    """Its overlays would be taken for captures."""
    path = tmp_path / "config.yaml"
    path.write_text("sources: [{name: a, path: .}]")
    answer = call(*words, "--config", path, folder=tmp_path)
    assert (answer.code, answer.out) == (BAD_CONFIG, "")
    assert "record.folder: " in answer.err
    answer = call(*words, "--config", path, "--state", tmp_path / "trial", folder=tmp_path)
    assert answer.code == MISUSED
    assert "is inside a source's folder" in answer.err
    assert sorted(one.name for one in tmp_path.iterdir()) == ["config.yaml"]


def test_doctor_says_whose_silence_is_not_watched(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "config.yaml").write_text(
        "sources: [{name: a, path: in}, {name: b, path: in2, expected_interval_h: 4}]"
    )
    answer = call("doctor", "--json", folder=tmp_path)
    silent = [one for one in json.loads(answer.out) if "silence is not watched" in one["text"]]
    assert [(one["what"], one["ok"]) for one in silent] == [("source a", None)]
    assert "sources[0].expected_interval_h" in silent[0]["text"]


def test_an_empty_configuration_means_the_defaults(tmp_path):
    (tmp_path / "config.yaml").write_text("")
    answer = call("check-config", folder=tmp_path)
    assert answer.code == DONE
    assert "config.yaml: no problem found" in answer.out


def test_the_shown_example_is_a_good_configuration(tmp_path):
    shown = call("check-config", "--example")
    (tmp_path / "config.yaml").write_text(shown.out)
    assert call("check-config", folder=tmp_path).code == DONE


# --- --json ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["status", "--config", "missing.yaml"], BAD_CONFIG),
        (["segment", "missing.tif", "--out", "result"], FAILED),
        (["segment", "missing.tif"], MISUSED),
        (["process"], MISUSED),
        (["reprocess", "nobody", "--state", "state"], MISUSED),
        (["removals", "show", "20990101-00000000", "--state", "state"], MISUSED),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_call_with_json_that_fails_still_gives_one_document(words, code, tmp_path):
    answer = call(*words, "--json", folder=tmp_path)
    assert answer.code == code
    assert answer.document["exit_code"] == code
    assert answer.document["error"]
    assert answer.err


def test_json_keeps_warnings_off_standard_output(tmp_path):
    answer = call("name-test", "nonsense.tif", "--json", folder=tmp_path)
    assert answer.code == FAILED
    assert "the name fits no known pattern" in answer.document[0]["error"]


def test_doctor_gives_json_with_a_verdict_for_each_thing(tmp_path):
    (tmp_path / "config.yaml").write_text("sources: [{name: a, path: nowhere}]")
    answer = call("doctor", "--json", "--state", "state", folder=tmp_path)
    assert answer.code == FAILED  # the source's folder is not there
    bad = {one["what"]: one["text"] for one in answer.document if one["ok"] is False}
    assert list(bad) == ["source a"]
    assert "is not a folder" in bad["source a"]
    assert "model" in {one["what"] for one in answer.document if one["ok"] is True}


# --- names -----------------------------------------------------------------------------------


def test_a_name_shows_what_it_parses_to():
    answer = call("name-test", "dish-07_20261102T030000Z_f1.tif", "--json")
    assert answer.code == DONE
    assert answer.document[0]["dish"] == "dish-07"
    assert answer.document[0]["acquired_at"] == "2026-11-02T03:00:00+00:00"


def test_square_brackets_of_a_name_are_shown_as_they_are():
    assert "a[red]b.tif" in call("name-test", "a[red]b.tif").out


# --- outputs ---------------------------------------------------------------------------------


def terminal_output(words: list[str | Path], columns: int) -> str:
    """What a terminal so wide would get."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {name: text for name, text in os.environ.items() if name != "COLUMNS"}
    process = subprocess.Popen(
        command(*words),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={
            **environment,
            "TERM": "xterm",
            "NO_COLOR": "1",
            "PYTHONPATH": str(Path(__file__).parents[3]),
        },
    )
    os.close(theirs)
    text = b""
    while True:
        try:
            some = os.read(ours, 4096)
        except OSError as problem:
            if problem.errno != errno.EIO:  # what Linux says when the other side is closed
                raise
            break
        if not some:
            break
        text += some
    os.close(ours)
    assert process.wait(LIMIT_S) == DONE, text
    return re.sub(r"\x1b\[[0-9;]*m", "", text.decode())


@pytest.mark.parametrize("columns", [40, 80, 100])
def test_no_heading_and_no_status_is_cut_whatever_the_terminal(columns, state):
    text = terminal_output(["dishes", "--state", state], columns)
    for word in ("dish", "status", "scans", "differentiated", "confluence", "differentiating"):
        assert word in text, text
    assert "…" not in text
    assert max(len(line) for line in text.splitlines()) <= columns


def test_a_pipe_gets_each_dish_on_one_line(state):
    lines = call("dishes", "--state", state).out.splitlines()
    (line,) = [line for line in lines if "dish-07" in line]
    assert "differentiating" in line
    assert "2026-11-02 09:00" in line


def test_an_output_that_knows_only_ascii_is_no_fault(state):
    ascii_only = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    answer = spawn("dishes", "--state", state, environment=ascii_only)
    assert answer.code == DONE, answer.err
    assert answer.out.isascii()
    assert "dish-07" in answer.out


def test_a_closed_pipe_is_no_stack_trace(state):
    process = subprocess.Popen(
        command("history", "dish-07", "--format", "csv", "--state", state),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    process.wait(LIMIT_S)
    assert err == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_output_is_one_line_and_ends_with_1(state):
    with Path("/dev/full").open("w") as full:
        process = subprocess.run(
            command("status", "--json", "--state", state),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    assert process.returncode == FAILED
    assert "No space left on device" in process.stderr
    assert len(process.stderr.splitlines()) == 1


def test_a_record_inside_a_source_is_refused(tmp_path):
    """The daemon would take its own overlays for captures."""
    (tmp_path / "config.yaml").write_text(
        "sources: [{name: inc, path: scans}]\nrecord: {folder: scans/state}\n"
    )
    (tmp_path / "scans").mkdir()
    answer = call("run", "--config", tmp_path / "config.yaml")
    assert answer.code == BAD_CONFIG
    assert "record.folder" in answer.err
