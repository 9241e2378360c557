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
    """Who decided what, when. Only ever added to."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    who: Mapped[str] = mapped_column(AnyText)
    what: Mapped[str] = mapped_column(String(60))
    subject: Mapped[str] = mapped_column(AnyText)
    note: Mapped[str | None] = mapped_column(AnyText)


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
