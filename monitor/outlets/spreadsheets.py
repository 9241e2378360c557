"""Cells of CSV files that no spreadsheet takes for something else, in whatever country it runs.

A text is never a formula, and a number never another number: `.` is a decimal mark in one country
and parts thousands in the next, so that ``23326.543`` is read there as 23326543, and ``12.1`` as a
day in January. What is whole reads the same everywhere.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence

# What spreadsheets begin a formula with, full-width forms too; also after what some other program
# takes for the end of a cell: a list with commas, opened where semicolons part cells, is cut there.
_FORMULA = re.compile(r"(^|[,;|\t\r\n])(\s*\"*\s*)(?=[=+\-@＝＋－＠])")
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?([eE][+-]?\d+)?")
_THREE_DECIMALS = re.compile(r"[+-]?\d+\.\d{3}")


def text_cell(text: str) -> str:
    """The text, never a formula: an apostrophe goes before what would begin one.

    A text that is nothing but a number stays as it is.
    """
    if _NUMBER.fullmatch(text):
        return text
    safe = _FORMULA.sub(r"\1\2'", text)
    return f"'{safe}" if text.startswith(("\t", "\r", "\n")) else safe


def number_cell(value: float | None, *, decimals: int, mark: str | None) -> str:
    """A number with so many decimals; empty where it is None.

    mark : the decimal mark that the reader knows; None = nobody said. Then a point stands there,
        and never exactly three digits after it
    """
    if value is None:
        return ""
    if mark is None and decimals == 3:
        decimals = 4
    # Adding 0.0 turns a rounded -0.0 into 0.0.
    text = f"{round(value, decimals) + 0.0:.{decimals}f}"
    return text if mark is None else text.replace(".", mark)


def share_cell(value: float | None, *, mark: str | None) -> str:
    """A share of 1. Without a known decimal mark as whole percent, which reads the same everywhere:
    ``90%`` is 0.9 to every spreadsheet.
    """
    if value is None:
        return ""
    if mark is None:
        return f"{value:.0%}"
    return number_cell(value, decimals=4, mark=mark)


def rounded_down(value: float, decimals: int) -> float:
    """For what is promised at least."""
    scale = 10.0**decimals
    return math.floor(value * scale + 1e-6) / scale


def rounded_up(value: float | None, decimals: int) -> float | None:
    """For errors, which are never told smaller than they are."""
    scale = 10.0**decimals
    return None if value is None else math.ceil(value * scale - 1e-6) / scale


def plain_cell(value: object, *, mark: str | None = None) -> str:
    """Any value of a document as a cell: numbers whole as they are, with all their digits."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float):
        text = repr(value)
        if mark is not None:
            return text.replace(".", mark)
        return f"{text}0" if _THREE_DECIMALS.fullmatch(text) else text
    return text_cell(str(value))


def as_csv(rows: Iterable[Sequence[str]], *, separator: str = ",", line_end: str = "\r\n") -> str:
    """Rows of finished cells as one text; lines end with CR LF (RFC 4180)."""
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator=line_end).writerows(rows)
    return text.getvalue()
