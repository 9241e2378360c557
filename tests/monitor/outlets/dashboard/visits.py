"""A site with people, visited without a network; and the record beneath it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from html import unescape
from pathlib import Path

import yaml
from argon2 import PasswordHasher
from starlette.testclient import TestClient

from monitor.config import Config, parse_config
from monitor.culture import Role
from monitor.jobs.plan_grounds import check_grounds
from monitor.jobs.plan_views import picture_of
from monitor.jobs.withdrawal import take_back_from
from monitor.outlets.answer_links import AnswerLinks
from monitor.outlets.dashboard.app import build_app
from monitor.record.passwords import Passwords
from monitor.record.store import Store
from tests.monitor.facts import NOW, hours

SECRET = "four quiet blue cells"


@dataclass
class Clock:
    now = NOW + hours(1)

    def __call__(self):
        return self.now


@dataclass
class House:
    """The pages, and whom they are for."""

    app: object
    store: Store
    config: Config
    links: AnswerLinks
    clock: Clock
    host: str = "http://127.0.0.1:8470"
    peer: str = "127.0.0.1"
    guests: list[TestClient] = field(default_factory=list)

    def visitor(self, name: str | None = None, *, peer: str | None = None) -> TestClient:
        """A browser; signed in where it has a name."""
        client = TestClient(
            self.app, base_url=self.host, follow_redirects=False,
            raise_server_exceptions=False, client=(peer or self.peer, 50_000),
        )  # fmt: skip
        self.guests.append(client)
        if name is not None:
            answer = sign_in(client, name)
            assert answer.status_code == 303, answer.text
        return client

    def add(self, name: str, role: Role = Role.OPERATOR) -> None:
        if role is not Role.ADMIN and not self.store.people.exist():
            self.add("Root", Role.ADMIN)
        self.store.people.add(name, role, password=SECRET, who="root", now=self.clock())


@contextmanager
def opened(fresh_database: Path, folder: Path, **dashboard) -> Iterator[House]:
    """dashboard : settings of it"""
    state = folder / "state"
    state.mkdir(exist_ok=True)
    if not (state / "colonywatch.sqlite").exists():
        shutil.copy(fresh_database, state / "colonywatch.sqlite")
    written = {"record": {"folder": str(state)}, "outlets": {"dashboard": dashboard}}
    config = parse_config(yaml.safe_dump(written), where=folder / "config.yaml")
    links = AnswerLinks(config.secret_file, good_for=timedelta(days=7))
    clock = Clock()
    with Store(config.record.database_url, take_back=take_back_from(config)) as store:
        store.people.passwords = Passwords(
            PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        )
        app = build_app(
            config, store, links, clock=clock,
            draw_plan=lambda plan: picture_of(plan, store, config),
            check_grounds=lambda plan: check_grounds(plan, store, config, clock()),
        )  # fmt: skip
        yield House(app, store, config, links, clock)


def hidden(page: str, action: str | None = None) -> dict[str, str]:
    """The hidden fields of the form with that action, or of the only one that is sent by POST."""
    forms = re.findall(r"<form[^>]*method=\"post\"[^>]*>.*?</form>", page, re.DOTALL)
    wanted = [
        one for one in forms
        if (f'action="{action}"' in one if action else 'action="/theme"' not in one)
    ]  # fmt: skip
    assert wanted, f"no form {action} in {page}"
    fields = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', wanted[0])
    return {unescape(name): unescape(value) for name, value in fields}


def sign_in(client: TestClient, name: str, password: str = SECRET, to: str = "/", **headers: str):
    page = client.get("/sign-in", params={"next": to})
    form = hidden(page.text) | {"name": name, "password": password}
    return client.post("/sign-in", data=form, headers=headers)


def send(client: TestClient, page: str, action: str, **fields: object):
    """The form of a page, filled in and sent."""
    form = hidden(client.get(page).text, action)
    return client.post(action, data=form | fields)
