"""`users`: accounts made where the machine is, without a password in any command."""

from __future__ import annotations

import io
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.monitor.commands.calls import DONE, MISUSED, Answer, call, command

SECRET = "four quiet blue cells"


@pytest.fixture
def state(fresh_database, tmp_path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    shutil.copy(fresh_database, folder / "colonywatch.sqlite")
    return folder


@pytest.fixture
def users(state, monkeypatch):
    def run(*words: str, given: str = "") -> Answer:
        monkeypatch.setattr(sys, "stdin", io.StringIO(given))
        return call("users", *words, "--state", state)

    return run


def test_accounts_are_made_listed_changed_and_disabled(users):
    made = users("add", "Ada", "--role", "admin", "--password-stdin", given=f"{SECRET}\n")
    assert made.code == DONE, made.err
    assert "asks everybody to sign in" in made.err
    assert users("add", "Bob", "--no-password").code == DONE
    assert users("role", "bob", "operator").code == DONE
    assert users("passwd", "Bob", "--password-stdin", given=SECRET).code == DONE
    assert "0 sessions ended" in users("sign-out", "Bob").err
    assert users("disable", "Bob").code == DONE
    ada, bob = users("list", "--json").document
    assert (ada["name"], ada["role"], ada["disabled_at"]) == ("Ada", "admin", None)
    assert (bob["name"], bob["role"], bob["has_password"]) == ("Bob", "operator", True)
    assert bob["disabled_at"] is not None
    assert "disabled" in users("list").out
    assert users("enable", "Bob").code == DONE
    assert SECRET not in made.out + made.err


MISUSES = {
    ("add", "Bob"): "first account has to be an admin",
    ("add", "Bob", "--role", "admin"): "--password-stdin",
    ("add", "Bob", "--role", "admin", "--password-stdin"): "no password",
    ("add", "Bob", "--role", "king"): "king",
    ("passwd", "Bob"): "no account of this name",
    ("disable", "Bob"): "no account of this name",
}


def test_what_cannot_be_is_said(users):
    for words, says in MISUSES.items():
        answer = users(*words)
        assert answer.code == MISUSED, words
        assert says in answer.err, words
    assert "users add NAME --role admin" in users("list").err


def test_on_a_terminal_the_password_is_asked_for_twice_and_not_shown(state):
    """Typed into a real terminal, which would echo it."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("users", "add", "Ada", "--role", "admin", "--state", state),
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=_take_terminal, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        for prompt in (b"password for Ada:", b"once more:"):
            while prompt not in shown:
                shown += os.read(ours, 1000)
            os.write(ours, f"{SECRET}\n".encode())
        while True:
            try:
                more = os.read(ours, 1000)
            except OSError:
                break
            if not more:
                break
            shown += more
        assert process.wait(60) == DONE, shown
    finally:
        process.kill()
        os.close(ours)
    assert SECRET.encode() not in shown
    assert b"Ada is an admin" in shown


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
