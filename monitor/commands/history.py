"""`history`: a dish's series, as a table, a picture or a file."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from math import exp
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from monitor.commands.alerts import alert_document
from monitor.commands.common import (
    NO_WIDTH,
    ConfigOption,
    StateOption,
    begin_logging,
    cell,
    moment,
    open_config,
    open_store,
    percent,
    print_json,
    say,
    show_table,
    shown,
)
from monitor.config import Config
from monitor.config.outlets import CsvConfig
from monitor.culture import Alert, AlertKind, AlertTopic, ColonyPoint, DishTimeline, Reading
from monitor.culture.doubt_words import calibration_words, interval_words
from monitor.decisions.growth import stories
from monitor.errors import MonitorError, UsageError
from monitor.host.atomic_files import write_whole
from monitor.outlets.spreadsheets import as_csv, plain_cell

# Where no limit rests on a slope.
GROWTH_H = 30.0
# What a table or a picture can show; files for other programs hold everything.
SHOWN_DAYS = 14.0


class HistoryFormat(StrEnum):
    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PNG = "png"


def history(
    dish: Annotated[str, typer.Argument(metavar="DISH", help="As `dishes` lists it.")],
    form: Annotated[
        HistoryFormat, typer.Option("--format", help="png draws the series.")
    ] = HistoryFormat.TABLE,
    target: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write there; default: standard output."),
    ] = None,
    colonies: Annotated[
        bool, typer.Option("--colonies", help="Its colonies and their growth, as a table.")
    ] = False,
    days: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=36500,
            show_default=False,
            help="Only this many days up to its last scan. Default: 14 for table and png, "
            "else everything.",
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            show_default=False,
            help="Only since then, such as '2026-11-03 14:00'; in the source's time zone, or "
            "with an offset.",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Everything on record, also in a table or plot.")
    ] = False,
    separator: Annotated[
        str | None,
        typer.Option("--separator", metavar="MARK", help="Of CSV: , ; or tab. Default: comma."),
    ] = None,
    decimal_mark: Annotated[
        str | None,
        typer.Option("--decimal-mark", metavar="MARK", help="Of CSV: . or , (default: point)."),
    ] = None,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """A dish's series, oldest scan first.

    A table or a plot shows the 14 days up to the last scan by default; CSV and JSON
    cover everything.

    Example: colonywatch history 3500003816/A1 --format png --out a1.png
    """
    # Long by its options: Typer takes them from the signature.
    begin_logging()
    settings = open_config(config, state)
    if sum((days is not None, since is not None, everything)) > 1:
        raise UsageError("give one of --days, --since and --all")
    if colonies and (form is not HistoryFormat.TABLE or target is not None):
        raise UsageError("--colonies is a table on standard output; leave --format and --out")
    csv_form = _csv_form(separator, decimal_mark)
    with open_store(settings) as store:
        line = store.lines.line(dish)
        begin: datetime | None
        if since is not None:
            begin = moment(since, "--since", line, settings)
        else:
            begin = _first_shown(store.dishes.newest_at(dish), form, days, everything=everything)
        if colonies:
            limits = settings.decisions.limits_for(dish, line.source, line.label)
            points = store.colonies.series(dish, since=begin)
        else:
            story = store.timelines.of(dish, since=begin)
    if begin is not None and form in (HistoryFormat.TABLE, HistoryFormat.PNG):
        say(f"since {begin:%Y-%m-%d %H:%M} UTC; more with --days, --since or --all")
    if colonies:
        _show_colonies(dish, points, limits.trend_h or GROWTH_H)
        return
    if target is None and form is HistoryFormat.TABLE:
        show_table(_history_table(story))
        _say_assumed(story.readings)
    elif target is None and form is HistoryFormat.JSON:
        print_json(_history_document(story))
    elif target is None and form is HistoryFormat.PNG and sys.stdout.isatty():
        raise UsageError("a plot cannot be shown in a terminal; add --out FILE.png")
    else:
        _write_out(_content_of(story, form, settings, csv_form), target)


def _say_assumed(readings: Sequence[Reading]) -> None:
    """Of what the pixel size is not known: at which it was read."""
    sizes = {size for one in readings if (size := one.assumed_pixel_size_um) is not None}
    shown_sizes = " and ".join(f"{size:.3g}" for size in sorted(sizes))
    if shown_sizes:
        say(
            f"pixel size not known, {shown_sizes} um/px assumed: no areas. colonywatch scale says "
            "why; the source's pixel_size_um sets it"
        )


def _content_of(
    story: DishTimeline, form: HistoryFormat, config: Config, csv_form: CsvConfig
) -> bytes:
    if form is HistoryFormat.TABLE:
        text = io.StringIO()
        Console(file=text, width=NO_WIDTH).print(_history_table(story))
        return text.getvalue().encode()
    if form is HistoryFormat.JSON:
        return json.dumps(_history_document(story), indent=2).encode()
    if form is HistoryFormat.CSV:
        return _as_csv(story.readings, csv_form).encode()
    # Matplotlib takes a second to load; only this form pays for it.
    from monitor.outlets.figures.series import plot_story

    line = story.line
    limits = config.decisions.limits_for(line.name, line.source, line.label)
    return plot_story(story, limits, zone=config.zone_of(line.source))


def _write_out(content: bytes, target: Path | None) -> None:
    if target is None:
        sys.stdout.buffer.write(content)
        return
    try:
        write_whole(target, content)
    except OSError as problem:
        raise MonitorError(f"{target}: cannot be written ({problem.strerror})") from problem
    say(f"written to {target}")


def _first_shown(
    newest: datetime | None, form: HistoryFormat, days: float | None, *, everything: bool
) -> datetime | None:
    """Where the shown part of a series begins; None = at its first scan."""
    if days is None and form in (HistoryFormat.TABLE, HistoryFormat.PNG):
        days = SHOWN_DAYS
    if everything or days is None or newest is None:
        return None
    return newest - timedelta(days=days)


def _history_document(story: DishTimeline) -> dict[str, Any]:
    """The JSON form of `history`. `since`: null = everything on record."""
    line, begin = story.line, story.since
    return {
        "dish": line.name,
        "label": line.label,
        "source": line.source,
        "passage": line.passage,
        "parent": line.parent,
        "children": list(line.children),
        "began_at": None if line.began_at is None else line.began_at.isoformat(),
        "ended_at": None if line.ended_at is None else line.ended_at.isoformat(),
        "since": None if begin is None else begin.isoformat(),
        "readings": [as_document(reading) for reading in story.readings],
        "annotations": [
            {"at": one.at.isoformat(), "text": one.text, "who": one.who}
            for one in story.annotations
        ],
        "alerts": [alert_document(alert) for alert in story.alerts],
        "unreadable": [
            {"at": one.at.isoformat(), "reason": one.reason} for one in story.unreadable
        ],
    }


def _show_colonies(dish: str, points: Sequence[ColonyPoint], growth_h: float) -> None:
    if not points:
        say(f"{shown(dish)}: no colonies have been recorded; scans read from now on will have them")
        return
    table = Table(
        "colony", "first seen (UTC)", "last seen (UTC)", "scans", "area", "differentiated",
        "growth, % per day", "came from",
    )  # fmt: skip
    for one in stories(points, window_h=growth_h):
        area = one.last.area
        is_px = one.last.frame.endswith(" px")
        growth = one.growth
        table.add_row(
            f"{one.last.number}{' (cut)' if one.last.is_cut else ''}",
            f"{one.first_at:%Y-%m-%d %H:%M}",
            f"{one.last_at:%Y-%m-%d %H:%M}",
            str(one.scans),
            f"{area:.0f} px" if is_px else f"{area / 1e6:.3f} mm2",
            percent(one.last.differentiated_fraction),
            "–"
            if growth is None
            else f"{_a_day(growth.slope_per_h)} ({_a_day(growth.low_per_h)} to "
            f"{_a_day(growth.high_per_h)})",
            ", ".join(str(number) for number in one.came_from),
        )
    show_table(table)


def _a_day(log_per_h: float) -> str:
    return f"{100 * (exp(min(24 * log_per_h, 20.0)) - 1):.0f}"


def as_document(reading: Reading) -> dict[str, Any]:
    """The JSON form of one point of the series."""
    return {
        "at": reading.at.isoformat(),
        "dish": reading.dish,
        "captures": reading.captures,
        "background_um2": reading.background_um2,
        "undifferentiated_um2": reading.undifferentiated_um2,
        "differentiated_um2": reading.differentiated_um2,
        "differentiated_fraction": reading.differentiated_fraction,
        "confluence": reading.confluence,
        "uncertainty": reading.uncertainty,
        "look_at_it": reading.look_at_it,
        "colonies": reading.colonies,
        "colony_um2": reading.colony_um2,
        "imaged_share": reading.imaged_share,
        "joined": str(reading.joined),
        "doubts": [*reading.doubts, *reading.doubt.reasons],
        "version": reading.version,
        "model_sha256": reading.model_sha256,
        "runner": reading.runner,
        "settings_sha256": reading.settings_sha256,
        "pixel_size_um": reading.pixel_size_um,
        "assumed_pixel_size_um": reading.assumed_pixel_size_um,
        **_doubt_document(reading),
    }


def _doubt_document(reading: Reading) -> dict[str, Any]:
    """All null where nothing is known of it: its model cannot tell how far it may be trusted."""
    doubt = reading.doubt
    return {
        "in_doubt": reading.in_doubt,
        "differentiated_interval": None if doubt.interval is None else list(doubt.interval),
        "interval_calibrated": None if doubt.interval is None else doubt.calibrated,
        "image_kind": doubt.kind,
    }


def _csv_form(separator: str | None, decimal_mark: str | None) -> CsvConfig:
    """Raises UsageError."""
    given = {"separator": separator, "decimal_mark": decimal_mark}
    try:
        return CsvConfig.model_validate({key: one for key, one in given.items() if one is not None})
    except ValueError as problem:
        raise UsageError(
            "--separator is one of , ; tab and --decimal-mark one of . , and they differ"
        ) from problem


def _as_csv(readings: Sequence[Reading], form: CsvConfig) -> str:
    documents = [_flat(as_document(reading)) for reading in readings]
    columns = list(documents[0]) if documents else ["at", "dish"]
    rows = [columns]
    for document in documents:
        rows.append([plain_cell(document[name], mark=form.decimal_mark) for name in columns])
    return as_csv(rows, separator=form.delimiter, line_end="\n")


def _flat(document: dict[str, Any]) -> dict[str, Any]:
    """A reading's document as cells: lists as texts, the interval as its two ends."""
    flat = {**document, "doubts": " ".join(document["doubts"])}
    low, high = flat.pop("differentiated_interval") or (None, None)
    return flat | {"differentiated_low": low, "differentiated_high": high}


