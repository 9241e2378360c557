"""What is taken for the pixel size of images that come without one, and why."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, String, false
from sqlalchemy.orm import Mapped, mapped_column

from monitor.record.tables.base import Base
from monitor.record.tables.column_types import AnyText, FilePath, UtcDateTime


class ScaleRow(Base):
    """One scale for all such images of one setup of a source."""

    __tablename__ = "scale"
    __table_args__ = (CheckConstraint("state IN ('open', 'settled', 'set')", name="state"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(String(100), index=True)
    # Of captures that belong to no source: below which folder they lie.
    place: Mapped[Path | None] = mapped_column(FilePath)
    magnification: Mapped[str] = mapped_column(String(20), default="")
    rows: Mapped[int]
    columns: Mapped[int]
    um: Mapped[float]
    low_um: Mapped[float]
    high_um: Mapped[float]
    state: Mapped[str] = mapped_column(String(10))
    since: Mapped[datetime] = mapped_column(UtcDateTime)
    set_by: Mapped[str | None] = mapped_column(AnyText)
    # What captures that were asked later say, where they clearly contradict it.
    looks_like_um: Mapped[float | None]


class ScaleEvidenceRow(Base):
    """What one capture says of the scale: part of the estimate, or asked afterwards."""

    __tablename__ = "scale_evidence"

    scale_id: Mapped[int] = mapped_column(ForeignKey("scale.id"), primary_key=True)
    capture_id: Mapped[int] = mapped_column(ForeignKey("capture.id"), primary_key=True)
    dish: Mapped[str] = mapped_column(AnyText)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    is_check: Mapped[bool] = mapped_column(default=False, server_default=false())
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)
