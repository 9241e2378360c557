"""What is to be sent, and what was."""

from __future__ import annotations

import secrets
import time
from datetime import datetime

from sqlalchemy import Index, String, false
from sqlalchemy.orm import Mapped, mapped_column

from monitor.record.tables.base import Base
from monitor.record.tables.column_types import AnyText, UtcDateTime


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
