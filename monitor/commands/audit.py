"""`audit`: who decided what, when and why; is the trail whole; a signed copy of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from monitor.commands.common import (
    FAILED,
    ConfigOption,
    JsonOption,
    StateOption,
    begin_logging,
    cell,
    open_config,
    open_store,
    print_json,
    say,
    say_error,
    show_table,
    shown,
)
from monitor.culture import AuditEntry, Head, Verdict
from monitor.host.clock import utc_now
from monitor.jobs.audit_heads import follow_trail, keep_head, kept_head
from monitor.outlets.audit_export import (
    PUBLIC_KEY,
    check_export,
    signature_of,
    write_export,
)

app = typer.Typer(
    no_args_is_help=True,
    help="The audit trail: who decided what and why; is it whole; a signed copy of it.",
)

ExportArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="A CSV that `audit export` wrote.")
]


KeyOption = Annotated[
    Path | None,
    typer.Option(
        "--key",
        metavar="FILE",
        show_default=False,
        help=f"The public key of exports; default: {PUBLIC_KEY} in the record's folder.",
    ),
]


@app.command("list")
def list_(
    about: Annotated[
        str | None,
        typer.Option(
            "--about", show_default=False, help="Only this dish, plan, source, or alert's number."
        ),
    ] = None,
    newest: Annotated[int, typer.Option("--newest", min=1, help="So many, the last ones.")] = 50,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Who decided what, when and why; oldest first.

    Example: colonywatch audit list --about 3500003816/A1
    """
    begin_logging()
    with open_store(open_config(config, state)) as store:
        found = list(store.audit.entries(about=about, newest=newest))
    if as_json:
        print_json({"entries": [_document(one) for one in found]})
        return
    if not found:
        say("nothing of that is in the audit trail")
        return
    table = Table("nr", "when (UTC)", "who", "what", "about", "why", "before", "after")
    for one in found:
        table.add_row(
            str(one.number), f"{one.at:%Y-%m-%d %H:%M:%S}", cell(one.who), cell(one.what),
            cell(one.about), cell(one.why or ""), _brief(one.before), _brief(one.after),
        )  # fmt: skip
    show_table(table)


@app.command()
def verify(
    kept: Annotated[
        list[Path] | None,
        typer.Option(
            "--kept",
            metavar="FILE",
            show_default=False,
            help="An earlier export, whose entries must all be there still. May be repeated.",
        ),
    ] = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Is the trail whole? Finds an entry that was edited, removed, put in or moved.

    That entries are missing at the end is found by the head that was noted in the record's folder
    when the trail was last looked at (by this command, by the daemon each hour, by an
    export) and by the exports given with --kept. Whoever can write both the database and that
    folder can make all hashes anew: only exports and digests that lie elsewhere show that.

    Exits 1 where something is wrong.

    Example: colonywatch audit verify --kept /archive/audit-2026-11.csv
    """
    begin_logging()
    settings = open_config(config, state)
    folder = settings.record.folder
    noted = kept_head(folder)
    heads = [] if noted is None else [noted]
    wrong: list[str] = []
    for path in kept or ():
        found, _ = check_export(path, key or folder / PUBLIC_KEY)
        wrong.extend(f"{path.name}: {problem}" for problem in found.problems)
        if found.head is not None:
            heads.append(found.head)
    with open_store(settings) as store:
        found = store.audit.verify(heads)
    problems = (*wrong, *found.problems)
    if not problems and found.head is not None:
        keep_head(folder, found.head, utc_now())
    _tell(found, problems, heads, as_json=as_json)


@app.command()
def export(
    target: Annotated[
        Path, typer.Argument(metavar="FILE", help="The CSV to write, or its folder.")
    ],
    as_json: JsonOption = False,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Write the whole trail as CSV, and its signature (Ed25519) beside it as FILE.sig.

    The key is made at the first export and lies in the record's folder. Keep its public half,
    audit-key.pub.pem, with those who are to check exports.

    Example: colonywatch audit export /archive/audit-2026-11.csv
    """
    begin_logging()
    settings = open_config(config, state)
    folder = settings.record.folder
    if target.is_dir():
        target = target / f"audit-{utc_now():%Y%m%dT%H%M%SZ}.csv"
    with open_store(settings) as store:
        count, key = write_export(store.audit.entries(), target, folder)
        follow_trail(store, folder, utc_now())
    if as_json:
        print_json(
            {"entries": count, "file": str(target), "signature": str(signature_of(target)),
             "public_key": str(folder / PUBLIC_KEY), "key_fingerprint": key}
        )  # fmt: skip
        return
    say(f"{count} entries are in {shown(target)}, signed in {shown(signature_of(target))}")
    say(f"the key to check it with is {shown(folder / PUBLIC_KEY)}, fingerprint {key}")


@app.command()
def check(
    file: ExportArgument,
    key: KeyOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Is an export as it was signed, and its chain whole? Needs no record, only the public key.

    Exits 1 where something is wrong.

    Example: colonywatch audit check audit-2026-11.csv --key audit-key.pub.pem
    """
    begin_logging()
    if key is None:
        key = open_config(config, state).record.folder / PUBLIC_KEY
    found, fingerprint = check_export(file, key)
    if not as_json:
        say(f"checked with the key {fingerprint}")
    _tell(found, found.problems, [], as_json=as_json)


def _tell(found: Verdict, problems: tuple[str, ...], kept: list[Head], *, as_json: bool) -> None:
    """Raises typer.Exit where there are problems."""
    head = found.head
    if as_json:
        print_json(
            {
                "whole": not problems,
                "entries": found.entries,
                "head": None if head is None else {"number": head.number, "hash": head.hash},
                "kept_heads": [{"number": one.number, "hash": one.hash} for one in kept],
                "problems": list(problems),
            }
        )
    else:
        for problem in problems:
            say_error(problem)
        if not problems:
            say(f"{found.entries} entries, the chain is whole")
        if head is not None:
            say(f"newest entry {head.number}, hash {head.hash}")
    if problems:
        raise typer.Exit(FAILED)


def _brief(text: str | None) -> str:
    if text is None:
        return ""
    said = json.loads(text)
    plain = said if isinstance(said, str) else text
    return cell(plain if len(plain) <= 60 else plain[:57] + "...")


def _document(entry: AuditEntry) -> dict[str, Any]:
    return {
        "number": entry.number,
        "at": entry.at.isoformat(),
        "who": entry.who,
        "what": entry.what,
        "about": entry.about,
        "why": entry.why,
        "before": None if entry.before is None else json.loads(entry.before),
        "after": None if entry.after is None else json.loads(entry.after),
        "hash": entry.hash,
    }
