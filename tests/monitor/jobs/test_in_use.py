"""Model and settings of a daemon in the audit trail, and the head that is kept of it."""

from __future__ import annotations

import json
import logging

import pytest
from sqlalchemy import text

from monitor.config import parse_config
from monitor.culture import Head
from monitor.errors import OutletError
from monitor.jobs.audit_heads import follow_trail, keep_head, kept_head
from monitor.jobs.in_use import flat_settings, tell_in_use
from tests.monitor.facts import NOW

MODEL = ("starter", "a" * 64, "torch")


def settings(folder, words=""):
    return parse_config(f"record: {{folder: {folder}}}\n{words}", where=folder / "config.yaml")


def told(store):
    return [
        (one.what, json.loads(one.before or "null"), json.loads(one.after or "null"))
        for one in store.audit.entries()
    ]


def test_the_first_start_tells_all_settings_and_the_model(store, tmp_path):
    tell_in_use(store, settings(tmp_path), MODEL, NOW)
    (first, before, after), model = told(store)
    assert (first, before) == ("settings in use", None)
    assert after["decisions.differentiation.scans_needed"] == 3
    assert model == (
        "model in use",
        None,
        {"name": "starter", "sha256": "a" * 64, "runner": "torch"},
    )


def test_a_start_with_the_same_tells_nothing(store, tmp_path):
    for _ in range(3):
        tell_in_use(store, settings(tmp_path), MODEL, NOW)
    assert len(told(store)) == 2


def test_only_what_changed_is_told_and_then_it_is_the_former(store, tmp_path):
    source = f"sources: [{{name: lab, path: {tmp_path}}}]"
    limits = "decisions: {differentiation: {raise_above: 0.3}}"
    for words in ("", limits, f"{limits}\n{source}", limits, ""):
        tell_in_use(store, settings(tmp_path, words), MODEL, NOW)
    first, _, *changes = told(store)
    key = "decisions.differentiation.raise_above"
    former = first[2][key]
    assert changes[0] == ("settings changed", {key: former}, {key: 0.3})
    assert changes[1][2]["sources[0].name"] == "lab"
    assert changes[2][1]["sources[0].name"] == "lab"
    assert changes[3] == ("settings changed", {key: 0.3}, {key: former})


def test_another_model_is_told_beside_the_former(store, tmp_path):
    tell_in_use(store, settings(tmp_path), MODEL, NOW)
    tell_in_use(store, settings(tmp_path), ("line-7", "b" * 64, "torch"), NOW)
    assert told(store)[-1] == (
        "model changed",
        {"name": "starter", "sha256": "a" * 64, "runner": "torch"},
        {"name": "line-7", "sha256": "b" * 64, "runner": "torch"},
    )


def test_daemons_of_other_folders_have_settings_of_their_own(store, tmp_path):
    tell_in_use(store, settings(tmp_path / "a"), MODEL, NOW)
    tell_in_use(store, settings(tmp_path / "b"), MODEL, NOW)
    assert [what for what, _, _ in told(store)] == ["settings in use", "model in use"] * 2


def test_a_password_does_not_reach_the_trail(tmp_path):
    words = "record: {database: 'postgresql+psycopg://lab:open sesame@host/name'}"
    flat = flat_settings(parse_config(words, where=tmp_path / "config.yaml"))
    assert flat["record.database"] == "postgresql+psycopg://lab:***@host/name"


def test_the_newest_head_is_kept(store, tmp_path):
    assert follow_trail(store, tmp_path, NOW)
    assert kept_head(tmp_path) is None
    tell_in_use(store, settings(tmp_path), MODEL, NOW)
    assert follow_trail(store, tmp_path, NOW)
    assert kept_head(tmp_path) == store.audit.head()


def test_a_head_that_is_in_the_trail_no_more_is_kept_and_told(store, tmp_path, caplog):
    tell_in_use(store, settings(tmp_path), MODEL, NOW)
    keep_head(tmp_path, Head(2, "0" * 64), NOW)
    with caplog.at_level(logging.ERROR):
        assert not follow_trail(store, tmp_path, NOW)
    assert "does not hold entry 2 any more" in caplog.text
    assert kept_head(tmp_path) == Head(2, "0" * 64)


@pytest.mark.parametrize("content", ["", "[]", '{"number": "x"}', "\xff"])
def test_a_head_that_cannot_be_read_is_told(store, tmp_path, content):
    (tmp_path / "audit-head.json").write_text(content, encoding="latin-1")
    with pytest.raises(OutletError, match=r"audit-head\.json"):
        follow_trail(store, tmp_path, NOW)


def test_the_chain_is_whole_with_all_of_that(store, tmp_path):
    tell_in_use(store, settings(tmp_path), MODEL, NOW)
    assert store.audit.verify().problems == ()
    with store.database.reading() as session:
        assert session.scalar(text("SELECT count(*) FROM audit")) == 2
