"""From config.yaml to a `Config`, with every problem at once."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from monitor.config.problems import problems_in
from monitor.config.schema import Config
from monitor.config.values import paths_from
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
        return Config.model_validate({}, context=paths_from(Path.cwd()))
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
        raw = yaml.load(text, Loader=_UniqueKeyLoader)  # nosec B506 # a SafeLoader
    except yaml.YAMLError as problem:
        raise ConfigError(f"{where}: is not valid YAML: {_one_line(problem)}") from problem
    if raw is None:
        raw = {}
    if not isinstance(raw, dict):
        raise ConfigError(f"{where}: must be a mapping of sections, is a {type(raw).__name__}")
    context = paths_from(where.absolute().parent)
    try:
        return Config.model_validate(raw, context=context)
    except ValidationError as problem:
        lines, rest = problems_in(raw, Config, problem, context)
        text = "\n".join(f"{where}: {line}" for line in lines)
        raise ConfigError(text, rest=rest) from problem


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
                    None, None, f"key {key!r} is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)
