"""From config.yaml to a `Config`, with every problem at once."""

from __future__ import annotations

import re
from collections.abc import Hashable
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from monitor.config.problems import problems_in
from monitor.config.schema import Config, SegmentationConfig
from monitor.errors import ConfigError

SYSTEM_CONFIG = Path("/etc/colonywatch/config.yaml")


def find_config(given: Path | None) -> Path | None:
    """The file to read: the one given, ./config.yaml, /etc/colonywatch/config.yaml, or None."""
    if given is not None:
        return given
    for candidate in (Path("config.yaml"), SYSTEM_CONFIG):
        try:
            if candidate.is_file():
                return candidate
        except OSError:
            continue  # a working folder that this account may not enter
    return None


def load_config(path: Path | None) -> Config:
    """Read and check a configuration; None gives the built-in defaults.

    Raises ConfigError with one line a problem.
    """
    if path is None:
        return _with_absolute_paths(Config(), Path.cwd())
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as problem:
        raise ConfigError(
            f"{path}: cannot be read ({problem.strerror}); give another with --config FILE"
        ) from problem
    except UnicodeDecodeError as problem:
        raise ConfigError(f"{path}: is not UTF-8 text ({problem.reason})") from problem
    return parse_config(text, where=path)


def parse_config(text: str, *, where: Path) -> Config:
    """Check the text of a configuration. `where` names it in errors and anchors its paths."""
    try:
        raw = yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.YAMLError as problem:
        raise ConfigError(f"{where}: is not valid YAML: {_one_line(problem)}") from problem
    if raw is None:
        raw = {}
    if not isinstance(raw, dict):
        raise ConfigError(f"{where}: must be a mapping of sections, is a {type(raw).__name__}")
    try:
        config = Config.model_validate(raw)
    except ValidationError as problem:
        lines, rest = problems_in(raw, Config, problem)
        with suppress(RuntimeError):
            rest = rest and _with_absolute_paths(rest, where.absolute().parent)
        text = "\n".join(f"{where}: {line}" for line in lines)
        raise ConfigError(text, rest=rest) from problem
    try:
        return _with_absolute_paths(config, where.absolute().parent)
    except RuntimeError as problem:  # ~name of a user whom this machine does not know
        raise ConfigError(f"{where}: a path begins with ~ and has no home: {problem}") from problem


def _with_absolute_paths(config: Config, anchor: Path) -> Config:
    def absolute(path: Path | None) -> Path | None:
        return None if path is None else (anchor / path.expanduser())

    email = config.outlets.email
    return config.model_copy(
        update={
            "sources": tuple(
                source.model_copy(update={"path": absolute(source.path)})
                for source in config.sources
            ),
            "segmentation": _absolute_model(config.segmentation, anchor),
            "record": config.record.model_copy(
                update={
                    "folder": absolute(config.record.folder),
                    "database": _absolute_database(config.record.database, anchor),
                }
            ),
            "outlets": config.outlets.model_copy(
                update={
                    "email": email.model_copy(
                        update={
                            "password_file": absolute(email.password_file),
                            "ca_file": absolute(email.ca_file),
                            "mailbox": absolute(email.mailbox),
                        }
                    ),
                    "removal": config.outlets.removal.model_copy(
                        update={
                            "folder": absolute(config.outlets.removal.folder),
                            "pick_logs": config.outlets.removal.pick_logs.model_copy(
                                update={"folder": absolute(config.outlets.removal.pick_logs.folder)}
                            ),
                        }
                    ),
                    "channels": tuple(
                        channel.model_copy(update={"url_file": absolute(channel.url_file)})
                        for channel in config.outlets.channels
                    ),
                    "check_in": config.outlets.check_in.model_copy(
                        update={"url_file": absolute(config.outlets.check_in.url_file)}
                    ),
                    "dashboard": config.outlets.dashboard.model_copy(
                        update={"secret_file": absolute(config.outlets.dashboard.secret_file)}
                    ),
                    "sila": config.outlets.sila.with_paths(absolute),
                }
            ),
        }
    )


def _absolute_database(url: str | None, anchor: Path) -> str | None:
    """A relative SQLite file would else be another one in every working folder."""
    found = re.fullmatch(r"(sqlite(?:\+\w+)?:///)([^/:?][^?]*)(\?.*)?", url or "")
    if found is None:
        return url
    return f"{found[1]}{anchor / found[2]}{found[3] or ''}"


def _absolute_model(section: SegmentationConfig, anchor: Path) -> SegmentationConfig:
    if section.model == "starter":
        return section
    return section.model_copy(update={"model": str(anchor / Path(section.model).expanduser())})


def _one_line(problem: Exception) -> str:
    return " ".join(str(problem).split())


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML lets a later key silently win over an earlier one; a lab would never find out."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key must be a word, not a list or a mapping", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)
