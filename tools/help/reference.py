"""Pages of the reference that the code itself writes: commands, settings, JSON, exit codes."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import typer
from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import monitor.errors
from monitor.__main__ import STOPPED, app
from monitor.commands.common import BAD_CONFIG, DONE, FAILED, MISUSED
from monitor.config import Config

ROOT = Path(__file__).parents[2]
_NOTE = "% Written by tools/help/reference.py; changes belong into the code.\n\n"
_NAMED = re.compile(r"^((?:[a-z]\w*)(?:, [a-z]\w*)*) : (.*)$")
_LONGEST_LIST = 2
_LONGEST_TEXT = 120


def write_all(folder: Path, *, with_json: bool = True) -> list[str]:
    """Write the pages into a folder. with_json : run the commands whose documents are shown"""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {
        "commands.md": commands_page(),
        "configuration.md": configuration_page(),
        "exit-codes.md": exit_codes_page(),
    }
    if with_json:
        pages["json.md"] = json_page()
    for name, text in pages.items():
        (folder / name).write_text(_NOTE + text, encoding="utf-8")
    return sorted(pages)


# --- commands ------------------------------------------------------------------------------------


def all_commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each command by its words, groups too, in the order of `--help`."""

    def below(group: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
        for name, command in getattr(group, "commands", {}).items():
            load = getattr(command, "load", None)
            loaded = command if load is None else load()
            yield (*words, name), loaded
            yield from below(loaded, (*words, name))

    yield from below(typer.main.get_command(app), ())


def commands_page() -> str:
    lines = [
        "# Commands\n",
        "What `colonywatch COMMAND --help` says, of all commands. `--config` and `--state` are "
        "taken by each that reads settings or a record; [exit codes](exit-codes.md) are the same "
        "for all.\n",
    ]
    for words, command in all_commands():
        called = " ".join(("colonywatch", *words))
        is_group = bool(getattr(command, "commands", {}))
        lines.append(f"{'##' if len(words) == 1 else '###'} {' '.join(words)}\n")
        lines.append(_help_of(command) + "\n")
        if is_group and not getattr(command, "invoke_without_command", False):
            continue
        arguments = [one for one in command.params if one.param_type_name == "argument"]
        usage = " ".join([called, "[OPTIONS]", *(_usage_of(one) for one in arguments)])
        lines.append(f"```text\n{usage}\n```\n")
        rows = [_parameter(one) for one in command.params if one.name != "help"]
        if rows:
            lines += ["| | | default |", "|---|---|---|", *rows, ""]
    return "\n".join(lines)


def _help_of(command: Any) -> str:
    text = inspect.cleandoc(command.help or "")
    return re.sub(r"^Example: (.*)$", r"Example:\n\n```console\n$ \1\n```", text, flags=re.M)


def _usage_of(argument: Any) -> str:
    name = argument.metavar or (argument.name or "").upper()
    name = name if argument.required or name.startswith("[") else f"[{name}]"
    return f"{name}..." if argument.nargs == -1 and "..." not in name else name


def _parameter(one: Any) -> str:
    if one.param_type_name == "argument":
        shown = f"`{one.metavar or (one.name or '').upper()}`"
    else:
        names = [*one.opts, *one.secondary_opts]
        value = "" if one.is_flag else f" {one.metavar or _kind_of(one)}"
        shown = ", ".join(f"`{name}{value}`" for name in names)
    default = one.default.value if isinstance(one.default, Enum) else one.default
    has_none = default is None or default is False or default == () or callable(default)
    said = "required" if one.required else "" if has_none else f"`{default}`"
    return f"| {shown} | {_cell(getattr(one, 'help', '') or '')} | {said} |"


def _kind_of(option: Any) -> str:
    """How a value is called for which the command gives no name: its choices, or what it is."""
    kind = option.type_descriptor.annotation
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "/".join(str(one.value) for one in kind)
    return {"int": "NUMBER", "float": "NUMBER", "Path": "FILE"}.get(kind.__name__, "TEXT")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


# --- settings ------------------------------------------------------------------------------------


def configuration_page() -> str:
    lines = [
        "# Configuration\n",
        "All keys of `config.yaml`, read off the program. Every key may be left out. "
        "`colonywatch check-config` tells all problems at once. The same with more words: the "
        "[commented file](#the-commented-file) at the end.\n",
    ]
    text = (ROOT / "config.yaml").read_text(encoding="utf-8")
    lines += _section_lines("", Config, set(), remarks_in(text))
    lines += ["## The commented file\n", f"```yaml\n{text.rstrip()}\n```\n"]
    return "\n".join(lines)


def remarks_in(text: str) -> dict[str, str]:
    """What the commented file says behind a key, and goes on saying below it, by the key's path."""
    found: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    last = ""
    for line in text.splitlines():
        key = re.match(r"^(\s*(?:- )?)(\w+):", line)
        remark = line.partition(" # ")[2].strip()
        if key:
            path = [one for one in path if one[0] < len(key[1])] + [(len(key[1]), key[2])]
            last = ".".join(name for _, name in path) if remark else ""
            if remark:
                found[last] = remark
        elif last and re.match(r"^\s{20,}# ", line):
            found[last] += " " + remark
        else:
            last = ""
    return found


def _section_lines(
    key: str, section: type[BaseModel], seen: set[Any], remarks: dict[str, str]
) -> list[str]:
    heading = f"`{key}`" if key else "The sections"
    lines = [f"## {heading}\n"]
    about, told = described(section)
    if about:
        lines.append(about + "\n")
    lines += ["| key | kind | default | |", "|---|---|---|---|"]
    inner: list[tuple[str, type[BaseModel]]] = []
    for name, field in section.model_fields.items():
        parts = list(_sections_in(field.annotation))
        place = f"{key}.{name}" if key else name
        is_list = any(mark in str(field.annotation) for mark in ("tuple[", "dict["))
        inner += [(f"{place}[]" if is_list else place, one) for one in parts]
        said = told.get(name) or remarks.get(place.replace("[]", ""), "")
        lines.append(f"| `{name}` | {_cell(_kind(field))} | {_default(field)} | {_cell(said)} |")
    lines.append("")
    for place, one in inner:
        if (place, one) not in seen:
            seen.add((place, one))
            lines += _section_lines(place, one, seen, remarks)
    return lines


def described(section: type[BaseModel]) -> tuple[str, dict[str, str]]:
    """What a section's docstring says of all of it, and of its keys; also of those it inherits."""
    about, told = "", dict[str, str]()
    for one in reversed(section.__mro__):
        if not (isinstance(one, type) and issubclass(one, BaseModel)) or one is BaseModel:
            continue
        text = inspect.cleandoc(one.__dict__.get("__doc__") or "")
        if one.__module__ == "monitor.config.values":
            continue
        about, names = "", list[str]()
        for part in (piece for line in text.splitlines() for piece in line.split("; ")):
            found = _NAMED.match(part.strip())
            if found and set(found[1].split(", ")) <= set(one.model_fields):
                names = found[1].split(", ")
                for name in names:
                    told[name] = found[2]
            elif names and part.strip():
                for name in names:
                    told[name] += (" " if part.startswith(" ") else "; ") + part.strip()
            else:
                about = f"{about}\n{part}" if about else part
    told = {name: re.sub(r"\bNone\b", "`null`", text) for name, text in told.items()}
    return " ".join(about.split()), told


def _sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for one in get_args(annotation):
        yield from _sections_in(one)


def _kind(field: FieldInfo) -> str:
    limits = []
    for one in field.metadata:
        for limit, sign in ((Ge, "≥"), (Gt, ">"), (Le, "≤"), (Lt, "<")):
            if isinstance(one, limit):
                limits.append(f"{sign} {getattr(one, limit.__name__.lower())}")
        if isinstance(one, MinLen):
            limits.append(f"at least {one.min_length}")
        if isinstance(one, MaxLen):
            limits.append(f"at most {one.max_length}")
    return ", ".join([_named(field.annotation), *limits])


def _named(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{one}`" for one in parts)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_named(one) for one in parts))
    if origin is not None and origin.__module__ == "typing":
        return _named(parts[0])
    if origin in (tuple, list, frozenset):
        inner = [one for one in parts if one is not Ellipsis]
        return "list of " + " and ".join(dict.fromkeys(_named(one) for one in inner))
    if origin is dict:
        return f"table of {_named(parts[1])}"
    if annotation is type(None):
        return "`null`"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "a section"
    words = {"str": "text", "bool": "`true` or `false`", "int": "whole number", "float": "number",
             "Path": "path", "time": "time of day", "datetime": "time", "date": "day"}  # fmt: skip
    name = getattr(annotation, "__name__", None)
    return words.get(
        name or "", name or _named(parts[0]) if parts else words.get(name or "", "text")
    )


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, BaseModel) or (isinstance(value, dict) and value):
        return "see there"
    if value is None:
        return "`null`"
    if isinstance(value, tuple | list | frozenset):
        is_plain = not any(isinstance(one, BaseModel) for one in value)
        return f"`{json.dumps(value, default=str)}`" if is_plain else "see there"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


# --- exit codes ----------------------------------------------------------------------------------


def exit_codes_page() -> str:
    tree = inspect.cleandoc(monitor.errors.__doc__ or "")
    return "\n".join(
        [
            "# Exit codes\n",
            "The same for all commands. Messages go to standard error, what was asked for to "
            "standard output.\n",
            "| code | means |",
            "|---|---|",
            f"| {DONE} | done |",
            f"| {FAILED} | failed: the message says what, which and what now |",
            f"| {MISUSED} | misused: an option, a dish, a plan that does not exist |",
            f"| {BAD_CONFIG} | the configuration, or the model that it names, cannot be used; "
            "systemd does not start the service again |",
            f"| {STOPPED} | stopped with Ctrl-C; nothing is half done |",
            "",
            "## Kinds of errors\n",
            f"```text\n{tree}\n```\n",
        ]
    )


# --- JSON ----------------------------------------------------------------------------------------

EXAMPLES = (
    ("process", ("process", "incubator")),
    ("segment", ("segment", "incubator/FIRST", "--out", "segmented")),
    ("name-test", ("name-test", "dish-07_20261102T030000Z_f1.ome.tif")),
    ("status", ("status",)),
    ("dishes", ("dishes",)),
    ("history", ("history", "dish-01", "--format", "json")),
    ("alerts list", ("alerts", "list")),
    ("removals list", ("removals", "list")),
    ("scale", ("scale",)),
    ("audit list", ("audit", "list")),
    ("audit verify", ("audit", "verify")),
    ("models list", ("models", "list")),
)


def json_page() -> str:
    """The documents as the commands give them, on a small virtual incubator, lists cut short."""
    lines = [
        "# JSON\n",
        "`--json` gives one document on standard output and nothing else there. Keys are only ever "
        "added. Below is what commands say of a small virtual incubator; `…` stands for more of "
        "the same. Times are ISO 8601 in UTC, lengths um, areas um² unless the key names another "
        "unit, shares of 1; `null` is what is not known.\n",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _run(folder, "simulate", "incubator", "--dishes", "1", "--hours", "6")
        pictures = sorted((folder / "incubator").rglob("*.tif"))
        first = str(pictures[0].relative_to(folder / "incubator"))
        for title, words in EXAMPLES:
            called = [word.replace("FIRST", first) for word in words]
            if "--format" not in called:
                called.append("--json")
            answer = _run(folder, *called)
            document = json.dumps(shortened(json.loads(answer)), indent=2, ensure_ascii=False)
            document = document.replace(scratch, "/lab")
            lines += [f"## {title}\n", f"```console\n$ colonywatch {' '.join(called)}\n```\n",
                      f"```text\n{document}\n```\n"]  # fmt: skip
    lines += [
        "## Removal plans\n",
        "`colonywatch removals export PLAN --format json`, by its JSON Schema "
        "(`colonywatch removals schema`); [what it means](../picking.md).\n",
    ]
    return "\n".join(lines)


def _run(folder: Path, *words: str) -> str:
    state = (
        () if words[0] in ("segment", "name-test", "models", "simulate") else ("--state", "state")
    )
    answer = subprocess.run(
        [sys.executable, "-m", "monitor", *words, *state],
        cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    if answer.returncode:
        raise RuntimeError(f"colonywatch {' '.join(words)}: {answer.stderr}")
    return answer.stdout


def shortened(value: Any) -> Any:
    """The same with long lists and texts cut."""
    if isinstance(value, dict):
        return {key: shortened(one) for key, one in value.items()}
    if isinstance(value, list):
        some = [shortened(one) for one in value[:_LONGEST_LIST]]
        return [*some, "…"] if len(value) > _LONGEST_LIST else some
    if isinstance(value, str) and len(value) > _LONGEST_TEXT:
        return value[:_LONGEST_TEXT] + "…"
    return value
