"""Removal plans, what became of their regions, and the calibrations that they rest on."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from monitor.record.tables.base import Base
from monitor.record.tables.column_types import AnyText, FilePath, UtcDateTime


class RemovalPlanRow(Base):
    __tablename__ = "removal_plan"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    dish_id: Mapped[int] = mapped_column(ForeignKey("dish.id"), index=True)
    reading_id: Mapped[int] = mapped_column(ForeignKey("reading.id"))
    status: Mapped[str] = mapped_column(String(20), index=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    approved_by: Mapped[str | None] = mapped_column(AnyText)
    approved_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # To whom it was given, under which token, when: {"to": ..., "token": ..., "at": ...}, and
    # "unwritten": {format: why} where some could not be written
    handover: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    picked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)


class RegionFateRow(Base):
    """What the picker said of a region, and what the next scan did."""

    __tablename__ = "region_fate"

    plan_id: Mapped[str] = mapped_column(ForeignKey("removal_plan.id"), primary_key=True)
    region_id: Mapped[str] = mapped_column(String(80), primary_key=True)
    outcome: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str | None] = mapped_column(AnyText)
    told_at: Mapped[datetime] = mapped_column(UtcDateTime)
    # Numbers of the hits that were set, where that were only some and it is known which.
    hits: Mapped[list[int] | None] = mapped_column(JSON(none_as_null=True))
    check_result: Mapped[str | None] = mapped_column(String(20))
    gone_share: Mapped[float | None]
    checked_by: Mapped[int | None] = mapped_column(ForeignKey("reading.id"))


class PickLogRow(Base):
    """A file in which the picker says what it did, known by its bytes."""

    __tablename__ = "pick_log"

    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    path: Mapped[Path] = mapped_column(FilePath)
    state: Mapped[str] = mapped_column(String(12))
    reason: Mapped[str | None] = mapped_column(String(40))
    message: Mapped[str | None] = mapped_column(AnyText)
    plans: Mapped[list[str]] = mapped_column(JSON)
    first_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class CalibrationRow(Base):
    """A fitted calibration. Only ever added to; the newest that is valid counts."""

    __tablename__ = "calibration"
    __table_args__ = (
        Index("ix_calibration_source_kind_made_at", "source", "kind", "made_at"),
        CheckConstraint("kind IN ('camera', 'picker')", name="kind"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    source: Mapped[str] = mapped_column(String(100))
    objective: Mapped[str | None] = mapped_column(AnyText)
    made_at: Mapped[datetime] = mapped_column(UtcDateTime)
    made_by: Mapped[str] = mapped_column(AnyText)
    max_age_days: Mapped[float | None]
    rms_um: Mapped[float | None]
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)
