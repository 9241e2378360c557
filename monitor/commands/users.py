"""`users`: who may look at the pages and decide there."""

from __future__ import annotations

import getpass
import sys
from typing import Annotated

import typer
from rich.table import Table

from monitor.commands.common import (
    ConfigOption,
    JsonOption,
    StateOption,
    begin_logging,
    cell,
    open_config,
    open_store,
    person,
    print_json,
    say,
    show_table,
    shown,
)
from monitor.culture import Person, Role
from monitor.errors import UsageError
from monitor.host.clock import utc_now

app = typer.Typer(no_args_is_help=True, help="Accounts of the dashboard: add, list, change.")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Of the account.")]
WhoOption = Annotated[
    str | None, typer.Option("--who", show_default=False, help="Default: the user's name.")
]
StdinOption = Annotated[
    bool, typer.Option("--password-stdin", help="Read it from standard input, one line.")
]


@app.command()
def add(
    name: NameArgument,
    role: Annotated[
        Role,
        typer.Option("--role", help="viewer looks, operator decides, admin makes accounts too."),
    ] = Role.VIEWER,
    stdin: StdinOption = False,
    without: Annotated[
        bool,
        typer.Option("--no-password", help="Only a web server in front says who it is."),
    ] = False,
    who: WhoOption = None,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Make an account. From the first one on, the dashboard asks everybody to sign in.

    The first account has to be an admin. The password is asked for, or read from standard
    input; it never stands in the command.

    Example: colonywatch users add ada --role admin
    """
    begin_logging()
    if stdin and without:
        raise UsageError("give either --password-stdin or --no-password")
    with open_store(open_config(config, state)) as store:
        is_first = not store.people.exist()
        if is_first and role is not Role.ADMIN:
            raise UsageError(
                f"{shown(name)}: the first account has to be an admin, so that somebody can make "
                "the others (--role admin)"
            )
        password = None if without else _password(name, stdin=stdin)
        made = store.people.add(name, role, password=password, who=person(who), now=utc_now())
    say(f"{shown(made.name)} is {_with_article(made.role)}")
    if is_first:
        say("from now on the dashboard asks everybody to sign in")


@app.command("list")
def list_(
    as_json: JsonOption = False, config: ConfigOption = None, state: StateOption = None
) -> None:
    """Every account with its role and when it was last used.

    Example: colonywatch users list
    """
    begin_logging()
    with open_store(open_config(config, state)) as store:
        people = store.people.all()
    if as_json:
        print_json([_document(one) for one in people])
        return
    if not people:
        say("no accounts; make the first with: colonywatch users add NAME --role admin")
        return
    table = Table("name", "role", "password", "state", "last seen (UTC)")
    for one in people:
        table.add_row(
            cell(one.name),
            str(one.role),
            "yes" if one.has_password else "none",
            "in use" if one.disabled_at is None else f"disabled {one.disabled_at:%Y-%m-%d %H:%M}",
            "–" if one.seen_at is None else f"{one.seen_at:%Y-%m-%d %H:%M}",
        )
    show_table(table)


@app.command()
def role(
    name: NameArgument,
    to: Annotated[Role, typer.Argument(metavar="ROLE", help="viewer, operator or admin.")],
    who: WhoOption = None,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Give an account another role; it holds with the next page that is opened.

    Example: colonywatch users role ada operator
    """
    begin_logging()
    with open_store(open_config(config, state)) as store:
        done = store.people.set_role(name, to, who=person(who), now=utc_now())
    say(f"{shown(done.name)} is {_with_article(done.role)}")


@app.command()
def disable(
    name: NameArgument,
    who: WhoOption = None,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Nobody gets in by the account any more, at once. What it did stays on record.

    Example: colonywatch users disable ada
    """
    begin_logging()
    with open_store(open_config(config, state)) as store:
        done = store.people.disable(name, who=person(who), now=utc_now())
    say(f"{shown(done.name)} is disabled")


@app.command()
def enable(
    name: NameArgument,
    who: WhoOption = None,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Let an account that was disabled in again, with the role and password that it had.

    Example: colonywatch users enable ada
    """
    begin_logging()
    with open_store(open_config(config, state)) as store:
        done = store.people.enable(name, who=person(who), now=utc_now())
    say(f"{shown(done.name)} is {_with_article(done.role)} again")


@app.command()
def passwd(
    name: NameArgument,
    stdin: StdinOption = False,
    who: WhoOption = None,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Give an account a new password; whoever is signed in by it has to sign in again.

    Example: colonywatch users passwd ada
    """
    begin_logging()
    with open_store(open_config(config, state)) as store:
        known = store.people.person(name)
        password = _password(known.name, stdin=stdin)
        store.people.set_password(name, password, who=person(who), now=utc_now())
    say(f"{shown(known.name)} has a new password")


@app.command("sign-out")
def sign_out(
    name: NameArgument,
    who: WhoOption = None,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """End all sessions of an account, for instance when a telephone was lost.

    Example: colonywatch users sign-out ada
    """
    begin_logging()
    with open_store(open_config(config, state)) as store:
        count = store.people.end_sessions(name, who=person(who), now=utc_now())
    say(f"{count} session{'' if count == 1 else 's'} ended")


def _password(name: str, *, stdin: bool) -> str:
    if stdin:
        line = sys.stdin.readline()
        if not line.strip():
            raise UsageError("standard input holds no password")
        return line.rstrip("\r\n")
    if not sys.stdin.isatty():
        raise UsageError("no terminal to ask for the password; pipe it in and add --password-stdin")
    first = getpass.getpass(f"password for {shown(name)}: ")
    if getpass.getpass("once more: ") != first:
        raise UsageError("the two are not the same; nothing was changed")
    return first


def _with_article(role: Role) -> str:
    return f"an {role}" if role is not Role.VIEWER else f"a {role}"


def _document(one: Person) -> dict[str, object]:
    return {
        "name": one.name,
        "role": str(one.role),
        "has_password": one.has_password,
        "made_at": one.made_at.isoformat(),
        "disabled_at": None if one.disabled_at is None else one.disabled_at.isoformat(),
        "seen_at": None if one.seen_at is None else one.seen_at.isoformat(),
    }
