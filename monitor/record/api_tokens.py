"""Tokens that programs show on behalf of people. Made and revoked by their person; audited."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update

from monitor.culture import ApiToken, Person
from monitor.errors import UsageError
from monitor.record.audit import append
from monitor.record.database import Database
from monitor.record.people import as_person
from monitor.record.tables import PersonRow, TokenRow

PREFIX = "cw_"
"""Programs that look for secrets in files know a token by it."""
LONGEST_LABEL = 60
MOST_TOKENS = 20
_TOKEN_BYTES = 32
_SEEN_EVERY = timedelta(minutes=5)


class ApiTokens:
    def __init__(self, database: Database) -> None:
        self._database = database

    def make(self, person: Person, label: str, *, who: str, now: datetime) -> str:
        """What the program is given to be known by; it stands nowhere else.

        Raises UsageError for a label that says nothing, or where there are too many.
        """
        label = " ".join(label.split())
        if not label or len(label) > LONGEST_LABEL or not label.isprintable():
            raise UsageError(f"say what the token is for, in 1 to {LONGEST_LABEL} letters")
        token = PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)
        with self._database.writing() as session:
            own = select(func.count()).where(TokenRow.person_id == person.id)
            if (session.scalar(own) or 0) >= MOST_TOKENS:
                raise UsageError(
                    f"{person.name}: has {MOST_TOKENS} tokens already; revoke one that is not used"
                )
            session.add(
                TokenRow(
                    token_sha256=_sha256(token),
                    person_id=person.id,
                    label=label,
                    made_at=now,
                )
            )
            append(session, now=now, who=who, what="token made", about=person.name, why=label)
        return token

    def of(self, person: Person) -> list[ApiToken]:
        """A person's, the newest first."""
        with self._database.reading() as session:
            rows = session.scalars(
                select(TokenRow)
                .where(TokenRow.person_id == person.id)
                .order_by(TokenRow.made_at.desc(), TokenRow.id.desc())
            )
            return [ApiToken(row.id, row.label, row.made_at, row.seen_at) for row in rows]

    def revoke(self, number: int, *, of: Person, who: str, now: datetime) -> None:
        """Nothing happens where the person has no token of this number any more."""
        with self._database.writing() as session:
            row = session.scalar(
                select(TokenRow).where(TokenRow.id == number, TokenRow.person_id == of.id)
            )
            if row is not None:
                session.execute(delete(TokenRow).where(TokenRow.id == number))
                append(
                    session, now=now, who=who, what="token revoked", about=of.name, why=row.label
                )

    def person_of(self, token: str, *, now: datetime) -> Person | None:
        """On whose behalf it is shown; None for no token, and where the account is disabled."""
        with self._database.reading() as session:
            found = session.execute(
                select(TokenRow, PersonRow)
                .join(PersonRow, PersonRow.id == TokenRow.person_id)
                .where(TokenRow.token_sha256 == _sha256(token))
            ).first()
            if found is None or found[1].disabled_at is not None:
                return None
            number, seen_at, person = found[0].id, found[0].seen_at, as_person(found[1])
        if seen_at is None or now - seen_at >= _SEEN_EVERY:
            with self._database.writing(durable=False) as session:
                session.execute(update(TokenRow).where(TokenRow.id == number).values(seen_at=now))
        return person


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
