"""Commands that are loaded when they are called: what one needs, the others do not wait for."""

from __future__ import annotations

import gc
import inspect
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True)
class Entry:
    """A command or a group of commands before it is loaded.

    place : `module:attribute`, a function or a Typer app, below `monitor.commands`
    summary : what `colonywatch --help` says of it, the first paragraph of its own help
    """

    name: str
    place: str
    summary: str


class LoadedWhenCalled(TyperCommand):
    """Stands for a command in the list of all; reading its arguments loads the real one."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(name=entry.name, help=entry.summary)
        self._entry = entry
        self._loaded: Any = None

    @property
    def commands(self) -> dict[str, Any]:
        """Of a group, by their names; empty where it is a single command."""
        return getattr(self.load(), "commands", {})

    def load(self) -> Any:
        """The real command, as Typer makes it."""
        if self._loaded is None:
            module, attribute = self._entry.place.split(":")
            # What is loaded stays: to search it for rubbish again and again is a tenth of the time.
            gc.disable()
            try:
                found = getattr(import_module(f"monitor.commands.{module}"), attribute)
                self._loaded = _made(found, self._entry.name)
            finally:
                gc.freeze()
                gc.enable()
        return self._loaded

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        return self.load().make_context(info_name, args, parent=parent, **extra)


def group_of(entries: tuple[Entry, ...]) -> type[TyperGroup]:
    """A group of the commands named, for the `cls` of a Typer app."""

    class Named(TyperGroup):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            for entry in entries:
                self.add_command(LoadedWhenCalled(entry))

    return Named


def _made(found: Any, name: str) -> Any:
    if isinstance(found, typer.Typer):
        _reflow(found)
        group = typer.main.get_group(found)
        group.name = name
        return group
    alone = typer.Typer(add_completion=False)
    alone.command(name)(found)
    _reflow(alone)
    return typer.main.get_command(alone)


def _reflow(commands: typer.Typer) -> None:
    """Make paragraphs of the docstrings; Typer would keep the line breaks of the code."""
    for command in commands.registered_commands:
        if command.callback is not None and command.help is None:
            text = inspect.getdoc(command.callback) or ""
            command.help = "\n\n".join(part.replace("\n", " ") for part in text.split("\n\n"))
    for group in commands.registered_groups:
        if group.typer_instance is not None:
            _reflow(group.typer_instance)
