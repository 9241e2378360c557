"""Accounts of the pages and their sessions. Everything that changes who may do what is audited."""

from __future__ import annotations

import hashlib
import secrets
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from monitor.culture import PageSession, Person, Role
from monitor.errors import UsageError
from monitor.record.audit import append
from monitor.record.database import Database
from monitor.record.passwords import Passwords, refuse_weak
from monitor.record.tables import PersonRow, SessionRow

LONGEST_NAME = 60
_OURS = ("colonywatch",)
# The hash of a session's token tells it from others; the token itself cannot be guessed.
_TOKEN_BYTES = 32
_SEEN_EVERY = timedelta(minutes=5)
_LONGEST_AGENT = 200
_MOST_SESSIONS = 50


@dataclass(frozen=True)
class SessionRules:
    """idle : it ends when it was not used for so long; longest : and after that in any case"""

    idle: timedelta
    longest: timedelta


class PeopleRecord:
    """passwords : how they are kept and checked"""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.passwords = Passwords()

    # --- accounts ------------------------------------------------------------------------------

    def exist(self) -> bool:
        """Was any account ever made?"""
        with self._database.reading() as session:
            return session.scalar(select(PersonRow.id).limit(1)) is not None

    def all(self) -> list[Person]:
        """Every account, those that are in use first, by name."""
        with self._database.reading() as session:
            rows = session.scalars(select(PersonRow))
            people = [as_person(row) for row in rows]
        return sorted(people, key=lambda one: (one.disabled_at is not None, one.name.casefold()))

    def person(self, name: str) -> Person:
        """Raises UsageError for a name that has no account."""
        with self._database.reading() as session:
            return as_person(_row(session, name))

    def find(self, name: str) -> Person | None:
        """The account of that name that is in use."""
        with self._database.reading() as session:
            row = session.scalar(select(PersonRow).where(PersonRow.key == _key(name)))
            return None if row is None or row.disabled_at is not None else as_person(row)

    def add(
        self, name: str, role: Role, *, password: str | None, who: str, now: datetime
    ) -> Person:
        """password : None = only a web server in front can say that it is this person

        Raises UsageError where the name is taken or none, the password is easily guessed, or the
        first account is no admin's.
        """
        name = _sound_name(name)
        kept = self._kept(password, name)
        with self._database.writing() as session:
            taken = session.scalar(select(PersonRow).where(PersonRow.key == _key(name)))
            if taken is not None:
                state = "is disabled" if taken.disabled_at is not None else "exists"
                raise UsageError(f"{taken.name}: there is such an account already; it {state}")
            first = session.scalar(select(func.count()).select_from(PersonRow)) == 0
            if first and role is not Role.ADMIN:
                raise UsageError(
                    f"{name}: the first account has to be an admin, so that somebody can make the "
                    "others (--role admin)"
                )
            row = PersonRow(name=name, key=_key(name), role=role, password_hash=kept, made_at=now)
            session.add(row)
            session.flush()
            _audit(session, now, who, "account made", name, str(role))
            return as_person(row)

    def set_role(self, name: str, role: Role, *, who: str, now: datetime) -> Person:
        """Raises UsageError where no admin would be left."""
        with self._database.writing() as session:
            row = _row(session, name)
            if row.role == role:
                return as_person(row)
            if role is not Role.ADMIN:
                _refuse_last_admin(session, row)
            before, row.role = row.role, role
            append(
                session, now=now, who=who, what="account's role changed", about=row.name,
                before=before, after=str(role),
            )  # fmt: skip
            return as_person(row)

    def disable(self, name: str, *, who: str, now: datetime) -> Person:
        """Nobody gets in by it any more, and its sessions end. Raises UsageError as above."""
        with self._database.writing() as session:
            row = _row(session, name)
            if row.disabled_at is None:
                _refuse_last_admin(session, row)
                row.disabled_at = now
                _end_sessions(session, row)
                _audit(session, now, who, "account disabled", row.name, None)
            return as_person(row)

    def enable(self, name: str, *, who: str, now: datetime) -> Person:
        with self._database.writing() as session:
            row = _row(session, name)
            if row.disabled_at is not None:
                row.disabled_at = None
                _audit(session, now, who, "account enabled", row.name, None)
            return as_person(row)

    def set_password(
        self, name: str, password: str, *, who: str, now: datetime, but: int | None = None
    ) -> Person:
        """Its sessions end, except that of the number `but`. Raises UsageError."""
        kept = self._kept(password, self.person(name).name)
        with self._database.writing() as session:
            row = _row(session, name)
            row.password_hash = kept
            _end_sessions(session, row, but=but)
            _audit(session, now, who, "account's password changed", row.name, None)
            return as_person(row)

    def check(self, name: str, password: str) -> Person | None:
        """Whose name and password these are; None where they do not fit, or the account is
        disabled. It takes as long either way.
        """
        with self._database.reading() as session:
            row = session.scalar(select(PersonRow).where(PersonRow.key == _key(name)))
            usable = row is not None and row.disabled_at is None
            kept = row.password_hash if row is not None and usable else None
            person = as_person(row) if row is not None and usable else None
        if not self.passwords.is_right(password, kept) or person is None or kept is None:
            return None
        if self.passwords.is_outdated(kept):
            fresh = self.passwords.hash(password)
            with self._database.writing(durable=False) as session:
                session.execute(
                    update(PersonRow)
                    .where(PersonRow.id == person.id, PersonRow.password_hash == kept)
                    .values(password_hash=fresh)
                )
        return person

    def _kept(self, password: str | None, name: str) -> str | None:
        if password is None:
            return None
        refuse_weak(password, name)
        return self.passwords.hash(password)

    # --- sessions ------------------------------------------------------------------------------

    def open_session(
        self, person: Person, *, rules: SessionRules, address: str, agent: str, now: datetime
    ) -> str:
        """What the browser is given to be known by; it stands nowhere else. Old sessions go."""
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        with self._database.writing() as session:
            session.execute(
                delete(SessionRow).where(
                    (SessionRow.ends_at <= now) | (SessionRow.seen_at <= now - rules.longest)
                )
            )
            own = select(SessionRow.id).where(SessionRow.person_id == person.id)
            surplus = own.order_by(SessionRow.seen_at.desc()).offset(_MOST_SESSIONS - 1)
            old = session.scalars(surplus).all()
            session.execute(delete(SessionRow).where(SessionRow.id.in_(old)))
            session.add(
                SessionRow(
                    token_sha256=_sha256(token),
                    person_id=person.id,
                    made_at=now,
                    seen_at=now,
                    ends_at=now + rules.longest,
                    address=address,
                    agent=agent[:_LONGEST_AGENT],
                )
            )
            session.get_one(PersonRow, person.id).seen_at = now
            _audit(session, now, person.name, "signed in", person.name, f"from {address}")
        return token

    def session_of(self, token: str, *, rules: SessionRules, now: datetime) -> PageSession | None:
        """The session that a browser shows; None where it has ended or there is none."""
        with self._database.reading() as session:
            found = session.execute(
                select(SessionRow, PersonRow)
                .join(PersonRow, PersonRow.id == SessionRow.person_id)
                .where(SessionRow.token_sha256 == _sha256(token))
            ).first()
            if found is None:
                return None
            row, person = found
            idle_until = row.seen_at + rules.idle
            is_over = now >= min(row.ends_at, idle_until) or person.disabled_at is not None
            told = None if is_over else _session(row, person)
        if told is not None and now - told.seen_at >= _SEEN_EVERY:
            self._see(told, now)
        return told

    def _see(self, one: PageSession, now: datetime) -> None:
        with self._database.writing(durable=False) as session:
            session.execute(update(SessionRow).where(SessionRow.id == one.id).values(seen_at=now))
            session.execute(
                update(PersonRow).where(PersonRow.id == one.person.id).values(seen_at=now)
            )

    def sessions(self, name: str, *, rules: SessionRules, now: datetime) -> list[PageSession]:
        """Those of an account that can be gone on with, the last used first."""
        with self._database.reading() as session:
            person = _row(session, name)
            rows = session.scalars(
                select(SessionRow)
                .where(
                    SessionRow.person_id == person.id,
                    SessionRow.ends_at > now,
                    SessionRow.seen_at > now - rules.idle,
                )
                .order_by(SessionRow.seen_at.desc(), SessionRow.id.desc())
            )
            return [_session(row, person) for row in rows]

    def end_session(self, number: int, *, of: Person, who: str, now: datetime) -> None:
        """Nothing happens where the person has no session of this number any more."""
        with self._database.writing() as session:
            gone = session.execute(
                delete(SessionRow).where(SessionRow.id == number, SessionRow.person_id == of.id)
            )
            if gone.rowcount:  # type: ignore[attr-defined]
                _audit(session, now, who, "signed out", of.name, None)

    def end_sessions(self, name: str, *, who: str, now: datetime) -> int:
        """All of an account's. Returns how many there were."""
        with self._database.writing() as session:
            row = _row(session, name)
            count = _end_sessions(session, row)
            if count:
                _audit(session, now, who, "signed out", row.name, f"{count} sessions")
            return count


