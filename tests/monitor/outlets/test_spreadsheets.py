"""Cells as spreadsheets of other countries and with other separators read them."""

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.outlets.spreadsheets import (
    as_csv,
    number_cell,
    plain_cell,
    rounded_down,
    rounded_up,
    share_cell,
    text_cell,
)


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1+1", "'+1+1"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t'=1"),
        ("\r=1", "'\r'=1"),
        (" =1", " '=1"),
        ("＝1+1", "'＝1+1"),
        ('"=1"', '"\'=1"'),
        ("dish;=1", "dish;'=1"),
        ("dish,=1", "dish,'=1"),
        ("two\n=lines", "two\n'=lines"),
        ("dish-07", "dish-07"),
        ("a=b", "a=b"),
        ("A. Person, lab 3", "A. Person, lab 3"),
        ("person@lab.example", "person@lab.example"),
        ("-5", "-5"),
        ("+2.5", "+2.5"),
        ("-1.5e3", "-1.5e3"),
        ("", ""),
    ],
)
def test_a_text_never_runs(text, cell):
    """Also where a list with commas is opened by a program that parts cells at semicolons."""
    assert text_cell(text) == cell


def cells_as_opened(content, separator):
    return [
        cell
        for row in csv.reader(io.StringIO(content, newline=""), delimiter=separator)
        for cell in row
    ]


@given(texts=st.lists(st.text(alphabet="=+-@＝,;|\t\r\n\"' aA1(", max_size=12), min_size=1))
@pytest.mark.parametrize("written", [",", ";", "\t"])
@pytest.mark.parametrize("opened", [",", ";", "\t", "|"])
def test_no_cell_runs_whatever_parts_the_cells(texts, written, opened):
    content = as_csv([[text_cell(text) for text in texts]], separator=written)
    for cell in cells_as_opened(content, opened):
        begins = cell.lstrip(' "')[:1]
        assert begins not in tuple("=+-@＝") or re.fullmatch(r"[+-]?\d.*", cell.strip(' "'))


@given(value=st.floats(-1e9, 1e9), decimals=st.integers(0, 9))
def test_without_a_known_mark_no_number_has_three_digits_after_the_point(value, decimals):
    cell = number_cell(value, decimals=decimals, mark=None)
    assert not re.search(r"\.\d{3}$", cell)
    assert float(cell) == pytest.approx(value, rel=1e-14, abs=0.51 * 10**-decimals)
    assert float(plain_cell(value)) == value
    assert not re.search(r"\.\d{3}$", plain_cell(value))


@pytest.mark.parametrize(
    ("value", "decimals", "mark", "cell"),
    [
        (23326.543, 0, None, "23327"),
        (23326.543, 3, None, "23326.5430"),
        (23326.543, 3, ",", "23326,543"),
        (-0.2, 0, None, "0"),
        (-1100.5, 2, ",", "-1100,50"),
        (None, 2, ".", ""),
    ],
)
def test_numbers_in_the_form_that_was_asked_for(value, decimals, mark, cell):
    assert number_cell(value, decimals=decimals, mark=mark) == cell


@pytest.mark.parametrize(
    ("share", "mark", "cell"),
    [(0.9, None, "90%"), (1.0, None, "100%"), (0.9, ",", "0,9000"), (None, ".", "")],
)
def test_a_share_reads_the_same_everywhere(share, mark, cell):
    assert share_cell(share, mark=mark) == cell


def test_what_is_promised_is_rounded_to_the_careful_side():
    assert (rounded_down(60.9, 0), rounded_down(60.0, 2)) == (60.0, 60.0)
    assert (rounded_up(4.2, 0), rounded_up(4.0, 2), rounded_up(None, 0)) == (5.0, 4.0, None)


def test_cells_of_a_document_keep_all_their_digits():
    assert [plain_cell(one) for one in (None, True, 3, 0.123, 0.1234, "=1")] == [
        "",
        "True",
        "3",
        "0.1230",
        "0.1234",
        "'=1",
    ]
    assert plain_cell(0.123, mark=",") == "0,123"
