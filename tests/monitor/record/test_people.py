"""Accounts and sessions: who gets in, until when, and what nobody may do."""

from __future__ import annotations

from datetime import timedelta

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select

from monitor.culture import Person, Role
from monitor.errors import UsageError
from monitor.record.passwords import Passwords
from monitor.record.people import SessionRules
from monitor.record.store import Store
from monitor.record.tables import AuditRow, PersonRow, SessionRow
from tests.monitor.facts import NOW, hours, minutes

QUICK = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
SECRET, OTHER = "four quiet blue cells", "correct horse battery"
RULES = SessionRules(idle=hours(12), longest=timedelta(days=30))


@pytest.fixture
def people(store: Store):
    store.people.passwords = QUICK
    return store.people


def add(people, name: str = "Ada", role: Role = Role.ADMIN, password: str | None = SECRET):
    return people.add(name, role, password=password, who="root", now=NOW)


def begin(people, person: Person, now=NOW) -> str:
    return people.open_session(person, rules=RULES, address="192.0.2.7", agent="Firefox", now=now)


def audit(store: Store) -> list[tuple[str, str]]:
    with store.database.reading() as session:
        return [
            (row.who, row.what)
            for row in session.scalars(select(AuditRow).order_by(AuditRow.number))
        ]


def test_a_role_holds_what_the_lesser_ones_hold():
    assert Role.ADMIN.may(Role.OPERATOR)
    assert Role.OPERATOR.may(Role.VIEWER)
    assert Role.OPERATOR.may(Role.OPERATOR)
    assert not Role.VIEWER.may(Role.OPERATOR)
    assert not Role.OPERATOR.may(Role.ADMIN)


def test_the_right_password_and_no_other_names_a_person(people, store):
    add(people)
    assert people.check("Ada", SECRET).name == "Ada"
    assert people.check("  aDA ", SECRET).name == "Ada"
    assert people.check("Ada", SECRET + "x") is None
    assert people.check("Ada", "") is None
    assert people.check("Eve", SECRET) is None
    with store.database.reading() as session:
        kept = session.scalars(select(PersonRow.password_hash)).one()
    assert kept.startswith("$argon2id$")
    assert SECRET not in kept


def test_the_usual_hash_is_that_of_the_rfc():
    kept = Passwords().hash(SECRET)
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert Passwords().is_right(SECRET, kept)


def test_a_hash_of_a_former_kind_becomes_one_of_the_present_kind(people, store):
    add(people)
    people.passwords = Passwords(PasswordHasher(time_cost=2, memory_cost=8, parallelism=1))
    assert people.check("Ada", SECRET) is not None
    with store.database.reading() as session:
        assert "t=2" in session.scalars(select(PersonRow.password_hash)).one()


@pytest.mark.parametrize("form", ["Zo\u00eb Q", "Zoe\u0308 Q", "zo\u00eb  q"])
def test_one_name_has_one_account_however_it_is_typed(people, form):
    add(people, "Zo\u00eb Q")
    with pytest.raises(UsageError, match="such an account already"):
        add(people, form)


@pytest.mark.parametrize("name", ["", "  ", "x" * 61, "a\x00b", "a\u202eb", "colonywatch"])
def test_a_name_that_cannot_be_is_said(people, name):
    with pytest.raises(UsageError, match="name"):
        add(people, name)
    assert not people.exist()


@pytest.mark.parametrize(
    ("password", "says"),
    [
        ("short", "at least 10"),
        ("a" * 12, "guessed"),
        ("x" * 300, "at most"),
        ("ADAADAADAA", "few"),
    ],
)
def test_a_password_that_is_easily_guessed_is_refused(people, password, says):
    with pytest.raises(UsageError, match=says):
        add(people, password=password)


def test_the_first_account_is_an_admin(people):
    with pytest.raises(UsageError, match="first account has to be an admin"):
        add(people, role=Role.OPERATOR)
    add(people)
    assert add(people, "Bob", Role.VIEWER).role is Role.VIEWER


def test_there_is_always_an_admin(people):
    add(people)
    for act in (
        lambda: people.disable("Ada", who="Ada", now=NOW),
        lambda: people.set_role("Ada", Role.VIEWER, who="Ada", now=NOW),
    ):
        with pytest.raises(UsageError, match="only admin"):
            act()
    add(people, "Bob")
    people.disable("Ada", who="Bob", now=NOW)
    with pytest.raises(UsageError, match="only admin"):
        people.set_role("Bob", Role.OPERATOR, who="Bob", now=NOW)


