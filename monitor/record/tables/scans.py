"""Scans, what was read of them, and the alerts that came of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from monitor.record.detail_codec import EncodedDetail
from monitor.record.tables.base import Base
from monitor.record.tables.captures import AnalysisRow
from monitor.record.tables.column_types import AnyText, Moment, UtcDateTime


class ScanRow(Base):
    """One visit to one dish. `reading_id` points at the reading that counts: the latest version."""

    __tablename__ = "scan"
    __table_args__ = (
        Index(
            "uq_scan_dish_id_key",
            "dish_id",
            "key",
            unique=True,
            sqlite_where=text("key IS NOT NULL"),
            postgresql_where=text("key IS NOT NULL"),
        ),
        Index("ix_scan_dish_id_first_at", "dish_id", "first_at"),
        Index(
            "ix_scan_without_reading",
            "dish_id",
            sqlite_where=text("reading_id IS NULL"),
            postgresql_where=text("reading_id IS NULL"),
        ),
        Index(
            "ix_scan_dirty",
            "last_taken_at",
            sqlite_where=text("dirty = 1"),
            postgresql_where=text("dirty"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    dish_id: Mapped[int] = mapped_column(ForeignKey("dish.id"))
    key: Mapped[str | None] = mapped_column(AnyText)
    first_at: Mapped[datetime] = mapped_column(Moment)
    last_at: Mapped[datetime] = mapped_column(Moment)
    last_taken_at: Mapped[datetime] = mapped_column(Moment)
    dirty: Mapped[bool] = mapped_column(default=True)
    # Holds a misdated capture: nobody knows when it was taken, so it is no part of the course.
    is_misdated: Mapped[bool] = mapped_column(default=False, server_default=false())
    # Where the dish stands after it, in short; NULL: not decided.
    stand: Mapped[str | None] = mapped_column(Text)
    reading_id: Mapped[int | None] = mapped_column(ForeignKey("reading.id", use_alter=True))


class ReadingRow(Base):
    __tablename__ = "reading"
    __table_args__ = (
        UniqueConstraint("scan_id", "version"),
        Index("ix_reading_dish_id_at", "dish_id", "at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    dish_id: Mapped[int] = mapped_column(ForeignKey("dish.id"))
    scan_id: Mapped[int] = mapped_column(ForeignKey("scan.id"))
    version: Mapped[int]
    at: Mapped[datetime] = mapped_column(Moment)
    captures: Mapped[int]
    background_um2: Mapped[float | None]
    undifferentiated_um2: Mapped[float | None]
    differentiated_um2: Mapped[float | None]
    differentiated_fraction: Mapped[float | None]
    confluence: Mapped[float | None]
    uncertainty: Mapped[float]
    pixel_size_um: Mapped[float | None]
    analysis_id: Mapped[int] = mapped_column(ForeignKey("analysis.id"))
    colonies: Mapped[int]
    doubts: Mapped[list[str]] = mapped_column(JSON)
    joined: Mapped[str] = mapped_column(String(10), server_default="one field")
    imaged_share: Mapped[float | None]
    colony_um2: Mapped[float | None]
    # How far the network may be trusted (`doubt_documents`); NULL: its model says nothing of it.
    doubt: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    # What was taken for the pixel size where nothing says it.
    assumed_pixel_size_um: Mapped[float | None]
    created_at: Mapped[datetime] = mapped_column(Moment)

    analysis: Mapped[AnalysisRow] = relationship()


class ReadingColoniesRow(Base):
    """The colonies of a reading by their numbers; `maps`: where they lie, of the newest scans."""

    __tablename__ = "reading_colonies"

    reading_id: Mapped[int] = mapped_column(ForeignKey("reading.id"), primary_key=True)
    packed: Mapped[dict[str, Any]] = mapped_column(EncodedDetail)
    maps: Mapped[bytes | None] = mapped_column(LargeBinary)


class ReadingMeasurementRow(Base):
    """Which measurements, and so which captures, a reading rests on."""

    __tablename__ = "reading_measurement"
    __table_args__ = ({"sqlite_with_rowid": False},)

    reading_id: Mapped[int] = mapped_column(ForeignKey("reading.id"), primary_key=True)
    measurement_id: Mapped[int] = mapped_column(ForeignKey("measurement.id"), primary_key=True)


class AlertRow(Base):
    """About a dish, else a source, else the machine."""

    __tablename__ = "alert"

    id: Mapped[int] = mapped_column(primary_key=True)
    dish_id: Mapped[int | None] = mapped_column(ForeignKey("dish.id"), index=True)
    source: Mapped[str | None] = mapped_column(String(100))
    topic: Mapped[str] = mapped_column(String(40), server_default="differentiation")
    severity: Mapped[str] = mapped_column(String(20), server_default="warning")
    text: Mapped[str | None] = mapped_column(AnyText)
    held_back: Mapped[str | None] = mapped_column(String(20))
    # "change": the course of the dish, or a silence; "again": told once more; "replaced": what came
    # late has shown that it was not so.
    role: Mapped[str] = mapped_column(String(10), default="change", server_default="change")
    reading_id: Mapped[int | None] = mapped_column(ForeignKey("reading.id"))
    kind: Mapped[str] = mapped_column(String(20))
    status: Mapped[str] = mapped_column(String(20))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    fraction: Mapped[float | None]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    acknowledged_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    acknowledged_by: Mapped[str | None] = mapped_column(AnyText)
    note: Mapped[str | None] = mapped_column(AnyText)
    snoozed_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
