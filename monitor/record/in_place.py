"""Where the file of a SQLite record is gone: the note beside its place, and whether what lies there
now is the same record.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from monitor.errors import RecordGoneError

# What now.
NOW = (
    "Nothing is claimed or recorded until it is back: put it back where it was, or restore a "
    "backup with colonywatch restore FILE"
)


def leave_note(path: Path, text: str) -> None:
    """Beside where the record was, that it is gone: for whoever would make an empty one there."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        _note_beside(path).write_text(text + "\n", encoding="utf-8")


def forget_note(path: Path) -> None:
    with suppress(OSError):
        _note_beside(path).unlink(missing_ok=True)


def refuse_to_begin_anew(path: Path) -> None:
    """Raises RecordGoneError where a daemon has left a note that the record is gone."""
    note = _note_beside(path)
    if path.exists() or not note.exists():
        return
    try:
        text = note.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        text = f"{path}: the record is gone. {NOW}"
    raise RecordGoneError(f"{text}. To begin a new, empty one instead, start the daemon again")


def _note_beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.gone")


def existing(path: str) -> str:
    """As what sqlite3 opens a file that is there, and makes none."""
    return f"file:{quote(path)}?mode=rw"


def why_not_ours(path: Path, *, revision: str | None, key: str) -> str | None:
    """Why a file is not the record of that key in its present form, or not sound; None where it is.

    A file that is not there is not made.
    """
    try:
        with closing(sqlite3.connect(existing(str(path)), uri=True, timeout=5)) as connection:
            (found,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            (its,) = connection.execute("SELECT key FROM record").fetchone()
            if its != key:
                return "it is another record, which knows nothing of what was recorded here"
            if found != revision:
                return f"its schema is that of another version ({found})"
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            return None if verdict == "ok" else f"it is damaged ({verdict})"
    except (sqlite3.Error, TypeError) as problem:
        return f"it is not a complete record ({problem})"
