"""What a QPix says it picked: a line ``Run Date``, a preamble, and a table of picked features.

The table begins with ``Source Barcode,Source Region,Feature Position X,Feature Position Y,
Destination Barcode,Destination Well``, as public parsers of such logs have it; further columns are
passed over. Unit and frame of the positions do not stand in the file: they are settings. A feature
that is not in the table was not picked.
"""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from monitor.config.outlets import QPixLogConfig
from monitor.errors import PickLogError

BARCODE, REGION = "source barcode", "source region"
X, Y = "feature position x", "feature position y"
_NEEDED = (BARCODE, REGION, X, Y)
_RUN_DATE = re.compile(r'\s*"?run date"?\s*[,;:=\t](.*)', re.IGNORECASE)


@dataclass(frozen=True)
class PickedFeature:
    """One line of the table. x_um, y_um : in the frame that the settings name"""

    line: int
    barcode: str
    region: str
    x_um: float
    y_um: float


@dataclass(frozen=True)
class QPixLog:
    """run_at : None where the file does not say"""

    features: tuple[PickedFeature, ...]
    run_at: datetime | None


def is_qpix_log(content: bytes) -> bool:
    """Whether this is such a log, whole or not."""
    try:
        return any(_is_header(line) for line in _decoded(content).splitlines())
    except UnicodeDecodeError:
        return False


def read_qpix_log(content: bytes, settings: QPixLogConfig) -> QPixLog:
    """Raises PickLogError where any of it cannot be read; then none of it is to be used."""
    text = _decoded(content)
    if not text.endswith(("\n", "\r")):
        raise PickLogError(
            "its last line has no line break, so it may be half written; nothing in it is "
            "used until it ends with one",
            reason="half-written",
        )
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if _is_header(line))
    if any(_is_header(line) for line in lines[start + 1 :]):
        raise PickLogError("holds its table twice", reason="columns")
    names = _cells(lines[start], start + 1)
    names = [name.lower() for name in names]
    for name in _NEEDED:
        if names.count(name) != 1:
            how = "does not name" if name not in names else "names twice"
            raise PickLogError(f"its table {how} the column {name!r}", reason="columns")
    features = []
    for number, line in enumerate(lines[start + 1 :], start=start + 2):
        if not line.strip(" ,;\t"):
            continue
        row = _cells(line, number)
        if len(row) != len(names):
            raise PickLogError(
                f"line {number} has {len(row)} cells and the table's first line {len(names)}",
                reason="cells",
            )
        cells = dict(zip(names, row, strict=True))
        if not cells[BARCODE]:
            raise PickLogError(f"line {number} names no source barcode", reason="cells")
        features.append(
            PickedFeature(
                number,
                cells[BARCODE],
                cells[REGION],
                _position(cells[X], number) * settings.um_per_unit,
                _position(cells[Y], number) * settings.um_per_unit,
            )
        )
    return QPixLog(tuple(features), _run_date(lines[:start], settings))


def _decoded(content: bytes) -> str:
    """Windows writes what it likes; all that counts is ASCII."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _is_header(line: str) -> bool:
    lowered = line.lower()
    return BARCODE in lowered and X in lowered


def _cells(line: str, number: int) -> list[str]:
    delimiter = ";" if line.count(";") > line.count(",") else ","
    try:
        (row,) = csv.reader(io.StringIO(line), delimiter=delimiter, strict=True)
    except (csv.Error, ValueError) as problem:
        raise PickLogError(f"line {number} is not CSV ({problem})", reason="not-csv") from problem
    return [cell.strip() for cell in row]


def _position(text: str, line: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise PickLogError(
            f"line {line}: {text!r} is not a position; a number with a decimal point is needed",
            reason="position",
        )
    return value


def _run_date(preamble: list[str], settings: QPixLogConfig) -> datetime | None:
    for line in preamble:
        found = _RUN_DATE.match(line)
        if found is None:
            continue
        text = found[1].strip(' ",;\t')
        try:
            if settings.date_format is not None:
                at = datetime.strptime(text, settings.date_format)  # noqa: DTZ007
            else:
                at = datetime.fromisoformat(text)
            if at.tzinfo is None:
                at = at.replace(tzinfo=settings.zone)
            return at.astimezone(UTC)
        except (ValueError, OverflowError) as problem:
            raise PickLogError(
                f"its run date is {text!r}; set its format with "
                "outlets.removal.pick_logs.qpix.date_format, such as '%d/%m/%Y %H:%M:%S'",
                reason="time",
            ) from problem
    return None
