"""Backups of the record in one folder: made, looked at, the old ones removed; pictures beside them.

A backup is one file. Pictures hardly ever change once they are written, so all backups share one
copy of them, `pictures` in their folder, to which only what is new is added.
"""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from monitor.config import BackupsConfig, KeepConfig
from monitor.decisions.keeping import PictureKind, backups_to_keep
from monitor.errors import RecordError
from monitor.host.atomic_files import HIDDEN_SUFFIX, hidden_prefix
from monitor.jobs.retention import pictures_in, thin
from monitor.record.restoring import check_backup
from monitor.record.store import Store

PICTURES = "pictures"
_NAME = re.compile(r"colonywatch-(\d{8}T\d{6}Z)\.sqlite")
_TIME = "%Y%m%dT%H%M%SZ"


def backup_name(now: datetime) -> str:
    return f"colonywatch-{now:{_TIME}}.sqlite"


def backups_in(folder: Path) -> dict[datetime, Path]:
    """Backups that this program named, by their time, newest first."""
    found: dict[datetime, Path] = {}
    with suppress(OSError):
        for path in folder.iterdir():
            named = _NAME.fullmatch(path.name)
            if named is None or not path.is_file():
                continue
            with suppress(ValueError):  # no day that there is
                found[datetime.strptime(named[1], _TIME).replace(tzinfo=UTC)] = path
    return dict(sorted(found.items(), reverse=True))


def back_up(store: Store, target: Path) -> None:
    """A copy that was looked at: one that cannot be restored is no backup.

    Raises RecordError, and then `target` is not there.
    """
    store.database.back_up(target)
    try:
        check_backup(target)
        # What is in it is nobody else's, whatever this account's mask says.
        target.chmod(0o640)
    except RecordError:
        target.unlink(missing_ok=True)
        raise
    except OSError:
        return


def rotate(folder: Path, wanted: BackupsConfig) -> list[Path]:
    """Remove backups that `record.backups` does not keep. Returns what was removed.

    Raises RecordError.
    """
    held = backups_in(folder)
    stays = backups_to_keep(held, wanted)
    gone = [path for at, path in held.items() if at not in stays]
    for path in gone:
        try:
            path.unlink(missing_ok=True)
        except OSError as problem:
            raise RecordError(
                f"{path}: this old backup cannot be removed ({problem.strerror}); the new one is "
                "written"
            ) from problem
    return gone


def add_pictures(record_folder: Path, backups: Path, keep: KeepConfig, now: datetime) -> int:
    """Copy overlays and label maps that are not beside the backups yet. Returns how many.

    What `record.keep` no longer wants goes from there, too. Raises RecordError.
    """
    count = _copied(record_folder, backups / PICTURES)
    thin(backups / PICTURES, keep, now)
    return count


def bring_back_pictures(backup: Path, record_folder: Path) -> int:
    """Put pictures that lie beside a backup where they are missing. Returns how many.

    Raises RecordError.
    """
    return _copied(backup.parent / PICTURES, record_folder, only_missing=True)


def _copied(from_folder: Path, to_folder: Path, *, only_missing: bool = False) -> int:
    count = 0
    for one in pictures_in(from_folder):
        if one.kind is PictureKind.TILE:
            continue
        source, target = from_folder / one.name, to_folder / one.name
        if target.exists():
            about = target.stat()
            is_same = (about.st_size, int(about.st_mtime)) == (
                one.size,
                int(one.written_at.timestamp()),
            )
            if only_missing or is_same:
                continue
        try:
            _copy(source, target)
        except FileNotFoundError:
            continue  # it went away since
        except OSError as problem:
            raise RecordError(
                f"{target}: cannot be written ({problem.strerror}); what was copied so far stays"
            ) from problem
        count += 1
    return count


def _copy(source: Path, target: Path) -> None:
    """Whole or not at all, with its time: that says how old it is."""
    if not source.exists():
        raise FileNotFoundError(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{hidden_prefix(target)}copy{HIDDEN_SUFFIX}")
    try:
        shutil.copyfile(source, temporary)
        with suppress(OSError):
            shutil.copystat(source, temporary)
        temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
