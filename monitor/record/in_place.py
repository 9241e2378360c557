"""Whether the file of a SQLite record is still the one that a program has opened.

A program that has a file open does not notice that it was deleted or replaced: it goes on writing
to what nobody will ever see again. So each transaction looks at the file's name, before and after.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from monitor.errors import RecordGoneError

_NOW = (
    "Nothing is claimed or recorded until it is back: put it back where it was, or restore a "
    "backup with colonywatch restore FILE"
)


class InPlace:
    """path : of the record's file, which is there"""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._identity = self._look()

    def check(self) -> None:
        """Raises RecordGoneError where another file, or none, is there by now."""
        try:
            identity = self._look()
        except (FileNotFoundError, NotADirectoryError) as problem:
            raise RecordGoneError(
                f"{self.path}: the record is gone, deleted or moved away while in use. {_NOW}"
            ) from problem
        except OSError as problem:
            raise RecordGoneError(
                f"{self.path}: the record cannot be seen any more ({problem.strerror}). {_NOW}"
            ) from problem
        if identity != self._identity:
            raise RecordGoneError(
                f"{self.path}: another file has replaced the record while in use. {_NOW}"
            )

    def _look(self) -> tuple[int, int]:
        about = self.path.stat()
        return about.st_dev, about.st_ino


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
        text = f"{path}: the record is gone. {_NOW}"
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
