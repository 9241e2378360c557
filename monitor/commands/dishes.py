"""`dishes`: every dish at a glance; their ends, passages, names and annotations."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer
from rich.table import Table

from monitor.commands.common import (
    ConfigOption,
    JsonOption,
    StateOption,
    begin_logging,
    cell,
    moment,
    open_config,
    open_store,
    percent,
    person,
    print_json,
    say,
    show_table,
    shown,
)
from monitor.commands.history import as_document, interval_cell
from monitor.config import Config
from monitor.culture import DishLine, Reading
from monitor.decisions.passages import fresh_until
from monitor.errors import UsageError
from monitor.host.clock import utc_now
from monitor.outlets.wording import STATUS_WORDS
from monitor.record.dishes import DishSummary
from monitor.record.store import Store

app = typer.Typer(help="Dishes with their latest reading; end, passage, rename, annotate them.")

DishArgument = Annotated[str, typer.Argument(metavar="DISH", help="As `dishes` lists it.")]
AtOption = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="TIME",
        show_default=False,
        help="When, such as '2026-11-03 14:00'; in the source's time zone, or with an offset. "
        "Default: now.",
    ),
]
NoteOption = Annotated[str | None, typer.Option("--note", show_default=False, help="Kept with it.")]
WhoOption = Annotated[
    str | None, typer.Option("--who", show_default=False, help="Default: the user's name.")
]


@app.callback(invoke_without_command=True)
def list_(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Ended ones too.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Every dish with its latest reading; end, passage, rename and annotate them.

    Example: colonywatch dishes --all
    """
    if context.invoked_subcommand is not None:
        if everything or as_json or config is not None or state is not None:
            raise UsageError(
                f"put options behind the word {context.invoked_subcommand}, for example: "
                f"colonywatch dishes {context.invoked_subcommand} DISH --state DIR"
            )
        return
    begin_logging()
    with open_store(open_config(config, state)) as store:
        found = store.dishes.dishes()
    listed = found if everything else [dish for dish in found if dish.ended_at is None]
    if as_json:
        print_json([_document(dish) for dish in listed])
        return
    hidden = len(found) - len(listed)
    if not found:
        say("no dish has been recorded yet; try: colonywatch process FOLDER")
        return
    if listed:
        show_table(_table(sorted(listed, key=_worst_first)))
    if hidden:
        say(f"{hidden} ended; see: colonywatch dishes --all")


def _document(dish: DishSummary) -> dict[str, object]:
    return {
        "dish": dish.name,
        "label": dish.label,
        "source": dish.source,
        "status": str(dish.status),
        "passage": dish.passage,
        "judged_from": None if dish.judged_from is None else dish.judged_from.isoformat(),
        "parent": dish.parent,
        "ended_at": None if dish.ended_at is None else dish.ended_at.isoformat(),
        "scans": dish.scans,
        "last": None if dish.last is None else as_document(dish.last),
    }


def _worst_first(dish: DishSummary) -> tuple[int, float]:
    """What differentiates or is above its limit, by its last share; the others as they come."""
    if dish.ended_at is not None or not dish.status.needs_a_look:
        return (1, 0.0)
    return (0, -((dish.last and dish.last.differentiated_fraction) or 0.0))


def _table(dishes: list[DishSummary]) -> Table:
    has_lines = any(dish.passage or dish.ended_at is not None for dish in dishes)
    has_intervals = any(dish.last is not None and dish.last.doubt.interval for dish in dishes)
    table = Table("dish", "status", "scans", "last scan (UTC)", "differentiated")
    if has_intervals:
        table.add_column("90 % interval")
    table.add_column("confluence")
    if has_lines:
        table.add_column("passage")
        table.add_column("ended (UTC)")
    for dish in dishes:
        last = dish.last
        row = [
            cell(dish.name),
            _status(dish),
            str(dish.scans),
            f"{last.at:%Y-%m-%d %H:%M}{_doubts(last)}" if last else "–",
            percent(last.differentiated_fraction) if last else "–",
            *([interval_cell(last) if last else "–"] if has_intervals else []),
            percent(last.confluence) if last else "–",
        ]
        if has_lines:
            came = f" of {cell(dish.parent)}" if dish.parent else ""
            row.append(f"{dish.passage}{came}" if dish.passage else "–")
            row.append(f"{dish.ended_at:%Y-%m-%d %H:%M}" if dish.ended_at else "–")
        table.add_row(*row)
    return table


def _status(dish: DishSummary) -> str:
    words = STATUS_WORDS[dish.status]
    if dish.judged_from is None:
        return words
    return f"{words}, judged from {dish.judged_from:%Y-%m-%d %H:%M}"


