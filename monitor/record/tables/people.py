"""People who may use the pages, their sessions there, and the forms that they sent."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from monitor.record.tables.base import Base
from monitor.record.tables.column_types import AnyText, UtcDateTime


class PersonRow(Base):
    """An account. It is never removed, since acts name it."""

    __tablename__ = "person"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(AnyText)
    # By which it is found and told from others, whatever its letters' case.
    key: Mapped[str] = mapped_column(AnyText, unique=True)
    role: Mapped[str] = mapped_column(String(20))
    password_hash: Mapped[str | None] = mapped_column(String(300))
    made_at: Mapped[datetime] = mapped_column(UtcDateTime)
    disabled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    seen_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ActRow(Base):
    """A form that was carried out, by its key, so that it is not carried out twice."""

    __tablename__ = "act"

    key: Mapped[str] = mapped_column(String(80), primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)


class TokenRow(Base):
    """What a program shows on behalf of a person; only its hash stands here."""

    __tablename__ = "token"

    id: Mapped[int] = mapped_column(primary_key=True)
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id"), index=True)
    label: Mapped[str] = mapped_column(AnyText)
    made_at: Mapped[datetime] = mapped_column(UtcDateTime)
    seen_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class SessionRow(Base):
    """Somebody who has signed in with a browser. Whoever reads the record cannot go on with it:
    only the hash of what the browser holds stands here.
    """

    __tablename__ = "session"

    id: Mapped[int] = mapped_column(primary_key=True)
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id"), index=True)
    made_at: Mapped[datetime] = mapped_column(UtcDateTime)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ends_at: Mapped[datetime] = mapped_column(UtcDateTime)
    address: Mapped[str] = mapped_column(AnyText)
    agent: Mapped[str] = mapped_column(AnyText)
