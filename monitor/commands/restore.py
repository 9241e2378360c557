"""`restore`: a backup made the record again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from monitor.commands.common import (
    ConfigOption,
    JsonOption,
    StateOption,
    account,
    begin_logging,
    open_config,
    open_store,
    print_json,
    say,
    shown,
)
from monitor.config import Config
from monitor.errors import MonitorError, OutletError, RecordError
from monitor.host.clock import utc_now
from monitor.jobs.audit_heads import keep_head
from monitor.jobs.backups import backups_in, bring_back_pictures
from monitor.jobs.picture_files import missing_pictures
from monitor.jobs.stray_plans import plans_in, withdraw_strays
from monitor.outlets.picking import CHECKSUMS
from monitor.record.capture_states import AGAIN
from monitor.record.restoring import Ready, file_of, made_ready, put_in_place, who_has
from monitor.record.store import Store


def restore(
    backup: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            readable=False,
            help="A copy made by `backup`, or a folder of them: its newest.",
        ),
    ],
    only_look: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be lost.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Make a backup the record again. Stop the daemon first (unless its record is gone).

    The backup is checked, what only the present record has is shown, and the present one
    is kept beside it. Plans in the picker's folder that the restored record does not know are
    withdrawn; the next scans make new plans. Captures that came after the backup are read again
    when the daemon starts. Overlays and label maps that are gone are taken from beside the backup.

    Example: colonywatch restore /backups/colonywatch-20261102.sqlite
    """
    begin_logging()
    settings = open_config(config, state)
    file = file_of(settings.record.database_url)
    backup = _newest_in(backup)
    _refuse_company(settings, file)
    now = utc_now()
    out_now = _out_now(settings)
    is_out = out_now.__contains__
    with made_ready(backup.absolute(), file, now, is_out=is_out, who=account()) as ready:
        _say_what_is_lost(ready)
        kept = None if only_look else put_in_place(ready, file, now)
        document = _document(ready, kept, is_done=not only_look)
    if only_look:
        say("nothing was changed (--dry-run)")
    else:
        document["withdrawn_plans"] = _withdraw(settings)
        document |= _pictures(backup, settings)
        if kept is not None:
            say(f"the previous record is kept as {kept}")
        say(
            f"{shown(backup)} is the record now; start the daemon, which reads what came "
            "since, or goes on by itself if it is waiting for its record"
        )
    if as_json:
        print_json(document)


def _newest_in(backup: Path) -> Path:
    """Of a folder the newest backup in it. Raises RecordError where there is none."""
    if not backup.is_dir():
        return backup
    held = backups_in(backup)
    if not held:
        raise RecordError(
            f"{shown(backup)}: there is no such file in this folder as `backup` makes "
            "(colonywatch-TIME.sqlite); name the file itself"
        )
    return next(iter(held.values()))


def _pictures(backup: Path, config: Config) -> dict[str, int]:
    """Those that are gone come from beside the backup; the others are counted."""
    brought = bring_back_pictures(backup, config.record.folder)
    if brought:
        say(f"{brought} overlays and label maps were brought back from beside the backup")
    try:
        with open_store(config) as store:
            gone = sum(one.overlay + one.label_map for one in missing_pictures(store, config))
    except MonitorError as problem:
        say(str(problem))
        return {"pictures_brought_back": brought}
    if gone:
        say(f"{gone} overlays and label maps are gone; make them: colonywatch pictures --make")
    return {"pictures_brought_back": brought, "pictures_gone": gone}


def _refuse_company(config: Config, file: Path) -> None:
    """Raises RecordError where somebody is at work on the present record."""
    if not file.exists():
        return
    try:
        with Store(config.record.database_url) as store:
            alive = [
                (life.kind, life.pid, life.host)
                for kind in ("daemon", "process", AGAIN)
                for life in store.processes.living(kind, utc_now())
                if life.alive
            ]
    except RecordError:
        # It cannot be asked; whoever has it open may be at work on it.
        alive = [("program", pid, "this machine") for pid in who_has(file)]
    if alive:
        named = ", ".join(f"a {kind} (pid {pid} on {host})" for kind, pid, host in alive)
        raise RecordError(
            f"{file}: {named} is using this record; stop it first, for example with systemctl "
            "stop colonywatch"
        )


def _out_now(config: Config) -> set[str]:
    """Plans whose files are complete in the picker's folder."""
    try:
        return {
            plan_id
            for plan_id, files in plans_in(config.removal_folder).items()
            if any(path.suffix == CHECKSUMS for path in files)
        }
    except OutletError:
        return set()


def _say_what_is_lost(ready: Ready) -> None:
    newest = ""
    if ready.newest is not None:
        newest = f"; its latest entry is from {ready.newest:%Y-%m-%d %H:%M} UTC"
    say(f"{ready.backup}: sound, and from this version{newest}")
    if ready.is_same is None:
        say("there is no present record to compare it with")
        return
    if not ready.is_same:
        say("it is a backup of a different record")
    if not ready.lost:
        say("the present record has nothing that the backup lacks")
        return
    say("what only the present record has:")
    for what, count in ready.lost:
        say(f"  {count} {what}")
    say(
        "Captures that are still in their folders are read again. What people decided "
        "since then is lost, and mails sent since then may be sent again"
    )


def _document(ready: Ready, kept: Path | None, *, is_done: bool) -> dict[str, Any]:
    return {
        "restored": is_done,
        "backup": shown(ready.backup),
        "newest": None if ready.newest is None else ready.newest.isoformat(),
        "same_record": ready.is_same,
        "lost": dict(ready.lost),
        "former_kept_as": None if kept is None else shown(kept),
        "withdrawn_plans": [],
    }


def _withdraw(config: Config) -> list[dict[str, Any]]:
    try:
        with open_store(config) as store:
            # The end of the former audit trail is gone on purpose: an entry says so.
            head = store.audit.head()
            if head is not None:
                keep_head(config.record.folder, head, utc_now())
            strays = withdraw_strays(store, config, utc_now())
    except MonitorError as problem:
        say(f"{problem}\nthe daemon looks again when it starts")
        return []
    for stray in strays:
        say(str(stray))
    return [{"plan": one.plan_id, "why": one.why, "kept_in": shown(one.kept_in)} for one in strays]