def test_a_session_is_known_by_what_the_browser_holds_alone(people, store):
    token = begin(people, add(people))
    assert people.session_of(token, rules=RULES, now=NOW).person.name == "Ada"
    assert people.session_of(token + "x", rules=RULES, now=NOW) is None
    assert people.session_of("", rules=RULES, now=NOW) is None
    assert people.session_of("\udcff", rules=RULES, now=NOW) is None
    with store.database.reading() as session:
        kept = session.scalars(select(SessionRow.token_sha256)).one()
    assert token not in kept
    assert len(kept) == 64


def test_a_session_ends_when_it_is_not_used_and_after_its_longest_time(people):
    person = add(people)
    token = begin(people, person)
    assert people.session_of(token, rules=RULES, now=NOW + hours(11.9)) is not None
    assert people.session_of(token, rules=RULES, now=NOW + hours(23)) is not None
    assert people.session_of(token, rules=RULES, now=NOW + hours(36)) is None
    token = begin(people, person)
    for hour in range(0, 30 * 24, 8):
        assert people.session_of(token, rules=RULES, now=NOW + hours(hour)) is not None
    assert people.session_of(token, rules=RULES, now=NOW + timedelta(days=30)) is None


def test_looking_again_and_again_writes_once_in_five_minutes(people):
    token = begin(people, add(people))
    for later in (1, 4):
        people.session_of(token, rules=RULES, now=NOW + minutes(later))
    assert people.person("Ada").seen_at == NOW
    people.session_of(token, rules=RULES, now=NOW + minutes(6))
    assert people.person("Ada").seen_at == NOW + minutes(6)


def test_who_is_disabled_is_out_at_once(people):
    add(people)
    token = begin(people, add(people, "Bob", Role.OPERATOR))
    people.disable("bob", who="Ada", now=NOW)
    assert people.session_of(token, rules=RULES, now=NOW) is None
    assert people.check("Bob", SECRET) is None
    assert people.find("Bob") is None
    people.enable("Bob", who="Ada", now=NOW)
    assert people.session_of(token, rules=RULES, now=NOW) is None
    assert people.check("Bob", SECRET) is not None


def test_a_new_role_holds_in_sessions_that_are_open(people):
    add(people)
    token = begin(people, add(people, "Bob", Role.VIEWER))
    people.set_role("Bob", Role.OPERATOR, who="Ada", now=NOW)
    assert people.session_of(token, rules=RULES, now=NOW).person.role is Role.OPERATOR


def test_a_new_password_ends_all_sessions_but_the_one_it_was_set_in(people):
    person = add(people)
    here, there = begin(people, person), begin(people, person)
    mine = people.session_of(here, rules=RULES, now=NOW)
    people.set_password("Ada", OTHER, who="Ada", now=NOW, but=mine.id)
    assert people.session_of(here, rules=RULES, now=NOW) is not None
    assert people.session_of(there, rules=RULES, now=NOW) is None
    assert people.check("Ada", SECRET) is None
    assert people.check("Ada", OTHER) is not None


def test_a_session_is_ended_by_its_number_by_nobody_but_its_person(people):
    ada = add(people)
    bob = add(people, "Bob")
    token = begin(people, ada)
    (one,) = people.sessions("Ada", rules=RULES, now=NOW)
    people.end_session(one.id, of=bob, who="Bob", now=NOW)
    assert people.session_of(token, rules=RULES, now=NOW) is not None
    people.end_session(one.id, of=ada, who="Ada", now=NOW)
    assert people.session_of(token, rules=RULES, now=NOW) is None
    assert people.sessions("Ada", rules=RULES, now=NOW) == []


def test_a_person_has_so_many_sessions_and_no_more(people):
    person = add(people)
    for number in range(60):
        begin(people, person, NOW + minutes(number))
    left = people.sessions("Ada", rules=RULES, now=NOW + hours(1))
    assert len(left) == 50
    assert left[-1].made_at == NOW + minutes(10)


def test_without_a_password_nobody_signs_in_by_one(people):
    person = add(people, password=None)
    assert not person.has_password
    assert people.check("Ada", "") is None
    assert people.check("Ada", "nobody's password") is None
    assert people.find("ADA") == person


def test_each_change_of_who_may_do_what_is_in_the_audit(people, store):
    add(people)
    bob = add(people, "Bob", Role.VIEWER)
    people.set_role("Bob", Role.OPERATOR, who="Ada", now=NOW)
    people.set_role("Bob", Role.OPERATOR, who="Ada", now=NOW)  # nothing new
    begin(people, bob)
    people.set_password("Bob", OTHER, who="Bob", now=NOW)
    people.disable("Bob", who="Ada", now=NOW)
    people.enable("Bob", who="Ada", now=NOW)
    assert audit(store) == [
        ("root", "account made"),
        ("root", "account made"),
        ("Ada", "account's role changed"),
        ("Bob", "signed in"),
        ("Bob", "account's password changed"),
        ("Ada", "account disabled"),
        ("Ada", "account enabled"),
    ]
