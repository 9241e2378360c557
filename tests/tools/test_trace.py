"""The way of one capture: what counts as a change of file, and that it leads to a mail."""

from __future__ import annotations

import sys

import pytest

from tools.trace import Trace, main

A = """
from functools import reduce
from string import Template
import monitor_b as b

def calls_once():
    b.one()
    here()

def here():
    return 1

def calls_a_generator():
    return list(b.many())

def calls_through_a_library():
    return Template("$x").substitute(b.Looked())

def calls_there_and_back():
    return b.back(here)

def reads_attributes():
    return b.VALUE.stored, b.VALUE.worked_out
"""
B = """
def one():
    return 1

def many():
    yield 1
    yield 2

class Looked(dict):
    def __getitem__(self, name):
        return 3

def back(what):
    return what()

class Value:
    stored = 1

    @property
    def worked_out(self):
        return 2

VALUE = Value()
"""


@pytest.fixture
def ours(tmp_path, monkeypatch):
    (tmp_path / "monitor").mkdir()
    (tmp_path / "monitor" / "monitor_a.py").write_text(A)
    (tmp_path / "monitor" / "monitor_b.py").write_text(B)
    monkeypatch.syspath_prepend(tmp_path / "monitor")
    import monitor_a

    yield monitor_a
    for name in ("monitor_a", "monitor_b"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("what", "changes", "files"),
    [
        ("here", 0, 1),
        ("calls_once", 1, 2),
        ("calls_a_generator", 1, 2),
        ("calls_through_a_library", 0, 2),
        ("calls_there_and_back", 2, 2),
        ("reads_attributes", 1, 2),
    ],
)
def test_a_change_of_file_is_a_call_from_one_of_ours_to_another(
    ours, tmp_path, what, changes, files
):
    trace = Trace(tmp_path)
    trace.of(getattr(ours, what))
    assert (trace.changes, len(trace.files)) == (changes, files)


@pytest.mark.parametrize(("what", "attributes"), [("calls_once", 0), ("reads_attributes", 1)])
def test_how_many_changes_read_an_attribute_is_said_beside(ours, tmp_path, what, attributes):
    trace = Trace(tmp_path)
    trace.of(getattr(ours, what))
    assert trace.attributes == attributes


@pytest.mark.slow
def test_a_simulated_capture_is_followed_to_its_mail(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["trace", "--pairs", "3"])
    main()
    first, second, third, *steps = capsys.readouterr().out.splitlines()
    assert first == "1 reading, 1 mail"
    assert second.endswith("changes of file")
    assert third.endswith("from room to room")
    assert len(steps) == 3
