"""Small files that others wrote, read whole: never more than a limit, never from what is no file.

A named pipe never ends, a device gives zeros for ever, and a file may have grown since its size was
asked for.
"""

from __future__ import annotations

from pathlib import Path


def bytes_of(path: Path, most: int) -> bytes:
    """The content of a regular file. Raises OSError; ValueError for what is none or too large."""
    if path.exists() and not path.is_file():
        raise ValueError("is not a regular file")
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"has more than {most:,} bytes, far more than any of its kind")
    return content


def text_of(path: Path, most: int) -> str:
    """As `bytes_of`, as text, without a byte order mark. UnicodeDecodeError is a ValueError."""
    return bytes_of(path, most).decode("utf-8-sig")