def _doubts_of(reading: Reading) -> list[str]:
    unsure = reading.look_at_it and not reading.doubt.in_doubt
    return [*reading.why_in_doubt, *(["unsure: look at it"] if unsure else [])]


def interval_cell(reading: Reading) -> str:
    """The 90 % interval as a cell of a table."""
    ends = interval_words(reading.doubt)
    if ends is None:
        return "–"
    return ends if calibration_words(reading.doubt) is None else f"{ends}, not calibrated"


def _history_table(story: DishTimeline) -> Table:
    has_intervals = any(reading.doubt.interval for reading in story.readings)
    headings = ["scan (UTC)", "fields", "differentiated"]
    headings += ["90 % interval"] if has_intervals else []
    table = Table(*headings, "confluence", "cells", "colonies", "doubts, events")
    told = _told(story)
    for reading in story.readings:
        while told and told[0][0] < reading.at:
            _add_told(table, *told.pop(0))
        cells = (
            None
            if reading.undifferentiated_um2 is None or reading.differentiated_um2 is None
            else reading.undifferentiated_um2 + reading.differentiated_um2
        )
        table.add_row(
            f"{reading.at:%Y-%m-%d %H:%M}",
            str(reading.captures),
            percent(reading.differentiated_fraction),
            *([interval_cell(reading)] if has_intervals else []),
            percent(reading.confluence),
            "–" if cells is None else f"{cells / 1e6:.2f} mm2",
            str(reading.colonies),
            ", ".join(_doubts_of(reading)),
        )
    for at, text in told:
        _add_told(table, at, text)
    return table


