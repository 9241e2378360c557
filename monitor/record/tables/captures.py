"""Captures, the files that hold them, and what was measured in them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from monitor.record.detail_codec import EncodedDetail
from monitor.record.tables.base import Base
from monitor.record.tables.column_types import AnyText, Digest, FilePath, Moment


class AnalysisRow(Base):
    """A model under one set of settings, and what did its arithmetic: what measurements and
    readings rest on.
    """

    __tablename__ = "analysis"
    __table_args__ = (UniqueConstraint("model_sha256", "settings_sha256", "model_name", "runner"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    model_name: Mapped[str] = mapped_column(AnyText)
    model_sha256: Mapped[str] = mapped_column(String(64))
    settings_sha256: Mapped[str] = mapped_column(String(64))
    # With version and precision; empty where nobody said.
    runner: Mapped[str] = mapped_column(String(80), default="")


class FolderRow(Base):
    """A folder that files were seen in."""

    __tablename__ = "folder"

    id: Mapped[int] = mapped_column(primary_key=True)
    path: Mapped[Path] = mapped_column(FilePath, unique=True)


class CaptureRow(Base):
    __tablename__ = "capture"
    __table_args__ = (
        CheckConstraint(
            "state IN ('waiting', 'working', 'measured', 'recorded', 'unreadable')", name="state"
        ),
        # What is done with is by far the most and never looked for by its state.
        Index(
            "ix_capture_state_next_try_at",
            "state",
            "next_try_at",
            sqlite_where=text("state <> 'recorded'"),
            postgresql_where=text("state <> 'recorded'"),
        ),
        # Few sources have captures without a pixel size.
        Index(
            "ix_capture_scale_id",
            "scale_id",
            sqlite_where=text("scale_id IS NOT NULL"),
            postgresql_where=text("scale_id IS NOT NULL"),
        ),
        # Which other dishes show the very same picture?
        Index("ix_capture_fingerprint", "fingerprint"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    # The SHA-256 in halves: one is enough to find the capture, and its index is half as large.
    # Not unique: an imager that is stuck writes the same bytes for several dishes.
    sha256_head: Mapped[str | None] = mapped_column(Digest(16), index=True)
    sha256_tail: Mapped[str | None] = mapped_column(Digest(16))
    folder_id: Mapped[int] = mapped_column(ForeignKey("folder.id"))
    name: Mapped[Path] = mapped_column(FilePath)
    source: Mapped[str] = mapped_column(String(100))
    state: Mapped[str] = mapped_column(String(12))
    reason: Mapped[str | None] = mapped_column(String(40))
    message: Mapped[str | None] = mapped_column(AnyText)
    attempts: Mapped[int] = mapped_column(default=0)
    crashes: Mapped[int] = mapped_column(default=0)
    next_try_at: Mapped[datetime | None] = mapped_column(Moment)
    claimed_by: Mapped[str | None] = mapped_column(String(120))
    first_seen_at: Mapped[datetime] = mapped_column(Moment)
    finished_at: Mapped[datetime | None] = mapped_column(Moment)
    # What its name says, as a hash; another name that says the same is a copy.
    identity: Mapped[str | None] = mapped_column(Digest(8))
    # What its name says, as long as it has no scan to say it.
    named_dish: Mapped[str | None] = mapped_column(AnyText)
    field: Mapped[str | None] = mapped_column(AnyText)
    channel: Mapped[str | None] = mapped_column(AnyText)
    plane: Mapped[int | None]
    projection: Mapped[str | None] = mapped_column(AnyText)
    acquired_at: Mapped[datetime | None] = mapped_column(Moment)
    # Its time names no zone.
    is_local: Mapped[bool] = mapped_column(default=False, server_default=false())
    # Dated after it arrived, or long before there was such a camera.
    is_misdated: Mapped[bool] = mapped_column(default=False, server_default=false())
    # Hash of the decoded pixels: the same picture under new bytes has the same. Eight bytes tell
    # it from all others.
    fingerprint: Mapped[str | None] = mapped_column(Digest(8))
    scan_id: Mapped[int | None] = mapped_column(ForeignKey("scan.id"), index=True)
    # Where nothing says its pixel size: the scale that it is measured at, and which um/px that
    # was when it was measured last.
    scale_id: Mapped[int | None] = mapped_column(ForeignKey("scale.id"))
    assumed_um: Mapped[float | None]

    folder: Mapped[FolderRow] = relationship()

    @property
    def path(self) -> Path:
        return self.folder.path / self.name

    @property
    def sha256(self) -> str | None:
        return None if self.sha256_head is None else self.sha256_head + (self.sha256_tail or "")

    @sha256.setter
    def sha256(self, value: str | None) -> None:
        self.sha256_head, self.sha256_tail = halves_of(value)


def halves_of(sha256: str | None) -> tuple[str | None, str | None]:
    """As the columns of a capture hold it."""
    return (None, None) if sha256 is None else (sha256[:32], sha256[32:])


class FileRow(Base):
    """A file as it was last seen; equal size and time mean that it need not be hashed again."""

    __tablename__ = "file"
    __table_args__ = (
        Index(
            "ix_file_capture_id",
            "capture_id",
            sqlite_where=text("is_copy = 1"),
            postgresql_where=text("is_copy"),
        ),
        {"sqlite_with_rowid": False},
    )

    folder_id: Mapped[int] = mapped_column(ForeignKey("folder.id"), primary_key=True)
    name: Mapped[Path] = mapped_column(FilePath, primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    mtime_ns: Mapped[int] = mapped_column(BigInteger)
    # No foreign key: that would want an index of all files, for what happens to few captures.
    capture_id: Mapped[int]
    # The capture lies elsewhere: a second file of the same bytes.
    is_copy: Mapped[bool] = mapped_column(default=False, server_default=false())

    folder: Mapped[FolderRow] = relationship()

    @property
    def path(self) -> Path:
        return self.folder.path / self.name


class MeasurementRow(Base):
    """What one capture says under one model and one set of settings, with what stood beside it."""

    __tablename__ = "measurement"
    __table_args__ = (UniqueConstraint("capture_id", "analysis_id", "beside", "assumed_um"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    capture_id: Mapped[int] = mapped_column(ForeignKey("capture.id"))
    analysis_id: Mapped[int] = mapped_column(ForeignKey("analysis.id"))
    background_px: Mapped[int] = mapped_column(BigInteger)
    undifferentiated_px: Mapped[int] = mapped_column(BigInteger)
    differentiated_px: Mapped[int] = mapped_column(BigInteger)
    pixel_size_um: Mapped[float | None]
    stage_x_um: Mapped[float | None]
    stage_y_um: Mapped[float | None]
    stage_z_um: Mapped[float | None]
    uncertainty: Mapped[float]
    created_at: Mapped[datetime] = mapped_column(Moment)
    # What sidecars and companions said of it, as a hash; empty where there were none.
    beside: Mapped[str] = mapped_column(Digest(8), default="")
    # um/px that was assumed; 0 where the pixel size is known.
    assumed_um: Mapped[float] = mapped_column(default=0.0)
    # Last: the rest is read without its pages.
    detail: Mapped[dict[str, Any]] = mapped_column(EncodedDetail)

    analysis: Mapped[AnalysisRow] = relationship()
