"""Tokens: a program looks on behalf of a person, at the API alone, until somebody ends it."""

from __future__ import annotations

import re

import pytest

from monitor.culture import Role
from monitor.record.api_tokens import MOST_TOKENS
from tests.monitor.facts import hours
from tests.monitor.outlets.dashboard.visits import opened, send


@pytest.fixture
def house(fresh_database, tmp_path):
    with opened(fresh_database, tmp_path) as house:
        house.add("Ada", Role.OPERATOR)
        yield house


def made(house, ada, label="nightly export") -> str:
    page = send(ada, "/me", "/me/token", label=label).text
    (token,) = set(re.findall(r"<pre>(cw_[\w-]{43})</pre>", page))
    return token


def asked(house, token, path="/api/v1/status", kind="Bearer"):
    return house.visitor().get(path, headers={"authorization": f"{kind} {token}"})


def test_a_token_answers_the_api_and_opens_no_page(house):
    token = made(house, house.visitor("Ada"))
    assert asked(house, token).status_code == 200
    assert asked(house, token, kind="bearer").status_code == 200
    assert asked(house, token, "/").status_code == 303
    assert asked(house, token, "/me").status_code == 303
    assert house.visitor().get("/api/v1/status").status_code == 401


def test_a_token_is_shown_once_and_only_its_hash_is_kept(house, tmp_path):
    ada = house.visitor("Ada")
    token = made(house, ada)
    page = ada.get("/me").text
    assert "nightly export" in page
    assert token not in page
    files = [p for p in (tmp_path / "state").rglob("*") if p.is_file()]
    assert all(token.encode() not in path.read_bytes() for path in files)


def test_a_revoked_token_and_that_of_a_disabled_account_are_nobodys(house):
    ada = house.visitor("Ada")
    first, second = made(house, ada), made(house, ada, "plots")
    send(ada, "/me", "/me/revoke")  # The newest stands first.
    assert asked(house, second).status_code == 401
    assert asked(house, first).status_code == 200
    house.store.people.disable("Ada", who="root", now=house.clock())
    assert asked(house, first).status_code == 401


@pytest.mark.parametrize("shown", ["", "cw_", "x" * 5000, "cw_" + "a" * 43, "\u00e9"])
def test_what_is_no_token_is_refused_even_where_a_session_is_there(house, shown):
    """Who shows a token is not let in by something else that the program happens to hold."""
    ada = house.visitor("Ada")
    header = {"authorization": b"Bearer " + shown.encode("latin-1")}
    answer = ada.get("/api/v1/status", headers=header)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"


def test_nobody_revokes_the_token_of_another(house):
    house.add("Ben", Role.ADMIN)
    ada, ben = house.visitor("Ada"), house.visitor("Ben")
    token = made(house, ada)
    (number,) = [one.id for one in house.store.api_tokens.of(house.store.people.person("Ada"))]
    made(house, ben)
    send(ben, "/me", "/me/revoke", number=number)
    assert asked(house, token).status_code == 200


def test_tokens_have_a_name_and_there_are_not_too_many(house):
    ada = house.visitor("Ada")
    assert send(ada, "/me", "/me/token", label="  ").status_code == 422
    for number in range(MOST_TOKENS):
        made(house, ada, f"program {number}")
    assert send(ada, "/me", "/me/token", label="one more").status_code == 422


def test_when_a_token_was_used_and_who_made_it_is_on_record(house):
    ada = house.visitor("Ada")
    token = made(house, ada)
    assert "not used yet" in ada.get("/me").text
    house.clock.now += hours(1)
    asked(house, token)
    house.clock.now += hours(1)
    assert "not used yet" not in ada.get("/me").text
    told = [(one.who, one.what) for one in house.store.audit.entries()]
    assert ("Ada", "token made") in told
