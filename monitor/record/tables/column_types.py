"""Types of columns: times, digests, paths and texts as databases keep them whole."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from sqlalchemy import BigInteger, DateTime, LargeBinary, Text, TypeDecorator
from sqlalchemy.engine import Dialect


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC in and out. SQLite drops the zone; a naive time is refused."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise TypeError("a time without a zone must not reach the database")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


class Moment(TypeDecorator[datetime]):
    """As `UtcDateTime`, in eight bytes: microseconds since 1970. For tables of millions of rows."""

    impl = BigInteger
    cache_ok = True
    _EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise TypeError("a time without a zone must not reach the database")
        return (value - self._EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else self._EPOCH + timedelta(microseconds=value)


class Digest(TypeDecorator[str]):
    """A hash in hexadecimal, kept as its bytes; only the first of them where `length` says so."""

    impl = LargeBinary
    cache_ok = True

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:
        return None if value is None else bytes.fromhex(value)[: self.length]

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> str | None:
        return None if value is None else value.hex()


# Ordered by code points, as SQLite does, whatever the language of a server's database.
_PLAIN_TEXT = Text().with_variant(Text(collation="C"), "postgresql")


class FilePath(TypeDecorator[Path]):
    """A path of the file system, also one that is not valid UTF-8."""

    impl = _PLAIN_TEXT
    cache_ok = True
    _RAW = "bytes:"

    def process_bind_param(self, value: Path | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        text = str(value)
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            return self._RAW + quote_from_bytes(os.fsencode(text))
        return text

    def process_result_value(self, value: str | None, dialect: Dialect) -> Path | None:
        if value is None:
            return None
        if value.startswith(self._RAW):
            return Path(os.fsdecode(unquote_to_bytes(value.removeprefix(self._RAW))))
        return Path(value)


class AnyText(TypeDecorator[str]):
    """Text that may quote a file's name, whose bytes need not be text: those become ``\\xff``.

    PostgreSQL takes no NUL in a text.
    """

    impl = _PLAIN_TEXT
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return value.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
