"""People who look at the pages and decide there, and what each may do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Role(StrEnum):
    """From less to more: who may do something may do all that stands before it."""

    VIEWER = "viewer"  # looks
    OPERATOR = "operator"  # answers alerts, decides on dishes and plans
    ADMIN = "admin"  # makes accounts

    def may(self, needed: Role) -> bool:
        order = list(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True)
class Person:
    """An account.

    has_password : False where only a web server in front can say who it is
    disabled_at : since then nobody gets in by it; None = it is in use
    seen_at : last sign of life on the pages, to five minutes
    """

    id: int
    name: str
    role: Role
    made_at: datetime
    has_password: bool
    disabled_at: datetime | None = None
    seen_at: datetime | None = None


@dataclass(frozen=True)
class ApiToken:
    """What a program of a person shows instead of a password. It may look, and nothing else.

    label : what it is for, in the person's words
    seen_at : when it was used last, to five minutes; None = never
    """

    id: int
    label: str
    made_at: datetime
    seen_at: datetime | None


@dataclass(frozen=True)
class PageSession:
    """Somebody who has signed in with a browser, until the session ends.

    ends_at : at the latest; earlier where it is not used
    address, agent : where from, and with what, as the browser said
    """

    id: int
    person: Person
    made_at: datetime
    seen_at: datetime
    ends_at: datetime
    address: str
    agent: str