def _told(story: DishTimeline) -> list[tuple[datetime, str]]:
    """What else happened in the time that is shown, oldest first."""
    line = story.line
    found = [(one.at, f"“{cell(one.text)}” ({cell(one.who)})") for one in story.annotations]
    found += [(one.at, _alert_in_words(one)) for one in story.alerts]
    found += [(one.at, f"unreadable: {cell(one.reason)}") for one in story.unreadable]
    if line.began_at is not None and line.parent is not None:
        found.append((line.began_at, f"passaged from {cell(line.parent)}"))
    if line.ended_at is not None:
        to = ", ".join(cell(child) for child in line.children)
        found.append((line.ended_at, f"passaged to {to}" if to else "ended"))
    shown = (one for one in found if story.since is None or one[0] >= story.since)
    return sorted(shown, key=lambda one: one[0])


def _alert_in_words(alert: Alert) -> str:
    if alert.topic is not AlertTopic.DIFFERENTIATION:
        return f"{alert.topic}: {alert.kind}"
    severity = "" if alert.kind is AlertKind.CLEARED else f", {alert.severity}"
    return f"alert {alert.kind}{severity}"


def _add_told(table: Table, at: datetime, text: str) -> None:
    empty = [""] * (len(table.columns) - 2)
    table.add_row(f"{at:%Y-%m-%d %H:%M}", *empty, text)
