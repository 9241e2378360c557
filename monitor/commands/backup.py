"""`backup`: the record copied while it is in use, and old copies removed."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from monitor.commands.common import (
    ConfigOption,
    JsonOption,
    StateOption,
    begin_logging,
    open_config,
    open_store,
    print_json,
    say,
    shown,
)
from monitor.config import Config
from monitor.errors import RecordError
from monitor.host.clock import utc_now
from monitor.jobs.backups import add_pictures, back_up, backup_name, rotate


def backup(
    target: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]",
            show_default=False,
            help="The copy to write, or a folder (a name without an ending); default: "
            "record.backups.folder.",
        ),
    ] = None,
    rotates: Annotated[
        bool,
        typer.Option("--rotate", help="Remove those there that record.backups does not keep."),
    ] = False,
    pictures: Annotated[
        bool | None,
        typer.Option(
            "--pictures/--no-pictures",
            show_default=False,
            help="Overlays and label maps, too; default: record.backups.pictures.",
        ),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Copy the record while the daemon runs.

    The copy is checked before it counts, and before an older one is removed. Pictures go into
    one folder that all backups share; only new ones are copied.

    Example: colonywatch backup /backups/ --rotate --pictures
    """
    begin_logging()
    settings = open_config(config, state)
    now = utc_now()
    file = _file_for(target, settings, now, rotates=rotates)
    folder = file.parent
    wanted = settings.record.backups
    with open_store(settings) as store:
        back_up(store, file)
    say(f"written to {shown(file)}, and sound")
    copied = None
    if wanted.pictures if pictures is None else pictures:
        copied = add_pictures(settings.record.folder, folder, settings.record.keep, now)
        say(f"{copied} new pictures copied to {shown(folder / 'pictures')}")
    gone = rotate(folder, wanted) if rotates else []
    for path in gone:
        say(f"removed {shown(path.name)}")
    if as_json:
        print_json(
            {
                "backup": shown(file),
                "pictures_copied": copied,
                "removed": [shown(path) for path in gone],
            }
        )


def _file_for(target: Path | None, config: Config, now: datetime, *, rotates: bool) -> Path:
    """Where the backup is written. Raises RecordError where that is no good place."""
    folder = config.record.backup_folder if target is None else target
    is_folder = target is not None and (target.is_dir() or not (target.suffix or target.is_file()))
    if target is None or is_folder:
        file = folder / backup_name(now)
    elif rotates:
        raise RecordError(f"{target}: is a file; --rotate needs a folder of backups")
    else:
        file = target
    if file == config.record.database_file:
        raise RecordError(f"{file}: is the record itself; name another file")
    return file
