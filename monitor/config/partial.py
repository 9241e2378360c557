"""The mail settings of a configuration that may be broken, to tell that it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from monitor.config.loading import load_config, parse_config
from monitor.config.schema import Config, OutletsConfig
from monitor.errors import ConfigError


@dataclass(frozen=True)
class PartialConfig:
    """outlets : with absolute paths; None = not even they can be read
    problem : what is wrong with the configuration; None = nothing
    mailbox : for mails where there is no server
    """

    outlets: OutletsConfig | None
    problem: str | None
    mailbox: Path | None = None


def partial_config(path: Path | None) -> PartialConfig:
    """What can be had of the outlets: of the whole file; else of its section `outlets` alone; else
    of the text of that section, where the file is no YAML any more; last, of the mail settings
    without what else stands there.
    """
    try:
        config = load_config(path)
        return PartialConfig(config.outlets, None, config.mailbox)
    except ConfigError as problem:
        wrong = str(problem)
    if path is None:
        return PartialConfig(None, wrong)
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return PartialConfig(None, wrong)
    section = _section(text)
    for part in (section, {"email": section["email"]} if "email" in section else None):
        sound = _checked(part, path)
        if sound is not None:
            return PartialConfig(sound.outlets, wrong, sound.mailbox)
    return PartialConfig(None, wrong)


def _section(text: str) -> dict[str, object]:
    """`outlets` as it stands in the file; empty where it cannot be read."""
    block = re.search(r"^outlets:.*?(?=^[^\s#]|\Z)", text, re.MULTILINE | re.DOTALL)
    for source in (text, block[0] if block else ""):
        try:
            found = yaml.safe_load(source)
        except (yaml.YAMLError, ValueError, RecursionError):
            continue
        section = found.get("outlets") if isinstance(found, dict) else None
        if isinstance(section, dict):
            return section
    return {}


def _checked(section: dict[str, object] | None, path: Path) -> Config | None:
    """The section without what is wrong in it elsewhere: of sources that it names none is known."""
    if not section:
        return None
    try:
        return parse_config(yaml.safe_dump({"outlets": section}), where=path)
    except (ConfigError, yaml.YAMLError, ValueError):
        return None