def _refuse_last_admin(session: Session, row: PersonRow) -> None:
    others = session.scalar(
        select(func.count()).where(
            PersonRow.role == Role.ADMIN, PersonRow.disabled_at.is_(None), PersonRow.id != row.id
        )
    )
    if row.role == Role.ADMIN and not others:
        raise UsageError(f"{row.name}: is the only admin; make somebody else an admin first")


def _end_sessions(session: Session, row: PersonRow, *, but: int | None = None) -> int:
    query = delete(SessionRow).where(SessionRow.person_id == row.id)
    if but is not None:
        query = query.where(SessionRow.id != but)
    return int(session.execute(query).rowcount)  # type: ignore[attr-defined]


def _row(session: Session, name: str) -> PersonRow:
    row = session.scalar(select(PersonRow).where(PersonRow.key == _key(name)))
    if row is None:
        raise UsageError(f"{name}: there is no account of this name; see colonywatch users list")
    return row


def _sound_name(name: str) -> str:
    sound = " ".join(unicodedata.normalize("NFC", name).split())
    if not sound or len(sound) > LONGEST_NAME or not sound.isprintable():
        raise UsageError(
            f"an account's name has 1 to {LONGEST_NAME} letters, such as ada or Ada Lovelace"
        )
    if _key(sound) in _OURS:
        raise UsageError(f"{sound}: is how the program itself signs; choose another name")
    return sound


def _key(name: str) -> str:
    return unicodedata.normalize("NFKC", " ".join(name.split())).casefold()


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def as_person(row: PersonRow) -> Person:
    return Person(
        id=row.id,
        name=row.name,
        role=Role(row.role),
        made_at=row.made_at,
        has_password=row.password_hash is not None,
        disabled_at=row.disabled_at,
        seen_at=row.seen_at,
    )


def _session(row: SessionRow, person: PersonRow) -> PageSession:
    return PageSession(
        id=row.id,
        person=as_person(person),
        made_at=row.made_at,
        seen_at=row.seen_at,
        ends_at=row.ends_at,
        address=row.address,
        agent=row.agent,
    )


def _audit(
    session: Session, now: datetime, who: str, what: str, subject: str, note: str | None
) -> None:
    append(session, now=now, who=who, what=what, about=subject, why=note)
