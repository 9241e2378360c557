"""Dishes, the sources that they come from, and what people write about them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from monitor.record.tables.base import Base
from monitor.record.tables.column_types import AnyText, FilePath, Moment, UtcDateTime


def _as_named(context: Any) -> Any:
    return context.get_current_parameters()["name"]


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
    # Of a dish that is freshly passaged: from when on the usual rules judge it.
    judged_from: Mapped[datetime | None] = mapped_column(UtcDateTime)
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