def _doubts(last: Reading) -> str:
    why = last.why_in_doubt
    return f" (in doubt: {', '.join(why)})" if why else ""


@app.command()
def end(
    dish: DishArgument,
    at: AtOption = None,
    note: NoteOption = None,
    who: WhoOption = None,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """The dish is gone: it raises no alerts and is not missed any more.

    Its open alerts are closed and its removal plans withdrawn; its series stays. What is taken
    under its name after that is a new dish.

    Example: colonywatch dishes end 3500003816/A1 --note discarded
    """
    begin_logging()
    settings = open_config(config, state)
    with open_store(settings) as store:
        when = _moment(at, store.lines.line(dish), settings)
        line = store.lines.end(dish, at=when, who=person(who), note=note, now=utc_now())
        _say_what_followed(store, line)
    say(f"{shown(line.name)} ended at {when:%Y-%m-%d %H:%M} UTC")


@app.command()
def resume(
    dish: DishArgument,
    who: WhoOption = None,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Undo the end of a dish.

    Example: colonywatch dishes resume 3500003816/A1
    """
    begin_logging()
    with open_store(open_config(config, state)) as store:
        line = store.lines.resume(dish, who=person(who), now=utc_now())
    say(f"{shown(line.name)} is watched again")


@app.command()
def passage(
    dish: DishArgument,
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to",
            metavar="NAME",
            show_default=False,
            help="Name in the new dish's captures, with SOURCE: before it if "
            "another source scans it; may be given several times. Default: the same name again.",
        ),
    ] = None,
    at: AtOption = None,
    note: NoteOption = None,
    who: WhoOption = None,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """The cells were passaged: the dish ends, and one or more linked dishes begin.

    These count as freshly passaged for some time (fresh_for_h, 48 h): single cells look
    differentiated, so their share raises no alert and no removal plan is made.

    Captures count by when they were taken: late ones from before still belong to the old dish.

    Example: colonywatch dishes passage 3500003816/A1 --to 3500004711/A1 --to 3500004711/A2
    """
    begin_logging()
    settings = open_config(config, state)
    with open_store(settings) as store:
        when = _moment(at, store.lines.line(dish), settings)
        done = store.lines.passage(
            dish, to or [], at=when, who=person(who), note=note, now=utc_now()
        )
        here = done.parent.source, done.parent.label
        if here not in {(child.source, child.label) for child in done.children}:
            _say_what_followed(store, done.parent)
    names = ", ".join(shown(child.name) for child in done.children)
    say(
        f"{shown(done.parent.name)} ended at {when:%Y-%m-%d %H:%M} UTC; from it: {names} "
        f"(passage {done.children[0].passage})"
    )
    for child in done.children:
        limits = settings.decisions.limits_for(child.name, child.source, child.label)
        usual_from = fresh_until(when, limits)
        if usual_from is not None:
            say(
                f"{shown(child.name)} counts as freshly passaged: its differentiated share is "
                f"judged from {usual_from:%Y-%m-%d %H:%M} UTC on"
            )


@app.command()
def rename(
    dish: DishArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its new name.")],
    who: WhoOption = None,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Rename a dish. Its captures are still recognised by the name in their files.

    Example: colonywatch dishes rename 3500003816/A1 "donor 7, clone 3"
    """
    begin_logging()
    with open_store(open_config(config, state)) as store:
        line = store.lines.rename(dish, name, who=person(who), now=utc_now())
    say(f"{shown(dish)} is now called {shown(line.name)}")


@app.command()
def annotate(
    dish: DishArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Such as: medium changed.")],
    at: AtOption = None,
    who: WhoOption = None,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Add a note to a dish's series; `history` shows it.

    Example: colonywatch dishes annotate 3500003816/A1 "medium changed" --at "2026-11-03 14:00"
    """
    begin_logging()
    settings = open_config(config, state)
    with open_store(settings) as store:
        when = _moment(at, store.lines.line(dish), settings)
        made = store.lines.annotate(dish, text, at=when, who=person(who), now=utc_now())
    say(f"{shown(made.dish)}: {shown(made.text)} at {made.at:%Y-%m-%d %H:%M} UTC, by {made.who}")


def _say_what_followed(store: Store, line: DishLine) -> None:
    after = [
        dish
        for dish in store.dishes.dishes()
        if (dish.source, dish.label) == (line.source, line.label)
        and dish.ended_at is None
        and dish.scans
    ]
    for dish in after:
        say(
            f"{shown(dish.name)}: scans taken under the label {shown(line.label)} since then "
            f"({dish.scans}) belong to a separate dish"
        )


def _moment(text: str | None, line: DishLine, config: Config) -> datetime:
    if text is None:
        return utc_now()
    return moment(text, "--at", line, config)
