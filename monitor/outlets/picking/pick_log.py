"""What a picker says it did: a CSV with one line a region, or one line a hit.

UTF-8 with or without a byte order mark; comma or semicolon; the first line names the columns, in
any order and case: `plan`, `target`, `outcome`, and where they are known `hit` (its number within
the region, from 1) and `time` (ISO 8601 with its zone). Other columns are passed over. Every line
ends with a line end, the last one too: without it the file may be half written.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import UTC, datetime

from monitor.culture import PickOutcome
from monitor.errors import PickLogError

COLUMNS = ("plan", "target", "outcome", "hit", "time")
_NEEDED = COLUMNS[:3]
_OUTCOMES = {str(one): one for one in (PickOutcome.PICKED, PickOutcome.FAILED)}


@dataclass(frozen=True)
class LoggedPick:
    """One line of a log.

    target : the region, by its id or its number in the order of visits
    hit : its number within the region, from 1; None speaks of all of them
    """

    line: int
    plan_id: str
    target: str
    outcome: PickOutcome
    hit: int | None = None
    at: datetime | None = None


def read_pick_log(content: bytes) -> list[LoggedPick]:
    """Every line of a log, in its order.

    Raises PickLogError where any of it cannot be read; then none of it is to be used.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise PickLogError(
            f"byte {problem.start} is not UTF-8; save it as CSV UTF-8", reason="encoding"
        ) from problem
    if "\0" in text:
        raise PickLogError("holds zero bytes; save it as CSV UTF-8", reason="encoding")
    if not text.strip():
        raise PickLogError("is empty", reason="empty")
    if not text.endswith(("\n", "\r")):
        raise PickLogError(
            "its last line has no line break, so it may be half written; nothing in it is "
            "used until it ends with one",
            reason="half-written",
        )
    first = text.splitlines()[0]
    rows = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=";" if first.count(";") > first.count(",") else ",",
        strict=True,
    )
    try:
        names = [name.strip().lower() for name in next(rows)]
        _refuse_columns(names)
        return [
            _pick(row, names, rows.line_num) for row in rows if any(cell.strip() for cell in row)
        ]
    except csv.Error as problem:
        raise PickLogError(
            f"line {rows.line_num} is not CSV ({problem})", reason="not-csv"
        ) from problem


def _refuse_columns(names: list[str]) -> None:
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise PickLogError(
            f"its first line does not name the column {', '.join(missing)}; needed: "
            f"{', '.join(_NEEDED)}",
            reason="columns",
        )
    twice = [name for name in COLUMNS if names.count(name) > 1]
    if twice:
        raise PickLogError(f"names the column {', '.join(twice)} twice", reason="columns")


def _pick(row: list[str], names: list[str], line: int) -> LoggedPick:
    if len(row) != len(names):
        raise PickLogError(
            f"line {line} has {len(row)} cells and the first line {len(names)}", reason="cells"
        )
    cells = {name: cell.strip() for name, cell in zip(names, row, strict=True)}
    for name in ("plan", "target"):
        if not cells[name]:
            raise PickLogError(f"line {line} names no {name}", reason="cells")
    outcome = _OUTCOMES.get(cells["outcome"].lower())
    if outcome is None:
        raise PickLogError(
            f"line {line}: outcome is {cells['outcome']!r}; it is picked or failed",
            reason="outcome",
        )
    return LoggedPick(
        line=line,
        plan_id=cells["plan"],
        target=cells["target"],
        outcome=outcome,
        hit=_hit(cells.get("hit", ""), line),
        at=_time(cells.get("time", ""), line),
    )


def _hit(text: str, line: int) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 7 and int(text) > 0):
        raise PickLogError(f"line {line}: hit is {text!r}; it is a number from 1", reason="hit")
    return int(text)


def _time(text: str, line: int) -> datetime | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            raise ValueError
        # Also refuses what is no time in UTC, at the ends of the calendar.
        return at.astimezone(UTC)
    except (ValueError, OverflowError) as problem:
        raise PickLogError(
            f"line {line}: time is {text!r}; write it with its zone, as 2026-11-03T09:41:05Z",
            reason="time",
        ) from problem
