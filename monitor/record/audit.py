"""The audit trail: written with the act that it tells of, in one transaction, and never changed.

Entries of a transaction are chained just before it is committed. On SQLite only one program
writes at a time anyway; elsewhere a lock is held from there to the commit, so that no two entries
follow the same one. So late, it is the last lock that a transaction takes, and none waits for
another in a circle.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import event, func, inspect, select, text
from sqlalchemy.orm import Session, SessionTransaction

from monitor.culture import AuditEntry, Head, Verdict
from monitor.culture.audit_trail import as_json, beginning, hash_of, plain, verdict_on
from monitor.record.tables import AuditRow, RecordRow

_UNWRITTEN = "audit: unwritten"
_SAVEPOINTS = "audit: savepoints"
# Of PostgreSQL's advisory locks, which are numbered; any number of our own.
_LOCK = 7_116_290_023
LONGEST_WHAT = 60
_PORTION = 2_000


class AuditedSession(Session):
    """A session that chains what `append` was given when it commits."""


def append(
    session: Session,
    *,
    now: datetime,
    who: str,
    what: str,
    about: str,
    why: str | None = None,
    before: Any = None,
    after: Any = None,
) -> None:
    """One entry, on record if and only if the session's transaction is.

    now : time of the act, with its zone
    who : the person, or "colonywatch" for what the program does by itself
    what : the act, in the same words each time ("alert acknowledged"), 60 letters at most
    about : what it is done to: a dish, a plan, the number of an alert
    why : the reason or note that was given
    before, after : what was so; all that JSON can hold. No secrets
    """
    if not isinstance(session, AuditedSession):
        raise TypeError(
            "the audit trail is written in a transaction of the record (Database.writing)"
        )
    if now.tzinfo is None:
        raise TypeError("a time without a zone must not reach the database")
    assert 0 < len(what) <= LONGEST_WHAT, what
    session.info.setdefault(_UNWRITTEN, []).append(
        AuditEntry(
            number=0,
            at=now.astimezone(UTC),
            who=plain(who),
            what=plain(what),
            about=plain(about),
            why=None if why is None else plain(why),
            before=as_json(before),
            after=as_json(after),
            previous="",
            hash="",
        )
    )


def entries(
    session: Session, *, about: str | None = None, newest: int | None = None
) -> Iterator[AuditEntry]:
    """Those that are written, oldest first, without all of them being held at once.

    about : only what was done to it
    newest : only so many, the last ones
    """
    query = select(AuditRow).order_by(AuditRow.number)
    if about is not None:
        query = query.where(AuditRow.about == about)
    if newest is not None:
        total = select(func.count()).select_from(query.subquery())
        query = query.offset(max(0, (session.scalar(total) or 0) - newest))
    for row in session.scalars(query.execution_options(yield_per=_PORTION)):
        yield _entry(row)
        session.expunge(row)


def head(session: Session) -> Head | None:
    """The newest entry that is written."""
    row = session.execute(
        select(AuditRow.number, AuditRow.hash).order_by(AuditRow.number.desc()).limit(1)
    ).first()
    return None if row is None else Head(row.number, row.hash)


def verify(session: Session, kept: Collection[Head] = ()) -> Verdict:
    """Is the trail whole, and does the database still refuse to change it?

    kept : heads that were noted earlier
    """
    found = verdict_on(entries(session), first_previous=_beginning(session), kept=kept)
    missing = sorted(TRIGGERS[_dialect(session)] - _triggers(session))
    if missing:
        names = ", ".join(missing)
        found = replace(
            found,
            problems=(
                *found.problems,
                f"the database does not protect the table audit any more (missing: {names})",
            ),
        )
    return found


def chained(entry: AuditEntry, after: Head | None, first_previous: str) -> AuditEntry:
    """The entry with its number and hash, behind the one that is the newest so far."""
    number, previous = (1, first_previous) if after is None else (after.number + 1, after.hash)
    numbered = replace(entry, number=number, previous=previous)
    return replace(numbered, hash=hash_of(numbered))


# --- what the database itself refuses -----------------------------------------------------------

_REFUSAL = "the audit trail is only ever added to"
_SQLITE = {
    "audit_no_update": f"CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit "
    f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END",
    "audit_no_delete": f"CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit "
    f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END",
    # INSERT OR REPLACE deletes without asking the trigger above.
    "audit_only_at_the_end": "CREATE TRIGGER audit_only_at_the_end BEFORE INSERT ON audit "
    "WHEN NEW.number <= (SELECT max(number) FROM audit) "
    f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END",  # nosec B608 # a constant
}
_POSTGRESQL = {
    "audit_no_change": "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit "
    "FOR EACH ROW EXECUTE FUNCTION audit_refuse()",
    "audit_no_truncate": "CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit "
    "FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()",
}
_POSTGRESQL_FUNCTION = (
    "CREATE OR REPLACE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS "
    f"$$ BEGIN RAISE EXCEPTION '{_REFUSAL}'; END $$"
)
TRIGGERS = {"sqlite": frozenset(_SQLITE), "postgresql": frozenset(_POSTGRESQL)}


def protection(dialect: str) -> list[str]:
    """The SQL that makes the database refuse to change an entry. For migrations: they have to be
    made again where one makes the table anew.
    """
    if dialect == "postgresql":
        return [_POSTGRESQL_FUNCTION, *_POSTGRESQL.values()]
    return list(_SQLITE.values()) if dialect == "sqlite" else []


def _triggers(session: Session) -> set[str]:
    if _dialect(session) == "sqlite":
        query = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit'"
    else:
        query = (
            "SELECT tgname FROM pg_trigger WHERE tgrelid = 'audit'::regclass AND tgenabled = 'O'"
        )
    return set(session.scalars(text(query)))


# --- the chain ----------------------------------------------------------------------------------


@event.listens_for(AuditedSession, "before_commit")
def _write(session: Session) -> None:
    """Chain what this transaction has to tell, in the order in which it was done."""
    if session.in_nested_transaction():
        return  # only a savepoint ends
    unwritten: list[AuditEntry] = session.info.pop(_UNWRITTEN, [])
    if not unwritten:
        return
    session.flush()
    if _dialect(session) == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    newest, begins = head(session), _beginning(session)
    for entry in unwritten:
        entry = chained(entry, newest, begins)
        session.add(_row(entry))
        newest = entry.head
    session.flush()


@event.listens_for(AuditedSession, "after_transaction_create")
def _note_savepoint(session: Session, transaction: SessionTransaction) -> None:
    if transaction.nested:
        marks = session.info.setdefault(_SAVEPOINTS, {})
        marks[transaction] = len(session.info.get(_UNWRITTEN, ()))


@event.listens_for(AuditedSession, "after_soft_rollback")
def _forget(session: Session, transaction: SessionTransaction) -> None:
    """What was done since a savepoint is undone, and nothing is told of it."""
    mark = session.info.get(_SAVEPOINTS, {}).pop(transaction, 0)
    del session.info.get(_UNWRITTEN, [])[mark:]


def _dialect(session: Session) -> str:
    return str(inspect(session.get_bind()).dialect.name)


def _beginning(session: Session) -> str:
    return beginning(session.scalar(select(RecordRow.key)))


def _row(entry: AuditEntry) -> AuditRow:
    return AuditRow(
        number=entry.number, at=entry.at, who=entry.who, what=entry.what, about=entry.about,
        why=entry.why, before=entry.before, after=entry.after, previous=entry.previous,
        hash=entry.hash,
    )  # fmt: skip


def _entry(row: AuditRow) -> AuditEntry:
    return AuditEntry(
        number=row.number, at=row.at, who=row.who, what=row.what, about=row.about, why=row.why,
        before=row.before, after=row.after, previous=row.previous, hash=row.hash,
    )  # fmt: skip
