"""`name-test`: what file names say, and which of a folder's files are looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from monitor.capture.choosing import Choice, FieldChooser
from monitor.capture.names.light import Light
from monitor.capture.names.patterns import (
    PRESETS,
    best_preset,
    channel_text,
    find_pattern,
    left_out,
    light_in,
    parse_name,
)
from monitor.capture.watching import is_capture_name, list_captures
from monitor.commands.common import (
    ConfigOption,
    JsonOption,
    StateOption,
    begin_logging,
    cell,
    open_config,
    out,
    print_json,
    say,
    shown,
)
from monitor.config import SourceSettings
from monitor.errors import CaptureError, ConfigError, UsageError

DISHES_SHOWN = 12
KINDS_SHOWN = 40
_SHOWN = {Light.TRANSMITTED: "transmitted light", Light.FLUORESCENCE: "fluorescence"}


def name_test(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME", help="File names, paths, or folders.")
    ],
    pattern: Annotated[
        str | None,
        typer.Option("--names", metavar="PRESET", help="A preset or a pattern; default: auto."),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Show what file names parse to, and by which preset; for a folder, which preset fits it,
    which channels, planes and projections it has, and which of them are analysed.

    Example: colonywatch name-test dish-07_20261102T030000Z_f1.tif
    """
    begin_logging()
    settings = open_config(config, state)
    if pattern is not None:
        try:
            find_pattern(pattern)
        except ConfigError as problem:
            raise UsageError(f"--names: {problem}") from problem
    rows: list[dict[str, object]] = []
    for name in names:
        # A file that is there is named as the daemon would: with all its folders.
        path = Path(name).absolute() if Path(name).exists() else PurePath(name)
        held = settings.source_of(Path(name).absolute()) or settings.unlisted
        if pattern is not None:
            held = held.model_copy(update={"names": pattern})
        if isinstance(path, Path) and path.is_dir():
            rows.append(_folder_row(name, path, held))
        else:
            rows.append({"name": shown(name)} | _name_row(path, held))
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            out.print(_table(row))
        if any("error" in row for row in rows):
            say(f"presets: {', '.join(PRESETS)}")
    if any("error" in row for row in rows):
        raise typer.Exit(1)


def _table(row: dict[str, object]) -> Table:
    title = escape(str(row.pop("name")))
    table = Table(show_header=False, title=title, title_justify="left")
    for key, value in row.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            lines = [_sentence(one) for one in value]
        elif isinstance(value, list):
            lines = [", ".join(map(str, value))]
        elif isinstance(value, dict):
            lines = [f"{count} of {what}" for what, count in value.items()]
        else:
            lines = [] if value is None else [str(value)]
        table.add_row(key.replace("_", " "), "\n".join(map(cell, lines)) or "–")
    return table


def _sentence(kind: dict[str, object]) -> str:
    light = f", {kind['light']}" if "light" in kind else ""
    files = f"{kind['files']} file{'s' * (kind['files'] != 1)}"
    return f"{kind['what']}{light}: {files}, {kind['taken']} analysed"


def _name_row(path: PurePath, held: SourceSettings) -> dict[str, object]:
    try:
        if isinstance(path, Path) and path.exists():
            choice = FieldChooser().choose(path, held)
        else:
            parts = parse_name(path, held.names, held.zone, held.start)
            choice = Choice(parts, left_out=left_out(parts, held))
    except CaptureError as problem:
        return {"error": str(problem)}
    parts, stage = choice.named, choice.named.stage
    light = light_in(parts, choice.channel)
    why = choice.left_out
    if not is_capture_name(path.name):
        why = "not a capture by its name: hidden, half written, or a thumbnail"
    row: dict[str, object] = {
        "preset": parts.pattern,
        "dish": parts.dish,
        "field": parts.field,
        "scan": parts.scan,
        "channel": parts.channel,
        "channel_in_file": choice.channel.name or None,
        "light": None if light is None else str(light),
        "plane": parts.plane,
        "projection": parts.projection,
        "acquired_at": parts.acquired_at.isoformat() if parts.acquired_at else None,
        "pixel_size_um": parts.pixel_size_um,
        "stage_um": [stage.x_um, stage.y_um] if stage else None,
        "left_out": why,
    }
    if parts.elapsed_s is not None:
        row["elapsed_s"] = parts.elapsed_s
        if parts.acquired_at is None:
            row["note"] = "the time needs the source's experiment_start"
    return row


@dataclass
class _Kinds:
    """Of channels, of planes or of projections: how many files there are, and are looked at."""

    files: Counter[str] = field(default_factory=Counter)
    taken: Counter[str] = field(default_factory=Counter)
    lights: dict[str, str] = field(default_factory=dict)

    def count(self, what: str, *, is_taken: bool, light: str = "") -> None:
        self.files[what] += 1
        self.taken[what] += is_taken
        if light:
            self.lights[what] = light

    def rows(self) -> list[dict[str, object]]:
        return [
            {"what": what}
            | ({"light": self.lights[what]} if what in self.lights else {})
            | {"files": count, "taken": self.taken[what]}
            for what, count in sorted(self.files.items())[:KINDS_SHOWN]
        ]


@dataclass
class _Found:
    channels: _Kinds = field(default_factory=_Kinds)
    planes: _Kinds = field(default_factory=_Kinds)
    projections: _Kinds = field(default_factory=_Kinds)
    left: Counter[str] = field(default_factory=Counter)
    dishes: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)


def _look(files: Sequence[Path], held: SourceSettings) -> _Found:
    found, chooser = _Found(), FieldChooser()
    for file in files:
        try:
            choice = chooser.choose(file, held)
        except CaptureError as problem:
            found.wrong.append(str(problem))
            continue
        named, is_taken = choice.named, choice.left_out is None
        if is_taken:
            found.dishes.add(named.dish)
        else:
            found.left[choice.left_out or ""] += 1
        if named.channel is not None or choice.channel.name:
            light = light_in(named, choice.channel)
            found.channels.count(
                channel_text(named, choice.channel).removeprefix("channel "),
                is_taken=is_taken,
                light="light not known" if light is None else _SHOWN[light],
            )
        if named.plane is not None:
            found.planes.count(f"plane {named.plane}", is_taken=is_taken)
        if named.projection is not None:
            found.projections.count(named.projection, is_taken=is_taken)
    return found


def _folder_row(name: str, folder: Path, held: SourceSettings) -> dict[str, object]:
    """Which preset fits a folder, how many of its names, what is looked at, what is not."""
    files = list(list_captures(folder))
    row: dict[str, object] = {"name": shown(name), "captures": len(files)}
    if not files:
        return row | {"error": "holds no images"}
    best = best_preset(files, held.zone)
    row["preset"] = best[0].name if best else None
    row["fits"] = best[1] if best else 0
    row["description"] = best[0].description if best else None
    found = _look(files, held)
    taken = len(files) - len(found.wrong) - found.left.total()
    row["names"] = held.names
    row["dishes"] = len(found.dishes)
    row["first_dishes"] = sorted(found.dishes)[:DISHES_SHOWN]
    row["looked_at"] = taken
    row["channels"] = found.channels.rows()
    row["planes"] = found.planes.rows()
    row["projections"] = found.projections.rows()
    row["left_out"] = dict(found.left.most_common(DISHES_SHOWN))
    row["not_understood"] = len(found.wrong)
    if found.wrong:
        return row | {"error": found.wrong[0]}
    if not taken:
        return row | {
            "error": "nothing in it is analysed; choose the channel and the plane "
            "with the source's `channel` and `plane`"
        }
    return row
