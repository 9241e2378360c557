"""Every path of a configuration is absolute once it is loaded, whichever section it stands in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from monitor.config import Config, load_config, parse_config
from monitor.config.problems import STAND_IN
from monitor.config.values import PathField
from monitor.errors import ConfigError

WHERE = Path("/etc/colonywatch/config.yaml")
RESOLVES = get_args(PathField)[-1]
# What a section asks for before its paths may be given, by the section's name.
COMPANIONS: dict[str, dict[str, Any]] = {
    "SourceConfig": {"name": "a"},
    "ChannelConfig": {"name": "a"},
    "EmailConfig": {"username": "u"},
}
RELATIVE = st.lists(
    st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=6)
    | st.sampled_from(["..", "my folder", "über"]),
    min_size=1,
    max_size=3,
).map("/".join)


def kinds_in(annotation: Any) -> list[Any]:
    """An annotation and everything that it is made of."""
    return [annotation, *(kind for one in get_args(annotation) for kind in kinds_in(one))]


def sections_in(annotation: Any) -> list[type[BaseModel]]:
    return [
        one for one in kinds_in(annotation) if isinstance(one, type) and issubclass(one, BaseModel)
    ]


def path_keys(model: type[BaseModel] = Config) -> Iterator[tuple[type[BaseModel], str, bool]]:
    """(section, key, does it resolve?) of every path in the schema."""
    for name, field in model.model_fields.items():
        kinds = kinds_in(field.annotation)
        if Path in kinds:
            yield model, name, RESOLVES in [*kinds, *field.metadata]
        for section in sections_in(field.annotation):
            yield from path_keys(section)


def with_every_path(text: str, model: type[BaseModel] = Config) -> dict[str, Any]:
    """A configuration that sets every path there is: to `text`, then the key."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if Path in kinds_in(field.annotation):
            found[name] = f"{text}/{model.__name__}-{name}"
        for section in sections_in(field.annotation):
            inner = with_every_path(text, section)
            if inner:
                many = "tuple[" in str(field.annotation)
                found[name] = [inner] if many else inner
    return COMPANIONS.get(model.__name__, {}) | found if found else {}


def paths_of(value: Any) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from paths_of(getattr(value, name))
    elif isinstance(value, dict):
        for one in value.values():
            yield from paths_of(one)
    elif isinstance(value, tuple | list | frozenset):
        for one in value:
            yield from paths_of(one)


def test_no_section_has_a_path_that_does_not_find_its_folder():
    """A bare Path would be relative to the folder that a command happens to be started in."""
    found = list(path_keys())
    assert len(found) >= 13
    assert [f"{model.__name__}.{name}" for model, name, resolves in found if not resolves] == []


@given(RELATIVE)
def test_every_path_of_a_file_starts_from_the_files_folder(text):
    given_text = yaml.safe_dump(with_every_path(text), allow_unicode=True)
    config = parse_config(given_text, where=WHERE)
    assert set(paths_of(config)) == {
        WHERE.parent / text / f"{model.__name__}-{name}" for model, name, _ in path_keys()
    }


def test_defaults_start_from_there_too():
    assert list(paths_of(parse_config("", where=WHERE))) == [Path("/etc/colonywatch/state")]


def test_without_a_file_paths_start_from_where_one_stands(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert list(paths_of(load_config(None))) == [tmp_path / "state"]


BROKEN = {
    "a wrong key elsewhere": "compute: {threads: 0}\n",
    "what sections say together": "decisions: {overrides: [{source: b, limits: {worse_by: 1}}]}\n",
    "a home of nobody": "record: {folder: ~nosuchuser/state}\n",
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_left_of_a_broken_file_has_its_paths_in_place(case):
    """They are looked at on this machine, and mail has to find its certificates."""
    text = BROKEN[case] + yaml.safe_dump(
        {key: one for key, one in with_every_path("x").items() if key != "record"}
    )
    with pytest.raises(ConfigError) as caught:
        parse_config(text, where=WHERE)
    assert isinstance(caught.value.rest, Config)
    found = [one for one in paths_of(caught.value.rest) if STAND_IN not in str(one)]
    assert len(found) >= 12
    assert all(one.is_relative_to(WHERE.parent) for one in found)


def test_a_home_of_nobody_is_told_with_its_key():
    with pytest.raises(
        ConfigError, match=r"yaml: record\.folder: the path begins with ~, but there is no home"
    ):
        parse_config("record: {folder: ~nosuchuser/state}", where=WHERE)


SAME_FOLDER = {
    "of two sources": (
        "sources: [{name: a, path: x}, {name: b, path: /etc/colonywatch/x}]",
        "two sources have the folder /etc/colonywatch/x",
    ),
    "of a source and the picker's logs": (
        "{sources: [{name: a, path: x}], "
        "outlets: {removal: {pick_logs: {folder: /etc/colonywatch/x}}}}",
        "is the folder of the plans or of a source",
    ),
    "of the plans' default and the picker's logs": (
        "outlets: {removal: {pick_logs: {folder: state/removal}}}",
        "is the folder of the plans or of a source",
    ),
}


@pytest.mark.parametrize("case", SAME_FOLDER)
def test_one_folder_is_one_folder_however_it_is_written(case):
    text, says = SAME_FOLDER[case]
    with pytest.raises(ConfigError, match=says):
        parse_config(text, where=WHERE)
