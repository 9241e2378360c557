"""The audit trail: who decided what, about what, when and why, each entry chained to the former.

An entry's hash covers its own content and the hash of the entry before. So whoever changes, removes
or reorders one has to make all hashes after it anew, and whoever has kept the newest hash from
before sees it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

# What is hashed, and in which order; a change of it is a new form beside this one.
_FORM = "colonywatch audit 1"
# A spreadsheet that opens an export takes none of them for the beginning of a formula.
_FORMULA = {ord(letter): f"\\u{ord(letter):04x}" for letter in "=+-@"}
_CONTROL = {number: f"\\x{number:02x}" for number in (*range(9), 11, 12, *range(14, 32), 127)}
MOST_PROBLEMS = 20


@dataclass(frozen=True)
class Head:
    """An entry by its number and hash. Kept elsewhere, it vouches for all entries up to it."""

    number: int
    hash: str


@dataclass(frozen=True)
class AuditEntry:
    """number : 1, 2, 3 ... without a gap
    what : the act, in the same few words each time ("alert acknowledged")
    about : the dish, plan, alert, source or user that it was done to
    before, after : what was so, as JSON text; None where it does not apply
    previous : hash of the entry before; of the first, `beginning` of the record
    """

    number: int
    at: datetime
    who: str
    what: str
    about: str
    why: str | None
    before: str | None
    after: str | None
    previous: str
    hash: str

    @property
    def head(self) -> Head:
        return Head(self.number, self.hash)


@dataclass(frozen=True)
class Verdict:
    """entries : looked at
    problems : what is wrong, a sentence each; none = nothing was found
    head : the newest entry; None where there is none
    """

    entries: int
    problems: tuple[str, ...]
    head: Head | None


def beginning(record_key: str | None) -> str:
    """What the first entry is chained to: the record itself."""
    return hashlib.sha256(f"{_FORM} of record {record_key or ''}".encode()).hexdigest()


def plain(text: str) -> str:
    """The text as every database keeps it: bytes that are no text, and control characters other
    than tabs and ends of lines, as ``\\xff``.
    """
    return text.encode("utf-8", "backslashreplace").decode().translate(_CONTROL)


def as_json(value: Any) -> str | None:
    """What was so before or after, as it is kept. Raises TypeError for what JSON cannot hold."""
    if value is None:
        return None
    return json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"))


def content_of(entry: AuditEntry) -> str:
    """All that an entry says, and the hash of the one before, as the JSON that is hashed."""
    content = [
        _FORM,
        entry.number,
        entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        entry.who,
        entry.what,
        entry.about,
        entry.why,
        entry.before,
        entry.after,
        entry.previous,
    ]
    return json.dumps(content, ensure_ascii=True, separators=(",", ":")).translate(_FORMULA)


def hash_of(entry: AuditEntry) -> str:
    """SHA-256 of `content_of`, in hexadecimal."""
    return hashlib.sha256(content_of(entry).encode()).hexdigest()


def read_content(text: str) -> AuditEntry:
    """The entry that this is the content of. Raises ValueError where it is none."""
    try:
        form, number, at, *said, previous = json.loads(text)
        who, what, about, why, before, after = said
        if form != _FORM or not isinstance(number, int):
            raise ValueError(form)
        read = AuditEntry(
            number, datetime.fromisoformat(at), who, what, about, why, before, after, previous,
            hashlib.sha256(text.encode()).hexdigest(),
        )  # fmt: skip
    except (TypeError, ValueError, RecursionError) as problem:
        raise ValueError("is no content of an entry of the audit trail") from problem
    return read


def verdict_on(
    entries: Iterable[AuditEntry], *, first_previous: str | None, kept: Iterable[Head] = ()
) -> Verdict:
    """Is the chain whole?

    entries : by their numbers, all of them
    first_previous : `beginning` of the record; None where it is not known
    kept : heads that were noted earlier, each of which must be found again

    Finds an entry that was edited, removed, put in or moved. That entries are missing at the end
    is found only by what was kept.
    """
    problems: list[str] = []
    wanted: dict[int, set[str]] = {}
    for head in kept:
        wanted.setdefault(head.number, set()).add(head.hash)
    count, last = 0, None
    for entry in entries:
        count += 1
        if len(problems) <= MOST_PROBLEMS:
            problems.extend(_problems_of(entry, last, first_previous))
            if wanted.get(entry.number, {entry.hash}) != {entry.hash}:
                problems.append(
                    f"entry {entry.number}: another one stood there when its head was kept: "
                    "the trail was written anew since"
                )
        last = entry
    reached = 0 if last is None else last.number
    missing = max((number for number in wanted if number > reached), default=None)
    if missing is not None:
        problems.append(
            f"the trail ends with entry {reached}, but had {missing} when its head was kept: "
            f"{missing - reached} are missing at its end"
        )
    if len(problems) > MOST_PROBLEMS:
        problems = [*problems[:MOST_PROBLEMS], "and more after that"]
    return Verdict(count, tuple(problems), None if last is None else last.head)


def _problems_of(
    entry: AuditEntry, last: AuditEntry | None, first_previous: str | None
) -> Iterable[str]:
    due = 1 if last is None else last.number + 1
    if entry.number != due:
        gap = entry.number - due
        yield (
            f"entry {entry.number} stands where {due} is due: "
            + (f"{gap} before it are missing" if gap > 0 else "the order was changed")
        )
    elif last is not None and entry.previous != last.hash:
        yield f"entry {entry.number}: does not follow from entry {last.number} as that stands"
    elif last is None and first_previous is not None and entry.previous != first_previous:
        yield f"entry {entry.number}: is not the first entry of this record"
    if entry.hash != hash_of(entry):
        yield f"entry {entry.number}: was changed after it was written"
