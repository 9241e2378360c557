"""The record itself, the programs that use it, and who did what."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, String
from sqlalchemy.orm import Mapped, mapped_column

from monitor.record.tables.base import Base
from monitor.record.tables.column_types import AnyText, UtcDateTime


class RecordRow(Base):
    """The record itself, a single row: which one it is, and when a backup last took its place."""

    __tablename__ = "record"

    number: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(36))
    made_at: Mapped[datetime] = mapped_column(UtcDateTime)
    restored_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    restored_from: Mapped[str | None] = mapped_column(AnyText)


class AuditRow(Base):
    """Who decided what, when, and why; the trail itself is `record/audit.py`. Only ever added to:
    triggers of the database refuse everything else.
    """

    __tablename__ = "audit"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    who: Mapped[str] = mapped_column(AnyText)
    what: Mapped[str] = mapped_column(String(60))
    about: Mapped[str] = mapped_column(AnyText, index=True)
    why: Mapped[str | None] = mapped_column(AnyText)
    # Text and not JSON, which a database may write in another form than it was hashed in.
    before: Mapped[str | None] = mapped_column(AnyText)
    after: Mapped[str | None] = mapped_column(AnyText)
    # Unique, so that no two entries follow the same one, whatever is not locked.
    previous: Mapped[str] = mapped_column(String(64), unique=True)
    hash: Mapped[str] = mapped_column(String(64))


class ProcessRow(Base):
    """A program that is at work on this database, and its last sign of life."""

    __tablename__ = "process"

    owner: Mapped[str] = mapped_column(String(120), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    host: Mapped[str] = mapped_column(AnyText)
    pid: Mapped[int]
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    beat_at: Mapped[datetime] = mapped_column(UtcDateTime)
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)
