"""The tables. Rows stay inside `record`; the rest of the program sees the values of `culture`."""

from __future__ import annotations

import os
import secrets
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from monitor.record.detail_codec import pack, unpack


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


class Packed(TypeDecorator[dict[str, Any]]):
    """A JSON document, packed."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: dict[str, Any] | None, dialect: Dialect) -> bytes | None:
        return None if value is None else pack(value)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> dict[str, Any] | None:
        return None if value is None else unpack(value)


class FilePath(TypeDecorator[Path]):
    """A path of the file system, also one that is not valid UTF-8."""

    impl = Text
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
    """Text that may quote a file's name, whose bytes need not be text: those become ``\\xff``."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else value.encode("utf-8", "backslashreplace").decode()


class Base(DeclarativeBase):
    # Named constraints, so that a migration on any database can find them.
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def _as_named(context: Any) -> Any:
    return context.get_current_parameters()["name"]


class RecordRow(Base):
    """The record itself, a single row: which one it is, and when a backup last took its place."""

    __tablename__ = "record"

    number: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(36))
    made_at: Mapped[datetime] = mapped_column(UtcDateTime)
    restored_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    restored_from: Mapped[str | None] = mapped_column(AnyText)


class DishRow(Base):
    """One line: a dish from its seeding to its end."""

    __tablename__ = "dish"
    __table_args__ = (Index("ix_dish_label_source", "label", "source"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(AnyText, unique=True)
    # What the source's names call the place; lines that follow one another there share both.
    label: Mapped[str] = mapped_column(AnyText, default=_as_named)
    source: Mapped[str] = mapped_column(String(100))
    began_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("dish.id"), index=True)
    passage: Mapped[int] = mapped_column(default=0, server_default="0")
    next_colony: Mapped[int] = mapped_column(default=1, server_default="1")
    status: Mapped[str] = mapped_column(String(20), default="unknown")
    status_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    severity: Mapped[str | None] = mapped_column(String(20))
    # The last scan that showed something else than the one before, and how many did not since.
    last_new_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    repeats: Mapped[int] = mapped_column(default=0, server_default="0")
    # By which zone those of its captures' times were read that name none.
    zone: Mapped[str | None] = mapped_column(String(64))
    # From here on its scans are to be decided on (again): something came late, or was put right.
    undecided_since: Mapped[datetime | None] = mapped_column(Moment)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class SourceRow(Base):
    """A source as it was last configured: so that a new name for its folder is noticed.

    host : a folder of the same path on another machine is another folder
    """

    __tablename__ = "source"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    host: Mapped[str] = mapped_column(AnyText)
    path: Mapped[Path] = mapped_column(FilePath)


class AnnotationRow(Base):
    """What a person wrote beside a dish's series."""

    __tablename__ = "annotation"
    __table_args__ = (Index("ix_annotation_dish_id_at", "dish_id", "at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    dish_id: Mapped[int] = mapped_column(ForeignKey("dish.id"))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    text: Mapped[str] = mapped_column(AnyText)
    who: Mapped[str] = mapped_column(AnyText)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class AnalysisRow(Base):
    """A model under one set of settings: what measurements and readings rest on."""

    __tablename__ = "analysis"
    __table_args__ = (UniqueConstraint("model_sha256", "settings_sha256", "model_name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    model_name: Mapped[str] = mapped_column(AnyText)
    model_sha256: Mapped[str] = mapped_column(String(64))
    settings_sha256: Mapped[str] = mapped_column(String(64))


class FolderRow(Base):
    """A folder that files were seen in."""

    __tablename__ = "folder"

    id: Mapped[int] = mapped_column(primary_key=True)
    path: Mapped[Path] = mapped_column(FilePath, unique=True)


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
    __table_args__ = (UniqueConstraint("capture_id", "analysis_id", "beside"),)

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
    # What side-cars and companions said of it, as a hash; empty where there were none.
    beside: Mapped[str] = mapped_column(Digest(8), default="")
    # Last: the rest is read without its pages.
    detail: Mapped[dict[str, Any]] = mapped_column(Packed)

    analysis: Mapped[AnalysisRow] = relationship()


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
    created_at: Mapped[datetime] = mapped_column(Moment)

    analysis: Mapped[AnalysisRow] = relationship()


class ReadingColoniesRow(Base):
    """The colonies of a reading by their numbers; `maps`: where they lie, of the newest scans."""

    __tablename__ = "reading_colonies"

    reading_id: Mapped[int] = mapped_column(ForeignKey("reading.id"), primary_key=True)
    packed: Mapped[dict[str, Any]] = mapped_column(Packed)
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
    # "change": the course of the dish, or an alarm; "again": told once more; "replaced": what came
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


def new_mail_id() -> str:
    """By chance, so that no two records share one; later ones sort behind earlier ones."""
    return f"{time.time_ns():016x}{secrets.token_hex(8)}"


class OutboxRow(Base):
    """Something that must reach somebody; written in the transaction of the fact it speaks of."""

    __tablename__ = "outbox"
    __table_args__ = (Index("ix_outbox_delivered_at_next_try_at", "delivered_at", "next_try_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    channel: Mapped[str] = mapped_column(String(20))
    subject_id: Mapped[str] = mapped_column(String(40))
    recipient: Mapped[str] = mapped_column(AnyText)
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    next_try_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_error: Mapped[str | None] = mapped_column(AnyText)
    delivered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    delivered_to: Mapped[str | None] = mapped_column(AnyText)
    failed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # Name of the source, empty for the machine; what is about one source may share a mail.
    about: Mapped[str | None] = mapped_column(String(100))
    # The row whose mail this row shares.
    together: Mapped[int | None]
    # In the hands of somebody who sends it; if he dies, it is due again then.
    held_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # The last try found nobody there.
    unreachable: Mapped[bool] = mapped_column(default=False, server_default=false())
    # Of its mail: by chance, so that mails of two records can be told apart; kept over all tries.
    mail_id: Mapped[str] = mapped_column(String(40), default=new_mail_id)
    # Fingerprint of the settings with which it was refused; others may cure that.
    refused_with: Mapped[str | None] = mapped_column(String(64))


class DigestRow(Base):
    """A digest of the day that was put into the outbox, or the day from which on there are any."""

    __tablename__ = "digest"

    due_at: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    since: Mapped[datetime] = mapped_column(UtcDateTime)
    written_at: Mapped[datetime] = mapped_column(UtcDateTime)


class AuditRow(Base):
    """Who decided what, when. Only ever added to."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    who: Mapped[str] = mapped_column(AnyText)
    what: Mapped[str] = mapped_column(String(60))
    subject: Mapped[str] = mapped_column(AnyText)
    note: Mapped[str | None] = mapped_column(AnyText)


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
